// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;

namespace Exo.FileSystems.CFFS.Layout;

/// <summary>A hash bucket of a large directory (docs/cffs-format.md, "Directory index"). Derived data.</summary>
internal static class IndexBucket
{
    public const uint MagicValue = 0x58444E49;
    public const int EntriesMax = 504;
    public const int EntryBytes = 8;
    public const int BucketBitsMax = 22;
    public const ulong FirstLogicalBlock = 1UL << 32;
    public const byte Overflowed = 1;

    public const int Checksum = 0;
    public const int Magic = 4;
    public const int Owner = 8;
    public const int Epoch = 16;
    public const int Bucket = 24;
    public const int Entries = 28;
    public const int BucketBits = 30;
    public const int Flags = 31;
    public const int Records = 32;
    public const int Subdirectories = 40;
    public const int HeaderBytes = 64;

    public static readonly LayoutField[] Fields =
    [
        new(nameof(Checksum), Checksum, 4),
        new(nameof(Magic), Magic, 4),
        new(nameof(Owner), Owner, 8),
        new(nameof(Epoch), Epoch, 8),
        new(nameof(Bucket), Bucket, 4),
        new(nameof(Entries), Entries, 2),
        new(nameof(BucketBits), BucketBits, 1),
        new(nameof(Flags), Flags, 1),
        new(nameof(Records), Records, 8),
        new(nameof(Subdirectories), Subdirectories, 8),
        new("Reserved", 48, 16),
    ];

    /// <summary>CRC32C over the seed, the block number and the block without its checksum field.</summary>
    public static uint ComputeChecksum(ReadOnlySpan<byte> block, ulong volumeSeed, ulong blockNumber)
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
