// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Allocation;
using Exo.FileSystems.CFFS.Directories;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Volume;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Relocation;

/// <summary>
/// Takes what lies in closed blocks to free places elsewhere: contents, records, extent trees, indexes, attributes. In steps, each of which holds the locks of one inode (or of one block of records) only;
/// others may work meanwhile, and get other blocks. What has moved stays moved when it is interrupted.
/// </summary>
/// <param name="core">The volume.</param>
/// <param name="closed">The blocks, which the allocator knows to be closed.</param>
/// <param name="isRequired">All of it must go; else contents only, what cannot go stays, and it ends when the blocks have been opened again.</param>
/// <param name="count">Told of blocks that have moved.</param>
/// <param name="cancellationToken">Ends it between two steps.</param>
internal sealed class Evacuation(VolumeCore core, ClosedBlocks closed, bool isRequired, Action<uint> count, CancellationToken cancellationToken)
{
    private const int SettlesMax = 8;

    /// <summary>Goes over everything once. What was opened, renamed or written meanwhile may have escaped; what got new blocks has others.</summary>
    /// <exception cref="CffsException">Where all must go: NoSpace, it does not fit, in all or in the runs that are free; Busy, something that cannot move is there.</exception>
    public ValueTask RunAsync(IoMode mode) =>
        DirectoryWalk.RunAsync(core, [core.Root, core.Orphans, core.Externals], (directory, found) => VisitDirectoryAsync(directory, found, mode));

    /// <summary>What has been given up becomes free.</summary>
    public static async ValueTask SettleAsync(VolumeCore core, IoMode mode)
    {
        for (int i = 0; i < SettlesMax && (i == 0 || core.Disk.WillFreeBlocks > 0 || core.Committer.ActionsWaiting > 0); i++)
        {
            await core.Committer.SyncAsync(mode).ConfigureAwait(false);
        }
    }

    private async ValueTask VisitDirectoryAsync(Inode directory, Stack<Inode> directories, IoMode mode)
    {
        if (isRequired)
        {
            await MoveSlotsAsync(directory, mode).ConfigureAwait(false);
            await VisitInodeAsync(directory, mode).ConfigureAwait(false);
        }
        else if (!IsClosedStill())
        {
            return;
        }

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
                    DoesNotFit(directory);
                }

                count(outcome == MoveOutcome.Moved ? 1U : 0);
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

    /// <summary>The inodes of a block of records that are directories or may have something there, held, and the packs there with the addresses of their sectors.</summary>
    private async ValueTask FindInAsync(Inode directory, ulong logical, List<Inode> found, List<(uint Sector, BlockNumber Pack)> packs, IoMode mode)
    {
        for (uint index = 0; index < Slot.PerBlock; index++)
        {
            SlotPlace place = await core.Directories.PlaceAsync(directory, (uint)(logical * Slot.PerBlock) + index, mode).ConfigureAwait(false);
            if (place.InSector == 0 && Pack.TryFind(core.Directories.SectorOf(place), out _, out ulong pack) && closed.Contains(pack))
            {
                packs.Add((place.Address, new BlockNumber(pack)));
            }

            if (Record.TryParse(core.Directories.SectorOf(place), place.InSector, out Record record)
                && record.Kind is SlotKind.Directory or SlotKind.File or SlotKind.SymbolicLink
                && (record.Kind == SlotKind.Directory || (record.Depth > 0 && !record.IsPacked) || closed.FirstIn(record.Start, record.Count) is not null || IsClosed(record.Attributes))
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
                    last = LastClosed(directory.Map) is { } extent ? extent.LogicalEnd - 1 : null;
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
                DoesNotFit(directory);
            }

            count(1);
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
            while (!inode.IsDirectory && LastClosed(inode.Map) is { } extent && await MoveContentsAsync(inode, extent, mode).ConfigureAwait(false))
            {
            }

            if (!isRequired)
            {
                return;
            }

            foreach (MappedNode node in inode.Map.Nodes.Where(node => IsClosed(node.Block.Value)).ToArray())
            {
                // As it is now: its parent may have moved.
                MappedNode current = inode.Map.Nodes.Find(item => item.Block == node.Block);
                if (!TryFindOne(out BlockExtent place) || !await core.Moves.MoveNodeAsync(inode, current, place.First, mode).ConfigureAwait(false))
                {
                    DoesNotFit(inode);
                }

                count(1);
            }

            if (IsClosed(inode.Record.Attributes))
            {
                await core.Attributes.MoveAsync(inode, mode).ConfigureAwait(false);
                count(1);
            }

            if (inode.Map.HasIndex && Enumerable.Range(0, inode.Map.Index.Count).Any(i => closed.FirstIn(inode.Map.Index[i].Start, inode.Map.Index[i].Count) is not null))
            {
                await core.Directories.RebuildIndexAsync(inode, mode).ConfigureAwait(false);
                count(1);
            }
        }
        finally
        {
            inode.Lock.Exit();
        }
    }

    /// <summary>Moves an extent from its first closed block on, to one run if there is one. False where nothing of it can move.</summary>
    private async ValueTask<bool> MoveContentsAsync(Inode inode, MappedExtent extent, IoMode mode)
    {
        cancellationToken.ThrowIfCancellationRequested();
        ulong first = closed.FirstIn(extent.Start, extent.Count) ?? extent.End;
        BlockExtent tail = new(new BlockNumber(first), (uint)(extent.End - first));
        if (core.Moves.IsShared(tail))
        {
            return isRequired ? throw new CffsException(CffsError.Busy, $"inode {inode.Number} shares blocks from {tail.First.Value} on with another: they cannot move") : false;
        }

        if (!TryFindRun(tail.Count, out BlockExtent place) || (!isRequired && tail.Count <= BlockAllocator.SmallFileBlocks && place.Count < tail.Count))
        {
            return DoesNotFit(inode);
        }

        while (place.Count > 0)
        {
            uint moved = await core.Moves.MoveTailAsync(inode, extent, place, mode).ConfigureAwait(false);
            if (moved == 0)
            {
                // The record may have got a tree just now, and the tree's first block may lie in the place: then another one is looked for.
                return !inode.Map.TryFind(extent.Logical, out extent) || !IsFree(place) || await MoveWholeAsync(inode, extent, mode).ConfigureAwait(false);
            }

            count(moved);
            place = new BlockExtent(place.First, place.Count - moved);
            if (place.Count > 0 && !inode.Map.TryFind(extent.Logical, out extent))
            {
                return true;
            }
        }

        return true;
    }

    /// <summary>An extent of which no part can go by itself, because its sector has no entry left: all of it goes, if memory has room.</summary>
    private async ValueTask<bool> MoveWholeAsync(Inode inode, MappedExtent extent, IoMode mode)
    {
        if (!TryFindRun(extent.Count, out BlockExtent place) || place.Count < extent.Count)
        {
            return DoesNotFit(inode);
        }

        uint moved = await core.Moves.MoveTailAsync(inode, extent, place, mode, extent.Count).ConfigureAwait(false);
        count(moved);
        return moved == extent.Count || DoesNotFit(inode);
    }

    private bool TryFindRun(uint wanted, out BlockExtent place)
    {
        lock (core.Metadata)
        {
            return core.Allocator.TryFindRun(wanted, out place) && (isRequired || core.Allocator.IsClosed(closed));
        }
    }

    private bool TryFindOne(out BlockExtent place)
    {
        lock (core.Metadata)
        {
            return core.Allocator.TryFindDown(0, out place);
        }
    }

    private bool IsClosedStill()
    {
        lock (core.Metadata)
        {
            return core.Allocator.IsClosed(closed);
        }
    }

    private bool IsFree(in BlockExtent place)
    {
        lock (core.Metadata)
        {
            return core.Allocator.IsFree(place);
        }
    }

    private BlockExtent? TryFindDown(ulong before) => core.Allocator.TryFindDown(before, out BlockExtent place) ? place : null;

    // No attributes are block 0, which is nobody's.
    private bool IsClosed(ulong block) => block != 0 && closed.Contains(block);

    private MappedExtent? LastClosed(BlockMap map)
    {
        for (int i = map.Count - 1; i >= 0; i--)
        {
            if (closed.FirstIn(map[i].Start, map[i].Count) is not null)
            {
                return map[i];
            }
        }

        return null;
    }

    /// <summary>False, where it may stay.</summary>
    private bool DoesNotFit(Inode inode) => isRequired
        ? throw new CffsException(CffsError.NoSpace, $"what inode {inode.Number} has from block {closed.From} on finds no place before it: {core.Disk.FreeBlocks} blocks are free in all")
        : false;
}
