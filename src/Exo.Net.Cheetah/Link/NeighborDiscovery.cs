// SPDX-License-Identifier: MIT
using Exo.Core.Net;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Link;

/// <summary>Asking for neighbours, answering those who ask, and telling the link of ourselves: ARP (RFC 826, RFC 5227) and RFC 4861.</summary>
internal static class NeighborDiscovery
{
    private const byte HopLimit = 255;   // proves that the packet comes from this link
    private const uint Solicited = 0x4000_0000, Override = 0x2000_0000;

    /// <summary>Who has that address?</summary>
    public static void Ask(LinkInterface link, InternetAddress address)
    {
        if (!link.Routes.TrySourceFor(address, out InternetAddress own))
        {
            return;
        }

        if (address.IsV4)
        {
            Span<byte> packet = stackalloc byte[ArpPacket.SizeBytes];
            new ArpPacket(true, link.Hardware, own, default, address).Emit(packet);
            link.SendTo(MacAddress.Broadcast, EtherType.Arp, packet);
        }
        else
        {
            Send(link, own, address.SolicitedNode, address.SolicitedNode.GroupHardware, true, 0, new NeighborMessage(address, link.Hardware));
        }
    }

    /// <summary>Tells everybody our addresses: gratuitous ARP and unsolicited advertisements.</summary>
    public static void Announce(LinkInterface link)
    {
        Span<byte> packet = stackalloc byte[ArpPacket.SizeBytes];
        foreach (InternetAddress own in link.Routes.Addresses)
        {
            if (own.IsV4)
            {
                new ArpPacket(true, link.Hardware, own, default, own).Emit(packet);
                link.SendTo(MacAddress.Broadcast, EtherType.Arp, packet);
            }
            else
            {
                var allNodes = new InternetAddress(0xFF02_0000_0000_0000, 1);
                Send(link, own, allNodes, allNodes.GroupHardware, false, Override, new NeighborMessage(own, link.Hardware));
            }
        }
    }

    /// <summary>An ARP packet: its sender is learned if it is known already or speaks to us (RFC 826).</summary>
    public static void TakeArp(LinkInterface link, in ArpPacket arp)
    {
        bool isForUs = link.Routes.IsOwn(arp.Target);
        if (link.Routes.IsOwn(arp.Sender))
        {
            return;   // somebody claims our address; ours stands
        }

        link.Neighbors.Learn(arp.Sender, arp.SenderHardware, mayAdd: isForUs && arp.IsRequest, link.NowUs);
        if (isForUs && arp.IsRequest && !arp.SenderHardware.IsGroup)
        {
            Span<byte> packet = stackalloc byte[ArpPacket.SizeBytes];
            new ArpPacket(false, link.Hardware, arp.Target, arp.SenderHardware, arp.Sender).Emit(packet);
            link.SendTo(arp.SenderHardware, EtherType.Arp, packet);
        }
    }

    /// <summary>A solicitation or an advertisement whose checksum is right (RFC 4861 sections 7.1 and 7.2).</summary>
    public static void Take(LinkInterface link, in Ipv6Packet packet, in IcmpMessage message, ReadOnlySpan<byte> body)
    {
        bool isSolicitation = message.Type == IcmpMessage.NeighborSolicitation;
        if (packet.HopLimit != HopLimit || message.Code != 0 || !NeighborMessage.TryParse(body, isSolicitation, out NeighborMessage neighbor))
        {
            return;
        }

        if (!isSolicitation)
        {
            if (neighbor.Hardware is { } told && !link.Routes.IsOwn(neighbor.Target))
            {
                link.Neighbors.Learn(neighbor.Target, told, mayAdd: false, link.NowUs);
            }

            return;
        }

        if (!link.Routes.IsOwn(neighbor.Target))
        {
            return;
        }

        if (packet.Source.IsUnspecified)
        {
            // Somebody wants to take our address: everybody is told that it is taken (RFC 4862 section 5.4.3).
            var allNodes = new InternetAddress(0xFF02_0000_0000_0000, 1);
            Send(link, neighbor.Target, allNodes, allNodes.GroupHardware, false, Override, new NeighborMessage(neighbor.Target, link.Hardware));
            return;
        }

        if (neighbor.Hardware is { } asker)
        {
            link.Neighbors.Learn(packet.Source, asker, mayAdd: true, link.NowUs);
        }

        if (link.Neighbors.TryFind(packet.Source, link.NowUs, out MacAddress hardware))
        {
            Send(link, neighbor.Target, packet.Source, hardware, false, Solicited | Override, new NeighborMessage(neighbor.Target, link.Hardware));
        }
    }

    private static void Send(
        LinkInterface link, InternetAddress source, InternetAddress destination, MacAddress hardware, bool isSolicitation, uint flags, in NeighborMessage message)
    {
        Span<byte> packet = stackalloc byte[Ipv6Packet.SizeBytes + IcmpMessage.SizeBytes + 24];
        packet = packet[..(Ipv6Packet.SizeBytes + IcmpMessage.SizeBytes + message.SizeBytes)];
        Span<byte> icmp = packet[Ipv6Packet.SizeBytes..];
        new Ipv6Packet(source, destination, IpProtocol.Icmpv6, icmp.Length, HopLimit).Emit(packet);
        message.Emit(icmp[IcmpMessage.SizeBytes..], isSolicitation);
        new IcmpMessage(isSolicitation ? IcmpMessage.NeighborSolicitation : IcmpMessage.NeighborAdvertisement, 0, flags).EmitV6(source, destination, icmp);
        link.SendTo(hardware, EtherType.Ipv6, packet);
    }
}
