// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Check;

/// <content>The walk, record by record: what does not belong where it stands goes, numbers are entered, and what is found twice is noted.</content>
internal sealed partial class VolumeRepair
{
    private void Visit(RepairDirectory directory, RepairRecord record)
    {
        _records.Add(record);
        directory.Children.Add(record);
        if (_isStateNew && (int)(record.Now.NameSequence - _state.NameSequence) > 0)
        {
            _state.NameSequence = record.Now.NameSequence;
        }

        bool isExternal = directory.Inode == Superblock.ExternalInode;
        if (record.Now.Kind == SlotKind.Log || (isExternal && record.Now.Kind is SlotKind.ExternalLink or SlotKind.Directory))
        {
            Remove(record, "kind", "a record of this kind does not belong there");
            return;
        }

        if (directory.Inode == Superblock.OrphanInode)
        {
            // Unlinked while open: deleted already, as far as anybody could see. The blocks of a directory that was not empty are searched for.
            record.IsRemoved = true;
            record.IsDirty = true;
            Act("orphan", $"inode {record.Now.Inode}, unlinked while open, is removed", record.Now.Inode, record.Block);
            return;
        }

        if (isExternal && record.Now.NameLength > 0)
        {
            Act("name", $"the external inode {record.Now.Inode} loses a name that it must not have here", record.Now.Inode, record.Block);
            record.NewName = [];
            record.IsDirty = true;
        }

        if (record.Now.Kind == SlotKind.ExternalLink)
        {
            if (record.Now.InlineLength > 0)
            {
                DropInline(record);
            }

            _links.Add(record);
            return;
        }

        MendKind(record);
        if (record.Now.Kind is SlotKind.Directory && isExternal)
        {
            Remove(record, "kind", "a directory does not belong there");
            return;
        }

        MendInline(record);
        if (record.Now.Kind != SlotKind.Special && record.Now.Attributes != 0 && !IsInRange(record.Now.Attributes, 1))
        {
            Act("pointer", $"inode {record.Now.Inode} loses attributes outside the data of the disk", record.Now.Inode, record.Block);
            record.Now.Attributes = 0;
            record.IsDirty = true;
        }

        if (ProvedInode(record) is { } proved && proved != record.Now.Inode)
        {
            _disowned.Add((record, proved));
            return;
        }

        Enter(record);
    }

    /// <summary>Takes a record that has its number: a directory is walked, a file's map loaded.</summary>
    private void Enter(RepairRecord record)
    {
        if (record.Now.Inode is < Superblock.FirstInode or >= 1UL << 62)
        {
            if (record.Now.Kind == SlotKind.Directory)
            {
                Remove(record, "inode-number", "its number can be no directory's");
                return;
            }

            LoadMap(record);
            _duplicates.Add(record);
            return;
        }

        if (_byInode.TryAdd(record.Now.Inode, record))
        {
            _inodeMax = Math.Max(_inodeMax, record.Now.Inode & ~Superblock.SnapshotInodes);
            if (record.Now.Kind != SlotKind.Directory)
            {
                LoadMap(record);
                return;
            }

            RepairDirectory directory = new() { Inode = record.Now.Inode, Record = record };
            _directories[record.Now.Inode] = directory;
            LoadDirectory(directory);
            return;
        }

        if (record.Now.Kind == SlotKind.Directory || _directories.ContainsKey(record.Now.Inode))
        {
            EnterSecondDirectory(record);
            return;
        }

        LoadMap(record);
        _duplicates.Add(record);
    }

    /// <summary>A directory's number is found twice. Of an interrupted move the later record counts; of any other pair the first one, which gets the blocks that prove to be its own.</summary>
    private void EnterSecondDirectory(RepairRecord record)
    {
        if (!_directories.TryGetValue(record.Now.Inode, out RepairDirectory? directory) || record.Now.Kind != SlotKind.Directory)
        {
            if (record.Now.Kind != SlotKind.Directory)
            {
                LoadMap(record);
                _duplicates.Add(record);
            }
            else if (_byInode[record.Now.Inode] is { Now.Inode: >= Superblock.FirstInode } file)
            {
                // The blocks of a directory say its number; those of a file rarely do.
                _duplicates.Add(file);
                _byInode.Remove(record.Now.Inode);
                Enter(record);
            }

            return;
        }

        RepairRecord first = directory.Record;
        bool isSame = record.LeadsWhere(first);
        bool isLater = (isSame || _moving.Contains(record.Now.Inode)) && (int)(record.Now.NameSequence - first.Now.NameSequence) > 0 && first.Container is not null
            && record.IsSalvaged == first.IsSalvaged && !record.Container!.IsBelow(directory);
        if (!isLater)
        {
            Remove(record, "duplicate-inode", "the directory is found twice");
            return;
        }

        directory.Record = record;
        _byInode[record.Now.Inode] = record;
        Remove(first, "duplicate-inode", "the directory is found twice, and this is the earlier name");
        if (isSame)
        {
            record.Map = first.Map;
            record.Nodes.UnionWith(first.Nodes);
            record.IsMapDirty = first.IsMapDirty;
            return;
        }

        // It has grown since it moved.
        LoadDirectory(directory);
        record.IsMapDirty = true;
    }

    /// <summary>The blocks prove another number. If nobody else has it, it is this record's; otherwise its pointer is wrong.</summary>
    private void Disown(RepairRecord record, ulong proved)
    {
        if (proved is >= Superblock.FirstInode and < 1UL << 62 && !_byInode.ContainsKey(proved))
        {
            Act("inode-number", $"the record of inode {record.Now.Inode} leads to blocks of inode {proved}, which has no other: it gets that number", proved, record.Block);
            record.Now.Inode = proved;
            record.IsDirty = true;
        }
        else
        {
            Act("pointer", $"inode {record.Now.Inode} loses a pointer to blocks that prove to be of inode {proved}", record.Now.Inode, record.Block);
            record.Map = [];
            record.IsMapDirty = true;
            _hasLoss = true;
        }

        Enter(record);
    }

    private void Remove(RepairRecord record, string code, string why)
    {
        Act(code, $"the record of inode {record.Now.Inode} in directory {record.Owner} is removed: {why}", record.Now.Inode, record.Block);
        record.IsRemoved = true;
        record.IsDirty = true;
        _hasLoss = true;
    }
}
