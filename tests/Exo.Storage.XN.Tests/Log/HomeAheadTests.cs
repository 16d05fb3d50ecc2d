// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Simulation.Disks;
using Exo.Simulation.Faults;
using Exo.Storage.XN.Tests.Stamped;

namespace Exo.Storage.XN.Tests.Log;

/// <summary>Data that is brought home while commits go on. The log has 32 blocks: the four youngest live blocks are left alone, and up to four go home behind a commit. The eldest is the node, which is metadata.</summary>
public sealed class HomeAheadTests : LoggedTreeTests
{
    private const int Youngest = 4;
    private const int Batch = 4;

    private readonly StampedTree.Item _node;

    public HomeAheadTests()
    {
        Assert.Equal(XnStatus.Ok, Tree.AddNode(Tree.Root, 0, Tree.FindFree(0, 1)!.Value.First, out StampedTree.Item? node));
        _node = node!;
        Tree.Sync();
        Disk.Checkpoint();
    }

    [Fact]
    public void The_oldest_data_is_home_before_the_checkpoint_which_writes_only_the_rest()
    {
        StampedTree.Item[] items = CommitEach(Youngest + Batch);
        Assert.All(items[..(Batch - 1)], item => Assert.True(IsHome(item)));
        Assert.All(items[Batch..], item => Assert.False(IsHome(item)));
        int before = Memory.Recording!.Requests.Count;
        Disk.Checkpoint();
        Assert.All(items, item => Assert.True(IsHome(item)));
        Assert.Equal(0, Disk.BlocksInLog);
        BlockNumber[] written = [.. Memory.Recording.Requests.Skip(before).Where(request => request.Operation == BlockOperation.Write)
            .SelectMany(request => Enumerable.Range(0, request.BlockCount).Select(i => request.FirstBlock + (ulong)i))];
        Assert.DoesNotContain(items[0].Block, written);
        Assert.Contains(items[^1].Block, written);
    }

    [Fact]
    public void What_is_changed_after_it_was_brought_home_is_written_again()
    {
        StampedTree.Item[] items = CommitEach(Youngest + Batch);
        Assert.True(IsHome(items[0]));
        Mark(items[0], 77);
        Assert.True(Disk.TryCommit(Tree.Key));
        Assert.NotEqual(77, Memory.Snapshot()[items[0].Block.Value][1000]);
        Disk.Checkpoint();
        Assert.Equal(77, Memory.Snapshot()[items[0].Block.Value][1000]);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task What_changes_on_its_way_home_counts_as_not_there(bool isLogged)
    {
        Device.Close((operation, block) => operation == BlockOperation.Write && block >= Disk.DataStart);
        StampedTree.Item[] items = CommitEach(Youngest + Batch);
        Device.WaitForHeld();
        Mark(items[0], 77);
        if (isLogged)
        {
            Assert.True(Disk.TryCommit(Tree.Key));
        }

        Task checkpoint = Task.Run(Disk.Checkpoint);
        Device.Open();
        await checkpoint;
        Assert.Equal(77, Memory.Snapshot()[items[0].Block.Value][1000]);
        Assert.Equal(0, Disk.BlocksInLog);
    }

    [Fact]
    public async Task A_block_that_is_freed_on_its_way_home_is_nobodys_before_it_has_arrived()
    {
        Device.Close((operation, block) => operation == BlockOperation.Write && block >= Disk.DataStart);
        StampedTree.Item[] items = CommitEach(Youngest + Batch);
        Device.WaitForHeld();
        Assert.Equal(XnStatus.Ok, Tree.Remove(items[0]));
        Assert.True(Disk.TryCommit(Tree.Key));
        Task checkpoint = Task.Run(Disk.Checkpoint);

        // The checkpoint cannot end before, and until it has the block is not free.
        Assert.False(Tree.IsFree(items[0].Block.Value));
        Assert.True(Disk.BlocksInLog > 0);
        Device.Open();
        await checkpoint;
        Assert.True(Tree.IsFree(items[0].Block.Value));
    }

    [Fact]
    public void A_write_that_fails_loses_nothing_and_tells_nobody()
    {
        StampedTree.Item[] items = CommitEach(Youngest + Batch - 2);
        Assert.False(IsHome(items[0]));
        StampedTree.Item last = AddData(Youngest + Batch - 2);
        Device.Close((operation, block) => operation == BlockOperation.Write && block >= Disk.DataStart);
        Assert.True(Disk.TryCommit(Tree.Key));
        Device.WaitForHeld();
        Faulty.IsFailing = true;
        Device.Open();

        // Who is told is whoever needs it.
        Assert.Throws<BlockDeviceException>(Disk.Checkpoint);
        Assert.NotEqual(0, Disk.BlocksInLog);
        Faulty.IsFailing = false;
        Disk.Checkpoint();
        Assert.All([.. items, last], item => Assert.True(IsHome(item)));
    }

    [Fact]
    public void After_a_crash_the_log_has_the_last_word()
    {
        StampedTree.Item[] items = CommitEach(Youngest + Batch);
        Mark(items[0], 77);
        Assert.True(Disk.TryCommit(Tree.Key));
        using SimulatedBlockDevice disk = new(Frames, Memory.Snapshot());
        XnVolume.Attach(disk).Dispose();
        Assert.Equal(77, disk.Snapshot()[items[0].Block.Value][1000]);
        Assert.All(items, item => Assert.Equal(item.Serial, BinaryPrimitives.ReadUInt64LittleEndian(disk.Snapshot()[item.Block.Value])));
    }

    private StampedTree.Item[] CommitEach(int count)
    {
        StampedTree.Item[] items = new StampedTree.Item[count];
        for (int i = 0; i < count; i++)
        {
            items[i] = AddData(i);
            Assert.True(Disk.TryCommit(Tree.Key));
        }

        return items;
    }

    private StampedTree.Item AddData(int entry)
    {
        Assert.Equal(XnStatus.Ok, Tree.AddData(_node, entry, Tree.FindFree(0, 1)!.Value, out StampedTree.Item? item));
        return item!;
    }

    private void Mark(StampedTree.Item item, byte value)
    {
        Assert.Equal(XnStatus.Ok, Disk.MarkDirty(Tree.Key, item.Block, 1));
        Assert.True(Disk.TryGetFrame(Tree.Key, item.Block, out FrameNumber frame));
        Frames.Bytes(frame)[1000] = value;
        Frames.Release(frame);
    }

    private bool IsHome(StampedTree.Item item) => BinaryPrimitives.ReadUInt64LittleEndian(Memory.Snapshot()[item.Block.Value]) == item.Serial;
}
