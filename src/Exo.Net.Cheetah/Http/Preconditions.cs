// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah.Http;

/// <summary>What the conditional fields decide.</summary>
internal enum PreconditionOutcome : byte
{
    Proceed,
    NotModified,
    Failed,
}

/// <summary>
/// Conditional requests in the order of RFC 9110 section 13.2.2:
/// If-Match, else If-Unmodified-Since; then If-None-Match, else If-Modified-Since; and If-Range for a range.
/// </summary>
internal static class Preconditions
{
    /// <summary>Decides for GET and HEAD on a document that is there.</summary>
    /// <param name="head">The parsed head.</param>
    /// <param name="request">The bytes it points into.</param>
    /// <param name="entityTag">The document's strong tag with its quotes.</param>
    /// <param name="lastModifiedUnixSeconds">Its modification time.</param>
    /// <param name="nowUnixSeconds">For dates with two-digit years.</param>
    public static PreconditionOutcome Evaluate(
        in RequestHead head, ReadOnlySpan<byte> request, ReadOnlySpan<byte> entityTag, long lastModifiedUnixSeconds, long nowUnixSeconds)
    {
        if (head.IfMatch.Count > 0)
        {
            if (!AnyMatches(head.IfMatch, request, head.LengthBytes, "if-match"u8, entityTag, weak: false))
            {
                return PreconditionOutcome.Failed;
            }
        }
        else if (TryDate(head.IfUnmodifiedSince, request, nowUnixSeconds, out long unmodifiedSince)
            && lastModifiedUnixSeconds > unmodifiedSince)
        {
            return PreconditionOutcome.Failed;
        }

        if (head.IfNoneMatch.Count > 0)
        {
            if (AnyMatches(head.IfNoneMatch, request, head.LengthBytes, "if-none-match"u8, entityTag, weak: true))
            {
                return PreconditionOutcome.NotModified;
            }
        }
        else if (TryDate(head.IfModifiedSince, request, nowUnixSeconds, out long modifiedSince)
            && lastModifiedUnixSeconds <= modifiedSince)
        {
            return PreconditionOutcome.NotModified;
        }

        return PreconditionOutcome.Proceed;
    }

    /// <summary>
    /// True when a Range field may be honoured: there is no If-Range, or its validator matches strongly (RFC 9110 section
    /// 13.1.5). A date is a strong validator only if it lies at least a second before now (section 8.8.2.2).
    /// </summary>
    public static bool RangeApplies(
        in RequestHead head, ReadOnlySpan<byte> request, ReadOnlySpan<byte> entityTag, long lastModifiedUnixSeconds, long nowUnixSeconds)
    {
        if (head.IfRange.Count == 0)
        {
            return true;
        }

        if (head.IfRange.Count > 1)
        {
            return false;
        }

        ReadOnlySpan<byte> validator = head.IfRange.In(request);
        return validator.IndexOf((byte)'"') >= 0
            ? validator.SequenceEqual(entityTag)
            : HttpDate.TryParse(validator, nowUnixSeconds, out long date)
                && date == lastModifiedUnixSeconds && lastModifiedUnixSeconds < nowUnixSeconds;
    }

    /// <summary>
    /// True when a field value, "*" or a list of [W/]"opaque", names the tag. Weak comparison ignores W/; strong comparison
    /// never matches a weak tag (RFC 9110 section 8.8.3.2). Reading stops at the first malformed element.
    /// </summary>
    internal static bool ListMatches(ReadOnlySpan<byte> list, ReadOnlySpan<byte> entityTag, bool weak)
    {
        list = HttpText.Trim(list);
        if (list.SequenceEqual("*"u8))
        {
            return true;
        }

        while (true)
        {
            list = list.TrimStart(" \t,"u8);
            bool isWeak = list.StartsWith("W/"u8);
            ReadOnlySpan<byte> tag = isWeak ? list[2..] : list;
            int end = tag.Length > 1 && tag[0] == '"' ? tag[1..].IndexOf((byte)'"') : -1;
            if (end < 0)
            {
                return false;
            }

            if ((weak || !isWeak) && tag[..(end + 2)].SequenceEqual(entityTag))
            {
                return true;
            }

            list = tag[(end + 2)..].TrimStart(" \t"u8);
            if (list.IsEmpty || list[0] != ',')
            {
                return false;
            }
        }
    }

    private static bool AnyMatches(
        in FieldSlot slot, ReadOnlySpan<byte> request, int headBytes, ReadOnlySpan<byte> name, ReadOnlySpan<byte> entityTag, bool weak)
    {
        var lines = new FieldLines(slot, request, headBytes, name);
        while (lines.TryTake(out ReadOnlySpan<byte> value))
        {
            if (ListMatches(value, entityTag, weak))
            {
                return true;
            }
        }

        return false;
    }

    // A date field that came twice or does not parse is ignored (RFC 9110 sections 13.1.3 and 13.1.4).
    private static bool TryDate(in FieldSlot slot, ReadOnlySpan<byte> request, long nowUnixSeconds, out long unixSeconds)
    {
        unixSeconds = 0;
        return slot.Count == 1 && HttpDate.TryParse(slot.In(request), nowUnixSeconds, out unixSeconds);
    }
}
