// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Paths;
using Exo.FileSystems.CFFS.Volume;

namespace Exo.FileSystems.CFFS;

/// <content>Files and directories that are opened: by path, by inode number, or without a name.</content>
public sealed partial class CffsVolume
{
    /// <summary>Opens a directory: to read it, to make it durable, and to confine identities to it. Searching the path needs the usual permissions; what is confined afterwards does not walk it.</summary>
    /// <exception cref="CffsException">NotFound, NotDirectory, AccessDenied, Loop.</exception>
    public CffsDirectory OpenDirectory(string path, CffsIdentity? identity = null) => OpenDirectory(PathName.Encode(path), identity);

    /// <inheritdoc cref="OpenDirectory(string, CffsIdentity?)"/>
    public CffsDirectory OpenDirectory(ReadOnlyMemory<byte> path, CffsIdentity? identity = null) => OpenDirectoryCoreAsync(path, identity, IoMode.Sync).Take();

    /// <inheritdoc cref="OpenDirectory(string, CffsIdentity?)"/>
    public ValueTask<CffsDirectory> OpenDirectoryAsync(string path, CffsIdentity? identity = null, CancellationToken cancellationToken = default) =>
        OpenDirectoryAsync(PathName.Encode(path), identity, cancellationToken);

    /// <inheritdoc cref="OpenDirectory(string, CffsIdentity?)"/>
    public ValueTask<CffsDirectory> OpenDirectoryAsync(ReadOnlyMemory<byte> path, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return OpenDirectoryCoreAsync(path, identity, IoMode.Async);
    }

    /// <summary>
    /// Opens the directory of an inode number (<see cref="CffsStat.Inode"/>), wherever it is by now, also one that a program has kept from before the volume was opened: inode numbers outlive renames and
    /// remounts, and none is given twice. One in memory is found at once; else directories are searched, all of them in the worst case.
    /// </summary>
    /// <param name="inode">The number.</param>
    /// <param name="identity">Who asks; null is the superuser, and only the superuser may: permissions on the way are not asked for. A confined one finds what is beneath its directory.</param>
    /// <exception cref="CffsException">Stale: no name leads to the inode (any more); NotDirectory, NotPermitted, Corrupt.</exception>
    public CffsDirectory OpenDirectoryByInode(ulong inode, CffsIdentity? identity = null) => OpenDirectoryByInodeCoreAsync(inode, identity, IoMode.Sync).Take();

    /// <inheritdoc cref="OpenDirectoryByInode"/>
    public ValueTask<CffsDirectory> OpenDirectoryByInodeAsync(ulong inode, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return OpenDirectoryByInodeCoreAsync(inode, identity, IoMode.Async);
    }

    /// <summary>Opens a file, creating it where <paramref name="mode"/> says so.</summary>
    /// <param name="path">The file.</param>
    /// <param name="mode">What for.</param>
    /// <param name="permissions">Permission bits of a new file (12 bits).</param>
    /// <param name="identity">Who asks; null is the superuser.</param>
    /// <exception cref="CffsException">NotFound, Exists, IsDirectory, NotDirectory, AccessDenied, NameTooLong, Loop, NoSpace, ReadOnly, Corrupt.</exception>
    public CffsFile OpenFile(string path, CffsOpenMode mode = CffsOpenMode.Read, ushort permissions = 0x1A4, CffsIdentity? identity = null) =>
        OpenFile(PathName.Encode(path), mode, permissions, identity);

    /// <inheritdoc cref="OpenFile(string, CffsOpenMode, ushort, CffsIdentity?)"/>
    public CffsFile OpenFile(ReadOnlyMemory<byte> path, CffsOpenMode mode = CffsOpenMode.Read, ushort permissions = 0x1A4, CffsIdentity? identity = null) =>
        TryOpenInCore(path.Span, mode, identity ?? CffsIdentity.Superuser) ?? OpenFileCoreAsync(path, mode, permissions, identity, IoMode.Sync).Take();

    /// <inheritdoc cref="OpenFile(string, CffsOpenMode, ushort, CffsIdentity?)"/>
    public ValueTask<CffsFile> OpenFileAsync(
        string path, CffsOpenMode mode = CffsOpenMode.Read, ushort permissions = 0x1A4, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return OpenFileCoreAsync(PathName.Encode(path), mode, permissions, identity, IoMode.Async);
    }

    /// <inheritdoc cref="OpenFile(string, CffsOpenMode, ushort, CffsIdentity?)"/>
    public ValueTask<CffsFile> OpenFileAsync(
        ReadOnlyMemory<byte> path, CffsOpenMode mode = CffsOpenMode.Read, ushort permissions = 0x1A4, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return OpenFileCoreAsync(path, mode, permissions, identity, IoMode.Async);
    }

    /// <summary>Opens the file of an inode number (<see cref="CffsStat.Inode"/>), whatever its name is by now; see <see cref="OpenDirectoryByInode"/> for what that costs.</summary>
    /// <param name="inode">The number.</param>
    /// <param name="mode">What for; it creates nothing.</param>
    /// <param name="identity">Who asks; null is the superuser, and only the superuser may: permissions on the way are not asked for. A confined one finds what is beneath its directory.</param>
    /// <exception cref="CffsException">Stale: no name leads to the inode (any more); IsDirectory, Invalid (no file), NotPermitted, ReadOnly, Corrupt.</exception>
    public CffsFile OpenFileByInode(ulong inode, CffsOpenMode mode = CffsOpenMode.Read, CffsIdentity? identity = null) =>
        OpenFileByInodeCoreAsync(inode, mode, identity, IoMode.Sync).Take();

    /// <inheritdoc cref="OpenFileByInode"/>
    public ValueTask<CffsFile> OpenFileByInodeAsync(
        ulong inode, CffsOpenMode mode = CffsOpenMode.Read, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return OpenFileByInodeCoreAsync(inode, mode, identity, IoMode.Async);
    }

    /// <summary>
    /// Makes a file without a name and opens it for reading and writing (<c>O_TMPFILE</c>). It goes with its last handle, and with a crash, unless <see cref="CffsFile.CreateHardLink(string, CffsIdentity?)"/>
    /// has given it a name: so a file can be filled, given its attributes and made durable before anybody finds it.
    /// </summary>
    /// <param name="directory">A directory of the volume; making a file in it must be permitted, and a set-group-id bit of it counts.</param>
    /// <param name="permissions">Permission bits of the file (12 bits).</param>
    /// <param name="identity">Who asks; null is the superuser.</param>
    /// <exception cref="CffsException">NotFound, NotDirectory, AccessDenied, Loop, NoSpace, ReadOnly.</exception>
    public CffsFile CreateUnnamedFile(string directory, ushort permissions = 0x1A4, CffsIdentity? identity = null) =>
        CreateUnnamedFile(PathName.Encode(directory), permissions, identity);

    /// <inheritdoc cref="CreateUnnamedFile(string, ushort, CffsIdentity?)"/>
    public CffsFile CreateUnnamedFile(ReadOnlyMemory<byte> directory, ushort permissions = 0x1A4, CffsIdentity? identity = null) =>
        CreateUnnamedCoreAsync(directory, permissions, identity, IoMode.Sync).Take();

    /// <inheritdoc cref="CreateUnnamedFile(string, ushort, CffsIdentity?)"/>
    public ValueTask<CffsFile> CreateUnnamedFileAsync(string directory, ushort permissions = 0x1A4, CffsIdentity? identity = null, CancellationToken cancellationToken = default) =>
        CreateUnnamedFileAsync(PathName.Encode(directory), permissions, identity, cancellationToken);

    /// <inheritdoc cref="CreateUnnamedFile(string, ushort, CffsIdentity?)"/>
    public ValueTask<CffsFile> CreateUnnamedFileAsync(
        ReadOnlyMemory<byte> directory, ushort permissions = 0x1A4, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return CreateUnnamedCoreAsync(directory, permissions, identity, IoMode.Async);
    }

    internal ValueTask CloseAsync(Inode inode, IoMode mode)
    {
        if (IsClosed)
        {
            return default;
        }

        bool drop;
        lock (Core.Metadata)
        {
            bool isLast = Interlocked.Decrement(ref inode.Opens) == 0;
            drop = isLast && inode is { IsUnlinked: true, IsRemoved: false } && (inode.IsShelved || inode.Container == Core.Orphans || inode.Container == Core.Externals);
            if (isLast)
            {
                Core.Allocator.Close(ref inode.Window);
                inode.Placement = null;
            }
        }

        if (drop)
        {
            return DropAsync(inode, mode);
        }

        Core.Inodes.Release(inode);
        return default;
    }

    private async ValueTask DropAsync(Inode inode, IoMode mode)
    {
        await Core.Names.DropOrphanAsync(inode, mode).ConfigureAwait(false);
        Core.Inodes.Release(inode);
    }

    private ValueTask<CffsFile> OpenFileCoreAsync(ReadOnlyMemory<byte> path, CffsOpenMode mode, ushort permissions, CffsIdentity? identity, IoMode io) =>
        Refusal.At(path, OpenFileOrRefuseAsync(path, mode, permissions, identity, io));

    private async ValueTask<CffsFile> OpenFileOrRefuseAsync(ReadOnlyMemory<byte> path, CffsOpenMode mode, ushort permissions, CffsIdentity? identity, IoMode io)
    {
        while (true)
        {
            // Null: the name was taken away between the walk and the opening. Whatever has the name now is what is wanted.
            CffsFile? file = await TryOpenFileAsync(path, mode, permissions, identity ?? CffsIdentity.Superuser, io).ConfigureAwait(false);
            if (file is not null)
            {
                return file;
            }
        }
    }

    private async ValueTask<CffsFile?> TryOpenFileAsync(ReadOnlyMemory<byte> path, CffsOpenMode mode, ushort permissions, CffsIdentity identity, IoMode io)
    {
        CheckOpen();
        Inode? inode = null;
        if ((mode & CffsOpenMode.Create) != 0)
        {
            (Inode parent, ReadOnlyMemory<byte> name) = await Core.Paths.ResolveParentAsync(path, identity, io).ConfigureAwait(false);
            try
            {
                if (name.IsEmpty)
                {
                    throw Refusal.Of(CffsError.IsDirectory, path, " is a directory");
                }

                bool exclusive = (mode & CffsOpenMode.CreateNew) == CffsOpenMode.CreateNew;
                inode = exclusive ? null : await Core.Paths.StepAsync(parent, name, identity, io).ConfigureAwait(false);
                if (inode is null)
                {
                    Permissions.Require(parent, identity, Permissions.Execute);
                    (inode, bool created) = await Core.Names.CreateAsync(
                        parent, name, (ushort)(ModeBits.File | (permissions & ModeBits.PermissionMask)), 0, default, exclusive, identity, io, opens: true, umask: 0).ConfigureAwait(false);
                    if (created)
                    {
                        return new CffsFile(this, inode, mode, identity);
                    }
                }
            }
            finally
            {
                Core.Inodes.Release(parent);
            }

            if (inode.Record.Kind == SlotKind.SymbolicLink && (mode & CffsOpenMode.NoFollow) == 0)
            {
                Core.Inodes.Release(inode);
                inode = null;
            }
        }

        inode ??= await Core.Paths.ResolveAsync(path, (mode & CffsOpenMode.NoFollow) == 0, identity, io).ConfigureAwait(false);
        return await TryOpenInodeAsync(inode, path, mode, identity, io).ConfigureAwait(false);
    }

    /// <summary>Opens what has been found; the handle takes the caller's hold, which is released otherwise. Null when the inode is gone.</summary>
    private async ValueTask<CffsFile?> TryOpenInodeAsync(Inode inode, ReadOnlyMemory<byte> path, CffsOpenMode mode, CffsIdentity identity, IoMode io)
    {
        try
        {
            if (inode.IsDirectory)
            {
                throw Refused(inode, path, CffsError.IsDirectory, " is a directory");
            }

            if (inode.Record.Kind != SlotKind.File)
            {
                throw Refused(inode, path, inode.Record.Kind == SlotKind.SymbolicLink ? CffsError.Loop : CffsError.Invalid, " is no regular file");
            }

            int wanted = ((mode & CffsOpenMode.Read) != 0 ? Permissions.Read : 0) | ((mode & CffsOpenMode.Write) != 0 ? Permissions.Write : 0);
            Permissions.Require(inode, identity, wanted);
            if ((mode & CffsOpenMode.Write) != 0)
            {
                inode.RequireThawed();
            }

            if ((mode & CffsOpenMode.Write) != 0 && IsReadOnly)
            {
                throw new CffsException(CffsError.ReadOnly, "the volume is open for reading only");
            }

            bool truncates = (mode & (CffsOpenMode.Truncate | CffsOpenMode.Write)) == (CffsOpenMode.Truncate | CffsOpenMode.Write);
            if (truncates)
            {
                await Core.BeginWritingAsync(io).ConfigureAwait(false);
            }

            bool isGone;

            // Whoever removes an inode looks at its handles under its lock: either it sees this one, or we see that it is gone.
            await inode.Lock.EnterAsync(io).ConfigureAwait(false);
            try
            {
                isGone = inode.IsRemoved;
                if (!isGone && truncates)
                {
                    await Core.Attributes.DropPrivilegesAsync(inode, identity.IsSuperuser, io).ConfigureAwait(false);
                    if (inode.Record.Size > 0)
                    {
                        await Core.Files.SetLengthAsync(inode, 0, io).ConfigureAwait(false);
                    }
                }

                if (!isGone)
                {
                    _ = Interlocked.Increment(ref inode.Opens);
                }
            }
            finally
            {
                inode.Lock.Exit();
            }

            if (!isGone)
            {
                return new CffsFile(this, inode, mode, identity);
            }
        }
        catch
        {
            Core.Inodes.Release(inode);
            throw;
        }

        Core.Inodes.Release(inode);
        return null;
    }

    private async ValueTask<CffsFile> OpenFileByInodeCoreAsync(ulong number, CffsOpenMode mode, CffsIdentity? identity, IoMode io)
    {
        CheckOpen();
        if ((mode & CffsOpenMode.Create) != 0)
        {
            throw new CffsException(CffsError.Invalid, "a file that is opened by its inode exists");
        }

        Inode inode = await FindByNumberAsync(number, identity, io).ConfigureAwait(false);
        return await TryOpenInodeAsync(inode, path: default, mode, identity ?? CffsIdentity.Superuser, io).ConfigureAwait(false) ?? throw Stale(number);
    }

    private async ValueTask<CffsDirectory> OpenDirectoryByInodeCoreAsync(ulong number, CffsIdentity? identity, IoMode io)
    {
        CheckOpen();
        Inode inode = await FindByNumberAsync(number, identity, io).ConfigureAwait(false);
        if (!inode.IsDirectory)
        {
            Core.Inodes.Release(inode);
            throw new CffsException(CffsError.NotDirectory, $"inode {number} is no directory");
        }

        return new CffsDirectory(this, inode);
    }

    private async ValueTask<Inode> FindByNumberAsync(ulong number, CffsIdentity? identity, IoMode io)
    {
        CffsIdentity who = RequireSuperuser(identity, "opens by inode number");
        return await Core.Paths.FindByNumberAsync(number, who, io).ConfigureAwait(false) ?? throw Stale(number);
    }

    private static CffsException Refused(Inode inode, ReadOnlyMemory<byte> path, CffsError error, string why) =>
        path.IsEmpty ? new CffsException(error, $"inode {inode.Number}{why}") : Refusal.Of(error, path, why);

    private static CffsException Stale(ulong number) => new(CffsError.Stale, $"no name leads to inode {number}");

    private static CffsIdentity RequireSuperuser(CffsIdentity? identity, string does) => identity is null or { IsSuperuser: true }
        ? identity ?? CffsIdentity.Superuser
        : throw new CffsException(CffsError.NotPermitted, $"only the superuser {does}");

    private ValueTask<CffsFile> CreateUnnamedCoreAsync(ReadOnlyMemory<byte> path, ushort permissions, CffsIdentity? identity, IoMode io) =>
        Refusal.At(path, CreateUnnamedOrRefuseAsync(path, permissions, identity, io));

    private async ValueTask<CffsFile> CreateUnnamedOrRefuseAsync(ReadOnlyMemory<byte> path, ushort permissions, CffsIdentity? identity, IoMode io)
    {
        CheckOpen();
        identity ??= CffsIdentity.Superuser;
        Inode directory = await Core.Paths.ResolveAsync(path, followLast: true, identity, io).ConfigureAwait(false);
        try
        {
            if (!directory.IsDirectory)
            {
                throw Refusal.Of(CffsError.NotDirectory, path, " is no directory");
            }

            Permissions.Require(directory, identity, Permissions.Execute);
            ushort mode = (ushort)(ModeBits.File | (permissions & ModeBits.PermissionMask));
            Inode inode = await Core.Names.CreateUnnamedAsync(directory, mode, identity, io).ConfigureAwait(false);
            Core.Inodes.Release(inode);
            return new CffsFile(this, inode, CffsOpenMode.ReadWrite, identity);
        }
        finally
        {
            Core.Inodes.Release(directory);
        }
    }

    private ValueTask<CffsDirectory> OpenDirectoryCoreAsync(ReadOnlyMemory<byte> path, CffsIdentity? identity, IoMode io) =>
        Refusal.At(path, OpenDirectoryOrRefuseAsync(path, identity, io));

    private async ValueTask<CffsDirectory> OpenDirectoryOrRefuseAsync(ReadOnlyMemory<byte> path, CffsIdentity? identity, IoMode io)
    {
        CheckOpen();
        Inode inode = await Core.Paths.ResolveAsync(path, followLast: true, identity ?? CffsIdentity.Superuser, io).ConfigureAwait(false);
        if (!inode.IsDirectory)
        {
            Core.Inodes.Release(inode);
            throw Refusal.Of(CffsError.NotDirectory, path, " is no directory");
        }

        return new CffsDirectory(this, inode);
    }
}
