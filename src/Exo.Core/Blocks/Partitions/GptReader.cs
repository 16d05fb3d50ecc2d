// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Text;

namespace Exo.Core.Blocks;

/// <summary>
/// The GUID partition table, UEFI specification 2.10, section 5.3: a header in the second sector and one in the last, each with an
/// array of entries of its own, each with a sum over header and array.
/// <code>
/// header: "EFI PART" 0, revision 8, header bytes 12, header CRC 16, own sector 24, other header 32, first and last usable 40 48,
///         disk GUID 56, array's sector 72, entries 80, entry bytes 84, array CRC 88
/// entry:  type GUID 0, own GUID 16, first sector 32, last sector 40, attributes 48, name (UTF-16) 56..127
/// </code>
/// </summary>
internal static class GptReader
{
    private const int HeaderBytes = 92;
    private const int EntryBytesMin = 128;
    private const int ArrayBytesMax = 1 << 20;

    private static ReadOnlySpan<byte> Signature => "EFI PART"u8;

    /// <param name="source">The disk.</param>
    /// <param name="isExpected">The disk's first sector says that there is one.</param>
    /// <param name="reason">Why there is no table although there should be one; else empty.</param>
    public static PartitionTable? Read(TableSource source, bool isExpected, out string reason)
    {
        reason = "";
        bool seen = isExpected;

        // An image does not tell the sector of the disk that it was.
        foreach (int unit in source.SectorBytes == 0 ? [512, 4096] : (ReadOnlySpan<int>)[source.SectorBytes])
        {
            long last = (source.LengthBytes / unit) - 1;
            string primary = TryReadCopy(source, unit, 1, out PartitionTable? table, out long other, ref seen);
            if (table is not null)
            {
                return table;
            }

            // The primary header may still say where the second is, for instance on an image that has grown since.
            string backup = TryReadCopy(source, unit, last, out table, out _, ref seen);
            if (table is null && other > 1 && other < last)
            {
                backup = TryReadCopy(source, unit, other, out table, out _, ref seen);
            }

            if (table is not null)
            {
                string damage = $"the first copy of the partition table is damaged ({primary}); the second is used";
                return new PartitionTable(PartitionScheme.Gpt, unit, table.Partitions, damage);
            }

            reason = seen && reason.Length == 0 ? $"both copies of its partition table are damaged (first: {primary}; second: {backup})." : reason;
        }

        return null;
    }

    /// <summary>CRC-32 of ISO 3309, bit by bit: tables are small and read once.</summary>
    internal static uint Crc32(ReadOnlySpan<byte> bytes)
    {
        uint crc = uint.MaxValue;
        foreach (byte value in bytes)
        {
            crc ^= value;
            for (int bit = 0; bit < 8; bit++)
            {
                crc = (crc >> 1) ^ (0xEDB88320 & (0 - (crc & 1)));
            }
        }

        return ~crc;
    }

    /// <returns>What is wrong with this copy; empty if nothing.</returns>
    private static string TryReadCopy(TableSource source, int unit, long at, out PartitionTable? table, out long other, ref bool seen)
    {
        table = null;
        other = -1;
        ulong sectors = (ulong)(source.LengthBytes / unit);
        byte[] sector = new byte[unit];
        if (at < 1 || !source.TryRead(at * unit, sector))
        {
            return "cannot be read";
        }

        if (!sector.AsSpan().StartsWith(Signature))
        {
            return "no header";
        }

        seen = true;
        uint headerBytes = BinaryPrimitives.ReadUInt32LittleEndian(sector.AsSpan(12));
        if (headerBytes < HeaderBytes || headerBytes > unit)
        {
            return "impossible header length";
        }

        uint headerSum = BinaryPrimitives.ReadUInt32LittleEndian(sector.AsSpan(16));
        sector.AsSpan(16, 4).Clear();
        if (Crc32(sector.AsSpan(0, (int)headerBytes)) != headerSum)
        {
            return "wrong sum of the header";
        }

        ulong U64(int offset) => BinaryPrimitives.ReadUInt64LittleEndian(sector.AsSpan(offset));
        if (U64(24) != (ulong)at)
        {
            return "the header belongs to another sector";
        }

        ulong otherAt = U64(32);
        other = otherAt < sectors ? (long)otherAt : -1;
        (ulong firstUsable, ulong lastUsable, ulong arrayAt) = (U64(40), U64(48), U64(72));
        uint count = BinaryPrimitives.ReadUInt32LittleEndian(sector.AsSpan(80));
        uint entryBytes = BinaryPrimitives.ReadUInt32LittleEndian(sector.AsSpan(84));
        if (firstUsable < 2 || firstUsable > lastUsable || lastUsable >= sectors || arrayAt >= sectors)
        {
            return "the usable part leaves the disk";
        }

        if (entryBytes < EntryBytesMin || entryBytes % 8 != 0 || count == 0 || (ulong)entryBytes * count > ArrayBytesMax)
        {
            return "impossible array of entries";
        }

        byte[] array = new byte[entryBytes * count];
        if (!source.TryRead((long)arrayAt * unit, array))
        {
            return "the entries cannot be read";
        }

        if (Crc32(array) != BinaryPrimitives.ReadUInt32LittleEndian(sector.AsSpan(88)))
        {
            return "wrong sum of the entries";
        }

        string damage = "";
        List<Partition> found = [];
        for (int i = 0; i < count; i++)
        {
            ReadOnlySpan<byte> entry = array.AsSpan(i * (int)entryBytes, EntryBytesMin);
            var type = new Guid(entry[..16]);
            if (type == Guid.Empty)
            {
                continue;
            }

            ulong first = BinaryPrimitives.ReadUInt64LittleEndian(entry[32..]);
            ulong end = BinaryPrimitives.ReadUInt64LittleEndian(entry[40..]);
            if (first < firstUsable || end > lastUsable || first > end)
            {
                damage = $"partition {i + 1} leaves the usable part of the disk";
                continue;
            }

            // Both lie below the disk's sectors, so neither product overflows.
            found.Add(new Partition
            {
                Number = i + 1,
                Name = Name(entry[56..]),
                Type = type.ToString(),
                Id = new Guid(entry.Slice(16, 16)),
                StartBytes = (long)first * unit,
                LengthBytes = (long)(end - first + 1) * unit,
            });
        }

        table = new PartitionTable(PartitionScheme.Gpt, unit, found, damage);
        return "";
    }

    /// <summary>Up to the first 0; what is no UTF-16 becomes U+FFFD.</summary>
    private static string Name(ReadOnlySpan<byte> bytes)
    {
        string name = Encoding.Unicode.GetString(bytes);
        int end = name.IndexOf('\0', StringComparison.Ordinal);
        return end < 0 ? name : name[..end];
    }
}
