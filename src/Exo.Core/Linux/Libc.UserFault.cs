// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Exo.Core.Linux;

/// <summary>Page faults delivered to user level, and what else an address space needs.</summary>
internal static unsafe partial class Libc
{
    [LibraryImport(Library, EntryPoint = "mprotect", SetLastError = true)]
    public static partial int MemoryProtect(nint address, nuint lengthBytes, int protection);

    [LibraryImport(Library, EntryPoint = "poll", SetLastError = true)]
    public static partial int Poll(PollEntry* entries, nuint count, int timeoutMs);

    public static int UserFaultOpen(int flags) =>
        (int)SystemCall(ArchitectureAbi.Current.SYS_userfaultfd, flags, 0, 0, 0, 0, 0);
}

/// <summary>struct pollfd.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct PollEntry
{
    public int Descriptor;
    public short Events;
    public short Returned;
}

/// <summary>Constants and structures of linux/userfaultfd.h, the same on x64 and arm64.</summary>
internal static class UserFaultAbi
{
    public const int UFFD_USER_MODE_ONLY = 1;
    public const int O_NONBLOCK = 0x800;
    public const short POLLIN = 1;

    public const ulong UFFD_API = 0xAA;
    public const ulong UFFD_FEATURE_PAGEFAULT_FLAG_WP = 1 << 0;
    public const ulong UFFD_FEATURE_MINOR_SHMEM = 1 << 10;
    public const ulong UFFD_FEATURE_WP_HUGETLBFS_SHMEM = 1 << 12;
    public const ulong UFFD_FEATURE_POISON = 1 << 14;

    public const ulong UFFDIO_REGISTER_MODE_MISSING = 1;
    public const ulong UFFDIO_REGISTER_MODE_WP = 2;
    public const ulong UFFDIO_REGISTER_MODE_MINOR = 4;
    public const ulong UFFDIO_WRITEPROTECT_MODE_WP = 1;
    public const ulong UFFDIO_CONTINUE_MODE_DONTWAKE = 1;
    public const ulong UFFDIO_CONTINUE_MODE_WP = 2;

    public const nuint UFFDIO_API = 0xC018AA3F;
    public const nuint UFFDIO_REGISTER = 0xC020AA00;
    public const nuint UFFDIO_WAKE = 0x8010AA02;
    public const nuint UFFDIO_WRITEPROTECT = 0xC018AA06;
    public const nuint UFFDIO_CONTINUE = 0xC020AA07;
    public const nuint UFFDIO_POISON = 0xC020AA08;

    public const byte UFFD_EVENT_PAGEFAULT = 0x12;
    public const ulong UFFD_PAGEFAULT_FLAG_WRITE = 1;
    public const ulong UFFD_PAGEFAULT_FLAG_WP = 2;
}

/// <summary>struct uffdio_api.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct UserFaultFeatures
{
    public ulong Api;
    public ulong Features;
    public ulong Calls;
}

/// <summary>struct uffdio_range; the argument of UFFDIO_WAKE.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct UserFaultRange
{
    public ulong Start;
    public ulong LengthBytes;
}

/// <summary>The common shape of uffdio_register, uffdio_continue and uffdio_poison (32 bytes) and, without Result, of uffdio_writeprotect.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct UserFaultRequest
{
    public UserFaultRange Range;
    public ulong Mode;
    public long Result;
}

/// <summary>struct uffd_msg, as far as page faults go.</summary>
[StructLayout(LayoutKind.Explicit, Size = 32)]
internal struct UserFaultMessage
{
    [FieldOffset(0)] public byte Event;
    [FieldOffset(8)] public ulong Flags;
    [FieldOffset(16)] public ulong Address;
}
