// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Net;
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Net.Cheetah.Ip;
using Exo.Net.Cheetah.Tcp;
using Exo.Net.Cheetah.Tests.Tcp;
using Exo.Net.Cheetah.Wire;
using Exo.Simulation.Timing;

namespace Exo.Net.Cheetah.Tests.Network;

/// <summary>What the stack believes and answers of ICMP, UDP, ARP and neighbour discovery.</summary>
public sealed class IcmpTests : IDisposable
{
    private static readonly MacAddress OwnHardware = new(0x02_00_00_00_00_01), PeerHardware = new(0x02_00_00_00_00_02), Liar = new(0x02_00_00_00_00_66);

    private readonly FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
    private readonly VirtualTime time = new();
    private readonly ScriptedDevice device;
    private readonly NetworkStack stack;

    public IcmpTests()
    {
        device = new ScriptedDevice(frames);
        stack = new NetworkStack(device, new NetworkStackOptions { Addresses = [InterfaceAddress.Parse("10.0.0.1/24"), InterfaceAddress.Parse("fd00::1/64")], Time = time, Seed = 9 });
        stack.Poll();
        device.Others.Clear();
        foreach (bool isV6 in (bool[])[false, true])
        {
            stack.Link.Neighbors.Learn(Peer(isV6), PeerHardware, mayAdd: true, stack.NowUs);
        }
    }

    public void Dispose()
    {
        stack.Dispose();
        frames.Dispose();
    }

    private static InternetAddress Own(bool isV6) => InternetAddress.Parse(isV6 ? "fd00::1" : "10.0.0.1");

    private static InternetAddress Peer(bool isV6) => InternetAddress.Parse(isV6 ? "fd00::2" : "10.0.0.2");

    private static int IpBytes(bool isV6) => isV6 ? Ipv6Packet.SizeBytes : Ipv4Packet.SizeBytes;

    private void Arrive(InternetAddress source, InternetAddress destination, IpProtocol protocol, ReadOnlySpan<byte> payload, byte hops = 255, MacAddress? to = null)
    {
        bool isV6 = !source.IsV4;
        byte[] frame = new byte[EthernetFrame.SizeBytes + IpBytes(isV6) + payload.Length];
        new EthernetFrame(to ?? OwnHardware, PeerHardware, isV6 ? EtherType.Ipv6 : EtherType.Ipv4).Emit(frame);
        if (isV6)
        {
            new Ipv6Packet(source, destination, protocol, payload.Length, hops).Emit(frame.AsSpan(EthernetFrame.SizeBytes));
        }
        else
        {
            new Ipv4Packet(source, destination, protocol, payload.Length).Emit(frame.AsSpan(EthernetFrame.SizeBytes));
        }

        payload.CopyTo(frame.AsSpan(EthernetFrame.SizeBytes + IpBytes(isV6)));
        device.Arrive(frame);
        stack.Poll();
    }

    private void ArriveIcmp(bool isV6, byte type, byte code, uint parameter, ReadOnlySpan<byte> body)
    {
        byte[] message = [.. new byte[IcmpMessage.SizeBytes], .. body];
        if (isV6)
        {
            new IcmpMessage(type, code, parameter).EmitV6(Peer(true), Own(true), message);
        }
        else
        {
            new IcmpMessage(type, code, parameter).EmitV4(message);
        }

        Arrive(Peer(isV6), Own(isV6), isV6 ? IpProtocol.Icmpv6 : IpProtocol.Icmpv4, message);
    }

    // An error that quotes the first eight bytes of a segment of the connection's.
    private void Unreachable(TcpConnection c, byte code, uint sequence)
    {
        bool isV6 = !c.Key.Remote.IsV4;
        byte[] quoted = new byte[IpBytes(isV6) + 8];
        if (isV6)
        {
            new Ipv6Packet(c.Key.Local, c.Key.Remote, IpProtocol.Tcp, 20).Emit(quoted);
        }
        else
        {
            new Ipv4Packet(c.Key.Local, c.Key.Remote, IpProtocol.Tcp, 20).Emit(quoted);
        }

        BinaryPrimitives.WriteUInt16BigEndian(quoted.AsSpan(IpBytes(isV6)), c.Key.LocalPort);
        BinaryPrimitives.WriteUInt16BigEndian(quoted.AsSpan(IpBytes(isV6) + 2), c.Key.RemotePort);
        BinaryPrimitives.WriteUInt32BigEndian(quoted.AsSpan(IpBytes(isV6) + 4), sequence);
        ArriveIcmp(isV6, isV6 ? IcmpMessage.UnreachableV6 : IcmpMessage.UnreachableV4, code, 0, quoted);
    }

    private (IcmpMessage Message, byte[] Body) TakeIcmp(bool isV6)
    {
        byte[] ip = Assert.Single(device.Others)[EthernetFrame.SizeBytes..];
        device.Others.Clear();
        IcmpMessage message;
        ReadOnlySpan<byte> body;
        if (isV6)
        {
            Assert.True(Ipv6Packet.TryParse(ip, out Ipv6Packet packet, out ReadOnlySpan<byte> payload));
            Assert.True(IcmpMessage.TryParseV6(packet.Source, packet.Destination, payload, out message, out body));
        }
        else
        {
            Assert.True(Ipv4Packet.TryParse(ip, out _, out ReadOnlySpan<byte> payload));
            Assert.True(IcmpMessage.TryParseV4(payload, out message, out body));
        }

        return (message, body.ToArray());
    }

    [Theory]
    [InlineData(false, 3, true)]    // port
    [InlineData(false, 2, true)]    // protocol
    [InlineData(false, 1, false)]   // host: may come back (RFC 1122 section 4.2.3.9)
    [InlineData(false, 0, false)]
    [InlineData(true, 4, true)]     // port
    [InlineData(true, 1, true)]     // prohibited
    [InlineData(true, 3, false)]
    [InlineData(true, 0, false)]
    public void An_attempt_ends_when_a_hard_error_quotes_its_SYN_and_at_nothing_else(bool isV6, byte code, bool ends)
    {
        var handler = new Pattern(0);
        TcpConnection c = stack.Connect(new IPEndPoint(Peer(isV6).ToIPAddress(), 80), handler);
        Unreachable(c, code, c.Iss + 1);
        Unreachable(c, code, c.Iss - 1);
        Assert.Equal(TcpState.SynSent, c.State);
        Unreachable(c, code, c.Iss);
        Assert.Equal(ends ? TcpCloseReason.Unreachable : null, handler.Closed);
    }

    [Theory]
    [InlineData(false, 3)]
    [InlineData(true, 4)]
    public void A_connection_that_is_open_goes_on_whatever_a_router_says(bool isV6, byte code)
    {
        var handler = new Pattern(1000, closesWhenSent: false);
        stack.Listen(80, handler);
        byte[] segment = new byte[TcpSegment.FixedBytes];
        new TcpSegment(4000, 80, 0, 0, TcpFlags.Syn, 65535, default).Emit(segment);
        Arrive(Peer(isV6), Own(isV6), IpProtocol.Tcp, segment);
        new TcpSegment(4000, 80, 1, device.Sent.Dequeue().Segment.Sequence + 1, TcpFlags.Ack, 65535, default).Emit(segment);
        Arrive(Peer(isV6), Own(isV6), IpProtocol.Tcp, segment);
        Unreachable(handler.Connection!, code, handler.Connection!.SndUna);
        Assert.Equal((TcpState.Established, null), (handler.Connection.State, handler.Closed));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_datagram_is_refused_with_its_head_quoted(bool isV6)
    {
        byte[] datagram = new byte[UdpDatagram.SizeBytes + 20];
        new UdpDatagram(5000, 53, 20).Emit(Peer(isV6), Own(isV6), datagram);
        Arrive(Peer(isV6), Own(isV6), IpProtocol.Udp, datagram);
        (IcmpMessage message, byte[] body) = TakeIcmp(isV6);
        Assert.Equal(isV6 ? (IcmpMessage.UnreachableV6, 4) : (IcmpMessage.UnreachableV4, (byte)3), (message.Type, message.Code));
        Assert.Equal(datagram[..UdpDatagram.SizeBytes], body[IpBytes(isV6)..]);
        if (isV6)
        {
            Assert.True(Ipv6Packet.TryParseHead(body, ushort.MaxValue, out Ipv6Packet quoted));
            Assert.Equal((Peer(true), Own(true), IpProtocol.Udp, datagram.Length), (quoted.Source, quoted.Destination, quoted.NextHeader, quoted.PayloadBytes));
        }
        else
        {
            Assert.True(Ipv4Packet.TryParseHead(body, ushort.MaxValue, out Ipv4Packet quoted, out _));
            Assert.Equal((Peer(false), Own(false), IpProtocol.Udp, datagram.Length), (quoted.Source, quoted.Destination, quoted.Protocol, quoted.PayloadBytes));
        }

        // Not when it is damaged, nor when it was for everybody.
        datagram[^1] ^= 1;
        Arrive(Peer(isV6), Own(isV6), IpProtocol.Udp, datagram);
        datagram[^1] ^= 1;
        Arrive(Peer(isV6), Own(isV6), IpProtocol.Udp, datagram, to: MacAddress.Broadcast);
        Assert.Empty(device.Others);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Answers_are_a_thousand_a_second(bool isV6)
    {
        time.Advance(TimeSpan.FromSeconds(5));
        for (int second = 0; second < 2; second++)
        {
            for (int i = 0; i < 3000; i++)
            {
                ArriveIcmp(isV6, isV6 ? IcmpMessage.EchoV6 : IcmpMessage.EchoV4, 0, (uint)i, "hello"u8);
            }

            Assert.InRange(device.Others.Count, 900, 1100);
            device.Others.Clear();
            time.Advance(TimeSpan.FromSeconds(1));
        }

        ArriveIcmp(isV6, isV6 ? IcmpMessage.EchoV6 : IcmpMessage.EchoV4, 0, 77, "hello"u8);
        (IcmpMessage message, byte[] body) = TakeIcmp(isV6);
        Assert.Equal((isV6 ? IcmpMessage.EchoReplyV6 : IcmpMessage.EchoReplyV4, 77u), (message.Type, message.Parameter));
        Assert.Equal("hello"u8, body);
    }

    private void ArriveArp(bool isRequest, MacAddress hardware, string sender, string target)
    {
        byte[] frame = new byte[EthernetFrame.SizeBytes + ArpPacket.SizeBytes];
        new EthernetFrame(MacAddress.Broadcast, hardware, EtherType.Arp).Emit(frame);
        new ArpPacket(isRequest, hardware, InternetAddress.Parse(sender), default, InternetAddress.Parse(target)).Emit(frame.AsSpan(EthernetFrame.SizeBytes));
        device.Arrive(frame);
        stack.Poll();
    }

    [Fact]
    public void False_claims_by_ARP_change_nothing()
    {
        int version = stack.Link.Neighbors.Version, count = stack.Link.Neighbors.Count;
        ArriveArp(true, Liar, "10.0.0.1", "10.0.0.1");       // our own address
        ArriveArp(false, Liar, "10.0.0.9", "10.0.0.1");      // an answer that nobody asked for
        ArriveArp(true, Liar, "10.0.0.9", "10.0.0.8");       // a question to somebody else
        ArriveArp(true, Liar, "0.0.0.0", "10.0.0.8");        // a probe
        ArriveArp(true, MacAddress.Broadcast, "10.0.0.9", "10.0.0.1");
        Assert.Equal((version, count), (stack.Link.Neighbors.Version, stack.Link.Neighbors.Count));
        Assert.Empty(device.Others);

        ArriveArp(true, Liar, "10.0.0.9", "10.0.0.1");       // who asks us speaks to us, and is answered
        Assert.Equal(count + 1, stack.Link.Neighbors.Count);
        Assert.True(ArpPacket.TryParse(Assert.Single(device.Others).AsSpan(EthernetFrame.SizeBytes), out ArpPacket answer));
        Assert.Equal((false, OwnHardware, Own(false), Liar), (answer.IsRequest, answer.SenderHardware, answer.Sender, answer.TargetHardware));
    }

    private void ArriveDiscovery(bool isSolicitation, string source, string destination, string target, MacAddress? hardware, byte hops = 255, byte code = 0)
    {
        var neighbor = new NeighborMessage(InternetAddress.Parse(target), hardware);
        byte[] message = new byte[IcmpMessage.SizeBytes + neighbor.SizeBytes];
        neighbor.Emit(message.AsSpan(IcmpMessage.SizeBytes), isSolicitation);
        new IcmpMessage(isSolicitation ? IcmpMessage.NeighborSolicitation : IcmpMessage.NeighborAdvertisement, code, 0)
            .EmitV6(InternetAddress.Parse(source), InternetAddress.Parse(destination), message);
        Arrive(InternetAddress.Parse(source), InternetAddress.Parse(destination), IpProtocol.Icmpv6, message, hops);
    }

    [Fact]
    public void False_claims_by_neighbour_discovery_change_nothing()
    {
        int version = stack.Link.Neighbors.Version, count = stack.Link.Neighbors.Count;
        ArriveDiscovery(false, "fd00::9", "fd00::1", "fd00::1", Liar);             // our own address
        ArriveDiscovery(false, "fd00::9", "fd00::1", "fd00::9", Liar);             // an answer that nobody asked for
        ArriveDiscovery(false, "fd00::2", "fd00::1", "fd00::2", Liar, hops: 254);  // from another link
        ArriveDiscovery(true, "fd00::2", "fd00::1", "fd00::1", Liar, hops: 64);
        ArriveDiscovery(false, "fd00::2", "fd00::1", "fd00::2", Liar, code: 1);
        ArriveDiscovery(true, "fd00::9", "fd00::1", "fd00::7", Liar);              // a question about somebody else
        ArriveDiscovery(false, "fd00::2", "fd00::1", "ff02::1", Liar);             // a group has no hardware
        ArriveDiscovery(false, "fd00::2", "fd00::1", "fd00::2", MacAddress.Broadcast);
        Assert.Equal((version, count), (stack.Link.Neighbors.Version, stack.Link.Neighbors.Count));
        Assert.Empty(device.Others);

        ArriveDiscovery(true, "fd00::9", "ff02::1:ff00:1", "fd00::1", Liar);       // who asks us speaks to us, and is answered
        Assert.Equal(count + 1, stack.Link.Neighbors.Count);
        (IcmpMessage message, byte[] body) = TakeIcmp(isV6: true);
        Assert.Equal(IcmpMessage.NeighborAdvertisement, message.Type);
        Assert.True(NeighborMessage.TryParse(body, false, out NeighborMessage answer));
        Assert.Equal(new NeighborMessage(Own(true), OwnHardware), answer);
    }

    [Fact]
    public void Who_wants_our_IPv6_address_for_itself_is_told_that_it_is_taken()
    {
        int count = stack.Link.Neighbors.Count;
        ArriveDiscovery(true, "::", "ff02::1:ff00:1", "fd00::1", null);
        byte[] sent = Assert.Single(device.Others);
        Assert.True(Ipv6Packet.TryParseHead(sent.AsSpan(EthernetFrame.SizeBytes), ushort.MaxValue, out Ipv6Packet packet));
        Assert.Equal((Own(true), InternetAddress.Parse("ff02::1")), (packet.Source, packet.Destination));
        Assert.Equal(count, stack.Link.Neighbors.Count);
    }
}
