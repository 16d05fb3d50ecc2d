// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Tests.Crashes.Promise;
using Exo.Simulation.Disks;
using Exo.Simulation.Recording;
using Exo.Simulation.Timing;

namespace Exo.FileSystems.CFFS.Tests.Crashes.Ace;

/// <summary>A workload that was carried out on a recorded disk: what was done to the disk, and what has been promised on the way.</summary>
internal sealed class AceRun
{
    private AceRun(DiskRecording recording, CrashPromises promises)
    {
        Recording = recording;
        Promises = promises;
    }

    /// <summary>Its marks are of <see cref="Begun"/> and <see cref="Returned"/>.</summary>
    public DiskRecording Recording { get; }

    public CrashPromises Promises { get; }

    /// <summary>An operation begins.</summary>
    /// <param name="Tree">What it leads to.</param>
    public sealed record Begun(int Tree);

    /// <summary>A call for durability has returned.</summary>
    /// <param name="Call">How many have.</param>
    public sealed record Returned(int Call);

    /// <summary>What all workloads start from.</summary>
    public sealed record Base(DiskContents Contents, PromisedTree Tree, (int Node, ulong Inode)[] Inodes)
    {
        // The smallest disk that a volume is made on.
        private const int Blocks = 512;

        public static Base Make(FramePool frames, int logBlocks, AceOperation[]? start = null)
        {
            using SimulatedBlockDevice disk = new(frames, DiskContents.Zeroes(Blocks + logBlocks));
            VirtualTime time = new();
            using CffsVolume volume = CffsVolume.Create(disk, new CffsCreateOptions { Seed = 1, LogBlocks = logBlocks, Open = new CffsOpenOptions { Time = time } });
            AceVolume target = new(volume);
            PromisedTree tree = PromisedTree.Empty;
            start ??= AceAlphabet.Start;
            for (int i = 0; i < start.Length; i++)
            {
                time.Advance(TimeSpan.FromMilliseconds(1));
                start[i].Run(target, 100 + i);
                tree = start[i].Model(tree, 100 + i) ?? throw new InvalidOperationException(start[i].Text);
            }

            (int, ulong)[] inodes = [.. Enumerable.Range(0, tree.NodeCount).Select(node => (node, volume.Stat(tree.PathOf(node)!).Inode))];
            volume.Dispose();
            return new Base(disk.Snapshot(), tree, inodes);
        }
    }

    /// <summary>Carries a workload out; null when one of its operations fails by the model.</summary>
    public static AceRun? Record(FramePool frames, Base start, AceWorkload workload, long behindFromBytes)
    {
        if (workload.Trees(start.Tree) is not { } trees)
        {
            return null;
        }

        using SimulatedBlockDevice disk = new(frames, start.Contents, recorded: true);
        VirtualTime time = new();
        time.Advance(TimeSpan.FromSeconds(60));
        CffsVolume volume = CffsVolume.Open(disk, new CffsOpenOptions { Time = time, BehindFromBytes = behindFromBytes });
        AceVolume target = new(volume);
        CrashPromises promises = new(start.Tree);
        foreach ((int node, ulong inode) in start.Inodes)
        {
            promises.Identify(node, inode);
        }

        for (int i = 0; i < trees.Length; i++)
        {
            time.Advance(TimeSpan.FromMilliseconds(1));
            foreach (PromisedTree tree in workload.Operations[i].OnTheWay?.Invoke(i == 0 ? start.Tree : trees[i - 1]) ?? [])
            {
                promises.Add(tree);
            }

            promises.Add(trees[i]);
            disk.Recording!.Mark(new Begun(promises.TreeCount - 1));
            workload.Operations[i].Run(target, i);
            for (int node = start.Tree.NodeCount; node < trees[i].NodeCount; node++)
            {
                if (!promises.IsIdentified(node) && trees[i].PathOf(node) is { } path)
                {
                    promises.Identify(node, volume.Stat(path, followSymbolicLink: false).Inode);
                }
            }

            Persist(workload, i, volume, trees[i], promises);
        }

        volume.Abandon();
        return new AceRun(disk.Recording!, promises);

        void Persist(AceWorkload workload, int step, CffsVolume volume, PromisedTree tree, CrashPromises promises)
        {
            PersistenceScope scope = PersistenceScope.All;
            int node = PromisedTree.Root;
            switch (workload.After[step])
            {
                case AcePersistence.None:
                    return;
                case AcePersistence.Sync:
                    volume.Sync();
                    break;
                case AcePersistence.Close:
                    volume.Dispose();
                    break;
                default:
                    string path = workload.PathOf(step)!;
                    node = tree.Find(path)!.Value;
                    bool isFile = tree.Node(node)!.Kind == CffsKind.File;
                    scope = isFile ? PersistenceScope.File : PersistenceScope.Directory;
                    if (isFile)
                    {
                        using CffsFile file = volume.OpenFile(path);
                        file.Sync();
                    }
                    else
                    {
                        // As the mount serves fsync of a directory.
                        volume.Sync();
                    }

                    break;
            }

            promises.Persist(scope, node);
            disk.Recording!.Mark(new Returned(promises.PersistedCount));
        }
    }
}
