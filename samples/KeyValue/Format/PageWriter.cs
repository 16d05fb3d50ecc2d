// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Core.Blocks;

namespace KeyValue.Format;

/// <summary>Fills a <see cref="Page"/>, entry by entry in the order of their keys.</summary>
internal sealed class PageWriter
{
    private readonly List<uint> _offsets = [];
    private byte[] _bytes = new byte[Page.BlockBytes];
    private int _end = Page.HeaderBytes;

    public int Count => _offsets.Count;

    /// <summary>The first entry's key.</summary>
    public byte[] FirstKey { get; private set; } = [];

    public int Blocks => Math.Max(1, (_end + (_offsets.Count * 4) + Page.BlockBytes - 1) / Page.BlockBytes);

    /// <summary>Adds an entry; false when the page has some already and this one does not fit into its block.</summary>
    public bool TryAdd(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, bool isDeleted)
    {
        int end = _end + Page.EntryHeaderBytes + key.Length + value.Length;
        int need = end + ((_offsets.Count + 1) * 4);
        if (need > Page.BlockBytes && _offsets.Count > 0)
        {
            return false;
        }

        if (need > _bytes.Length)
        {
            Array.Resize(ref _bytes, (need + Page.BlockBytes - 1) / Page.BlockBytes * Page.BlockBytes);
        }

        if (_offsets.Count == 0)
        {
            FirstKey = key.ToArray();
        }

        Span<byte> entry = _bytes.AsSpan(_end);
        BinaryPrimitives.WriteUInt16LittleEndian(entry, (ushort)key.Length);
        entry[2] = isDeleted ? (byte)1 : (byte)0;
        entry[3] = 0;
        BinaryPrimitives.WriteUInt32LittleEndian(entry[4..], (uint)value.Length);
        key.CopyTo(entry[Page.EntryHeaderBytes..]);
        value.CopyTo(entry[(Page.EntryHeaderBytes + key.Length)..]);
        _offsets.Add((uint)_end);
        _end = end;
        return true;
    }

    /// <summary>The finished page, until the next <see cref="Clear"/>.</summary>
    public ReadOnlySpan<byte> Finish(BlockNumber block, ulong age)
    {
        Span<byte> page = _bytes.AsSpan(0, Blocks * Page.BlockBytes);
        page[_end..].Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(page[8..], Page.Magic);
        BinaryPrimitives.WriteUInt32LittleEndian(page[12..], (uint)Blocks);
        BinaryPrimitives.WriteUInt64LittleEndian(page[16..], age);
        BinaryPrimitives.WriteUInt32LittleEndian(page[24..], (uint)_offsets.Count);
        BinaryPrimitives.WriteUInt32LittleEndian(page[28..], (uint)_end);
        for (int i = 0; i < _offsets.Count; i++)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(page[(_end + (i * 4))..], _offsets[i]);
        }

        BinaryPrimitives.WriteUInt64LittleEndian(page, Page.Checksum(page, block));
        return page;
    }

    public void Clear()
    {
        _offsets.Clear();
        _end = Page.HeaderBytes;
    }
}
