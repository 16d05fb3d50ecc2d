// SPDX-License-Identifier: MIT
using System.Buffers.Binary;

namespace Exo.Core.Blocks;

/// <summary>
/// The master boot record and the chain of extended ones.
/// <code>
/// 0            446       462       478       494       510
/// | code       | entry 1 | entry 2 | entry 3 | entry 4 | 55 AA |      entry: status 0, type 4, first sector 8..11, count 12..15
/// extended: entry 1 = logical partition, counted from this record; entry 2 = next record, counted from the extended partition
/// </code>
/// </summary>
internal static class MbrReader
{
    public const int SectorBytes = 512;

    private const int LogicalMax = 256;
    private const byte ProtectiveType = 0xEE;

    /// <summary>Whether a first sector is a partition table; boot sectors of file systems carry the same two last bytes.</summary>
    public static bool IsRecord(ReadOnlySpan<byte> sector)
    {
        if (sector[510] != 0x55 || sector[511] != 0xAA)
        {
            return false;
        }

        bool hasAny = false;
        for (int i = 0; i < 4; i++)
        {
            ReadOnlySpan<byte> entry = Entry(sector, i);
            hasAny |= entry[4] != 0;
            if (entry[0] is not (0 or 0x80))
            {
                return false;
            }
        }

        return hasAny;
    }

    /// <summary>Whether the record only says that the disk has a GPT.</summary>
    public static bool IsProtective(ReadOnlySpan<byte> sector)
    {
        for (int i = 0; i < 4; i++)
        {
            if (Entry(sector, i)[4] == ProtectiveType)
            {
                return true;
            }
        }

        return false;
    }

    public static PartitionTable Read(TableSource source, ReadOnlySpan<byte> sector)
    {
        int unit = source.SectorBytes == 0 ? SectorBytes : source.SectorBytes;
        long sectors = source.LengthBytes / unit;
        List<Partition> found = [];
        string damage = "";
        long extendedFirst = -1;
        long extendedCount = 0;
        for (int i = 0; i < 4; i++)
        {
            (byte type, long first, long count) = Parse(Entry(sector, i));
            if (type == 0 || count == 0)
            {
                continue;
            }

            if (first == 0 || first + count > sectors)
            {
                damage = $"partition {i + 1} leaves the disk";
            }
            else if (!IsExtended(type))
            {
                found.Add(Make(i + 1, type, first, count, unit));
            }
            else if (extendedFirst < 0)
            {
                (extendedFirst, extendedCount) = (first, count);
            }
            else
            {
                damage = "there are two extended partitions; the second is left out";
            }
        }

        if (extendedFirst >= 0)
        {
            string chain = ReadChain(source, extendedFirst, extendedCount, unit, found);
            damage = damage.Length == 0 ? chain : damage;
        }

        return new PartitionTable(PartitionScheme.Mbr, unit, found, damage);
    }

    /// <summary>Every record must lie behind the one before it: that ends any chain, and no sane one goes back.</summary>
    private static string ReadChain(TableSource source, long extendedFirst, long extendedCount, int unit, List<Partition> found)
    {
        byte[] record = new byte[SectorBytes];
        long at = extendedFirst;
        for (int number = 5; number < 5 + LogicalMax; number++)
        {
            if (!source.TryRead(at * unit, record) || record[510] != 0x55 || record[511] != 0xAA)
            {
                return $"the record of logical partition {number} is damaged; it and those behind it are not known";
            }

            (byte type, long first, long count) = Parse(Entry(record, 0));
            if (type != 0 && count != 0 && !IsExtended(type))
            {
                // Counted from this record; it ends inside the extended partition.
                if (first == 0 || at + first + count > extendedFirst + extendedCount)
                {
                    return $"logical partition {number} leaves the extended partition; it and those behind it are left out";
                }

                found.Add(Make(number, type, at + first, count, unit));
            }

            (byte nextType, long next, long nextCount) = Parse(Entry(record, 1));
            if (!IsExtended(nextType) || nextCount == 0)
            {
                return "";
            }

            if (extendedFirst + next <= at || next >= extendedCount)
            {
                return "the chain of logical partitions goes back or leaves the extended partition";
            }

            at = extendedFirst + next;
        }

        return $"there are more than {LogicalMax} logical partitions; the rest is left out";
    }

    private static ReadOnlySpan<byte> Entry(ReadOnlySpan<byte> sector, int index) => sector.Slice(446 + (index * 16), 16);

    private static (byte Type, long First, long Count) Parse(ReadOnlySpan<byte> entry) =>
        (entry[4], BinaryPrimitives.ReadUInt32LittleEndian(entry[8..]), BinaryPrimitives.ReadUInt32LittleEndian(entry[12..]));

    private static bool IsExtended(byte type) => type is 0x05 or 0x0F or 0x85;

    private static Partition Make(int number, byte type, long first, long count, int unit) =>
        new() { Number = number, Type = $"0x{type:X2}", StartBytes = first * unit, LengthBytes = count * unit };
}
