// SPDX-License-Identifier: MIT
using System.Numerics;
using Exo.Core.Blocks;
using Exo.FileSystems.CFFS.Allocation;
using Exo.FileSystems.CFFS.Volume;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Defragment;

/// <summary>
/// The disk in regions, and how much of each is better left alone: files that lie well already, and blocks of records, which stay and cut what becomes free in two. What is best made free is
/// a region that is free for the most part, or full of what lies scattered and is to move anyway.
/// </summary>
internal sealed class RegionTally
{
    // Some 256 regions, of 256 KiB to 16 MiB.
    private const int RegionsLog2 = 8;
    private const int ShiftMin = 6;
    private const int ShiftMax = 12;

    // A block of records weighs as much as so many blocks that would have to move for nothing.
    private const uint RecordsWeight = 16;

    private readonly VolumeCore _core;
    private readonly int _shift;
    private readonly uint[] _better;

    public RegionTally(VolumeCore core)
    {
        _core = core;
        ulong blocks = core.Disk.BlockCount;
        _shift = Math.Clamp(BitOperations.Log2(blocks) - RegionsLog2, ShiftMin, ShiftMax);
        _better = new uint[(int)(blocks >> _shift)];

        // XN's own blocks, the superblock and the intent log stay.
        Add(new BlockExtent(default, (uint)core.Disk.DataStart.Value), RegionBlocks);
        Add(new BlockExtent(core.RootBlock, 1), RegionBlocks);
        Add(core.LogExtent, RegionBlocks);
    }

    /// <summary>Blocks of files that lie well.</summary>
    public ulong SettledBlocks { get; private set; }

    private uint RegionBlocks => 1U << _shift;

    /// <summary>Blocks of a file that lies well.</summary>
    public void AddSettled(in BlockExtent extent)
    {
        Add(extent, 1);
        SettledBlocks += extent.Count;
    }

    /// <summary>Blocks of a directory's records.</summary>
    public void AddRecords(in BlockExtent extent) => Add(extent, RecordsWeight);

    /// <summary>
    /// The regions to make free, those first for which the least must move for nothing: as many as leave a quarter of what is free elsewhere, when all that lies in them has gone there. Null where there are none.
    /// Under the metadata lock.
    /// </summary>
    /// <param name="eighths">What lies well may be so many eighths of a region.</param>
    public ClosedBlocks? Choose(int eighths)
    {
        // The volume may have become smaller since.
        int regions = (int)Math.Min((ulong)_better.Length, _core.Disk.BlockCount >> _shift);
        uint[] free = [.. Enumerable.Range(0, regions).Select(FreeIn)];
        ulong freeElsewhere = _core.Space.AvailableBlocks;
        ulong mustMove = 0;
        bool[] chosen = new bool[regions];
        foreach (int region in Enumerable.Range(0, regions).Where(region => _better[region] <= RegionBlocks * eighths / 8).OrderBy(region => (4L * _better[region]) + RegionBlocks - free[region]))
        {
            ulong occupied = RegionBlocks - free[region];
            if (free[region] > freeElsewhere || mustMove + occupied > (freeElsewhere - free[region]) / 4 * 3)
            {
                break;
            }

            chosen[region] = true;
            mustMove += occupied;
            freeElsewhere -= free[region];
        }

        return mustMove > 0 ? ClosedBlocks.Regions(chosen, _shift) : null;
    }

    private uint FreeIn(int region)
    {
        uint free = 0;
        foreach (ulong word in _core.Disk.FreeMap.Slice(region << (_shift - 6), 1 << (_shift - 6)))
        {
            free += (uint)BitOperations.PopCount(word);
        }

        return free;
    }

    private void Add(in BlockExtent extent, uint weight)
    {
        for (ulong block = extent.First.Value; block < extent.End.Value;)
        {
            ulong region = block >> _shift;
            ulong end = Math.Min(extent.End.Value, (region + 1) << _shift);
            if (region < (ulong)_better.Length)
            {
                _better[region] = (uint)Math.Min(uint.MaxValue / 2, _better[region] + ((end - block) * weight));
            }

            block = end;
        }
    }
}
