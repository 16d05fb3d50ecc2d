// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using Exo.Core.Memory;

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
    public bool IsCurrent(DocumentContent content)
    {
        ArgumentNullException.ThrowIfNull(content);
        return content.State is Entry { IsRetired: false };
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

    // Holds the frames' first reference; leases hold the entry. The last of them releases the frames.
    private sealed class Entry(
        FramePool frames, DocumentRun[] runs, int lengthBytes, DateTimeOffset lastModified, string? contentType, UInt128 version)
    {
        private int leases = 1;

        public bool IsRetired => Volatile.Read(ref isRetired);

        private bool isRetired;

        public DocumentContent? TryLease()
        {
            int seen = Volatile.Read(ref leases);
            while (seen > 0)
            {
                int before = Interlocked.CompareExchange(ref leases, seen + 1, seen);
                if (before == seen)
                {
                    return DocumentContent.FromFrames(runs, 0, lengthBytes, lastModified, version, new Lease(this), contentType, this);
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
