// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Exo.Core.Linux;

/// <summary>
/// Everything of the kernel's interface in use here that is not the same on x64 and arm64; what is not in this table is. Sources:
/// arch/x86 and arch/arm64 include/uapi/asm/fcntl.h over asm-generic/fcntl.h, the tables of system calls, linux/eventpoll.h.
/// </summary>
internal sealed record ArchitectureAbi
{
    public static ArchitectureAbi X64 { get; } = new()
    {
        O_DIRECT = 0x4000,
        O_DIRECTORY = 0x10000,
        O_NOFOLLOW = 0x20000,
        SYS_getdents64 = 217,
        SYS_io_setup = 206,
        SYS_io_destroy = 207,
        SYS_io_getevents = 208,
        SYS_io_submit = 209,
        SYS_userfaultfd = 323,
        SYS_futex = 202,
        EpollEventBytes = 12,
    };

    public static ArchitectureAbi Arm64 { get; } = new()
    {
        O_DIRECT = 0x10000,
        O_DIRECTORY = 0x4000,
        O_NOFOLLOW = 0x8000,
        SYS_getdents64 = 61,
        SYS_io_setup = 0,
        SYS_io_destroy = 1,
        SYS_io_submit = 2,
        SYS_io_getevents = 4,
        SYS_userfaultfd = 282,
        SYS_futex = 98,
        EpollEventBytes = 16,
    };

    /// <summary>The table of the machine that this runs on.</summary>
    public static ArchitectureAbi Current { get; } = RuntimeInformation.ProcessArchitecture switch
    {
        Architecture.X64 => X64,
        Architecture.Arm64 => Arm64,
        Architecture other => throw new PlatformNotSupportedException($"Exo speaks to Linux on x64 and arm64, not on {other}."),
    };

    public required int O_DIRECT { get; init; }

    public required int O_DIRECTORY { get; init; }

    public required int O_NOFOLLOW { get; init; }

    public required nint SYS_getdents64 { get; init; }

    public required nint SYS_io_setup { get; init; }

    public required nint SYS_io_destroy { get; init; }

    public required nint SYS_io_getevents { get; init; }

    public required nint SYS_io_submit { get; init; }

    public required nint SYS_userfaultfd { get; init; }

    public required nint SYS_futex { get; init; }

    /// <summary>struct epoll_event is packed on x64 only.</summary>
    public required int EpollEventBytes { get; init; }
}
