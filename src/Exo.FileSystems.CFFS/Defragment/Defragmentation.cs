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
/// </summary>
internal sealed class Defragmentation(VolumeCore core, bool isDryRun, IProgress<CffsMoveProgress>? progress, CancellationToken cancellationToken)
{
    // Blocks that move to one run at once: larger files get several, each long enough not to matter.
    private const uint RunBlocksMax = 8192;

    // Small files are worth moving when they lie in more runs than their blocks would fill at this length.
    private const uint BlocksPerRun = 32;

    private readonly LayoutTally _before = new();
    private readonly LayoutTally _after = new();
    private ulong _moved;

    /// <summary>A small file, or a pack with those that share its block: then the address is the sector's, and the inode 0.</summary>
    private readonly record struct Small(uint Address, ulong Inode, SmallRun Run)
    {
        public BlockExtent Extent => Run.Extent;

        public bool IsPack => Inode == 0;
    }

    public async ValueTask<CffsDefragmentReport> RunAsync(Inode root, IoMode mode)
    {
        CffsLayout spaceBefore = new LayoutTally().ToLayout(core.Disk);
        await DirectoryWalk.RunAsync(core, [root], (directory, found) => VisitAsync(directory, found, mode)).ConfigureAwait(false);
        if (_moved > 0)
        {
            await core.Committer.SyncAsync(mode).ConfigureAwait(false);
        }

        return new CffsDefragmentReport(_moved, _before.ToLayout(core.Disk) with { FreeBlocksByRunLength = spaceBefore.FreeBlocksByRunLength }, _after.ToLayout(core.Disk));
    }

    private async ValueTask VisitAsync(Inode directory, Stack<Inode> directories, IoMode mode)
    {
        List<Small> small = [];
        await ReadAsync(directory, directories, small, mode).ConfigureAwait(false);
        List<SmallRun> runs = small.ConvertAll(item => item.Run);
        int runCount = LayoutTally.RunsOf(runs);
        _before.AddDirectory(runs, runCount, areTogether: false);
        uint blocks = (uint)small.Sum(item => item.Extent.Count);
        BlockExtent place = default;
        bool moves = runCount > 1 + (blocks / BlocksPerRun);
        if (moves)
        {
            lock (core.Metadata)
            {
                moves = blocks <= core.Space.AvailableBlocks && core.Allocator.TryFindRun(Math.Min(blocks, RunBlocksMax), out place) && place.Count >= Math.Min(blocks, RunBlocksMax);
            }
        }

        if (!moves || isDryRun)
        {
            _after.AddDirectory(runs, moves ? 1 : runCount, areTogether: moves);
            return;
        }

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

        small.Clear();
        await ReadAsync(directory, null, small, mode).ConfigureAwait(false);
        runs = small.ConvertAll(item => item.Run);
        runCount = LayoutTally.RunsOf(runs);
        _after.AddDirectory(runs, runCount, areTogether: false);
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
            _before.AddLarge(runs);
            int gain = 0;
            for (int last = file.Map.Count - 1; last > 0 && runs > 1;)
            {
                // The extents of one part, from its last one back.
                int first = last;
                ulong blocks = file.Map[last].Count;
                while (first > 0 && blocks + file.Map[first - 1].Count <= RunBlocksMax)
                {
                    blocks += file.Map[--first].Count;
                }

                int partRuns = LayoutTally.RunsOf(file.Map.Extents[first..(last + 1)]);
                if (partRuns > 1 && TryPlan((uint)blocks, out BlockExtent place))
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

            _after.AddLarge(isDryRun ? Math.Max(1, runs - gain) : LayoutTally.RunsOf(file.Map.Extents));
        }
        finally
        {
            file.Lock.Exit();
        }
    }

    private bool TryPlan(uint blocks, out BlockExtent place)
    {
        lock (core.Metadata)
        {
            place = default;
            return blocks + 8UL <= core.Space.AvailableBlocks && core.Allocator.TryFindRun(blocks, out place) && place.Count == blocks;
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
