// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Net;
using System.Net.NetworkInformation;
using System.Net.Sockets;
using System.Text;
using Exo.Core.Net;
using Exo.Net.Cheetah.Ip;
using Exo.Net.Cheetah.Tcp;
using Exo.Net.Cheetah.Tests.Sockets;
using Exo.Net.Cheetah.Tests.Tcp;
using Exo.Tests;

namespace Exo.Net.Cheetah.Tests.Kernel;

/// <summary>
/// The kernel's TCP as peer, through a TAP in a namespace, or a packet socket or AF_XDP on veth. EXO_TCP_MIB sets how much is sent each way (24 in a usual run). Over bad wires: <see cref="BadWireKernelTests"/>.
/// </summary>
public class KernelTests
{
    private static readonly long TransferBytes =
        long.Parse(Environment.GetEnvironmentVariable("EXO_TCP_MIB") ?? "24", CultureInfo.InvariantCulture) << 20;

    [Theory]
    [InlineData("10.9.0.2", false)]
    [InlineData("fd09::2", false)]
    [InlineData("10.9.0.2", true)]
    [InlineData("fd09::2", true)]
    [InlineData("10.9.0.2", false, XdpMode.Driver)]
    [InlineData("fd09::2", false, XdpMode.Driver)]
    [InlineData("10.9.0.2", false, XdpMode.Generic)]
    [InlineData("fd09::2", false, XdpMode.Generic)]
    public void The_kernel_connects_and_every_byte_arrives_both_ways(string address, bool overVeth, XdpMode? xdp = null)
    {
        using var network = new KernelNetwork(overVeth: overVeth, xdp: xdp);
        long bytes = TransferBytes;
        var service = new Pattern(bytes);
        using var polled = new Polled(network.Device, stack => stack.Listen(80, service));
        using Socket client = network.In(() => new Socket(IPAddress.Parse(address).AddressFamily, SocketType.Stream, ProtocolType.Tcp));
        client.Connect(IPAddress.Parse(address), 80);
        Exchange(client, bytes);
        Assert.True(SpinWait.SpinUntil(() => service.Closed is not null, TimeSpan.FromSeconds(60)));
        Assert.Equal(bytes, service.Received);
        Assert.Equal(TcpCloseReason.Graceful, service.Closed);
    }

    [Theory]
    [InlineData("10.9.0.1")]
    [InlineData("fd09::1")]
    [InlineData("10.9.0.1", XdpMode.Driver)]
    [InlineData("fd09::1", XdpMode.Driver)]
    [InlineData("10.9.0.1", XdpMode.Generic)]
    [InlineData("fd09::1", XdpMode.Generic)]
    public void The_kernel_accepts_and_every_byte_arrives_both_ways(string address, XdpMode? xdp = null)
    {
        using var network = new KernelNetwork(xdp: xdp);
        long bytes = TransferBytes;
        var client = new Pattern(bytes);
        IPAddress at = IPAddress.Parse(address);
        using Socket listener = network.In(() => new Socket(at.AddressFamily, SocketType.Stream, ProtocolType.Tcp));
        listener.Bind(new IPEndPoint(at, 0));
        listener.Listen();
        using var polled = new Polled(network.Device, stack => stack.Connect((IPEndPoint)listener.LocalEndPoint!, client));
        using Socket peer = listener.Accept();
        Exchange(peer, bytes);
        Assert.True(SpinWait.SpinUntil(() => client.Closed is not null, TimeSpan.FromSeconds(60)));
        Assert.Equal(bytes, client.Received);
        Assert.Equal(TcpCloseReason.Graceful, client.Closed);
    }

    [Theory]
    [InlineData("10.9.0.2", true)]
    [InlineData("10.9.0.2", false)]
    [InlineData("fd09::2", true)]
    public void The_MTU_shrinks_under_way_and_every_byte_arrives_both_ways(string address, bool superPackets)
    {
        using var network = new KernelNetwork(superPackets);
        long bytes = TransferBytes;
        var service = new Pattern(bytes);
        using var polled = new Polled(network.Device, stack => stack.Listen(80, service));
        using Socket client = network.In(() => new Socket(IPAddress.Parse(address).AddressFamily, SocketType.Stream, ProtocolType.Tcp));
        client.Connect(IPAddress.Parse(address), 80);
        using var ended = new CancellationTokenSource();
        var shrinking = new Thread(() =>
        {
            // When a quarter, a half and three quarters have come; both ends learn it from the interface.
            int[] sizes = address.Contains(':', StringComparison.Ordinal) ? [1400, 1320, 1280] : [1300, 900, 576];
            for (int i = 0; i < sizes.Length; i++)
            {
                long mark = bytes / 4 * (i + 1);
                SpinWait.SpinUntil(() => service.Received >= mark || ended.IsCancellationRequested);
                network.Run("ip", "link", "set", "exo-tap", "mtu", sizes[i].ToString(CultureInfo.InvariantCulture));
            }
        });
        shrinking.Start();
        Exchange(client, bytes);
        ended.Cancel();
        shrinking.Join();
        Assert.True(SpinWait.SpinUntil(() => service.Closed is not null, TimeSpan.FromSeconds(60)));
        Assert.Equal(bytes, service.Received);
        Assert.Equal(TcpCloseReason.Graceful, service.Closed);
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public async Task A_server_whose_interface_is_deleted_ends_with_the_error(bool overVeth, bool takesHandlers)
    {
        using var network = new KernelNetwork(overVeth: overVeth, takesHandlers: takesHandlers);
        using var documents = new MemoryDocumentSource(network.Frames);
        var server = new CheetahServer(
            new CheetahServerOptions { Device = network.Device, Network = Polled.Options, EndPoint = new IPEndPoint(IPAddress.IPv6Any, 80) }, documents, network.Frames);
        server.Start();
        using Socket client = network.In(() => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
        client.Connect(IPAddress.Parse("10.9.0.2"), 80);
        network.Run("ip", "link", "delete", "exo-tap");
        NetworkDeviceException failure = await Assert.ThrowsAsync<NetworkDeviceException>(() => server.Completion.WaitAsync(TimeSpan.FromMinutes(1)));
        Assert.Contains("is gone", failure.Message, StringComparison.Ordinal);
        await server.StopAsync(TimeSpan.FromMinutes(1));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_server_at_one_address_is_refused_at_the_other(bool takesHandlers)
    {
        using var network = new KernelNetwork(overVeth: true, takesHandlers: takesHandlers);
        using var documents = new MemoryDocumentSource(network.Frames);
        documents.Set("/a", "hello"u8);
        foreach (string address in (string[])["10.9.0.2", "fd09::2"])
        {
            var at = new IPEndPoint(IPAddress.Parse(address), 80);
            var server = new CheetahServer(new CheetahServerOptions { Device = network.Device, Network = Polled.Options, EndPoint = at }, documents, network.Frames);
            await using (server)
            {
                server.Start();
                Assert.Equal(at, server.EndPoint);
                using (var client = new AnsweringServer.Client(network, address))
                {
                    Assert.Equal("hello"u8, client.Get("/a"));
                }

                string other = address == "fd09::2" ? "10.9.0.2" : "fd09::2";
                SocketException refused = Assert.Throws<SocketException>(() => new AnsweringServer.Client(network, other).Dispose());
                Assert.Equal(SocketError.ConnectionRefused, refused.SocketErrorCode);
            }
        }
    }

    [Fact]
    public void A_port_that_does_not_listen_refuses_the_kernel()
    {
        using var network = new KernelNetwork();
        using var polled = new Polled(network.Device, _ => { });
        using Socket client = network.In(() => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
        SocketException refused = Assert.Throws<SocketException>(() => client.Connect(IPAddress.Parse("10.9.0.2"), 81));
        Assert.Equal(SocketError.ConnectionRefused, refused.SocketErrorCode);
    }

    [Fact]
    public void A_reset_of_the_kernel_is_heard()
    {
        using var network = new KernelNetwork();
        var service = new Pattern(0, closesWhenSent: false);
        using var polled = new Polled(network.Device, stack => stack.Listen(80, service));
        Socket client = network.In(() => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
        client.Connect(IPAddress.Parse("10.9.0.2"), 80);
        client.LingerState = new LingerOption(true, 0);
        client.Close();
        Assert.True(SpinWait.SpinUntil(() => service.Closed is not null, TimeSpan.FromSeconds(20)));
        Assert.Equal(TcpCloseReason.Reset, service.Closed);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Curl_and_ping_are_answered(bool overVeth)
    {
        Requires.Program("curl");
        using var network = new KernelNetwork(overVeth: overVeth);
        var documents = new MemoryDocumentSource(network.Frames);
        byte[] small = TestServer.Bytes(1000), large = TestServer.Bytes(5_000_000, 2);
        documents.Set("/small", small);
        documents.Set("/large", large);
        var server = new CheetahServer(
            new CheetahServerOptions { Device = network.Device, Network = Polled.Options, EndPoint = new IPEndPoint(IPAddress.IPv6Any, 80) }, documents, network.Frames);
        await using (server)
        {
            server.Start();
            Assert.Equal(small, network.Run("curl", "-sS", "--max-time", "20", "http://10.9.0.2/small"));
            Assert.Equal(large, network.Run("curl", "-sS", "--max-time", "20", "http://10.9.0.2/large"));
            Assert.Equal(large, network.Run("curl", "-sS", "--max-time", "20", "-g", "http://[fd09::2]/large"));
            Assert.Equal(large[100..200], network.Run("curl", "-sS", "--max-time", "20", "-r", "100-199", "http://10.9.0.2/large"));
            Assert.Contains("404", Encoding.ASCII.GetString(network.Run("curl", "-sS", "--max-time", "20", "-o", "/dev/null", "-w", "%{http_code}", "http://10.9.0.2/none")), StringComparison.Ordinal);
            foreach (string address in (string[])["10.9.0.2", "fd09::2"])
            {
                IPStatus status = network.In(() =>
                {
                    using var ping = new Ping();
                    return ping.Send(IPAddress.Parse(address), 5000).Status;
                });
                Assert.Equal(IPStatus.Success, status);
            }

            // A TAP's packets are named by their frames. On a packet socket this process copies those of up to 2 KiB.
            CheetahCounters counters = server.Counters;
            Assert.Equal(0, counters.PayloadBytesCopied);
            Assert.Equal(overVeth, counters.PacketBytesCopied > 0);
            Assert.Equal(overVeth, counters.BytesCopiedPerByteSent > 0);
        }

        documents.Dispose();
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1024)]
    public async Task A_packet_socket_counts_what_is_copied_for_it_and_large_documents_are_not(int transmitRingSlots)
    {
        using var network = new KernelNetwork(overVeth: true, transmitRingSlots: transmitRingSlots);
        using var documents = new MemoryDocumentSource(network.Frames);
        byte[] small = TestServer.Bytes(1000), large = TestServer.Bytes(20_000_000, 2);
        documents.Set("/small", small);
        documents.Set("/large", large);
        var server = new CheetahServer(
            new CheetahServerOptions { Device = network.Device, Network = Polled.Options, EndPoint = new IPEndPoint(IPAddress.IPv6Any, 80) }, documents, network.Frames);
        await using (server)
        {
            server.Start();
            using (var client = new AnsweringServer.Client(network, "10.9.0.2"))
            {
                for (int i = 0; i < 100; i++)
                {
                    Assert.Equal(small, client.Get("/small"));
                }
            }

            CheetahCounters first = server.Counters;
            Assert.InRange(first.BytesSent, 100 * small.Length, 200 * small.Length);
            NetworkDeviceCounters sent = network.Device.Counters;
            if (transmitRingSlots == 0)
            {
                Assert.Equal(0, first.BytesCopied);
            }
            else
            {
                Assert.InRange(first.PacketBytesCopied, first.BytesSent, sent.TransmittedBytes + 65536);   // all of it, headers too; more when there was no room in the queue
            }

            Assert.Equal(large, network.Run("curl", "-sS", "--max-time", "20", "http://10.9.0.2/large"));
            CheetahCounters last = server.Counters;
            Assert.Equal(0, last.PayloadBytesCopied);
            if (transmitRingSlots == 0)
            {
                Assert.Equal(0, last.BytesCopiedPerByteSent);
            }
            else
            {
                // What was copied is what went as packets of one segment: of a transfer a few, at its ends and where a window ran out.
                Assert.InRange((double)(last.PacketBytesCopied - first.PacketBytesCopied) / (last.BytesSent - first.BytesSent), 0, 0.05);
            }
        }
    }

    [Fact]
    public void What_the_kernels_handler_answers_with_is_counted_as_copied()
    {
        using var server = new AnsweringServer();
        server.SetDocuments();
        server.Server.Start();
        using (AnsweringServer.Client client = server.Connect())
        {
            for (int i = 0; i < 10; i++)
            {
                client.Get("/1");
            }
        }

        CheetahCounters counters = server.Server.Counters;
        Assert.InRange(server.Answered.Requests, 1, 10);
        Assert.InRange(counters.AnswerBytesCopied, server.Answered.Bytes + 2000, server.Answered.Bytes + 4000);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task What_a_client_has_not_read_yet_stays_as_it_was_when_the_document_and_its_frames_change(bool overVeth)
    {
        using var network = new KernelNetwork(overVeth: overVeth);
        var documents = new MemoryDocumentSource(network.Frames);
        byte[] first = TestServer.Bytes(100_000);
        documents.Set("/file", first);
        var server = new CheetahServer(
            new CheetahServerOptions { Device = network.Device, Network = Polled.Options, EndPoint = new IPEndPoint(IPAddress.IPv6Any, 80) }, documents, network.Frames);
        await using (server)
        {
            server.Start();
            using Socket client = network.In(() => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { ReceiveBufferSize = 1 << 20 });
            client.ReceiveTimeout = 20_000;
            client.Connect(IPAddress.Parse("10.9.0.2"), 80);
            client.Send("GET /file HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"u8);
            Assert.True(SpinWait.SpinUntil(() => client.Available > first.Length && server.Counters.BytesSent >= client.Available, TimeSpan.FromSeconds(20)));
            for (int i = 0; i < 20; i++)
            {
                documents.Set("/file", TestServer.Bytes(100_000, i + 2));
                using Socket other = network.In(() => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
                other.ReceiveTimeout = 20_000;
                other.Connect(IPAddress.Parse("10.9.0.2"), 80);
                other.Send("GET /file HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"u8);
                Assert.Equal(TestServer.Bytes(100_000, i + 2), Body(other));
            }

            Assert.Equal(first, Body(client));
        }

        documents.Dispose();
    }

    private static byte[] Body(Socket client)
    {
        using var all = new MemoryStream();
        byte[] piece = new byte[65536];
        for (int count; (count = client.Receive(piece)) > 0;)
        {
            all.Write(piece, 0, count);
        }

        byte[] response = all.ToArray();
        return response[(response.AsSpan().IndexOf("\r\n\r\n"u8) + 4)..];
    }

    internal static void Exchange(Socket socket, long bytes, Action<long>? progress = null)
    {
        socket.ReceiveTimeout = socket.SendTimeout = 60_000;
        SocketException? failure = null;
        var sending = new Thread(() =>
        {
            try
            {
                Send(socket, bytes);
            }
            catch (SocketException e)
            {
                failure = e;
            }
        });
        sending.Start();
        byte[] received = new byte[65536];
        long total = 0;
        while (true)
        {
            int count = socket.Receive(received);
            if (count == 0)
            {
                break;
            }

            for (int i = 0; i < count; i++)
            {
                if (received[i] != Pattern.At(total + i))
                {
                    Assert.Fail($"byte {total + i}");
                }
            }

            total += count;
            progress?.Invoke(total);
        }

        sending.Join();
        Assert.Null(failure);
        Assert.Equal(bytes, total);
    }

    private static void Send(Socket socket, long bytes)
    {
        byte[] buffer = new byte[65536];
        for (long sent = 0; sent < bytes;)
        {
            int count = (int)Math.Min(buffer.Length, bytes - sent);
            for (int i = 0; i < count; i++)
            {
                buffer[i] = Pattern.At(sent + i);
            }

            for (int done = 0; done < count;)
            {
                done += socket.Send(buffer, done, count - done, SocketFlags.None);
            }

            sent += count;
        }

        socket.Shutdown(SocketShutdown.Send);
    }
}
