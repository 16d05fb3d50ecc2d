// SPDX-License-Identifier: MIT
using Exo.Core.Net;
using Exo.Net.Cheetah.Link;
using Exo.Net.Cheetah.Tcp;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Ip;

/// <summary>
/// From a frame to whom it is for. Whatever is not right in every respect is dropped and counted; nothing here throws for what a packet contains.
/// </summary>
internal sealed class IpInput(LinkInterface link, TcpLayer tcp)
{
    private readonly IcmpReplies icmp = new(link, tcp);

    public Reassembly Reassembly { get; } = new();

    /// <summary>Frames that were not for us, or not understood.</summary>
    public long Dropped { get; private set; }

    /// <summary>Takes one frame of a batch.</summary>
    public void Take(PacketBytes frame, ChecksumState checksum)
    {
        if (!EthernetFrame.TryParse(frame.Head, out EthernetFrame ethernet, out _) || ethernet.Source.IsGroup
            || (ethernet.Destination != link.Hardware && !ethernet.Destination.IsGroup))
        {
            Dropped++;
            return;
        }

        PacketBytes rest = frame.Slice(EthernetFrame.SizeBytes, frame.LengthBytes - EthernetFrame.SizeBytes);
        bool isGroup = ethernet.Destination.IsGroup;
        switch (ethernet.Type)
        {
            case EtherType.Ipv4:
                TakeV4(rest, checksum, isGroup);
                break;
            case EtherType.Ipv6:
                TakeV6(rest, checksum, isGroup);
                break;
            case EtherType.Arp when link.IsHost && ArpPacket.TryParse(rest.Head, out ArpPacket arp):
                NeighborDiscovery.TakeArp(link, arp);
                break;
            default:
                Dropped++;
                break;
        }
    }

    private void TakeV4(PacketBytes bytes, ChecksumState checksum, bool isGroup)
    {
        if (!Ipv4Packet.TryParseHead(bytes.Head, bytes.LengthBytes, out Ipv4Packet packet, out int headerBytes)
            || !packet.Source.IsUnicast || packet.Source.IsLoopback || link.Routes.IsBroadcast(packet.Source)
            || !link.Routes.IsOwn(packet.Destination))
        {
            Dropped++;
            return;
        }

        PacketBytes payload = bytes.Slice(headerBytes, packet.PayloadBytes);
        if (packet.IsFragment)
        {
            if (TryWhole(payload, out ReadOnlySpan<byte> piece)
                && Reassembly.TryAdd(
                    packet.Source, packet.Destination, packet.Protocol, packet.Identification, packet.FragmentOffsetBytes, packet.MoreFragments, piece, link.NowUs,
                    out ReadOnlySpan<byte> whole))
            {
                Take(packet.Source, packet.Destination, packet.Protocol, new PacketBytes(whole), ChecksumState.Unknown, isGroup, 0, default);
            }

            return;
        }

        Take(packet.Source, packet.Destination, packet.Protocol, payload, checksum, isGroup, packet.TrafficClass, default);
    }

    private void TakeV6(PacketBytes bytes, ChecksumState checksum, bool isGroup)
    {
        if (!Ipv6Packet.TryParseHead(bytes.Head, bytes.LengthBytes, out Ipv6Packet packet)
            || packet.Source.IsMulticast || packet.Source.IsLoopback
            || !(link.Routes.IsOwn(packet.Destination) || link.Routes.IsOwnGroup(packet.Destination)))
        {
            Dropped++;
            return;
        }

        PacketBytes payload = bytes.Slice(Ipv6Packet.SizeBytes, packet.PayloadBytes);
        if (!Ipv6Extensions.TryParse(packet, payload.Head, out Ipv6Extensions extensions))
        {
            Dropped++;
            return;
        }

        PacketBytes inner = payload.Slice(extensions.OffsetBytes, payload.LengthBytes - extensions.OffsetBytes);
        if (extensions.HasFragment && (extensions.MoreFragments || extensions.FragmentOffsetBytes != 0))
        {
            if (TryWhole(inner, out ReadOnlySpan<byte> piece)
                && Reassembly.TryAdd(
                    packet.Source, packet.Destination, extensions.Protocol, extensions.Identification, extensions.FragmentOffsetBytes, extensions.MoreFragments, piece,
                    link.NowUs, out ReadOnlySpan<byte> whole))
            {
                Take(packet.Source, packet.Destination, extensions.Protocol, new PacketBytes(whole), ChecksumState.Unknown, isGroup, 0, packet);
            }

            return;
        }

        Take(packet.Source, packet.Destination, extensions.Protocol, inner, checksum, isGroup, packet.TrafficClass, packet);
    }

    private void Take(
        InternetAddress source, InternetAddress destination, IpProtocol protocol, PacketBytes payload, ChecksumState checksum, bool isGroup, byte trafficClass, in Ipv6Packet v6)
    {
        switch (protocol)
        {
            case IpProtocol.Tcp when !isGroup && !source.IsUnspecified && !destination.IsMulticast:
                TakeTcp(source, destination, payload, checksum, trafficClass);
                break;
            case IpProtocol.Icmpv4 when source.IsV4 && TryWhole(payload, out ReadOnlySpan<byte> bytes):
                icmp.TakeV4(source, destination, bytes, isGroup);
                break;
            case IpProtocol.Icmpv6 when !source.IsV4 && TryWhole(payload, out ReadOnlySpan<byte> bytes):
                icmp.TakeV6(v6, source, destination, bytes, isGroup);
                break;
            case IpProtocol.Udp when link.IsHost && !isGroup && !source.IsUnspecified && !destination.IsMulticast && TryWhole(payload, out ReadOnlySpan<byte> bytes):
                icmp.RefuseUdp(source, destination, bytes);
                break;
            default:
                Dropped++;
                break;
        }
    }

    private void TakeTcp(InternetAddress source, InternetAddress destination, PacketBytes bytes, ChecksumState checksum, byte trafficClass)
    {
        if (checksum == ChecksumState.Unknown)
        {
            ushort sum = InternetChecksum.Combine(
                PseudoHeader.Partial(source, destination, IpProtocol.Tcp, bytes.LengthBytes), 0, bytes.PartialSum());
            if (sum != 0xFFFF)
            {
                tcp.Counters.ChecksumErrors++;
                return;
            }
        }

        if (!TcpSegment.TryParse(bytes.Head, out TcpSegment segment, out ReadOnlySpan<byte> first))
        {
            Dropped++;
            return;
        }

        int headerBytes = bytes.Head.Length - first.Length;
        tcp.Take(source, destination, segment, bytes.Slice(headerBytes, bytes.LengthBytes - headerBytes), CongestionMarks.IsMarked(trafficClass));
    }

    // Fragments and small protocols are looked at in one piece; a device gives them so, being short.
    private bool TryWhole(PacketBytes bytes, out ReadOnlySpan<byte> whole)
    {
        whole = bytes.Head;
        if (bytes.IsWhole)
        {
            return true;
        }

        Dropped++;
        return false;
    }
}
