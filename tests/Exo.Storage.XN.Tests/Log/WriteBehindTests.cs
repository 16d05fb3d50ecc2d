// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Simulation.Disks;
using Exo.Simulation.Faults;
using Exo.Storage.XN.Tests.Stamped;

namespace Exo.Storage.XN.Tests.Log;

/// <summary>Data that is written while its owner goes on: beside commits and checkpoints, and never against them.</summary>
public sealed class WriteBehindTests : LoggedTreeTests
{
    [Fact]
    public async Task What_is_written_behind_is_where_it_belongs_and_what_points_to_it_follows()
    {
        StampedTree.Item item = AddData(0, 3);
        Assert.Equal(3, await Disk.WriteBehindAsync(Tree.Key, new[] { item.Extent }));
        Assert.Equal((1, 3), (Disk.DirtyBlocks, Disk.UnflushedBlocks));
        Assert.Equal(item.Serial, BinaryPrimitives.ReadUInt64LittleEndian(Memory.Snapshot()[item.Block.Value]));
        Assert.Equal(0, await Disk.WriteBehindAsync(Tree.Key, new[] { item.Extent }));
        Disk.Flush();
        Assert.True(Disk.TryCommit(Tree.Key));
        Assert.Equal((0, 0, 1), (Disk.DirtyBlocks, Disk.UnflushedBlocks, Disk.BlocksInLog));
    }

    [Fact]
    public async Task Metadata_what_is_in_the_log_and_what_is_nowhere_is_passed_over()
    {
        StampedTree.Item logged = AddData(0, 1);
        Assert.True(Disk.TryCommit(Tree.Key));
        Assert.Equal(XnStatus.Ok, Disk.MarkDirty(Tree.Key, logged.Block, 1));
        Assert.Equal(0, await Disk.WriteBehindAsync(Tree.Key, new[] { logged.Extent, Tree.Root.Extent, new BlockExtent(new BlockNumber(600), 1) }));
        Assert.True(Disk.TryGetEntry(logged.Block, out RegistryEntryInfo entry));
        Assert.True(entry is { IsDirty: true, IsWriting: false });
    }

    [Fact]
    public async Task A_commit_goes_on_beside_it_and_leaves_out_what_waits_for_it()
    {
        StampedTree.Item behind = AddData(0, 2);
        Assert.Equal(XnStatus.Ok, Tree.AddNode(Tree.Root, 8, Tree.FindFree(0, 1)!.Value.First, out StampedTree.Item? node));
        Hold(behind);
        Task<int> write = Disk.WriteBehindAsync(Tree.Key, new[] { behind.Extent }).AsTask();
        Device.WaitForHeld(TestContext.Current.CancellationToken);
        Assert.Equal((2, 2), (Disk.DirtyBlocks, Disk.UnflushedBlocks));

        // The root points to what is not written yet.
        Assert.True(Disk.TryCommit(Tree.Key));
        Assert.Equal(1, Disk.DirtyBlocks);
        Assert.True(Disk.TryGetEntry(node!.Block, out RegistryEntryInfo entry));
        Assert.False(entry.IsDirty);
        Assert.False(Disk.TryCommit(Tree.Key));
        Assert.Equal(XnStatus.Dirty, Disk.Unmount());
        Device.Open();
        Assert.Equal(2, await write);
        Assert.True(Disk.TryCommit(Tree.Key));
        Assert.Equal((0, 0), (Disk.DirtyBlocks, Disk.UnflushedBlocks));
    }

    [Fact]
    public async Task What_changes_meanwhile_is_dirty_again()
    {
        StampedTree.Item item = AddData(0, 2);
        Hold(item);
        Task<int> write = Disk.WriteBehindAsync(Tree.Key, new[] { item.Extent }).AsTask();
        Assert.True(Disk.TryGetFrame(Tree.Key, item.Block, out FrameNumber old));
        Assert.True(Frames.ReferenceCount(old) > 2, "a write holds the frame");
        Assert.True(Frames.TryAllocate(Tree.Key, out FrameNumber fresh));
        Frames.Bytes(old).CopyTo(Frames.Bytes(fresh));
        Frames.Bytes(fresh)[2000] = 9;
        Assert.Equal(XnStatus.Ok, Disk.Rebind(Tree.Key, item.Block, fresh));
        Frames.Release(old);
        Device.Open();
        await write;
        Assert.Equal(0, Memory.Snapshot()[item.Block.Value][2000]);
        Tree.Sync();
        Disk.Checkpoint();
        Assert.Equal(9, Memory.Snapshot()[item.Block.Value][2000]);
    }

    [Fact]
    public async Task What_is_freed_meanwhile_is_nobodys_until_it_is_written()
    {
        StampedTree.Item item = AddData(0, 2);
        Hold(item);
        Task<int> write = Disk.WriteBehindAsync(Tree.Key, new[] { item.Extent }).AsTask();
        Assert.Equal(XnStatus.Ok, Tree.Remove(item));
        Assert.False(Tree.IsFree(item.Block.Value));
        Device.Open();
        await write;
        Assert.True(Tree.IsFree(item.Block.Value));
        Assert.Equal(0, Disk.UnflushedBlocks);
    }

    [Fact]
    public async Task What_fails_is_dirty_as_before_and_written_by_who_asks_for_it()
    {
        StampedTree.Item item = AddData(0, 2);
        Faulty.IsFailing = true;
        await Assert.ThrowsAsync<BlockDeviceException>(() => Disk.WriteBehindAsync(Tree.Key, new[] { item.Extent }).AsTask());
        Assert.Equal((3, 0), (Disk.DirtyBlocks, Disk.UnflushedBlocks));
        Assert.Throws<BlockDeviceException>(() => Disk.TryCommit(Tree.Key));

        // The transaction may be on the disk or not: nothing is written that it might be put over.
        Assert.Equal(0, await Disk.WriteBehindAsync(Tree.Key, new[] { item.Extent }));
        Faulty.IsFailing = false;
        Tree.Sync();
        Disk.Checkpoint();
        Assert.Equal(item.Serial, BinaryPrimitives.ReadUInt64LittleEndian(Memory.Snapshot()[item.Block.Value]));
    }

    /// <summary>Two library OSes on one disk: what one of them has dirty is in the transaction that the other one is writing. It is not durable before that is.</summary>
    [Fact]
    public async Task Who_finds_nothing_dirty_because_somebody_else_writes_it_waits_for_him()
    {
        _ = AddData(0, 2);
        BlockExtent log = Disk.Layout.Log;
        Device.Close((operation, block) => operation == BlockOperation.Write && log.Contains(block));
        Task<bool> other = Task.Run(() => Disk.TryCommit(Tree.Key), TestContext.Current.CancellationToken);
        Device.WaitForHeld(TestContext.Current.CancellationToken);
        Assert.Equal((0, 3), (Disk.DirtyBlocks, Disk.UnflushedBlocks));
        Task<bool> ours = Task.Run(() => Disk.TryCommit(Tree.Key), TestContext.Current.CancellationToken);
        Assert.False(ours.IsCompleted);
        Device.Open();
        Assert.True(await other);
        Assert.True(await ours);
        Assert.Equal((0, 0), (Disk.DirtyBlocks, Disk.UnflushedBlocks));
    }

    private void Hold(StampedTree.Item item) => Device.Close((operation, block) => operation == BlockOperation.Write && item.Extent.Contains(block));

    private StampedTree.Item AddData(int entry, uint count)
    {
        Assert.Equal(XnStatus.Ok, Tree.AddData(Tree.Root, entry, Tree.FindFree(300, count)!.Value, out StampedTree.Item? item));
        return item!;
    }
}
