// SPDX-License-Identifier: MIT
using CsCheck;
using Exo.Core.Net;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Tests.Wire;

/// <summary>What is emitted parses as itself; whatever else comes is refused without a throw.</summary>
public class WireTests
{
    private static readonly Gen<MacAddress> Hardware = Gen.ULong[0, 0xFFFF_FFFF_FFFF].Select(value => new MacAddress(value));
    private static readonly Gen<InternetAddress> V4 = Gen.UInt.Select(InternetAddress.FromV4);
    private static readonly Gen<InternetAddress> V6 = Gen.Select(Gen.ULong[1, ulong.MaxValue], Gen.ULong).Select((high, low) => new InternetAddress(high, low));
    private static readonly Gen<SackBlock> Block = Gen.Select(Gen.UInt, Gen.UInt).Select((start, end) => new SackBlock(start, end));

    private static readonly Gen<TcpOptions> Options =
        Gen.Select(Gen.UShort, Gen.Bool, Gen.Byte[0, 14], Gen.Bool, Gen.Bool, Gen.Select(Gen.UInt, Gen.UInt), Gen.Int[0, 3], Block.Array[4]).Select(
            (mss, scaled, scale, sackPermitted, stamped, stamps, sacks, blocks) => new TcpOptions(
                sacks > 1 ? (ushort)0 : mss, scaled && sacks < 2, scaled && sacks < 2 ? scale : (byte)0, sackPermitted && sacks < 2,
                stamped, stamped ? stamps.Item1 : 0, stamped ? stamps.Item2 : 0,
                sacks, sacks > 0 ? blocks[0] : default, sacks > 1 ? blocks[1] : default, sacks > 2 ? blocks[2] : default));

    private static readonly Gen<TcpSegment> Segment =
        Gen.Select(Gen.UShort, Gen.UShort, Gen.UInt, Gen.UInt, Gen.Byte, Gen.UShort, Options).Select(
            (source, destination, sequence, acknowledgment, flags, window, options) =>
                new TcpSegment(source, destination, sequence, acknowledgment, (TcpFlags)flags, window, options));

    [Fact]
    public void Ethernet_and_ARP_come_back() => Gen.Select(Hardware, Hardware, V4, V4, Gen.Bool).Sample((a, b, x, y, asks) =>
    {
        byte[] bytes = new byte[EthernetFrame.SizeBytes + ArpPacket.SizeBytes];
        var frame = new EthernetFrame(a, b, EtherType.Arp);
        var arp = new ArpPacket(asks, b, x, a, y);
        frame.Emit(bytes);
        arp.Emit(bytes.AsSpan(EthernetFrame.SizeBytes));
        return EthernetFrame.TryParse(bytes, out EthernetFrame frameBack, out ReadOnlySpan<byte> payload) && frameBack == frame
            && ArpPacket.TryParse(payload, out ArpPacket arpBack) && arpBack == arp;
    });

    [Fact]
    public void IPv4_comes_back_and_one_wrong_bit_is_seen() =>
        Gen.Select(V4, V4, Gen.Byte, Gen.Byte, Gen.Int[0, 8191], Gen.UShort, Gen.Byte.Array[0, 64], Gen.Int[0, 159]).Sample(
            (source, destination, ttl, protocol, offset, id, body, bit) =>
            {
                var packet = new Ipv4Packet(source, destination, (IpProtocol)protocol, body.Length, ttl, false, (id & 1) != 0, offset * 8, id, 3);
                byte[] bytes = new byte[Ipv4Packet.SizeBytes + body.Length + 5];
                packet.Emit(bytes);
                body.CopyTo(bytes, Ipv4Packet.SizeBytes);
                Assert.True(Ipv4Packet.TryParse(bytes, out Ipv4Packet back, out ReadOnlySpan<byte> payload));
                Assert.Equal(packet, back);
                Assert.Equal(body, payload.ToArray());
                bytes[bit / 8] ^= (byte)(1 << (bit % 8));
                Assert.False(Ipv4Packet.TryParse(bytes, out _, out _));
            });

    [Fact]
    public void IPv6_comes_back() => Gen.Select(V6, V6, Gen.Byte, Gen.Byte, Gen.UInt[0, 0xF_FFFF], Gen.Byte.Array[0, 64]).Sample((source, destination, hops, protocol, label, body) =>
    {
        var packet = new Ipv6Packet(source, destination, (IpProtocol)protocol, body.Length, hops, 7, label);
        byte[] bytes = new byte[Ipv6Packet.SizeBytes + body.Length + 3];
        packet.Emit(bytes);
        return Ipv6Packet.TryParse(bytes, out Ipv6Packet back, out ReadOnlySpan<byte> payload) && back == packet && payload.Length == body.Length;
    });

    [Fact]
    public void Extension_headers_are_walked_to_a_bound()
    {
        // Hop-by-hop with a padding option, then n destination-option headers, then TCP.
        foreach (int count in (int[])[0, 1, Ipv6Extensions.HeadersMax - 1, Ipv6Extensions.HeadersMax])
        {
            byte[] chain = new byte[8 * (count + 1)];
            for (int i = 0; i <= count; i++)
            {
                chain[8 * i] = (byte)(i == count ? IpProtocol.Tcp : (IpProtocol)60);
                chain[(8 * i) + 2] = 1;
                chain[(8 * i) + 3] = 4;
            }

            var packet = new Ipv6Packet(default, default, 0, chain.Length);
            bool isRead = Ipv6Extensions.TryParse(packet, chain, out Ipv6Extensions extensions);
            Assert.Equal(count < Ipv6Extensions.HeadersMax, isRead);
            Assert.True(!isRead || (extensions.Protocol == IpProtocol.Tcp && extensions.OffsetBytes == chain.Length));
        }
    }

    [Fact]
    public void ICMP_and_UDP_come_back_with_their_checksums() =>
        Gen.Select(Gen.Byte, Gen.Byte, Gen.UInt, Gen.Byte.Array[0, 80], Gen.OneOf(Gen.Select(V4, V4), Gen.Select(V6, V6))).Sample((type, code, parameter, body, pair) =>
        {
            (InternetAddress source, InternetAddress destination) = pair;
            byte[] bytes = new byte[8 + body.Length];
            body.CopyTo(bytes, 8);
            var message = new IcmpMessage(type, code, parameter);
            message.EmitV4(bytes);
            Assert.True(IcmpMessage.TryParseV4(bytes, out IcmpMessage back, out _));
            Assert.Equal(message, back);
            message.EmitV6(source, destination, bytes);
            Assert.True(IcmpMessage.TryParseV6(source, destination, bytes, out back, out _));
            Assert.Equal(message, back);

            var datagram = new UdpDatagram((ushort)parameter, 53, body.Length);
            datagram.Emit(source, destination, bytes);
            Assert.True(UdpDatagram.TryParse(source, destination, bytes, out UdpDatagram datagramBack, out ReadOnlySpan<byte> payload));
            Assert.Equal(datagram, datagramBack);
            Assert.Equal(body, payload.ToArray());
        });

    [Fact]
    public void Neighbour_messages_come_back() => Gen.Select(V6.Where(a => !a.IsMulticast), Hardware, Gen.Bool, Gen.Bool).Sample((target, hardware, asks, says) =>
    {
        var message = new NeighborMessage(target, says ? hardware : null);
        byte[] bytes = new byte[message.SizeBytes];
        message.Emit(bytes, asks);
        return NeighborMessage.TryParse(bytes, asks, out NeighborMessage back) && back == message;
    });

    [Fact]
    public void TCP_comes_back_and_its_checksum_is_put_together_from_pieces() =>
        Gen.Select(Segment, Gen.Byte.Array[0, 300], Gen.OneOf(Gen.Select(V4, V4), Gen.Select(V6, V6))).Sample((segment, body, pair) =>
        {
            byte[] bytes = new byte[segment.SizeBytes + body.Length];
            segment.Emit(bytes);
            body.CopyTo(bytes, segment.SizeBytes);
            TcpSegment.Seal(pair.Item1, pair.Item2, bytes.AsSpan(0, segment.SizeBytes), body.Length, InternetChecksum.Partial(body));
            Assert.True(TcpSegment.Check(pair.Item1, pair.Item2, bytes));
            Assert.True(TcpSegment.TryParse(bytes, out TcpSegment back, out ReadOnlySpan<byte> payload), PacketPrinter.Describe(segment, body.Length));
            Assert.Equal(segment, back);
            Assert.Equal(body, payload.ToArray());
        });

    [Theory]
    [InlineData("02040218")]
    [InlineData("0101080a0000000100000002")]
    [InlineData("0402080a0000000100000002")]
    [InlineData("fe06123456780000")]
    public void Options_of_peers_are_read(string hex) => Assert.True(TcpOptions.TryParse(Convert.FromHexString(hex), out _));

    [Theory]
    [InlineData("0200")]
    [InlineData("020302")]
    [InlineData("08")]
    [InlineData("0809000000010000000200")]
    [InlineData("050a00000001")]
    [InlineData("0506000000010000")]
    [InlineData("fe01")]
    public void Options_that_cannot_be_are_refused(string hex) => Assert.False(TcpOptions.TryParse(Convert.FromHexString(hex), out _));

    [Fact]
    public void No_bytes_make_a_parser_throw() => Gen.Byte.Array[0, 128].Sample(NeverThrows, iter: 50_000);

    // Random bytes seldom get past the first check: begin with packets that are right and change a little.
    [Fact]
    public void No_damaged_packet_makes_a_parser_throw() =>
        Gen.Select(Segment, V4, V4, Gen.Byte.Array[0, 20], Gen.Select(Gen.Int[0, 200], Gen.Byte).Array[0, 4], Gen.Int[0, 120]).Sample((segment, a, b, body, edits, cut) =>
        {
            byte[] bytes = new byte[EthernetFrame.SizeBytes + Ipv4Packet.SizeBytes + segment.SizeBytes + body.Length];
            new EthernetFrame(default, default, EtherType.Ipv4).Emit(bytes);
            new Ipv4Packet(a, b, IpProtocol.Tcp, segment.SizeBytes + body.Length).Emit(bytes.AsSpan(EthernetFrame.SizeBytes));
            segment.Emit(bytes.AsSpan(EthernetFrame.SizeBytes + Ipv4Packet.SizeBytes));
            foreach ((int at, byte value) in edits)
            {
                bytes[at % bytes.Length] = value;
            }

            NeverThrows(bytes[..^Math.Min(cut / 4, bytes.Length)]);
        }, iter: 20_000);

    private static void NeverThrows(byte[] bytes)
    {
        _ = PacketPrinter.Line(bytes);
        _ = ArpPacket.TryParse(bytes, out _);
        _ = Ipv4Packet.TryParse(bytes, out _, out _);
        if (Ipv6Packet.TryParse(bytes, out Ipv6Packet v6, out ReadOnlySpan<byte> payload))
        {
            _ = Ipv6Extensions.TryParse(v6, payload, out _);
        }

        _ = Ipv6Extensions.TryParse(new Ipv6Packet(default, default, (IpProtocol)60, bytes.Length), bytes, out _);
        _ = Ipv6Extensions.TryParse(new Ipv6Packet(default, default, 0, bytes.Length), bytes, out _);
        _ = IcmpMessage.TryParseV4(bytes, out _, out _);
        _ = NeighborMessage.TryParse(bytes, true, out _);
        _ = UdpDatagram.TryParse(default, default, bytes, out _, out _);
        _ = TcpSegment.TryParse(bytes, out _, out _);
        _ = TcpOptions.TryParse(bytes, out _);
    }

    [Fact]
    public void A_line_says_what_a_packet_is()
    {
        byte[] bytes = new byte[14 + 20 + 32 + 5];
        var segment = new TcpSegment(80, 4000, 1, 2, TcpFlags.Ack | TcpFlags.Psh, 100, new TcpOptions(HasTimestamps: true, Timestamp: 3, TimestampEcho: 4));
        new EthernetFrame(default, default, EtherType.Ipv4).Emit(bytes);
        new Ipv4Packet(InternetAddress.Parse("10.0.0.1"), InternetAddress.Parse("10.0.0.2"), IpProtocol.Tcp, 37).Emit(bytes.AsSpan(14));
        segment.Emit(bytes.AsSpan(34));
        Assert.Equal("10.0.0.1:80 > 10.0.0.2:4000 [P.] seq 1 ack 2 win 100 len 5 ts 3/4", PacketPrinter.Line(bytes));
    }
}
