// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Exo.Core.Linux;

namespace Exo.Core.Tests.Linux;

/// <summary>Our picture of the kernel's interface to packets, interfaces and XDP, for <see cref="AbiTests"/>.</summary>
internal static unsafe class NetworkPicture
{
    public static IEnumerable<(string Expression, long Value)> Lines() =>
    [
        ("sizeof(struct mmsghdr)", sizeof(MultiMessage)),
        At<MultiMessage>("struct mmsghdr", ("msg_len", nameof(MultiMessage.LengthBytes))),
        ("sizeof(struct sockaddr_ll)", sizeof(LinkSocketAddress) - 4),
        At<LinkSocketAddress>("struct sockaddr_ll", ("sll_protocol", nameof(LinkSocketAddress.Protocol))),
        At<LinkSocketAddress>("struct sockaddr_ll", ("sll_ifindex", nameof(LinkSocketAddress.InterfaceIndex))),
        ("sizeof(struct packet_mreq)", sizeof(PacketMembership)),
        At<PacketMembership>("struct packet_mreq", ("mr_type", nameof(PacketMembership.Kind))),
        ("sizeof(struct virtio_net_hdr)", sizeof(VirtioHeader)),
        At<VirtioHeader>("struct virtio_net_hdr", ("gso_type", nameof(VirtioHeader.SegmentationType))),
        At<VirtioHeader>("struct virtio_net_hdr", ("hdr_len", nameof(VirtioHeader.HeaderBytes))),
        At<VirtioHeader>("struct virtio_net_hdr", ("gso_size", nameof(VirtioHeader.SegmentBytes))),
        At<VirtioHeader>("struct virtio_net_hdr", ("csum_start", nameof(VirtioHeader.ChecksumStart))),
        At<VirtioHeader>("struct virtio_net_hdr", ("csum_offset", nameof(VirtioHeader.ChecksumOffset))),
        ("sizeof(struct ifreq)", sizeof(InterfaceRequest)),
        At<InterfaceRequest>("struct ifreq", ("ifr_flags", nameof(InterfaceRequest.Flags))),
        At<InterfaceRequest>("struct ifreq", ("ifr_mtu", nameof(InterfaceRequest.Number))),
        At<InterfaceRequest>("struct ifreq", ("ifr_data", nameof(InterfaceRequest.Pointer))),
        At<InterfaceRequest>("struct ifreq", ("ifr_hwaddr.sa_data", nameof(InterfaceRequest.HardwareAddress))),
        ("sizeof(struct ethtool_value)", sizeof(EthtoolValue)),
        ("sizeof(struct sockaddr_xdp)", sizeof(XdpSocketAddress)),
        At<XdpSocketAddress>("struct sockaddr_xdp", ("sxdp_ifindex", nameof(XdpSocketAddress.InterfaceIndex))),
        At<XdpSocketAddress>("struct sockaddr_xdp", ("sxdp_queue_id", nameof(XdpSocketAddress.Queue))),
        ("sizeof(struct xdp_umem_reg)", sizeof(XdpMemory)),
        At<XdpMemory>("struct xdp_umem_reg", ("chunk_size", nameof(XdpMemory.ChunkBytes))),
        At<XdpMemory>("struct xdp_umem_reg", ("headroom", nameof(XdpMemory.HeadroomBytes))),
        At<XdpMemory>("struct xdp_umem_reg", ("flags", nameof(XdpMemory.Flags))),
        ("sizeof(struct xdp_desc)", sizeof(XdpDescriptor)),
        At<XdpDescriptor>("struct xdp_desc", ("options", nameof(XdpDescriptor.Options))),
        ("sizeof(struct xdp_mmap_offsets)", sizeof(XdpOffsets)),
        At<XdpOffsets>("struct xdp_mmap_offsets", ("tx", nameof(XdpOffsets.Transmit))),
        At<XdpOffsets>("struct xdp_mmap_offsets", ("fr", nameof(XdpOffsets.Fill))),
        At<XdpOffsets>("struct xdp_mmap_offsets", ("cr", nameof(XdpOffsets.Completion))),
        At<XdpRingOffsets>("struct xdp_ring_offset", ("desc", nameof(XdpRingOffsets.Entries))),
        At<XdpRingOffsets>("struct xdp_ring_offset", ("flags", nameof(XdpRingOffsets.Flags))),
        ("sizeof(struct xdp_statistics)", sizeof(XdpStatistics)),
        At<XdpStatistics>("struct xdp_statistics", ("rx_ring_full", nameof(XdpStatistics.ReceiveRingFull))),
        At<BpfLinkCreate>("union bpf_attr", ("link_create.target_ifindex", nameof(BpfLinkCreate.InterfaceIndex))),
        At<BpfLinkCreate>("union bpf_attr", ("link_create.attach_type", nameof(BpfLinkCreate.AttachType))),
        At<BpfLinkCreate>("union bpf_attr", ("link_create.flags", nameof(BpfLinkCreate.Flags))),
        At<BpfLinkUpdate>("union bpf_attr", ("link_update.new_prog_fd", nameof(BpfLinkUpdate.Program))),
        At<BpfProgramLoad>("union bpf_attr", ("prog_flags", nameof(BpfProgramLoad.Flags))),
        At<BpfProgramLoad>("union bpf_attr", ("expected_attach_type", nameof(BpfProgramLoad.ExpectedAttachType))),
        ("AF_PACKET", PacketAbi.AF_PACKET), ("SOCK_RAW", PacketAbi.SOCK_RAW), ("SOCK_DGRAM", PacketAbi.SOCK_DGRAM), ("ETH_P_ALL", PacketAbi.ETH_P_ALL),
        ("SO_SNDBUF", PacketAbi.SO_SNDBUF), ("SO_RCVBUF", PacketAbi.SO_RCVBUF), ("SO_SNDBUFFORCE", PacketAbi.SO_SNDBUFFORCE), ("SO_RCVBUFFORCE", PacketAbi.SO_RCVBUFFORCE),
        ("SOL_PACKET", PacketAbi.SOL_PACKET), ("PACKET_ADD_MEMBERSHIP", PacketAbi.PACKET_ADD_MEMBERSHIP), ("PACKET_STATISTICS", PacketAbi.PACKET_STATISTICS),
        ("PACKET_VNET_HDR", PacketAbi.PACKET_VNET_HDR), ("PACKET_FANOUT", PacketAbi.PACKET_FANOUT), ("PACKET_QDISC_BYPASS", PacketAbi.PACKET_QDISC_BYPASS),
        ("PACKET_IGNORE_OUTGOING", PacketAbi.PACKET_IGNORE_OUTGOING), ("PACKET_MR_PROMISC", PacketAbi.PACKET_MR_PROMISC), ("PACKET_FANOUT_HASH", PacketAbi.PACKET_FANOUT_HASH),
        ("PACKET_VERSION", PacketAbi.PACKET_VERSION), ("PACKET_RX_RING", PacketAbi.PACKET_RX_RING), ("PACKET_TX_RING", PacketAbi.PACKET_TX_RING), ("PACKET_LOSS", PacketAbi.PACKET_LOSS),
        ("TPACKET_V2", PacketAbi.TPACKET_V2), ("TP_STATUS_USER", (int)PacketAbi.TP_STATUS_USER), ("TP_STATUS_COPY", (int)PacketAbi.TP_STATUS_COPY),
        ("TP_STATUS_AVAILABLE", (int)PacketAbi.TP_STATUS_AVAILABLE), ("TP_STATUS_SEND_REQUEST", (int)PacketAbi.TP_STATUS_SEND_REQUEST),
        ("sizeof(struct tpacket2_hdr)", sizeof(PacketSlot)), ("sizeof(struct tpacket_req)", sizeof(PacketRingRequest)),
        ("MSG_TRUNC", PacketAbi.MSG_TRUNC), ("TUNSETIFF", PacketAbi.TUNSETIFF), ("TUNSETOFFLOAD", PacketAbi.TUNSETOFFLOAD), ("TUNSETVNETHDRSZ", PacketAbi.TUNSETVNETHDRSZ),
        ("IFF_TAP", PacketAbi.IFF_TAP), ("IFF_NO_PI", PacketAbi.IFF_NO_PI), ("IFF_VNET_HDR", PacketAbi.IFF_VNET_HDR),
        ("TUN_F_CSUM", PacketAbi.TUN_F_CSUM), ("TUN_F_TSO4", PacketAbi.TUN_F_TSO4), ("TUN_F_TSO6", PacketAbi.TUN_F_TSO6),
        ("SIOCGIFFLAGS", PacketAbi.SIOCGIFFLAGS), ("SIOCSIFFLAGS", PacketAbi.SIOCSIFFLAGS), ("SIOCGIFMTU", PacketAbi.SIOCGIFMTU), ("SIOCSIFMTU", PacketAbi.SIOCSIFMTU),
        ("SIOCSIFHWADDR", PacketAbi.SIOCSIFHWADDR), ("SIOCGIFHWADDR", PacketAbi.SIOCGIFHWADDR), ("SIOCGIFINDEX", PacketAbi.SIOCGIFINDEX), ("SIOCETHTOOL", PacketAbi.SIOCETHTOOL),
        ("IFF_UP", PacketAbi.IFF_UP), ("IFNAMSIZ", PacketAbi.IFNAMSIZ), ("ARPHRD_ETHER", PacketAbi.ARPHRD_ETHER),
        ("ETHTOOL_STXCSUM", PacketAbi.ETHTOOL_STXCSUM), ("ETHTOOL_GTSO", PacketAbi.ETHTOOL_GTSO),
        ("VIRTIO_NET_HDR_F_NEEDS_CSUM", PacketAbi.VIRTIO_NET_HDR_F_NEEDS_CSUM), ("VIRTIO_NET_HDR_F_DATA_VALID", PacketAbi.VIRTIO_NET_HDR_F_DATA_VALID),
        ("VIRTIO_NET_HDR_GSO_TCPV4", PacketAbi.VIRTIO_NET_HDR_GSO_TCPV4), ("VIRTIO_NET_HDR_GSO_TCPV6", PacketAbi.VIRTIO_NET_HDR_GSO_TCPV6),
        ("VIRTIO_NET_HDR_GSO_ECN", PacketAbi.VIRTIO_NET_HDR_GSO_ECN), ("POLLOUT", PacketAbi.POLLOUT),
        ("CLONE_NEWNET", PacketAbi.CLONE_NEWNET), ("AF_XDP", XdpAbi.AF_XDP), ("SOL_XDP", XdpAbi.SOL_XDP),
        ("XDP_MMAP_OFFSETS", XdpAbi.XDP_MMAP_OFFSETS), ("XDP_RX_RING", XdpAbi.XDP_RX_RING), ("XDP_TX_RING", XdpAbi.XDP_TX_RING), ("XDP_UMEM_REG", XdpAbi.XDP_UMEM_REG),
        ("XDP_UMEM_FILL_RING", XdpAbi.XDP_UMEM_FILL_RING), ("XDP_UMEM_COMPLETION_RING", XdpAbi.XDP_UMEM_COMPLETION_RING), ("XDP_STATISTICS", XdpAbi.XDP_STATISTICS),
        ("XDP_OPTIONS", XdpAbi.XDP_OPTIONS), ("XDP_USE_NEED_WAKEUP", XdpAbi.XDP_USE_NEED_WAKEUP), ("XDP_USE_SG", XdpAbi.XDP_USE_SG),
        ("XDP_OPTIONS_ZEROCOPY", XdpAbi.XDP_OPTIONS_ZEROCOPY), ("XDP_RING_NEED_WAKEUP", XdpAbi.XDP_RING_NEED_WAKEUP), ("XDP_PKT_CONTD", XdpAbi.XDP_PKT_CONTD),
        ("XDP_PGOFF_TX_RING", XdpAbi.XDP_PGOFF_TX_RING), ("XDP_UMEM_PGOFF_FILL_RING", XdpAbi.XDP_UMEM_PGOFF_FILL_RING),
        ("XDP_UMEM_PGOFF_COMPLETION_RING", XdpAbi.XDP_UMEM_PGOFF_COMPLETION_RING), ("XDP_FLAGS_SKB_MODE", XdpAbi.XDP_FLAGS_SKB_MODE), ("XDP_FLAGS_DRV_MODE", XdpAbi.XDP_FLAGS_DRV_MODE),
        ("BPF_LINK_CREATE", BpfAbi.LINK_CREATE), ("BPF_LINK_UPDATE", BpfAbi.LINK_UPDATE), ("BPF_XDP", BpfAbi.ATTACH_XDP), ("BPF_F_XDP_HAS_FRAGS", BpfAbi.PROG_XDP_HAS_FRAGS),
        ("BPF_MAP_TYPE_XSKMAP", BpfAbi.MAP_TYPE_XSKMAP),
    ];

    // Blittable structures: the marshaller's offsets are the real ones.
    private static (string Expression, long Value) At<T>(string type, (string Theirs, string Ours) field) =>
        ($"offsetof({type}, {field.Theirs})", Marshal.OffsetOf<T>(field.Ours));
}
