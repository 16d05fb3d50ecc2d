// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Storage.XN;
using KeyValue.Format;
using KeyValue.Store;

namespace KeyValue.Tables;

/// <summary>Writes a table into blocks that have been reserved for it. On success all of it is durable; nothing leads to it yet.</summary>
internal sealed class TableBuilder
{
    // Written and flushed together; so many frames at most are in memory beside the cache.
    private const int BatchBlocks = 256;

    private readonly StoreDisk _disk;
    private readonly PageCache _cache;
    private readonly BlockExtent _extent;
    private readonly ulong _age;
    private readonly PageWriter _writer = new();
    private readonly List<TablePage> _pages = [];
    private readonly List<TablePage> _index = [];
    private readonly List<TablePage> _batch = [];
    private readonly List<BlockNumber> _blocks = [];
    private uint _used;

    private TableBuilder(StoreDisk disk, PageCache cache, int slot)
    {
        _disk = disk;
        _cache = cache;
        _extent = disk.Manifest.Entries[slot].Extent;
        _age = disk.Manifest.Entries[slot].Age;
    }

    /// <summary>What has been written.</summary>
    internal readonly record struct Result(TablePage[] Pages, BlockExtent Used, uint IndexStart, uint IndexBlocks);

    /// <returns>Null when the blocks are not enough.</returns>
    public static Result? Build(StoreDisk disk, PageCache cache, int slot, SortedSource entries, bool dropsDeleted)
    {
        TableBuilder builder = new(disk, cache, slot);
        Result? result = null;
        try
        {
            result = builder.Build(entries, dropsDeleted);
        }
        finally
        {
            cache.Forget(result is null ? builder._pages.Concat(builder._index) : builder._index);
        }

        return result;
    }

    private Result? Build(SortedSource entries, bool dropsDeleted)
    {
        while (entries.MoveNext())
        {
            if ((!entries.IsDeleted || !dropsDeleted) && !TryAdd(entries.Key, entries.Value, entries.IsDeleted))
            {
                return null;
            }
        }

        if (!TryEndPage(isIndex: false) || !TryAddIndex(out uint start, out uint count))
        {
            return null;
        }

        EndBatch();
        return new Result([.. _pages], new BlockExtent(_extent.First, _used), start, count);
    }

    private bool TryAdd(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, bool isDeleted) =>
        _writer.TryAdd(key, value, isDeleted) || (TryEndPage(isIndex: false) && _writer.TryAdd(key, value, isDeleted));

    private bool TryAddIndex(out uint start, out uint count)
    {
        start = _used;
        count = 0;
        Span<byte> place = stackalloc byte[8];
        foreach (TablePage page in _pages)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(place, (uint)(page.Extent.First - _extent.First));
            BinaryPrimitives.WriteUInt32LittleEndian(place[4..], page.Extent.Count);
            if (!_writer.TryAdd(page.FirstKey, place, isDeleted: false) && !(TryEndPage(isIndex: true) && _writer.TryAdd(page.FirstKey, place, isDeleted: false)))
            {
                return false;
            }
        }

        bool isDone = TryEndPage(isIndex: true);
        count = _used - start;
        return isDone;
    }

    private bool TryEndPage(bool isIndex)
    {
        if (_writer.Count == 0)
        {
            return true;
        }

        uint blocks = (uint)_writer.Blocks;
        if (_used + blocks > _extent.Count)
        {
            return false;
        }

        BlockExtent extent = new(_extent.First + _used, blocks);
        ReadOnlySpan<byte> bytes = _writer.Finish(extent.First, _age);
        FrameNumber[] frames = new FrameNumber[blocks];
        for (int i = 0; i < frames.Length; i++)
        {
            frames[i] = _cache.TakeFrame();
            bytes.Slice(i * Page.BlockBytes, Page.BlockBytes).CopyTo(_disk.Xn.Frames.Bytes(frames[i]));
            _blocks.Add(extent.First + (uint)i);
        }

        StoreDisk.Check(_disk.Xn.Bind(_disk.Key, extent.First, frames, BindMode.Contents));
        TablePage page = new(_writer.FirstKey, extent);
        _batch.Add(page);
        (isIndex ? _index : _pages).Add(page);
        _used += blocks;
        _writer.Clear();
        if (_blocks.Count >= BatchBlocks)
        {
            EndBatch();
        }

        return true;
    }

    /// <summary>Writes what has come together; the cache has it from now on, and drops what it has no room for.</summary>
    private void EndBatch()
    {
        _disk.WriteBack(_blocks.ToArray());
        _disk.Xn.Flush();
        foreach (TablePage page in _batch)
        {
            _cache.Add(page);
        }

        _blocks.Clear();
        _batch.Clear();
    }
}
