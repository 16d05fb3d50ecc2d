// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Text;
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Check;

/// <content>From what is decided to sectors: lost+found, maps in fresh nodes, records.</content>
internal sealed partial class VolumeRepair
{
    private readonly HashSet<ulong> _taken = [];
    private OwnershipMap? _kept;
    private ulong _takeFrom;
    private uint _sequence;

    /// <summary>
    /// A block that nothing owns: first of those that nothing has owned, so that a power cut in the middle of the repair leaves everything to the next; then of those that have been given up.
    /// Null: the disk is full.
    /// </summary>
    private ulong? Take(uint count = 1)
    {
        if (_kept is null)
        {
            _kept = new OwnershipMap(_xn.BlockCount, SharesContents);
            _kept.TryOwn(_superblock, isContents: false);
            foreach (Claim claim in _records.Where(record => record.IsLive).SelectMany(ClaimsOf))
            {
                _kept.TryOwn(claim.Start, claim.End - claim.Start, isContents: false, [], out _);
            }

            _takeFrom = _xn.DataStart;
        }

        for (int pass = 0; pass < 3; pass++)
        {
            uint run = 0;
            for (ulong block = pass == 0 && count == 1 ? _takeFrom : _xn.DataStart; block < _xn.BlockCount; block++)
            {
                bool isFree = !_kept.IsOwned(block) && !_taken.Contains(block) && (_foreign is null || _foreign.IsFree(block))
                    && (pass == 2 || !_reached.IsOwned(block)) && (pass > 0 || _free is null || IsFree(block));
                run = isFree ? run + 1 : 0;
                if (run == count)
                {
                    ulong first = block + 1 - count;
                    for (uint i = 0; i < count; i++)
                    {
                        _taken.Add(first + i);
                    }

                    _takeFrom = pass == 0 && count == 1 ? block + 1 : _takeFrom;
                    return first;
                }
            }
        }

        return null;
    }

    private void PlaceInLostAndFound()
    {
        DropLostTargets();
        List<RepairRecord> homeless = [.. _records.Where(record => record.IsLive && record.IsMoved)];
        if (homeless.Count == 0)
        {
            return;
        }

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

    private readonly List<(RepairRecord Record, RepairDirectory Directory, ulong Block, int Index, byte[] Name, byte[] Inline)> _puts = [];

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

    private byte[] InlineOf(RepairRecord record)
    {
        byte[] inline = new byte[record.Now.InlineLength];
        if (inline.Length > 0)
        {
            byte[] block = new byte[4096];
            _edits.TryRead(record.Block, block);
            Layout.Record.ReadContents(SectorOf(block, record), record.Index % Slot.PerSector, record.NameLengthFound, inline);
        }

        return inline;
    }

    private void RewriteMaps()
    {
        foreach (RepairRecord record in _records.Where(record => record is { IsLive: true, IsMapDirty: true }))
        {
            if (record == _log)
            {
                RewriteLog();
                continue;
            }

            List<RepairExtent> extents = [.. record.Map!.OrderBy(extent => extent.Logical)];
            record.IsDirty = true;
            if (record.Now.Kind == SlotKind.Directory)
            {
                record.Now.Size = extents.Count == 0 ? 0 : (extents[^1].Logical + extents[^1].Count) * 4096;
            }

            if (!TryBuild(record, extents))
            {
                Act("no-space", $"inode {record.Now.Inode} loses extents: the disk has no room for a tree of them", record.Now.Inode, record.Block);
                TryBuild(record, extents.Count > 0 && extents[0] is { Logical: 0, Kind: TreeEntryKind.Contents } ? extents[..1] : []);
            }
        }
    }

    private bool TryBuild(RepairRecord record, List<RepairExtent> extents)
    {
        ref Record now = ref record.Now;
        if (extents.Count == 0 || (extents.Count == 1 && extents[0] is { Logical: 0, Kind: TreeEntryKind.Contents }))
        {
            now.Depth = 0;
            now.Start = extents.Count == 0 ? 0 : extents[0].Start;
            now.Count = extents.Count == 0 ? 0 : extents[0].Count;
            return true;
        }

        List<TreeEntry> level = [.. extents.Select(extent => new TreeEntry(extent.Logical, extent.Start, extent.Count, extent.Kind))];
        byte depth = 0;
        do
        {
            depth++;
            List<TreeEntry> above = [];
            for (int from = 0; from < level.Count; from += TreeNode.EntriesPerNode)
            {
                if (depth > TreeNode.DepthMax || Take() is not { } node)
                {
                    return false;
                }

                StageNode(node, now.Inode, depth, level[from..Math.Min(level.Count, from + TreeNode.EntriesPerNode)]);
                above.Add(new TreeEntry(0, node, 1, TreeEntryKind.Node));
            }

            level = above;
        }
        while (level.Count > 1);

        now.Depth = depth;
        now.Start = level[0].Start;
        now.Count = 1;
        return true;
    }

    private void StageNode(ulong node, ulong inode, byte depth, List<TreeEntry> entries)
    {
        _edits.Fresh(node);
        for (int s = 0; s * TreeNode.EntriesPerSector < entries.Count; s++)
        {
            int first = s * TreeNode.EntriesPerSector;
            _edits.Change(node, s, SectorKind.Tree, inode, RepairStep.New, sector =>
            {
                for (int i = first; i < Math.Min(entries.Count, first + TreeNode.EntriesPerSector); i++)
                {
                    entries[i].Emit(sector[((i - first) * TreeEntry.SizeBytes)..]);
                }

                sector[TreeNode.Level] = depth;
            });
        }
    }

    private void RewriteAttributes()
    {
        foreach (RepairRecord record in _records.Where(record => record is { IsLive: true, Attributes: not null }))
        {
            if (Take() is not { } block)
            {
                Act("no-space", $"inode {record.Now.Inode} loses its extended attributes: the disk has no room for a copy of them", record.Now.Inode, record.Block);
                continue;
            }

            byte[] bytes = record.Attributes!;
            AttributeBlock.Seal(bytes, BinaryPrimitives.ReadUInt16LittleEndian(bytes.AsSpan(AttributeBlock.EntryBytes)), record.Now.Inode, _guard.ChecksumSeed, block);
            _edits.Replace(block, bytes, RepairStep.New);
            record.Now.Attributes = block;
        }
    }

    private void RewriteLog()
    {
        if (Take(Intent.LogBlocks) is not { } first)
        {
            throw new CffsException(CffsError.NoSpace, $"the disk has no {Intent.LogBlocks} blocks in a row for the intent log");
        }

        for (uint i = 0; i < Intent.LogBlocks; i++)
        {
            _edits.Fresh(first + i);
        }

        Act("log", $"the intent log is made anew", Superblock.LogInode, first);
        _log.Now.Start = first;
        _log.Now.Count = Intent.LogBlocks;
        _log.Now.Depth = 0;
        _log.Now.Size = Intent.LogBlocks * 4096;
        _log.IsDirty = true;
    }

    private void StageRecords()
    {
        Dictionary<RepairRecord, (RepairRecord Record, RepairDirectory Directory, ulong Block, int Index, byte[] Name, byte[] Inline)> puts = _puts.ToDictionary(put => put.Record);
        foreach (RepairRecord record in _records)
        {
            bool isPut = puts.TryGetValue(record, out (RepairRecord Record, RepairDirectory Directory, ulong Block, int Index, byte[] Name, byte[] Inline) put);
            if (record.Block != 0 && (isPut || (record.IsDirty && record.IsRemoved)))
            {
                ClearSlots(record);
            }

            if (isPut && record.IsLive)
            {
                Emit(record, put.Block, put.Index, put.Directory.Inode, put.Name, put.Inline, RepairStep.New);
            }
            else if (record.IsDirty && record.IsLive && record.Block != 0)
            {
                byte[] name = record.NewName ?? NameOf(record);
                byte[] inline = InlineOf(record);
                if (record.Owner != 0)
                {
                    ClearSlots(record);
                }

                record.Now.NameLength = (byte)name.Length;
                record.Now.NameHash = record.Owner is 0 || name.Length == 0 ? 0 : record.Now.NameHash;
                record.Now.Slots = (byte)Slot.SlotsFor(name.Length + inline.Length);
                Emit(record, record.Block, record.Index, record.Owner, name, inline, RepairStep.Old);
            }
        }
    }

    private void ClearSlots(RepairRecord record)
    {
        int from = record.Index % Slot.PerSector * Slot.SizeBytes;
        _edits.Change(record.Block, record.Index / Slot.PerSector, SectorKind.Slots, record.Owner, RepairStep.Old, sector => sector.Slice(from, record.SlotsFound * Slot.SizeBytes).Clear());
    }

    private void Emit(RepairRecord record, ulong block, int index, ulong owner, byte[] name, byte[] inline, RepairStep step)
    {
        int inSector = index % Slot.PerSector;
        _edits.Change(block, index / Slot.PerSector, SectorKind.Slots, owner, step, sector => Directories.DirectoryStore.StageInto(sector, inSector, record.Now, name, inline));
    }
}
