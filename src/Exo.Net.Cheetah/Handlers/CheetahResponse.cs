// SPDX-License-Identifier: MIT
using System.Buffers;

namespace Exo.Net.Cheetah;

/// <summary>
/// Where a <see cref="CheetahHandler"/> writes its answer: memory of the server's, sent when the handler has returned. Date, Content-Length and Connection are the server's business. Valid during the call.
/// </summary>
public readonly ref struct CheetahResponse
{
    private readonly ResponseBuffer buffer;

    internal CheetahResponse(ResponseBuffer buffer) => this.buffer = buffer;

    /// <summary>The status, 200 to 599; at first 200. 204, 205 and 304 go without a body: who writes one with them has failed.</summary>
    /// <exception cref="ArgumentOutOfRangeException">It is set to another number.</exception>
    public int Status
    {
        get => buffer.Status;
        set => buffer.Status = value;
    }

    /// <summary>The media type of the body, at most 256 bytes; at first "text/plain; charset=utf-8". Not sent without a body.</summary>
    /// <exception cref="ArgumentException">It is set to something that is no value of a field.</exception>
    public ReadOnlySpan<byte> ContentType
    {
        get => buffer.ContentType;
        set => buffer.SetContentType(value);
    }

    /// <summary>The body, for what writes into a buffer: a JSON writer, an encoder.</summary>
    /// <remarks>Using it beyond <see cref="CheetahServerOptions.HandlerResponseBytesMax"/> throws <see cref="InvalidOperationException"/>.</remarks>
    public IBufferWriter<byte> Body => buffer;

    /// <summary>Adds a header field.</summary>
    /// <param name="name">A token; none of those that are the server's business, and not Content-Type.</param>
    /// <param name="value">No control bytes, so no line ends.</param>
    /// <exception cref="ArgumentException">It is no field, or none that a handler may set.</exception>
    /// <exception cref="InvalidOperationException">All fields together take more than 6144 bytes.</exception>
    public void AddField(scoped ReadOnlySpan<byte> name, scoped ReadOnlySpan<byte> value) => buffer.AddField(name, value);

    /// <summary>Adds bytes to the body.</summary>
    /// <exception cref="InvalidOperationException">The body is longer than <see cref="CheetahServerOptions.HandlerResponseBytesMax"/>.</exception>
    public void Write(scoped ReadOnlySpan<byte> bytes) => buffer.Write(bytes);

    /// <summary>Adds text to the body as UTF-8.</summary>
    /// <exception cref="InvalidOperationException">The body is longer than <see cref="CheetahServerOptions.HandlerResponseBytesMax"/>.</exception>
    public void Write(scoped ReadOnlySpan<char> text) => buffer.Write(text);

    /// <summary>Adds a number, a date, or the like to the body, in the invariant culture.</summary>
    /// <exception cref="InvalidOperationException">The body is longer than <see cref="CheetahServerOptions.HandlerResponseBytesMax"/>.</exception>
    public void Write<T>(T value, scoped ReadOnlySpan<char> format = default)
        where T : IUtf8SpanFormattable => buffer.Write(value, format);
}
