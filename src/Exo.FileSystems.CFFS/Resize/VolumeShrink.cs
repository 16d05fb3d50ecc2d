// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Directories;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Relocation;
using Exo.FileSystems.CFFS.Volume;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Resize;

/// <summary>
/// Takes everything that lies beyond a block to free places before it: contents, records, extent trees, indexes, attributes. In steps, each of which holds the locks of one inode (or of one block of
/// records) only; others may work meanwhile, and get blocks before that one only. What has moved stays moved when it is interrupted: the next run goes on.
/// </summary>
internal sealed class VolumeShrink(VolumeCore core, ulong blockCount, IProgress<CffsMoveProgress>? progress, CancellationToken cancellationToken)
{
    private const int PassesMax = 8;

    private ulong _moved;

    /// <summary>Moves what lies beyond, until nothing does. The volume keeps its size.</summary>
    /// <exception cref="CffsException">NoSpace: it does not fit, in all or in the runs that are free; Busy: something that cannot move lies beyond.</exception>
    public async ValueTask RunAsync(IoMode mode)
    {
        // What was removed a moment ago is room for what must move.
        await SettleAsync(mode).ConfigureAwait(false);
        RequireFits();
        for (int pass = 0; ; pass++)
        {
            ulong before = _moved;
            await VisitAllAsync(mode).ConfigureAwait(false);
            await SettleAsync(mode).ConfigureAwait(false);

            // What was opened, renamed or written meanwhile may have escaped a pass; what got new blocks has them before the limit.
            if (_moved == before || pass == PassesMax)
            {
                return;
            }
        }
    }

    /// <summary>What has been given up becomes free.</summary>
    private async ValueTask SettleAsync(IoMode mode)
    {
        for (int i = 0; i < PassesMax && (i == 0 || core.Disk.WillFreeBlocks > 0 || core.Committer.ActionsWaiting > 0); i++)
        {
            await core.Committer.SyncAsync(mode).ConfigureAwait(false);
        }
    }

    private void RequireFits()
    {
        BlockExtent log = core.LogExtent;
        if (core.RootBlock.Value >= blockCount || log.End.Value > blockCount)
        {
            throw new CffsException(CffsError.Busy, $"the superblock (block {core.RootBlock.Value}) or the intent log (from {log.First.Value}) would go");
        }

        ulong used = core.Disk.BlockCount - core.Disk.FreeBlocks - core.Disk.WillFreeBlocks;
        if (used + core.Space.Blocks > blockCount)
        {
            throw new CffsException(CffsError.NoSpace, $"{used} blocks are in use and {core.Space.Blocks} are kept for removals: they do not fit into {blockCount}");
        }
    }

    private ValueTask VisitAllAsync(IoMode mode) =>
        DirectoryWalk.RunAsync(core, [core.Root, core.Orphans, core.Externals], (directory, found) => VisitDirectoryAsync(directory, found, mode));

    private async ValueTask VisitDirectoryAsync(Inode directory, Stack<Inode> directories, IoMode mode)
    {
        await MoveSlotsAsync(directory, mode).ConfigureAwait(false);
        await VisitInodeAsync(directory, mode).ConfigureAwait(false);
        for (ulong logical = 0; logical != ulong.MaxValue; logical++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            List<Inode> found = [];
            List<(uint Sector, BlockNumber Pack)> packs = [];
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

                await FindInAsync(directory, logical, found, packs, mode).ConfigureAwait(false);
            }
            finally
            {
                directory.Lock.Exit();
            }

            foreach ((uint sector, BlockNumber pack) in packs)
            {
                MoveOutcome outcome = await core.Moves.MovePackAsync(directory, sector, pack, () => TryFindDown(0), mode).ConfigureAwait(false);
                if (outcome == MoveOutcome.NoPlace)
                {
                    throw DoesNotFit(directory);
                }

                Count(outcome == MoveOutcome.Moved ? 1U : 0);
            }

            foreach (Inode inode in found)
            {
                if (inode.IsDirectory)
                {
                    directories.Push(inode);
                    continue;
                }

                try
                {
                    await VisitInodeAsync(inode, mode).ConfigureAwait(false);
                }
                finally
                {
                    core.Inodes.Release(inode);
                }
            }
        }
    }

    /// <summary>The inodes of a block of records that are directories or may have something beyond, held, and the packs beyond with the addresses of their sectors.</summary>
    private async ValueTask FindInAsync(Inode directory, ulong logical, List<Inode> found, List<(uint Sector, BlockNumber Pack)> packs, IoMode mode)
    {
        for (uint index = 0; index < Slot.PerBlock; index++)
        {
            SlotPlace place = await core.Directories.PlaceAsync(directory, (uint)(logical * Slot.PerBlock) + index, mode).ConfigureAwait(false);
            if (place.InSector == 0 && Pack.TryFind(core.Directories.SectorOf(place), out _, out ulong pack) && pack >= blockCount)
            {
                packs.Add((place.Address, new BlockNumber(pack)));
            }

            if (Record.TryParse(core.Directories.SectorOf(place), place.InSector, out Record record)
                && record.Kind is SlotKind.Directory or SlotKind.File or SlotKind.SymbolicLink
                && (record.Kind == SlotKind.Directory || (record.Depth > 0 && !record.IsPacked) || record.Start + record.Count > blockCount || record.Attributes >= blockCount)
                && !directory.Directory!.Dead.Contains(place.Address))
            {
                found.Add(await core.GetInodeAsync(directory, place, mode).ConfigureAwait(false));
            }
            else
            {
                core.Cache.Release(place.Frame);
            }
        }
    }

    private async ValueTask MoveSlotsAsync(Inode directory, IoMode mode)
    {
        while (true)
        {
            ulong? last = null;
            cancellationToken.ThrowIfCancellationRequested();
            await directory.Lock.EnterAsync(mode).ConfigureAwait(false);
            try
            {
                if (!directory.IsRemoved)
                {
                    await core.Directories.EnsureLoadedAsync(directory, mode).ConfigureAwait(false);
                    last = LastBeyond(directory.Map) is { } beyond ? beyond.LogicalEnd - 1 : null;
                }
            }
            finally
            {
                directory.Lock.Exit();
            }

            if (last is not { } logical)
            {
                return;
            }

            // The next block goes before the one that went last, so that they are one extent again.
            ulong before = directory.Map.TryFind(logical + 1, out MappedExtent next) ? next.Start - 1 : 0;
            if (await core.Moves.MoveSlotsAsync(directory, logical, () => TryFindDown(before), mode).ConfigureAwait(false) == MoveOutcome.NoPlace)
            {
                throw DoesNotFit(directory);
            }

            Count(1);
        }
    }

    private async ValueTask VisitInodeAsync(Inode inode, IoMode mode)
    {
        await inode.Lock.EnterAsync(mode).ConfigureAwait(false);
        try
        {
            if (inode.IsRemoved)
            {
                return;
            }

            await core.Maps.EnsureAsync(inode, mode).ConfigureAwait(false);
            while (!inode.IsDirectory && LastBeyond(inode.Map) is { } extent)
            {
                await MoveContentsAsync(inode, extent, mode).ConfigureAwait(false);
            }

            foreach (MappedNode node in inode.Map.Nodes.Where(node => node.Block.Value >= blockCount).ToArray())
            {
                // As it is now: its parent may have moved.
                MappedNode current = inode.Map.Nodes.Find(item => item.Block == node.Block);
                if (!core.Allocator.TryFindDown(0, out BlockExtent place) || !await core.Moves.MoveNodeAsync(inode, current, place.First, mode).ConfigureAwait(false))
                {
                    throw DoesNotFit(inode);
                }

                Count(1);
            }

            if (inode.Record.Attributes >= blockCount)
            {
                await core.Attributes.MoveAsync(inode, mode).ConfigureAwait(false);
                Count(1);
            }

            if (inode.Map.HasIndex && Enumerable.Range(0, inode.Map.Index.Count).Any(i => inode.Map.Index[i].End > blockCount))
            {
                await core.Directories.RebuildIndexAsync(inode, mode).ConfigureAwait(false);
                Count(1);
            }
        }
        finally
        {
            inode.Lock.Exit();
        }
    }

    /// <summary>Moves the part of an extent that lies beyond, to one run if there is one.</summary>
    private async ValueTask MoveContentsAsync(Inode inode, MappedExtent extent, IoMode mode)
    {
        cancellationToken.ThrowIfCancellationRequested();
        uint beyond = (uint)Math.Min(extent.Count, extent.End - blockCount);
        BlockExtent tail = new(new BlockNumber(extent.End - beyond), beyond);
        if (core.Moves.IsShared(tail))
        {
            throw new CffsException(CffsError.Busy, $"inode {inode.Number} shares blocks from {tail.First.Value} on with another: they cannot move");
        }

        BlockExtent place;
        lock (core.Metadata)
        {
            if (!core.Allocator.TryFindRun(beyond, out place))
            {
                throw DoesNotFit(inode);
            }
        }

        while (place.Count > 0)
        {
            uint moved = await core.Moves.MoveTailAsync(inode, extent, place, mode).ConfigureAwait(false);
            if (moved == 0)
            {
                // The record may have got a tree just now, and the tree's first block may lie in the place: then another one is looked for.
                if (inode.Map.TryFind(extent.Logical, out extent) && IsFree(place))
                {
                    await MoveWholeAsync(inode, extent, mode).ConfigureAwait(false);
                }

                return;
            }

            Count(moved);
            place = new BlockExtent(place.First, place.Count - moved);
            if (place.Count > 0 && !inode.Map.TryFind(extent.Logical, out extent))
            {
                return;
            }
        }
    }

    /// <summary>An extent of which no part can go by itself, because its sector has no entry left: all of it goes, if memory has room.</summary>
    private async ValueTask MoveWholeAsync(Inode inode, MappedExtent extent, IoMode mode)
    {
        BlockExtent place;
        lock (core.Metadata)
        {
            if (!core.Allocator.TryFindRun(extent.Count, out place) || place.Count < extent.Count)
            {
                throw DoesNotFit(inode);
            }
        }

        uint moved = await core.Moves.MoveTailAsync(inode, extent, place, mode, extent.Count).ConfigureAwait(false);
        if (moved < extent.Count)
        {
            throw DoesNotFit(inode);
        }

        Count(moved);
    }

    private bool IsFree(in BlockExtent place)
    {
        lock (core.Metadata)
        {
            return core.Allocator.IsFree(place);
        }
    }

    private BlockExtent? TryFindDown(ulong before) => core.Allocator.TryFindDown(before, out BlockExtent place) ? place : null;

    private MappedExtent? LastBeyond(BlockMap map)
    {
        for (int i = map.Count - 1; i >= 0; i--)
        {
            if (map[i].End > blockCount)
            {
                return map[i];
            }
        }

        return null;
    }

    private CffsException DoesNotFit(Inode inode) =>
        new(CffsError.NoSpace, $"what inode {inode.Number} has beyond block {blockCount} finds no place before it: {core.Disk.FreeBlocks} blocks are free in all");

    private void Count(uint moved)
    {
        _moved += moved;
        progress?.Report(new CffsMoveProgress(_moved));
    }
}
