// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using Exo.Core.Blocks;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Templates;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Check;

/// <summary>
/// One run of fsck: XN's superblock, catalogues and free map; C-FFS's superblock; then directories level by level (each level's blocks sorted and read in batches), extent trees on the way;
/// at the end what can be judged only as a whole: links, duplicates, leaks.
/// </summary>
internal sealed class VolumeCheck(BlockDevice device, CffsCheckOptions options, IProgress<CffsCheckProgress>? progress)
{
    private readonly CffsCheckReport _report = new();
    private readonly HashSet<ulong> _inodes = [];
    private readonly Dictionary<ulong, uint> _linksFound = [];
    private readonly Dictionary<ulong, (ulong Address, uint Links)> _externals = [];
    private readonly HashSet<ulong> _movingInodes = [];
    private ulong[] _owned = [];
    private XnSuperblock _xn;
    private VolumeGuard _guard = null!;
    private VolumeState _state;
    private bool _isUnclean;
    private RawBlocks _blocks = null!;
    private long _visited;

    /// <summary>A directory to be looked at: its blocks, in the order of its logical blocks.</summary>
    private sealed record DirectoryVisit(ulong Inode, string Path, List<(ulong Logical, ulong Block)> Blocks);

    public CffsCheckReport Run()
    {
        using RawBlocks blocks = new(device);
        _blocks = blocks;
        ulong superblock = CheckXn();
        _owned = new ulong[(_xn.BlockCount + 63) / 64];
        _report.BlocksTotal = (long)_xn.BlockCount;
        Own(0, _xn.DataStart, 0, isAnnounced: false);
        byte[] root = new byte[4096];
        if (!_blocks.TryRead(superblock, root))
        {
            Find(CffsSeverity.Error, "unreadable", "the superblock cannot be read", 0, superblock);
            return _report;
        }

        Own(superblock, 1, 0, isAnnounced: false);
        if (!CheckSuperblock(superblock, root))
        {
            return _report;
        }

        List<DirectoryVisit> level = [];
        CheckBuiltIns(superblock, root, level);
        while (level.Count > 0)
        {
            level = CheckLevel(level);
        }

        CheckLinks();
        CheckFreeMap();
        _report.WasUnmounted = !_isUnclean;
        return _report;
    }

    private void Find(CffsSeverity severity, string code, FormattableString message, ulong inode, ulong block) =>
        Find(severity, code, message.ToString(CultureInfo.InvariantCulture), inode, block);

    private void Find(CffsSeverity severity, string code, string message, ulong inode, ulong block) =>
        _report.Add(new CffsFinding(severity, code, message, inode, block), options.FindingsMax);

    private ulong CheckXn()
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
                if (block.AsSpan(XnSuperblock.SignatureOffset, 8).SequenceEqual(XnSuperblock.Signature))
                {
                    Find(CffsSeverity.Error, "xn-superblock", $"XN superblock copy {copy}: {problem}", 0, copy);
                }
            }
        }

        if (!found)
        {
            throw new CffsException(CffsError.NotCffs, $"not an XN volume: {problems.TrimEnd(' ', ';')}");
        }

        if (_xn.BlockCount > device.Geometry.BlockCount)
        {
            throw new CffsException(CffsError.NotCffs, "the volume is truncated");
        }

        _isUnclean = _xn.Clean == 0;
        ulong? root = null;
        ulong newest = 0;
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
            if (generation < newest || count > RootBlock.EntriesMax)
            {
                continue;
            }

            newest = generation;
            root = null;
            for (int i = 0; i < count; i++)
            {
                ReadOnlySpan<byte> entry = block.AsSpan(RootBlock.EntriesOffset + (i * RootBlock.EntryBytes), RootBlock.EntryBytes);
                int length = (int)Math.Min(RootBlock.NameBytesMax, BinaryPrimitives.ReadUInt32LittleEndian(entry[RootBlock.EntryNameLengthOffset..]));
                if (Encoding.UTF8.GetString(entry.Slice(RootBlock.EntryNameOffset, length)) == options.RootName)
                {
                    root = BinaryPrimitives.ReadUInt64LittleEndian(entry[RootBlock.EntryBlockOffset..]);
                }
            }
        }

        return root is { } at && at >= _xn.DataStart && at < _xn.BlockCount
            ? at
            : throw new CffsException(CffsError.NotCffs, $"the XN volume has no file system '{options.RootName}'");
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

            if (!Sector.IsValid(sector, guard.ChecksumSeed, first + (ulong)i, SectorKind.State, 0) || !VolumeState.TryParse(sector, out VolumeState state))
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

        if (_state.Version != VolumeState.CurrentVersion || _state.IncompatibleFeatures != 0)
        {
            throw new CffsException(CffsError.NotCffs, $"format version {_state.Version} is not known");
        }

        _isUnclean |= _state.Clean == 0;
        if (_isUnclean)
        {
            Find(CffsSeverity.Info, "unclean", "the volume was not unmounted; the next mount recovers it", 0, number);
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
            if (!Record.TryParse(sector, slot, out Record record) || record.Inode != expected)
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
                level.Add(new DirectoryVisit(record.Inode, name, MapOf(record, number, name)));
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
                }
            }
        }
    }

    /// <summary>Looks at the directories of one level and returns those below.</summary>
    private List<DirectoryVisit> CheckLevel(List<DirectoryVisit> level)
    {
        List<DirectoryVisit> next = [];
        foreach (DirectoryVisit directory in level)
        {
            _report.Directories += directory.Inode is Superblock.OrphanInode or Superblock.ExternalInode ? 0 : 1;
            Dictionary<uint, List<(byte[] Name, uint Sequence)>> names = [];
            List<(ulong Logical, ulong Block)> blocks = directory.Blocks;
            blocks.Sort(static (a, b) => a.Block.CompareTo(b.Block));
            _blocks.ReadAll([.. blocks.Select(item => item.Block)], (index, bytes) =>
            {
                if (bytes.IsEmpty)
                {
                    Find(CffsSeverity.Error, "unreadable", $"a block of directory {directory.Path}/ cannot be read", directory.Inode, blocks[index].Block);
                    return;
                }

                CheckSlots(directory, blocks[index], bytes.ToArray(), names, next);
                if (++_visited % 256 == 0)
                {
                    progress?.Report(new CffsCheckProgress("directories", _visited, (long)_xn.BlockCount));
                }
            });
            CheckNames(directory, names);
        }

        return next;
    }

    private void CheckSlots(
        DirectoryVisit directory, (ulong Logical, ulong Block) at, byte[] bytes, Dictionary<uint, List<(byte[] Name, uint Sequence)>> names, List<DirectoryVisit> next)
    {
        for (int s = 0; s < Sector.PerBlock; s++)
        {
            ReadOnlySpan<byte> sector = bytes.AsSpan(s * Sector.SizeBytes, Sector.SizeBytes);
            if (!Sector.IsValid(sector, _guard.ChecksumSeed, (at.Block * Sector.PerBlock) + (uint)s, SectorKind.Slots, directory.Inode))
            {
                Find(CffsSeverity.Error, "slot-checksum", $"sector {s} of a block of {directory.Path}/ is damaged", directory.Inode, at.Block);
                continue;
            }

            for (int slot = 0; slot < Slot.PerSector;)
            {
                byte kind = sector[slot * Slot.SizeBytes];
                if (kind == (byte)SlotKind.Free)
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
                CheckRecord(directory, at.Block, address, record, name, names, next);
                slot += record.Slots;
            }
        }
    }

    private void CheckRecord(
        DirectoryVisit directory, ulong block, uint address, in Record record, byte[] name, Dictionary<uint, List<(byte[] Name, uint Sequence)>> names, List<DirectoryVisit> next)
    {
        bool isExternal = directory.Inode == Superblock.ExternalInode;
        string path = isExternal ? $"<inode {record.Inode}>" : $"{directory.Path}/{Encoding.UTF8.GetString(name)}";
        if (isExternal != (name.Length == 0) || name.AsSpan().ContainsAny((byte)'/', (byte)0) || name.AsSpan().SequenceEqual("."u8) || name.AsSpan().SequenceEqual(".."u8))
        {
            Find(CffsSeverity.Error, "name", $"{path}: not a legal name", record.Inode, block);
        }

        if (!isExternal && record.NameHash != NameHash.Compute(name, _guard.HashSeed))
        {
            Find(CffsSeverity.Error, "name-hash", $"{path}: the name hash is wrong", record.Inode, block);
        }

        if (!KindFitsMode(record))
        {
            Find(CffsSeverity.Error, "mode", $"{path}: kind {record.Kind} and mode {Convert.ToString(record.Mode, 8)} contradict each other", record.Inode, block);
        }

        if (record.Inode < Superblock.FirstInode || record.Inode >= _state.InodeLimit)
        {
            Find(CffsSeverity.Error, "inode-number", $"{path}: inode number {record.Inode} was never given out", record.Inode, block);
        }

        if (record.InlineLength > 0 && (record.Count > 0 || record.Size != record.InlineLength))
        {
            Find(CffsSeverity.Error, "inline", $"{path}: inline contents of {record.InlineLength} bytes do not fit size {record.Size}", record.Inode, block);
        }

        bool isMovingOut = _isUnclean && !isExternal && record.Kind != SlotKind.ExternalLink && _externals.ContainsKey(record.Inode);
        bool isMoving = isMovingOut || (_isUnclean && _movingInodes.Contains(record.Inode));
        if (!isExternal)
        {
            if (!names.TryGetValue(record.NameHash, out List<(byte[] Name, uint Sequence)>? same))
            {
                names.Add(record.NameHash, same = []);
            }

            foreach ((byte[] other, uint sequence) in same)
            {
                if (other.AsSpan().SequenceEqual(name))
                {
                    bool explained = _isUnclean && sequence != record.NameSequence;
                    Find(
                        explained ? CffsSeverity.Info : CffsSeverity.Error, explained ? "unfinished-rename" : "duplicate-name",
                        $"{path}: the name stands twice", record.Inode, block);
                }
            }

            same.Add((name, record.NameSequence));
        }

        if (record.Kind == SlotKind.ExternalLink)
        {
            _linksFound[record.Inode] = _linksFound.GetValueOrDefault(record.Inode) + 1;
            if (!_externals.TryGetValue(record.Inode, out (ulong Address, uint Links) external) || external.Address != record.Start)
            {
                Find(CffsSeverity.Error, "link-target", $"{path}: points to no external inode", record.Inode, block);
            }

            return;
        }

        if (directory.Inode == Superblock.OrphanInode)
        {
            Find(_isUnclean ? CffsSeverity.Info : CffsSeverity.Error, "orphan", $"{path}: unlinked while open", record.Inode, block);
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
            _externals[record.Inode] = (address, record.Links);
        }
        else if (record.Kind != SlotKind.Directory && record.Links != 1)
        {
            Find(CffsSeverity.Error, "link-count", $"{path}: {record.Links} links in a record with one name", record.Inode, block);
        }

        switch (record.Kind)
        {
            case SlotKind.Directory when !isExternal:
                next.Add(new DirectoryVisit(record.Inode, path, MapOf(record, block, path)));
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

                List<(ulong, ulong)> map = MapOf(record, block, path, countOnly: true);
                if (record.Kind == SlotKind.SymbolicLink && (record.Size is 0 or > 4095))
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
            Own(record.Attributes, 1, record.Inode, isAnnounced: isMoving);
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

    /// <summary>Takes an inode's blocks into account, tree nodes included, and returns its logical to physical map (empty when only counting).</summary>
    private List<(ulong Logical, ulong Block)> MapOf(in Record record, ulong block, string path, bool countOnly = false)
    {
        List<(ulong Logical, ulong Block)> map = [];
        List<(ulong Logical, ulong Count)> extents = [];
        bool isAnnounced = _isUnclean && _movingInodes.Contains(record.Inode);
        if (record.Count == 0)
        {
            return map;
        }

        if (record.Depth == 0)
        {
            AddExtent(record.Inode, 0, record.Start, record.Count, isAnnounced, countOnly ? null : map);
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
                Find(CffsSeverity.Error, "tree-overlap", $"{path}: logical block {extents[i].Logical} is mapped twice", record.Inode, block);
            }
        }

        return map;
    }

    private void WalkNode(
        in Record record, ulong node, int level, string path, bool isAnnounced, List<(ulong Logical, ulong Count)> extents, List<(ulong Logical, ulong Block)>? map)
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
                else if (level == 1 && entry.Count > 0 && entry.Kind is TreeEntryKind.Contents or TreeEntryKind.Unwritten or TreeEntryKind.Index)
                {
                    AddExtent(record.Inode, entry.Logical, entry.Start, entry.Count, isAnnounced, entry.Kind == TreeEntryKind.Contents ? map : null);
                    extents.Add((entry.Logical, entry.Count));
                }
                else
                {
                    Find(CffsSeverity.Error, "tree-entry", $"{path}: an entry of kind {entry.Kind} in a node of level {level}", record.Inode, node);
                }
            }
        }
    }

    private void AddExtent(ulong inode, ulong logical, ulong start, uint count, bool isAnnounced, List<(ulong Logical, ulong Block)>? map)
    {
        if (Own(start, count, inode, isAnnounced) && map is not null)
        {
            for (uint i = 0; i < count; i++)
            {
                map.Add((logical + i, start + i));
            }
        }
    }

    /// <summary>Marks blocks as owned. False when they lie outside the disk, or one of them is owned already: then they are not looked at again.</summary>
    private bool Own(ulong start, ulong count, ulong inode, bool isAnnounced)
    {
        bool isXn = inode == 0;
        if (start >= _xn.BlockCount || count > _xn.BlockCount - start || (!isXn && start < _xn.DataStart))
        {
            Find(CffsSeverity.Error, "pointer", $"inode {inode} points to {count} blocks from {start}, outside the data of the disk", inode, start);
            return false;
        }

        bool fresh = true;
        for (ulong block = start; block < start + count; block++)
        {
            ulong bit = 1UL << (int)(block & 63);
            if ((_owned[block >> 6] & bit) != 0)
            {
                if (fresh)
                {
                    Find(isAnnounced ? CffsSeverity.Info : CffsSeverity.Error, isAnnounced ? "unfinished-move" : "block-twice", $"block {block} has a second owner, inode {inode}", inode, block);
                }

                fresh = false;
            }
            else
            {
                _owned[block >> 6] |= bit;
                _report.BlocksInUse++;
            }
        }

        return fresh;
    }

    private void CheckNames(DirectoryVisit directory, Dictionary<uint, List<(byte[] Name, uint Sequence)>> names)
    {
        if (directory.Inode == Superblock.ExternalInode && names.Count > 0)
        {
            Find(CffsSeverity.Error, "name", "the external inode table holds names", directory.Inode, 0);
        }
    }

    private void CheckLinks()
    {
        foreach ((ulong inode, (ulong _, uint links)) in _externals)
        {
            uint found = _linksFound.GetValueOrDefault(inode);
            if (found != links)
            {
                Find(_isUnclean ? CffsSeverity.Info : CffsSeverity.Error, "link-count", $"inode {inode} counts {links} links and has {found}", inode, 0);
            }
        }
    }

    /// <summary>On a clean volume the free map must be exactly what is not owned. Blocks of other file systems on the disk count as owned by them.</summary>
    private void CheckFreeMap()
    {
        if (_xn.Clean == 0)
        {
            return;
        }

        byte[] block = new byte[4096];
        ulong[] words = new ulong[FreeMapBlock.BitmapBytes / 8];
        long leaked = 0;
        ulong firstLeaked = 0;
        for (ulong index = 0; index < _xn.FreeMapBlocks; index++)
        {
            ulong number = _xn.FreeMapStart + index;
            ulong firstWord = index * (ulong)words.Length;
            int take = (int)Math.Min((ulong)words.Length, (ulong)_owned.Length - firstWord);
            if (!_blocks.TryRead(number, block) || !FreeMapBlock.TryRead(block, number, _xn.Epoch, index, words.AsSpan(0, take)))
            {
                Find(CffsSeverity.Warning, "free-map", $"block {index} of the free map is damaged; the next mount rebuilds it", 0, number);
                return;
            }

            for (int w = 0; w < take; w++)
            {
                ulong owned = _owned[firstWord + (ulong)w];
                ulong wrong = words[w] & owned;
                ulong lost = ~(words[w] | owned);
                for (int bit = 0; bit < 64 && (wrong | lost) != 0; bit++)
                {
                    ulong at = ((firstWord + (ulong)w) * 64) + (ulong)bit;
                    if (at >= _xn.BlockCount)
                    {
                        break;
                    }

                    if ((wrong >> bit & 1) != 0)
                    {
                        Find(CffsSeverity.Error, "block-free", $"block {at} is in use and marked as free", 0, at);
                    }
                    else if ((lost >> bit & 1) != 0)
                    {
                        leaked++;
                        firstLeaked = leaked == 1 ? at : firstLeaked;
                    }
                }
            }
        }

        if (leaked > 0)
        {
            Find(CffsSeverity.Warning, "block-leaked", $"{leaked} blocks from {firstLeaked} on are in use by nothing", 0, firstLeaked);
        }
    }
}
