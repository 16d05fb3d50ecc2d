// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Tests.Crashes.Promise;
using Exo.Simulation.Crashes;
using Exo.Simulation.Disks;
using Exo.Simulation.Timing;

namespace Exo.FileSystems.CFFS.Tests.Crashes.Ace;

/// <summary>
/// Cuts the power in every way within the bound while workloads run, and judges each state: fsck finds nothing to mend, it mounts, it shows what it may, it is usable, and fsck finds
/// nothing again; for some, also when the power fails once more during recovery. What a disk's contents lead to is found out once, however many workloads leave them. One thread each.
/// </summary>
internal sealed class AceExplorer(AceExplorer.Shared shared) : IDisposable
{
    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 4 << 20 });

    /// <summary>What explorers of several threads share.</summary>
    public sealed class Shared
    {
        public const int SecondCrashEveryDefault = 50;

        private const int KnownMax = 400_000;

        // What contents of the disk lead to, by fingerprint. A failure is not kept: it ends the exploration.
        private readonly ConcurrentDictionary<UInt128, FoundTree> _known = new();

        public Shared(int logBlocks = 0, AceOperation[]? start = null)
        {
            using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });
            Start = AceRun.Base.Make(frames, logBlocks, start);
        }

        public AceRun.Base Start { get; }

        /// <summary>Writes of this length are written behind.</summary>
        public long BehindFromBytes { get; init; } = CffsOpenOptions.BehindFromBytesDefault;

        /// <summary>Of the contents that are new, every so many are cut a second time while they recover.</summary>
        public int SecondCrashEvery { get; init; } = SecondCrashEveryDefault;

        /// <summary>At most at so many moments and in so many ways.</summary>
        public int SecondCrashStatesMax { get; init; } = 12;

        /// <summary>Workloads carried out; those left out because an operation fails; states judged; contents of the disk among them that were new; power cuts during recovery.</summary>
        public long Workloads, Void, States, Contents, SecondCrashes;

        public FoundTree? Known(UInt128 fingerprint) => _known.GetValueOrDefault(fingerprint);

        public void Add(UInt128 fingerprint, FoundTree found)
        {
            if (_known.Count >= KnownMax)
            {
                _known.Clear();
            }

            _known.TryAdd(fingerprint, found);
        }
    }

    public void Dispose() => _frames.Dispose();

    /// <summary>Explores one workload.</summary>
    /// <exception cref="InvalidOperationException">A promise is broken; the message says which workload and which state.</exception>
    public void Explore(AceWorkload workload)
    {
        AceRun? run;
        try
        {
            run = AceRun.Record(_frames, shared.Start, workload, shared.BehindFromBytes);
        }
        catch (Exception failure)
        {
            throw new InvalidOperationException($"{workload}: {failure.Message}", failure);
        }

        if (run is null)
        {
            Interlocked.Increment(ref shared.Void);
            return;
        }

        Interlocked.Increment(ref shared.Workloads);
        HashSet<(UInt128 Fingerprint, int Returned)> judged = [];
        foreach (CrashState state in CrashStates.EnumerateBounded(run.Recording, new BoundedCrashOptions { Seed = workload.Index, StatesPerCutMax = 200 }))
        {
            // The same contents later, with no more promised, may show what they might before.
            int begun = state.Marks.Select(mark => mark.Value).OfType<AceRun.Begun>().LastOrDefault()?.Tree ?? 0;
            int returned = state.Marks.Select(mark => mark.Value).OfType<AceRun.Returned>().LastOrDefault()?.Call ?? 0;
            if (!judged.Add((state.Fingerprint, returned)))
            {
                continue;
            }

            try
            {
                Interlocked.Increment(ref shared.States);
                FoundTree found = shared.Known(state.Fingerprint) ?? Mount(state);
                if (run.Promises.Violation(found, begun, returned) is { } violation)
                {
                    throw new InvalidOperationException($"{violation}\n{found.Text()}");
                }
            }
            catch (Exception failure)
            {
                throw new InvalidOperationException($"{workload}\n{state.Description}, tree {begun}, {returned} calls for durability returned: {failure.Message}", failure);
            }
        }
    }

    private FoundTree Mount(CrashState state)
    {
        bool isCutAgain = Interlocked.Increment(ref shared.Contents) % shared.SecondCrashEvery == 0;
        using SimulatedBlockDevice disk = new(_frames, state.Contents, recorded: isCutAgain);
        AssertChecks(disk, "before the mount");
        CffsVolume volume = CffsVolume.Open(disk, Options());
        FoundTree found;
        try
        {
            found = FoundTree.Of(volume);
            if (isCutAgain)
            {
                CutAgain(disk, found, (int)(state.Fingerprint & int.MaxValue));
            }

            AssertUsable(volume);
            volume.Dispose();
        }
        catch
        {
            volume.Abandon();
            throw;
        }

        AssertChecks(disk, "after a clean close");
        Assert.True(_frames.FreeCount == _frames.FrameCount, $"{_frames.FrameCount - _frames.FreeCount} frames were not given back");
        shared.Add(state.Fingerprint, found);
        return found;
    }

    /// <summary>The power fails while the volume recovers: the next recovery shows the same.</summary>
    private void CutAgain(SimulatedBlockDevice recovered, FoundTree found, int seed)
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 4 << 20 });
        CrashState[] states = [.. CrashStates.EnumerateBounded(recovered.Recording!, new BoundedCrashOptions { Seed = seed }).DistinctBy(state => state.Fingerprint)];
        Random random = new(seed);
        random.Shuffle(states);
        foreach (CrashState state in states.Take(shared.SecondCrashStatesMax))
        {
            Interlocked.Increment(ref shared.SecondCrashes);
            using SimulatedBlockDevice disk = new(frames, state.Contents);
            AssertChecks(disk, "before the second mount");
            using CffsVolume volume = CffsVolume.Open(disk, Options());
            string text = FoundTree.Of(volume).Text();
            Assert.True(text == found.Text(), $"a second {state.Description} shows\n{text}\nand not\n{found.Text()}");
        }
    }

    /// <summary>Something new is kept, something old goes, and every block is free or somebody's.</summary>
    private static void AssertUsable(CffsVolume volume)
    {
        volume.WriteAllBytes("/after the cut", new byte[5000]);
        volume.CreateDirectory("/A directory after the cut");
        volume.Rename("/after the cut", "/A directory after the cut/file");
        volume.RemoveFile("/A directory after the cut/file");
        volume.RemoveDirectory("/A directory after the cut");
        while (!volume.Core.Committer.IsIdle)
        {
            volume.Sync();
        }

        CffsSpace space = volume.GetSpace();
        ulong free = 0;
        ulong nobodys = 0;
        foreach (CffsBlockRun run in volume.MapBlocks())
        {
            free += run.Kind == CffsBlockKind.Free ? run.Extent.Count : 0;
            nobodys += run.Kind == CffsBlockKind.Other ? run.Extent.Count : 0;
        }

        Assert.True(free == space.FreeBlocks && nobodys == space.WillFreeBlocks, $"{space} and in the census {free} free, {nobodys} nobody's");
    }

    private static CffsOpenOptions Options()
    {
        VirtualTime time = new();
        time.Advance(TimeSpan.FromHours(1));
        return new CffsOpenOptions { Time = time };
    }

    private static void AssertChecks(SimulatedBlockDevice disk, string when)
    {
        CffsCheckReport report = Verified.Check(disk);
        Assert.True(report.IsClean, $"fsck {when}: {string.Join("; ", report.Findings)}");
    }
}
