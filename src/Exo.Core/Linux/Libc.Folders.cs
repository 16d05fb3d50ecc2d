// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Exo.Core.Linux;

/// <summary>Names below a folder that they may not lead out of, and news of what changes there.</summary>
internal static unsafe partial class Libc
{
    // The same on x64 and arm64; no C library has a function for it.
    private const nint SYS_openat2 = 437;

    /// <summary>Opens a name relative to a directory, by the rules of openat2(2).</summary>
    public static int OpenAt2(int directory, byte* path, OpenHow* how) =>
        (int)SystemCall(SYS_openat2, directory, (nint)path, (nint)how, sizeof(OpenHow), 0, 0);

    [LibraryImport(Library, EntryPoint = "inotify_init1", SetLastError = true)]
    public static partial int NotifyOpen(int flags);

    [LibraryImport(Library, EntryPoint = "inotify_add_watch", SetLastError = true)]
    public static partial int NotifyAdd(int fd, byte* path, uint mask);

    [LibraryImport(Library, EntryPoint = "inotify_rm_watch", SetLastError = true)]
    public static partial int NotifyRemove(int fd, int watch);
}

/// <summary>struct open_how (linux/openat2.h).</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct OpenHow
{
    public ulong Flags;
    public ulong Mode;
    public ulong Resolve;
}

/// <summary>struct inotify_event (sys/inotify.h); the name follows, filled up with NULs.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct NotifyEvent
{
    public int Watch;
    public uint Mask;
    public uint Cookie;
    public uint NameBytes;
}

/// <summary>Constants of linux/openat2.h, sys/inotify.h, fcntl.h and dirent.h, the same on x64 and arm64.</summary>
internal static class FolderAbi
{
    public const int O_PATH = 0x200000;
    public const ulong RESOLVE_NO_MAGICLINKS = 0x02;
    public const ulong RESOLVE_NO_SYMLINKS = 0x04;
    public const ulong RESOLVE_BENEATH = 0x08;

    public const int F_RDLCK = 0;
    public const int F_UNLCK = 2;
    public const int F_SETSIG = 10;
    public const int F_SETLEASE = 1024;
    public const int SIGURG = 23;

    public const uint IN_MODIFY = 0x2;
    public const uint IN_ATTRIB = 0x4;
    public const uint IN_MOVED_FROM = 0x40;
    public const uint IN_MOVED_TO = 0x80;
    public const uint IN_CREATE = 0x100;
    public const uint IN_DELETE = 0x200;
    public const uint IN_DELETE_SELF = 0x400;
    public const uint IN_MOVE_SELF = 0x800;
    public const uint IN_UNMOUNT = 0x2000;
    public const uint IN_Q_OVERFLOW = 0x4000;
    public const uint IN_IGNORED = 0x8000;
    public const uint IN_ONLYDIR = 0x1000000;
    public const uint IN_ISDIR = 0x40000000;

    public const int IN_NONBLOCK = 0x800;
    public const int IN_CLOEXEC = 0x80000;

    public const byte DT_UNKNOWN = 0;
    public const byte DT_DIR = 4;
}
