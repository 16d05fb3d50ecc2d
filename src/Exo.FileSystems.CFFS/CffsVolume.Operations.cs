// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Paths;
using Exo.FileSystems.CFFS.Volume;

namespace Exo.FileSystems.CFFS;

/// <content>What is asked about names, and attributes that change.</content>
public sealed partial class CffsVolume
{
    /// <summary>The attributes of what a path leads to.</summary>
    /// <exception cref="CffsException">NotFound, NotDirectory, AccessDenied, Loop, Corrupt.</exception>
    public CffsStat Stat(string path, bool followSymbolicLink = true, CffsIdentity? identity = null) => Stat(PathName.Encode(path), followSymbolicLink, identity);

    /// <inheritdoc cref="Stat(string, bool, CffsIdentity?)"/>
    public CffsStat Stat(ReadOnlyMemory<byte> path, bool followSymbolicLink = true, CffsIdentity? identity = null) =>
        !IsClosed && Core.Paths.TryStatInCore(path.Span, followSymbolicLink, identity ?? CffsIdentity.Superuser, out CffsStat stat)
            ? stat
            : StatCoreAsync(path, followSymbolicLink, identity, IoMode.Sync).Take();

    /// <inheritdoc cref="Stat(string, bool, CffsIdentity?)"/>
    public ValueTask<CffsStat> StatAsync(string path, bool followSymbolicLink = true, CffsIdentity? identity = null, CancellationToken cancellationToken = default) =>
        StatAsync(PathName.Encode(path), followSymbolicLink, identity, cancellationToken);

    /// <inheritdoc cref="Stat(string, bool, CffsIdentity?)"/>
    public ValueTask<CffsStat> StatAsync(
        ReadOnlyMemory<byte> path, bool followSymbolicLink = true, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return StatCoreAsync(path, followSymbolicLink, identity, IoMode.Async);
    }

    /// <summary>Whether a path leads to something that the identity can see. A symbolic link at its end is followed.</summary>
    /// <param name="path">The path.</param>
    /// <param name="identity">Who asks; null is the superuser.</param>
    /// <exception cref="CffsException">AccessDenied: the identity may not search a directory on the way; Loop, Corrupt.</exception>
    public bool Exists(string path, CffsIdentity? identity = null) => Exists(PathName.Encode(path), identity);

    /// <inheritdoc cref="Exists(string, CffsIdentity?)"/>
    public bool Exists(ReadOnlyMemory<byte> path, CffsIdentity? identity = null) => ExistsCoreAsync(path, identity, IoMode.Sync).Take();

    /// <inheritdoc cref="Exists(string, CffsIdentity?)"/>
    public ValueTask<bool> ExistsAsync(string path, CffsIdentity? identity = null, CancellationToken cancellationToken = default) =>
        ExistsAsync(PathName.Encode(path), identity, cancellationToken);

    /// <inheritdoc cref="Exists(string, CffsIdentity?)"/>
    public ValueTask<bool> ExistsAsync(ReadOnlyMemory<byte> path, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return ExistsCoreAsync(path, identity, IoMode.Async);
    }

    /// <summary>
    /// Changes attributes. The owner may change permissions and times, the superuser everything. Where another than the superuser gives a file another group or length, it loses its set-id bits (the group's only where the group
    /// may execute), as with chown(2) and truncate(2), unless the same change says its permissions; and where he sets permissions of what is of a group that he is not in, its set-group-id bit, as with chmod(2). File capabilities
    /// (<c>security.capability</c>) go with another owner, group or length, whoever gives it.
    /// </summary>
    /// <exception cref="CffsException">NotFound, NotPermitted, AccessDenied, ReadOnly, IsDirectory (a size).</exception>
    public void SetAttributes(string path, in CffsAttributeChange change, bool followSymbolicLink = true, CffsIdentity? identity = null) =>
        SetAttributes(PathName.Encode(path), change, followSymbolicLink, identity);

    /// <inheritdoc cref="SetAttributes(string, in CffsAttributeChange, bool, CffsIdentity?)"/>
    public void SetAttributes(ReadOnlyMemory<byte> path, in CffsAttributeChange change, bool followSymbolicLink = true, CffsIdentity? identity = null) =>
        SetAttributesCoreAsync(path, change, followSymbolicLink, identity, IoMode.Sync).Take();

    /// <inheritdoc cref="SetAttributes(string, in CffsAttributeChange, bool, CffsIdentity?)"/>
    public ValueTask SetAttributesAsync(
        string path, in CffsAttributeChange change, bool followSymbolicLink = true, CffsIdentity? identity = null, CancellationToken cancellationToken = default) =>
        SetAttributesAsync(PathName.Encode(path), change, followSymbolicLink, identity, cancellationToken);

    /// <inheritdoc cref="SetAttributes(string, in CffsAttributeChange, bool, CffsIdentity?)"/>
    public ValueTask SetAttributesAsync(
        ReadOnlyMemory<byte> path, in CffsAttributeChange change, bool followSymbolicLink = true, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return SetAttributesCoreAsync(path, change, followSymbolicLink, identity, IoMode.Async);
    }

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
        string path, long afterPosition = -1, CffsIdentity? identity = null, CancellationToken cancellationToken = default) =>
        ReadDirectoryAsync(PathName.Encode(path), afterPosition, identity, cancellationToken);

    /// <inheritdoc cref="ReadDirectory(string, long, CffsIdentity?)"/>
    public ValueTask<IReadOnlyList<CffsDirectoryEntry>> ReadDirectoryAsync(
        ReadOnlyMemory<byte> path, long afterPosition = -1, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return ReadDirectoryCoreAsync(path, afterPosition, identity, IoMode.Async);
    }

    /// <summary>What lies where on the disk: every block once, in runs of one kind. Reads all metadata of this file system.</summary>
    public IReadOnlyList<CffsBlockRun> MapBlocks()
    {
        CheckOpen();
        return BlockCensus.TakeAsync(Core, IoMode.Sync).Take();
    }

    /// <inheritdoc cref="MapBlocks"/>
    public ValueTask<IReadOnlyList<CffsBlockRun>> MapBlocksAsync(CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        CheckOpen();
        return BlockCensus.TakeAsync(Core, IoMode.Async);
    }

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
        InlineBytes = record.InlineLength,
        AccessTimeNs = record.AccessTime,
        ModifyTimeNs = record.ModifyTime,
        ChangeTimeNs = record.ChangeTime,
        BirthTimeNs = record.BirthTime,
        DeviceNumber = record.Kind == SlotKind.Special ? record.Start : 0,
    };
    /// <summary>Attributes, with all that has to be read for them. An inode whose last name is gone has no links.</summary>
    internal static async ValueTask<CffsStat> StatInodeAsync(VolumeCore core, Inode inode, IoMode io)
    {
        await LoadForStatAsync(core, inode, io).ConfigureAwait(false);
        CffsStat stat = StatOf(inode);
        return inode.IsUnlinked || inode.IsRemoved ? stat with { Links = 0 } : stat;
    }

    /// <summary>Reads what <see cref="StatOf(Inode)"/> needs to know of a directory, or of a file with a tree of extents.</summary>
    internal static async ValueTask LoadForStatAsync(VolumeCore core, Inode inode, IoMode io)
    {
        if (inode.IsDirectory ? inode.Directory is { MustRead: false } : !inode.Record.HasTree || inode.IsMapLoaded)
        {
            return;
        }

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

    /// <summary>Changes attributes of an inode that the caller holds, as an identity may.</summary>
    internal static async ValueTask SetInodeAttributesAsync(VolumeCore core, Inode inode, CffsAttributeChange change, CffsIdentity identity, IoMode io)
    {
        await core.BeginWritingAsync(io).ConfigureAwait(false);
        await inode.Lock.EnterAsync(io).ConfigureAwait(false);
        try
        {
            RequireThere(inode);
            inode.RequireThawed();
            AttributeRules.Check(inode, change, identity);
            if (change.Size is not null || change.User is not null || change.Group is not null)
            {
                await core.Attributes.DropCapabilitiesAsync(inode, io).ConfigureAwait(false);
            }

            if (change.Size is { } size)
            {
                if (inode.Record.Kind != SlotKind.File)
                {
                    throw new CffsException(inode.IsDirectory ? CffsError.IsDirectory : CffsError.Invalid, "only a file has a length to change");
                }

                await core.Files.SetLengthAsync(inode, size, io).ConfigureAwait(false);
            }

            if (change.Permissions is { } permissions)
            {
                await core.Attributes.FollowPermissionsAsync(inode, permissions, io).ConfigureAwait(false);
            }

            lock (core.Metadata)
            {
                AttributeRules.Apply(ref inode.Record, change, identity, core.Now());
                core.NoteNames();
                core.Changes.NoteInode(CffsChangeKind.Attributes, inode);
                core.Committer.AddDirty(inode);
            }
        }
        finally
        {
            inode.Lock.Exit();
        }
    }

    /// <summary>The last name of what a path led to may have gone since; its blocks may be another's. Under the inode's lock.</summary>
    private static void RequireThere(Inode inode)
    {
        if (inode.IsRemoved)
        {
            throw new CffsException(CffsError.NotFound, $"inode {inode.Number} has been removed");
        }
    }

    private void CheckOpen() => ObjectDisposedException.ThrowIf(IsClosed, this);

    private ValueTask<CffsStat> StatCoreAsync(ReadOnlyMemory<byte> path, bool follow, CffsIdentity? identity, IoMode io) =>
        Refusal.At(path, StatOrRefuseAsync(path, follow, identity, io));

    private async ValueTask<CffsStat> StatOrRefuseAsync(ReadOnlyMemory<byte> path, bool follow, CffsIdentity? identity, IoMode io)
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

    private async ValueTask<bool> ExistsCoreAsync(ReadOnlyMemory<byte> path, CffsIdentity? identity, IoMode io)
    {
        if (!IsClosed && Core.Paths.TryStatInCore(path.Span, followLast: true, identity ?? CffsIdentity.Superuser, out _))
        {
            return true;
        }

        try
        {
            _ = await StatCoreAsync(path, follow: true, identity, io).ConfigureAwait(false);
            return true;
        }
        catch (CffsException absent) when (absent.Error is CffsError.NotFound or CffsError.NotDirectory)
        {
            return false;
        }
    }

    private ValueTask SetAttributesCoreAsync(ReadOnlyMemory<byte> path, CffsAttributeChange change, bool follow, CffsIdentity? identity, IoMode io) =>
        Refusal.At(path, SetAttributesOrRefuseAsync(path, change, follow, identity, io));

    private async ValueTask SetAttributesOrRefuseAsync(ReadOnlyMemory<byte> path, CffsAttributeChange change, bool follow, CffsIdentity? identity, IoMode io)
    {
        CheckOpen();
        identity ??= CffsIdentity.Superuser;
        Inode inode = await Core.Paths.ResolveAsync(path, follow, identity, io).ConfigureAwait(false);
        try
        {
            await SetInodeAttributesAsync(Core, inode, change, identity, io).ConfigureAwait(false);
        }
        finally
        {
            Core.Inodes.Release(inode);
        }
    }

    private ValueTask<IReadOnlyList<CffsDirectoryEntry>> ReadDirectoryCoreAsync(ReadOnlyMemory<byte> path, long afterPosition, CffsIdentity? identity, IoMode io) =>
        Refusal.At(path, ReadDirectoryOrRefuseAsync(path, afterPosition, identity, io));

    private async ValueTask<IReadOnlyList<CffsDirectoryEntry>> ReadDirectoryOrRefuseAsync(ReadOnlyMemory<byte> path, long afterPosition, CffsIdentity? identity, IoMode io)
    {
        CheckOpen();
        identity ??= CffsIdentity.Superuser;
        Inode inode = await Core.Paths.ResolveAsync(path, followLast: true, identity, io).ConfigureAwait(false);
        try
        {
            if (!inode.IsDirectory)
            {
                throw Refusal.Of(CffsError.NotDirectory, path, " is no directory");
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
