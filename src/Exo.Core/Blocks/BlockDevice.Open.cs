// SPDX-License-Identifier: MIT
using Exo.Core.Linux;
using Exo.Core.Memory;

namespace Exo.Core.Blocks;

public abstract partial class BlockDevice
{
    /// <summary>Opens an image file, a real block device, a partition of either, or an export of an NBD server by its URI.</summary>
    /// <param name="path">
    /// An image, or a device like <c>/dev/nvme0n1p3</c> or <c>/dev/loop0</c>; with <c>#number</c> or <c>#name</c> behind it a partition of either;
    /// or <c>nbd://host/export</c> (<see cref="Nbd.NbdBlockDevice"/>).
    /// </param>
    /// <param name="frames">The pool whose frames requests name. May be shared by any number of devices.</param>
    /// <param name="options">Null: read and write, exclusively, the fastest way that works here.</param>
    /// <exception cref="ArgumentException">The options contradict themselves.</exception>
    /// <exception cref="FileNotFoundException">Nothing is there and <see cref="BlockDeviceOptions.Create"/> is not set.</exception>
    /// <exception cref="DirectoryNotFoundException">A folder of the path is missing.</exception>
    /// <exception cref="UnauthorizedAccessException">The system's permissions refuse it.</exception>
    /// <exception cref="BlockDeviceException">It is in use, no image or disk, of an impossible size, has no such partition, or cannot do what was asked for.</exception>
    public static BlockDevice Open(string path, FramePool frames, BlockDeviceOptions? options = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        ArgumentNullException.ThrowIfNull(frames);
        _ = frames.BaseAddress; // Throws before anything is opened if the pool is gone.
        options ??= new BlockDeviceOptions();
        Validate(path, options);
        if (Nbd.NbdUri.IsNbd(path))
        {
            return Nbd.NbdBlockDevice.OpenExport(path, frames, options);
        }

        DiskFile file = DiskFile.Open(path, options);
        try
        {
            string driverNote = "";
            if (options.Driver != BlockDriver.Portable)
            {
                if (IoUringBlockDevice.TryCreate(frames, file, options, out int errno) is { } device)
                {
                    return device;
                }

                driverNote = RingRefusal(errno);
                if (options.Driver == BlockDriver.IoUring)
                {
                    throw new BlockDeviceException(errno, path, $"{path}: {driverNote}");
                }
            }

            return new PortableBlockDevice(frames, file, options, driverNote);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    private static void Validate(string path, BlockDeviceOptions options)
    {
        if (path.Contains('\0', StringComparison.Ordinal))
        {
            throw new ArgumentException("A path cannot contain the character 0.", nameof(path));
        }

        ArgumentOutOfRangeException.ThrowIfLessThan(options.QueueDepth, 1, nameof(BlockDeviceOptions.QueueDepth));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(options.QueueDepth, 4096, nameof(BlockDeviceOptions.QueueDepth));
        if (options.Partition is "")
        {
            throw new ArgumentException("Partition is empty: name one, or leave it null for the whole disk.", nameof(options));
        }

        if (!options.Create)
        {
            return;
        }

        if (options.ReadOnly)
        {
            throw new ArgumentException("Create and ReadOnly exclude one another.", nameof(options));
        }

        if (options.CreateBytes <= 0 || options.CreateBytes % FramePool.FrameBytes != 0)
        {
            throw new ArgumentException($"CreateBytes is {options.CreateBytes}: it must be a positive multiple of 4,096.", nameof(options));
        }
    }

    private static string RingRefusal(int errno) => errno switch
    {
        Errno.EPERM or Errno.EACCES => "io_uring is forbidden here (a container's filter, or sysctl kernel.io_uring_disabled); use BlockDriver.Auto or Portable.",
        Errno.ENOSYS => "this kernel has no io_uring that can be used (5.5 or newer is needed); use BlockDriver.Auto or Portable.",
        Errno.ENOMEM => "no memory for a ring (see ulimit -l); use BlockDriver.Auto or Portable.",
        _ => $"io_uring was refused: {Errno.Describe(errno)}; use BlockDriver.Auto or Portable.",
    };
}
