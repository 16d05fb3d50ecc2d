// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using System.Text;
using Exo.Core.Linux;
using Microsoft.Win32.SafeHandles;

namespace Exo.Net.Cheetah.Folders;

/// <summary>
/// An open folder of the host. Every name is resolved by the kernel relative to its descriptor and beneath it (openat2(2), RESOLVE_BENEATH): neither <c>..</c>
/// nor a symbolic link leads out, also while others rename directories.
/// </summary>
internal sealed unsafe class FolderRoot : IDisposable
{
    private const int NoDirectory = -1;

    private readonly SafeFileHandle directory;

    private FolderRoot(SafeFileHandle directory) => this.directory = directory;

    /// <summary>Opens the folder; symbolic links on the way to it are followed.</summary>
    /// <exception cref="IOException">It cannot be opened, or the kernel does not know openat2 (Linux 5.6).</exception>
    public static FolderRoot Open(string path)
    {
        int fd;
        fixed (byte* name = Encoding.UTF8.GetBytes(path + '\0'))
        {
            fd = Libc.OpenAt(Abi.AT_FDCWD, name, FolderAbi.O_PATH | Abi.O_DIRECTORY | Abi.O_CLOEXEC, 0);
        }

        int errno = Errno.Last;
        if (fd < 0)
        {
            throw new IOException($"cannot open folder {path}: {Errno.Describe(errno)}");
        }

        FolderRoot root = new(new SafeFileHandle(fd, ownsHandle: true));
        using SafeFileHandle? self = root.TryOpen("."u8, FolderAbi.O_PATH, 0, out errno);
        if (self is null)
        {
            root.Dispose();
            throw new IOException($"cannot look names up beneath {path}: {Errno.Describe(errno)}");
        }

        return root;
    }

    /// <summary>Opens a relative name beneath the folder. Null with the error.</summary>
    public SafeFileHandle? TryOpen(ReadOnlySpan<byte> name, int flags, ulong resolve, out int errno)
    {
        OpenHow how = new()
        {
            Flags = (ulong)(flags | Abi.O_CLOEXEC),
            Resolve = resolve | FolderAbi.RESOLVE_BENEATH | FolderAbi.RESOLVE_NO_MAGICLINKS,
        };
        byte[] terminated = [.. name, 0];
        bool held = false;
        try
        {
            directory.DangerousAddRef(ref held);
            fixed (byte* path = terminated)
            {
                return Own(Libc.OpenAt2((int)directory.DangerousGetHandle(), path, &how), out errno);
            }
        }
        finally
        {
            if (held)
            {
                directory.DangerousRelease();
            }
        }
    }

    /// <summary>
    /// Opens for reading what <paramref name="place"/> is a place of (O_PATH). What the place is has been looked at by then, so nothing is opened, not even for a moment, that notices:
    /// a FIFO, a device.
    /// </summary>
    public static SafeFileHandle? TryOpenForReading(SafeFileHandle place, out int errno)
    {
        fixed (byte* path = ProcessPath(place))
        {
            return Own(Libc.OpenAt(NoDirectory, path, Abi.O_RDONLY | FileAbi.O_NONBLOCK | Abi.O_CLOEXEC, 0), out errno);
        }
    }

    /// <summary>A path by which the kernel finds an open file again, with its NUL.</summary>
    public static byte[] ProcessPath(SafeFileHandle file) => Encoding.ASCII.GetBytes($"/proc/self/fd/{file.DangerousGetHandle()}\0");

    /// <inheritdoc/>
    public void Dispose() => directory.Dispose();

    private static SafeFileHandle? Own(int fd, out int errno)
    {
        errno = fd < 0 ? Marshal.GetLastPInvokeError() : 0;
        return fd < 0 ? null : new SafeFileHandle(fd, ownsHandle: true);
    }
}
