// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah.Http;

/// <summary>The methods the server tells apart. Those of RFC 9110 are known and refused with 405, the rest with 501.</summary>
internal enum Method : byte
{
    Unknown,
    Get,
    Head,
    KnownButNotAllowed,
}

/// <summary>The form of the request target (RFC 9112 section 3.2).</summary>
internal enum TargetForm : byte
{
    Origin,
    Absolute,
    Authority,
    Asterisk,
}

/// <summary>A piece of the request, counted from its first byte. <see cref="Count"/> says how often the field came.</summary>
internal struct FieldSlot
{
    public int Start;
    public int LengthBytes;
    public int Count;

    /// <summary>The value of the first such field line, without surrounding white space.</summary>
    public readonly ReadOnlySpan<byte> In(ReadOnlySpan<byte> request) => request.Slice(Start, LengthBytes);
}

/// <summary>
/// What a request head says, as offsets into the bytes it was read from; it holds no bytes and allocates nothing.
/// <code>
/// GET /a/b?x=1 HTTP/1.1\r\n        Path = "/a/b"   Query = "?x=1"
/// Host: h\r\n
/// \r\n                             LengthBytes ends here
/// </code>
/// </summary>
internal struct RequestHead
{
    public Method Method;
    public TargetForm Form;
    public bool IsHttp11;
    public bool WantsClose;
    public bool WantsKeepAlive;
    public bool ExpectsContinue;
    public bool ExpectsUnknown;
    public int LengthBytes;
    public FieldSlot RequestLine;
    public FieldSlot Path;
    public FieldSlot Query;

    /// <summary>Bytes of body that follow the head; 0 when there is none.</summary>
    public long ContentLengthBytes;

    /// <summary>The body is chunked, so its end is not known beforehand.</summary>
    public bool IsChunked;

    public FieldSlot Host;
    public FieldSlot ContentLength;
    public FieldSlot TransferEncoding;
    public FieldSlot IfMatch;
    public FieldSlot IfNoneMatch;
    public FieldSlot IfModifiedSince;
    public FieldSlot IfUnmodifiedSince;
    public FieldSlot IfRange;
    public FieldSlot Range;
    public FieldSlot AcceptEncoding;
    public FieldSlot Referer;
    public FieldSlot UserAgent;

    /// <summary>The connection may carry another request (RFC 9112 section 9.3).</summary>
    public readonly bool KeepsConnection => !WantsClose && (IsHttp11 || WantsKeepAlive);

    public readonly bool HasBody => IsChunked || ContentLengthBytes > 0;
}
