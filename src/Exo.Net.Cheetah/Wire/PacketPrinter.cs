// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;

namespace Exo.Net.Cheetah.Wire;

/// <summary>Says in one line what an Ethernet frame holds, as traces and failing tests show it. Any bytes have a line.</summary>
public static class PacketPrinter
{
    /// <summary>One line without its end, like <c>10.0.0.1:80 &gt; 10.0.0.2:4000 [SA] seq 1 ack 2 win 65535 len 0 mss 1460</c>.</summary>
    public static string Line(ReadOnlySpan<byte> frame)
    {
        if (!EthernetFrame.TryParse(frame, out EthernetFrame ethernet, out ReadOnlySpan<byte> payload))
        {
            return $"? {frame.Length} bytes";
        }

        switch (ethernet.Type)
        {
            case EtherType.Arp when ArpPacket.TryParse(payload, out ArpPacket arp):
                return arp.IsRequest ? $"arp who has {arp.Target}, tell {arp.Sender}" : $"arp {arp.Sender} is at {arp.SenderHardware}";
            case EtherType.Ipv4 when Ipv4Packet.TryParse(payload, out Ipv4Packet v4, out ReadOnlySpan<byte> inner):
                return v4.IsFragment
                    ? Invariant($"{v4.Source} > {v4.Destination} fragment {v4.Identification} at {v4.FragmentOffsetBytes} len {v4.PayloadBytes}{(v4.MoreFragments ? " more" : string.Empty)}")
                    : Line(v4.Source, v4.Destination, v4.Protocol, inner);
            case EtherType.Ipv6 when Ipv6Packet.TryParse(payload, out Ipv6Packet v6, out ReadOnlySpan<byte> inner) && Ipv6Extensions.TryParse(v6, inner, out Ipv6Extensions extensions):
                return extensions.HasFragment
                    ? Invariant($"{v6.Source} > {v6.Destination} fragment {extensions.Identification} at {extensions.FragmentOffsetBytes}{(extensions.MoreFragments ? " more" : string.Empty)}")
                    : Line(v6.Source, v6.Destination, extensions.Protocol, inner[extensions.OffsetBytes..]);
            default:
                return Invariant($"{ethernet.Source} > {ethernet.Destination} type {(ushort)ethernet.Type:x4} len {payload.Length}");
        }
    }

    private static string Line(InternetAddress source, InternetAddress destination, IpProtocol protocol, ReadOnlySpan<byte> bytes)
    {
        switch (protocol)
        {
            case IpProtocol.Tcp when TcpSegment.TryParse(bytes, out TcpSegment segment, out ReadOnlySpan<byte> payload):
                return $"{source}:{segment.SourcePort} > {destination}:{segment.DestinationPort} {Describe(segment, payload.Length)}";
            case IpProtocol.Icmpv4 when IcmpMessage.TryParseV4(bytes, out IcmpMessage icmp, out _):
                return Invariant($"{source} > {destination} icmp {icmp.Type}.{icmp.Code}");
            case IpProtocol.Icmpv6 when IcmpMessage.TryParseV6(source, destination, bytes, out IcmpMessage icmp, out _):
                return Invariant($"{source} > {destination} icmp6 {icmp.Type}.{icmp.Code}");
            case IpProtocol.Udp when UdpDatagram.TryParse(source, destination, bytes, out UdpDatagram datagram, out _):
                return Invariant($"{source}:{datagram.SourcePort} > {destination}:{datagram.DestinationPort} udp len {datagram.PayloadBytes}");
            default:
                return Invariant($"{source} > {destination} protocol {(byte)protocol} len {bytes.Length}");
        }
    }

    /// <summary>The part of the line that speaks of TCP.</summary>
    public static string Describe(in TcpSegment segment, int payloadBytes)
    {
        var line = new StringBuilder("[");
        for (int bit = 0; bit < 8; bit++)
        {
            if (((int)segment.Flags >> bit & 1) != 0)
            {
                line.Append("FSRP.UEW"[bit]);
            }
        }

        line.Append(CultureInfo.InvariantCulture, $"] seq {segment.Sequence}");
        if ((segment.Flags & TcpFlags.Ack) != 0)
        {
            line.Append(CultureInfo.InvariantCulture, $" ack {segment.Acknowledgment}");
        }

        line.Append(CultureInfo.InvariantCulture, $" win {segment.Window} len {payloadBytes}");
        TcpOptions options = segment.Options;
        if (options.MaximumSegmentBytes != 0)
        {
            line.Append(CultureInfo.InvariantCulture, $" mss {options.MaximumSegmentBytes}");
        }

        if (options.HasWindowScale)
        {
            line.Append(CultureInfo.InvariantCulture, $" wscale {options.WindowScale}");
        }

        line.Append(options.SackPermitted ? " sackOK" : string.Empty);
        if (options.HasTimestamps)
        {
            line.Append(CultureInfo.InvariantCulture, $" ts {options.Timestamp}/{options.TimestampEcho}");
        }

        for (int i = 0; i < options.SackCount; i++)
        {
            line.Append(CultureInfo.InvariantCulture, $" sack {options.Sack(i).Start}-{options.Sack(i).End}");
        }

        return line.ToString();
    }

    private static string Invariant(FormattableString text) => FormattableString.Invariant(text);
}
