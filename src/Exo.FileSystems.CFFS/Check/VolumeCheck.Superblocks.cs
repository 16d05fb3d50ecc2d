// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Text;
using Exo.Core.Blocks;
using Exo.FileSystems.CFFS.Layout;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Check;

/// <content>First pass: where everything begins. XN's superblock and roots, the superblock of C-FFS, the built-in records, the intents.</content>
internal sealed partial class VolumeCheck
{
    private ulong? CheckXn()
    {
        byte[] block = new byte[4096];
        bool found = false;
        string problems = "";
        for (ulong copy = 0; copy < 2 && copy < device.Geometry.BlockCount; copy++)
        {
            if (!_blocks.TryRead(copy, block))
            {
                Find(CffsSeverity.Error, "unreadable", $"XN superblock copy {copy} cannot be read", 0, copy);
            }
            else if (XnSuperblock.TryParse(block.AsSpan(0, XnSuperblock.SizeBytes), copy, out XnSuperblock parsed, out string problem))
            {
                if (!found || parsed.Generation > _xn.Generation)
                {
                    _xn = parsed;
                }

                found = true;
            }
            else
            {
                problems += $"copy {copy}: {problem}; ";
            }
        }

        if (!found)
        {
            throw new CffsException(CffsError.NotCffs, $"{device.Geometry.Path}: not an XN volume: {problems.TrimEnd(' ', ';')}");
        }

        if (problems.Length > 0)
        {
            Find(CffsSeverity.Error, "xn-superblock", $"XN superblock {problems.TrimEnd(' ', ';')}", 0, 0);
        }

        if (_xn.BlockCount > device.Geometry.BlockCount)
        {
            throw new CffsException(CffsError.NotCffs, "the volume is truncated");
        }

        _isUnclean = _xn.Clean == 0;
        string?[] templates = CheckTemplates();
        ulong? root = null;
        ulong newest = 0;
        bool isGood = false;
        for (ulong copy = 0; copy < 2; copy++)
        {
            if (!_blocks.TryRead(_xn.RootsStart + copy, block) || !XnChecksum.IsValid(block, _xn.RootsStart + copy)
                || BinaryPrimitives.ReadUInt32LittleEndian(block.AsSpan(RootBlock.MagicOffset)) != RootBlock.MagicValue)
            {
                Find(CffsSeverity.Error, "xn-roots", $"copy {copy} of the root catalogue is damaged", 0, _xn.RootsStart + copy);
                continue;
            }

            ulong generation = BinaryPrimitives.ReadUInt64LittleEndian(block.AsSpan(RootBlock.GenerationOffset));
            uint count = BinaryPrimitives.ReadUInt32LittleEndian(block.AsSpan(RootBlock.CountOffset));
            if (count > RootBlock.EntriesMax)
            {
                Find(CffsSeverity.Error, "xn-roots", $"copy {copy} of the root catalogue is damaged", 0, _xn.RootsStart + copy);
                continue;
            }

            isGood = true;
            if (generation < newest)
            {
                continue;
            }

            newest = generation;
            root = null;
            _others = [];
            for (int i = 0; i < count; i++)
            {
                ReadOnlySpan<byte> entry = block.AsSpan(RootBlock.EntriesOffset + (i * RootBlock.EntryBytes), RootBlock.EntryBytes);
                int length = (int)Math.Min(RootBlock.NameBytesMax, BinaryPrimitives.ReadUInt32LittleEndian(entry[RootBlock.EntryNameLengthOffset..]));
                string name = Encoding.UTF8.GetString(entry.Slice(RootBlock.EntryNameOffset, length));
                ulong at = BinaryPrimitives.ReadUInt64LittleEndian(entry[RootBlock.EntryBlockOffset..]);
                uint template = BinaryPrimitives.ReadUInt32LittleEndian(entry[RootBlock.EntryTemplateOffset..]);
                bool hasTemplate = template - 1 < (uint)templates.Length && templates[template - 1] is not null;
                if (length == 0 || at < _xn.DataStart || at >= _xn.BlockCount || !hasTemplate
                    || (name == options.RootName && !TemplateCopies.AreOurs(templates.AsSpan((int)template - 1))))
                {
                    Find(CffsSeverity.Error, "xn-roots", $"root {i} in copy {copy} of the root catalogue has a block or template that cannot be", 0, _xn.RootsStart + copy);
                }
                else if (name == options.RootName)
                {
                    root = at;
                    _sharesContents = _isCounted[template - 1 + TemplateCopies.DataIndex];
                }
                else
                {
                    _others.Add(new RootEntry(name, new TemplateId(template), new BlockNumber(at)));
                }
            }
        }

        if (root is null && isGood && _report.IsClean)
        {
            throw new CffsException(CffsError.NotCffs, $"the XN volume has no file system '{options.RootName}'");
        }

        return root;
    }

    /// <summary>XN refuses a disk on which a template has no good copy.</summary>
    private string?[] CheckTemplates()
    {
        byte[] block = new byte[4096];
        int slots = (int)_xn.TemplateSlots;
        string?[] names = new string?[slots];
        bool[] isUsed = new bool[slots];
        _isCounted = new bool[slots];
        for (int at = 0; at < 2 * slots; at++)
        {
            ulong number = _xn.TemplateStart + (ulong)at;
            bool isRead = _blocks.TryRead(number, block);
            bool isBlank = isRead && !block.AsSpan().ContainsAnyExcept((byte)0);
            string name = "";
            bool isWhole = isRead && !isBlank && TemplateCopies.TryRead(block, number, at % slots, out name);
            names[at % slots] ??= isWhole ? name : null;
            _isCounted[at % slots] |= isWhole && TemplateCopies.IsCounted(block);
            if (!isBlank && !isWhole)
            {
                Find(CffsSeverity.Error, isRead ? "xn-templates" : "unreadable", $"a copy of template {(at % slots) + 1} is damaged", 0, number);
            }

            isUsed[at % slots] |= !isBlank;
        }

        for (int slot = 0; slot < slots; slot++)
        {
            if (isUsed[slot] && names[slot] is null)
            {
                Find(CffsSeverity.Error, "xn-templates", $"no copy of template {slot + 1} is whole", 0, _xn.TemplateStart + (ulong)slot);
            }
        }

        return names;
    }

    private bool CheckSuperblock(ulong number, ReadOnlySpan<byte> block)
    {
        ReadOnlySpan<byte> guardSector = block.Slice(Superblock.GuardSector * Sector.SizeBytes, Sector.SizeBytes);
        VolumeGuard? guard = VolumeGuard.TryParse(guardSector);
        ulong first = number * Sector.PerBlock;
        if (guard is null || Sector.IsEmpty(guardSector)
            || !Sector.IsValid(guardSector, guard.ChecksumSeed, first + Superblock.GuardSector, SectorKind.Guard, 0))
        {
            Find(CffsSeverity.Error, "superblock-guard", "the guard sector is damaged", 0, number);
            return false;
        }

        _guard = guard;
        bool found = false;
        for (int i = 0; i < 2; i++)
        {
            ReadOnlySpan<byte> sector = block.Slice(i * Sector.SizeBytes, Sector.SizeBytes);
            if (Sector.IsEmpty(sector))
            {
                continue;
            }

            if (!Sector.IsValid(sector, guard.ChecksumSeed, first + (ulong)i, SectorKind.State, 0) || !VolumeState.TryParse(sector, out VolumeState state)
                || !VolumeRepair.IsPlausible(state))
            {
                Find(CffsSeverity.Error, "superblock-state", $"state sector {i} is damaged", 0, number);
            }
            else if (!found || state.Generation > _state.Generation)
            {
                _state = state;
                found = true;
            }
        }

        if (!found)
        {
            Find(CffsSeverity.Error, "superblock-state", "no state sector is valid", 0, number);
            return false;
        }

        if (_state.Version != VolumeState.CurrentVersion || (_state.IncompatibleFeatures & ~VolumeState.KnownIncompatibleFeatures) != 0)
        {
            throw new CffsException(CffsError.NotCffs, $"format version {_state.Version} is not known");
        }

        _isUnclean |= _state.Clean == 0;
        if (_isUnclean)
        {
            bool hasRemains = _state.HasRemains && _xn.Clean != 0;
            Find(CffsSeverity.Info, "unclean", hasRemains ? "a removal of a snapshot was cancelled; the next mount goes on with it" : "the volume was not unmounted; the next mount recovers it", 0, number);
        }

        return true;
    }

    private void CheckBuiltIns(ulong number, ReadOnlySpan<byte> block, List<DirectoryVisit> level)
    {
        ReadOnlySpan<byte> sector = block.Slice(Superblock.RecordSector * Sector.SizeBytes, Sector.SizeBytes);
        if (!Sector.IsValid(sector, _guard.ChecksumSeed, (number * Sector.PerBlock) + Superblock.RecordSector, SectorKind.Slots, 0))
        {
            Find(CffsSeverity.Error, "superblock-records", "the sector of the built-in records is damaged", 0, number);
            return;
        }

        // The log first: it says which inodes may be found twice.
        for (int slot = Slot.PerSector - 1; slot >= 0; slot--)
        {
            ulong expected = Superblock.RootInode + (ulong)slot;
            if (!Record.TryParse(sector, slot, out Record record) || record.Inode != expected || record.Slots != 1 || record.InlineLength != 0
                || (slot == Superblock.LogSlot
                    ? record.Kind != SlotKind.Log || record.Depth != 0 || record.Count != Intent.LogBlocks
                    : record.Kind != SlotKind.Directory || ModeBits.KindOf(record.Mode) != CffsKind.Directory))
            {
                Find(CffsSeverity.Error, "superblock-records", $"built-in record {slot} is damaged", expected, number);
                continue;
            }

            if (slot == Superblock.LogSlot)
            {
                CheckLog(record);
            }
            else
            {
                string name = slot == Superblock.RootSlot ? "" : slot == Superblock.OrphanSlot ? "<orphans>" : "<externals>";
                level.Add(Visit(record, number, name));
            }

            if (record.Attributes != 0)
            {
                CheckAttributes(record, $"built-in record {slot}", isAnnounced: false);
            }
        }

        // Externals before the names that point there; the root last.
        level.Sort(static (a, b) => b.Inode.CompareTo(a.Inode));
    }

    private void CheckLog(in Record record)
    {
        byte[] block = new byte[4096];
        Own(record.Start, record.Count, record.Inode, isAnnounced: false);
        for (uint i = 0; i < record.Count && i < Intent.LogBlocks; i++)
        {
            ulong number = record.Start + i;
            if (number >= _xn.BlockCount || !_blocks.TryRead(number, block))
            {
                continue;
            }

            for (int s = 0; s < Sector.PerBlock; s++)
            {
                ReadOnlySpan<byte> sector = block.AsSpan(s * Sector.SizeBytes, Sector.SizeBytes);
                if (!Sector.IsEmpty(sector) && Sector.IsValid(sector, _guard.ChecksumSeed, (number * Sector.PerBlock) + (uint)s, SectorKind.Intent, 0)
                    && Intent.Read(sector) is var intent && intent.Epoch == _state.Epoch)
                {
                    _movingInodes.Add(intent.Inode);
                    if (intent.IsExchange)
                    {
                        _movingInodes.Add(intent.OtherInode);
                        _exchangedInodes.UnionWith([intent.Inode, intent.OtherInode]);
                    }
                }
            }
        }
    }
}
