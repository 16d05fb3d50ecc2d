// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Volume;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Inodes;

/// <summary>
/// Changes of an inode's block map: each is one XN transaction (the record or tree entry, and the claim), then the map in memory. Under the inode's lock.
/// </summary>
internal sealed partial class MapEdits(VolumeCore core)
{
    /// <summary>The template of an inode's contents.</summary>
    public TemplateId ContentsTemplate(Inode inode) => inode.Record.Kind switch
    {
        SlotKind.Directory => core.Templates.Slots,
        SlotKind.Log => core.Templates.Log,
        _ => core.Templates.Data,
    };

    /// <summary>The template of what the record itself points to.</summary>
    public TemplateId RootTemplate(in Record record) => (record.Kind, record.Depth) switch
    {
        (SlotKind.Directory, 0) => core.Templates.Slots,
        (SlotKind.Directory, _) => core.Templates.DirectoryTree,
        (SlotKind.Log, _) => core.Templates.Log,
        (_, 0) => core.Templates.Data,
        _ => core.Templates.FileTree,
    };

    private TemplateId TreeTemplate(Inode inode) => inode.IsDirectory ? core.Templates.DirectoryTree : core.Templates.FileTree;

    /// <summary>
    /// Allocates blocks for logical blocks from <paramref name="logical"/> on, with their frames, and stages the record as <paramref name="record"/> says with them.
    /// Under the metadata lock. False when the extent tree must grow first (<see cref="GrowAsync"/>); nothing has changed then.
    /// </summary>
    public bool TryAdd(Inode inode, ref Record record, ulong logical, in BlockExtent extent, ReadOnlySpan<FrameNumber> frames) =>
        Add(inode, ref record, logical, extent, frames, null) == MapEditResult.Done;

    /// <summary>Points to blocks from <paramref name="logical"/> on: to new ones, or, where <paramref name="owner"/> is given, to some of its, which it keeps.</summary>
    private MapEditResult Add(Inode inode, ref Record record, ulong logical, in BlockExtent extent, ReadOnlySpan<FrameNumber> frames, MappedExtent? owner)
    {
        BlockMap map = inode.Map;
        MetadataEdit edit = core.Edit;
        int before = map.IndexAtOrBefore(logical);
        Record next = record;
        BlockNumber parent = inode.SlotBlock;
        int partition = MapLoader.PartitionOf(inode);
        MappedExtent grown = default;
        if (record.Depth == 0)
        {
            bool starts = map.Count == 0 && logical == 0;
            bool extends = map.Count == 1 && map[0].LogicalEnd == logical && map[0].End == extent.First.Value && map[0].Count + (ulong)extent.Count <= uint.MaxValue;
            if (!starts && !extends)
            {
                return MapEditResult.MustGrow;
            }

            next.Start = starts ? extent.First.Value : record.Start;
            next.Count = (starts ? 0 : record.Count) + extent.Count;
            grown = new MappedExtent(0, next.Start, next.Count, TreeEntryKind.Contents, parent, partition);
            before = starts ? -1 : 0;
            edit.Begin();
        }
        else if (before >= 0 && map[before].LogicalEnd == logical && map[before].End == extent.First.Value && map[before].Kind == TreeEntryKind.Contents
            && map[before].Count + (ulong)extent.Count <= uint.MaxValue)
        {
            grown = map[before] with { Count = map[before].Count + extent.Count };
            (parent, partition) = (grown.Parent, grown.Partition);
            edit.Begin();
            StageEntry(inode, parent, partition, new TreeEntry(grown.Logical, grown.Start, grown.Count, grown.Kind), 1);
        }
        else
        {
            if (!TryFindFreeEntry(inode, 1, out parent, out partition))
            {
                return MapEditResult.MustGrow;
            }

            before = -1;
            grown = new MappedExtent(logical, extent.First.Value, extent.Count, TreeEntryKind.Contents, parent, partition);
            edit.Begin();
            StageEntry(inode, parent, partition, new TreeEntry(logical, extent.First.Value, extent.Count, TreeEntryKind.Contents), 1);
        }

        edit.Stage(inode, next);
        if (owner is { } shares)
        {
            edit.Transaction.ClaimShare(extent, ContentsTemplate(inode), shares.Parent, shares.Partition, parent, partition);
        }
        else
        {
            edit.Transaction.ClaimAllocate(extent, ContentsTemplate(inode), parent, partition, frames);
        }

        XnStatus status = edit.TryApply();
        if (status == XnStatus.NotDurable)
        {
            return MapEditResult.NotDurable;
        }

        if (status != XnStatus.Ok)
        {
            throw edit.Refused(status);
        }

        record = next;
        if (before >= 0)
        {
            map.Replace(before, grown);
        }
        else
        {
            map.Insert(grown);
        }

        return MapEditResult.Done;
    }

    /// <summary>Adds a node to the extent tree: the first one, a leaf, or a new root.</summary>
    public async ValueTask GrowAsync(Inode inode, IoMode mode) => await GrowIntoAsync(inode, await core.Cache.TakeFrameAsync(mode).ConfigureAwait(false), mode).ConfigureAwait(false);

    /// <summary>Adds a node to the extent tree, in a frame of the caller's.</summary>
    public async ValueTask GrowIntoAsync(Inode inode, FrameNumber frame, IoMode mode)
    {
        while (!TryGrow(inode, frame))
        {
            await core.Committer.CommitAsync(mode).ConfigureAwait(false);
            frame = await core.Cache.TakeFrameAsync(mode).ConfigureAwait(false);
        }
    }

    /// <summary>False when orders that are pending stand in the way; nothing has changed then, and a commit removes them.</summary>
    private bool TryGrow(Inode inode, FrameNumber frame)
    {
        lock (core.Metadata)
        {
            if (!core.Allocator.TryFind(inode.SlotBlock.Value, 1, out BlockExtent place))
            {
                core.Cache.Release(frame);
                throw core.Space.NoSpace();
            }

            BlockNumber node = place.First;
            core.Edit.Begin();
            Record record = inode.Record;
            TemplateId treeTemplate = TreeTemplate(inode);
            int partition = MapLoader.PartitionOf(inode);
            ReadOnlySpan<FrameNumber> frames = [frame];
            MappedNode added;
            if (record.Depth > 0 && TryFindFreeEntry(inode, 2, out BlockNumber above, out int entry))
            {
                StageEntry(inode, above, entry, new TreeEntry(0, node.Value, 1, TreeEntryKind.Node), LevelOf(inode, above));
                core.Edit.Transaction.ClaimAllocate(place, treeTemplate, above, entry, frames);
                added = new MappedNode(node, above, entry, LevelOf(inode, above) - 1);
            }
            else
            {
                if (record.Depth == TreeNode.DepthMax)
                {
                    core.Cache.Release(frame);
                    throw new CffsException(CffsError.FileTooLarge, $"inode {inode.Number} has too many extents");
                }

                // What the record pointed to hangs below the new node from now on.
                if (record.Count > 0)
                {
                    Span<byte> sector = core.Edit.FreshSector(node, 0, SectorKind.Tree, inode.Number);
                    new TreeEntry(0, record.Start, record.Count, record.Depth == 0 ? TreeEntryKind.Contents : TreeEntryKind.Node).Emit(sector);
                    sector[TreeNode.Level] = (byte)(record.Depth + 1);
                    core.Edit.Transaction.ClaimMove(
                        new BlockExtent(new BlockNumber(record.Start), record.Count), RootTemplate(record), inode.SlotBlock, partition, node, 0);
                }

                record.Depth++;
                record.Start = node.Value;
                record.Count = 1;
                core.Edit.Stage(inode, record);
                core.Edit.Transaction.ClaimAllocate(place, treeTemplate, inode.SlotBlock, partition, frames);
                added = new MappedNode(node, inode.SlotBlock, partition, record.Depth);
            }

            XnStatus status = core.Edit.TryApply();
            if (status == XnStatus.OrderCycle)
            {
                core.Cache.Release(frame);
                return false;
            }

            if (status != XnStatus.Ok)
            {
                core.Cache.Release(frame);
                throw core.Edit.Refused(status);
            }

            core.Cache.Remember(frame, node);
            core.Cache.Frames.Retain(frame);
            if (record.Depth != inode.Record.Depth)
            {
                if (inode.Record.Depth == 0 && inode.Map.Count > 0)
                {
                    inode.Map.Replace(0, inode.Map[0] with { Parent = node, Partition = 0 });
                }
                else
                {
                    // The root of before is a child of entry 0 now.
                    for (int i = 0; i < inode.Map.Nodes.Count; i++)
                    {
                        if (inode.Map.Nodes[i].Level == inode.Record.Depth)
                        {
                            inode.Map.Nodes[i] = inode.Map.Nodes[i] with { Parent = node, Partition = 0 };
                        }
                    }
                }
            }

            inode.Record = record;
            inode.Map.Nodes.Add(added);
            inode.NodeFrames.Add(frame);
            return true;
        }
    }

    /// <summary>
    /// Gives up all blocks from a logical block on, and stages the record as <paramref name="record"/> says with the first of them. Under the metadata lock.
    /// </summary>
    public void RemoveFrom(Inode inode, ref Record record, ulong fromLogical)
    {
        BlockMap map = inode.Map;
        if (fromLogical == 0 && record.Count > 0)
        {
            Record next = record;
            next.Start = 0;
            next.Count = 0;
            next.Depth = 0;
            core.Edit.Begin();
            core.Edit.Stage(inode, next);
            core.Edit.Transaction.ClaimFreeTree(
                new BlockExtent(new BlockNumber(record.Start), record.Count), RootTemplate(record), inode.SlotBlock, MapLoader.PartitionOf(inode));
            core.Edit.Apply();
            record = next;
            ForgetMap(inode);
            inode.IsMapLoaded = true;
            return;
        }

        TemplateId template = ContentsTemplate(inode);
        while (map.Count > 0 && map[map.Count - 1].LogicalEnd > fromLogical)
        {
            MappedExtent last = map[map.Count - 1];
            uint keep = last.Logical >= fromLogical ? 0 : (uint)(fromLogical - last.Logical);
            BlockExtent freed = new(new BlockNumber(last.Start + keep), last.Count - keep);
            core.Edit.Begin();
            if (record.Depth == 0)
            {
                record.Count = keep;
            }
            else
            {
                StageEntry(
                    inode, last.Parent, last.Partition, keep == 0 ? default : new TreeEntry(last.Logical, last.Start, keep, last.Kind), 1);
            }

            core.Edit.Stage(inode, record);
            core.Edit.Transaction.ClaimFree(freed, template, last.Parent, last.Partition);
            core.Edit.Apply();
            if (keep == 0)
            {
                map.RemoveAt(map.Count - 1);
            }
            else
            {
                map.Replace(map.Count - 1, last with { Count = keep });
            }
        }
    }

    /// <summary>
    /// Makes a hole: gives up the blocks of logical blocks <paramref name="first"/> to before <paramref name="end"/>. Each extent is one transaction in one sector. Under the metadata lock.
    /// Not done when the file has no extent tree and needs one first (<see cref="GrowAsync"/>), or when an extent that is cut in two needs another entry of its sector and there is none
    /// (<paramref name="crowded"/>, <see cref="SpreadAsync"/>); what has been given up by then stays so.
    /// </summary>
    public MapEditResult TryRemoveRange(Inode inode, ref Record record, ulong first, ulong end, out MappedExtent crowded)
    {
        BlockMap map = inode.Map;
        crowded = default;
        for (int i = Math.Max(0, map.IndexAtOrBefore(first)); i < map.Count && map[i].Logical < end; i++)
        {
            MappedExtent extent = map[i];
            ulong from = Math.Max(first, extent.Logical);
            ulong to = Math.Min(end, extent.LogicalEnd);
            if (from >= to)
            {
                continue;
            }

            if (record.Depth == 0)
            {
                if (to < extent.LogicalEnd)
                {
                    return MapEditResult.MustGrow;
                }

                RemoveFrom(inode, ref record, from);
                return MapEditResult.Done;
            }

            TreeEntry before = Part(extent, extent.Logical, from);
            TreeEntry after = Part(extent, to, extent.LogicalEnd);
            BlockExtent freed = new(new BlockNumber(extent.Start + (from - extent.Logical)), (uint)(to - from));
            int second = -1;
            if (before.Count > 0 && after.Count > 0 && !TryFindFreeBeside(inode, extent, -1, out second))
            {
                crowded = extent;
                return MapEditResult.Crowded;
            }

            core.Edit.Begin();
            StageEntry(inode, extent.Parent, extent.Partition, before.Count > 0 ? before : after, 1);
            core.Edit.Transaction.ClaimFree(freed, ContentsTemplate(inode), extent.Parent, extent.Partition);
            if (second >= 0)
            {
                StageEntry(inode, extent.Parent, second, after, 1);
                core.Edit.Transaction.ClaimMove(
                    new BlockExtent(new BlockNumber(after.Start), after.Count), ContentsTemplate(inode), extent.Parent, extent.Partition, extent.Parent, second);
            }

            core.Edit.Apply();
            map.RemoveAt(i);
            if (before.Count > 0)
            {
                map.Insert(extent with { Count = before.Count });
            }

            if (after.Count > 0)
            {
                map.Insert(new MappedExtent(after.Logical, after.Start, after.Count, extent.Kind, extent.Parent, second >= 0 ? second : extent.Partition));
            }

            i += before.Count > 0 ? 0 : -1;
        }

        return MapEditResult.Done;
    }

    /// <summary>The entry of a part of an extent; a free one when the part is empty.</summary>
    private static TreeEntry Part(in MappedExtent extent, ulong from, ulong to) =>
        from < to ? new TreeEntry(from, extent.Start + (from - extent.Logical), (uint)(to - from), extent.Kind) : default;

    /// <summary>A free entry in the sector of an extent's own, other than one: both change in one write.</summary>
    public bool TryFindFreeBeside(Inode inode, in MappedExtent extent, out int entry) => TryFindFreeBeside(inode, extent, -1, out entry);

    private bool TryFindFreeBeside(Inode inode, in MappedExtent extent, int except, out int entry)
    {
        BlockNumber parent = extent.Parent;
        ReadOnlySpan<byte> bytes = core.Cache.Bytes(inode.NodeFrames[inode.Map.Nodes.FindIndex(item => item.Block == parent)]);
        int first = extent.Partition / TreeNode.EntriesPerSector * TreeNode.EntriesPerSector;
        for (entry = first; entry < first + TreeNode.EntriesPerSector; entry++)
        {
            if (entry != except && bytes[TreeNode.OffsetInBlock(entry) + TreeEntry.KindOffset] == 0)
            {
                return true;
            }
        }

        entry = -1;
        return false;
    }

    /// <summary>Drops the map and its nodes from memory.</summary>
    public void ForgetMap(Inode inode)
    {
        inode.Map.Clear();
        inode.IsMapLoaded = false;
        if (inode.HasNodeFrames)
        {
            foreach (FrameNumber frame in inode.NodeFrames)
            {
                core.Cache.Release(frame);
            }

            inode.NodeFrames.Clear();
        }
    }

    private static int LevelOf(Inode inode, BlockNumber node) => inode.Map.Nodes.Find(item => item.Block == node).Level;

    internal void StageEntry(Inode inode, BlockNumber node, int entry, in TreeEntry value, int level)
    {
        int at = inode.Map.Nodes.FindIndex(item => item.Block == node);
        Span<byte> sector = core.Edit.Sector(node, inode.NodeFrames[at], entry / TreeNode.EntriesPerSector, SectorKind.Tree, inode.Number);
        value.Emit(sector[(entry % TreeNode.EntriesPerSector * TreeEntry.SizeBytes)..]);
        sector[TreeNode.Level] = (byte)level;
    }

    internal bool TryFindFreeEntry(Inode inode, int levelMin, out BlockNumber node, out int entry)
    {
        for (int n = inode.Map.Nodes.Count - 1; n >= 0; n--)
        {
            if (levelMin == 1 ? inode.Map.Nodes[n].Level != 1 : inode.Map.Nodes[n].Level < levelMin)
            {
                continue;
            }

            ReadOnlySpan<byte> bytes = core.Cache.Bytes(inode.NodeFrames[n]);
            for (int i = 0; i < TreeNode.EntriesPerNode; i++)
            {
                if (bytes[TreeNode.OffsetInBlock(i) + TreeEntry.KindOffset] == 0)
                {
                    node = inode.Map.Nodes[n].Block;
                    entry = i;
                    return true;
                }
            }
        }

        node = default;
        entry = 0;
        return false;
    }
}
