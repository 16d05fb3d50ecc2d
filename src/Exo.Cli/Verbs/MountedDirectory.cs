// SPDX-License-Identifier: MIT
using System.Text;
using Exo.Core.Linux;

namespace Exo.Cli.Verbs;

/// <summary>
/// A lock (flock(2)) on the directory that is mounted on, from before the mount until the image is closed: it is what <c>exo umount</c> waits for, whatever the image is. An export of another machine has no file
/// that could be locked. The kernel gives the lock back whichever way the process ends; while the mount is there, nobody sees the directory.
/// </summary>
internal sealed unsafe class MountedDirectory : IDisposable
{
    private int _fd;

    private MountedDirectory(int fd) => _fd = fd;

    /// <summary>Holds the directory. Null where it cannot be opened or locked: who unmounts does not wait then.</summary>
    public static MountedDirectory? Hold(string directory)
    {
        int fd = Open(directory);
        if (fd < 0)
        {
            return null;
        }

        if (Libc.Lock(fd, Abi.LOCK_SH | Abi.LOCK_NB) == 0)
        {
            return new MountedDirectory(fd);
        }

        Libc.Close(fd);
        return null;
    }

    /// <summary>Whether somebody holds the directory. It is no longer mounted on.</summary>
    public static bool IsHeld(string directory)
    {
        int fd = Open(directory);
        if (fd < 0)
        {
            return false;
        }

        bool isHeld = Libc.Lock(fd, Abi.LOCK_EX | Abi.LOCK_NB) != 0 && Errno.Last == Errno.EAGAIN;
        Libc.Close(fd);
        return isHeld;
    }

    public void Dispose()
    {
        int fd = Interlocked.Exchange(ref _fd, -1);
        if (fd >= 0)
        {
            Libc.Close(fd);
        }
    }

    private static int Open(string directory)
    {
        fixed (byte* path = Encoding.UTF8.GetBytes(directory + "\0"))
        {
            return Libc.Open(path, Abi.O_RDONLY | Abi.O_DIRECTORY | Abi.O_CLOEXEC, 0);
        }
    }
}
