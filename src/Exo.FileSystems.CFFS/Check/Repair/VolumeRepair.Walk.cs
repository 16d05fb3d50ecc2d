// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Check;

/// <content>The walk: directories from the built-in ones on. What contradicts itself within one record is mended here; what needs the whole is noted.</content>
internal sealed partial class VolumeRepair
{
    private readonly Queue<(RepairDirectory Directory, List<RepairExtent> Extents)> _queue = new();

    // Directories whose blocks prove another inode number than their record has.
    private readonly List<(RepairRecord Record, ulong Proved)> _disowned = [];
    private readonly List<RepairRecord> _duplicates = [];
    private readonly HashSet<ulong> _slotBlocks = [];
    private readonly HashSet<ulong> _moving = [];
    private RepairRecord _log = null!;

    // Blocks that a directory pointed to and that are no slot blocks at all.
    private OwnershipMap _barren = null!;

    private void WalkAll()
    {
        _barren = new OwnershipMap(_xn.BlockCount, sharesContents: false);
        byte[] block = new byte[4096];
        if (!_edits.TryRead(_superblock, block))
        {
            block.AsSpan().Clear();
        }

        Span<byte> sector = block.AsSpan(Superblock.RecordSector * Sector.SizeBytes, Sector.SizeBytes);
        bool isValid = !Sector.IsEmpty(sector)
            && Sector.IsValid(sector, _guard.ChecksumSeed, (_superblock * Sector.PerBlock) + Superblock.RecordSector, SectorKind.Slots, 0);
        foreach (int slot in (int[])[Superblock.LogSlot, Superblock.ExternalSlot, Superblock.OrphanSlot, Superblock.RootSlot])
        {
            AddBuiltIn(sector, slot, isValid);
        }

        WalkQueue();
        for (int i = 0; i < _disowned.Count; i++)
        {
            Disown(_disowned[i].Record, _disowned[i].Proved);
            WalkQueue();
        }
    }

    private void AddBuiltIn(ReadOnlySpan<byte> sector, int slot, bool isValid)
    {
        ulong inode = Superblock.RootInode + (ulong)slot;
        SlotKind kind = slot == Superblock.LogSlot ? SlotKind.Log : SlotKind.Directory;
        bool isWhole = isValid && Layout.Record.TryParse(sector, slot, out Record found) && found.Inode == inode && found.Kind == kind && found.Slots == 1 && found.InlineLength == 0
            && (slot == Superblock.LogSlot || ModeBits.KindOf(found.Mode) == CffsKind.Directory);
        if (!isWhole)
        {
            Act("superblock-records", $"built-in record {slot} is made anew", inode, _superblock);
            _hasLoss = true;
            found = new Record
            {
                Kind = kind, Slots = 1, Inode = inode, Mode = slot switch { Superblock.RootSlot => ModeBits.Directory | 0x1ED, Superblock.LogSlot => ModeBits.File, _ => ModeBits.Directory },
                Links = kind == SlotKind.Log ? 1u : 0, AccessTime = _guard.CreationTime, ModifyTime = _guard.CreationTime, ChangeTime = _guard.CreationTime, BirthTime = _guard.CreationTime,
            };
        }
        else
        {
            Layout.Record.TryParse(sector, slot, out found);
        }

        RepairRecord record = new()
        {
            Block = _superblock, Index = Superblock.SlotIndex(slot), Owner = 0, Now = found, IsDirty = !isWhole,
            NewName = isWhole ? null : System.Text.Encoding.UTF8.GetBytes(slot switch { 0 => "/", 1 => "orphans", 2 => "externals", _ => "log" }),
            InodeFound = inode, SlotsFound = 1, NameLengthFound = isWhole ? found.NameLength : (byte)0,
        };
        if (record.Now.Attributes != 0 && !IsInRange(record.Now.Attributes, 1))
        {
            Act("pointer", $"built-in record {slot} loses attributes outside the data of the disk", inode, _superblock);
            record.Now.Attributes = 0;
            record.IsDirty = true;
        }

        _records.Add(record);
        _byInode[inode] = record;
        if (slot == Superblock.LogSlot)
        {
            _log = record;
            if (found.Depth != 0 || found.Count != Intent.LogBlocks || !IsInRange(found.Start, found.Count))
            {
                record.Map = [];
                record.IsMapDirty = true;
            }
            else if (_isUnclean)
            {
                ReadIntents();
            }

            return;
        }

        RepairDirectory directory = new() { Inode = inode, Record = record };
        _directories[inode] = directory;
        LoadDirectory(directory);
    }

    /// <summary>Which inodes were moving between directories when the crash came: they may be found twice.</summary>
    private void ReadIntents()
    {
        byte[] block = new byte[4096];
        for (ulong i = 0; i < Intent.LogBlocks; i++)
        {
            ulong number = _log.Now.Start + i;
            for (int s = 0; s < Sector.PerBlock && _edits.TryRead(number, block); s++)
            {
                ReadOnlySpan<byte> sector = block.AsSpan(s * Sector.SizeBytes, Sector.SizeBytes);
                if (!Sector.IsEmpty(sector) && Sector.IsValid(sector, _guard.ChecksumSeed, (number * Sector.PerBlock) + (ulong)s, SectorKind.Intent, 0)
                    && Intent.Read(sector) is var intent && (intent.Epoch == _state.Epoch || _isStateNew))
                {
                    _moving.Add(intent.Inode);
                }
            }
        }
    }

    private void WalkQueue()
    {
        while (_queue.TryDequeue(out (RepairDirectory Directory, List<RepairExtent> Extents) next))
        {
            VisitExtents(next.Directory, next.Extents);
        }
    }

    /// <summary>Loads a directory's map and queues it.</summary>
    private void LoadDirectory(RepairDirectory directory)
    {
        LoadMap(directory.Record);
        _queue.Enqueue((directory, [.. directory.Record.Extents.Where(extent => extent.Kind == TreeEntryKind.Contents)]));
    }

    /// <summary>Reads blocks of a directory; those that are not proved to be its own are cut off.</summary>
    private void VisitExtents(RepairDirectory directory, List<RepairExtent> extents)
    {
        long dropped = 0;
        ulong firstDropped = 0;
        List<ulong> batch = [];
        List<ulong> logicals = [];
        byte[] copy = new byte[4096];

        void Drop(ulong block)
        {
            firstDropped = dropped++ == 0 ? block : firstDropped;
        }

        void Visit()
        {
            blocks.ReadAll(batch, (index, bytes) =>
            {
                Progressed("directories");
                ulong block = batch[index];
                bytes.CopyTo(copy);
                if (bytes.IsEmpty || (_edits.Overlay(block, copy) >= 0 && !IsSlotBlockOf(copy, block, directory)))
                {
                    Drop(block);
                    return;
                }

                _slotBlocks.Add(block);
                directory.Blocks.Add((logicals[index], block));
                VisitSectors(directory, block, copy);
            });
            batch.Clear();
            logicals.Clear();
        }

        foreach (RepairExtent extent in extents)
        {
            for (uint i = 0; i < extent.Count; i++)
            {
                ulong block = extent.Start + i;
                if (_slotBlocks.Contains(block) || _barren.IsOwned(block))
                {
                    Drop(block);
                    continue;
                }

                batch.Add(block);
                logicals.Add(extent.Logical + i);
                if (batch.Count == RawBlocks.BatchBlocks)
                {
                    Visit();
                }
            }
        }

        Visit();
        if (dropped > 0)
        {
            directory.Record.IsMapDirty = true;
            _hasLoss = true;
            Act("directory-block", $"{dropped} blocks that are not its own are cut off directory {directory.Inode}", directory.Inode, firstDropped);
        }
    }

    /// <summary>
    /// A block proves to be a directory's when one sector's trailer says so. A block of zeros contradicts nobody; but a directory that has been given blocks one by one has few of them.
    /// </summary>
    private bool IsSlotBlockOf(ReadOnlySpan<byte> block, ulong number, RepairDirectory directory)
    {
        bool isEmpty = !block.ContainsAnyExcept((byte)0);
        if (isEmpty)
        {
            bool isLikely = directory.EmptyBlocks <= EmptyBlocksMax + directory.Blocks.Count;
            directory.EmptyBlocks++;
            return isLikely;
        }

        bool hasTrailer = false;
        for (int s = 0; s < Sector.PerBlock; s++)
        {
            ReadOnlySpan<byte> sector = block.Slice(s * Sector.SizeBytes, Sector.SizeBytes);
            bool isSlots = BinaryPrimitives.ReadUInt32LittleEndian(sector[Sector.Magic..]) == (uint)SectorKind.Slots;
            hasTrailer |= isSlots;
            if (isSlots && Sector.IsValid(sector, _guard.ChecksumSeed, (number * Sector.PerBlock) + (ulong)s, SectorKind.Slots, directory.Inode))
            {
                return true;
            }
        }

        if (!hasTrailer)
        {
            // Nobody's, whoever else points here: it is not read again.
            _barren.TryOwn(number, isContents: false);
        }

        return false;
    }

    private const int EmptyBlocksMax = 64;

    private void VisitSectors(RepairDirectory directory, ulong block, byte[] bytes)
    {
        for (int s = 0; s < Sector.PerBlock; s++)
        {
            ReadOnlySpan<byte> sector = bytes.AsSpan(s * Sector.SizeBytes, Sector.SizeBytes);
            if (!Sector.IsValid(sector, _guard.ChecksumSeed, (block * Sector.PerBlock) + (ulong)s, SectorKind.Slots, directory.Inode))
            {
                Act("sector-emptied", $"sector {s} of a block of directory {directory.Inode} is damaged: emptied", directory.Inode, block);
                _edits.Clear(block, s, RepairStep.Old);
                _hasLoss = true;
                    continue;
            }

            for (int slot = 0; slot < Slot.PerSector;)
            {
                if (sector[slot * Slot.SizeBytes] == (byte)SlotKind.Free)
                {
                    slot++;
                    continue;
                }

                if (!Layout.Record.TryParse(sector, slot, out Record found))
                {
                    Act("slot-emptied", $"slot {slot} of sector {s} in directory {directory.Inode} makes no record: emptied", directory.Inode, block);
                    int from = slot * Slot.SizeBytes;
                    _edits.Change(block, s, SectorKind.Slots, directory.Inode, RepairStep.Old, edit => edit.Slice(from, Slot.SizeBytes).Clear());
                    _hasLoss = true;
                    slot++;
                    continue;
                }

                Visit(directory, new RepairRecord
                {
                    Now = found, Block = block, Index = (s * Slot.PerSector) + slot, Owner = directory.Inode, Container = directory,
                    InodeFound = found.Inode, SlotsFound = found.Slots, NameLengthFound = found.NameLength, IsSalvaged = directory.Record.IsSalvaged || _isSalvaging,
                });
                slot += found.Slots;
            }
        }
    }

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
            _inodeMax = Math.Max(_inodeMax, record.Now.Inode);
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

    /// <summary>Kind and mode agree afterwards. XN's pointers follow the kind, so the kind counts; except where the blocks prove a directory, or nothing but the mode makes sense.</summary>
    private void MendKind(RepairRecord record)
    {
        ref Record now = ref record.Now;
        ushort type = (ushort)(now.Mode & ModeBits.TypeMask);
        SlotKind asMode = type switch
        {
            ModeBits.Directory => SlotKind.Directory,
            ModeBits.SymbolicLink => SlotKind.SymbolicLink,
            ModeBits.File => SlotKind.File,
            ModeBits.CharacterDevice or ModeBits.BlockDevice or ModeBits.Fifo or ModeBits.Socket => SlotKind.Special,
            _ => SlotKind.Free,
        };
        if (asMode == now.Kind)
        {
            return;
        }

        SlotKind kind = now.Kind;
        if (asMode == SlotKind.Directory && HasSlotBlocks(now))
        {
            kind = SlotKind.Directory;
        }
        else if ((kind == SlotKind.Directory && asMode is SlotKind.File or SlotKind.SymbolicLink && !HasSlotBlocks(now))
            || (kind == SlotKind.Special && asMode is SlotKind.File or SlotKind.SymbolicLink))
        {
            kind = asMode;
        }

        Act("mode", $"inode {now.Inode}: kind {now.Kind} and mode {Convert.ToString(now.Mode, 8)} contradict each other: it is {kind} now", now.Inode, record.Block);
        now.Kind = kind;
        now.Mode = (ushort)((now.Mode & ModeBits.PermissionMask) | kind switch
        {
            SlotKind.Directory => ModeBits.Directory,
            SlotKind.SymbolicLink => ModeBits.SymbolicLink,
            SlotKind.Special => ModeBits.Fifo,
            _ => ModeBits.File,
        });
        record.IsDirty = true;
    }

    private bool HasSlotBlocks(in Record record)
    {
        byte[] block = new byte[4096];
        if (record.Count == 0 || !IsInRange(record.Start, 1) || !_edits.TryRead(record.Start, block))
        {
            return false;
        }

        SectorKind kind = record.Depth == 0 ? SectorKind.Slots : SectorKind.Tree;
        return ProvedOwner(block, record.Start, kind, record.Inode) == record.Inode && (record.Depth == 0 || LeadsToSlots(block, record));
    }

    /// <summary>Whether the first extent of a tree's root node, a leaf, begins with a slot block.</summary>
    private bool LeadsToSlots(ReadOnlySpan<byte> node, in Record record)
    {
        TreeEntry entry = TreeEntry.Read(node);
        byte[] block = new byte[4096];
        return entry.Kind == TreeEntryKind.Contents && IsInRange(entry.Start, 1) && _edits.TryRead(entry.Start, block) && ProvedOwner(block, entry.Start, SectorKind.Slots, record.Inode) == record.Inode;
    }

    /// <summary>The number that a record's first metadata block proves; null: nothing proves any.</summary>
    private ulong? ProvedInode(RepairRecord record)
    {
        ref readonly Record now = ref record.Now;
        bool isTree = now.Depth > 0 && record.OwnsBlocks;
        if ((!isTree && now.Kind != SlotKind.Directory) || now.Count == 0 || !IsInRange(now.Start, 1))
        {
            return null;
        }

        byte[] block = new byte[4096];
        return _edits.TryRead(now.Start, block) ? ProvedOwner(block, now.Start, isTree ? SectorKind.Tree : SectorKind.Slots, now.Inode) : null;
    }

    /// <summary>Whose a metadata block is by the trailers of its sectors: <paramref name="expected"/> when one says so, otherwise the one that most name. Null: none is valid.</summary>
    private ulong? ProvedOwner(ReadOnlySpan<byte> block, ulong number, SectorKind kind, ulong expected)
    {
        Span<ulong> owners = stackalloc ulong[Sector.PerBlock];
        int count = 0;
        for (int s = 0; s < Sector.PerBlock; s++)
        {
            ReadOnlySpan<byte> sector = block.Slice(s * Sector.SizeBytes, Sector.SizeBytes);
            ulong owner = BinaryPrimitives.ReadUInt64LittleEndian(sector[Sector.Owner..]);
            if (!Sector.IsEmpty(sector) && Sector.IsValid(sector, _guard.ChecksumSeed, (number * Sector.PerBlock) + (ulong)s, kind, owner))
            {
                owners[count++] = owner;
            }
        }

        if (count == 0 || owners[..count].Contains(expected))
        {
            return count == 0 ? null : expected;
        }

        ulong best = owners[0];
        for (int i = 1; i < count; i++)
        {
            best = owners[..count].Count(owners[i]) > owners[..count].Count(best) ? owners[i] : best;
        }

        return best;
    }

    private void MendInline(RepairRecord record)
    {
        ref Record now = ref record.Now;
        bool holdsContents = now.Kind is SlotKind.File or SlotKind.SymbolicLink;
        if (now.InlineLength > 0 && (!holdsContents || (now.Count > 0 && now.Size != now.InlineLength)))
        {
            Act("inline", $"inode {now.Inode} loses inline contents that do not go with its extent", now.Inode, record.Block);
            DropInline(record);
        }
        else if (now.InlineLength > 0 && (now.Count > 0 || now.Size != now.InlineLength))
        {
            Act("inline", $"inode {now.Inode}: its inline contents count, {now.InlineLength} bytes", now.Inode, record.Block);
            now.Count = 0;
            now.Start = 0;
            now.Depth = 0;
            now.Size = now.InlineLength;
            record.IsDirty = true;
        }

        if (now.Kind == SlotKind.File && now.Size > FileSizeMax)
        {
            Act("size", $"inode {now.Inode}: a size of {now.Size} bytes is cut to what it can be", now.Inode, record.Block);
            now.Size = Math.Min(FileSizeMax, now.Depth == 0 ? now.Count * 4096UL : FileSizeMax);
            record.IsDirty = true;
        }
    }

    internal const ulong FileSizeMax = 1UL << 46;

    private static void DropInline(RepairRecord record)
    {
        record.Now.InlineLength = 0;
        record.IsDirty = true;
    }
}
