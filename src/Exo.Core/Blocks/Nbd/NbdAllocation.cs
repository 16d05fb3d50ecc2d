// SPDX-License-Identifier: MIT
namespace Exo.Core.Blocks.Nbd;

/// <summary>What a server says about a stretch of an export (metadata context base:allocation).</summary>
/// <param name="LengthBytes">Bytes in the stretch.</param>
/// <param name="IsHole">No space is taken up.</param>
/// <param name="ReadsAsZeroes">It reads as zeroes.</param>
public readonly record struct NbdAllocation(uint LengthBytes, bool IsHole, bool ReadsAsZeroes);

/// <summary>The place for an answer about allocation.</summary>
internal sealed class NbdAllocationQuery(ulong offsetBytes, uint lengthBytes)
{
    public ulong OffsetBytes { get; } = offsetBytes;

    /// <summary>0, or why there is no answer (errno).</summary>
    public int Error { get; set; }

    public uint LengthBytes { get; } = lengthBytes;

    public List<NbdAllocation> Answer { get; } = [];
}
