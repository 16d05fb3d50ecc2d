// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;
using Exo.Core.Linux;
using Exo.Core.Memory;
using Microsoft.Win32.SafeHandles;

namespace Exo.Core.Blocks;

/// <summary>
/// An image file or a block device, opened, locked and measured. .NET's own file opening is not used: it takes locks and asks
/// sizes in ways that do not fit block devices.
/// </summary>
internal sealed unsafe partial class DiskFile : IDisposable
{
    private readonly SafeFileHandle _handle;
    private long _lengthBytes;
    private bool _isPartition;

    private DiskFile(SafeFileHandle handle, string path, bool isBlockDevice, bool isDirect)
    {
        _handle = handle;
        Path = path;
        IsBlockDevice = isBlockDevice;
        IsDirect = isDirect;
        Fd = (int)handle.DangerousGetHandle();
    }

    /// <summary>The descriptor; valid until <see cref="Dispose"/>, which the device calls when nothing is in flight.</summary>
    public int Fd { get; }

    /// <summary>As messages name it: the file, and the partition behind <c>#</c>.</summary>
    public string Path { get; private set; }

    public bool IsBlockDevice { get; }

    public bool IsDirect { get; }

    /// <summary>Where block 0 lies in the file: 0, or the start of the partition.</summary>
    public long StartBytes { get; private set; }

    /// <summary>Size in bytes, from <see cref="StartBytes"/> on.</summary>
    public long LengthBytes
    {
        get => Volatile.Read(ref _lengthBytes);
        private set => Volatile.Write(ref _lengthBytes, value);
    }

    /// <summary>All of an image file, open for writing.</summary>
    public bool IsWholeImage => !IsBlockDevice && !IsReadOnly && !_isPartition;

    public int LogicalSectorBytes { get; private set; } = 512;

    public int PhysicalSectorBytes { get; private set; } = 4096;

    public bool HasVolatileCache { get; private set; } = true;

    public int DiscardGranularityBytes { get; private set; }

    public bool IsReadOnly { get; private set; }

    /// <summary>Opens as the options say; every refusal is one line that says what is wrong.</summary>
    public static DiskFile Open(string path, BlockDeviceOptions options)
    {
        (string filePath, string? partition) = PartitionPath.Split(path, options);
        return TryOpen(filePath, partition, options, options.Direct)

            // The partition's start does not suit direct I/O, and the caller leaves the choice to us.
            ?? TryOpen(filePath, partition, options, DirectIo.Off)
            ?? throw new InvalidOperationException("Buffered I/O has no alignment.");
    }

    public void Dispose()
    {
        if (!_handle.IsClosed)
        {
            // Said aloud: a child that another thread is just starting holds a copy of the open file until it has its own
            // program, and the lock would last as long.
            _ = Libc.Lock(Fd, Abi.LOCK_UN);
            _handle.Dispose();
        }
    }

    /// <summary>Null if direct I/O was taken, but not asked for, and cannot reach the partition.</summary>
    private static DiskFile? TryOpen(string path, string? partition, BlockDeviceOptions options, DirectIo direct)
    {
        bool exists = TryStat(path, out StatxBuffer found, out int error);
        if (!exists && !(options.Create && partition is null && error == Errno.ENOENT))
        {
            throw OpenRefusal(error, path, options);
        }

        int type = exists ? found.Mode & Abi.S_IFMT : Abi.S_IFREG;
        if (type is not (Abi.S_IFREG or Abi.S_IFBLK))
        {
            throw type == Abi.S_IFDIR
                ? new BlockDeviceException(Errno.EISDIR, path, $"{path} is a directory, not an image file or a block device.")
                : new BlockDeviceException(Errno.ENODEV, path, $"{path} is neither an image file nor a block device.");
        }

        bool isBlockDevice = type == Abi.S_IFBLK;
        SafeFileHandle handle = OpenDescriptor(path, options, direct, isBlockDevice, create: !exists, out bool isDirect);
        var file = new DiskFile(handle, path, isBlockDevice, isDirect) { IsReadOnly = options.ReadOnly };
        try
        {
            file.Lock(options);
            if (isBlockDevice)
            {
                file.MeasureBlockDevice();
            }
            else
            {
                file.MeasureImage(options, partition is not null, isNew: !exists);
            }

            if (partition is not null && !file.TryEnter(partition, options))
            {
                file.Dispose();
                return null;
            }

            return file;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    private static SafeFileHandle OpenDescriptor(
        string path, BlockDeviceOptions options, DirectIo direct, bool isBlockDevice, bool create, out bool isDirect)
    {
        int flags = (options.ReadOnly ? Abi.O_RDONLY : Abi.O_RDWR) | Abi.O_CLOEXEC;
        if (create)
        {
            flags |= Abi.O_CREAT;
        }

        if (isBlockDevice && options.Exclusive)
        {
            // Without O_CREAT this asks the block layer for the whole disk: EBUSY while it is mounted, in a RAID, or held likewise.
            flags |= Abi.O_EXCL;
        }

        isDirect = direct != DirectIo.Off;
        int fd = OpenPath(path, flags | (isDirect ? Abi.O_DIRECT : 0));
        if (fd >= 0 && isDirect && !CanReadDirect(fd))
        {
            _ = Libc.Close(fd);
            fd = -1;
            System.Runtime.InteropServices.Marshal.SetLastPInvokeError(Errno.EINVAL);
        }

        if (fd < 0 && isDirect && Errno.Last == Errno.EINVAL)
        {
            if (direct == DirectIo.On)
            {
                throw new BlockDeviceException(Errno.EINVAL, path, $"{path}: the file system cannot do direct I/O in units of 4,096 bytes; use DirectIo.Auto or Off.");
            }

            isDirect = false;
            fd = OpenPath(path, flags);
        }

        return fd >= 0 ? new SafeFileHandle(fd, ownsHandle: true) : throw OpenRefusal(Errno.Last, path, options);
    }

    /// <summary>Some file systems accept O_DIRECT and refuse the transfer: the alignment they state decides, else a read of one block.</summary>
    private static bool CanReadDirect(int fd)
    {
        StatxBuffer status;
        byte empty = 0;
        if (Libc.Statx(fd, &empty, Abi.AT_EMPTY_PATH, Abi.STATX_BASIC_STATS | Abi.STATX_DIOALIGN, &status) == 0
            && (status.Mask & Abi.STATX_DIOALIGN) != 0)
        {
            return status.DirectOffsetAlignBytes is > 0 and <= FramePool.FrameBytes
                && status.DirectMemoryAlignBytes <= FramePool.FrameBytes;
        }

        using MappedRegion page = MappedRegion.Anonymous(FramePool.FrameBytes);
        var vector = new IoVector { Base = page.Address, LengthBytes = FramePool.FrameBytes };
        return Libc.ReadVector(fd, &vector, 1, 0) >= 0 || Errno.Last != Errno.EINVAL;
    }

    /// <summary>
    /// Advisory lock on an image: one writer, or readers. It belongs to the open file, so it also holds against a second
    /// opening in this process, and it goes when the file is closed, however that comes about.
    /// </summary>
    private void Lock(BlockDeviceOptions options)
    {
        if (!options.Exclusive || IsBlockDevice)
        {
            return;
        }

        // A killed owner's ring lets go of its file a moment after the process has ended: an opening right behind it waits for that, at most a second.
        int attemptsLeft = 50;
        while (Libc.Lock(Fd, (IsReadOnly ? Abi.LOCK_SH : Abi.LOCK_EX) | Abi.LOCK_NB) != 0)
        {
            int error = Errno.Last;
            if (error == Errno.EAGAIN)
            {
                if (attemptsLeft-- > 0)
                {
                    Thread.Sleep(20);
                    continue;
                }

                throw new BlockDeviceException(Errno.EBUSY, Path, $"{Path} is in use: somebody else has it open{(IsReadOnly ? " for writing" : "")}.");
            }

            if (error != Errno.EINTR)
            {
                // A file system without locks: better to say so than to pretend.
                throw new BlockDeviceException(error, Path, $"{Path} cannot be locked: {Errno.Describe(error)}; open it with Exclusive = false.");
            }
        }
    }

    private static bool TryStat(string path, out StatxBuffer status, out int error)
    {
        fixed (byte* bytes = PathBytes(path))
        fixed (StatxBuffer* buffer = &status)
        {
            bool found = Libc.Statx(Abi.AT_FDCWD, bytes, 0, Abi.STATX_BASIC_STATS, buffer) == 0;
            error = found ? 0 : Errno.Last;
            return found;
        }
    }

    private static int OpenPath(string path, int flags)
    {
        fixed (byte* bytes = PathBytes(path))
        {
            for (int attempt = 0; ; attempt++)
            {
                int fd = Libc.Open(bytes, flags, 0x1B4 /* 0664, less the umask */);
                if (fd >= 0 || !(Errno.Last == Errno.EINTR || (Errno.Last == Errno.EBUSY && attempt < 20)))
                {
                    return fd;
                }

                if (Errno.Last == Errno.EBUSY)
                {
                    // A disk closed a moment ago is still held by any child that was being started then (see Dispose).
                    Thread.Sleep(1);
                }
            }
        }
    }

    private static byte[] PathBytes(string path) => Encoding.UTF8.GetBytes(path + '\0');

    private static Exception OpenRefusal(int errno, string path, BlockDeviceOptions options)
    {
        string? parent = System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(path));
        return errno switch
        {
            Errno.ENOENT when parent is not null && !Directory.Exists(parent) =>
                new DirectoryNotFoundException($"{path}: the folder {parent} does not exist."),
            Errno.ENOENT => new FileNotFoundException($"{path} does not exist; set Create and CreateBytes to make an image.", path),
            Errno.EACCES or Errno.EPERM =>
                new UnauthorizedAccessException($"{path}: no permission to open it for {(options.ReadOnly ? "reading" : "reading and writing")}."),
            Errno.EBUSY => new BlockDeviceException(errno, path, $"{path} is in use: it is mounted or held by another program."),
            Errno.EROFS => new BlockDeviceException(errno, path, $"{path} is on a read-only medium, and can only be opened for reading (ReadOnly)."),
            Errno.ENOTDIR => new DirectoryNotFoundException($"{path}: a part of the path is not a folder."),
            _ => new BlockDeviceException(errno, path, $"{path} cannot be opened: {Errno.Describe(errno)}."),
        };
    }
}
