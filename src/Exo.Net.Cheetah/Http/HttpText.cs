// SPDX-License-Identifier: MIT
using System.Buffers;
using System.Text;

namespace Exo.Net.Cheetah.Http;

/// <summary>The character classes and list rules of RFC 9110 section 5.6 and RFC 3986 that parsing needs.</summary>
internal static class HttpText
{
    /// <summary>tchar: what a method or field name is made of.</summary>
    public static readonly SearchValues<byte> TokenBytes = SearchValues.Create(
        "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"u8);

    /// <summary>Bytes no field value may hold: controls but for the tab. Bytes from 0x80 on are obs-text and pass.</summary>
    public static readonly SearchValues<byte> ForbiddenInValue = SearchValues.Create(
        [.. Enumerable.Range(0, 32).Where(b => b != '\t').Select(b => (byte)b), 0x7F]);

    /// <summary>pchar, "/", "%" and the few others that browsers leave unescaped in a path: | ^ [ ].</summary>
    public static readonly SearchValues<byte> PathBytes = SearchValues.Create(
        "-._~!$&'()*+,;=:@/%|^[]0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"u8);

    /// <summary>What a query may hold: everything visible but quotes, angle brackets and "#".</summary>
    public static readonly SearchValues<byte> QueryBytes = SearchValues.Create(
        "-._~!$&'()*+,;=:@/?%|^[]{}`\\0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"u8);

    /// <summary>uri-host [":" port] without user information.</summary>
    public static readonly SearchValues<byte> AuthorityBytes = SearchValues.Create(
        "-._~!$&'()*+,;=:%[]0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"u8);

    /// <summary>What stands between the brackets of an IPv6 literal.</summary>
    public static readonly SearchValues<byte> Ipv6Bytes = SearchValues.Create("0123456789abcdefABCDEF:."u8);

    /// <summary>True when the bytes are this lower-case word in any case.</summary>
    public static bool Is(ReadOnlySpan<byte> bytes, ReadOnlySpan<byte> word) => Ascii.EqualsIgnoreCase(bytes, word);

    /// <summary>Without spaces and tabs at either end.</summary>
    public static ReadOnlySpan<byte> Trim(ReadOnlySpan<byte> bytes) => bytes.Trim(" \t"u8);

    /// <summary>
    /// Takes the next element off a comma-separated list without quoted strings (RFC 9110 section 5.6.1); empty elements are skipped.
    /// </summary>
    public static bool TryTakeElement(ref ReadOnlySpan<byte> list, out ReadOnlySpan<byte> element)
    {
        while (!list.IsEmpty)
        {
            int comma = list.IndexOf((byte)',');
            element = Trim(comma < 0 ? list : list[..comma]);
            list = comma < 0 ? default : list[(comma + 1)..];
            if (!element.IsEmpty)
            {
                return true;
            }
        }

        element = default;
        return false;
    }

    /// <summary>A field line without its end: a name, a colon right behind it, a value (RFC 9112 section 5).</summary>
    public static bool IsField(ReadOnlySpan<byte> line, out int colon)
    {
        colon = line.IndexOf((byte)':');
        return colon > 0 && !line[..colon].ContainsAnyExcept(TokenBytes) && !line[(colon + 1)..].ContainsAny(ForbiddenInValue);
    }

    /// <summary>1*DIGIT, at most 18 of them so that the value fits.</summary>
    public static bool TryDigits(ReadOnlySpan<byte> bytes, out long value)
    {
        value = 0;
        if (bytes.IsEmpty || bytes.Length > 18)
        {
            return false;
        }

        foreach (byte digit in bytes)
        {
            if (digit is < (byte)'0' or > (byte)'9')
            {
                return false;
            }

            value = (value * 10) + (digit - '0');
        }

        return true;
    }
}
