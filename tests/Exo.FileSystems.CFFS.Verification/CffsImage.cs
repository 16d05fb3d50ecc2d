// SPDX-License-Identifier: MIT
using System.Text;

namespace Exo.FileSystems.CFFS.Verification;

/// <summary>An extent of an inode.</summary>
internal readonly record struct FoundExtent(ulong Logical, ulong Start, ulong Count, byte Kind);

/// <summary>A directory that is to be gone through.</summary>
internal sealed record FoundDirectory(ulong Inode, string Path, List<FoundExtent> Slots, FoundIndex? Index, bool IsReplaced);

/// <summary>One C-FFS on a disk (docs/cffs-format.md): its superblock and log, then every directory, record by record.</summary>
internal sealed class CffsImage(XnImage xn, BlockOwners owners, Faults faults, string name)
{
    private const uint MagicState = 0x52505553;
    private const uint MagicGuard = 0x44524147;
    private const uint MagicSlots = 0x544F4C53;
    private const uint MagicTree = 0x45455254;
    private const uint MagicIntent = 0x4E544E49;
    private const int TrailerAt = 496;
    private const int SlotBytes = 124;
    private const int SlotsPerSector = 4;
    private const ulong InodeRoot = 2;
    private const ulong InodeOrphans = 3;
    private const ulong InodeExternals = 4;
    private const ulong InodeFirst = 16;
    private const ulong SnapshotBit = 1UL << 52;
    private const ulong FileBytesMax = 1UL << 46;
    private const ulong FileBlocksMax = 1UL << 34;
    private const ulong DirectoryBlocksMax = 1UL << 27;
    private const int DepthMax = 4;
    private const uint FeatureIndexes = 1;
    private const uint FeatureSharing = 2;
    private const uint FeaturePacks = 1;

    private readonly HashSet<ulong> _moving = [];

    // Whose names may be another's already while theirs is not there yet.
    private readonly HashSet<ulong> _exchanging = [];
    private readonly Dictionary<ulong, (uint Address, uint Links, ushort Mode, bool IsSnapshot)> _externals = [];
    private readonly Dictionary<ulong, uint> _links = [];
    private readonly HashSet<ulong> _inodes = [];
    private readonly HashSet<ulong> _replaced = [];
    private readonly Queue<FoundDirectory> _open = new();
    private bool _isContentsCounted;
    private ulong _seed;
    private ulong _hashSeed;
    private ulong _epoch;
    private ulong _inodeLimit;
    private uint _readOnlyFeatures;
    private uint _incompatibleFeatures;
    private uint _indexedSequence;
    private uint _indexTrust;

    /// <summary>XN and this file system were closed.</summary>
    public bool WasUnmounted { get; private set; }

    /// <summary>Contents behind the ends of packed files.</summary>
    public List<string> LeftBehind { get; } = [];

    public uint IndexedSequence => _indexedSequence;

    public ReadOnlySpan<byte> Block(ulong number) => xn.Block(number);

    public void Verify(ulong root, bool isContentsCounted)
    {
        _isContentsCounted = isContentsCounted;
        if (!owners.TryOwn(root, 1, 1, $"the superblock of {name}"))
        {
            return;
        }

        ReadOnlySpan<byte> block = xn.Block(root);
        if (!VerifyGuard(root, block.Sector(3)) || !VerifyState(root, block))
        {
            return;
        }

        faults.Expect(block[(4 * FormatReader.SectorBytes)..].IsZero(), "superblock: sectors 4 to 7 are not zeros");
        VerifyBuiltIns(root, block.Sector(2));
        while (_open.TryDequeue(out FoundDirectory? directory))
        {
            VerifyDirectory(directory);
        }

        foreach ((ulong inode, (uint _, uint links, ushort _, bool _)) in _externals)
        {
            uint found = _links.GetValueOrDefault(inode);
            faults.Expect(!WasUnmounted || (found == links && links > 0), $"inode {inode} counts {links} links and has {found}");
        }
    }

    /// <summary>The trailer of a sector: checksum with the volume's seed and the sector's number, kind and owner. A sector of zeros is valid.</summary>
    public bool IsValid(ReadOnlySpan<byte> sector, ulong block, int index, uint magic, ulong owner) =>
        sector.IsZero() || (sector.U32(TrailerAt + 4) == magic && sector.U64(TrailerAt + 8) == owner
        && sector.U32(TrailerAt) == FormatReader.Crc32C([_seed, (block * FormatReader.SectorsPerBlock) + (ulong)index], sector[..TrailerAt], sector[(TrailerAt + 4)..]));

    private bool VerifyGuard(ulong root, ReadOnlySpan<byte> guard)
    {
        _seed = guard.U64(16);
        _hashSeed = guard.U64(24);
        return faults.Expect(!guard.IsZero() && IsValid(guard, root, 3, MagicGuard, 0) && guard.U32(40) <= 64, "superblock: the guard sector is damaged");
    }

    private bool VerifyState(ulong root, ReadOnlySpan<byte> block)
    {
        ReadOnlySpan<byte> state = default;
        for (int i = 0; i < 2; i++)
        {
            ReadOnlySpan<byte> sector = block.Sector(i);
            if (sector.IsZero())
            {
                continue;
            }

            bool isWhole = IsValid(sector, root, i, MagicState, 0) && sector[..8].SequenceEqual("EXOCFFS1"u8) && sector.U64(24) is > 0 and < 1UL << 62 && sector.U64(32) < 1UL << 62
                && sector.U64(48) is >= InodeFirst and < 1UL << 62;
            if (faults.Expect(isWhole, $"superblock: state sector {i} is damaged") && (state.IsEmpty || sector.U64(24) > state.U64(24)))
            {
                state = sector;
            }
        }

        if (!faults.Expect(!state.IsEmpty, "superblock: no state") || !faults.Expect(state.U32(8) == 1 && (state.U32(20) & ~FeaturePacks) == 0, "superblock: another version"))
        {
            return false;
        }

        _readOnlyFeatures = state.U32(16);
        _incompatibleFeatures = state.U32(20);
        _epoch = state.U64(32);
        _inodeLimit = state.U64(48);
        _indexedSequence = state.U32(72);
        _indexTrust = state.U32(76);
        WasUnmounted = xn.IsClean && state.U32(60) != 0;
        return true;
    }

    private void VerifyBuiltIns(ulong root, ReadOnlySpan<byte> sector)
    {
        if (!faults.Expect(!sector.IsZero() && IsValid(sector, root, 2, MagicSlots, 0), "superblock: the sector of built-in records is damaged"))
        {
            return;
        }

        List<FoundDirectory> directories = [];
        for (int slot = SlotsPerSector - 1; slot >= 0; slot--)
        {
            ulong inode = InodeRoot + (ulong)slot;
            if (!faults.Expect(
                FoundRecord.TryRead(sector, slot, out FoundRecord record, out _) && record.Inode == inode && record.Slots == 1 && record.InlineLength == 0
                && record.Kind == (slot == 3 ? FoundKind.Log : FoundKind.Directory), $"superblock: built-in record {slot} cannot be"))
            {
                continue;
            }

            string path = slot switch { 0 => "", 1 => "<orphans>", 2 => "<externals>", _ => "<log>" };
            VerifyAttributes(record, path, mayBeHisAlready: false);
            if (slot < 3)
            {
                faults.Expect((record.Mode & 0xF000) == 0x4000, $"superblock: built-in record {slot} has mode {record.Mode:x}");
                directories.Add(Directory(record, path, mayBeHisAlready: false));
            }
            else if (faults.Expect(record.Depth == 0 && record.Count == 8 && IsInData(record.Start, 8), "superblock: a log that is not 8 blocks") && owners.TryOwn(record.Start, 8, inode, "the log"))
            {
                ReadIntents(record.Start);
            }
        }

        // The table first: names lead there.
        directories.ForEach(_open.Enqueue);
    }

    private void ReadIntents(ulong start)
    {
        for (ulong block = start; block < start + 8; block++)
        {
            for (int i = 0; i < FormatReader.SectorsPerBlock; i++)
            {
                // A sector that is none holds no intent.
                ReadOnlySpan<byte> sector = xn.Block(block).Sector(i);
                if (!WasUnmounted && !sector.IsZero() && IsValid(sector, block, i, MagicIntent, 0) && sector.U64(32) == _epoch)
                {
                    _moving.Add(sector.U64(0));
                    if ((sector.U32(28) & 2) != 0)
                    {
                        // An exchange: two moves in one intent.
                        _moving.Add(sector.U64(48));
                        _exchanging.Add(sector.U64(0));
                        _exchanging.Add(sector.U64(48));
                    }
                }
            }
        }
    }

    private bool IsInData(ulong start, ulong count) => start >= xn.DataStart && start < xn.BlockCount && count <= xn.BlockCount - start;

    private FoundDirectory Directory(in FoundRecord record, string path, bool mayBeHisAlready)
    {
        List<FoundExtent> extents = Extents(record, path, mayBeHisAlready);
        List<FoundExtent> slots = [.. extents.Where(extent => extent.Kind == 1).OrderBy(extent => extent.Logical)];
        faults.Expect(record.Depth > 0 || record.Size == (ulong)record.Count * FormatReader.BlockBytes, $"{path}/: {record.Size} bytes, and {record.Count} slot blocks");
        FoundIndex? index = FoundIndex.Of(record.Inode, path, [.. extents.Where(extent => extent.Kind == 3)], record.Links, _indexTrust);
        faults.Expect(index is null || (_readOnlyFeatures & FeatureIndexes) != 0, $"{path}/: an index, and no feature bit");
        return new FoundDirectory(record.Inode, path, slots, index, _replaced.Contains(record.Inode));
    }

    /// <summary>All extents of an inode, each of its blocks owned by it; those that are not fine are left out.</summary>
    private List<FoundExtent> Extents(in FoundRecord record, string path, bool mayBeHisAlready)
    {
        List<FoundExtent> extents = [];
        bool isDirectory = record.Kind == FoundKind.Directory;
        if (record.IsPacked || (record.Depth == 0 && record.Count == 0))
        {
            return extents;
        }

        if (record.Depth == 0)
        {
            faults.Expect(!isDirectory || record.Count <= DirectoryBlocksMax, $"{path}: {record.Count} slot blocks");
            Add(record, path, new FoundExtent(0, record.Start, record.Count, 1), mayBeHisAlready, extents);
            return extents;
        }

        if (faults.Expect(record.Depth <= DepthMax && record.Count == 1, $"{path}: a tree of {record.Depth} levels, {record.Count} root nodes"))
        {
            List<(FoundExtent Extent, ulong Leaf)> leaves = [];
            WalkTree(record, path, record.Start, record.Depth, mayBeHisAlready, leaves, extents);
            leaves.Sort((a, b) => a.Extent.Logical.CompareTo(b.Extent.Logical));
            for (int i = 1; i < leaves.Count; i++)
            {
                bool isTwin = !isDirectory && _isContentsCounted && leaves[i].Extent == leaves[i - 1].Extent && leaves[i].Leaf != leaves[i - 1].Leaf;
                faults.Expect(isTwin || leaves[i].Extent.Logical >= leaves[i - 1].Extent.Logical + leaves[i - 1].Extent.Count, $"{path}: logical block {leaves[i].Extent.Logical} is mapped twice");
                faults.Expect(!isTwin || (_readOnlyFeatures & FeatureSharing) != 0, $"{path}: an entry twice, and no feature bit");
            }
        }

        return extents;
    }

    private void WalkTree(in FoundRecord record, string path, ulong node, int level, bool mayBeHisAlready, List<(FoundExtent Extent, ulong Leaf)> leaves, List<FoundExtent> extents)
    {
        if (!faults.Expect(IsInData(node, 1), $"{path}: a tree node at {node}") || !owners.TryOwn(node, 1, record.Inode, "a tree node", mayBeHisAlready: mayBeHisAlready))
        {
            return;
        }

        for (int s = 0; s < FormatReader.SectorsPerBlock; s++)
        {
            ReadOnlySpan<byte> sector = xn.Block(node).Sector(s);
            if (sector.IsZero() || !faults.Expect(IsValid(sector, node, s, MagicTree, record.Inode), $"{path}: sector {s} of tree node {node} is damaged")
                || !faults.Expect(sector[480] == level, $"{path}: tree node {node} is of level {sector[480]}, not {level}"))
            {
                continue;
            }

            for (int i = 0; i < 20; i++)
            {
                ReadOnlySpan<byte> entry = sector.Slice(i * 24, 24);
                FoundExtent extent = new(entry.U64(0), entry.U64(8), entry.U32(16), entry[20]);
                if (extent.Kind == 0)
                {
                    continue;
                }

                if (level > 1 && extent is { Kind: 2, Count: 1 })
                {
                    WalkTree(record, path, extent.Start, level - 1, mayBeHisAlready, leaves, extents);
                }
                else if (faults.Expect(level == 1 && IsLeaf(record.Kind, extent), $"{path}: an entry {extent} in a node of level {level}"))
                {
                    leaves.Add((extent, node));
                    Add(record, path, extent, mayBeHisAlready, extents);
                }
            }
        }
    }

    private static bool IsLeaf(FoundKind kind, in FoundExtent extent) => extent.Count > 0 && (kind, extent.Kind) switch
    {
        (FoundKind.Directory, 1) => extent.Logical < DirectoryBlocksMax && extent.Count <= DirectoryBlocksMax - extent.Logical,
        (FoundKind.Directory, 3) => extent.Logical >> 32 is > 0 and <= uint.MaxValue && (uint)extent.Logical + extent.Count <= FoundIndex.BucketsMax,
        (FoundKind.File or FoundKind.SymbolicLink, 1 or 4) => extent.Logical < FileBlocksMax && extent.Count <= FileBlocksMax - extent.Logical,
        _ => false,
    };

    private void Add(in FoundRecord record, string path, in FoundExtent extent, bool mayBeHisAlready, List<FoundExtent> extents)
    {
        bool isContents = record.Kind is FoundKind.File or FoundKind.SymbolicLink;
        if (!faults.Expect(IsInData(extent.Start, extent.Count), $"{path}: {extent.Count} blocks from {extent.Start}, off the disk's data"))
        {
            return;
        }

        if (isContents && _isContentsCounted && (_readOnlyFeatures & FeatureSharing) == 0)
        {
            for (ulong at = extent.Start; at < extent.Start + extent.Count; at++)
            {
                faults.Expect(owners.PointersTo(at) == 0, $"{path}: block {at} is shared, and no feature bit");
            }
        }

        if (owners.TryOwn(extent.Start, extent.Count, record.Inode, path, isShareable: isContents && _isContentsCounted, mayBeHisAlready))
        {
            extents.Add(extent);
        }
    }

    private void VerifyDirectory(FoundDirectory directory)
    {
        directory.Index?.Load(this, directory.Inode);
        Dictionary<string, List<FoundRecord>> names = [];
        foreach (FoundExtent extent in directory.Slots)
        {
            for (ulong i = 0; i < extent.Count; i++)
            {
                for (int s = 0; s < FormatReader.SectorsPerBlock; s++)
                {
                    ReadOnlySpan<byte> sector = xn.Block(extent.Start + i).Sector(s);
                    if (!sector.IsZero() && faults.Expect(IsValid(sector, extent.Start + i, s, MagicSlots, directory.Inode), $"{directory.Path}/: sector {s} of block {extent.Start + i} is damaged"))
                    {
                        VerifySector(directory, sector, (((extent.Logical + i) * FormatReader.SectorsPerBlock) + (ulong)s) * SlotsPerSector, names);
                    }
                }
            }
        }

        directory.Index?.VerifyCount(WasUnmounted, faults);
    }

    private void VerifySector(FoundDirectory directory, ReadOnlySpan<byte> sector, ulong address, Dictionary<string, List<FoundRecord>> names)
    {
        int packs = 0;
        int packed = 0;
        int used = 0;
        ulong packBlock = 0;
        List<FoundRecord> files = [];
        for (int slot = 0; slot < SlotsPerSector;)
        {
            ReadOnlySpan<byte> bytes = sector.Slice(slot * SlotBytes, SlotBytes);
            if (bytes[0] == 0)
            {
                slot++;
                continue;
            }

            if (bytes[0] == 8)
            {
                packs++;
                slot++;
                packBlock = bytes.U64(8);
                if (faults.Expect(bytes[1] == 0 && bytes[2] == 1 && bytes[3] == 0 && bytes.U32(4) == 1 && bytes[16..].IsZero() && IsInData(packBlock, 1), $"{directory.Path}/: a pack that contradicts itself"))
                {
                    owners.TryOwn(packBlock, 1, directory.Inode, "a pack", isShareable: _isContentsCounted);
                    faults.Expect((_incompatibleFeatures & FeaturePacks) != 0, $"{directory.Path}/: a pack, and no feature bit");
                }

                continue;
            }

            if (!faults.Expect(FoundRecord.TryRead(sector, slot, out FoundRecord record, out byte[] found), $"{directory.Path}/: slot {address + (ulong)slot} makes no record"))
            {
                slot++;
                continue;
            }

            VerifyRecord(directory, record, found, (uint)(address + (ulong)slot), names);
            if (record.IsPacked && record.Start < 8 && record.Size is >= 1 and <= 2048 && record.Start + ((record.Size + 511) / 512) <= 8)
            {
                int sectors = (int)((record.Size + FormatReader.SectorBytes - 1) / FormatReader.SectorBytes);
                int mask = ((1 << sectors) - 1) << (int)record.Start;
                faults.Expect((used & mask) == 0, $"{directory.Path}/: two files in one place of a pack");
                used |= mask;
                packed++;
                files.Add(record);
            }

            slot += record.Slots;
        }

        if (faults.Expect(packs == (packed > 0 ? 1 : 0), $"{directory.Path}/: {packs} packs for {packed} packed files of one sector") && packs == 1 && IsInData(packBlock, 1))
        {
            foreach (FoundRecord file in files)
            {
                int end = ((int)file.Start * FormatReader.SectorBytes) + (int)file.Size;
                ReadOnlySpan<byte> rest = xn.Block(packBlock)[end..((end + FormatReader.SectorBytes - 1) / FormatReader.SectorBytes * FormatReader.SectorBytes)];
                if (!rest.IsZero())
                {
                    LeftBehind.Add($"{directory.Path}/: what is behind the end of packed inode {file.Inode} is not zeros");
                }
            }
        }
    }

    private void VerifyRecord(FoundDirectory directory, in FoundRecord record, byte[] bytes, uint address, Dictionary<string, List<FoundRecord>> names)
    {
        bool isExternal = directory.Inode == InodeExternals;
        string path = isExternal ? $"<inode {record.Inode}>" : $"{directory.Path}/{Encoding.Latin1.GetString(bytes)}";
        faults.Expect(!directory.IsReplaced, $"{path}: in a directory that another has replaced");
        ulong number = record.Inode & ~SnapshotBit;
        bool isSnapshot = (record.Inode & SnapshotBit) != 0;
        faults.Expect(number >= InodeFirst && number < _inodeLimit, $"{path}: inode number {record.Inode} was never given out");
        faults.Expect(!isSnapshot || (_readOnlyFeatures & FeatureSharing) != 0, $"{path}: in a snapshot, and no feature bit");
        faults.Expect((directory.Inode & SnapshotBit) == 0 || isSnapshot, $"{path}: inode {record.Inode} in snapshot {directory.Inode}");
        faults.Expect(!isSnapshot || (directory.Inode & SnapshotBit) != 0 || record.Kind == FoundKind.Directory || isExternal || directory.Inode == InodeOrphans, $"{path}: inode {record.Inode} outside of a snapshot");
        if (isExternal)
        {
            faults.Expect(bytes.Length == 0 && record.Kind is FoundKind.File or FoundKind.SymbolicLink or FoundKind.Special, $"{path}: a {record.Kind} in the table");
        }
        else
        {
            VerifyName(path, record, bytes, names);
        }

        faults.Expect(!record.IsPacked || record is { Kind: FoundKind.File, Count: 0, InlineLength: 0, Start: < 8, Size: >= 1 and <= 2048 } && record.Start + ((record.Size + 511) / 512) <= 8, $"{path}: packed, and cannot be");
        directory.Index?.Verify(record, address, WasUnmounted, this, faults);
        if (record.Kind == FoundKind.Link)
        {
            _links[record.Inode] = _links.GetValueOrDefault(record.Inode) + 1;
            bool leads = _externals.TryGetValue(record.Inode, out (uint Address, uint Links, ushort Mode, bool IsSnapshot) target) && target.Address == record.Start;
            faults.Expect(leads, $"{path}: leads to no inode of the table");
            faults.Expect(!leads || (record.Mode & 0xF000) == (target.Mode & 0xF000), $"{path}: says mode {record.Mode:x}, its inode {target.Mode:x}");
            faults.Expect(record.InlineLength == 0, $"{path}: a link with contents");
            return;
        }

        bool isMoving = !WasUnmounted && ((!isExternal && _externals.ContainsKey(record.Inode)) || _moving.Contains(record.Inode));
        bool isNew = _inodes.Add(record.Inode);
        faults.Expect(isNew || isMoving, $"{path}: inode {record.Inode} is found twice");
        faults.Expect(directory.Inode != InodeOrphans || !WasUnmounted, $"{path}: an orphan on a volume that was unmounted");
        if (isExternal)
        {
            _externals[record.Inode] = (address, record.Links, record.Mode, isSnapshot);
        }

        VerifyKind(path, record, isExternal);
        VerifyAttributes(record, path, mayBeHisAlready: isMoving);
        if (record.Kind == FoundKind.Directory)
        {
            FoundDirectory found = Directory(record, path, isMoving);
            if (isNew)
            {
                _open.Enqueue(found);
            }
        }
        else if (record.Kind != FoundKind.Special)
        {
            Extents(record, path, isMoving);
        }
    }

    private void VerifyName(string path, in FoundRecord record, byte[] bytes, Dictionary<string, List<FoundRecord>> names)
    {
        faults.Expect(bytes.Length > 0 && !bytes.AsSpan().ContainsAny((byte)'/', (byte)0) && !bytes.AsSpan().SequenceEqual("."u8) && !bytes.AsSpan().SequenceEqual(".."u8), $"{path}: not a name");
        faults.Expect(record.NameHash == (uint)System.IO.Hashing.XxHash3.HashToUInt64(bytes, (long)_hashSeed), $"{path}: a wrong hash");
        string key = Encoding.Latin1.GetString(bytes);
        if (!names.TryGetValue(key, out List<FoundRecord>? same))
        {
            names.Add(key, [record]);
            return;
        }

        foreach (FoundRecord other in same)
        {
            if (faults.Expect(!WasUnmounted && other.NameSequence != record.NameSequence, $"{path}: the name stands twice"))
            {
                bool isLater = (int)(record.NameSequence - other.NameSequence) > 0;
                FoundRecord later = isLater ? record : other;
                FoundRecord earlier = isLater ? other : record;
                ulong dead = (later.NameSequence & 1) == 0 ? later.Inode : earlier.Inode;
                if (!_exchanging.Contains(dead))
                {
                    _replaced.Add(dead);
                }
            }
        }

        same.Add(record);
    }

    private void VerifyKind(string path, in FoundRecord record, bool isExternal)
    {
        int type = record.Mode >> 12;
        bool fits = record.Kind switch
        {
            FoundKind.File => type == 8,
            FoundKind.Directory => type == 4,
            FoundKind.SymbolicLink => type == 10,
            FoundKind.Special => type is 1 or 2 or 6 or 12,
            _ => false,
        };
        faults.Expect(fits, $"{path}: a {record.Kind} of mode {record.Mode:x}");
        faults.Expect(record.Kind == FoundKind.Directory || isExternal || record.Links == 1, $"{path}: {record.Links} links and one name");
        faults.Expect(
            record.InlineLength == 0 || (record is { Kind: FoundKind.File or FoundKind.SymbolicLink, Count: 0, Depth: 0 } && record.Size == record.InlineLength), $"{path}: {record.InlineLength} bytes inline of {record.Size}");
        switch (record.Kind)
        {
            case FoundKind.File:
                faults.Expect(record.Size <= FileBytesMax, $"{path}: {record.Size} bytes");
                break;
            case FoundKind.SymbolicLink:
                faults.Expect(record.Size is >= 1 and <= 4095 && (record.InlineLength > 0 || record.Count > 0), $"{path}: a target of {record.Size} bytes");
                break;
            default:
                break;
        }
    }

    private void VerifyAttributes(in FoundRecord record, string path, bool mayBeHisAlready)
    {
        ulong at = record.Attributes;
        if (at == 0 || record.Kind == FoundKind.Special || !faults.Expect(IsInData(at, 1), $"{path}: attributes in block {at}")
            || !owners.TryOwn(at, 1, record.Inode, "attributes", mayBeHisAlready: mayBeHisAlready))
        {
            return;
        }

        ReadOnlySpan<byte> block = xn.Block(at);
        int length = block.U16(16);
        if (!faults.Expect(block.U32(0) == FormatReader.Crc32C([_seed, at], block[4..]) && block.U32(4) == 0x52545441 && block.U64(8) == record.Inode && length <= 4064, $"{path}: attributes in block {at} are damaged"))
        {
            return;
        }

        ReadOnlySpan<byte> entries = block.Slice(32, length);
        HashSet<string> names = [];
        while (!entries.IsEmpty)
        {
            if (!faults.Expect(entries.Length >= 4 && entries[0] > 0 && 4 + entries[0] + entries.U16(2) <= entries.Length, $"{path}: attributes that contradict themselves"))
            {
                return;
            }

            string attribute = Encoding.Latin1.GetString(entries.Slice(4, entries[0]));
            faults.Expect(
                names.Add(attribute) && (attribute.StartsWith("user.", StringComparison.Ordinal) || attribute.StartsWith("trusted.", StringComparison.Ordinal) || attribute.StartsWith("security.", StringComparison.Ordinal) || attribute is "system.posix_acl_access" or "system.posix_acl_default"),
                $"{path}: an attribute {attribute}");
            entries = entries[(4 + entries[0] + entries.U16(2))..];
        }
    }
}
