// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Simulation.Disks;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Tests.Check;

/// <summary>
/// A crashed volume whose commit log was damaged, also by one who puts the checksums right: what a replay makes of it is a volume like any other. What the check calls clean mounts, works and stays clean; anything else
/// is refused by typed errors, and a repair makes it clean. Nothing is written outside of the volume's data. <c>EXO_FUZZ_SEEDS</c> and <c>EXO_FUZZ_FIRST</c> choose how many and which.
/// </summary>
public sealed class LogFuzzTests
{
    private const int Batches = 4;

    private static readonly int s_seeds = int.TryParse(Environment.GetEnvironmentVariable("EXO_FUZZ_SEEDS"), out int seeds) ? seeds : 80;
    private static readonly int s_first = int.TryParse(Environment.GetEnvironmentVariable("EXO_FUZZ_FIRST"), out int first) ? first : 1;

    public static TheoryData<int> BatchNumbers => [.. Enumerable.Range(0, Batches)];

    [Fact]
    public void The_log_of_the_volume_is_full_of_what_is_nowhere_else()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });
        using SimulatedBlockDevice disk = new(frames, FuzzVolume.Logged.Value.Contents);
        Assert.True(Verified.Check(disk).IsClean);
        using CffsVolume volume = CffsVolume.Open(disk);
        foreach ((string path, byte[] contents) in FuzzVolume.Logged.Value.Files)
        {
            Assert.Equal(contents, volume.ReadAllBytes(path));
        }
    }

    [Theory]
    [MemberData(nameof(BatchNumbers))]
    public void A_damaged_log_crashes_nobody(int batch)
    {
        List<string> failures = [];
        for (int seed = s_first + batch; seed < s_first + s_seeds; seed += Batches)
        {
            List<string> log = [];
            try
            {
                Run(seed, log);
            }
            catch (Exception failure)
            {
                failures.Add($"seed {seed}: {string.Join("; ", log)}\n{failure}");
            }
        }

        Assert.True(failures.Count == 0, $"{failures.Count} of them\n{string.Join("\n\n", failures.Take(3))}");
    }

    /// <summary>What longer runs have found: a slot that is no record in a sector whose checksum is right, met while a directory is loaded.</summary>
    [Theory]
    [InlineData(10_009)]
    [InlineData(10_308)]
    public void What_was_found_once_is_mended(int seed) => Run(seed, []);

    private static void Run(int seed, List<string> log)
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });
        DiskContents damaged;
        using (SimulatedBlockDevice disk = new(frames, FuzzVolume.Logged.Value.Contents))
        {
            LogMutation mutation = new(disk, frames, new Random(seed));
            for (int i = seed % 3; i >= 0; i--)
            {
                mutation.Apply();
            }

            log.AddRange(mutation.Log);
            damaged = disk.Snapshot();
        }

        bool isClean = Try(damaged, disk => Verified.Check(disk).IsClean);
        _ = Try(damaged, disk => Look(disk));
        bool works = Try(damaged, disk =>
        {
            DamagedUseTests.Use(disk);
            return !isClean || Verified.Check(disk).Findings.Count == 0;
        });
        Assert.True(works || !isClean, "called clean, and does not work");
        _ = Try(damaged, disk => CffsRepair.Run(disk).IsClean && Verified.Check(disk).Findings.Count == 0 && Look(disk));

        bool Try(DiskContents contents, Func<SimulatedBlockDevice, bool> what)
        {
            int free = frames.FreeCount;
            using SimulatedBlockDevice disk = new(frames, contents);
            bool done = false;
            try
            {
                done = what(disk);
            }
            catch (Exception refused) when (refused is CffsException or XnException or XnFormatException or BlockDeviceException)
            {
                // Typed, as it should be.
            }

            Assert.Equal(free, frames.FreeCount);
            return done;
        }
    }

    private static bool Look(SimulatedBlockDevice disk)
    {
        using CffsVolume volume = CffsVolume.Open(disk, new CffsOpenOptions { ReadOnly = true });
        RepairFuzzTests.ReadAll(volume, [], []);
        return true;
    }
}
