// SPDX-License-Identifier: MIT
namespace Exo.FileSystems.CFFS.Verification;

/// <summary>Kinds of records, as they are stored.</summary>
internal enum FoundKind : byte
{
    File = 2,
    Directory = 3,
    SymbolicLink = 4,
    Special = 5,
    Link = 6,
    Log = 7,
}

/// <summary>What is judged of a record; its name and what is inline come beside it.</summary>
internal readonly record struct FoundRecord(
    FoundKind Kind, byte Depth, byte Slots, uint Count, ulong Start, ulong Attributes, ulong Inode, uint NameHash, ushort Mode, ushort InlineLength, uint Links, uint NameSequence, ulong Size)
{
    private const int SlotBytes = 124;
    private const int HeadContents = 28;
    private const int ContinuationContents = 123;

    public bool IsPacked => Depth == 255;

    /// <summary>Reads the record whose head is in a slot of a valid sector. False when the slots make none.</summary>
    public static bool TryRead(ReadOnlySpan<byte> sector, int slot, out FoundRecord record, out byte[] name)
    {
        ReadOnlySpan<byte> head = sector.Slice(slot * SlotBytes, SlotBytes);
        record = new FoundRecord(
            (FoundKind)head[0], head[1], head[2], head.U32(4), head.U64(8), head.U64(16), head.U64(24), head.U32(32), head.U16(36), head.U16(38), head.U32(40), head.U32(52), head.U64(56));
        name = new byte[head[3]];
        int contents = name.Length + record.InlineLength;
        int needed = contents <= HeadContents ? 1 : 1 + ((contents - HeadContents + ContinuationContents - 1) / ContinuationContents);
        if (head[0] is < 2 or > 7 || record.Slots != needed || slot + needed > 4 || record.Inode == 0 || record.Size > long.MaxValue)
        {
            return false;
        }

        for (int i = 1; i < needed; i++)
        {
            if (sector[(slot + i) * SlotBytes] != 1)
            {
                return false;
            }
        }

        for (int i = 0; i < name.Length; i++)
        {
            int behind = i - HeadContents;
            name[i] = behind < 0 ? head[96 + i] : sector[((slot + 1 + (behind / ContinuationContents)) * SlotBytes) + 1 + (behind % ContinuationContents)];
        }

        return true;
    }
}
