// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS;

/// <summary>
/// fsck, read-only (<see cref="CffsRepair"/> writes): reads everything that a file system is made of straight from the disk, and says what does not fit. Its walk and its judgement are its own; how sectors and records are
/// parsed (<c>Layout</c>) it shares with the file system. What is independent of both is the verifier of the tests, written from the format's documents alone, which must agree with what is called clean here. A crash never
/// leaves more than Info findings.
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

    /// <summary>
    /// Checks the volume on a device. Memory: a bit for each block of the disk, two where contents may be shared and about 40 bytes for each that is; about 40 bytes for each inode, as much again for each with several names;
    /// of the directories of two levels their paths and 32 bytes for each extent; for the directory at hand 8 bytes for each name and 8 for each entry of its index; half a MiB for each reader (one for each processor, 2 to 8),
    /// and 1 MiB. Lists that grow may take twice that while they do.
    /// </summary>
    /// <exception cref="CffsException">There is no C-FFS volume (NotCffs).</exception>
    public static CffsCheckReport Run(BlockDevice device, CffsCheckOptions? options = null, IProgress<CffsCheckProgress>? progress = null)
    {
        ArgumentNullException.ThrowIfNull(device);
        // After a crash the newest metadata may be in XN's commit log: what is checked is what the next mount will find.
        using BlockDevice? view = LogReplay.View(device);
        return new Check.VolumeCheck(view ?? device, options ?? new CffsCheckOptions(), progress).Run();
    }

    /// <summary>As <see cref="Run(string, CffsCheckOptions?, IProgress{CffsCheckProgress}?)"/>, on a thread of the pool.</summary>
    /// <param name="path">The image or device.</param>
    /// <param name="options">What to check; <see cref="CffsCheckOptions.CancellationToken"/> ends a check that has begun, too.</param>
    /// <param name="progress">Told how far it has come.</param>
    /// <param name="cancellationToken">Heeded until it begins.</param>
    /// <inheritdoc cref="Run(string, CffsCheckOptions?, IProgress{CffsCheckProgress}?)"/>
    public static ValueTask<CffsCheckReport> RunAsync(
        string path, CffsCheckOptions? options = null, IProgress<CffsCheckProgress>? progress = null, CancellationToken cancellationToken = default) =>
        new(Task.Run(() => Run(path, options, progress), cancellationToken));

    /// <summary>As <see cref="Run(BlockDevice, CffsCheckOptions?, IProgress{CffsCheckProgress}?)"/>, on a thread of the pool.</summary>
    /// <param name="device">The device.</param>
    /// <param name="options">What to check; <see cref="CffsCheckOptions.CancellationToken"/> ends a check that has begun, too.</param>
    /// <param name="progress">Told how far it has come.</param>
    /// <param name="cancellationToken">Heeded until it begins.</param>
    /// <inheritdoc cref="Run(BlockDevice, CffsCheckOptions?, IProgress{CffsCheckProgress}?)"/>
    public static ValueTask<CffsCheckReport> RunAsync(
        BlockDevice device, CffsCheckOptions? options = null, IProgress<CffsCheckProgress>? progress = null, CancellationToken cancellationToken = default) =>
        new(Task.Run(() => Run(device, options, progress), cancellationToken));
}
