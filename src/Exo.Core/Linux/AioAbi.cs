// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Exo.Core.Linux;

/// <summary>Constants of linux/aio_abi.h, under the kernel's names.</summary>
internal static class AioAbi
{
    public const ushort IOCB_CMD_PREAD = 0;
    public const ushort IOCB_CMD_PWRITE = 1;
    public const ushort IOCB_CMD_FDSYNC = 3;
    public const ushort IOCB_CMD_PREADV = 7;
    public const ushort IOCB_CMD_PWRITEV = 8;
}

/// <summary>struct iocb, 64 bytes, little-endian.</summary>
[StructLayout(LayoutKind.Explicit, Size = 64)]
internal struct AioControlBlock
{
    [FieldOffset(0)] public ulong Data;
    [FieldOffset(12)] public uint OperationFlags;
    [FieldOffset(16)] public ushort Opcode;
    [FieldOffset(20)] public int Fd;
    [FieldOffset(24)] public ulong Buffer;
    [FieldOffset(32)] public ulong Length;
    [FieldOffset(40)] public long Offset;
}

/// <summary>struct io_event, 32 bytes.</summary>
[StructLayout(LayoutKind.Explicit, Size = 32)]
internal struct AioEvent
{
    [FieldOffset(0)] public ulong Data;
    [FieldOffset(16)] public long Result;
}
