// SPDX-License-Identifier: MIT
using System.IO.Hashing;

namespace Exo.FileSystems.CFFS.Layout;

/// <summary>The keyed hash of names: the low 32 bits of xxHash3-64 with the volume's hash seed.</summary>
internal static class NameHash
{
    public static uint Compute(ReadOnlySpan<byte> name, ulong hashSeed) =>
        (uint)XxHash3.HashToUInt64(name, unchecked((long)hashSeed));
}
