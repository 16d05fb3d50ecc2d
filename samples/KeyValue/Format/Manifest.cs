// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.IO.Hashing;
using Exo.Core.Blocks;
using Exo.Storage.XN;

namespace KeyValue.Format;

/// <summary>What an entry's blocks are.</summary>
internal enum EntryKind : uint
{
    Empty = 0,
    Log = 1,
    Table = 2,

    /// <summary>A table that is not finished yet, or that a newer one has replaced: its blocks are the store's, and nobody reads them. Opening the store frees them.</summary>
    Discarded = 3,
}

/// <summary>One entry of the manifest.</summary>
/// <param name="Extent">Its blocks.</param>
/// <param name="Kind">What they are.</param>
/// <param name="Age">Of two tables the one with the higher number is newer.</param>
/// <param name="IndexStart">Where a table's index pages begin, in blocks from its start.</param>
/// <param name="IndexBlocks">How many there are.</param>
internal readonly record struct ManifestEntry(BlockExtent Extent, EntryKind Kind, ulong Age = 0, uint IndexStart = 0, uint IndexBlocks = 0);

/// <summary>
/// The first sector of the store's root block, and all that says what the store consists of. It is one sector because that is what a disk writes whole or not at all: every change of the store's shape is one
/// write of it. XN sees the first 16 bytes of each entry (<see cref="KeyValueTemplates"/>).
/// <code>
/// 0 checksum u64 | 8 "KVST" | 12 version u32 | 16 log epoch u64 | 24 zeros | 64 entries, 14 × 32
/// entry: 0 start u64 | 8 count u32 | 12 kind u32 | 16 age u64 | 24 index start u32 | 28 index blocks u32
/// </code>
/// </summary>
internal sealed class Manifest
{
    public const int SizeBytes = 512;
    public const int EntriesOffset = 64;
    public const int EntryBytes = 32;
    public const int EntriesMax = 14;
    public const int ReadSetBytes = 16;
    private const uint Magic = 0x5453564B;
    private const uint Version = 1;

    /// <summary>Incremented whenever the log begins anew: batches of another epoch are void.</summary>
    public ulong LogEpoch { get; set; } = 1;

    public ManifestEntry[] Entries { get; } = new ManifestEntry[EntriesMax];

    public int FirstEmpty => Array.FindIndex(Entries, entry => entry.Kind == EntryKind.Empty);

    public void Write(Span<byte> sector, BlockNumber root)
    {
        sector.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(sector[8..], Magic);
        BinaryPrimitives.WriteUInt32LittleEndian(sector[12..], Version);
        BinaryPrimitives.WriteUInt64LittleEndian(sector[16..], LogEpoch);
        for (int i = 0; i < EntriesMax; i++)
        {
            Span<byte> bytes = sector.Slice(EntriesOffset + (i * EntryBytes), EntryBytes);
            ManifestEntry entry = Entries[i];
            BinaryPrimitives.WriteUInt64LittleEndian(bytes, entry.Extent.First.Value);
            BinaryPrimitives.WriteUInt32LittleEndian(bytes[8..], entry.Extent.Count);
            BinaryPrimitives.WriteUInt32LittleEndian(bytes[12..], (uint)entry.Kind);
            BinaryPrimitives.WriteUInt64LittleEndian(bytes[16..], entry.Age);
            BinaryPrimitives.WriteUInt32LittleEndian(bytes[24..], entry.IndexStart);
            BinaryPrimitives.WriteUInt32LittleEndian(bytes[28..], entry.IndexBlocks);
        }

        BinaryPrimitives.WriteUInt64LittleEndian(sector, Checksum(sector, root));
    }

    /// <exception cref="KeyValueException">Damaged.</exception>
    public static Manifest Read(ReadOnlySpan<byte> sector, BlockNumber root)
    {
        uint version = BinaryPrimitives.ReadUInt32LittleEndian(sector[12..]);
        if (BinaryPrimitives.ReadUInt64LittleEndian(sector) != Checksum(sector, root) || BinaryPrimitives.ReadUInt32LittleEndian(sector[8..]) != Magic || version != Version)
        {
            throw new KeyValueException(KeyValueError.Damaged, $"block {root}: this is no manifest of version {Version}");
        }

        Manifest manifest = new() { LogEpoch = BinaryPrimitives.ReadUInt64LittleEndian(sector[16..]) };
        for (int i = 0; i < EntriesMax; i++)
        {
            ReadOnlySpan<byte> bytes = sector.Slice(EntriesOffset + (i * EntryBytes), EntryBytes);
            manifest.Entries[i] = new ManifestEntry(
                new BlockExtent(new BlockNumber(BinaryPrimitives.ReadUInt64LittleEndian(bytes)), BinaryPrimitives.ReadUInt32LittleEndian(bytes[8..])),
                (EntryKind)BinaryPrimitives.ReadUInt32LittleEndian(bytes[12..]), BinaryPrimitives.ReadUInt64LittleEndian(bytes[16..]),
                BinaryPrimitives.ReadUInt32LittleEndian(bytes[24..]), BinaryPrimitives.ReadUInt32LittleEndian(bytes[28..]));
            manifest.Entries[i].ThrowIfWrong(i, root);
        }

        return manifest;
    }

    private static ulong Checksum(ReadOnlySpan<byte> sector, BlockNumber root) => XxHash3.HashToUInt64(sector[8..SizeBytes], (long)root.Value);
}

/// <summary>What every entry keeps, whoever wrote it.</summary>
internal static class ManifestEntryRules
{
    public static void ThrowIfWrong(this ManifestEntry entry, int slot, BlockNumber root)
    {
        bool isSound = entry.Kind switch
        {
            EntryKind.Empty => entry == default,
            EntryKind.Table => entry.Extent.Count > 0 && entry.IndexBlocks > 0 && (ulong)entry.IndexStart + entry.IndexBlocks <= entry.Extent.Count,
            EntryKind.Log or EntryKind.Discarded => entry.Extent.Count > 0,
            _ => false,
        };
        if (!isSound)
        {
            throw new KeyValueException(KeyValueError.Damaged, $"block {root}: entry {slot} of the manifest is not sound");
        }
    }
}
