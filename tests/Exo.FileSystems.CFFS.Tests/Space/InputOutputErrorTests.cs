// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Tests.Crashes;
using Exo.Simulation.Disks;

namespace Exo.FileSystems.CFFS.Tests.Space;

/// <summary>
/// Every request of a workload fails, once or from then on: the operation that needed it says so (<see cref="BlockDeviceException"/>) and has happened or not; what could not be written stays
/// dirty, so that it is written when the disk is well again; every caller that asks for durability meanwhile is told; what a close or a crash leaves is clean.
/// <c>EXO_FAULT_STEP=1</c> fails every request of the workloads instead of every seventeenth.
/// </summary>
public sealed class InputOutputErrorTests
{
    private static readonly int s_step = int.TryParse(Environment.GetEnvironmentVariable("EXO_FAULT_STEP"), out int step) ? step : 17;

    [Theory]
    [InlineData(1, false)]
    [InlineData(2, false)]
    [InlineData(3, false)]
    [InlineData(1, true)]
    [InlineData(2, true)]
    public void A_request_that_fails_loses_nothing(int seed, bool isPersistent)
    {
        DiskContents start = MakeStart();
        long requests = Run(start, seed, failAt: 0, isPersistent);
        Assert.True(requests > 50, $"{requests} requests");
        List<Exception> failures = [];
        for (long failAt = 1 + (seed % s_step); failAt <= requests; failAt += s_step)
        {
            try
            {
                Run(start, seed, failAt, isPersistent);
            }
            catch (Exception failure)
            {
                failures.Add(new InvalidOperationException($"seed {seed}, request {failAt} of {requests}, persistent {isPersistent}: {failure.Message}", failure));
            }
        }

        Assert.True(failures.Count == 0, string.Join('\n', failures));
    }

    [Fact]
    public void A_failed_commit_is_told_to_everyone_who_waits_for_it_and_tried_again_by_the_next()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });
        using SimulatedBlockDevice disk = new(frames, MakeStart());
        using NthFaultDevice device = new(disk);
        CffsVolume volume = CffsVolume.Open(device);
        using CffsFile one = volume.OpenFile("/one", CffsOpenMode.ReadWrite | CffsOpenMode.Create);
        using CffsFile two = volume.OpenFile("/one", CffsOpenMode.ReadWrite);
        one.Write(0, new byte[10_000].AsMemory());
        device.IsPersistent = true;
        device.FailAt = 1;
        Assert.Throws<BlockDeviceException>(one.Sync);
        Assert.Throws<BlockDeviceException>(two.Sync);
        Assert.Throws<BlockDeviceException>(volume.Sync);
        device.FailAt = 0;
        two.Sync();
        long requests = device.Requests;
        one.Sync();
        Assert.Equal(requests, device.Requests);
        volume.Abandon();
        using CffsVolume again = CffsVolume.Open(device);
        Assert.Equal(10_000, again.Stat("/one").Size);
    }

    private static long Run(DiskContents start, int seed, long failAt, bool isPersistent)
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 2 << 20 });
        using SimulatedBlockDevice disk = new(frames, start);
        using NthFaultDevice device = new(disk) { IsPersistent = isPersistent, FailAt = failAt };
        int free = frames.FreeCount;
        TreeModel model = new();
        CffsVolume? volume = null;
        BlockDeviceException? failure = null;
        try
        {
            volume = CffsVolume.Open(device, new CffsOpenOptions { BehindFromBytes = seed == 1 ? CffsOpenOptions.BehindFromBytesDefault : 8192 });
            Random random = new(seed);
            RandomWorkload workload = new(volume, model, random);
            for (int i = 0; i < 70; i++)
            {
                workload.Step();
                if (random.Next(6) == 0)
                {
                    volume.Sync();
                }
            }
        }
        catch (BlockDeviceException refused)
        {
            failure = refused;
        }

        if (failure is not null && isPersistent && volume is { Core.Committer.IsIdle: false })
        {
            Assert.Throws<BlockDeviceException>(volume.Sync);
        }

        long requests = device.Requests;
        device.FailAt = 0;
        if (volume is null)
        {
            Assert.NotNull(failure);
            Assert.Equal(free, frames.FreeCount);
            volume = CffsVolume.Open(device);
        }

        volume.Sync();
        TreeSnapshot before = TreeSnapshot.Of(volume);
        if (seed % 2 == 0)
        {
            volume.Abandon();
        }
        else
        {
            volume.Dispose();
        }

        Assert.True(free == frames.FreeCount, $"{free - frames.FreeCount} frames are lost since {failure}");
        CffsCheckReport report = Verified.Check(disk);
        Assert.True(report.IsClean, string.Join("; ", report.Findings));
        volume = CffsVolume.Open(disk);
        Assert.Null(before.DifferenceTo(TreeSnapshot.Of(volume)));
        FullVolume.AssertCounts(volume);
        volume.Dispose();
        Assert.True(Verified.Check(disk).IsClean);
        return requests;
    }

    private static DiskContents MakeStart()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });
        using SimulatedBlockDevice device = new(frames, DiskContents.Zeroes(4096));
        CffsVolume.Create(device, new CffsCreateOptions { Seed = 1 }).Dispose();
        return device.Snapshot();
    }
}
