// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;

namespace Exo.Storage.XN;

/// <summary>One field of an on-disk structure, as docs/xn-format.md lists it. A test compares the two.</summary>
internal readonly record struct XnField(string Name, int OffsetBytes, int SizeBytes);

/// <summary>Checksums of XN's own structures: CRC32C over the block number, then the bytes after the checksum field, which comes first.</summary>
internal static class XnChecksum
{
    public static uint Compute(ReadOnlySpan<byte> structure, ulong blockNumber)
    {
        Invariant.Check(structure.Length % 8 == 0);
        uint crc = BitOperations.Crc32C(~0u, blockNumber);
        crc = BitOperations.Crc32C(crc, BinaryPrimitives.ReadUInt32LittleEndian(structure[4..]));
        foreach (ulong word in MemoryMarshal.Cast<byte, ulong>(structure[8..]))
        {
            crc = BitOperations.Crc32C(crc, BitConverter.IsLittleEndian ? word : BinaryPrimitives.ReverseEndianness(word));
        }

        return ~crc;
    }

    public static void Seal(Span<byte> structure, ulong blockNumber) =>
        BinaryPrimitives.WriteUInt32LittleEndian(structure, Compute(structure, blockNumber));

    public static bool IsValid(ReadOnlySpan<byte> structure, ulong blockNumber) =>
        BinaryPrimitives.ReadUInt32LittleEndian(structure) == Compute(structure, blockNumber);
}

/// <summary>
/// The superblock of an XN disk: one sector, two copies, in blocks 0 and 1, written one after the other (docs/xn-format.md).
/// </summary>
internal struct XnSuperblock
{
    public const int SizeBytes = 512;
    public const uint CurrentVersion = 1;
    public const int OwnerNameBytesMax = 64;

    public const int ChecksumOffset = 0;
    public const int VersionOffset = 4;
    public const int SignatureOffset = 8;
    public const int VolumeIdOffset = 16;
    public const int GenerationOffset = 32;
    public const int BlockCountOffset = 40;
    public const int EpochOffset = 48;
    public const int CleanOffset = 56;
    public const int OwnerLengthOffset = 60;
    public const int TemplateStartOffset = 64;
    public const int TemplateSlotsOffset = 72;
    public const int RootsStartOffset = 80;
    public const int FreeMapStartOffset = 88;
    public const int FreeMapBlocksOffset = 96;
    public const int DataStartOffset = 104;
    public const int OwnerNameOffset = 112;
    public const int OwnersStartOffset = 176;
    public const int LogStartOffset = 184;
    public const int LogBlocksOffset = 192;
    public const int LogEpochOffset = 200;

    public static readonly XnField[] Fields =
    [
        new("Checksum", ChecksumOffset, 4), new(nameof(Version), VersionOffset, 4), new("Signature", SignatureOffset, 8), new(nameof(VolumeId), VolumeIdOffset, 16),
        new(nameof(Generation), GenerationOffset, 8), new(nameof(BlockCount), BlockCountOffset, 8), new(nameof(Epoch), EpochOffset, 8),
        new(nameof(Clean), CleanOffset, 4), new("OwnerLength", OwnerLengthOffset, 4), new(nameof(TemplateStart), TemplateStartOffset, 8),
        new(nameof(TemplateSlots), TemplateSlotsOffset, 8), new(nameof(RootsStart), RootsStartOffset, 8), new(nameof(FreeMapStart), FreeMapStartOffset, 8),
        new(nameof(FreeMapBlocks), FreeMapBlocksOffset, 8), new(nameof(DataStart), DataStartOffset, 8), new(nameof(OwnerName), OwnerNameOffset, OwnerNameBytesMax),
        new(nameof(OwnersStart), OwnersStartOffset, 8), new(nameof(LogStart), LogStartOffset, 8), new(nameof(LogBlocks), LogBlocksOffset, 8),
        new(nameof(LogEpoch), LogEpochOffset, 8),
    ];

    public uint Version;
    public Guid VolumeId;
    public ulong Generation;
    public ulong BlockCount;
    public ulong Epoch;
    public uint Clean;
    public ulong TemplateStart;
    public ulong TemplateSlots;
    public ulong RootsStart;
    public ulong FreeMapStart;
    public ulong FreeMapBlocks;
    public ulong DataStart;
    public byte[] OwnerName;

    /// <summary>First block of the chain of owner counts; 0: no block has more than one owner. Its blocks are free blocks: it counts only while the volume is clean.</summary>
    public ulong OwnersStart;

    /// <summary>First block of the commit log; 0: the volume has none.</summary>
    public ulong LogStart;

    public ulong LogBlocks;

    /// <summary>Incremented whenever the volume begins to be changed: the log's transactions of any other epoch are void.</summary>
    public ulong LogEpoch;

    public static ReadOnlySpan<byte> Signature => "EXO-XN01"u8;

    /// <summary>Reads a copy. False when it is not one, or damaged; <paramref name="problem"/> says which.</summary>
    public static bool TryParse(ReadOnlySpan<byte> sector, ulong blockNumber, out XnSuperblock superblock, out string problem)
    {
        superblock = default;
        problem = "";
        if (!sector.Slice(SignatureOffset, 8).SequenceEqual(Signature))
        {
            problem = "no XN signature";
            return false;
        }

        uint ownerLength = BinaryPrimitives.ReadUInt32LittleEndian(sector[OwnerLengthOffset..]);
        if (!XnChecksum.IsValid(sector, blockNumber) || ownerLength > OwnerNameBytesMax)
        {
            problem = "checksum wrong";
            return false;
        }

        superblock.Version = BinaryPrimitives.ReadUInt32LittleEndian(sector[VersionOffset..]);
        superblock.VolumeId = new Guid(sector.Slice(VolumeIdOffset, 16));
        superblock.Generation = BinaryPrimitives.ReadUInt64LittleEndian(sector[GenerationOffset..]);
        superblock.BlockCount = BinaryPrimitives.ReadUInt64LittleEndian(sector[BlockCountOffset..]);
        superblock.Epoch = BinaryPrimitives.ReadUInt64LittleEndian(sector[EpochOffset..]);
        superblock.Clean = BinaryPrimitives.ReadUInt32LittleEndian(sector[CleanOffset..]);
        superblock.TemplateStart = BinaryPrimitives.ReadUInt64LittleEndian(sector[TemplateStartOffset..]);
        superblock.TemplateSlots = BinaryPrimitives.ReadUInt64LittleEndian(sector[TemplateSlotsOffset..]);
        superblock.RootsStart = BinaryPrimitives.ReadUInt64LittleEndian(sector[RootsStartOffset..]);
        superblock.FreeMapStart = BinaryPrimitives.ReadUInt64LittleEndian(sector[FreeMapStartOffset..]);
        superblock.FreeMapBlocks = BinaryPrimitives.ReadUInt64LittleEndian(sector[FreeMapBlocksOffset..]);
        superblock.DataStart = BinaryPrimitives.ReadUInt64LittleEndian(sector[DataStartOffset..]);
        superblock.OwnersStart = BinaryPrimitives.ReadUInt64LittleEndian(sector[OwnersStartOffset..]);
        superblock.LogStart = BinaryPrimitives.ReadUInt64LittleEndian(sector[LogStartOffset..]);
        superblock.LogBlocks = BinaryPrimitives.ReadUInt64LittleEndian(sector[LogBlocksOffset..]);
        superblock.LogEpoch = BinaryPrimitives.ReadUInt64LittleEndian(sector[LogEpochOffset..]);
        superblock.OwnerName = sector.Slice(OwnerNameOffset, (int)ownerLength).ToArray();
        if (superblock.Version != CurrentVersion)
        {
            problem = $"format version {superblock.Version} is not known";
            return false;
        }

        if (superblock.LogBlocks != 0 && superblock.LogBlocks is < LogRecord.LogBlocksMin or > LogRecord.LogBlocksMax)
        {
            problem = "its log has a size that it cannot have";
            return false;
        }

        XnSuperblock expected = Plan(superblock.BlockCount, superblock.VolumeId, superblock.OwnerName, superblock.LogBlocks);
        if (superblock.BlockCount < MinimumBlocks || superblock.TemplateStart != expected.TemplateStart || superblock.TemplateSlots != expected.TemplateSlots
            || superblock.RootsStart != expected.RootsStart || superblock.FreeMapStart != expected.FreeMapStart
            || superblock.FreeMapBlocks < superblock.FreeMapBlocksUsed || superblock.FreeMapBlocks >= superblock.BlockCount
            || superblock.LogStart != (superblock.LogBlocks == 0 ? 0 : superblock.FreeMapStart + superblock.FreeMapBlocks)
            || superblock.DataStart != superblock.FreeMapStart + superblock.FreeMapBlocks + superblock.LogBlocks || superblock.DataStart >= superblock.BlockCount)
        {
            problem = "its regions do not fit its size";
            return false;
        }

        return true;
    }

    /// <summary>Fewest blocks of a disk: XN's own, and some to use.</summary>
    public const ulong MinimumBlocks = 256;

    /// <summary>How many times larger than when it was made a disk can become: the free map has room for so much, a 2,000th of the disk.</summary>
    public const ulong GrowthMax = 16;

    /// <summary>Blocks of the free map that this many blocks need.</summary>
    public readonly ulong FreeMapBlocksUsed => (BlockCount + FreeMapBlock.BitsPerBlock - 1) / FreeMapBlock.BitsPerBlock;

    /// <summary>Where everything lies on a disk of this size.</summary>
    public static XnSuperblock Plan(ulong blockCount, Guid volumeId, byte[] ownerName, ulong logBlocks)
    {
        XnSuperblock plan = new()
        {
            Version = CurrentVersion,
            VolumeId = volumeId,
            Generation = 1,
            BlockCount = blockCount,
            Epoch = 1,
            Clean = 1,
            TemplateStart = 2,
            TemplateSlots = 64,
            OwnerName = ownerName,
        };
        plan.RootsStart = plan.TemplateStart + (2 * plan.TemplateSlots);
        plan.FreeMapStart = plan.RootsStart + 2;
        plan.FreeMapBlocks = ((blockCount * GrowthMax) + FreeMapBlock.BitsPerBlock - 1) / FreeMapBlock.BitsPerBlock;
        plan.LogBlocks = logBlocks;
        plan.LogStart = logBlocks == 0 ? 0 : plan.FreeMapStart + plan.FreeMapBlocks;
        plan.DataStart = plan.FreeMapStart + plan.FreeMapBlocks + logBlocks;
        return plan;
    }

    /// <summary>The commit log of a new volume: a 64th of the disk, at most 64 MiB; none on disks of less than 64 MiB.</summary>
    public static ulong DefaultLogBlocks(ulong blockCount) =>
        blockCount < 16_384 ? 0 : Math.Min(LogRecord.LogBlocksMax, blockCount / 64);

    public readonly void Emit(Span<byte> sector, ulong blockNumber)
    {
        sector[..SizeBytes].Clear();
        Signature.CopyTo(sector[SignatureOffset..]);
        BinaryPrimitives.WriteUInt32LittleEndian(sector[VersionOffset..], Version);
        VolumeId.TryWriteBytes(sector[VolumeIdOffset..]);
        BinaryPrimitives.WriteUInt64LittleEndian(sector[GenerationOffset..], Generation);
        BinaryPrimitives.WriteUInt64LittleEndian(sector[BlockCountOffset..], BlockCount);
        BinaryPrimitives.WriteUInt64LittleEndian(sector[EpochOffset..], Epoch);
        BinaryPrimitives.WriteUInt32LittleEndian(sector[CleanOffset..], Clean);
        BinaryPrimitives.WriteUInt32LittleEndian(sector[OwnerLengthOffset..], (uint)OwnerName.Length);
        BinaryPrimitives.WriteUInt64LittleEndian(sector[TemplateStartOffset..], TemplateStart);
        BinaryPrimitives.WriteUInt64LittleEndian(sector[TemplateSlotsOffset..], TemplateSlots);
        BinaryPrimitives.WriteUInt64LittleEndian(sector[RootsStartOffset..], RootsStart);
        BinaryPrimitives.WriteUInt64LittleEndian(sector[FreeMapStartOffset..], FreeMapStart);
        BinaryPrimitives.WriteUInt64LittleEndian(sector[FreeMapBlocksOffset..], FreeMapBlocks);
        BinaryPrimitives.WriteUInt64LittleEndian(sector[DataStartOffset..], DataStart);
        OwnerName.CopyTo(sector[OwnerNameOffset..]);
        BinaryPrimitives.WriteUInt64LittleEndian(sector[OwnersStartOffset..], OwnersStart);
        BinaryPrimitives.WriteUInt64LittleEndian(sector[LogStartOffset..], LogStart);
        BinaryPrimitives.WriteUInt64LittleEndian(sector[LogBlocksOffset..], LogBlocks);
        BinaryPrimitives.WriteUInt64LittleEndian(sector[LogEpochOffset..], LogEpoch);
        XnChecksum.Seal(sector[..SizeBytes], blockNumber);
    }
}

/// <summary>One block of the free-map snapshot: 4064 bytes of bits, 1 = free.</summary>
internal static class FreeMapBlock
{
    public const int HeaderBytes = 32;
    public const int BitmapBytes = 4096 - HeaderBytes;
    public const ulong BitsPerBlock = BitmapBytes * 8;

    public const int ChecksumOffset = 0;
    public const int MagicOffset = 4;
    public const int EpochOffset = 8;
    public const int IndexOffset = 16;
    public const uint MagicValue = 0x45455246;

    public static readonly XnField[] Fields =
    [
        new("Checksum", ChecksumOffset, 4), new("Magic", MagicOffset, 4), new("Epoch", EpochOffset, 8), new("Index", IndexOffset, 8), new("Bitmap", HeaderBytes, BitmapBytes),
    ];

    public static void Emit(Span<byte> block, ulong blockNumber, ulong epoch, ulong index, ReadOnlySpan<ulong> words)
    {
        block.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(block[MagicOffset..], MagicValue);
        BinaryPrimitives.WriteUInt64LittleEndian(block[EpochOffset..], epoch);
        BinaryPrimitives.WriteUInt64LittleEndian(block[IndexOffset..], index);
        for (int i = 0; i < words.Length; i++)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(block[(HeaderBytes + (i * 8))..], words[i]);
        }

        XnChecksum.Seal(block, blockNumber);
    }

    public static bool TryRead(ReadOnlySpan<byte> block, ulong blockNumber, ulong epoch, ulong index, Span<ulong> words)
    {
        if (BinaryPrimitives.ReadUInt32LittleEndian(block[MagicOffset..]) != MagicValue
            || BinaryPrimitives.ReadUInt64LittleEndian(block[EpochOffset..]) != epoch
            || BinaryPrimitives.ReadUInt64LittleEndian(block[IndexOffset..]) != index
            || !XnChecksum.IsValid(block, blockNumber))
        {
            return false;
        }

        for (int i = 0; i < words.Length; i++)
        {
            words[i] = BinaryPrimitives.ReadUInt64LittleEndian(block[(HeaderBytes + (i * 8))..]);
        }

        return true;
    }
}

/// <summary>One block of the chain of owner counts: blocks with more than one owner, when the volume was unmounted.</summary>
internal static class OwnersBlock
{
    public const int ChecksumOffset = 0;
    public const int MagicOffset = 4;
    public const int EpochOffset = 8;
    public const int NextOffset = 16;
    public const int CountOffset = 24;
    public const int EntriesOffset = 32;
    public const int EntryBytes = 16;
    public const int EntriesMax = (4096 - EntriesOffset) / EntryBytes;
    public const uint MagicValue = 0x524E574F;

    public const int EntryBlockOffset = 0;
    public const int EntryOwnersOffset = 8;

    public static readonly XnField[] Fields =
    [
        new("Checksum", ChecksumOffset, 4), new("Magic", MagicOffset, 4), new("Epoch", EpochOffset, 8), new("Next", NextOffset, 8), new("Count", CountOffset, 4),
        new("Entries", EntriesOffset, EntriesMax * EntryBytes),
    ];

    public static readonly XnField[] EntryFields = [new("Block", EntryBlockOffset, 8), new("Owners", EntryOwnersOffset, 4)];

    public static void Emit(Span<byte> block, ulong blockNumber, ulong epoch, ulong next, ReadOnlySpan<(ulong Block, int Owners)> entries)
    {
        block.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(block[MagicOffset..], MagicValue);
        BinaryPrimitives.WriteUInt64LittleEndian(block[EpochOffset..], epoch);
        BinaryPrimitives.WriteUInt64LittleEndian(block[NextOffset..], next);
        BinaryPrimitives.WriteUInt32LittleEndian(block[CountOffset..], (uint)entries.Length);
        for (int i = 0; i < entries.Length; i++)
        {
            Span<byte> entry = block.Slice(EntriesOffset + (i * EntryBytes), EntryBytes);
            BinaryPrimitives.WriteUInt64LittleEndian(entry[EntryBlockOffset..], entries[i].Block);
            BinaryPrimitives.WriteInt32LittleEndian(entry[EntryOwnersOffset..], entries[i].Owners);
        }

        XnChecksum.Seal(block, blockNumber);
    }

    /// <summary>Adds a block's entries to <paramref name="owners"/>. False when it is not the block that was meant, or damaged.</summary>
    public static bool TryRead(ReadOnlySpan<byte> block, ulong blockNumber, ulong epoch, Dictionary<ulong, int> owners, out ulong next)
    {
        next = BinaryPrimitives.ReadUInt64LittleEndian(block[NextOffset..]);
        uint count = BinaryPrimitives.ReadUInt32LittleEndian(block[CountOffset..]);
        if (BinaryPrimitives.ReadUInt32LittleEndian(block[MagicOffset..]) != MagicValue || BinaryPrimitives.ReadUInt64LittleEndian(block[EpochOffset..]) != epoch
            || count > EntriesMax || !XnChecksum.IsValid(block, blockNumber))
        {
            return false;
        }

        for (int i = 0; i < count; i++)
        {
            ReadOnlySpan<byte> entry = block.Slice(EntriesOffset + (i * EntryBytes), EntryBytes);
            owners[BinaryPrimitives.ReadUInt64LittleEndian(entry[EntryBlockOffset..])] = BinaryPrimitives.ReadInt32LittleEndian(entry[EntryOwnersOffset..]);
        }

        return true;
    }
}

/// <summary>The root catalogue: one block, two copies, the valid one with the higher generation counts.</summary>
internal static class RootBlock
{
    public const int ChecksumOffset = 0;
    public const int MagicOffset = 4;
    public const int GenerationOffset = 8;
    public const int CountOffset = 16;
    public const int EntriesOffset = 128;
    public const int EntryBytes = 128;
    public const int EntriesMax = (4096 - EntriesOffset) / EntryBytes;
    public const uint MagicValue = 0x544F4F52;

    public const int EntryNameLengthOffset = 0;
    public const int EntryTemplateOffset = 4;
    public const int EntryBlockOffset = 8;
    public const int EntryNameOffset = 16;
    public const int NameBytesMax = 64;

    public static readonly XnField[] Fields =
    [
        new("Checksum", ChecksumOffset, 4), new("Magic", MagicOffset, 4), new("Generation", GenerationOffset, 8), new("Count", CountOffset, 4),
        new("Entries", EntriesOffset, EntriesMax * EntryBytes),
    ];

    public static readonly XnField[] EntryFields =
    [
        new("NameLength", EntryNameLengthOffset, 4), new("Template", EntryTemplateOffset, 4), new("Block", EntryBlockOffset, 8), new("Name", EntryNameOffset, NameBytesMax),
    ];
}

/// <summary>One template: a block, two copies.</summary>
internal static class TemplateBlock
{
    public const int ChecksumOffset = 0;
    public const int MagicOffset = 4;
    public const int IdOffset = 8;
    public const int FlagsOffset = 12;
    public const int ReadSetBytesOffset = 16;
    public const int NameLengthOffset = 20;
    public const int GroupCountOffset = 22;
    public const int ChildCountOffset = 24;
    public const int OwnsBytesOffset = 26;
    public const int AclBytesOffset = 28;
    public const int SizeBytesOffset = 30;
    public const int ContentHashOffset = 32;
    public const int NameOffset = 64;
    public const int NameBytesMax = 64;
    public const int VariableOffset = 128;
    public const uint MagicValue = 0x504D4554;

    // A bit of Flags: there is an approve function, whose lengths stand before the partition groups.
    public const uint HasApprove = 4;
    public const int ApproveHeaderBytes = 4;

    public static readonly XnField[] Fields =
    [
        new("Checksum", ChecksumOffset, 4), new("Magic", MagicOffset, 4), new("Id", IdOffset, 4), new("Flags", FlagsOffset, 4), new("ReadSetBytes", ReadSetBytesOffset, 4),
        new("NameLength", NameLengthOffset, 2), new("GroupCount", GroupCountOffset, 2), new("ChildCount", ChildCountOffset, 2), new("OwnsBytes", OwnsBytesOffset, 2),
        new("AclBytes", AclBytesOffset, 2), new("SizeBytes", SizeBytesOffset, 2), new("ContentHash", ContentHashOffset, 32), new("Name", NameOffset, NameBytesMax),
    ];
}
