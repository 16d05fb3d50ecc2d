// SPDX-License-Identifier: MIT
using Exo.Core.Linux;
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Net.Cheetah.Http;
using Exo.Net.Cheetah.Ip;
using Exo.Net.Cheetah.Tcp;
using Exo.Net.Cheetah.Tcp.Answers;
using Exo.Net.Cheetah.Tcp.Handshake;
using Exo.Net.Cheetah.Wire;
using Exo.Tests;
using Microsoft.Win32.SafeHandles;

namespace Exo.Net.Cheetah.Tests.Tcp.Answers;

/// <summary>A stack lends a connection, the kernel runs the handler on packets, and other packets reach the stack: it goes on where the handler was.</summary>
public sealed class LendingTests : IDisposable
{
    private const ushort Port = 80, PeerPort = 4000;

    private static readonly InternetAddress Own = InternetAddress.Parse("10.0.0.1"), Peer = InternetAddress.Parse("10.0.0.2");
    private static readonly MacAddress OwnHardware = new(0x02_00_00_00_00_01), PeerHardware = new(0x02_00_00_00_00_02);
    private static readonly byte[] Request = [.. "GET / HTTP/1.1\r\nHost: x\r\n\r\n"u8];

    private readonly FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 1 << 20 });
    private readonly ScriptedDevice device;
    private readonly NetworkStack stack;
    private readonly Service service = new();
    private readonly SafeFileHandle program;
    private readonly byte[] response = new byte[500];
    private readonly AnswerTable table;
    private readonly long startNs;
    private uint receive = 1001, send, stamp = 50;

    public LendingTests()
    {
        Requires.Root();
        device = new ScriptedDevice(frames);
        startNs = System.Diagnostics.Stopwatch.GetTimestamp();
        stack = new NetworkStack(device, new NetworkStackOptions { Addresses = [InterfaceAddress.Parse("10.0.0.1/24")], Seed = 9 });
        stack.Poll();
        stack.Link.Neighbors.Learn(Peer, PeerHardware, mayAdd: true, stack.NowUs);
        stack.Listen(Port, service);
        stack.Tcp.Farewells = new FarewellTable("script");
        stack.Tcp.Cookies.Secrets.ShareWith(stack.Tcp.Farewells);
        stack.Tcp.Answers = table = new AnswerTable("script", 5);
        new Random(3).NextBytes(response);
        HttpDate.Format(1_700_000_000, response.AsSpan(33));
        table.SetTime(1_700_000_000);
        table.Write(table.PlaceOf(Request), Request, response, 33, 5, table.Epoch);
        program = IngressHook.Load("script", BpfAbi.PROG_TYPE_SCHED_CLS, HandshakeProgram.ForIngress(new HandshakeAnswer(
            [Port], [InterfaceAddress.Parse("10.0.0.1/24")], OwnHardware, stack.Tcp.Hash, startNs - 1_000_000_000, 65_535, 3, 8_192, 1460, 1440,
            stack.Tcp.Farewells.Descriptor, table.Descriptor, table.Key)));

        // A handshake, one request that the stack answers itself, and it is lent.
        SendToStack(1000, 0, TcpFlags.Syn, [], new TcpOptions(MaximumSegmentBytes: 1460, HasWindowScale: true, WindowScale: 7, SackPermitted: true, HasTimestamps: true, Timestamp: stamp));
        send = device.Sent.Dequeue().Segment.Sequence + 1;
        SendToStack(TcpFlags.Ack, Request);
        service.Connection!.MayBeLent = true;
        stack.Tcp.MakeDirty(service.Connection);
        stack.Poll();
        device.Sent.Clear();
        receive += (uint)Request.Length;
        send += 3;
        Assert.True(service.Connection.LentPlace >= 0);
    }

    public void Dispose()
    {
        program.Dispose();
        stack.Dispose();
        frames.Dispose();
    }

    private sealed class Service : ITcpHandler
    {
        public TcpConnection? Connection { get; private set; }

        public int Closed { get; private set; }

        public void OnOpened(TcpConnection connection) => Connection = connection;

        public int OnReceived(TcpConnection connection, ReadOnlySpan<byte> bytes)
        {
            Assert.True(connection.TrySend("yes"u8));
            return bytes.Length;
        }

        public void OnAcknowledged(TcpConnection connection)
        {
        }

        public void OnPeerClosed(TcpConnection connection) => connection.CloseSend();

        public void OnClosed(TcpConnection connection, TcpCloseReason reason) => Closed++;
    }

    private static byte[] Packet(uint sequence, uint acknowledgment, TcpFlags flags, ReadOnlySpan<byte> payload, TcpOptions options)
    {
        var segment = new TcpSegment(PeerPort, Port, sequence, acknowledgment, flags, 500, options);
        byte[] packet = new byte[34 + segment.SizeBytes + payload.Length];
        new EthernetFrame(OwnHardware, PeerHardware, EtherType.Ipv4).Emit(packet);
        new Ipv4Packet(Peer, Own, IpProtocol.Tcp, segment.SizeBytes + payload.Length).Emit(packet.AsSpan(14));
        segment.Emit(packet.AsSpan(34));
        payload.CopyTo(packet.AsSpan(34 + segment.SizeBytes));
        TcpSegment.Seal(Peer, Own, packet.AsSpan(34), 0, 0);
        return packet;
    }

    private TcpOptions Stamps() => new(HasTimestamps: true, Timestamp: stamp++, TimestampEcho: 1);

    private void SendToStack(uint sequence, uint acknowledgment, TcpFlags flags, ReadOnlySpan<byte> payload, TcpOptions options)
    {
        device.Arrive(Packet(sequence, acknowledgment, flags, payload, options));
        stack.Poll();
    }

    private void SendToStack(TcpFlags flags, ReadOnlySpan<byte> payload) => SendToStack(receive, send, flags, payload, Stamps());

    // The next request, to the handler; it is answered.
    private void Ask()
    {
        byte[] output = new byte[2048];
        Assert.Equal(7, IngressHook.Run("script", program, Packet(receive, send, TcpFlags.Ack | TcpFlags.Psh, Request, Stamps()), output, out int lengthBytes));
        Assert.Equal(response, output[66..lengthBytes]);
        receive += (uint)Request.Length;
        send += (uint)response.Length;
    }

    [Fact]
    public void A_request_that_the_handler_does_not_know_is_answered_by_the_stack_with_the_next_numbers()
    {
        for (int i = 0; i < 5; i++)
        {
            Ask();
        }

        SendToStack(TcpFlags.Ack, "what?"u8);
        TcpSegment said = device.Sent.Dequeue().Segment;
        Assert.Equal((send, receive + 5), (said.Sequence, said.Acknowledgment));
        Assert.Equal("yes"u8, device.LastPayload);
        Assert.Equal(3, service.Connection!.QueuedBytes);   // the request acknowledged all that the handler had said
        Assert.Empty(device.Sent);
    }

    [Fact]
    public void A_FIN_ends_it_gracefully()
    {
        Ask();
        SendToStack(TcpFlags.Ack | TcpFlags.Fin, []);
        TcpSegment said = device.Sent.Dequeue().Segment;
        Assert.Equal((send, receive + 1, TcpFlags.Ack | TcpFlags.Fin), (said.Sequence, said.Acknowledgment, said.Flags));
        receive++;
        send++;
        SendToStack(TcpFlags.Ack, []);
        Assert.Equal((1, TcpState.Closed, 0), (service.Closed, service.Connection!.State, stack.ConnectionCount));
    }

    [Fact]
    public void A_reset_with_the_exact_number_resets_and_another_is_challenged_with_the_handlers_numbers()
    {
        Ask();
        SendToStack(receive + 1, send, TcpFlags.Rst, [], default);
        TcpSegment said = device.Sent.Dequeue().Segment;
        Assert.Equal((send, receive, TcpFlags.Ack), (said.Sequence, said.Acknowledgment, said.Flags));
        SendToStack(receive, send, TcpFlags.Rst, [], default);
        Assert.Equal(1, service.Closed);
    }

    [Fact]
    public void A_request_that_was_answered_and_comes_to_the_stack_again_is_acknowledged_and_the_lost_answer_goes_again()
    {
        Ask();
        uint asked = receive - (uint)Request.Length, answered = send - (uint)response.Length;
        SendToStack(asked, answered, TcpFlags.Ack, Request, Stamps());
        Assert.Equal(receive, device.Sent.Dequeue().Segment.Acknowledgment);
        Assert.Equal(response.Length, service.Connection!.QueuedBytes);

        // The peer asks no more: the stack's timer repeats what the handler said.
        Assert.True(SpinWait.SpinUntil(() => { stack.Poll(); return device.Sent.Count > 0; }, TimeSpan.FromSeconds(30)));
        TcpSegment said = device.Sent.Dequeue().Segment;
        Assert.Equal(answered, said.Sequence);
        Assert.Equal(response, device.LastPayload);
        SendToStack(TcpFlags.Ack, []);
        Assert.Equal(0, service.Connection.QueuedBytes);
    }

    [Fact]
    public void It_is_lent_again_when_there_is_nothing_left_to_say()
    {
        for (int i = 0; i < 20; i++)
        {
            Ask();
            SendToStack(TcpFlags.Ack, []);
            Assert.True(service.Connection!.LentPlace >= 0);
            Assert.Equal(0, service.Connection.QueuedBytes);
        }

        Assert.Empty(device.Sent);
    }

    [Fact]
    public void What_the_stack_wants_to_say_comes_behind_what_the_handler_said()
    {
        Ask();
        Assert.True(service.Connection!.TrySend("more"u8));
        stack.Poll();
        TcpSegment said = device.Sent.Dequeue().Segment;
        Assert.Equal(send, said.Sequence);
        Assert.Equal("more"u8, device.LastPayload);
    }

    [Fact]
    public void An_answer_that_goes_is_still_said_again_as_it_was()
    {
        Ask();
        table.SetTime(1_700_000_007);
        int place = table.PlaceOf(Request);
        table.Clear(place);
        stack.Tcp.ReclaimAnswered(place);
        table.Write(place, Request, new byte[99], 0, 0, table.Epoch);
        Assert.Equal(response.Length, service.Connection!.QueuedBytes);
        stack.Tcp.Reclaim(service.Connection);
        Assert.True(SpinWait.SpinUntil(() => { stack.Poll(); return device.Sent.Count > 0; }, TimeSpan.FromSeconds(30)));
        Assert.Equal(response, device.LastPayload);
    }

    [Fact]
    public void Without_frames_for_what_the_handler_said_the_connection_is_reset()
    {
        Ask();
        List<FrameNumber> taken = [];
        while (frames.TryAllocate(frames.RootCredential, out FrameNumber frame))
        {
            taken.Add(frame);
        }

        frames.Release(taken[^1]);   // for the packet
        taken.RemoveAt(taken.Count - 1);
        SendToStack(TcpFlags.Ack, "what?"u8);
        Assert.Equal(TcpState.Closed, service.Connection!.State);
        Assert.Equal(1, service.Closed);
        taken.ForEach(frame => frames.Release(frame));
    }

    [Fact]
    public void A_stack_that_ends_resets_with_the_handlers_numbers()
    {
        Ask();
        stack.Dispose();
        TcpSegment said = device.Sent.Dequeue().Segment;
        Assert.Equal((send, receive), (said.Sequence, said.Acknowledgment));
        Assert.True((said.Flags & TcpFlags.Rst) != 0);
    }
}
