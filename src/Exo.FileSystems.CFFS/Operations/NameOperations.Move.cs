// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.FileSystems.CFFS.Directories;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Operations;

/// <content>A record from one block to another.</content>
internal sealed partial class NameOperations
{
    /// <summary>
    /// Moves a record to another block: the intent, then the new record, then the removal of the old one, or a whiteout over it, each durable before the next (intent log; XN's rule three).
    /// In core it is one step; the inode is at its new place with it, unless the record is a mere name of it. Returns the new place, its frame retained.
    /// </summary>
    private async ValueTask<SlotPlace> MoveRecordAsync(
        Inode from, SlotPlace source, Inode to, Inode inode, Record record, Record next, ReadOnlyMemory<byte> name, ReadOnlyMemory<byte> inline, IoMode io,
        ReadOnlyMemory<byte> oldName = default, Record? whiteout = null)
    {
        await core.Directories.EnsureLoadedAsync(to, io).ConfigureAwait(false);
        if (from.Directory!.IsJustLeft(record.NameHash, core.Committer.IsDurable))
        {
            // The name may be one that it got in an exchange. Were the move durable and not the exchange, the old name would lead nowhere, and its new inode be under the other one.
            await core.Committer.CommitAsync(io).ConfigureAwait(false);
        }

        while (true)
        {
            if (core.Intents.IsFull)
            {
                await core.Committer.CommitAsync(io).ConfigureAwait(false);
            }

            SlotPlace target = await core.Directories.MakeRoomAsync(to, next.Slots, source.Block, io).ConfigureAwait(false);
            XnStatus status;
            lock (core.Metadata)
            {
                core.Intents.Write(new Intent
                {
                    Inode = inode.Number,
                    FromDirectory = from.Number,
                    ToDirectory = to.Number,
                    NameSequence = next.NameSequence,
                    FromAddress = source.Address,
                    ToAddress = target.Address,
                    State = Intent.Pending | (whiteout is null ? 0 : Intent.Whiteout),
                    Epoch = core.State.Epoch,
                    OtherInode = whiteout?.Inode ?? 0,
                    OtherNameSequence = whiteout?.NameSequence ?? 0,
                    WhiteoutUser = whiteout?.User ?? 0,
                    WhiteoutGroup = whiteout?.Group ?? 0,
                });
                status = XnStatus.Ok;
                BlockExtent log = core.Intents.Pending;
                for (uint i = 0; i < log.Count && status == XnStatus.Ok; i++)
                {
                    status = core.Disk.Order(core.Key, log.First + i, target.Block);
                }

                if (status == XnStatus.Ok && record.Kind == SlotKind.ExternalLink)
                {
                    // A name is not there before what it names.
                    status = core.Disk.Order(core.Key, inode.SlotBlock, target.Block);
                }

                if (status == XnStatus.Ok)
                {
                    core.Edit.Begin();
                    core.Directories.Stage(to, target, next, name.Span, inline.Span);
                    core.Directories.StageClear(from.Number, source.Block, source.Frame, source.Index, record.Slots);
                    ClaimMoves(record, source.Block, source.Index, target.Block, target.Index);
                    if (whiteout is { } left)
                    {
                        // The same sector: it is there when the old record is not.
                        core.Directories.Stage(from, source, left, oldName.Span, default);
                    }

                    // Without blocks there is no move that XN sees; the order is the same.
                    core.Edit.Transaction.Order(target.Block, source.Block);
                    status = core.Edit.TryApply();
                    if (status == XnStatus.Ok)
                    {
                        // Under the same lock: a commit that runs meanwhile writes what it finds of a dirty inode to where it finds it.
                        if (record.Kind != SlotKind.ExternalLink)
                        {
                            inode.Record = next;
                            Relocate(inode, to, target);
                        }

                        return target;
                    }
                }

                if (status != XnStatus.OrderCycle)
                {
                    core.Cache.Release(target.Frame);
                    throw new CffsException(CffsError.Corrupt, $"XN refused to move inode {inode.Number} ({status}): {core.Edit.Transaction.LastRefusal}");
                }
            }

            core.Cache.Release(target.Frame);
            await core.Committer.CommitAsync(io).ConfigureAwait(false);
        }
    }

    /// <summary>Claims that what a record owns is pointed to from another place from now on.</summary>
    internal void ClaimMoves(in Record record, BlockNumber from, int fromPartition, BlockNumber to, int toPartition)
    {
        if (record.Kind is SlotKind.Special or SlotKind.ExternalLink)
        {
            return;
        }

        if (record.Count > 0)
        {
            core.Edit.Transaction.ClaimMove(
                new BlockExtent(new BlockNumber(record.Start), record.Count), core.MapEdits.RootTemplate(record), from, fromPartition, to, toPartition);
        }

        if (record.Attributes != 0)
        {
            core.Edit.Transaction.ClaimMove(
                new BlockExtent(new BlockNumber(record.Attributes), 1), core.Templates.Attributes, from, fromPartition, to, toPartition);
        }
    }

    private void Relocate(Inode inode, Inode container, in SlotPlace place)
    {
        BlockNumber oldBlock = inode.SlotBlock;
        int oldPartition = MapLoader.PartitionOf(inode);
        core.Cache.Frames.Retain(place.Frame);
        core.Cache.Release(inode.SlotFrame);
        Inode old = inode.Container!;
        core.Inodes.Hold(container);
        inode.Container = container;
        inode.SlotBlock = place.Block;
        inode.SlotIndex = place.Index;
        inode.SlotAddress = place.Address;
        inode.SlotFrame = place.Frame;
        core.Inodes.Release(old);
        inode.Map.Reparent(oldBlock, oldPartition, place.Block, place.Index);
    }
}
