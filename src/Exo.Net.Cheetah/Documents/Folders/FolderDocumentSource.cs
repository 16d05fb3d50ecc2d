// SPDX-License-Identifier: MIT
using Exo.Core.Linux;
using Exo.Core.Memory;
using Exo.Net.Cheetah.Folders;
using Microsoft.Win32.SafeHandles;

namespace Exo.Net.Cheetah;

/// <summary>
/// Documents that are files of a folder of the host, each read once into frames and served from there until the kernel tells that it has changed (inotify): a request for a document at hand
/// makes no system call. Files longer than <see cref="FolderDocumentOptions.WholeDocumentBytesMax"/>, of any length, are read range by range while they are sent, and after each range it is looked whether the file is what it was.
/// <para>What the process may read is served, if it is a regular file. Symbolic links and <c>..</c> are followed inside the folder and never out of it; names that begin with a dot are not served unless
/// <see cref="FolderDocumentOptions.ServesDotNames"/> says so, but a link may lead to them. The folder stays the one that was opened, also when it is renamed.</para>
/// <para>A change is seen when the kernel's news of it has been taken in, usually well within a millisecond. A file that is written while it is read is read again, and 503 when it does not come to rest. Changes
/// that the kernel does not tell of are not seen: through a writable mapping of a file, by another machine on a network file system, below something mounted meanwhile. Publish by renaming.</para>
/// </summary>
public sealed class FolderDocumentSource : IDocumentSource, IAnnouncedSource, IDisposable
{
    // How often a document is taken again that changed while it was being taken.
    private const int MaxAttempts = 8;

    // Somebody who writes may be done long before that would show by its age.
    private static readonly TimeSpan MaxPause = TimeSpan.FromMilliseconds(100);

    private readonly FramePool frames;
    private readonly FolderRoot root;
    private readonly FolderWatch watch;
    private readonly bool servesDotNames;
    private readonly long longestWhole;

    /// <summary>Opens a folder.</summary>
    /// <param name="path">The folder; symbolic links to it are followed, once.</param>
    /// <param name="frames">Where documents are kept: the pool that the server is given too.</param>
    /// <param name="options">Null = defaults.</param>
    /// <exception cref="IOException">The folder cannot be opened, or the kernel is older than Linux 5.6.</exception>
    public FolderDocumentSource(string path, FramePool frames, FolderDocumentOptions? options = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        ArgumentNullException.ThrowIfNull(frames);
        options ??= new FolderDocumentOptions();
        ArgumentOutOfRangeException.ThrowIfNegative(options.WatchesMax, nameof(options));
        ArgumentOutOfRangeException.ThrowIfNegative(options.WholeDocumentBytesMax, nameof(options));
        this.frames = frames;
        longestWhole = Document.LongestWhole(frames, options.WholeDocumentBytesMax);
        servesDotNames = options.ServesDotNames;
        root = FolderRoot.Open(path);
        watch = new FolderWatch(root, options.WatchesMax);
    }

    /// <summary>All directories are watched; until then, and when there are too many, or some that may not be listed, documents are read anew for each request.</summary>
    public bool IsWatched => watch.Names >= 0;

    /// <inheritdoc/>
    DocumentChanges IAnnouncedSource.Changes => watch.Changes;

    internal FolderWatch Watch => watch;

    /// <inheritdoc/>
    public async ValueTask<DocumentLookup> FindAsync(ReadOnlyMemory<byte> path, CancellationToken cancellationToken)
    {
        if (!servesDotNames && path.Span.IndexOf("/."u8) >= 0)
        {
            return new DocumentLookup(DocumentLookupStatus.NotFound);
        }

        // Files have no calls that do not block: away from the reactor.
        await Task.CompletedTask.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
        for (int attempt = 0; ; attempt++)
        {
            if (TryTake(path.Span[1..], out DocumentLookup found, out TimeSpan settle))
            {
                return found;
            }

            if (attempt == MaxAttempts)
            {
                return new DocumentLookup(DocumentLookupStatus.Unavailable);
            }

            await Task.Delay(settle < MaxPause ? settle : MaxPause, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <inheritdoc/>
    /// <remarks>True: a new name anywhere makes all documents stale. Not seen is a symbolic link whose target, of another name, may only now be read.</remarks>
    public bool TellsOfVariants => true;

    /// <inheritdoc/>
    public bool IsCurrent(DocumentContent content)
    {
        ArgumentNullException.ThrowIfNull(content);
        return content.State is Held held && watch.HasKept(held.Names) && held.Watched?.Version == held.FileVersion;
    }

    /// <summary>Closes the folder. Documents under way keep their frames until they are done; none is current any more.</summary>
    public void Dispose()
    {
        watch.Dispose();
        root.Dispose();
    }

    // One attempt; false when it must be made again, after a while if the file has just changed.
    private bool TryTake(ReadOnlySpan<byte> name, out DocumentLookup found, out TimeSpan settle)
    {
        settle = TimeSpan.Zero;
        long names = watch.Names;   // before anything is opened: see FolderWatch
        using SafeFileHandle? place = root.TryOpen(name, FolderAbi.O_PATH, 0, out int errno);
        FolderStat stat = place is null ? default : FolderStat.Of(place);
        if (place is not null && !stat.IsFile)
        {
            found = new DocumentLookup(stat.IsDirectory ? DocumentLookupStatus.Folder : DocumentLookupStatus.NotFound);
            return true;
        }

        using SafeFileHandle? file = place is null ? null : FolderRoot.TryOpenForReading(place, out errno);
        if (file is null)
        {
            found = new DocumentLookup(StatusOf(errno));
            return errno != Errno.EAGAIN;   // a directory on the way was renamed
        }

        found = default;
        WatchedFile? watched = watch.Watch(file);
        DocumentRun[]? runs = null;
        try
        {
            long version = watched?.Version ?? 0;
            using ReadLease lease = ReadLease.Take(file);
            stat = FolderStat.Of(file);
            settle = stat.Until(lease.Rest, DateTimeOffset.UtcNow);
            if (settle > TimeSpan.Zero)
            {
                return false;
            }

            runs = stat.LengthBytes <= longestWhole ? Document.Allocate(frames, stat.LengthBytes) : null;
            if (runs is null)
            {
                DocumentContent? ranged = TryRanged(file, stat, ref watched, version, names);
                found = ranged is null ? new DocumentLookup(DocumentLookupStatus.Unavailable)
                    : stat.LengthBytes > longestWhole ? DocumentLookup.Found(ranged) : DocumentLookup.OutOfFrames(stat.LengthBytes, ranged);
                return true;
            }

            // The bytes of one and the same version: somebody may be writing.
            if (!TryRead(file, runs, 0, stat.LengthBytes) || FolderStat.Of(file) != stat || (watched?.Version ?? 0) != version)
            {
                return false;
            }

            Held held = new(this, runs, watched, version, watched is null ? -1 : names, file: null, stat);
            (runs, watched) = (null, null);
            found = DocumentLookup.Found(DocumentContent.FromFrames(
                held.Runs, 0, stat.LengthBytes, Modified(stat), stat.Version(), held, state: held));
            return true;
        }
        finally
        {
            Document.ReleaseRuns(frames, runs);
            if (watched is not null)
            {
                watch.Release(watched);
            }
        }
    }

    // The file is read when its ranges are wanted, under a descriptor that is its own; the watch goes with it. Null when there is no descriptor to be had.
    private DocumentContent? TryRanged(SafeFileHandle file, in FolderStat stat, ref WatchedFile? watched, long version, long names)
    {
        if (FolderRoot.TryOpenForReading(file, out _) is not { } own)
        {
            return null;
        }

        Held held = new(this, [], watched, version, watched is null ? -1 : names, own, stat);
        watched = null;
        return DocumentContent.FromRanges(held, stat.LengthBytes, Modified(stat), stat.Version(), state: held);
    }

    private static DateTimeOffset Modified(in FolderStat stat) => DateTimeOffset.UnixEpoch.AddTicks(stat.ModifyTimeNs / 100);

    private static DocumentLookupStatus StatusOf(int errno) => errno switch
    {
        Errno.EMFILE or Errno.ENFILE or Errno.ENOMEM or Errno.EAGAIN => DocumentLookupStatus.Unavailable,
        Errno.EIO => throw new IOException(Errno.Describe(errno)),
        _ => DocumentLookupStatus.NotFound,   // not there, not for us, out of the folder, a name that is none
    };

    private unsafe bool TryRead(SafeFileHandle file, ReadOnlySpan<DocumentRun> runs, long offsetBytes, long lengthBytes)
    {
        long done = 0;
        foreach (DocumentRun run in runs)
        {
            long endBytes = Math.Min(lengthBytes, done + ((long)run.FrameCount * FramePool.FrameBytes));
            for (long startBytes = done; done < endBytes;)
            {
                IoVector vector = new() { Base = frames.Address(run.First) + (nint)(done - startBytes), LengthBytes = (nuint)(endBytes - done) };
                nint count = Libc.ReadVector((int)file.DangerousGetHandle(), &vector, 1, offsetBytes + done);
                if (count == 0)
                {
                    return false;   // cut short
                }

                if (count < 0 && Errno.Last != Errno.EINTR)
                {
                    throw new IOException($"cannot read: {Errno.Describe(Errno.Last)}");
                }

                done += Math.Max(0, count);
            }
        }

        return true;
    }

    /// <summary>What a document holds: its frames or, of one that is not read whole, its file; and the watch that tells when they are out of date.</summary>
    private sealed class Held(FolderDocumentSource source, DocumentRun[] runs, WatchedFile? watched, long fileVersion, long names, SafeFileHandle? file, FolderStat stat) : IDocumentRanges
    {
        public DocumentRun[] Runs => runs;

        public WatchedFile? Watched => watched;

        public long FileVersion => fileVersion;

        public long Names => names;

        public async ValueTask<DocumentRange?> ReadAsync(long offsetBytes, int lengthBytes, CancellationToken cancellationToken)
        {
            // Files have no calls that do not block: away from the reactor.
            await Task.CompletedTask.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
            if (Document.Allocate(source.frames, lengthBytes) is not { } range)
            {
                return DocumentRange.OutOfFrames;
            }

            bool isRead = false;
            try
            {
                // A file's times are set before its bytes: what was read before an equal look is of the same version.
                isRead = source.TryRead(file!, range, offsetBytes, lengthBytes) && FolderStat.Of(file!).HasBytesOf(stat);
            }
            finally
            {
                if (!isRead)
                {
                    Document.ReleaseRuns(source.frames, range);
                }
            }

            return isRead ? DocumentRange.FromFrames(range, 0, lengthBytes, new ReadRange(source.frames, range)) : null;
        }

        public void Dispose()
        {
            file?.Dispose();
            Document.ReleaseRuns(source.frames, runs);
            if (watched is not null)
            {
                source.watch.Release(watched);
            }
        }
    }

    private sealed class ReadRange(FramePool frames, DocumentRun[] runs) : IDisposable
    {
        public void Dispose() => Document.ReleaseRuns(frames, runs);
    }
}
