// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.FileSystems.CFFS.Allocation;
using Exo.FileSystems.CFFS.Directories;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Relocation;
using Exo.FileSystems.CFFS.Volume;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Defragment;

/// <summary>
/// Brings the small files of each directory together again, and the blocks of large files. Goes over a tree while others work in it: each step locks one file, moves at most a mebibyte of it, and is
/// whole or absent after a crash. What is shared with others stays where it is, and what nothing is gained by.
/// <para>Where free runs are too short for what is to come together, regions of the disk are made free (<see cref="RegionTally"/>, <see cref="Evacuation"/>), into whatever holes there are, and the tree is gone over again; so on
/// as long as it gains. That is done for a whole volume only: of what lies outside of a tree it is not known what lies well.</para>
/// </summary>
internal sealed class Defragmentation(VolumeCore core, bool isDryRun, IProgress<CffsMoveProgress>? progress, CancellationToken cancellationToken)
{
    // Blocks that move to one run at once: larger files get several, each long enough not to matter.
    private const uint RunBlocksMax = 8192;

    // Small files are worth moving when they lie in more runs than their blocks would fill at this length.
    private const uint BlocksPerRun = 32;

    // With a tenth of the disk free the tree is gone over some forty times.
    private const int SweepsMax = 64;

    // One run too many among so many wholes is not worth making room for.
    private const int ExcessPart = 100;

    // Where a sweep gains less than this part, regions are made free of which more lies well already: an eighth at first, half of them at most.
    private const double GainLeast = 0.01;
    private const int EighthsMax = 4;

    // Large files lie well in runs of a mebibyte.
    private const uint RunBlocksEnough = 256;

    private Sweep _sweep = new(core);
    private ulong _moved;

    /// <summary>What is seen when the tree is gone over once.</summary>
    private sealed class Sweep(VolumeCore core)
    {
        public LayoutTally Before { get; } = new();

        public LayoutTally After { get; } = new();

        public RegionTally Regions { get; } = new(core);

        /// <summary>What is to lie together: the small files of a directory, a large file.</summary>
        public long Wholes { get; set; }

        /// <summary>Runs too many of those that wanted to come together and found no place.</summary>
        public long ExcessRuns { get; set; }
    }

    /// <summary>A small file, or a pack with those that share its block: then the address is the sector's, and the inode 0.</summary>
    private readonly record struct Small(uint Address, ulong Inode, SmallRun Run)
    {
        public BlockExtent Extent => Run.Extent;

        public bool IsPack => Inode == 0;
    }

    public async ValueTask<CffsDefragmentReport> RunAsync(Inode root, IoMode mode)
    {
        CffsLayout spaceBefore = new LayoutTally().ToLayout(core.Disk);
        await SweepAsync(root, mode).ConfigureAwait(false);
        CffsLayout before = _sweep.Before.ToLayout(core.Disk) with { FreeBlocksByRunLength = spaceBefore.FreeBlocksByRunLength };
        if (!isDryRun && root == core.Root)
        {
            await SweepWithRoomAsync(root, mode).ConfigureAwait(false);
        }

        if (_moved > 0)
        {
            await core.Committer.SyncAsync(mode).ConfigureAwait(false);
        }

        return new CffsDefragmentReport(_moved, before, _sweep.After.ToLayout(core.Disk));
    }

    private ValueTask SweepAsync(Inode root, IoMode mode) => DirectoryWalk.RunAsync(core, [root], (directory, found) => VisitAsync(directory, found, mode));

    private async ValueTask SweepWithRoomAsync(Inode root, IoMode mode)
    {
        (ulong settledMost, long excessLeast) = (_sweep.Regions.SettledBlocks, _sweep.ExcessRuns);
        int eighths = 1;
        for (int sweeps = 0; sweeps < SweepsMax && eighths <= EighthsMax && _sweep.ExcessRuns > _sweep.Wholes / ExcessPart; sweeps++)
        {
            if (await MakeRoomAsync(eighths, mode).ConfigureAwait(false))
            {
                _sweep = new Sweep(core);
                await SweepAsync(root, mode).ConfigureAwait(false);
            }

            // What lies scattered may come to lie more so, until it is its turn: what counts is how much has had it.
            bool gains = _sweep.Regions.SettledBlocks > settledMost * (1 + GainLeast) || _sweep.ExcessRuns < excessLeast * (1 - GainLeast);
            eighths = gains ? 1 : eighths * 2;
            settledMost = Math.Max(settledMost, _sweep.Regions.SettledBlocks);
            excessLeast = Math.Min(excessLeast, _sweep.ExcessRuns);
        }
    }

    /// <summary>Makes regions free that are worth it. False where there are none, or others have closed some.</summary>
    private async ValueTask<bool> MakeRoomAsync(int eighths, IoMode mode)
    {
        await Evacuation.SettleAsync(core, mode).ConfigureAwait(false);
        ClosedBlocks? closed;
        lock (core.Metadata)
        {
            closed = _sweep.Regions.Choose(eighths);
            if (closed is null || !core.Allocator.TryClose(closed))
            {
                return false;
            }
        }

        try
        {
            await new Evacuation(core, closed, isRequired: false, Count, cancellationToken).RunAsync(mode).ConfigureAwait(false);
            await Evacuation.SettleAsync(core, mode).ConfigureAwait(false);
        }
        finally
        {
            core.Open(closed);
        }

        return true;
    }

    private async ValueTask VisitAsync(Inode directory, Stack<Inode> directories, IoMode mode)
    {
        List<Small> small = [];
        await ReadAsync(directory, directories, small, mode).ConfigureAwait(false);
        List<SmallRun> runs = small.ConvertAll(item => item.Run);
        int runCount = LayoutTally.RunsOf(runs);
        _sweep.Before.AddDirectory(runs, runCount, areTogether: false);
        uint blocks = (uint)small.Sum(item => item.Extent.Count);
        BlockExtent place = default;
        bool moves = runCount > RunsEnough(blocks);
        if (moves && !isDryRun)
        {
            lock (core.Metadata)
            {
                moves = blocks <= core.Space.AvailableBlocks && core.Allocator.TryFindRun(Math.Min(blocks, RunBlocksMax), out place) && place.Count >= Math.Min(blocks, RunBlocksMax);
            }
        }

        if (isDryRun)
        {
            _sweep.After.AddDirectory(runs, moves ? 1 : runCount, areTogether: moves);
            return;
        }

        if (moves)
        {
            await MoveTogetherAsync(directory, small, place, mode).ConfigureAwait(false);
            small.Clear();
            await ReadAsync(directory, null, small, mode).ConfigureAwait(false);
            runs = small.ConvertAll(item => item.Run);
            runCount = LayoutTally.RunsOf(runs);
            blocks = (uint)small.Sum(item => item.Extent.Count);
        }

        _sweep.After.AddDirectory(runs, runCount, areTogether: false);
        _sweep.Wholes++;
        if (runCount > RunsEnough(blocks))
        {
            _sweep.ExcessRuns += runCount - RunsEnough(blocks);
        }
        else
        {
            runs.ForEach(run => _sweep.Regions.AddSettled(run.Extent));
        }
    }

    private static int RunsEnough(uint blocks) => 1 + (int)(blocks / BlocksPerRun);

    private async ValueTask MoveTogetherAsync(Inode directory, List<Small> small, BlockExtent place, IoMode mode)
    {
        foreach (Small item in small)
        {
            if (place.Count < item.Extent.Count)
            {
                break;
            }

            cancellationToken.ThrowIfCancellationRequested();
            BlockExtent target = new(place.First, item.Extent.Count);
            if (item.IsPack ? await MovePackAsync(directory, item, target, mode).ConfigureAwait(false) : await MoveSmallAsync(directory, item, target, mode).ConfigureAwait(false))
            {
                place = new BlockExtent(target.End, place.Count - target.Count);
            }
        }
    }

    /// <summary>The small files of a directory; with <paramref name="directories"/>, its directories, held, are put there, and its large files are looked after.</summary>
    private async ValueTask ReadAsync(Inode directory, Stack<Inode>? directories, List<Small> small, IoMode mode)
    {
        for (ulong logical = 0; logical != ulong.MaxValue; logical++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            List<Inode> large = [];
            await directory.Lock.EnterAsync(mode).ConfigureAwait(false);
            try
            {
                if (directory.IsRemoved)
                {
                    return;
                }

                await core.Directories.EnsureLoadedAsync(directory, mode).ConfigureAwait(false);
                logical = directory.Map.NextMapped(logical);
                if (logical == ulong.MaxValue)
                {
                    return;
                }

                if (directories is not null && directory.Map.TryFind(logical, out MappedExtent records))
                {
                    _sweep.Regions.AddRecords(new BlockExtent(new BlockNumber(records.Start + (logical - records.Logical)), 1));
                }

                await ReadBlockAsync(directory, logical, directories, small, large, mode).ConfigureAwait(false);
            }
            finally
            {
                directory.Lock.Exit();
            }

            foreach (Inode file in large)
            {
                try
                {
                    await VisitLargeAsync(file, mode).ConfigureAwait(false);
                }
                finally
                {
                    core.Inodes.Release(file);
                }
            }
        }
    }

    private async ValueTask ReadBlockAsync(Inode directory, ulong logical, Stack<Inode>? directories, List<Small> small, List<Inode> large, IoMode mode)
    {
        for (uint index = 0; index < Slot.PerBlock; index++)
        {
            SlotPlace place = await core.Directories.PlaceAsync(directory, (uint)(logical * Slot.PerBlock) + index, mode).ConfigureAwait(false);
            ReadOnlySpan<byte> sector = core.Directories.SectorOf(place);
            if (place.InSector == 0 && Pack.TryFind(sector, out _, out ulong pack))
            {
                small.Add(new Small(place.Address, 0, new SmallRun(new BlockExtent(new BlockNumber(pack), 1), Pack.FilesOf(sector))));
            }

            bool isRecord = Record.TryParse(sector, place.InSector, out Record record) && !directory.Directory!.Dead.Contains(place.Address);
            bool isFile = isRecord && record.Kind == SlotKind.File;
            if (isFile && record.Depth == 0 && record.Count is > 0 and <= BlockAllocator.SmallFileBlocks)
            {
                small.Add(new Small(place.Address, record.Inode, new SmallRun(new BlockExtent(new BlockNumber(record.Start), record.Count), 1)));
            }
            else if (directories is not null && isFile && record.Count > 0)
            {
                large.Add(await core.GetInodeAsync(directory, place, mode).ConfigureAwait(false));
                continue;
            }
            else if (directories is not null && isRecord && record.Kind == SlotKind.Directory)
            {
                directories.Push(await core.GetInodeAsync(directory, place, mode).ConfigureAwait(false));
                continue;
            }

            core.Cache.Release(place.Frame);
        }
    }

    private async ValueTask<bool> MovePackAsync(Inode directory, Small pack, BlockExtent place, IoMode mode)
    {
        MoveOutcome outcome = await core.Moves.MovePackAsync(
            directory, pack.Address, pack.Extent.First, () => core.Allocator.IsFree(place) ? place : null, mode).ConfigureAwait(false);
        Count(outcome == MoveOutcome.Moved ? 1U : 0);
        return outcome == MoveOutcome.Moved;
    }

    private async ValueTask<bool> MoveSmallAsync(Inode directory, Small file, BlockExtent place, IoMode mode)
    {
        Inode inode;
        await directory.Lock.EnterAsync(mode).ConfigureAwait(false);
        try
        {
            if (directory.IsRemoved)
            {
                return false;
            }

            SlotPlace slot = await core.Directories.PlaceAsync(directory, file.Address, mode).ConfigureAwait(false);
            if (!Record.TryParse(core.Directories.SectorOf(slot), slot.InSector, out Record record) || record.Inode != file.Inode || record.Kind != SlotKind.File)
            {
                core.Cache.Release(slot.Frame);
                return false;
            }

            inode = await core.GetInodeAsync(directory, slot, mode).ConfigureAwait(false);
        }
        finally
        {
            directory.Lock.Exit();
        }

        await inode.Lock.EnterAsync(mode).ConfigureAwait(false);
        try
        {
            if (inode.IsRemoved || inode.Record.Depth != 0 || inode.Record.Start != file.Extent.First.Value || inode.Record.Count != file.Extent.Count || core.Moves.IsShared(file.Extent))
            {
                return false;
            }

            await core.Maps.EnsureAsync(inode, mode).ConfigureAwait(false);
            uint moved = await core.Moves.MoveTailAsync(inode, inode.Map[0], place, mode).ConfigureAwait(false);
            Count(moved);
            return moved == file.Extent.Count;
        }
        finally
        {
            inode.Lock.Exit();
            core.Inodes.Release(inode);
        }
    }

    private async ValueTask VisitLargeAsync(Inode file, IoMode mode)
    {
        await file.Lock.EnterAsync(mode).ConfigureAwait(false);
        try
        {
            if (file.IsRemoved)
            {
                return;
            }

            await core.Maps.EnsureAsync(file, mode).ConfigureAwait(false);
            int runs = LayoutTally.RunsOf(file.Map.Extents);
            _sweep.Before.AddLarge(runs);
            int gain = 0;
            for (int last = file.Map.Count - 1; last > 0 && runs > 1;)
            {
                // The extents of one part, from its last one back; of a shorter one where there is no run for all of it.
                BlockExtent place = default;
                (int first, uint blocks) = PartBefore(file.Map, last, RunBlocksMax);
                if (!isDryRun && !TryPlan(blocks, out place))
                {
                    (first, blocks) = PartBefore(file.Map, last, place.Count);
                }

                int partRuns = LayoutTally.RunsOf(file.Map.Extents[first..(last + 1)]);
                if (partRuns > 1 && (isDryRun || TryPlan(blocks, out place)))
                {
                    gain += partRuns - 1;
                    if (!isDryRun)
                    {
                        ulong begin = file.Map[first].Logical;
                        ulong end = file.Map[last].LogicalEnd;
                        await MovePartAsync(file, begin, end, place, mode).ConfigureAwait(false);

                        // Extents may have joined: where the part begins now.
                        first = file.Map.IndexAtOrBefore(begin);
                    }
                }

                last = first - 1;
            }

            runs = isDryRun ? Math.Max(1, runs - gain) : LayoutTally.RunsOf(file.Map.Extents);
            _sweep.After.AddLarge(runs);
            AddOutcome(file.Map, runs);
        }
        finally
        {
            file.Lock.Exit();
        }
    }

    /// <summary>The extents that end with one and have no more blocks than this together: the first of them, at least that one, and their blocks.</summary>
    private static (int First, uint Blocks) PartBefore(BlockMap map, int last, uint blocksMax)
    {
        int first = last;
        ulong blocks = map[last].Count;
        while (first > 0 && blocks + map[first - 1].Count <= blocksMax)
        {
            blocks += map[--first].Count;
        }

        return (first, (uint)blocks);
    }

    /// <summary>A run for so many blocks; where there is none, the longest that there is.</summary>
    private bool TryPlan(uint blocks, out BlockExtent place)
    {
        lock (core.Metadata)
        {
            place = default;
            return blocks + 8UL <= core.Space.AvailableBlocks && core.Allocator.TryFindRun(blocks, out place) && place.Count == blocks;
        }
    }

    private void AddOutcome(BlockMap map, int runs)
    {
        ulong blocks = 0;
        foreach (MappedExtent extent in map.Extents)
        {
            blocks += extent.Count;
        }

        _sweep.Wholes++;
        int enough = 1 + (int)(blocks / RunBlocksEnough);
        if (runs > enough)
        {
            _sweep.ExcessRuns += runs - enough;
            return;
        }

        foreach (MappedExtent extent in map.Extents)
        {
            _sweep.Regions.AddSettled(new BlockExtent(new BlockNumber(extent.Start), extent.Count));
        }
    }

    /// <summary>Moves all extents of a part of a file to one run, the last one first.</summary>
    private async ValueTask MovePartAsync(Inode file, ulong begin, ulong end, BlockExtent place, IoMode mode)
    {
        while (end > begin)
        {
            int at = file.Map.IndexAtOrBefore(end - 1);
            if (at < 0 || file.Map[at].LogicalEnd <= begin)
            {
                return;
            }

            // A hole, or what is left of an extent whose end has moved already.
            MappedExtent extent = file.Map[at];
            end = Math.Min(end, extent.LogicalEnd);
            uint count = extent.LogicalEnd == end ? extent.Count : 0;
            if (count == 0 || core.Moves.IsShared(new BlockExtent(new BlockNumber(extent.Start), count)))
            {
                return;
            }

            cancellationToken.ThrowIfCancellationRequested();
            uint moved = await core.Moves.MoveTailAsync(file, extent, new BlockExtent(place.First, place.Count), mode).ConfigureAwait(false);
            if (moved == 0)
            {
                return;
            }

            Count(moved);
            end -= moved;
            place = new BlockExtent(place.First, place.Count - moved);
        }
    }

    private void Count(uint moved)
    {
        _moved += moved;
        progress?.Report(new CffsMoveProgress(_moved));
    }
}
