// SPDX-License-Identifier: MIT
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Text;
using Exo.Net.Cheetah.Ranges;
using Exo.Net.Cheetah.Tests.Sockets;

namespace Exo.Net.Cheetah.Tests.Ranges;

/// <summary>Documents that are read range by range while they are sent, on sockets.</summary>
public class RangedDocumentTests
{
    private const long Large = 10L << 30;

    private static string Get(string target, string fields = "") => $"GET {target} HTTP/1.1\r\nHost: x\r\n{fields}\r\n";

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    // Reads a response by its Content-Length without keeping it. How many bytes came.
    private static async Task<long> CheckAsync(HttpClient client, Uri uri, int version = 0)
    {
        using HttpResponseMessage response = await client.GetAsync(uri, HttpCompletionOption.ResponseHeadersRead, Cancel);
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        await using Stream body = await response.Content.ReadAsStreamAsync(Cancel);
        byte[] buffer = new byte[65536];
        long place = 0;
        for (int count; (count = await body.ReadAsync(buffer, Cancel)) > 0; place += count)
        {
            LargeSource.Check(buffer.AsSpan(0, count), place, version);
        }

        return place;
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Documents_of_all_lengths_come_back_byte_for_byte_one_behind_the_other(bool givesBytes)
    {
        await using var server = new LargeServer(givesBytes: givesBytes);
        long sent = 0;
        using (RawClient client = server.Connect())
        {
            foreach (int length in (int[])[0, 1, 4095, 4096, 4097, 262_143, 262_144, 262_145, 3_000_001])
            {
                // All on one connection, the next one at once behind it.
                client.Send(Get($"/{length}") + Get($"/{length}", "Range: bytes=-1\r\n") + $"HEAD /{length} HTTP/1.1\r\nHost: x\r\n\r\n");
                (string head, byte[] body) = client.ReadResponse();
                Assert.StartsWith("HTTP/1.1 200 OK\r\n", head, StringComparison.Ordinal);
                Assert.Equal(length, body.Length);
                LargeSource.Check(body, 0);
                (head, body) = client.ReadResponse();
                Assert.StartsWith(length == 0 ? "HTTP/1.1 200" : "HTTP/1.1 206", head, StringComparison.Ordinal);
                LargeSource.Check(body, length - 1);
                (head, _) = client.ReadResponse(hasBody: false);
                Assert.Contains($"Content-Length: {length}\r\n", head, StringComparison.Ordinal);
                sent += length + Math.Min(1, length);
            }
        }

        Assert.Equal(sent, server.Server.Counters.PayloadBytesSent);
        Assert.Equal(givesBytes ? server.Source.BytesRead : 0, server.Server.Counters.PayloadBytesCopied);
    }

    [Theory]
    [InlineData(0, 1)]
    [InlineData((1L << 31) - 3, 7)]
    [InlineData((1L << 32) - 5000, 10_000)]
    [InlineData(Large - 1, 1)]
    [InlineData(Large - 600_000, 600_000)]
    public async Task A_range_reads_what_it_needs(long first, int length)
    {
        await using var server = new LargeServer();
        using RawClient client = server.Connect();
        client.Send(Get($"/{Large}", $"Range: bytes={first}-{first + length - 1}\r\n"));
        (string head, byte[] body) = client.ReadResponse();
        Assert.StartsWith("HTTP/1.1 206 ", head, StringComparison.Ordinal);
        Assert.Contains($"Content-Range: bytes {first}-{first + length - 1}/{Large}\r\n", head, StringComparison.Ordinal);
        Assert.Equal(length, body.Length);
        LargeSource.Check(body, first);
        Assert.InRange(server.Source.BytesRead, length, length + 8191);
    }

    [Fact]
    public async Task Several_ranges_are_one_response()
    {
        await using var server = new LargeServer();
        using var client = new HttpClient { BaseAddress = new Uri($"http://{server.Server.EndPoint}") };
        (long From, long To)[] wanted = [(4_999_999_999, 5_000_299_999), (0, 9), (Large - 10, Large - 1), (2_147_483_640, 2_147_483_655)];
        using var request = new HttpRequestMessage(HttpMethod.Get, $"/{Large}");
        request.Headers.Range = new RangeHeaderValue();
        foreach ((long from, long to) in wanted)
        {
            request.Headers.Range.Ranges.Add(new RangeItemHeaderValue(from, to));
        }

        using HttpResponseMessage response = await client.SendAsync(request, Cancel);
        Assert.Equal(HttpStatusCode.PartialContent, response.StatusCode);
        byte[] body = await response.Content.ReadAsByteArrayAsync(Cancel);
        Assert.Equal(response.Content.Headers.ContentLength, body.Length);
        ReadOnlySpan<byte> rest = body;
        foreach ((long from, long to) in wanted)
        {
            int end = rest.IndexOf("\r\n\r\n"u8);
            Assert.Contains($"Content-Range: bytes {from}-{to}/{Large}", Encoding.ASCII.GetString(rest[..end]), StringComparison.Ordinal);
            int length = (int)(to - from + 1);
            LargeSource.Check(rest.Slice(end + 4, length), from);
            rest = rest[(end + 4 + length)..];
        }

        Assert.EndsWith("--\r\n", Encoding.ASCII.GetString(rest), StringComparison.Ordinal);
        Assert.InRange(server.Source.BytesRead, 300_036, 300_036 + (4 * 8192));
    }

    [Fact]
    public async Task What_has_no_body_reads_nothing()
    {
        await using var server = new LargeServer();
        using RawClient client = server.Connect();
        client.Send($"HEAD /{Large} HTTP/1.1\r\nHost: x\r\n\r\n");
        (string head, _) = client.ReadResponse(hasBody: false);
        Assert.Contains($"Content-Length: {Large}\r\n", head, StringComparison.Ordinal);
        string tag = head.Split("\r\n").Single(line => line.StartsWith("ETag: ", StringComparison.Ordinal))["ETag: ".Length..];
        foreach ((string fields, string status) in ((string, string)[])
            [($"If-None-Match: {tag}\r\n", "304"), ("If-Match: \"x\"\r\n", "412"), ($"Range: bytes={Large}-\r\n", "416")])
        {
            client.Send(Get($"/{Large}", fields));
            (head, _) = client.ReadResponse(hasBody: status == "412");
            Assert.StartsWith($"HTTP/1.1 {status} ", head, StringComparison.Ordinal);
        }

        Assert.Equal(0, server.Source.BytesRead);
        client.Send(Get($"/{Large}", $"Range: bytes=5-9\r\nIf-Range: {tag}\r\n"));
        (head, byte[] body) = client.ReadResponse();
        Assert.StartsWith("HTTP/1.1 206 ", head, StringComparison.Ordinal);
        LargeSource.Check(body, 5);
        Assert.Equal(1, server.Source.Lookups);   // who reads it is kept
    }

    [Fact]
    public async Task Several_at_once_that_each_exceed_the_pool_share_it_and_small_ones_are_served_meanwhile()
    {
        await using var server = new LargeServer(poolBytes: 8 << 20);
        server.Small.Set("/small", TestServer.Bytes(20_000));
        using var client = new HttpClient { BaseAddress = new Uri($"http://{server.Server.EndPoint}") };
        Task<long>[] large = [.. Enumerable.Range(0, 8).Select(i => CheckAsync(client, new Uri($"/{(24 << 20) + (i % 4)}", UriKind.Relative)))];
        while (!large.All(one => one.IsCompleted))
        {
            Assert.Equal(TestServer.Bytes(20_000), await client.GetByteArrayAsync(new Uri("/small", UriKind.Relative), Cancel));
        }

        for (int i = 0; i < large.Length; i++)
        {
            Assert.Equal((24 << 20) + (i % 4), await large[i]);
        }

        DocumentWindows windows = server.Server.Cache.Windows;
        Assert.Equal(2 << 20, windows.BudgetBytes);
        Assert.InRange(windows.HeldBytesMax, 1, windows.BudgetBytes);
        Assert.Equal(0, server.Server.Counters.PayloadBytesCopied);
    }

    [Fact]
    public async Task Responses_that_read_the_same_place_read_it_once()
    {
        await using var server = new LargeServer();
        server.Source.HoldsFrom = 0;
        using RawClient first = server.Connect(), second = server.Connect();
        const int Length = 400_000;
        first.Send(Get($"/{Length}"));
        second.Send(Get($"/{Length}"));
        Assert.True(SpinWait.SpinUntil(() => server.Server.Cache.Windows.FlowCount == 2, TimeSpan.FromSeconds(20)));
        server.Source.HoldsFrom = long.MaxValue;
        server.Source.LetGo();
        foreach (RawClient client in (RawClient[])[first, second])
        {
            (_, byte[] body) = client.ReadResponse();
            Assert.Equal(Length, body.Length);
            LargeSource.Check(body, 0);
        }

        Assert.Equal(Length, server.Source.BytesRead);
    }

    [Fact]
    public async Task Who_does_not_read_holds_no_more_than_a_window()
    {
        await using var server = new LargeServer(poolBytes: 64 << 20, change: options => options with { DocumentWindowBytes = 1 << 20 });
        DocumentWindows windows = server.Server.Cache.Windows;
        using (RawClient sleeper = server.Connect(receiveBufferBytes: 4096))
        {
            sleeper.Send(Get($"/{Large}"));
            Assert.True(SpinWait.SpinUntil(() => windows.HeldBytes >= 768 << 10, TimeSpan.FromSeconds(20)));

            // The same place is read by another, who is not held up.
            using RawClient awake = server.Connect();
            awake.Send(Get($"/{Large}", "Range: bytes=0-7999999\r\n"));
            LargeSource.Check(awake.ReadResponse().Body, 0);
            Assert.InRange(windows.HeldBytesMax, 1, 2 << 20);   // two windows
            Assert.InRange(windows.HeldBytes, 1, 1 << 20);
            sleeper.Abort();
        }

        Assert.True(SpinWait.SpinUntil(() => windows is { HeldBytes: 0, FlowCount: 0 }, TimeSpan.FromSeconds(20)));
    }

    [Fact]
    public async Task Windows_become_smaller_with_the_number_of_those_who_do_not_read()
    {
        await using var server = new LargeServer(poolBytes: 8 << 20);
        DocumentWindows windows = server.Server.Cache.Windows;
        List<RawClient> sleepers = [];
        for (int i = 0; i < 40; i++)
        {
            sleepers.Add(server.Connect(receiveBufferBytes: 4096));
            sleepers[^1].Send(Get($"/{Large + i}"));   // documents of their own
        }

        Assert.True(SpinWait.SpinUntil(() => windows.FlowCount == 40, TimeSpan.FromSeconds(20)));
        server.Small.Set("/small", TestServer.Bytes(1000));
        using RawClient client = server.Connect();
        client.Send(Get("/small"));
        Assert.Equal(TestServer.Bytes(1000), client.ReadResponse().Body);
        Assert.Equal(64 << 10, windows.WindowBytes);

        // Who comes when all is given away waits, and has his turn when somebody goes.
        client.Send(Get($"/{1 << 20}"));
        sleepers.ForEach(one => one.Abort());
        LargeSource.Check(client.ReadResponse().Body, 0);
        Assert.InRange(windows.HeldBytesMax, 1, windows.BudgetBytes);
    }

    [Fact]
    public async Task A_document_that_changes_under_way_ends_with_a_reset_and_no_byte_of_the_new_one()
    {
        await using var server = new LargeServer();
        using var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { ReceiveTimeout = 20_000 };
        socket.Connect(server.Server.EndPoint);
        socket.Send(Encoding.ASCII.GetBytes(Get($"/{Large}")));
        byte[] buffer = new byte[65536];
        long place = -1;
        SocketException ended = Assert.Throws<SocketException>(() =>
        {
            for (int count = 1; count > 0;)
            {
                count = socket.Receive(buffer);
                Assert.NotEqual(0, count);   // an end would be a short response
                int head = place < 0 ? buffer.AsSpan(0, count).IndexOf("\r\n\r\n"u8) + 4 : 0;
                place = Math.Max(place, 0);
                LargeSource.Check(buffer.AsSpan(head, count - head), place);
                place += count - head;
                if (place > 5_000_000)
                {
                    server.Source.Version = 1;
                }
            }
        });
        Assert.Equal(SocketError.ConnectionReset, ended.SocketErrorCode);
        Assert.Equal(1, server.Server.Counters.ConnectionsAborted);
        using RawClient again = server.Connect();
        again.Send(Get("/70000"));
        LargeSource.Check(again.ReadResponse().Body, 0, version: 1);
    }

    [Fact]
    public async Task What_changed_before_a_byte_was_promised_is_looked_up_anew()
    {
        await using var server = new LargeServer();
        using RawClient client = server.Connect();
        client.Send(Get("/1000000", "Range: bytes=0-99\r\n"));
        LargeSource.Check(client.ReadResponse().Body, 0);
        server.Source.IsBehind = true;
        server.Source.Version = 1;
        client.Send(Get("/1000000"));
        (string head, byte[] body) = client.ReadResponse();
        Assert.StartsWith("HTTP/1.1 200 ", head, StringComparison.Ordinal);
        LargeSource.Check(body, 0, version: 1);
        Assert.Equal(2, server.Source.Lookups);
    }

    [Fact]
    public async Task What_cannot_be_read_is_a_status_before_the_first_byte_and_a_reset_after_it()
    {
        await using var server = new LargeServer();
        server.Source.FailsFrom = 5_000_000;
        using RawClient client = server.Connect();
        client.Send(Get($"/{Large}", "Range: bytes=6000000-6000009\r\n") + Get($"/{Large}", "Range: bytes=5-9\r\n"));
        Assert.StartsWith("HTTP/1.1 500 ", client.ReadResponse().Head, StringComparison.Ordinal);
        LargeSource.Check(client.ReadResponse().Body, 5);
        client.Send(Get($"/{Large}"));
        byte[] came = client.ReadToEnd();
        Assert.InRange(came.Length, 1, 5_000_000);
        Assert.Equal(1, server.Server.Counters.ConnectionsAborted);
    }

    [Fact]
    public async Task A_source_that_does_not_come_up_with_the_first_range_in_time_is_503_and_with_a_later_one_a_reset()
    {
        var clock = new StandingClock();
        await using var server = new LargeServer(change: options => options with { Time = clock });
        server.Source.HoldsFrom = 1_000_000;
        using RawClient first = server.Connect(), later = server.Connect();
        first.Send(Get($"/{Large}", "Range: bytes=2000000-2000009\r\n"));
        Assert.True(SpinWait.SpinUntil(() => server.Source.HeldCount == 1, TimeSpan.FromSeconds(20)));
        clock.Advance(TimeSpan.FromSeconds(31));
        Assert.StartsWith("HTTP/1.1 503 ", first.ReadResponse().Head, StringComparison.Ordinal);

        later.Send(Get($"/{Large}"));
        Assert.True(SpinWait.SpinUntil(() => server.Server.Counters.PayloadBytesSent >= 786_432, TimeSpan.FromSeconds(20)));
        clock.Advance(TimeSpan.FromSeconds(31));
        Assert.InRange(later.ReadToEnd().Length, 786_432, 1_100_000);
        Assert.Equal(2, server.Server.Counters.TimeOuts);
    }

    [Fact]
    public async Task A_server_that_stops_finishes_what_is_under_way()
    {
        await using var server = new LargeServer();
        const int Length = 20 << 20;
        using RawClient client = server.Connect();
        client.Send(Get($"/{Length}"));
        Assert.True(SpinWait.SpinUntil(() => server.Server.Counters.PayloadBytesSent > 0, TimeSpan.FromSeconds(20)));
        Task stopped = server.Server.StopAsync(TimeSpan.FromMinutes(1));
        byte[] body = client.ReadResponse().Body;
        Assert.Equal(Length, body.Length);
        LargeSource.Check(body, 0);
        Assert.Empty(client.ReadToEnd());
        await stopped;
    }

    [Fact]
    public async Task A_server_that_stops_at_once_leaves_nothing_behind()
    {
        await using var server = new LargeServer();
        server.Source.HoldsFrom = 3_000_000;
        using RawClient reading = server.Connect(), waiting = server.Connect();
        reading.Send(Get($"/{Large}"));
        waiting.Send(Get($"/{Large}", "Range: bytes=4000000-\r\n"));
        Assert.True(SpinWait.SpinUntil(() => server.Server.Cache.Windows.FlowCount == 2 && server.Source.HeldCount > 1, TimeSpan.FromSeconds(20)));
    }

    [Fact]
    public async Task An_errors_page_may_be_large_too()
    {
        await using var server = new LargeServer(change: options => options with { ErrorPages = new Dictionary<int, string> { [404] = "/5000000", [500] = "/6000000" } });
        using RawClient client = server.Connect();
        client.Send(Get("/nosuch") + Get("/nosuch"));
        for (int i = 0; i < 2; i++)
        {
            (string head, byte[] body) = client.ReadResponse();
            Assert.StartsWith("HTTP/1.1 404 ", head, StringComparison.Ordinal);
            Assert.Equal(5_000_000, body.Length);
            LargeSource.Check(body, 0);
        }

        server.Source.FailsFrom = 0;
        client.Send(Get("/nosuch"));
        Assert.StartsWith("HTTP/1.1 500 ", client.ReadResponse().Head, StringComparison.Ordinal);   // without the page that cannot be read either
    }
}
