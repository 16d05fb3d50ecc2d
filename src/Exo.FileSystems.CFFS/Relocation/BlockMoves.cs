// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Volume;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Relocation;

/// <summary>
/// Moves blocks of an inode to other places of the disk. Contents are copied to fresh blocks; then one sector, the record's or that of the extent-tree entries, gives up the old blocks and points to
/// the new ones: a crash leaves the one or the other. Blocks of records and tree nodes take their pointers along (XN's moves).
/// <para>An extent is moved from its end: what has moved is one growing extent in the same sector as what is left. Methods run under the inode's lock unless they say otherwise.</para>
/// </summary>
internal sealed partial class BlockMoves(VolumeCore core)
{
    /// <summary>Blocks of contents moved in one step: 1 MiB.</summary>
    public const uint StepBlocks = 256;

    /// <summary>Whether more than one pointer leads to one of these blocks: they stay where they are.</summary>
    public bool IsShared(in BlockExtent extent)
    {
        for (uint i = 0; i < extent.Count; i++)
        {
            if (core.Disk.OwnerCount(extent.First + i) > 1)
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>
    /// Moves the last blocks of an extent of contents: up to <paramref name="most"/>, as many as <paramref name="place"/> has, to its end.
    /// </summary>
    /// <returns>How many have moved; 0 where there is no entry for the part that goes (its sector is full), or the place is not free any more.</returns>
    public async ValueTask<uint> MoveTailAsync(Inode inode, MappedExtent extent, BlockExtent place, IoMode mode, uint most = StepBlocks)
    {
        uint count = Math.Min(Math.Min(extent.Count, place.Count), Math.Min(most, Math.Max(1, (uint)core.Cache.Frames.FrameCount / 8)));
        if (inode.Record.Depth == 0 && count < extent.Count)
        {
            await core.MapEdits.GrowAsync(inode, mode).ConfigureAwait(false);
            inode.Map.TryFind(extent.Logical, out extent);
        }

        BlockExtent target = new(new BlockNumber(place.First.Value + place.Count - count), count);
        FrameNumber[] frames = new FrameNumber[count];
        await core.Cache.TakeFramesAsync(frames, mode).ConfigureAwait(false);
        int owned = frames.Length;
        try
        {
            ulong first = extent.End - count;
            await CopyAsync(extent, first, frames, mode).ConfigureAwait(false);
            while (true)
            {
                XnStatus status;
                lock (core.Metadata)
                {
                    if (!core.Allocator.IsFree(target) || !TryStageTail(inode, extent, target, frames, core.MapEdits.ContentsTemplate(inode), out TailMove move))
                    {
                        return 0;
                    }

                    status = core.Edit.TryApply();
                    if (status == XnStatus.Ok)
                    {
                        owned = 0;
                        move.Carry(inode);
                        for (uint i = 0; i < count; i++)
                        {
                            core.Cache.Remember(frames[i], target.First + i);
                        }

                        return count;
                    }
                }

                if (status != XnStatus.OrderCycle)
                {
                    throw core.Edit.Refused(status);
                }

                await core.Committer.CommitAsync(mode).ConfigureAwait(false);
            }
        }
        finally
        {
            foreach (FrameNumber frame in frames.AsSpan(0, owned))
            {
                core.Cache.Release(frame);
            }
        }
    }

    /// <summary>Copies blocks of an extent into frames.</summary>
    private async ValueTask CopyAsync(MappedExtent extent, ulong first, FrameNumber[] frames, IoMode mode)
    {
        for (uint i = 0; i < frames.Length; i++)
        {
            FrameNumber source;
            while (!core.Cache.TryGet(new BlockNumber(first + i), out source))
            {
                uint batch = (uint)Math.Min(frames.Length - i, Math.Max(1, core.Cache.Frames.FrameCount / 16));
                await core.Cache.ReadAsync(new[] { new XnReadRequest(extent.Parent, extent.Partition, new BlockExtent(new BlockNumber(first + i), batch)) }, mode).ConfigureAwait(false);
            }

            core.Cache.Bytes(source).CopyTo(core.Cache.Frames.Bytes(frames[i]));
            core.Cache.Release(source);
        }
    }

    /// <summary>Stages that the last blocks of an extent lie elsewhere from now on. Under the metadata lock. False where the extent-tree sector has no entry for them.</summary>
    private bool TryStageTail(Inode inode, in MappedExtent extent, in BlockExtent target, ReadOnlySpan<FrameNumber> frames, TemplateId template, out TailMove move)
    {
        uint count = target.Count;
        uint keep = extent.Count - count;
        int at = inode.Map.IndexAtOrBefore(extent.Logical);
        Invariant.Check(at >= 0 && inode.Map[at] == extent);
        MappedExtent left = extent with { Count = keep };
        MappedExtent moved = extent with { Logical = extent.Logical + keep, Start = target.First.Value, Count = count };
        bool joins = false;
        if (inode.Record.Depth == 0)
        {
            Invariant.Check(keep == 0);
            Record record = inode.Record;
            record.Start = target.First.Value;
            core.Edit.Begin();
            core.Edit.Stage(inode, record);
            move = new TailMove(at, left, moved, joins, record);
        }
        else
        {
            MappedExtent next = at + 1 < inode.Map.Count ? inode.Map[at + 1] : default;
            joins = next.Count > 0 && next.Logical == extent.LogicalEnd && next.Start == target.First.Value + count && next.Kind == extent.Kind && next.Parent == extent.Parent
                && next.Partition / TreeNode.EntriesPerSector == extent.Partition / TreeNode.EntriesPerSector && next.Count + (ulong)count <= uint.MaxValue;
            if (joins)
            {
                moved = moved with { Count = count + next.Count, Partition = next.Partition };
            }
            else if (keep > 0)
            {
                if (!core.MapEdits.TryFindFreeBeside(inode, extent, out int entry))
                {
                    move = default;
                    return false;
                }

                moved = moved with { Partition = entry };
            }

            core.Edit.Begin();
            if (keep > 0 || joins)
            {
                core.MapEdits.StageEntry(inode, extent.Parent, extent.Partition, keep == 0 ? default : new TreeEntry(left.Logical, left.Start, left.Count, left.Kind), 1);
            }

            core.MapEdits.StageEntry(inode, moved.Parent, moved.Partition, new TreeEntry(moved.Logical, moved.Start, moved.Count, moved.Kind), 1);
            move = new TailMove(at, left, moved, joins, inode.Record);
        }

        core.Edit.Transaction.ClaimFree(new BlockExtent(new BlockNumber(extent.Start + keep), count), template, extent.Parent, extent.Partition);
        core.Edit.Transaction.ClaimAllocate(target, template, moved.Parent, moved.Partition, frames);
        return true;
    }

    /// <summary>What changes in memory when blocks have moved.</summary>
    private readonly record struct TailMove(int At, MappedExtent Left, MappedExtent Moved, bool Joins, Record Record)
    {
        public void Carry(Inode inode)
        {
            inode.Record = Record;
            if (Joins)
            {
                inode.Map.RemoveAt(At + 1);
            }

            if (Left.Count > 0)
            {
                inode.Map.Replace(At, Left);
                inode.Map.Insert(Moved);
            }
            else
            {
                inode.Map.Replace(At, Moved);
            }
        }
    }
}
