// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.Simulation.Crashes;
using Exo.Simulation.Disks;
using Exo.Simulation.Recording;

namespace Exo.FileSystems.CFFS.Tests.Crashes;

/// <summary>
/// Power cuts at every moment of random workloads, with unflushed writes lost, reordered and torn: each state mounts, passes fsck and holds what was promised.
/// <c>EXO_CRASH_SEEDS=200</c> explores that many workloads instead of the few of a usual run, <c>EXO_CRASH_FIRST=7</c> from that seed on.
/// </summary>
public sealed class PowerCutTests
{
    public static TheoryData<int> Seeds =>
        [.. Enumerable.Range(int.TryParse(Environment.GetEnvironmentVariable("EXO_CRASH_FIRST"), out int first) ? first : 1, int.TryParse(Environment.GetEnvironmentVariable("EXO_CRASH_SEEDS"), out int seeds) ? seeds : 10)];

    [Theory]
    [MemberData(nameof(Seeds))]
    public void Whatever_reached_the_medium_the_volume_mounts_and_holds_what_was_promised(int seed) => Explore(seed, holdsFiles: false);

    /// <summary>Names go while their files are open: what a sync covered is gone, and no other file of the name comes back.</summary>
    [Theory]
    [MemberData(nameof(Seeds))]
    public void Files_that_are_open_lose_their_names_as_others_do(int seed) => Explore(seed, holdsFiles: true);

    private static void Explore(int seed, bool holdsFiles)
    {
        DiskRecording recording = Record(seed, out CffsOpenOptions open, holdsFiles);
        int states = 0;
        foreach (CrashState state in CrashStates.Enumerate(recording, new CrashExplorationOptions { Seed = seed, CutsMax = holdsFiles ? 20 : 40, StatesPerCutMax = 6 }))
        {
            states++;
            CrashPromise? promise = PromiseOf(state);
            try
            {
                Check(state, promise, open);
            }
            catch (Exception failure)
            {
                throw new InvalidOperationException($"{state.Description}: {failure.Message}\n{promise?.History()}", failure);
            }
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"{states} states");
        Assert.True(states > 20, $"{states} states");
    }

    internal static DiskRecording Record(int seed, out CffsOpenOptions open, bool holdsFiles = false)
    {
        Random random = new(seed);
        open = new CffsOpenOptions { BehindFromBytes = seed % 4 < 2 ? CffsOpenOptions.BehindFromBytesDefault : 8192 };
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = seed % 3 == 0 ? 2 << 20 : 16 << 20 });
        DiskContents start;
        using (SimulatedBlockDevice device = new(frames, DiskContents.Zeroes(3072)))
        {
            CffsVolume.Create(device, new CffsCreateOptions { Seed = seed, LogBlocks = seed % 2 == 0 ? 0 : 64 }).Dispose();
            start = device.Snapshot();
        }

        using SimulatedBlockDevice disk = new(frames, start, recorded: true);
        CffsVolume volume = CffsVolume.Open(disk, open);
        TreeModel model = new();
        RandomWorkload workload = new(volume, model, random);
        TreeSnapshot before = TreeSnapshot.Of(model, volume);
        CrashPromise promise = new(before);
        disk.Recording!.Mark(promise);
        Random holding = new(seed);
        Queue<CffsFile> held = [];
        for (int i = 0; i < 60; i++)
        {
            if (holdsFiles)
            {
                Hold(volume, model, held, holding);
            }

            CrashPromise.Step step = new() { Before = before };
            disk.Recording.Mark(step);
            workload.Step();
            step.After = before = TreeSnapshot.Of(model, volume);
            if (random.Next(5) == 0)
            {
                volume.Sync();
                disk.Recording.Mark(new CrashPromise(before));
            }
        }

        volume.Dispose();
        return disk.Recording;
    }

    /// <summary>Keeps most files open, some for long: often the name that goes next is that of one of them, and comes again while it is open.</summary>
    private static void Hold(CffsVolume volume, TreeModel model, Queue<CffsFile> held, Random random)
    {
        foreach (string path in model.Paths(node => node.Entries is null && node.Target is null))
        {
            if (random.Next(4) == 0)
            {
                held.Enqueue(volume.OpenFile(path));
            }
        }

        while (held.Count > random.Next(40))
        {
            held.Dequeue().Dispose();
        }
    }

    internal static CrashPromise? PromiseOf(CrashState state)
    {
        CrashPromise? promise = null;
        foreach (DiskMark mark in state.Marks)
        {
            if (mark.Value is CrashPromise.Step step)
            {
                promise!.Begin(step);
            }
            else
            {
                promise = (CrashPromise)mark.Value!;
                promise.Forget();
            }
        }

        return promise;
    }

    internal static void Check(CrashState state, CrashPromise? promise, CffsOpenOptions open)
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 4 << 20 });
        using SimulatedBlockDevice disk = new(frames, state.Contents);
        AssertChecks(disk, "before the mount");
        if (promise is null)
        {
            CffsVolume.Open(disk, open).Dispose();
            return;
        }

        CffsVolume volume = CffsVolume.Open(disk, open);
        try
        {
            if (promise.Violation(TreeSnapshot.Of(volume)) is { } violation)
            {
                Assert.Fail(violation);
            }

            // It is usable: something new is kept.
            volume.WriteAllBytes("/after the crash", new byte[5000]);
            volume.Dispose();
        }
        catch
        {
            volume.Abandon();
            throw;
        }

        AssertChecks(disk, "after a clean close");
    }

    private static void AssertChecks(SimulatedBlockDevice disk, string when)
    {
        CffsCheckReport report = Verified.Check(disk);
        Assert.True(report.IsClean, $"fsck {when}: {string.Join("; ", report.Findings)}");
    }
}
