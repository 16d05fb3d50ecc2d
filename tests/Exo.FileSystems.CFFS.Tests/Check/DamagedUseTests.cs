// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Simulation.Disks;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Tests.Check;

/// <summary>
/// Damaged volumes, not repaired: what the check calls clean mounts, can be read and written, and stays clean; who looks at anything else gets typed errors at worst.
/// <c>EXO_FUZZ_SEEDS</c> and <c>EXO_FUZZ_FIRST</c> choose how many and which.
/// </summary>
public sealed class DamagedUseTests
{
    private const int Batches = 5;

    private static readonly int s_seeds = int.TryParse(Environment.GetEnvironmentVariable("EXO_FUZZ_SEEDS"), out int seeds) ? seeds : 100;
    private static readonly int s_first = int.TryParse(Environment.GetEnvironmentVariable("EXO_FUZZ_FIRST"), out int first) ? first : 1;

    public static TheoryData<int> BatchNumbers => [.. Enumerable.Range(0, Batches)];

    [Theory]
    [MemberData(nameof(BatchNumbers))]
    public void What_is_called_clean_works_and_the_rest_can_be_looked_at(int batch)
    {
        int clean = 0;
        int runs = 0;
        for (int seed = s_first + batch; seed < s_first + s_seeds; seed += Batches)
        {
            runs++;
            clean += Run(seed) ? 1 : 0;
        }

        // Of many some are damaged where it does not show, such as in a time; of a few, perhaps none.
        Assert.True((runs < 20 || clean < runs) && (runs < 100 || clean > 0), $"{clean} of {runs} were clean");
    }

    private static bool Run(int seed)
    {
        FuzzVolume volume = seed % 4 == 0 ? FuzzVolume.Unclean.Value : FuzzVolume.Clean.Value;
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });
        using SimulatedBlockDevice disk = new(frames, volume.Contents);
        Mutation mutation = new(volume, disk, frames, new Random(seed));
        for (int i = seed % 3; i >= 0; i--)
        {
            mutation.Apply();
        }

        CffsCheckReport report = Verified.Check(disk);
        int free = frames.FreeCount;
        try
        {
            try
            {
                if (report.IsClean)
                {
                    Use(disk);
                    Assert.Empty(Verified.Check(disk).Findings);
                }
                else
                {
                    Look(disk);
                }
            }
            finally
            {
                Assert.Equal(free, frames.FreeCount);
            }
        }
        catch (Exception refused) when (!report.IsClean && refused is CffsException or XnException or XnFormatException or BlockDeviceException)
        {
        }
        catch (Exception failure)
        {
            throw new InvalidOperationException($"seed {seed}, {(report.IsClean ? "clean" : "damaged")}: {string.Join("; ", mutation.Log)}\n{string.Join("\n", report.Findings)}\n{failure.Message}", failure);
        }

        return report.IsClean;
    }

    private static void Look(SimulatedBlockDevice disk)
    {
        using CffsVolume volume = CffsVolume.Open(disk, new CffsOpenOptions { ReadOnly = true });
        RepairFuzzTests.ReadAll(volume, [], []);
    }

    internal static void Use(SimulatedBlockDevice disk)
    {
        CffsVolume volume = CffsVolume.Open(disk);
        try
        {
            Dictionary<string, byte[]> files = [];
            RepairFuzzTests.ReadAll(volume, [], files);
            volume.CreateDirectory("/new");
            volume.WriteAllBytes("/new/file", new byte[30_000]);
            volume.Rename("/new/file", "/moved");
            foreach (string path in files.Keys.Where(path => !path.Contains('\uFFFD', StringComparison.Ordinal)).Order(StringComparer.Ordinal).Take(40))
            {
                volume.RemoveFile(path);
            }

            volume.Dispose();
        }
        catch
        {
            volume.Abandon();
            throw;
        }
    }
}
