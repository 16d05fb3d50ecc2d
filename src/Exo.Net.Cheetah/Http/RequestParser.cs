// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah.Http;

/// <summary>Where the parser stands.</summary>
internal enum ParseStatus : byte
{
    NeedMore,
    Complete,
    Refused,
}

/// <summary>
/// Reads one request head, line by line, as far as bytes have come (RFC 9112 sections 2 to 6). It is strict: whatever two
/// implementations could read in two ways is refused, so nothing smuggles through. The caller gives the same bytes again with
/// more behind them; each line is looked at once.
/// <para>
/// Every decision depends only on the bytes up to the one that forced it, never on how they were cut: a line is judged when
/// its line feed is there and lies inside the limits, and a limit is judged when that many bytes are there.
/// </para>
/// </summary>
internal struct RequestParser
{
    private int lineStart;
    private int scanned;
    private int fieldCount;
    private bool skippedEmptyLine;
    private bool hasRequestLine;
    private ParseStatus status;

    /// <summary>What has been read; whole once the status is <see cref="ParseStatus.Complete"/>.</summary>
    public RequestHead Head;

    /// <summary>The HTTP status of a refusal: 400, 414, 431, 501 or 505.</summary>
    public int RefusalStatus { readonly get; private set; }

    /// <summary>Where the parser stands, without reading on.</summary>
    public readonly ParseStatus Status => status;

    /// <summary>The request line without its end, as far as it has come; also of what was refused.</summary>
    public readonly ReadOnlySpan<byte> RequestLine(ReadOnlySpan<byte> request, in RequestLimits limits)
    {
        if (hasRequestLine)
        {
            return Head.RequestLine.In(request);
        }

        ReadOnlySpan<byte> line = request[lineStart..Math.Min(request.Length, lineStart + limits.RequestLineBytes)];
        int lineFeed = line.IndexOf((byte)'\n');
        return (lineFeed < 0 ? line : line[..lineFeed]).TrimEnd((byte)'\r');
    }

    /// <summary>Reads on. <paramref name="request"/> starts at the first byte of this request and only ever grows.</summary>
    public ParseStatus Advance(ReadOnlySpan<byte> request, in RequestLimits limits)
    {
        while (status == ParseStatus.NeedMore)
        {
            int limit = hasRequestLine ? limits.HeadBytes : Math.Min(limits.HeadBytes, lineStart + limits.RequestLineBytes);
            int end = Math.Min(request.Length, limit);
            if (!hasRequestLine && lineStart < end && request[lineStart] != '\r' && !HttpText.TokenBytes.Contains(request[lineStart]))
            {
                return Refuse(400);   // not HTTP at all: say so before a line feed comes, if ever
            }

            int lineFeed = scanned < end ? request[scanned..end].IndexOf((byte)'\n') : -1;
            if (lineFeed < 0)
            {
                scanned = Math.Max(scanned, end);
                return request.Length < limit ? ParseStatus.NeedMore : Refuse(hasRequestLine ? 431 : 414);
            }

            lineFeed += scanned;
            scanned = lineFeed + 1;
            if (lineFeed == lineStart || request[lineFeed - 1] != '\r')
            {
                return Refuse(400);   // a bare line feed ends no line
            }

            int start = lineStart;
            lineStart = scanned;
            Line(request, start, lineFeed - 1 - start, limits);
        }

        return status;
    }

    private void Line(ReadOnlySpan<byte> request, int start, int lengthBytes, in RequestLimits limits)
    {
        if (!hasRequestLine)
        {
            if (lengthBytes == 0)
            {
                // One empty line before the request line is forgiven (RFC 9112 section 2.2), not more.
                if (skippedEmptyLine)
                {
                    Refuse(400);
                }

                skippedEmptyLine = true;
                return;
            }

            hasRequestLine = true;
            Head.RequestLine = new FieldSlot { Start = start, LengthBytes = lengthBytes, Count = 1 };
            RequestLine(request, start, lengthBytes);
        }
        else if (lengthBytes == 0)
        {
            Finish(request);
        }
        else if (++fieldCount > limits.FieldCount)
        {
            Refuse(431);
        }
        else
        {
            FieldLine(request, start, lengthBytes);
        }
    }

    // method SP request-target SP HTTP-version, one space each.
    private void RequestLine(ReadOnlySpan<byte> request, int start, int lengthBytes)
    {
        ReadOnlySpan<byte> line = request.Slice(start, lengthBytes);
        int methodEnd = line.IndexOf((byte)' ');
        int targetEnd = line.LastIndexOf((byte)' ');
        if (methodEnd <= 0 || targetEnd <= methodEnd + 1 || line[..methodEnd].ContainsAnyExcept(HttpText.TokenBytes))
        {
            Refuse(400);
            return;
        }

        ReadOnlySpan<byte> version = line[(targetEnd + 1)..];
        if (version.Length != 8 || !version.StartsWith("HTTP/"u8) || version[6] != '.'
            || !char.IsAsciiDigit((char)version[5]) || !char.IsAsciiDigit((char)version[7]))
        {
            Refuse(400);
            return;
        }

        if (version[5] != '1')
        {
            Refuse(505);
            return;
        }

        Head.IsHttp11 = version[7] != '0';   // a higher minor version is read as 1.1 (RFC 9110 section 2.5)
        ReadOnlySpan<byte> method = line[..methodEnd];
        Head.Method = method.SequenceEqual("GET"u8) ? Method.Get
            : method.SequenceEqual("HEAD"u8) ? Method.Head
            : IsKnown(method) ? Method.KnownButNotAllowed
            : Method.Unknown;
        Target(request, start + methodEnd + 1, targetEnd - methodEnd - 1, method);
    }

    private static bool IsKnown(ReadOnlySpan<byte> method) =>
        method.SequenceEqual("OPTIONS"u8) || method.SequenceEqual("POST"u8) || method.SequenceEqual("PUT"u8)
        || method.SequenceEqual("DELETE"u8) || method.SequenceEqual("TRACE"u8) || method.SequenceEqual("CONNECT"u8)
        || method.SequenceEqual("PATCH"u8);

    private void Target(ReadOnlySpan<byte> request, int start, int lengthBytes, ReadOnlySpan<byte> method)
    {
        ReadOnlySpan<byte> target = request.Slice(start, lengthBytes);
        if (method.SequenceEqual("CONNECT"u8))
        {
            Head.Form = TargetForm.Authority;
            if (!IsAuthority(target) || target.IsEmpty)
            {
                Refuse(400);
            }

            return;
        }

        if (target.SequenceEqual("*"u8))
        {
            Head.Form = TargetForm.Asterisk;
            if (!method.SequenceEqual("OPTIONS"u8))
            {
                Refuse(400);
            }

            return;
        }

        if (target[0] != '/')
        {
            int scheme = target.Length > 7 && HttpText.Is(target[..7], "http://"u8) ? 7
                : target.Length > 8 && HttpText.Is(target[..8], "https://"u8) ? 8 : 0;
            int authorityEnd = scheme == 0 ? 0 : target[scheme..].IndexOfAny((byte)'/', (byte)'?');
            authorityEnd = authorityEnd < 0 ? target.Length : authorityEnd + scheme;
            if (scheme == 0 || authorityEnd == scheme || !IsAuthority(target[scheme..authorityEnd]))
            {
                Refuse(400);
                return;
            }

            Head.Form = TargetForm.Absolute;
            start += authorityEnd;
            target = target[authorityEnd..];
        }

        int query = target.IndexOf((byte)'?');
        int pathLengthBytes = query < 0 ? target.Length : query;
        Head.Path = new FieldSlot { Start = start, LengthBytes = pathLengthBytes, Count = 1 };
        Head.Query = new FieldSlot { Start = start + pathLengthBytes, LengthBytes = target.Length - pathLengthBytes, Count = 1 };
        if (target[..pathLengthBytes].ContainsAnyExcept(HttpText.PathBytes)
            || target[pathLengthBytes..].ContainsAnyExcept(HttpText.QueryBytes))
        {
            Refuse(400);
        }
    }

    // uri-host [ ":" port ]: letters, digits and the rest of reg-name, or "[" IPv6 "]".
    private static bool IsAuthority(ReadOnlySpan<byte> authority)
    {
        if (authority.ContainsAnyExcept(HttpText.AuthorityBytes))
        {
            return false;
        }

        int hostEnd;
        if (!authority.IsEmpty && authority[0] == '[')
        {
            hostEnd = authority.IndexOf((byte)']') + 1;
            if (hostEnd < 4 || authority[1..(hostEnd - 1)].ContainsAnyExcept(HttpText.Ipv6Bytes))
            {
                return false;
            }
        }
        else
        {
            hostEnd = authority.IndexOf((byte)':');
            hostEnd = hostEnd < 0 ? authority.Length : hostEnd;
            if (authority[..hostEnd].ContainsAny((byte)'[', (byte)']'))
            {
                return false;
            }
        }

        ReadOnlySpan<byte> port = authority[hostEnd..];
        return port.IsEmpty || (port[0] == ':' && port.Length <= 6 && !port[1..].ContainsAnyExceptInRange((byte)'0', (byte)'9'));
    }

    // field-name ":" OWS field-value OWS. No white space before the colon, no folding.
    private void FieldLine(ReadOnlySpan<byte> request, int start, int lengthBytes)
    {
        ReadOnlySpan<byte> line = request.Slice(start, lengthBytes);
        if (!HttpText.IsField(line, out int colon))
        {
            Refuse(400);
            return;
        }

        ReadOnlySpan<byte> name = line[..colon];
        ReadOnlySpan<byte> untrimmed = line[(colon + 1)..];
        ReadOnlySpan<byte> value = untrimmed.TrimStart(" \t"u8);
        int valueStart = start + colon + 1 + (untrimmed.Length - value.Length);
        value = value.TrimEnd(" \t"u8);
        switch (name.Length)
        {
            case 4 when HttpText.Is(name, "host"u8):
                Note(ref Head.Host, valueStart, value);
                if (Head.Host.Count > 1 || !IsAuthority(value))
                {
                    Refuse(400);
                }

                break;
            case 5 when HttpText.Is(name, "range"u8):
                Note(ref Head.Range, valueStart, value);
                break;
            case 6 when HttpText.Is(name, "expect"u8):
                Head.ExpectsContinue |= HttpText.Is(value, "100-continue"u8);
                Head.ExpectsUnknown |= !HttpText.Is(value, "100-continue"u8);
                break;
            case 7 when HttpText.Is(name, "referer"u8):
                Note(ref Head.Referer, valueStart, value);
                break;
            case 8 when HttpText.Is(name, "if-match"u8):
                Note(ref Head.IfMatch, valueStart, value);
                break;
            case 8 when HttpText.Is(name, "if-range"u8):
                Note(ref Head.IfRange, valueStart, value);
                break;
            case 10 when HttpText.Is(name, "connection"u8):
                Connection(value);
                break;
            case 10 when HttpText.Is(name, "user-agent"u8):
                Note(ref Head.UserAgent, valueStart, value);
                break;
            case 13 when HttpText.Is(name, "if-none-match"u8):
                Note(ref Head.IfNoneMatch, valueStart, value);
                break;
            case 14 when HttpText.Is(name, "content-length"u8):
                Note(ref Head.ContentLength, valueStart, value);
                if (Head.ContentLength.Count > 1 || !HttpText.TryDigits(value, out Head.ContentLengthBytes))
                {
                    Refuse(400);   // also "5, 5" and a repeated equal length: legal to merge, safer to refuse
                }

                break;
            case 15 when HttpText.Is(name, "accept-encoding"u8):
                Note(ref Head.AcceptEncoding, valueStart, value);
                break;
            case 17 when HttpText.Is(name, "if-modified-since"u8):
                Note(ref Head.IfModifiedSince, valueStart, value);
                break;
            case 17 when HttpText.Is(name, "transfer-encoding"u8):
                Note(ref Head.TransferEncoding, valueStart, value);
                break;
            case 19 when HttpText.Is(name, "if-unmodified-since"u8):
                Note(ref Head.IfUnmodifiedSince, valueStart, value);
                break;
        }
    }

    private static void Note(ref FieldSlot slot, int start, ReadOnlySpan<byte> value)
    {
        if (slot.Count++ == 0)
        {
            slot.Start = start;
            slot.LengthBytes = value.Length;
        }
    }

    private void Connection(ReadOnlySpan<byte> value)
    {
        while (HttpText.TryTakeElement(ref value, out ReadOnlySpan<byte> option))
        {
            Head.WantsClose |= HttpText.Is(option, "close"u8);
            Head.WantsKeepAlive |= HttpText.Is(option, "keep-alive"u8);
        }
    }

    // The rules that need the whole head (RFC 9112 sections 3.2 and 6.1 to 6.3).
    private void Finish(ReadOnlySpan<byte> request)
    {
        Head.LengthBytes = lineStart;
        if (Head.IsHttp11 && Head.Host.Count == 0)
        {
            Refuse(400);
            return;
        }

        if (Head.TransferEncoding.Count > 0)
        {
            ReadOnlySpan<byte> codings = Head.TransferEncoding.In(request);
            int comma = codings.LastIndexOf((byte)',');
            bool endsChunked = HttpText.Is(HttpText.Trim(codings[(comma + 1)..]), "chunked"u8);
            if (!Head.IsHttp11 || Head.ContentLength.Count > 0 || Head.TransferEncoding.Count > 1 || !endsChunked)
            {
                Refuse(400);
                return;
            }

            if (comma >= 0)
            {
                Refuse(501);   // a coding before chunked: not understood here
                return;
            }

            Head.IsChunked = true;
        }

        if (!Head.IsHttp11)
        {
            Head.ExpectsContinue = false;   // RFC 9110 section 10.1.1: ignored in 1.0
        }

        status = ParseStatus.Complete;
    }

    private ParseStatus Refuse(int httpStatus)
    {
        RefusalStatus = httpStatus;
        return status = ParseStatus.Refused;
    }
}
