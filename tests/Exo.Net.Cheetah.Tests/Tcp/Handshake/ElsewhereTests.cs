// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Net.Cheetah.Ip;
using Exo.Net.Cheetah.Tcp;
using Exo.Net.Cheetah.Tcp.Handshake;
using Exo.Net.Cheetah.Wire;
using Exo.Simulation.Timing;
using Exo.Tests;

namespace Exo.Net.Cheetah.Tests.Tcp.Handshake;

/// <summary>A stack that has not seen the SYN: what it makes of the segment that brings the cookie, whatever it remembers under the same names.</summary>
public sealed class ElsewhereTests : IDisposable
{
    private const ushort Port = 80, PeerPort = 4000;

    private static readonly InternetAddress Own = InternetAddress.Parse("10.0.0.1"), Peer = InternetAddress.Parse("10.0.0.2");
    private static readonly MacAddress OwnHardware = new(0x02_00_00_00_00_01), PeerHardware = new(0x02_00_00_00_00_02);
    private static readonly ConnectionKey Key = new(Own, Port, Peer, PeerPort);

    private readonly FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
    private readonly VirtualTime time = new();
    private readonly ScriptedDevice device;
    private readonly NetworkStack stack;
    private readonly Service service = new();

    public ElsewhereTests()
    {
        device = new ScriptedDevice(frames);
        stack = new NetworkStack(device, new NetworkStackOptions { Addresses = [InterfaceAddress.Parse("10.0.0.1/24")], Time = time, Seed = 9 });
        stack.Poll();
        stack.Link.Neighbors.Learn(Peer, PeerHardware, mayAdd: true, stack.NowUs);
        stack.Listen(Port, service);
        stack.Tcp.Cookies.AreMadeElsewhere = true;
    }

    public void Dispose()
    {
        stack.Dispose();
        frames.Dispose();
    }

    // Closes when the peer does, and says nothing.
    private sealed class Service : ITcpHandler
    {
        public List<TcpConnection> Opened { get; } = [];

        public List<TcpCloseReason> Closed { get; } = [];

        public long Received { get; private set; }

        public void OnOpened(TcpConnection connection) => Opened.Add(connection);

        public int OnReceived(TcpConnection connection, ReadOnlySpan<byte> bytes)
        {
            Received += bytes.Length;
            return bytes.Length;
        }

        public void OnAcknowledged(TcpConnection connection)
        {
        }

        public void OnPeerClosed(TcpConnection connection) => connection.CloseSend();

        public void OnClosed(TcpConnection connection, TcpCloseReason reason) => Closed.Add(reason);
    }

    // The cookie that the handler would have given to a SYN, and its timestamp.
    private (uint Cookie, uint Stamp) Answer(uint sequence)
    {
        SynCookies cookies = new(stack.Tcp.Cookies.Secrets);
        uint stamp = SynCookies.Stamp(
            (uint)(stack.NowUs / 1000) + stack.Tcp.TimestampOffsetOf(Key), new TcpOptions(HasWindowScale: true, WindowScale: 7, SackPermitted: true));
        return (cookies.Make(Key, sequence, 1460, stack.NowUs), stamp);
    }

    private void Arrive(uint sequence, uint acknowledgment, uint stamp, uint echo, int payloadBytes = 0, TcpFlags flags = TcpFlags.Ack)
    {
        device.Arrive(Frame(sequence, acknowledgment, stamp, echo, payloadBytes, flags));
        stack.Poll();
    }

    private static byte[] Frame(uint sequence, uint acknowledgment, uint stamp, uint echo, int payloadBytes, TcpFlags flags)
    {
        var segment = new TcpSegment(
            PeerPort, Port, sequence, acknowledgment, flags, 500, new TcpOptions(HasTimestamps: true, Timestamp: stamp, TimestampEcho: echo));
        byte[] frame = new byte[EthernetFrame.SizeBytes + Ipv4Packet.SizeBytes + segment.SizeBytes + payloadBytes];
        new EthernetFrame(OwnHardware, PeerHardware, EtherType.Ipv4).Emit(frame);
        new Ipv4Packet(Peer, Own, IpProtocol.Tcp, segment.SizeBytes + payloadBytes).Emit(frame.AsSpan(EthernetFrame.SizeBytes));
        segment.Emit(frame.AsSpan(EthernetFrame.SizeBytes + Ipv4Packet.SizeBytes));
        return frame;
    }

    private TcpConnection Open(uint sequence, uint stamp)
    {
        (uint cookie, uint echo) = Answer(sequence);
        Arrive(sequence + 1, cookie + 1, stamp, echo);
        return service.Opened[^1];
    }

    [Fact]
    public void A_connection_has_what_the_SYN_offered_and_the_request_that_came_with_the_cookie()
    {
        (uint cookie, uint echo) = Answer(1000);
        Arrive(1001, cookie + 1, 5, echo, payloadBytes: 100);
        TcpConnection c = Assert.Single(service.Opened);
        Assert.Equal(100, service.Received);
        Assert.True(c.UsesSack && c.UsesTimestamps);
        Assert.Equal((7, 1460, 500 << 7), (c.SndScale, c.PeerSegmentBytes, c.SndWnd));
        Assert.Equal(stack.Tcp.WindowScale, c.RcvScale);
        Assert.Equal(RoundTripTimer.InitialUs, c.Rtt.TimeoutUs);   // no round trip was measured, but nothing was lost either
    }

    [Fact]
    public void What_comes_before_the_cookie_is_left_to_come_again_and_not_reset()
    {
        (uint cookie, uint echo) = Answer(1000);
        Arrive(2001, cookie + 1, 5, echo, payloadBytes: 100);   // the second segment; the first, which had the number of the SYN, is lost
        Assert.Empty(device.Sent);
        Assert.Empty(service.Opened);
        Arrive(1001, cookie + 1, 6, echo, payloadBytes: 1000);
        Assert.Equal(1000, service.Received);
        device.Sent.Clear();

        // Who tells a clock that is not ours is a stranger still.
        stack.Tcp.Close(service.Opened[0], TcpCloseReason.Reset);
        Arrive(9001, 77, 7, echo + 100_000, payloadBytes: 100);
        Assert.Equal(TcpFlags.Rst, device.Sent.Dequeue().Segment.Flags);
    }

    [Fact]
    public void In_TIME_WAIT_a_younger_handshake_opens_and_an_old_one_that_is_heard_again_does_not()
    {
        (uint cookie, uint echo) = Answer(1000);
        Arrive(1001, cookie + 1, 50, echo);
        TcpConnection c = service.Opened[0];
        c.CloseSend();
        stack.Poll();
        uint ownNext = c.SndNxt;
        Arrive(1001, ownNext, 60, echo, flags: TcpFlags.Ack | TcpFlags.Fin);
        Assert.Equal(1, stack.TimeWaitCount);

        Arrive(1001, cookie + 1, 50, echo, payloadBytes: 100);   // the request of old: it must not be carried out twice
        Assert.Single(service.Opened);
        Assert.Equal((0, 1), (service.Received, stack.TimeWaitCount));

        (cookie, echo) = Answer(70_000);
        Arrive(70_001, cookie + 1, 61, echo, payloadBytes: 100);
        Assert.Equal(2, service.Opened.Count);
        Assert.Equal((100, 0), (service.Received, stack.TimeWaitCount));
    }

    [Fact]
    public void A_peer_that_forgot_its_connection_begins_anew()
    {
        TcpConnection old = Open(1000, stamp: 50);
        (uint cookie, uint echo) = Answer(0x8000_0000);
        Arrive(0x8000_0001, cookie + 1, 51, echo, payloadBytes: 10);
        Assert.Equal([TcpCloseReason.Reset], service.Closed);
        Assert.Equal(TcpState.Closed, old.State);
        Assert.Equal((2, 10), (service.Opened.Count, service.Received));
    }

    [Fact]
    public void A_peer_whose_clock_began_anew_too_is_reset_and_segments_of_old_harm_nobody()
    {
        TcpConnection old = Open(1000, stamp: 50);
        (uint cookie, uint echo) = Answer(0x8000_0000);
        device.Sent.Clear();
        Arrive(0x8000_0001, cookie + 1, 49, echo);
        (TcpSegment reset, _, _) = device.Sent.Dequeue();
        Assert.Equal((TcpFlags.Rst, cookie + 1), (reset.Flags, reset.Sequence));   // a number that means something to the new one only
        Assert.Equal(TcpState.Established, old.State);
        Assert.Single(service.Opened);
    }

    [Theory]
    [InlineData(-1, true)]
    [InlineData(0, true)]
    [InlineData(2, true)]
    [InlineData(3, false)]
    [InlineData(-2, false)]
    [InlineData(31, false)]
    public void A_cookie_is_good_for_some_minutes_and_may_be_of_a_clock_that_is_a_little_ahead(int ticks, bool isGood)
    {
        SynCookies cookies = new(stack.Tcp.Cookies.Secrets) { AreMadeElsewhere = true };
        long nowUs = 1000 * SynCookies.TickUs;
        uint cookie = cookies.Make(Key, 5, 1460, nowUs - (ticks * SynCookies.TickUs));
        Assert.Equal(isGood, cookies.TryRead(Key, 5, cookie, nowUs, out ushort segmentBytes));
        Assert.Equal(1460, segmentBytes);
    }

    [Fact]
    public void No_connection_is_lost_when_the_secret_changes()
    {
        // A handshake begins every 13 s, for an hour and a half, and ends up to two minutes later; the stack looks when something comes.
        List<(TimeSpan At, uint Sequence, uint Cookie, uint Stamp)> underWay = [];
        TimeSpan now = TimeSpan.Zero;
        for (uint i = 1; i <= 420; i++)
        {
            ConnectionKey key = Key with { RemotePort = (ushort)(4000 + i) };
            long nowUs = 1_000_000 + (long)now.TotalMicroseconds;
            underWay.Add((now + TimeSpan.FromSeconds(i * 37 % 64 * 2), i, new SynCookies(stack.Tcp.Cookies.Secrets).Make(key, 1000, 1460, nowUs), SynCookies.Stamp((uint)(nowUs / 1000) + stack.Tcp.TimestampOffsetOf(key), default)));
            time.Advance(TimeSpan.FromSeconds(13));
            now += TimeSpan.FromSeconds(13);
            foreach ((_, uint number, uint cookie, uint stamp) in underWay.Where(one => one.At <= now))
            {
                int before = service.Opened.Count;
                device.Arrive(From((ushort)(4000 + number), 1001, cookie + 1, 5, stamp));
                stack.Poll();
                Assert.Equal(before + 1, service.Opened.Count);
                stack.Tcp.Close(service.Opened[^1], TcpCloseReason.Reset);
                stack.Poll();
            }

            underWay.RemoveAll(one => one.At <= now);
        }

        Assert.True(service.Opened.Count > 400);
    }

    [Fact]
    public void A_cookie_of_a_secret_that_is_gone_opens_nothing()
    {
        (uint cookie, uint stamp) = Answer(1000);
        for (int i = 0; i < 3 * 16; i++)
        {
            time.Advance(TimeSpan.FromMicroseconds(SynCookies.TickUs));
            stack.Poll();
        }

        Arrive(1001, cookie + 1, 5, stamp);
        Assert.Empty(service.Opened);
    }

    private static byte[] From(ushort port, uint sequence, uint acknowledgment, uint stamp, uint echo)
    {
        byte[] frame = Frame(sequence, acknowledgment, stamp, echo, 0, TcpFlags.Ack);
        frame[34] = (byte)(port >> 8);
        frame[35] = (byte)port;
        return frame;
    }

    // A connection whose FIN is on its way, and what the kernel makes of the peer's when the handler is there.
    private (TcpConnection Connection, byte[] PeerFin, Func<int> Handle) Leave()
    {
        Requires.Root();
        stack.Tcp.Farewells = new FarewellTable("script");
        HandshakeAnswer answer = new(
            [Port], [InterfaceAddress.Parse("10.0.0.1/24")], OwnHardware, stack.Tcp.Hash, 0, 65_535, 3, 8_192, 1460, 1440, stack.Tcp.Farewells.Descriptor);
        PacketHandler handler = new(HandshakeProgram.ForIngress(answer), HandshakeProgram.ForReceive(answer));
        TcpConnection c = Open(1000, stamp: 50);
        c.CloseSend();
        stack.Poll();
        Assert.Equal(TcpFlags.Fin | TcpFlags.Ack, device.Sent.Dequeue().Segment.Flags);
        byte[] fin = Frame(1001, c.SndNxt, 51, 0, 0, TcpFlags.Fin | TcpFlags.Ack);
        return (c, fin, () => device.TestHandler(handler, fin.ToArray()));
    }

    [Fact]
    public void A_FIN_that_the_handler_has_acknowledged_is_not_acknowledged_again()
    {
        (TcpConnection c, byte[] fin, Func<int> handle) = Leave();
        Assert.Equal(7, handle());
        device.Arrive(fin);
        stack.Poll();
        Assert.Empty(device.Sent);
        Assert.Equal((1, 1), (stack.TimeWaitCount, stack.Tcp.Counters.FarewellsElsewhere));
        Assert.Equal([TcpCloseReason.Graceful], service.Closed);

        // Sent again, it finds the stack.
        Assert.Equal(-1, handle());
        device.Arrive(fin);
        stack.Poll();
        Assert.Equal((TcpFlags.Ack, 1002u), (device.Sent.Peek().Segment.Flags, device.Sent.Dequeue().Segment.Acknowledgment));
    }

    [Fact]
    public void A_FIN_that_the_stack_has_acknowledged_is_not_acknowledged_by_the_handler()
    {
        (_, byte[] fin, Func<int> handle) = Leave();
        device.Arrive(fin);
        stack.Poll();
        Assert.Equal(TcpFlags.Ack, device.Sent.Dequeue().Segment.Flags);
        Assert.Equal(-1, handle());
        Assert.Equal(0, stack.Tcp.Counters.FarewellsElsewhere);
    }

    [Fact]
    public void A_FIN_that_was_acknowledged_and_then_lost_is_a_graceful_end_all_the_same()
    {
        (TcpConnection c, _, Func<int> handle) = Leave();
        Assert.Equal(7, handle());
        time.Advance(TimeSpan.FromSeconds(2));
        stack.Poll();
        Assert.Equal(TcpFlags.Fin | TcpFlags.Ack, device.Sent.Dequeue().Segment.Flags);   // again, to a peer that has no connection any more
        Arrive(1001, 0, 0, 0, flags: TcpFlags.Rst);
        Assert.Equal(TcpState.Closed, c.State);
        Assert.Equal([TcpCloseReason.Graceful], service.Closed);
    }

    [Fact]
    public void A_guessed_cookie_begins_nothing()
    {
        TcpConnection old = Open(1000, stamp: 50);
        var random = new Random(3);
        for (int i = 0; i < 10_000; i++)
        {
            Arrive(0x8000_0000 + (uint)random.Next(), (uint)random.NextInt64(), 51, 0);
            device.Sent.Clear();
        }

        Assert.Equal(TcpState.Established, old.State);
        Assert.Single(service.Opened);
    }
}
