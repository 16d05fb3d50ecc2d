// SPDX-License-Identifier: MIT
using Exo.Cli.Output;
using Exo.Cli.Verbs;
using Exo.FileSystems.CFFS;
using Exo.Storage.XN;

namespace Exo.Cli.Map;

/// <summary>Which directory the blocks of files belong to, found by walking the tree. A file of several names belongs to the directory where it is met first; blocks of several files to none.</summary>
internal static class DataOwners
{
    /// <summary>Walks the tree.</summary>
    /// <param name="volume">The volume.</param>
    /// <param name="directories">The paths, by the numbers that <paramref name="claim"/> gets.</param>
    /// <param name="claim">Told of each extent of each file.</param>
    public static void Walk(CffsVolume volume, List<string> directories, Action<int, BlockExtent> claim)
    {
        HashSet<ulong> seen = [];
        Stack<byte[]> left = new(["/"u8.ToArray()]);
        while (left.TryPop(out byte[]? path))
        {
            int number = directories.Count;
            directories.Add(ByteText.Escape(path));
            using CffsDirectory directory = volume.OpenDirectory(path);
            using CffsDirectoryReader entries = directory.Read();
            List<byte[]> below = [];

            // Small files of a directory share blocks (packs): each such block is claimed once.
            HashSet<ulong> single = [];
            while (entries.Next())
            {
                byte[] child = Symbols.Join(path, entries.Name);
                if (entries.Kind == CffsKind.Directory)
                {
                    below.Add(child);
                }
                else if (entries.Kind == CffsKind.File && entries.Stat() is { AllocatedBlocks: > 0 } stat && (stat.Links == 1 || seen.Add(stat.Inode)))
                {
                    using CffsFile file = volume.OpenFile(child);
                    foreach (CffsExtent extent in file.ReadExtents())
                    {
                        if (extent is { Block: { } block, IsShared: false })
                        {
                            uint blocks = (uint)((extent.LengthBytes + CffsSpace.BlockBytes - 1) / CffsSpace.BlockBytes);
                            if (blocks > 1 || single.Add(block.Value))
                            {
                                claim(number, new BlockExtent(block, blocks));
                            }
                        }
                    }
                }
            }

            below.Sort(static (a, b) => b.AsSpan().SequenceCompareTo(a));
            below.ForEach(left.Push);
        }
    }
}
