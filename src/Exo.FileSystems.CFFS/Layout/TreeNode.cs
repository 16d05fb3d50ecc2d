// SPDX-License-Identifier: MIT
using System.Buffers.Binary;

namespace Exo.FileSystems.CFFS.Layout;

/// <summary>What an entry of an extent tree node points to.</summary>
internal enum TreeEntryKind : byte
{
    Free = 0,
    Contents = 1,
    Node = 2,
    Index = 3,
    Unwritten = 4,
}

/// <summary>One entry of an extent tree node.</summary>
internal readonly record struct TreeEntry(ulong Logical, ulong Start, uint Count, TreeEntryKind Kind)
{
    public const int SizeBytes = 24;
    public const int LogicalOffset = 0;
    public const int StartOffset = 8;
    public const int CountOffset = 16;
    public const int KindOffset = 20;

    public static readonly LayoutField[] Fields =
    [
        new(nameof(Logical), LogicalOffset, 8),
        new(nameof(Start), StartOffset, 8),
        new(nameof(Count), CountOffset, 4),
        new(nameof(Kind), KindOffset, 1),
        new("Reserved", 21, 3),
    ];

    public static TreeEntry Read(ReadOnlySpan<byte> entry) => new(
        BinaryPrimitives.ReadUInt64LittleEndian(entry[LogicalOffset..]),
        BinaryPrimitives.ReadUInt64LittleEndian(entry[StartOffset..]),
        BinaryPrimitives.ReadUInt32LittleEndian(entry[CountOffset..]),
        (TreeEntryKind)entry[KindOffset]);

    public void Emit(Span<byte> entry)
    {
        entry[..SizeBytes].Clear();
        if (Kind == TreeEntryKind.Free)
        {
            return;
        }

        BinaryPrimitives.WriteUInt64LittleEndian(entry[LogicalOffset..], Logical);
        BinaryPrimitives.WriteUInt64LittleEndian(entry[StartOffset..], Start);
        BinaryPrimitives.WriteUInt32LittleEndian(entry[CountOffset..], Count);
        entry[KindOffset] = (byte)Kind;
    }
}

/// <summary>
/// An extent tree node: eight independent sectors of 20 entries, in no order (docs/cffs-format.md, "Extent tree nodes").
/// </summary>
internal static class TreeNode
{
    public const int EntriesPerSector = 20;
    public const int EntriesPerNode = EntriesPerSector * Sector.PerBlock;
    public const int Level = 480;
    public const int DepthMax = 4;

    public static readonly LayoutField[] HeaderFields =
    [
        new(nameof(Level), Level, 1),
        new("Reserved", 481, 15),
    ];

    /// <summary>Offset within the block of entry <paramref name="index"/> (0..159), which is also its XN partition.</summary>
    public static int OffsetInBlock(int index) =>
        ((index / EntriesPerSector) * Sector.SizeBytes) + ((index % EntriesPerSector) * TreeEntry.SizeBytes);
}
