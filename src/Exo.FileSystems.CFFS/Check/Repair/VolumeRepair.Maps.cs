// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Check;

/// <content>Maps: what of an inode's extents can be believed.</content>
internal sealed partial class VolumeRepair
{
    /// <summary>Logical blocks of files end here: 2^46 bytes.</summary>
    internal const ulong FileBlocksMax = 1UL << 34;

    /// <summary>Logical slot blocks of directories end here: slot addresses have 32 bits.</summary>
    internal const ulong DirectoryBlocksMax = 1UL << 27;

    /// <summary>Whether an entry of a leaf can be one of this kind of inode. The checker asks the same.</summary>
    internal static bool IsLeafEntry(SlotKind kind, in TreeEntry entry) => entry.Count > 0 && (kind == SlotKind.Directory
        ? entry.Kind switch
        {
            TreeEntryKind.Contents => entry.Logical < DirectoryBlocksMax && entry.Count <= DirectoryBlocksMax - entry.Logical,
            TreeEntryKind.Index => IndexBucket.IncarnationOf(entry.Logical) > 0 && (uint)entry.Logical + (ulong)entry.Count <= 1UL << IndexBucket.BucketBitsMax,
            _ => false,
        }
        : entry.Kind is TreeEntryKind.Contents or TreeEntryKind.Unwritten && entry.Logical < FileBlocksMax && entry.Count <= FileBlocksMax - entry.Logical);

    private void LoadMap(RepairRecord record)
    {
        ref Record now = ref record.Now;
        if (!record.OwnsBlocks || record.Map is not null || now.IsPacked || (now.Count == 0 && now.Depth == 0))
        {
            return;
        }

        if (now.Depth == 0)
        {
            if (!IsInRange(now.Start, now.Count) || (now.Kind == SlotKind.Directory && now.Count > DirectoryBlocksMax))
            {
                Act("pointer", $"inode {now.Inode} loses {now.Count} blocks from {now.Start}, which can be no data", now.Inode, record.Block);
                LoseMap(record, []);
            }

            return;
        }

        List<RepairExtent> extents = [];
        bool isWhole = now.Count == 1 && IsInRange(now.Start, 1);
        byte[] node = new byte[4096];
        if (isWhole && _edits.TryRead(now.Start, node))
        {
            int depth = DepthOf(node, record);
            isWhole = depth == now.Depth;
            isWhole &= LoadNode(record, now.Start, depth, extents);
        }
        else
        {
            isWhole = false;
        }

        if (_isStateNew && extents.RemoveAll(extent => extent.Kind == TreeEntryKind.Index) > 0)
        {
            // Which indexes can be believed was in the state that is lost.
            record.IsMapDirty = true;
        }

        isWhole &= TrimOverlaps(extents);
        if (!isWhole)
        {
            Act("tree", $"inode {now.Inode}: of a damaged extent tree {extents.Count} extents are kept", now.Inode, record.Block);
            LoseMap(record, extents);
        }

        record.Map = extents;
    }

    private void LoseMap(RepairRecord record, List<RepairExtent> kept)
    {
        record.Map = kept;
        record.IsMapDirty = true;
        _hasLoss = true;
    }

    /// <summary>How deep a tree is by the entries of its root: those of contents make a leaf, whatever record and header say.</summary>
    private int DepthOf(ReadOnlySpan<byte> node, RepairRecord record)
    {
        int leaf = 0;
        int inner = 0;
        int level = 0;
        for (int i = 0; i < TreeNode.EntriesPerNode; i++)
        {
            ReadOnlySpan<byte> sector = node.Slice(i / TreeNode.EntriesPerSector * Sector.SizeBytes, Sector.SizeBytes);
            if (!Sector.IsValid(sector, _guard.ChecksumSeed, (record.Now.Start * Sector.PerBlock) + (ulong)(i / TreeNode.EntriesPerSector), SectorKind.Tree, record.Now.Inode))
            {
                continue;
            }

            TreeEntry entry = TreeEntry.Read(node[TreeNode.OffsetInBlock(i)..]);
            leaf += IsLeafEntry(record.Now.Kind, entry) ? 1 : 0;
            inner += entry is { Kind: TreeEntryKind.Node, Count: 1 } ? 1 : 0;
            level = Math.Max(level, Sector.IsEmpty(sector) ? 0 : sector[TreeNode.Level]);
        }

        bool isLeaf = leaf >= inner && leaf > 0;
        return isLeaf ? 1
            : record.Now.Depth is >= 1 and <= TreeNode.DepthMax && (record.Now.Depth > 1 || inner == 0) ? record.Now.Depth
            : Math.Clamp(level, 2, TreeNode.DepthMax);
    }

    /// <summary>Collects the extents below a node. False when anything was not as it must be.</summary>
    private bool LoadNode(RepairRecord record, ulong node, int level, List<RepairExtent> extents)
    {
        byte[] bytes = new byte[4096];
        if (record.Nodes.Contains(node) || !_edits.TryRead(node, bytes))
        {
            return false;
        }

        bool isWhole = true;
        bool isProved = false;
        bool isEmpty = true;
        Progressed("trees");
        for (int s = 0; s < Sector.PerBlock; s++)
        {
            ReadOnlySpan<byte> sector = bytes.AsSpan(s * Sector.SizeBytes, Sector.SizeBytes);
            isEmpty &= Sector.IsEmpty(sector);
            if (!Sector.IsValid(sector, _guard.ChecksumSeed, (node * Sector.PerBlock) + (ulong)s, SectorKind.Tree, record.Now.Inode))
            {
                isWhole = false;
                continue;
            }

            if (Sector.IsEmpty(sector))
            {
                continue;
            }

            if (!isProved)
            {
                isProved = true;
                record.Nodes.Add(node);
            }

            isWhole &= sector[TreeNode.Level] == level;
            for (int i = 0; i < TreeNode.EntriesPerSector; i++)
            {
                TreeEntry entry = TreeEntry.Read(sector[(i * TreeEntry.SizeBytes)..]);
                if (entry.Kind == TreeEntryKind.Free)
                {
                    continue;
                }

                if (entry.Kind == TreeEntryKind.Node && level > 1 && entry.Count == 1 && IsInRange(entry.Start, 1))
                {
                    isWhole &= LoadNode(record, entry.Start, level - 1, extents);
                }
                else if (level == 1 && IsLeafEntry(record.Now.Kind, entry) && IsInRange(entry.Start, entry.Count))
                {
                    extents.Add(new RepairExtent(entry.Logical, entry.Start, entry.Count, entry.Kind));
                }
                else
                {
                    isWhole = false;
                }
            }
        }

        if (isEmpty)
        {
            record.Nodes.Add(node);
        }

        return isWhole && (isProved || isEmpty);
    }

    /// <summary>Sorts extents; of two that map one logical block the one that stands first counts. False when there were such that are not the same (<see cref="Inodes.BlockMap.Twins"/>).</summary>
    private static bool TrimOverlaps(List<RepairExtent> extents)
    {
        List<RepairExtent> sorted = [.. extents.OrderBy(extent => extent.Logical)];
        extents.Clear();
        ulong end = 0;
        bool isWhole = true;
        foreach (RepairExtent extent in sorted)
        {
            ulong cut = extent.Logical < end ? end - extent.Logical : 0;
            isWhole &= cut == 0 || (extents.Count > 0 && extents[^1] == extent);
            if (cut < extent.Count)
            {
                extents.Add(new RepairExtent(extent.Logical + cut, extent.Start + cut, extent.Count - (uint)cut, extent.Kind));
                end = extent.Logical + extent.Count;
            }
        }

        return isWhole;
    }
}
