// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Numerics;

namespace Exo.Cli.Arguments;

/// <summary>
/// Sizes as people write them and as coreutils reads them: K, M, G, T, P, E and KiB, MiB, ... are powers of 1024;
/// KB, MB, ... are powers of 1000; a bare number is bytes. A decimal fraction is allowed where the result is whole.
/// </summary>
internal static class ByteSize
{
    private const string Prefixes = "KMGTPE";

    /// <summary>Parses <paramref name="text"/>; false when it is no size or does not fit into a <see cref="long"/>.</summary>
    public static bool TryParse(string? text, out long bytes)
    {
        bytes = 0;
        ReadOnlySpan<char> rest = text.AsSpan().Trim();
        int digits = 0;
        while (digits < rest.Length && (char.IsAsciiDigit(rest[digits]) || rest[digits] == '.'))
        {
            digits++;
        }

        if (digits is 0 or > 40 || !TryUnit(rest[digits..].TrimStart(), out BigInteger unit))
        {
            return false;
        }

        ReadOnlySpan<char> number = rest[..digits];
        int dot = number.IndexOf('.');
        ReadOnlySpan<char> whole = dot < 0 ? number : number[..dot];
        ReadOnlySpan<char> fraction = dot < 0 ? default : number[(dot + 1)..];
        if (whole.IsEmpty || fraction.Contains('.') || (dot >= 0 && fraction.IsEmpty))
        {
            return false;
        }

        // Exact: (whole.fraction) × unit as integers, so that 1.5K is 1536 and 0.3 is refused rather than rounded.
        BigInteger scale = BigInteger.Pow(10, fraction.Length);
        BigInteger scaled = BigInteger.Parse(string.Concat(whole, fraction), NumberStyles.None, CultureInfo.InvariantCulture) * unit;
        if (!(scaled % scale).IsZero || scaled / scale > long.MaxValue)
        {
            return false;
        }

        bytes = (long)(scaled / scale);
        return true;
    }

    /// <summary>Three significant digits and a binary unit: 17, 4.0K, 1.5G, 117M.</summary>
    public static string Format(long bytes)
    {
        double value = bytes;
        int unit = -1;
        while (value >= 1024 && unit < Prefixes.Length - 1)
        {
            value /= 1024;
            unit++;
        }

        return unit < 0
            ? bytes.ToString(CultureInfo.InvariantCulture)
            : value.ToString(value < 9.95 ? "0.0" : "0", CultureInfo.InvariantCulture) + Prefixes[unit];
    }

    private static bool TryUnit(ReadOnlySpan<char> suffix, out BigInteger unit)
    {
        unit = BigInteger.One;
        if (suffix.IsEmpty || suffix is "B" or "b")
        {
            return true;
        }

        int power = Prefixes.IndexOf(char.ToUpperInvariant(suffix[0]), StringComparison.Ordinal) + 1;
        if (power == 0)
        {
            return false;
        }

        ReadOnlySpan<char> tail = suffix[1..];
        if (tail.IsEmpty || tail.Equals("iB", StringComparison.OrdinalIgnoreCase))
        {
            unit = BigInteger.Pow(1024, power);
            return true;
        }

        unit = BigInteger.Pow(1000, power);
        return tail.Equals("B", StringComparison.OrdinalIgnoreCase);
    }
}
