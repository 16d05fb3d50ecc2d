// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Paths;
using Exo.FileSystems.CFFS.Volume;

namespace Exo.FileSystems.CFFS;

/// <content>Names that are made, moved and removed, each operation once synchronous and once asynchronous over one body.</content>
public sealed partial class CffsVolume
{
    private const int SymbolicLinkBytesMax = 4095;

    /// <summary>Makes a directory.</summary>
    /// <exception cref="CffsException">NotFound, Exists, NotDirectory, AccessDenied, NameTooLong, NoSpace, ReadOnly.</exception>
    public void CreateDirectory(string path, ushort permissions = 0x1ED, CffsIdentity? identity = null) => CreateDirectory(PathName.Encode(path), permissions, identity);

    /// <inheritdoc cref="CreateDirectory(string, ushort, CffsIdentity?)"/>
    public void CreateDirectory(ReadOnlyMemory<byte> path, ushort permissions = 0x1ED, CffsIdentity? identity = null) =>
        CreateDirectoryCoreAsync(path, permissions, identity, IoMode.Sync).Take();

    /// <inheritdoc cref="CreateDirectory(string, ushort, CffsIdentity?)"/>
    public ValueTask CreateDirectoryAsync(string path, ushort permissions = 0x1ED, CffsIdentity? identity = null, CancellationToken cancellationToken = default) =>
        CreateDirectoryAsync(PathName.Encode(path), permissions, identity, cancellationToken);

    /// <inheritdoc cref="CreateDirectory(string, ushort, CffsIdentity?)"/>
    public ValueTask CreateDirectoryAsync(ReadOnlyMemory<byte> path, ushort permissions = 0x1ED, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return CreateDirectoryCoreAsync(path, permissions, identity, IoMode.Async);
    }

    /// <summary>Makes a directory and those above it that are missing; what exists already is left as it is.</summary>
    /// <exception cref="CffsException">As of <see cref="CreateDirectory(string, ushort, CffsIdentity?)"/>; NotDirectory when something else is in the way.</exception>
    public void CreateDirectories(string path, ushort permissions = 0x1ED, CffsIdentity? identity = null) => CreateDirectories(PathName.Encode(path), permissions, identity);

    /// <inheritdoc cref="CreateDirectories(string, ushort, CffsIdentity?)"/>
    public void CreateDirectories(ReadOnlyMemory<byte> path, ushort permissions = 0x1ED, CffsIdentity? identity = null) =>
        CreateDirectoriesCoreAsync(path, permissions, identity, IoMode.Sync).Take();

    /// <inheritdoc cref="CreateDirectories(string, ushort, CffsIdentity?)"/>
    public ValueTask CreateDirectoriesAsync(string path, ushort permissions = 0x1ED, CffsIdentity? identity = null, CancellationToken cancellationToken = default) =>
        CreateDirectoriesAsync(PathName.Encode(path), permissions, identity, cancellationToken);

    /// <inheritdoc cref="CreateDirectories(string, ushort, CffsIdentity?)"/>
    public ValueTask CreateDirectoriesAsync(ReadOnlyMemory<byte> path, ushort permissions = 0x1ED, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return CreateDirectoriesCoreAsync(path, permissions, identity, IoMode.Async);
    }

    /// <summary>Makes a symbolic link with a target of 1 to 4095 bytes.</summary>
    /// <exception cref="CffsException">NotFound (also for an empty target), Exists, NotDirectory, AccessDenied, NameTooLong, NoSpace, ReadOnly.</exception>
    public void CreateSymbolicLink(string path, string target, CffsIdentity? identity = null) =>
        CreateSymbolicLink(PathName.Encode(path), PathName.Encode(target), identity);

    /// <inheritdoc cref="CreateSymbolicLink(string, string, CffsIdentity?)"/>
    public void CreateSymbolicLink(ReadOnlyMemory<byte> path, ReadOnlyMemory<byte> target, CffsIdentity? identity = null) =>
        CreateSymbolicLinkCoreAsync(path, target, identity, IoMode.Sync).Take();

    /// <inheritdoc cref="CreateSymbolicLink(string, string, CffsIdentity?)"/>
    public ValueTask CreateSymbolicLinkAsync(string path, string target, CffsIdentity? identity = null, CancellationToken cancellationToken = default) =>
        CreateSymbolicLinkAsync(PathName.Encode(path), PathName.Encode(target), identity, cancellationToken);

    /// <inheritdoc cref="CreateSymbolicLink(string, string, CffsIdentity?)"/>
    public ValueTask CreateSymbolicLinkAsync(ReadOnlyMemory<byte> path, ReadOnlyMemory<byte> target, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return CreateSymbolicLinkCoreAsync(path, target, identity, IoMode.Async);
    }

    /// <summary>The target of a symbolic link, in bytes.</summary>
    /// <exception cref="CffsException">NotFound, NotDirectory, Invalid (no symbolic link), AccessDenied, Loop, Corrupt.</exception>
    public byte[] ReadSymbolicLink(string path, CffsIdentity? identity = null) => ReadSymbolicLink(PathName.Encode(path), identity);

    /// <inheritdoc cref="ReadSymbolicLink(string, CffsIdentity?)"/>
    public byte[] ReadSymbolicLink(ReadOnlyMemory<byte> path, CffsIdentity? identity = null) => ReadSymbolicLinkCoreAsync(path, identity, IoMode.Sync).Take();

    /// <inheritdoc cref="ReadSymbolicLink(string, CffsIdentity?)"/>
    public ValueTask<byte[]> ReadSymbolicLinkAsync(string path, CffsIdentity? identity = null, CancellationToken cancellationToken = default) =>
        ReadSymbolicLinkAsync(PathName.Encode(path), identity, cancellationToken);

    /// <inheritdoc cref="ReadSymbolicLink(string, CffsIdentity?)"/>
    public ValueTask<byte[]> ReadSymbolicLinkAsync(ReadOnlyMemory<byte> path, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return ReadSymbolicLinkCoreAsync(path, identity, IoMode.Async);
    }

    /// <summary>Makes a device node, FIFO or socket name.</summary>
    /// <param name="path">Its path.</param>
    /// <param name="mode"><c>st_mode</c>: type and permission bits.</param>
    /// <param name="deviceNumber">The device of a device node, as Linux encodes <c>st_rdev</c>.</param>
    /// <param name="identity">Who asks; devices need the superuser.</param>
    /// <exception cref="CffsException">NotFound, Exists, NotDirectory, NotPermitted, Invalid (another type), AccessDenied, NameTooLong, NoSpace, ReadOnly.</exception>
    public void CreateNode(string path, ushort mode, ulong deviceNumber = 0, CffsIdentity? identity = null) => CreateNode(PathName.Encode(path), mode, deviceNumber, identity);

    /// <inheritdoc cref="CreateNode(string, ushort, ulong, CffsIdentity?)"/>
    public void CreateNode(ReadOnlyMemory<byte> path, ushort mode, ulong deviceNumber = 0, CffsIdentity? identity = null) =>
        CreateNodeCoreAsync(path, mode, deviceNumber, identity, IoMode.Sync).Take();

    /// <inheritdoc cref="CreateNode(string, ushort, ulong, CffsIdentity?)"/>
    public ValueTask CreateNodeAsync(string path, ushort mode, ulong deviceNumber = 0, CffsIdentity? identity = null, CancellationToken cancellationToken = default) =>
        CreateNodeAsync(PathName.Encode(path), mode, deviceNumber, identity, cancellationToken);

    /// <inheritdoc cref="CreateNode(string, ushort, ulong, CffsIdentity?)"/>
    public ValueTask CreateNodeAsync(
        ReadOnlyMemory<byte> path, ushort mode, ulong deviceNumber = 0, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return CreateNodeCoreAsync(path, mode, deviceNumber, identity, IoMode.Async);
    }

    /// <summary>Gives a file a second name.</summary>
    /// <exception cref="CffsException">NotFound, Exists, NotPermitted (a directory), TooManyLinks, AccessDenied, NoSpace, ReadOnly.</exception>
    public void CreateHardLink(string existing, string path, CffsIdentity? identity = null) => CreateHardLink(PathName.Encode(existing), PathName.Encode(path), identity);

    /// <inheritdoc cref="CreateHardLink(string, string, CffsIdentity?)"/>
    public void CreateHardLink(ReadOnlyMemory<byte> existing, ReadOnlyMemory<byte> path, CffsIdentity? identity = null) =>
        LinkCoreAsync(existing, path, identity, IoMode.Sync).Take();

    /// <inheritdoc cref="CreateHardLink(string, string, CffsIdentity?)"/>
    public ValueTask CreateHardLinkAsync(string existing, string path, CffsIdentity? identity = null, CancellationToken cancellationToken = default) =>
        CreateHardLinkAsync(PathName.Encode(existing), PathName.Encode(path), identity, cancellationToken);

    /// <inheritdoc cref="CreateHardLink(string, string, CffsIdentity?)"/>
    public ValueTask CreateHardLinkAsync(ReadOnlyMemory<byte> existing, ReadOnlyMemory<byte> path, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return LinkCoreAsync(existing, path, identity, IoMode.Async);
    }

    /// <summary>Renames; over an existing name if there is one, atomically: every crash leaves the old state or the new one.</summary>
    /// <exception cref="CffsException">NotFound, NotDirectory, IsDirectory, NotEmpty, Exists (with <paramref name="replace"/> false), Invalid (below itself), AccessDenied, NoSpace, ReadOnly.</exception>
    public void Rename(string from, string to, bool replace = true, CffsIdentity? identity = null) => Rename(PathName.Encode(from), PathName.Encode(to), replace, identity);

    /// <inheritdoc cref="Rename(string, string, bool, CffsIdentity?)"/>
    public void Rename(ReadOnlyMemory<byte> from, ReadOnlyMemory<byte> to, bool replace = true, CffsIdentity? identity = null) =>
        RenameCoreAsync(from, to, replace, identity, IoMode.Sync).Take();

    /// <inheritdoc cref="Rename(string, string, bool, CffsIdentity?)"/>
    public ValueTask RenameAsync(string from, string to, bool replace = true, CffsIdentity? identity = null, CancellationToken cancellationToken = default) =>
        RenameAsync(PathName.Encode(from), PathName.Encode(to), replace, identity, cancellationToken);

    /// <inheritdoc cref="Rename(string, string, bool, CffsIdentity?)"/>
    public ValueTask RenameAsync(
        ReadOnlyMemory<byte> from, ReadOnlyMemory<byte> to, bool replace = true, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return RenameCoreAsync(from, to, replace, identity, IoMode.Async);
    }

    /// <summary>
    /// As <see cref="Rename(string, string, bool, CffsIdentity?)"/>, and a whiteout takes the old name (<c>RENAME_WHITEOUT</c>): a character device with number 0, which hides the name of a layer below from whoever stacks
    /// directories. Both are one step, for whoever looks and for every crash. Two names of one file stay as they are.
    /// </summary>
    /// <exception cref="CffsException">NotFound, NotDirectory, IsDirectory, NotEmpty, Exists (with <paramref name="replace"/> false), Invalid (below itself), AccessDenied, NoSpace, ReadOnly.</exception>
    public void RenameWithWhiteout(string from, string to, bool replace = true, CffsIdentity? identity = null) => RenameWithWhiteout(PathName.Encode(from), PathName.Encode(to), replace, identity);

    /// <inheritdoc cref="RenameWithWhiteout(string, string, bool, CffsIdentity?)"/>
    public void RenameWithWhiteout(ReadOnlyMemory<byte> from, ReadOnlyMemory<byte> to, bool replace = true, CffsIdentity? identity = null) =>
        RenameWithWhiteoutCoreAsync(from, to, replace, identity, IoMode.Sync).Take();

    /// <inheritdoc cref="RenameWithWhiteout(string, string, bool, CffsIdentity?)"/>
    public ValueTask RenameWithWhiteoutAsync(string from, string to, bool replace = true, CffsIdentity? identity = null, CancellationToken cancellationToken = default) =>
        RenameWithWhiteoutAsync(PathName.Encode(from), PathName.Encode(to), replace, identity, cancellationToken);

    /// <inheritdoc cref="RenameWithWhiteout(string, string, bool, CffsIdentity?)"/>
    public ValueTask RenameWithWhiteoutAsync(
        ReadOnlyMemory<byte> from, ReadOnlyMemory<byte> to, bool replace = true, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return RenameWithWhiteoutCoreAsync(from, to, replace, identity, IoMode.Async);
    }

    /// <summary>
    /// Two names, of whatever kind, change places (<c>RENAME_EXCHANGE</c>), atomically: whoever looks, and every crash, sees both before or both after. Two names of one file stay as they are. Between sectors of
    /// the disk it costs one commit.
    /// </summary>
    /// <param name="first">A name.</param>
    /// <param name="second">Another one, of the same directory or elsewhere.</param>
    /// <param name="identity">Who asks; null is the superuser.</param>
    /// <exception cref="CffsException">NotFound, NotDirectory, Busy (the root), Invalid (one is below the other), AccessDenied, NotPermitted, NoSpace, ReadOnly.</exception>
    public void Exchange(string first, string second, CffsIdentity? identity = null) => Exchange(PathName.Encode(first), PathName.Encode(second), identity);

    /// <inheritdoc cref="Exchange(string, string, CffsIdentity?)"/>
    public void Exchange(ReadOnlyMemory<byte> first, ReadOnlyMemory<byte> second, CffsIdentity? identity = null) =>
        ExchangeCoreAsync(first, second, identity, IoMode.Sync).Take();

    /// <inheritdoc cref="Exchange(string, string, CffsIdentity?)"/>
    public ValueTask ExchangeAsync(string first, string second, CffsIdentity? identity = null, CancellationToken cancellationToken = default) =>
        ExchangeAsync(PathName.Encode(first), PathName.Encode(second), identity, cancellationToken);

    /// <inheritdoc cref="Exchange(string, string, CffsIdentity?)"/>
    public ValueTask ExchangeAsync(ReadOnlyMemory<byte> first, ReadOnlyMemory<byte> second, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return ExchangeCoreAsync(first, second, identity, IoMode.Async);
    }

    /// <summary>Removes a name that is no directory (unlink).</summary>
    /// <exception cref="CffsException">NotFound, IsDirectory, AccessDenied, NotPermitted, ReadOnly.</exception>
    public void RemoveFile(string path, CffsIdentity? identity = null) => RemoveFile(PathName.Encode(path), identity);

    /// <inheritdoc cref="RemoveFile(string, CffsIdentity?)"/>
    public void RemoveFile(ReadOnlyMemory<byte> path, CffsIdentity? identity = null) => RemoveCoreAsync(path, isDirectory: false, identity, IoMode.Sync).Take();

    /// <inheritdoc cref="RemoveFile(string, CffsIdentity?)"/>
    public ValueTask RemoveFileAsync(string path, CffsIdentity? identity = null, CancellationToken cancellationToken = default) =>
        RemoveFileAsync(PathName.Encode(path), identity, cancellationToken);

    /// <inheritdoc cref="RemoveFile(string, CffsIdentity?)"/>
    public ValueTask RemoveFileAsync(ReadOnlyMemory<byte> path, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return RemoveCoreAsync(path, isDirectory: false, identity, IoMode.Async);
    }

    /// <summary>Removes an empty directory.</summary>
    /// <exception cref="CffsException">NotFound, NotDirectory, NotEmpty, AccessDenied, NotPermitted, ReadOnly.</exception>
    public void RemoveDirectory(string path, CffsIdentity? identity = null) => RemoveDirectory(PathName.Encode(path), identity);

    /// <inheritdoc cref="RemoveDirectory(string, CffsIdentity?)"/>
    public void RemoveDirectory(ReadOnlyMemory<byte> path, CffsIdentity? identity = null) => RemoveCoreAsync(path, isDirectory: true, identity, IoMode.Sync).Take();

    /// <inheritdoc cref="RemoveDirectory(string, CffsIdentity?)"/>
    public ValueTask RemoveDirectoryAsync(string path, CffsIdentity? identity = null, CancellationToken cancellationToken = default) =>
        RemoveDirectoryAsync(PathName.Encode(path), identity, cancellationToken);

    /// <inheritdoc cref="RemoveDirectory(string, CffsIdentity?)"/>
    public ValueTask RemoveDirectoryAsync(ReadOnlyMemory<byte> path, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return RemoveCoreAsync(path, isDirectory: true, identity, IoMode.Async);
    }

    /// <summary>Gives an inode that somebody has open one more name, or its first one.</summary>
    internal async ValueTask LinkInodeAsync(Inode inode, ReadOnlyMemory<byte> path, CffsIdentity? identity, IoMode io)
    {
        CheckOpen();
        identity ??= CffsIdentity.Superuser;
        (Inode parent, ReadOnlyMemory<byte> name) = await Core.Paths.ResolveParentAsync(path, identity, io).ConfigureAwait(false);
        try
        {
            if (name.IsEmpty)
            {
                throw Refusal.Of(CffsError.Exists, path, " exists");
            }

            await Core.Names.LinkAsync(inode, parent, name, identity, io).ConfigureAwait(false);
        }
        finally
        {
            Core.Inodes.Release(parent);
        }
    }

    private async ValueTask CreateDirectoriesCoreAsync(ReadOnlyMemory<byte> path, ushort permissions, CffsIdentity? identity, IoMode io)
    {
        for (int end = 1; end <= path.Length; end++)
        {
            bool isName = path.Span[end - 1] != '/' && (end == path.Length || path.Span[end] == '/');
            if (isName && !await ExistsAsDirectoryAsync(path[..end], identity, io).ConfigureAwait(false))
            {
                try
                {
                    await CreateDirectoryCoreAsync(path[..end], permissions, identity, io).ConfigureAwait(false);
                }
                catch (CffsException exists) when (exists.Error == CffsError.Exists)
                {
                    // Somebody else was quicker.
                    if (!await ExistsAsDirectoryAsync(path[..end], identity, io).ConfigureAwait(false))
                    {
                        throw;
                    }
                }
            }
        }
    }

    private async ValueTask<bool> ExistsAsDirectoryAsync(ReadOnlyMemory<byte> path, CffsIdentity? identity, IoMode io)
    {
        try
        {
            return (await StatCoreAsync(path, follow: true, identity, io).ConfigureAwait(false)).Kind == CffsKind.Directory
                ? true
                : throw Refusal.Of(CffsError.NotDirectory, path, " is no directory");
        }
        catch (CffsException absent) when (absent.Error == CffsError.NotFound)
        {
            return false;
        }
    }

    private ValueTask CreateDirectoryCoreAsync(ReadOnlyMemory<byte> path, ushort permissions, CffsIdentity? identity, IoMode io) =>
        CreateCoreAsync(path, (ushort)(ModeBits.Directory | (permissions & ModeBits.PermissionMask)), 0, default, identity, io);

    private ValueTask CreateSymbolicLinkCoreAsync(ReadOnlyMemory<byte> path, ReadOnlyMemory<byte> target, CffsIdentity? identity, IoMode io)
    {
        if (target.Length is 0 or > SymbolicLinkBytesMax)
        {
            CffsException.Throw(target.Length == 0 ? CffsError.NotFound : CffsError.NameTooLong, $"a symbolic link's target has 1 to {SymbolicLinkBytesMax} bytes");
        }

        return CreateCoreAsync(path, ModeBits.SymbolicLink | 0x1FF, 0, target, identity, io);
    }

    private ValueTask<byte[]> ReadSymbolicLinkCoreAsync(ReadOnlyMemory<byte> path, CffsIdentity? identity, IoMode io) =>
        Refusal.At(path, ReadSymbolicLinkOrRefuseAsync(path, identity, io));

    private async ValueTask<byte[]> ReadSymbolicLinkOrRefuseAsync(ReadOnlyMemory<byte> path, CffsIdentity? identity, IoMode io)
    {
        CheckOpen();
        Inode inode = await Core.Paths.ResolveAsync(path, followLast: false, identity ?? CffsIdentity.Superuser, io).ConfigureAwait(false);
        try
        {
            return await Core.Files.ReadLinkAsync(inode, io).ConfigureAwait(false);
        }
        finally
        {
            Core.Inodes.Release(inode);
        }
    }

    private ValueTask CreateNodeCoreAsync(ReadOnlyMemory<byte> path, ushort mode, ulong deviceNumber, CffsIdentity? identity, IoMode io)
    {
        CffsKind kind = ModeBits.KindOf(mode);
        if (kind is CffsKind.Directory or CffsKind.SymbolicLink)
        {
            CffsException.Throw(CffsError.Invalid, "a node is a device, a FIFO, a socket or a file");
        }

        if (kind is CffsKind.BlockDevice or CffsKind.CharacterDevice && identity is { IsSuperuser: false })
        {
            CffsException.Throw(CffsError.NotPermitted, "only the superuser makes device nodes");
        }

        return CreateCoreAsync(path, mode, deviceNumber, default, identity, io);
    }

    private ValueTask CreateCoreAsync(ReadOnlyMemory<byte> path, ushort mode, ulong device, ReadOnlyMemory<byte> target, CffsIdentity? identity, IoMode io) =>
        Refusal.At(path, CreateOrRefuseAsync(path, mode, device, target, identity, io));

    private async ValueTask CreateOrRefuseAsync(ReadOnlyMemory<byte> path, ushort mode, ulong device, ReadOnlyMemory<byte> target, CffsIdentity? identity, IoMode io)
    {
        CheckOpen();
        identity ??= CffsIdentity.Superuser;
        (Inode parent, ReadOnlyMemory<byte> name) = await Core.Paths.ResolveParentAsync(path, identity, io).ConfigureAwait(false);
        try
        {
            if (name.IsEmpty)
            {
                throw Refusal.Of(CffsError.Exists, path, " exists");
            }

            Permissions.Require(parent, identity, Permissions.Execute);
            (Inode inode, bool _) = await Core.Names.CreateWithContentsAsync(parent, name, mode, device, target, exclusive: true, identity, io, umask: 0).ConfigureAwait(false);
            Core.Inodes.Release(inode);
        }
        finally
        {
            Core.Inodes.Release(parent);
        }
    }

    private ValueTask LinkCoreAsync(ReadOnlyMemory<byte> existing, ReadOnlyMemory<byte> path, CffsIdentity? identity, IoMode io) =>
        Refusal.At(existing, path, LinkOrRefuseAsync(existing, path, identity, io));

    private async ValueTask LinkOrRefuseAsync(ReadOnlyMemory<byte> existing, ReadOnlyMemory<byte> path, CffsIdentity? identity, IoMode io)
    {
        CheckOpen();
        Inode inode = await Core.Paths.ResolveAsync(existing, followLast: false, identity ?? CffsIdentity.Superuser, io).ConfigureAwait(false);
        try
        {
            await LinkInodeAsync(inode, path, identity, io).ConfigureAwait(false);
        }
        finally
        {
            Core.Inodes.Release(inode);
        }
    }

    private ValueTask RenameCoreAsync(ReadOnlyMemory<byte> from, ReadOnlyMemory<byte> to, bool replace, CffsIdentity? identity, IoMode io) =>
        MoveCoreAsync(from, to, isExchange: false, replace, hasWhiteout: false, identity, io);

    private ValueTask RenameWithWhiteoutCoreAsync(ReadOnlyMemory<byte> from, ReadOnlyMemory<byte> to, bool replace, CffsIdentity? identity, IoMode io) =>
        MoveCoreAsync(from, to, isExchange: false, replace, hasWhiteout: true, identity, io);

    private ValueTask ExchangeCoreAsync(ReadOnlyMemory<byte> first, ReadOnlyMemory<byte> second, CffsIdentity? identity, IoMode io) =>
        MoveCoreAsync(first, second, isExchange: true, replace: true, hasWhiteout: false, identity, io);

    private ValueTask MoveCoreAsync(ReadOnlyMemory<byte> from, ReadOnlyMemory<byte> to, bool isExchange, bool replace, bool hasWhiteout, CffsIdentity? identity, IoMode io) =>
        Refusal.At(from, to, MoveOrRefuseAsync(from, to, isExchange, replace, hasWhiteout, identity, io));

    private async ValueTask MoveOrRefuseAsync(ReadOnlyMemory<byte> from, ReadOnlyMemory<byte> to, bool isExchange, bool replace, bool hasWhiteout, CffsIdentity? identity, IoMode io)
    {
        CheckOpen();
        identity ??= CffsIdentity.Superuser;
        (Inode fromParent, ReadOnlyMemory<byte> fromName) = await Core.Paths.ResolveParentAsync(from, identity, io).ConfigureAwait(false);
        Inode? toParent = null;
        try
        {
            (toParent, ReadOnlyMemory<byte> toName) = await Core.Paths.ResolveParentAsync(to, identity, io).ConfigureAwait(false);
            if (fromName.IsEmpty || toName.IsEmpty)
            {
                throw new CffsException(CffsError.Busy, "the root cannot be renamed or replaced");
            }

            if (isExchange)
            {
                await Core.Names.ExchangeAsync(fromParent, fromName, toParent, toName, identity, io).ConfigureAwait(false);
            }
            else
            {
                await Core.Names.RenameAsync(fromParent, fromName, toParent, toName, replace, hasWhiteout ? identity : null, identity, io).ConfigureAwait(false);
            }
        }
        finally
        {
            Core.Inodes.Release(fromParent);
            if (toParent is not null)
            {
                Core.Inodes.Release(toParent);
            }
        }
    }

    private ValueTask RemoveCoreAsync(ReadOnlyMemory<byte> path, bool isDirectory, CffsIdentity? identity, IoMode io) =>
        Refusal.At(path, RemoveOrRefuseAsync(path, isDirectory, identity, io));

    private async ValueTask RemoveOrRefuseAsync(ReadOnlyMemory<byte> path, bool isDirectory, CffsIdentity? identity, IoMode io)
    {
        CheckOpen();
        identity ??= CffsIdentity.Superuser;
        (Inode parent, ReadOnlyMemory<byte> name) = await Core.Paths.ResolveParentAsync(path, identity, io).ConfigureAwait(false);
        try
        {
            if (name.IsEmpty)
            {
                throw new CffsException(isDirectory ? CffsError.Busy : CffsError.IsDirectory, "this directory cannot be removed");
            }

            await Core.Names.RemoveAsync(parent, name, isDirectory, identity, io).ConfigureAwait(false);
        }
        finally
        {
            Core.Inodes.Release(parent);
        }
    }
}
