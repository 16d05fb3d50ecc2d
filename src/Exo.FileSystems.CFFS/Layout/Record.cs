// SPDX-License-Identifier: MIT
using System.Buffers.Binary;

namespace Exo.FileSystems.CFFS.Layout;

/// <summary>
/// The fixed fields of a record as a value. A record that came from <see cref="TryParse"/> or goes through
/// <see cref="Emit"/> is legal by the rules of docs/cffs-format.md; its name and inline bytes stay in the sector.
/// </summary>
internal struct Record
{
    public SlotKind Kind;
    public byte Depth;
    public byte Slots;
    public byte NameLength;
    public uint Count;
    public ulong Start;
    public ulong Attributes;
    public ulong Inode;
    public uint NameHash;
    public ushort Mode;
    public ushort InlineLength;
    public uint Links;
    public uint User;
    public uint Group;
    public uint NameSequence;
    public ulong Size;
    public long AccessTime;
    public long ModifyTime;
    public long ChangeTime;
    public long BirthTime;

    /// <summary>
    /// An earlier record of the same name counts, not this one: the name had just been left by a rename when this record was made (an even NameSequence). Otherwise the later one counts.
    /// </summary>
    public readonly bool YieldsToEarlier => (NameSequence & 1) == 0;

    /// <summary>The contents lie in the sector's pack, from its sector <see cref="Start"/> on; <see cref="Count"/> is 0.</summary>
    public readonly bool IsPacked => Depth == Pack.Depth;

    /// <summary><see cref="Start"/> is the root of an extent tree.</summary>
    public readonly bool HasTree => Depth is > 0 and not Pack.Depth;

    /// <summary>Bytes of name and inline contents.</summary>
    public readonly int ContentBytes => NameLength + InlineLength;

    /// <summary>
    /// Reads the record that begins at slot <paramref name="slotInSector"/> (0..3) of a sector whose checksum has been verified.
    /// False when the slot holds no record head or its fields contradict one another.
    /// </summary>
    public static bool TryParse(ReadOnlySpan<byte> sector, int slotInSector, out Record record)
    {
        ReadOnlySpan<byte> slot = sector.Slice(slotInSector * Slot.SizeBytes, Slot.SizeBytes);
        record = default;
        if (slot[Slot.Kind] is < (byte)SlotKind.File or > (byte)SlotKind.Log)
        {
            return false;
        }

        record.Kind = (SlotKind)slot[Slot.Kind];
        record.Depth = slot[Slot.Depth];
        record.Slots = slot[Slot.Slots];
        record.NameLength = slot[Slot.NameLength];
        record.Count = BinaryPrimitives.ReadUInt32LittleEndian(slot[Slot.Count..]);
        record.Start = BinaryPrimitives.ReadUInt64LittleEndian(slot[Slot.Start..]);
        record.Attributes = BinaryPrimitives.ReadUInt64LittleEndian(slot[Slot.Attributes..]);
        record.Inode = BinaryPrimitives.ReadUInt64LittleEndian(slot[Slot.Inode..]);
        record.NameHash = BinaryPrimitives.ReadUInt32LittleEndian(slot[Slot.NameHash..]);
        record.Mode = BinaryPrimitives.ReadUInt16LittleEndian(slot[Slot.Mode..]);
        record.InlineLength = BinaryPrimitives.ReadUInt16LittleEndian(slot[Slot.InlineLength..]);
        record.Links = BinaryPrimitives.ReadUInt32LittleEndian(slot[Slot.Links..]);
        record.User = BinaryPrimitives.ReadUInt32LittleEndian(slot[Slot.User..]);
        record.Group = BinaryPrimitives.ReadUInt32LittleEndian(slot[Slot.Group..]);
        record.NameSequence = BinaryPrimitives.ReadUInt32LittleEndian(slot[Slot.NameSequence..]);
        record.Size = BinaryPrimitives.ReadUInt64LittleEndian(slot[Slot.Size..]);
        record.AccessTime = BinaryPrimitives.ReadInt64LittleEndian(slot[Slot.AccessTime..]);
        record.ModifyTime = BinaryPrimitives.ReadInt64LittleEndian(slot[Slot.ModifyTime..]);
        record.ChangeTime = BinaryPrimitives.ReadInt64LittleEndian(slot[Slot.ChangeTime..]);
        record.BirthTime = BinaryPrimitives.ReadInt64LittleEndian(slot[Slot.BirthTime..]);

        if (record.ContentBytes > Slot.ContentBytesMax
            || record.Slots != Slot.SlotsFor(record.ContentBytes)
            || slotInSector + record.Slots > Slot.PerSector
            || record.Size > long.MaxValue
            || record.Inode == 0
            || (record.IsPacked && !Pack.IsLegal(record)))
        {
            return false;
        }

        for (int i = 1; i < record.Slots; i++)
        {
            if (sector[(slotInSector + i) * Slot.SizeBytes] != (byte)SlotKind.Continuation)
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>Writes the fixed fields into the head slot; <see cref="WriteContents"/> writes the rest.</summary>
    public readonly void Emit(Span<byte> sector, int slotInSector)
    {
        Invariant.Check(Kind is >= SlotKind.File and <= SlotKind.Log);
        Invariant.Check(Slots == Slot.SlotsFor(ContentBytes) && slotInSector + Slots <= Slot.PerSector);
        Invariant.Check(Inode != 0 && Size <= long.MaxValue);
        Invariant.Check(!IsPacked || Pack.IsLegal(this));
        Span<byte> slot = sector.Slice(slotInSector * Slot.SizeBytes, Slot.SizeBytes);
        slot[Slot.Kind] = (byte)Kind;
        slot[Slot.Depth] = Depth;
        slot[Slot.Slots] = Slots;
        slot[Slot.NameLength] = NameLength;
        BinaryPrimitives.WriteUInt32LittleEndian(slot[Slot.Count..], Count);
        BinaryPrimitives.WriteUInt64LittleEndian(slot[Slot.Start..], Start);
        BinaryPrimitives.WriteUInt64LittleEndian(slot[Slot.Attributes..], Attributes);
        BinaryPrimitives.WriteUInt64LittleEndian(slot[Slot.Inode..], Inode);
        BinaryPrimitives.WriteUInt32LittleEndian(slot[Slot.NameHash..], NameHash);
        BinaryPrimitives.WriteUInt16LittleEndian(slot[Slot.Mode..], Mode);
        BinaryPrimitives.WriteUInt16LittleEndian(slot[Slot.InlineLength..], InlineLength);
        BinaryPrimitives.WriteUInt32LittleEndian(slot[Slot.Links..], Links);
        BinaryPrimitives.WriteUInt32LittleEndian(slot[Slot.User..], User);
        BinaryPrimitives.WriteUInt32LittleEndian(slot[Slot.Group..], Group);
        BinaryPrimitives.WriteUInt32LittleEndian(slot[Slot.NameSequence..], NameSequence);
        BinaryPrimitives.WriteUInt64LittleEndian(slot[Slot.Size..], Size);
        BinaryPrimitives.WriteInt64LittleEndian(slot[Slot.AccessTime..], AccessTime);
        BinaryPrimitives.WriteInt64LittleEndian(slot[Slot.ModifyTime..], ModifyTime);
        BinaryPrimitives.WriteInt64LittleEndian(slot[Slot.ChangeTime..], ChangeTime);
        BinaryPrimitives.WriteInt64LittleEndian(slot[Slot.BirthTime..], BirthTime);
        for (int i = 1; i < Slots; i++)
        {
            sector[(slotInSector + i) * Slot.SizeBytes] = (byte)SlotKind.Continuation;
        }
    }

    /// <summary>Copies contents (name, then inline bytes) of a record out of its sector, from byte <paramref name="from"/> on.</summary>
    public static void ReadContents(ReadOnlySpan<byte> sector, int slotInSector, int from, Span<byte> destination)
    {
        while (!destination.IsEmpty)
        {
            (int offset, int room) = Locate(slotInSector, from);
            int take = Math.Min(room, destination.Length);
            sector.Slice(offset, take).CopyTo(destination);
            destination = destination[take..];
            from += take;
        }
    }

    /// <summary>Copies bytes into the contents of a record, from byte <paramref name="from"/> on.</summary>
    public static void WriteContents(Span<byte> sector, int slotInSector, int from, ReadOnlySpan<byte> source)
    {
        while (!source.IsEmpty)
        {
            (int offset, int room) = Locate(slotInSector, from);
            int take = Math.Min(room, source.Length);
            source[..take].CopyTo(sector[offset..]);
            source = source[take..];
            from += take;
        }
    }

    /// <summary>True when the name of the record equals <paramref name="name"/>.</summary>
    public static bool NameEquals(ReadOnlySpan<byte> sector, int slotInSector, ReadOnlySpan<byte> name)
    {
        ReadOnlySpan<byte> slot = sector.Slice(slotInSector * Slot.SizeBytes, Slot.SizeBytes);
        if (slot[Slot.NameLength] != name.Length)
        {
            return false;
        }

        int head = Math.Min(name.Length, Slot.HeadContentBytes);
        if (!slot.Slice(Slot.Contents, head).SequenceEqual(name[..head]))
        {
            return false;
        }

        int from = head;
        while (from < name.Length)
        {
            (int offset, int room) = Locate(slotInSector, from);
            int take = Math.Min(room, name.Length - from);
            if (offset + take > Sector.PayloadBytes || !sector.Slice(offset, take).SequenceEqual(name.Slice(from, take)))
            {
                return false;
            }

            from += take;
        }

        return true;
    }

    private static (int OffsetBytes, int RoomBytes) Locate(int slotInSector, int from)
    {
        if (from < Slot.HeadContentBytes)
        {
            return ((slotInSector * Slot.SizeBytes) + Slot.Contents + from, Slot.HeadContentBytes - from);
        }

        int continuation = (from - Slot.HeadContentBytes) / Slot.ContinuationContentBytes;
        int within = (from - Slot.HeadContentBytes) % Slot.ContinuationContentBytes;
        return (((slotInSector + 1 + continuation) * Slot.SizeBytes) + 1 + within, Slot.ContinuationContentBytes - within);
    }
}
