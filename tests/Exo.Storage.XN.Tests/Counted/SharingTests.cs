// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Storage.XN.Tests.Stamped;

namespace Exo.Storage.XN.Tests.Counted;

/// <summary>Blocks with several owners: counted, fixed while shared, free when the last pointer and all before it are durably gone.</summary>
public sealed class SharingTests : IDisposable
{
    private readonly StampedDisk _disk = new("owner-01");
    private readonly StampedTree.Item _data;

    public SharingTests()
    {
        _data = _disk.AddData(_disk.A, 5, 3);
        Tree.Sync();
    }

    private StampedTree Tree => _disk.Tree;

    private XnVolume Disk => _disk.Disk;

    public void Dispose() => _disk.Dispose();

    [Fact]
    public void Blocks_are_free_when_the_last_pointer_is_gone()
    {
        ulong free = Disk.FreeBlocks;
        StampedTree.Item second = Share();
        Assert.Equal(2, Disk.OwnerCount(_data.Block));
        Assert.Equal(free, Disk.FreeBlocks);
        Tree.Sync();
        Assert.Equal(XnStatus.Ok, Tree.Remove(_data));
        Tree.Sync();
        Assert.Equal((1, free), (Disk.OwnerCount(_data.Block), Disk.FreeBlocks));
        Assert.Equal(XnStatus.Ok, Tree.Remove(second));
        Assert.Equal(3UL, Disk.WillFreeBlocks);
        Tree.Sync();
        Assert.Equal((0UL, free + 3), (Disk.WillFreeBlocks, Disk.FreeBlocks));
    }

    [Fact]
    public void The_last_pointer_waits_for_those_that_went_before()
    {
        StampedTree.Item second = Share();
        Tree.Sync();
        ulong free = Disk.FreeBlocks;
        Assert.Equal(XnStatus.Ok, Tree.Remove(_data));
        Assert.Equal(XnStatus.Ok, Tree.Remove(second));

        // B without its pointer is durable, A on the disk still has its own.
        Assert.Equal(XnStatus.Ok, Disk.WriteBack(Tree.Key, [_disk.B.Block]));
        Disk.Flush();
        Assert.Equal((3UL, free), (Disk.WillFreeBlocks, Disk.FreeBlocks));
        Assert.Equal(XnStatus.Ok, Disk.WriteBack(Tree.Key, [_disk.A.Block]));
        Disk.Flush();
        Assert.Equal((0UL, free + 3), (Disk.WillFreeBlocks, Disk.FreeBlocks));
    }

    [Fact]
    public void A_shared_block_does_not_change_in_place()
    {
        _ = Share();
        Assert.Equal(XnStatus.Shared, Disk.MarkDirty(Tree.Key, _data.Block, 1));
        Assert.Equal(XnStatus.Shared, Disk.Rebind(Tree.Key, _data.Block, _disk.Frame()));
        Tree.Transaction.Clear();
        Tree.Transaction.Write(_data.Block, 512, [1]);
        Assert.Equal(XnStatus.Shared, Disk.Apply(Tree.Key, Tree.Transaction));
        Tree.Sync();
        Assert.Equal(XnStatus.Ok, Disk.Unbind(Tree.Key, _data.Block));
        XnReadRequest request = new(_disk.A.Block, 5, new BlockExtent(_data.Block, 1));
        Assert.Equal(XnStatus.Shared, Disk.BindOverwrite(Tree.Key, request, [_disk.Frame()]));
    }

    [Fact]
    public void The_last_owner_may_write_when_the_other_pointer_is_durably_gone()
    {
        StampedTree.Item second = Share();
        Tree.Sync();
        Assert.Equal(XnStatus.Ok, Tree.Remove(_data));
        FrameNumber[] frames = [_disk.Frame(), _disk.Frame(), _disk.Frame()];
        Disk.Read(Tree.Key, [new XnReadRequest(_disk.B.Block, second.Entry, second.Extent)], frames, out int unused);
        Assert.Equal(0, unused);
        Assert.Equal(XnStatus.Shared, Disk.MarkDirty(Tree.Key, _data.Block, 3));
        Tree.Sync();
        Assert.Equal(XnStatus.Ok, Disk.MarkDirty(Tree.Key, _data.Block, 3));
    }

    [Fact]
    public void Only_what_is_durable_can_be_shared()
    {
        StampedTree.Item fresh = _disk.AddData(_disk.A, 6);
        Assert.Equal(XnStatus.NotDurable, Tree.Share(fresh, _disk.B, 6, out _));
        Tree.Sync();
        Assert.Equal(XnStatus.Ok, Tree.Share(fresh, _disk.B, 6, out _));
    }

    [Fact]
    public void Who_does_not_own_a_block_cannot_share_it()
    {
        StampedTree.Item other = _disk.AddData(_disk.A, 7);
        Tree.Sync();
        Assert.Equal(XnStatus.NotOwned, Claim(other.Extent, Tree.DataTemplate, _disk.A.Block, 5));
        Assert.Equal(XnStatus.NotOwned, Claim(new BlockExtent(_data.Block, 4), Tree.DataTemplate, _disk.A.Block, 5));
        Assert.Equal(XnStatus.NotOwned, Claim(_data.Extent, Tree.DataTemplate, _disk.A.Block, 9));
        Assert.Equal(XnStatus.BadRange, Claim(_data.Extent, Tree.DataTemplate, _disk.A.Block, 500));
        Assert.Equal(XnStatus.NotRegistered, Claim(_data.Extent, Tree.DataTemplate, new BlockNumber(400), 5));
        Assert.Equal(XnStatus.WrongTemplate, Claim(_disk.A.Extent, Tree.NodeTemplate, Tree.Root.Block, _disk.A.Entry, StampedFormat.Node));
    }

    [Fact]
    public void What_is_shared_is_not_given_up_in_the_same_step()
    {
        Tree.Transaction.Clear();
        Tree.Transaction.Write(_disk.B.Block, StampedFormat.OffsetOf(5), StampedFormat.Entry(_data.Extent, StampedFormat.Data, _data.Serial));
        Tree.Transaction.Write(_disk.A.Block, StampedFormat.OffsetOf(5), new byte[StampedFormat.EntryBytes]);
        Tree.Transaction.ClaimShare(_data.Extent, Tree.DataTemplate, _disk.A.Block, 5, _disk.B.Block, 5);
        Tree.Transaction.ClaimFree(_data.Extent, Tree.DataTemplate, _disk.A.Block, 5);
        Assert.Equal(XnStatus.TypeError, Disk.Apply(Tree.Key, Tree.Transaction));

        Tree.Transaction.Clear();
        Tree.Transaction.Write(_disk.B.Block, StampedFormat.OffsetOf(5), StampedFormat.Entry(_data.Extent, StampedFormat.Data, _data.Serial));
        Tree.Transaction.Write(Tree.Root.Block, StampedFormat.OffsetOf(_disk.A.Entry), new byte[StampedFormat.EntryBytes]);
        Tree.Transaction.ClaimShare(_data.Extent, Tree.DataTemplate, _disk.A.Block, 5, _disk.B.Block, 5);
        Tree.Transaction.ClaimFreeTree(_disk.A.Extent, Tree.NodeTemplate, Tree.Root.Block, _disk.A.Entry);
        Assert.Equal(XnStatus.TypeError, Disk.Apply(Tree.Key, Tree.Transaction));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Counts_outlive_the_mount(bool clean)
    {
        StampedTree.Item second = Share();
        Assert.Equal(XnStatus.Ok, Tree.Share(_data, _disk.B, 8, out _));
        Tree.Sync();
        ulong free = Disk.FreeBlocks;
        if (clean)
        {
            Assert.Equal(XnStatus.Ok, Disk.Unmount());
        }

        Disk.Dispose();
        using XnVolume again = XnVolume.Attach(_disk.Device);
        Assert.Equal(!clean, again.Recovery is not null);
        Assert.Equal((free, 3, 3, 1), (again.FreeBlocks, again.OwnerCount(second.Block), again.OwnerCount(second.Block + 2), again.OwnerCount(_disk.A.Block)));
        if (!clean)
        {
            Assert.Equal((3L, 0L), (again.Recovery!.SharedBlocks, again.Recovery.MultiplyOwnedBlocks));
        }
    }

    [Fact]
    public void A_damaged_list_of_counts_is_not_believed()
    {
        _ = Share();
        Tree.Sync();
        Assert.Equal(XnStatus.Ok, Disk.Unmount());
        Disk.Dispose();
        FrameNumber[] nothing = [_disk.Frame()];
        _disk.Frames.Bytes(nothing[0]).Clear();
        BlockRequest[] damage = [BlockRequest.Write(new BlockNumber(Disk.BlockCount - 1), nothing)];
        _disk.Device.Execute(damage);
        using XnVolume again = XnVolume.Attach(_disk.Device);
        Assert.Equal(3L, again.Recovery!.SharedBlocks);
        Assert.Equal(2, again.OwnerCount(_data.Block));
    }

    private StampedTree.Item Share()
    {
        Assert.Equal(XnStatus.Ok, Tree.Share(_data, _disk.B, 5, out StampedTree.Item? second));
        return second!;
    }

    private XnStatus Claim(BlockExtent extent, TemplateId template, BlockNumber owner, int partition, uint kind = StampedFormat.Data)
    {
        Tree.Transaction.Clear();
        Tree.Transaction.Write(_disk.B.Block, StampedFormat.OffsetOf(40), StampedFormat.Entry(extent, kind, 1));
        Tree.Transaction.ClaimShare(extent, template, owner, partition, _disk.B.Block, 40);
        return Disk.Apply(Tree.Key, Tree.Transaction);
    }
}
