// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Check;

/// <content>Who is who: one number, one inode.</content>
internal sealed partial class VolumeRepair
{
    private ulong NewInode() => ++_inodeMax;

    /// <summary>One number, one inode.</summary>
    private void DecideInodes()
    {
        foreach (RepairRecord second in _duplicates)
        {
            if (second.IsRemoved)
            {
                continue;
            }

            RepairRecord? first = _byInode.GetValueOrDefault(second.Now.Inode);
            if (second.Now.Inode < Superblock.FirstInode || first is null)
            {
                Renumber(second);
                continue;
            }

            bool isStale = first.LeadsWhere(second) && second.Now.Count > 0;
            if (isStale && second.IsSalvaged && !first.IsSalvaged)
            {
                Remove(second, "stale", "it was found without a way to it, and its inode has another record");
            }
            else if (isStale && first.IsSalvaged && !second.IsSalvaged && first.Now.Kind != SlotKind.Directory)
            {
                _byInode[second.Now.Inode] = second;
                Remove(first, "stale", "it was found without a way to it, and its inode has another record");
            }
            else if ((_isUnclean || first.LeadsWhere(second)) && first.WasBornAs(second) && (first.Owner == Superblock.ExternalInode) != (second.Owner == Superblock.ExternalInode))
            {
                // It was moving out to the external table when the crash came: the table's record counts, and the directory's becomes a name of it.
                (RepairRecord outside, RepairRecord inside) = first.Owner == Superblock.ExternalInode ? (first, second) : (second, first);
                _byInode[outside.Now.Inode] = outside;
                BecomeLink(inside);
            }
            else if (_moving.Contains(second.Now.Inode) || (first.LeadsWhere(second) && second.Now.Count > 0))
            {
                (RepairRecord later, RepairRecord earlier) = (int)(second.Now.NameSequence - first.Now.NameSequence) > 0 ? (second, first) : (first, second);
                _byInode[later.Now.Inode] = later;
                Remove(earlier, "duplicate-inode", "the inode is found twice, and this is the earlier name");
            }
            else
            {
                Renumber(second);
            }
        }
    }

    /// <summary>Numbers of snapshots stand in snapshots, and a directory with one in any directory: there it is a snapshot.</summary>
    private void DecideSnapshots()
    {
        foreach (RepairRecord record in _records.Where(record => record.IsLive && record.Now.Kind is SlotKind.File or SlotKind.Directory or SlotKind.SymbolicLink or SlotKind.Special))
        {
            if (record.Container is not { Inode: not (Superblock.ExternalInode or Superblock.OrphanInode) } container)
            {
                continue;
            }

            bool isFrozen = IsFrozen(record.Now.Inode);
            if (isFrozen == IsFrozen(container.Inode) || (isFrozen && record.Now.Kind == SlotKind.Directory))
            {
                continue;
            }

            if (record.Now.Kind == SlotKind.Directory)
            {
                Act("snapshot", $"directory {record.Now.Inode} is of no snapshot and stands in one: it is put into lost+found", record.Now.Inode, record.Block);
                record.IsMoved = true;
            }
            else
            {
                Renumber(record, isFrozen: !isFrozen);
            }
        }
    }

    /// <summary>A file of a snapshot that has lost its place there becomes one like any other.</summary>
    private void Thaw(RepairRecord record)
    {
        if (!IsFrozen(record.Now.Inode) || record.Now.Kind is SlotKind.Directory or SlotKind.ExternalLink)
        {
            return;
        }

        byte[] block = new byte[4096];
        if (record.Now.Attributes != 0 && record.OwnsBlocks && _edits.TryRead(record.Now.Attributes, block))
        {
            record.Attributes = block;
        }

        record.Now.Attributes = 0;
        Renumber(record);
    }

    private static bool IsFrozen(ulong inode) => (inode & Superblock.SnapshotInodes) != 0;

    /// <summary>A block of extended attributes is whole and says whose it is, or goes.</summary>
    private void DecideAttributes()
    {
        byte[] block = new byte[4096];
        foreach (RepairRecord record in _records.Where(record => record.IsLive && record.OwnsBlocks && record.Now.Attributes != 0))
        {
            ulong number = record.Now.Attributes;
            bool isRead = _edits.TryRead(number, block);
            if (isRead && AttributeBlock.IsValid(block, record.Now.Inode, _guard.ChecksumSeed, number))
            {
                continue;
            }

            record.Now.Attributes = 0;
            record.IsDirty = true;
            if (isRead && AttributeBlock.IsValid(block, record.InodeFound, _guard.ChecksumSeed, number))
            {
                record.Attributes = (byte[])block.Clone();
            }
            else
            {
                Act("attributes", $"inode {record.Now.Inode} loses its extended attributes, whose block is damaged", record.Now.Inode, number);
                _hasLoss = true;
            }
        }
    }

    private void Renumber(RepairRecord record, bool isFrozen = false)
    {
        ulong number = NewInode() | (isFrozen ? Superblock.SnapshotInodes : 0);
        Act("inode-number", $"inode {record.Now.Inode} is found twice, or cannot be there: one gets the number {number}", record.Now.Inode, record.Block);
        record.Now.Inode = number;
        record.IsDirty = true;

        // The trailers of its tree nodes say whose they are.
        record.IsMapDirty |= record.Now.HasTree;
        _byInode[number] = record;
    }

    private void BecomeLink(RepairRecord record)
    {
        Act("unfinished-move", $"a record of inode {record.Now.Inode} becomes a name of its record in the external table", record.Now.Inode, record.Block);
        record.Now = new Record
        {
            Kind = SlotKind.ExternalLink, NameLength = record.Now.NameLength, NameHash = record.Now.NameHash, NameSequence = record.Now.NameSequence, Inode = record.Now.Inode, Mode = record.Now.Mode,
        };
        record.Map = null;
        record.Nodes.Clear();
        record.IsMapDirty = false;
        record.IsDirty = true;
        _links.Add(record);
    }
}
