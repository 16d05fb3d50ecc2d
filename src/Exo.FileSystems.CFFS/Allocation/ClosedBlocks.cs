// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;

namespace Exo.FileSystems.CFFS.Allocation;

/// <summary>Blocks that are to become free, so that nobody is given any of them: all from one on, where a volume shrinks, or whole regions of the disk, where room is made for what lies scattered.</summary>
internal sealed class ClosedBlocks
{
    private readonly bool[] _regions;
    private readonly int _regionShift;

    private ClosedBlocks(ulong from, bool[] regions, int regionShift)
    {
        From = from;
        _regions = regions;
        _regionShift = regionShift;
    }

    public static ClosedBlocks None { get; } = new(ulong.MaxValue, [], 6);

    /// <summary>The block from which on all are closed.</summary>
    public ulong From { get; }

    /// <summary>All from one on.</summary>
    public static ClosedBlocks AllFrom(ulong block) => new(block, [], 6);

    /// <summary>Whole regions.</summary>
    /// <param name="regions">Which; region n begins at block <c>n &lt;&lt; regionShift</c>.</param>
    /// <param name="regionShift">Their size, as a power of two: at least 64 blocks, a word of the free map.</param>
    public static ClosedBlocks Regions(bool[] regions, int regionShift)
    {
        Invariant.Check(regionShift >= 6);
        return new ClosedBlocks(ulong.MaxValue, regions, regionShift);
    }

    /// <summary>Whether the regions hold a word of the free map, of 64 blocks.</summary>
    public bool HasWord(ulong word) => word >> (_regionShift - 6) is var region && region < (ulong)_regions.Length && _regions[region];

    public bool Contains(ulong block) => block >= From || HasWord(block >> 6);

    /// <summary>The first block of a run that is closed, or null.</summary>
    public ulong? FirstIn(ulong start, ulong count)
    {
        ulong end = start + count;
        ulong regionsEnd = Math.Min(end, (ulong)_regions.Length << _regionShift);
        for (ulong block = start; block < regionsEnd; block = ((block >> _regionShift) + 1) << _regionShift)
        {
            if (_regions[block >> _regionShift])
            {
                return block;
            }
        }

        return end > From ? Math.Max(start, From) : null;
    }
}
