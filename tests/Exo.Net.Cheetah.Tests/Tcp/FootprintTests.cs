// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Net.Cheetah.Ip;
using Exo.Net.Cheetah.Pipes;
using Exo.Net.Cheetah.Tcp;
using Exo.Simulation.Net;
using Exo.Simulation.Timing;

namespace Exo.Net.Cheetah.Tests.Tcp;

/// <summary>Tests that measure the whole process: nothing else runs meanwhile.</summary>
[CollectionDefinition(nameof(Alone), DisableParallelization = true)]
public class Alone;

/// <summary>What a connection costs when nothing happens, and a segment when something does.</summary>
[Collection(nameof(Alone))]
public class FootprintTests
{
    private sealed class Still : ITcpHandler
    {
        /// <summary>What to say once.</summary>
        public byte[] Request { get; init; } = [];

        public int Opened { get; private set; }

        /// <summary>How often something has come.</summary>
        public int Received { get; private set; }

        public void OnOpened(TcpConnection connection)
        {
            Opened++;
            Assert.True(connection.TrySend(Request));
        }

        public int OnReceived(TcpConnection connection, ReadOnlySpan<byte> bytes)
        {
            Received++;
            return bytes.Length;
        }

        public void OnAcknowledged(TcpConnection connection)
        {
        }

        public void OnPeerClosed(TcpConnection connection)
        {
        }

        public void OnClosed(TcpConnection connection, TcpCloseReason reason)
        {
        }
    }

    // Sends without end, from one buffer.
    private sealed class Pump : ITcpHandler
    {
        private readonly byte[] chunk = new byte[16384];

        public long Received { get; private set; }

        public void OnOpened(TcpConnection connection) => Fill(connection);

        public int OnReceived(TcpConnection connection, ReadOnlySpan<byte> bytes)
        {
            Received += bytes.Length;
            return bytes.Length;
        }

        public void OnAcknowledged(TcpConnection connection) => Fill(connection);

        public void OnPeerClosed(TcpConnection connection)
        {
        }

        public void OnClosed(TcpConnection connection, TcpCloseReason reason)
        {
        }

        private void Fill(TcpConnection connection)
        {
            while (connection.QueuedBytes < 256 * 1024 && connection.TrySend(chunk))
            {
            }
        }
    }

    // Takes what the simulated device itself allocates out of the account.
    private sealed class Accounted(NetworkDevice inner) : NetworkDevice(inner.Name, inner.Frames)
    {
        public long AllocatedBytes { get; private set; }

        public override NetworkDeviceFeatures Features => inner.Features;

        public override NetworkDeviceCounters Counters => inner.Counters;

        public override NetworkEvents Wait(NetworkEvents wanted, TimeSpan timeout) => inner.Wait(wanted, timeout);

        public override void Wake() => inner.Wake();

        protected override int TransmitChecked(ReadOnlySpan<TransmitPacket> packets, ReadOnlySpan<PacketSlice> slices)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            int count = inner.Transmit(packets, slices);
            AllocatedBytes += GC.GetAllocatedBytesForCurrentThread() - before;
            return count;
        }

        protected override int ReceiveInto(ReceiveBatch batch)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            int count = inner.Receive(batch);
            AllocatedBytes += GC.GetAllocatedBytesForCurrentThread() - before;
            return count;
        }

        protected override void Dispose(bool disposing) => inner.Dispose();
    }

    private const int IdleCount = 20_000;

    // What one connection takes of both ends together, or of all that the action makes for one.
    private static long BytesEach(Action<int> open, Action settle)
    {
        for (int i = 0; i < 100; i++)
        {
            open(i);   // pools, tables and code
        }

        settle();
        long before = BytesLive();
        for (int i = 0; i < IdleCount; i++)
        {
            open(100 + i);
        }

        settle();
        return (BytesLive() - before) / IdleCount;
    }

    // Also without what only finalizers keep: of tests that ran before, that goes at some time.
    private static long BytesLive()
    {
        for (int i = 0; i < 3; i++)
        {
            GC.Collect(GC.MaxGeneration, GCCollectionMode.Forced, blocking: true, compacting: true);
            GC.WaitForPendingFinalizers();
        }

        return GC.GetTotalMemory(forceFullCollection: true);
    }

    private static long BareBytes()
    {
        using var hosts = new TwoHosts();
        var handler = new Still();
        hosts.B.Listen(80, handler);
        long both = BytesEach(
            i =>
            {
                hosts.A.Connect(TwoHosts.ServerV4, handler);
                if (i % 100 == 99)
                {
                    Assert.True(hosts.Run(() => handler.Opened == (2 * i) + 2, TimeSpan.FromSeconds(10)));
                }
            },
            () => hosts.Pass(TimeSpan.FromSeconds(5)));
        Assert.Equal(IdleCount + 100, hosts.A.ConnectionCount);
        return both / 2;
    }

    [Fact]
    public void Twenty_thousand_idle_connections_take_at_most_two_kibibytes_each()
    {
        long each = BareBytes();
        TestContext.Current.TestOutputHelper!.WriteLine($"{each} bytes");
        Assert.InRange(each, 1, 2048);
    }

    [Fact]
    public void Twenty_thousand_idle_clients_of_a_server_take_at_most_two_kibibytes_each()
    {
        long bare = BareBytes();
        using var site = new Raw.RawServerTests.Site();
        site.Documents.Set("/a", new byte[100]);
        var handler = new Still { Request = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n"u8.ToArray() };
        long both = BytesEach(
            i =>
            {
                site.Client.Connect(Raw.RawServerTests.Site.V4, handler);
                if (i % 50 == 49)
                {
                    Assert.True(site.Until(() => handler.Received == i + 1, TimeSpan.FromSeconds(3)), $"{handler.Received} of {i + 1} at {site.Time.Elapsed}");
                    site.Until(() => false, TimeSpan.FromMilliseconds(60));   // until responses are acknowledged: what they lie in goes back to pools, and is the next ones'
                }
            },
            () => site.Until(() => false, TimeSpan.FromSeconds(1)));
        Assert.Equal(IdleCount + 100, site.Reactor.Counters.ConnectionsOpen);
        Assert.Equal(IdleCount + 100, site.Reactor.Counters.Requests);
        long each = both - bare;
        TestContext.Current.TestOutputHelper!.WriteLine($"{each} bytes, {bare} of them the stack's");
        Assert.InRange(each, 1, 2048);
    }

    [Fact]
    public async Task Twenty_thousand_idle_pipes_take_at_most_two_kibibytes_each()
    {
        long bare = BareBytes();
        using var hosts = new TwoHosts();
        Task<TcpPipeListener> starting = TcpPipeListener.StartAsync(hosts.B, 80);
        while (!starting.IsCompleted)
        {
            hosts.B.Poll();
            Thread.Yield();
        }

        TcpPipeListener listener = await starting;
        var handler = new Still();
        List<TcpPipeConnection> accepted = new(IdleCount + 100);
        long both = BytesEach(
            i =>
            {
                hosts.A.Connect(TwoHosts.ServerV4, handler);
                if (i % 100 == 99)
                {
                    Assert.True(hosts.Run(() => handler.Opened == i + 1, TimeSpan.FromSeconds(10)));
                    hosts.Pass(TimeSpan.FromMilliseconds(100));
                    while (accepted.Count <= i)
                    {
                        ValueTask<TcpPipeConnection> next = listener.AcceptAsync();
                        Assert.True(next.IsCompleted);
                        accepted.Add(next.Result);
                    }
                }
            },
            () => hosts.Pass(TimeSpan.FromSeconds(5)));
        Assert.Equal(IdleCount + 100, hosts.B.ConnectionCount);
        long each = both - bare;
        TestContext.Current.TestOutputHelper!.WriteLine($"{each} bytes, {bare} of them the stack's");
        Assert.InRange(each, 1, 2048);
    }

    [Fact]
    public void A_segment_allocates_nothing()
    {
        var time = new VirtualTime();
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 32 << 20 });
        (SimulatedWire wire, SimulatedNetworkDevice deviceA, SimulatedNetworkDevice deviceB) = SimulatedWire.CreatePair(frames, frames, time: time);
        using (wire)
        {
            var accountedA = new Accounted(deviceA);
            var accountedB = new Accounted(deviceB);
            using var a = new NetworkStack(accountedA, new NetworkStackOptions { Addresses = [InterfaceAddress.Parse("10.0.0.1/24")], Time = time, Seed = 1 });
            using var b = new NetworkStack(accountedB, new NetworkStackOptions { Addresses = [InterfaceAddress.Parse("10.0.0.2/24")], Time = time, Seed = 2 });
            var sender = new Pump();
            var receiver = new Still();
            b.Listen(80, receiver);
            a.Connect(TwoHosts.ServerV4, sender);
            void Run(long bytes)
            {
                long until = b.Tcp.Counters.BytesReceived + bytes;
                while (b.Tcp.Counters.BytesReceived < until)
                {
                    if (a.Poll() + b.Poll() == 0)
                    {
                        time.Advance(TimeSpan.FromMilliseconds(1));
                    }
                }
            }

            Run(8 << 20);
            long before = GC.GetAllocatedBytesForCurrentThread() - accountedA.AllocatedBytes - accountedB.AllocatedBytes;
            Run(32 << 20);
            long allocated = GC.GetAllocatedBytesForCurrentThread() - accountedA.AllocatedBytes - accountedB.AllocatedBytes - before;
            Assert.InRange(allocated, 0, 16 * 1024);   // 24,000 segments
        }
    }
}
