// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Copying;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Paths;

namespace Exo.FileSystems.CFFS;

/// <content>Copies of trees.</content>
public sealed partial class CffsVolume
{
    /// <summary>
    /// Copies a directory and everything below it to a new name, of this volume or another: contents with their holes, hard links among what is copied, symbolic links, FIFOs and devices, permissions,
    /// owners, times, extended attributes. Snapshots in it are left out. As the papers' <c>xcp</c> does it: what is read is read in the order of the disk and ahead of its use, by a second thread that
    /// lives as long as the call. The copy is durable when this returns, and a crash, an error or a cancellation before leaves nothing of it.
    /// </summary>
    /// <param name="source">The directory. What others change in it meanwhile may be in the copy or not.</param>
    /// <param name="destination">A name that is not there yet, in a directory that is.</param>
    /// <param name="target">Where the copy goes; null is this volume.</param>
    /// <param name="identity">
    /// Who asks; null is the superuser, and only the superuser may: permissions are not asked for. A confined one's paths begin at its directory; its directory lies on this volume.
    /// </param>
    /// <param name="targetIdentity">Who asks for the name on another volume, where that is not the same one: an identity is confined to a directory of one volume.</param>
    /// <param name="shareContents">In the same volume, files of more than 64 KiB share their blocks with the copy (<see cref="CloneFile(string, string, CffsIdentity?)"/>) instead of being copied.</param>
    /// <param name="progress">Told from time to time, and at the end.</param>
    /// <param name="cancellationToken">Ends it early.</param>
    /// <returns>What was copied.</returns>
    /// <exception cref="CffsException">NotPermitted, NotFound, NotDirectory, Exists, NoSpace, ReadOnly.</exception>
    /// <exception cref="ArgumentException">An identity is confined to a directory of another volume than the one its path is of.</exception>
    public CffsCopyReport CopyTree(
        string source,
        string destination,
        CffsVolume? target = null,
        bool shareContents = true,
        CffsIdentity? identity = null,
        CffsIdentity? targetIdentity = null,
        IProgress<CffsCopyReport>? progress = null,
        CancellationToken cancellationToken = default) =>
        CopyTree(PathName.Encode(source), PathName.Encode(destination), target, shareContents, identity, targetIdentity, progress, cancellationToken);

    /// <inheritdoc cref="CopyTree(string, string, CffsVolume?, bool, CffsIdentity?, CffsIdentity?, IProgress{CffsCopyReport}?, CancellationToken)"/>
    public CffsCopyReport CopyTree(
        ReadOnlyMemory<byte> source,
        ReadOnlyMemory<byte> destination,
        CffsVolume? target = null,
        bool shareContents = true,
        CffsIdentity? identity = null,
        CffsIdentity? targetIdentity = null,
        IProgress<CffsCopyReport>? progress = null,
        CancellationToken cancellationToken = default)
    {
        target ??= this;
        CffsIdentity reader = RequireSuperuser(identity, "copies trees");
        CffsIdentity writer = RequireSuperuser(targetIdentity ?? identity, "copies trees");
        CheckOpen();
        target.CheckOpen();
        cancellationToken.ThrowIfCancellationRequested();
        Inode from = Core.Paths.ResolveAsync(source, followLast: true, reader, IoMode.Sync).Take();
        Inode? parent = null;
        try
        {
            if (!from.IsDirectory)
            {
                throw Refusal.Of(CffsError.NotDirectory, source, " is no directory");
            }

            (parent, ReadOnlyMemory<byte> name) = target.Core.Paths.ResolveParentAsync(destination, writer, IoMode.Sync).Take();
            if (name.IsEmpty)
            {
                throw Refusal.Of(CffsError.Exists, destination, " exists");
            }

            TreeCopy copy = new(Core, target.Core, shareContents, progress, cancellationToken);
            copy.Run(from, parent, name);
            return copy.Report;
        }
        finally
        {
            Core.Inodes.Release(from);
            if (parent is not null)
            {
                target.Core.Inodes.Release(parent);
            }
        }
    }

    /// <summary>As <see cref="CopyTree(string, string, CffsVolume?, bool, CffsIdentity?, CffsIdentity?, IProgress{CffsCopyReport}?, CancellationToken)"/>, on a thread of the pool.</summary>
    /// <inheritdoc cref="CopyTree(string, string, CffsVolume?, bool, CffsIdentity?, CffsIdentity?, IProgress{CffsCopyReport}?, CancellationToken)"/>
    public ValueTask<CffsCopyReport> CopyTreeAsync(
        string source,
        string destination,
        CffsVolume? target = null,
        bool shareContents = true,
        CffsIdentity? identity = null,
        CffsIdentity? targetIdentity = null,
        IProgress<CffsCopyReport>? progress = null,
        CancellationToken cancellationToken = default) =>
        CopyTreeAsync(PathName.Encode(source), PathName.Encode(destination), target, shareContents, identity, targetIdentity, progress, cancellationToken);

    /// <inheritdoc cref="CopyTreeAsync(string, string, CffsVolume?, bool, CffsIdentity?, CffsIdentity?, IProgress{CffsCopyReport}?, CancellationToken)"/>
    public ValueTask<CffsCopyReport> CopyTreeAsync(
        ReadOnlyMemory<byte> source,
        ReadOnlyMemory<byte> destination,
        CffsVolume? target = null,
        bool shareContents = true,
        CffsIdentity? identity = null,
        CffsIdentity? targetIdentity = null,
        IProgress<CffsCopyReport>? progress = null,
        CancellationToken cancellationToken = default) =>
        new(Task.Run(() => CopyTree(source, destination, target, shareContents, identity, targetIdentity, progress, cancellationToken), cancellationToken));
}
