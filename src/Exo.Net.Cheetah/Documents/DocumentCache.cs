// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using Exo.Core.Memory;
using Exo.Net.Cheetah.Http;
using Exo.Net.Cheetah.Pages;
using Exo.Net.Cheetah.Ranges;

namespace Exo.Net.Cheetah;

/// <summary>What a lookup through the cache came to, or the wait of a deferred handler: who writes the response then. A document in it has been retained for the receiver.</summary>
internal readonly record struct DocumentResult(DocumentResultStatus Status, Document? Document = null, CheetahHandler? Handler = null);

/// <summary>The statuses of <see cref="DocumentLookupStatus"/> and the source's own failure.</summary>
internal enum DocumentResultStatus : byte
{
    NotFound,
    Found,
    Folder,
    Unavailable,
    Failed,
}

/// <summary>Someone a lookup keeps waiting. Called once, on whatever thread the source finished.</summary>
internal interface IDocumentWaiter
{
    void Complete(DocumentResult result);
}

/// <summary>
/// The documents at hand, shared by all reactors. A hit takes no lock: one look into a concurrent map, one question to the
/// source whether the document still holds, one count, one word to the policy. Misses of the same path travel together. Who goes when there is no room the policy says;
/// a document that a response is using stays.
/// <para>
/// Freshness: a request never gets what the source gave to a lookup that began before the request came. Whoever arrives while
/// a lookup is under way waits for the next one.
/// </para>
/// </summary>
internal sealed class DocumentCache : IDisposable
{
    private readonly FramePool frames;
    private readonly IDocumentSource source;
    private readonly long budgetBytes;
    private readonly ContentCoding[] codings;
    private readonly DocumentTraits traits;
    private readonly IEvictionPolicy policy;
    private readonly DocumentHeads? heads;
    private readonly CancellationToken stopping;
    private readonly ConcurrentDictionary<byte[], Document> map = new(PathComparer.Instance);
    private readonly ConcurrentDictionary<byte[], Document>.AlternateLookup<ReadOnlySpan<byte>> lookup;

    // Guards everything below, and membership of the map; never held while the source or a waiter is called.
    private readonly Lock gate = new();
    private readonly Dictionary<byte[], Flight> flights = new(PathComparer.Instance);
    private int documentCount;
    private long usedBytes;
    private bool isDisposed;
    private TaskCompletionSource? idle;

    // Flights whose own hold on their document may still be there; a flight counts until that has gone.
    private int flyingCount;

    private long missCount;
    private long evictionCount;
    private long copiedBytes;

    public DocumentCache(
        FramePool frames, IDocumentSource source, long budgetBytes, CancellationToken stopping, ContentCodings precompressed = ContentCodings.None, DocumentTraits traits = DocumentTraits.HasSums,
        IEvictionPolicy? policy = null, DocumentHeads? heads = null, long windowBytes = CheetahServerOptions.DefaultWindowBytes, TimeSpan? patience = null)
    {
        Windows = new DocumentWindows(frames, windowBytes, this, patience ?? TimeSpan.FromSeconds(30), stopping);
        this.policy = policy ?? new ClockEviction();
        this.traits = traits;
        this.heads = heads;
        codings = source.TellsOfVariants ? [.. ContentCoding.All.Where(coding => (precompressed & coding.Flag) != 0)] : [];
        this.frames = frames;
        this.source = source;
        this.budgetBytes = budgetBytes;
        this.stopping = stopping;
        lookup = map.GetAlternateLookup<ReadOnlySpan<byte>>();
    }

    /// <summary>The frames of documents that are not at hand whole.</summary>
    public DocumentWindows Windows { get; }

    /// <summary>Where the source says beforehand that documents change; null = it does not.</summary>
    public DocumentChanges? Changes => (source as IAnnouncedSource)?.Changes;

    /// <summary>Lookups that went to the source.</summary>
    public long MissCount => Volatile.Read(ref missCount);

    /// <summary>Documents taken out for room.</summary>
    public long EvictionCount => Volatile.Read(ref evictionCount);

    /// <summary>Bytes copied because a source gave no frames.</summary>
    public long CopiedBytes => Volatile.Read(ref copiedBytes);

    /// <summary>Documents at hand.</summary>
    public int DocumentCount => Volatile.Read(ref documentCount);

    /// <summary>Bytes that the documents at hand may take.</summary>
    public long BudgetBytes => budgetBytes;

    /// <summary>Bytes accounted to the documents at hand.</summary>
    public long UsedBytes => Volatile.Read(ref usedBytes);

    /// <summary>A current document at hand, retained for the caller. No allocation.</summary>
    public bool TryGet(ReadOnlySpan<byte> path, [NotNullWhen(true)] out Document? document)
    {
        if (lookup.TryGetValue(path, out document))
        {
            if (!IsCurrent(document))
            {
                lock (gate)
                {
                    Drop(document);
                }
            }
            else if (document.TryRetain())
            {
                Use(document);
                return true;
            }
        }

        document = null;
        return false;
    }

    /// <summary>
    /// Asks the source. True with the result when it answers at once; otherwise <paramref name="waiter"/> is called later.
    /// </summary>
    public bool TryLoad(ReadOnlySpan<byte> path, IDocumentWaiter waiter, out DocumentResult result)
    {
        Flight flight;
        lock (gate)
        {
            byte[] key = path.ToArray();
            if (flights.TryGetValue(key, out Flight? under))
            {
                under.Late.Add(waiter);
                result = default;
                return false;
            }

            flight = new Flight(key);
            flights.Add(key, flight);
            flyingCount++;
        }

        ValueTask<DocumentResult> loading = LoadAsync(flight.Path);
        if (loading.IsCompletedSuccessfully)
        {
            result = loading.Result;
            Land(flight, result: default);   // only those who came late; the caller has its own result
            End();
            return true;
        }

        flight.Waiting.Add(waiter);
        _ = FlyAsync(flight, loading);
        result = default;
        return false;
    }

    /// <summary>Bytes that no path leads to, in frames, for one response; the caller is their only holder. Null when there are no frames for them.</summary>
    public Document? TryHouse(ReadOnlyMemory<byte> bytes) =>
        TryCopyIn([], DocumentContent.FromBytes(bytes, DateTimeOffset.UnixEpoch, version: 0, contentType: "application/octet-stream"), traits);

    /// <summary>A document, or a variant's, is not to be found here any more: it is known not to be what it was.</summary>
    public void Forget(Document document)
    {
        lock (gate)
        {
            Drop(document.Original ?? document);
        }
    }

    /// <summary>A range of a document is being read: counts as a lookup under way.</summary>
    public void BeginRead()
    {
        lock (gate)
        {
            flyingCount++;
        }
    }

    /// <summary>Once for each <see cref="BeginRead"/>.</summary>
    public void EndRead() => End();

    /// <summary>Lets go of documents of about so many bytes, whose frames, if nobody else has them, are free then or can be had by the source. False when there are none that could go.</summary>
    public bool TryMakeRoomForRange(long lengthBytes)
    {
        lock (gate)
        {
            long enough = usedBytes - lengthBytes;
            bool evicted = false;
            while (usedBytes > enough && TryEvictOne())
            {
                evicted = true;
            }

            return evicted;
        }
    }

    /// <summary>
    /// Completes when no lookup is under way. A source that ignores its cancellation token keeps it waiting: the lookup's
    /// frames may not be given up while it runs.
    /// </summary>
    public Task WhenIdleAsync()
    {
        lock (gate)
        {
            idle = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            if (flyingCount == 0)
            {
                idle.SetResult();
            }

            return idle.Task;
        }
    }

    /// <summary>Forgets all documents; those in flight live until their last response.</summary>
    public void Dispose()
    {
        lock (gate)
        {
            isDisposed = true;
            foreach (Document document in map.Values)
            {
                Drop(document);
            }
        }
    }

    /// <summary>Whether a document still holds, with all its variants, or a variant with its original. The source is foreign code on the reactor's thread: if it fails, the document is asked for anew.</summary>
    public bool IsCurrent(Document document)
    {
        try
        {
            document = document.Original ?? document;
            if (!source.IsCurrent(document.Content))
            {
                return false;
            }

            foreach (Document variant in document.Variants)
            {
                if (!source.IsCurrent(variant.Content))
                {
                    return false;
                }
            }

            foreach (DocumentContent content in document.Outdated)
            {
                if (!source.IsCurrent(content))
                {
                    return false;
                }
            }

            return true;
        }
        catch (Exception failure) when (failure is not InvariantException)
        {
            return false;
        }
    }

    private async Task FlyAsync(Flight flight, ValueTask<DocumentResult> loading)
    {
        DocumentResult result = await loading.ConfigureAwait(false);
        Land(flight, result);
        result.Document?.Release();
        End();
    }

    private void End()
    {
        lock (gate)
        {
            if (--flyingCount == 0)
            {
                idle?.TrySetResult();
            }
        }
    }

    // Hands the result to those who waited from the start; those who came late get a flight of their own.
    private void Land(Flight flight, DocumentResult result)
    {
        Flight? next = null;
        lock (gate)
        {
            flights.Remove(flight.Path);
            if (flight.Late.Count > 0)
            {
                next = new Flight(flight.Path);
                next.Waiting.AddRange(flight.Late);
                flights.Add(next.Path, next);
                flyingCount++;
            }
        }

        foreach (IDocumentWaiter waiter in flight.Waiting)
        {
            bool retained = result.Document?.TryRetain() ?? true;
            Invariant.Check(retained);   // the flight itself holds the document
            waiter.Complete(result);
        }

        if (next is not null)
        {
            _ = FlyAsync(next, LoadAsync(next.Path));
        }
    }

    // Never throws: a failing source is a result. The document comes with one holder, the caller.
    private async ValueTask<DocumentResult> LoadAsync(byte[] path)
    {
        if (TryGet(path, out Document? atHand))
        {
            return new DocumentResult(DocumentResultStatus.Found, atHand);
        }

        Interlocked.Increment(ref missCount);
        try
        {
            DocumentLookup found = await FindAsync(path).ConfigureAwait(false);
            return found.Status switch
            {
                DocumentLookupStatus.Found when found.Content is not null => TakeIn(path, found.Content, await FindVariantsAsync(path, found.Content).ConfigureAwait(false), isKept: !found.IsMakeshift),
                DocumentLookupStatus.NotFound => new DocumentResult(DocumentResultStatus.NotFound),
                DocumentLookupStatus.Folder => new DocumentResult(DocumentResultStatus.Folder),
                DocumentLookupStatus.Unavailable => new DocumentResult(DocumentResultStatus.Unavailable),
                _ => new DocumentResult(DocumentResultStatus.Failed),
            };
        }
        catch (Exception failure) when (failure is not InvariantException)
        {
            return new DocumentResult(DocumentResultStatus.Failed);
        }
    }

    private async ValueTask<DocumentLookup> FindAsync(byte[] path)
    {
        while (true)
        {
            DocumentLookup found = await source.FindAsync(path, stopping).ConfigureAwait(false);
            if (found.WantedBytes == 0 || !TryMakeRoom(found.WantedBytes))
            {
                return found;
            }

            found.Content?.Dispose();
        }
    }

    // After the original, so that a variant which comes meanwhile makes that stale. Whatever goes wrong with a variant is its own affair: the original is served, and asked for anew the next time.
    private async ValueTask<FoundVariants> FindVariantsAsync(byte[] path, DocumentContent original)
    {
        var found = new FoundVariants();
        foreach (ContentCoding coding in ContentCoding.OfPath(path) is null ? codings : [])
        {
            try
            {
                DocumentLookup one = await FindAsync([.. path, .. coding.Suffix]).ConfigureAwait(false);
                if (one is { Status: DocumentLookupStatus.Found, Content: { } content })
                {
                    if (content.LastModified < original.LastModified)
                    {
                        found.Outdated.Add(content);
                    }
                    else
                    {
                        found.Variants.Add((coding, content));
                    }
                }

                found.IsIncomplete |= one.Status == DocumentLookupStatus.Unavailable || one.IsMakeshift;
            }
            catch (Exception failure) when (failure is not InvariantException)
            {
                found.IsIncomplete = true;
            }
        }

        return found;
    }

    private DocumentResult TakeIn(byte[] path, DocumentContent content, FoundVariants found, bool isKept)
    {
        List<Document> variants = [];
        Document? document = null;
        bool isWhole = false;
        try
        {
            DocumentTraits all = traits | (found.IsIncomplete || found.Variants.Count > 0 ? DocumentTraits.Varies : 0);
            document = content.IsInBytes ? TryCopyIn(path, content, all) : Document.TryCreate(frames, path, content, all, heads);
            if (document is null)
            {
                return new DocumentResult(DocumentResultStatus.Unavailable);
            }

            while (found.Variants.Count > 0)
            {
                (ContentCoding coding, DocumentContent encoded) = found.Variants[^1];
                found.Variants.RemoveAt(found.Variants.Count - 1);
                if (TryCopyIn(document, coding, encoded) is { } variant)
                {
                    variants.Add(variant);
                }
                else
                {
                    found.IsIncomplete = true;
                }
            }

            document.Adopt(variants, found.Outdated);
            isWhole = true;
        }
        finally
        {
            if (!isWhole)
            {
                found.Variants.ForEach(one => one.Content.Dispose());
                found.Outdated.ForEach(one => one.Dispose());
                variants.ForEach(one => one.Release());
                document?.Release();
            }
        }

        lock (gate)
        {
            if (isKept && !found.IsIncomplete)
            {
                Keep(path, document);
            }
        }

        if (source is IPageSource pages && pages.IsColdPage(content))
        {
            FetchIncludes(pages, path, document);
        }

        return new DocumentResult(DocumentResultStatus.Found, document);
    }

    // Makes room for bytes by evicting others. Null when that is not enough.
    private Document? TryCopyIn(ReadOnlySpan<byte> path, DocumentContent content, DocumentTraits all)
    {
        TryMakeRoom(content.LengthBytes);
        Document? document = Document.TryCreate(frames, path, content, all, path.IsEmpty ? null : heads);
        Interlocked.Add(ref copiedBytes, document?.LengthBytes ?? 0);
        return document;
    }

    private Document? TryCopyIn(Document original, ContentCoding coding, DocumentContent content)
    {
        bool isCopied = content.IsInBytes;
        if (isCopied)
        {
            TryMakeRoom(content.LengthBytes);
        }

        Document? variant = original.TryCreateVariant(coding, content);
        Interlocked.Add(ref copiedBytes, isCopied ? variant?.LengthBytes ?? 0 : 0);
        return variant;
    }

    // On another thread, and counted as a flight: the page goes out meanwhile, and its frames are not given up while it is read.
    private void FetchIncludes(IPageSource pages, byte[] path, Document page)
    {
        lock (gate)
        {
            if (isDisposed)
            {
                return;
            }

            flyingCount++;
        }

        bool retained = page.TryRetain();
        Invariant.Check(retained);
        _ = Task.Run(async () =>
        {
            try
            {
                await pages.FetchIncludesAsync(path, page.Content, stopping).ConfigureAwait(false);
            }
            catch (Exception failure) when (failure is not InvariantException)
            {
                // Whoever asks for what it includes is told.
            }
            finally
            {
                page.Release();
                End();
            }
        });
    }

    // Puts a document into the cache if there is room or room can be made; else it lives as long as its responses.
    private void Keep(byte[] path, Document document)
    {
        if (isDisposed || document.CostBytes > budgetBytes)
        {
            return;
        }

        if (map.TryGetValue(path, out Document? old))
        {
            Drop(old);
        }

        while (usedBytes + document.CostBytes > budgetBytes)
        {
            if (!TryEvictOne())
            {
                return;
            }
        }

        bool retained = document.TryRetain();
        Invariant.Check(retained);
        document.CacheKey = path;
        document.IsCached = true;
        documentCount++;
        usedBytes += document.CostBytes;
        map[path] = document;
        try
        {
            policy.Added(document);
        }
        catch (Exception failure) when (failure is not InvariantException)
        {
            Drop(document);
        }
    }

    // Foreign code on the reactor's thread: its failures are its own affair.
    private void Use(Document document)
    {
        try
        {
            policy.Used(document);
        }
        catch (Exception failure) when (failure is not InvariantException)
        {
        }
    }

    // False when nothing could be evicted that would help.
    private bool TryMakeRoom(long lengthBytes)
    {
        long needed = (lengthBytes + FramePool.FrameBytes - 1) / FramePool.FrameBytes;
        bool evicted = false;
        lock (gate)
        {
            while (needed <= frames.FrameCount && frames.FreeCount < needed)
            {
                if (!TryEvictOne())
                {
                    return false;
                }

                evicted = true;
            }
        }

        return evicted;
    }

    // Under the lock. What the policy says is looked at as anything foreign.
    private bool TryEvictOne()
    {
        CachedDocument? victim;
        try
        {
            victim = policy.Victim();
        }
        catch (Exception failure) when (failure is not InvariantException)
        {
            return false;
        }

        if (victim is not Document { IsInUse: false } document || !map.TryGetValue(document.CacheKey, out Document? cached) || cached != document)
        {
            return false;
        }

        Drop(document);
        evictionCount++;
        return true;
    }

    // Under the lock. Idempotent: two requests may find the same document out of date.
    private void Drop(Document document)
    {
        if (!document.IsCached)
        {
            return;
        }

        bool removed = map.TryRemove(new KeyValuePair<byte[], Document>(document.CacheKey, document));
        Invariant.Check(removed);
        document.IsCached = false;
        documentCount--;
        usedBytes -= document.CostBytes;
        try
        {
            policy.Removed(document);
        }
        catch (Exception failure) when (failure is not InvariantException)
        {
        }

        document.Release();
    }

    // What lies beside a document. Incomplete: there may be more, or there is and cannot be had now.
    private sealed class FoundVariants
    {
        public List<(ContentCoding Coding, DocumentContent Content)> Variants { get; } = [];

        public List<DocumentContent> Outdated { get; } = [];

        public bool IsIncomplete { get; set; }
    }

    // One lookup under way. Waiting: there when it began. Late: came while it flew.
    private sealed class Flight(byte[] path)
    {
        public byte[] Path { get; } = path;

        public List<IDocumentWaiter> Waiting { get; } = [];

        public List<IDocumentWaiter> Late { get; } = [];
    }
}
