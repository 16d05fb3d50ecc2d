// SPDX-License-Identifier: MIT
using System.Net;
using System.Text;
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Net.Cheetah.Ip;
using Exo.Net.Cheetah.Raw;
using Exo.Net.Cheetah.Tcp;
using Exo.Net.Cheetah.Tests.Sockets;
using Exo.Net.Cheetah.Tests.Tcp;
using Exo.Net.Cheetah.Wire;
using Exo.Simulation.Timing;

namespace Exo.Net.Cheetah.Tests.Raw;

/// <summary>A server on a raw device under attack: a client that has sent half of its request gets its response all the same, and what the server keeps is bounded.</summary>
public sealed class RawAttackTests : IDisposable
{
    private static readonly MacAddress OwnHardware = new(0x02_00_00_00_00_01), PeerHardware = new(0x02_00_00_00_00_02);

    private readonly FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 32 << 20 });
    private readonly VirtualTime time = new();
    private readonly ScriptedDevice device;
    private readonly MemoryDocumentSource documents;
    private readonly CheetahServer server;
    private readonly RawReactor reactor;
    private readonly Random random = new(7);
    private bool isV6;
    private uint ownNext;

    public RawAttackTests()
    {
        device = new ScriptedDevice(frames);
        documents = new MemoryDocumentSource(frames);
        documents.Set("/a", TestServer.Bytes(500));
        server = new CheetahServer(
            new CheetahServerOptions
            {
                Device = device, EndPoint = new IPEndPoint(IPAddress.IPv6Any, 80), Time = time, ConnectionsMax = 300,
                Network = new NetworkStackOptions
                {
                    Addresses = [InterfaceAddress.Parse("10.0.0.1/24"), InterfaceAddress.Parse("fd00::1/64")], Time = time, Seed = 3, HalfOpenMax = 100, ReceiveMemoryBytesMax = 1 << 20,
                },
            },
            documents, frames);
        reactor = server.StartRaw(device);
        reactor.Turn();
    }

    private InternetAddress Own => InternetAddress.Parse(isV6 ? "fd00::1" : "10.0.0.1");

    private InternetAddress Peer => InternetAddress.Parse(isV6 ? "fd00::2" : "10.0.0.2");

    public void Dispose()
    {
        reactor.Dispose();
        frames.Dispose();
    }

    private void Arrive(InternetAddress source, ushort port, TcpFlags flags, uint sequence, uint acknowledgment, string text = "")
    {
        int ipBytes = isV6 ? Ipv6Packet.SizeBytes : Ipv4Packet.SizeBytes;
        var segment = new TcpSegment(port, 80, sequence, acknowledgment, flags, 65535, (flags & TcpFlags.Syn) != 0 ? new TcpOptions(MaximumSegmentBytes: 1400) : default);
        byte[] frame = new byte[EthernetFrame.SizeBytes + ipBytes + segment.SizeBytes + text.Length];
        new EthernetFrame(OwnHardware, PeerHardware, isV6 ? EtherType.Ipv6 : EtherType.Ipv4).Emit(frame);
        Span<byte> ip = frame.AsSpan(EthernetFrame.SizeBytes);
        if (isV6)
        {
            new Ipv6Packet(source, Own, IpProtocol.Tcp, segment.SizeBytes + text.Length).Emit(ip);
        }
        else
        {
            new Ipv4Packet(source, Own, IpProtocol.Tcp, segment.SizeBytes + text.Length).Emit(ip);
        }

        segment.Emit(ip[ipBytes..]);
        Encoding.Latin1.GetBytes(text, ip[(ipBytes + segment.SizeBytes)..]);
        device.Arrive(frame);
    }

    private uint Open(ushort port)
    {
        device.Sent.Clear();
        Arrive(Peer, port, TcpFlags.Syn, 0, 0);
        reactor.Turn();
        uint next = device.Sent.Dequeue().Segment.Sequence + 1;
        Arrive(Peer, port, TcpFlags.Ack, 1, next);
        reactor.Turn();
        return next;
    }

    private void Attack(int count, Action<int> one)
    {
        for (int i = 0; i < count; i++)
        {
            one(i);
            if (i % 64 == 63)
            {
                reactor.Turn();
                device.Sent.Clear();
                device.Others.Clear();
                time.Advance(TimeSpan.FromMilliseconds(1));
            }
        }

        for (int i = 0; i < 4; i++)
        {
            reactor.Turn();
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Half_a_request_survives_everything_and_is_answered_when_it_is_whole(bool v6)
    {
        isV6 = v6;
        reactor.Stack.Link.Neighbors.Learn(Peer, PeerHardware, mayAdd: true, reactor.Stack.NowUs);
        ownNext = Open(4000);
        const string Request = "GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        Arrive(Peer, 4000, TcpFlags.Ack, 1, ownNext, Request[..20]);
        reactor.Turn();
        Assert.Equal(1, reactor.Counters.ConnectionsOpen);

        // SYNs from everywhere: cookies, and nothing kept.
        Attack(20_000, _ =>
        {
            InternetAddress source = isV6 ? new InternetAddress(0xFD00_0000_0000_0000, 3 + (ulong)random.Next(200)) : InternetAddress.FromV4(0x0A00_0003 + (uint)random.Next(200));
            Arrive(source, (ushort)random.Next(1024, 65536), TcpFlags.Syn, (uint)random.Next(), 0);
        });
        Assert.InRange(reactor.Stack.ConnectionCount, 1, 101);
        Assert.True(reactor.Stack.Tcp.Counters.CookiesSent > 10_000);

        // Resets, SYNs and acknowledgments with guessed numbers, for the connection and for none.
        Attack(20_000, i =>
        {
            TcpFlags flags = (i % 3) switch { 0 => TcpFlags.Rst, 1 => TcpFlags.Syn, _ => TcpFlags.Ack };
            Arrive(Peer, (ushort)(i % 2 == 0 ? 4000 : random.Next(5000, 65536)), flags, 23 + (uint)random.Next(60_000), ownNext + 100_000 + (uint)random.Next(1000));
        });

        // Bytes out of order, tiny and overlapping, far behind what is missing.
        Attack(20_000, _ => Arrive(Peer, 4000, TcpFlags.Ack, 2000 + (uint)random.Next(60_000), ownNext, new string('x', random.Next(1, 40))));
        Assert.InRange(reactor.Stack.Tcp.ReceiveBytes, 1, 1 << 20);
        Assert.Equal((1, 0, 0), (reactor.Counters.ConnectionsOpen, reactor.Counters.Requests, reactor.Counters.TimeOuts));

        device.Sent.Clear();
        Arrive(Peer, 4000, TcpFlags.Ack | TcpFlags.Psh, 21, ownNext, Request[20..]);
        reactor.Turn();
        Assert.Equal(1, reactor.Counters.Requests);
        Assert.Contains(device.Sent, sent => sent.PayloadBytes > 500 && (sent.Segment.Flags & TcpFlags.Fin) != 0);
        Assert.True(device.LastPayload.AsSpan().EndsWith(TestServer.Bytes(500)));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Clients_that_open_connections_and_say_nothing_or_little_fill_only_their_places(bool v6)
    {
        isV6 = v6;
        reactor.Stack.Link.Neighbors.Learn(Peer, PeerHardware, mayAdd: true, reactor.Stack.NowUs);
        int free = frames.FreeCount;
        for (int i = 0; i < 1000; i++)
        {
            uint next = Open((ushort)(5000 + i));
            Arrive(Peer, (ushort)(5000 + i), TcpFlags.Ack, 1, next, i % 2 == 0 ? "G" : "");
            reactor.Turn();
            Assert.InRange(reactor.Counters.ConnectionsOpen, 1, 300);
        }

        Assert.Equal((300, 700), (reactor.Counters.ConnectionsOpen, reactor.Counters.ConnectionsRefused));
        Assert.InRange(free - frames.FreeCount, 0, 512);

        // Those who have begun a request get 408 after ten seconds, the others their leave after sixty; and then there is room.
        for (int i = 0; i < 900; i++)
        {
            time.Advance(TimeSpan.FromMilliseconds(100));
            reactor.Turn();
            device.Sent.Clear();
        }

        Assert.Equal(0, reactor.Counters.ConnectionsOpen);
        Assert.InRange(reactor.Stack.ConnectionCount, 0, 1);
        ownNext = Open(4000);
        device.Sent.Clear();
        Arrive(Peer, 4000, TcpFlags.Ack, 1, ownNext, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
        reactor.Turn();
        Assert.True(device.LastPayload.AsSpan().EndsWith(TestServer.Bytes(500)));
    }
}
