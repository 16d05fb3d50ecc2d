// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Tests.Crashes;
using Exo.FileSystems.CFFS.Tests.Snapshots;
using Exo.Simulation.Crashes;
using Exo.Simulation.Disks;
using Exo.Simulation.Recording;

namespace Exo.FileSystems.CFFS.Tests.Copying;

/// <summary>Power cuts while a tree is copied: the copy is there whole or not at all. <c>EXO_CRASH_SEEDS</c> and <c>EXO_CRASH_FIRST</c> as for the other explorations.</summary>
public sealed class CopyPowerCutTests
{
    public static TheoryData<int> Seeds =>
        [.. Enumerable.Range(int.TryParse(Environment.GetEnvironmentVariable("EXO_CRASH_FIRST"), out int first) ? first : 1, int.TryParse(Environment.GetEnvironmentVariable("EXO_CRASH_SEEDS"), out int seeds) ? seeds : 3)];

    private enum Moment
    {
        Made,
        Changed,
    }

    [Theory]
    [MemberData(nameof(Seeds))]
    public void A_copy_is_there_whole_or_not_at_all(int seed)
    {
        Random random = new(seed);
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = seed % 3 == 0 ? 2 << 20 : 16 << 20 });
        using SimulatedBlockDevice first = new(frames, DiskContents.Zeroes(4096));
        using CffsVolume source = CffsVolume.Create(first, new CffsCreateOptions { Seed = seed, LogBlocks = seed % 2 == 0 ? 0 : 64 });
        TreeModel model = new();
        RandomWorkload workload = new(source, model, random);
        Steps(workload, 80);
        source.Sync();
        string picture = TreePicture.Of(source, "", isOfCopy: true);

        // To another volume by odd seeds, within one by even ones.
        bool isSame = seed % 2 == 0;
        DiskContents start = DiskContents.Zeroes(4096);
        if (isSame)
        {
            source.Dispose();
            start = first.Snapshot();
        }
        else
        {
            using SimulatedBlockDevice made = new(frames, start);
            CffsVolume.Create(made, new CffsCreateOptions { Seed = seed + 1, LogBlocks = 64 }).Dispose();
            start = made.Snapshot();
        }

        using SimulatedBlockDevice disk = new(frames, start, recorded: true);
        CffsVolume target = CffsVolume.Open(disk);
        (isSame ? target : source).CopyTree("/", "/the copy", target);
        disk.Recording!.Mark(Moment.Made);
        target.WriteAllBytes("/the copy/another", new byte[5000]);
        disk.Recording.Mark(Moment.Changed);
        target.Dispose();
        int states = MarkedStates.Check<Moment>(disk.Recording, new CrashExplorationOptions { Seed = seed, CutsMax = 40, StatesPerCutMax = 5 }, (state, moment) => Check(state, moment, picture));
        Assert.True(states > 20, $"{states} states");
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
            bool isThere = volume.Exists("/the copy");
            Assert.True(moment is null || isThere, "it is not there");
            if (isThere && moment != Moment.Changed)
            {
                Assert.Equal(picture, TreePicture.Of(volume, "/the copy", isOfCopy: true));
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
