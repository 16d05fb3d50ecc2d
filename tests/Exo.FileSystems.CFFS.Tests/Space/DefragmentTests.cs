// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Tests.Crashes;
using Exo.Simulation.Crashes;
using Exo.Simulation.Disks;

namespace Exo.FileSystems.CFFS.Tests.Space;

/// <summary>Files that lie scattered come together; contents, names and times stay; power cuts leave each whole. <c>EXO_CRASH_SEEDS</c> cuts more.</summary>
public sealed class DefragmentTests : IDisposable
{
    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });

    public void Dispose() => _frames.Dispose();

    [Fact]
    public void Scattered_files_come_together_and_nothing_else_changes()
    {
        using SimulatedBlockDevice disk = new(_frames, MakeStart(1));
        CffsVolume volume = CffsVolume.Open(disk);
        TreeSnapshot before = TreeSnapshot.Of(volume);
        long time = volume.Stat("/large0").ChangeTimeNs;
        ulong free = volume.GetSpace().FreeBlocks;
        CffsDefragmentReport plan = volume.Defragment(dryRun: true);
        Assert.Equal(0UL, plan.MovedBlocks);
        CffsDefragmentReport done = volume.Defragment();
        TestContext.Current.TestOutputHelper?.WriteLine($"{plan}\n{done}");
        Assert.Equal(plan.Before.RunsPerLargeFile, done.Before.RunsPerLargeFile);
        Assert.Equal(plan.Before.RequestsPer100SmallFiles, done.Before.RequestsPer100SmallFiles);
        Assert.True(done.MovedBlocks > 100, $"{done.MovedBlocks} blocks moved");
        Assert.True(done.Before.RunsPerLargeFile > 10 && done.After.RunsPerLargeFile < 2, $"{done.Before.RunsPerLargeFile} runs became {done.After.RunsPerLargeFile}");
        Assert.True(
            done.After.RequestsPer100SmallFiles * 2 < done.Before.RequestsPer100SmallFiles,
            $"{done.Before.RequestsPer100SmallFiles} requests became {done.After.RequestsPer100SmallFiles}");
        Assert.InRange(done.After.SmallFilesGrouped, done.Before.SmallFilesGrouped, 1);
        Assert.Null(before.DifferenceTo(TreeSnapshot.Of(volume)));
        Assert.Equal(time, volume.Stat("/large0").ChangeTimeNs);
        FullVolume.AssertCounts(volume);
        Assert.InRange(volume.GetSpace().FreeBlocks, free - 3, free + 3);
        volume.Dispose();
        AssertClean(disk);
        using CffsVolume again = CffsVolume.Open(disk);
        Assert.Null(before.DifferenceTo(TreeSnapshot.Of(again)));
    }

    [Fact]
    public void A_power_cut_at_any_moment_leaves_every_file_whole()
    {
        int more = int.TryParse(Environment.GetEnvironmentVariable("EXO_CRASH_SEEDS"), out int seeds) ? seeds : 1;
        for (int seed = 1; seed <= more; seed++)
        {
            using SimulatedBlockDevice disk = new(_frames, MakeStart(seed, isSmall: true), recorded: true);
            CffsVolume volume = CffsVolume.Open(disk);
            TreeSnapshot before = TreeSnapshot.Of(volume);
            volume.Defragment();
            volume.Dispose();
            foreach (CrashState state in CrashStates.Enumerate(disk.Recording!, new CrashExplorationOptions { Seed = seed, CutsMax = 25, StatesPerCutMax = 2 }))
            {
                using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 4 << 20 });
                using SimulatedBlockDevice cut = new(frames, state.Contents);
                AssertClean(cut);
                using CffsVolume again = CffsVolume.Open(cut);
                Assert.True(before.DifferenceTo(TreeSnapshot.Of(again)) is null, $"seed {seed}, {state.Description}: {before.DifferenceTo(TreeSnapshot.Of(again))}");
            }
        }
    }

    private static void AssertClean(SimulatedBlockDevice disk)
    {
        CffsCheckReport report = CffsCheck.Run(disk);
        Assert.True(report.IsClean, string.Join("; ", report.Findings));
    }

    /// <summary>Two large files written by turns, in pieces; directories whose files have come one here, one there, because what lay between has gone.</summary>
    private DiskContents MakeStart(int seed, bool isSmall = false)
    {
        using SimulatedBlockDevice device = new(_frames, DiskContents.Zeroes(6000));
        using (CffsVolume volume = CffsVolume.Create(device, new CffsCreateOptions { Seed = seed }))
        {
            Random random = new(seed);
            int pieces = isSmall ? 12 : 60;
            for (int i = 0; i < pieces; i++)
            {
                // Made anew by each: no window is kept over a close.
                for (int f = 0; f < 2; f++)
                {
                    using CffsFile file = volume.OpenFile($"/large{f}", CffsOpenMode.Write | CffsOpenMode.Create);
                    file.Write(i * 3 * 4096, FullVolume.Pattern(3 * 4096, random.Next()).AsMemory());
                }

                volume.WriteAllBytes($"/between{i}", FullVolume.Pattern(100_000, i));
            }

            volume.CreateDirectory("/one");
            volume.CreateDirectory("/two");
            for (int i = 0; i < pieces * 4; i++)
            {
                volume.WriteAllBytes($"/one/{i}", FullVolume.Pattern(random.Next(500, 9000), i));
            }

            for (int i = 0; i < pieces * 4; i++)
            {
                if (i % 3 != 0)
                {
                    volume.RemoveFile($"/one/{i}");
                }
            }

            for (int i = 0; i < pieces; i++)
            {
                volume.RemoveFile($"/between{i}");
            }
        }

        return device.Snapshot();
    }
}
