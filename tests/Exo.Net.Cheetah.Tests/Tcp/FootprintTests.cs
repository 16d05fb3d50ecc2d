// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Net.Cheetah.Ip;
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
        public int Opened { get; private set; }

        public void OnOpened(TcpConnection connection) => Opened++;

        public int OnReceived(TcpConnection connection, ReadOnlySpan<byte> bytes) => bytes.Length;

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

    [Fact]
    public void An_idle_connection_takes_at_most_two_kibibytes()
    {
        const int Count = 2000;
        using var hosts = new TwoHosts();
        var handler = new Still();
        hosts.B.Listen(80, handler);
        hosts.A.Connect(TwoHosts.ServerV4, handler);
        hosts.Run(() => handler.Opened == 2, TimeSpan.FromSeconds(10));
        long before = GC.GetTotalMemory(forceFullCollection: true);
        for (int i = 0; i < Count; i++)
        {
            hosts.A.Connect(TwoHosts.ServerV4, handler);
            if (i % 100 == 99)
            {
                Assert.True(hosts.Run(() => handler.Opened == (2 * i) + 4, TimeSpan.FromSeconds(10)));
            }
        }

        hosts.Pass(TimeSpan.FromSeconds(5));
        Assert.Equal(Count + 1, hosts.A.ConnectionCount);
        long each = (GC.GetTotalMemory(forceFullCollection: true) - before) / (2 * Count);
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
