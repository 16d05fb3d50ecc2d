// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Tests.Crashes.Ace;
using Exo.FileSystems.CFFS.Tests.Crashes.Promise;
using Exo.Simulation.Crashes;
using Exo.Simulation.Disks;
using Exo.Simulation.Recording;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Tests.Crashes;

/// <summary>
/// Two C-FFS file systems on one disk, in which the same inode numbers mean different files: each is mended after a crash by what is its own.
/// </summary>
public sealed class SharedDiskTests
{
    private static readonly string[] s_roots = ["one", "two"];

    // What recovery has to finish: moves between directories, also over another name; inodes on their way out; removals.
    private static readonly AceOperation[][] s_work =
    [
        [AceOperation.Rename("A/foo", "B/bar"), AceOperation.Link("B/foo", "A/bar"), AceOperation.Unlink("B/foo")],
        [AceOperation.Rename("foo", "A/C/foo"), AceOperation.Rename("B/foo", "A/foo"), AceOperation.Link("A/foo", "B/bar")],
    ];

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public void Each_file_system_is_mended_by_what_is_its_own(int synced)
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });
        CrashPromises[] promises = new CrashPromises[s_roots.Length];
        DiskRecording recording = Record(frames, promises, synced);
        HashSet<UInt128> seen = [];
        foreach (CrashState state in CrashStates.EnumerateBounded(recording, new BoundedCrashOptions { WritesLostMax = 1 }))
        {
            if (!seen.Add(state.Fingerprint))
            {
                continue;
            }

            using SimulatedBlockDevice disk = new(frames, state.Contents);
            CffsCrashObserver observer = new();
            using XnVolume attached = XnVolume.Attach(disk, new XnAttachOptions { Observer = observer });
            for (int i = 0; i < s_roots.Length; i++)
            {
                using CffsVolume volume = CffsVolume.Open(attached, s_roots[i], observer: observer);
                int returned = i == synced ? state.Marks.Count(mark => mark.Value is string) : 0;
                string? violation = promises[i].Violation(FoundTree.Of(volume), state.Marks.Count(mark => mark.Value is int at && at == i), returned);
                Assert.True(violation is null, $"{s_roots[i]}: {violation} ({state.Description})");
                volume.WriteAllBytes("/after the cut", new byte[5000]);
            }
        }

        Assert.True(seen.Count > 20, $"{seen.Count} states");
    }

    [Fact]
    public void What_a_crash_has_left_is_not_opened_by_who_has_not_watched()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });
        DiskRecording recording = Record(frames, new CrashPromises[s_roots.Length], 0);
        CrashState last = CrashStates.EnumerateBounded(recording, new BoundedCrashOptions { WritesLostMax = 0, TornWrites = false }).Last();
        using SimulatedBlockDevice disk = new(frames, last.Contents);
        using XnVolume attached = XnVolume.Attach(disk);
        Assert.Equal(CffsError.Invalid, Assert.Throws<CffsException>(() => CffsVolume.Open(attached, "one")).Error);
        using CffsVolume looked = CffsVolume.Open(attached, "one", new CffsOpenOptions { ReadOnly = true });
        Assert.True(looked.Exists("/A"));
    }

    private static DiskRecording Record(FramePool frames, CrashPromises[] promises, int synced)
    {
        DiskContents start;
        PromisedTree tree = PromisedTree.Empty;
        using (SimulatedBlockDevice made = new(frames, DiskContents.Zeroes(768)))
        {
            using XnVolume disk = XnVolume.Format(made);
            foreach (string root in s_roots)
            {
                tree = PromisedTree.Empty;
                using CffsVolume volume = CffsVolume.Create(disk, root, new CffsCreateOptions { Seed = root.Length + root[0] });
                for (int i = 0; i < AceAlphabet.Start.Length; i++)
                {
                    AceAlphabet.Start[i].Run(new AceVolume(volume), 100 + i);
                    tree = AceAlphabet.Start[i].Model(tree, 100 + i)!;
                }
            }

            Assert.Equal(XnStatus.Ok, disk.Unmount());
            start = made.Snapshot();
        }

        using SimulatedBlockDevice recorded = new(frames, start, recorded: true);
        using XnVolume attached = XnVolume.Attach(recorded);
        CffsVolume[] volumes = [.. s_roots.Select(root => CffsVolume.Open(attached, root))];
        for (int i = 0; i < volumes.Length; i++)
        {
            promises[i] = new CrashPromises(tree);
            for (int node = 0; node < tree.NodeCount; node++)
            {
                promises[i].Identify(node, volumes[i].Stat(tree.PathOf(node)!).Inode);
            }
        }

        for (int step = 0; step < s_work[0].Length; step++)
        {
            for (int i = 0; i < volumes.Length; i++)
            {
                promises[i].Add(s_work[i][step].Model(promises[i].Last, step)!);
                recorded.Recording!.Mark(i);
                s_work[i][step].Run(new AceVolume(volumes[i]), step);
            }

            volumes[synced].Sync();
            promises[synced].Persist(PersistenceScope.All, PromisedTree.Root);
            recorded.Recording!.Mark("synced");
        }

        foreach (CffsVolume volume in volumes)
        {
            volume.Abandon();
        }

        return recorded.Recording!;
    }
}
