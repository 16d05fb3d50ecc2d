// SPDX-License-Identifier: MIT
using System.Text;

namespace Exo.Net.Cheetah.Http;

/// <summary>A head built once and sent often: a copy of it gets the date and, where needed, a Connection field.</summary>
internal sealed class PrebuiltHead
{
    private readonly byte[] bytes;
    private readonly int dateOffset;
    private readonly int bodyOffset;

    private PrebuiltHead(byte[] bytes, int dateOffset, int bodyOffset)
    {
        this.bytes = bytes;
        this.dateOffset = dateOffset;
        this.bodyOffset = bodyOffset;
    }

    /// <summary>Room a copy may need: the head, a Connection field, and a body built into it.</summary>
    public int LengthBytesMax => bytes.Length + ConnectionFieldBytesMax;

    /// <summary>Longest Connection field.</summary>
    public const int ConnectionFieldBytesMax = 24;

    /// <summary>Bytes of a body built in.</summary>
    public int BodyBytes => bytes.Length - bodyOffset;

    /// <summary>The bytes as built, with the date of the epoch.</summary>
    public ReadOnlySpan<byte> Bytes => bytes;

    /// <summary>Where the date begins, in copies too.</summary>
    public int DateOffset => dateOffset;

    /// <summary>Builds the 200 head of a document.</summary>
    public static PrebuiltHead ForDocument(string contentType, long lengthBytes, ReadOnlySpan<byte> lastModified, ReadOnlySpan<byte> entityTag, ContentCoding? coding, bool varies, ReadOnlySpan<byte> fields)
    {
        byte[] type = Encoding.Latin1.GetBytes(contentType);
        Span<byte> room = new byte[384 + type.Length + fields.Length];
        var head = new ResponseHead(room);
        head.Status(200);
        head.Field("Content-Type: "u8, type);
        head.Field("Content-Length: "u8, lengthBytes);
        head.Field("Last-Modified: "u8, lastModified);
        head.Field("ETag: "u8, entityTag);
        head.Field("Accept-Ranges: "u8, "bytes"u8);
        head.Representation(coding, varies);
        head.Raw(fields);
        head.End();
        return new PrebuiltHead(room[..head.LengthBytes].ToArray(), head.DateOffset, head.LengthBytes);
    }

    /// <summary>Builds the 304 head of a document (RFC 9110 section 15.4.5).</summary>
    public static PrebuiltHead NotModified(ReadOnlySpan<byte> lastModified, ReadOnlySpan<byte> entityTag, bool varies, ReadOnlySpan<byte> fields)
    {
        Span<byte> room = new byte[256 + fields.Length];
        var head = new ResponseHead(room);
        head.Status(304);
        head.Field("Last-Modified: "u8, lastModified);
        head.Field("ETag: "u8, entityTag);
        head.Representation(coding: null, varies);
        head.Raw(fields);
        head.End();
        return new PrebuiltHead(room[..head.LengthBytes].ToArray(), head.DateOffset, head.LengthBytes);
    }

    /// <summary>Builds a small page for a status, with its body behind the head.</summary>
    public static PrebuiltHead Page(int status, string allowed = "GET, HEAD")
    {
        byte[] body = Encoding.ASCII.GetBytes(
            $"<!doctype html><title>{status}</title><h1>{status} {Encoding.ASCII.GetString(ResponseHead.Reason(status))}</h1>\n");
        Span<byte> room = new byte[512 + allowed.Length];
        var head = new ResponseHead(room);
        head.Status(status);
        head.Field("Content-Type: "u8, "text/html; charset=utf-8"u8);
        head.Field("Content-Length: "u8, body.Length);
        if (status == 405)
        {
            head.Field("Allow: "u8, Encoding.Latin1.GetBytes(allowed));
        }

        if (status == 503)
        {
            head.Field("Retry-After: "u8, 1);
        }

        head.End();
        int bodyOffset = head.LengthBytes;
        head.Raw(body);
        return new PrebuiltHead(room[..head.LengthBytes].ToArray(), head.DateOffset, bodyOffset);
    }

    /// <summary>Copies it with date and connection field; returns the bytes written.</summary>
    /// <param name="destination">At least <see cref="LengthBytesMax"/>.</param>
    /// <param name="date">29 bytes.</param>
    /// <param name="connectionField">A whole line with its end, or empty.</param>
    /// <param name="withBody">Whether a body built in goes along (not for HEAD).</param>
    public int CopyTo(Span<byte> destination, ReadOnlySpan<byte> date, ReadOnlySpan<byte> connectionField, bool withBody = true)
    {
        if (connectionField.IsEmpty)
        {
            int length = withBody ? bytes.Length : bodyOffset;
            bytes.AsSpan(0, length).CopyTo(destination);
            date.CopyTo(destination[dateOffset..]);
            return length;
        }

        int beforeEnd = bodyOffset - 2;
        bytes.AsSpan(0, beforeEnd).CopyTo(destination);
        date.CopyTo(destination[dateOffset..]);
        connectionField.CopyTo(destination[beforeEnd..]);
        ReadOnlySpan<byte> rest = withBody ? bytes.AsSpan(beforeEnd) : bytes.AsSpan(beforeEnd, 2);
        rest.CopyTo(destination[(beforeEnd + connectionField.Length)..]);
        return beforeEnd + connectionField.Length + rest.Length;
    }
}
