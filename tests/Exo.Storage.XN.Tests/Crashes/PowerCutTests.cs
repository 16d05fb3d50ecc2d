// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Core.Memory;
using Exo.Simulation.Crashes;
using Exo.Simulation.Disks;
using Exo.Simulation.Recording;
using Exo.Storage.XN.Tests.Log;
using Exo.Storage.XN.Tests.Stamped;

namespace Exo.Storage.XN.Tests.Crashes;

/// <summary>
/// The three rules, seen from the disk: after a power cut at any moment every pointer leads to what it was made for, never to what was in the block before or came after (rules one and
/// two), and what a sync covered is there (rule three). <c>EXO_CRASH_SEEDS=500</c> explores that many workloads, <c>EXO_CRASH_FIRST=7</c> from that seed on.
/// </summary>
public sealed class PowerCutTests
{
    public static TheoryData<int> Seeds =>
        [.. Enumerable.Range(int.TryParse(Environment.GetEnvironmentVariable("EXO_CRASH_FIRST"), out int first) ? first : 1, int.TryParse(Environment.GetEnvironmentVariable("EXO_CRASH_SEEDS"), out int seeds) ? seeds : 15)];

    [Theory]
    [MemberData(nameof(Seeds))]
    public void Every_pointer_on_the_disk_leads_to_what_it_was_made_for(int seed) => Explore(seed, Record(seed, hasLog: false), isReplayCut: false);

    /// <summary>The same where most commits go through the commit log, changes come while it is being written, and the replay is cut off itself.</summary>
    [Theory]
    [MemberData(nameof(Seeds))]
    public void The_commit_log_leads_there_too(int seed) => Explore(seed, Record(seed, hasLog: true), isReplayCut: true);

    private static void Explore(int seed, DiskRecording recording, bool isReplayCut)
    {
        int states = 0;
        int replays = 0;
        foreach (CrashState state in CrashStates.Enumerate(recording, new CrashExplorationOptions { Seed = seed, CutsMax = 60, StatesPerCutMax = 8 }))
        {
            states++;
            try
            {
                DiskRecording recovery = Check(state, state.Contents);
                if (isReplayCut && states % 5 == 0 && recovery.Requests.Count > 0)
                {
                    foreach (CrashState again in CrashStates.Enumerate(recovery, new CrashExplorationOptions { Seed = states, CutsMax = 4, StatesPerCutMax = 3 }))
                    {
                        replays++;
                        _ = Check(state, again.Contents);
                    }
                }
            }
            catch (Exception failure)
            {
                IEnumerable<string> steps = state.Marks.Select(mark => mark.Value is Step step ? step.What : "sync").Where(what => what != "nothing");
                throw new InvalidOperationException($"{failure.Message}\n{string.Join('\n', steps.TakeLast(60))}", failure);
            }
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"{states} states, {replays} of replays that were cut off");
        Assert.True(states > 60, $"{states} states");
    }

    /// <summary>What is in the tree must be found after a power cut, unless it has been removed since.</summary>
    private sealed record Promise(HashSet<ulong> Serials, Dictionary<ulong, ulong> Rewritten);

    private sealed class Step
    {
        public required ILookup<ulong, StampedTree.Item> Before { get; init; }

        public HashSet<ulong> Fewer { get; set; } = [];

        public string What { get; set; } = "";
    }

    /// <summary>Items by serial number: several where blocks are shared.</summary>
    private static ILookup<ulong, StampedTree.Item> Items(StampedTree tree) => tree.All().ToLookup(item => item.Serial);

    private static HashSet<ulong> Serials(StampedTree tree) => [.. tree.All().Select(item => item.Serial)];

    private static DiskRecording Record(int seed, bool hasLog)
    {
        Random random = new(seed);
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });

        // Small, so that freed blocks are soon used again, and the log is full often.
        int logBlocks = hasLog ? 16 + (seed % 4 * 8) : 0;
        using SimulatedBlockDevice disk = new(frames, DiskContents.Zeroes(256 + logBlocks + (seed % 5 * 64)), recorded: true);
        using InterruptedBlockDevice device = new(disk);
        StampedTree tree = StampedTree.Format(device, logBlocks: logBlocks);
        tree.UsesLog = hasLog;
        StampedWorkload workload = new(tree, random);
        disk.Recording!.Mark(new Promise(Serials(tree), []));
        device.BeforeWrite = () =>
        {
            if (!workload.IsQuiet && (hasLog || workload.IsBehind) && random.Next(workload.IsBehind ? 1 : 3) == 0)
            {
                Marked(tree, workload, disk.Recording, workload.Change);
            }
        };

        for (int i = 0; i < 300; i++)
        {
            Marked(tree, workload, disk.Recording, workload.Step);
            if (random.Next(25) == 0)
            {
                // What changes while it is being made durable is in no promise.
                HashSet<ulong> promised = Serials(tree);
                Dictionary<ulong, ulong> rewritten = new(tree.Rewritten);
                tree.Sync();
                promised.IntersectWith(Serials(tree));
                disk.Recording.Mark(new Promise(promised, rewritten));
            }
        }

        tree.Disk.Dispose();
        return disk.Recording!;
    }

    private static void Marked(StampedTree tree, StampedWorkload workload, DiskRecording recording, Action action)
    {
        Step step = new() { Before = Items(tree) };
        recording.Mark(step);
        action();
        ILookup<ulong, StampedTree.Item> after = Items(tree);
        step.Fewer = [.. step.Before.Where(items => after[items.Key].Count() < items.Count()).Select(items => items.Key)];
        step.What = workload.What;
    }

    private static DiskRecording Check(CrashState state, DiskContents contents)
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 4 << 20 });
        using SimulatedBlockDevice disk = new(frames, contents, recorded: true);
        XnVolume volume;
        try
        {
            volume = XnVolume.Attach(disk, new XnAttachOptions { ReserveFrames = 8 });
        }
        catch (XnFormatException)
        {
            Assert.False(state.Marks.Any(), $"{state}: a volume that was there cannot be attached");
            return disk.Recording!;
        }

        using (volume)
        {
            // What was in the log is home.
            DiskContents after = disk.Snapshot();
            HashSet<ulong> used = [];
            Dictionary<ulong, ulong> found = [];
            if (volume.Roots.Count > 0)
            {
                Follow(state, after, volume.Roots[0].Block.Value, 1, used, found);
            }

            if (volume.Recovery is { } report)
            {
                Assert.Equal((0, 0), (report.BadPointers, report.UnreadableBlocks));
            }

            Assert.True(Promised(state).IsSubsetOf(found.Keys), $"{state}: lost are {string.Join(", ", Promised(state).Except(found.Keys))}");
            foreach ((ulong serial, ulong times) in Rewritten(state))
            {
                Assert.True(!found.TryGetValue(serial, out ulong last) || last >= times, $"{state}: data {serial} has the contents of time {last}, and those of time {times} were durable");
            }

            // Nothing in use is free, and nothing that is not in use is lost.
            for (ulong block = volume.DataStart.Value; block < volume.BlockCount; block++)
            {
                bool isFree = (volume.FreeMap[(int)(block / 64)] >> (int)(block % 64) & 1) != 0;
                Assert.True(isFree != used.Contains(block), $"{state}: block {block} is {(isFree ? "free and used" : "neither free nor used")}");
            }
        }

        return disk.Recording!;
    }

    private static HashSet<ulong> Promised(CrashState state)
    {
        HashSet<ulong> promised = [];
        foreach (DiskMark mark in state.Marks)
        {
            if (mark.Value is Promise promise)
            {
                promised = [.. promise.Serials];
            }
            else
            {
                Step step = (Step)mark.Value!;
                promised.ExceptWith(step.Fewer);
            }
        }

        return promised;
    }

    /// <summary>How often data had got new contents when a sync covered it.</summary>
    private static Dictionary<ulong, ulong> Rewritten(CrashState state)
    {
        Dictionary<ulong, ulong> rewritten = [];
        foreach (DiskMark mark in state.Marks)
        {
            rewritten = mark.Value is Promise promise ? promise.Rewritten : rewritten;
        }

        return rewritten;
    }

    private static void Follow(CrashState state, DiskContents contents, ulong block, ulong serial, HashSet<ulong> used, Dictionary<ulong, ulong> found)
    {
        found[serial] = ulong.MaxValue;
        ReadOnlySpan<byte> node = contents[block];
        Assert.True(BinaryPrimitives.ReadUInt64LittleEndian(node) == serial, $"{state}: node {block} is not the one that was meant");
        if (!used.Add(block))
        {
            // Found before, by the other pointer of a move that has not ended.
            return;
        }

        for (int entry = 0; entry < StampedFormat.EntriesMax; entry++)
        {
            (BlockExtent extent, uint kind, ulong stamp) = StampedFormat.Parse(contents[block], entry);
            if (kind == StampedFormat.Node)
            {
                Follow(state, contents, extent.First.Value, stamp, used, found);
                continue;
            }

            if (kind == StampedFormat.Data)
            {
                found[stamp] = BinaryPrimitives.ReadUInt64LittleEndian(contents[extent.First.Value][16..]);
            }

            for (uint i = 0; kind == StampedFormat.Data && i < extent.Count; i++)
            {
                ReadOnlySpan<byte> data = contents[extent.First.Value + i];
                Assert.True(
                    BinaryPrimitives.ReadUInt64LittleEndian(data) == stamp && BinaryPrimitives.ReadUInt64LittleEndian(data[8..]) == i,
                    $"{state}: data {extent.First.Value + i} of entry {entry} in {block} is not what was meant");
                used.Add(extent.First.Value + i);
            }
        }
    }
}
