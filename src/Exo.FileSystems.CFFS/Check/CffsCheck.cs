// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS;

/// <summary>
/// fsck, read-only (<see cref="CffsRepair"/> writes): reads everything that a file system is made of straight from the disk, with code of its own (it shares only the offsets with the file system), and says what does
/// not fit. It proves that a volume needs no repair; a crash never leaves more than Info findings.
/// </summary>
public static class CffsCheck
{
    /// <summary>Checks the volume in an image file or on a block device.</summary>
    /// <exception cref="CffsException">There is no C-FFS volume (NotCffs).</exception>
    /// <exception cref="IOException">The image cannot be opened or read.</exception>
    public static CffsCheckReport Run(string path, CffsCheckOptions? options = null, IProgress<CffsCheckProgress>? progress = null)
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 4 << 20 });
        using BlockDevice device = BlockDevice.Open(path, frames, new BlockDeviceOptions { ReadOnly = true });
        return Run(device, options, progress);
    }

    /// <summary>Checks the volume on a device. Memory: a bit for each block of the disk, 16 bytes for each inode, 16 more for each link and directory, and 1 MiB.</summary>
    /// <exception cref="CffsException">There is no C-FFS volume (NotCffs).</exception>
    public static CffsCheckReport Run(BlockDevice device, CffsCheckOptions? options = null, IProgress<CffsCheckProgress>? progress = null)
    {
        ArgumentNullException.ThrowIfNull(device);
        // After a crash the newest metadata may be in XN's commit log: what is checked is what the next mount will find.
        using BlockDevice? view = LogReplay.View(device);
        return new Check.VolumeCheck(view ?? device, options ?? new CffsCheckOptions(), progress).Run();
    }
}
