// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using System.Net;
using System.Text;

namespace Exo.Net.Cheetah.Tests.Sockets;

/// <summary>Slow sources, slow clients, time-outs and the end: everything in which someone waits. Time stands until it is moved.</summary>
public class WaitingTests
{
    private const string Host = "Host: h\r\n";

    /// <summary>Keeps lookups under /slow until they are let go.</summary>
    private sealed class SlowSource(IDocumentSource inner) : IDocumentSource
    {
        public ConcurrentQueue<TaskCompletionSource> Waiting { get; } = new();

        public int Lookups;

        public async ValueTask<DocumentLookup> FindAsync(ReadOnlyMemory<byte> path, CancellationToken cancellationToken)
        {
            Interlocked.Increment(ref Lookups);
            if (Encoding.UTF8.GetString(path.Span).StartsWith("/slow", StringComparison.Ordinal))
            {
                var gate = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                Waiting.Enqueue(gate);
                await gate.Task.WaitAsync(cancellationToken);
            }

            if (path.Span.SequenceEqual("/broken"u8))
            {
                throw new IOException("broken");
            }

            if (path.Span.SequenceEqual("/slow/copied"u8))
            {
                return DocumentLookup.Found(DocumentContent.FromBytes(TestServer.Bytes(9000, 9), DateTimeOffset.UnixEpoch, 9, state: this));
            }

            return await inner.FindAsync(path, cancellationToken);
        }

        public bool IsCurrent(DocumentContent content) => content.State == this || inner.IsCurrent(content);

        public void LetGo(int count = 1)
        {
            for (; count > 0; count--)
            {
                TaskCompletionSource? gate = null;
                Assert.True(SpinWait.SpinUntil(() => Waiting.TryDequeue(out gate), 20_000));
                gate!.SetResult();
            }
        }
    }

    private static (TestServer Server, SlowSource Source) Slow(CheetahServerOptions? options = null)
    {
        SlowSource? source = null;
        var server = new TestServer(documents => source = new SlowSource(documents), options);
        return (server, source!);
    }

    private static void Until(Func<bool> condition) => Assert.True(SpinWait.SpinUntil(condition, 20_000));

    [Fact]
    public async Task Pipelined_responses_keep_their_order_when_one_must_wait()
    {
        (TestServer server, SlowSource source) = Slow();
        await using (server)
        {
            byte[] quick = server.Set("/quick", 100, 1), slow = server.Set("/slow", 200_000, 2);
            using RawClient client = server.Connect(), other = server.Connect();
            client.Send($"GET /quick HTTP/1.1\r\n{Host}\r\nGET /slow HTTP/1.1\r\n{Host}\r\nGET /quick HTTP/1.1\r\n{Host}\r\nHEAD /slow HTTP/1.1\r\n{Host}\r\n");
            Assert.Equal(quick, client.ReadResponse().Body);
            other.Send($"GET /quick HTTP/1.1\r\n{Host}\r\n");
            Assert.Equal(quick, other.ReadResponse().Body);   // nobody else waits
            source.LetGo();
            Assert.Equal(slow, client.ReadResponse().Body);
            Assert.Equal(quick, client.ReadResponse().Body);
            Assert.StartsWith("HTTP/1.1 200", client.ReadResponse(hasBody: false).Head, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Requests_for_the_same_missing_document_share_at_most_two_lookups()
    {
        (TestServer server, SlowSource source) = Slow();
        await using (server)
        {
            byte[] slow = server.Set("/slow", 10_000);
            RawClient[] clients = [.. Enumerable.Range(0, 20).Select(_ => server.Connect())];
            foreach (RawClient client in clients)
            {
                client.Send($"GET /slow HTTP/1.1\r\n{Host}\r\n");
            }

            source.LetGo();
            foreach (RawClient client in clients)
            {
                Assert.Equal(slow, client.ReadResponse().Body);
                client.Dispose();
            }

            Assert.Equal(1, source.Lookups);   // those who came late found it cached
        }
    }

    [Fact]
    public async Task Bytes_without_frames_are_copied_once_and_counted()
    {
        (TestServer server, SlowSource source) = Slow();
        await using (server)
        {
            using RawClient client = server.Connect();
            for (int i = 0; i < 3; i++)
            {
                client.Send($"GET /slow/copied HTTP/1.1\r\n{Host}\r\n");
                if (i == 0)
                {
                    source.LetGo();
                }

                Assert.Equal(TestServer.Bytes(9000, 9), client.ReadResponse().Body);
            }

            Assert.Equal(9000, server.Server.Counters.PayloadBytesCopied);
        }
    }

    [Fact]
    public async Task A_source_that_fails_is_a_500_and_one_that_takes_too_long_a_503()
    {
        var clock = new StandingClock();
        (TestServer server, SlowSource source) = Slow(TestServer.Options(clock));
        await using (server)
        {
            server.Set("/slow", 10);
            using RawClient client = server.Connect();
            client.Send($"GET /broken HTTP/1.1\r\n{Host}\r\n");
            Assert.StartsWith("HTTP/1.1 500", client.ReadResponse().Head, StringComparison.Ordinal);
            client.Send($"GET /slow HTTP/1.1\r\n{Host}\r\nGET /slow HTTP/1.1\r\n{Host}\r\n");
            Until(() => source.Waiting.Count == 1);
            clock.Advance(TimeSpan.FromSeconds(31));
            Assert.StartsWith("HTTP/1.1 503", client.ReadResponse().Head, StringComparison.Ordinal);
            Assert.Empty(client.ReadToEnd());
            source.LetGo();   // the late answer finds no one
        }
    }

    [Fact]
    public async Task A_client_that_leaves_while_its_document_is_sought_leaves_nothing_behind()
    {
        (TestServer server, SlowSource source) = Slow();
        await using (server)
        {
            server.Set("/slow", 100_000);
            using (RawClient client = server.Connect())
            {
                client.Send($"GET /slow HTTP/1.1\r\n{Host}\r\n");
                Until(() => source.Waiting.Count == 1);
                client.Abort();
            }

            source.LetGo();
            Until(() => server.Server.Counters.ConnectionsOpen == 0);
        }
    }

    [Fact]
    public async Task Idle_connections_are_closed_and_slow_requests_told_so()
    {
        var clock = new StandingClock();
        await using var server = new TestServer(options: TestServer.Options(clock));
        byte[] bytes = server.Set("/a", 10);
        using RawClient idle = server.Connect(), used = server.Connect(), slow = server.Connect();
        used.Send($"GET /a HTTP/1.1\r\n{Host}\r\n");
        Assert.Equal(bytes, used.ReadResponse().Body);
        slow.Send("GET /a HTTP/1.1\r\nHo");
        Until(() => server.Server.Counters.ConnectionsAccepted == 3);

        // One byte every now and then does not help: the whole request has its time.
        for (int i = 0; i < 11; i++)
        {
            long turns = server.Server.Counters.SystemCalls;
            slow.Send(i == 0 ? "s" : i == 1 ? "t" : i == 2 ? ":" : "h");
            Until(() => server.Server.Counters.SystemCalls > turns + 1);
            clock.Advance(TimeSpan.FromSeconds(1));
        }

        string answer = Encoding.Latin1.GetString(slow.ReadToEnd());
        Assert.StartsWith("HTTP/1.1 408 Request Timeout\r\n", answer, StringComparison.Ordinal);
        Assert.Contains("Connection: close\r\n", answer, StringComparison.Ordinal);
        used.Send($"GET /a HTTP/1.1\r\n{Host}\r\n");
        Assert.Equal(bytes, used.ReadResponse().Body);   // eleven seconds are nothing to an idle connection
        clock.Advance(TimeSpan.FromSeconds(61));
        Assert.Empty(idle.ReadToEnd());
        Assert.Empty(used.ReadToEnd());
        Assert.Equal(3, server.Server.Counters.TimeOuts);
    }

    [Fact]
    public async Task A_reader_below_the_pace_is_cut_off_and_one_above_it_is_not()
    {
        var clock = new StandingClock();
        await using var server = new TestServer(options: TestServer.Options(clock));
        server.Set("/big", 16 << 20);
        using RawClient stalled = server.Connect(receiveBufferBytes: 4096), reading = server.Connect(receiveBufferBytes: 4096);
        stalled.Send($"GET /big HTTP/1.1\r\n{Host}\r\n");
        reading.Send($"GET /big HTTP/1.1\r\n{Host}\r\n");
        Until(() => server.Server.Counters.Requests == 2);
        (string _, byte[] body) = reading.ReadResponse();
        Assert.Equal(16 << 20, body.Length);
        clock.Advance(TimeSpan.FromSeconds(11));
        Until(() => server.Server.Counters.TimeOuts == 1);
        Assert.True(stalled.ReadToEnd().Length < 16 << 20);
        reading.Send($"HEAD /big HTTP/1.1\r\n{Host}\r\n");
        Assert.StartsWith("HTTP/1.1 200", reading.ReadResponse(hasBody: false).Head, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Stopping_finishes_what_is_under_way_and_closes_the_rest()
    {
        (TestServer server, SlowSource source) = Slow();
        await using (server)
        {
            byte[] slow = server.Set("/slow", 100_000), big = server.Set("/big", 8 << 20);
            using RawClient idle = server.Connect(), waiting = server.Connect(), reading = server.Connect(receiveBufferBytes: 4096);
            waiting.Send($"GET /slow HTTP/1.1\r\n{Host}\r\n");
            reading.Send($"GET /big HTTP/1.1\r\n{Host}\r\n");
            Until(() => source.Waiting.Count == 1 && server.Server.Counters.Requests == 1 && server.Server.Counters.ConnectionsAccepted == 3);
            Task stopped = server.Server.StopAsync(TimeSpan.FromSeconds(60));
            Assert.Empty(idle.ReadToEnd());
            Assert.ThrowsAny<System.Net.Sockets.SocketException>(() => server.Connect().Dispose());
            Assert.False(stopped.IsCompleted);
            Assert.Equal(big, reading.ReadResponse().Body);
            Assert.Empty(reading.ReadToEnd());
            source.LetGo();
            (string head, byte[] body) = waiting.ReadResponse();
            Assert.Equal(slow, body);
            Assert.Contains("Connection: close\r\n", head, StringComparison.Ordinal);
            await stopped;
            Assert.Equal(0, server.Server.Counters.ConnectionsOpen);
            Assert.Throws<InvalidOperationException>(server.Server.Start);
        }
    }

    [Fact]
    public async Task Stopping_cuts_off_what_is_not_done_by_the_deadline()
    {
        var clock = new StandingClock();
        (TestServer server, SlowSource source) = Slow(TestServer.Options(clock));
        await using (server)
        {
            server.Set("/slow", 10);
            server.Set("/big", 8 << 20);
            using RawClient waiting = server.Connect(), stalled = server.Connect(receiveBufferBytes: 4096);
            waiting.Send($"GET /slow HTTP/1.1\r\n{Host}\r\n");
            stalled.Send($"GET /big HTTP/1.1\r\n{Host}\r\n");
            Until(() => source.Waiting.Count == 1 && server.Server.Counters.Requests == 1);
            Task stopped = server.Server.StopAsync(TimeSpan.FromSeconds(5));
            Until(() => server.Server.Reactors[0].IsDraining);
            Assert.False(stopped.IsCompleted);
            clock.Advance(TimeSpan.FromSeconds(6));
            await stopped;   // also ends the lookup by its cancellation token
            Assert.Equal(2, server.Server.Counters.ConnectionsAborted);
        }
    }

    [Fact]
    public async Task A_server_that_was_never_started_stops_at_once()
    {
        await using var server = new TestServer();
        await using var second = new CheetahServer(TestServer.Options(), server.Documents, server.Frames);
        await second.StopAsync(TimeSpan.FromHours(1));
        Assert.Throws<InvalidOperationException>(second.Start);
        Assert.Throws<ArgumentOutOfRangeException>(() => new CheetahServer(new CheetahServerOptions { Reactors = 0 }, server.Documents, server.Frames));
        Assert.Throws<ArgumentOutOfRangeException>(() => new CheetahServer(new CheetahServerOptions { IdleTimeout = TimeSpan.Zero }, server.Documents, server.Frames));
    }
}
