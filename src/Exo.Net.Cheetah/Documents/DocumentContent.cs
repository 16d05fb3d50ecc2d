// SPDX-License-Identifier: MIT
using Exo.Core.Memory;

namespace Exo.Net.Cheetah;

/// <summary>Frames with consecutive numbers, hence consecutive bytes.</summary>
/// <param name="First">The first frame.</param>
/// <param name="FrameCount">How many, at least 1.</param>
public readonly record struct DocumentRun(FrameNumber First, int FrameCount);

/// <summary>
/// A document's bytes as its source hands them over: leased frames that are served as they are, bytes that are copied into
/// frames once, or whoever reads them range by range. Disposing gives the lease back.
/// </summary>
public sealed class DocumentContent : IDisposable
{
    private readonly DocumentRun[] runs = [];
    private IDisposable? owner;

    private DocumentContent(long lengthBytes, DateTimeOffset lastModified, UInt128 version, string? contentType, object? state)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(lengthBytes);
        if (contentType is not null && (contentType.Length is 0 or > 200 || contentType.Any(c => c is < ' ' or > '~')))
        {
            throw new ArgumentException("A content type is 1 to 200 visible ASCII characters and spaces.", nameof(contentType));
        }

        ContentType = contentType;
        State = state;
        LengthBytes = lengthBytes;
        LastModified = lastModified;
        Version = version;
    }

    private DocumentContent(
        DocumentRun[] runs, int firstByteOffset, long lengthBytes, DateTimeOffset lastModified, UInt128 version, IDisposable owner,
        string? contentType, object? state)
        : this(lengthBytes, lastModified, version, contentType, state)
    {
        ArgumentNullException.ThrowIfNull(owner);
        ThrowUnlessInside(runs, firstByteOffset, lengthBytes);
        this.runs = runs;
        this.owner = owner;
        FirstByteOffset = firstByteOffset;
        IsInFrames = true;
    }

    /// <summary>
    /// Frames of the server's pool that hold the document: every run whole, but for the first
    /// <paramref name="firstByteOffset"/> bytes and what lies behind the last byte. The bytes must not change until
    /// <paramref name="owner"/> is disposed, which happens when the document has left the cache and the last response.
    /// </summary>
    /// <param name="runs">The frames in order.</param>
    /// <param name="firstByteOffset">Where the document begins in the first frame, 0..4095.</param>
    /// <param name="lengthBytes">Bytes of the document.</param>
    /// <param name="lastModified">For Last-Modified, cut to seconds.</param>
    /// <param name="version">Becomes the strong ETag: two contents ever served under one path must differ in it, restarts included.</param>
    /// <param name="owner">Holds the frames; disposed once.</param>
    /// <param name="contentType">Content-Type; null = by the extension of the path.</param>
    /// <param name="state">The source's own, for <see cref="IDocumentSource.IsCurrent"/>.</param>
    public static DocumentContent FromFrames(
        ReadOnlySpan<DocumentRun> runs, int firstByteOffset, long lengthBytes, DateTimeOffset lastModified, UInt128 version, IDisposable owner,
        string? contentType = null, object? state = null) =>
        new(runs.ToArray(), firstByteOffset, lengthBytes, lastModified, version, owner, contentType, state);

    /// <summary>Bytes that the server copies into frames of its own, once.</summary>
    /// <param name="bytes">The document; not used after the lookup has been taken in.</param>
    /// <param name="lastModified">For Last-Modified, cut to seconds.</param>
    /// <param name="version">As in <see cref="FromFrames"/>.</param>
    /// <param name="contentType">As in <see cref="FromFrames"/>.</param>
    /// <param name="state">As in <see cref="FromFrames"/>.</param>
    public static DocumentContent FromBytes(
        ReadOnlyMemory<byte> bytes, DateTimeOffset lastModified, UInt128 version, string? contentType = null, object? state = null) =>
        new(bytes.Length, lastModified, version, contentType, state) { Bytes = bytes };

    /// <summary>
    /// A document that is not brought in whole, of any length: responses read it range by range and hold no more than their windows of it (<see cref="CheetahServerOptions.DocumentWindowBytes"/>). The cache keeps who reads, not
    /// what is read, so a small document is served faster in one of the other ways.
    /// </summary>
    /// <param name="ranges">Reads ranges; disposed once, when the document has left the cache and the last response.</param>
    /// <param name="lengthBytes">Bytes of the document.</param>
    /// <param name="lastModified">For Last-Modified, cut to seconds.</param>
    /// <param name="version">As in <see cref="FromFrames"/>; <paramref name="ranges"/> gives bytes of this version and of no other.</param>
    /// <param name="contentType">As in <see cref="FromFrames"/>.</param>
    /// <param name="state">As in <see cref="FromFrames"/>.</param>
    public static DocumentContent FromRanges(
        IDocumentRanges ranges, long lengthBytes, DateTimeOffset lastModified, UInt128 version, string? contentType = null, object? state = null)
    {
        ArgumentNullException.ThrowIfNull(ranges);
        return new DocumentContent(lengthBytes, lastModified, version, contentType, state) { Ranges = ranges, owner = ranges };
    }

    /// <summary>Bytes of the document.</summary>
    public long LengthBytes { get; }

    /// <summary>When it last changed.</summary>
    public DateTimeOffset LastModified { get; }

    /// <summary>What the ETag is made from.</summary>
    public UInt128 Version { get; }

    /// <summary>Content-Type; null = by the extension of the path.</summary>
    public string? ContentType { get; }

    /// <summary>The source's own, for <see cref="IDocumentSource.IsCurrent"/>.</summary>
    public object? State { get; }

    internal bool IsInFrames { get; }

    internal IDocumentRanges? Ranges { get; private init; }

    /// <summary>Neither in frames nor read range by range: to be copied.</summary>
    internal bool IsInBytes => !IsInFrames && Ranges is null;

    internal ReadOnlyMemory<byte> Bytes { get; private set; }

    internal ReadOnlySpan<DocumentRun> Runs => runs;

    internal int FirstByteOffset { get; }

    internal static void ThrowUnlessInside(ReadOnlySpan<DocumentRun> runs, int firstByteOffset, long lengthBytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(firstByteOffset);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(firstByteOffset, FramePool.FrameBytes);
        long roomBytes = 0;
        foreach (DocumentRun run in runs)
        {
            ArgumentOutOfRangeException.ThrowIfNegativeOrZero(run.FrameCount, nameof(runs));
            roomBytes += (long)run.FrameCount * FramePool.FrameBytes;
        }

        ArgumentOutOfRangeException.ThrowIfGreaterThan(lengthBytes, Math.Max(0, roomBytes - firstByteOffset));
    }

    /// <summary>Forgets bytes that have been copied, so that the source's array can be collected.</summary>
    internal void ForgetBytes() => Bytes = default;

    /// <summary>Gives the frames back to the source. A second call does nothing.</summary>
    public void Dispose() => Interlocked.Exchange(ref owner, null)?.Dispose();
}
