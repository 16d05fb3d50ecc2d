// SPDX-License-Identifier: MIT
using System.Text;
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Check;

/// <content>Second pass: directories, level by level, each sector and each record in it.</content>
internal sealed partial class VolumeCheck
{
    // At most so many readers, and half of the frames that are free.
    private const int ReadersMax = 8;

    /// <summary>
    /// Looks at the directories of one level and returns those below. Readers, one for each processor and at least two, fetch and verify blocks ahead on threads of their own; this one judges what they bring, in the
    /// order of directories and blocks, so that findings have always the same order.
    /// </summary>
    private List<DirectoryVisit> CheckLevel(List<DirectoryVisit> level)
    {
        foreach (DirectoryVisit directory in level)
        {
            _report.Directories += directory.Inode is Superblock.OrphanInode or Superblock.ExternalInode ? 0 : 1;
            directory.Extents.Sort(static (a, b) => a.Start.CompareTo(b.Start));
        }

        List<DirectoryVisit> next = [];
        int wanted = Math.Clamp(Math.Min(Environment.ProcessorCount, device.Frames.FreeCount / (2 * SlotReader.BatchBlocks)), 2, ReadersMax);
        List<SlotReader> readers = [];
        try
        {
            while (readers.Count < wanted)
            {
                readers.Add(new SlotReader(device, _guard.ChecksumSeed));
            }

            Judge(level, readers, next);
        }
        finally
        {
            readers.ForEach(reader => reader.Dispose());
        }

        return next;
    }

    private void Judge(List<DirectoryVisit> level, List<SlotReader> readers, List<DirectoryVisit> next)
    {
        using IEnumerator<SlotBlock> items = BlocksOf(level).GetEnumerator();
        foreach (SlotReader reader in readers)
        {
            reader.Start(items);
        }

        int last = -1;
        for (int turn = 0; ; turn++)
        {
            options.CancellationToken.ThrowIfCancellationRequested();
            SlotReader reader = readers[turn % readers.Count];
            ReadOnlySpan<SlotBlock> batch = reader.Wait();
            if (batch.IsEmpty)
            {
                End(last < 0 ? null : level[last]);
                return;
            }

            for (int i = 0; i < batch.Length; i++)
            {
                DirectoryVisit directory = level[batch[i].Visit];
                if (batch[i].Visit != last)
                {
                    End(last < 0 ? null : level[last]);
                    BeginIndex(directory);
                    last = batch[i].Visit;
                }

                _visited++;
                if (reader.IsRead(i))
                {
                    CheckSlots(directory, batch[i], reader, i, next);
                }
                else
                {
                    Find(CffsSeverity.Error, "unreadable", $"a block of directory {directory.Path}/ cannot be read", directory.Inode, batch[i].Block);
                }
            }

            progress?.Report(new CffsCheckProgress("directories", _visited, (long)_xn.BlockCount));
            reader.Start(items);
        }
    }

    private static IEnumerable<SlotBlock> BlocksOf(List<DirectoryVisit> level)
    {
        for (int visit = 0; visit < level.Count; visit++)
        {
            foreach (RepairExtent extent in level[visit].Extents)
            {
                for (uint i = 0; i < extent.Count; i++)
                {
                    yield return new SlotBlock(level[visit].Inode, visit, extent.Logical + i, extent.Start + i);
                }
            }
        }
    }

    /// <summary>A directory has been gone through.</summary>
    private void End(DirectoryVisit? directory)
    {
        if (directory is not null)
        {
            EndNames(directory);
            EndIndex(directory);
        }
    }

    private void CheckSlots(DirectoryVisit directory, SlotBlock at, SlotReader reader, int index, List<DirectoryVisit> next)
    {
        ReadOnlySpan<byte> bytes = reader.Block(index);
        for (int s = 0; s < Sector.PerBlock; s++)
        {
            ReadOnlySpan<byte> sector = bytes.Slice(s * Sector.SizeBytes, Sector.SizeBytes);
            if (!reader.IsValid(index, s))
            {
                Find(CffsSeverity.Error, "slot-checksum", $"sector {s} of a block of {directory.Path}/ is damaged", directory.Inode, at.Block);
                continue;
            }

            CheckPack(directory, at.Block, s, sector);
            for (int slot = 0; slot < Slot.PerSector;)
            {
                byte kind = sector[slot * Slot.SizeBytes];
                if (kind is (byte)SlotKind.Free or (byte)SlotKind.Pack)
                {
                    slot++;
                    continue;
                }

                if (!Record.TryParse(sector, slot, out Record record))
                {
                    Find(CffsSeverity.Error, "slot-structure", $"slot {slot} of sector {s} in {directory.Path}/ makes no record", directory.Inode, at.Block);
                    slot++;
                    continue;
                }

                byte[] name = new byte[record.NameLength];
                Record.ReadContents(sector, slot, 0, name);
                uint address = (uint)((at.Logical * Slot.PerBlock) + (ulong)((s * Slot.PerSector) + slot));
                CheckRecord(directory, at.Block, address, record, name, next);
                slot += record.Slots;
            }
        }
    }

    private void CheckRecord(DirectoryVisit directory, ulong block, uint address, in Record record, byte[] name, List<DirectoryVisit> next)
    {
        bool isExternal = directory.Inode == Superblock.ExternalInode;
        if (_replaced.Contains(directory.Inode) && !_exchangedInodes.Contains(directory.Inode))
        {
            Find(CffsSeverity.Error, "duplicate-name", $"{directory.Path}/ was replaced by another, and is not empty", record.Inode, block);
        }

        string path = isExternal ? $"<inode {record.Inode}>" : $"{directory.Path}/{Encoding.UTF8.GetString(name)}";
        if (isExternal != (name.Length == 0) || name.AsSpan().ContainsAny((byte)'/', (byte)0) || name.AsSpan().SequenceEqual("."u8) || name.AsSpan().SequenceEqual(".."u8))
        {
            Find(CffsSeverity.Error, "name", $"{path}: not a legal name", record.Inode, block);
        }

        CheckIndexed(directory, address, record, block);
        uint hash = NameHash.Compute(name, _guard.HashSeed);
        if (!isExternal && record.NameHash != hash)
        {
            Find(CffsSeverity.Error, "name-hash", $"{path}: the name hash is wrong", record.Inode, block);
        }

        if (!KindFitsMode(record))
        {
            Find(CffsSeverity.Error, "mode", $"{path}: kind {record.Kind} and mode {Convert.ToString(record.Mode, 8)} contradict each other", record.Inode, block);
        }

        ulong counted = record.Inode & ~Superblock.SnapshotInodes;
        if (counted < Superblock.FirstInode || counted >= _state.InodeLimit)
        {
            Find(CffsSeverity.Error, "inode-number", $"{path}: inode number {record.Inode} was never given out", record.Inode, block);
        }

        bool isFrozen = (record.Inode & Superblock.SnapshotInodes) != 0;
        bool isInSnapshot = (directory.Inode & Superblock.SnapshotInodes) != 0;
        if (isInSnapshot ? !isFrozen : isFrozen && record.Kind != SlotKind.Directory && directory.Inode is not (Superblock.ExternalInode or Superblock.OrphanInode))
        {
            Find(CffsSeverity.Error, "snapshot", $"{path}: inode number {record.Inode} {(isInSnapshot ? "in" : "outside of")} a snapshot", record.Inode, block);
        }

        if (record.InlineLength > 0 && (record.Count > 0 || record.Size != record.InlineLength || record.Kind is not (SlotKind.File or SlotKind.SymbolicLink)))
        {
            Find(CffsSeverity.Error, "inline", $"{path}: inline contents of {record.InlineLength} bytes do not fit size {record.Size}", record.Inode, block);
        }

        if (record.Kind == SlotKind.File && record.Size > VolumeRepair.FileSizeMax)
        {
            Find(CffsSeverity.Error, "size", $"{path}: a size of {record.Size} bytes", record.Inode, block);
        }

        bool isMovingOut = _isUnclean && !isExternal && record.Kind != SlotKind.ExternalLink && _externals.ContainsKey(record.Inode);
        bool isMoving = isMovingOut || (_isUnclean && _movingInodes.Contains(record.Inode));
        if (!isExternal)
        {
            NoteName(hash, address);
        }

        if (record.Kind == SlotKind.ExternalLink && isExternal)
        {
            Find(CffsSeverity.Error, "kind", $"{path}: a record of kind {record.Kind} does not belong here", record.Inode, block);
            return;
        }

        if (record.Kind == SlotKind.ExternalLink)
        {
            _linksFound[record.Inode] = _linksFound.GetValueOrDefault(record.Inode) + 1;
            if (!_externals.TryGetValue(record.Inode, out (ulong Address, uint Links, ushort Mode) external) || external.Address != record.Start)
            {
                Find(CffsSeverity.Error, "link-target", $"{path}: points to no external inode", record.Inode, block);
            }
            else if (((record.Mode ^ external.Mode) & ModeBits.TypeMask) != 0)
            {
                Find(CffsSeverity.Error, "mode", $"{path}: the name of an inode of mode {Convert.ToString(external.Mode, 8)} says {Convert.ToString(record.Mode, 8)}", record.Inode, block);
            }

            return;
        }

        if (directory.Inode == Superblock.OrphanInode)
        {
            Find(_isUnclean ? CffsSeverity.Info : CffsSeverity.Error, "orphan", record.Kind == SlotKind.Directory ? $"{path}: a tree that was being made or removed" : $"{path}: unlinked while open", record.Inode, block);
        }

        if (!_inodes.Add(record.Inode))
        {
            Find(isMoving ? CffsSeverity.Info : CffsSeverity.Error, isMoving ? "unfinished-move" : "duplicate-inode", $"{path}: inode {record.Inode} is found twice", record.Inode, block);
            if (isMovingOut)
            {
                // The next mount makes this record a link to the one in the table.
                _linksFound[record.Inode] = _linksFound.GetValueOrDefault(record.Inode) + 1;
            }

            if (isMoving)
            {
                // Both records own the same blocks; they have been looked at once.
                return;
            }
        }

        if (isExternal)
        {
            _externals[record.Inode] = (address, record.Links, record.Mode);
        }
        else if (record.Kind != SlotKind.Directory && record.Links != 1)
        {
            Find(CffsSeverity.Error, "link-count", $"{path}: {record.Links} links in a record with one name", record.Inode, block);
        }

        switch (record.Kind)
        {
            case SlotKind.Directory when !isExternal:
                next.Add(Visit(record, block, path));
                break;
            case SlotKind.File or SlotKind.SymbolicLink:
                if (record.Kind == SlotKind.File)
                {
                    _report.Files++;
                }
                else
                {
                    _report.Others++;
                }

                _ = MapOf(record, block, path, countOnly: true);
                if (record.Kind == SlotKind.SymbolicLink && (record.Size is 0 or > 4095 || (record.InlineLength == 0 && record.Count == 0)))
                {
                    Find(CffsSeverity.Error, "symbolic-link", $"{path}: a target of {record.Size} bytes", record.Inode, block);
                }

                break;
            case SlotKind.Special:
                _report.Others++;
                break;
            default:
                Find(CffsSeverity.Error, "kind", $"{path}: a record of kind {record.Kind} does not belong here", record.Inode, block);
                break;
        }

        if (record.Attributes != 0 && record.Kind != SlotKind.Special)
        {
            CheckAttributes(record, path, isMoving);
        }
    }

    private static bool KindFitsMode(in Record record) => record.Kind switch
    {
        SlotKind.File => ModeBits.KindOf(record.Mode) == CffsKind.File && (record.Mode & ModeBits.TypeMask) == ModeBits.File,
        SlotKind.Directory => ModeBits.KindOf(record.Mode) == CffsKind.Directory,
        SlotKind.SymbolicLink => ModeBits.KindOf(record.Mode) == CffsKind.SymbolicLink,
        SlotKind.Special => ModeBits.KindOf(record.Mode) is CffsKind.CharacterDevice or CffsKind.BlockDevice or CffsKind.Fifo or CffsKind.Socket,
        SlotKind.ExternalLink => true,
        _ => false,
    };
}
