// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Check;

/// <content>The walk: directories from the built-in ones on, block by block.</content>
internal sealed partial class VolumeRepair
{
    private const int EmptyBlocksMax = 64;

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
                    if (intent.IsExchange)
                    {
                        _moving.Add(intent.OtherInode);
                    }
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

            RepairRecord? pack = VisitPack(directory, block, s, sector);
            for (int slot = 0; slot < Slot.PerSector;)
            {
                if (sector[slot * Slot.SizeBytes] is (byte)SlotKind.Free or (byte)SlotKind.Pack)
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

                RepairRecord record = new()
                {
                    Now = found, Block = block, Index = (s * Slot.PerSector) + slot, Owner = directory.Inode, Container = directory,
                    InodeFound = found.Inode, SlotsFound = found.Slots, NameLengthFound = found.NameLength, IsSalvaged = directory.Record.IsSalvaged || _isSalvaging,
                };
                if (found.IsPacked)
                {
                    PutIntoPack(record, pack);
                }

                Visit(directory, record);
                slot += found.Slots;
            }
        }
    }
}
