// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Tests.Names;

/// <summary>docs/cffs-format.md, "What XN approves of", in plain C#, from the bytes and not from the program.</summary>
internal static class SlotModel
{
    /// <summary>Whether a sector may become <paramref name="next"/>.</summary>
    /// <param name="block">The block, with everything else that changes; the sector as it is.</param>
    /// <param name="index">Which sector, 0..7.</param>
    /// <param name="next">The sector as it would be.</param>
    /// <param name="hashSeed">Of the volume.</param>
    /// <param name="isOpen">Whether the volume is open for writing.</param>
    public static bool Approves(byte[] block, int index, byte[] next, ulong hashSeed, bool isOpen)
    {
        byte[] before = block[(index * 512)..((index + 1) * 512)];
        bool holds = false;
        for (int slot = 0; slot < 4;)
        {
            int at = slot * 124;
            byte kind = next[at];
            if (kind is 0 or 8)
            {
                holds |= kind == 8;
                slot++;
                continue;
            }

            holds = true;
            int slots = next[at + 2];
            if (kind is < 2 or > 6 || slots < 1 || slot + slots > 4 || Enumerable.Range(1, slots - 1).Any(i => next[at + (i * 124)] != 1))
            {
                return false;
            }

            // What lies within 8 bytes of a change counts as changed; of a record of several slots, all that is behind it in the sector.
            int from = at / 8 * 8;
            int to = Math.Min((((slots > 1 ? 4 : slot + 1) * 124) + 7) / 8 * 8, 512);
            if (!before.AsSpan(from, to - from).SequenceEqual(next.AsSpan(from, to - from)) && !IsLegal(block, index, next, slot, hashSeed, isOpen))
            {
                return false;
            }

            slot += slots;
        }

        ulong owner = BitConverter.ToUInt64(next, 504);
        return owner == 0
            ? !holds
            : BitConverter.ToUInt32(next, 500) == 0x544F4C53 && Enumerable.Range(0, 8).Select(s => BitConverter.ToUInt64(block, (s * 512) + 504)).All(other => other == 0 || other == owner);
    }

    private static bool IsLegal(byte[] block, int index, byte[] next, int slot, ulong hashSeed, bool isOpen)
    {
        ReadOnlySpan<byte> bytes = next.AsSpan(slot * 124);
        bool isExternal = BitConverter.ToUInt64(next, 504) == 4;
        int kind = bytes[0];
        int depth = bytes[1];
        int nameLength = bytes[3];
        uint count = BitConverter.ToUInt32(bytes[4..]);
        ulong start = BitConverter.ToUInt64(bytes[8..]);
        ulong inode = BitConverter.ToUInt64(bytes[24..]);
        int type = BitConverter.ToUInt16(bytes[36..]) >> 12;
        int inline = BitConverter.ToUInt16(bytes[38..]);
        ulong size = BitConverter.ToUInt64(bytes[56..]);
        int contents = nameLength + inline;
        int slots = contents <= 28 ? 1 : 1 + ((contents - 28 + 122) / 123);
        bool[] demands =
        [
            bytes[2] == slots,
            (inode & ~(1UL << 52)) >= 16,
            size <= long.MaxValue,
            inline == 0 || (count == 0 && size == (ulong)inline && kind is 2 or 4),
            depth != 255 || (kind == 2 && count == 0 && inline == 0 && start < 8 && size is >= 1 and <= 2048 && (start * 512) + size <= 4096),
            kind switch { 2 => type == 8, 3 => type == 4, 4 => type == 10, 5 => type is 1 or 2 or 6 or 12, _ => true },
            !isExternal || kind is not (3 or 6),
            isExternal == (nameLength == 0),
        ];
        if (demands.Contains(false))
        {
            return false;
        }

        if (isExternal)
        {
            return true;
        }

        byte[] name = Name(next, slot);
        if (name is [(byte)'.'] or [(byte)'.', (byte)'.'] || name.Contains((byte)0) || name.Contains((byte)'/') || BitConverter.ToUInt32(bytes[32..]) != NameHash.Compute(name, hashSeed))
        {
            return false;
        }

        uint sequence = BitConverter.ToUInt32(bytes[52..]);
        for (int s = 0; s < 8; s++)
        {
            byte[] sector = s == index ? next : block[(s * 512)..((s + 1) * 512)];
            for (int other = 0; other < 4; other++)
            {
                byte otherKind = sector[other * 124];
                if ((s == index && other == slot) || otherKind is < 2 or > 7 || sector[(other * 124) + 3] != nameLength
                    || BitConverter.ToUInt32(sector, (other * 124) + 32) != BitConverter.ToUInt32(bytes[32..]))
                {
                    continue;
                }

                // A record that leaves its sector has no name; that the block is damaged is a refusal.
                byte[] theirs = Name(sector, other);
                if (theirs.Length < nameLength ? name.AsSpan().StartsWith(theirs) : theirs.AsSpan().SequenceEqual(name))
                {
                    uint difference = sequence - BitConverter.ToUInt32(sector, (other * 124) + 52);
                    if (theirs.Length < nameLength || !isOpen || difference is 0 or 0x8000_0000)
                    {
                        return false;
                    }
                }
            }
        }

        return true;
    }

    /// <summary>The pieces of a record's name that lie in its sector.</summary>
    private static byte[] Name(byte[] sector, int slot)
    {
        List<byte> name = [];
        int rest = sector[(slot * 124) + 3];
        foreach ((int offset, int room) in ((int, int)[])[(96, 28), (125, 123), (249, 123)])
        {
            int take = Math.Min(rest, room);
            int from = (slot * 124) + offset;
            if (from + take > 512)
            {
                break;
            }

            name.AddRange(sector[from..(from + take)]);
            rest -= take;
        }

        return [.. name];
    }
}
