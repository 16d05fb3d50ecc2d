// SPDX-License-Identifier: MIT
using CsCheck;
using Exo.Core.Environments;
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Core.Predicates;
using Exo.Capabilities;

namespace Exo.Core.Tests.Net;

/// <summary>Environments that compete for an interface, on a line of so many bytes a tick: what each gets depends on weights and sizes alone.</summary>
public sealed class TransmitShareTests : IDisposable
{
    private const int Ticks = 2000;
    private const int BytesPerTick = 12_000;
    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 1 << 20 });
    private readonly ExoEnvironment _root;
    private readonly LineDevice _line;

    public TransmitShareTests()
    {
        _root = ExoEnvironment.CreateRoot(_frames.Authority);
        _line = new LineDevice(_frames);
    }

    public void Dispose()
    {
        _line.Dispose();
        _root.Dispose();
        int free = _frames.FreeCount;
        _frames.Dispose();
        Assert.Equal(_frames.FrameCount, free);
    }

    /// <summary>One of those who compete.</summary>
    private sealed record Tenant(int Weight, int BytesMin, int BytesMax);

    [Fact]
    public void Each_gets_its_share_whatever_the_sizes_and_the_line_is_full()
    {
        Gen.Select(Gen.Int[1, 5], Gen.Int[60, 700], Gen.Int[60, 1500]).Select((weight, least, most) => new Tenant(weight, least, Math.Max(least, most))).Array[2, 4].Select(Gen.Int).Sample((tenants, seed) =>
        {
            long[] got = Run(tenants, seed);
            double total = got.Sum();
            double alone = Run([tenants[0]], seed).Sum();
            Assert.InRange(total, alone * 0.95, alone * 1.05);
            for (int i = 0; i < tenants.Length; i++)
            {
                double share = total * tenants[i].Weight / tenants.Sum(tenant => tenant.Weight);
                Assert.InRange(got[i], share * 0.95, share * 1.05);
            }
        }, iter: 20);
    }

    [Fact]
    public void What_one_does_not_send_the_others_may_and_it_is_served_soon_when_it_does()
    {
        using TransmitShares shares = new(_line);
        TransmitShare greedy = Add(shares, 1, 1, 256), modest = Add(shares, 2, 1, 256);
        FrameNumber frame = Frame();
        long sentBefore = 0;
        for (int tick = 0; tick < 200; tick++)
        {
            _line.Tick(BytesPerTick);
            while (greedy.TrySend(new PacketSlice(frame, 0, 1500)))
            {
            }

            if (tick % 10 == 0)
            {
                Assert.Equal(0, modest.Count);
                Assert.True(modest.TrySend(new PacketSlice(frame, 0, 100)));
            }

            while (shares.Poll() > 0)
            {
            }

            Assert.Equal((tick + 1) * (long)BytesPerTick / 1500 * 1500, _line.SentBytes, 2.0 * 64 * 1500);
            sentBefore = modest.BytesSent;
        }

        Assert.Equal(20 * 100, sentBefore);
        greedy.Dispose();
        modest.Dispose();
        _frames.Release(frame);
    }

    [Fact]
    public void Bad_packets_are_refused_to_who_sends_them_and_frames_come_back()
    {
        using TransmitShares shares = new(_line);
        TransmitShare share = Add(shares, 1, 3, 2), other = Add(shares, 2, 1, 4);
        FrameNumber frame = Frame();
        PacketSlice packet = new(frame, 0, 1000);
        Assert.Throws<ArgumentException>(() => share.TrySend(new PacketSlice(frame, 0, 10)));
        Assert.Throws<ArgumentException>(() => share.TrySend(new PacketSlice(new FrameNumber((uint)_frames.FrameCount), 0, 100)));
        Assert.Throws<ArgumentException>(() => share.TrySend(packet, [packet]));
        Assert.Throws<ArgumentOutOfRangeException>(() => shares.TryAdd(_root, 0, 1, out _));
        Assert.True(share.TrySend(packet) && share.TrySend(packet) && !share.TrySend(packet));
        Assert.Equal((3, 2), (_frames.ReferenceCount(frame), share.Count));

        // Its longest packets have become too long for the device: they are lost, and nobody else's.
        Assert.True(other.TrySend(new PacketSlice(frame, 0, 500)));
        _line.MtuBytes = 600;
        _line.Tick(BytesPerTick);
        while (shares.Poll() > 0)
        {
        }

        Assert.Equal((500L, 1), (_line.SentBytes, _frames.ReferenceCount(frame)));

        // What waits when a share is closed, or its environment has ended, is dropped.
        _line.MtuBytes = 1500;
        Assert.True(share.TrySend(packet));
        share.Dispose();
        share.Dispose();
        Assert.Equal(1, _frames.ReferenceCount(frame));
        Assert.Throws<ObjectDisposedException>(() => share.TrySend(packet));
        other.Owner.Dispose();
        Assert.Throws<ObjectDisposedException>(() => other.TrySend(packet));
        other.Dispose();
        _frames.Release(frame);
    }

    [Fact(Timeout = 60_000)]
    public async Task Who_finds_the_queue_full_sleeps_on_its_counters()
    {
        using TransmitShares shares = new(_line);
        TransmitShare share = Add(shares, 1, 1, 1);
        FrameNumber frame = Frame();
        SecureBinding<Frame> counters = _frames.Bind(share.Owner.Credential, share.CounterFrame, Rights.Read);
        Assert.True(share.TrySend(new PacketSlice(frame, 0, 1000)));
        using WakeupPredicate hasRoom = WakeupPredicate.Bind(new PredicateProduct(1, PredicateValue.Word(counters, 8).AtLeast(1)));
        ValueTask<ulong> sleep = share.Owner.SleepUntil(hasRoom, TestContext.Current.CancellationToken);
        Assert.False(sleep.IsCompleted);
        _line.Tick(BytesPerTick);
        Assert.Equal(1, shares.Poll());
        Assert.Equal(1UL, await sleep);
        Assert.True(share.TrySend(new PacketSlice(frame, 0, 1000)));
        hasRoom.Dispose();
        share.Dispose();
        _frames.Release(frame);
    }

    private FrameNumber Frame()
    {
        Assert.True(_frames.TryAllocate(_frames.RootCredential, out FrameNumber frame));
        return frame;
    }

    private TransmitShare Add(TransmitShares shares, byte name, int weight, int packetsMax)
    {
        Assert.True(shares.TryAdd(_root.CreateChild([name]), weight, packetsMax, out TransmitShare? share).IsGranted);
        return share!;
    }

    /// <summary>All of them always have something to send. Bytes that each was given.</summary>
    private static long[] Run(Tenant[] tenants, int seed)
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 64 << 10 });
        using ExoEnvironment root = ExoEnvironment.CreateRoot(frames.Authority);
        using LineDevice line = new(frames);
        using TransmitShares shares = new(line);
        Random random = new(seed);
        Assert.True(frames.TryAllocate(frames.RootCredential, out FrameNumber frame));
        TransmitShare[] each = new TransmitShare[tenants.Length];
        for (int i = 0; i < each.Length; i++)
        {
            Assert.True(shares.TryAdd(root.CreateChild([(byte)i]), tenants[i].Weight, 512, out TransmitShare? share).IsGranted);
            each[i] = share!;
        }

        for (int tick = 0; tick < Ticks; tick++)
        {
            line.Tick(BytesPerTick);
            do
            {
                for (int i = 0; i < each.Length; i++)
                {
                    while (each[i].TrySend(new PacketSlice(frame, 0, random.Next(tenants[i].BytesMin, tenants[i].BytesMax + 1))))
                    {
                    }
                }
            }
            while (shares.Poll() > 0);
        }

        long[] sent = [.. each.Select(share => share.BytesSent)];
        shares.Dispose();
        Assert.Equal(1, frames.ReferenceCount(frame));
        frames.Release(frame);
        Assert.Equal(frames.FrameCount, frames.FreeCount);
        return sent;
    }

    /// <summary>Takes so many bytes a tick, and what it has not taken in one tick it has lost.</summary>
    private sealed class LineDevice(FramePool frames) : NetworkDevice("line", frames)
    {
        private long _room;

        public int MtuBytes { get; set; } = 1500;

        public long SentBytes { get; private set; }

        public override NetworkDeviceFeatures Features => new() { Driver = "line", Address = default, MtuBytes = MtuBytes };

        public override NetworkDeviceCounters Counters => default;

        public void Tick(int bytes) => _room = Math.Min(_room + bytes, bytes);

        public override NetworkEvents Wait(NetworkEvents wanted, TimeSpan timeout) => wanted;

        public override void Wake()
        {
        }

        protected override int TransmitChecked(ReadOnlySpan<TransmitPacket> packets, ReadOnlySpan<PacketSlice> slices)
        {
            int accepted = 0;
            for (; accepted < packets.Length && _room > 0; accepted++)
            {
                _room -= packets[accepted].Header.LengthBytes;
                SentBytes += packets[accepted].Header.LengthBytes;
            }

            return accepted;
        }

        protected override int ReceiveInto(ReceiveBatch batch) => 0;

        protected override void Dispose(bool disposing)
        {
        }
    }
}
