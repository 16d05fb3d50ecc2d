// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.FileSystems.CFFS.Allocation;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Resize;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS;

/// <summary>How far a shrinking or a defragmentation has come.</summary>
/// <param name="MovedBlocks">Blocks moved so far.</param>
public readonly record struct CffsMoveProgress(ulong MovedBlocks);

/// <content>Volumes that become larger or smaller.</content>
public sealed partial class CffsVolume
{
    /// <summary>
    /// Changes the size of a volume in an image file or on a block device that nobody has open. A file gets that length too: before its volume grows, after it has shrunk. A crash at any moment leaves
    /// the old size or the new one, and all contents; run again, it goes on.
    /// </summary>
    /// <param name="path">The image or device.</param>
    /// <param name="sizeBytes">The new size, rounded down to whole blocks; 0: all of the device, or of the file as it is.</param>
    /// <param name="options">How to open it meanwhile.</param>
    /// <param name="progress">Told after each step of a shrinking.</param>
    /// <param name="cancellationToken">Ends a shrinking between two steps; what has moved stays where it is, the size is the old one.</param>
    /// <exception cref="CffsException">As <see cref="Resize(ulong, IProgress{CffsMoveProgress}?, CancellationToken)"/>; NotCffs.</exception>
    /// <exception cref="IOException">The image cannot be opened, or its length cannot be changed.</exception>
    public static void Resize(
        string path, long sizeBytes, CffsOpenOptions? options = null, IProgress<CffsMoveProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(path);
        ArgumentOutOfRangeException.ThrowIfNegative(sizeBytes);
        using CffsVolume volume = Open(path, options);
        volume.ResizeImage(sizeBytes, progress, cancellationToken);
    }

    /// <summary>As <see cref="Resize(string, long, CffsOpenOptions?, IProgress{CffsMoveProgress}?, CancellationToken)"/>, on a thread of the pool.</summary>
    /// <inheritdoc cref="Resize(string, long, CffsOpenOptions?, IProgress{CffsMoveProgress}?, CancellationToken)"/>
    public static ValueTask ResizeAsync(
        string path, long sizeBytes, CffsOpenOptions? options = null, IProgress<CffsMoveProgress>? progress = null, CancellationToken cancellationToken = default) =>
        new(Task.Run(() => Resize(path, sizeBytes, options, progress, cancellationToken), cancellationToken));

    /// <summary>
    /// Changes how many blocks of its device the volume has, while it is in use. Growing is one durable write. Shrinking first moves everything that lies beyond, in bounded steps between which others
    /// work; new contents are put before the new end from the start.
    /// </summary>
    /// <param name="blockCount">Blocks of 4096 bytes.</param>
    /// <param name="progress">Told after each step of a shrinking.</param>
    /// <param name="cancellationToken">Ends a shrinking between two steps; what has moved stays where it is, the size is the old one.</param>
    /// <exception cref="CffsException">
    /// NoSpace: what is there does not fit; Invalid: more than the device has, more than 16 times the size that the volume was made with, or less than a volume needs; Busy: something that cannot move lies
    /// beyond the new end, also another file system on the same disk (the message names it), or a shared block; ReadOnly.
    /// </exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public void Resize(ulong blockCount, IProgress<CffsMoveProgress>? progress = null, CancellationToken cancellationToken = default) =>
        ResizeCoreAsync(blockCount, progress, IoMode.Sync, cancellationToken).Take();

    /// <inheritdoc cref="Resize(ulong, IProgress{CffsMoveProgress}?, CancellationToken)"/>
    public ValueTask ResizeAsync(ulong blockCount, IProgress<CffsMoveProgress>? progress = null, CancellationToken cancellationToken = default) =>
        ResizeCoreAsync(blockCount, progress, IoMode.Async, cancellationToken);

    /// <summary>
    /// Changes the size of the volume and, where it is all of an image file, the length of the file, while it is in use (a mounted image, say). The file gets its length before the volume grows, and after it has shrunk.
    /// A crash at any moment leaves the old size or the new one, and all contents; done again, it goes on.
    /// </summary>
    /// <param name="sizeBytes">The new size, rounded down to whole blocks; 0: all of the device, or of the file, as large as it is by now.</param>
    /// <param name="progress">Told after each step of a shrinking.</param>
    /// <param name="cancellationToken">Ends a shrinking between two steps; what has moved stays where it is, the size is the old one.</param>
    /// <exception cref="CffsException">As <see cref="Resize(ulong, IProgress{CffsMoveProgress}?, CancellationToken)"/>.</exception>
    /// <exception cref="IOException">The length of the file cannot be changed.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public void ResizeImage(long sizeBytes, IProgress<CffsMoveProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(sizeBytes);
        CheckOpen();
        BlockDevice device = Disk.Device;
        ulong deviceBlocks = device.Measure();
        ulong blocks = (ulong)sizeBytes / CffsSpace.BlockBytes;
        bool hasLength = blocks > 0 && device.IsResizable;
        if (blocks == 0)
        {
            blocks = deviceBlocks;
        }

        if (hasLength && blocks > deviceBlocks)
        {
            // What cannot become so large is left alone.
            RequireRoom(this, blocks, blocks);
            device.SetBlockCount(blocks);
        }

        Resize(blocks, progress, cancellationToken);
        if (hasLength && blocks < deviceBlocks)
        {
            device.SetBlockCount(blocks);
        }
    }

    /// <summary>As <see cref="ResizeImage"/>, on a thread of the pool.</summary>
    /// <inheritdoc cref="ResizeImage"/>
    public ValueTask ResizeImageAsync(long sizeBytes, IProgress<CffsMoveProgress>? progress = null, CancellationToken cancellationToken = default) =>
        new(Task.Run(() => ResizeImage(sizeBytes, progress, cancellationToken), cancellationToken));

    private async ValueTask ResizeCoreAsync(ulong blockCount, IProgress<CffsMoveProgress>? progress, IoMode mode, CancellationToken cancellationToken)
    {
        CheckOpen();
        RequireRoom(this, blockCount, Disk.Device.Geometry.BlockCount);
        if (blockCount == Disk.BlockCount)
        {
            return;
        }

        await Core.BeginWritingAsync(mode).ConfigureAwait(false);
        ClosedBlocks beyond = ClosedBlocks.AllFrom(blockCount);
        if (!Core.TryClose(beyond))
        {
            throw new CffsException(CffsError.Busy, "the size of the volume is being changed already");
        }

        try
        {
            if (blockCount < Disk.BlockCount)
            {
                await new VolumeShrink(Core, blockCount, beyond, progress, cancellationToken).RunAsync(mode).ConfigureAwait(false);
            }

            Disk.Resize(Core.Key, blockCount);
        }
        catch (XnException refused)
        {
            throw new CffsException(refused.Status == XnStatus.NotFree ? CffsError.Busy : CffsError.Invalid, refused.Message, refused);
        }
        finally
        {
            Core.Open(beyond);
        }
    }

    private static void RequireRoom(CffsVolume volume, ulong blockCount, ulong deviceBlocks)
    {
        ulong least = Math.Max(MinimumBlocks, volume.Disk.DataStart.Value + 1);
        if (blockCount > Math.Min(deviceBlocks, volume.Disk.BlockCountMax) || blockCount < least)
        {
            string why = blockCount < least ? $"the volume needs {least}"
                : blockCount > volume.Disk.BlockCountMax ? $"the volume can grow to {volume.Disk.BlockCountMax}"
                : $"the device has {deviceBlocks}";
            throw new CffsException(CffsError.Invalid, $"the volume cannot have {blockCount} blocks of {CffsSpace.BlockBytes} bytes: {why}");
        }
    }
}
