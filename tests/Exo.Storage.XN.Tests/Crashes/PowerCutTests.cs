// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Core.Memory;
using Exo.Simulation.Crashes;
using Exo.Simulation.Disks;
using Exo.Simulation.Recording;
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
    public void Every_pointer_on_the_disk_leads_to_what_it_was_made_for(int seed)
    {
        DiskRecording recording = Record(seed);
        int states = 0;
        foreach (CrashState state in CrashStates.Enumerate(recording, new CrashExplorationOptions { Seed = seed, CutsMax = 60, StatesPerCutMax = 8 }))
        {
            states++;
            try
            {
                Check(state);
            }
            catch (Exception failure)
            {
                IEnumerable<string> steps = state.Marks.Select(mark => mark.Value is Step step ? step.What : "sync").Where(what => what != "nothing");
                throw new InvalidOperationException($"{failure.Message}\n{string.Join('\n', steps.TakeLast(60))}", failure);
            }
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"{states} states");
        Assert.True(states > 60, $"{states} states");
    }

    /// <summary>What is in the tree must be found after a power cut, unless it has been removed since.</summary>
    private sealed record Promise(HashSet<ulong> Serials);

    private sealed class Step
    {
        public required ILookup<ulong, StampedTree.Item> Before { get; init; }

        public HashSet<ulong> Fewer { get; set; } = [];

        public string What { get; set; } = "";
    }

    /// <summary>Items by serial number: several where blocks are shared.</summary>
    private static ILookup<ulong, StampedTree.Item> Items(StampedTree tree) => tree.All().ToLookup(item => item.Serial);

    private static HashSet<ulong> Serials(StampedTree tree) => [.. tree.All().Select(item => item.Serial)];

    private static DiskRecording Record(int seed)
    {
        Random random = new(seed);
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });

        // Small, so that freed blocks are soon used again.
        using SimulatedBlockDevice disk = new(frames, DiskContents.Zeroes(256 + (seed % 5 * 64)), recorded: true);
        StampedTree tree = StampedTree.Format(disk);
        StampedWorkload workload = new(tree, random);
        disk.Recording!.Mark(new Promise(Serials(tree)));
        for (int i = 0; i < 300; i++)
        {
            Step step = new() { Before = Items(tree) };
            disk.Recording.Mark(step);
            workload.Step();
            ILookup<ulong, StampedTree.Item> after = Items(tree);
            step.Fewer = [.. step.Before.Where(items => after[items.Key].Count() < items.Count()).Select(items => items.Key)];
            step.What = workload.What;
            if (random.Next(25) == 0)
            {
                tree.Sync();
                disk.Recording.Mark(new Promise(Serials(tree)));
            }
        }

        tree.Disk.Dispose();
        return disk.Recording!;
    }

    private static void Check(CrashState state)
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 4 << 20 });
        using SimulatedBlockDevice disk = new(frames, state.Contents);
        XnVolume volume;
        try
        {
            volume = XnVolume.Attach(disk, new XnAttachOptions { ReserveFrames = 8 });
        }
        catch (XnFormatException)
        {
            Assert.False(state.Marks.Any(), $"{state}: a volume that was there cannot be attached");
            return;
        }

        using (volume)
        {
            HashSet<ulong> used = [];
            HashSet<ulong> found = [];
            if (volume.Roots.Count > 0)
            {
                Follow(state, volume.Roots[0].Block.Value, 1, used, found);
            }

            if (volume.Recovery is { } report)
            {
                Assert.Equal((0, 0), (report.BadPointers, report.UnreadableBlocks));
            }

            Assert.True(Promised(state).IsSubsetOf(found), $"{state}: lost are {string.Join(", ", Promised(state).Except(found))}");

            // Nothing in use is free, and nothing that is not in use is lost.
            for (ulong block = volume.DataStart.Value; block < volume.BlockCount; block++)
            {
                bool isFree = (volume.FreeMap[(int)(block / 64)] >> (int)(block % 64) & 1) != 0;
                Assert.True(isFree != used.Contains(block), $"{state}: block {block} is {(isFree ? "free and used" : "neither free nor used")}");
            }
        }
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

    private static void Follow(CrashState state, ulong block, ulong serial, HashSet<ulong> used, HashSet<ulong> found)
    {
        found.Add(serial);
        ReadOnlySpan<byte> node = state.Contents[block];
        Assert.True(BinaryPrimitives.ReadUInt64LittleEndian(node) == serial, $"{state}: node {block} is not the one that was meant");
        if (!used.Add(block))
        {
            // Found before, by the other pointer of a move that has not ended.
            return;
        }

        for (int entry = 0; entry < StampedFormat.EntriesMax; entry++)
        {
            (BlockExtent extent, uint kind, ulong stamp) = StampedFormat.Parse(state.Contents[block], entry);
            if (kind == StampedFormat.Node)
            {
                Follow(state, extent.First.Value, stamp, used, found);
                continue;
            }

            if (kind == StampedFormat.Data)
            {
                found.Add(stamp);
            }

            for (uint i = 0; kind == StampedFormat.Data && i < extent.Count; i++)
            {
                ReadOnlySpan<byte> data = state.Contents[extent.First.Value + i];
                Assert.True(
                    BinaryPrimitives.ReadUInt64LittleEndian(data) == stamp && BinaryPrimitives.ReadUInt64LittleEndian(data[8..]) == i,
                    $"{state}: data {extent.First.Value + i} of entry {entry} in {block} is not what was meant");
                used.Add(extent.First.Value + i);
            }
        }
    }
}
