// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Blocks.Nbd;

namespace Exo.Cli.Arguments;

/// <summary>What an IMAGE on the command line names, beside a file or a device of its own.</summary>
internal static class ImagePath
{
    /// <summary>An export of another machine or a partition: it has the size that it has, and only the device can say what is wrong with it.</summary>
    public static bool IsPartOfAnother(string image) =>
        NbdUri.IsNbd(image) || PartitionPath.Split(image, new BlockDeviceOptions()).Partition is not null;
}
