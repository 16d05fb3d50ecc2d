// SPDX-License-Identifier: MIT
using System.Net;
using Exo.Capabilities;
using Exo.Core.Environments;
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Core.PacketFilters;
using Exo.Core.Predicates;
using Exo.Core.Tests.PacketFilters;
using Exo.Tests;

namespace Exo.Core.Tests.Net;

/// <summary>Rings behind filters: each environment gets its packets and nobody else's.</summary>
public sealed class PacketRingTests : IDisposable
{
    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 4 << 20 });
    private readonly ScriptedDevice _device;
    private readonly ExoEnvironment _root;
    private readonly PacketDemultiplexer _demultiplexer;

    public PacketRingTests()
    {
        _device = new ScriptedDevice(_frames);
        _root = ExoEnvironment.CreateRoot(_frames.Authority);
        _demultiplexer = new PacketDemultiplexer(_device, _frames.Authority);
    }

    public void Dispose()
    {
        _demultiplexer.Dispose();
        _root.Dispose();
        _device.Dispose();
        int free = _frames.FreeCount;
        _frames.Dispose();
        Assert.Equal(_frames.FrameCount, free);
    }

    [Fact]
    public void Each_ring_gets_the_packets_of_its_filters_and_what_nobody_wants_is_counted()
    {
        using ExoEnvironment web = _root.CreateChild([1]), mail = _root.CreateChild([2]);
        PacketRing webRing = Open(web, 8), mailRing = Open(mail, 8);
        Assert.True(_demultiplexer.TryInsert(webRing, Port(80), out _).IsInstalled);
        Assert.True(_demultiplexer.TryInsert(webRing, Port(443), out _).IsInstalled);
        Assert.True(_demultiplexer.TryInsert(mailRing, Port(25), out InstalledFilter? smtp).IsInstalled);
        Assert.Equal(FilterRefusal.Overlap, _demultiplexer.TryInsert(mailRing, Port(80), out _).Refusal);
        _device.Arrive(Tcp(80), Tcp(25), Tcp(443), Tcp(22), Tcp(80));
        Assert.Equal(5, _demultiplexer.Poll());
        Assert.Equal((3, 1, 1L), (webRing.Count, mailRing.Count, _demultiplexer.Unclaimed));

        using ReceiveBatch batch = new(_frames);
        Assert.Throws<AccessDeniedException>(() => mailRing.Receive(web.Credential, batch));
        Assert.Equal(3, webRing.Receive(web.Credential, batch));
        Assert.Equal([Tcp(80), Tcp(443), Tcp(80)], Enumerable.Range(0, 3).Select(i => batch.Head(i).ToArray()));
        Assert.Equal(0, webRing.Receive(web.Credential, batch));
        Assert.Equal(1, mailRing.Receive(_root.Credential, batch));
        smtp!.Dispose();
        _device.Arrive(Tcp(25));
        _demultiplexer.Poll();
        Assert.Equal((0, 2L), (mailRing.Count, _demultiplexer.Unclaimed));
    }

    [Fact]
    public void A_full_ring_loses_its_own_packets_only_and_frames_come_back()
    {
        using ExoEnvironment slow = _root.CreateChild([1]), quick = _root.CreateChild([2]);
        PacketRing slowRing = Open(slow, 3), quickRing = Open(quick, 16);
        _demultiplexer.TryInsert(slowRing, Port(1), out _);
        _demultiplexer.TryInsert(quickRing, Port(2), out _);
        using ReceiveBatch batch = new(_frames);
        for (int i = 0; i < 100; i++)
        {
            _device.Arrive(Tcp(1), Tcp(2), Tcp(1));
            _demultiplexer.Poll();
            Assert.Equal(1, quickRing.Receive(quick.Credential, batch));
        }

        Assert.Equal((3, 197L, 0L), (slowRing.Count, slowRing.Lost, quickRing.Lost));
        Assert.Equal(3, slowRing.Receive(slow.Credential, batch));
        slowRing.Dispose();
        slowRing.Dispose();
        Assert.Throws<ObjectDisposedException>(() => slowRing.Receive(slow.Credential, batch));
        Assert.Equal((0, 0, 0), (slow.Held(ResourceKind.RingSlots), slow.Held(ResourceKind.Ports), slow.Held(ResourceKind.Frames)));
    }

    [Fact]
    public void Slots_are_under_a_quota_and_can_be_repossessed()
    {
        using ExoEnvironment small = _root.CreateChild([1], new EnvironmentQuotas { RingSlots = 10 });
        Assert.Equal(QuotaRefusal.QuotaExhausted, _demultiplexer.TryOpenRing(small, 11, out PacketRing? none).Refusal);
        Assert.Null(none);
        Assert.Equal((0, 0), (small.Held(ResourceKind.RingSlots), small.Held(ResourceKind.Frames)));
        PacketRing ring = Open(small, 10);
        _demultiplexer.TryInsert(ring, Port(1), out _);
        Assert.Equal(10, small.Held(ResourceKind.RingSlots));

        // The environment ends: everything is taken, the ring keeps nothing and takes nothing.
        _device.Arrive(Tcp(1), Tcp(1));
        _demultiplexer.Poll();
        small.Dispose();
        Assert.Equal(0, ring.Capacity);
        _device.Arrive(Tcp(1));
        _demultiplexer.Poll();
        Assert.Equal(2, ring.Count);
        using ReceiveBatch batch = new(_frames);
        Assert.Throws<AccessDeniedException>(() => ring.Receive(small.Credential, batch));
    }

    [Fact]
    public async Task An_environment_sleeps_until_its_ring_has_something()
    {
        using ExoEnvironment web = _root.CreateChild([1]);
        PacketRing ring = Open(web, 8);
        _demultiplexer.TryInsert(ring, Port(80), out _);
        SecureBinding<Frame> counters = _frames.Bind(web.Credential, ring.CounterFrame, Rights.Read);
        using WakeupPredicate arrived = WakeupPredicate.Bind(new PredicateProduct(7, PredicateValue.Word(counters, 0).NotEqualTo(0)));
        ValueTask<ulong> sleep = web.SleepUntil(arrived);
        _device.Arrive(Tcp(22));
        _demultiplexer.Poll();
        Assert.False(sleep.IsCompleted);
        _device.Arrive(Tcp(80));
        _demultiplexer.Poll();
        Assert.Equal(7ul, await sleep);
    }

    [Fact]
    public void Putting_and_taking_allocate_nothing()
    {
        using ExoEnvironment web = _root.CreateChild([1]);
        PacketRing ring = Open(web, 64);
        _demultiplexer.TryInsert(ring, Port(80), out _);
        using ReceiveBatch batch = new(_frames);
        byte[][] packets = [.. Enumerable.Repeat(Tcp(80), 32)];
        Exchange(100);
        Assert.Equal(0, Allocations.Least(() => Exchange(1000)));

        void Exchange(int rounds)
        {
            for (int i = 0; i < rounds; i++)
            {
                _device.Arrive(packets);
                _demultiplexer.Poll();
                Assert.True(ring.Receive(web.Credential, batch) == 32);
            }
        }
    }

    private PacketRing Open(ExoEnvironment owner, int slots)
    {
        Assert.True(_demultiplexer.TryOpenRing(owner, slots, out PacketRing? ring).IsGranted);
        return ring!;
    }

    private static PacketFilter Port(int port) => ProtocolFilters.Port(ProtocolFilters.Tcp, new IPEndPoint(IPAddress.Any, port));

    private static byte[] Tcp(int port) => FilterOwnershipTests.TcpPacket(new(0x0200000a, 9), new(0x0100000a, port), optionWords: 0);

    /// <summary>A device to which packets come as the test says.</summary>
    private sealed class ScriptedDevice(FramePool frames) : NetworkDevice("script", frames)
    {
        private readonly ReceiveFrames _receiveFrames = new(frames, frames.RootCredential, 128);
        private byte[][] _arrived = [];

        public override NetworkDeviceFeatures Features { get; } = new() { Driver = "script", Address = default, MtuBytes = 1500 };

        public override NetworkDeviceCounters Counters => default;

        public void Arrive(params byte[][] packets) => _arrived = packets;

        public override NetworkEvents Wait(NetworkEvents wanted, TimeSpan timeout) => wanted;

        public override void Wake()
        {
        }

        protected override int TransmitChecked(ReadOnlySpan<TransmitPacket> packets, ReadOnlySpan<PacketSlice> slices) => packets.Length;

        protected override int ReceiveInto(ReceiveBatch batch)
        {
            foreach (byte[] packet in _arrived)
            {
                Assert.True(_receiveFrames.TryTake(out FrameNumber frame));
                packet.CopyTo(Frames.Bytes(frame));
                batch.Add(_receiveFrames, [new PacketSlice(frame, 0, packet.Length)]);
            }

            _arrived = [];
            return batch.Count;
        }

        protected override void Dispose(bool disposing) => _receiveFrames.Dispose();
    }
}
