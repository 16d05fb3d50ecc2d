// SPDX-License-Identifier: MIT
using System.Text;
using Exo.Core.Memory;
using Exo.Simulation.Disks;

namespace Exo.FileSystems.CFFS.Tests.Check;

/// <summary>
/// Whatever is done to the metadata of a volume: check and repair end, the volume is clean afterwards and works, and every file that the damage did not touch is there, byte for byte.
/// <c>EXO_FUZZ_SEEDS=5000</c> runs that many, <c>EXO_FUZZ_FIRST=7</c> from that seed on.
/// </summary>
public sealed class RepairFuzzTests
{
    private const int Batches = 10;

    private static readonly int s_seeds = int.TryParse(Environment.GetEnvironmentVariable("EXO_FUZZ_SEEDS"), out int seeds) ? seeds : 160;
    private static readonly int s_first = int.TryParse(Environment.GetEnvironmentVariable("EXO_FUZZ_FIRST"), out int first) ? first : 1;

    public static TheoryData<int> BatchNumbers => [.. Enumerable.Range(0, Math.Min(Batches, s_seeds))];

    [Theory]
    [MemberData(nameof(BatchNumbers))]
    public void A_repaired_volume_is_clean_and_has_all_that_was_not_touched(int batch)
    {
        int repaired = 0;
        for (int seed = s_first + batch; seed < s_first + s_seeds; seed += Batches)
        {
            repaired += Run(seed) ? 1 : 0;
        }

        Assert.True(repaired > 0);
    }

    /// <summary>What longer runs have found: clones in a directory that has lost its name, of files that are there.</summary>
    [Theory]
    [InlineData(10_488)]
    [InlineData(10_500)]
    public void What_was_found_once_is_mended(int seed) => Assert.True(Run(seed));

    private static bool Run(int seed)
    {
        Random random = new(seed);
        FuzzVolume volume = seed % 4 == 0 ? FuzzVolume.Unclean.Value : FuzzVolume.Clean.Value;
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });
        using SimulatedBlockDevice disk = new(frames, volume.Contents);
        Mutation mutation = new(volume, disk, frames, random);
        for (int i = random.Next(1, 7); i > 0; i--)
        {
            mutation.Apply();
        }

        string what = $"seed {seed}: {string.Join("; ", mutation.Log)}";
        int free = frames.FreeCount;
        try
        {
            CffsRepairReport report = CffsRepair.Run(disk);
            what += $"\nbefore: {string.Join("\n  ", report.Before.Findings)}\nactions: {string.Join("\n  ", report.Actions)}";
            Assert.True(report.IsClean, $"not clean: {string.Join("\n  ", report.After.Findings)}");
            Assert.Empty(report.After.Findings);
            // A directory block of an unclean volume that is all zeros is a directory block of that volume: nothing shows that it was damaged.
            Examine(volume, mutation, disk, isFound: !report.Before.IsClean || report.Before.WasUnmounted);
            Assert.Empty(Verified.Check(disk).Findings);
            Assert.Equal(free, frames.FreeCount);
            return report.HasWritten;
        }
        catch (Exception failure)
        {
            throw new InvalidOperationException($"{what}\n{failure.Message}", failure);
        }
    }

    internal static void Examine(FuzzVolume volume, Mutation mutation, SimulatedBlockDevice disk, bool isFound)
    {
        using CffsVolume repaired = CffsVolume.Open(disk);
        Dictionary<string, byte[]> files = [];
        ReadAll(repaired, [], files);
        HashSet<string> contents = [.. files.Values.Select(Convert.ToBase64String)];
        HashSet<ulong> blocks = [.. mutation.Sectors.Select(sector => sector / 8), .. mutation.Blocks];
        foreach ((string path, (HashSet<ulong> own, HashSet<ulong> above, HashSet<ulong> data)) in volume.Needs)
        {
            if (own.Overlaps(mutation.Sectors) || data.Overlaps(blocks))
            {
                continue;
            }

            bool isInPlace = files.TryGetValue(path, out byte[]? bytes) && bytes.AsSpan().SequenceEqual(volume.Files[path]);
            bool isNamesake = volume.Inodes[path].Overlaps(mutation.Inodes) || path.Split('/').Any(mutation.Names.Contains);
            Assert.True(isInPlace || isNamesake || above.Overlaps(mutation.Sectors), $"{path} is not in its place any more");
            Assert.True(isInPlace || !isFound || contents.Contains(Convert.ToBase64String(volume.Files[path])), $"{path} is nowhere any more");
        }

        foreach (string path in files.Keys.Where(path => volume.Files.ContainsKey(path)))
        {
            // Whoever has attributes has his own.
            if (repaired.GetExtendedAttribute(path, "user.path") is { } value && volume.Files[path].Length >= 40)
            {
                Assert.True(value.AsSpan().SequenceEqual(volume.Files[path].AsSpan(0, 40)) || mutation.Inodes.Overlaps(volume.Inodes[path]) || path.Split('/').Any(mutation.Names.Contains), path);
            }
            else if (volume.Needs[path].Own.Overlaps(mutation.Sectors) || !volume.WithAttributes.Overlaps(volume.Inodes[path]) || volume.Needs[path].Data.Overlaps(blocks))
            {
                continue;
            }
            else
            {
                Assert.True(mutation.Inodes.Overlaps(volume.Inodes[path]) || path.Split('/').Any(mutation.Names.Contains), $"{path} has lost its attributes");
            }
        }

        repaired.WriteAllBytes("something new", new byte[20_000]);
        repaired.CreateDirectory("a new directory");
    }

    /// <summary>Everything, by names that need not be text.</summary>
    internal static void ReadAll(CffsVolume volume, byte[] path, Dictionary<string, byte[]> files, HashSet<ulong>? seen = null)
    {
        // On a damaged volume a directory may lie within itself.
        seen ??= [];
        foreach (CffsDirectoryEntry entry in volume.ReadDirectory(path))
        {
            byte[] child = path.Length == 0 ? entry.Name.ToArray() : [.. path, (byte)'/', .. entry.Name.Span];
            CffsStat stat = volume.Stat(child, followSymbolicLink: false);
            if (entry.Kind == CffsKind.Directory)
            {
                if (seen.Add(stat.Inode))
                {
                    ReadAll(volume, child, files, seen);
                }
            }
            else if (entry.Kind == CffsKind.SymbolicLink)
            {
                Assert.NotEmpty(volume.ReadSymbolicLink(child));
            }
            else if (entry.Kind == CffsKind.File && stat.Size < 10_000_000)
            {
                byte[] bytes = new byte[stat.Size];
                using CffsFile file = volume.OpenFile(child);
                Assert.Equal(bytes.Length, file.Read(0, bytes));
                files[Encoding.UTF8.GetString(child)] = bytes;
            }
        }
    }
}
