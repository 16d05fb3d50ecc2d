// SPDX-License-Identifier: MIT
using System.Text;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS;
using Exo.FileSystems.CFFS.Inodes;
using Exo.Net.Cheetah.Pages;

namespace Exo.Net.Cheetah;

/// <summary>
/// Documents that are files of a C-FFS volume. The cache's frames are the file system's own: what is read from the disk into a frame leaves through
/// the network from that frame. Only contents that lie inside a directory sector are copied, once. Give the server the volume's frame pool.
/// <para>Files are world-readable or not served: a lookup runs as <paramref name="identity"/>, by default a user that owns nothing. Symbolic links
/// are followed beneath <paramref name="root"/> and never out of it: one that begins with <c>/</c> begins there. The root itself may be a symbolic link; it is looked up again for each document
/// that is not cached, so that pointing it elsewhere publishes another tree at once.
/// Files longer than <see cref="WholeDocumentBytesMax"/>, of any length, are read range by range while they are sent: from frames of the file system's cache, too, and to the end only if they are not written to meanwhile.</para>
/// </summary>
/// <param name="volume">The volume; it outlives the server.</param>
/// <param name="root">The directory whose files are served, as an absolute path; "/" is everything.</param>
/// <param name="identity">Whose permissions count; null is user 65534 without groups.</param>
public sealed partial class CffsDocumentSource(CffsVolume volume, string root = "/", CffsIdentity? identity = null) : IDocumentSource, IAnnouncedSource
{
    // How often a document is taken again that changed while it was being taken.
    private const int MaxAttempts = 8;

    private readonly byte[] _root = Encoding.UTF8.GetBytes(root);
    private readonly CffsIdentity _identity = identity ?? new CffsIdentity(65534, 65534);

    private readonly DocumentChanges _changes = new();

    /// <summary>Longest file, in bytes, that is brought in whole; longer ones are read range by range (<see cref="DocumentContent.FromRanges"/>), as shorter ones are when there are no frames. 0 = an eighth of the volume's frame pool. Default 0.</summary>
    public long WholeDocumentBytesMax { get; init; }

    /// <inheritdoc/>
    /// <remarks>Every change of the volume is one of the documents: paths lead through all of it.</remarks>
    DocumentChanges IAnnouncedSource.Changes
    {
        get
        {
            lock (volume.Core.Metadata)
            {
                if (!volume.Core.VersionObservers.Contains(_changes))
                {
                    volume.Core.VersionObservers = [.. volume.Core.VersionObservers, _changes];
                }
            }

            return _changes;
        }
    }

    /// <inheritdoc/>
    public async ValueTask<DocumentLookup> FindAsync(ReadOnlyMemory<byte> path, CancellationToken cancellationToken)
    {
        CffsFile? file = null;
        CffsLease? lease = null;
        try
        {
            // Read before the file is opened: a change of names in between makes the document stale, never wrongly current.
            long names = volume.NamesVersion;
            using CffsDirectory directory = await volume.OpenDirectoryAsync(_root, _identity, cancellationToken).ConfigureAwait(false);
            CffsIdentity guest = directory.Confine(_identity);
            CffsStat stat = await volume.StatAsync(path, followSymbolicLink: true, guest, cancellationToken).ConfigureAwait(false);
            if (stat.Kind == CffsKind.Directory)
            {
                return new DocumentLookup(DocumentLookupStatus.Folder);
            }

            if (stat.Kind != CffsKind.File)
            {
                return new DocumentLookup(DocumentLookupStatus.NotFound);
            }

            file = await volume.OpenFileAsync(path, CffsOpenMode.Read, 0, guest, cancellationToken).ConfigureAwait(false);
            bool isColdPage = FetchesIncludes && PageIncludes.IsPage(path.Span) && await volume.Core.Files.FetchFirstAsync(file.Node, IoMode.Async).ConfigureAwait(false);
            for (int attempt = 0; ; attempt++)
            {
                // Length, times and bytes of one and the same version: somebody may be writing.
                long version = file.Version;
                stat = file.Stat();
                if (stat.Kind != CffsKind.File)
                {
                    return new DocumentLookup(DocumentLookupStatus.NotFound);
                }

                if (stat.Size > LongestWhole)
                {
                    if (file.Version == version)
                    {
                        return Ranged(ref file, stat, version, names, isColdPage);
                    }
                }
                else
                {
                    try
                    {
                        lease = await file.LeaseAsync(0, (int)stat.Size, cancellationToken).ConfigureAwait(false);
                    }
                    catch (CffsException busy) when (busy.Error == CffsError.Busy && stat.Size > Ranges.DocumentWindows.CellBytes && file.Version == version)
                    {
                        return Ranged(ref file, stat, version, names, isColdPage) with { IsMakeshift = true };   // all frames are in use: a few of them at a time may do
                    }

                    if (lease.Version == version && lease.LengthBytes == stat.Size)
                    {
                        break;
                    }

                    lease.Dispose();
                    lease = null;
                }

                if (attempt == MaxAttempts)
                {
                    return new DocumentLookup(DocumentLookupStatus.Unavailable);
                }
            }

            Held held = new(file, lease, lease.Version, names, isColdPage);
            DocumentContent content = DocumentContent.FromFrames(
                RunsOf(lease), lease.FirstByteOffset, lease.LengthBytes, Modified(stat), held.Entity(stat), held, null, held);
            (file, lease) = (null, null);
            return DocumentLookup.Found(content);
        }
        catch (CffsException refused) when (refused.Error is CffsError.NotFound or CffsError.NotDirectory or CffsError.AccessDenied
            or CffsError.NameTooLong or CffsError.Loop or CffsError.IsDirectory or CffsError.Invalid)
        {
            return new DocumentLookup(DocumentLookupStatus.NotFound);
        }
        catch (CffsException busy) when (busy.Error == CffsError.Busy)
        {
            return new DocumentLookup(DocumentLookupStatus.Unavailable);
        }
        finally
        {
            lease?.Dispose();
            file?.Dispose();
        }
    }

    /// <inheritdoc/>
    /// <remarks>True: a new name anywhere makes all documents stale.</remarks>
    public bool TellsOfVariants => true;

    /// <inheritdoc/>
    public bool IsCurrent(DocumentContent content)
    {
        ArgumentNullException.ThrowIfNull(content);
        return content.State is Held held && held.NamesVersion == volume.NamesVersion && held.File.Version == held.Version;
    }

    private long LongestWhole => Document.LongestWhole(volume.Frames, WholeDocumentBytesMax);

    // The file goes with it.
    private static DocumentLookup Ranged(ref CffsFile? file, in CffsStat stat, long version, long names, bool isColdPage)
    {
        Held held = new(file!, lease: null, version, names, isColdPage);
        file = null;
        return DocumentLookup.Found(DocumentContent.FromRanges(held, stat.Size, Modified(stat), held.Entity(stat), null, held));
    }

    private static DocumentRun[] RunsOf(CffsLease lease) => [.. lease.Runs.Select(run => new DocumentRun(run.First, run.Count))];

    private static DateTimeOffset Modified(in CffsStat stat) => DateTimeOffset.UnixEpoch.AddTicks(stat.ModifyTimeNs / 100);

    /// <summary>What a document holds of the volume: the open file, so that its version can be asked and its ranges read, and the frames of one that is at hand whole.</summary>
    private sealed class Held(CffsFile file, CffsLease? lease, long version, long namesVersion, bool isColdPage) : IDocumentRanges
    {
        public CffsFile File => file;

        public long Version => version;

        public long NamesVersion => namesVersion;

        public bool IsColdPage => isColdPage;

        public UInt128 Entity(in CffsStat stat) => new(file.Inode ^ ((ulong)version << 40), (ulong)stat.ChangeTimeNs);

        public async ValueTask<DocumentRange?> ReadAsync(long offsetBytes, int lengthBytes, CancellationToken cancellationToken)
        {
            CffsLease range;
            try
            {
                range = await file.LeaseAsync(offsetBytes, lengthBytes, cancellationToken).ConfigureAwait(false);
            }
            catch (CffsException busy) when (busy.Error == CffsError.Busy)
            {
                return DocumentRange.OutOfFrames;
            }

            // The lease says which version its bytes are of: they were lent under the file's lock.
            if (range.Version != version || range.LengthBytes != lengthBytes)
            {
                range.Dispose();
                return null;
            }

            return DocumentRange.FromFrames(RunsOf(range), range.FirstByteOffset, lengthBytes, range);
        }

        public void Dispose()
        {
            lease?.Dispose();
            file.Dispose();
        }
    }
}
