// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Exo.Core.Linux;

/// <summary>Constants of AF_XDP sockets (linux/if_xdp.h) and of attaching XDP programs (linux/if_link.h, linux/bpf.h), under the kernel's names.</summary>
internal static class XdpAbi
{
    public const int AF_XDP = 44;
    public const int SOL_XDP = 283;

    public const int XDP_MMAP_OFFSETS = 1;
    public const int XDP_RX_RING = 2;
    public const int XDP_TX_RING = 3;
    public const int XDP_UMEM_REG = 4;
    public const int XDP_UMEM_FILL_RING = 5;
    public const int XDP_UMEM_COMPLETION_RING = 6;
    public const int XDP_STATISTICS = 7;
    public const int XDP_OPTIONS = 8;

    public const ushort XDP_SHARED_UMEM = 1 << 0;
    public const ushort XDP_COPY = 1 << 1;
    public const ushort XDP_ZEROCOPY = 1 << 2;
    public const ushort XDP_USE_NEED_WAKEUP = 1 << 3;
    public const ushort XDP_USE_SG = 1 << 4;

    public const uint XDP_OPTIONS_ZEROCOPY = 1;
    public const uint XDP_RING_NEED_WAKEUP = 1;
    public const uint XDP_PKT_CONTD = 1;

    public const long XDP_PGOFF_RX_RING = 0;
    public const long XDP_PGOFF_TX_RING = 0x80000000;
    public const long XDP_UMEM_PGOFF_FILL_RING = 0x100000000;
    public const long XDP_UMEM_PGOFF_COMPLETION_RING = 0x180000000;

    public const uint XDP_FLAGS_SKB_MODE = 1 << 1;
    public const uint XDP_FLAGS_DRV_MODE = 1 << 2;
}

/// <summary>struct sockaddr_xdp, 16 bytes.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct XdpSocketAddress
{
    public ushort Family;
    public ushort Flags;
    public uint InterfaceIndex;
    public uint Queue;
    public uint SharedMemory;
}

/// <summary>struct xdp_umem_reg, 32 bytes; before 6.8 the last field did not exist, 0 is good for all.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct XdpMemory
{
    public ulong Address;
    public ulong LengthBytes;
    public uint ChunkBytes;
    public uint HeadroomBytes;
    public uint Flags;
    public uint MetadataBytes;
}

/// <summary>struct xdp_desc, 16 bytes: a piece of a packet.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct XdpDescriptor
{
    public ulong Address;
    public uint LengthBytes;
    public uint Options;
}

/// <summary>struct xdp_ring_offset, 32 bytes.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct XdpRingOffsets
{
    public ulong Producer;
    public ulong Consumer;
    public ulong Entries;
    public ulong Flags;
}

/// <summary>struct xdp_mmap_offsets, 128 bytes.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct XdpOffsets
{
    public XdpRingOffsets Receive;
    public XdpRingOffsets Transmit;
    public XdpRingOffsets Fill;
    public XdpRingOffsets Completion;
}

/// <summary>struct xdp_statistics, 48 bytes.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct XdpStatistics
{
    public ulong ReceiveDropped;
    public ulong ReceiveInvalid;
    public ulong TransmitInvalid;
    public ulong ReceiveRingFull;
    public ulong FillRingEmpty;
    public ulong TransmitRingEmpty;
}
