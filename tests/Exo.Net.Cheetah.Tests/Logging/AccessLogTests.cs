// SPDX-License-Identifier: MIT
using System.Net;
using System.Text;
using Exo.Net.Cheetah.Sockets;
using Exo.Net.Cheetah.Tests.Sockets;

namespace Exo.Net.Cheetah.Tests.Logging;

/// <summary>What a server on sockets logs.</summary>
public class AccessLogTests
{
    private const string Host = "Host: h\r\n", Time = "02/Jan/2026:03:04:05 +0000";

    private static CheetahServerOptions Options(LogOutput output, TimeProvider? time = null, AccessLogFormat format = AccessLogFormat.Combined, int reactors = 1, AccessLogOverflow whenFull = AccessLogOverflow.Drop) => new()
    {
        EndPoint = new IPEndPoint(IPAddress.Loopback, 0),
        Time = time ?? new StandingClock(),
        Reactors = reactors,
        AccessLog = new AccessLogOptions { Output = output, Format = format, RingBytes = 1 << 16, WhenFull = whenFull },
    };

    [Theory]
    [MemberData(nameof(LoggedRequests.All), MemberType = typeof(LoggedRequests))]
    public async Task A_response_is_logged_as_it_was_sent(int index)
    {
        var output = new LogOutput();
        await using var server = new TestServer(options: Options(output));
        LoggedRequests.Fill(server.Documents);
        byte[] response = Encoding.Latin1.GetBytes(server.Exchange(LoggedRequests.Request(index)));
        Assert.Equal([LoggedRequests.Line(index, "127.0.0.1", Time, response)], await output.LinesAsync(server.Server.Log!));
    }

    [Fact]
    public async Task Pipelined_requests_are_logged_each_and_those_behind_a_refused_one_are_not()
    {
        var output = new LogOutput();
        await using var server = new TestServer(options: Options(output, format: AccessLogFormat.Common));
        server.Set("/a", 10);
        server.Exchange($"GET /a HTTP/1.1\r\n{Host}Content-Length: 19\r\n\r\nGET /b HTTP/1.1\r\n\r\nGET /%61 HTTP/1.1\r\n{Host}\r\nGET /a HTTP/1.1\r\nX : y\r\n\r\nGET /a HTTP/1.1\r\n{Host}\r\n");
        Assert.Equal(
            [
                $"127.0.0.1 - - [{Time}] \"GET /a HTTP/1.1\" 200 10",
                $"127.0.0.1 - - [{Time}] \"GET /%61 HTTP/1.1\" 200 10",
                $"127.0.0.1 - - [{Time}] \"GET /a HTTP/1.1\" 400 58",
            ],
            await output.LinesAsync(server.Server.Log!));
        Assert.Equal(3, server.Server.Counters.AccessLogLines);
    }

    [Fact]
    public async Task Who_waits_too_long_and_who_makes_wait_too_long_are_logged_with_what_had_come()
    {
        var clock = new StandingClock();
        var output = new LogOutput();
        var gate = new TaskCompletionSource();
        await using var server = new TestServer(documents => new StuckSource(documents, gate), Options(output, clock));
        using RawClient silent = server.Connect(), half = server.Connect(), most = server.Connect(), stuck = server.Connect();
        half.Send("GET /ha");
        most.Send("GET /most HTTP/1.1\r\nUser-Agent: m\r\nHo");
        stuck.Send($"GET /stuck HTTP/1.1\r\n{Host}Referer: s\r\n\r\n");
        Assert.True(SpinWait.SpinUntil(() => server.Server.Counters is { ConnectionsAccepted: 4, CacheMisses: 1 }, 20_000));
        server.Server.Reactors[0].Post(new Turn(out Task turned));   // what has been sent has been read
        await turned;
        clock.Advance(TimeSpan.FromSeconds(31));
        Assert.StartsWith("HTTP/1.1 408", Encoding.ASCII.GetString(half.ReadToEnd()), StringComparison.Ordinal);
        Assert.StartsWith("HTTP/1.1 408", Encoding.ASCII.GetString(most.ReadToEnd()), StringComparison.Ordinal);
        Assert.StartsWith("HTTP/1.1 503", Encoding.ASCII.GetString(stuck.ReadToEnd()), StringComparison.Ordinal);
        clock.Advance(TimeSpan.FromSeconds(31));
        Assert.Empty(silent.ReadToEnd());
        gate.SetResult();
        string time = "02/Jan/2026:03:04:36 +0000";
        Assert.Equal(
            [
                $"127.0.0.1 - - [{time}] \"GET /ha\" 408 62 \"-\" \"-\"",
                $"127.0.0.1 - - [{time}] \"GET /most HTTP/1.1\" 408 62 \"-\" \"m\"",
                $"127.0.0.1 - - [{time}] \"GET /stuck HTTP/1.1\" 503 66 \"s\" \"-\"",
            ],
            (await output.LinesAsync(server.Server.Log!)).Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task Several_reactors_write_one_log_and_clients_over_IPv6_have_their_address_in_it()
    {
        var output = new LogOutput();
        CheetahServerOptions options = new() { EndPoint = new IPEndPoint(IPAddress.IPv6Any, 0), Reactors = 3, AccessLog = new AccessLogOptions { Output = output } };
        await using var server = new TestServer(options: options);
        server.Set("/a", 10);
        foreach (string address in (string[])["127.0.0.1", "::1"])
        {
            for (int i = 0; i < 20; i++)
            {
                using var client = new RawClient(new IPEndPoint(IPAddress.Parse(address), server.Server.EndPoint.Port));
                client.Send($"GET /a?{i} HTTP/1.1\r\n{Host}\r\n");
                client.ReadResponse();
            }
        }

        string[] lines = await output.LinesAsync(server.Server.Log!);
        Assert.Equal(
            Enumerable.Range(0, 40).Select(i => $"{(i < 20 ? "127.0.0.1" : "::1")} /a?{i % 20}").Order(),
            lines.Select(line => $"{line.Split(' ')[0]} {line.Split(' ')[6]}").Order());
    }

    [Fact]
    public async Task A_log_that_is_stuck_holds_up_no_response_and_what_it_missed_is_counted()
    {
        var output = new LogOutput();
        await using var server = new TestServer(options: Options(output));
        byte[] bytes = server.Set("/a", 10);
        output.HoldUp();
        using RawClient client = server.Connect();
        int count = 0;
        for (; server.Server.Counters.AccessLogDropped < 100; count++)
        {
            client.Send($"GET /a HTTP/1.1\r\n{Host}\r\n");
            Assert.Equal(bytes, client.ReadResponse().Body);
        }

        output.LetGo();
        Assert.Equal(count - 100, (await output.LinesAsync(server.Server.Log!)).Length);
        Assert.Equal((count - 100, 100), (server.Server.Counters.AccessLogLines, server.Server.Counters.AccessLogDropped));
    }

    [Fact]
    public async Task What_is_recorded_when_the_server_stops_is_written()
    {
        var output = new LogOutput();
        var server = new TestServer(options: Options(output));
        server.Set("/a", 10);
        for (int i = 0; i < 5; i++)
        {
            server.Exchange($"GET /a HTTP/1.1\r\n{Host}\r\n");
        }

        await server.DisposeAsync();
        Assert.Equal(6, output.Text.Split('\n').Length);
        Assert.Throws<InvalidOperationException>(() => { _ = server.Server.ReopenAccessLogAsync(); });
    }

    [Fact]
    public async Task Ten_thousand_logged_requests_allocate_nothing_on_the_reactor()
    {
        var output = new LogOutput();
        await using var server = new TestServer(options: Options(output, whenFull: AccessLogOverflow.Wait));
        byte[] bytes = server.Set("/a", 1024);
        using RawClient client = server.Connect();
        byte[] request = Encoding.ASCII.GetBytes($"GET /a HTTP/1.1\r\n{Host}Referer: http://localhost/\r\nUser-Agent: test\r\n\r\n");
        void Exchange(int count)
        {
            for (int i = 0; i < count; i++)
            {
                client.Send(request);
                Assert.Equal(bytes.Length, client.ReadResponse().Body.Length);
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
        Assert.Equal(10_000, (await output.LinesAsync(server.Server.Log!)).Length);
    }

    [Fact]
    public void Options_that_make_no_sense_are_refused()
    {
        static void Refuse(AccessLogOptions options) => Assert.ThrowsAny<ArgumentException>(new CheetahServerOptions { AccessLog = options }.Validate);
        Refuse(new AccessLogOptions());
        Refuse(new AccessLogOptions { Path = "a", Output = Stream.Null });
        Refuse(new AccessLogOptions { Path = "a", RingBytes = 1 << 15 });
        Refuse(new AccessLogOptions { Path = "a", FlushInterval = TimeSpan.FromHours(1) });
        Assert.ThrowsAny<ArgumentException>(new CheetahServerOptions { RequestHeadBytesMax = 65536, AccessLog = new AccessLogOptions { Path = "a", RingBytes = 1 << 17 } }.Validate);
        new CheetahServerOptions { AccessLog = new AccessLogOptions { Path = "a" } }.Validate();
    }

    private sealed class StuckSource(IDocumentSource inner, TaskCompletionSource gate) : IDocumentSource
    {
        public async ValueTask<DocumentLookup> FindAsync(ReadOnlyMemory<byte> path, CancellationToken cancellationToken)
        {
            await gate.Task.WaitAsync(cancellationToken);
            return await inner.FindAsync(path, cancellationToken);
        }

        public bool IsCurrent(DocumentContent content) => inner.IsCurrent(content);
    }

    private sealed class Turn : ReactorMessage
    {
        private readonly TaskCompletionSource done = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Turn(out Task turned) => turned = done.Task;

        public override void Run(Reactor reactor) => done.SetResult();
    }
}
