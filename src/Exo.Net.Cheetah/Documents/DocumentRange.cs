// SPDX-License-Identifier: MIT
using Exo.Core.Memory;

namespace Exo.Net.Cheetah;

/// <summary>A range of a document as its source hands it over (<see cref="IDocumentRanges"/>): leased frames that are sent as they are, or bytes that are copied into frames once. Disposing gives the lease back.</summary>
public sealed class DocumentRange : IDisposable
{
    private readonly DocumentRun[] runs = [];
    private IDisposable? owner;

    private DocumentRange(long lengthBytes) => LengthBytes = lengthBytes;

    /// <summary>
    /// Frames of the server's pool that hold the range: every run whole, but for the first <paramref name="firstByteOffset"/> bytes and what lies behind the last byte. The bytes must not change until
    /// <paramref name="owner"/> is disposed, which happens when all who wanted them have been sent them.
    /// </summary>
    /// <param name="runs">The frames in order.</param>
    /// <param name="firstByteOffset">Where the range begins in the first frame, 0..4095.</param>
    /// <param name="lengthBytes">Bytes of the range.</param>
    /// <param name="owner">Holds the frames; disposed once.</param>
    public static DocumentRange FromFrames(ReadOnlySpan<DocumentRun> runs, int firstByteOffset, int lengthBytes, IDisposable owner)
    {
        ArgumentNullException.ThrowIfNull(owner);
        ArgumentOutOfRangeException.ThrowIfNegative(lengthBytes);
        DocumentContent.ThrowUnlessInside(runs, firstByteOffset, lengthBytes);
        return new DocumentRange(lengthBytes, runs.ToArray(), firstByteOffset, owner);
    }

    /// <summary>Bytes that the server copies into frames of its own, once.</summary>
    /// <param name="bytes">The range; not used after it has been taken in.</param>
    public static DocumentRange FromBytes(ReadOnlyMemory<byte> bytes) => new(bytes.Length) { Bytes = bytes };

    private DocumentRange(long lengthBytes, DocumentRun[] runs, int firstByteOffset, IDisposable owner)
        : this(lengthBytes)
    {
        this.runs = runs;
        this.owner = owner;
        FirstByteOffset = firstByteOffset;
        IsInFrames = true;
    }

    /// <summary>Bytes of the range.</summary>
    public long LengthBytes { get; }

    /// <summary>The source found no frames for it: it is asked again when documents have made room.</summary>
    internal static DocumentRange OutOfFrames { get; } = new(0);

    internal bool IsInFrames { get; }

    internal ReadOnlyMemory<byte> Bytes { get; private init; }

    internal ReadOnlySpan<DocumentRun> Runs => runs;

    internal int FirstByteOffset { get; }

    /// <summary>Gives the frames back to the source. A second call does nothing.</summary>
    public void Dispose() => Interlocked.Exchange(ref owner, null)?.Dispose();
}
