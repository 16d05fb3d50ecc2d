// SPDX-License-Identifier: MIT
using System.Net;
using System.Text;
using Exo.Core.Memory;
using Exo.Net.Cheetah.Ip;
using Exo.Net.Cheetah.Ranges;
using Exo.Net.Cheetah.Raw;
using Exo.Net.Cheetah.Tcp;
using Exo.Net.Cheetah.Tests.Raw;
using Exo.Net.Cheetah.Tests.Sockets;
using Exo.Net.Cheetah.Tests.Tcp;
using Exo.Simulation.Net;
using Exo.Simulation.Timing;

namespace Exo.Net.Cheetah.Tests.Ranges;

/// <summary>Documents that are read range by range while they are sent, on the server's own stack and a simulated wire that loses packets.</summary>
public class RawRangedDocumentTests
{
    private const long Large = 10L << 30;

    private static string Get(string target, string fields = "", bool closes = false) => $"GET {target} HTTP/1.1\r\nHost: x\r\n{fields}{(closes ? "Connection: close\r\n" : "")}\r\n";

    // Two stacks in one thread; sources answer at once unless they are told to hold back.
    private sealed class Site : IDisposable
    {
        private readonly SimulatedWire wire;
        private readonly MemoryDocumentSource small;

        public Site(int seed = 1, SimulatedDeviceOptions? device = null, long poolBytes = 32 << 20, bool givesBytes = false, long windowBytes = 1 << 20)
        {
            Frames = FramePool.Create(new FramePoolOptions { CapacityBytes = poolBytes });
            small = new MemoryDocumentSource(Frames);
            Source = new LargeSource(Frames, small) { GivesBytes = givesBytes };
            (wire, SimulatedNetworkDevice client, SimulatedNetworkDevice inner) = SimulatedWire.CreatePair(Frames, Frames, device, Time, seed);
            Device = new WatchedDevice(inner);
            NetworkStackOptions Network(string address) => new() { Addresses = [InterfaceAddress.Parse(address)], Time = Time, Seed = (ulong)seed };
            Server = new CheetahServer(
                new CheetahServerOptions { Device = Device, Network = Network("10.0.0.2/24"), EndPoint = new IPEndPoint(IPAddress.Any, 80), Time = Time, DocumentWindowBytes = windowBytes }, Source, Frames);
            Reactor = Server.StartRaw(Device);
            Client = new NetworkStack(client, Network("10.0.0.1/24"));
        }

        public VirtualTime Time { get; } = new();

        public FramePool Frames { get; }

        public LargeSource Source { get; }

        public MemoryDocumentSource Small => small;

        public WatchedDevice Device { get; }

        public SimulatedWire Wire => wire;

        public CheetahServer Server { get; }

        public RawReactor Reactor { get; }

        public NetworkStack Client { get; }

        public DocumentWindows Windows => Server.Cache.Windows;

        public Reader Connect(string request, bool reads = true)
        {
            var reader = new Reader(request) { Reads = reads };
            Client.Connect(new IPEndPoint(IPAddress.Parse("10.0.0.2"), 80), reader);
            return reader;
        }

        public bool Until(Func<bool> condition, TimeSpan? most = null)
        {
            TimeSpan end = Time.Elapsed + (most ?? TimeSpan.FromMinutes(20));
            bool holds;
            while (!(holds = condition()) && Time.Elapsed < end)
            {
                if (Client.Poll() + Reactor.Turn() == 0)
                {
                    Time.PassTo(wire);
                }
            }

            return holds;
        }

        public void Dispose()
        {
            // What is held back belongs to nobody any more when it comes.
            Client.Dispose();
            Reactor.Dispose();
            Source.HoldsFrom = long.MaxValue;
            Source.LetGo();
            Server.Cache.Dispose();
            Assert.Equal(0, Windows.HeldBytes);
            Assert.Equal(0, Windows.FlowCount);
            small.Dispose();
            wire.Dispose();
            Assert.Equal(Frames.FrameCount, Frames.FreeCount);
            Frames.Dispose();
        }
    }

    // Checks bodies as they come, one response behind the other, and keeps their heads.
    private sealed class Reader(string request) : ITcpHandler
    {
        private readonly List<byte> head = [];
        private TcpConnection? connection;
        private long place, left;

        public List<string> Heads { get; } = [];

        public int Done { get; private set; }

        public long BodyBytes { get; private set; }

        public bool Reads { get; set; } = true;

        public TcpCloseReason? Ended { get; private set; }

        public void OnOpened(TcpConnection connection)
        {
            this.connection = connection;
            Assert.True(connection.TrySend(Encoding.ASCII.GetBytes(request)));
        }

        public int OnReceived(TcpConnection connection, ReadOnlySpan<byte> bytes)
        {
            if (!Reads)
            {
                connection.PauseReceive();
                return 0;
            }

            int all = bytes.Length;
            while (!bytes.IsEmpty)
            {
                if (left > 0)
                {
                    ReadOnlySpan<byte> body = bytes[..(int)Math.Min(left, bytes.Length)];
                    if (Heads[^1].StartsWith("HTTP/1.1 2", StringComparison.Ordinal))
                    {
                        LargeSource.Check(body, place);
                    }

                    place += body.Length;
                    left -= body.Length;
                    BodyBytes += body.Length;
                    bytes = bytes[body.Length..];
                    Done += left == 0 ? 1 : 0;
                    continue;
                }

                head.Add(bytes[0]);
                bytes = bytes[1..];
                if (head is [.., (byte)'\r', (byte)'\n', (byte)'\r', (byte)'\n'])
                {
                    string text = Encoding.ASCII.GetString([.. head]);
                    head.Clear();
                    Heads.Add(text);
                    left = long.Parse(Field(text, "Content-Length: ")!);
                    place = Field(text, "Content-Range: bytes ") is { } range ? long.Parse(range.Split('-')[0]) : 0;
                    Done += left == 0 ? 1 : 0;
                }
            }

            return all;
        }

        public void GoOn()
        {
            Reads = true;
            connection!.ResumeReceive();
        }

        public void CloseSend() => connection!.CloseSend();

        public void Leave() => connection!.Abort();

        public void OnAcknowledged(TcpConnection connection)
        {
        }

        public void OnPeerClosed(TcpConnection connection) => connection.CloseSend();

        public void OnClosed(TcpConnection connection, TcpCloseReason reason) => Ended = reason;

        private static string? Field(string head, string name) =>
            head.Split("\r\n").SingleOrDefault(line => line.StartsWith(name, StringComparison.Ordinal))?[name.Length..];
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Nothing_is_copied_and_the_next_request_is_answered_behind_it(bool devicesSum)
    {
        using var site = new Site(device: new SimulatedDeviceOptions { TransmitChecksum = devicesSum, TransmitsFromFrames = true });
        const int Length = 5_000_001;
        Reader reader = site.Connect(Get($"/{Length}") + Get($"/{Large}", $"Range: bytes={Large - 70_000}-\r\n") + Get("/1") + Get($"/{Large}", "Range: bytes=4294967290-4294967305\r\n", closes: true));
        Assert.True(site.Until(() => reader.Ended is not null));
        Assert.Equal(TcpCloseReason.Graceful, reader.Ended);
        Assert.Equal(4, reader.Done);
        Assert.Equal(Length + 70_000 + 1 + 16, reader.BodyBytes);
        Assert.Equal(0, site.Server.Counters.PayloadBytesCopied);
        Assert.Equal(0, site.Server.Counters.BytesCopied);
        Assert.Equal(Length + 70_000 + 1 + 16, site.Server.Counters.PayloadBytesSent);
        Assert.InRange(site.Windows.HeldBytesMax, 1, 1 << 20);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void A_wire_that_loses_doubles_and_swaps_packets_delivers_it_whole(int seed)
    {
        using var site = new Site(seed, new SimulatedDeviceOptions { TransmitsFromFrames = seed % 2 == 0 });
        site.Wire.Impairments = new WireImpairments { Loss = 0.02, Duplication = 0.01, Reordering = 0.02, Delay = TimeSpan.FromMilliseconds(5), Jitter = TimeSpan.FromMilliseconds(1) };
        Reader[] readers = [.. Enumerable.Range(0, 3).Select(i => site.Connect(Get($"/{6_000_000 + i}") + Get($"/{Large}", "Range: bytes=2147480000-2147490000\r\n")))];
        Assert.True(site.Until(() => readers.All(one => one.Done == 2)));
        Assert.Equal(18_000_003 + (3 * 10_001), readers.Sum(one => one.BodyBytes));
        Assert.True(site.Reactor.Stack.Tcp.Counters.BytesResent > 0);
        Assert.InRange(site.Windows.HeldBytesMax, 1, 3 << 20);
        Assert.Equal(0, site.Server.Counters.PayloadBytesCopied);
        foreach (Reader reader in readers)
        {
            reader.Leave();
        }

        Assert.True(site.Until(() => site.Windows.HeldBytes == 0));
    }

    [Fact]
    public void Who_does_not_read_holds_no_more_than_a_window_until_he_is_cut_off()
    {
        using var site = new Site();
        Reader sleeper = site.Connect(Get($"/{Large}"), reads: false);
        Assert.True(site.Until(() => site.Windows.HeldBytes >= 512 << 10));
        Reader awake = site.Connect(Get("/9000000"));
        Assert.True(site.Until(() => awake.Done == 1));
        Assert.InRange(site.Windows.HeldBytesMax, 1, 2 << 20);
        Assert.InRange(site.Windows.HeldBytes, 1, 1 << 20);
        Assert.True(site.Until(() => site.Server.Counters.ConnectionsOpen == 1, TimeSpan.FromMinutes(1)));
        Assert.True(site.Until(() => site.Windows.HeldBytes == 0, TimeSpan.FromMinutes(1)));
        Assert.Equal(1, site.Server.Counters.TimeOuts);
    }

    [Fact]
    public void Who_reads_now_and_then_gets_all_of_it()
    {
        using var site = new Site();
        Reader reader = site.Connect(Get("/4000000"));
        while (reader.Done == 0)
        {
            reader.Reads = false;
            site.Until(() => false, TimeSpan.FromMilliseconds(500));
            reader.GoOn();
            Assert.True(site.Until(() => true, TimeSpan.FromMilliseconds(20)));
            site.Until(() => false, TimeSpan.FromMilliseconds(20));
        }

        Assert.Equal(4_000_000, reader.BodyBytes);
    }

    [Fact]
    public void Several_at_once_that_each_exceed_the_pool_share_a_quarter_of_it()
    {
        using var site = new Site(poolBytes: 12 << 20);
        site.Small.Set("/small", TestServer.Bytes(1));
        Reader[] readers = [.. Enumerable.Range(0, 12).Select(i => site.Connect(Get($"/{(13 << 20) + (i % 5)}")))];
        Assert.True(site.Until(() => readers.All(one => one.Done == 1)));
        Assert.InRange(site.Windows.HeldBytesMax, 1, 3 << 20);
        foreach (Reader reader in readers)
        {
            reader.Leave();
        }

        site.Until(() => false, TimeSpan.FromSeconds(1));
    }

    [Fact]
    public void A_document_that_changes_under_way_ends_with_a_reset()
    {
        using var site = new Site();
        Reader reader = site.Connect(Get($"/{Large}"));
        Assert.True(site.Until(() => reader.BodyBytes > 3_000_000));
        site.Source.Version = 1;
        Assert.True(site.Until(() => reader.Ended is not null));
        Assert.Equal(TcpCloseReason.Reset, reader.Ended);
        Assert.InRange(reader.BodyBytes, 3_000_000, 5_000_000);
        Assert.Equal(1, site.Server.Counters.ConnectionsAborted);
    }

    [Fact]
    public void A_first_range_that_does_not_come_is_503_and_a_later_one_a_reset()
    {
        using var site = new Site();
        site.Source.HoldsFrom = 1_000_000;
        Reader first = site.Connect(Get($"/{Large}", "Range: bytes=1000000-1000009\r\n"));
        Assert.True(site.Until(() => first.Ended is not null, TimeSpan.FromMinutes(2)));
        Assert.StartsWith("HTTP/1.1 503 ", Assert.Single(first.Heads), StringComparison.Ordinal);
        Reader later = site.Connect(Get($"/{Large}"));
        Assert.True(site.Until(() => later.Ended is not null, TimeSpan.FromMinutes(2)));
        Assert.Equal(TcpCloseReason.Reset, later.Ended);
        Assert.Equal(786_432, later.BodyBytes);
    }

    [Fact]
    public void A_range_that_comes_late_goes_on_where_it_stopped()
    {
        using var site = new Site(givesBytes: true);
        site.Source.HoldsFrom = 0;
        Reader reader = site.Connect(Get("/1000000") + Get("/300000", closes: true));
        while (reader.Ended is null)
        {
            site.Until(() => site.Source.HeldCount > 0, TimeSpan.FromMilliseconds(100));
            site.Source.LetGo();
        }

        Assert.Equal(2, reader.Done);
        Assert.Equal(1_300_000, reader.BodyBytes);
        Assert.Equal(1_300_000, site.Server.Counters.PayloadBytesCopied);
        Assert.Equal(TcpCloseReason.Graceful, reader.Ended);
    }

    [Fact]
    public void A_server_that_stops_finishes_what_is_under_way()
    {
        using var site = new Site();
        Reader reader = site.Connect(Get("/8000000"));
        Assert.True(site.Until(() => reader.BodyBytes > 1_000_000));
        site.Reactor.BeginDrain(TimeSpan.FromMinutes(1));
        Assert.True(site.Until(() => reader.Ended is not null, TimeSpan.FromSeconds(50)));
        Assert.Equal(8_000_000, reader.BodyBytes);
        Assert.Equal(TcpCloseReason.Graceful, reader.Ended);
    }

    [Fact]
    public void Who_closes_his_side_behind_the_request_gets_all_of_it()
    {
        using var site = new Site();
        Reader reader = site.Connect(Get("/8000000"));
        Assert.True(site.Until(() => reader.BodyBytes > 100_000));
        reader.CloseSend();
        Assert.True(site.Until(() => reader.Ended is not null, TimeSpan.FromSeconds(50)));
        Assert.Equal(8_000_000, reader.BodyBytes);
        Assert.Equal(TcpCloseReason.Graceful, reader.Ended);
    }
}
