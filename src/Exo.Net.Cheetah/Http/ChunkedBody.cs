// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah.Http;

/// <summary>
/// Finds the end of a chunked body and takes the chunks out of it (RFC 9112 section 7.1). As strict as <see cref="RequestParser"/>, and fed like it: the same bytes come again with more behind them, and every
/// decision depends only on the bytes up to the one that forced it. Extensions and trailer fields are checked and passed over.
/// <code>
/// 5;a=b\r\n  hello\r\n  0\r\n  Digest: x\r\n  \r\n
/// size       data       last   trailer        end
/// </code>
/// </summary>
internal struct ChunkedBody
{
    // A size of eight digits is more than any limit, and who sends extensions at all sends short ones.
    private const int SizeDigitsMax = 8;
    private const int SizeLineBytesMax = 256;

    private int lineStart;
    private int scanned;
    private int fieldCount;
    private bool isInTrailer;
    private ParseStatus status;

    /// <summary>The HTTP status of a refusal: 400, 413 or 431.</summary>
    public int RefusalStatus { get; private set; }

    /// <summary>Bytes of the chunks so far, all of them once it is complete.</summary>
    public int DataBytes { get; private set; }

    /// <summary>Bytes of the whole, sizes and trailer included, once it is complete.</summary>
    public readonly int LengthBytes => lineStart;

    /// <summary>Reads on.</summary>
    /// <param name="body">What has come behind the head; it only ever grows.</param>
    /// <param name="bytesMax">What the whole may have: more is refused with 413.</param>
    /// <param name="fieldsMax">Trailer fields: more are refused with 431.</param>
    public ParseStatus Advance(ReadOnlySpan<byte> body, int bytesMax, int fieldsMax)
    {
        ReadOnlySpan<byte> within = body[..Math.Min(body.Length, bytesMax)];
        while (status == ParseStatus.NeedMore)
        {
            int limit = isInTrailer ? bytesMax : Math.Min(bytesMax, lineStart + SizeLineBytesMax);
            int end = Math.Min(within.Length, limit);
            int lineFeed = scanned < end ? within[scanned..end].IndexOf((byte)'\n') : -1;
            if (lineFeed < 0)
            {
                scanned = Math.Max(scanned, end);
                return within.Length < limit ? ParseStatus.NeedMore : Refuse(limit == bytesMax ? 413 : 400);
            }

            lineFeed += scanned;
            if (lineFeed == lineStart || within[lineFeed - 1] != '\r')
            {
                return Refuse(400);   // a bare line feed ends no line
            }

            ReadOnlySpan<byte> line = within[lineStart..(lineFeed - 1)];
            if (isInTrailer ? !TrailerLine(line, lineFeed + 1, fieldsMax) : !Chunk(line, within, lineFeed + 1, bytesMax))
            {
                return status;
            }
        }

        return status;
    }

    /// <summary>Copies the chunks of a complete body, without what is between them.</summary>
    public readonly void CopyTo(ReadOnlySpan<byte> body, Span<byte> data)
    {
        Invariant.Check(status == ParseStatus.Complete && data.Length == DataBytes);
        while (!data.IsEmpty)
        {
            int lineEnd = body.IndexOf((byte)'\n') + 1;
            bool isSize = TrySize(body[..lineEnd], out int size, out _);
            Invariant.Check(isSize && size > 0);
            body.Slice(lineEnd, size).CopyTo(data);
            data = data[size..];
            body = body[(lineEnd + size + 2)..];
        }
    }

    // A chunk with its data, if that has come whole: else its line is read again. False when no more can be said.
    private bool Chunk(ReadOnlySpan<byte> line, ReadOnlySpan<byte> body, int dataStart, int bytesMax)
    {
        if (!TrySize(line, out int size, out ReadOnlySpan<byte> extensions) || !AreExtensions(extensions))
        {
            Refuse(400);
            return false;
        }

        if (size == 0)
        {
            lineStart = scanned = dataStart;
            isInTrailer = true;
            return true;
        }

        long next = (long)dataStart + size + 2;
        if (next > bytesMax)
        {
            Refuse(413);
            return false;
        }

        // The end of the data is judged byte by byte, as it comes.
        int dataEnd = dataStart + size;
        if ((body.Length > dataEnd && body[dataEnd] != '\r') || (body.Length > dataEnd + 1 && body[dataEnd + 1] != '\n'))
        {
            Refuse(400);
            return false;
        }

        if (body.Length < next)
        {
            return false;
        }

        DataBytes += size;
        lineStart = scanned = (int)next;
        return true;
    }

    private bool TrailerLine(ReadOnlySpan<byte> line, int next, int fieldsMax)
    {
        if (line.IsEmpty)
        {
            status = ParseStatus.Complete;
        }
        else if (++fieldCount > fieldsMax)
        {
            Refuse(431);
            return false;
        }
        else if (!HttpText.IsField(line, out _))
        {
            Refuse(400);
            return false;
        }

        lineStart = scanned = next;
        return true;
    }

    private static bool TrySize(ReadOnlySpan<byte> line, out int size, out ReadOnlySpan<byte> rest)
    {
        int digits = 0;
        long value = 0;
        while (digits < line.Length && char.IsAsciiHexDigit((char)line[digits]) && digits <= SizeDigitsMax)
        {
            byte digit = line[digits++];
            value = (value << 4) | (uint)(digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10);
        }

        rest = line[digits..];
        size = (int)Math.Min(value, int.MaxValue);
        return digits is > 0 and <= SizeDigitsMax;
    }

    // *( ";" chunk-ext-name [ "=" chunk-ext-val ] ): of what is passed over only that it cannot be read as the end of the line, and begins as one.
    private static bool AreExtensions(ReadOnlySpan<byte> extensions) =>
        extensions.IsEmpty || (extensions[0] == ';' && !extensions.ContainsAny(HttpText.ForbiddenInValue));

    private ParseStatus Refuse(int httpStatus)
    {
        RefusalStatus = httpStatus;
        return status = ParseStatus.Refused;
    }
}
