// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Inodes;

namespace Exo.FileSystems.CFFS.Paths;

/// <content>Inodes by number.</content>
internal sealed partial class PathWalk
{
    private const int EntriesAtOnce = 256;

    /// <summary>
    /// The inode of a number, held, or null when no name beneath the identity's root leads to it. Inodes lie in their directories, so those of one that is not in memory, or has several names, are all
    /// searched: for whoever kept a number from before the volume was opened (a file handle of NFS or of <c>open_by_handle_at</c>), not for every day. Permissions are not asked for.
    /// </summary>
    public async ValueTask<Inode?> FindByNumberAsync(ulong number, CffsIdentity identity, IoMode mode)
    {
        Inode root = RootOf(identity);
        if (TryHoldBeneath(root, number) is { } known)
        {
            return known;
        }

        while (true)
        {
            // What moves from a directory not yet searched to one that is done was missed: when names have changed, the search begins again.
            long version = Volatile.Read(ref core.NamesVersion);
            if (await SearchAsync(root, number, mode).ConfigureAwait(false) is { } found)
            {
                return found;
            }

            if (Volatile.Read(ref core.NamesVersion) == version)
            {
                return null;
            }
        }
    }

    /// <summary>The inode if it is in memory and its record lies beneath a directory. One with several names lies in the table of external inodes: only a search says where its names are.</summary>
    private Inode? TryHoldBeneath(Inode root, ulong number)
    {
        if (core.Inodes.TryHold(number) is not { } inode)
        {
            return null;
        }

        bool isBeneath = false;
        lock (core.Metadata)
        {
            if (!inode.IsUnlinked && !inode.IsRemoved)
            {
                Inode? at = inode;
                while (at is not null && at != root)
                {
                    at = at.Container;
                }

                isBeneath = at is not null;
            }
        }

        if (isBeneath)
        {
            return inode;
        }

        core.Inodes.Release(inode);
        return null;
    }

    private async ValueTask<Inode?> SearchAsync(Inode root, ulong number, IoMode mode)
    {
        Stack<Inode> directories = new();
        List<CffsDirectoryEntry> entries = [];
        core.Inodes.Hold(root);
        directories.Push(root);
        try
        {
            while (directories.TryPop(out Inode? directory))
            {
                try
                {
                    if (directory.Number == number)
                    {
                        core.Inodes.Hold(directory);
                        return directory;
                    }

                    if (await SearchDirectoryAsync(directory, number, entries, directories, mode).ConfigureAwait(false) is { } found)
                    {
                        return found;
                    }
                }
                finally
                {
                    core.Inodes.Release(directory);
                }
            }

            return null;
        }
        finally
        {
            foreach (Inode left in directories)
            {
                core.Inodes.Release(left);
            }
        }
    }

    /// <summary>The inode if a directory has it; the directories in it come to those that are still to be searched.</summary>
    private async ValueTask<Inode?> SearchDirectoryAsync(Inode directory, ulong number, List<CffsDirectoryEntry> entries, Stack<Inode> directories, IoMode mode)
    {
        long position = -1;
        do
        {
            entries.Clear();
            await directory.Lock.EnterAsync(mode).ConfigureAwait(false);
            try
            {
                await core.Directories.ListSomeAsync(directory, position, EntriesAtOnce, entries, mode).ConfigureAwait(false);
            }
            finally
            {
                directory.Lock.Exit();
            }

            foreach (CffsDirectoryEntry entry in entries)
            {
                position = entry.Position;
                if (entry.Inode != number && entry.Kind != CffsKind.Directory)
                {
                    continue;
                }

                // The name may have gone meanwhile, or have become another's.
                Inode? inode = await StepAsync(directory, entry.Name, CffsIdentity.Superuser, mode).ConfigureAwait(false);
                if (inode is null)
                {
                    continue;
                }

                if (inode.Number == number)
                {
                    return inode;
                }

                if (inode.IsDirectory)
                {
                    directories.Push(inode);
                }
                else
                {
                    core.Inodes.Release(inode);
                }
            }
        }
        while (entries.Count > 0);

        return null;
    }
}
