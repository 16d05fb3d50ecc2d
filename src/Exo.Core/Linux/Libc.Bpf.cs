// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Exo.Core.Linux;

/// <summary>bpf(2) has no function in the C library: it goes through <c>syscall</c>.</summary>
internal static unsafe partial class Libc
{
    // 321 in the x64 table, 280 in the generic one that arm64 uses.
    private static readonly nint SYS_bpf = RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? 280 : 321;

    public static int Bpf<TAttribute>(int command, TAttribute* attribute)
        where TAttribute : unmanaged =>
        (int)SystemCall3(SYS_bpf, command, (nint)attribute, sizeof(TAttribute));
}

/// <summary>Commands and structures of bpf(2), from linux/bpf.h; pointers are 64-bit fields there.</summary>
internal static class BpfAbi
{
    public const int MAP_CREATE = 0;
    public const int MAP_UPDATE_ELEM = 2;
    public const int PROG_LOAD = 5;
    public const int PROG_TEST_RUN = 10;
    public const int LINK_CREATE = 28;
    public const int LINK_UPDATE = 29;

    public const uint PROG_TYPE_SOCKET_FILTER = 1;
    public const uint PROG_TYPE_SCHED_CLS = 3;
    public const uint PROG_TYPE_XDP = 6;
    public const uint MAP_TYPE_ARRAY = 2;
    public const uint MAP_TYPE_DEVMAP = 14;
    public const uint MAP_TYPE_XSKMAP = 17;

    public const uint F_MMAPABLE = 1 << 10;

    public const uint ATTACH_XDP = 37;
    public const uint ATTACH_TCX_INGRESS = 46;
    public const uint PROG_XDP_HAS_FRAGS = 1 << 5;
}

/// <summary>The attribute of MAP_CREATE.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct BpfMapCreate
{
    public uint Type;
    public uint KeyBytes;
    public uint ValueBytes;
    public uint EntriesMax;
    public uint Flags;
}

/// <summary>The attribute of MAP_UPDATE_ELEM.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct BpfMapUpdate
{
    public uint Map;
    private readonly uint _padding;
    public ulong Key;
    public ulong Value;
    public ulong Flags;
}

/// <summary>The first part of the attribute of PROG_LOAD; what is left out is zero to the kernel.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct BpfProgramLoad
{
    public uint Type;
    public uint InstructionCount;
    public ulong Instructions;
    public ulong License;
    public uint LogLevel;
    public uint LogBytes;
    public ulong Log;
    public uint KernelVersion;
    public uint Flags;
    public ulong Name0;
    public ulong Name1;
    public uint InterfaceIndex;
    public uint ExpectedAttachType;
}

/// <summary>The first part of the attribute of LINK_CREATE.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct BpfLinkCreate
{
    public uint Program;
    public uint InterfaceIndex;
    public uint AttachType;
    public uint Flags;
}

/// <summary>The attribute of LINK_UPDATE.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct BpfLinkUpdate
{
    public uint Link;
    public uint Program;
    public uint Flags;
    public uint OldProgram;
}

/// <summary>The first part of the attribute of PROG_TEST_RUN.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct BpfTestRun
{
    public uint Program;
    public uint Result;
    public uint InputBytes;
    public uint OutputBytes;
    public ulong Input;
    public ulong Output;
    public uint Repeat;
    public uint DurationNs;
}
