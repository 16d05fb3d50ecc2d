// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.IO.Hashing;
using Exo.Core.Blocks;

namespace KeyValue.Format;

/// <summary>
/// A page of a table: entries sorted by key, one block long, or longer if its only entry does not fit into one. Pages of entries and pages of the index look alike; an index entry's value says where the page is
/// that begins with the entry's key: its first block u32 and its blocks u32, counted from the table's start.
/// <code>
/// 0 checksum u64 | 8 "KVPG" | 12 blocks u32 | 16 age of the table u64 | 24 entries u32 | 28 offset of the offsets u32 | 32 entries … | offset of each entry u32 … | zeros
/// entry: 0 key length u16 | 2 deleted u8 | 3 0 | 4 value length u32 | 8 key | value
/// </code>
/// </summary>
internal readonly ref struct Page(ReadOnlySpan<byte> bytes)
{
    public const int BlockBytes = 4096;
    public const int HeaderBytes = 32;
    public const int EntryHeaderBytes = 8;
    public const uint Magic = 0x4750564B;
    private readonly ReadOnlySpan<byte> _bytes = bytes;

    public int Count => (int)BinaryPrimitives.ReadUInt32LittleEndian(_bytes[24..]);

    public ReadOnlySpan<byte> Key(int index)
    {
        ReadOnlySpan<byte> entry = Entry(index);
        return entry.Slice(EntryHeaderBytes, BinaryPrimitives.ReadUInt16LittleEndian(entry));
    }

    public ReadOnlySpan<byte> Value(int index)
    {
        ReadOnlySpan<byte> entry = Entry(index);
        return entry.Slice(EntryHeaderBytes + BinaryPrimitives.ReadUInt16LittleEndian(entry), (int)BinaryPrimitives.ReadUInt32LittleEndian(entry[4..]));
    }

    public bool IsDeleted(int index) => Entry(index)[2] != 0;

    /// <summary>The first entry whose key is not below this one; <see cref="Count"/> if there is none.</summary>
    public int LowerBound(ReadOnlySpan<byte> key)
    {
        int low = 0;
        int high = Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            (low, high) = Key(middle).SequenceCompareTo(key) < 0 ? (middle + 1, high) : (low, middle);
        }

        return low;
    }

    /// <summary>Throws unless these bytes are the page that was written to this block for this table. Afterwards nothing in it can lead a reader astray.</summary>
    /// <exception cref="KeyValueException">Damaged.</exception>
    public static void Check(ReadOnlySpan<byte> bytes, BlockNumber block, ulong age)
    {
        if (!IsSound(bytes, block, age))
        {
            throw new KeyValueException(KeyValueError.Damaged, $"block {block}: this is not the page that was written here");
        }
    }

    public static ulong Checksum(ReadOnlySpan<byte> page, BlockNumber block) => XxHash3.HashToUInt64(page[8..], (long)block.Value);

    private static bool IsSound(ReadOnlySpan<byte> bytes, BlockNumber block, ulong age)
    {
        if (BinaryPrimitives.ReadUInt64LittleEndian(bytes) != Checksum(bytes, block)
            || BinaryPrimitives.ReadUInt32LittleEndian(bytes[8..]) != Magic
            || BinaryPrimitives.ReadUInt32LittleEndian(bytes[12..]) != (uint)bytes.Length / BlockBytes
            || BinaryPrimitives.ReadUInt64LittleEndian(bytes[16..]) != age)
        {
            return false;
        }

        ulong count = BinaryPrimitives.ReadUInt32LittleEndian(bytes[24..]);
        ulong offsets = BinaryPrimitives.ReadUInt32LittleEndian(bytes[28..]);
        if (count == 0 || offsets < HeaderBytes || offsets + (count * 4) > (ulong)bytes.Length)
        {
            return false;
        }

        Page page = new(bytes);
        for (int i = 0; i < (int)count; i++)
        {
            ulong at = BinaryPrimitives.ReadUInt32LittleEndian(bytes[((int)offsets + (i * 4))..]);
            if (at < HeaderBytes || at + EntryHeaderBytes > offsets)
            {
                return false;
            }

            ReadOnlySpan<byte> entry = bytes[(int)at..];
            ulong end = at + EntryHeaderBytes + BinaryPrimitives.ReadUInt16LittleEndian(entry) + BinaryPrimitives.ReadUInt32LittleEndian(entry[4..]);
            if (end > offsets || (i > 0 && page.Key(i - 1).SequenceCompareTo(page.Key(i)) >= 0))
            {
                return false;
            }
        }

        return true;
    }

    private ReadOnlySpan<byte> Entry(int index)
    {
        int offsets = (int)BinaryPrimitives.ReadUInt32LittleEndian(_bytes[28..]);
        return _bytes[(int)BinaryPrimitives.ReadUInt32LittleEndian(_bytes[(offsets + (index * 4))..])..];
    }
}
