// SPDX-License-Identifier: MIT
using System.Buffers.Binary;

namespace Exo.FileSystems.CFFS.Layout;

/// <summary>
/// A slot that holds no record but a pointer to one block of contents, which the small files of its sector share (docs/cffs-format.md, "Packs").
/// <code>
/// sector = | file a | file b | file c | pack | trailer |        block = | a a a | b b | c c |   |
///                                                                        0       3     5     7   8  sectors of 512 bytes
/// </code>
/// Pointer and records are in one sector, so every change of both is atomic. A sector has at most one pack, and a pack at least one file.
/// </summary>
internal static class Pack
{
    /// <summary>What a packed file's record says in place of the depth of its extent tree.</summary>
    public const byte Depth = 255;

    /// <summary>The longest file that is packed: of longer ones less than two fit into a block.</summary>
    public const int BytesMax = 4 * Sector.SizeBytes;

    /// <summary>Sectors that contents of this length take.</summary>
    public static int SectorsFor(ulong lengthBytes) => (int)((lengthBytes + Sector.SizeBytes - 1) / Sector.SizeBytes);

    /// <summary>Whether the fields of a packed file's record fit one another.</summary>
    public static bool IsLegal(in Record record) =>
        record is { Kind: SlotKind.File, Count: 0, InlineLength: 0, Start: < Sector.PerBlock, Size: >= 1 and <= BytesMax }
        && (int)record.Start + SectorsFor(record.Size) <= Sector.PerBlock;

    /// <summary>The sectors of the pack that a packed file's contents take, as bits.</summary>
    public static byte MaskOf(in Record record) => Mask((int)record.Start, SectorsFor(record.Size));

    /// <summary>A run of sectors as bits.</summary>
    public static byte Mask(int first, int count) => (byte)(((1 << count) - 1) << first);

    /// <summary>Finds the pack of a sector: the slot (0..3) and the block.</summary>
    public static bool TryFind(ReadOnlySpan<byte> sector, out int inSector, out ulong block)
    {
        for (inSector = Slot.PerSector - 1; inSector >= 0; inSector--)
        {
            ReadOnlySpan<byte> slot = sector.Slice(inSector * Slot.SizeBytes, Slot.SizeBytes);
            if (Slot.KindOf(slot) == SlotKind.Pack)
            {
                block = BlockOf(slot);
                return true;
            }
        }

        block = 0;
        return false;
    }

    /// <summary>The block of a pack's slot.</summary>
    public static ulong BlockOf(ReadOnlySpan<byte> slot) => BinaryPrimitives.ReadUInt64LittleEndian(slot[Slot.Start..]);

    /// <summary>The sectors of a pack that the files of its sector take, as bits.</summary>
    public static byte UsedBy(ReadOnlySpan<byte> sector)
    {
        byte used = 0;
        for (int i = 0; i < Slot.PerSector; i++)
        {
            if (sector[(i * Slot.SizeBytes) + Slot.Depth] == Depth && Record.TryParse(sector, i, out Record record))
            {
                used |= MaskOf(record);
            }
        }

        return used;
    }

    /// <summary>How many files a sector has in its pack.</summary>
    public static int FilesOf(ReadOnlySpan<byte> sector)
    {
        int files = 0;
        for (int i = 0; i < Slot.PerSector; i++)
        {
            files += sector[(i * Slot.SizeBytes) + Slot.Depth] == Depth && Record.TryParse(sector, i, out _) ? 1 : 0;
        }

        return files;
    }

    /// <summary>Writes a pack's slot.</summary>
    public static void Emit(Span<byte> sector, int inSector, ulong block)
    {
        Span<byte> slot = sector.Slice(inSector * Slot.SizeBytes, Slot.SizeBytes);
        slot.Clear();
        slot[Slot.Kind] = (byte)SlotKind.Pack;
        slot[Slot.Slots] = 1;
        BinaryPrimitives.WriteUInt32LittleEndian(slot[Slot.Count..], 1);
        BinaryPrimitives.WriteUInt64LittleEndian(slot[Slot.Start..], block);
    }

    /// <summary>Whether a slot of the kind is whole: one block, and nothing else.</summary>
    public static bool IsWhole(ReadOnlySpan<byte> slot) =>
        Slot.KindOf(slot) == SlotKind.Pack && slot[Slot.Depth] == 0 && slot[Slot.Slots] == 1 && slot[Slot.NameLength] == 0
        && BinaryPrimitives.ReadUInt32LittleEndian(slot[Slot.Count..]) == 1 && BlockOf(slot) != 0
        && !slot[Slot.Attributes..].ContainsAnyExcept((byte)0);

    /// <summary>The first run of so many free sectors of a pack, given those in use; -1 when there is none.</summary>
    public static int FindRoom(byte used, int count)
    {
        for (int first = 0; first + count <= Sector.PerBlock; first++)
        {
            if ((used & Mask(first, count)) == 0)
            {
                return first;
            }
        }

        return -1;
    }
}
