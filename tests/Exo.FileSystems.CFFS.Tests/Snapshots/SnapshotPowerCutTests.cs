// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Tests.Crashes;
using Exo.Simulation.Crashes;
using Exo.Simulation.Disks;
using Exo.Simulation.Recording;

namespace Exo.FileSystems.CFFS.Tests.Snapshots;

/// <summary>
/// Power cuts while a snapshot is made, while files that share blocks with it change, and while it is removed: it is there whole or not at all, and what was under way is collected.
/// <c>EXO_CRASH_SEEDS</c> and <c>EXO_CRASH_FIRST</c> as for the other explorations.
/// </summary>
public sealed class SnapshotPowerCutTests
{
    public static TheoryData<int> Seeds =>
        [.. Enumerable.Range(int.TryParse(Environment.GetEnvironmentVariable("EXO_CRASH_FIRST"), out int first) ? first : 1, int.TryParse(Environment.GetEnvironmentVariable("EXO_CRASH_SEEDS"), out int seeds) ? seeds : 3)];

    private enum Moment
    {
        Making,
        Made,
        Removing,
        Removed,
    }

    [Theory]
    [MemberData(nameof(Seeds))]
    public void A_snapshot_is_there_whole_or_not_at_all(int seed)
    {
        Random random = new(seed);
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = seed % 3 == 0 ? 2 << 20 : 16 << 20 });
        DiskContents start;
        TreeModel model = new();
        using (SimulatedBlockDevice device = new(frames, DiskContents.Zeroes(3072)))
        {
            using CffsVolume made = CffsVolume.Create(device, new CffsCreateOptions { Seed = seed });
            Steps(new RandomWorkload(made, model, random), 60);
            made.Dispose();
            start = device.Snapshot();
        }

        using SimulatedBlockDevice disk = new(frames, start, recorded: true);
        CffsVolume volume = CffsVolume.Open(disk);
        RandomWorkload workload = new(volume, model, random);
        Steps(workload, 5);
        string picture = TreePicture.Of(volume, "");
        disk.Recording!.Mark(Moment.Making);
        volume.CreateSnapshot("/", "/the snapshot");
        disk.Recording.Mark(Moment.Made);
        Steps(workload, 15);
        volume.Sync();
        Steps(workload, 5);
        disk.Recording.Mark(Moment.Removing);
        volume.DeleteSnapshot("/the snapshot");
        disk.Recording.Mark(Moment.Removed);
        Steps(workload, 5);
        volume.Dispose();
        int states = MarkedStates.Check<Moment>(disk.Recording, new CrashExplorationOptions { Seed = seed, CutsMax = 60, StatesPerCutMax = 5 }, (state, moment) => Check(state, moment, picture));
        Assert.True(states > 40, $"{states} states");
    }

    private static void Check(CrashState state, Moment? moment, string picture)
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 4 << 20 });
        using SimulatedBlockDevice disk = new(frames, state.Contents);
        CffsCheckReport before = Verified.Check(disk);
        Assert.True(before.IsClean, $"fsck before the mount: {string.Join("; ", before.Findings)}");
        CffsVolume volume = CffsVolume.Open(disk);
        try
        {
            bool isThere = volume.Exists("/the snapshot");
            Assert.True(moment is not (null or Moment.Removed) || !isThere, "it is there");
            Assert.True(moment != Moment.Made || isThere, "it is not there");
            if (isThere)
            {
                Assert.Equal(picture, TreePicture.Of(volume, "/the snapshot"));
                volume.DeleteSnapshot("/the snapshot");
            }

            volume.WriteAllBytes("/after the crash", new byte[5000]);
            volume.Dispose();
        }
        catch
        {
            volume.Abandon();
            throw;
        }

        CffsCheckReport after = Verified.Check(disk);
        Assert.True(after.Findings.Count == 0, $"fsck after a clean close: {string.Join("; ", after.Findings)}");
    }

    private static void Steps(RandomWorkload workload, int count)
    {
        for (int i = 0; i < count; i++)
        {
            workload.Step();
        }
    }
}
