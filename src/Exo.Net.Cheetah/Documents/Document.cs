// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;
using Exo.Core.Linux;
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Net.Cheetah.Http;
using Exo.Net.Cheetah.Tcp;

namespace Exo.Net.Cheetah;

/// <summary>
/// A document ready to leave: its bytes in frames, the response heads built, and the checksum of each segment taken. It is
/// cache entry and retransmission buffer in one, as in Cheetah: responses in flight and the cache count as holders, and the
/// frames go back to their owner with the last.
/// <code>
/// frames    |....document bytes, run by run....|        never copied on the way out
/// segments  |0..1447|1448..2895|...|last        |        one RFC 1071 partial sum each
/// </code>
/// </summary>
internal sealed unsafe class Document : ISendSource
{
    /// <summary>Payload bytes of a full TCP segment on Ethernet with timestamps: 1500 - 20 - 20 - 12.</summary>
    public const int SegmentBytes = 1448;

    private readonly FramePool frames;
    private readonly Piece[] pieces;
    private readonly nint poolAddress;
    private readonly ushort[] segmentSums;
    private readonly byte[] entityTag;
    private int holders = 1;

    private Document(FramePool frames, DocumentContent content, Piece[] pieces, string contentType)
    {
        this.frames = frames;
        this.pieces = pieces;
        poolAddress = frames.Address(new FrameNumber(0));
        Content = content;
        LengthBytes = content.LengthBytes;
        LastModifiedUnixSeconds = content.LastModified.ToUnixTimeSeconds();
        ContentType = contentType;
        entityTag = Encoding.ASCII.GetBytes(
            string.Create(CultureInfo.InvariantCulture, $"\"{content.Version:x}-{content.LengthBytes:x}\""));
        Span<byte> lastModified = stackalloc byte[HttpDate.LengthBytes];
        HttpDate.Format(LastModifiedUnixSeconds, lastModified);
        OkHead = PrebuiltHead.ForDocument(contentType, LengthBytes, lastModified, entityTag);
        NotModifiedHead = PrebuiltHead.NotModified(lastModified, entityTag);
        segmentSums = Sum();
        long frameBytes = 0;
        foreach (Piece piece in pieces)
        {
            frameBytes += (piece.LengthBytes + FramePool.FrameBytes - 1) / FramePool.FrameBytes * FramePool.FrameBytes;
        }

        CostBytes = frameBytes + OkHead.Bytes.Length + NotModifiedHead.Bytes.Length + (segmentSums.Length * sizeof(ushort)) + OverheadBytes;
    }

    // What a document costs beside its bytes: objects and the cache's entry, roughly.
    private const int OverheadBytes = 600;

    // Consecutive bytes of the document; pieces are in order and leave no gap.
    private readonly record struct Piece(nint Address, long StartBytes, long LengthBytes);

    /// <summary>Bytes of the document.</summary>
    public long LengthBytes { get; }

    /// <summary>Last-Modified in seconds since 1970.</summary>
    public long LastModifiedUnixSeconds { get; }

    /// <summary>The media type it is served with.</summary>
    public string ContentType { get; }

    /// <summary>The strong entity tag with its quotes (RFC 9110 section 8.8.3).</summary>
    public ReadOnlySpan<byte> EntityTag => entityTag;

    /// <summary>The whole 200 head as built; its date is patched in the copy that is sent.</summary>
    public ReadOnlySpan<byte> Head => OkHead.Bytes;

    /// <summary>
    /// The partial sum (<see cref="InternetChecksum"/>) of each <see cref="SegmentBytes"/> bytes counted from the document's
    /// first, the last possibly shorter. Taken once, when the document was cached.
    /// </summary>
    public ReadOnlySpan<ushort> SegmentSums => segmentSums;

    internal DocumentContent Content { get; }

    internal PrebuiltHead OkHead { get; }

    internal PrebuiltHead NotModifiedHead { get; }

    /// <summary>What the cache accounts for it.</summary>
    internal long CostBytes { get; }

    /// <summary>The path it is cached under; empty while it is not.</summary>
    internal byte[] CacheKey { get; set; } = [];

    /// <summary>Its place in the cache's ring; guarded by the cache's lock.</summary>
    internal int RingIndex { get; set; } = -1;

    /// <summary>CLOCK: set at use, cleared by the passing hand.</summary>
    internal bool IsReferenced { get; set; }

    /// <summary>The cache and the responses in flight that hold it.</summary>
    internal int Holders => Volatile.Read(ref holders);

    /// <summary>
    /// Makes a document of what a source gave and takes the content over, also when it fails. Null when the pool has no frames
    /// left for bytes that must be copied.
    /// </summary>
    internal static Document? TryCreate(FramePool frames, ReadOnlySpan<byte> path, DocumentContent content)
    {
        DocumentRun[]? copied = [];
        try
        {
            string contentType = content.ContentType ?? MediaTypes.ForPath(path);
            if (content.IsInFrames)
            {
                return new Document(frames, content, Pieces(frames, content.Runs, content.FirstByteOffset, content.LengthBytes), contentType);
            }

            copied = CopyIn(frames, content.Bytes.Span);
            if (copied is null)
            {
                content.Dispose();
                return null;
            }

            content.ForgetBytes();
            return new Document(frames, content, Pieces(frames, copied, 0, content.LengthBytes), contentType) { OwnRuns = copied };
        }
        catch
        {
            ReleaseRuns(frames, copied);
            content.Dispose();
            throw;
        }
    }

    // Frames this document allocated for copied bytes.
    private DocumentRun[] OwnRuns { get; init; } = [];

    /// <summary>Adds a holder unless the last has gone.</summary>
    internal bool TryRetain()
    {
        int seen = Volatile.Read(ref holders);
        while (seen > 0)
        {
            int before = Interlocked.CompareExchange(ref holders, seen + 1, seen);
            if (before == seen)
            {
                return true;
            }

            seen = before;
        }

        return false;
    }

    /// <summary>Takes a holder away; the last gives the frames back.</summary>
    internal void Release()
    {
        int left = Interlocked.Decrement(ref holders);
        Invariant.Check(left >= 0);
        if (left > 0)
        {
            return;
        }

        ReleaseRuns(frames, OwnRuns);
        Content.Dispose();
    }

    /// <summary>Describes bytes of the document by addresses, as many as fit; returns how many vectors were used.</summary>
    /// <param name="offsetBytes">First byte wanted.</param>
    /// <param name="lengthBytes">Bytes wanted; inside the document.</param>
    /// <param name="vectors">Room for at least one.</param>
    /// <param name="gatheredBytes">Bytes the vectors cover.</param>
    internal int Gather(long offsetBytes, long lengthBytes, Span<IoVector> vectors, out long gatheredBytes)
    {
        gatheredBytes = 0;
        Invariant.Check(offsetBytes >= 0 && lengthBytes >= 0 && offsetBytes + lengthBytes <= LengthBytes);
        int at = pieces.Length > 1 ? PieceOf(offsetBytes) : 0;
        int count = 0;
        for (; lengthBytes > 0 && count < vectors.Length; at++)
        {
            // Inside the piece because it starts at or before the offset, and pieces leave no gap.
            ref readonly Piece piece = ref pieces[at];
            long skip = offsetBytes - piece.StartBytes;
            long take = Math.Min(lengthBytes, piece.LengthBytes - skip);
            vectors[count++] = new IoVector { Base = piece.Address + (nint)skip, LengthBytes = (nuint)take };
            offsetBytes += take;
            lengthBytes -= take;
            gatheredBytes += take;
        }

        return count;
    }

    /// <inheritdoc/>
    int ISendSource.Gather(long offsetBytes, int lengthBytes, Span<PacketSlice> slices, out int gatheredBytes)
    {
        Invariant.Check(offsetBytes >= 0 && lengthBytes >= 0 && offsetBytes + lengthBytes <= LengthBytes);
        gatheredBytes = 0;
        int count = 0;
        for (int at = pieces.Length > 1 ? PieceOf(offsetBytes) : 0; lengthBytes > 0 && count < slices.Length; at++)
        {
            ref readonly Piece piece = ref pieces[at];
            long skip = offsetBytes - piece.StartBytes;
            int take = (int)Math.Min(lengthBytes, piece.LengthBytes - skip);
            nint inPool = piece.Address + (nint)skip - poolAddress;
            slices[count++] = new PacketSlice(
                new FrameNumber((uint)(inPool / FramePool.FrameBytes)), (int)(inPool % FramePool.FrameBytes), take);
            offsetBytes += take;
            lengthBytes -= take;
            gatheredBytes += take;
        }

        return count;
    }

    /// <inheritdoc/>
    ushort ISendSource.PartialSum(long offsetBytes, int lengthBytes)
    {
        ushort sum = 0;
        for (int summed = 0; summed < lengthBytes;)
        {
            int index = (int)((offsetBytes + summed) / SegmentBytes);
            int from = (int)((offsetBytes + summed) % SegmentBytes);
            int segmentBytes = (int)Math.Min(SegmentBytes, LengthBytes - ((long)index * SegmentBytes));
            int take = Math.Min(lengthBytes - summed, segmentBytes - from);
            sum = InternetChecksum.Combine(sum, summed, SumWithin(index, from, take, segmentBytes));
            summed += take;
        }

        return sum;
    }

    /// <inheritdoc/>
    void ISendSource.Release() => Release();

    // Of a part of a segment: the part itself is read, or what is left of it is and taken off the stored sum, whichever is less.
    private ushort SumWithin(int index, int from, int take, int segmentBytes)
    {
        long start = (long)index * SegmentBytes;
        if (take * 2 <= segmentBytes)
        {
            return SumOf(start + from, take);
        }

        int behind = segmentBytes - from - take;
        ushort sum = segmentSums[index];
        ushort front = from == 0 ? (ushort)0 : SumOf(start, from);
        ushort back = behind == 0 ? (ushort)0 : SumOf(start + from + take, behind);
        ushort others = InternetChecksum.Combine(front, from + take, back);
        sum = InternetChecksum.Combine(sum, 0, (ushort)~others);   // one's complement: minus

        // The sum of a part that begins at an odd byte is turned round, and turned back here (RFC 1071 section 2B).
        return InternetChecksum.Combine(0, from, sum);
    }

    private ushort SumOf(long startBytes, int lengthBytes)
    {
        ushort sum = 0;
        for (int summed = 0; summed < lengthBytes;)
        {
            ReadOnlySpan<byte> part = BytesAt(startBytes + summed, lengthBytes - summed);
            sum = InternetChecksum.Combine(sum, summed, InternetChecksum.Partial(part));
            summed += part.Length;
        }

        return sum;
    }

    /// <summary>Bytes of the document from an offset on: as many as lie together, at most <paramref name="maxBytes"/>.</summary>
    internal ReadOnlySpan<byte> BytesAt(long offsetBytes, int maxBytes)
    {
        Invariant.Check(offsetBytes >= 0 && offsetBytes < LengthBytes);
        ref readonly Piece piece = ref pieces[PieceOf(offsetBytes)];
        long skip = offsetBytes - piece.StartBytes;
        return new ReadOnlySpan<byte>((void*)(piece.Address + (nint)skip), (int)Math.Min(maxBytes, piece.LengthBytes - skip));
    }

    private int PieceOf(long offsetBytes)
    {
        int low = 0, high = pieces.Length - 1;
        while (low < high)
        {
            int middle = (low + high + 1) / 2;
            (low, high) = pieces[middle].StartBytes <= offsetBytes ? (middle, high) : (low, middle - 1);
        }

        return low;
    }

    private ushort[] Sum()
    {
        var sums = new ushort[(LengthBytes + SegmentBytes - 1) / SegmentBytes];
        for (int i = 0; i < sums.Length; i++)
        {
            long start = (long)i * SegmentBytes;
            sums[i] = SumOf(start, (int)Math.Min(SegmentBytes, LengthBytes - start));
        }

        return sums;
    }

    // Runs that happen to follow one another become one piece, so that one vector covers them.
    private static Piece[] Pieces(FramePool frames, ReadOnlySpan<DocumentRun> runs, int firstByteOffset, long lengthBytes)
    {
        var pieces = new List<Piece>();
        long start = 0;
        foreach (DocumentRun run in runs)
        {
            if (start == lengthBytes)
            {
                break;
            }

            int skip = start == 0 ? firstByteOffset : 0;
            nint address = frames.Address(run.First) + skip;
            _ = frames.Bytes(run.First, run.FrameCount);   // throws when the run leaves the pool
            long take = Math.Min(((long)run.FrameCount * FramePool.FrameBytes) - skip, lengthBytes - start);
            if (pieces.Count > 0 && pieces[^1].Address + (nint)pieces[^1].LengthBytes == address)
            {
                pieces[^1] = pieces[^1] with { LengthBytes = pieces[^1].LengthBytes + take };
            }
            else
            {
                pieces.Add(new Piece(address, start, take));
            }

            start += take;
        }

        Invariant.Check(start == lengthBytes);
        return [.. pieces];
    }

    /// <summary>Copies bytes into new frames: one run if there is one, else frames as they come. Null when there are too few.</summary>
    internal static DocumentRun[]? CopyIn(FramePool frames, ReadOnlySpan<byte> bytes)
    {
        int count = (bytes.Length + FramePool.FrameBytes - 1) / FramePool.FrameBytes;
        if (count == 0)
        {
            return [];
        }

        if (frames.TryAllocateRun(frames.RootCredential, count, out FrameNumber first))
        {
            bytes.CopyTo(frames.Bytes(first, count));
            return [new DocumentRun(first, count)];
        }

        var runs = new DocumentRun[count];
        for (int i = 0; i < count; i++)
        {
            if (!frames.TryAllocate(frames.RootCredential, out FrameNumber frame))
            {
                ReleaseRuns(frames, runs.AsSpan(0, i));
                return null;
            }

            ReadOnlySpan<byte> part = bytes[(i * FramePool.FrameBytes)..];
            part[..Math.Min(part.Length, FramePool.FrameBytes)].CopyTo(frames.Bytes(frame));
            runs[i] = new DocumentRun(frame, 1);
        }

        return runs;
    }

    /// <summary>Takes one reference off each frame.</summary>
    internal static void ReleaseRuns(FramePool frames, ReadOnlySpan<DocumentRun> runs)
    {
        foreach (DocumentRun run in runs)
        {
            for (uint i = 0; i < run.FrameCount; i++)
            {
                frames.Release(new FrameNumber(run.First.Value + i));
            }
        }
    }
}
