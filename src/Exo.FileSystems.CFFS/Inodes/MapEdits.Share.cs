// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Layout;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Inodes;

/// <summary>How far a change of a map came.</summary>
internal enum MapEditResult
{
    Done,

    /// <summary>The extent tree must grow first (<see cref="MapEdits.GrowAsync"/>).</summary>
    MustGrow,

    /// <summary>An extent's sector has no free entry for its parts (<see cref="MapEdits.SpreadAsync"/>).</summary>
    Crowded,

    /// <summary>Blocks that are to be shared are not durable yet: commit.</summary>
    NotDurable,
}

/// <content>
/// Blocks with several owners. A write to such a block goes to a fresh one, and the pointer changes from one to the other in one sector, so that a crash leaves the old contents or the new.
/// </content>
internal sealed partial class MapEdits
{
    /// <summary>Makes an inode point, from a logical block on, to blocks that another's extent points to and goes on to. Nothing is mapped there yet. Under the metadata lock.</summary>
    public MapEditResult TryShare(Inode inode, ref Record record, ulong logical, in BlockExtent blocks, in MappedExtent owner) =>
        Add(inode, ref record, logical, blocks, default, owner);

    /// <summary>
    /// Gives logical blocks from <paramref name="first"/> on other blocks than they have, with their contents in frames: the old pointer goes and the new one comes in one sector.
    /// All of them lie in one extent; a direct extent is replaced whole. Under the metadata lock.
    /// </summary>
    public MapEditResult TryReplace(
        Inode inode, ref Record record, in MappedExtent extent, ulong first, in BlockExtent place, ReadOnlySpan<FrameNumber> frames)
    {
        BlockMap map = inode.Map;
        TemplateId template = ContentsTemplate(inode);
        int index = map.IndexAtOrBefore(extent.Logical);
        ulong end = first + place.Count;
        BlockExtent old = new(new BlockNumber(extent.Start + (first - extent.Logical)), place.Count);
        Invariant.Check(map[index] == extent && first >= extent.Logical && end <= extent.LogicalEnd);
        if (record.Depth == 0)
        {
            if (place.Count != extent.Count)
            {
                return MapEditResult.MustGrow;
            }

            Record next = record;
            next.Start = place.First.Value;
            core.Edit.Begin();
            core.Edit.Stage(inode, next);
            core.Edit.Transaction.ClaimFree(old, template, extent.Parent, extent.Partition);
            core.Edit.Transaction.ClaimAllocate(place, template, extent.Parent, extent.Partition, frames);
            core.Edit.Apply();
            record = next;
            map.Replace(index, extent with { Start = place.First.Value });
            return MapEditResult.Done;
        }

        TreeEntry before = Part(extent, extent.Logical, first);
        TreeEntry after = Part(extent, end, extent.LogicalEnd);
        TreeEntry fresh = new(first, place.First.Value, place.Count, TreeEntryKind.Contents);

        // What was written just before may grow instead, if it stands in the same sector.
        MappedExtent? grown = before.Count == 0 && index > 0 && map[index - 1] is var previous && previous.LogicalEnd == first && previous.End == place.First.Value
            && previous.Kind == TreeEntryKind.Contents && previous.Parent == extent.Parent && previous.Count + (ulong)place.Count <= uint.MaxValue
            && previous.Partition / TreeNode.EntriesPerSector == extent.Partition / TreeNode.EntriesPerSector
            ? previous : null;

        // The extent's own entry keeps its first part; the others need entries beside it.
        int freshAt = before.Count == 0 && after.Count == 0 ? extent.Partition : -1;
        int afterAt = before.Count == 0 ? extent.Partition : -1;
        if ((grown is null && freshAt < 0 && !TryFindFreeBeside(inode, extent, -1, out freshAt))
            || (after.Count > 0 && afterAt < 0 && !TryFindFreeBeside(inode, extent, freshAt, out afterAt)))
        {
            return MapEditResult.Crowded;
        }

        freshAt = grown?.Partition ?? freshAt;
        core.Edit.Begin();
        StageEntry(inode, extent.Parent, extent.Partition, before, 1);
        if (after.Count > 0)
        {
            StageEntry(inode, extent.Parent, afterAt, after, 1);
        }

        StageEntry(
            inode, extent.Parent, freshAt,
            grown is { } longer ? new TreeEntry(longer.Logical, longer.Start, longer.Count + place.Count, longer.Kind) : fresh, 1);
        core.Edit.Stage(inode, record);
        core.Edit.Transaction.ClaimFree(old, template, extent.Parent, extent.Partition);
        core.Edit.Transaction.ClaimAllocate(place, template, extent.Parent, freshAt, frames);
        if (after.Count > 0 && afterAt != extent.Partition)
        {
            core.Edit.Transaction.ClaimMove(
                new BlockExtent(new BlockNumber(after.Start), after.Count), template, extent.Parent, extent.Partition, extent.Parent, afterAt);
        }

        core.Edit.Apply();
        map.RemoveAt(index);
        if (before.Count > 0)
        {
            map.Insert(extent with { Count = before.Count });
        }

        if (after.Count > 0)
        {
            map.Insert(new MappedExtent(after.Logical, after.Start, after.Count, extent.Kind, extent.Parent, afterAt));
        }

        if (grown is { } merged)
        {
            map.Replace(map.IndexAtOrBefore(merged.Logical), merged with { Count = merged.Count + place.Count });
        }
        else
        {
            map.Insert(new MappedExtent(first, place.First.Value, place.Count, TreeEntryKind.Contents, extent.Parent, freshAt));
        }

        return MapEditResult.Done;
    }

    /// <summary>
    /// Makes room in the sector of an extent: its entries move to empty sectors of another leaf, few to each, and that is made durable. A crash in between leaves an extent in both leaves, the
    /// same in each, of which the loader passes over one (<see cref="BlockMap.Twins"/>); nothing changes in either before the old sector is durably without them.
    /// </summary>
    public async ValueTask SpreadAsync(Inode inode, MappedExtent extent, IoMode mode)
    {
        while (true)
        {
            bool found;
            XnStatus status = XnStatus.Ok;
            lock (core.Metadata)
            {
                found = TryFindEmptySectors(inode, extent.Parent, out BlockNumber leaf, out List<int> sectors);
                if (found)
                {
                    status = TryMoveEntries(inode, extent, leaf, sectors);
                }
            }

            if (!found)
            {
                await GrowAsync(inode, mode).ConfigureAwait(false);
                continue;
            }

            if (status is not (XnStatus.Ok or XnStatus.OrderCycle))
            {
                throw core.Edit.Refused(status);
            }

            await core.Committer.CommitAsync(mode).ConfigureAwait(false);
            if (status == XnStatus.Ok)
            {
                return;
            }
        }
    }

    /// <summary>Drops the second pointers that a crash during <see cref="SpreadAsync"/> has left. The caller has begun writing.</summary>
    public void DropTwins(Inode inode)
    {
        if (inode.Map.Twins is not { } twins)
        {
            return;
        }

        lock (core.Metadata)
        {
            foreach (MappedExtent twin in twins)
            {
                core.Edit.Begin();
                StageEntry(inode, twin.Parent, twin.Partition, default, 1);
                core.Edit.Transaction.ClaimFree(new BlockExtent(new BlockNumber(twin.Start), twin.Count), ContentsTemplate(inode), twin.Parent, twin.Partition);
                core.Edit.Apply();
            }

            inode.Map.Twins = null;
        }
    }

    /// <summary>Sectors of one leaf, other than a given one, that have no entry: as many as fit into one change beside the one that is emptied.</summary>
    private bool TryFindEmptySectors(Inode inode, BlockNumber except, out BlockNumber leaf, out List<int> sectors)
    {
        sectors = [];
        for (int n = inode.Map.Nodes.Count - 1; n >= 0; n--)
        {
            MappedNode node = inode.Map.Nodes[n];
            ReadOnlySpan<byte> bytes = core.Cache.Bytes(inode.NodeFrames[n]);
            for (int s = 0; node.Level == 1 && node.Block != except && s < Sector.PerBlock && sectors.Count < Sector.PerBlock - 1; s++)
            {
                bool isEmpty = true;
                for (int i = 0; i < TreeNode.EntriesPerSector; i++)
                {
                    isEmpty &= bytes[(s * Sector.SizeBytes) + (i * TreeEntry.SizeBytes) + TreeEntry.KindOffset] == 0;
                }

                if (isEmpty)
                {
                    sectors.Add(s);
                }
            }

            if (sectors.Count > 0)
            {
                leaf = node.Block;
                return true;
            }
        }

        leaf = default;
        return false;
    }

    private XnStatus TryMoveEntries(Inode inode, in MappedExtent extent, BlockNumber leaf, List<int> sectors)
    {
        const int PerTarget = TreeNode.EntriesPerSector / 2;
        BlockMap map = inode.Map;
        TemplateId template = ContentsTemplate(inode);
        int source = extent.Partition / TreeNode.EntriesPerSector;
        List<(int Index, int To)> moves = [];
        for (int e = 0; e < map.Count && moves.Count < sectors.Count * PerTarget; e++)
        {
            if (map[e].Parent == extent.Parent && map[e].Partition / TreeNode.EntriesPerSector == source)
            {
                moves.Add((e, (sectors[moves.Count % sectors.Count] * TreeNode.EntriesPerSector) + (moves.Count / sectors.Count)));
            }
        }

        core.Edit.Begin();
        foreach ((int index, int to) in moves)
        {
            MappedExtent moved = map[index];
            StageEntry(inode, leaf, to, new TreeEntry(moved.Logical, moved.Start, moved.Count, moved.Kind), 1);
            StageEntry(inode, moved.Parent, moved.Partition, default, 1);
            core.Edit.Transaction.ClaimMove(new BlockExtent(new BlockNumber(moved.Start), moved.Count), template, moved.Parent, moved.Partition, leaf, to);
        }

        XnStatus status = core.Edit.TryApply();
        for (int m = 0; status == XnStatus.Ok && m < moves.Count; m++)
        {
            map.Replace(moves[m].Index, map[moves[m].Index] with { Parent = leaf, Partition = moves[m].To });
        }

        return status;
    }
}
