// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Simulation.Disks;
using Exo.Simulation.Faults;
using Exo.Simulation.Timing;

namespace Exo.Simulation.Tests;

/// <summary>A slow disk is slow by the clock it was given, in an order that the seed alone decides.</summary>
public sealed class LatencyTests : IDisposable
{
    private static readonly TimeSpan s_ms = TimeSpan.FromMilliseconds(1);

    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 1 << 20 });
    private readonly SimulatedBlockDevice _inner;
    private readonly FrameNumber[] _vector = new FrameNumber[16];
    private readonly VirtualTime _time = new();

    public LatencyTests()
    {
        _inner = new SimulatedBlockDevice(_frames, DiskContents.Zeroes(64));
        for (int i = 0; i < _vector.Length; i++)
        {
            Assert.True(_frames.TryAllocate(_frames.RootCredential, out _vector[i]));
            _frames.Bytes(_vector[i]).Fill((byte)(i + 1));
        }
    }

    public void Dispose()
    {
        _inner.Dispose();
        _frames.Dispose();
    }

    [Fact]
    public void The_seed_decides_who_completes_when()
    {
        List<(ulong, TimeSpan)> first = Order(7);
        Assert.Equal(first, Order(7));
        Assert.NotEqual(first, Order(8));
        Assert.NotEqual(first.Select(one => one.Item1), Enumerable.Range(0, 16).Select(i => (ulong)i));
        Assert.All(first, one => Assert.InRange(one.Item2, s_ms, 5 * s_ms));
    }

    [Fact]
    public void A_write_is_not_there_before_its_time_and_comes_at_it()
    {
        using SlowBlockDevice disk = new(_inner, new LatencyOptions { Time = _time, PerRequest = 3 * s_ms, PerBlock = s_ms });
        using BlockQueue queue = disk.OpenQueue();
        BlockCompletion[] done = new BlockCompletion[4];
        Assert.True(queue.TrySubmit(BlockRequest.Write(new BlockNumber(5), _vector.AsMemory(0, 2)), 1));
        queue.Kick();
        _time.Advance((5 * s_ms) - TimeSpan.FromTicks(1));
        Assert.Equal(0, queue.Reap(done, 0));
        Assert.Equal(0, _inner.Snapshot()[5][0]);
        _time.Advance(TimeSpan.FromTicks(1));
        Assert.Equal(1, queue.Reap(done, 0));
        Assert.Equal((1, 2), (_inner.Snapshot()[5][0], _inner.Snapshot()[6][0]));
    }

    [Fact]
    public void A_disk_that_serves_one_at_a_time_takes_the_sum()
    {
        using SlowBlockDevice disk = new(_inner, new LatencyOptions { Time = _time, PerRequest = s_ms, Parallelism = 1 });
        using BlockQueue queue = disk.OpenQueue();
        for (int i = 0; i < 10; i++)
        {
            Assert.True(queue.TrySubmit(BlockRequest.Read(new BlockNumber((ulong)i), _vector.AsMemory(i, 1)), (ulong)i));
        }

        queue.Kick();
        BlockCompletion[] done = new BlockCompletion[16];
        List<ulong> order = [];
        while (queue.InFlight > 0)
        {
            Assert.True(_time.AdvanceToNext());
            order.AddRange(done.Take(queue.Reap(done, 0)).Select(one => one.Cookie));
        }

        Assert.Equal(10 * s_ms, _time.Elapsed);
        Assert.Equal(Enumerable.Range(0, 10).Select(i => (ulong)i), order);
    }

    [Fact]
    public async Task Stalls_and_errors_come_through_the_asynchronous_door()
    {
        using FaultyBlockDevice failing = new(_inner, new FaultOptions { ReadError = 1 });
        using SlowBlockDevice disk = new(failing, new LatencyOptions { Time = _time, StallProbability = 1, Stall = 1000 * s_ms });
        Task reading = disk.ExecuteAsync(new[] { BlockRequest.Read(new BlockNumber(1), _vector.AsMemory(0, 1)) }).AsTask();
        Task flushing = disk.FlushAsync().AsTask();
        _time.Advance(1000 * s_ms);
        Assert.False(reading.IsCompleted || flushing.IsCompleted);
        _time.Advance(s_ms);
        Assert.Equal(5, (await Assert.ThrowsAsync<BlockDeviceException>(() => reading)).Errno);
        await flushing;
    }

    [Fact]
    public void The_synchronous_door_waits_for_the_clock()
    {
        using SlowBlockDevice disk = new(_inner, new LatencyOptions { Time = _time });
        Exception? failure = null;
        Thread writer = new(() => failure = Record.Exception(() => disk.Execute([BlockRequest.Write(new BlockNumber(9), _vector.AsMemory(0, 1))])));
        writer.Start();
        SpinWait.SpinUntil(() => _time.TimerCount == 1);
        Assert.Equal(0, _inner.Snapshot()[9][0]);
        _time.Advance(s_ms);
        writer.Join();
        Assert.Null(failure);
        Assert.Equal(1, _inner.Snapshot()[9][0]);
    }

    [Fact]
    public void Timers_run_at_their_time_in_order()
    {
        List<string> ran = [];
        using ITimer late = _time.CreateTimer(_ => ran.Add($"late {_time.Elapsed.TotalMilliseconds}"), null, 5 * s_ms, Timeout.InfiniteTimeSpan);
        using ITimer often = _time.CreateTimer(_ => ran.Add($"often {_time.Elapsed.TotalMilliseconds}"), null, 2 * s_ms, 2 * s_ms);
        ITimer never = _time.CreateTimer(_ => ran.Add("never"), null, 3 * s_ms, Timeout.InfiniteTimeSpan);
        never.Dispose();
        Assert.False(never.Change(s_ms, s_ms));
        _time.Advance(6 * s_ms);
        Assert.Equal(["often 2", "often 4", "late 5", "often 6"], ran);
        Assert.True(often.Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan));
        Assert.Equal(0, _time.TimerCount);
        Assert.False(_time.AdvanceToNext());
        Assert.Throws<ArgumentOutOfRangeException>(() => _time.Advance(-s_ms));
        Assert.Equal(DateTimeOffset.UnixEpoch + (6 * s_ms), _time.GetUtcNow());
    }

    [Fact]
    public void Times_that_make_no_sense_are_refused()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => new SlowBlockDevice(_inner, new LatencyOptions { Jitter = -s_ms }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new SlowBlockDevice(_inner, new LatencyOptions { StallProbability = 2 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new SlowBlockDevice(_inner, new LatencyOptions { Parallelism = 0 }));
    }

    private List<(ulong Cookie, TimeSpan Time)> Order(int seed)
    {
        VirtualTime time = new();
        using SlowBlockDevice disk = new(_inner, new LatencyOptions { Time = time, Seed = seed, PerRequest = s_ms, Jitter = 4 * s_ms });
        using BlockQueue queue = disk.OpenQueue();
        for (int i = 0; i < 16; i++)
        {
            Assert.True(queue.TrySubmit(BlockRequest.Write(new BlockNumber((ulong)i), _vector.AsMemory(i, 1)), (ulong)i));
        }

        queue.Kick();
        List<(ulong, TimeSpan)> order = [];
        BlockCompletion[] done = new BlockCompletion[16];
        while (time.AdvanceToNext())
        {
            foreach (BlockCompletion one in done.AsSpan(0, queue.Reap(done, 0)))
            {
                order.Add((one.Cookie, time.Elapsed));
            }
        }

        Assert.Equal((16, 0), (order.Count, queue.InFlight));
        return order;
    }
}
