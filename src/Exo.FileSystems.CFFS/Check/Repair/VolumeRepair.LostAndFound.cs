// SPDX-License-Identifier: MIT
using System.Text;
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Check;

/// <content>Who has lost his place or his name gets one in lost+found.</content>
internal sealed partial class VolumeRepair
{
    private readonly List<(RepairRecord Record, RepairDirectory Directory, ulong Block, int Index, byte[] Name, byte[] Inline)> _puts = [];

    private void PlaceInLostAndFound()
    {
        DropLostTargets();
        List<RepairRecord> homeless = [.. _records.Where(record => record.IsLive && record.IsMoved)];
        if (homeless.Count == 0)
        {
            return;
        }

        homeless.ForEach(Thaw);
        _sequence = _state.NameSequence | 1;
        RepairDirectory? place = FindLostAndFound() ?? MakeLostAndFound();
        HashSet<string> names = place is null ? [] : [.. place.Children.Where(child => child.IsLive && !child.IsMoved).Select(child => Encoding.Latin1.GetString(NameOf(child)))];
        foreach (RepairRecord record in homeless)
        {
            string name = $"#{record.Now.Inode}";
            for (int i = 2; !names.Add(name); i++)
            {
                name = $"#{record.Now.Inode}-{i}";
            }

            if (place is null || !TryPut(place, record, Encoding.ASCII.GetBytes(name)))
            {
                Act("no-space", $"inode {record.Now.Inode} is lost: the disk has no room for its name in lost+found", record.Now.Inode, 0);
                record.IsRemoved = true;
                record.IsDirty = true;
            }
        }

        _state.NameSequence = _sequence + 1;
    }

    /// <summary>Symbolic links without a target go.</summary>
    private void DropLostTargets()
    {
        foreach (RepairRecord record in _records.Where(record => record.IsLive && record.Now.Kind == SlotKind.SymbolicLink))
        {
            bool hasTarget = record.Now.InlineLength > 0 || record.Extents.Any(extent => extent.Logical == 0 && extent.Kind == TreeEntryKind.Contents);
            if (hasTarget && record.Now.InlineLength == 0 && record.Now.Size is 0 or > 4095)
            {
                byte[] block = new byte[4096];
                int length = _edits.TryRead(record.Extents.First(extent => extent.Logical == 0).Start, block) ? block.AsSpan(0, 4095).IndexOf((byte)0) : 0;
                length = length < 0 ? 4095 : length;
                Act("symbolic-link", $"symbolic link {record.Now.Inode} has a target of {length} bytes now", record.Now.Inode, record.Block);
                record.Now.Size = (ulong)length;
                record.IsDirty = true;
                hasTarget = length > 0;
            }

            if (!hasTarget)
            {
                Remove(record, "symbolic-link", "its target is lost");
                if (record.Owner == Superblock.ExternalInode)
                {
                    foreach (RepairRecord link in _records.Where(link => link.IsLive && link.Now.Kind == SlotKind.ExternalLink && link.Now.Inode == record.Now.Inode))
                    {
                        Remove(link, "link-target", "its inode is removed");
                    }
                }
            }
        }
    }

    private RepairDirectory? FindLostAndFound()
    {
        RepairRecord? found = _directories[Superblock.RootInode].Children.Find(child =>
            child.IsLive && !child.IsMoved && child.Now.Kind == SlotKind.Directory && NameOf(child).AsSpan().SequenceEqual("lost+found"u8));
        return found is null ? null : _directories.GetValueOrDefault(found.Now.Inode);
    }

    private RepairDirectory? MakeLostAndFound()
    {
        RepairDirectory root = _directories[Superblock.RootInode];
        bool isTaken = root.Children.Exists(child => child.IsLive && !child.IsMoved && NameOf(child).AsSpan().SequenceEqual("lost+found"u8));
        ulong inode = NewInode();
        RepairRecord record = new()
        {
            Now = new Record
            {
                Kind = SlotKind.Directory, Inode = inode, Mode = ModeBits.Directory | 0x1C0, AccessTime = _state.LastWriteTime, ModifyTime = _state.LastWriteTime,
                ChangeTime = _state.LastWriteTime, BirthTime = _state.LastWriteTime,
            },
            Map = [], IsDirty = true,
        };
        if (!TryPut(root, record, isTaken ? Encoding.ASCII.GetBytes($"lost+found-{inode}") : "lost+found"u8.ToArray()))
        {
            return null;
        }

        RepairDirectory directory = new() { Inode = inode, Record = record };
        _records.Add(record);
        _byInode[inode] = record;
        _directories[inode] = directory;
        Act("lost+found", $"lost+found is made: inode {inode}", inode, 0);
        return directory;
    }

    /// <summary>Reserves slots for a record in a directory. What it is to hold is written by <see cref="StageRecords"/>.</summary>
    private bool TryPut(RepairDirectory directory, RepairRecord record, byte[] name)
    {
        if (record.Pack is not null && !TryUnpack(record))
        {
            return false;
        }

        byte[] inline = InlineOf(record);
        if (name.Length + inline.Length > Slot.ContentBytesMax)
        {
            // A longer name leaves too little room for the contents: they get a block.
            if (Take() is not { } block)
            {
                return false;
            }

            byte[] contents = new byte[4096];
            inline.CopyTo(contents, 0);
            _edits.Replace(block, contents, RepairStep.New);
            record.Map = [new RepairExtent(0, block, 1, TreeEntryKind.Contents)];
            record.IsMapDirty = true;
            record.Now.InlineLength = 0;
            inline = [];
        }

        int slots = Slot.SlotsFor(name.Length + inline.Length);
        if (FindRoom(directory, slots) is not { } place)
        {
            return false;
        }

        Record now = record.Now;
        now.NameLength = (byte)name.Length;
        now.NameHash = NameHash.Compute(name, _guard.HashSeed);
        now.NameSequence = _sequence += 2;
        now.Slots = (byte)slots;
        _puts.Add((record, directory, place.Block, place.Index, name, inline));
        record.Now = now;

        // The slots are taken from now on, and hold the record from the start.
        _edits.Change(place.Block, place.Index / Slot.PerSector, SectorKind.Slots, directory.Inode, RepairStep.New, sector => sector[place.Index % Slot.PerSector * Slot.SizeBytes] = (byte)SlotKind.Log);
        for (int i = 1; i < slots; i++)
        {
            int at = place.Index + i;
            _edits.Change(place.Block, at / Slot.PerSector, SectorKind.Slots, directory.Inode, RepairStep.New, sector => sector[at % Slot.PerSector * Slot.SizeBytes] = (byte)SlotKind.Continuation);
        }

        return true;
    }

    private (ulong Block, int Index)? FindRoom(RepairDirectory directory, int slots)
    {
        byte[] bytes = new byte[4096];
        foreach ((_, ulong block) in directory.Blocks)
        {
            if (_edits.TryRead(block, bytes) && Directories.DirectoryStore.TryFindRun(bytes, slots, out int index))
            {
                return (block, index);
            }
        }

        if (Take() is not { } fresh)
        {
            return null;
        }

        _edits.Fresh(fresh);
        directory.Blocks.Add((directory.Blocks.Count == 0 ? 0 : directory.Blocks.Max(item => item.Logical) + 1, fresh));
        directory.Record.Map = Runs(directory.Blocks);
        directory.Record.IsMapDirty = true;
        return (fresh, 0);
    }
}
