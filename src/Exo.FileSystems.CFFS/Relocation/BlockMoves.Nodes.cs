// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Directories;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Operations;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Relocation;

/// <content>Blocks that hold pointers: these go along, each a move that XN orders. The old block is given up in the same step and never written again.</content>
internal sealed partial class BlockMoves
{
    /// <summary>Moves a node of an inode's extent tree. False when the place is not free any more.</summary>
    public async ValueTask<bool> MoveNodeAsync(Inode inode, MappedNode node, BlockNumber target, IoMode mode)
    {
        while (true)
        {
            FrameNumber frame = await core.Cache.TakeFrameAsync(mode).ConfigureAwait(false);
            XnStatus status = TryMoveNode(inode, node, target, frame);
            if (status == XnStatus.Ok)
            {
                return true;
            }

            core.Cache.Release(frame);
            if (status != XnStatus.OrderCycle)
            {
                return status == XnStatus.NotFree ? false : throw core.Edit.Refused(status);
            }

            await core.Committer.CommitAsync(mode).ConfigureAwait(false);
        }
    }

    private XnStatus TryMoveNode(Inode inode, MappedNode node, BlockNumber target, FrameNumber frame)
    {
        TemplateId template = inode.IsDirectory ? core.Templates.DirectoryTree : core.Templates.FileTree;
        BlockExtent place = new(target, 1);
        int at = inode.Map.Nodes.IndexOf(node);
        FrameNumber oldFrame = inode.NodeFrames[at];
        lock (core.Metadata)
        {
            if (!core.Allocator.IsFree(place))
            {
                return XnStatus.NotFree;
            }

            core.Edit.Begin();
            StageCopy(node.Block, oldFrame, target, SectorKind.Tree, inode.Number);
            ReadOnlySpan<byte> bytes = core.Cache.Bytes(oldFrame);
            for (int i = 0; i < TreeNode.EntriesPerNode; i++)
            {
                TreeEntry entry = TreeEntry.Read(bytes[TreeNode.OffsetInBlock(i)..]);
                if (entry.Kind != TreeEntryKind.Free)
                {
                    TemplateId below = entry.Kind switch
                    {
                        TreeEntryKind.Node => template,
                        TreeEntryKind.Index => core.Templates.Index,
                        _ => core.MapEdits.ContentsTemplate(inode),
                    };
                    core.Edit.Transaction.ClaimMove(new BlockExtent(new BlockNumber(entry.Start), entry.Count), below, node.Block, i, target, i);
                }
            }

            Record record = inode.Record;
            bool isRoot = node.Level == record.Depth;
            if (isRoot)
            {
                record.Start = target.Value;
                core.Edit.Stage(inode, record);
            }
            else
            {
                core.MapEdits.StageEntry(inode, node.Parent, node.Partition, new TreeEntry(0, target.Value, 1, TreeEntryKind.Node), node.Level + 1);
            }

            core.Edit.Transaction.ClaimAllocate(place, template, node.Parent, node.Partition, [frame]);
            core.Edit.Transaction.ClaimFree(new BlockExtent(node.Block, 1), template, node.Parent, node.Partition);
            XnStatus status = core.Edit.TryApply();
            if (status != XnStatus.Ok)
            {
                return status;
            }

            inode.Record = record;
            inode.Map.Nodes[at] = node with { Block = target };
            inode.NodeFrames[at] = frame;
            core.Cache.Frames.Retain(frame);
            core.Cache.Release(oldFrame);
            core.Cache.Remember(frame, target);
            inode.Map.MoveParent(node.Block, target);
            return XnStatus.Ok;
        }
    }

    /// <summary>
    /// Moves the last block of an extent of a directory's records (also of the built-in tables), with what the records own. Takes the locks of the directory and of all inodes in memory whose records lie there:
    /// they are at their new place with it.
    /// </summary>
    public ValueTask<MoveOutcome> MoveSlotsAsync(Inode directory, ulong logical, Func<BlockExtent?> choose, IoMode mode) => WithChildrenAsync(
        directory, logical, 0, Slot.PerBlock, mode, (extent, old, children) =>
            extent.LogicalEnd == logical + 1 ? MoveSlotsLockedAsync(directory, extent, old, children, choose, mode) : ValueTask.FromResult(MoveOutcome.Gone));

    /// <summary>
    /// Moves the block that small files of a slot sector share, if it is still this one. Takes the locks of the directory and of all inodes in memory whose records lie in the sector: nobody looks for the pack meanwhile.
    /// </summary>
    public ValueTask<MoveOutcome> MovePackAsync(Inode directory, uint sectorAddress, BlockNumber pack, Func<BlockExtent?> choose, IoMode mode) => WithChildrenAsync(
        directory, sectorAddress / Slot.PerBlock, (int)(sectorAddress % Slot.PerBlock), Slot.PerSector, mode, (extent, slots, _) =>
        {
            BlockNumber block = new(extent.Start + ((sectorAddress / Slot.PerBlock) - extent.Logical));
            return MovePackLockedAsync(directory, new SlotPlace(block, slots, (int)(sectorAddress % Slot.PerBlock), sectorAddress), pack, choose, mode);
        });

    /// <summary>Does something with a block of a directory's records under the locks of the directory and of all inodes in memory whose records lie in some of its slots.</summary>
    private async ValueTask<MoveOutcome> WithChildrenAsync(
        Inode directory, ulong logical, int firstSlot, int slotCount, IoMode mode, Func<MappedExtent, FrameNumber, List<Inode>, ValueTask<MoveOutcome>> move)
    {
        List<Inode> held = [];
        try
        {
            while (true)
            {
                // Whose records lie there is known for certain only under the directory's lock, which comes in order with theirs.
                Inode?[] locks = [directory, .. held];
                await NameOperations.EnterAsync(locks, mode).ConfigureAwait(false);
                try
                {
                    if (directory.IsRemoved)
                    {
                        return MoveOutcome.Gone;
                    }

                    await core.Directories.EnsureLoadedAsync(directory, mode).ConfigureAwait(false);
                    if (!directory.Map.TryFind(logical, out MappedExtent extent))
                    {
                        return MoveOutcome.Gone;
                    }

                    FrameNumber slots = await core.Directories.GetBlockAsync(directory, logical, mode).ConfigureAwait(false);
                    try
                    {
                        if (TryHoldChildren(directory, new BlockNumber(extent.Start + (logical - extent.Logical)), slots, firstSlot, slotCount, held))
                        {
                            return await move(extent, slots, held).ConfigureAwait(false);
                        }
                    }
                    finally
                    {
                        core.Cache.Release(slots);
                    }
                }
                finally
                {
                    NameOperations.Exit(locks);
                }
            }
        }
        finally
        {
            held.ForEach(core.Inodes.Release);
        }
    }

    /// <summary>Adds the inodes in memory whose records lie in slots of a block. True when all of them were there already, and so are locked.</summary>
    private bool TryHoldChildren(Inode directory, BlockNumber block, FrameNumber frame, int firstSlot, int slotCount, List<Inode> held)
    {
        bool all = true;
        for (int index = firstSlot; index < firstSlot + slotCount; index++)
        {
            ReadOnlySpan<byte> slot = core.Cache.Bytes(frame)[Slot.OffsetInBlock(index)..];
            if (!Slot.IsHead(slot) || core.Inodes.TryHold(Slot.InodeOf(slot)) is not { } child)
            {
                continue;
            }

            if (child.Container == directory && child.SlotBlock == block && !held.Contains(child))
            {
                held.Add(child);
                all = false;
            }
            else
            {
                core.Inodes.Release(child);
            }
        }

        return all;
    }

    private async ValueTask<MoveOutcome> MoveSlotsLockedAsync(Inode directory, MappedExtent extent, FrameNumber old, List<Inode> children, Func<BlockExtent?> choose, IoMode mode)
    {
        if (directory.Record.Depth == 0 && extent.Count > 1)
        {
            await core.MapEdits.GrowAsync(directory, mode).ConfigureAwait(false);
            directory.Map.TryFind(extent.Logical, out extent);
        }

        while (true)
        {
            // Nothing that is noted about the block where it is may be pending: links made lately, intents, orders.
            if (core.Disk.DirtyBlocks > 0 || core.Disk.UnflushedBlocks > 0)
            {
                await core.Committer.CommitAsync(mode).ConfigureAwait(false);
            }

            FrameNumber frame = await core.Cache.TakeFrameAsync(mode).ConfigureAwait(false);
            XnStatus status = TryMoveSlots(directory, extent, old, frame, children, choose);
            if (status == XnStatus.Ok)
            {
                return MoveOutcome.Moved;
            }

            core.Cache.Release(frame);
            if (status != XnStatus.OrderCycle)
            {
                return status is XnStatus.NotFree ? MoveOutcome.NoPlace : throw core.Edit.Refused(status);
            }
        }
    }

    private XnStatus TryMoveSlots(Inode directory, in MappedExtent extent, FrameNumber old, FrameNumber frame, List<Inode> children, Func<BlockExtent?> choose)
    {
        BlockNumber block = new(extent.End - 1);
        lock (core.Metadata)
        {
            if (choose() is not { } place || !TryStageTail(directory, extent, place, [frame], core.Templates.Slots, out TailMove move))
            {
                return XnStatus.NotFree;
            }

            StageCopy(block, old, place.First, SectorKind.Slots, directory.Number);
            for (int index = 0; index < Slot.PerBlock; index++)
            {
                ReadOnlySpan<byte> sector = core.Cache.Bytes(old).Slice((index >> 2) * Sector.SizeBytes, Sector.SizeBytes);
                if (Slot.IsHead(sector[((index & 3) * Slot.SizeBytes)..]) && Record.TryParse(sector, index & 3, out Record record))
                {
                    core.Names.ClaimMoves(record, block, index, place.First, index);
                }

                if ((index & 3) == 0 && Pack.TryFind(sector, out int slot, out ulong pack))
                {
                    core.Edit.Transaction.ClaimMove(new BlockExtent(new BlockNumber(pack), 1), core.Templates.Data, block, index + slot, place.First, index + slot);
                }
            }

            XnStatus status = core.Edit.TryApply();
            if (status != XnStatus.Ok)
            {
                return status;
            }

            move.Carry(directory);
            core.Cache.Remember(frame, place.First);
            foreach (Inode child in children)
            {
                core.Cache.Frames.Retain(frame);
                core.Cache.Release(child.SlotFrame);
                child.SlotFrame = frame;
                child.SlotBlock = place.First;
                child.Map.MoveParent(block, place.First);
            }

            return XnStatus.Ok;
        }
    }

    private async ValueTask<MoveOutcome> MovePackLockedAsync(Inode directory, SlotPlace sector, BlockNumber pack, Func<BlockExtent?> choose, IoMode mode)
    {
        while (Pack.TryFind(core.Directories.SectorOf(sector), out int inSector, out ulong now) && now == pack.Value)
        {
            int partition = sector.Index + inSector;
            if (!core.Cache.TryGet(pack, out FrameNumber old))
            {
                await core.Cache.ReadAsync(new[] { new XnReadRequest(sector.Block, partition, new BlockExtent(pack, 1)) }, mode).ConfigureAwait(false);
                continue;
            }

            XnStatus status;
            try
            {
                FrameNumber frame = await core.Cache.TakeFrameAsync(mode).ConfigureAwait(false);
                status = TryMovePack(directory, sector, inSector, pack, old, frame, choose);
                if (status == XnStatus.Ok)
                {
                    return MoveOutcome.Moved;
                }

                core.Cache.Release(frame);
            }
            finally
            {
                core.Cache.Release(old);
            }

            if (status != XnStatus.OrderCycle)
            {
                return status == XnStatus.NotFree ? MoveOutcome.NoPlace : throw core.Edit.Refused(status);
            }

            await core.Committer.CommitAsync(mode).ConfigureAwait(false);
        }

        return MoveOutcome.Gone;
    }

    private XnStatus TryMovePack(Inode directory, in SlotPlace sector, int inSector, BlockNumber pack, FrameNumber old, FrameNumber frame, Func<BlockExtent?> choose)
    {
        lock (core.Metadata)
        {
            if (choose() is not { } place)
            {
                return XnStatus.NotFree;
            }

            // Packs are written under this lock: nothing is written to the old block from here on.
            core.Cache.Bytes(old).CopyTo(core.Cache.Frames.Bytes(frame));
            core.Edit.Begin();
            Pack.Emit(core.Edit.Sector(sector.Block, sector.Frame, sector.SectorIndex, SectorKind.Slots, directory.Number), inSector, place.First.Value);
            int partition = sector.Index + inSector;
            core.Edit.Transaction.ClaimFree(new BlockExtent(pack, 1), core.Templates.Data, sector.Block, partition);
            core.Edit.Transaction.ClaimAllocate(place, core.Templates.Data, sector.Block, partition, [frame]);
            XnStatus status = core.Edit.TryApply();
            if (status == XnStatus.Ok)
            {
                core.Cache.Remember(frame, place.First);
                core.Files.PackIsNew(sector);
            }

            return status;
        }
    }

    /// <summary>Stages a metadata block's sectors at another place, and nothing where it was. Under the metadata lock.</summary>
    private void StageCopy(BlockNumber from, FrameNumber frame, BlockNumber to, SectorKind kind, ulong owner)
    {
        for (int s = 0; s < Sector.PerBlock; s++)
        {
            ReadOnlySpan<byte> sector = core.Cache.Bytes(frame).Slice(s * Sector.SizeBytes, Sector.SizeBytes);
            if (!Sector.IsEmpty(sector))
            {
                sector.CopyTo(core.Edit.FreshSector(to, s, kind, owner));
                core.Edit.Sector(from, frame, s, kind, owner).Clear();
            }
        }
    }
}
