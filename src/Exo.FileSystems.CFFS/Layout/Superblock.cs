// SPDX-License-Identifier: MIT
using System.Buffers.Binary;

namespace Exo.FileSystems.CFFS.Layout;

/// <summary>
/// The root block of a C-FFS volume: sectors 0 and 1 volume state (alternating), 2 built-in records, 3 guard
/// (docs/cffs-format.md, "Superblock").
/// </summary>
internal static class Superblock
{
    public const int RecordSector = 2;
    public const int GuardSector = 3;
    public const int RootSlot = 0;
    public const int OrphanSlot = 1;
    public const int ExternalSlot = 2;
    public const int LogSlot = 3;

    public const ulong RootInode = 2;
    public const ulong OrphanInode = 3;
    public const ulong ExternalInode = 4;
    public const ulong LogInode = 5;
    public const ulong FirstInode = 16;

    /// <summary>The bit of the numbers of inodes in snapshots, which do not change. The rest of the number is counted like all others.</summary>
    public const ulong SnapshotInodes = 1UL << 52;

    /// <summary>Index within the block, in slots of <see cref="Slot"/> geometry, of a built-in record.</summary>
    public static int SlotIndex(int builtIn) => (RecordSector * Slot.PerSector) + builtIn;
}

/// <summary>The changing half of the superblock.</summary>
internal struct VolumeState
{
    public const int SignatureOffset = 0;
    public const int VersionOffset = 8;
    public const int CompatibleFeaturesOffset = 12;
    public const int ReadOnlyFeaturesOffset = 16;
    public const int IncompatibleFeaturesOffset = 20;
    public const int GenerationOffset = 24;
    public const int EpochOffset = 32;
    public const int LastUncleanEpochOffset = 40;
    public const int InodeLimitOffset = 48;
    public const int NameSequenceOffset = 56;
    public const int CleanOffset = 60;
    public const int LastWriteTimeOffset = 64;
    public const int IndexedSequenceOffset = 72;
    public const int IndexTrustOffset = 76;

    /// <summary>ReadOnlyFeatures: directories may have indexes, which whoever writes must keep.</summary>
    public const uint DirectoryIndexes = 1;

    /// <summary>ReadOnlyFeatures: contents may have several owners, an extent may stand twice in its tree after a crash, and there may be snapshots.</summary>
    public const uint SharedContents = 2;

    public const uint KnownReadOnlyFeatures = DirectoryIndexes | SharedContents;

    /// <summary>IncompatibleFeatures: files of a sector may share a block of contents.</summary>
    public const uint Packs = 1;

    public const uint KnownIncompatibleFeatures = Packs;

    public const uint CurrentVersion = 1;

    public static readonly LayoutField[] Fields =
    [
        new("Signature", SignatureOffset, 8),
        new(nameof(Version), VersionOffset, 4),
        new(nameof(CompatibleFeatures), CompatibleFeaturesOffset, 4),
        new(nameof(ReadOnlyFeatures), ReadOnlyFeaturesOffset, 4),
        new(nameof(IncompatibleFeatures), IncompatibleFeaturesOffset, 4),
        new(nameof(Generation), GenerationOffset, 8),
        new(nameof(Epoch), EpochOffset, 8),
        new(nameof(LastUncleanEpoch), LastUncleanEpochOffset, 8),
        new(nameof(InodeLimit), InodeLimitOffset, 8),
        new(nameof(NameSequence), NameSequenceOffset, 4),
        new(nameof(Clean), CleanOffset, 4),
        new(nameof(LastWriteTime), LastWriteTimeOffset, 8),
        new(nameof(IndexedSequence), IndexedSequenceOffset, 4),
        new(nameof(IndexTrust), IndexTrustOffset, 4),
    ];

    public uint Version;
    public uint CompatibleFeatures;
    public uint ReadOnlyFeatures;
    public uint IncompatibleFeatures;
    public ulong Generation;
    public ulong Epoch;
    public ulong LastUncleanEpoch;
    public ulong InodeLimit;
    public uint NameSequence;
    public uint Clean;
    public long LastWriteTime;
    public uint IndexedSequence;
    public uint IndexTrust;

    /// <summary>It was closed, everything written, with remains of trees in the orphan directory: no crash, but not clean. A volume that is open has name sequence numbers ahead.</summary>
    public readonly bool HasRemains => Clean == 0 && IndexedSequence == NameSequence;

    /// <summary>The eight bytes that begin a state sector.</summary>
    public static ReadOnlySpan<byte> Signature => "EXOCFFS1"u8;

    public static bool TryParse(ReadOnlySpan<byte> sector, out VolumeState state)
    {
        state = default;
        if (!sector[..8].SequenceEqual(Signature))
        {
            return false;
        }

        state.Version = BinaryPrimitives.ReadUInt32LittleEndian(sector[VersionOffset..]);
        state.CompatibleFeatures = BinaryPrimitives.ReadUInt32LittleEndian(sector[CompatibleFeaturesOffset..]);
        state.ReadOnlyFeatures = BinaryPrimitives.ReadUInt32LittleEndian(sector[ReadOnlyFeaturesOffset..]);
        state.IncompatibleFeatures = BinaryPrimitives.ReadUInt32LittleEndian(sector[IncompatibleFeaturesOffset..]);
        state.Generation = BinaryPrimitives.ReadUInt64LittleEndian(sector[GenerationOffset..]);
        state.Epoch = BinaryPrimitives.ReadUInt64LittleEndian(sector[EpochOffset..]);
        state.LastUncleanEpoch = BinaryPrimitives.ReadUInt64LittleEndian(sector[LastUncleanEpochOffset..]);
        state.InodeLimit = BinaryPrimitives.ReadUInt64LittleEndian(sector[InodeLimitOffset..]);
        state.NameSequence = BinaryPrimitives.ReadUInt32LittleEndian(sector[NameSequenceOffset..]);
        state.Clean = BinaryPrimitives.ReadUInt32LittleEndian(sector[CleanOffset..]);
        state.LastWriteTime = BinaryPrimitives.ReadInt64LittleEndian(sector[LastWriteTimeOffset..]);
        state.IndexedSequence = BinaryPrimitives.ReadUInt32LittleEndian(sector[IndexedSequenceOffset..]);
        state.IndexTrust = BinaryPrimitives.ReadUInt32LittleEndian(sector[IndexTrustOffset..]);
        return true;
    }

    public readonly void Emit(Span<byte> sector)
    {
        sector[..Sector.PayloadBytes].Clear();
        Signature.CopyTo(sector);
        BinaryPrimitives.WriteUInt32LittleEndian(sector[VersionOffset..], Version);
        BinaryPrimitives.WriteUInt32LittleEndian(sector[CompatibleFeaturesOffset..], CompatibleFeatures);
        BinaryPrimitives.WriteUInt32LittleEndian(sector[ReadOnlyFeaturesOffset..], ReadOnlyFeatures);
        BinaryPrimitives.WriteUInt32LittleEndian(sector[IncompatibleFeaturesOffset..], IncompatibleFeatures);
        BinaryPrimitives.WriteUInt64LittleEndian(sector[GenerationOffset..], Generation);
        BinaryPrimitives.WriteUInt64LittleEndian(sector[EpochOffset..], Epoch);
        BinaryPrimitives.WriteUInt64LittleEndian(sector[LastUncleanEpochOffset..], LastUncleanEpoch);
        BinaryPrimitives.WriteUInt64LittleEndian(sector[InodeLimitOffset..], InodeLimit);
        BinaryPrimitives.WriteUInt32LittleEndian(sector[NameSequenceOffset..], NameSequence);
        BinaryPrimitives.WriteUInt32LittleEndian(sector[CleanOffset..], Clean);
        BinaryPrimitives.WriteInt64LittleEndian(sector[LastWriteTimeOffset..], LastWriteTime);
        BinaryPrimitives.WriteUInt32LittleEndian(sector[IndexedSequenceOffset..], IndexedSequence);
        BinaryPrimitives.WriteUInt32LittleEndian(sector[IndexTrustOffset..], IndexTrust);
    }
}

/// <summary>The constant half of the superblock.</summary>
internal sealed class VolumeGuard
{
    public const int VolumeIdOffset = 0;
    public const int ChecksumSeedOffset = 16;
    public const int HashSeedOffset = 24;
    public const int CreationTimeOffset = 32;
    public const int GuardLengthOffset = 40;
    public const int GuardNameOffset = 44;
    public const int LabelOffset = 108;
    public const int GuardNameBytesMax = 64;
    public const int LabelBytesMax = 64;

    public static readonly LayoutField[] Fields =
    [
        new(nameof(VolumeId), VolumeIdOffset, 16),
        new(nameof(ChecksumSeed), ChecksumSeedOffset, 8),
        new(nameof(HashSeed), HashSeedOffset, 8),
        new(nameof(CreationTime), CreationTimeOffset, 8),
        new("GuardLength", GuardLengthOffset, 4),
        new(nameof(GuardName), GuardNameOffset, GuardNameBytesMax),
        new(nameof(Label), LabelOffset, LabelBytesMax),
    ];

    public required Guid VolumeId { get; init; }

    public required ulong ChecksumSeed { get; init; }

    public required ulong HashSeed { get; init; }

    public required long CreationTime { get; init; }

    public required byte[] GuardName { get; init; }

    public required byte[] Label { get; init; }

    /// <summary>
    /// Reads a guard sector. Its checksum is seeded with the seed it carries, so the caller verifies it with
    /// <see cref="ChecksumSeed"/> afterwards.
    /// </summary>
    public static VolumeGuard? TryParse(ReadOnlySpan<byte> sector)
    {
        uint guardLength = BinaryPrimitives.ReadUInt32LittleEndian(sector[GuardLengthOffset..]);
        if (guardLength > GuardNameBytesMax)
        {
            return null;
        }

        ReadOnlySpan<byte> label = sector.Slice(LabelOffset, LabelBytesMax);
        return new VolumeGuard
        {
            VolumeId = new Guid(sector.Slice(VolumeIdOffset, 16)),
            ChecksumSeed = BinaryPrimitives.ReadUInt64LittleEndian(sector[ChecksumSeedOffset..]),
            HashSeed = BinaryPrimitives.ReadUInt64LittleEndian(sector[HashSeedOffset..]),
            CreationTime = BinaryPrimitives.ReadInt64LittleEndian(sector[CreationTimeOffset..]),
            GuardName = sector.Slice(GuardNameOffset, (int)guardLength).ToArray(),
            Label = label[..(label.IndexOf((byte)0) is >= 0 and int end ? end : LabelBytesMax)].ToArray(),
        };
    }

    public void Emit(Span<byte> sector)
    {
        Invariant.Check(GuardName.Length <= GuardNameBytesMax && Label.Length <= LabelBytesMax);
        sector[..Sector.PayloadBytes].Clear();
        VolumeId.TryWriteBytes(sector[VolumeIdOffset..]);
        BinaryPrimitives.WriteUInt64LittleEndian(sector[ChecksumSeedOffset..], ChecksumSeed);
        BinaryPrimitives.WriteUInt64LittleEndian(sector[HashSeedOffset..], HashSeed);
        BinaryPrimitives.WriteInt64LittleEndian(sector[CreationTimeOffset..], CreationTime);
        BinaryPrimitives.WriteUInt32LittleEndian(sector[GuardLengthOffset..], (uint)GuardName.Length);
        GuardName.CopyTo(sector[GuardNameOffset..]);
        Label.CopyTo(sector[LabelOffset..]);
    }
}
