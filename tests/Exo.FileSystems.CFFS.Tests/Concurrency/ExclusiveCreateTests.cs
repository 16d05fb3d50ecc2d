// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.Simulation.Disks;

namespace Exo.FileSystems.CFFS.Tests.Concurrency;

/// <summary>Of all who make a name one succeeds, and as often as it is made it can be removed, however soon after it was made that happens.</summary>
public sealed class ExclusiveCreateTests
{
    [Fact]
    public void A_name_is_made_once_by_each_call_that_says_so_although_others_remove_it_at_once()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
        using SimulatedBlockDevice disk = new(frames, DiskContents.Zeroes(8192));
        using CffsVolume volume = CffsVolume.Create(disk, new CffsCreateOptions { Seed = 1 });
        int made = 0;
        int removed = 0;
        Thread[] threads = [.. Enumerable.Range(0, 4).Select(i => new Thread(() =>
        {
            for (int step = 0; step < 4000; step++)
            {
                try
                {
                    if (i % 2 == 0)
                    {
                        using CffsFile file = volume.OpenFile("/name", CffsOpenMode.Read | CffsOpenMode.Write | CffsOpenMode.CreateNew);
                        Interlocked.Increment(ref made);

                        // It is the one that was made, whether its name is there or not.
                        file.Write(0, [1, 2, 3]);
                        Assert.Equal(3, file.Length);
                    }
                    else
                    {
                        volume.RemoveFile("/name");
                        Interlocked.Increment(ref removed);
                    }
                }
                catch (CffsException expected) when (expected.Error is CffsError.Exists or CffsError.NotFound)
                {
                }
            }
        }))];
        Array.ForEach(threads, thread => thread.Start());
        Array.ForEach(threads, thread => thread.Join());
        Assert.Equal(volume.Exists("/name") ? 1 : 0, made - removed);
    }
}
