// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Volume;

namespace Exo.FileSystems.CFFS.Relocation;

/// <summary>Directories, one after the other, with those that are found on the way.</summary>
internal static class DirectoryWalk
{
    /// <summary>
    /// Visits directories, each held during its visit. A visit pushes what it finds below, held; whatever ends the walk, all of it is let go.
    /// </summary>
    public static async ValueTask RunAsync(VolumeCore core, Inode[] roots, Func<Inode, Stack<Inode>, ValueTask> visit)
    {
        Stack<Inode> directories = new();
        foreach (Inode root in roots)
        {
            core.Inodes.Hold(root);
            directories.Push(root);
        }

        try
        {
            while (directories.TryPop(out Inode? directory))
            {
                try
                {
                    await visit(directory, directories).ConfigureAwait(false);
                }
                finally
                {
                    core.Inodes.Release(directory);
                }
            }
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
