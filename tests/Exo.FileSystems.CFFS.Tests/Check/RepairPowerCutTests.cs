// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
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

            Assert.Empty(CffsCheck.Run(disk).Findings);
        }

        Assert.True(states > (first.HasWritten ? 10 : 0));
    }
}
