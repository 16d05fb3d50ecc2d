// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Tests.Crashes;
using Exo.Simulation.Crashes;
using Exo.Simulation.Disks;

namespace Exo.FileSystems.CFFS.Tests.Check;

/// <summary>Power cuts in the middle of a repair, with unflushed writes lost, reordered and torn: the next repair finishes it, and nothing is lost that the first one would have kept.</summary>
public sealed class RepairPowerCutTests
{
    public static TheoryData<int> Seeds => [.. Enumerable.Range(1, 8)];

    [Theory]
    [MemberData(nameof(Seeds))]
    public void A_second_repair_finishes_the_first(int seed)
    {
        FuzzVolume volume = seed % 4 == 0 ? FuzzVolume.Unclean.Value : FuzzVolume.Clean.Value;
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
        DiskContents damaged;
        Mutation mutation;
        using (SimulatedBlockDevice disk = new(frames, volume.Contents))
        {
            mutation = new Mutation(volume, disk, frames, new Random(seed));
            for (int i = 0; i < 4; i++)
            {
                mutation.Apply();
            }

            damaged = disk.Snapshot();
        }

        using SimulatedBlockDevice recorded = new(frames, damaged, recorded: true);
        CffsRepairReport first = CffsRepair.Run(recorded);
        Assert.True(first.IsClean, string.Join("; ", mutation.Log));
        int states = 0;
        foreach (CrashState state in CrashStates.Enumerate(recorded.Recording!, new CrashExplorationOptions { Seed = seed, CutsMax = 14, StatesPerCutMax = 4 }))
        {
            states++;
            using SimulatedBlockDevice disk = new(frames, state.Contents);
            CffsRepairReport second = CffsRepair.Run(disk);
            Assert.True(second.IsClean, $"{state.Description}: {string.Join("; ", second.After.Findings)}\n{string.Join("; ", mutation.Log)}");
            try
            {
                RepairFuzzTests.Examine(volume, mutation, disk, isFound: !first.Before.IsClean || first.Before.WasUnmounted);
            }
            catch (Exception lost)
            {
                throw new InvalidOperationException($"{state.Description}: {lost.Message}\n{string.Join("\n", mutation.Log)}\n{string.Join("\n", second.Actions)}", lost);
            }

            Assert.Empty(Verified.Check(disk).Findings);
        }

        Assert.True(states > (first.HasWritten ? 10 : 0));
    }

    /// <summary>A crash, and damage beside it: the repair does all by itself what the mount does after a crash, and keeps the same promise. (What it does not dare to delete is in lost+found.)</summary>
    [Theory]
    [MemberData(nameof(Seeds))]
    public void What_was_promised_before_a_crash_is_kept_by_a_repair(int seed)
    {
        int states = 0;
        foreach (CrashState state in CrashStates.Enumerate(PowerCutTests.Record(seed, out _), new CrashExplorationOptions { Seed = seed, CutsMax = 12, StatesPerCutMax = 3 }))
        {
            CrashPromise? promise = PowerCutTests.PromiseOf(state);
            using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 4 << 20 });
            using SimulatedBlockDevice disk = new(frames, state.Contents);
            ZeroCopy(disk);
            CffsRepairReport report = CffsRepair.Run(disk);
            string what = $"{state.Description}\n{string.Join("\n", report.Before.Findings)}\n{string.Join("\n", report.Actions)}";
            Assert.False(report.Before.IsClean);
            Assert.True(report.IsClean, $"{what}\n{string.Join("\n", report.After.Findings)}");
            using CffsVolume volume = CffsVolume.Open(disk);
            if (volume.Exists("/lost+found"))
            {
                RemoveAll(volume, "/lost+found");
            }

            Assert.True(promise?.Violation(TreeSnapshot.Of(volume)) is not { } violation, $"{what}\n{promise?.Violation(TreeSnapshot.Of(volume))}\n{promise?.History()}");
            states++;
        }

        Assert.True(states > 10);
    }

    /// <summary>The second copy of the first template is gone.</summary>
    private static void ZeroCopy(SimulatedBlockDevice disk)
    {
        FrameNumber[] frame = new FrameNumber[1];
        Assert.True(disk.Frames.TryAllocate(disk.Frames.RootCredential, out frame[0]));
        disk.Frames.Bytes(frame[0]).Fill(1);
        BlockRequest[] write = [BlockRequest.Write(new BlockNumber(66), frame)];
        disk.Execute(write);
        disk.Frames.Release(frame[0]);
    }

    private static void RemoveAll(CffsVolume volume, string directory)
    {
        foreach (CffsDirectoryEntry entry in volume.ReadDirectory(directory))
        {
            string path = $"{directory}/{entry.NameString}";
            if (entry.Kind == CffsKind.Directory)
            {
                RemoveAll(volume, path);
            }
            else
            {
                volume.RemoveFile(path);
            }
        }

        volume.RemoveDirectory(directory);
    }
}
