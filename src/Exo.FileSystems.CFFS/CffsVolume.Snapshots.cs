// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Paths;

namespace Exo.FileSystems.CFFS;

/// <summary>How far the making of a snapshot has come: first the tree is locked, then copied.</summary>
/// <param name="LockedInodes">Inodes of the tree that are locked; all of it, once copying has begun.</param>
/// <param name="CopiedInodes">Of them, those that have been copied.</param>
public readonly record struct CffsSnapshotProgress(long LockedInodes, long CopiedInodes);

/// <summary>What has become of a snapshot that was removed. It is gone either way, durably.</summary>
public enum CffsSnapshotRemoval
{
    /// <summary>All of it has been given up.</summary>
    Complete,

    /// <summary>
    /// The removal was cancelled when the snapshot was gone already. What is left of it, nobody sees, and it takes room until the next removal of a snapshot goes on with it, or the next opening of the volume for writing does.
    /// </summary>
    RemainsLeft,
}

/// <content>Snapshots.</content>
public sealed partial class CffsVolume
{
    /// <summary>
    /// Makes a read-only copy of a directory and of all below it as they are at one moment. File contents are shared, so that the cost is that of the metadata. The copy appears when all of it
    /// is there and durable; a crash before that leaves nothing of it. While the tree is copied its inodes are locked: whoever uses one of them waits, and so do renames, links, removals and clones.
    /// <para>Attributes, extended attributes, times, owners and hard links within the tree are kept; inode numbers are new, and stay. Snapshots that lie in the tree are left out.</para>
    /// </summary>
    /// <param name="source">A directory.</param>
    /// <param name="destination">A name that is not there yet, in the tree or outside.</param>
    /// <param name="identity">Who asks; null is the superuser, and only the superuser may. A confined one's paths begin at its directory.</param>
    /// <param name="progress">Told from time to time while the tree is locked, so that it must not use the volume itself.</param>
    /// <param name="cancellationToken">Ends it between two inodes; nothing of the copy is left.</param>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    /// <exception cref="CffsException">NotSupported (<see cref="SharesContents"/>), NotPermitted, NotFound, NotDirectory, Exists, NameTooLong, NoSpace, ReadOnly.</exception>
    public void CreateSnapshot(
        string source, string destination, CffsIdentity? identity = null, IProgress<CffsSnapshotProgress>? progress = null, CancellationToken cancellationToken = default) =>
        CreateSnapshot(PathName.Encode(source), PathName.Encode(destination), identity, progress, cancellationToken);

    /// <inheritdoc cref="CreateSnapshot(string, string, CffsIdentity?, IProgress{CffsSnapshotProgress}?, CancellationToken)"/>
    public void CreateSnapshot(
        ReadOnlyMemory<byte> source,
        ReadOnlyMemory<byte> destination,
        CffsIdentity? identity = null,
        IProgress<CffsSnapshotProgress>? progress = null,
        CancellationToken cancellationToken = default) => SnapshotCoreAsync(source, destination, identity, progress, IoMode.Sync, cancellationToken).Take();

    /// <inheritdoc cref="CreateSnapshot(string, string, CffsIdentity?, IProgress{CffsSnapshotProgress}?, CancellationToken)"/>
    public ValueTask CreateSnapshotAsync(
        string source, string destination, CffsIdentity? identity = null, IProgress<CffsSnapshotProgress>? progress = null, CancellationToken cancellationToken = default) =>
        CreateSnapshotAsync(PathName.Encode(source), PathName.Encode(destination), identity, progress, cancellationToken);

    /// <inheritdoc cref="CreateSnapshot(string, string, CffsIdentity?, IProgress{CffsSnapshotProgress}?, CancellationToken)"/>
    public ValueTask CreateSnapshotAsync(
        ReadOnlyMemory<byte> source,
        ReadOnlyMemory<byte> destination,
        CffsIdentity? identity = null,
        IProgress<CffsSnapshotProgress>? progress = null,
        CancellationToken cancellationToken = default) => SnapshotCoreAsync(source, destination, identity, progress, IoMode.Async, cancellationToken);

    /// <summary>
    /// Removes a snapshot. It is gone, durably, before the first of its blocks is given up; that happens name by name, others get their turn, and a mount after a crash goes on with it. It goes on with what a
    /// cancelled removal has left, too.
    /// </summary>
    /// <param name="path">The snapshot.</param>
    /// <param name="identity">Who asks; null is the superuser, and only the superuser may.</param>
    /// <param name="cancellationToken">Ends it: before the snapshot is gone, and it is whole as it was; or between two names, and the rest is removed later.</param>
    /// <returns>Whether all of it has been given up.</returns>
    /// <exception cref="OperationCanceledException">It was cancelled, and the snapshot is there, whole.</exception>
    /// <exception cref="CffsException">NotPermitted, NotFound, Invalid (no snapshot), ReadOnly.</exception>
    public CffsSnapshotRemoval DeleteSnapshot(string path, CffsIdentity? identity = null, CancellationToken cancellationToken = default) =>
        DeleteSnapshot(PathName.Encode(path), identity, cancellationToken);

    /// <inheritdoc cref="DeleteSnapshot(string, CffsIdentity?, CancellationToken)"/>
    public CffsSnapshotRemoval DeleteSnapshot(ReadOnlyMemory<byte> path, CffsIdentity? identity = null, CancellationToken cancellationToken = default) =>
        DeleteSnapshotCoreAsync(path, identity, IoMode.Sync, cancellationToken).Take();

    /// <inheritdoc cref="DeleteSnapshot(string, CffsIdentity?, CancellationToken)"/>
    public ValueTask<CffsSnapshotRemoval> DeleteSnapshotAsync(string path, CffsIdentity? identity = null, CancellationToken cancellationToken = default) =>
        DeleteSnapshotAsync(PathName.Encode(path), identity, cancellationToken);

    /// <inheritdoc cref="DeleteSnapshot(string, CffsIdentity?, CancellationToken)"/>
    public ValueTask<CffsSnapshotRemoval> DeleteSnapshotAsync(ReadOnlyMemory<byte> path, CffsIdentity? identity = null, CancellationToken cancellationToken = default) =>
        DeleteSnapshotCoreAsync(path, identity, IoMode.Async, cancellationToken);

    private ValueTask SnapshotCoreAsync(
        ReadOnlyMemory<byte> sourcePath, ReadOnlyMemory<byte> destinationPath, CffsIdentity? identity, IProgress<CffsSnapshotProgress>? progress, IoMode io, CancellationToken cancellationToken) =>
        Refusal.At(sourcePath, destinationPath, SnapshotOrRefuseAsync(sourcePath, destinationPath, identity, progress, io, cancellationToken));

    private async ValueTask SnapshotOrRefuseAsync(
        ReadOnlyMemory<byte> sourcePath, ReadOnlyMemory<byte> destinationPath, CffsIdentity? identity, IProgress<CffsSnapshotProgress>? progress, IoMode io, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        CheckOpen();
        RequireSharing(Core);
        CffsIdentity who = RequireSuperuser(identity, "makes and removes snapshots");
        Inode source = await Core.Paths.ResolveAsync(sourcePath, followLast: true, who, io).ConfigureAwait(false);
        Inode? parent = null;
        try
        {
            if (!source.IsDirectory)
            {
                throw Refusal.Of(CffsError.NotDirectory, sourcePath, " is no directory");
            }

            (parent, ReadOnlyMemory<byte> name) = await Core.Paths.ResolveParentAsync(destinationPath, who, io).ConfigureAwait(false);
            if (name.IsEmpty)
            {
                throw Refusal.Of(CffsError.Exists, destinationPath, " exists");
            }

            await Core.Names.SnapshotAsync(source, parent, name, who, progress, io, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            Core.Inodes.Release(source);
            if (parent is not null)
            {
                Core.Inodes.Release(parent);
            }
        }
    }

    private ValueTask<CffsSnapshotRemoval> DeleteSnapshotCoreAsync(ReadOnlyMemory<byte> path, CffsIdentity? identity, IoMode io, CancellationToken cancellationToken) =>
        Refusal.At(path, DeleteSnapshotOrRefuseAsync(path, identity, io, cancellationToken));

    private async ValueTask<CffsSnapshotRemoval> DeleteSnapshotOrRefuseAsync(ReadOnlyMemory<byte> path, CffsIdentity? identity, IoMode io, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        CheckOpen();
        CffsIdentity who = RequireSuperuser(identity, "makes and removes snapshots");
        (Inode parent, ReadOnlyMemory<byte> name) = await Core.Paths.ResolveParentAsync(path, who, io).ConfigureAwait(false);
        try
        {
            if (name.IsEmpty)
            {
                throw new CffsException(CffsError.Invalid, "the root is no snapshot");
            }

            return await Core.Names.RemoveSnapshotAsync(parent, name, who, io, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            Core.Inodes.Release(parent);
        }
    }
}
