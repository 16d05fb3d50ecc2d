// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Exo.Core.Linux;

/// <summary>Files and block devices.</summary>
internal static unsafe partial class Libc
{
    [LibraryImport(Library, EntryPoint = "open", SetLastError = true)]
    public static partial int Open(byte* path, int flags, uint mode);

    [LibraryImport(Library, EntryPoint = "close", SetLastError = true)]
    public static partial int Close(int fd);

    [LibraryImport(Library, EntryPoint = "ftruncate", SetLastError = true)]
    public static partial int Truncate(int fd, long lengthBytes);

    [LibraryImport(Library, EntryPoint = "statx", SetLastError = true)]
    public static partial int Statx(int directory, byte* path, int flags, uint mask, StatxBuffer* buffer);

    [LibraryImport(Library, EntryPoint = "flock", SetLastError = true)]
    public static partial int Lock(int fd, int operation);

    [LibraryImport(Library, EntryPoint = "ioctl", SetLastError = true)]
    public static partial int IoControl(int fd, nuint request, void* argument);

    // 64-bit Linux only: off_t and off64_t are the same there, so the plain names take 64-bit offsets on glibc and on musl.
    [LibraryImport(Library, EntryPoint = "preadv", SetLastError = true)]
    public static partial nint ReadVector(int fd, IoVector* vectors, int count, long offset);

    [LibraryImport(Library, EntryPoint = "pwritev", SetLastError = true)]
    public static partial nint WriteVector(int fd, IoVector* vectors, int count, long offset);

    [LibraryImport(Library, EntryPoint = "pwritev2", SetLastError = true)]
    public static partial nint WriteVector2(int fd, IoVector* vectors, int count, long offset, int flags);

    [LibraryImport(Library, EntryPoint = "fdatasync", SetLastError = true)]
    public static partial int DataSync(int fd);

    [LibraryImport(Library, EntryPoint = "fallocate", SetLastError = true)]
    public static partial int Allocate(int fd, int mode, long offset, long lengthBytes);

    [LibraryImport(Library, EntryPoint = "eventfd", SetLastError = true)]
    public static partial int EventFile(uint initial, int flags);

    [LibraryImport(Library, EntryPoint = "read", SetLastError = true)]
    public static partial nint Read(int fd, void* buffer, nuint lengthBytes);

    [LibraryImport(Library, EntryPoint = "write", SetLastError = true)]
    public static partial nint Write(int fd, void* buffer, nuint lengthBytes);
}

/// <summary>struct iovec.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct IoVector
{
    public nint Base;
    public nuint LengthBytes;
}

/// <summary>struct statx (linux/stat.h), 256 bytes; only the fields in use are named.</summary>
[StructLayout(LayoutKind.Explicit, Size = 256)]
internal struct StatxBuffer
{
    [FieldOffset(0)] public uint Mask;
    [FieldOffset(4)] public uint BlockBytes;
    [FieldOffset(20)] public uint User;
    [FieldOffset(28)] public ushort Mode;
    [FieldOffset(40)] public ulong LengthBytes;
    [FieldOffset(48)] public ulong Blocks512;
    [FieldOffset(128)] public uint DeviceMajor;
    [FieldOffset(132)] public uint DeviceMinor;
    [FieldOffset(136)] public uint FileSystemMajor;
    [FieldOffset(140)] public uint FileSystemMinor;
    [FieldOffset(152)] public uint DirectMemoryAlignBytes;
    [FieldOffset(156)] public uint DirectOffsetAlignBytes;
}
