// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Numerics;
using Exo.Capabilities;
using Exo.Core.Blocks;
using Exo.Core.DownloadedCode;
using Exo.Core.Memory;

namespace Exo.Storage.XN.Tests.LogStructured;

/// <summary>
/// A log-structured file store (Rosenblum and Ousterhout, 1991): everything is appended to segments, nothing is overwritten, a checkpoint says where the newest map of files is, and a cleaner
/// empties segments and gives them back. XN knows the segments, one extent each; what is in them is the log's own business.
/// <code>
/// root:   512..1023    segment table, 16 entries of 32 bytes: start u64, count u32, 1 u32, 0
///         1024..1535   checkpoint: generation u64, block of the map u64, crc u32
/// log:    map block:   generation u64, count u32, crc u32 | count × 64 bytes: id u32, length u32, up to 7 block numbers u64
///         data block:  contents, as they are
/// </code>
/// Two sectors of the root do not reach the disk together. So a new segment is in the table durably before a checkpoint leads into it, and an old one leaves the table only when the
/// checkpoint that no longer leads into it is durable.
/// </summary>
internal sealed class LogStore
{
    public const string RootName = "log";
    public const int FileBlocksMax = 7;
    public const int FilesMax = 60;
    private const int Segments = 16;
    private const uint SegmentBlocks = 12;
    private const int TableOffset = 512;
    private const int CheckpointOffset = 1024;
    private const int MapHeaderBytes = 16;
    private const int MapEntryBytes = 64;

    private const string Owns = """
            ldxw r2, [r1+8]
            ldxdw r1, [r1+0]
            mov r3, 0
            call 1
            mov r0, 0
            exit
        """;

    private readonly XnVolume _disk;
    private readonly Credential _key;
    private readonly TemplateId[] _templates;
    private readonly BlockNumber _root;
    private readonly XnTransaction _transaction = new();
    private readonly BlockExtent[] _segments = new BlockExtent[Segments];
    private readonly SortedDictionary<uint, (int LengthBytes, BlockNumber[] Blocks)> _map = [];
    private readonly SortedDictionary<uint, byte[]?> _pending = [];
    private readonly List<BlockNumber> _unwritten = [];
    private BlockNumber _mapBlock;
    private ulong _generation;
    private int _tail = -1;
    private uint _tailUsed;

    private LogStore(XnVolume disk, TemplateId[] templates, BlockNumber root)
    {
        _disk = disk;
        _key = disk.Frames.RootCredential;
        _templates = templates;
        _root = root;
    }

    private static TemplateSource[] Templates =>
    [
        new TemplateSource
        {
            Name = "log.root",
            ReadSetBytes = 16,
            Partitions = [new PartitionGroup(TableOffset, 32, Segments)],
            Owns = Assembler.Assemble(Owns),
            Acl = Assembler.Assemble("mov r0, 1\nexit"),
            Children = ["log.segment"],
        },
        new TemplateSource { Name = "log.segment" },
    ];

    /// <summary>Blocks of the segments.</summary>
    public IEnumerable<ulong> Blocks => _segments.SelectMany(segment => Enumerable.Range(0, (int)segment.Count).Select(i => segment.First.Value + (ulong)i)).Append(_root.Value);

    public BlockNumber Root => _root;

    public static LogStore Create(XnVolume disk)
    {
        Credential key = disk.Frames.RootCredential;
        TemplateId[] templates = disk.InstallTemplates(key, Templates);
        LogStore store = new(disk, templates, disk.CreateRoot(key, templates[0], default, default));
        store.WriteRoot();
        disk.PublishRoot(key, RootName, store._root);
        store.Sync();
        return store;
    }

    public static LogStore Load(XnVolume disk)
    {
        Credential key = disk.Frames.RootCredential;
        LogStore store = new(disk, disk.InstallTemplates(key, Templates), disk.OpenRoot(key, RootName).Block);
        byte[] root = store.Bytes(store._root);
        for (int i = 0; i < Segments; i++)
        {
            ReadOnlySpan<byte> entry = root.AsSpan(TableOffset + (i * 32), 32);
            store._segments[i] = new BlockExtent(new BlockNumber(BinaryPrimitives.ReadUInt64LittleEndian(entry)), BinaryPrimitives.ReadUInt32LittleEndian(entry[8..]));
        }

        ReadOnlySpan<byte> checkpoint = root.AsSpan(CheckpointOffset, 20);
        store._generation = BinaryPrimitives.ReadUInt64LittleEndian(checkpoint);
        if (store._generation != 0)
        {
            Assert.Equal(Crc(checkpoint[..16]), BinaryPrimitives.ReadUInt32LittleEndian(checkpoint[16..]));
            store._mapBlock = new BlockNumber(BinaryPrimitives.ReadUInt64LittleEndian(checkpoint[8..]));
            store.LoadMap();
        }

        return store;
    }

    public void Write(uint id, byte[] contents) => _pending[id] = contents;

    public void Delete(uint id) => _pending[id] = null;

    /// <summary>Appends what is new and a map, and moves the checkpoint. All of it is there after a crash, or none.</summary>
    public void Sync()
    {
        foreach ((uint id, byte[]? contents) in _pending)
        {
            if (contents is null)
            {
                _ = _map.Remove(id);
                continue;
            }

            BlockNumber[] blocks = new BlockNumber[(contents.Length + 4095) / 4096];
            for (int i = 0; i < blocks.Length; i++)
            {
                blocks[i] = Append(contents.AsSpan(i * 4096, Math.Min(4096, contents.Length - (i * 4096))));
            }

            _map[id] = (contents.Length, blocks);
        }

        _pending.Clear();
        AppendMap();
        Flush();
        MoveCheckpoint();
    }

    /// <summary>Copies what lives in the emptiest segment to the end of the log, and gives the segment back.</summary>
    public void Clean()
    {
        int victim = -1;
        int fewest = int.MaxValue;
        for (int i = 0; i < Segments; i++)
        {
            int live = _map.Values.Sum(file => file.Blocks.Count(_segments[i].Contains));
            if (i != _tail && _segments[i].Count > 0 && live < fewest)
            {
                (victim, fewest) = (i, live);
            }
        }

        if (victim < 0)
        {
            return;
        }

        foreach ((uint id, (int lengthBytes, BlockNumber[] blocks)) in _map.ToArray())
        {
            if (blocks.Any(_segments[victim].Contains))
            {
                _map[id] = (lengthBytes, [.. blocks.Select(block => _segments[victim].Contains(block) ? Append(Bytes(block)) : block)]);
            }
        }

        Sync();
        _transaction.Clear();
        _transaction.Write(_root, TableOffset + (victim * 32), new byte[32]);
        _transaction.ClaimFree(_segments[victim], _templates[1], _root, victim);
        Assert.Equal(XnStatus.Ok, _disk.Apply(_key, _transaction));
        _segments[victim] = default;
        WriteRoot();
    }

    public SortedDictionary<uint, byte[]> Contents()
    {
        SortedDictionary<uint, byte[]> contents = [];
        foreach ((uint id, (int lengthBytes, BlockNumber[] blocks)) in _map)
        {
            contents.Add(id, [.. blocks.SelectMany(block => Bytes(block)).Take(lengthBytes)]);
        }

        foreach ((uint id, byte[]? pending) in _pending)
        {
            if (pending is null)
            {
                _ = contents.Remove(id);
            }
            else
            {
                contents[id] = pending;
            }
        }

        return contents;
    }

    private static uint Crc(ReadOnlySpan<byte> bytes)
    {
        uint crc = ~0u;
        foreach (byte b in bytes)
        {
            crc = BitOperations.Crc32C(crc, b);
        }

        return ~crc;
    }

    private BlockNumber Append(ReadOnlySpan<byte> contents)
    {
        if (_tail < 0 || _tailUsed == _segments[_tail].Count)
        {
            NewSegment();
        }

        BlockNumber block = _segments[_tail].First + _tailUsed++;
        Assert.True(_disk.Frames.TryAllocate(_key, out FrameNumber frame, zero: true));
        contents.CopyTo(_disk.Frames.Bytes(frame));
        Assert.Equal(XnStatus.Ok, _disk.BindOverwrite(_key, new XnReadRequest(_root, _tail, new BlockExtent(block, 1)), [frame]));
        _unwritten.Add(block);
        return block;
    }

    /// <summary>A segment is in the table, durably, before anything leads into it.</summary>
    private void NewSegment()
    {
        Assert.True(Array.Exists(_segments, segment => segment.Count == 0), "the segment table is full");
        _tail = Array.FindIndex(_segments, segment => segment.Count == 0);
        _tailUsed = 0;
        BlockExtent extent = FindFree();
        byte[] entry = new byte[32];
        BinaryPrimitives.WriteUInt64LittleEndian(entry, extent.First.Value);
        BinaryPrimitives.WriteUInt32LittleEndian(entry.AsSpan(8), extent.Count);
        BinaryPrimitives.WriteUInt32LittleEndian(entry.AsSpan(12), 1);
        _transaction.Clear();
        _transaction.Write(_root, TableOffset + (_tail * 32), entry);
        _transaction.ClaimAllocate(extent, _templates[1], _root, _tail);
        Assert.Equal(XnStatus.Ok, _disk.Apply(_key, _transaction));
        _segments[_tail] = extent;
        WriteRoot();
    }

    private void AppendMap()
    {
        byte[] block = new byte[4096];
        BinaryPrimitives.WriteUInt64LittleEndian(block, _generation + 1);
        BinaryPrimitives.WriteUInt32LittleEndian(block.AsSpan(8), (uint)_map.Count);
        int at = MapHeaderBytes;
        foreach ((uint id, (int lengthBytes, BlockNumber[] blocks)) in _map)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(block.AsSpan(at), id);
            BinaryPrimitives.WriteInt32LittleEndian(block.AsSpan(at + 4), lengthBytes);
            for (int i = 0; i < blocks.Length; i++)
            {
                BinaryPrimitives.WriteUInt64LittleEndian(block.AsSpan(at + 8 + (i * 8)), blocks[i].Value);
            }

            at += MapEntryBytes;
        }

        BinaryPrimitives.WriteUInt32LittleEndian(block.AsSpan(12), Crc(block.AsSpan(MapHeaderBytes)));
        _mapBlock = Append(block);
    }

    private void LoadMap()
    {
        byte[] block = Bytes(_mapBlock);
        Assert.Equal(_generation, BinaryPrimitives.ReadUInt64LittleEndian(block));
        Assert.Equal(Crc(block.AsSpan(MapHeaderBytes)), BinaryPrimitives.ReadUInt32LittleEndian(block.AsSpan(12)));
        uint count = BinaryPrimitives.ReadUInt32LittleEndian(block.AsSpan(8));
        for (int i = 0; i < count; i++)
        {
            ReadOnlySpan<byte> entry = block.AsSpan(MapHeaderBytes + (i * MapEntryBytes), MapEntryBytes);
            int lengthBytes = BinaryPrimitives.ReadInt32LittleEndian(entry[4..]);
            BlockNumber[] blocks = new BlockNumber[(lengthBytes + 4095) / 4096];
            for (int b = 0; b < blocks.Length; b++)
            {
                blocks[b] = new BlockNumber(BinaryPrimitives.ReadUInt64LittleEndian(entry[(8 + (b * 8))..]));
            }

            _map[BinaryPrimitives.ReadUInt32LittleEndian(entry)] = (lengthBytes, blocks);
        }
    }

    private void MoveCheckpoint()
    {
        byte[] checkpoint = new byte[20];
        BinaryPrimitives.WriteUInt64LittleEndian(checkpoint, ++_generation);
        BinaryPrimitives.WriteUInt64LittleEndian(checkpoint.AsSpan(8), _mapBlock.Value);
        BinaryPrimitives.WriteUInt32LittleEndian(checkpoint.AsSpan(16), Crc(checkpoint.AsSpan(0, 16)));
        _transaction.Clear();
        _transaction.Write(_root, CheckpointOffset, checkpoint);
        Assert.Equal(XnStatus.Ok, _disk.Apply(_key, _transaction));
        WriteRoot();
    }

    /// <summary>Whether what must be durable goes through XN's commit log.</summary>
    public bool UsesLog { get; set; }

    private void WriteRoot()
    {
        if (UsesLog && _disk.TryCommit(_key) && !IsDirty(_root))
        {
            return;
        }

        Assert.Equal(XnStatus.Ok, _disk.WriteBack(_key, [_root]));
        _disk.Flush();
    }

    private void Flush()
    {
        if (UsesLog && _disk.TryCommit(_key) && !_unwritten.Any(IsDirty))
        {
            _unwritten.Clear();
            return;
        }

        BlockNumber[] blocks = [.. _unwritten.Where(IsDirty)];
        Assert.Equal(XnStatus.Ok, _disk.WriteBack(_key, blocks));
        _disk.Flush();
        _unwritten.Clear();
    }

    private bool IsDirty(BlockNumber block) => _disk.TryGetEntry(block, out RegistryEntryInfo info) && info.IsDirty;

    private byte[] Bytes(BlockNumber block)
    {
        if (!_disk.TryGetFrame(_key, block, out FrameNumber frame))
        {
            int segment = Array.FindIndex(_segments, extent => extent.Contains(block));
            Assert.True(segment >= 0, $"{block} lies in no segment");
            Assert.True(_disk.Frames.TryAllocate(_key, out FrameNumber taken));
            _disk.Read(_key, [new XnReadRequest(_root, segment, new BlockExtent(block, 1))], [taken], out _);
            Assert.True(_disk.TryGetFrame(_key, block, out frame));
        }

        byte[] bytes = _disk.Frames.Bytes(frame).ToArray();
        _disk.Frames.Release(frame);
        return bytes;
    }

    private BlockExtent FindFree()
    {
        uint run = 0;
        for (ulong block = _disk.DataStart.Value; block < _disk.BlockCount; block++)
        {
            run = (_disk.FreeMap[(int)(block / 64)] >> (int)(block % 64) & 1) != 0 ? run + 1 : 0;
            if (run == SegmentBlocks)
            {
                return new BlockExtent(new BlockNumber(block + 1 - SegmentBlocks), SegmentBlocks);
            }
        }

        throw new InvalidOperationException("the disk is full");
    }
}
