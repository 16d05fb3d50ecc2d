// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Paths;
using Exo.FileSystems.CFFS.Volume;

namespace Exo.FileSystems.CFFS;

/// <content>Copies that share blocks (reflinks).</content>
public sealed partial class CffsVolume
{
    /// <summary>Whether files can share blocks. Volumes made before there were clones cannot, for good.</summary>
    public bool SharesContents => Core.Templates.SharesData;

    /// <summary>
    /// Makes a new file with the contents of another, whose blocks it shares: the cost is that of its extents, not of its bytes. Whoever writes to one of the two later gets fresh blocks for what
    /// he writes; the other keeps its contents. What of the source is not durable yet is made so first. Attributes are those of a new file, with the source's permission bits.
    /// </summary>
    /// <param name="source">A file. Reading it must be permitted.</param>
    /// <param name="destination">A name that is not there yet.</param>
    /// <param name="identity">Who asks; null is the superuser.</param>
    /// <exception cref="CffsException">NotSupported (<see cref="SharesContents"/>), NotFound, Exists, IsDirectory, Invalid (no file), NotDirectory, AccessDenied, NoSpace, ReadOnly.</exception>
    public void CloneFile(string source, string destination, CffsIdentity? identity = null) => CloneFile(PathName.Encode(source), PathName.Encode(destination), identity);

    /// <inheritdoc cref="CloneFile(string, string, CffsIdentity?)"/>
    public void CloneFile(ReadOnlyMemory<byte> source, ReadOnlyMemory<byte> destination, CffsIdentity? identity = null) =>
        CloneFileCoreAsync(source, destination, identity, IoMode.Sync).Take();

    /// <inheritdoc cref="CloneFile(string, string, CffsIdentity?)"/>
    public ValueTask CloneFileAsync(string source, string destination, CffsIdentity? identity = null, CancellationToken cancellationToken = default) =>
        CloneFileAsync(PathName.Encode(source), PathName.Encode(destination), identity, cancellationToken);

    /// <inheritdoc cref="CloneFile(string, string, CffsIdentity?)"/>
    public ValueTask CloneFileAsync(
        ReadOnlyMemory<byte> source, ReadOnlyMemory<byte> destination, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return CloneFileCoreAsync(source, destination, identity, IoMode.Async);
    }

    internal static void RequireSharing(VolumeCore core)
    {
        if (!core.Templates.SharesData)
        {
            throw new CffsException(CffsError.NotSupported, "this volume was made before files could share blocks");
        }
    }

    private ValueTask CloneFileCoreAsync(ReadOnlyMemory<byte> sourcePath, ReadOnlyMemory<byte> destinationPath, CffsIdentity? identity, IoMode io) =>
        Refusal.At(sourcePath, destinationPath, CloneFileOrRefuseAsync(sourcePath, destinationPath, identity, io));

    private async ValueTask CloneFileOrRefuseAsync(ReadOnlyMemory<byte> sourcePath, ReadOnlyMemory<byte> destinationPath, CffsIdentity? identity, IoMode io)
    {
        CheckOpen();
        RequireSharing(Core);
        identity ??= CffsIdentity.Superuser;
        Inode source = await Core.Paths.ResolveAsync(sourcePath, followLast: true, identity, io).ConfigureAwait(false);
        Inode? parent = null;
        try
        {
            if (source.Record.Kind != SlotKind.File)
            {
                throw Refusal.Of(source.IsDirectory ? CffsError.IsDirectory : CffsError.Invalid, sourcePath, " is no regular file");
            }

            Permissions.Require(source, identity, Permissions.Read);
            (parent, ReadOnlyMemory<byte> name) = await Core.Paths.ResolveParentAsync(destinationPath, identity, io).ConfigureAwait(false);
            if (name.IsEmpty)
            {
                throw Refusal.Of(CffsError.Exists, destinationPath, " exists");
            }

            ushort mode = (ushort)(ModeBits.File | (source.Record.Mode & 0x1FF));
            (Inode target, bool _) = await Core.Names.CreateAsync(parent, name, mode, 0, default, exclusive: true, identity, io, umask: 0).ConfigureAwait(false);
            try
            {
                await CloneAsync(Core, source, 0, target, 0, long.MaxValue, keepsSetId: null, io).ConfigureAwait(false);
            }
            catch (CffsException)
            {
                await Core.Names.RemoveAsync(parent, name, isDirectory: false, CffsIdentity.Superuser, io).ConfigureAwait(false);
                throw;
            }
            finally
            {
                Core.Inodes.Release(target);
            }
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

    /// <summary>
    /// Clones a range under the locks of both files; <see cref="long.MaxValue"/> means up to the source's end. Returns its length. Writing has begun. Whether the target keeps its set-id bits is null where it has just been made.
    /// </summary>
    internal static async ValueTask<long> CloneAsync(
        VolumeCore core, Inode source, long sourceOffset, Inode target, long targetOffset, long length, bool? keepsSetId, IoMode io)
    {
        target.RequireThawed();
        await core.Names.Pairs.EnterAsync(io).ConfigureAwait(false);
        (Inode first, Inode second) = source.Number <= target.Number ? (source, target) : (target, source);
        await first.Lock.EnterAsync(io).ConfigureAwait(false);
        if (first != second)
        {
            await second.Lock.EnterAsync(io).ConfigureAwait(false);
        }

        try
        {
            const long Block = 4096;
            long size = (long)source.Record.Size;
            length = length == long.MaxValue ? Math.Max(0, size - sourceOffset) : length;
            if (sourceOffset < 0 || targetOffset < 0 || length < 0 || length > size - sourceOffset || sourceOffset % Block != 0 || targetOffset % Block != 0)
            {
                throw new CffsException(CffsError.Invalid, "a clone begins at a multiple of 4096 bytes in both files and lies within the source");
            }

            long end = sourceOffset + length;
            if (length % Block != 0 && (end != size || targetOffset + length < (long)target.Record.Size))
            {
                throw new CffsException(CffsError.Invalid, "a clone has whole blocks, or ends with both files");
            }

            if (source == target && sourceOffset < targetOffset + length && targetOffset < end)
            {
                throw new CffsException(CffsError.Invalid, "a file cannot share a range with itself that overlaps it");
            }

            if (target.IsRemoved || source.IsRemoved)
            {
                throw new CffsException(CffsError.NotFound, "the file has been removed");
            }

            if (keepsSetId is { } mayKeep)
            {
                await core.Attributes.DropPrivilegesAsync(target, mayKeep, io).ConfigureAwait(false);
            }

            await core.Files.CloneAsync(source, sourceOffset, target, targetOffset, length, io).ConfigureAwait(false);
            return length;
        }
        finally
        {
            if (first != second)
            {
                second.Lock.Exit();
            }

            first.Lock.Exit();
            core.Names.Pairs.Exit();
        }
    }
}
