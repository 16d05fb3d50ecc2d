// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using Exo.Core.Memory;
using Exo.Net.Cheetah.Http;

namespace Exo.Net.Cheetah;

/// <summary>
/// Documents kept in frames: each is copied in once when it is set, and served from there. Safe from any thread; a change is
/// seen by the next request.
/// </summary>
public sealed class MemoryDocumentSource : IDocumentSource, IAnnouncedSource, IDisposable
{
    private readonly FramePool frames;
    private readonly DocumentChanges changes = new();
    private readonly ConcurrentDictionary<byte[], Entry> entries = new(PathComparer.Instance);
    private readonly ConcurrentDictionary<byte[], Entry>.AlternateLookup<ReadOnlySpan<byte>> lookup;

    /// <summary>An empty source that keeps its documents in <paramref name="frames"/>, the pool the server is given too.</summary>
    public MemoryDocumentSource(FramePool frames)
    {
        ArgumentNullException.ThrowIfNull(frames);
        this.frames = frames;
        lookup = entries.GetAlternateLookup<ReadOnlySpan<byte>>();
    }

    /// <inheritdoc/>
    DocumentChanges IAnnouncedSource.Changes => changes;

    /// <summary>Adds or replaces a document.</summary>
    /// <param name="path">As in a URI after decoding: "/a/b.txt".</param>
    /// <param name="bytes">Copied.</param>
    /// <param name="contentType">Null = by extension.</param>
    /// <param name="lastModified">Null = now.</param>
    /// <exception cref="ArgumentException">The path does not begin with "/", ends with one, or has an empty or dot segment.</exception>
    /// <exception cref="OutOfFramesException">The pool has too few free frames; nothing changed.</exception>
    public void Set(string path, ReadOnlySpan<byte> bytes, string? contentType = null, DateTimeOffset? lastModified = null)
    {
        byte[] key = Key(path);
        DocumentRun[] runs = Document.CopyIn(frames, bytes) ?? throw new OutOfFramesException(bytes.Length, frames.FreeCount);
        Span<byte> digest = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(bytes, digest);
        var entry = new Entry(frames, runs, bytes.Length, lastModified ?? DateTimeOffset.UtcNow, contentType, BinaryPrimitives.ReadUInt128BigEndian(digest));
        Entry? replaced = null;
        changes.Begin();
        entries.AddOrUpdate(key, entry, (_, old) =>
        {
            replaced = old;
            return entry;
        });
        replaced?.Retire();
        RenewOriginal(key);
        changes.End();
    }

    /// <summary>Takes a document away; responses under way keep it until they are done.</summary>
    public bool Remove(string path)
    {
        byte[] key = Key(path);
        changes.Begin();
        bool removed = entries.TryRemove(key, out Entry? entry);
        entry?.Retire();
        changes.End();
        return removed;
    }

    /// <inheritdoc/>
    public ValueTask<DocumentLookup> FindAsync(ReadOnlyMemory<byte> path, CancellationToken cancellationToken)
    {
        while (lookup.TryGetValue(path.Span, out Entry? entry))
        {
            if (entry.TryLease() is { } content)
            {
                return ValueTask.FromResult(DocumentLookup.Found(content));
            }

            Thread.SpinWait(1);   // replaced between the two steps: the new entry is there already
        }

        return ValueTask.FromResult(new DocumentLookup(IsFolder(path.Span) ? DocumentLookupStatus.Folder : DocumentLookupStatus.NotFound));
    }

    /// <inheritdoc/>
    /// <remarks>True.</remarks>
    public bool TellsOfVariants => true;

    /// <inheritdoc/>
    public bool IsCurrent(DocumentContent content)
    {
        ArgumentNullException.ThrowIfNull(content);
        return content.State is Currency { IsOver: false };
    }

    /// <summary>Removes all documents.</summary>
    public void Dispose()
    {
        changes.Begin();
        foreach (byte[] key in entries.Keys)
        {
            if (entries.TryRemove(key, out Entry? entry))
            {
                entry.Retire();
            }
        }

        changes.End();
    }

    // What may be a variant has come: who took the original up before that has looked for it in vain.
    private void RenewOriginal(byte[] key)
    {
        if (ContentCoding.OfPath(key) is { } coding && lookup.TryGetValue(key.AsSpan(0, key.Length - coding.Suffix.Length), out Entry? original))
        {
            original.Renew();
        }
    }

    private bool IsFolder(ReadOnlySpan<byte> path)
    {
        foreach (byte[] key in entries.Keys)
        {
            if (key.Length > path.Length && key[path.Length] == '/' && key.AsSpan().StartsWith(path))
            {
                return true;
            }
        }

        return false;
    }

    private static byte[] Key(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        string[] segments = path.Split('/');
        if (segments[0].Length != 0 || segments.Length < 2 || segments.Skip(1).Any(s => s is "" or "." or ".."))
        {
            throw new ArgumentException("A path is absolute and has no empty or dot segment.", nameof(path));
        }

        return Encoding.UTF8.GetBytes(path);
    }

    // What was given holds until this is over, or its entry retired.
    private sealed class Currency(Entry entry)
    {
        private bool isOver;

        public bool IsOver => Volatile.Read(ref isOver) || entry.IsRetired;

        public void End() => Volatile.Write(ref isOver, true);
    }

    // Holds the frames' first reference; leases hold the entry. The last of them releases the frames.
    private sealed class Entry
    {
        private readonly FramePool frames;
        private readonly DocumentRun[] runs;
        private readonly int lengthBytes;
        private readonly DateTimeOffset lastModified;
        private readonly string? contentType;
        private readonly UInt128 version;
        private int leases = 1;

        private Currency currency;
        private bool isRetired;

        public bool IsRetired => Volatile.Read(ref isRetired);

        public Entry(FramePool frames, DocumentRun[] runs, int lengthBytes, DateTimeOffset lastModified, string? contentType, UInt128 version)
        {
            (this.frames, this.runs, this.lengthBytes, this.lastModified, this.contentType, this.version) = (frames, runs, lengthBytes, lastModified, contentType, version);
            currency = new Currency(this);
        }

        public DocumentContent? TryLease()
        {
            int seen = Volatile.Read(ref leases);
            while (seen > 0)
            {
                int before = Interlocked.CompareExchange(ref leases, seen + 1, seen);
                if (before == seen)
                {
                    return DocumentContent.FromFrames(runs, 0, lengthBytes, lastModified, version, new Lease(this), contentType, Volatile.Read(ref currency));
                }

                seen = before;
            }

            return null;
        }

        public void Retire()
        {
            Volatile.Write(ref isRetired, true);
            Return();
        }

        /// <summary>What has been given ceases to be current.</summary>
        public void Renew() => Interlocked.Exchange(ref currency, new Currency(this)).End();

        private void Return()
        {
            if (Interlocked.Decrement(ref leases) == 0)
            {
                Document.ReleaseRuns(frames, runs);
            }
        }

        private sealed class Lease(Entry entry) : IDisposable
        {
            private Entry? entry = entry;

            public void Dispose() => Interlocked.Exchange(ref entry, null)?.Return();
        }
    }
}
