// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.DownloadedCode;

namespace Exo.Storage.XN;

/// <summary>Runs <c>owns</c> functions. Not thread-safe; allocates nothing once its sets have grown and a
/// template's function was compiled.</summary>
internal sealed class OwnsRunner
{
    /// <summary>Runs, for the counters.</summary>
    public long Runs { get; private set; }

    /// <summary>Instructions executed, for the counters.</summary>
    public long Instructions { get; private set; }

    /// <summary>
    /// Runs <c>owns</c> of one partition on its read set; the result, in normal form, goes to <paramref name="result"/>. False when the function emits what no
    /// function may: an unknown child, blocks beyond the disk, or a block twice.
    /// </summary>
    public bool TryRun(Template template, int partition, ReadOnlySpan<byte> readSet, ulong blockCount, ExtentSet result)
    {
        Invariant.Check(readSet.Length == template.ReadSetBytes);
        result.Clear();
        EmitCalls calls = new(template.Children, blockCount, result);
        VerifiedProgram owns = template.Owns!;
        ExecutionResult run = owns.Run(new ProgramInput(readSet) { R3 = (ulong)partition }, ref calls, owns.InstructionsMax);
        Runs++;
        Instructions += run.Instructions;
        return run.Status == ExecutionStatus.Completed && !calls.IsBroken && result.TryNormalise();
    }

    private struct EmitCalls(TemplateId[] children, ulong blockCount, ExtentSet result) : IHelperCalls
    {
        public bool IsBroken { get; private set; }

        public ulong Call(int helper, ulong r1, ulong r2, ulong r3, ulong r4, ulong r5)
        {
            if (r1 == 0 || r2 == 0)
            {
                return 0;
            }

            if (r3 >= (ulong)children.Length || r2 > uint.MaxValue || r1 >= blockCount || r2 > blockCount - r1)
            {
                IsBroken = true;
                return 0;
            }

            result.Add(new TypedExtent(new BlockExtent(new BlockNumber(r1), (uint)r2), children[r3]));
            return 0;
        }
    }
}
