// SPDX-License-Identifier: MIT
using System.Buffers.Text;

namespace Exo.Net.Cheetah.Http;

/// <summary>
/// Writes response heads. Every head starts with its status line and then the Date field, so that the date stands at a known
/// place and a prebuilt head needs no more than 29 bytes patched when it is sent.
/// <code>
/// HTTP/1.1 200 OK\r\n
/// Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n      value at statusLineBytes + 6
/// ...
/// \r\n                                         a Connection field is put in before these two bytes
/// </code>
/// </summary>
internal ref struct ResponseHead(Span<byte> destination)
{
    private static readonly byte[] DatePlace = "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"u8.ToArray();

    private readonly Span<byte> destination = destination;

    /// <summary>Bytes written.</summary>
    public int LengthBytes { get; private set; }

    /// <summary>Where the 29 bytes of the date stand.</summary>
    public int DateOffset { get; private set; }

    public void Status(int status)
    {
        Raw("HTTP/1.1 "u8);
        Number(status);
        Raw(" "u8);
        Raw(Reason(status));
        Raw("\r\n"u8);
        DateOffset = LengthBytes + 6;
        Raw(DatePlace);
    }

    /// <summary>Name with ": " and value; the line end is added.</summary>
    public void Field(scoped ReadOnlySpan<byte> nameAndColon, scoped ReadOnlySpan<byte> value)
    {
        Raw(nameAndColon);
        Raw(value);
        Raw("\r\n"u8);
    }

    public void Field(scoped ReadOnlySpan<byte> nameAndColon, long value)
    {
        Raw(nameAndColon);
        Number(value);
        Raw("\r\n"u8);
    }

    /// <summary>Content-Range: bytes first-last/complete (RFC 9110 section 14.4).</summary>
    public void ContentRange(in ByteRange range, long documentBytes)
    {
        Raw("Content-Range: bytes "u8);
        Number(range.OffsetBytes);
        Raw("-"u8);
        Number(range.OffsetBytes + range.LengthBytes - 1);
        Raw("/"u8);
        Number(documentBytes);
        Raw("\r\n"u8);
    }

    /// <summary>What a representation is encoded as, and whether there are others at its address (RFC 9110 sections 8.4 and 12.5.5).</summary>
    public void Representation(ContentCoding? coding, bool varies)
    {
        if (coding is not null)
        {
            Raw(coding.Field);
        }

        if (varies)
        {
            Raw("Vary: Accept-Encoding\r\n"u8);
        }
    }

    public void Raw(scoped ReadOnlySpan<byte> bytes)
    {
        bytes.CopyTo(destination[LengthBytes..]);
        LengthBytes += bytes.Length;
    }

    public void Number(long value)
    {
        bool fits = Utf8Formatter.TryFormat(value, destination[LengthBytes..], out int written);
        Invariant.Check(fits);
        LengthBytes += written;
    }

    public void End() => Raw("\r\n"u8);

    /// <summary>The phrase of each status the server uses and of others that are common; a phrase may be empty (RFC 9112 section 4).</summary>
    public static ReadOnlySpan<byte> Reason(int status) => status switch
    {
        200 => "OK"u8,
        201 => "Created"u8,
        202 => "Accepted"u8,
        204 => "No Content"u8,
        205 => "Reset Content"u8,
        206 => "Partial Content"u8,
        301 => "Moved Permanently"u8,
        302 => "Found"u8,
        303 => "See Other"u8,
        304 => "Not Modified"u8,
        307 => "Temporary Redirect"u8,
        308 => "Permanent Redirect"u8,
        400 => "Bad Request"u8,
        401 => "Unauthorized"u8,
        403 => "Forbidden"u8,
        404 => "Not Found"u8,
        405 => "Method Not Allowed"u8,
        408 => "Request Timeout"u8,
        409 => "Conflict"u8,
        410 => "Gone"u8,
        411 => "Length Required"u8,
        412 => "Precondition Failed"u8,
        413 => "Content Too Large"u8,
        414 => "URI Too Long"u8,
        416 => "Range Not Satisfiable"u8,
        415 => "Unsupported Media Type"u8,
        417 => "Expectation Failed"u8,
        422 => "Unprocessable Content"u8,
        429 => "Too Many Requests"u8,
        431 => "Request Header Fields Too Large"u8,
        500 => "Internal Server Error"u8,
        501 => "Not Implemented"u8,
        502 => "Bad Gateway"u8,
        503 => "Service Unavailable"u8,
        504 => "Gateway Timeout"u8,
        505 => "HTTP Version Not Supported"u8,
        _ => default,
    };
}
