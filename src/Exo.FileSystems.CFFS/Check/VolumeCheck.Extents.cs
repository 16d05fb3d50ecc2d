// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Check;

/// <content>What inodes own: extents, tree nodes, and that no block has two owners.</content>
internal sealed partial class VolumeCheck
{
    /// <summary>Takes an inode's blocks into account, tree nodes included, and returns its extents of contents (empty when only counting).</summary>
    private List<RepairExtent> MapOf(in Record record, ulong block, string path, bool countOnly = false)
    {
        List<RepairExtent> map = [];
        List<(ulong Logical, ulong Count, ulong Start, TreeEntryKind Kind)> extents = [];
        bool isAnnounced = _isUnclean && _movingInodes.Contains(record.Inode);
        if (record.IsPacked || (record.Count == 0 && record.Depth == 0))
        {
            return map;
        }

        if (record.Depth == 0)
        {
            AddExtent(record, 0, record.Start, record.Count, isAnnounced, countOnly ? null : map);
            return map;
        }

        if (record.Depth > TreeNode.DepthMax || record.Count != 1)
        {
            Find(CffsSeverity.Error, "tree-depth", $"{path}: an extent tree of depth {record.Depth}", record.Inode, block);
            return map;
        }

        WalkNode(record, record.Start, record.Depth, path, isAnnounced, extents, countOnly ? null : map);
        extents.Sort();
        for (int i = 1; i < extents.Count; i++)
        {
            if (extents[i].Logical < extents[i - 1].Logical + extents[i - 1].Count)
            {
                // The same extent in two leaves: a crash came while it moved from one to the other, and the file has not been changed since.
                bool isTwin = record.Kind == SlotKind.File && extents[i] == extents[i - 1];
                Find(isTwin ? CffsSeverity.Info : CffsSeverity.Error, isTwin ? "unfinished-move" : "tree-overlap", $"{path}: logical block {extents[i].Logical} is mapped twice", record.Inode, block);
            }
        }

        return map;
    }

    private void WalkNode(
        in Record record, ulong node, int level, string path, bool isAnnounced, List<(ulong Logical, ulong Count, ulong Start, TreeEntryKind Kind)> extents, List<RepairExtent>? map)
    {
        if (!Own(node, 1, record.Inode, isAnnounced))
        {
            return;
        }

        byte[] bytes = new byte[4096];
        if (!_blocks.TryRead(node, bytes))
        {
            Find(CffsSeverity.Error, "unreadable", $"{path}: an extent tree node cannot be read", record.Inode, node);
            return;
        }

        for (int s = 0; s < Sector.PerBlock; s++)
        {
            ReadOnlySpan<byte> sector = bytes.AsSpan(s * Sector.SizeBytes, Sector.SizeBytes);
            if (!Sector.IsValid(sector, _guard.ChecksumSeed, (node * Sector.PerBlock) + (uint)s, SectorKind.Tree, record.Inode))
            {
                Find(CffsSeverity.Error, "tree-checksum", $"{path}: sector {s} of an extent tree node is damaged", record.Inode, node);
                continue;
            }

            if (!Sector.IsEmpty(sector) && sector[TreeNode.Level] != level)
            {
                Find(CffsSeverity.Error, "tree-level", $"{path}: a node of level {sector[TreeNode.Level]} where {level} belongs", record.Inode, node);
                continue;
            }

            for (int i = 0; i < TreeNode.EntriesPerSector; i++)
            {
                TreeEntry entry = TreeEntry.Read(sector[(i * TreeEntry.SizeBytes)..]);
                if (entry.Kind == TreeEntryKind.Free)
                {
                    continue;
                }

                if (entry.Kind == TreeEntryKind.Node && level > 1 && entry.Count == 1)
                {
                    WalkNode(record, entry.Start, level - 1, path, isAnnounced, extents, map);
                }
                else if (level == 1 && VolumeRepair.IsLeafEntry(record.Kind, entry))
                {
                    AddExtent(record, entry.Logical, entry.Start, entry.Count, isAnnounced, entry.Kind is TreeEntryKind.Contents or TreeEntryKind.Index ? map : null, entry.Kind);
                    extents.Add((entry.Logical, entry.Count, entry.Start, entry.Kind));
                }
                else
                {
                    Find(CffsSeverity.Error, "tree-entry", $"{path}: an entry of kind {entry.Kind} in a node of level {level}", record.Inode, node);
                }
            }
        }
    }

    private void AddExtent(
        in Record record, ulong logical, ulong start, uint count, bool isAnnounced, List<RepairExtent>? map, TreeEntryKind kind = TreeEntryKind.Contents)
    {
        if (Own(start, count, record.Inode, isAnnounced, record.Kind is SlotKind.File or SlotKind.SymbolicLink) && map is not null)
        {
            map.Add(new RepairExtent(logical, start, count, kind));
        }
    }

    private void CheckAttributes(in Record record, string path, bool isAnnounced)
    {
        byte[] bytes = new byte[4096];
        if (!Own(record.Attributes, 1, record.Inode, isAnnounced))
        {
            return;
        }

        if (!_blocks.TryRead(record.Attributes, bytes))
        {
            Find(CffsSeverity.Error, "unreadable", $"{path}: the block of extended attributes cannot be read", record.Inode, record.Attributes);
        }
        else if (!AttributeBlock.IsValid(bytes, record.Inode, _guard.ChecksumSeed, record.Attributes))
        {
            Find(CffsSeverity.Error, "attributes", $"{path}: the block of extended attributes is damaged", record.Inode, record.Attributes);
        }
    }

    /// <summary>Marks blocks as owned. False when they lie outside the disk, or one of them is owned already: then they are not looked at again.</summary>
    private bool Own(ulong start, ulong count, ulong inode, bool isAnnounced, bool isContents = false)
    {
        bool isXn = inode == 0;
        if (start >= _xn.BlockCount || count > _xn.BlockCount - start || (!isXn && start < _xn.DataStart))
        {
            Find(CffsSeverity.Error, "pointer", $"inode {inode} points to {count} blocks from {start}, outside the data of the disk", inode, start);
            return false;
        }

        if (isContents && _sharesContents && _owned.IsAnyOwned(start, count))
        {
            for (ulong at = start; at < start + count; at++)
            {
                if (_owned.IsOwned(at))
                {
                    _owners[at] = _owners.GetValueOrDefault(at, 1) + 1;
                }
            }
        }

        bool fresh = _owned.TryOwn(start, count, isContents, [], out ulong block);
        if (!fresh)
        {
            Find(isAnnounced ? CffsSeverity.Info : CffsSeverity.Error, isAnnounced ? "unfinished-move" : "block-twice", $"block {block} has a second owner, inode {inode}", inode, block);
        }

        _report.BlocksInUse = _owned.Count;
        return fresh;
    }
}
