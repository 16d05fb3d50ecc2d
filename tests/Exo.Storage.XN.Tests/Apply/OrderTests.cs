// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Storage.XN.Tests.Stamped;

namespace Exo.Storage.XN.Tests.Apply;

/// <summary>The three rules at work, one by one.</summary>
public sealed class OrderTests : IDisposable
{
    private readonly StampedDisk _disk = new();

    private StampedTree Tree => _disk.Tree;

    public void Dispose() => _disk.Dispose();

    [Theory]
    [InlineData(0)]
    [InlineData(StampedFormat.EntriesMax - 1)]
    public void Rule_one_a_pointer_waits_for_what_it_points_to(int entry)
    {
        StampedTree.Item data = _disk.AddData(_disk.A, entry);
        Assert.Equal(XnStatus.Tainted, WriteBack(_disk.A.Block));
        Assert.Equal(XnStatus.Ok, WriteBack(data.Block));

        // Written is not durable.
        Assert.Equal(XnStatus.Tainted, WriteBack(_disk.A.Block));
        _disk.Disk.Flush();
        Assert.Equal(XnStatus.Ok, WriteBack(_disk.A.Block));
    }

    [Fact]
    public void Rule_one_reaches_through_new_nodes()
    {
        StampedTree.Item node = _disk.AddNode(1, _disk.A);
        StampedTree.Item data = _disk.AddData(node, 1);
        Assert.Equal(XnStatus.Ok, WriteBack(node.Block));
        _disk.Disk.Flush();
        Assert.Equal(XnStatus.Tainted, WriteBack(_disk.A.Block));
        Assert.Equal([data.Block, _disk.A.Block], _disk.Disk.PlanWriteBack(_disk.A.Block));
        Assert.Equal(XnStatus.Ok, WriteBack(data.Block));
        _disk.Disk.Flush();
        Assert.Equal(XnStatus.Ok, WriteBack(_disk.A.Block));
    }

    [Fact]
    public void Rule_one_an_old_image_must_not_lead_to_what_has_moved_on()
    {
        // A -> outer -> inner, all but the pointer in A on the disk; then inner moves to B and gets a child.
        StampedTree.Item outer = _disk.AddNode(1, _disk.A);
        StampedTree.Item inner = _disk.AddNode(1, outer);
        Assert.Equal(XnStatus.Ok, WriteBack(inner.Block));
        Assert.Equal(XnStatus.Ok, WriteBack(outer.Block));
        _disk.Disk.Flush();
        Assert.Equal(XnStatus.Ok, Tree.Move(inner, _disk.B, 1));
        _ = _disk.AddNode(1, inner);
        Assert.Equal(XnStatus.Ok, WriteBack(inner.Block));

        // On the disk outer still leads to inner, and inner to what was never written.
        Assert.Equal(XnStatus.Tainted, WriteBack(_disk.A.Block));
        Tree.Sync();
    }

    [Fact]
    public void Rule_two_a_freed_block_is_free_when_no_pointer_is_left_on_the_disk()
    {
        StampedTree.Item data = _disk.AddData(_disk.A, 5);
        Tree.Sync();
        Assert.Equal(XnStatus.Ok, Tree.Remove(data));
        Assert.False(Tree.IsFree(data.Block.Value));
        Assert.Equal(1ul, _disk.Disk.WillFreeBlocks);
        Assert.Equal(XnStatus.NotFree, Tree.AddData(_disk.B, 5, data.Extent, out _));
        Assert.Equal(XnStatus.Ok, WriteBack(_disk.A.Block));
        Assert.False(Tree.IsFree(data.Block.Value));
        _disk.Disk.Flush();
        Assert.True(Tree.IsFree(data.Block.Value));
        Assert.Equal(XnStatus.Ok, Tree.AddData(_disk.B, 5, data.Extent, out _));
    }

    [Fact]
    public void A_block_that_no_pointer_on_the_disk_ever_led_to_is_free_at_once()
    {
        StampedTree.Item data = _disk.AddData(_disk.A, 5);
        Assert.Equal(XnStatus.Ok, Tree.Remove(data));
        Assert.True(Tree.IsFree(data.Block.Value));
    }

    [Fact]
    public void Rule_three_the_old_pointer_waits_for_the_new_one()
    {
        StampedTree.Item data = _disk.AddData(_disk.A, 5);
        Tree.Sync();
        Assert.Equal(XnStatus.Ok, Tree.Move(data, _disk.B, 5));
        Assert.Equal(XnStatus.Tainted, WriteBack(_disk.A.Block));
        Assert.Equal([_disk.B.Block, _disk.A.Block], _disk.Disk.PlanWriteBack(_disk.A.Block));
        Assert.Equal(XnStatus.Ok, WriteBack(_disk.B.Block));
        _disk.Disk.Flush();
        Assert.Equal(XnStatus.Ok, WriteBack(_disk.A.Block));
    }

    [Fact]
    public void Rule_three_the_new_pointer_must_be_found_from_a_root()
    {
        StampedTree.Item data = _disk.AddData(_disk.A, 5);
        Tree.Sync();
        StampedTree.Item node = _disk.AddNode(1, _disk.B);
        Assert.Equal(XnStatus.Ok, Tree.Move(data, node, 0));
        Assert.Equal(XnStatus.Ok, WriteBack(node.Block));
        _disk.Disk.Flush();

        // The node is durable, but nothing on the disk leads to it.
        Assert.Equal(XnStatus.Tainted, WriteBack(_disk.A.Block));
        Assert.Equal(XnStatus.Ok, WriteBack(_disk.B.Block));
        _disk.Disk.Flush();
        Assert.Equal(XnStatus.Ok, WriteBack(_disk.A.Block));
    }

    [Fact]
    public void Moves_back_and_forth_are_refused_until_the_first_is_durable()
    {
        StampedTree.Item one = _disk.AddData(_disk.A, 5);
        StampedTree.Item two = _disk.AddData(_disk.B, 5);
        Tree.Sync();
        Assert.Equal(XnStatus.Ok, Tree.Move(one, _disk.B, 6));
        Assert.Equal(XnStatus.OrderCycle, Tree.Move(two, _disk.A, 6));
        Tree.Sync();
        Assert.Equal(XnStatus.Ok, Tree.Move(two, _disk.A, 6));
        Tree.Sync();
    }

    [Fact]
    public void A_library_orders_its_own_blocks()
    {
        Stamp(_disk.A.Block);
        Stamp(_disk.B.Block);
        Assert.Equal(XnStatus.Ok, _disk.Disk.Order(Tree.Key, _disk.A.Block, _disk.B.Block));
        Assert.Equal(XnStatus.OrderCycle, _disk.Disk.Order(Tree.Key, _disk.B.Block, _disk.A.Block));
        Assert.Equal(XnStatus.Tainted, WriteBack(_disk.B.Block));
        Assert.Equal(XnStatus.Ok, WriteBack(_disk.A.Block));
        _disk.Disk.Flush();
        Assert.Equal(XnStatus.Ok, WriteBack(_disk.B.Block));
    }

    [Fact]
    public void Contents_below_the_block_that_waits_for_them_are_no_circle()
    {
        StampedTree.Item data = _disk.AddData(_disk.A, 5);

        // Rule one holds the block back already, and what is in the frame goes with the first write.
        Assert.Equal(XnStatus.Ok, _disk.Disk.Order(Tree.Key, data.Block, _disk.A.Block));
        Assert.False(_disk.Disk.HasOrders);
        Assert.Equal(XnStatus.Ok, WriteBack(data.Block));

        // From now on another version is on the disk, though the pointer is not.
        Stamp(data.Block);
        Assert.Equal(XnStatus.Ok, _disk.Disk.Order(Tree.Key, data.Block, _disk.A.Block));
        Assert.True(_disk.Disk.HasOrders);
        _disk.Disk.Flush();
        Assert.Equal(XnStatus.Tainted, WriteBack(_disk.A.Block));
        Assert.Equal(XnStatus.Ok, WriteBack(data.Block));
        _disk.Disk.Flush();
        Assert.Equal(XnStatus.Ok, WriteBack(_disk.A.Block));
    }

    [Fact]
    public void Nothing_waits_for_what_is_durable_already()
    {
        Tree.Transaction.Clear();
        Tree.Transaction.Write(_disk.B.Block, 256, [1, 2, 3]);
        Tree.Transaction.Order(_disk.A.Block, _disk.B.Block);
        Assert.Equal(XnStatus.Ok, _disk.Disk.Apply(Tree.Key, Tree.Transaction));
        Assert.Equal(XnStatus.Ok, WriteBack(_disk.B.Block));
    }

    [Fact]
    public void Independent_writes_share_one_flush()
    {
        Stamp(_disk.A.Block);
        Stamp(_disk.B.Block);
        long before = _disk.Disk.Counters.Flushes;
        Tree.Sync();
        Assert.Equal(1, _disk.Disk.Counters.Flushes - before);
    }

    private void Stamp(BlockNumber block)
    {
        XnTransaction write = new();
        write.Write(block, 256, [1]);
        Assert.Equal(XnStatus.Ok, _disk.Disk.Apply(Tree.Key, write));
    }

    private XnStatus WriteBack(BlockNumber block) => _disk.Disk.WriteBack(Tree.Key, [block]);
}
