// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Exo.Net.Cheetah.Tests.Sockets;

namespace Exo.Net.Cheetah.Tests.Kernel;

/// <summary>The kernel's TCP asks for one thing with each connection, and a handler has the whole of it: nobody can tell, but by the counters.</summary>
public class BriefTests
{
    [Theory]
    [InlineData("10.9.0.2", "GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")]
    [InlineData("fd09::2", "GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")]
    [InlineData("10.9.0.2", "GET /a HTTP/1.0\r\n\r\n")]
    public void A_connection_of_a_known_request_does_not_come_to_the_stack(string address, string request)
    {
        using var site = new AnsweringServer();
        byte[] bytes = TestServer.Bytes(1000);
        site.Documents.Set("/a", bytes);
        site.Server.Start();
        for (int i = 0; i < 1000; i++)
        {
            using AnsweringServer.Client client = site.Connect(address);
            IsAnswered(client, request, bytes);
        }

        Assert.InRange(site.Answered.Connections, 990, 998);   // the first two are the server's
        Assert.True(SpinWait.SpinUntil(() => site.Server.Counters.ConnectionsOpen == 0, TimeSpan.FromSeconds(20)));
        CheetahCounters counters = site.Server.Counters;
        Assert.Equal((1000, 1000, 999, 1_000_000), (counters.ConnectionsAccepted, counters.Requests, counters.CacheHits, counters.PayloadBytesSent));
        Assert.Equal((0, 0), (counters.ConnectionsAborted, site.Server.Raw!.Stack.Tcp.Counters.ResetsSent));
        Assert.InRange(site.Server.Raw!.Stack.Tcp.Counters.SegmentsReceived, 4, 60);
    }

    [Fact]
    public void Ports_are_used_again_at_once()
    {
        using var site = new AnsweringServer();
        byte[] bytes = TestServer.Bytes(100);
        site.Documents.Set("/a", bytes);
        site.Server.Start();
        for (int i = 0; i < 200; i++)
        {
            using Socket socket = ConnectFromOnePort(site);
            socket.Send("GET /a HTTP/1.0\r\n\r\n"u8);
            byte[] room = new byte[4096];
            int filled = 0;
            for (int received; (received = socket.Receive(room, filled, room.Length - filled, SocketFlags.None)) > 0;)
            {
                filled += received;
            }

            Assert.Equal(bytes, room[(filled - 100)..filled]);
        }

        Assert.InRange(site.Answered.Connections, 150, 198);
        Assert.Equal(0, site.Server.Raw!.Stack.Tcp.Counters.ResetsSent);
    }

    // The client's kernel refuses the port as long as its last connection awaits the acknowledgment of its end.
    private static Socket ConnectFromOnePort(AnsweringServer site)
    {
        long start = Stopwatch.GetTimestamp();
        while (true)
        {
            Socket socket = site.Network.In(() => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { ReceiveTimeout = 60_000 });
            try
            {
                socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
                socket.Bind(new IPEndPoint(IPAddress.Parse("10.9.0.1"), 5555));
                socket.Connect(IPAddress.Parse("10.9.0.2"), 80);
                return socket;
            }
            catch (SocketException refused) when (refused.SocketErrorCode == SocketError.AddressNotAvailable && Stopwatch.GetElapsedTime(start) < TimeSpan.FromSeconds(20))
            {
                socket.Dispose();
            }
        }
    }

    [Fact]
    public void Who_connects_and_says_nothing_costs_nothing_and_may_speak_later()
    {
        using var site = new AnsweringServer();
        byte[] bytes = TestServer.Bytes(100), other = TestServer.Bytes(20_000, 2);
        site.Documents.Set("/a", bytes);
        site.Documents.Set("/b", other);
        site.Server.Start();
        AnsweringServer.Client[] silent = [.. Enumerable.Range(0, 100).Select(_ => site.Connect())];
        for (int i = 0; i < 10; i++)
        {
            using AnsweringServer.Client client = site.Connect();
            IsAnswered(client, "GET /a HTTP/1.0\r\n\r\n", bytes);
        }

        Assert.Equal(10, site.Server.Counters.ConnectionsAccepted);
        for (int i = 0; i < silent.Length; i++)
        {
            switch (i % 4)
            {
                case 0:
                    IsAnswered(silent[i], "GET /a HTTP/1.0\r\n\r\n", bytes);
                    break;
                case 1:
                    IsAnswered(silent[i], "GET /b HTTP/1.0\r\n\r\n", other);
                    break;
                case 2:
                    Assert.Equal(bytes, silent[i].Get("/a"));   // a connection that stays
                    Assert.Equal(other, silent[i].Get("/b"));
                    break;
                default:
                    silent[i].Socket.Shutdown(SocketShutdown.Send);   // nothing was to be said
                    Assert.Equal("", silent[i].Receive().Head);
                    break;
            }

            silent[i].Dispose();
        }

        Assert.True(SpinWait.SpinUntil(() => site.Server.Counters.ConnectionsOpen == 0, TimeSpan.FromSeconds(20)));
        Assert.Equal((110, 0), (site.Server.Counters.ConnectionsAccepted, site.Server.Counters.ConnectionsAborted));
        Assert.Equal(0, site.Server.Raw!.Stack.Tcp.Counters.ResetsSent);
        Assert.InRange(site.Answered.Connections, 25, 33);
    }

    [Fact]
    public void Who_closes_his_side_at_once_is_answered()
    {
        using var site = new AnsweringServer();
        byte[] bytes = TestServer.Bytes(100);
        site.Documents.Set("/a", bytes);
        site.Server.Start();
        for (int i = 0; i < 20; i++)
        {
            using AnsweringServer.Client client = site.Connect();
            client.Send("GET /a HTTP/1.0\r\n\r\n");
            client.Socket.Shutdown(SocketShutdown.Send);
            Assert.Equal(bytes, client.Receive().Body);
            Assert.Equal("", client.Receive().Head);
        }

        Assert.InRange(site.Answered.Connections, 10, 18);
    }

    [Fact]
    public void A_change_is_seen_by_the_next_connection()
    {
        using var site = new AnsweringServer();
        site.Server.Start();
        for (int i = 1; i <= 200; i++)
        {
            byte[] now = TestServer.Bytes(1 + (i * 37 % 1100), i);
            site.Documents.Set("/a", now);
            for (int k = 0; k < 4; k++)
            {
                using AnsweringServer.Client client = site.Connect();
                IsAnswered(client, "GET /a HTTP/1.0\r\n\r\n", now);
            }
        }

        Assert.InRange(site.Answered.Connections, 400, 600);   // the first after each change is the server's
        Assert.Equal((800, 800), (site.Server.Counters.ConnectionsAccepted, site.Server.Counters.Requests));
    }

    [Fact]
    public void While_a_document_changes_everybody_gets_a_whole_one()
    {
        using var site = new AnsweringServer();
        byte[][] versions = [.. Enumerable.Range(0, 16).Select(i => TestServer.Bytes(100 + (60 * i), i))];
        site.Documents.Set("/a", versions[0]);
        site.Server.Start();
        using var wire = new BadWire(site.Network, seed: 3, loss: 0.01, duplication: 0.3, swapping: 0.3, damage: 0);
        using var ending = new CancellationTokenSource();
        var writer = new Thread(() =>
        {
            for (int i = 1; !ending.IsCancellationRequested; i++)
            {
                site.Documents.Set("/a", versions[i % versions.Length]);
                Thread.SpinWait(100_000);
            }
        });
        writer.Start();
        Parallel.For(0, 4, new ParallelOptions { MaxDegreeOfParallelism = 4 }, worker =>
        {
            for (int i = 0; i < 50; i++)
            {
                using AnsweringServer.Client client = site.Connect();
                client.Send("GET /a HTTP/1.0\r\n\r\n");
                byte[] body = client.Receive().Body;
                Assert.Contains(versions, version => version.AsSpan().SequenceEqual(body));
                Assert.Equal("", client.Receive().Head);
            }
        });
        ending.Cancel();
        writer.Join();
        Assert.InRange(site.Answered.Connections, 10, 400);
    }

    [Theory]
    [InlineData("10.9.0.2", false)]
    [InlineData("fd09::2", false)]
    [InlineData("10.9.0.2", true)]
    [InlineData("fd09::2", true)]
    public void Over_a_bad_wire_every_byte_is_right_and_connections_end(string address, bool damages)
    {
        using var site = new AnsweringServer();
        byte[][] documents = site.SetDocuments();
        site.Server.Start();
        using BadWire wire = site.Spoil(damages);
        Parallel.For(0, 8, new ParallelOptions { MaxDegreeOfParallelism = 8 }, worker =>
        {
            var random = new Random(worker);
            for (int i = 0; i < 25; i++)
            {
                int which = random.Next(20) == 0 ? 3 : worker % 3;
                using AnsweringServer.Client client = site.Connect(address);
                IsAnswered(client, string.Create(CultureInfo.InvariantCulture, $"GET /{which} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), documents[which]);
            }
        });
        Assert.InRange(site.Answered.Connections, 80, 200);
        Assert.InRange(site.Server.Counters.Requests, 200, 210);
        Assert.True(wire.Lost > 10 && wire.Repeated > 10 && wire.Swapped > 3 && (!damages || wire.Damaged > 10));
        Assert.True(SpinWait.SpinUntil(() => site.Server.Counters.ConnectionsOpen == 0, TimeSpan.FromSeconds(60)));
    }

    [Fact]
    public void Where_large_packets_are_swallowed_the_stack_comes_to_help()
    {
        using var site = new AnsweringServer();
        byte[] bytes = TestServer.Bytes(1170);
        site.Documents.Set("/a", bytes);
        site.Server.Start();
        for (int i = 0; i < 5; i++)
        {
            using AnsweringServer.Client client = site.Connect();
            IsAnswered(client, "GET /a HTTP/1.0\r\n\r\n", bytes);
        }

        long before = site.Answered.Connections;
        Assert.InRange(before, 1, 3);
        using var wire = new BadWire(site.Network, seed: 1, loss: 0, duplication: 0, swapping: 0, damage: 0) { PacketBytesMax = 1420 };
        using AnsweringServer.Client far = site.Connect();
        IsAnswered(far, "GET /a HTTP/1.0\r\n\r\n", bytes);
        Assert.Equal(before + 1, site.Answered.Connections);   // it said so, and nobody heard it
        Assert.Equal(7, site.Server.Counters.Requests);
        Assert.InRange(wire.Swallowed, 3, 20);
    }

    [Fact]
    public void A_server_that_stops_answers_whole_or_not_at_all()
    {
        using var site = new AnsweringServer();
        byte[] bytes = TestServer.Bytes(1000);
        site.Documents.Set("/a", bytes);
        site.Server.Start();
        int answered = 0, refused = 0;
        using var begun = new CountdownEvent(4);
        Thread[] clients = [.. Enumerable.Range(0, 4).Select(_ => new Thread(() =>
        {
            for (int i = 0; Volatile.Read(ref refused) < 4; i++)
            {
                try
                {
                    using AnsweringServer.Client client = site.Connect();
                    client.Send("GET /a HTTP/1.0\r\n\r\n");
                    byte[] body = client.Receive().Body;
                    if (body.Length > 0)
                    {
                        Assert.Equal(bytes, body);
                        Interlocked.Increment(ref answered);
                    }
                }
                catch (SocketException)
                {
                    Interlocked.Increment(ref refused);
                }

                if (i == 50)
                {
                    begun.Signal();
                }
            }
        }))];
        foreach (Thread client in clients)
        {
            client.Start();
        }

        begun.Wait();
        Task stopped = site.Server.StopAsync(TimeSpan.FromSeconds(60));
        foreach (Thread client in clients)
        {
            client.Join();
        }

        Assert.True(SpinWait.SpinUntil(() => stopped.IsCompleted, TimeSpan.FromSeconds(30)));
        Assert.InRange(answered, 200, int.MaxValue);
        Assert.InRange(site.Server.Counters.Requests, answered, answered + 8);
    }

    private static void IsAnswered(AnsweringServer.Client client, string request, byte[] body)
    {
        client.Send(request);
        (string head, byte[] received) = client.Receive();
        Assert.StartsWith("HTTP/1.1 200 OK\r\n", head, StringComparison.Ordinal);
        Assert.Contains("\r\nConnection: close\r\n", head, StringComparison.Ordinal);
        Assert.Equal(body, received);
        Assert.Equal("", client.Receive().Head);
    }
}
