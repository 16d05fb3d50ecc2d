// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;

namespace Exo.FileSystems.CFFS.Layout;

/// <summary>
/// A hash bucket of a large directory's index: one block of eight sectors, each with its own trailer, so that a power cut leaves every sector old or new
/// (docs/cffs-format.md, "Directory index"). Entries are in no order; an entry may stand in any of the sectors.
/// <code>
/// sector = | 60 hashes u32 | 60 (slot address + 1) u32 | header | trailer |
///          0               240                         480      496     512
/// </code>
/// </summary>
internal static class IndexBucket
{
    public const int EntriesPerSector = 60;
    public const int EntriesMax = EntriesPerSector * Sector.PerBlock;
    public const int BucketBitsMax = 22;

    public const int Hashes = 0;
    public const int Addresses = 240;
    public const int Bucket = 480;
    public const int Incarnation = 484;
    public const int Depth = 488;

    public static readonly LayoutField[] Fields =
    [
        new(nameof(Hashes), Hashes, 240),
        new(nameof(Addresses), Addresses, 240),
        new(nameof(Bucket), Bucket, 4),
        new(nameof(Incarnation), Incarnation, 4),
        new(nameof(Depth), Depth, 1),
        new("Reserved", 489, 7),
    ];

    /// <summary>Logical block of bucket <paramref name="bucket"/> of an incarnation (at least 1): beyond all slot blocks.</summary>
    public static ulong LogicalOf(uint incarnation, uint bucket) => ((ulong)incarnation << 32) + bucket;

    /// <summary>The incarnation that a logical block belongs to.</summary>
    public static uint IncarnationOf(ulong logical) => (uint)(logical >> 32);

    /// <summary>The bucket of a hash among <paramref name="count"/> buckets that were split in order (linear hashing).</summary>
    public static uint Of(uint hash, uint count)
    {
        int level = BitOperations.Log2(count);
        uint bucket = hash & Mask(level + 1);
        return bucket < count ? bucket : hash & Mask(level);
    }

    /// <summary>How many low bits of a hash name bucket <paramref name="bucket"/> when there are <paramref name="count"/> buckets.</summary>
    public static int DepthOf(uint bucket, uint count)
    {
        int level = BitOperations.Log2(count);
        return bucket < count - (1u << level) || bucket >= 1u << level ? level + 1 : level;
    }

    /// <summary>The low <paramref name="bits"/> bits.</summary>
    public static uint Mask(int bits) => bits >= 32 ? uint.MaxValue : (1u << bits) - 1;

    /// <summary>The bucket that a bucket was split from: its number without the highest bit.</summary>
    public static uint ParentOf(uint bucket) => bucket & ~(1u << BitOperations.Log2(bucket));

    /// <summary>The sector in which an entry stands unless that is full.</summary>
    public static int HomeOf(uint hash) => (int)(hash >> 29);

    /// <summary>The deepest depth that a sector of the bucket states.</summary>
    public static int DeepestOf(ReadOnlySpan<byte> block)
    {
        int depth = 0;
        for (int sector = 0; sector < Sector.PerBlock; sector++)
        {
            depth = Math.Max(depth, block[(sector * Sector.SizeBytes) + Depth]);
        }

        return depth;
    }

    /// <summary>The least depth that a sector of the bucket states.</summary>
    public static int ShallowestOf(ReadOnlySpan<byte> block)
    {
        int depth = BucketBitsMax;
        for (int sector = 0; sector < Sector.PerBlock; sector++)
        {
            depth = Math.Min(depth, block[(sector * Sector.SizeBytes) + Depth]);
        }

        return depth;
    }

    /// <summary>True when all eight sectors have good checksums and are this bucket's, of this incarnation.</summary>
    public static bool IsValid(ReadOnlySpan<byte> block, ulong volumeSeed, ulong blockNumber, ulong owner, uint incarnation, uint bucket)
    {
        for (int i = 0; i < Sector.PerBlock; i++)
        {
            ReadOnlySpan<byte> sector = block.Slice(i * Sector.SizeBytes, Sector.SizeBytes);
            if (Sector.IsEmpty(sector)
                || !Sector.IsValid(sector, volumeSeed, (blockNumber * Sector.PerBlock) + (uint)i, SectorKind.Index, owner)
                || BinaryPrimitives.ReadUInt32LittleEndian(sector[Bucket..]) != bucket
                || BinaryPrimitives.ReadUInt32LittleEndian(sector[Incarnation..]) != incarnation
                || sector[Depth] > BucketBitsMax
                || (bucket & ~Mask(sector[Depth])) != 0)
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>Makes a whole empty bucket.</summary>
    public static void Format(Span<byte> block, uint incarnation, uint bucket, int depth)
    {
        block.Clear();
        for (int i = 0; i < Sector.PerBlock; i++)
        {
            Span<byte> sector = block.Slice(i * Sector.SizeBytes, Sector.SizeBytes);
            BinaryPrimitives.WriteUInt32LittleEndian(sector[Bucket..], bucket);
            BinaryPrimitives.WriteUInt32LittleEndian(sector[Incarnation..], incarnation);
            sector[Depth] = (byte)depth;
        }
    }

    /// <summary>Seals all sectors of a bucket.</summary>
    public static void Seal(Span<byte> block, ulong volumeSeed, ulong blockNumber, ulong owner)
    {
        for (int i = 0; i < Sector.PerBlock; i++)
        {
            Sector.Seal(block.Slice(i * Sector.SizeBytes, Sector.SizeBytes), volumeSeed, (blockNumber * Sector.PerBlock) + (uint)i, SectorKind.Index, owner);
        }
    }

    /// <summary>The entry at a position, 0..479; false when it is free.</summary>
    public static bool TryRead(ReadOnlySpan<byte> block, int entry, out uint hash, out uint address)
    {
        ReadOnlySpan<byte> sector = block.Slice(entry / EntriesPerSector * Sector.SizeBytes, Sector.SizeBytes);
        int at = entry % EntriesPerSector * 4;
        hash = BinaryPrimitives.ReadUInt32LittleEndian(sector[(Hashes + at)..]);
        address = BinaryPrimitives.ReadUInt32LittleEndian(sector[(Addresses + at)..]) - 1;
        return address != uint.MaxValue;
    }

    /// <summary>Writes an entry into a sector image; <paramref name="within"/> is 0..59.</summary>
    public static void Write(Span<byte> sector, int within, uint hash, uint address)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(sector[(Hashes + (within * 4))..], hash);
        BinaryPrimitives.WriteUInt32LittleEndian(sector[(Addresses + (within * 4))..], address + 1);
    }

    /// <summary>Frees an entry of a sector image.</summary>
    public static void Clear(Span<byte> sector, int within)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(sector[(Hashes + (within * 4))..], 0);
        BinaryPrimitives.WriteUInt32LittleEndian(sector[(Addresses + (within * 4))..], 0);
    }

    /// <summary>
    /// Walks the addresses of a hash: its home sector first. Start with <paramref name="cursor"/> = 0; the entry found stands at <paramref name="entry"/>.
    /// </summary>
    public static bool TryNext(ReadOnlySpan<byte> block, uint hash, ref int cursor, out int entry, out uint address)
    {
        uint wanted = BitConverter.IsLittleEndian ? hash : BinaryPrimitives.ReverseEndianness(hash);
        int home = HomeOf(hash);
        while (cursor < EntriesMax)
        {
            int sector = (home + (cursor / EntriesPerSector)) % Sector.PerBlock;
            int from = cursor % EntriesPerSector;
            ReadOnlySpan<uint> hashes = MemoryMarshal.Cast<byte, uint>(block.Slice((sector * Sector.SizeBytes) + Hashes, EntriesPerSector * 4));
            int found = hashes[from..].IndexOf(wanted);
            if (found < 0)
            {
                cursor += EntriesPerSector - from;
                continue;
            }

            cursor += found + 1;
            entry = (sector * EntriesPerSector) + from + found;
            if (TryRead(block, entry, out _, out address))
            {
                return true;
            }
        }

        entry = -1;
        address = 0;
        return false;
    }

    /// <summary>A free entry, in the home sector of a hash if it has one.</summary>
    public static bool TryFindFree(ReadOnlySpan<byte> block, uint hash, out int entry)
    {
        int home = HomeOf(hash);
        for (int i = 0; i < Sector.PerBlock; i++)
        {
            int sector = (home + i) % Sector.PerBlock;
            int found = MemoryMarshal.Cast<byte, uint>(block.Slice((sector * Sector.SizeBytes) + Addresses, EntriesPerSector * 4)).IndexOf(0u);
            if (found >= 0)
            {
                entry = (sector * EntriesPerSector) + found;
                return true;
            }
        }

        entry = -1;
        return false;
    }

    /// <summary>How many entries are taken.</summary>
    public static int Count(ReadOnlySpan<byte> block)
    {
        int free = 0;
        for (int sector = 0; sector < Sector.PerBlock; sector++)
        {
            free += MemoryMarshal.Cast<byte, uint>(block.Slice((sector * Sector.SizeBytes) + Addresses, EntriesPerSector * 4)).Count(0u);
        }

        return EntriesMax - free;
    }
}
