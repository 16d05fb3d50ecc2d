// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Tests;

namespace Exo.Core.Tests.Blocks;

/// <summary>These look at the process's counter of allocated bytes: nothing else may run meanwhile.</summary>
[CollectionDefinition("allocations", DisableParallelization = true)]
public sealed class AllocationCollection;

/// <summary>No I/O path allocates in steady state.</summary>
[Collection("allocations")]
public sealed class AllocationTests : IDisposable
{
    private readonly FramePool _pool = FramePool.Create(new FramePoolOptions { CapacityBytes = 1 << 20 });

    public static TheoryData<DiskKind> Kinds => [DiskKind.Memory, DiskKind.Portable, DiskKind.Uring, DiskKind.UringDirect, DiskKind.UringRegistered, DiskKind.Nbd];

    public void Dispose() => _pool.Dispose();

    [Theory]
    [MemberData(nameof(Kinds))]
    public void A_synchronous_read_allocates_nothing(DiskKind kind)
    {
        using var disk = new TestDisk(kind, _pool, 64);
        BlockRequest[] batch = [Read(3)];
        Assert.Equal(0, Allocations.Least(() =>
        {
            for (int i = 0; i < 500; i++)
            {
                disk.Device.Execute(batch);
            }
        }));
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void A_queue_allocates_nothing(DiskKind kind)
    {
        using var disk = new TestDisk(kind, _pool, 64);
        using BlockQueue queue = disk.Device.OpenQueue(4);
        BlockRequest[] reads = [Read(3), Read(4), Read(5), Read(6)];
        BlockCompletion[] done = new BlockCompletion[4];
        long best = long.MaxValue;
        for (int round = 0; round < 6; round++)
        {
            long before = GC.GetTotalAllocatedBytes(precise: true);
            for (int i = 0; i < 500; i++)
            {
                foreach (ref readonly BlockRequest read in reads.AsSpan())
                {
                    queue.TrySubmit(in read, 1);
                }

                while (queue.InFlight > 0)
                {
                    queue.Reap(done, 2);
                }
            }

            best = Math.Min(best, GC.GetTotalAllocatedBytes(precise: true) - before);
        }

        Assert.True(best < 500, $"{best} bytes for 2,000 reads");
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task An_asynchronous_read_allocates_nothing(DiskKind kind)
    {
        using var disk = new TestDisk(kind, _pool, 64);
        BlockRequest[] batch = [Read(3)];
        using var cancel = new CancellationTokenSource();
        const int count = 3000;
        long best = long.MaxValue;

        // The least of several rounds: the runtime itself allocates now and then (timers, a new thread of its pool).
        for (int round = 0; round < 6; round++)
        {
            long before = GC.GetTotalAllocatedBytes(precise: true);
            for (int i = 0; i < count; i++)
            {
                await disk.Device.ExecuteAsync(batch, cancel.Token);
            }

            best = Math.Min(best, GC.GetTotalAllocatedBytes(precise: true) - before);
        }

        Assert.True(best < count, $"{best} bytes for {count} reads");
    }

    private BlockRequest Read(ulong block)
    {
        Assert.True(_pool.TryAllocate(_pool.RootCredential, out FrameNumber frame));
        return BlockRequest.Read(new BlockNumber(block), new[] { frame });
    }
}
