// SPDX-License-Identifier: MIT
using System.Buffers;
using System.Buffers.Text;

namespace Exo.Net.Cheetah.Logging;

/// <summary>
/// Makes lines of records as Apache's mod_log_config does, without allocation.
/// <code>
/// 10.0.0.1 - - [02/Jan/2026:03:04:05 +0000] "GET / HTTP/1.1" 200 2326 "http://h/" "curl/8.5.0"
/// </code>
/// What a client wrote stands between quotes, escaped as by ap_escape_logitem, so that no client writes lines or fields of its own. One thread.
/// </summary>
internal sealed class AccessLogLine(AccessLogFormat format, TimeZoneInfo zone)
{
    private const int TimeBytes = 28;

    // Bytes that stand for themselves: printable ones in ASCII but for quote and backslash.
    private static readonly SearchValues<byte> Plain = SearchValues.Create(
        [.. Enumerable.Range(0x20, 0x7F - 0x20).Where(value => value is not ('"' or '\\')).Select(value => (byte)value)]);

    private readonly byte[] time = new byte[TimeBytes];
    private long timeUnixSeconds = long.MinValue;

    /// <summary>No line is longer, for texts of that many bytes.</summary>
    public static int LengthBytesMax(int textBytes) => 192 + (4 * textBytes);

    /// <summary>Writes a line with its end; returns its length.</summary>
    public int Format(Span<byte> destination, in AccessRecord record, ReadOnlySpan<byte> texts)
    {
        int used = record.Remote.Format(destination);
        used += Put(destination[used..], " - - "u8);
        SetTime(record.UnixSeconds);
        used += Put(destination[used..], time);
        used += Put(destination[used..], " "u8);
        used += Quote(destination[used..], texts[..record.RequestLineBytes], record.RequestLineBytes > 0);
        used += Put(destination[used..], " "u8);
        used += Number(destination[used..], record.Status);
        used += Put(destination[used..], " "u8);
        used += record.BodyBytes == 0 ? Put(destination[used..], "-"u8) : Number(destination[used..], record.BodyBytes);
        if (format == AccessLogFormat.Combined)
        {
            texts = texts[record.RequestLineBytes..];
            int refererBytes = Math.Max(0, record.RefererBytes);
            used += Put(destination[used..], " "u8);
            used += Quote(destination[used..], texts[..refererBytes], record.RefererBytes >= 0);
            used += Put(destination[used..], " "u8);
            used += Quote(destination[used..], texts[refererBytes..], record.UserAgentBytes >= 0);
        }

        destination[used++] = (byte)'\n';
        return used;
    }

    /// <summary>Escapes as ap_escape_logitem does; returns the bytes written, at most four for each.</summary>
    internal static int Escape(Span<byte> destination, ReadOnlySpan<byte> text)
    {
        int used = 0;
        while (true)
        {
            int plain = text.IndexOfAnyExcept(Plain);
            if (plain < 0)
            {
                return used + Put(destination[used..], text);
            }

            used += Put(destination[used..], text[..plain]);
            byte value = text[plain];
            text = text[(plain + 1)..];
            destination[used++] = (byte)'\\';
            byte letter = value switch
            {
                (byte)'\b' => (byte)'b',
                (byte)'\n' => (byte)'n',
                (byte)'\r' => (byte)'r',
                (byte)'\t' => (byte)'t',
                (byte)'\v' => (byte)'v',
                (byte)'\\' or (byte)'"' => value,
                _ => 0,
            };
            if (letter != 0)
            {
                destination[used++] = letter;
                continue;
            }

            destination[used++] = (byte)'x';
            destination[used++] = "0123456789abcdef"u8[value >> 4];
            destination[used++] = "0123456789abcdef"u8[value & 15];
        }
    }

    private static int Quote(Span<byte> destination, ReadOnlySpan<byte> text, bool isThere)
    {
        destination[0] = (byte)'"';
        int used = 1 + (isThere ? Escape(destination[1..], text) : Put(destination[1..], "-"u8));
        destination[used++] = (byte)'"';
        return used;
    }

    private static int Put(Span<byte> destination, ReadOnlySpan<byte> bytes)
    {
        bytes.CopyTo(destination);
        return bytes.Length;
    }

    private static int Number(Span<byte> destination, long value)
    {
        bool fits = Utf8Formatter.TryFormat(value, destination, out int written);
        Invariant.Check(fits);
        return written;
    }

    // [02/Jan/2026:03:04:05 +0000], once a second.
    private void SetTime(long unixSeconds)
    {
        if (unixSeconds == timeUnixSeconds)
        {
            return;
        }

        timeUnixSeconds = unixSeconds;
        DateTimeOffset utc = DateTimeOffset.FromUnixTimeSeconds(unixSeconds);
        DateTimeOffset local = utc.ToOffset(zone.GetUtcOffset(utc));
        bool fits = local.TryFormat(time, out int used, "[dd'/'MMM'/'yyyy':'HH':'mm':'ss ", System.Globalization.CultureInfo.InvariantCulture);
        int minutes = (int)local.Offset.TotalMinutes;
        time[used] = (byte)(minutes < 0 ? '-' : '+');
        minutes = Math.Abs(minutes);
        fits &= Utf8Formatter.TryFormat((minutes / 60 * 100) + (minutes % 60), time.AsSpan(used + 1), out _, new StandardFormat('D', 4));
        Invariant.Check(fits && used == TimeBytes - 6);
        time[TimeBytes - 1] = (byte)']';
    }
}
