// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Inodes;

namespace Exo.FileSystems.CFFS.Nodes;

/// <content>Inodes by number.</content>
internal sealed partial class NodeDoor
{
    /// <summary>
    /// The inode of a number, held, or null. Inodes lie in their directories, so all of them are searched: for whoever kept a number from before the volume was opened
    /// (a file handle of NFS or of <c>open_by_handle_at</c>), not for every day.
    /// </summary>
    public Inode? FindByNumber(ulong number)
    {
        while (true)
        {
            // What moves from a directory not yet searched to one that is done was missed: when names have changed, the search begins again.
            long version = Volatile.Read(ref core.NamesVersion);
            if (Search(number) is { } found)
            {
                return found;
            }

            if (Volatile.Read(ref core.NamesVersion) == version)
            {
                return null;
            }
        }
    }

    private Inode? Search(ulong number)
    {
        const int EntriesAtOnce = 256;
        Stack<Inode> directories = new();
        List<CffsDirectoryEntry> entries = [];
        core.Inodes.Hold(core.Root);
        directories.Push(core.Root);
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

                    long position = -1;
                    do
                    {
                        entries.Clear();
                        List(directory, position, EntriesAtOnce, entries);
                        foreach (CffsDirectoryEntry entry in entries)
                        {
                            position = entry.Position;
                            if (entry.Inode != number && entry.Kind != CffsKind.Directory)
                            {
                                continue;
                            }

                            // The name may have gone meanwhile, or have become another's.
                            Inode? inode = Lookup(directory, entry.Name);
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
}
