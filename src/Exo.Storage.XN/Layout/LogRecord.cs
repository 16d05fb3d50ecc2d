// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;

namespace Exo.Storage.XN;

/// <summary>
/// One transaction of the commit log: a run of whole blocks, valid as a whole or not at all (docs/xn-format.md).
/// <code>
/// header 64 | entries, 16 bytes each | zeros up to a sector | the images of the entries' sectors, in their order, 512 bytes each | zeros up to a block
/// </code>
/// The checksum is not a CRC: the images are of sectors that often end with a CRC of their own, and a CRC over such does not see whether one has been exchanged for another (the difference of two is a
/// multiple of the polynomial). It is a chain of folded 64-bit products, which is not linear.
/// </summary>
internal static class LogRecord
{
    public const int HeaderBytes = 64;
    public const int EntryBytes = 16;
    public const int SectorBytes = 512;
    public const int SectorsPerBlock = 8;
    public const int BlockBytes = 4096;
    public const uint MagicValue = 0x474F4C58;

    /// <summary>Fewest and most blocks of a log.</summary>
    public const ulong LogBlocksMin = 16;
    public const ulong LogBlocksMax = 16_384;

    public const int ChecksumOffset = 0;
    public const int MagicOffset = 8;
    public const int EntryCountOffset = 12;
    public const int VolumeIdOffset = 16;
    public const int LogEpochOffset = 32;
    public const int SequenceOffset = 40;
    public const int LengthBlocksOffset = 48;

    public const int EntryBlockOffset = 0;
    public const int EntryImageSectorsOffset = 8;
    public const int EntryZeroSectorsOffset = 9;

    public static readonly XnField[] Fields =
    [
        new("Checksum", ChecksumOffset, 8), new("Magic", MagicOffset, 4), new("EntryCount", EntryCountOffset, 4), new("VolumeId", VolumeIdOffset, 16),
        new("LogEpoch", LogEpochOffset, 8), new("Sequence", SequenceOffset, 8), new("LengthBlocks", LengthBlocksOffset, 4),
    ];

    public static readonly XnField[] EntryFields =
        [new("Block", EntryBlockOffset, 8), new("ImageSectors", EntryImageSectorsOffset, 1), new("ZeroSectors", EntryZeroSectorsOffset, 1)];

    /// <summary>What a transaction says about itself.</summary>
    public readonly record struct Header(Guid VolumeId, ulong LogEpoch, ulong Sequence, int LengthBlocks, int EntryCount);

    /// <summary>A block: the sectors whose images follow, and those that are zeros.</summary>
    public readonly record struct Entry(ulong Block, byte ImageSectors, byte ZeroSectors);

    /// <summary>Where the images of a transaction begin.</summary>
    public static int ImagesOffset(int entryCount) => (HeaderBytes + (entryCount * EntryBytes) + SectorBytes - 1) / SectorBytes * SectorBytes;

    /// <summary>Blocks of a transaction.</summary>
    public static int LengthBlocks(int entryCount, int imageCount) => (ImagesOffset(entryCount) + (imageCount * SectorBytes) + BlockBytes - 1) / BlockBytes;

    public static void EmitHeader(Span<byte> block, in Header header)
    {
        block[..HeaderBytes].Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(block[MagicOffset..], MagicValue);
        header.VolumeId.TryWriteBytes(block[VolumeIdOffset..]);
        BinaryPrimitives.WriteUInt64LittleEndian(block[LogEpochOffset..], header.LogEpoch);
        BinaryPrimitives.WriteUInt64LittleEndian(block[SequenceOffset..], header.Sequence);
        BinaryPrimitives.WriteInt32LittleEndian(block[LengthBlocksOffset..], header.LengthBlocks);
        BinaryPrimitives.WriteInt32LittleEndian(block[EntryCountOffset..], header.EntryCount);
    }

    /// <summary>Reads the header of what may be a transaction; nothing of it is believed before the checksum has been computed over all of it.</summary>
    public static bool TryParseHeader(ReadOnlySpan<byte> block, out Header header)
    {
        header = new Header(
            new Guid(block.Slice(VolumeIdOffset, 16)), BinaryPrimitives.ReadUInt64LittleEndian(block[LogEpochOffset..]),
            BinaryPrimitives.ReadUInt64LittleEndian(block[SequenceOffset..]), BinaryPrimitives.ReadInt32LittleEndian(block[LengthBlocksOffset..]),
            BinaryPrimitives.ReadInt32LittleEndian(block[EntryCountOffset..]));
        return BinaryPrimitives.ReadUInt32LittleEndian(block[MagicOffset..]) == MagicValue && header.LengthBlocks is >= 1 and <= (int)LogBlocksMax
            && header.EntryCount >= 0 && header.EntryCount <= header.LengthBlocks * (BlockBytes / EntryBytes) && ImagesOffset(header.EntryCount) <= header.LengthBlocks * BlockBytes;
    }

    public static void EmitEntry(Span<byte> bytes, in Entry entry)
    {
        bytes[..EntryBytes].Clear();
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, entry.Block);
        bytes[EntryImageSectorsOffset] = entry.ImageSectors;
        bytes[EntryZeroSectorsOffset] = entry.ZeroSectors;
    }

    public static Entry ParseEntry(ReadOnlySpan<byte> bytes) =>
        new(BinaryPrimitives.ReadUInt64LittleEndian(bytes), bytes[EntryImageSectorsOffset], bytes[EntryZeroSectorsOffset]);

    public static ulong ReadChecksum(ReadOnlySpan<byte> block) => BinaryPrimitives.ReadUInt64LittleEndian(block);

    public static void WriteChecksum(Span<byte> block, ulong checksum) => BinaryPrimitives.WriteUInt64LittleEndian(block, checksum);

    /// <summary>Begins the checksum of a transaction: the number of its first block, and that block without the checksum.</summary>
    public static ulong Begin(ulong firstBlock, ReadOnlySpan<byte> block) =>
        Add(Mix(0, firstBlock, BinaryPrimitives.ReadUInt64LittleEndian(block[MagicOffset..])), block[16..]);

    /// <summary>Goes on with bytes, a multiple of 16.</summary>
    public static ulong Add(ulong sum, ReadOnlySpan<byte> bytes)
    {
        Invariant.Check(bytes.Length % 16 == 0);
        ReadOnlySpan<ulong> words = MemoryMarshal.Cast<byte, ulong>(bytes);
        for (int i = 0; i + 1 < words.Length; i += 2)
        {
            sum = BitConverter.IsLittleEndian ? Mix(sum, words[i], words[i + 1]) : Mix(sum, BinaryPrimitives.ReverseEndianness(words[i]), BinaryPrimitives.ReverseEndianness(words[i + 1]));
        }

        return sum;
    }

    /// <summary>One step: both halves of the 128-bit product of the two words, each masked by the sum so far, over one another.</summary>
    private static ulong Mix(ulong sum, ulong a, ulong b)
    {
        ulong high = Math.BigMul(a ^ sum ^ 0xA0761D6478BD642F, b ^ BitOperations.RotateLeft(sum, 29) ^ 0xE7037ED1A0B428DB, out ulong low);
        return high ^ low ^ BitOperations.RotateLeft(sum, 17);
    }
}
