// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Tests.Directories;
using Exo.Simulation.Crashes;
using Exo.Simulation.Disks;
using Exo.Simulation.Recording;

namespace Exo.FileSystems.CFFS.Tests.Crashes;

/// <summary>
/// Power cuts while a directory with an index on the disk changes, grows and gets its index: whatever of slots and buckets has reached the medium, the directory says the same when it is asked for
/// a name as when it is listed, and what was durable is there. The same seeds as <see cref="PowerCutTests"/>.
/// </summary>
public sealed class IndexPowerCutTests
{
    private static readonly CffsOpenOptions Open = BigDirectory.Options(8 << 20);

    public static TheoryData<int> Seeds => PowerCutTests.Seeds;

    [Theory]
    [MemberData(nameof(Seeds))]
    public void The_index_never_lies(int seed)
    {
        DiskRecording recording = Record(seed);
        int states = 0;
        int indexed = 0;
        foreach (CrashState state in CrashStates.Enumerate(recording, new CrashExplorationOptions { Seed = seed, CutsMax = 50, StatesPerCutMax = 6 }))
        {
            states++;
            try
            {
                indexed += Check(state) ? 1 : 0;
            }
            catch (Exception failure)
            {
                throw new InvalidOperationException($"{state.Description}: {failure.Message}", failure);
            }
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"{states} states, {indexed} with an index");
        Assert.True(states > 40 && (indexed > 5 || seed % 3 == 0), $"{states} states, {indexed} with an index");
    }

    /// <summary>Marked before a step begins, and completed when it is over.</summary>
    private sealed class Moment(Dictionary<string, ulong> names, bool isDurable)
    {
        public Dictionary<string, ulong> After { get; set; } = names;

        public bool IsDurable => isDurable;

        public string[] Gone { get; set; } = [];
    }

    private static DiskRecording Record(int seed)
    {
        Random random = new(seed);
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
        DiskContents start;
        BigDirectory big;
        using (SimulatedBlockDevice device = new(frames, DiskContents.Zeroes(3072)))
        {
            using CffsVolume made = CffsVolume.Create(device, new CffsCreateOptions { Seed = seed, LogBlocks = seed % 2 == 0 ? 0 : 64, Open = Open });
            made.CreateDirectory(BigDirectory.Path);
            big = new BigDirectory(made, random);

            // Some begin small, so that the index comes while the power is cut.
            for (int i = 0; i < (seed % 3 == 0 ? 20 : 150 + random.Next(300)); i++)
            {
                big.Step();
            }

            made.Dispose();
            start = device.Snapshot();
        }

        using SimulatedBlockDevice disk = new(frames, start, recorded: true);
        using CffsVolume volume = CffsVolume.Open(disk, Open);
        big.Reopened(volume);
        disk.Recording!.Mark(new Moment(new(big.Names), isDurable: true) { Gone = [.. big.Gone] });
        for (int i = 0; i < 250; i++)
        {
            Moment step = new([], isDurable: false);
            disk.Recording.Mark(step);
            big.Step();
            step.After = new(big.Names);
            step.Gone = [.. big.Gone];
            if (random.Next(25) == 0)
            {
                volume.Sync();
                disk.Recording.Mark(new Moment(step.After, isDurable: true));
            }
        }

        volume.Dispose();
        return disk.Recording;
    }

    private static bool Check(CrashState state)
    {
        // Names that have not changed since the last sync must be there; all others may be what they were at any time.
        Dictionary<string, ulong> kept = [];
        HashSet<string> known = [];
        foreach (Moment moment in state.Marks.Select(mark => (Moment)mark.Value!))
        {
            if (moment.IsDurable)
            {
                kept = new Dictionary<string, ulong>(moment.After);
            }

            foreach (string name in kept.Keys.Where(name => !moment.After.TryGetValue(name, out ulong inode) || inode != kept[name]).ToArray())
            {
                kept.Remove(name);
            }

            known.UnionWith(moment.After.Keys);
            known.UnionWith(moment.Gone);
        }

        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 4 << 20 });
        using SimulatedBlockDevice disk = new(frames, state.Contents);
        AssertChecks(disk, "before the mount");
        CffsVolume volume = CffsVolume.Open(disk, Open);
        bool isIndexed;
        try
        {
            AssertAgrees(volume, kept, known);
            isIndexed = volume.MapBlocks().Any(run => run.Kind == CffsBlockKind.Index);

            // It goes on growing: buckets that the cut has lost are made again.
            for (int i = 0; i < 40; i++)
            {
                volume.WriteAllBytes($"{BigDirectory.Path}/after the cut {i}", new byte[1]);
            }

            volume.Sync();
            volume.Abandon();
            AssertChecks(disk, "after a second crash");
            volume = CffsVolume.Open(disk, Open);
            Assert.Equal(40, volume.ReadDirectory(BigDirectory.Path).Count(entry => entry.NameString.StartsWith("after", StringComparison.Ordinal)));
            AssertAgrees(volume, kept, known);
            volume.Dispose();
        }
        catch
        {
            volume.Abandon();
            throw;
        }

        AssertChecks(disk, "after a clean close");
        return isIndexed;
    }

    private static void AssertAgrees(CffsVolume volume, Dictionary<string, ulong> kept, HashSet<string> known)
    {
        Dictionary<string, ulong> listed = [];
        foreach (CffsDirectoryEntry entry in volume.ReadDirectory(BigDirectory.Path))
        {
            Assert.True(listed.TryAdd(entry.NameString, entry.Inode), $"{entry.NameString} is listed twice");
        }

        foreach ((string name, ulong inode) in listed)
        {
            Assert.True(volume.Exists($"{BigDirectory.Path}/{name}"), $"{name} is listed and not found");
            Assert.Equal(inode, volume.Stat($"{BigDirectory.Path}/{name}").Inode);
        }

        foreach (string name in known.Where(name => !listed.ContainsKey(name)))
        {
            Assert.False(volume.Exists($"{BigDirectory.Path}/{name}"), $"{name} is found and not listed");
        }

        foreach ((string name, ulong inode) in kept)
        {
            Assert.True(listed.TryGetValue(name, out ulong there) && there == inode, $"{name} was durable and is gone");
        }
    }

    private static void AssertChecks(SimulatedBlockDevice disk, string when)
    {
        CffsCheckReport report = Verified.Check(disk);
        Assert.True(report.IsClean, $"fsck {when}: {string.Join("; ", report.Findings)}");
    }
}
