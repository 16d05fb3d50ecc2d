// SPDX-License-Identifier: MIT
using System.Buffers;
using System.Globalization;
using System.Text;
using Exo.Net.Cheetah.Http;

namespace Exo.Net.Cheetah;

/// <summary>
/// What a handler has written so far, aside until it has returned: so its length is known when the head is written, and nothing has left when it throws. One per reactor; it grows to the
/// longest body and is used again, so it allocates nothing in the long run.
/// </summary>
internal sealed class ResponseBuffer(int bodyBytesMax) : IBufferWriter<byte>
{
    /// <summary>Bytes of the fields a handler adds, line ends included.</summary>
    public const int FieldBytesMax = 6144;

    private const int FirstBodyBytes = 4096, ContentTypeBytesMax = 256;

    private readonly byte[] fields = new byte[FieldBytesMax];
    private readonly byte[] contentType = new byte[ContentTypeBytesMax];
    private byte[] body = new byte[Math.Min(FirstBodyBytes, bodyBytesMax)];
    private int fieldBytes, contentTypeBytes, bodyBytes, status = 200;

    public int Status
    {
        get => status;
        set => status = value is >= 200 and <= 599 ? value : throw new ArgumentOutOfRangeException(nameof(value), value, "A final status is from 200 to 599.");
    }

    public ReadOnlySpan<byte> ContentType => contentTypeBytes == 0 ? "text/plain; charset=utf-8"u8 : contentType.AsSpan(0, contentTypeBytes);

    /// <summary>The fields, as they stand in a head.</summary>
    public ReadOnlySpan<byte> Fields => fields.AsSpan(0, fieldBytes);

    public ReadOnlySpan<byte> Body => body.AsSpan(0, bodyBytes);

    public ReadOnlyMemory<byte> BodyMemory => body.AsMemory(0, bodyBytes);

    /// <summary>The status is one that has no body (RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5).</summary>
    public bool HasNoBody => status is 204 or 205 or 304;

    public void Reset()
    {
        status = 200;
        fieldBytes = contentTypeBytes = bodyBytes = 0;
    }

    public void SetContentType(ReadOnlySpan<byte> value)
    {
        if (value.IsEmpty || value.Length > ContentTypeBytesMax || value.ContainsAny(HttpText.ForbiddenInValue))
        {
            throw new ArgumentException("A content type is 1 to 256 bytes without controls.", nameof(value));
        }

        value.CopyTo(contentType);
        contentTypeBytes = value.Length;
    }

    public void AddField(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value)
    {
        if (name.IsEmpty || name.ContainsAnyExcept(HttpText.TokenBytes) || IsServers(name))
        {
            throw new ArgumentException($"'{Encoding.Latin1.GetString(name)}' is no name of a field, or not the handler's to set.", nameof(name));
        }

        if (value.ContainsAny(HttpText.ForbiddenInValue))
        {
            throw new ArgumentException("The value of a field has no controls and no line ends.", nameof(value));
        }

        if (name.Length + value.Length + 4 > fields.Length - fieldBytes)
        {
            throw new InvalidOperationException($"The fields of a response take at most {FieldBytesMax} bytes.");
        }

        var line = new ResponseHead(fields.AsSpan(fieldBytes));
        line.Raw(name);
        line.Raw(": "u8);
        line.Raw(value);
        line.Raw("\r\n"u8);
        fieldBytes += line.LengthBytes;
    }

    public void Write(ReadOnlySpan<byte> bytes)
    {
        bytes.CopyTo(GetSpan(bytes.Length));
        bodyBytes += bytes.Length;
    }

    public void Write(ReadOnlySpan<char> text)
    {
        Span<byte> room = GetSpan(Encoding.UTF8.GetByteCount(text));
        bodyBytes += Encoding.UTF8.GetBytes(text, room);
    }

    public void Write<T>(T value, ReadOnlySpan<char> format)
        where T : IUtf8SpanFormattable
    {
        int written;
        while (!value.TryFormat(body.AsSpan(bodyBytes), out written, format, CultureInfo.InvariantCulture))
        {
            Reserve(body.Length - bodyBytes + 1);
        }

        bodyBytes += written;
    }

    public void Advance(int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(count, body.Length - bodyBytes);
        bodyBytes += count;
    }

    public Memory<byte> GetMemory(int sizeHint = 0)
    {
        Reserve(sizeHint);
        return body.AsMemory(bodyBytes);
    }

    public Span<byte> GetSpan(int sizeHint = 0)
    {
        Reserve(sizeHint);
        return body.AsSpan(bodyBytes);
    }

    // An empty span may not be given out for a hint of 0, so that somebody always wants a byte at least.
    private void Reserve(int bytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        bytes = Math.Max(1, bytes);
        if (bytes <= body.Length - bodyBytes)
        {
            return;
        }

        if (bytes > bodyBytesMax - bodyBytes)
        {
            throw new InvalidOperationException($"The body of a handler's response is at most {bodyBytesMax} bytes (CheetahServerOptions.HandlerResponseBytesMax).");
        }

        Array.Resize(ref body, (int)Math.Min(bodyBytesMax, Math.Max(2L * body.Length, (long)bodyBytes + bytes)));
    }

    // What frames the message and keeps the connection (RFC 9112 sections 6 and 9), and what has a place of its own.
    /// <summary>A field that the server sets, or that concerns the connection.</summary>
    internal static bool IsServers(ReadOnlySpan<byte> name) => name.Length switch
    {
        4 => HttpText.Is(name, "date"u8),
        7 => HttpText.Is(name, "upgrade"u8) || HttpText.Is(name, "trailer"u8),
        10 => HttpText.Is(name, "connection"u8) || HttpText.Is(name, "keep-alive"u8),
        12 => HttpText.Is(name, "content-type"u8),
        14 => HttpText.Is(name, "content-length"u8),
        16 => HttpText.Is(name, "proxy-connection"u8),
        17 => HttpText.Is(name, "transfer-encoding"u8),
        _ => false,
    };
}
