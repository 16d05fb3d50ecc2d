// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Exo.Core.Linux;

/// <summary>Constants of packet sockets, TAP and interface requests, under the kernel's names: linux/if_packet.h, linux/if_tun.h, linux/sockios.h, linux/virtio_net.h.</summary>
internal static class PacketAbi
{
    public const int AF_PACKET = 17;
    public const int SOCK_RAW = 3;
    public const int SOCK_DGRAM = 2;
    public const ushort ETH_P_ALL = 3;

    public const int SO_SNDBUFFORCE = 32;
    public const int SO_RCVBUFFORCE = 33;
    public const int SO_SNDBUF = 7;
    public const int SO_RCVBUF = 8;
    public const int SO_ATTACH_BPF = 50;
    public const int SO_DETACH_FILTER = 27;
    public const int SO_ERROR = 4;

    public const int SOL_PACKET = 263;
    public const int PACKET_ADD_MEMBERSHIP = 1;
    public const int PACKET_RX_RING = 5;
    public const int PACKET_STATISTICS = 6;
    public const int PACKET_COPY_THRESH = 7;
    public const int PACKET_VERSION = 10;
    public const int PACKET_TX_RING = 13;
    public const int PACKET_LOSS = 14;
    public const int PACKET_VNET_HDR = 15;
    public const int PACKET_FANOUT = 18;
    public const int PACKET_QDISC_BYPASS = 20;
    public const int PACKET_IGNORE_OUTGOING = 23;
    public const int PACKET_MR_PROMISC = 1;
    public const int PACKET_FANOUT_HASH = 0;

    public const int TPACKET_V2 = 1;
    public const uint TP_STATUS_KERNEL = 0;
    public const uint TP_STATUS_USER = 1;
    public const uint TP_STATUS_COPY = 2;
    public const uint TP_STATUS_AVAILABLE = 0;
    public const uint TP_STATUS_SEND_REQUEST = 1;

    public const int MSG_TRUNC = 0x20;

    public const uint TUNSETIFF = 0x400454ca;
    public const uint TUNSETOFFLOAD = 0x400454d0;
    public const uint TUNSETVNETHDRSZ = 0x400454d8;
    public const short IFF_TAP = 0x0002;
    public const short IFF_NO_PI = 0x1000;
    public const short IFF_VNET_HDR = 0x4000;
    public const uint TUN_F_CSUM = 1;
    public const uint TUN_F_TSO4 = 2;
    public const uint TUN_F_TSO6 = 4;

    public const uint SIOCGIFFLAGS = 0x8913;
    public const uint SIOCSIFFLAGS = 0x8914;
    public const uint SIOCGIFMTU = 0x8921;
    public const uint SIOCSIFMTU = 0x8922;
    public const uint SIOCSIFHWADDR = 0x8924;
    public const uint SIOCGIFHWADDR = 0x8927;
    public const uint SIOCGIFINDEX = 0x8933;
    public const uint SIOCETHTOOL = 0x8946;
    public const short IFF_UP = 1;
    public const short IFF_RUNNING = 0x40;
    public const int IFNAMSIZ = 16;
    public const ushort ARPHRD_ETHER = 1;
    public const uint ETHTOOL_STXCSUM = 0x17;
    public const uint ETHTOOL_GTSO = 0x1e;
    public const uint ETHTOOL_GCHANNELS = 0x3c;

    public const byte VIRTIO_NET_HDR_F_NEEDS_CSUM = 1;
    public const byte VIRTIO_NET_HDR_F_DATA_VALID = 2;
    public const byte VIRTIO_NET_HDR_GSO_NONE = 0;
    public const byte VIRTIO_NET_HDR_GSO_TCPV4 = 1;
    public const byte VIRTIO_NET_HDR_GSO_TCPV6 = 4;
    public const byte VIRTIO_NET_HDR_GSO_ECN = 0x80;

    public const short POLLIN = 1;
    public const short POLLOUT = 4;
    public const short POLLERR = 8;

    public const int CLONE_NEWNET = 0x40000000;
}

/// <summary>struct sockaddr_ll, 20 bytes.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct LinkSocketAddress
{
    public ushort Family;

    /// <summary>EtherType, big-endian.</summary>
    public ushort Protocol;
    public int InterfaceIndex;
    public ushort HardwareType;
    public byte PacketType;
    public byte AddressBytes;
    public ulong Address;
}

/// <summary>struct packet_mreq, 16 bytes.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct PacketMembership
{
    public int InterfaceIndex;
    public ushort Kind;
    public ushort AddressBytes;
    public ulong Address;
}

/// <summary>struct tpacket_req, 16 bytes.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct PacketRingRequest
{
    public uint BlockBytes;
    public uint BlockCount;
    public uint FrameBytes;
    public uint FrameCount;
}

/// <summary>struct tpacket2_hdr, 32 bytes, in front of a slot of a packet ring.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct PacketSlot
{
    public uint Status;

    /// <summary>Bytes of the packet, and how many of them lie in the slot.</summary>
    public uint LengthBytes;
    public uint CapturedBytes;

    /// <summary>Where the packet and its network header begin, from the slot's first byte.</summary>
    public ushort PacketOffset;
    public ushort NetworkOffset;
    public uint Seconds;
    public uint Nanoseconds;
    public uint VlanTag;
    public uint Padding;
}

/// <summary>struct virtio_net_hdr, 10 bytes, in the machine's byte order as packet sockets and TAP have it.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 2)]
internal struct VirtioHeader
{
    public byte Flags;
    public byte SegmentationType;
    public ushort HeaderBytes;
    public ushort SegmentBytes;
    public ushort ChecksumStart;
    public ushort ChecksumOffset;
}

/// <summary>struct ifreq, 40 bytes: a name and one of many things.</summary>
[StructLayout(LayoutKind.Explicit, Size = 40)]
internal unsafe struct InterfaceRequest
{
    [FieldOffset(0)] public fixed byte Name[PacketAbi.IFNAMSIZ];
    [FieldOffset(16)] public short Flags;
    [FieldOffset(16)] public int Number;
    [FieldOffset(16)] public nint Pointer;

    /// <summary>The family of a struct sockaddr: the kind of hardware.</summary>
    [FieldOffset(16)] public ushort HardwareType;
    [FieldOffset(18)] public fixed byte HardwareAddress[6];
}

/// <summary>struct ethtool_channels, 36 bytes: how many queues there can be, and how many there are.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct EthtoolChannels
{
    public uint Command;
    public uint ReceiveMax;
    public uint TransmitMax;
    public uint OtherMax;
    public uint CombinedMax;
    public uint Receive;
    public uint Transmit;
    public uint Other;
    public uint Combined;
}

/// <summary>struct ethtool_value, 8 bytes.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct EthtoolValue
{
    public uint Command;
    public uint Data;
}
