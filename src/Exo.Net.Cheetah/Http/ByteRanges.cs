// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah.Http;

/// <summary>A satisfiable range of a document: <paramref name="LengthBytes"/> is at least 1.</summary>
internal readonly record struct ByteRange(long OffsetBytes, long LengthBytes);

/// <summary>What a Range field comes to.</summary>
internal enum RangeOutcome : byte
{
    /// <summary>Send the whole document: no range, another unit, malformed, or abusive.</summary>
    Whole,

    /// <summary>Send the ranges.</summary>
    Partial,

    /// <summary>Not one range lies inside the document: 416.</summary>
    Unsatisfiable,
}

/// <summary>Range: bytes=0-99,200-,-5 (RFC 9110 section 14.1.2).</summary>
internal static class ByteRanges
{
    /// <summary>More ranges than this in one request are ignored and the whole document is sent (RFC 9110 section 14.2).</summary>
    public const int CountMax = 16;

    /// <summary>
    /// Reads a field value against a document's length. The ranges are written in the order asked for. Ranges that together
    /// hold more bytes than the document overlap, which only an attacker needs: the whole document is sent instead.
    /// </summary>
    public static RangeOutcome Parse(ReadOnlySpan<byte> value, long documentBytes, Span<ByteRange> ranges, out int count)
    {
        count = 0;
        int equals = value.IndexOf((byte)'=');
        if (equals < 0 || !HttpText.Is(value[..equals], "bytes"u8))
        {
            return RangeOutcome.Whole;
        }

        ReadOnlySpan<byte> list = value[(equals + 1)..];
        int seen = 0;
        long totalBytes = 0;
        while (HttpText.TryTakeElement(ref list, out ReadOnlySpan<byte> element))
        {
            int dash = element.IndexOf((byte)'-');
            if (dash < 0 || ++seen > CountMax)
            {
                return RangeOutcome.Whole;
            }

            ReadOnlySpan<byte> firstDigits = element[..dash], lastDigits = element[(dash + 1)..];
            long first = 0, last = long.MaxValue;
            if ((!firstDigits.IsEmpty && !TryPosition(firstDigits, out first))
                || (!lastDigits.IsEmpty && !TryPosition(lastDigits, out last))
                || (firstDigits.IsEmpty && lastDigits.IsEmpty))
            {
                return RangeOutcome.Whole;
            }

            if (firstDigits.IsEmpty)
            {
                if (last > 0 && documentBytes == 0)
                {
                    return RangeOutcome.Whole;   // satisfiable by the letter, but there is no byte to name in Content-Range
                }

                first = last == 0 ? documentBytes : Math.Max(0, documentBytes - last);
                last = long.MaxValue;
            }
            else if (last < first)
            {
                return RangeOutcome.Whole;
            }

            if (first < documentBytes)
            {
                long lengthBytes = Math.Min(last, documentBytes - 1) - first + 1;
                ranges[count++] = new ByteRange(first, lengthBytes);
                totalBytes += lengthBytes;
            }
        }

        return seen == 0 ? RangeOutcome.Whole
            : count == 0 ? RangeOutcome.Unsatisfiable
            : totalBytes > documentBytes ? RangeOutcome.Whole
            : RangeOutcome.Partial;
    }

    // A position too large to count lies behind every document.
    private static bool TryPosition(ReadOnlySpan<byte> digits, out long value)
    {
        digits = digits.Length > 18 ? digits.TrimStart((byte)'0') : digits;
        if (digits.Length <= 18)
        {
            value = 0;
            return digits.IsEmpty || HttpText.TryDigits(digits, out value);
        }

        value = long.MaxValue;
        return !digits.ContainsAnyExceptInRange((byte)'0', (byte)'9');
    }
}
