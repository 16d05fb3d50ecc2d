// SPDX-License-Identifier: MIT
using System.Globalization;
using Exo.Core.Memory;
using Exo.Simulation.Crashes;
using Exo.Simulation.Disks;
using Exo.Simulation.Recording;

namespace Exo.Storage.XN.Tests.LogStructured;

/// <summary>
/// A log-structured store on XN beside a dictionary, and after power cuts at every moment: it holds what it held at a sync, the last that had returned or the one under way.
/// <c>EXO_CRASH_SEEDS=200</c> explores that many workloads, <c>EXO_CRASH_FIRST=7</c> from that seed on.
/// </summary>
public sealed class LogStoreTests
{
    public static TheoryData<int> Seeds => [.. Enumerable.Range(Setting("EXO_CRASH_FIRST", 1), Setting("EXO_CRASH_SEEDS", 6))];

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Does_what_a_dictionary_does(int seed)
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
        using SimulatedBlockDevice disk = new(frames, DiskContents.Zeroes(400));
        XnVolume volume = XnVolume.Format(disk, new XnFormatOptions { VolumeId = Guid.Empty });
        LogStore store = LogStore.Create(volume);
        SortedDictionary<uint, byte[]> model = [];
        Random random = new(seed);
        for (int i = 0; i < 300; i++)
        {
            Step(store, model, random);
            Assert.Equal(model, store.Contents());
            if (i % 60 == 59)
            {
                bool clean = i % 120 == 119;
                store.Sync();
                Assert.Equal(XnStatus.Ok, clean ? volume.Unmount() : XnStatus.Ok);
                volume.Dispose();
                volume = XnVolume.Attach(disk);
                Assert.Equal(clean, volume.Recovery is null);
                store = LogStore.Load(volume);
                Assert.Equal(model, store.Contents());
                CheckSpace(volume, store);
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

    private sealed record Begun(SortedDictionary<uint, byte[]> Contents);

    private sealed record Promise(SortedDictionary<uint, byte[]> Contents);

    private static int Setting(string name, int value) =>
        int.TryParse(Environment.GetEnvironmentVariable(name), NumberStyles.None, CultureInfo.InvariantCulture, out int set) ? set : value;

    private static void Step(LogStore store, SortedDictionary<uint, byte[]> model, Random random, DiskRecording? recording = null)
    {
        switch (random.Next(10))
        {
            case < 5:
                uint id = (uint)random.Next(12);
                byte[] contents = new byte[random.Next(1, LogStore.FileBlocksMax * 4096 / 3)];
                random.NextBytes(contents);
                store.Write(id, contents);
                model[id] = contents;
                break;
            case 5 when model.Count > 0:
                uint gone = model.Keys.ElementAt(random.Next(model.Count));
                store.Delete(gone);
                _ = model.Remove(gone);
                break;
            case < 8:
                Marked(recording, model, store.Sync);
                break;
            default:
                // Cleaning syncs what is pending as well. It keeps ahead of what the log needs.
                for (int i = 0; i < 3; i++)
                {
                    Marked(recording, model, store.Clean);
                }

                break;
        }
    }

    private static void Marked(DiskRecording? recording, SortedDictionary<uint, byte[]> model, Action action)
    {
        recording?.Mark(new Begun(new SortedDictionary<uint, byte[]>(model)));
        action();
        if (action.Method.Name == nameof(LogStore.Sync))
        {
            recording?.Mark(new Promise(new SortedDictionary<uint, byte[]>(model)));
        }
    }

    private static DiskRecording Record(int seed, bool hasLog)
    {
        Random random = new(seed);
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
        int logBlocks = hasLog ? 16 + (seed % 3 * 16) : 0;
        using SimulatedBlockDevice disk = new(frames, DiskContents.Zeroes(360 + logBlocks), recorded: true);
        using XnVolume volume = XnVolume.Format(disk, new XnFormatOptions { VolumeId = Guid.Empty, LogBlocks = logBlocks }, new XnAttachOptions { ReserveFrames = 8 });
        LogStore store = LogStore.Create(volume);
        store.UsesLog = hasLog;
        SortedDictionary<uint, byte[]> model = [];
        disk.Recording!.Mark(new Promise([]));
        for (int i = 0; i < 80; i++)
        {
            Step(store, model, random, disk.Recording);
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

            LogStore store = LogStore.Load(volume);
            SortedDictionary<uint, byte[]> found = store.Contents();
            List<SortedDictionary<uint, byte[]>> allowed = [[]];
            foreach (DiskMark mark in state.Marks)
            {
                if (mark.Value is Promise promise)
                {
                    allowed.Clear();
                    allowed.Add(promise.Contents);
                }
                else if (mark.Value is Begun begun)
                {
                    allowed.Add(begun.Contents);
                }
            }

            Assert.True(allowed.Exists(contents => Same(contents, found)), $"files {string.Join(", ", found.Keys)}: not what any sync covered");
            CheckSpace(volume, store);
            store.Write(3, [1, 2, 3]);
            store.Sync();
            CheckSpace(volume, store);
            Assert.Equal([1, 2, 3], LogStore.Load(volume).Contents()[3]);
        }
    }

    private static bool Same(SortedDictionary<uint, byte[]> left, SortedDictionary<uint, byte[]> right) =>
        left.Count == right.Count && left.Zip(right).All(pair => pair.First.Key == pair.Second.Key && pair.First.Value.AsSpan().SequenceEqual(pair.Second.Value));

    private static void CheckSpace(XnVolume volume, LogStore store)
    {
        List<ulong> blocks = [.. store.Blocks];
        Assert.Equal(blocks.Count, blocks.Distinct().Count());
        HashSet<ulong> used = [.. blocks];
        for (ulong block = volume.DataStart.Value; block < volume.BlockCount; block++)
        {
            bool isFree = (volume.FreeMap[(int)(block / 64)] >> (int)(block % 64) & 1) != 0;
            Assert.True(isFree != used.Contains(block), $"block {block} is {(isFree ? "free and in use" : "neither free nor in use")}");
        }
    }
}
