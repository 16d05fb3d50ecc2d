// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Simulation.Disks;
using Exo.Simulation.Faults;
using Exo.Storage.XN.Tests.Stamped;

namespace Exo.Storage.XN.Tests.Log;

/// <summary>Data that is brought home while commits go on. The log has 32 blocks: the four youngest live blocks are left alone, and up to four go home behind a commit. The eldest is the node, which is metadata.</summary>
public sealed class HomeAheadTests : IDisposable
{
    private const int Youngest = 4;
    private const int Batch = 4;

    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });
    private readonly SimulatedBlockDevice _memory;
    private readonly FaultyBlockDevice _faulty;
    private readonly GatedBlockDevice _device;
    private readonly StampedTree _tree;
    private readonly StampedTree.Item _node;

    public HomeAheadTests()
    {
        _memory = new SimulatedBlockDevice(_frames, DiskContents.Zeroes(640), recorded: true);
        _faulty = new FaultyBlockDevice(_memory, new FaultOptions { Seed = 1, WriteError = 1 }) { IsFailing = false };
        _device = new GatedBlockDevice(_faulty);
        _tree = StampedTree.Format(_device, logBlocks: 32);
        _tree.UsesLog = true;
        Assert.Equal(XnStatus.Ok, _tree.AddNode(_tree.Root, 0, _tree.FindFree(0, 1)!.Value.First, out StampedTree.Item? node));
        _node = node!;
        _tree.Sync();
        Disk.Checkpoint();
    }

    private XnVolume Disk => _tree.Disk;

    public void Dispose()
    {
        _device.Open();
        Disk.Dispose();
        _device.Dispose();
        _faulty.Dispose();
        _memory.Dispose();
        _frames.Dispose();
    }

    [Fact]
    public void The_oldest_data_is_home_before_the_checkpoint_which_writes_only_the_rest()
    {
        StampedTree.Item[] items = CommitEach(Youngest + Batch);
        Assert.All(items[..(Batch - 1)], item => Assert.True(IsHome(item)));
        Assert.All(items[Batch..], item => Assert.False(IsHome(item)));
        int before = _memory.Recording!.Requests.Count;
        Disk.Checkpoint();
        Assert.All(items, item => Assert.True(IsHome(item)));
        Assert.Equal(0, Disk.BlocksInLog);
        BlockNumber[] written = [.. _memory.Recording.Requests.Skip(before).Where(request => request.Operation == BlockOperation.Write)
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
        Assert.True(Disk.TryCommit(_tree.Key));
        Assert.NotEqual(77, _memory.Snapshot()[items[0].Block.Value][1000]);
        Disk.Checkpoint();
        Assert.Equal(77, _memory.Snapshot()[items[0].Block.Value][1000]);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task What_changes_on_its_way_home_counts_as_not_there(bool isLogged)
    {
        _device.Close((operation, block) => operation == BlockOperation.Write && block >= Disk.DataStart);
        StampedTree.Item[] items = CommitEach(Youngest + Batch);
        _device.WaitForHeld();
        Mark(items[0], 77);
        if (isLogged)
        {
            Assert.True(Disk.TryCommit(_tree.Key));
        }

        Task checkpoint = Task.Run(Disk.Checkpoint);
        _device.Open();
        await checkpoint;
        Assert.Equal(77, _memory.Snapshot()[items[0].Block.Value][1000]);
        Assert.Equal(0, Disk.BlocksInLog);
    }

    [Fact]
    public async Task A_block_that_is_freed_on_its_way_home_is_nobodys_before_it_has_arrived()
    {
        _device.Close((operation, block) => operation == BlockOperation.Write && block >= Disk.DataStart);
        StampedTree.Item[] items = CommitEach(Youngest + Batch);
        _device.WaitForHeld();
        Assert.Equal(XnStatus.Ok, _tree.Remove(items[0]));
        Assert.True(Disk.TryCommit(_tree.Key));
        Task checkpoint = Task.Run(Disk.Checkpoint);

        // The checkpoint cannot end before, and until it has the block is not free.
        Assert.False(IsFree(items[0].Block));
        Assert.True(Disk.BlocksInLog > 0);
        _device.Open();
        await checkpoint;
        Assert.True(IsFree(items[0].Block));
    }

    [Fact]
    public void A_write_that_fails_loses_nothing_and_tells_nobody()
    {
        StampedTree.Item[] items = CommitEach(Youngest + Batch - 2);
        Assert.False(IsHome(items[0]));
        StampedTree.Item last = AddData(Youngest + Batch - 2);
        _device.Close((operation, block) => operation == BlockOperation.Write && block >= Disk.DataStart);
        Assert.True(Disk.TryCommit(_tree.Key));
        _device.WaitForHeld();
        _faulty.IsFailing = true;
        _device.Open();

        // Who is told is whoever needs it.
        Assert.Throws<BlockDeviceException>(Disk.Checkpoint);
        Assert.NotEqual(0, Disk.BlocksInLog);
        _faulty.IsFailing = false;
        Disk.Checkpoint();
        Assert.All([.. items, last], item => Assert.True(IsHome(item)));
    }

    [Fact]
    public void After_a_crash_the_log_has_the_last_word()
    {
        StampedTree.Item[] items = CommitEach(Youngest + Batch);
        Mark(items[0], 77);
        Assert.True(Disk.TryCommit(_tree.Key));
        using SimulatedBlockDevice disk = new(_frames, _memory.Snapshot());
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
            Assert.True(Disk.TryCommit(_tree.Key));
        }

        return items;
    }

    private StampedTree.Item AddData(int entry)
    {
        Assert.Equal(XnStatus.Ok, _tree.AddData(_node, entry, _tree.FindFree(0, 1)!.Value, out StampedTree.Item? item));
        return item!;
    }

    private void Mark(StampedTree.Item item, byte value)
    {
        Assert.Equal(XnStatus.Ok, Disk.MarkDirty(_tree.Key, item.Block, 1));
        Assert.True(Disk.TryGetFrame(_tree.Key, item.Block, out FrameNumber frame));
        _frames.Bytes(frame)[1000] = value;
        _frames.Release(frame);
    }

    private bool IsHome(StampedTree.Item item) => BinaryPrimitives.ReadUInt64LittleEndian(_memory.Snapshot()[item.Block.Value]) == item.Serial;

    private bool IsFree(BlockNumber block) => (Disk.FreeMap[(int)(block.Value / 64)] >> (int)(block.Value % 64) & 1) != 0;
}
