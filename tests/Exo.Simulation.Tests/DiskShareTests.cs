// SPDX-License-Identifier: MIT
using CsCheck;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Simulation.Disks;
using Exo.Simulation.Faults;
using Exo.Simulation.Timing;

namespace Exo.Simulation.Tests;

/// <summary>Library OSes that compete for a disk, under a virtual clock: what each gets depends on the weights and the seed alone.</summary>
public sealed class DiskShareTests
{
    private const int Depth = 32;
    private const int BlocksMax = 64;
    private static readonly TimeSpan s_duration = TimeSpan.FromSeconds(2);

    /// <summary>One of those who compete.</summary>
    /// <param name="Weight">Its weight.</param>
    /// <param name="BlocksMax">Its requests are of one to so many blocks.</param>
    /// <param name="UnderWay">Requests that it keeps under way; 0: it asks for nothing.</param>
    private sealed record Tenant(int Weight, int BlocksMax, int UnderWay = Depth);

    [Fact]
    public void Each_gets_its_share_whatever_the_sizes_and_nothing_is_lost_by_sharing()
    {
        Gen.Select(Gen.Int[1, 5], Gen.Int[1, BlocksMax]).Select((weight, blocks) => new Tenant(weight, blocks)).Array[2, 4].Select(Gen.Int).Sample((tenants, seed) =>
        {
            // More is asked for than may be under way: only then there is something to share.
            long bytesMax = tenants.Min(tenant => (long)tenant.BlocksMax) * FramePool.FrameBytes * Depth / 4;
            long[] got = Run(tenants, seed, bytesMax);
            double total = got.Sum();
            double weights = tenants.Sum(tenant => tenant.Weight);
            for (int i = 0; i < tenants.Length; i++)
            {
                double share = total * tenants[i].Weight / weights;
                Assert.InRange(got[i], share * 0.9, share * 1.1);
            }
        }, iter: 15);
    }

    [Fact]
    public void Two_together_get_as_much_as_one_alone()
    {
        Tenant a = new(1, 16), b = new(3, 16);
        long alone = Run([a], 1, 512 << 10).Sum();
        Assert.InRange(Run([a, b], 1, 512 << 10).Sum(), alone * 0.95, alone * 1.05);
    }

    [Fact]
    public void What_one_does_not_ask_for_the_others_get()
    {
        Tenant greedy = new(1, 16), modest = new(9, 1, UnderWay: 1), absent = new(90, 16, UnderWay: 0);
        long alone = Run([greedy], 3, 512 << 10)[0];
        long[] got = Run([greedy, modest, absent], 3, 512 << 10);
        Assert.True(got[0] > alone * 0.85, $"{got[0]} of {alone}");
        Assert.True(got[1] > 0);
        Assert.Equal(0, got[2]);
    }

    [Fact]
    public void The_seed_decides_what_each_gets()
    {
        Tenant[] tenants = [new(2, 9), new(3, 33)];
        Assert.Equal(Run(tenants, 5, 256 << 10), Run(tenants, 5, 256 << 10));
        Assert.NotEqual(Run(tenants, 5, 256 << 10), Run(tenants, 6, 256 << 10));
    }

    [Fact]
    public void A_share_is_a_device_with_the_errors_of_the_disk()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 1 << 20 });
        using SimulatedBlockDevice disk = new(frames, DiskContents.Zeroes(64));
        using FaultyBlockDevice faulty = new(disk, new FaultOptions());
        DiskShares shares = new(faulty);
        using DiskShare share = shares.Add(7);
        Assert.Throws<ArgumentOutOfRangeException>(() => shares.Add(0));
        Assert.True(frames.TryAllocate(frames.RootCredential, out FrameNumber frame));
        frames.Bytes(frame).Fill(9);
        BlockRequest write = BlockRequest.Write(new BlockNumber(3), new[] { frame });
        share.Execute(new Span<BlockRequest>(ref write));
        share.Flush();
        Assert.Equal(9, disk.Snapshot()[3][0]);
        Assert.Equal((7, 2L * FramePool.FrameBytes, 0L), (share.Weight, share.BytesBegun, shares.BytesUnderWay));
        BlockRequest outside = BlockRequest.Read(new BlockNumber(64), new[] { frame });
        Assert.Throws<ArgumentOutOfRangeException>(() => share.Execute(new Span<BlockRequest>(ref outside)));
        Assert.Equal(0, shares.BytesUnderWay);
        frames.Release(frame);
    }

    /// <summary>Keeps every tenant's queue full for a while. Bytes that each was given.</summary>
    private static long[] Run(Tenant[] tenants, int seed, long bytesUnderWayMax)
    {
        VirtualTime time = new();
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 1 << 20 });
        using SimulatedBlockDevice contents = new(frames, DiskContents.Zeroes(BlocksMax));
        using SlowBlockDevice disk = new(contents, new LatencyOptions
        {
            Time = time,
            PerRequest = TimeSpan.FromMicroseconds(20),
            PerBlock = TimeSpan.FromMicroseconds(40),
            Jitter = TimeSpan.FromMicroseconds(5),
            Parallelism = 4,
            Seed = seed,
        });
        FrameNumber[] vector = new FrameNumber[BlocksMax];
        for (int i = 0; i < BlocksMax; i++)
        {
            Assert.True(frames.TryAllocate(frames.RootCredential, out vector[i]));
        }

        DiskShares shares = new(disk, bytesUnderWayMax);
        DiskShare[] each = [.. tenants.Select(tenant => shares.Add(tenant.Weight))];
        BlockQueue[] queues = [.. each.Select(share => share.OpenQueue(Depth))];
        Random random = new(seed);
        BlockCompletion[] done = new BlockCompletion[Depth];
        while (time.Elapsed < s_duration)
        {
            for (int i = 0; i < queues.Length; i++)
            {
                while (queues[i].InFlight > 0 && queues[i].Reap(done, 0) > 0)
                {
                }

                while (queues[i].InFlight < tenants[i].UnderWay)
                {
                    int blocks = 1 + random.Next(tenants[i].BlocksMax);
                    Assert.True(queues[i].TrySubmit(BlockRequest.Read(default, vector.AsMemory(0, blocks)), 0));
                }

                queues[i].Kick();
            }

            Assert.True(time.AdvanceToNext());
        }

        long[] begun = [.. each.Select(share => share.BytesBegun)];
        while (queues.Any(queue => queue.InFlight > 0))
        {
            time.AdvanceToNext();
            Array.ForEach(queues, queue => queue.Reap(done, 0));
        }

        Array.ForEach(queues, queue => queue.Dispose());
        Array.ForEach(each, share => share.Dispose());
        Assert.Equal(0, shares.BytesUnderWay);
        return begun;
    }
}
