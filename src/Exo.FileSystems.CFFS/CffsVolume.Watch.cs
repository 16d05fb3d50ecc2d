// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Paths;
using Exo.FileSystems.CFFS.Volume;

namespace Exo.FileSystems.CFFS;

/// <content>Changes as they happen.</content>
public sealed partial class CffsVolume
{
    private const int WatchCapacityDefault = 4096;

    /// <summary>Watches a directory: its entries, or everything below it. Changes from here on are seen, whoever makes them; a volume that nobody watches pays nothing.</summary>
    /// <param name="path">The directory. The watch stays with it when it is renamed.</param>
    /// <param name="subtree">Everything below it too. Only for the superuser: permissions on the way are not asked for.</param>
    /// <param name="capacity">How many changes wait for a reader before an <see cref="CffsChangeKind.Overflow"/> stands for the rest.</param>
    /// <param name="identity">Who asks, and needs to be able to read the directory; null is the superuser.</param>
    /// <exception cref="CffsException">NotFound, NotDirectory, AccessDenied, NotPermitted, Loop.</exception>
    public CffsWatch Watch(string path, bool subtree = false, int capacity = WatchCapacityDefault, CffsIdentity? identity = null) =>
        Watch(PathName.Encode(path), subtree, capacity, identity);

    /// <inheritdoc cref="Watch(string, bool, int, CffsIdentity?)"/>
    public CffsWatch Watch(ReadOnlyMemory<byte> path, bool subtree = false, int capacity = WatchCapacityDefault, CffsIdentity? identity = null) =>
        WatchCoreAsync(path, subtree, capacity, identity, IoMode.Sync).Take();

    /// <inheritdoc cref="Watch(string, bool, int, CffsIdentity?)"/>
    public ValueTask<CffsWatch> WatchAsync(
        string path, bool subtree = false, int capacity = WatchCapacityDefault, CffsIdentity? identity = null, CancellationToken cancellationToken = default) =>
        WatchAsync(PathName.Encode(path), subtree, capacity, identity, cancellationToken);

    /// <inheritdoc cref="Watch(string, bool, int, CffsIdentity?)"/>
    public ValueTask<CffsWatch> WatchAsync(
        ReadOnlyMemory<byte> path, bool subtree = false, int capacity = WatchCapacityDefault, CffsIdentity? identity = null, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return WatchCoreAsync(path, subtree, capacity, identity, IoMode.Async);
    }

    private ValueTask<CffsWatch> WatchCoreAsync(ReadOnlyMemory<byte> path, bool subtree, int capacity, CffsIdentity? identity, IoMode io) =>
        Refusal.At(path, WatchOrRefuseAsync(path, subtree, capacity, identity, io));

    private async ValueTask<CffsWatch> WatchOrRefuseAsync(ReadOnlyMemory<byte> path, bool subtree, int capacity, CffsIdentity? identity, IoMode io)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(capacity, 1);
        CheckOpen();
        identity ??= CffsIdentity.Superuser;
        if (subtree && !identity.IsSuperuser)
        {
            throw new CffsException(CffsError.NotPermitted, "only the superuser may watch a whole tree");
        }

        Inode inode = await Core.Paths.ResolveAsync(path, followLast: true, identity, io).ConfigureAwait(false);
        try
        {
            if (!inode.IsDirectory)
            {
                throw Refusal.Of(CffsError.NotDirectory, path, " is no directory");
            }

            Permissions.Require(inode, identity, Permissions.Read);
            return Core.Changes.Add(inode, subtree, capacity);
        }
        catch
        {
            Core.Inodes.Release(inode);
            throw;
        }
    }
}
