// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Allocation;

/// <summary>
/// Where new blocks go. XN exports the free map; this class only reads it and proposes. Small files of one directory share a <b>window</b>, a run
/// of free blocks set aside in memory, so that they lie next to one another (explicit grouping, USENIX '97); a growing file has a window of its own.
/// Windows are promises among callers of this volume, not facts on the disk: <see cref="XnVolume.Apply"/> has the last word.
/// <para>On a disk that has aged, a directory fills the holes near its own files before it takes a new window, and long runs are left to windows and large files. A search looks at a bounded part
/// of the map from its goal on and then takes the best that it has seen; only where it has seen nothing it goes on.</para>
/// Guarded by the volume's metadata lock.
/// </summary>
internal sealed class BlockAllocator(XnVolume disk)
{
    /// <summary>Blocks of a directory's window: 256 KiB, sixteen of the original's groups of 16 KiB.</summary>
    public const uint DirectoryWindowBlocks = 64;

    /// <summary>Files up to this many blocks (64 KiB) live in their directory's window.</summary>
    public const uint SmallFileBlocks = 16;

    // How far from a directory's blocks a hole is still near them: what is read together with one of its files (FileStore).
    private const ulong NearBlocks = 64;

    // Words of the map that one search looks at before it takes what it has found: 4 GiB of disk.
    private const long WordsMax = 1 << 14;

    private readonly FreeRuns _runs = new(disk);
    private ulong _cursor;
    private uint _generation;

    /// <summary>Explicit grouping. Without it everything is placed behind what was placed last, whosever that was.</summary>
    public bool HasWindows { get; set; } = true;

    /// <summary>
    /// Finds up to <paramref name="wanted"/> adjacent blocks: at <paramref name="goal"/> if it is free, else the first run of that length from there on,
    /// else the longest run seen. False when no block is free.
    /// </summary>
    public bool TryFind(ulong goal, uint wanted, out BlockExtent extent)
    {
        if (goal == 0 || goal >= _runs.End)
        {
            goal = _cursor < _runs.End ? _cursor : 0;
        }

        uint atGoal = _runs.LengthAt(goal, wanted);
        if (atGoal > 0 && (atGoal == wanted || wanted <= SmallFileBlocks))
        {
            extent = new BlockExtent(new BlockNumber(goal), atGoal);
        }
        else if (!TrySearch(goal, wanted, out extent) && !(CallOffPromises() && TrySearch(goal, wanted, out extent)))
        {
            return false;
        }

        _cursor = extent.End.Value;
        return true;
    }

    /// <summary>
    /// Takes blocks from a window, refilling it near <paramref name="goal"/> when it is too small for the request. What is taken is no longer set aside:
    /// the caller allocates it at once, under the same lock. False when the disk is full.
    /// </summary>
    public bool TryTake(ref AllocationWindow window, ulong goal, uint wanted, uint windowBlocks, out BlockExtent extent)
    {
        if (!HasWindows)
        {
            return TryFind(0, wanted, out extent);
        }

        DropIfVoid(ref window);
        if (window.Count < wanted && window.Count < windowBlocks / 4)
        {
            ulong near = window.Next != 0 ? window.Next : goal;
            bool isOfDirectory = windowBlocks == DirectoryWindowBlocks && wanted <= SmallFileBlocks;
            if (isOfDirectory && window.Count == 0 && window.Next != 0 && TryNear(window.Next, wanted, out extent))
            {
                return true;
            }

            Close(ref window);
            if (!TryFind(near, Math.Max(wanted, Affordable(windowBlocks)), out BlockExtent found))
            {
                extent = default;
                return false;
            }

            _runs.Set(found, aside: true);
            window = new AllocationWindow(found.First.Value, found.Count, _generation);
        }

        extent = Take(ref window, wanted);
        return true;
    }

    /// <summary>Sets one run aside, behind what was placed last: as long as wanted, or the longest that was seen. It is used up and not refilled (<see cref="TryTakeSetAside"/>). Empty where there is none.</summary>
    public AllocationWindow SetAside(uint blocks)
    {
        BlockExtent found = default;
        if (!HasWindows || blocks == 0 || !TrySearch(_cursor < _runs.End ? _cursor : 0, Affordable(blocks), out found))
        {
            return default;
        }

        _cursor = found.End.Value;
        _runs.Set(found, aside: true);
        return new AllocationWindow(found.First.Value, found.Count, _generation);
    }

    /// <summary>Takes blocks that were set aside, as many as are left of those wanted; the caller allocates them at once, under the same lock. False when none is left.</summary>
    public bool TryTakeSetAside(ref AllocationWindow window, uint wanted, out BlockExtent extent)
    {
        DropIfVoid(ref window);
        extent = window.Count > 0 ? Take(ref window, wanted) : default;
        return extent.Count > 0;
    }

    /// <summary>The run at exactly this place, if all of it is free and not set aside.</summary>
    public bool TryFindAt(ulong start, uint wanted, out BlockExtent extent)
    {
        extent = new BlockExtent(new BlockNumber(start), wanted);
        return IsFree(extent);
    }

    /// <summary>Whether all of a run is free and not set aside.</summary>
    public bool IsFree(in BlockExtent extent) => _runs.LengthAt(extent.First.Value, extent.Count) == extent.Count;

    /// <summary>The first run of so many blocks on the disk, or the longest that there is. False when none is free.</summary>
    public bool TryFindRun(uint wanted, out BlockExtent extent)
    {
        extent = default;
        long words = long.MaxValue;
        return _runs.TryFirst(0, _runs.End, wanted, ref extent, ref words) || extent.Count > 0;
    }

    /// <summary>A free block: this one if it is free, else the last one of the first long run, so that there is room before it.</summary>
    public bool TryFindDown(ulong block, out BlockExtent extent)
    {
        if (block != 0 && _runs.IsFree(block))
        {
            extent = new BlockExtent(new BlockNumber(block), 1);
            return true;
        }

        if (!TryFindRun(SmallFileBlocks, out BlockExtent run))
        {
            extent = default;
            return false;
        }

        extent = new BlockExtent(new BlockNumber(run.End.Value - 1), 1);
        return true;
    }

    /// <summary>Gives the rest of a window back.</summary>
    public void Close(ref AllocationWindow window)
    {
        if (window.Count > 0 && window.Generation == _generation)
        {
            _runs.Set(new BlockExtent(new BlockNumber(window.Next), window.Count), aside: false);
        }

        window = default;
    }

    /// <summary>
    /// From now on none of these blocks is found. A volume that shrinks comes before regions that are to be made free, and those are only asked for: they are opened again when nothing else is free.
    /// False when there is something closed already.
    /// </summary>
    public bool TryClose(ClosedBlocks blocks)
    {
        if (_runs.Closed != ClosedBlocks.None && (IsShrinking || blocks.From == ulong.MaxValue))
        {
            return false;
        }

        VoidWindows();
        _runs.Closed = blocks;
        return true;
    }

    /// <summary>Whether these blocks are closed still.</summary>
    public bool IsClosed(ClosedBlocks blocks) => _runs.Closed == blocks;

    /// <summary>Opens blocks again, if they are closed still.</summary>
    public void Open(ClosedBlocks blocks)
    {
        if (IsClosed(blocks))
        {
            _runs.Closed = ClosedBlocks.None;
        }
    }

    private bool IsShrinking => _runs.Closed.From != ulong.MaxValue;

    private void DropIfVoid(ref AllocationWindow window)
    {
        if (window.Count > 0 && window.Generation != _generation)
        {
            window = window with { Count = 0 };
        }
    }

    private BlockExtent Take(ref AllocationWindow window, uint wanted)
    {
        uint take = Math.Min(wanted, window.Count);
        BlockExtent extent = new(new BlockNumber(window.Next), take);
        _runs.Set(extent, aside: false);
        window = window with { Next = window.Next + take, Count = window.Count - take };
        return extent;
    }

    /// <summary>A window may have an eighth of the free blocks, and nothing more is set aside than needed once half of them are.</summary>
    private uint Affordable(uint windowBlocks)
    {
        ulong free = disk.FreeBlocks;
        return _runs.SetAsideBlocks > free / 2 ? 1 : (uint)Math.Clamp(free / 8, 1, windowBlocks);
    }

    /// <summary>A hole near where the directory got its last blocks.</summary>
    private bool TryNear(ulong center, uint wanted, out BlockExtent extent) =>
        _runs.TryHole(center > NearBlocks ? center - NearBlocks : 0, center + NearBlocks, wanted, SmallFileBlocks, out extent);

    private bool TrySearch(ulong goal, uint wanted, out BlockExtent extent)
    {
        extent = default;
        long words = WordsMax;
        bool found = _runs.TryFirst(goal, ulong.MaxValue, wanted, ref extent, ref words) || _runs.TryFirst(0, goal, wanted, ref extent, ref words);
        if (!found && extent.Count == 0)
        {
            words = long.MaxValue;
            _ = _runs.TryFirst(0, _runs.End, Math.Min(wanted, SmallFileBlocks), ref extent, ref words);
        }

        return extent.Count > 0;
    }

    /// <summary>Voids all windows and opens regions that are closed: the disk looks full only because of them. False when there are none.</summary>
    private bool CallOffPromises()
    {
        bool hasClosed = _runs.Closed != ClosedBlocks.None && !IsShrinking;
        if (_runs.SetAsideBlocks == 0 && !hasClosed)
        {
            return false;
        }

        if (hasClosed)
        {
            _runs.Closed = ClosedBlocks.None;
        }

        VoidWindows();
        return true;
    }

    private void VoidWindows()
    {
        _runs.Clear();
        _generation++;
    }
}

/// <summary>The unused rest of a run of blocks set aside for one directory or one growing file; void once the generation has moved on. With Count 0: where the last one was.</summary>
internal readonly record struct AllocationWindow(ulong Next, uint Count, uint Generation);
