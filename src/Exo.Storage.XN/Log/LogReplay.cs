// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.Storage.XN;

/// <summary>
/// Brings home what a crash has left in the commit log. It can be repeated any number of times, be it cut off in the middle: the log stays valid until the superblock names another log epoch, and
/// until then nothing else is written.
/// </summary>
internal static class LogReplay
{
    private const int BatchBlocks = 256;

    /// <summary>
    /// Writes the images to their places, durably. Sectors without an image are written as they are; a block that has some and cannot be read is left as it is.
    /// </summary>
    /// <returns>Blocks that were left.</returns>
    /// <exception cref="BlockDeviceException">A block cannot be written; the replay can be repeated.</exception>
    public static int Run(BlockDevice device, LogScan scan)
    {
        int left = 0;
        ulong[] blocks = scan.Blocks();
        using ScratchFrames scratch = new(device.Frames, Math.Clamp(device.Frames.FreeCount / 4, 1, BatchBlocks));
        for (int from = 0; from < blocks.Length; from += scratch.Frames.Length)
        {
            int count = Math.Min(scratch.Frames.Length, blocks.Length - from);
            List<(BlockNumber Block, FrameNumber Frame)> batch = [];
            for (int i = 0; i < count; i++)
            {
                batch.Add((new BlockNumber(blocks[from + i]), scratch.Frames[i]));
            }

            if (!TryRead(device, batch))
            {
                left += batch.RemoveAll(one => !TryRead(device, [one]) && !scan.IsWhole(one.Block.Value));
            }

            foreach ((BlockNumber block, FrameNumber frame) in batch)
            {
                scan.Patch(block.Value, device.Frames.Bytes(frame));
            }

            if (batch.Count > 0)
            {
                device.Execute(BlockRuns.Build(BlockOperation.Write, batch));
            }
        }

        device.Flush();
        return left;
    }

    private static bool TryRead(BlockDevice device, List<(BlockNumber Block, FrameNumber Frame)> blocks)
    {
        try
        {
            device.Execute(BlockRuns.Build(BlockOperation.Read, blocks));
            return true;
        }
        catch (BlockDeviceException)
        {
            return false;
        }
    }

    /// <summary>
    /// For who writes to a disk without attaching it: brings home what is in the log, and ends the log, so that nothing in it is brought home once more over what is written next.
    /// </summary>
    public static void Settle(BlockDevice device)
    {
        if (NewestSuperblock(device) is not { } current || LogScan.Read(device, current) is not { } scan)
        {
            return;
        }

        if (!scan.IsEmpty)
        {
            _ = Run(device, scan);
        }

        new XnSuperblockPair(device) { Current = current }.Store(current with { LogEpoch = current.LogEpoch + 1 });
    }

    /// <summary>The disk as it will be after the replay, for reading only; null when it is that already, or no XN volume. The device below stays the caller's.</summary>
    public static BlockDevice? View(BlockDevice device) =>
        NewestSuperblock(device) is { } current && LogScan.Read(device, current) is { IsEmpty: false } scan ? new ReplayedDevice(device, scan) : null;

    /// <summary>The newest copy that can be read and believed, for who also looks at damaged disks. What is wrong with the others is not said here.</summary>
    private static XnSuperblock? NewestSuperblock(BlockDevice device)
    {
        XnSuperblock? newest = null;
        using ScratchFrames scratch = new(device.Frames, 1);
        for (ulong copy = 0; copy < 2 && copy < device.Geometry.BlockCount; copy++)
        {
            if (TryRead(device, [(new BlockNumber(copy), scratch.Frames[0])]) && XnSuperblock.TryParse(scratch.Bytes(0)[..XnSuperblock.SizeBytes], copy, out XnSuperblock parsed, out _)
                && parsed.BlockCount <= device.Geometry.BlockCount && (newest is null || parsed.Generation > newest.Value.Generation))
            {
                newest = parsed;
            }
        }

        return newest;
    }
}
