// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;
using Exo.Core.Linux;
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Net.Cheetah.Http;
using Exo.Net.Cheetah.Tcp;

namespace Exo.Net.Cheetah;

/// <summary>What a document is made with.</summary>
[Flags]
internal enum DocumentTraits
{
    None = 0,

    /// <summary>There are, or may be, other representations of it.</summary>
    Varies = 1,

    /// <summary>It will be sent by a stack that computes checksums itself: neither the kernel's sockets nor a device that does it.</summary>
    HasSums = 2,
}

/// <summary>
/// A document ready to leave: its bytes in frames, the response heads built, and its checksums taken where somebody is going to need them. It is
/// cache entry and retransmission buffer in one, as in Cheetah: responses in flight and the cache count as holders, and the
/// frames go back to their owner with the last. One that is read range by range has no bytes of its own: responses send ranges of it (<see cref="Ranges.HeldRange"/>), each of which holds it.
/// <code>
/// frames    |....document bytes, run by run....|        never copied on the way out
/// sums      0   128  256  384 ...                       the RFC 1071 partial sum of everything in front of each
/// </code>
/// </summary>
internal sealed class Document : CachedDocument, IPayload
{
    /// <summary>
    /// Bytes between two stored sums. Where segments begin depends on the length of the head in front and on the peer, so the sum of a segment is a difference of two stored
    /// ones and at most half of this at either end: on a grid of segments nearly all of the payload would be read again.
    /// </summary>
    public const int SumBytes = InternetChecksum.BlockBytes;

    private readonly FramePool frames;
    private readonly FramePieces pieces;
    private ushort[]? prefixSums;
    private readonly byte[] entityTag;
    private HoldCount holders = new();

    private Document(FramePool frames, DocumentContent content, FramePieces pieces, string contentType, ContentCoding? coding, DocumentTraits traits, DocumentFields fields)
    {
        Fields = fields;
        this.frames = frames;
        this.pieces = pieces;
        Content = content;
        LengthBytes = content.LengthBytes;
        LastModifiedUnixSeconds = content.LastModified.ToUnixTimeSeconds();
        ContentType = contentType;
        Coding = coding;
        Varies = (traits & DocumentTraits.Varies) != 0;

        // The coding is part of it: a variant may be another name of the original's file.
        entityTag = Encoding.ASCII.GetBytes(
            string.Create(CultureInfo.InvariantCulture, $"\"{content.Version:x}-{content.LengthBytes:x}{(coding is null ? "" : "-")}{coding?.Name}\""));
        Span<byte> lastModified = stackalloc byte[HttpDate.LengthBytes];
        HttpDate.Format(LastModifiedUnixSeconds, lastModified);
        OkHead = PrebuiltHead.ForDocument(contentType, LengthBytes, lastModified, entityTag, coding, Varies, fields.Whole);
        NotModifiedHead = PrebuiltHead.NotModified(lastModified, entityTag, Varies, fields.NotModified);
        prefixSums = (traits & DocumentTraits.HasSums) != 0 && !IsRanged ? Sum() : null;
        CostBytes = (IsRanged ? RangedBytes : pieces.FrameBytes) + OkHead.Bytes.Length + NotModifiedHead.Bytes.Length + ((prefixSums?.Length ?? 0) * sizeof(ushort)) + OverheadBytes;
    }

    // What a document costs beside its bytes: objects and the cache's entry, roughly.
    private const int OverheadBytes = 600;

    // What one that is read range by range is accounted with, for its open file: so the cache's size bounds the number of those, too.
    private const long RangedBytes = 256 << 10;

    /// <summary>Bytes of the document.</summary>
    public override long LengthBytes { get; }

    /// <summary>Last-Modified in seconds since 1970.</summary>
    public long LastModifiedUnixSeconds { get; }

    /// <summary>The media type it is served with.</summary>
    public string ContentType { get; }

    /// <summary>What it is encoded as; null = it is the original.</summary>
    public ContentCoding? Coding { get; }

    /// <summary>Further fields of its heads.</summary>
    public DocumentFields Fields { get; }

    /// <summary>Its address has more than this one representation.</summary>
    public bool Varies { get; }

    /// <summary>The same in content codings, the shortest first; each is held until this document is given back.</summary>
    public Document[] Variants { get; private set; } = [];

    /// <summary>Contents that would be variants and are older than this document: held to be asked whether they still are.</summary>
    public DocumentContent[] Outdated { get; private set; } = [];

    /// <summary>Of a variant: the document that holds it.</summary>
    public Document? Original { get; private init; }

    /// <summary>The strong entity tag with its quotes (RFC 9110 section 8.8.3).</summary>
    public ReadOnlySpan<byte> EntityTag => entityTag;

    /// <summary>The whole 200 head as built; its date is patched in the copy that is sent.</summary>
    public ReadOnlySpan<byte> Head => OkHead.Bytes;

    /// <summary>
    /// The partial sums (<see cref="InternetChecksum"/>) of the first 0, <see cref="SumBytes"/>, 2 * <see cref="SumBytes"/> ... bytes. Taken when the document is cached, if they are going to be needed
    /// (<see cref="DocumentTraits.HasSums"/>); otherwise now, and not accounted for.
    /// <para>They are not kept on the disk. Taking them costs 0.1 to 0.5 us for each KiB that has just been read; reading them from a block of their own costs more than that for any document of which
    /// one block holds the sums, and they would have to be known to be of these bytes after a power cut, too: contents are written in place.</para>
    /// </summary>
    public ReadOnlySpan<ushort> PrefixSums => Sums();

    internal DocumentContent Content { get; }

    /// <summary>It is not at hand: its ranges are read when they are wanted.</summary>
    internal bool IsRanged => Content.Ranges is not null;

    internal PrebuiltHead OkHead { get; }

    internal PrebuiltHead NotModifiedHead { get; }

    /// <summary>What the cache accounts for it and its variants.</summary>
    public override long CostBytes { get; private protected set; }

    /// <summary>It is in a cache; guarded by the cache's lock.</summary>
    internal bool IsCached { get; set; }

    /// <summary>Its checksums have been taken.</summary>
    internal bool HasSums => Volatile.Read(ref prefixSums) is not null;

    /// <summary>The cache and the responses in flight that hold it.</summary>
    internal int Holders => holders.Value;

    /// <summary>Somebody beside the cache holds it or one of its variants.</summary>
    public override bool IsInUse => Holders > 1 || Array.Exists(Variants, static variant => variant.Holders > 1);

    /// <summary>
    /// Makes a document of what a source gave and takes the content over, also when it fails. Null when the pool has no frames
    /// left for bytes that must be copied.
    /// </summary>
    /// <param name="frames">Where it lies.</param>
    /// <param name="path">For its media type.</param>
    /// <param name="content">What the source gave.</param>
    /// <param name="traits">Whether there are variants of it, and whether sums will be needed.</param>
    /// <param name="heads">What its heads say beside; null = nothing.</param>
    internal static Document? TryCreate(FramePool frames, ReadOnlySpan<byte> path, DocumentContent content, DocumentTraits traits = DocumentTraits.HasSums, DocumentHeads? heads = null) =>
        TryCreate(frames, content, content.ContentType ?? (heads ?? DocumentHeads.Default).TypeOf(path), original: null, coding: null, traits, (heads ?? DocumentHeads.Default).FieldsOf(path));

    /// <summary>Makes a variant of this document, which <see cref="Adopt"/> takes; otherwise as <see cref="TryCreate(FramePool, ReadOnlySpan{byte}, DocumentContent, DocumentTraits, DocumentHeads?)"/>.</summary>
    internal Document? TryCreateVariant(ContentCoding coding, DocumentContent content) =>
        TryCreate(frames, content, ContentType, this, coding, DocumentTraits.Varies | (prefixSums is null ? 0 : DocumentTraits.HasSums), Fields);

    private static Document? TryCreate(FramePool frames, DocumentContent content, string contentType, Document? original, ContentCoding? coding, DocumentTraits traits, DocumentFields fields)
    {
        DocumentRun[]? copied = [];
        try
        {
            if (content.Ranges is not null)
            {
                return new Document(frames, content, FramePieces.Of(frames, [], 0, 0), contentType, coding, traits, fields) { Original = original };
            }

            if (content.IsInFrames)
            {
                return new Document(frames, content, FramePieces.Of(frames, content.Runs, content.FirstByteOffset, content.LengthBytes), contentType, coding, traits, fields) { Original = original };
            }

            copied = CopyIn(frames, content.Bytes.Span);
            if (copied is null)
            {
                content.Dispose();
                return null;
            }

            content.ForgetBytes();
            return new Document(frames, content, FramePieces.Of(frames, copied, 0, content.LengthBytes), contentType, coding, traits, fields) { OwnRuns = copied, Original = original };
        }
        catch
        {
            ReleaseRuns(frames, copied);
            content.Dispose();
            throw;
        }
    }

    /// <summary>Takes over what is to be held as long as this document, before anybody else knows it.</summary>
    internal void Adopt(IEnumerable<Document> variants, IEnumerable<DocumentContent> outdated)
    {
        Variants = [.. variants.OrderBy(variant => variant.LengthBytes).ThenBy(variant => variant.Coding!.Place)];
        Outdated = [.. outdated];
        CostBytes += Variants.Sum(variant => variant.CostBytes) + Outdated.Sum(content => (content.Ranges is null ? content.LengthBytes : RangedBytes) + OverheadBytes);
    }

    // Frames this document allocated for copied bytes.
    private DocumentRun[] OwnRuns { get; init; } = [];

    /// <summary>Adds a holder unless the last has gone.</summary>
    internal bool TryRetain() => holders.TryAdd();

    /// <summary>Takes a holder away; the last gives the frames back.</summary>
    internal void Release()
    {
        if (!holders.Remove())
        {
            return;
        }

        ReleaseRuns(frames, OwnRuns);
        Content.Dispose();
        foreach (Document variant in Variants)
        {
            variant.Release();
        }

        foreach (DocumentContent content in Outdated)
        {
            content.Dispose();
        }
    }

    /// <inheritdoc/>
    public int Gather(long offsetBytes, long lengthBytes, Span<IoVector> vectors, out long gatheredBytes) => pieces.Gather(offsetBytes, lengthBytes, vectors, out gatheredBytes);

    /// <inheritdoc/>
    int ISendSource.Gather(long offsetBytes, int lengthBytes, Span<PacketSlice> slices, out int gatheredBytes) => pieces.Gather(offsetBytes, lengthBytes, slices, out gatheredBytes);

    /// <inheritdoc/>
    public ReadOnlySpan<byte> BytesAt(long offsetBytes, int maxBytes) => pieces.BytesAt(offsetBytes, maxBytes);

    /// <inheritdoc/>
    ushort ISendSource.PartialSum(long offsetBytes, int lengthBytes)
    {
        if (lengthBytes <= SumBytes)
        {
            return pieces.SumOf(offsetBytes, lengthBytes);
        }

        ushort sum = InternetChecksum.Combine(Prefix(offsetBytes + lengthBytes), 0, (ushort)~Prefix(offsetBytes));   // one's complement: minus

        // The sum of a part that begins at an odd byte is turned round, and turned back here (RFC 1071 section 2B).
        return InternetChecksum.Combine(0, (int)(offsetBytes & 1), sum);
    }

    /// <inheritdoc/>
    void ISendSource.Release() => Release();

    // Of all bytes in front of one: the nearest stored sum, and the bytes between read and put on it or taken off.
    private ushort Prefix(long endBytes)
    {
        ushort[] prefixSums = Sums();
        int index = (int)(endBytes / SumBytes), behind = (int)(endBytes % SumBytes);
        if (behind == 0)
        {
            return prefixSums[index];
        }

        if (behind <= SumBytes / 2 || index + 1 == prefixSums.Length)
        {
            return InternetChecksum.Combine(prefixSums[index], 0, pieces.SumOf(endBytes - behind, behind));
        }

        ushort rest = pieces.SumOf(endBytes, SumBytes - behind);
        return InternetChecksum.Combine(prefixSums[index + 1], 0, (ushort)~InternetChecksum.Combine(0, behind, rest));
    }

    // Two threads that come at once take the same sums twice.
    private ushort[] Sums()
    {
        ushort[]? sums = Volatile.Read(ref prefixSums);
        if (sums is null)
        {
            Volatile.Write(ref prefixSums, sums = Sum());
        }

        return sums;
    }

    private ushort[] Sum()
    {
        var sums = new ushort[(LengthBytes / SumBytes) + 1];
        for (int i = 1; i < sums.Length;)
        {
            // Whole blocks that lie together, or one that lies in two places.
            ReadOnlySpan<byte> together = BytesAt((long)(i - 1) * SumBytes, (int)Math.Min(1 << 24, LengthBytes));
            int blocks = Math.Min(together.Length / SumBytes, sums.Length - i);
            if (blocks == 0)
            {
                sums[i] = InternetChecksum.Combine(sums[i - 1], 0, pieces.SumOf((long)(i - 1) * SumBytes, SumBytes));
                i++;
                continue;
            }

            InternetChecksum.Running(together, sums[i - 1], sums.AsSpan(i, blocks));
            i += blocks;
        }

        return sums;
    }

    /// <summary>The longest document, in bytes, that a source brings in whole: what its user has said, or, where that is 0, an eighth of the pool.</summary>
    internal static long LongestWhole(FramePool frames, long said) => Math.Min(int.MaxValue, said != 0 ? said : (long)frames.FrameCount * FramePool.FrameBytes / 8);

    /// <summary>New frames for so many bytes: one run if there is one, else frames as they come. Null when there are too few.</summary>
    internal static DocumentRun[]? Allocate(FramePool frames, long lengthBytes)
    {
        int count = (int)((lengthBytes + FramePool.FrameBytes - 1) / FramePool.FrameBytes);
        if (count == 0)
        {
            return [];
        }

        if (count > frames.FrameCount)
        {
            return null;
        }

        if (frames.TryAllocateRun(frames.RootCredential, count, out FrameNumber first))
        {
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

            runs[i] = new DocumentRun(frame, 1);
        }

        return runs;
    }

    /// <summary>Copies bytes into new frames. Null when there are too few.</summary>
    internal static DocumentRun[]? CopyIn(FramePool frames, ReadOnlySpan<byte> bytes)
    {
        DocumentRun[]? runs = Allocate(frames, bytes.Length);
        foreach (DocumentRun run in runs ?? [])
        {
            int take = (int)Math.Min(bytes.Length, (long)run.FrameCount * FramePool.FrameBytes);
            bytes[..take].CopyTo(frames.Bytes(run.First, run.FrameCount));
            bytes = bytes[take..];
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
