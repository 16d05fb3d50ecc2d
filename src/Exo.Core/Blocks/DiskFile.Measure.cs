// SPDX-License-Identifier: MIT
using System.Globalization;
using Exo.Core.Linux;
using Exo.Core.Memory;

namespace Exo.Core.Blocks;

internal sealed unsafe partial class DiskFile
{
    private void MeasureImage(BlockDeviceOptions options, bool isDivided, bool isNew)
    {
        StatxBuffer status;
        byte empty = 0;
        if (Libc.Statx(Fd, &empty, Abi.AT_EMPTY_PATH, Abi.STATX_BASIC_STATS | Abi.STATX_DIOALIGN, &status) != 0)
        {
            throw new BlockDeviceException(Errno.Last, Path, $"{Path}: cannot read its size: {Errno.Describe(Errno.Last)}.");
        }

        LengthBytes = (long)status.LengthBytes;
        if (options.Create && !isDivided && options.CreateBytes > LengthBytes)
        {
            if (Libc.Truncate(Fd, options.CreateBytes) != 0)
            {
                int error = Errno.Last;
                if (isNew && LengthBytes == 0)
                {
                    File.Delete(Path);
                }

                throw new BlockDeviceException(error, Path, $"{Path} cannot be made {options.CreateBytes} bytes long: {Errno.Describe(error)}.");
            }

            LengthBytes = options.CreateBytes;
            MakeLengthDurable(isNew);
        }

        if (LengthBytes == 0)
        {
            throw new BlockDeviceException(Errno.EINVAL, Path, $"{Path} is empty: give it a size with Create and CreateBytes.");
        }

        if (LengthBytes % FramePool.FrameBytes != 0 && !isDivided)
        {
            throw new BlockDeviceException(
                Errno.EINVAL, Path, $"{Path} has {LengthBytes} bytes, which is not a whole number of 4,096-byte blocks: it is not an image, or was cut short.");
        }

        if (IsDirect && (status.Mask & Abi.STATX_DIOALIGN) != 0)
        {
            LogicalSectorBytes = Math.Max(512, (int)status.DirectOffsetAlignBytes);
        }

        // A hole behind the end changes nothing and tells whether the file system makes holes.
        bool makesHoles = !IsReadOnly
            && Libc.Allocate(Fd, Abi.FALLOC_FL_PUNCH_HOLE | Abi.FALLOC_FL_KEEP_SIZE, (LengthBytes | (FramePool.FrameBytes - 1)) + 1, FramePool.FrameBytes) == 0;
        DiscardGranularityBytes = makesHoles ? FramePool.FrameBytes : 0;
    }

    /// <summary>The length as it is by now; what has become shorter, and a partition, has the length that it had.</summary>
    public long Measure()
    {
        if (_isPartition)
        {
            return LengthBytes;
        }

        ulong now;
        bool isKnown;
        if (IsBlockDevice)
        {
            isKnown = Libc.IoControl(Fd, Abi.BLKGETSIZE64, &now) == 0;
        }
        else
        {
            StatxBuffer status;
            byte empty = 0;
            isKnown = Libc.Statx(Fd, &empty, Abi.AT_EMPTY_PATH, Abi.STATX_BASIC_STATS, &status) == 0;
            now = status.LengthBytes;
        }

        if (!isKnown)
        {
            throw new BlockDeviceException(Errno.Last, Path, $"{Path}: cannot read its size: {Errno.Describe(Errno.Last)}.");
        }

        LengthBytes = Math.Max(LengthBytes, (long)now);
        return LengthBytes;
    }

    /// <summary>Makes the image longer or shorter, durably.</summary>
    public void SetLength(long lengthBytes)
    {
        Invariant.Check(IsWholeImage);
        long before = LengthBytes;
        LengthBytes = Math.Min(before, lengthBytes);
        if (Libc.Truncate(Fd, lengthBytes) != 0)
        {
            int error = Errno.Last;
            LengthBytes = before;
            throw new BlockDeviceException(error, Path, $"{Path} cannot be made {lengthBytes} bytes long: {Errno.Describe(error)}.");
        }

        LengthBytes = lengthBytes;
        MakeLengthDurable(isNew: false);
    }

    /// <summary>A flush of the device promises that writes are found again: so must be the file, its length, and its name.</summary>
    private void MakeLengthDurable(bool isNew)
    {
        int error = Libc.DataSync(Fd) == 0 ? 0 : Errno.Last;
        if (error == 0 && isNew)
        {
            string folder = System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(Path)) ?? "/";
            int fd = OpenPath(folder, Abi.O_RDONLY | Abi.O_DIRECTORY | Abi.O_CLOEXEC);
            if (fd >= 0)
            {
                // Not every file system can flush a folder; one that cannot says EINVAL and keeps names in its own way.
                error = Libc.DataSync(fd) == 0 || Errno.Last == Errno.EINVAL ? 0 : Errno.Last;
                _ = Libc.Close(fd);
            }
        }

        if (error != 0)
        {
            throw new BlockDeviceException(error, Path, $"{Path} cannot be made durable: {Errno.Describe(error)}.");
        }
    }

    private void MeasureBlockDevice()
    {
        ulong lengthBytes = 0;
        int logical = 0;
        uint physical = 0;
        int readOnly = 0;
        if (Libc.IoControl(Fd, Abi.BLKGETSIZE64, &lengthBytes) != 0
            || Libc.IoControl(Fd, Abi.BLKSSZGET, &logical) != 0
            || Libc.IoControl(Fd, Abi.BLKPBSZGET, &physical) != 0
            || Libc.IoControl(Fd, Abi.BLKROGET, &readOnly) != 0)
        {
            int error = Errno.Last;
            throw new BlockDeviceException(error, Path, $"{Path}: cannot read the disk's geometry: {Errno.Describe(error)}.");
        }

        if (lengthBytes < FramePool.FrameBytes)
        {
            throw new BlockDeviceException(Errno.ENODEV, Path, $"{Path} holds no medium, or less than one block of 4,096 bytes.");
        }

        if (readOnly != 0 && !IsReadOnly)
        {
            throw new BlockDeviceException(Errno.EROFS, Path, $"{Path} is write-protected, and can only be opened for reading (ReadOnly).");
        }

        if (logical > FramePool.FrameBytes)
        {
            throw new BlockDeviceException(Errno.EINVAL, Path, $"{Path} has sectors of {logical} bytes; at most 4,096 can be used.");
        }

        LengthBytes = (long)lengthBytes;
        LogicalSectorBytes = logical;
        PhysicalSectorBytes = (int)physical;
        string queue = QueueFolder();
        HasVolatileCache = !ReadQueue(queue, "write_cache").StartsWith("write through", StringComparison.Ordinal);
        bool discards = ulong.TryParse(ReadQueue(queue, "discard_max_bytes"), CultureInfo.InvariantCulture, out ulong discardMaxBytes) && discardMaxBytes > 0;
        DiscardGranularityBytes = discards
            && int.TryParse(ReadQueue(queue, "discard_granularity"), CultureInfo.InvariantCulture, out int granularity)
                ? granularity
                : 0;
    }

    /// <summary>Where sysfs describes the disk's queue; a partition's is its parent's.</summary>
    private string QueueFolder()
    {
        TryStat(Path, out StatxBuffer status, out _);
        string device = $"/sys/dev/block/{status.DeviceMajor}:{status.DeviceMinor}";
        string queue = $"{device}/queue";
        return Directory.Exists(queue) ? queue : $"{device}/../queue";
    }

    /// <summary>An attribute of the queue; empty if sysfs is not there, which leaves the careful answer standing.</summary>
    private static string ReadQueue(string folder, string name)
    {
        try
        {
            return File.ReadAllText($"{folder}/{name}").Trim();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return "";
        }
    }
}
