// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;

namespace Exo.FileSystems.CFFS.Layout;

/// <summary>
/// The block of one inode's extended attributes (docs/cffs-format.md, "Extended attributes"): a header, then entries one after another.
/// <code>
/// | checksum 4 | magic 4 | owner 8 | entry bytes 2 | zero 14 | entries ...            | zeros |
///                                                          entry = | name length 1 | zero 1 | value length 2 | name | value |
/// </code>
/// It is never changed in place: every change writes another block and moves the pointer.
/// </summary>
internal static class AttributeBlock
{
    public const uint MagicValue = 0x52545441;
    public const int SizeBytes = 4096;
    public const int EntryHeaderBytes = 4;
    public const int EntriesBytesMax = SizeBytes - HeaderBytes;
    public const int NameBytesMax = 255;

    public const int Checksum = 0;
    public const int Magic = 4;
    public const int Owner = 8;
    public const int EntryBytes = 16;
    public const int HeaderBytes = 32;

    public static readonly LayoutField[] Fields =
    [
        new(nameof(Checksum), Checksum, 4),
        new(nameof(Magic), Magic, 4),
        new(nameof(Owner), Owner, 8),
        new(nameof(EntryBytes), EntryBytes, 2),
        new("Reserved", 18, 14),
    ];

    /// <summary>Completes a block whose entries have been appended: header and checksum.</summary>
    public static void Seal(Span<byte> block, int entryBytes, ulong owner, ulong volumeSeed, ulong blockNumber)
    {
        block[..HeaderBytes].Clear();
        block[(HeaderBytes + entryBytes)..].Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(block[Magic..], MagicValue);
        BinaryPrimitives.WriteUInt64LittleEndian(block[Owner..], owner);
        BinaryPrimitives.WriteUInt16LittleEndian(block[EntryBytes..], (ushort)entryBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(block, ComputeChecksum(block, volumeSeed, blockNumber));
    }

    /// <summary>Whether checksum, magic, owner and entries are those of a block that <see cref="Seal"/> has made.</summary>
    public static bool IsValid(ReadOnlySpan<byte> block, ulong owner, ulong volumeSeed, ulong blockNumber)
    {
        if (BinaryPrimitives.ReadUInt32LittleEndian(block) != ComputeChecksum(block, volumeSeed, blockNumber)
            || BinaryPrimitives.ReadUInt32LittleEndian(block[Magic..]) != MagicValue
            || BinaryPrimitives.ReadUInt64LittleEndian(block[Owner..]) != owner
            || BinaryPrimitives.ReadUInt16LittleEndian(block[EntryBytes..]) > EntriesBytesMax)
        {
            return false;
        }

        ReadOnlySpan<byte> rest = Entries(block);
        while (TryNext(ref rest, out _, out _))
        {
        }

        return rest.IsEmpty;
    }

    /// <summary>The entries of a valid block, for <see cref="TryNext"/>.</summary>
    public static ReadOnlySpan<byte> Entries(ReadOnlySpan<byte> block) =>
        block.Slice(HeaderBytes, BinaryPrimitives.ReadUInt16LittleEndian(block[EntryBytes..]));

    /// <summary>Takes the first entry off. False at the end, and, with bytes left over, where the entries contradict themselves.</summary>
    public static bool TryNext(scoped ref ReadOnlySpan<byte> entries, out ReadOnlySpan<byte> name, out ReadOnlySpan<byte> value)
    {
        name = value = default;
        if (entries.Length < EntryHeaderBytes)
        {
            return false;
        }

        int nameLength = entries[0];
        int valueLength = BinaryPrimitives.ReadUInt16LittleEndian(entries[2..]);
        if (nameLength == 0 || EntryHeaderBytes + nameLength + valueLength > entries.Length)
        {
            return false;
        }

        name = entries.Slice(EntryHeaderBytes, nameLength);
        value = entries.Slice(EntryHeaderBytes + nameLength, valueLength);
        entries = entries[(EntryHeaderBytes + nameLength + valueLength)..];
        return true;
    }

    /// <summary>The value of a name. False when the block has no such entry.</summary>
    public static bool TryFind(ReadOnlySpan<byte> block, ReadOnlySpan<byte> name, out ReadOnlySpan<byte> value)
    {
        ReadOnlySpan<byte> rest = Entries(block);
        while (TryNext(ref rest, out ReadOnlySpan<byte> found, out value))
        {
            if (found.SequenceEqual(name))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>Appends an entry at <paramref name="entryBytes"/>, which moves behind it. False when there is no room.</summary>
    public static bool TryAppend(Span<byte> block, ref int entryBytes, ReadOnlySpan<byte> name, ReadOnlySpan<byte> value)
    {
        int length = EntryHeaderBytes + name.Length + value.Length;
        if (name.Length is 0 or > NameBytesMax || length > EntriesBytesMax - entryBytes)
        {
            return false;
        }

        Span<byte> entry = block.Slice(HeaderBytes + entryBytes, length);
        entry[0] = (byte)name.Length;
        entry[1] = 0;
        BinaryPrimitives.WriteUInt16LittleEndian(entry[2..], (ushort)value.Length);
        name.CopyTo(entry[EntryHeaderBytes..]);
        value.CopyTo(entry[(EntryHeaderBytes + name.Length)..]);
        entryBytes += length;
        return true;
    }

    /// <summary>CRC32C over the seed, the block number and the block without its checksum field.</summary>
    private static uint ComputeChecksum(ReadOnlySpan<byte> block, ulong volumeSeed, ulong blockNumber)
    {
        uint crc = BitOperations.Crc32C(~0u, volumeSeed);
        crc = BitOperations.Crc32C(crc, blockNumber);
        crc = BitOperations.Crc32C(crc, BinaryPrimitives.ReadUInt32LittleEndian(block[4..]));
        foreach (ulong word in MemoryMarshal.Cast<byte, ulong>(block[8..]))
        {
            crc = BitOperations.Crc32C(crc, BitConverter.IsLittleEndian ? word : BinaryPrimitives.ReverseEndianness(word));
        }

        return ~crc;
    }
}
