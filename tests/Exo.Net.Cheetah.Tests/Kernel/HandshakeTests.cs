// SPDX-License-Identifier: MIT
using System.Net;
using System.Net.Sockets;
using System.Text;
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Net.Cheetah.Tcp;
using Exo.Net.Cheetah.Tests.Tcp;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Tests.Kernel;

/// <summary>The kernel's TCP connects to a port whose handshakes the kernel answers for us, on veth.</summary>
public class HandshakeTests
{
    [Theory]
    [InlineData("10.9.0.2", 0, 0, 0)]
    [InlineData("fd09::2", 0, 0, 0)]
    [InlineData("10.9.0.2", 0.05, 0.02, 0.02)]
    [InlineData("fd09::2", 0.05, 0.02, 0.02)]
    public void The_kernel_connects_and_every_byte_arrives_both_ways(string address, double loss, double duplication, double swapping)
    {
        using var network = new KernelNetwork(superPackets: loss == 0, overVeth: true, takesHandlers: true);
        long bytes = loss == 0 ? 8 << 20 : 1 << 20;
        NetworkDevice device = loss == 0 ? network.Device : new ImpairedDevice(network.Device, 4, new Impairments { Loss = loss, Duplication = duplication, Reordering = swapping });
        for (int i = 0; i < 5; i++)
        {
            var service = new Pattern(bytes);
            using var polled = new Polled(device, stack => stack.Listen(80, service, downloadsHandshake: true));
            using Socket client = network.In(() => new Socket(IPAddress.Parse(address).AddressFamily, SocketType.Stream, ProtocolType.Tcp) { ReceiveTimeout = 60_000, SendTimeout = 60_000 });
            client.Connect(IPAddress.Parse(address), 80);
            KernelTests.Exchange(client, bytes);
            Assert.True(SpinWait.SpinUntil(() => service.Closed is not null, TimeSpan.FromSeconds(60)));
            Assert.Equal((bytes, TcpCloseReason.Graceful), (service.Received, service.Closed));
            Assert.Equal((0, 1), (polled.Stack.Tcp.Counters.CookiesSent, polled.Stack.Tcp.Counters.CookiesAccepted));
            Assert.True(service.Connection!.UsesSack && service.Connection.UsesTimestamps && service.Connection.SndScale > 0);
            Assert.Equal(address.Contains(':', StringComparison.Ordinal) ? 1440 : 1460, service.Connection.PeerSegmentBytes);
        }
    }

    [Fact]
    public void Ports_without_it_work_as_ever_and_so_does_the_port_afterwards()
    {
        using var network = new KernelNetwork(overVeth: true, takesHandlers: true);
        Pattern downloaded = new(1000), plain = new(1000);
        using var polled = new Polled(network.Device, stack =>
        {
            stack.Listen(80, downloaded, downloadsHandshake: true);
            stack.Listen(22, plain);
        });
        Exchange(22);
        Assert.Equal(0, polled.Stack.Tcp.Counters.CookiesAccepted);
        Exchange(80);
        Assert.Equal(1, polled.Stack.Tcp.Counters.CookiesAccepted);
        Assert.Equal(SocketError.ConnectionRefused, Assert.Throws<SocketException>(() => Exchange(81)).SocketErrorCode);
        using var stopped = new ManualResetEventSlim();
        polled.Stack.Post(() =>
        {
            polled.Stack.StopListening(80);
            stopped.Set();
        });
        stopped.Wait();
        Assert.Equal(SocketError.ConnectionRefused, Assert.Throws<SocketException>(() => Exchange(80)).SocketErrorCode);

        void Exchange(int port)
        {
            using Socket client = network.In(() => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { ReceiveTimeout = 60_000, SendTimeout = 60_000 });
            client.Connect(IPAddress.Parse("10.9.0.2"), port);
            KernelTests.Exchange(client, 1000);
        }
    }

    [Fact]
    public void When_the_interface_changes_the_answers_do()
    {
        const int TcpLevel = 6, MaximumSegment = 2;
        using var network = new KernelNetwork(overVeth: true, takesHandlers: true);
        using var polled = new Polled(network.Device, stack => stack.Listen(80, new Greeting(), downloadsHandshake: true));
        Assert.InRange(SegmentBytes(), 1400, 1460);
        network.Run("ip", "link", "set", "exo-v", "mtu", "1300");
        Assert.True(SpinWait.SpinUntil(() => SegmentBytes() is > 1000 and <= 1260, TimeSpan.FromSeconds(60)));   // the stack looks at the interface once a second
        Assert.Equal(polled.Stack.Tcp.Counters.CookiesAccepted, polled.Stack.Tcp.Counters.ConnectionsOpened);

        // As the client's kernel knows it; 0 = it does not get in now.
        int SegmentBytes()
        {
            using Socket client = network.In(() => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { ReceiveTimeout = 1000 });
            if (!client.ConnectAsync(IPAddress.Parse("10.9.0.2"), 80).Wait(TimeSpan.FromSeconds(3)))
            {
                return 0;
            }

            byte[] value = new byte[4];
            client.GetRawSocketOption(TcpLevel, MaximumSegment, value);
            return BitConverter.ToInt32(value);
        }
    }

    [Fact]
    public void Ports_are_used_again_while_the_stack_waits_in_TIME_WAIT()
    {
        using var network = new KernelNetwork(overVeth: true, takesHandlers: true);
        var service = new Greeting();
        using var polled = new Polled(network.Device, stack => stack.Listen(80, service, downloadsHandshake: true));
        for (int i = 0; i < 20; i++)
        {
            using Socket client = network.In(() => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { ReceiveTimeout = 60_000, SendTimeout = 60_000 });
            client.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
            client.Bind(new IPEndPoint(IPAddress.Parse("10.9.0.1"), 5555));
            client.Connect(IPAddress.Parse("10.9.0.2"), 80);
            client.Send("x"u8);
            byte[] answer = new byte[10];
            Assert.Equal(3, client.Receive(answer));
            Assert.Equal(0, client.Receive(answer));
        }

        Assert.Equal(20, polled.Stack.Tcp.Counters.CookiesAccepted);
        Assert.True(SpinWait.SpinUntil(() => polled.Stack.Tcp.Counters.ConnectionsClosed == 20, TimeSpan.FromSeconds(20)));
        Assert.InRange(polled.Stack.Tcp.Counters.FarewellsElsewhere, 1, 20);   // the stack may be faster
        Assert.All(service.Reasons, reason => Assert.Equal(TcpCloseReason.Graceful, reason));
        Assert.Equal(0, polled.Stack.Tcp.Counters.ResetsSent);
    }

    // Says "yes" to the first byte, and closes: it waits in TIME-WAIT then.
    private sealed class Greeting : ITcpHandler
    {
        public System.Collections.Concurrent.ConcurrentQueue<TcpCloseReason> Reasons { get; } = [];

        public void OnOpened(TcpConnection connection)
        {
        }

        public int OnReceived(TcpConnection connection, ReadOnlySpan<byte> bytes)
        {
            connection.TrySend("yes"u8);
            connection.CloseSend();
            return bytes.Length;
        }

        public void OnAcknowledged(TcpConnection connection)
        {
        }

        public void OnPeerClosed(TcpConnection connection)
        {
        }

        public void OnClosed(TcpConnection connection, TcpCloseReason reason) => Reasons.Enqueue(reason);
    }

    [Fact]
    public void A_flood_of_SYNs_does_not_reach_the_stack_and_clients_get_in()
    {
        const int Count = 20_000;
        using var network = new KernelNetwork(overVeth: true, takesHandlers: true);
        var service = new Pattern(100_000);
        using var polled = new Polled(network.Device, stack => stack.Listen(80, service, downloadsHandshake: true));
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 32 << 20 });
        using PacketSocketDevice attacker = network.In(() => PacketSocketDevice.Open("exo-tap", frames));
        using ReceiveBatch heard = new(frames);
        long received = 0, before = polled.Stack.Tcp.Counters.SegmentsReceived;
        int answers = 0;
        var random = new Random(5);
        Assert.True(frames.TryAllocate(frames.RootCredential, out FrameNumber frame));
        for (int i = 0; i < Count; i++)
        {
            var syn = new TcpSegment(
                (ushort)random.Next(1024, 65536), 80, (uint)random.NextInt64(), 0, TcpFlags.Syn, 1000,
                new TcpOptions(MaximumSegmentBytes: 1460, HasWindowScale: true, WindowScale: 7, SackPermitted: true, HasTimestamps: true, Timestamp: (uint)i));
            int lengthBytes = EthernetFrame.SizeBytes + Ipv4Packet.SizeBytes + syn.SizeBytes;
            Span<byte> packet = frames.Bytes(frame)[..lengthBytes], tcp = packet[(EthernetFrame.SizeBytes + Ipv4Packet.SizeBytes)..];
            InternetAddress from = InternetAddress.FromV4(0x0B00_0000 + (uint)random.Next(1 << 20)), to = InternetAddress.Parse("10.9.0.2");
            new EthernetFrame(network.Device.Features.Address, attacker.Features.Address, EtherType.Ipv4).Emit(packet);
            new Ipv4Packet(from, to, IpProtocol.Tcp, tcp.Length).Emit(packet[EthernetFrame.SizeBytes..]);
            syn.Emit(tcp);
            TcpSegment.Seal(from, to, tcp, 0, 0);
            Assert.Equal(1, attacker.Transmit([new TransmitPacket { Header = new PacketSlice(frame, 0, lengthBytes) }], []));
            while (attacker.Receive(heard) > 0)
            {
                for (int k = 0; k < heard.Count; k++)
                {
                    ReadOnlySpan<byte> answer = heard.Head(k);
                    if (answer.Length >= 54 && answer[23] == 6 && answer[47] == (byte)(TcpFlags.Syn | TcpFlags.Ack))
                    {
                        Assert.True(Ipv4Packet.TryParse(answer[EthernetFrame.SizeBytes..], out Ipv4Packet ip, out ReadOnlySpan<byte> segment));
                        Assert.True(TcpSegment.Check(ip.Source, ip.Destination, segment));   // the attacker sent whole sums, so whole sums come back
                        answers++;
                    }
                }
            }
        }

        frames.Release(frame);
        received = polled.Stack.Tcp.Counters.SegmentsReceived - before;
        Assert.True(answers > Count / 2, $"{answers} answers");
        Assert.Equal(0, received);
        Assert.Equal(0, polled.Stack.ConnectionCount);

        using Socket client = network.In(() => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { ReceiveTimeout = 60_000, SendTimeout = 60_000 });
        client.Connect(IPAddress.Parse("10.9.0.2"), 80);
        KernelTests.Exchange(client, 100_000);
    }

    [Fact]
    public void A_device_without_a_place_for_it_says_so_and_the_port_is_free()
    {
        using var network = new KernelNetwork(overVeth: true);
        using var stack = new NetworkStack(network.Device, new NetworkStackOptions { Addresses = [Ip.InterfaceAddress.Parse("10.9.0.2/24")] });
        Assert.Throws<NotSupportedException>(() => stack.Listen(80, new Pattern(1), downloadsHandshake: true));
        stack.Listen(80, new Pattern(1));
    }
}
