// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Directories;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Paths;

namespace Exo.FileSystems.CFFS.Operations;

/// <content>
/// Trees that go: out of sight in one step, into the orphan directory, and from there name by name, so that others get their turn. What a crash leaves there the next mount removes, and so it does with the
/// remains of a removal that was cancelled or has failed, unless the next removal of a snapshot has done so before (<see cref="HasRemains"/>).
/// </content>
internal sealed partial class NameOperations
{
    private const int DropBatch = 256;

    // Roots of trees of the orphan directory whose removal was cancelled, held. Guarded by itself.
    private readonly List<Inode> _remains = [];

    // Others are there that could not be removed: the next mount tries it again, this one does not.
    private bool _keepsRemains;

    /// <summary>There is something left of trees that went: the volume must not be called clean.</summary>
    public bool HasRemains
    {
        get
        {
            lock (_remains)
            {
                return _keepsRemains || _remains.Count > 0;
            }
        }
    }

    /// <summary>A tree of the orphan directory cannot be removed in this mount.</summary>
    public void KeepRemains()
    {
        lock (_remains)
        {
            _keepsRemains = true;
        }
    }

    /// <summary>
    /// Removes a snapshot, and what earlier removals have left. It is durably out of sight before the first of its names goes: until then a cancellation leaves it whole, and is thrown; from then on it leaves
    /// remains, and this says so.
    /// </summary>
    public async ValueTask<CffsSnapshotRemoval> RemoveSnapshotAsync(Inode directory, ReadOnlyMemory<byte> name, CffsIdentity identity, IoMode io, CancellationToken cancellation)
    {
        Inode? root;
        while ((root = await TryHideAsync(directory, name, identity, io, cancellation).ConfigureAwait(false)) is null)
        {
            await core.Committer.SyncAsync(io).ConfigureAwait(false);
        }

        try
        {
            await core.Committer.SyncAsync(io).ConfigureAwait(false);
            return await DropTreeAsync(root, io, cancellation).ConfigureAwait(false) && await DropRemainsAsync(io, cancellation).ConfigureAwait(false)
                ? CffsSnapshotRemoval.Complete
                : CffsSnapshotRemoval.RemainsLeft;
        }
        catch
        {
            KeepRemains();
            throw;
        }
        finally
        {
            core.Inodes.Release(root);
        }
    }

    /// <summary>Removes the trees that others have left; false when that was cancelled. Two may do so at a time, each has a tree of its own.</summary>
    private async ValueTask<bool> DropRemainsAsync(IoMode io, CancellationToken cancellation)
    {
        while (true)
        {
            Inode root;
            lock (_remains)
            {
                if (_remains.Count == 0)
                {
                    return true;
                }

                root = _remains[^1];
                _remains.RemoveAt(_remains.Count - 1);
            }

            try
            {
                if (!await DropTreeAsync(root, io, cancellation).ConfigureAwait(false))
                {
                    return false;
                }
            }
            catch (CffsException failed) when (failed.Error is CffsError.Corrupt or CffsError.NoSpace)
            {
                // It is another's, and noted: who removes his own does not hear of it.
            }
            finally
            {
                core.Inodes.Release(root);
            }
        }
    }

    /// <summary>Moves a snapshot to the orphan directory, and gives it back held. Null when its record must keep its name for now: see <see cref="DirectoryState.Burials"/>.</summary>
    private async ValueTask<Inode?> TryHideAsync(Inode directory, ReadOnlyMemory<byte> name, CffsIdentity identity, IoMode io, CancellationToken cancellation)
    {
        await core.BeginWritingAsync(io).ConfigureAwait(false);
        await _moves.EnterAsync(io).ConfigureAwait(false);
        Inode? inode = null;
        bool isHidden = false;
        try
        {
            inode = await core.Paths.StepAsync(directory, name, identity, io).ConfigureAwait(false)
                ?? throw new CffsException(CffsError.NotFound, $"'{PathName.Display(name)}' not found");
            if (!inode.IsFrozen || !inode.IsDirectory || directory.IsFrozen)
            {
                throw new CffsException(CffsError.Invalid, $"'{PathName.Display(name)}' is no snapshot");
            }

            Inode?[] locks = [directory, inode];
            await EnterAsync(locks, io).ConfigureAwait(false);
            try
            {
                SlotPlace place = await RequireAsync(directory, name, io).ConfigureAwait(false);
                try
                {
                    // The last moment at which nothing has happened.
                    cancellation.ThrowIfCancellationRequested();
                    if (!directory.Directory!.Burials.ContainsKey(place.Address))
                    {
                        uint hash = inode.Record.NameHash;
                        await MoveToOrphansAsync(directory, place, inode, io).ConfigureAwait(false);
                        core.Directories.RemoveName(directory, hash, place.Address, isDirectory: true);
                        directory.Directory.Room.Freed(place.Address / Slot.PerBlock);
                        directory.Directory.LastRemoval = core.Committer.Stamp;
                        lock (core.Metadata)
                        {
                            Touch(directory);
                            core.Changes.NoteName(CffsChangeKind.Removed, directory, name.Span, inode.Number, inode.Record.Mode);
                        }

                        isHidden = true;
                    }
                }
                finally
                {
                    core.Cache.Release(place.Frame);
                }
            }
            finally
            {
                Exit(locks);
            }

            return isHidden ? inode : null;
        }
        finally
        {
            if (inode is not null && !isHidden)
            {
                core.Inodes.Release(inode);
            }

            _moves.Exit();
        }
    }

    /// <summary>Removes a tree of the orphan directory, from its leaves up. The caller holds its root, and no lock. False when that was cancelled: what is left is noted then, and so it is when this throws.</summary>
    public async ValueTask<bool> DropTreeAsync(Inode root, IoMode io, CancellationToken cancellation = default)
    {
        try
        {
            if (await TryDropTreeAsync(root, io, cancellation).ConfigureAwait(false))
            {
                return true;
            }
        }
        catch
        {
            KeepRemains();
            throw;
        }

        core.Inodes.Hold(root);
        lock (_remains)
        {
            _remains.Add(root);
        }

        return false;
    }

    private async ValueTask<bool> TryDropTreeAsync(Inode root, IoMode io, CancellationToken cancellation)
    {
        Stack<(Inode Directory, ReadOnlyMemory<byte> Name)> path = new([(root, default)]);
        core.Inodes.Hold(root);
        try
        {
            while (path.TryPeek(out (Inode Directory, ReadOnlyMemory<byte> Name) at))
            {
                if (cancellation.IsCancellationRequested)
                {
                    return false;
                }

                List<CffsDirectoryEntry> entries = [];
                await at.Directory.Lock.EnterAsync(io).ConfigureAwait(false);
                try
                {
                    await core.Directories.ListSomeAsync(at.Directory, -1, DropBatch, entries, io).ConfigureAwait(false);
                }
                finally
                {
                    at.Directory.Lock.Exit();
                }

                ReadOnlyMemory<byte>? below = null;
                foreach (CffsDirectoryEntry entry in entries)
                {
                    if (entry.Kind == CffsKind.Directory)
                    {
                        below = entry.Name;
                        break;
                    }

                    if (cancellation.IsCancellationRequested)
                    {
                        return false;
                    }

                    await RemoveAsync(at.Directory, entry.Name, isDirectory: false, CffsIdentity.Collector, io).ConfigureAwait(false);
                }

                if (below is { } name)
                {
                    path.Push((await core.Paths.StepAsync(at.Directory, name, CffsIdentity.Collector, io).ConfigureAwait(false)
                        ?? throw new CffsException(CffsError.Corrupt, $"'{PathName.Display(name)}' is listed and not found"), name));
                }
                else if (entries.Count == 0)
                {
                    path.Pop();
                    try
                    {
                        if (path.TryPeek(out (Inode Directory, ReadOnlyMemory<byte> Name) parent))
                        {
                            await RemoveAsync(parent.Directory, at.Name, isDirectory: true, CffsIdentity.Collector, io).ConfigureAwait(false);
                        }
                        else
                        {
                            await DropEmptyAsync(root, io).ConfigureAwait(false);
                        }
                    }
                    finally
                    {
                        core.Inodes.Release(at.Directory);
                    }
                }
            }

            return true;
        }
        finally
        {
            foreach ((Inode directory, _) in path)
            {
                core.Inodes.Release(directory);
            }
        }
    }

    /// <summary>Removes an empty directory of the orphan directory.</summary>
    private async ValueTask DropEmptyAsync(Inode directory, IoMode io)
    {
        for (bool isDone = false; !isDone;)
        {
            await core.BeginWritingAsync(io).ConfigureAwait(false);
            await _moves.EnterAsync(io).ConfigureAwait(false);
            Inode?[] locks = [directory, core.Orphans];
            await EnterAsync(locks, io).ConfigureAwait(false);
            try
            {
                isDone = await RequireEmptyAsync(directory, io).ConfigureAwait(false);
                if (isDone)
                {
                    await core.Directories.ShrinkEmptyAsync(directory, io).ConfigureAwait(false);
                    await RemoveRecordAsync(directory, io).ConfigureAwait(false);
                }
            }
            finally
            {
                Exit(locks);
                _moves.Exit();
            }

            if (!isDone)
            {
                await core.Committer.SyncAsync(io).ConfigureAwait(false);
            }
        }
    }
}
