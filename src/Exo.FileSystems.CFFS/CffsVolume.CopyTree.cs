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
    /// lives as long as the call. The copy is durable when this returns, and a crash, an error or a cancellation before leaves nothing of it. Only for the superuser: permissions are not asked for.
    /// </summary>
    /// <param name="source">The directory. What others change in it meanwhile may be in the copy or not.</param>
    /// <param name="destination">A name that is not there yet, in a directory that is.</param>
    /// <param name="target">Where the copy goes; null is this volume.</param>
    /// <param name="shareContents">In the same volume, files of more than 64 KiB share their blocks with the copy (<see cref="CloneFile(string, string, CffsIdentity?)"/>) instead of being copied.</param>
    /// <param name="progress">Told from time to time, and at the end.</param>
    /// <param name="cancellationToken">Ends it early.</param>
    /// <returns>What was copied.</returns>
    /// <exception cref="CffsException">NotFound, NotDirectory, Exists, NoSpace, ReadOnly.</exception>
    public CffsCopyReport CopyTree(
        string source, string destination, CffsVolume? target = null, bool shareContents = true, IProgress<CffsCopyReport>? progress = null, CancellationToken cancellationToken = default) =>
        CopyTree(PathName.Encode(source), PathName.Encode(destination), target, shareContents, progress, cancellationToken);

    /// <inheritdoc cref="CopyTree(string, string, CffsVolume?, bool, IProgress{CffsCopyReport}?, CancellationToken)"/>
    public CffsCopyReport CopyTree(
        ReadOnlyMemory<byte> source, ReadOnlyMemory<byte> destination, CffsVolume? target = null, bool shareContents = true, IProgress<CffsCopyReport>? progress = null,
        CancellationToken cancellationToken = default)
    {
        target ??= this;
        CheckOpen();
        target.CheckOpen();
        cancellationToken.ThrowIfCancellationRequested();
        Inode from = Core.Paths.ResolveAsync(source, followLast: true, CffsIdentity.Superuser, IoMode.Sync).Take();
        Inode? parent = null;
        try
        {
            if (!from.IsDirectory)
            {
                throw new CffsException(CffsError.NotDirectory, $"{PathName.Display(source)} is no directory");
            }

            (parent, ReadOnlyMemory<byte> name) = target.Core.Paths.ResolveParentAsync(destination, CffsIdentity.Superuser, IoMode.Sync).Take();
            if (name.IsEmpty)
            {
                throw new CffsException(CffsError.Exists, $"{PathName.Display(destination)} exists");
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
}
