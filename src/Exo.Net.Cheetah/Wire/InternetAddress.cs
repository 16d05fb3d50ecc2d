// SPDX-License-Identifier: MIT
using System.Buffers;
using System.Buffers.Binary;
using System.Buffers.Text;
using System.Net;
using Exo.Core.Net;

namespace Exo.Net.Cheetah.Wire;

/// <summary>
/// An IPv4 or IPv6 address as two words, an IPv4 address as ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2): compared and hashed without a
/// look at its family, and no object.
/// </summary>
/// <param name="High">The first eight bytes as a big-endian number.</param>
/// <param name="Low">The last eight.</param>
public readonly record struct InternetAddress(ulong High, ulong Low)
{
    private const ulong V4Mark = 0x0000_FFFF_0000_0000;

    /// <summary>Bytes of an IPv4 address.</summary>
    public const int V4Bytes = 4;

    /// <summary>Bytes of an IPv6 address.</summary>
    public const int V6Bytes = 16;

    /// <summary>It is an IPv4 address.</summary>
    public bool IsV4 => High == 0 && (Low & 0xFFFF_FFFF_0000_0000) == V4Mark;

    /// <summary>The IPv4 address as a number.</summary>
    public uint V4 => (uint)Low;

    /// <summary>0.0.0.0 or ::.</summary>
    public bool IsUnspecified => High == 0 && (Low == 0 || Low == V4Mark);

    /// <summary>224.0.0.0/4 or ff00::/8.</summary>
    public bool IsMulticast => IsV4 ? V4 >> 28 == 0xE : High >> 56 == 0xFF;

    /// <summary>fe80::/10.</summary>
    public bool IsLinkLocalV6 => High >> 54 == 0xFE80 >> 6;

    /// <summary>127.0.0.0/8 or ::1, which never come from a wire.</summary>
    public bool IsLoopback => IsV4 ? V4 >> 24 == 127 : High == 0 && Low == 1;

    /// <summary>255.255.255.255.</summary>
    public bool IsLimitedBroadcast => IsV4 && V4 == uint.MaxValue;

    /// <summary>Could be the source of a packet that wants an answer.</summary>
    public bool IsUnicast => !IsUnspecified && !IsMulticast && !IsLimitedBroadcast;

    /// <summary>Where neighbours are asked for this IPv6 address: ff02::1:ff and its last 24 bits (RFC 4291 section 2.7.1).</summary>
    public InternetAddress SolicitedNode => new(0xFF02_0000_0000_0000, 0x0000_0001_FF00_0000 | (Low & 0xFF_FFFF));

    /// <summary>Where packets to this multicast group go: 33:33 and the last 32 bits (RFC 2464 section 7), 01:00:5e and the last 23 (RFC 1112 section 6.4).</summary>
    public MacAddress GroupHardware => IsV4
        ? new(0x0100_5E00_0000 | (Low & 0x7F_FFFF))
        : new(0x3333_0000_0000 | (Low & 0xFFFF_FFFF));

    /// <summary>An IPv4 address from its number.</summary>
    public static InternetAddress FromV4(uint address) => new(0, V4Mark | address);

    /// <summary>The four bytes in front.</summary>
    public static InternetAddress ReadV4(ReadOnlySpan<byte> bytes) => FromV4(BinaryPrimitives.ReadUInt32BigEndian(bytes));

    /// <summary>The sixteen bytes in front.</summary>
    public static InternetAddress ReadV6(ReadOnlySpan<byte> bytes) =>
        new(BinaryPrimitives.ReadUInt64BigEndian(bytes), BinaryPrimitives.ReadUInt64BigEndian(bytes[8..]));

    /// <summary>From the address type of the base library; a scope is dropped.</summary>
    public static InternetAddress From(IPAddress address)
    {
        ArgumentNullException.ThrowIfNull(address);
        Span<byte> bytes = stackalloc byte[V6Bytes];
        address.TryWriteBytes(bytes, out int count);
        return count == V4Bytes ? ReadV4(bytes) : ReadV6(bytes);
    }

    /// <summary>Reads dotted or colon notation.</summary>
    /// <exception cref="FormatException">It is neither.</exception>
    public static InternetAddress Parse(string text) => From(IPAddress.Parse(text));

    /// <summary>The address type of the base library.</summary>
    public IPAddress ToIPAddress()
    {
        Span<byte> bytes = stackalloc byte[V6Bytes];
        return new IPAddress(bytes[..Emit(bytes)]);
    }

    /// <summary>Writes four bytes or sixteen and says how many.</summary>
    public int Emit(Span<byte> bytes)
    {
        if (IsV4)
        {
            BinaryPrimitives.WriteUInt32BigEndian(bytes, V4);
            return V4Bytes;
        }

        BinaryPrimitives.WriteUInt64BigEndian(bytes, High);
        BinaryPrimitives.WriteUInt64BigEndian(bytes[8..], Low);
        return V6Bytes;
    }

    /// <summary>Characters of the longest text.</summary>
    internal const int TextBytesMax = 39;

    /// <summary>Writes dotted notation, or colons as RFC 5952 wants them: lower case, the longest run of two and more zero groups as "::". Returns the characters written.</summary>
    internal int Format(Span<byte> utf8)
    {
        int used = 0;
        if (IsV4)
        {
            for (int shift = 24; shift >= 0; shift -= 8)
            {
                Put(utf8, (byte)(V4 >> shift), default, ref used);
                if (shift > 0)
                {
                    utf8[used++] = (byte)'.';
                }
            }

            return used;
        }

        (int zeroesAt, int zeroes) = LongestZeroes();
        for (int group = 0; group < 8; group++)
        {
            if (group == zeroesAt)
            {
                utf8[used++] = (byte)':';
                utf8[used++] = (byte)':';
                group += zeroes - 1;
                continue;
            }

            if (group > 0 && group != zeroesAt + zeroes)
            {
                utf8[used++] = (byte)':';
            }

            Put(utf8, Group(group), new StandardFormat('x'), ref used);
        }

        return used;
    }

    private static void Put(Span<byte> utf8, ushort value, StandardFormat format, ref int used)
    {
        bool fits = Utf8Formatter.TryFormat(value, utf8[used..], out int written, format);
        Invariant.Check(fits);
        used += written;
    }

    private ushort Group(int index) => (ushort)((index < 4 ? High : Low) >> (48 - (16 * (index & 3))));

    // (-9, 1) when no run has two groups: then nothing comes behind it either.
    private (int At, int Count) LongestZeroes()
    {
        (int At, int Count) longest = (-9, 1);
        for (int group = 0, run = 0; group < 8; group++)
        {
            run = Group(group) == 0 ? run + 1 : 0;
            longest = run > longest.Count ? (group - run + 1, run) : longest;
        }

        return longest;
    }

    /// <summary>Both are of one family and agree in their first <paramref name="prefixBits"/> bits.</summary>
    public bool SharesPrefix(InternetAddress other, int prefixBits)
    {
        int bits = IsV4 ? prefixBits + 96 : prefixBits;
        if (IsV4 != other.IsV4)
        {
            return false;
        }

        ulong high = High ^ other.High, low = Low ^ other.Low;
        return bits <= 64
            ? bits == 0 || high >> (64 - bits) == 0
            : high == 0 && low >> (128 - bits) == 0;
    }

    /// <summary>The partial sum of the address's bytes, for a pseudo header.</summary>
    internal ulong Sum => IsV4
        ? (V4 >> 16) + (V4 & 0xFFFF)
        : (High >> 48) + (High >> 32 & 0xFFFF) + (High >> 16 & 0xFFFF) + (High & 0xFFFF)
            + (Low >> 48) + (Low >> 32 & 0xFFFF) + (Low >> 16 & 0xFFFF) + (Low & 0xFFFF);

    /// <summary>In the usual notation.</summary>
    public override string ToString() => ToIPAddress().ToString();
}
