// SPDX-License-Identifier: MIT
using Exo.Net.Cheetah.Link;
using Exo.Net.Cheetah.Tcp;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Ip;

/// <summary>ICMP of both versions (RFC 792, RFC 1122 section 3.2.2, RFC 4443): echo, errors about our segments, refusals of UDP, and neighbours.</summary>
internal sealed class IcmpReplies(LinkInterface link, TcpLayer tcp)
{
    private const int EchoBytesMax = 1480, RepliesPerSecond = 1000;

    private TokenBucket replies = new(RepliesPerSecond, link.NowUs);

    public void TakeV4(InternetAddress source, InternetAddress destination, ReadOnlySpan<byte> bytes, bool isGroup)
    {
        if (!IcmpMessage.TryParseV4(bytes, out IcmpMessage message, out ReadOnlySpan<byte> body))
        {
            return;
        }

        switch (message.Type)
        {
            case IcmpMessage.EchoV4 when link.IsHost && !isGroup:
                Echo(source, destination, new IcmpMessage(IcmpMessage.EchoReplyV4, 0, message.Parameter), body);
                break;
            case IcmpMessage.UnreachableV4 when Ipv4Packet.TryParseHead(body, ushort.MaxValue, out Ipv4Packet quoted, out int headerBytes):
                // Code 4: too big, with the MTU of the next hop (RFC 1191 section 4); old routers tell none.
                int mtuBytes = message.Code != 4 ? 0 : (message.Parameter & 0xFFFF) != 0 ? (int)(message.Parameter & 0xFFFF) : 576;
                TakeError(quoted.Source, quoted.Destination, quoted.Protocol, body[headerBytes..], message.Code is 2 or 3, mtuBytes);
                break;
        }
    }

    public void TakeV6(in Ipv6Packet packet, InternetAddress source, InternetAddress destination, ReadOnlySpan<byte> bytes, bool isGroup)
    {
        if (!IcmpMessage.TryParseV6(source, destination, bytes, out IcmpMessage message, out ReadOnlySpan<byte> body))
        {
            return;
        }

        switch (message.Type)
        {
            case IcmpMessage.EchoV6 when link.IsHost && !isGroup && !source.IsUnspecified:
                Echo(source, destination, new IcmpMessage(IcmpMessage.EchoReplyV6, 0, message.Parameter), body);
                break;
            case IcmpMessage.NeighborSolicitation or IcmpMessage.NeighborAdvertisement when link.IsHost:
                NeighborDiscovery.Take(link, packet, message, body);
                break;
            case IcmpMessage.UnreachableV6 or IcmpMessage.TooBigV6
                when Ipv6Packet.TryParseHead(body, ushort.MaxValue + Ipv6Packet.SizeBytes, out Ipv6Packet quoted)
                    && Ipv6Extensions.TryParse(quoted, body[Ipv6Packet.SizeBytes..], out Ipv6Extensions extensions):
                int mtuBytes = message.Type == IcmpMessage.TooBigV6 ? (int)Math.Min(message.Parameter, ushort.MaxValue) : 0;
                TakeError(
                    quoted.Source, quoted.Destination, extensions.Protocol, body[(Ipv6Packet.SizeBytes + extensions.OffsetBytes)..],
                    message is { Type: IcmpMessage.UnreachableV6, Code: 1 or 4 }, mtuBytes);
                break;
        }
    }

    /// <summary>Nobody listens to UDP here: those who ask are told (RFC 1122 section 4.1.3.1).</summary>
    public void RefuseUdp(InternetAddress source, InternetAddress destination, ReadOnlySpan<byte> datagram)
    {
        if (!UdpDatagram.TryParse(source, destination, datagram, out UdpDatagram udp, out _) || !replies.TryTake(link.NowUs))
        {
            return;
        }

        // The quoted packet: its IP header, made again from what is known of it, and eight bytes.
        Span<byte> body = stackalloc byte[Ipv6Packet.SizeBytes + UdpDatagram.SizeBytes];
        if (source.IsV4)
        {
            new Ipv4Packet(source, destination, IpProtocol.Udp, UdpDatagram.SizeBytes + udp.PayloadBytes).Emit(body);
            datagram[..UdpDatagram.SizeBytes].CopyTo(body[Ipv4Packet.SizeBytes..]);
            Send(source, destination, new IcmpMessage(IcmpMessage.UnreachableV4, 3, 0), body[..(Ipv4Packet.SizeBytes + UdpDatagram.SizeBytes)]);
        }
        else
        {
            new Ipv6Packet(source, destination, IpProtocol.Udp, UdpDatagram.SizeBytes + udp.PayloadBytes).Emit(body);
            datagram[..UdpDatagram.SizeBytes].CopyTo(body[Ipv6Packet.SizeBytes..]);
            Send(source, destination, new IcmpMessage(IcmpMessage.UnreachableV6, 4, 0), body);
        }
    }

    private void Echo(InternetAddress to, InternetAddress from, in IcmpMessage reply, ReadOnlySpan<byte> body)
    {
        if (body.Length <= EchoBytesMax && replies.TryTake(link.NowUs))
        {
            Send(to, from, reply, body);
        }
    }

    private void TakeError(InternetAddress from, InternetAddress to, IpProtocol protocol, ReadOnlySpan<byte> quoted, bool isHard, int mtuBytes)
    {
        if (protocol == IpProtocol.Tcp && quoted.Length >= 8)
        {
            ushort localPort = System.Buffers.Binary.BinaryPrimitives.ReadUInt16BigEndian(quoted);
            ushort remotePort = System.Buffers.Binary.BinaryPrimitives.ReadUInt16BigEndian(quoted[2..]);
            uint sequence = System.Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(quoted[4..]);
            PathMtu.TakeError(tcp, new ConnectionKey(from, localPort, to, remotePort), sequence, isHard, mtuBytes);
        }
    }

    private void Send(InternetAddress to, InternetAddress from, in IcmpMessage message, ReadOnlySpan<byte> body)
    {
        int ipBytes = to.IsV4 ? Ipv4Packet.SizeBytes : Ipv6Packet.SizeBytes;
        Span<byte> packet = stackalloc byte[Ipv6Packet.SizeBytes + IcmpMessage.SizeBytes + EchoBytesMax];
        packet = packet[..(ipBytes + IcmpMessage.SizeBytes + body.Length)];
        Span<byte> icmp = packet[ipBytes..];
        body.CopyTo(icmp[IcmpMessage.SizeBytes..]);
        if (to.IsV4)
        {
            new Ipv4Packet(from, to, IpProtocol.Icmpv4, icmp.Length).Emit(packet);
            message.EmitV4(icmp);
        }
        else
        {
            new Ipv6Packet(from, to, IpProtocol.Icmpv6, icmp.Length).Emit(packet);
            message.EmitV6(from, to, icmp);
        }

        link.SendIp(to, packet);
    }
}
