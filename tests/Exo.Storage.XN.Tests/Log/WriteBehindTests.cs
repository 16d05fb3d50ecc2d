// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Simulation.Disks;
using Exo.Simulation.Faults;
using Exo.Storage.XN.Tests.Stamped;

namespace Exo.Storage.XN.Tests.Log;

/// <summary>Data that is written while its owner goes on: beside commits and checkpoints, and never against them.</summary>
public sealed class WriteBehindTests : IDisposable
{
    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });
    private readonly SimulatedBlockDevice _memory;
    private readonly FaultyBlockDevice _faulty;
    private readonly GatedBlockDevice _device;
    private readonly StampedTree _tree;

    public WriteBehindTests()
    {
        _memory = new SimulatedBlockDevice(_frames, DiskContents.Zeroes(640), recorded: true);
        _faulty = new FaultyBlockDevice(_memory, new FaultOptions { Seed = 1, WriteError = 1 }) { IsFailing = false };
        _device = new GatedBlockDevice(_faulty);
        _tree = StampedTree.Format(_device, logBlocks: 32);
        _tree.UsesLog = true;
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
    public async Task What_is_written_behind_is_where_it_belongs_and_what_points_to_it_follows()
    {
        StampedTree.Item item = AddData(0, 3);
        Assert.Equal(3, await Disk.WriteBehindAsync(_tree.Key, new[] { item.Extent }));
        Assert.Equal((1, 3), (Disk.DirtyBlocks, Disk.UnflushedBlocks));
        Assert.Equal(item.Serial, BinaryPrimitives.ReadUInt64LittleEndian(_memory.Snapshot()[item.Block.Value]));
        Assert.Equal(0, await Disk.WriteBehindAsync(_tree.Key, new[] { item.Extent }));
        Disk.Flush();
        Assert.True(Disk.TryCommit(_tree.Key));
        Assert.Equal((0, 0, 1), (Disk.DirtyBlocks, Disk.UnflushedBlocks, Disk.BlocksInLog));
    }

    [Fact]
    public async Task Metadata_what_is_in_the_log_and_what_is_nowhere_is_passed_over()
    {
        StampedTree.Item logged = AddData(0, 1);
        Assert.True(Disk.TryCommit(_tree.Key));
        Assert.Equal(XnStatus.Ok, Disk.MarkDirty(_tree.Key, logged.Block, 1));
        Assert.Equal(0, await Disk.WriteBehindAsync(_tree.Key, new[] { logged.Extent, _tree.Root.Extent, new BlockExtent(new BlockNumber(600), 1) }));
        Assert.True(Disk.TryGetEntry(logged.Block, out RegistryEntryInfo entry));
        Assert.True(entry is { IsDirty: true, IsWriting: false });
    }

    [Fact]
    public async Task A_commit_goes_on_beside_it_and_leaves_out_what_waits_for_it()
    {
        StampedTree.Item behind = AddData(0, 2);
        Assert.Equal(XnStatus.Ok, _tree.AddNode(_tree.Root, 8, _tree.FindFree(0, 1)!.Value.First, out StampedTree.Item? node));
        Hold(behind);
        Task<int> write = Disk.WriteBehindAsync(_tree.Key, new[] { behind.Extent }).AsTask();
        _device.WaitForHeld(TestContext.Current.CancellationToken);
        Assert.Equal((2, 2), (Disk.DirtyBlocks, Disk.UnflushedBlocks));

        // The root points to what is not written yet.
        Assert.True(Disk.TryCommit(_tree.Key));
        Assert.Equal(1, Disk.DirtyBlocks);
        Assert.True(Disk.TryGetEntry(node!.Block, out RegistryEntryInfo entry));
        Assert.False(entry.IsDirty);
        Assert.False(Disk.TryCommit(_tree.Key));
        Assert.Equal(XnStatus.Dirty, Disk.Unmount());
        _device.Open();
        Assert.Equal(2, await write);
        Assert.True(Disk.TryCommit(_tree.Key));
        Assert.Equal((0, 0), (Disk.DirtyBlocks, Disk.UnflushedBlocks));
    }

    [Fact]
    public async Task What_changes_meanwhile_is_dirty_again()
    {
        StampedTree.Item item = AddData(0, 2);
        Hold(item);
        Task<int> write = Disk.WriteBehindAsync(_tree.Key, new[] { item.Extent }).AsTask();
        Assert.True(Disk.TryGetFrame(_tree.Key, item.Block, out FrameNumber old));
        Assert.True(_frames.ReferenceCount(old) > 2, "a write holds the frame");
        Assert.True(_frames.TryAllocate(_tree.Key, out FrameNumber fresh));
        _frames.Bytes(old).CopyTo(_frames.Bytes(fresh));
        _frames.Bytes(fresh)[2000] = 9;
        Assert.Equal(XnStatus.Ok, Disk.Rebind(_tree.Key, item.Block, fresh));
        _frames.Release(old);
        _device.Open();
        await write;
        Assert.Equal(0, _memory.Snapshot()[item.Block.Value][2000]);
        _tree.Sync();
        Disk.Checkpoint();
        Assert.Equal(9, _memory.Snapshot()[item.Block.Value][2000]);
    }

    [Fact]
    public async Task What_is_freed_meanwhile_is_nobodys_until_it_is_written()
    {
        StampedTree.Item item = AddData(0, 2);
        Hold(item);
        Task<int> write = Disk.WriteBehindAsync(_tree.Key, new[] { item.Extent }).AsTask();
        Assert.Equal(XnStatus.Ok, _tree.Remove(item));
        Assert.False(_tree.IsFree(item.Block.Value));
        _device.Open();
        await write;
        Assert.True(_tree.IsFree(item.Block.Value));
        Assert.Equal(0, Disk.UnflushedBlocks);
    }

    [Fact]
    public async Task What_fails_is_dirty_as_before_and_written_by_who_asks_for_it()
    {
        StampedTree.Item item = AddData(0, 2);
        _faulty.IsFailing = true;
        await Assert.ThrowsAsync<BlockDeviceException>(() => Disk.WriteBehindAsync(_tree.Key, new[] { item.Extent }).AsTask());
        Assert.Equal((3, 0), (Disk.DirtyBlocks, Disk.UnflushedBlocks));
        Assert.Throws<BlockDeviceException>(() => Disk.TryCommit(_tree.Key));

        // The transaction may be on the disk or not: nothing is written that it might be put over.
        Assert.Equal(0, await Disk.WriteBehindAsync(_tree.Key, new[] { item.Extent }));
        _faulty.IsFailing = false;
        _tree.Sync();
        Disk.Checkpoint();
        Assert.Equal(item.Serial, BinaryPrimitives.ReadUInt64LittleEndian(_memory.Snapshot()[item.Block.Value]));
    }

    /// <summary>Two library OSes on one disk: what one of them has dirty is in the transaction that the other one is writing. It is not durable before that is.</summary>
    [Fact]
    public async Task Who_finds_nothing_dirty_because_somebody_else_writes_it_waits_for_him()
    {
        _ = AddData(0, 2);
        BlockExtent log = Disk.Layout.Log;
        _device.Close((operation, block) => operation == BlockOperation.Write && log.Contains(block));
        Task<bool> other = Task.Run(() => Disk.TryCommit(_tree.Key), TestContext.Current.CancellationToken);
        _device.WaitForHeld(TestContext.Current.CancellationToken);
        Assert.Equal((0, 3), (Disk.DirtyBlocks, Disk.UnflushedBlocks));
        Task<bool> ours = Task.Run(() => Disk.TryCommit(_tree.Key), TestContext.Current.CancellationToken);
        Assert.False(ours.IsCompleted);
        _device.Open();
        Assert.True(await other);
        Assert.True(await ours);
        Assert.Equal((0, 0), (Disk.DirtyBlocks, Disk.UnflushedBlocks));
    }

    private void Hold(StampedTree.Item item) => _device.Close((operation, block) => operation == BlockOperation.Write && item.Extent.Contains(block));

    private StampedTree.Item AddData(int entry, uint count)
    {
        Assert.Equal(XnStatus.Ok, _tree.AddData(_tree.Root, entry, _tree.FindFree(300, count)!.Value, out StampedTree.Item? item));
        return item!;
    }
}
