// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah.Http;

/// <summary>
/// HTTP dates (RFC 9110 section 5.6.7): written as IMF-fixdate, read in all three forms. Seconds count from the Unix epoch.
/// <code>
/// IMF-fixdate  Sun, 06 Nov 1994 08:49:37 GMT     always 29 bytes
/// rfc850-date  Sunday, 06-Nov-94 08:49:37 GMT    obsolete
/// asctime      Sun Nov  6 08:49:37 1994          obsolete
/// </code>
/// </summary>
internal static class HttpDate
{
    /// <summary>Bytes of an IMF-fixdate.</summary>
    public const int LengthBytes = 29;

    private static ReadOnlySpan<byte> Days => "SunMonTueWedThuFriSat"u8;

    private static ReadOnlySpan<byte> Months => "JanFebMarAprMayJunJulAugSepOctNovDec"u8;

    /// <summary>Writes 29 bytes. Instants before year 1 or after 9999 are outside what an HTTP date can say.</summary>
    public static void Format(long unixSeconds, Span<byte> destination)
    {
        DateTime date = DateTimeOffset.FromUnixTimeSeconds(unixSeconds).UtcDateTime;
        Days.Slice((int)date.DayOfWeek * 3, 3).CopyTo(destination);
        ", "u8.CopyTo(destination[3..]);
        Two(date.Day, destination[5..]);
        destination[7] = (byte)' ';
        Months.Slice((date.Month - 1) * 3, 3).CopyTo(destination[8..]);
        destination[11] = (byte)' ';
        Two(date.Year / 100, destination[12..]);
        Two(date.Year % 100, destination[14..]);
        destination[16] = (byte)' ';
        Two(date.Hour, destination[17..]);
        destination[19] = (byte)':';
        Two(date.Minute, destination[20..]);
        destination[22] = (byte)':';
        Two(date.Second, destination[23..]);
        " GMT"u8.CopyTo(destination[25..]);
    }

    /// <summary>
    /// Reads any of the three forms, exactly and case-sensitively. A two-digit year more than 50 years ahead of
    /// <paramref name="nowUnixSeconds"/> lies in the past (RFC 9110 section 5.6.7).
    /// </summary>
    public static bool TryParse(ReadOnlySpan<byte> text, long nowUnixSeconds, out long unixSeconds)
    {
        unixSeconds = 0;
        int comma = text.IndexOf((byte)',');
        return comma == 3 ? TryParseFixdate(text, out unixSeconds)
            : comma > 3 ? TryParseRfc850(text, comma, nowUnixSeconds, out unixSeconds)
            : TryParseAsctime(text, out unixSeconds);
    }

    private static bool TryParseFixdate(ReadOnlySpan<byte> text, out long unixSeconds)
    {
        unixSeconds = 0;
        return text.Length == LengthBytes && IsDay(text) && text[4] == ' ' && text[7] == ' ' && text[11] == ' ' && text[16] == ' '
            && text[25..].SequenceEqual(" GMT"u8)
            && TryTwo(text[5..], out int day) && TryMonth(text[8..], out int month)
            && TryTwo(text[12..], out int century) && TryTwo(text[14..], out int year)
            && TryTime(text.Slice(17, 8), out int seconds)
            && TryJoin((century * 100) + year, month, day, seconds, out unixSeconds);
    }

    private static bool TryParseRfc850(ReadOnlySpan<byte> text, int comma, long nowUnixSeconds, out long unixSeconds)
    {
        unixSeconds = 0;
        ReadOnlySpan<byte> rest = text[(comma + 1)..];
        if (!IsLongDay(text[..comma]) || rest.Length != 23 || rest[0] != ' ' || rest[3] != '-' || rest[7] != '-' || rest[10] != ' '
            || !rest[19..].SequenceEqual(" GMT"u8)
            || !TryTwo(rest[1..], out int day) || !TryMonth(rest[4..], out int month) || !TryTwo(rest[8..], out int year)
            || !TryTime(rest.Slice(11, 8), out int seconds))
        {
            return false;
        }

        int thisYear = DateTimeOffset.FromUnixTimeSeconds(nowUnixSeconds).Year;
        int full = (thisYear / 100 * 100) + year;
        full = full > thisYear + 50 ? full - 100 : full;
        return TryJoin(full, month, day, seconds, out unixSeconds);
    }

    private static bool TryParseAsctime(ReadOnlySpan<byte> text, out long unixSeconds)
    {
        unixSeconds = 0;
        if (text.Length != 24 || !IsDay(text) || text[3] != ' ' || text[7] != ' ' || text[10] != ' ' || text[19] != ' '
            || !TryMonth(text[4..], out int month) || !TryTime(text.Slice(11, 8), out int seconds)
            || !TryTwo(text[20..], out int century) || !TryTwo(text[22..], out int year))
        {
            return false;
        }

        int day;
        if (text[8] == ' ')
        {
            day = text[9] - '0';
            if (day is < 1 or > 9)
            {
                return false;
            }
        }
        else if (!TryTwo(text[8..], out day))
        {
            return false;
        }

        return TryJoin((century * 100) + year, month, day, seconds, out unixSeconds);
    }

    private static bool TryJoin(int year, int month, int day, int secondsOfDay, out long unixSeconds)
    {
        unixSeconds = 0;
        if (year < 1 || day < 1 || day > DateTime.DaysInMonth(year, month))
        {
            return false;
        }

        unixSeconds = new DateTimeOffset(year, month, day, 0, 0, 0, TimeSpan.Zero).ToUnixTimeSeconds() + secondsOfDay;
        return true;
    }

    // hh:mm:ss, second 60 being a leap second.
    private static bool TryTime(ReadOnlySpan<byte> text, out int seconds)
    {
        seconds = 0;
        if (text[2] != ':' || text[5] != ':' || !TryTwo(text, out int hour) || !TryTwo(text[3..], out int minute)
            || !TryTwo(text[6..], out int second) || hour > 23 || minute > 59 || second > 60)
        {
            return false;
        }

        seconds = (hour * 3600) + (minute * 60) + second;
        return true;
    }

    private static bool IsDay(ReadOnlySpan<byte> text)
    {
        int at = Days.IndexOf(text[..3]);
        return at >= 0 && at % 3 == 0;
    }

    private static bool IsLongDay(ReadOnlySpan<byte> text) =>
        text.SequenceEqual("Sunday"u8) || text.SequenceEqual("Monday"u8) || text.SequenceEqual("Tuesday"u8)
        || text.SequenceEqual("Wednesday"u8) || text.SequenceEqual("Thursday"u8) || text.SequenceEqual("Friday"u8)
        || text.SequenceEqual("Saturday"u8);

    private static bool TryMonth(ReadOnlySpan<byte> text, out int month)
    {
        int at = Months.IndexOf(text[..3]);
        month = (at / 3) + 1;
        return at >= 0 && at % 3 == 0;
    }

    private static bool TryTwo(ReadOnlySpan<byte> text, out int value)
    {
        uint tens = (uint)(text[0] - '0'), ones = (uint)(text[1] - '0');
        value = (int)((tens * 10) + ones);
        return tens <= 9 && ones <= 9;
    }

    private static void Two(int value, Span<byte> destination)
    {
        destination[0] = (byte)('0' + (value / 10));
        destination[1] = (byte)('0' + (value % 10));
    }
}
