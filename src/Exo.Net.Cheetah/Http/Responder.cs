// SPDX-License-Identifier: MIT
using System.Text;

namespace Exo.Net.Cheetah.Http;

/// <summary>
/// From a request and a document to the bytes of the response, written into a <see cref="ResponseQueue"/>: the whole of the
/// server's HTTP semantics after parsing. One per reactor; no allocation.
/// </summary>
internal sealed class Responder
{
    // Status line, Date, Content-Type and its line end, Content-Length, Connection, the empty line.
    private const int HandledHeadBytesMax = 64 + 37 + 16 + 40 + PrebuiltHead.ConnectionFieldBytesMax + 2;

    private static readonly PrebuiltHead?[] Pages = BuildPages();

    private readonly byte[] date = new byte[HttpDate.LengthBytes];
    private readonly byte[] boundary = new byte[24];
    private readonly bool usesPrebuiltHeads;
    private ulong boundaryState;
    private long dateUnixSeconds = long.MinValue;

    /// <param name="boundarySeed">Makes the boundaries of multipart responses hard to foretell.</param>
    /// <param name="usesPrebuiltHeads">Whether heads that a document brings along are used, or built for each response.</param>
    public Responder(ulong boundarySeed, bool usesPrebuiltHeads = true)
    {
        boundaryState = boundarySeed;
        this.usesPrebuiltHeads = usesPrebuiltHeads;
    }

    /// <summary>Seconds since 1970 in the Date field.</summary>
    public long NowUnixSeconds => dateUnixSeconds;

    /// <summary>Turns the clock; formats once a second.</summary>
    public void SetTime(long unixSeconds)
    {
        if (unixSeconds != dateUnixSeconds)
        {
            dateUnixSeconds = unixSeconds;
            HttpDate.Format(unixSeconds, date);
        }
    }

    /// <summary>The status to refuse a whole request with before looking at its target, or 0.</summary>
    public static int StatusByMethodAndBody(in RequestHead head, long discardedBodyBytesMax) =>
        head.Method == Method.Unknown ? 501
        : head.Method == Method.KnownButNotAllowed ? 405
        : head.ExpectsUnknown || (head.ExpectsContinue && head.HasBody) ? 417
        : head.IsChunked ? 411
        : head.ContentLengthBytes > discardedBodyBytesMax ? 413
        : 0;

    /// <summary>The body cannot or need not be read past: the connection ends with this response.</summary>
    public static bool BodyEndsConnection(in RequestHead head, long discardedBodyBytesMax) =>
        head.IsChunked || head.ContentLengthBytes > discardedBodyBytesMax || (head.ExpectsContinue && head.HasBody);

    /// <summary>A small prebuilt page.</summary>
    public ResponseOutcome Page(ResponseQueue queue, int status, bool isHead, bool closes, bool saysKeepAlive) => Page(queue, status, Pages[status]!, isHead, closes, saysKeepAlive);

    /// <summary>A page built elsewhere.</summary>
    public ResponseOutcome Page(ResponseQueue queue, int status, PrebuiltHead page, bool isHead, bool closes, bool saysKeepAlive)
    {
        queue.Add(page.CopyTo(queue.Room, date, ConnectionField(closes, saysKeepAlive), withBody: !isHead));
        return new ResponseOutcome(status, isHead ? 0 : page.BodyBytes);
    }

    /// <summary>What a handler wrote can leave behind its head, in the same piece.</summary>
    public static bool IsOnePiece(ResponseBuffer response) =>
        HandledHeadBytesMax + response.ContentType.Length + response.Fields.Length + response.Body.Length <= ResponseQueue.HeadBytesMax;

    /// <summary>What a handler wrote. A body that is not <see cref="IsOnePiece">one piece</see> is given in frames; the caller's hold on it passes on.</summary>
    public ResponseOutcome Handled(ResponseQueue queue, ResponseBuffer response, Document? body, bool isHead, bool closes, bool saysKeepAlive)
    {
        Span<byte> room = queue.Room;
        var head = new ResponseHead(room);
        head.Status(response.Status);
        if (!response.Body.IsEmpty)
        {
            head.Field("Content-Type: "u8, response.ContentType);
        }

        if (response.Status is not (204 or 304))
        {
            head.Field("Content-Length: "u8, response.Body.Length);
        }

        head.Raw(response.Fields);
        int headBytes = Finish(ref head, room, closes, saysKeepAlive);
        if (isHead || response.Body.IsEmpty)
        {
            queue.Add(headBytes);
        }
        else if (body is null)
        {
            response.Body.CopyTo(room[headBytes..]);
            queue.Add(headBytes + response.Body.Length);
        }
        else
        {
            queue.Add(headBytes, body, 0, body.LengthBytes);
        }

        return new ResponseOutcome(response.Status, isHead ? 0 : response.Body.Length);
    }

    /// <summary>308, or 301 for HTTP/1.0, to the same path with a slash. False when the address would be too long.</summary>
    public bool TryRedirectToFolder(ResponseQueue queue, in RequestHead head, ReadOnlySpan<byte> path, ReadOnlySpan<byte> query, bool closes, bool saysKeepAlive, out ResponseOutcome outcome)
    {
        outcome = new ResponseOutcome(head.IsHttp11 ? 308 : 301, 0);
        if ((path.Length * 3) + query.Length + 512 > ResponseQueue.HeadBytesMax)
        {
            return false;
        }

        var response = new ResponseHead(queue.Room);
        response.Status(outcome.Status);
        response.Raw("Location: "u8);
        Span<byte> encoded = stackalloc byte[ResponseQueue.HeadBytesMax];
        response.Raw(encoded[..TargetPath.Encode(path, encoded)]);
        response.Raw("/"u8);
        response.Raw(query);
        response.Raw("\r\nContent-Length: 0\r\n"u8);
        End(queue, ref response, closes, saysKeepAlive);
        return true;
    }

    /// <summary>Answers GET or HEAD with a document. The caller's hold on it passes on.</summary>
    public ResponseOutcome Document(ResponseQueue queue, in RequestHead head, ReadOnlySpan<byte> request, Document document, bool closes, bool saysKeepAlive)
    {
        bool isHead = head.Method == Method.Head;
        switch (Preconditions.Evaluate(head, request, document.EntityTag, document.LastModifiedUnixSeconds, dateUnixSeconds))
        {
            case PreconditionOutcome.NotModified:
                queue.Add(document.NotModifiedHead.CopyTo(queue.Room, date, ConnectionField(closes, saysKeepAlive)));
                document.Release();
                return new ResponseOutcome(304, 0);
            case PreconditionOutcome.Failed:
                document.Release();
                return Page(queue, 412, isHead, closes, saysKeepAlive);
        }

        // A Range field means something for GET only, and is one field (RFC 9110 section 14.2).
        if (head.Range.Count == 1 && !isHead
            && Preconditions.RangeApplies(head, request, document.EntityTag, document.LastModifiedUnixSeconds, dateUnixSeconds))
        {
            Span<ByteRange> ranges = stackalloc ByteRange[ByteRanges.CountMax];
            switch (ByteRanges.Parse(head.Range.In(request), document.LengthBytes, ranges, out int count))
            {
                case RangeOutcome.Unsatisfiable:
                    Unsatisfiable(queue, document, closes, saysKeepAlive);
                    document.Release();
                    return new ResponseOutcome(416, 0);
                case RangeOutcome.Partial when count == 1:
                    return One(queue, document, ranges[0], closes, saysKeepAlive);
                case RangeOutcome.Partial:
                    return Many(queue, document, ranges[..count], closes, saysKeepAlive);
            }
        }

        int headBytes = usesPrebuiltHeads
            ? document.OkHead.CopyTo(queue.Room, date, ConnectionField(closes, saysKeepAlive)) : Head(queue, document, closes, saysKeepAlive);
        if (isHead || document.LengthBytes == 0)
        {
            queue.Add(headBytes);
            document.Release();
            return new ResponseOutcome(200, 0);
        }

        long lengthBytes = document.LengthBytes;   // the queue may let go of it at once
        queue.Add(headBytes, document, 0, lengthBytes);
        return new ResponseOutcome(200, lengthBytes);
    }

    /// <summary>Whether a request has no more to say than which document it wants: then everybody who says the same gets the same.</summary>
    public static bool IsPlain(in RequestHead head) =>
        head is { Method: Method.Get or Method.Head, HasBody: false, ExpectsContinue: false, ExpectsUnknown: false, Range.Count: 0 }
        && head is { IfMatch.Count: 0, IfNoneMatch.Count: 0, IfModifiedSince.Count: 0, IfUnmodifiedSince.Count: 0, IfRange.Count: 0 };

    /// <summary>What <see cref="Document"/> answers a plain request with, in one piece. 0 if there is no room for it, or it is not at hand.</summary>
    public int Whole(Span<byte> room, Document document, bool isHead, bool closes, bool saysKeepAlive)
    {
        long bodyBytes = isHead ? 0 : document.LengthBytes;
        if (!usesPrebuiltHeads || (document.IsRanged && !isHead) || document.OkHead.LengthBytesMax + bodyBytes > room.Length)
        {
            return 0;
        }

        int lengthBytes = document.OkHead.CopyTo(room, date, ConnectionField(closes, saysKeepAlive));
        for (long at = 0; at < bodyBytes;)
        {
            ReadOnlySpan<byte> piece = document.BytesAt(at, (int)(bodyBytes - at));
            piece.CopyTo(room[lengthBytes..]);
            lengthBytes += piece.Length;
            at += piece.Length;
        }

        return lengthBytes;
    }

    /// <summary>A document as the page of an error: without what would let it be taken for the document that was asked for. The caller's hold on it passes on.</summary>
    public ResponseOutcome ErrorPage(ResponseQueue queue, int status, Document page, bool isHead, bool closes, bool saysKeepAlive)
    {
        long lengthBytes = page.LengthBytes;
        var response = new ResponseHead(queue.Room);
        response.Status(status);
        response.Raw("Content-Type: "u8);
        Ascii(ref response, page.ContentType);
        response.Raw("\r\n"u8);
        response.Field("Content-Length: "u8, lengthBytes);
        if (status == 503)
        {
            response.Field("Retry-After: "u8, 1);
        }

        int headBytes = Finish(ref response, queue.Room, closes, saysKeepAlive);
        if (isHead || lengthBytes == 0)
        {
            queue.Add(headBytes);
            page.Release();
            return new ResponseOutcome(status, 0);
        }

        queue.Add(headBytes, page, 0, lengthBytes);
        return new ResponseOutcome(status, lengthBytes);
    }

    private void Unsatisfiable(ResponseQueue queue, Document document, bool closes, bool saysKeepAlive)
    {
        var response = new ResponseHead(queue.Room);
        response.Status(416);
        response.Field("Content-Range: bytes */"u8, document.LengthBytes);
        response.Field("Content-Length: "u8, 0);
        response.Representation(coding: null, document.Varies);
        End(queue, ref response, closes, saysKeepAlive);
    }

    private int Head(ResponseQueue queue, Document document, bool closes, bool saysKeepAlive)
    {
        var response = new ResponseHead(queue.Room);
        response.Status(200);
        response.Raw("Content-Type: "u8);
        Ascii(ref response, document.ContentType);
        response.Raw("\r\n"u8);
        response.Field("Content-Length: "u8, document.LengthBytes);
        Validators(ref response, document);
        response.Field("Accept-Ranges: "u8, "bytes"u8);
        response.Representation(document.Coding, document.Varies);
        response.Raw(document.Fields.Whole);
        return Finish(ref response, queue.Room, closes, saysKeepAlive);
    }

    private ResponseOutcome One(ResponseQueue queue, Document document, in ByteRange range, bool closes, bool saysKeepAlive)
    {
        var response = new ResponseHead(queue.Room);
        response.Status(206);
        response.Raw("Content-Type: "u8);
        Ascii(ref response, document.ContentType);
        response.Raw("\r\n"u8);
        response.ContentRange(range, document.LengthBytes);
        response.Field("Content-Length: "u8, range.LengthBytes);
        Validators(ref response, document);
        response.Representation(document.Coding, document.Varies);
        response.Raw(document.Fields.Whole);
        int headBytes = Finish(ref response, queue.Room, closes, saysKeepAlive);
        queue.Add(headBytes, document, range.OffsetBytes, range.LengthBytes);
        return new ResponseOutcome(206, range.LengthBytes);
    }

    // multipart/byteranges (RFC 9110 section 14.6). Part heads are written twice: once to count them for Content-Length.
    private ResponseOutcome Many(ResponseQueue queue, Document document, ReadOnlySpan<ByteRange> ranges, bool closes, bool saysKeepAlive)
    {
        NextBoundary();
        Span<byte> partRoom = stackalloc byte[512];
        long totalBytes = boundary.Length + 8;   // CRLF -- boundary -- CRLF
        foreach (ByteRange range in ranges)
        {
            totalBytes += PartHead(partRoom, document, range) + range.LengthBytes;
        }

        var response = new ResponseHead(queue.Room);
        response.Status(206);
        response.Field("Content-Type: multipart/byteranges; boundary="u8, boundary);
        response.Field("Content-Length: "u8, totalBytes);
        Validators(ref response, document);
        response.Representation(coding: null, document.Varies);   // it is the parts that are encoded, and they say so
        response.Raw(document.Fields.Whole);
        queue.Add(Finish(ref response, queue.Room, closes, saysKeepAlive));
        for (int i = 0; i < ranges.Length; i++)
        {
            bool retained = i == 0 || document.TryRetain();   // the first takes the caller's hold
            Invariant.Check(retained);
            int headBytes = PartHead(queue.Room, document, ranges[i]);
            queue.Add(headBytes, document, ranges[i].OffsetBytes, ranges[i].LengthBytes);
        }

        var last = new ResponseHead(queue.Room);
        last.Raw("\r\n--"u8);
        last.Raw(boundary);
        last.Raw("--\r\n"u8);
        queue.Add(last.LengthBytes);
        return new ResponseOutcome(206, totalBytes);
    }

    private int PartHead(Span<byte> room, Document document, in ByteRange range)
    {
        var part = new ResponseHead(room);
        part.Raw("\r\n--"u8);
        part.Raw(boundary);
        part.Raw("\r\nContent-Type: "u8);
        Ascii(ref part, document.ContentType);
        part.Raw("\r\n"u8);
        part.ContentRange(range, document.LengthBytes);
        part.Representation(document.Coding, varies: false);
        part.End();
        return part.LengthBytes;
    }

    // splitmix64 from a random seed: payload that was there before cannot hold the boundary but by chance (2^-96).
    private void NextBoundary()
    {
        for (int i = 0; i < boundary.Length; i++)
        {
            boundaryState += 0x9E37_79B9_7F4A_7C15;
            ulong z = boundaryState;
            z = (z ^ (z >> 30)) * 0xBF58_476D_1CE4_E5B9;
            z = (z ^ (z >> 27)) * 0x94D0_49BB_1331_11EB;
            boundary[i] = "0123456789abcdef"u8[(int)((z ^ (z >> 31)) & 15)];
        }
    }

    private static void Validators(ref ResponseHead response, Document document)
    {
        Span<byte> lastModified = stackalloc byte[HttpDate.LengthBytes];
        HttpDate.Format(document.LastModifiedUnixSeconds, lastModified);
        response.Field("Last-Modified: "u8, lastModified);
        response.Field("ETag: "u8, document.EntityTag);
    }

    private static void Ascii(ref ResponseHead response, string text)
    {
        Span<byte> bytes = stackalloc byte[256];
        response.Raw(bytes[..Encoding.ASCII.GetBytes(text, bytes)]);
    }

    private void End(ResponseQueue queue, ref ResponseHead response, bool closes, bool saysKeepAlive) =>
        queue.Add(Finish(ref response, queue.Room, closes, saysKeepAlive));

    private int Finish(ref ResponseHead response, Span<byte> room, bool closes, bool saysKeepAlive)
    {
        response.Raw(ConnectionField(closes, saysKeepAlive));
        response.End();
        date.CopyTo(room[response.DateOffset..]);
        return response.LengthBytes;
    }

    private static ReadOnlySpan<byte> ConnectionField(bool closes, bool saysKeepAlive) =>
        closes ? "Connection: close\r\n"u8 : saysKeepAlive ? "Connection: keep-alive\r\n"u8 : default;

    private static PrebuiltHead?[] BuildPages()
    {
        var pages = new PrebuiltHead?[600];
        foreach (int status in (ReadOnlySpan<int>)[400, 404, 405, 408, 411, 412, 413, 414, 417, 431, 500, 501, 503, 505])
        {
            pages[status] = PrebuiltHead.Page(status);
        }

        return pages;
    }
}
