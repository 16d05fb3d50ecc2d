// SPDX-License-Identifier: MIT
using System.Text;
using Exo.Core.Memory;
using Exo.Net.Cheetah.Tcp;
using Exo.Net.Cheetah.Tests.Sockets;

namespace Exo.Net.Cheetah.Tests.Raw;

/// <summary>Slow clients, full houses, a lack of memory and the end, on a simulated wire and clock.</summary>
public class RawLimitsTests
{
    private const string Get = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n", GetAndClose = "GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

    // Takes bytes as fast as it is let, and sends what it is given.
    private sealed class Reader(string request) : ITcpHandler
    {
        private int allowance;

        public TcpConnection? Connection { get; private set; }

        public List<byte> Bytes { get; } = [];

        public TcpCloseReason? Closed { get; private set; }

        public bool PeerClosed { get; private set; }

        public string Text => Encoding.Latin1.GetString([.. Bytes]);

        public void OnOpened(TcpConnection connection)
        {
            Connection = connection;
            Send(request);
        }

        public void Send(string text) => Assert.True(Connection!.TrySend(Encoding.Latin1.GetBytes(text)));

        public void Allow(int bytes)
        {
            allowance = Math.Max(allowance, bytes);
            Connection?.ResumeReceive();
        }

        public int OnReceived(TcpConnection connection, ReadOnlySpan<byte> bytes)
        {
            int count = Math.Min(allowance, bytes.Length);
            allowance -= count;
            Bytes.AddRange(bytes[..count]);
            return count;
        }

        public void OnAcknowledged(TcpConnection connection)
        {
        }

        public void OnPeerClosed(TcpConnection connection)
        {
            PeerClosed = true;
            connection.CloseSend();
        }

        public void OnClosed(TcpConnection connection, TcpCloseReason reason) => Closed = reason;
    }

    private static Reader Connect(RawServerTests.Site site, string request = "", bool isV6 = false, int allowance = int.MaxValue)
    {
        var reader = new Reader(request);
        reader.Allow(allowance);
        site.Client.Connect(isV6 ? RawServerTests.Site.V6 : RawServerTests.Site.V4, reader);
        return reader;
    }

    // So many bytes a second are taken until the condition holds.
    private static bool Read(RawServerTests.Site site, Reader reader, int bytesPerSecond, Func<bool> until, TimeSpan most)
    {
        TimeSpan next = site.Time.Elapsed;
        return site.Until(
            () =>
            {
                if (site.Time.Elapsed >= next)
                {
                    next += TimeSpan.FromSeconds(1);
                    reader.Allow(bytesPerSecond);
                }

                return until();
            },
            most);
    }

    [Theory]
    [InlineData(2000)]
    [InlineData(600)]
    public void A_reader_slower_than_the_wire_gets_all_its_bytes_while_it_keeps_pace(int bytesPerSecond)
    {
        using var site = new RawServerTests.Site();
        byte[] bytes = TestServer.Bytes(600_000);
        site.Documents.Set("/a", bytes);
        Reader reader = Connect(site, GetAndClose, allowance: 0);

        // The client's stack takes half a megabyte before the pace matters, and keeps it when the server, whose bytes have all arrived, has gone long since.
        Assert.True(Read(site, reader, bytesPerSecond, () => site.Reactor.Counters.ConnectionsOpen == 0 && site.Reactor.Counters.ConnectionsAccepted == 1, TimeSpan.FromMinutes(10)));
        Assert.InRange(reader.Bytes.Count, 0, 300_000);
        Assert.True(site.Until(() => false, TimeSpan.FromMinutes(5)) || reader.Closed is null);
        reader.Allow(int.MaxValue);
        Assert.True(reader.PeerClosed);
        Assert.Equal(bytes, reader.Bytes[^600_000..]);
        Assert.Equal(0, site.Reactor.Counters.TimeOuts);
    }

    [Theory]
    [InlineData(100)]
    [InlineData(0)]
    public void A_reader_that_does_not_keep_pace_is_cut_and_another_is_not_held_up(int bytesPerSecond)
    {
        using var site = new RawServerTests.Site();
        site.Documents.Set("/a", TestServer.Bytes(600_000));
        Reader slow = Connect(site, GetAndClose, allowance: 0);
        Assert.True(Read(site, slow, bytesPerSecond, () => site.Time.Elapsed > TimeSpan.FromSeconds(5), TimeSpan.FromMinutes(1)));
        Reader quick = Connect(site, GetAndClose);
        Assert.True(site.Until(() => quick.Closed is not null, TimeSpan.FromSeconds(2)));
        Assert.Equal(TcpCloseReason.Graceful, quick.Closed);
        Assert.True(Read(site, slow, bytesPerSecond, () => slow.Closed is not null, TimeSpan.FromMinutes(1)));
        Assert.Equal(TcpCloseReason.Reset, slow.Closed);
        Assert.InRange(site.Time.Elapsed.TotalSeconds, 10, 40);   // a judgement every ten seconds
        Assert.Equal((1, 0), (site.Reactor.Counters.TimeOuts, site.Reactor.Counters.ConnectionsOpen));
    }

    [Theory]
    [InlineData("GET /a HTTP/1.1\r\nHost: x\r\nX-Long: aaaaaaaaaaaaaaaaaaaa\r\n\r\n", 0)]
    [InlineData("POST /handled HTTP/1.1\r\nHost: x\r\nContent-Length: 200\r\n\r\n", 0)]
    public void A_request_that_drips_in_is_answered_with_408_when_its_time_is_over(string head, int begin)
    {
        using var site = new RawServerTests.Site(handlers: new CheetahHandlers().Add("POST", "/handled", (in request, response) => response.Write("never"u8)));
        bool isBody = head.StartsWith("POST", StringComparison.Ordinal);
        Reader reader = Connect(site, isBody ? head : head[..1]);
        int sent = isBody ? begin : 1;
        TimeSpan next = TimeSpan.FromSeconds(1);
        Assert.True(site.Until(
            () =>
            {
                if (site.Time.Elapsed >= next && !reader.PeerClosed)
                {
                    next += TimeSpan.FromSeconds(1);
                    reader.Send(isBody ? "b" : head[sent..(sent + 1)]);
                    sent++;
                }

                return reader.Closed is not null;
            },
            TimeSpan.FromSeconds(40)));
        Assert.StartsWith("HTTP/1.1 408 ", reader.Text, StringComparison.Ordinal);
        Assert.InRange(sent, 8, 13);
        Assert.Equal(1, site.Reactor.Counters.TimeOuts);
    }

    [Fact]
    public void Who_says_nothing_is_let_go_after_a_while()
    {
        using var site = new RawServerTests.Site();
        Reader reader = Connect(site);
        Assert.False(site.Until(() => reader.PeerClosed, TimeSpan.FromSeconds(59)));
        Assert.True(site.Until(() => reader.PeerClosed, TimeSpan.FromSeconds(2)));
        Assert.Empty(reader.Bytes);
    }

    [Fact]
    public void Connections_beyond_the_limit_are_reset_until_one_has_gone()
    {
        using var site = new RawServerTests.Site(connectionsMax: 2);
        site.Documents.Set("/a", TestServer.Bytes(10));
        Reader first = Connect(site), second = Connect(site, isV6: true);
        Assert.True(site.Until(() => site.Reactor.Counters.ConnectionsOpen == 2, TimeSpan.FromSeconds(5)));
        Reader third = Connect(site, GetAndClose);
        Assert.True(site.Until(() => third.Closed is not null, TimeSpan.FromSeconds(5)));
        Assert.Equal(TcpCloseReason.Reset, third.Closed);
        Assert.Equal((2, 2, 1), (site.Reactor.Counters.ConnectionsAccepted, site.Reactor.Counters.ConnectionsOpen, site.Reactor.Counters.ConnectionsRefused));
        second.Send(GetAndClose);
        Assert.True(site.Until(() => second.Closed is not null && site.Reactor.Counters.ConnectionsOpen == 1, TimeSpan.FromSeconds(5)));
        Reader fourth = Connect(site, GetAndClose);
        Assert.True(site.Until(() => fourth.Closed is not null, TimeSpan.FromSeconds(5)));
        Assert.StartsWith("HTTP/1.1 200 ", fourth.Text, StringComparison.Ordinal);
        Assert.Null(first.Closed);
    }

    [Fact]
    public void The_end_lets_responses_under_way_finish_closes_who_is_idle_and_takes_nobody_more()
    {
        using var site = new RawServerTests.Site();
        byte[] bytes = TestServer.Bytes(900_000);
        site.Documents.Set("/a", bytes);
        Reader idle = Connect(site), asked = Connect(site, Get, allowance: 0);
        Assert.True(site.Until(() => site.Reactor.Counters.Requests == 1 && site.Reactor.Counters.ConnectionsOpen == 2, TimeSpan.FromSeconds(5)));
        site.Reactor.BeginDrain(TimeSpan.FromMinutes(5));
        Reader late = Connect(site, GetAndClose);
        Assert.True(site.Until(() => idle.Closed is not null && late.Closed is not null, TimeSpan.FromSeconds(5)));
        Assert.Equal((TcpCloseReason.Graceful, TcpCloseReason.Refused), (idle.Closed, late.Closed));
        Assert.Equal(1, site.Reactor.Counters.ConnectionsOpen);
        Assert.True(Read(site, asked, 20_000, () => asked.PeerClosed, TimeSpan.FromMinutes(2)));
        Assert.Equal(bytes, asked.Bytes[^900_000..]);
        Assert.Equal((0, 0), (site.Reactor.Counters.ConnectionsOpen, site.Reactor.Counters.ConnectionsAborted));
    }

    [Fact]
    public void The_end_cuts_what_is_left_when_its_time_is_over()
    {
        using var site = new RawServerTests.Site();
        site.Documents.Set("/a", TestServer.Bytes(900_000));
        Reader asked = Connect(site, Get, allowance: 0);
        Assert.True(site.Until(() => site.Reactor.Counters.Requests == 1, TimeSpan.FromSeconds(5)));
        site.Reactor.BeginDrain(TimeSpan.FromSeconds(3));
        TimeSpan began = site.Time.Elapsed;
        Assert.True(site.Until(() => asked.Closed is not null, TimeSpan.FromMinutes(1)));
        Assert.Equal(TcpCloseReason.Reset, asked.Closed);
        Assert.InRange((site.Time.Elapsed - began).TotalSeconds, 2.9, 3.2);
        Assert.Equal((0, 1), (site.Reactor.Counters.ConnectionsOpen, site.Reactor.Counters.ConnectionsAborted));
    }

    // Gives every document as bytes to be copied into frames that the cache has to find: many for /b.
    private sealed class Copying : IDocumentSource
    {
        public ValueTask<DocumentLookup> FindAsync(ReadOnlyMemory<byte> path, CancellationToken cancellationToken) =>
            new(DocumentLookup.Found(DocumentContent.FromBytes(TestServer.Bytes(path.Span.SequenceEqual("/b"u8) ? 900_000 : 4000), DateTimeOffset.UnixEpoch, 9)));

        public bool IsCurrent(DocumentContent content) => true;
    }

    [Fact]
    public void For_want_of_frames_the_answer_is_503_and_the_document_once_there_are_some()
    {
        using var site = new RawServerTests.Site(wrap: _ => new Copying());
        Assert.StartsWith("HTTP/1.1 200 ", Encoding.Latin1.GetString(site.Get(GetAndClose)), StringComparison.Ordinal);
        List<FrameNumber> taken = [];
        while (site.Frames.FreeCount > 60 && site.Frames.TryAllocateRun(site.Frames.RootCredential, 1, out FrameNumber frame))
        {
            taken.Add(frame);
        }

        Assert.StartsWith("HTTP/1.1 503 ", Encoding.Latin1.GetString(site.Get(GetAndClose.Replace("/a", "/b", StringComparison.Ordinal))), StringComparison.Ordinal);
        Assert.StartsWith("HTTP/1.1 200 ", Encoding.Latin1.GetString(site.Get(GetAndClose)), StringComparison.Ordinal);   // a small one finds some
        taken.ForEach(site.Frames.Release);
        Assert.StartsWith("HTTP/1.1 200 ", Encoding.Latin1.GetString(site.Get(GetAndClose.Replace("/a", "/b", StringComparison.Ordinal))), StringComparison.Ordinal);
    }

    // Sends everything and its end, and keeps what comes.
    private static string Exchange(RawServerTests.Site site, string requests, bool isV6)
    {
        Reader reader = Connect(site, requests, isV6);
        Assert.True(site.Until(() => reader.Connection is not null, TimeSpan.FromSeconds(5)));
        reader.Connection!.CloseSend();
        Assert.True(site.Until(() => reader.Closed is not null, TimeSpan.FromMinutes(2)));
        return reader.Text;
    }

    [Theory]
    [MemberData(nameof(HttpSemanticsTests.Requests), MemberType = typeof(HttpSemanticsTests))]
    public void A_request_gets_the_response_that_it_gets_on_sockets(string request, string status, string parts)
    {
        using var site = new RawServerTests.Site();
        HttpSemanticsTests.Fill((path, count) => site.Documents.Set(path, TestServer.Bytes(count), lastModified: new DateTimeOffset(2025, 5, 6, 7, 8, 9, TimeSpan.Zero)));
        string[] looked = [.. parts.Split('|').Select(part => part.StartsWith("Date: ", StringComparison.Ordinal) ? "Date: " : part)];
        foreach (bool isV6 in (bool[])[false, true])
        {
            HttpSemanticsTests.Check(Exchange(site, request, isV6), status, string.Join('|', looked));
        }
    }

    [Fact]
    public void Several_ranges_come_as_parts_with_the_right_bytes()
    {
        using var site = new RawServerTests.Site();
        byte[] bytes = TestServer.Bytes(100_000);
        site.Documents.Set("/a", bytes);
        string text = Exchange(site, "GET /a HTTP/1.1\r\nHost: x\r\nRange: bytes=0-9,50000-59999,-5\r\n\r\n" + Get, isV6: true);
        string boundary = text.Split("boundary=")[1].Split("\r\n")[0];
        string[] parts = text.Split($"\r\n--{boundary}");
        (int First, int Last)[] expected = [(0, 9), (50_000, 59_999), (99_995, 99_999)];
        foreach ((string part, (int first, int last)) in parts[1..4].Zip(expected))
        {
            Assert.Contains($"Content-Range: bytes {first}-{last}/100000\r\n", part, StringComparison.Ordinal);
            Assert.Equal(Encoding.Latin1.GetString(bytes, first, last - first + 1), part.Split("\r\n\r\n", 2)[1]);
        }

        Assert.StartsWith("--\r\nHTTP/1.1 200 ", parts[4], StringComparison.Ordinal);
        Assert.EndsWith(Encoding.Latin1.GetString(bytes), text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("Content-Length: 5\r\nTransfer-Encoding: chunked", "400|411")]
    [InlineData("Transfer-Encoding: chunked\r\nContent-Length: 5", "400|411")]
    [InlineData("Content-Length: 5\r\nContent-Length: 6", "400")]
    [InlineData("Content-Length: 5, 6", "400")]
    [InlineData("Content-Length: +5", "400")]
    [InlineData("Content-Length: 0x5", "400")]
    [InlineData("Content-Length : 5", "400")]
    [InlineData(" Content-Length: 5", "400")]
    [InlineData("X: y\r\n Content-Length: 5", "400")]
    [InlineData("Transfer-Encoding: xchunked", "400|411|501")]
    [InlineData("Transfer-Encoding\t: chunked", "400")]
    [InlineData("Host: y", "400")]
    [InlineData("X: a\rb", "400")]
    [InlineData("X: a\0b", "400")]
    public void Nothing_is_smuggled_behind_a_request_whose_length_is_in_doubt(string field, string statuses)
    {
        using var site = new RawServerTests.Site();
        site.Documents.Set("/a", TestServer.Bytes(10));
        string text = Exchange(site, $"GET /a HTTP/1.1\r\nHost: x\r\n{field}\r\n\r\n{Get}{Get}", isV6: false);
        string answer = Assert.Single(text.Split("HTTP/1.1 ")[1..]);
        Assert.Contains(answer[..3], statuses.Split('|'));
        Assert.Contains("Connection: close", answer, StringComparison.Ordinal);
    }
}
