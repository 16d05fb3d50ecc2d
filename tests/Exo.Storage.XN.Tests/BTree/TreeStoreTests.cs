// SPDX-License-Identifier: MIT
using System.Globalization;
using Exo.Core.Memory;
using Exo.Simulation.Crashes;
using Exo.Simulation.Disks;
using Exo.Simulation.Recording;

namespace Exo.Storage.XN.Tests.BTree;

/// <summary>
/// A B-tree on XN beside a dictionary, and after power cuts at every moment. <c>EXO_CRASH_SEEDS=200</c> explores that many workloads, <c>EXO_CRASH_FIRST=7</c> from that seed on.
/// </summary>
public sealed class TreeStoreTests
{
    private const int Keys = 60;

    public static TheoryData<int> Seeds => [.. Enumerable.Range(Setting("EXO_CRASH_FIRST", 1), Setting("EXO_CRASH_SEEDS", 6))];

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Does_what_a_dictionary_does(int seed)
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });
        using SimulatedBlockDevice disk = new(frames, DiskContents.Zeroes(1024));
        XnVolume volume = XnVolume.Format(disk, new XnFormatOptions { VolumeId = Guid.Empty });
        TreeStore store = TreeStore.Create(volume);
        SortedDictionary<ulong, ulong> model = [];
        Random random = new(seed);
        for (int i = 0; i < 1500; i++)
        {
            Step(store, model, random, (ulong)i + 1);
            if (i % 50 == 49)
            {
                Assert.Equal(model, store.Contents());
            }

            if (i % 300 == 299)
            {
                // Out and in again, by the front door or without a word.
                bool clean = i % 600 == 599;
                store.Sync();
                Assert.Equal(XnStatus.Ok, clean ? volume.Unmount() : XnStatus.Ok);
                volume.Dispose();
                volume = XnVolume.Attach(disk);
                Assert.Equal(clean, volume.Recovery is null);
                store = TreeStore.Load(volume);
                Assert.Equal(model, store.Contents());
                CheckSpace(volume, store, "reopened");
            }
        }

        volume.Dispose();
    }

    [Theory]
    [MemberData(nameof(Seeds))]
    public void Survives_every_power_cut(int seed) => Explore(seed, hasLog: false);

    [Theory]
    [MemberData(nameof(Seeds))]
    public void Survives_every_power_cut_with_the_commit_log(int seed) => Explore(seed, hasLog: true);

    private static void Explore(int seed, bool hasLog)
    {
        DiskRecording recording = Record(seed, hasLog);
        int states = 0;
        foreach (CrashState state in CrashStates.Enumerate(recording, new CrashExplorationOptions { Seed = seed, CutsMax = 80, StatesPerCutMax = 8 }))
        {
            states++;
            try
            {
                Check(state);
            }
            catch (Exception failure)
            {
                throw new InvalidOperationException($"seed {seed}, {state}: {failure.Message}", failure);
            }
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"{states} states");
        Assert.True(states > 80, $"{states} states");
    }

    private sealed record Promise(SortedDictionary<ulong, ulong> Contents);

    private sealed record Change(ulong Key, ulong Version);

    private static int Setting(string name, int value) =>
        int.TryParse(Environment.GetEnvironmentVariable(name), NumberStyles.None, CultureInfo.InvariantCulture, out int set) ? set : value;

    /// <summary>Puts or deletes; the version of a deletion is 0.</summary>
    private static void Step(TreeStore store, SortedDictionary<ulong, ulong> model, Random random, ulong version, DiskRecording? recording = null)
    {
        ulong key = (ulong)random.Next(Keys);
        bool deletes = random.Next(100) < (version / 100 % 2 == 0 ? 35 : 65) && model.Count > 0;
        if (deletes)
        {
            key = model.Keys.ElementAt(random.Next(model.Count));
            recording?.Mark(new Change(key, 0));
            store.Delete(key);
            _ = model.Remove(key);
        }
        else
        {
            recording?.Mark(new Change(key, version));
            store.Put(key, version, (uint)random.Next(1, 4));
            model[key] = version;
        }
    }

    private static DiskRecording Record(int seed, bool hasLog)
    {
        Random random = new(seed);
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });
        int logBlocks = hasLog ? 16 + (seed % 3 * 8) : 0;
        using SimulatedBlockDevice disk = new(frames, DiskContents.Zeroes(420 + logBlocks), recorded: true);
        using XnVolume volume = XnVolume.Format(disk, new XnFormatOptions { VolumeId = Guid.Empty, LogBlocks = logBlocks }, new XnAttachOptions { ReserveFrames = 8 });
        TreeStore store = TreeStore.Create(volume);
        store.UsesLog = hasLog;
        SortedDictionary<ulong, ulong> model = [];
        disk.Recording!.Mark(new Promise([]));
        for (int i = 0; i < 400; i++)
        {
            Step(store, model, random, (ulong)i + 1, disk.Recording);
            if (random.Next(4) == 0)
            {
                store.WriteSome(random);
            }

            if (hasLog && random.Next(6) == 0)
            {
                _ = volume.TryCommit(volume.Frames.RootCredential);
            }

            if (random.Next(8) == 0)
            {
                volume.Flush();
            }

            if (random.Next(40) == 0)
            {
                store.Sync();
                disk.Recording.Mark(new Promise(new SortedDictionary<ulong, ulong>(model)));
            }
        }

        return disk.Recording;
    }

    private static void Check(CrashState state)
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });
        using SimulatedBlockDevice disk = new(frames, state.Contents);
        XnVolume volume;
        try
        {
            volume = XnVolume.Attach(disk, new XnAttachOptions { ReserveFrames = 8 });
        }
        catch (XnFormatException)
        {
            Assert.False(state.Marks.Any(), "a volume that was there cannot be attached");
            return;
        }

        using (volume)
        {
            if (volume.Roots.Count == 0)
            {
                Assert.False(state.Marks.Any());
                return;
            }

            TreeStore store = TreeStore.Load(volume);
            SortedDictionary<ulong, ulong> found = store.Contents();
            Dictionary<ulong, HashSet<ulong>> allowed = Allowed(state);
            for (ulong key = 0; key < Keys; key++)
            {
                ulong version = found.GetValueOrDefault(key);
                HashSet<ulong> versions = allowed.TryGetValue(key, out HashSet<ulong>? some) ? some : [0];
                Assert.True(versions.Contains(version), $"key {key} has version {version}, and may have {string.Join(", ", versions)}");
            }

            CheckSpace(volume, store, "after recovery");
            store.Put(7, 1_000_000, 2);
            store.Sync();
            Assert.Equal(1_000_000UL, store.Contents()[7]);
            CheckSpace(volume, store, "after a change");
        }
    }

    /// <summary>By key the versions that it may have: that of the last promise, and all since.</summary>
    private static Dictionary<ulong, HashSet<ulong>> Allowed(CrashState state)
    {
        Dictionary<ulong, HashSet<ulong>> allowed = [];
        foreach (DiskMark mark in state.Marks)
        {
            if (mark.Value is Promise promise)
            {
                allowed = promise.Contents.ToDictionary(pair => pair.Key, pair => new HashSet<ulong> { pair.Value });
            }
            else if (mark.Value is Change change)
            {
                if (!allowed.TryGetValue(change.Key, out HashSet<ulong>? versions))
                {
                    versions = [0];
                    allowed.Add(change.Key, versions);
                }

                versions.Add(change.Version);
            }
        }

        return allowed;
    }

    private static void CheckSpace(XnVolume volume, TreeStore store, string when)
    {
        HashSet<ulong> blocks = store.Blocks();
        for (ulong block = volume.DataStart.Value; block < volume.BlockCount; block++)
        {
            bool isFree = (volume.FreeMap[(int)(block / 64)] >> (int)(block % 64) & 1) != 0;
            Assert.True(isFree != blocks.Contains(block), $"{when}: block {block} is {(isFree ? "free and in use" : "neither free nor in use")}");
            Assert.True(isFree || volume.OwnerCount(new(block)) == 1, $"{when}: block {block} has {volume.OwnerCount(new(block))} owners");
        }
    }
}
