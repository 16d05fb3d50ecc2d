// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Exo.Core.Linux;

/// <summary>
/// Trees of files with names as bytes. The BCL's paths are UTF-16 and lose names that are not UTF-8; a copy that must be
/// exact works relative to directory descriptors with the names as the kernel has them.
/// </summary>
internal static unsafe partial class Libc
{
    // getdents64 has no wrapper in older C libraries: 217 in the x64 table, 61 in the generic one that arm64 uses.
    private static readonly nint SYS_getdents64 = ArchitectureAbi.Current.SYS_getdents64;

    [LibraryImport(Library, EntryPoint = "openat", SetLastError = true)]
    public static partial int OpenAt(int directory, byte* path, int flags, uint mode);

    [LibraryImport(Library, EntryPoint = "readlinkat", SetLastError = true)]
    public static partial nint ReadLinkAt(int directory, byte* path, byte* buffer, nuint lengthBytes);

    [LibraryImport(Library, EntryPoint = "mkdirat", SetLastError = true)]
    public static partial int MakeDirectoryAt(int directory, byte* path, uint mode);

    [LibraryImport(Library, EntryPoint = "symlinkat", SetLastError = true)]
    public static partial int SymbolicLinkAt(byte* target, int directory, byte* path);

    [LibraryImport(Library, EntryPoint = "unlinkat", SetLastError = true)]
    public static partial int UnlinkAt(int directory, byte* path, int flags);

    [LibraryImport(Library, EntryPoint = "linkat", SetLastError = true)]
    public static partial int LinkAt(int fromDirectory, byte* from, int toDirectory, byte* to, int flags);

    [LibraryImport(Library, EntryPoint = "mknodat", SetLastError = true)]
    public static partial int MakeNodeAt(int directory, byte* path, uint mode, ulong device);

    [LibraryImport(Library, EntryPoint = "fchownat", SetLastError = true)]
    public static partial int ChangeOwnerAt(int directory, byte* path, uint user, uint group, int flags);

    [LibraryImport(Library, EntryPoint = "fchmodat", SetLastError = true)]
    public static partial int ChangeModeAt(int directory, byte* path, uint mode, int flags);

    [LibraryImport(Library, EntryPoint = "utimensat", SetLastError = true)]
    public static partial int SetTimesAt(int directory, byte* path, TimeSpecification* accessThenModify, int flags);

    [LibraryImport(Library, EntryPoint = "statx", SetLastError = true)]
    public static partial int FileStatus(int directory, byte* path, int flags, uint mask, FileStatusBuffer* buffer);

    /// <summary>Fills <paramref name="buffer"/> with struct linux_dirent64 records; 0 at the end of the directory.</summary>
    public static nint ReadDirectory(int fd, byte* buffer, nuint lengthBytes) =>
        SystemCall3(SYS_getdents64, fd, (nint)buffer, (nint)lengthBytes);

    [LibraryImport(Library, EntryPoint = "syscall", SetLastError = true)]
    private static partial nint SystemCall3(nint number, nint first, nint second, nint third);
}

/// <summary>Constants of the calls above that are the same on x64 and arm64, but for O_NOFOLLOW.</summary>
internal static class FileAbi
{
    public const int O_WRONLY = 1;
    public const int O_APPEND = 0x400;
    public const int O_NONBLOCK = 0x800;
    public static readonly int O_NOFOLLOW = ArchitectureAbi.Current.O_NOFOLLOW;
    public const int AT_SYMLINK_NOFOLLOW = 0x100;
    public const int AT_NO_AUTOMOUNT = 0x800;
    public const int AT_EMPTY_PATH = 0x1000;
}

/// <summary>struct timespec of 64-bit Linux.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct TimeSpecification
{
    public long Seconds;
    public long Nanoseconds;
}

/// <summary>struct statx (linux/stat.h), 256 bytes, with the fields that a copy of a tree needs.</summary>
[StructLayout(LayoutKind.Explicit, Size = 256)]
internal struct FileStatusBuffer
{
    [FieldOffset(0)] public uint Mask;
    [FieldOffset(16)] public uint Links;
    [FieldOffset(20)] public uint User;
    [FieldOffset(24)] public uint Group;
    [FieldOffset(28)] public ushort Mode;
    [FieldOffset(32)] public ulong Inode;
    [FieldOffset(40)] public ulong LengthBytes;

    /// <summary>In units of 512 bytes.</summary>
    [FieldOffset(48)] public ulong Blocks;

    [FieldOffset(64)] public long AccessSeconds;
    [FieldOffset(72)] public uint AccessNanoseconds;
    [FieldOffset(96)] public long ChangeSeconds;
    [FieldOffset(104)] public uint ChangeNanoseconds;
    [FieldOffset(112)] public long ModifySeconds;
    [FieldOffset(120)] public uint ModifyNanoseconds;
    [FieldOffset(128)] public uint DeviceMajor;
    [FieldOffset(132)] public uint DeviceMinor;
    [FieldOffset(136)] public uint FileSystemMajor;
    [FieldOffset(140)] public uint FileSystemMinor;
}
