// SPDX-License-Identifier: MIT
using CsCheck;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Simulation.Disks;
using Exo.Storage.XN.Tests.Stamped;

namespace Exo.Storage.XN.Tests.Registry;

/// <summary>The table of blocks in core: a dictionary says what must be in it; its memory; and what readers see while it changes.</summary>
public sealed class BlockRegistryTests
{
    [Fact]
    public void Finds_what_a_dictionary_finds() =>
        Gen.Select(Gen.ULong[1, 5000], Gen.Int[0, 2]).Array[0, 6000].Sample(
            steps =>
            {
                using StampedDisk disk = new();
                TemplateCatalogue templates = Templates(disk);
                Template template = templates.Find(disk.Tree.DataTemplate)!;
                BlockRegistry registry = new(templates);
                Dictionary<ulong, int> model = [];
                foreach ((ulong block, int what) in steps)
                {
                    if (model.Remove(block, out int known))
                    {
                        Assert.Equal(known, registry.Find(block));
                        registry.ClearDirty(known);
                        registry.Remove(known);
                    }
                    else
                    {
                        int index = registry.Add(block, template, isFresh: what == 1);
                        Assert.False(model.ContainsValue(index));
                        model.Add(block, index);
                        if (what == 2)
                        {
                            registry.Change(index);
                        }
                    }
                }

                Assert.Equal(model.Count, registry.Count);
                Assert.Equal([.. model.Values.Order()], registry.Indices().Order());
                for (ulong block = 1; block <= 5000; block++)
                {
                    int expected = model.TryGetValue(block, out int index) ? index : BlockRegistry.None;
                    Assert.Equal(expected, registry.Find(block));
                    Assert.True(registry.TryRead(block, out bool found, out RegistryEntry entry, out _));
                    Assert.Equal(expected >= 0, found);
                    Assert.True(!found || entry.Block == block);
                }
            },
            iter: 20, threads: 1);

    [Fact]
    public void A_block_at_rest_takes_at_most_64_bytes()
    {
        const int Blocks = 500_000;
        using StampedDisk disk = new();
        TemplateCatalogue templates = Templates(disk);
        Template template = templates.Find(disk.Tree.DataTemplate)!;
        BlockRegistry registry = new(templates);
        for (ulong block = 1; block <= Blocks; block++)
        {
            _ = registry.Add(block * 7919, template, isFresh: false);
        }

        Assert.Equal(0, registry.WriteStates);
        Assert.InRange(registry.SizeBytes / (double)Blocks, 1, 64);
    }

    [Fact]
    public void What_has_arrived_keeps_no_write_state()
    {
        using StampedDisk disk = new();
        StampedWorkload workload = new(disk.Tree, new Random(1));
        for (int i = 0; i < 500; i++)
        {
            workload.Step();
        }

        disk.Tree.Sync();
        foreach (RegistryEntryInfo entry in disk.Disk.SnapshotRegistry())
        {
            Assert.Equal((false, 0, entry.Version), (entry.IsDirty, entry.PendingBelow, entry.DurableVersion));
        }

        Assert.Equal(0, disk.Disk.Registry.WriteStates);
    }

    [Fact]
    public void What_an_observer_is_told_is_what_the_registry_holds()
    {
        using StampedDisk disk = new();
        StampedWorkload workload = new(disk.Tree, new Random(2));
        int dirty = 0;
        for (int i = 0; i < 500; i++)
        {
            workload.Step();
            RegistrySnapshot seen = disk.Disk.Observe();
            IReadOnlyList<RegistryEntryInfo> all = disk.Disk.SnapshotRegistry();
            Assert.Equal((all.Count, all.Count(entry => entry.IsDirty)), (seen.InCore, seen.Dirty));
            Assert.Equal(
                all.GroupBy(entry => entry.Template).OrderBy(group => group.Key.Value).Select(group => (group.Key, group.Count(), group.Count(entry => entry.IsDirty))),
                seen.Templates.Select(use => (use.Template, use.InCore, use.Dirty)));
            Assert.InRange(seen.OnTheWay, seen.Dirty, seen.InCore);
            Assert.InRange(seen.LogPosition, 0ul, seen.LogBlocks);
            Assert.Equal((disk.Disk.FreeBlocks, disk.Disk.Counters), (seen.FreeBlocks, seen.Counters));
            dirty += seen.Dirty;
        }

        Assert.True(dirty > 0);
        disk.Tree.Sync();
        Assert.Equal((0, 0), (disk.Disk.Observe().Dirty, disk.Disk.Observe().OnTheWay));
    }

    /// <summary>
    /// A writer makes data dirty, writes it back, flushes, and lets it come and go, while readers without the lock look: every entry that they see must be one that was, whole.
    /// </summary>
    [Fact]
    public async Task Readers_without_the_lock_see_only_whole_entries()
    {
        using StampedDisk disk = new(blockCount: 2048);
        StampedTree.Item[] items = [.. Enumerable.Range(0, 100).Select(i => disk.AddData(disk.A, i))];
        disk.Tree.Sync();
        Dictionary<ulong, int> entryOf = items.ToDictionary(item => item.Block.Value, item => item.Entry);
        using CancellationTokenSource stop = new();
        long seen = 0;
        Task[] readers =
        [
            .. Enumerable.Range(0, 2).Select(reader => Task.Run(() =>
            {
                Random random = new(reader);
                Dictionary<ulong, ulong> newest = [];
                while (!stop.IsCancellationRequested)
                {
                    BlockNumber block = items[random.Next(items.Length)].Block;
                    if (!disk.Disk.TryGetEntry(block, out RegistryEntryInfo entry))
                    {
                        continue;
                    }

                    Assert.Equal((block, disk.Tree.DataTemplate, disk.A.Block, entryOf[block.Value]), (entry.Block, entry.Template, entry.Parent, entry.ParentPartition));
                    Assert.True(entry.DurableVersion <= entry.Version, entry.ToString());
                    Assert.True(!entry.IsDirty || entry.DurableVersion < entry.Version, entry.ToString());
                    Assert.True(newest.GetValueOrDefault(block.Value) <= entry.Version, $"{entry} after {newest.GetValueOrDefault(block.Value)}");
                    newest[block.Value] = entry.Version;
                    Interlocked.Increment(ref seen);
                }
            })),
        ];

        Random choice = new(7);
        for (int round = 0; round < 2000 || (Interlocked.Read(ref seen) < 1000 && !readers.Any(reader => reader.IsCompleted)); round++)
        {
            StampedTree.Item item = items[choice.Next(items.Length)];
            XnStatus status = disk.Disk.MarkDirty(disk.Tree.Key, item.Block, 1);
            if (status == XnStatus.NotInCore)
            {
                disk.Disk.Read(disk.Tree.Key, [new XnReadRequest(disk.A.Block, item.Entry, item.Extent)], new[] { disk.Frame() }, out _);
            }

            if (round % 3 == 0)
            {
                disk.Tree.Sync();
                _ = disk.Disk.Unbind(disk.Tree.Key, items[choice.Next(items.Length)].Block);
            }
        }

        await stop.CancelAsync();
        await Task.WhenAll(readers);
        Assert.True(seen >= 1000);
    }

    [Fact]
    public async Task A_block_whose_frame_somebody_holds_does_not_leave_though_it_was_found_without_the_lock()
    {
        using StampedDisk disk = new(blockCount: 2048);
        StampedTree.Item item = disk.AddData(disk.A, 0);
        disk.Tree.Sync();
        FramePool frames = disk.Device.Frames;
        using CancellationTokenSource stop = new();
        long held = 0;
        Task[] holders =
        [
            .. Enumerable.Range(0, 2).Select(_ => Task.Run(() =>
            {
                while (!stop.IsCancellationRequested)
                {
                    if (disk.Disk.TryGetFrame(disk.Tree.Key, item.Block, out FrameNumber frame))
                    {
                        Assert.True(disk.Disk.TryGetEntry(item.Block, out RegistryEntryInfo entry) && entry.HasFrame);
                        frames.Release(frame);
                        Interlocked.Increment(ref held);
                    }
                }
            })),
        ];

        int left = 0;
        for (int round = 0; (round < 20_000 || left < 100 || Interlocked.Read(ref held) < 1000) && !holders.Any(holder => holder.IsCompleted); round++)
        {
            if (!disk.Disk.TryGetFrame(disk.Tree.Key, item.Block, out FrameNumber frame))
            {
                FrameNumber given = disk.Frame();
                disk.Disk.Read(disk.Tree.Key, [new XnReadRequest(disk.A.Block, item.Entry, item.Extent)], new[] { given }, out int unused);
                Assert.Equal(0, unused);
                continue;
            }

            frames.Release(frame);
            left += disk.Disk.UnbindIdle(disk.Tree.Key, item.Block) == XnStatus.Ok ? 1 : 0;
        }

        await stop.CancelAsync();
        await Task.WhenAll(holders);
        if (!disk.Disk.TryGetEntry(item.Block, out _))
        {
            disk.Disk.Read(disk.Tree.Key, [new XnReadRequest(disk.A.Block, item.Entry, item.Extent)], new[] { disk.Frame() }, out _);
        }

        Assert.True(disk.Disk.TryGetFrame(disk.Tree.Key, item.Block, out FrameNumber last));
        Assert.Equal(XnStatus.Busy, disk.Disk.UnbindIdle(disk.Tree.Key, item.Block));
        frames.Release(last);
        Assert.Equal(XnStatus.Ok, disk.Disk.UnbindIdle(disk.Tree.Key, item.Block));
    }

    private static TemplateCatalogue Templates(StampedDisk disk)
    {
        XnSuperblockPair superblock = new(disk.Device);
        superblock.Load();
        TemplateCatalogue templates = new(disk.Device, superblock.Current.TemplateStart, superblock.Current.TemplateSlots);
        templates.Load();
        return templates;
    }
}
