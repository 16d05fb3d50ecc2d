// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Directories;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Paths;

namespace Exo.FileSystems.CFFS.Operations;

/// <content>Trees that go: out of sight in one step, into the orphan directory, and from there name by name, so that others get their turn. What a crash leaves there the next mount removes.</content>
internal sealed partial class NameOperations
{
    private const int DropBatch = 256;

    /// <summary>Removes a snapshot. It is durably out of sight before the first of its names goes.</summary>
    public async ValueTask RemoveSnapshotAsync(Inode directory, ReadOnlyMemory<byte> name, CffsIdentity identity, IoMode io)
    {
        Inode? root;
        while ((root = await TryHideAsync(directory, name, identity, io).ConfigureAwait(false)) is null)
        {
            await core.Committer.SyncAsync(io).ConfigureAwait(false);
        }

        try
        {
            await core.Committer.SyncAsync(io).ConfigureAwait(false);
            await DropTreeAsync(root, io).ConfigureAwait(false);
        }
        finally
        {
            core.Inodes.Release(root);
        }
    }

    /// <summary>Moves a snapshot to the orphan directory, and gives it back held. Null when its record must keep its name for now: see <see cref="DirectoryState.Burials"/>.</summary>
    private async ValueTask<Inode?> TryHideAsync(Inode directory, ReadOnlyMemory<byte> name, CffsIdentity identity, IoMode io)
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

    /// <summary>Removes a tree of the orphan directory, from its leaves up. The caller holds its root, and no lock.</summary>
    public async ValueTask DropTreeAsync(Inode root, IoMode io)
    {
        Stack<(Inode Directory, ReadOnlyMemory<byte> Name)> path = new([(root, default)]);
        core.Inodes.Hold(root);
        try
        {
            while (path.TryPeek(out (Inode Directory, ReadOnlyMemory<byte> Name) at))
            {
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
