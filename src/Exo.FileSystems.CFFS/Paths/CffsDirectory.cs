// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Volume;

namespace Exo.FileSystems.CFFS;

/// <summary>
/// An open directory, and the root for whoever is confined to it: as after chroot(2), paths and symbolic links that begin with <c>/</c> begin there, <c>..</c> ends there, and nothing
/// outside is reached by any name, also while others rename directories (openat2(2), RESOLVE_IN_ROOT). The handle stays with the directory when that is renamed. Thread-safe.
/// <code>
/// using CffsDirectory site = volume.OpenDirectory("/sites/example.org");
/// CffsIdentity guest = site.Confine(new CffsIdentity(65534, 65534));
/// volume.ReadAllBytes("/../../etc/passwd", guest); // /sites/example.org/etc/passwd, or NotFound
/// </code>
/// </summary>
public sealed class CffsDirectory : IDisposable
{
    private readonly CffsVolume _volume;
    private readonly VolumeCore _core;
    private readonly Inode _inode;
    private int _closed;

    internal CffsDirectory(CffsVolume volume, Inode inode)
    {
        _volume = volume;
        _core = volume.Core;
        _inode = inode;
    }

    /// <summary>The directory's inode number.</summary>
    public ulong Inode => _inode.Number;

    /// <summary>The identity, seeing nothing but what is beneath this directory. It is of no use once the handle is closed.</summary>
    /// <param name="identity">Whose permissions count; null is the superuser.</param>
    public CffsIdentity Confine(CffsIdentity? identity = null) => (identity ?? CffsIdentity.Superuser).Beneath(this);

    /// <summary>Goes over the directory's entries without allocating for each; see <see cref="CffsDirectoryReader"/>.</summary>
    /// <param name="afterPosition">Begins after the entry of this <see cref="CffsDirectoryReader.Position"/>; -1: with the first.</param>
    /// <param name="identity">Whose permissions count; null is the superuser.</param>
    /// <exception cref="CffsException">AccessDenied.</exception>
    public CffsDirectoryReader Read(long afterPosition = -1, CffsIdentity? identity = null)
    {
        ThrowIfClosed();
        Permissions.Require(_inode, identity ?? CffsIdentity.Superuser, Permissions.Read);
        return new CffsDirectoryReader(_core, _inode, afterPosition);
    }

    /// <summary>The directory's attributes. One that has been removed has no links.</summary>
    /// <exception cref="CffsException">Corrupt.</exception>
    public CffsStat Stat()
    {
        ThrowIfClosed();
        return CffsVolume.StatInodeAsync(_core, _inode, IoMode.Sync).Take();
    }

    /// <inheritdoc cref="Stat"/>
    public ValueTask<CffsStat> StatAsync(CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        ThrowIfClosed();
        return CffsVolume.StatInodeAsync(_core, _inode, IoMode.Async);
    }

    /// <summary>Makes the directory durable, that is every name made, moved or removed in it before the call (fsync of a directory). Callers share flushes.</summary>
    /// <exception cref="ObjectDisposedException">The directory or its volume is closed.</exception>
    /// <exception cref="BlockDeviceException">The device failed; what was not written stays dirty and is tried again by the next call.</exception>
    public void Sync()
    {
        ThrowIfClosed();
        _core.Committer.SyncAsync(IoMode.Sync).Take();
    }

    /// <inheritdoc cref="Sync"/>
    public ValueTask SyncAsync(CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        ThrowIfClosed();
        return _core.Committer.SyncAsync(IoMode.Async);
    }

    /// <summary>Closes the handle.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _closed, 1) == 0)
        {
            _core.Inodes.Release(_inode);
        }
    }

    /// <summary>The directory, for paths on its own volume.</summary>
    internal Inode RootOn(VolumeCore core)
    {
        ObjectDisposedException.ThrowIf(Volatile.Read(ref _closed) != 0, this);
        return core == _core ? _inode : throw new ArgumentException("the identity is confined to a directory of another volume");
    }

    private void ThrowIfClosed()
    {
        ObjectDisposedException.ThrowIf(Volatile.Read(ref _closed) != 0, this);
        ObjectDisposedException.ThrowIf(_volume.IsClosed, _volume);
    }
}
