// SPDX-License-Identifier: MIT
using System.Buffers.Binary;

namespace Exo.FileSystems.CFFS.Layout;

/// <summary>
/// Offsets of a slot: a directory entry and its inode in 124 bytes (docs/cffs-format.md, "Slots and records").
/// <code>
/// sector = | slot 0 | slot 1 | slot 2 | slot 3 | trailer |
///          0        124      248      372      496     512
/// </code>
/// Bytes 0..23 are the read set of the slot's XN partition.
/// </summary>
internal static class Slot
{
    public const int SizeBytes = 124;
    public const int PerSector = 4;
    public const int PerBlock = 32;
    public const int ReadSetBytes = 24;

    public const int Kind = 0;
    public const int Depth = 1;
    public const int Slots = 2;
    public const int NameLength = 3;
    public const int Count = 4;
    public const int Start = 8;
    public const int Attributes = 16;
    public const int Inode = 24;
    public const int NameHash = 32;
    public const int Mode = 36;
    public const int InlineLength = 38;
    public const int Links = 40;
    public const int User = 44;
    public const int Group = 48;
    public const int NameSequence = 52;
    public const int Size = 56;
    public const int AccessTime = 64;
    public const int ModifyTime = 72;
    public const int ChangeTime = 80;
    public const int BirthTime = 88;
    public const int Contents = 96;

    public const int HeadContentBytes = SizeBytes - Contents;
    public const int ContinuationContentBytes = SizeBytes - 1;
    public const int NameBytesMax = 255;
    public const int ContentBytesMax = HeadContentBytes + (3 * ContinuationContentBytes);

    public static readonly LayoutField[] Fields =
    [
        new(nameof(Kind), Kind, 1),
        new(nameof(Depth), Depth, 1),
        new(nameof(Slots), Slots, 1),
        new(nameof(NameLength), NameLength, 1),
        new(nameof(Count), Count, 4),
        new(nameof(Start), Start, 8),
        new(nameof(Attributes), Attributes, 8),
        new(nameof(Inode), Inode, 8),
        new(nameof(NameHash), NameHash, 4),
        new(nameof(Mode), Mode, 2),
        new(nameof(InlineLength), InlineLength, 2),
        new(nameof(Links), Links, 4),
        new(nameof(User), User, 4),
        new(nameof(Group), Group, 4),
        new(nameof(NameSequence), NameSequence, 4),
        new(nameof(Size), Size, 8),
        new(nameof(AccessTime), AccessTime, 8),
        new(nameof(ModifyTime), ModifyTime, 8),
        new(nameof(ChangeTime), ChangeTime, 8),
        new(nameof(BirthTime), BirthTime, 8),
        new(nameof(Contents), Contents, HeadContentBytes),
    ];

    /// <summary>Offset within the block of slot <paramref name="index"/> (0..31).</summary>
    public static int OffsetInBlock(int index) =>
        ((index >> 2) * Sector.SizeBytes) + ((index & 3) * SizeBytes);

    /// <summary>Slots that a record with this many bytes of name and inline contents takes, 1..4.</summary>
    public static int SlotsFor(int contentBytes)
    {
        Invariant.Check(contentBytes is >= 0 and <= ContentBytesMax);
        return contentBytes <= HeadContentBytes
            ? 1
            : 1 + ((contentBytes - HeadContentBytes + ContinuationContentBytes - 1) / ContinuationContentBytes);
    }

    /// <summary>Whether so many slots of a sector, from one on, are there and free.</summary>
    public static bool AreFree(ReadOnlySpan<byte> sector, int first, int count)
    {
        bool areFree = first + count <= PerSector;
        for (int i = first; areFree && i < first + count; i++)
        {
            areFree = sector[i * SizeBytes] == (byte)SlotKind.Free;
        }

        return areFree;
    }

    /// <summary>The kind at the start of a slot.</summary>
    public static SlotKind KindOf(ReadOnlySpan<byte> slot) => (SlotKind)slot[Kind];

    /// <summary>True when the slot begins a record.</summary>
    public static bool IsHead(ReadOnlySpan<byte> slot) => slot[Kind] is >= (byte)SlotKind.File and <= (byte)SlotKind.Log;

    /// <summary>Inode number of the record that begins here.</summary>
    public static ulong InodeOf(ReadOnlySpan<byte> slot) => BinaryPrimitives.ReadUInt64LittleEndian(slot[Inode..]);

    /// <summary>Name hash of the record that begins here.</summary>
    public static uint NameHashOf(ReadOnlySpan<byte> slot) => BinaryPrimitives.ReadUInt32LittleEndian(slot[NameHash..]);
}
