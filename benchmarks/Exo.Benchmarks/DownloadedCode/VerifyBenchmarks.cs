// SPDX-License-Identifier: MIT
using BenchmarkDotNet.Attributes;
using Exo.Core.DownloadedCode;
using DownloadedProgram = Exo.Core.DownloadedCode.Program;

namespace Exo.Benchmarks.DownloadedCode;

/// <summary>A program of 1,000 instructions, an eighth of them conditional jumps, from slots to its first answer.</summary>
public class VerifyBenchmarks
{
    private const int Instructions = 1000;
    private const int MemoryBytes = 4096;

    private readonly byte[] memory = new byte[MemoryBytes];
    private readonly DownloadedProgram program = Make(new Random(1));
    private readonly ProgramContract contract = new(
        "thousand", [ArgumentContract.MemoryPointer, ArgumentContract.MemoryLength], RegionContract.Exactly(MemoryBytes, isWritable: true));

    private static DownloadedProgram Make(Random random)
    {
        List<string> lines = ["mov r0, 0", "mov r6, 1", "mov r7, 2", "mov r8, r2", "stdw [r10-8], 1"];
        while (lines.Count < Instructions - 2)
        {
            int left = Instructions - 3 - lines.Count;
            lines.Add(random.Next(8) switch
            {
                0 => "add r6, r7",
                1 => "xor r7, r8",
                2 => $"ldxdw r8, [r1+{random.Next(MemoryBytes - 8)}]",
                3 => $"stxw [r1+{random.Next(MemoryBytes - 4)}], r7",
                4 => $"jgt r{random.Next(6, 9)}, {random.Next(100)}, +{Math.Min(left, random.Next(1, 9))}",
                5 => "mul r6, 5",
                6 => "and r7, 255",
                _ => "ldxdw r0, [r10-8]",
            });
        }

        return Assembler.Assemble(string.Join('\n', [.. lines, "mov r0, r6", "exit"]));
    }

    /// <summary>Judging it.</summary>
    [Benchmark]
    public bool Verify() => Verifier.Verify(program, contract).IsAccepted;

    /// <summary>Judging it, compiling it, and running it once.</summary>
    [Benchmark]
    public ulong VerifyCompileAndRun() =>
        Compiler.Run(Verifier.Verify(program, contract).Require(), ProgramInput.Writable(memory)).R0;
}
