// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Net;
using System.Text;
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Net.Cheetah.Ip;
using Exo.Net.Cheetah.Raw;
using Exo.Net.Cheetah.Tcp;
using Exo.Net.Cheetah.Tests.Logging;
using Exo.Net.Cheetah.Tests.Sockets;
using Exo.Net.Cheetah.Tests.Tcp;
using Exo.Simulation.Net;
using Exo.Simulation.Timing;

namespace Exo.Net.Cheetah.Tests.Raw;

/// <summary>HTTP from the frames of the cache to a simulated wire.</summary>
public class RawServerTests
{
    internal sealed class Site : IDisposable
    {
        private readonly SimulatedWire wire;
        private readonly SimulatedNetworkDevice inner;
        private readonly bool hasHandlers;

        public Site(SimulatedDeviceOptions? device = null, Ablations without = Ablations.None, CheetahHandlers? handlers = null, AccessLogOptions? accessLog = null, string? statusPath = null, string? deviceName = null, ContentCodings precompressed = ContentCodings.None, long cacheBytes = 0, Func<IEvictionPolicy>? policy = null, int connectionsMax = 65_536, Func<MemoryDocumentSource, IDocumentSource>? wrap = null, Func<CheetahServerOptions, CheetahServerOptions>? change = null)
        {
            hasHandlers = handlers is not null || statusPath is not null || wrap is not null;
            Frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 64 << 20 });
            Documents = new MemoryDocumentSource(Frames);
            (wire, SimulatedNetworkDevice client, inner) = SimulatedWire.CreatePair(Frames, Frames, device, Time);
            Device = new WatchedDevice(inner, deviceName);
            var options = new CheetahServerOptions { Device = Device, Network = Network("10.0.0.2/24", "fd00::2/64") with { Without = without }, ConnectionsMax = connectionsMax, EndPoint = new IPEndPoint(IPAddress.IPv6Any, 80), Time = Time, Handlers = handlers ?? new(), AccessLog = accessLog, StatusPath = statusPath, StatusIsPublic = statusPath is not null, Precompressed = precompressed, CacheBytes = cacheBytes, EvictionPolicy = policy ?? new CheetahServerOptions().EvictionPolicy };
            Server = new CheetahServer(change?.Invoke(options) ?? options, wrap?.Invoke(Documents) ?? Documents, Frames);
            Reactor = Server.StartRaw(Device);
            Client = new NetworkStack(client, Network("10.0.0.1/24", "fd00::1/64"));
        }

        public static IPEndPoint V4 { get; } = new(IPAddress.Parse("10.0.0.2"), 80);

        public static IPEndPoint V6 { get; } = new(IPAddress.Parse("fd00::2"), 80);

        public VirtualTime Time { get; } = new();

        public SimulatedWire Wire => wire;

        public FramePool Frames { get; }

        public MemoryDocumentSource Documents { get; }

        public WatchedDevice Device { get; }

        public CheetahServer Server { get; }

        public RawReactor Reactor { get; }

        public NetworkStack Client { get; }

        /// <summary>Bytes that the reactor has allocated in its turns, the wire aside.</summary>
        public long AllocatedBytes { get; private set; }

        public byte[] Get(string request, TimeSpan? most = null) => Get(new Peer(request), most);

        public byte[] Get(Peer peer, TimeSpan? most = null)
        {
            Client.Connect(V4, peer);
            Assert.True(Until(() => peer.IsClosed, most ?? TimeSpan.FromMinutes(5)));
            return [.. peer.Bytes];
        }

        /// <summary>Runs until a condition holds, at most so long on the simulated clock.</summary>
        public bool Until(Func<bool> condition, TimeSpan most)
        {
            TimeSpan end = Time.Elapsed + most;
            bool holds;
            while (!(holds = condition()) && Time.Elapsed < end)
            {
                int came = Client.Poll();
                long before = GC.GetAllocatedBytesForCurrentThread() - Device.AllocatedBytes;
                came += Reactor.Turn();
                AllocatedBytes += GC.GetAllocatedBytesForCurrentThread() - Device.AllocatedBytes - before;
                if (came > 0)
                {
                    continue;
                }

                if (hasHandlers && Reactor.CountConnections().Waiting > 0)
                {
                    // For another thread, whose time is not the wire's.
                    Thread.Yield();
                    continue;
                }

                Time.PassTo(wire);
            }

            return holds;
        }

        public void Dispose()
        {
            Client.Dispose();
            Reactor.Dispose();
            wire.Dispose();
            Frames.Dispose();
        }

        private NetworkStackOptions Network(params string[] addresses) => new() { Addresses = [.. addresses.Select(InterfaceAddress.Parse)], Time = Time, Seed = 5 };
    }

    /// <summary>Sends pieces, each when something has come back for the one before it.</summary>
    internal sealed class Peer(params string[] pieces) : ITcpHandler
    {
        private int next;

        public List<byte> Bytes { get; } = [];

        public bool IsClosed { get; private set; }

        public void OnOpened(TcpConnection connection) => Send(connection);

        public int OnReceived(TcpConnection connection, ReadOnlySpan<byte> bytes)
        {
            Bytes.AddRange(bytes);
            if (next < pieces.Length)
            {
                Send(connection);
            }

            return bytes.Length;
        }

        public void OnAcknowledged(TcpConnection connection)
        {
        }

        public void OnPeerClosed(TcpConnection connection) => connection.CloseSend();

        public void OnClosed(TcpConnection connection, TcpCloseReason reason) => IsClosed = true;

        private void Send(TcpConnection connection) => Assert.True(connection.TrySend(Encoding.Latin1.GetBytes(pieces[next++])));
    }

    internal static byte[] Body(byte[] response) => response[(response.AsSpan().IndexOf("\r\n\r\n"u8) + 4)..];

    [Fact]
    public void The_servers_limit_is_the_stacks_and_half_open_ones_do_not_use_it_up()
    {
        using var frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 64 << 20 });
        (SimulatedWire wire, _, SimulatedNetworkDevice device) = SimulatedWire.CreatePair(frames, frames);
        using (wire)
        {
            using var documents = new MemoryDocumentSource(frames);
            var options = new CheetahServerOptions
            {
                Device = device, Network = new NetworkStackOptions { Addresses = [InterfaceAddress.Parse("10.0.0.2/24")], ConnectionsMax = 10, HalfOpenMax = 7 },
                EndPoint = new IPEndPoint(IPAddress.Parse("10.0.0.2"), 80), ConnectionsMax = 100_000,
            };
            RawReactor reactor = new CheetahServer(options, documents, frames).StartRaw(device);
            Assert.Equal(100_007, reactor.Stack.Tcp.Options.ConnectionsMax);
            reactor.Dispose();
            ArgumentException refused = Assert.Throws<ArgumentException>(() => new CheetahServer(options with { EndPoint = new IPEndPoint(IPAddress.Loopback, 80) }, documents, frames));
            Assert.Equal("EndPoint", refused.ParamName);
            refused = Assert.Throws<ArgumentOutOfRangeException>(() => new CheetahServer(options with { Network = options.Network! with { KeepAliveProbes = 0 } }, documents, frames));
            Assert.Equal("KeepAliveProbes", refused.ParamName);
        }
    }

    [Fact]
    public async Task A_device_that_goes_away_ends_the_server_with_the_error()
    {
        using var frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 64 << 20 });
        (SimulatedWire wire, SimulatedNetworkDevice client, SimulatedNetworkDevice device) = SimulatedWire.CreatePair(frames, frames);
        using (wire)
        {
            using var documents = new MemoryDocumentSource(frames);
            documents.Set("/large", TestServer.Bytes(4 << 20));
            int before = frames.FreeCount;
            var server = new CheetahServer(
                new CheetahServerOptions { Device = device, Network = new NetworkStackOptions { Addresses = [InterfaceAddress.Parse("10.0.0.2/24")] }, EndPoint = new IPEndPoint(IPAddress.Any, 80) }, documents, frames);
            server.Start();
            using (var stack = new NetworkStack(client, new NetworkStackOptions { Addresses = [InterfaceAddress.Parse("10.0.0.1/24")] }))
            {
                // In the middle of a response.
                var peer = new Peer("GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
                stack.Connect(new IPEndPoint(IPAddress.Parse("10.0.0.2"), 80), peer);
                while (peer.Bytes.Count < 100_000)
                {
                    if (stack.Poll() == 0)
                    {
                        stack.Wait(TimeSpan.FromMilliseconds(10));
                    }
                }

                Assert.False(server.Completion.IsCompleted);
                device.Unplug();
                NetworkDeviceException failure = await Assert.ThrowsAsync<NetworkDeviceException>(() => server.Completion.WaitAsync(TimeSpan.FromMinutes(1)));
                Assert.Contains("gone", failure.Message, StringComparison.Ordinal);
            }

            await server.StopAsync(TimeSpan.FromMinutes(1));   // nobody to wait for
            await Assert.ThrowsAsync<NetworkDeviceException>(() => server.Completion);
            Assert.Equal(before, frames.FreeCount);
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1000)]
    [InlineData(100_000)]
    [InlineData(3_000_000)]
    public void A_document_arrives_as_it_is_and_nothing_of_it_was_copied(int lengthBytes)
    {
        using var site = new Site();
        byte[] bytes = TestServer.Bytes(lengthBytes);
        site.Documents.Set("/a", bytes);
        byte[] response = site.Get("GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        Assert.StartsWith("HTTP/1.1 200", Encoding.ASCII.GetString(response.AsSpan(0, 15)), StringComparison.Ordinal);
        Assert.Equal(bytes, Body(response));
        CheetahCounters counters = site.Server.Counters;
        Assert.Equal(lengthBytes, counters.PayloadBytesSent);
        Assert.Equal(0, counters.PayloadBytesCopied);
        Assert.Equal(0, counters.BytesCopiedPerByteSent);
    }

    [Fact]
    public void Without_checksum_offload_stored_sums_are_put_together_and_are_right()
    {
        using var site = new Site(new SimulatedDeviceOptions { Segmentation = false, TransmitChecksum = false, ReceiveChecksum = false });
        site.Wire.Impairments = new WireImpairments { Loss = 0.03, Delay = TimeSpan.FromMilliseconds(2) };
        byte[] bytes = TestServer.Bytes(700_001);
        site.Documents.Set("/a", bytes);
        Assert.Equal(bytes, Body(site.Get("GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")));
    }

    [Theory]
    [InlineData((int)Ablations.MergedCache)]
    [InlineData((int)Ablations.StoredChecksums | (int)Ablations.Offload)]
    [InlineData((int)Ablations.Offload)]
    [InlineData((int)Ablations.PacketMerging)]
    [InlineData((int)Ablations.PrebuiltHeads)]
    [InlineData((int)Ablations.Batching)]
    [InlineData(63)]
    public void Without_one_of_its_ideas_the_same_bytes_arrive_at_another_price(int without)
    {
        const string Request = "GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        byte[] large = TestServer.Bytes(700_001), small = TestServer.Bytes(1000);
        using Site whole = new(), site = new(without: (Ablations)without);
        foreach (Site one in (Site[])[whole, site])
        {
            one.Documents.Set("/a", small);
            one.Documents.Set("/large", large);
        }

        Assert.Equal(whole.Get(Request), site.Get(Request));
        bool merges = ((Ablations)without & Ablations.PacketMerging) == 0, copies = ((Ablations)without & Ablations.MergedCache) != 0;
        Assert.Equal(merges ? 1 : 2, site.Device.DataPacketsSent);
        Assert.Equal(merges ? 0 : 3, site.Device.PacketsSent - whole.Device.PacketsSent);   // an acknowledgment, the payload, a FIN
        Assert.Equal(copies ? small.Length : 0, site.Server.Counters.PayloadBytesCopied);
        site.Wire.Impairments = new WireImpairments { Loss = 0.03, Delay = TimeSpan.FromMilliseconds(2) };
        Assert.Equal(large, Body(site.Get(Request.Replace("/a", "/large", StringComparison.Ordinal))));
    }

    [Fact]
    public void A_small_response_is_one_packet_with_the_acknowledgment_and_the_end_on_it()
    {
        using var site = new Site();
        site.Documents.Set("/a", TestServer.Bytes(1000));
        site.Device.Traces = true;
        site.Get("GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        string[] sent = [.. site.Device.Trace.Where(line => line.StartsWith('>') && !line.Contains("arp", StringComparison.Ordinal) && !line.Contains("icmp6", StringComparison.Ordinal))];
        Assert.Equal(1, site.Device.DataPacketsSent);

        // SYN and ACK; the response, which acknowledges the request and closes; the acknowledgment of the client's FIN.
        Assert.True(sent.Length <= 3, string.Join('\n', site.Device.Trace));
    }

    [Fact]
    public void A_response_head_and_its_payload_leave_as_one_super_packet()
    {
        using var site = new Site();
        site.Documents.Set("/a", TestServer.Bytes(10_000));
        site.Get("GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        Assert.Equal(1, site.Device.DataPacketsSent);
    }

    [Fact]
    public void Pipelined_requests_are_answered_in_order_and_together()
    {
        using var site = new Site();
        site.Documents.Set("/a", TestServer.Bytes(300, 1));
        site.Documents.Set("/b", TestServer.Bytes(300, 2));
        byte[] response = site.Get(
            "GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\nGET /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        string text = Encoding.Latin1.GetString(response);
        Assert.Equal(2, text.Split("HTTP/1.1 200").Length - 1);
        Assert.Contains("HTTP/1.1 404", text, StringComparison.Ordinal);
        Assert.Equal(1, site.Device.DataPacketsSent);
    }

    [Theory]
    [InlineData(0, 0)]
    [InlineData(1000, 3)]
    [InlineData(1000, 60_000)]
    [InlineData(700_001, 60_000)]
    public void A_handler_answers_over_a_bad_wire_as_a_document_does(int lengthBytes, int bodyBytes)
    {
        byte[] bytes = TestServer.Bytes(lengthBytes);
        string body = new('b', bodyBytes), got = "";
        CheetahHandlers handlers = new CheetahHandlers().Add("POST", "/a", (in request, response) =>
        {
            got = Encoding.ASCII.GetString(request.Body);
            Assert.False(request.IsFromLoopback);
            Assert.Equal("10.0.0.1", request.RemoteEndPoint.Address.ToString());
            response.Write(bytes);
        });
        using var site = new Site(handlers: handlers);
        site.Wire.Impairments = new WireImpairments { Loss = 0.03, Delay = TimeSpan.FromMilliseconds(2), Duplication = 0.02 };
        Assert.Equal(bytes, Body(site.Get($"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: {bodyBytes}\r\nConnection: close\r\n\r\n{body}")));
        Assert.Equal(body, got);
        Assert.Equal((1, 1), (site.Server.Counters.Requests, site.Server.Counters.RequestsHandled));
    }

    [Fact]
    public void A_small_handled_response_is_one_packet()
    {
        using var site = new Site(handlers: new CheetahHandlers().Add("GET", "/a", (in request, response) => response.Write("hello"u8)));
        site.Get("GET /a HTTP/1.1\r\nHost: x\r\n\r\nHEAD /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        Assert.Equal(1, site.Device.DataPacketsSent);
    }

    [Fact]
    public void Who_waits_to_be_told_to_send_a_body_is_told_on_a_raw_device_too()
    {
        using var site = new Site(handlers: new CheetahHandlers().Add("POST", "/a", (in request, response) => response.Write(request.Body)));
        string answer = Encoding.ASCII.GetString(site.Get(new Peer("POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\nConnection: close\r\n\r\n", "hello")));
        Assert.StartsWith("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n", answer, StringComparison.Ordinal);
        Assert.EndsWith("\r\n\r\nhello", answer, StringComparison.Ordinal);
    }

    [Fact]
    public void A_deferred_handler_comes_back_to_the_thread_of_the_stack()
    {
        int thread = 0;
        TaskCompletionSource<CheetahHandler> waited = new(TaskCreationOptions.RunContinuationsAsynchronously);
        using var site = new Site(handlers: new CheetahHandlers()
            .AddDeferred("POST", "/slow", (in request, stopping) =>
            {
                string body = Encoding.ASCII.GetString(request.Body);
                ThreadPool.QueueUserWorkItem(_ => waited.SetResult((in again, response) =>
                {
                    thread = Environment.CurrentManagedThreadId;
                    Assert.Equal(body, Encoding.ASCII.GetString(again.Body));
                    response.Write(again.Body);
                }));
                return new ValueTask<CheetahHandler>(waited.Task);
            })
            .Add("GET", "/quick", (in request, response) => response.Write("quick"u8)));
        string request = "POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nslowGET /quick HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        string answer = Encoding.ASCII.GetString(site.Get(request));
        Assert.Equal(["slowHTTP/1.1 200 OK", "quick"], answer.Split("\r\n").Where(line => line.StartsWith("slow", StringComparison.Ordinal) || line.StartsWith("quick", StringComparison.Ordinal)));
        Assert.Equal(Environment.CurrentManagedThreadId, thread);
    }

    /// <summary>
    /// What each of many passes allocates. A garbage collection, whoever causes it, counts what is left of the thread's allocation area (up to 8 KiB) as allocated, which one pass in four meets; and tables of connections grow at the
    /// 16th, 32nd, 64th. What a request allocates is in every pass.
    /// </summary>
    private static long Least(Func<long> allocated) => Enumerable.Range(0, 20).Min(_ => allocated());

    [Fact]
    public void Requests_on_one_connection_allocate_nothing_whoever_answers()
    {
        byte[] payload = TestServer.Bytes(1024);
        using var site = new Site(handlers: new CheetahHandlers().Add("GET", "/handled", (in request, response) => response.Write(payload)));
        site.Documents.Set("/cached", payload);
        const string Handled = "GET /handled HTTP/1.1\r\nHost: x\r\n\r\n", Cached = "GET /cached HTTP/1.1\r\nHost: x\r\n\r\n", Last = "GET /handled HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

        // One request after the other; a connection itself allocates, and so do queues until they have grown.
        long Allocated(int count)
        {
            long before = site.AllocatedBytes;
            site.Get(new Peer([.. Enumerable.Range(0, count).Select(i => i % 2 == 0 ? Handled : Cached), Last]));
            return site.AllocatedBytes - before;
        }

        Allocated(2000);
        Allocated(2000);
        Assert.Equal(Least(() => Allocated(10)), Least(() => Allocated(2000)));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Checksums_are_taken_where_nobody_else_computes_them(bool deviceDoes)
    {
        using var site = new Site(without: deviceDoes ? Ablations.None : Ablations.Offload, precompressed: ContentCodings.All);
        Assert.True(site.Device.Features.TransmitChecksum);
        byte[] bytes = TestServer.Bytes(100_001), variant = TestServer.Bytes(50_001, seed: 2);
        site.Documents.Set("/a", bytes, lastModified: DateTimeOffset.UnixEpoch);
        site.Documents.Set("/a.br", variant, lastModified: DateTimeOffset.UnixEpoch);
        Assert.Equal(bytes, Body(site.Get("GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")));
        Assert.Equal(variant, Body(site.Get("GET /a HTTP/1.1\r\nHost: x\r\nAccept-Encoding: br\r\nConnection: close\r\n\r\n")));
        Assert.True(site.Server.Cache.TryGet("/a"u8, out Document? document));
        Assert.Equal((!deviceDoes, !deviceDoes), (document.HasSums, document.Variants[0].HasSums));
        document.Release();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_variant_comes_from_its_frames_and_allocates_nothing(bool hasPrebuiltHeads)
    {
        using var site = new Site(without: hasPrebuiltHeads ? Ablations.None : Ablations.PrebuiltHeads, precompressed: ContentCodings.All);
        byte[] original = TestServer.Bytes(50_000), variant = TestServer.Bytes(20_001, seed: 2);
        site.Documents.Set("/a.js", original, lastModified: DateTimeOffset.UnixEpoch);
        site.Documents.Set("/a.js.gz", variant, lastModified: DateTimeOffset.UnixEpoch);
        string Request(string fields) => $"GET /a.js HTTP/1.1\r\nHost: x\r\n{fields}\r\n";
        byte[] response = site.Get(Request("Connection: close\r\nAccept-Encoding: gzip\r\n"));
        string head = Encoding.ASCII.GetString(response, 0, response.Length - variant.Length);
        Assert.Contains("Content-Encoding: gzip\r\nVary: Accept-Encoding\r\n", head, StringComparison.Ordinal);
        Assert.Equal(variant, Body(response));
        response = site.Get(Request("Connection: close\r\n"));
        head = Encoding.ASCII.GetString(response, 0, response.Length - original.Length);
        Assert.Contains("Vary: Accept-Encoding\r\n", head, StringComparison.Ordinal);
        Assert.DoesNotContain("Content-Encoding", head, StringComparison.Ordinal);
        Assert.Equal(original, Body(response));
        Assert.Equal(0, site.Server.Counters.PayloadBytesCopied);

        if (!hasPrebuiltHeads)
        {
            return;
        }

        site.Documents.Set("/a.js.gz", TestServer.Bytes(1000, seed: 3), lastModified: DateTimeOffset.UnixEpoch);
        long Allocated(int count)
        {
            long before = site.AllocatedBytes;
            site.Get(new Peer([.. Enumerable.Repeat(Request("Accept-Encoding: br, gzip;q=0.5\r\n"), count), Request("Connection: close\r\n")]));
            return site.AllocatedBytes - before;
        }

        Allocated(2000);
        Allocated(2000);
        Assert.Equal(Least(() => Allocated(10)), Least(() => Allocated(2000)));
    }

    [Theory]
    [MemberData(nameof(LoggedRequests.All), MemberType = typeof(LoggedRequests))]
    public async Task A_response_is_logged_as_it_was_sent(int index)
    {
        var output = new LogOutput();
        using var site = new Site(accessLog: new AccessLogOptions { Output = output });
        LoggedRequests.Fill(site.Documents);
        DateTimeOffset then = site.Time.GetUtcNow();
        byte[] response = site.Get(LoggedRequests.Request(index));
        string line = Assert.Single(await output.LinesAsync(site.Server.Log!));
        string time = line.Split('[', ']')[1];
        Assert.Equal(LoggedRequests.Line(index, "10.0.0.1", time, response), line);
        Assert.Equal(then, DateTimeOffset.ParseExact(time, "dd'/'MMM'/'yyyy':'HH':'mm':'ss zzz", CultureInfo.InvariantCulture));
    }

    [Fact]
    public async Task A_request_that_never_ends_is_logged_as_far_as_it_came()
    {
        var output = new LogOutput();
        using var site = new Site(accessLog: new AccessLogOptions { Output = output });
        foreach (string request in (string[])["GET /ha", "GET /most HTTP/1.1\r\nUser-Agent: m\r\nHo"])
        {
            site.Get(request);
        }

        string[] lines = await output.LinesAsync(site.Server.Log!);
        Assert.Equal(["\"GET /ha\" 408 62 \"-\" \"-\"", "\"GET /most HTTP/1.1\" 408 62 \"-\" \"m\""], lines.Select(one => one.Split("] ")[1]));
    }

    [Fact]
    public void A_request_that_never_ends_gets_408()
    {
        using var site = new Site();
        Assert.Contains("408", Encoding.ASCII.GetString(site.Get("GET /a HT")), StringComparison.Ordinal);
    }

    [Fact]
    public void Frames_are_given_back()
    {
        using var site = new Site();
        byte[] bytes = TestServer.Bytes(50_000);
        site.Documents.Set("/a", bytes);
        site.Get("GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        int free = site.Frames.FreeCount;
        for (int i = 0; i < 50; i++)
        {
            site.Get("GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        }

        Assert.InRange(free - site.Frames.FreeCount, 0, 64);
    }
}
