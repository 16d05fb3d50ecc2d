// SPDX-License-Identifier: MIT
namespace Exo.Core.DownloadedCode;

/// <summary>
/// The proof that an access through a pointer lies inside its region on every path: every byte it may touch is between
/// <see cref="First"/> and <see cref="Last"/>, both inclusive and counted from the start of the region, and these are there.
/// </summary>
/// <param name="Rule">The rule broken; of no meaning where <see cref="Reason"/> is null.</param>
/// <param name="Reason">Why there is no proof; null when there is one.</param>
/// <param name="First">The lowest byte that may be touched.</param>
/// <param name="Last">The highest byte that may be touched.</param>
internal readonly record struct AccessProof(VerifierRule Rule, string? Reason, int First, int Last)
{
    /// <summary>Tries to prove one load or store.</summary>
    /// <param name="contract">Says how long the regions are and which may be written.</param>
    /// <param name="pointer">The address register's value, of kind <see cref="AbstractKind.Pointer"/>.</param>
    /// <param name="offset">The instruction's offset in bytes.</param>
    /// <param name="widthBytes">Bytes accessed.</param>
    /// <param name="isStore">Whether the region must be writable.</param>
    public static AccessProof Attempt(ProgramContract contract, AbstractValue pointer, int offset, int widthBytes, bool isStore)
    {
        Invariant.Check(pointer.Kind == AbstractKind.Pointer);
        RegionContract? region = pointer.Region switch
        {
            Interpreter.MemoryRegion => contract.Memory,
            Interpreter.ContextRegion => contract.Context,
            _ => null,
        };
        Invariant.Check(region is not null || pointer.IsFramePointer);
        string name = AbstractValue.RegionName(pointer.Region);
        int lengthBytes = region?.BytesMin ?? ProgramContract.StackBytes;

        // 128 bits, so that the ends of a range nobody has bounded do not wrap into the region.
        Int128 first = (Int128)pointer.Range.SignedMinimum + offset;
        Int128 last = (Int128)pointer.Range.SignedMaximum + offset + widthBytes - 1;
        if (first < 0 || last >= lengthBytes)
        {
            string touched = region is null ? $"the {name} at {FromFrame(first)} to {FromFrame(last)}" : $"{name} bytes {first} to {last}";
            string there = region switch
            {
                null => "the stack is r10-512 to r10-1",
                { BytesMin: 0 } => "that region may be empty",
                _ when region.BytesMin == region.BytesMax => $"bytes 0 to {lengthBytes - 1} are there",
                _ => $"only bytes 0 to {lengthBytes - 1} are certain to be there",
            };
            return new AccessProof(VerifierRule.OutOfBounds, $"the {widthBytes}-byte access may touch {touched}; {there}", 0, 0);
        }

        return isStore && region is { IsWritable: false }
            ? new AccessProof(VerifierRule.ReadOnlyRegion, $"the {name} region is lent for reading only", 0, 0)
            : new AccessProof(default, null, (int)first, (int)last);
    }

    /// <summary>A stack offset as people write it, relative to r10.</summary>
    public static string FromFrame(Int128 offset)
    {
        Int128 distance = offset - ProgramContract.StackBytes;
        return distance < 0 ? $"r10{distance}" : $"r10+{distance}";
    }
}
