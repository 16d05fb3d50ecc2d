// SPDX-License-Identifier: MIT
using System.Numerics;
using Exo.Core.Blocks;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Allocation;

/// <summary>
/// Where new blocks go. XN exports the free map; this class only reads it and proposes. Small files of one directory share a <b>window</b>, a run
/// of free blocks set aside in memory, so that they lie next to one another (explicit grouping, USENIX '97); a growing file has a window of its own.
/// Windows are promises among callers of this volume, not facts on the disk: <see cref="XnVolume.Apply"/> has the last word.
/// Guarded by the volume's metadata lock.
/// </summary>
internal sealed class BlockAllocator(XnVolume disk)
{
    /// <summary>Blocks of a directory's window: 256 KiB, sixteen of the original's groups of 16 KiB.</summary>
    public const uint DirectoryWindowBlocks = 64;

    /// <summary>Files up to this many blocks (64 KiB) live in their directory's window.</summary>
    public const uint SmallFileBlocks = 16;

    private readonly ulong[] _reserved = new ulong[(disk.BlockCount + 63) / 64];
    private ulong _reservedBlocks;
    private ulong _cursor;
    private uint _generation;

    /// <summary>Blocks that are free and not set aside.</summary>
    private ulong Available(ulong word) => disk.FreeMap[(int)word] & ~_reserved[word];

    /// <summary>
    /// Finds up to <paramref name="wanted"/> adjacent blocks: at <paramref name="goal"/> if it is free, else the first run of that length from there on,
    /// else the longest run there is. False when no block is free.
    /// </summary>
    public bool TryFind(ulong goal, uint wanted, out BlockExtent extent)
    {
        ulong total = disk.BlockCount;
        if (goal == 0 || goal >= total)
        {
            goal = _cursor;
        }

        uint atGoal = RunLength(goal, wanted);
        if (atGoal > 0 && (atGoal == wanted || wanted <= SmallFileBlocks))
        {
            extent = new BlockExtent(new BlockNumber(goal), atGoal);
            _cursor = goal + atGoal;
            return true;
        }

        ulong bestStart = 0;
        uint best = 0;
        if (Scan(goal, total, wanted, ref bestStart, ref best) || Scan(0, goal, wanted, ref bestStart, ref best) || best > 0)
        {
            extent = new BlockExtent(new BlockNumber(bestStart), best);
            _cursor = bestStart + best;
            return true;
        }

        extent = default;
        return false;
    }

    /// <summary>
    /// Takes blocks from a window, refilling it near <paramref name="goal"/> when it is too small for the request. What is taken is no longer set aside:
    /// the caller allocates it at once, under the same lock. False when the disk is full.
    /// </summary>
    public bool TryTake(ref AllocationWindow window, ulong goal, uint wanted, uint windowBlocks, out BlockExtent extent)
    {
        if (window.Count > 0 && window.Generation != _generation)
        {
            window = default;
        }

        if (window.Count < wanted && window.Count < windowBlocks / 4)
        {
            ulong near = window.Count > 0 ? window.Next : goal;
            Close(ref window);
            if (_reservedBlocks > disk.FreeBlocks / 4)
            {
                CallOffPromises();
            }

            if (TryFind(near, Math.Max(wanted, windowBlocks), out BlockExtent found)
                || (CallOffPromises() && TryFind(near, Math.Max(wanted, windowBlocks), out found)))
            {
                Reserve(found, reserve: true);
                window = new AllocationWindow(found.First.Value, found.Count, _generation);
            }
        }

        if (window.Count == 0)
        {
            extent = default;
            return false;
        }

        uint take = Math.Min(wanted, window.Count);
        extent = new BlockExtent(new BlockNumber(window.Next), take);
        Reserve(extent, reserve: false);
        window = window with { Next = window.Next + take, Count = window.Count - take };
        return true;
    }

    /// <summary>The run at exactly this place, if all of it is free and not set aside.</summary>
    public bool TryFindAt(ulong start, uint wanted, out BlockExtent extent)
    {
        extent = new BlockExtent(new BlockNumber(start), wanted);
        return start + wanted <= disk.BlockCount && RunLength(start, wanted) == wanted;
    }

    /// <summary>Gives the rest of a window back.</summary>
    public void Close(ref AllocationWindow window)
    {
        if (window.Count > 0 && window.Generation == _generation)
        {
            Reserve(new BlockExtent(new BlockNumber(window.Next), window.Count), reserve: false);
        }

        window = default;
    }

    /// <summary>Voids all windows: too much is set aside for too many, or the disk looks full only because of them.</summary>
    private bool CallOffPromises()
    {
        Array.Clear(_reserved);
        _reservedBlocks = 0;
        _generation++;
        return true;
    }

    private void Reserve(in BlockExtent extent, bool reserve)
    {
        for (ulong block = extent.First.Value; block < extent.First.Value + extent.Count; block++)
        {
            ulong bit = 1UL << (int)(block & 63);
            if (reserve)
            {
                _reserved[block >> 6] |= bit;
            }
            else
            {
                _reserved[block >> 6] &= ~bit;
            }
        }

        _reservedBlocks = reserve ? _reservedBlocks + extent.Count : _reservedBlocks - extent.Count;
    }

    private uint RunLength(ulong start, uint limit)
    {
        uint length = 0;
        ulong total = disk.BlockCount;
        while (length < limit && start + length < total && (Available((start + length) >> 6) >> (int)((start + length) & 63) & 1) != 0)
        {
            length++;
        }

        return length;
    }

    private bool Scan(ulong from, ulong to, uint wanted, ref ulong bestStart, ref uint best)
    {
        ulong block = from;
        while (block < to)
        {
            ulong word = Available(block >> 6) >> (int)(block & 63);
            if (word == 0)
            {
                block = (block | 63) + 1;
                continue;
            }

            block += (uint)BitOperations.TrailingZeroCount(word);
            if (block >= to)
            {
                break;
            }

            uint run = RunLength(block, wanted);
            if (run > best)
            {
                best = run;
                bestStart = block;
                if (run == wanted)
                {
                    return true;
                }
            }

            block += Math.Max(run, 1);
        }

        return false;
    }
}

/// <summary>The unused rest of a run of blocks set aside for one directory or one growing file; void once the generation has moved on.</summary>
internal readonly record struct AllocationWindow(ulong Next, uint Count, uint Generation);
