// SPDX-License-Identifier: MIT
using System.Text;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Paths;
using Exo.FileSystems.CFFS.Volume;

namespace Exo.FileSystems.CFFS;

/// <content>Operations on names, each once synchronous and once asynchronous over one body.</content>
public sealed partial class CffsVolume
{
    /// <summary>Opens a directory, to confine identities to it. Searching the path needs the usual permissions; what is confined afterwards does not walk it.</summary>
    /// <exception cref="CffsException">NotFound, NotDirectory, AccessDenied, Loop.</exception>
    public CffsDirectory OpenDirectory(string path, CffsIdentity? identity = null) => OpenDirectory(PathName.Encode(path), identity);

    /// <summary>Opens a directory, to confine identities to it.</summary>
    /// <inheritdoc cref="OpenDirectory(string, CffsIdentity?)"/>
    public CffsDirectory OpenDirectory(ReadOnlyMemory<byte> path, CffsIdentity? identity = null) => OpenDirectoryCoreAsync(path, identity, IoMode.Sync).Take();

    /// <summary>Opens a directory, to confine identities to it.</summary>
    /// <inheritdoc cref="OpenDirectory(string, CffsIdentity?)"/>
    public ValueTask<CffsDirectory> OpenDirectoryAsync(ReadOnlyMemory<byte> path, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return OpenDirectoryCoreAsync(path, identity, IoMode.Async);
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

    /// <summary>Makes a directory.</summary>
    /// <exception cref="CffsException">NotFound, Exists, NotDirectory, AccessDenied, NameTooLong, NoSpace, ReadOnly.</exception>
    public void CreateDirectory(string path, ushort permissions = 0x1ED, CffsIdentity? identity = null) => CreateDirectory(PathName.Encode(path), permissions, identity);

    /// <summary>Makes a directory and those above it that are missing; what exists already is left as it is.</summary>
    /// <exception cref="CffsException">As of <see cref="CreateDirectory(string, ushort, CffsIdentity?)"/>; NotDirectory when something else is in the way.</exception>
    public void CreateDirectories(string path, ushort permissions = 0x1ED, CffsIdentity? identity = null)
    {
        byte[] whole = PathName.Encode(path);
        for (int end = 1; end <= whole.Length; end++)
        {
            bool isName = whole[end - 1] != '/' && (end == whole.Length || whole[end] == '/');
            if (isName && !ExistsAsDirectory(whole.AsMemory(0, end), identity))
            {
                try
                {
                    CreateDirectory(whole.AsMemory(0, end), permissions, identity);
                }
                catch (CffsException exists) when (exists.Error == CffsError.Exists && ExistsAsDirectory(whole.AsMemory(0, end), identity))
                {
                    // Somebody else was quicker.
                }
            }
        }
    }

    /// <inheritdoc cref="CreateDirectory(string, ushort, CffsIdentity?)"/>
    public void CreateDirectory(ReadOnlyMemory<byte> path, ushort permissions = 0x1ED, CffsIdentity? identity = null) =>
        CreateCoreAsync(path, (ushort)(ModeBits.Directory | (permissions & ModeBits.PermissionMask)), 0, default, identity, IoMode.Sync).Take();

    /// <inheritdoc cref="CreateDirectory(string, ushort, CffsIdentity?)"/>
    public ValueTask CreateDirectoryAsync(string path, ushort permissions = 0x1ED, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return CreateCoreAsync(PathName.Encode(path), (ushort)(ModeBits.Directory | (permissions & ModeBits.PermissionMask)), 0, default, identity, IoMode.Async);
    }

    /// <summary>Makes a symbolic link with a target of 1 to 4095 bytes.</summary>
    public void CreateSymbolicLink(string path, string target, CffsIdentity? identity = null) =>
        CreateSymbolicLink(PathName.Encode(path), PathName.Encode(target), identity);

    /// <inheritdoc cref="CreateSymbolicLink(string, string, CffsIdentity?)"/>
    public void CreateSymbolicLink(ReadOnlyMemory<byte> path, ReadOnlyMemory<byte> target, CffsIdentity? identity = null)
    {
        if (target.Length is 0 or > 4095)
        {
            CffsException.Throw(target.Length == 0 ? CffsError.NotFound : CffsError.NameTooLong, "a symbolic link's target has 1 to 4095 bytes");
        }

        CreateCoreAsync(path, ModeBits.SymbolicLink | 0x1FF, 0, target, identity, IoMode.Sync).Take();
    }

    /// <summary>Makes a device node, FIFO or socket name.</summary>
    /// <param name="path">Its path.</param>
    /// <param name="mode"><c>st_mode</c>: type and permission bits.</param>
    /// <param name="deviceNumber">The device of a device node, as Linux encodes <c>st_rdev</c>.</param>
    /// <param name="identity">Who asks; devices need the superuser.</param>
    public void CreateNode(ReadOnlyMemory<byte> path, ushort mode, ulong deviceNumber = 0, CffsIdentity? identity = null)
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

        CreateCoreAsync(path, mode, deviceNumber, default, identity, IoMode.Sync).Take();
    }

    /// <summary>Gives a file a second name.</summary>
    /// <exception cref="CffsException">NotFound, Exists, NotPermitted (a directory), TooManyLinks, AccessDenied, NoSpace, ReadOnly.</exception>
    public void CreateHardLink(string existing, string path, CffsIdentity? identity = null) => CreateHardLink(PathName.Encode(existing), PathName.Encode(path), identity);

    /// <inheritdoc cref="CreateHardLink(string, string, CffsIdentity?)"/>
    public void CreateHardLink(ReadOnlyMemory<byte> existing, ReadOnlyMemory<byte> path, CffsIdentity? identity = null) =>
        LinkCoreAsync(existing, path, identity, IoMode.Sync).Take();

    /// <summary>Renames; over an existing name if there is one, atomically: every crash leaves the old state or the new one.</summary>
    /// <exception cref="CffsException">NotFound, NotDirectory, IsDirectory, NotEmpty, Exists (with <paramref name="replace"/> false), Invalid (below itself), AccessDenied, NoSpace, ReadOnly.</exception>
    public void Rename(string from, string to, bool replace = true, CffsIdentity? identity = null) => Rename(PathName.Encode(from), PathName.Encode(to), replace, identity);

    /// <inheritdoc cref="Rename(string, string, bool, CffsIdentity?)"/>
    public void Rename(ReadOnlyMemory<byte> from, ReadOnlyMemory<byte> to, bool replace = true, CffsIdentity? identity = null) =>
        RenameCoreAsync(from, to, replace, identity, IoMode.Sync).Take();

    /// <inheritdoc cref="Rename(string, string, bool, CffsIdentity?)"/>
    public ValueTask RenameAsync(string from, string to, bool replace = true, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return RenameCoreAsync(PathName.Encode(from), PathName.Encode(to), replace, identity, IoMode.Async);
    }

    /// <summary>
    /// Two names change places (<c>RENAME_EXCHANGE</c>), files or directories, atomically: whoever looks, and every crash, sees both before or both after. Two names of one file stay as they are.
    /// Between sectors of the disk it costs one commit.
    /// </summary>
    /// <exception cref="CffsException">NotFound, NotDirectory, Invalid (one is above the other), Busy (the root), AccessDenied, NotPermitted (sticky), NoSpace, ReadOnly.</exception>
    public void Exchange(string path, string other, CffsIdentity? identity = null) => Exchange(PathName.Encode(path), PathName.Encode(other), identity);

    /// <inheritdoc cref="Exchange(string, string, CffsIdentity?)"/>
    public void Exchange(ReadOnlyMemory<byte> path, ReadOnlyMemory<byte> other, CffsIdentity? identity = null) => ExchangeCoreAsync(path, other, identity, IoMode.Sync).Take();

    /// <inheritdoc cref="Exchange(string, string, CffsIdentity?)"/>
    public ValueTask ExchangeAsync(string path, string other, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return ExchangeCoreAsync(PathName.Encode(path), PathName.Encode(other), identity, IoMode.Async);
    }

    /// <summary>Removes a name that is no directory (unlink).</summary>
    /// <exception cref="CffsException">NotFound, IsDirectory, AccessDenied, NotPermitted, ReadOnly.</exception>
    public void RemoveFile(string path, CffsIdentity? identity = null) => RemoveFile(PathName.Encode(path), identity);

    /// <inheritdoc cref="RemoveFile(string, CffsIdentity?)"/>
    public void RemoveFile(ReadOnlyMemory<byte> path, CffsIdentity? identity = null) => RemoveCoreAsync(path, isDirectory: false, identity, IoMode.Sync).Take();

    /// <inheritdoc cref="RemoveFile(string, CffsIdentity?)"/>
    public ValueTask RemoveFileAsync(string path, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return RemoveCoreAsync(PathName.Encode(path), isDirectory: false, identity, IoMode.Async);
    }

    /// <summary>Removes an empty directory.</summary>
    /// <exception cref="CffsException">NotFound, NotDirectory, NotEmpty, AccessDenied, NotPermitted, ReadOnly.</exception>
    public void RemoveDirectory(string path, CffsIdentity? identity = null) => RemoveDirectory(PathName.Encode(path), identity);

    /// <inheritdoc cref="RemoveDirectory(string, CffsIdentity?)"/>
    public void RemoveDirectory(ReadOnlyMemory<byte> path, CffsIdentity? identity = null) => RemoveCoreAsync(path, isDirectory: true, identity, IoMode.Sync).Take();

    /// <summary>The attributes of what a path leads to.</summary>
    /// <exception cref="CffsException">NotFound, NotDirectory, AccessDenied, Loop, Corrupt.</exception>
    public CffsStat Stat(string path, bool followSymbolicLink = true, CffsIdentity? identity = null) => Stat(PathName.Encode(path), followSymbolicLink, identity);

    /// <inheritdoc cref="Stat(string, bool, CffsIdentity?)"/>
    public CffsStat Stat(ReadOnlyMemory<byte> path, bool followSymbolicLink = true, CffsIdentity? identity = null) =>
        !IsClosed && Core.Paths.TryStatInCore(path.Span, followSymbolicLink, identity ?? CffsIdentity.Superuser, out CffsStat stat)
            ? stat
            : StatCoreAsync(path, followSymbolicLink, identity, IoMode.Sync).Take();

    /// <inheritdoc cref="Stat(string, bool, CffsIdentity?)"/>
    public ValueTask<CffsStat> StatAsync(string path, bool followSymbolicLink = true, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return StatCoreAsync(PathName.Encode(path), followSymbolicLink, identity, IoMode.Async);
    }

    /// <inheritdoc cref="Stat(string, bool, CffsIdentity?)"/>
    public ValueTask<CffsStat> StatAsync(
        ReadOnlyMemory<byte> path, bool followSymbolicLink = true, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return StatCoreAsync(path, followSymbolicLink, identity, IoMode.Async);
    }

    /// <summary>Whether a path leads to something.</summary>
    public bool Exists(string path)
    {
        try
        {
            Stat(path);
            return true;
        }
        catch (CffsException absent) when (absent.Error is CffsError.NotFound or CffsError.NotDirectory)
        {
            return false;
        }
    }

    /// <summary>The target of a symbolic link, in bytes.</summary>
    public byte[] ReadSymbolicLink(string path, CffsIdentity? identity = null) => ReadSymbolicLink(PathName.Encode(path), identity);

    /// <inheritdoc cref="ReadSymbolicLink(string, CffsIdentity?)"/>
    public byte[] ReadSymbolicLink(ReadOnlyMemory<byte> path, CffsIdentity? identity = null)
    {
        CheckOpen();
        Inode inode = Core.Paths.ResolveAsync(path, followLast: false, identity ?? CffsIdentity.Superuser, IoMode.Sync).Take();
        try
        {
            return Core.Files.ReadLinkAsync(inode, IoMode.Sync).Take();
        }
        finally
        {
            Core.Inodes.Release(inode);
        }
    }

    /// <summary>Changes attributes. The owner may change permissions and times, the superuser everything.</summary>
    /// <exception cref="CffsException">NotFound, NotPermitted, AccessDenied, ReadOnly, IsDirectory (a size).</exception>
    public void SetAttributes(string path, in CffsAttributeChange change, bool followSymbolicLink = true, CffsIdentity? identity = null) =>
        SetAttributes(PathName.Encode(path), change, followSymbolicLink, identity);

    /// <inheritdoc cref="SetAttributes(string, in CffsAttributeChange, bool, CffsIdentity?)"/>
    public void SetAttributes(ReadOnlyMemory<byte> path, in CffsAttributeChange change, bool followSymbolicLink = true, CffsIdentity? identity = null) =>
        SetAttributesCoreAsync(path, change, followSymbolicLink, identity, IoMode.Sync).Take();

    /// <summary>The entries of a directory, in the order of their positions.</summary>
    /// <param name="path">The directory.</param>
    /// <param name="afterPosition">Go on after this position; -1 from the start.</param>
    /// <param name="identity">Who asks.</param>
    public IReadOnlyList<CffsDirectoryEntry> ReadDirectory(string path, long afterPosition = -1, CffsIdentity? identity = null) =>
        ReadDirectory(PathName.Encode(path), afterPosition, identity);

    /// <inheritdoc cref="ReadDirectory(string, long, CffsIdentity?)"/>
    public IReadOnlyList<CffsDirectoryEntry> ReadDirectory(ReadOnlyMemory<byte> path, long afterPosition = -1, CffsIdentity? identity = null) =>
        ReadDirectoryCoreAsync(path, afterPosition, identity, IoMode.Sync).Take();

    /// <inheritdoc cref="ReadDirectory(string, long, CffsIdentity?)"/>
    public ValueTask<IReadOnlyList<CffsDirectoryEntry>> ReadDirectoryAsync(
        string path, long afterPosition = -1, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return ReadDirectoryCoreAsync(PathName.Encode(path), afterPosition, identity, IoMode.Async);
    }

    /// <summary>What lies where on the disk: every block once, in runs of one kind. Reads all metadata of this file system.</summary>
    public IReadOnlyList<CffsBlockRun> MapBlocks() => BlockCensus.TakeAsync(Core, IoMode.Sync).Take();

    internal static CffsStat StatOf(Inode inode)
    {
        Record record = inode.Record;
        uint links = record.Kind == SlotKind.Directory ? 2 + (inode.Directory?.Subdirectories ?? 0) : record.Links - inode.BuriedLinks;
        return StatOf(record, links) with
        {
            AllocatedBlocks = record.IsPacked ? 1 : inode.IsMapLoaded ? inode.Map.TotalBlocks : record.Depth == 0 && record.Kind != SlotKind.Special ? record.Count : 0,
            Version = Volatile.Read(ref inode.Version),
        };
    }

    /// <summary>The attributes that a record states. What is in core may be newer.</summary>
    internal static CffsStat StatOf(in Record record, uint links) => new()
    {
        Inode = record.Inode,
        Kind = ModeBits.KindOf(record.Mode),
        Mode = record.Mode,
        Permissions = (ushort)(record.Mode & ModeBits.PermissionMask),
        Links = links,
        User = record.User,
        Group = record.Group,
        Size = (long)record.Size,
        AllocatedBlocks = record.IsPacked ? 1 : record.Kind != SlotKind.Special ? record.Count : 0,
        AccessTimeNs = record.AccessTime,
        ModifyTimeNs = record.ModifyTime,
        ChangeTimeNs = record.ChangeTime,
        BirthTimeNs = record.BirthTime,
        DeviceNumber = record.Kind == SlotKind.Special ? record.Start : 0,
    };

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

    private bool ExistsAsDirectory(ReadOnlyMemory<byte> path, CffsIdentity? identity)
    {
        try
        {
            return Stat(path, followSymbolicLink: true, identity).Kind == CffsKind.Directory
                ? true
                : throw new CffsException(CffsError.NotDirectory, $"{PathName.Display(path)} is no directory");
        }
        catch (CffsException absent) when (absent.Error == CffsError.NotFound)
        {
            return false;
        }
    }

    private void CheckOpen()
    {
        if (IsClosed)
        {
            CffsException.Throw(CffsError.BadHandle, "the volume is closed");
        }
    }

    private async ValueTask<CffsFile> OpenFileCoreAsync(ReadOnlyMemory<byte> path, CffsOpenMode mode, ushort permissions, CffsIdentity? identity, IoMode io)
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
                    throw new CffsException(CffsError.IsDirectory, $"{PathName.Display(path)} is a directory");
                }

                bool exclusive = (mode & CffsOpenMode.CreateNew) == CffsOpenMode.CreateNew;
                inode = exclusive ? null : await Core.Paths.StepAsync(parent, name, identity, io).ConfigureAwait(false);
                if (inode is null)
                {
                    Permissions.Require(parent, identity, Permissions.Execute);
                    (inode, bool created) = await Core.Names.CreateAsync(
                        parent, name, (ushort)(ModeBits.File | (permissions & ModeBits.PermissionMask)), 0, default, exclusive, identity, io, opens: true).ConfigureAwait(false);
                    if (created)
                    {
                        return new CffsFile(this, inode, mode);
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
        try
        {
            if (inode.IsDirectory)
            {
                throw new CffsException(CffsError.IsDirectory, $"{PathName.Display(path)} is a directory");
            }

            if (inode.Record.Kind != SlotKind.File)
            {
                throw new CffsException(inode.Record.Kind == SlotKind.SymbolicLink ? CffsError.Loop : CffsError.Invalid, $"{PathName.Display(path)} is no regular file");
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
                if (!isGone && truncates && inode.Record.Size > 0)
                {
                    await Core.Files.SetLengthAsync(inode, 0, io).ConfigureAwait(false);
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
                return new CffsFile(this, inode, mode);
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

    private async ValueTask CreateCoreAsync(ReadOnlyMemory<byte> path, ushort mode, ulong device, ReadOnlyMemory<byte> target, CffsIdentity? identity, IoMode io)
    {
        CheckOpen();
        identity ??= CffsIdentity.Superuser;
        (Inode parent, ReadOnlyMemory<byte> name) = await Core.Paths.ResolveParentAsync(path, identity, io).ConfigureAwait(false);
        try
        {
            if (name.IsEmpty)
            {
                throw new CffsException(CffsError.Exists, $"{PathName.Display(path)} exists");
            }

            Permissions.Require(parent, identity, Permissions.Execute);
            (Inode inode, bool _) = await Core.Names.CreateWithContentsAsync(parent, name, mode, device, target, exclusive: true, identity, io).ConfigureAwait(false);
            Core.Inodes.Release(inode);
        }
        finally
        {
            Core.Inodes.Release(parent);
        }
    }

    private async ValueTask LinkCoreAsync(ReadOnlyMemory<byte> existing, ReadOnlyMemory<byte> path, CffsIdentity? identity, IoMode io)
    {
        CheckOpen();
        identity ??= CffsIdentity.Superuser;
        Inode inode = await Core.Paths.ResolveAsync(existing, followLast: false, identity, io).ConfigureAwait(false);
        Inode? parent = null;
        try
        {
            (parent, ReadOnlyMemory<byte> name) = await Core.Paths.ResolveParentAsync(path, identity, io).ConfigureAwait(false);
            if (name.IsEmpty)
            {
                throw new CffsException(CffsError.Exists, $"{PathName.Display(path)} exists");
            }

            await Core.Names.LinkAsync(inode, parent, name, identity, io).ConfigureAwait(false);
        }
        finally
        {
            Core.Inodes.Release(inode);
            if (parent is not null)
            {
                Core.Inodes.Release(parent);
            }
        }
    }

    private async ValueTask RenameCoreAsync(ReadOnlyMemory<byte> from, ReadOnlyMemory<byte> to, bool replace, CffsIdentity? identity, IoMode io)
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

            await Core.Names.RenameAsync(fromParent, fromName, toParent, toName, replace, identity, io).ConfigureAwait(false);
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

    private async ValueTask ExchangeCoreAsync(ReadOnlyMemory<byte> path, ReadOnlyMemory<byte> other, CffsIdentity? identity, IoMode io)
    {
        CheckOpen();
        identity ??= CffsIdentity.Superuser;
        (Inode parent, ReadOnlyMemory<byte> name) = await Core.Paths.ResolveParentAsync(path, identity, io).ConfigureAwait(false);
        Inode? otherParent = null;
        try
        {
            (otherParent, ReadOnlyMemory<byte> otherName) = await Core.Paths.ResolveParentAsync(other, identity, io).ConfigureAwait(false);
            if (name.IsEmpty || otherName.IsEmpty)
            {
                throw new CffsException(CffsError.Busy, "the root cannot change its place");
            }

            await Core.Names.ExchangeAsync(parent, name, otherParent, otherName, identity, io).ConfigureAwait(false);
        }
        finally
        {
            Core.Inodes.Release(parent);
            if (otherParent is not null)
            {
                Core.Inodes.Release(otherParent);
            }
        }
    }

    private async ValueTask<CffsDirectory> OpenDirectoryCoreAsync(ReadOnlyMemory<byte> path, CffsIdentity? identity, IoMode io)
    {
        CheckOpen();
        Inode inode = await Core.Paths.ResolveAsync(path, followLast: true, identity ?? CffsIdentity.Superuser, io).ConfigureAwait(false);
        if (!inode.IsDirectory)
        {
            Core.Inodes.Release(inode);
            throw new CffsException(CffsError.NotDirectory, $"{PathName.Display(path)} is no directory");
        }

        return new CffsDirectory(Core, inode);
    }

    private async ValueTask RemoveCoreAsync(ReadOnlyMemory<byte> path, bool isDirectory, CffsIdentity? identity, IoMode io)
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

    private async ValueTask<CffsStat> StatCoreAsync(ReadOnlyMemory<byte> path, bool follow, CffsIdentity? identity, IoMode io)
    {
        CheckOpen();
        identity ??= CffsIdentity.Superuser;
        if (await Core.Paths.TryStatAsync(path, follow, identity, io).ConfigureAwait(false) is { } stat)
        {
            return stat;
        }

        Inode inode = await Core.Paths.ResolveAsync(path, follow, identity, io).ConfigureAwait(false);
        try
        {
            return await StatInodeAsync(Core, inode, io).ConfigureAwait(false);
        }
        finally
        {
            Core.Inodes.Release(inode);
        }
    }

    internal static async ValueTask<CffsStat> StatInodeAsync(VolumeCore core, Inode inode, IoMode io)
    {
        if (inode.IsDirectory ? inode.Directory is not { MustRead: false } : inode.Record.HasTree)
        {
            await inode.Lock.EnterAsync(io).ConfigureAwait(false);
            try
            {
                if (inode.IsDirectory)
                {
                    await core.Directories.EnsureLoadedAsync(inode, io).ConfigureAwait(false);
                }
                else
                {
                    await core.Maps.EnsureAsync(inode, io).ConfigureAwait(false);
                }
            }
            finally
            {
                inode.Lock.Exit();
            }
        }

        return StatOf(inode);
    }

    private async ValueTask SetAttributesCoreAsync(ReadOnlyMemory<byte> path, CffsAttributeChange change, bool follow, CffsIdentity? identity, IoMode io)
    {
        CheckOpen();
        identity ??= CffsIdentity.Superuser;
        await Core.BeginWritingAsync(io).ConfigureAwait(false);
        Inode inode = await Core.Paths.ResolveAsync(path, follow, identity, io).ConfigureAwait(false);
        try
        {
            await inode.Lock.EnterAsync(io).ConfigureAwait(false);
            try
            {
                inode.RequireThawed();
                AttributeRules.Check(inode, change, identity);
                if (change.Size is { } size)
                {
                    if (inode.Record.Kind != SlotKind.File)
                    {
                        throw new CffsException(inode.IsDirectory ? CffsError.IsDirectory : CffsError.Invalid, "only a file has a length to change");
                    }

                    await Core.Files.SetLengthAsync(inode, size, io).ConfigureAwait(false);
                }

                lock (Core.Metadata)
                {
                    AttributeRules.Apply(ref inode.Record, change, identity, Core.Now());
                    Core.NoteNames();
                    Core.Changes.NoteInode(CffsChangeKind.Attributes, inode);
                    Core.Committer.AddDirty(inode);
                }
            }
            finally
            {
                inode.Lock.Exit();
            }
        }
        finally
        {
            Core.Inodes.Release(inode);
        }
    }

    private async ValueTask<IReadOnlyList<CffsDirectoryEntry>> ReadDirectoryCoreAsync(ReadOnlyMemory<byte> path, long afterPosition, CffsIdentity? identity, IoMode io)
    {
        CheckOpen();
        identity ??= CffsIdentity.Superuser;
        Inode inode = await Core.Paths.ResolveAsync(path, followLast: true, identity, io).ConfigureAwait(false);
        try
        {
            if (!inode.IsDirectory)
            {
                throw new CffsException(CffsError.NotDirectory, $"{PathName.Display(path)} is no directory");
            }

            Permissions.Require(inode, identity, Permissions.Read);
            await inode.Lock.EnterAsync(io).ConfigureAwait(false);
            try
            {
                return await Core.Directories.ListAsync(inode, afterPosition, io).ConfigureAwait(false);
            }
            finally
            {
                inode.Lock.Exit();
            }
        }
        finally
        {
            Core.Inodes.Release(inode);
        }
    }
}
