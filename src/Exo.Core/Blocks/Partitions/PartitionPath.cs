// SPDX-License-Identifier: MIT
namespace Exo.Core.Blocks;

/// <summary>
/// Which part of a path names a file and which a partition. <c>disk.img#2</c> is the file of that name if there is one; else, if there is a
/// file <c>disk.img</c>, its partition 2. An option for the partition takes the path as it is.
/// </summary>
internal static class PartitionPath
{
    public static (string File, string? Partition) Split(string path, BlockDeviceOptions options)
    {
        if (options.Partition is { } partition)
        {
            return (path, partition);
        }

        int mark = path.LastIndexOf('#');
        return mark > 0 && mark < path.Length - 1 && !Path.Exists(path) && File.Exists(path[..mark])
            ? (path[..mark], path[(mark + 1)..])
            : (path, null);
    }
}
