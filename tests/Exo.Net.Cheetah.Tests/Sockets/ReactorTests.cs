// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Net;
using System.Text;
using Exo.Net.Cheetah.Sockets;
using Exo.Tests;

namespace Exo.Net.Cheetah.Tests.Sockets;

public class ReactorTests
{
    private const string Host = "Host: h\r\n";

    /// <summary>Sizes around what changes the path: nothing, a segment, a frame, a socket buffer.</summary>
    private static readonly int[] Sizes =
        [0, 1, 2, 1447, 1448, 1449, 2896, 4095, 4096, 4097, 8191, 8192, 8193, 16384, 65535, 65536, 65537, 102_400, 131_072, 262_143, 262_145, 300_000, 307_200];

    [Fact]
    public async Task HttpClient_and_curl_get_identical_bytes_at_every_size()
    {
        await using var server = new TestServer();
        using var http = new HttpClient { BaseAddress = new Uri($"http://{server.Server.EndPoint}") };
        string curl = Requires.Program("curl");
        string folder = Directory.CreateTempSubdirectory("cheetah-").FullName;
        try
        {
            var arguments = new List<string> { "-s", "-f" };
            foreach (int size in Sizes)
            {
                byte[] bytes = server.Set($"/{size}.bin", size, size);
                Assert.Equal(bytes, await http.GetByteArrayAsync($"/{size}.bin"));
                arguments.AddRange([$"http://{server.Server.EndPoint}/{size}.bin", "-o", Path.Combine(folder, $"{size}")]);
            }

            using Process process = Process.Start(curl, arguments);
            await process.WaitForExitAsync();
            Assert.Equal(0, process.ExitCode);
            foreach (int size in Sizes)
            {
                Assert.Equal(TestServer.Bytes(size, size), await File.ReadAllBytesAsync(Path.Combine(folder, $"{size}")));
            }

            CheetahCounters counters = server.Server.Counters;
            Assert.Equal(0, counters.PayloadBytesCopied);
            Assert.Equal(2L * Sizes.Sum(), counters.PayloadBytesSent);
            Assert.Equal(0.0, counters.BytesCopiedPerByteSent);
            Assert.Equal(Sizes.Length, counters.CacheMisses);
            Assert.Equal(Sizes.Length, counters.CacheHits);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public async Task A_thousand_pipelined_requests_are_answered_in_order_with_few_system_calls()
    {
        await using var server = new TestServer();
        byte[][] documents = [.. Enumerable.Range(0, 10).Select(i => server.Set($"/{i}", (i * 700) + 1, i))];
        using RawClient client = server.Connect();
        var sending = Task.Run(() => client.Send(string.Concat(Enumerable.Range(0, 1000).Select(i => $"GET /{i % 10} HTTP/1.1\r\n{Host}\r\n"))));
        for (int i = 0; i < 1000; i++)
        {
            Assert.Equal(documents[i % 10], client.ReadResponse().Body);
        }

        await sending;
        Assert.True(server.Server.Counters.SystemCalls < 500, $"{server.Server.Counters.SystemCalls} system calls for 1000 requests");
    }

    [Fact]
    public async Task Ten_thousand_requests_on_one_connection_allocate_nothing_on_the_reactor()
    {
        await using var server = new TestServer();
        byte[] bytes = server.Set("/a", 1024);
        using RawClient client = server.Connect();
        byte[] request = Encoding.ASCII.GetBytes($"GET /a HTTP/1.1\r\n{Host}If-None-Match: \"x\"\r\nUser-Agent: test\r\n\r\n");
        byte[] ranged = Encoding.ASCII.GetBytes($"GET /a HTTP/1.1\r\n{Host}Range: bytes=1-2,5-9\r\n\r\n");
        void Exchange(int count)
        {
            for (int i = 0; i < count; i++)
            {
                client.Send(i % 100 == 99 ? ranged : request);
                byte[] body = client.ReadResponse().Body;
                Assert.Equal(i % 100 == 99, body.Length != bytes.Length);
            }
        }

        Exchange(500);
        _ = server.AllocatedBytes();
        long before = server.AllocatedBytes();
        long idle = server.AllocatedBytes();
        Exchange(9500);
        long after = server.AllocatedBytes();
        Assert.Equal(idle - before, after - idle);
        Assert.Equal(0, idle - before);
    }

    [Fact]
    public async Task Nobody_takes_checksums_that_the_kernel_computes()
    {
        await using var server = new TestServer();
        byte[] bytes = server.Set("/a", 100_001);
        using RawClient client = server.Connect();
        client.Send($"GET /a HTTP/1.1\r\n{Host}\r\n");
        Assert.Equal(bytes, client.ReadResponse().Body);
        Assert.True(server.Server.Cache.TryGet("/a"u8, out Document? document));
        Assert.False(document.HasSums);
        document.Release();
    }

    [Fact]
    public async Task A_slow_reader_gets_all_its_bytes_and_holds_up_no_one()
    {
        await using var server = new TestServer();
        byte[] big = server.Set("/big", 8 << 20);
        byte[] small = server.Set("/small", 100);
        using RawClient slow = server.Connect(receiveBufferBytes: 4096);
        slow.Send($"GET /big HTTP/1.1\r\n{Host}\r\nGET /small HTTP/1.1\r\n{Host}\r\n");
        using (RawClient quick = server.Connect())
        {
            for (int i = 0; i < 100; i++)
            {
                quick.Send($"GET /small HTTP/1.1\r\n{Host}\r\n");
                Assert.Equal(small, quick.ReadResponse().Body);
            }
        }

        // The document goes away while it is being sent: the response keeps its frames.
        server.Documents.Remove("/big");
        Assert.Equal(big, slow.ReadResponse().Body);
        Assert.Equal(small, slow.ReadResponse().Body);
    }

    [Fact]
    public async Task A_client_that_has_closed_its_half_gets_every_response()
    {
        await using var server = new TestServer();
        byte[] bytes = server.Set("/a", 300_000);
        using RawClient client = server.Connect();
        client.Send(string.Concat(Enumerable.Repeat($"GET /a HTTP/1.1\r\n{Host}\r\n", 20)));
        client.Shutdown();
        for (int i = 0; i < 20; i++)
        {
            Assert.Equal(bytes, client.ReadResponse().Body);
        }

        Assert.Empty(client.ReadToEnd());
    }

    [Fact]
    public async Task Clients_that_break_off_in_the_middle_leave_nothing_behind()
    {
        await using var server = new TestServer();
        server.Set("/big", 8 << 20);
        byte[] small = server.Set("/small", 10);
        for (int i = 0; i < 20; i++)
        {
            using RawClient client = server.Connect(receiveBufferBytes: 4096);
            client.Send($"GET /big HTTP/1.1\r\n{Host}\r\n");
            client.Send("GET /sma");
            if (i % 2 == 0)
            {
                client.Abort();
            }
        }

        using RawClient last = server.Connect();
        last.Send($"GET /small HTTP/1.1\r\n{Host}\r\n");
        Assert.Equal(small, last.ReadResponse().Body);
        // TestServer checks on its way out that every frame has come back.
    }

    [Fact]
    public async Task Several_reactors_share_the_port_and_the_cache()
    {
        await using var server = new TestServer(options: TestServer.Options(reactors: 3));
        byte[] bytes = server.Set("/a", 5000);
        for (int i = 0; i < 60; i++)
        {
            using RawClient client = server.Connect();
            client.Send($"GET /a HTTP/1.1\r\n{Host}\r\n");
            Assert.Equal(bytes, client.ReadResponse().Body);
        }

        Assert.Equal(60, server.Server.Counters.ConnectionsAccepted);
        Assert.True(server.Server.Reactors.Count(r => r.Counters.ConnectionsAccepted > 0) > 1);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task A_port_in_use_is_told_plainly(int reactors)
    {
        await using var first = new TestServer(options: TestServer.Options(reactors: reactors));
        await using var second = new CheetahServer(
            new CheetahServerOptions { EndPoint = first.Server.EndPoint, Reactors = reactors }, first.Documents, first.Frames);
        EndPointUnavailableException refused = Assert.Throws<EndPointUnavailableException>(second.Start);
        Assert.True(refused.IsInUse);
        Assert.Equal($"Another program already listens on {first.Server.EndPoint}. Stop it or choose another port.", refused.Message);
    }

    [Fact]
    public async Task An_address_of_another_machine_is_told_plainly()
    {
        await using var first = new TestServer();
        await using var second = new CheetahServer(
            new CheetahServerOptions { EndPoint = new IPEndPoint(IPAddress.Parse("192.0.2.1"), 0) }, first.Documents, first.Frames);
        EndPointUnavailableException refused = Assert.Throws<EndPointUnavailableException>(second.Start);
        Assert.False(refused.IsInUse);
    }

    [Fact]
    public async Task Connections_beyond_the_limit_wait_their_turn()
    {
        var options = new CheetahServerOptions { EndPoint = new IPEndPoint(IPAddress.Loopback, 0), ConnectionsMax = 2 };
        await using var server = new TestServer(options: options);
        byte[] bytes = server.Set("/a", 10);
        using RawClient a = server.Connect(), b = server.Connect(), c = server.Connect();
        foreach (RawClient client in (RawClient[])[a, b])
        {
            client.Send($"GET /a HTTP/1.1\r\n{Host}\r\n");
            Assert.Equal(bytes, client.ReadResponse().Body);
        }

        c.Send($"GET /a HTTP/1.1\r\n{Host}\r\n");
        Assert.Equal(2, server.Server.Counters.ConnectionsAccepted);
        a.Dispose();
        Assert.Equal(bytes, c.ReadResponse().Body);
    }

    [Fact]
    public async Task wrk_finds_no_error_in_a_second()
    {
        string wrk = Requires.Program("wrk");
        await using var server = new TestServer();
        server.Set("/a", 1024);
        using Process process = Process.Start(new ProcessStartInfo(wrk, $"-t1 -c32 -d1s http://{server.Server.EndPoint}/a") { RedirectStandardOutput = true })!;
        string report = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        Assert.Contains("Requests/sec", report, StringComparison.Ordinal);
        Assert.DoesNotContain("Socket errors", report, StringComparison.Ordinal);
        Assert.DoesNotContain("Non-2xx", report, StringComparison.Ordinal);
    }
}
