// SPDX-License-Identifier: MIT
using System.Diagnostics.CodeAnalysis;
using System.Globalization;

namespace Exo.Core.Net;

/// <summary>An EUI-48 address of an Ethernet interface (IEEE 802), as a value of eight bytes.</summary>
public readonly record struct MacAddress
{
    /// <summary>Bytes of an address in a frame.</summary>
    public const int SizeBytes = 6;

    private const ulong Mask = 0xffff_ffff_ffff;

    private readonly ulong _value;

    /// <summary>The address whose first byte on the wire is the most significant of the 48 bits.</summary>
    /// <exception cref="ArgumentOutOfRangeException">More than 48 bits.</exception>
    public MacAddress(ulong value)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(value, Mask);
        _value = value;
    }

    /// <summary>ff:ff:ff:ff:ff:ff, everybody on the link.</summary>
    public static MacAddress Broadcast { get; } = new(Mask);

    /// <summary>The 48 bits; the first byte on the wire is the most significant.</summary>
    public ulong Value => _value;

    /// <summary>Whether it names a group: multicast or broadcast.</summary>
    public bool IsGroup => (_value >> 40 & 1) != 0;

    /// <summary>Reads the first six bytes.</summary>
    public static MacAddress Read(ReadOnlySpan<byte> bytes) =>
        new((ulong)bytes[0] << 40 | (ulong)bytes[1] << 32 | (ulong)bytes[2] << 24 | (ulong)bytes[3] << 16 | (ulong)bytes[4] << 8 | bytes[5]);

    /// <summary>Reads "02:00:00:00:00:01".</summary>
    /// <exception cref="FormatException">It is not of that form.</exception>
    public static MacAddress Parse(ReadOnlySpan<char> text) =>
        TryParse(text, out MacAddress address) ? address : throw new FormatException($"'{text}' is no MAC address.");

    /// <summary><see cref="Parse"/> for text from outside. Never throws.</summary>
    public static bool TryParse(ReadOnlySpan<char> text, [MaybeNullWhen(false)] out MacAddress address)
    {
        ulong value = 0;
        address = default;
        if (text.Length != 17)
        {
            return false;
        }

        for (int i = 0; i < 17; i += 3)
        {
            if ((i > 0 && text[i - 1] != ':') || !byte.TryParse(text.Slice(i, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out byte part))
            {
                return false;
            }

            value = value << 8 | part;
        }

        address = new MacAddress(value);
        return true;
    }

    /// <summary>Writes six bytes.</summary>
    public void Write(Span<byte> bytes)
    {
        _ = bytes[5];
        for (int i = 0; i < SizeBytes; i++)
        {
            bytes[i] = (byte)(_value >> (40 - 8 * i));
        }
    }

    /// <summary>As "02:00:00:00:00:01".</summary>
    public override string ToString() =>
        string.Create(17, _value, static (text, value) =>
        {
            for (int i = 0; i < SizeBytes; i++)
            {
                byte part = (byte)(value >> (40 - 8 * i));
                part.TryFormat(text[(3 * i)..], out _, "x2", CultureInfo.InvariantCulture);
                if (i < SizeBytes - 1)
                {
                    text[3 * i + 2] = ':';
                }
            }
        });
}
