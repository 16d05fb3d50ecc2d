// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.DownloadedCode;
using Exo.Core.Memory;
using Exo.Storage.XN.Tests.Holes;
using Exo.Storage.XN.Tests.Stamped;

namespace Exo.Storage.XN.Tests.Hostile;

/// <summary>What a library OS would try against another one on the same disk. After each attempt the other's blocks are as they were and its next sync succeeds.</summary>
public sealed class IntruderTests : IDisposable
{
    private readonly TwoTenants _tenants = new();
    private readonly XnTransaction _transaction = new();

    private XnVolume Disk => _tenants.Disk;

    private StampedTree Victim => _tenants.Victim;

    private StampedTree Intruder => _tenants.Intruder;

    private StampedTree.Item Mine => TwoTenants.Node(Intruder);

    private StampedTree.Item Theirs => TwoTenants.Node(Victim);

    private StampedTree.Item TheirData => TwoTenants.Data(Victim);

    public void Dispose() => _tenants.Dispose();

    [Fact]
    public void A_forged_pointer_to_the_others_block()
    {
        foreach (StampedTree.Item item in Victim.All())
        {
            foreach (uint kind in new[] { StampedFormat.Data, StampedFormat.Node })
            {
                Point(item.Extent, kind);
                Refused(XnStatus.TypeError);
                Point(item.Extent, kind);
                _transaction.ClaimAllocate(item.Extent, kind == StampedFormat.Data ? Intruder.DataTemplate : Intruder.NodeTemplate, Mine.Block, 50);
                Refused(XnStatus.NotFree);
            }
        }

        Point(TheirData.Extent, StampedFormat.Data);
        _transaction.ClaimShare(TheirData.Extent, Intruder.DataTemplate, Theirs.Block, TheirData.Entry, Mine.Block, 50);
        Refused(XnStatus.AccessDenied);
        Point(TheirData.Extent, StampedFormat.Data);
        _transaction.ClaimMove(TheirData.Extent, Intruder.DataTemplate, Theirs.Block, TheirData.Entry, Mine.Block, 50);
        Refused(XnStatus.TypeError);
        StillGood();
    }

    [Fact]
    public void Taking_away_and_giving_to_the_other()
    {
        byte[] nothing = new byte[StampedFormat.EntryBytes];
        StampedTree.Item mine = TwoTenants.Data(Intruder);

        // Free a tree of theirs, cut data off, move a node of theirs over here, hang one's own below theirs.
        Write(Victim.Root, Theirs.Entry, nothing);
        _transaction.ClaimFreeTree(Theirs.Extent, Victim.NodeTemplate, Victim.Root.Block, Theirs.Entry);
        Refused(XnStatus.AccessDenied);
        Write(Theirs, TheirData.Entry, nothing);
        _transaction.ClaimFree(TheirData.Extent, Victim.DataTemplate, Theirs.Block, TheirData.Entry);
        Refused(XnStatus.AccessDenied);
        Write(Victim.Root, Theirs.Entry, nothing);
        Write(Mine, 50, StampedFormat.Entry(Theirs.Extent, StampedFormat.Node, Theirs.Serial));
        _transaction.ClaimMove(Theirs.Extent, Victim.NodeTemplate, Victim.Root.Block, Theirs.Entry, Mine.Block, 50);
        Refused(XnStatus.AccessDenied);
        Write(Mine, mine.Entry, nothing);
        Write(Theirs, 50, StampedFormat.Entry(mine.Extent, StampedFormat.Data, mine.Serial));
        _transaction.ClaimMove(mine.Extent, Intruder.DataTemplate, Mine.Block, mine.Entry, Theirs.Block, 50);
        Refused(XnStatus.AccessDenied);
        BlockExtent free = _tenants.Free(1, 300);
        Write(Theirs, 50, StampedFormat.Entry(free, StampedFormat.Data, 9));
        _transaction.ClaimAllocate(free, Victim.DataTemplate, Theirs.Block, 50);
        Refused(XnStatus.AccessDenied);
        StillGood();
    }

    /// <summary>With writes that will be refused later, what is to be freed leads into itself: looking for its end must end.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Freeing_a_tree_that_leads_into_itself(bool fromTheTop)
    {
        StampedTree.Item below = Mine.Kids[6];
        StampedTree.Item target = fromTheTop ? Mine : below;
        Write(Intruder.Root, Mine.Entry, new byte[StampedFormat.EntryBytes]);
        _transaction.ClaimFreeTree(Mine.Extent, Intruder.NodeTemplate, Intruder.Root.Block, Mine.Entry);
        foreach (int entry in (int[])[50, 51])
        {
            _transaction.Write(below.Block, StampedFormat.OffsetOf(entry), StampedFormat.Entry(target.Extent, StampedFormat.Node, target.Serial));
            _transaction.ClaimShare(target.Extent, Intruder.NodeTemplate, target.Parent!.Block, target.Entry, below.Block, entry);
        }

        Refused(XnStatus.Cycle);
        StillGood();
    }

    /// <summary>A claim of nothing, or of an unknown kind of thing, beside an honest one in the same partition.</summary>
    [Fact]
    public void Claims_of_nothing_and_of_no_template()
    {
        BlockExtent free = _tenants.Free(1, 300);
        BlockExtent nothing = new(free.First, 0);
        TemplateId unknown = new(999);
        foreach (Action claim in (Action[])
            [
                () => _transaction.ClaimFree(nothing, Intruder.NodeTemplate, Mine.Block, 50),
                () => _transaction.ClaimFree(nothing, unknown, Mine.Block, 50),
                () => _transaction.ClaimFreeTree(nothing, unknown, Mine.Block, 50),
                () => _transaction.ClaimShare(nothing, unknown, Mine.Block, 50, Mine.Block, 51),
                () => _transaction.ClaimMove(nothing, unknown, Mine.Block, 50, Mine.Block, 50),
            ])
        {
            Point(free, StampedFormat.Data);
            _transaction.ClaimAllocate(free, Intruder.DataTemplate, Mine.Block, 50);
            claim();
            Refused(XnStatus.TypeError);
        }

        StillGood();
    }

    [Fact]
    public void New_blocks_that_hang_from_one_another()
    {
        BlockExtent one = _tenants.Free(1, 300);
        BlockExtent two = _tenants.Free(1, one.First.Value + 1);
        foreach (BlockExtent above in new[] { one, two })
        {
            _transaction.Write(above.First, StampedFormat.OffsetOf(3), StampedFormat.Entry(one, StampedFormat.Node, 7));
            _transaction.ClaimAllocate(one, Intruder.NodeTemplate, above.First, 3, [_tenants.Frame()]);
            if (above == two)
            {
                _transaction.Write(one.First, StampedFormat.OffsetOf(3), StampedFormat.Entry(two, StampedFormat.Node, 8));
                _transaction.ClaimAllocate(two, Intruder.NodeTemplate, one.First, 3, [_tenants.Frame()]);
            }

            Refused(XnStatus.Cycle);
        }

        StillGood();
    }

    /// <summary>A new block is guarded by what it hangs from, in whatever order one transaction names the two.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void New_blocks_below_new_blocks_are_guarded(bool belowFirst)
    {
        BlockExtent above = _tenants.Free(1, 300);
        BlockExtent below = _tenants.Free(1, above.First.Value + 1);
        BlockExtent data = _tenants.Free(1, below.First.Value + 1);
        Write(Mine, 50, StampedFormat.Entry(above, StampedFormat.Node, 7));
        _transaction.Write(above.First, StampedFormat.OffsetOf(3), StampedFormat.Entry(below, StampedFormat.Node, 8));
        _transaction.Write(below.First, StampedFormat.OffsetOf(4), StampedFormat.Entry(data, StampedFormat.Data, 9));
        Action[] claims =
        [
            () => _transaction.ClaimAllocate(above, Intruder.NodeTemplate, Mine.Block, 50, [_tenants.Frame()]),
            () => _transaction.ClaimAllocate(below, Intruder.NodeTemplate, above.First, 3, [_tenants.Frame()]),
            () => _transaction.ClaimAllocate(data, Intruder.DataTemplate, below.First, 4, [_tenants.Frame()]),
        ];
        foreach (Action claim in belowFirst ? claims.Reverse() : claims)
        {
            claim();
        }

        Refused(XnStatus.Ok);
        foreach (BlockNumber block in new[] { above.First, below.First, data.First })
        {
            Assert.True(Disk.TryGetFrame(_tenants.Thief, block, out FrameNumber frame));
            _tenants.Frames.Release(frame);
            Assert.False(Disk.TryGetFrame(Victim.Key, block, out _));
        }

        Assert.Equal(XnStatus.Ok, Disk.MarkDirty(_tenants.Thief, data.First, 1));
        Assert.Equal(XnStatus.AccessDenied, Disk.MarkDirty(Victim.Key, data.First, 1));
        StillGood();
    }

    /// <summary>Giving up a block and, after it or with the tree above it, something that only that block held.</summary>
    [Fact]
    public void Giving_up_what_hangs_from_nothing_any_more()
    {
        byte[] nothing = new byte[StampedFormat.EntryBytes];
        StampedTree.Item below = Mine.Kids[6];
        StampedTree.Item data = below.Kids[0];

        // After the node that held it.
        Write(Mine, below.Entry, nothing);
        Write(below, data.Entry, nothing);
        _transaction.ClaimFree(below.Extent, Intruder.NodeTemplate, Mine.Block, below.Entry);
        _transaction.ClaimFree(data.Extent, Intruder.DataTemplate, below.Block, data.Entry);
        Refused(XnStatus.TypeError);

        // Before the tree that takes the node along.
        Write(Intruder.Root, Mine.Entry, nothing);
        Write(below, data.Entry, nothing);
        _transaction.ClaimFree(data.Extent, Intruder.DataTemplate, below.Block, data.Entry);
        _transaction.ClaimFreeTree(Mine.Extent, Intruder.NodeTemplate, Intruder.Root.Block, Mine.Entry);
        Refused(XnStatus.TypeError);

        // In order it is no harm.
        Write(Mine, below.Entry, nothing);
        Write(below, data.Entry, nothing);
        _transaction.ClaimFree(data.Extent, Intruder.DataTemplate, below.Block, data.Entry);
        _transaction.ClaimFree(below.Extent, Intruder.NodeTemplate, Mine.Block, below.Entry);
        Refused(XnStatus.Ok);
        StillGood();
    }

    [Fact]
    public void Every_door_with_the_others_blocks()
    {
        XnReadRequest honest = new(Theirs.Block, TheirData.Entry, TheirData.Extent);
        XnReadRequest forged = new(Mine.Block, 5, TheirData.Extent);
        foreach (XnReadRequest request in new[] { honest, forged })
        {
            XnStatus expected = request == honest ? XnStatus.AccessDenied : XnStatus.NotOwned;
            Assert.Equal(expected, Disk.Insert(_tenants.Thief, request));
            Assert.Equal(expected, Disk.BindOverwrite(_tenants.Thief, request, _tenants.FrameArray(3)));
            Assert.Equal(expected, Assert.Throws<XnException>(() => Disk.Read(_tenants.Thief, [request], _tenants.FrameArray(3), out _)).Status);
        }

        foreach (StampedTree.Item item in Victim.All())
        {
            _transaction.Clear();
            _transaction.Write(item.Block, 300, [9]);
            Refused(XnStatus.AccessDenied);
            Assert.NotEqual(XnStatus.Ok, Disk.MarkDirty(_tenants.Thief, item.Block, 1));
            Assert.NotEqual(XnStatus.Ok, Disk.Rebind(_tenants.Thief, item.Block, _tenants.Frame()));
            Assert.Equal(XnStatus.InCore, Disk.Bind(_tenants.Thief, item.Block, [_tenants.Frame()], BindMode.Zero));
            Assert.Equal(XnStatus.AccessDenied, Disk.Unbind(_tenants.Thief, item.Block));
        }

        Assert.Equal(0, Disk.ReadAhead([TheirData.Extent]));
        Assert.Equal(XnStatus.AccessDenied, Assert.Throws<XnException>(() => Disk.OpenRoot(_tenants.Thief, "victim")).Status);
        StillGood();
    }

    [Fact]
    public void Making_the_other_wait()
    {
        // A block that is always dirty, and that the victim's would have to wait for.
        Touch(Intruder, Mine);
        Touch(Victim, Theirs);
        Assert.Equal(XnStatus.AccessDenied, Disk.Order(_tenants.Thief, Mine.Block, Theirs.Block));
        foreach (StampedTree.Item item in Victim.All().Where(item => item.IsNode))
        {
            _transaction.Clear();
            _transaction.Write(Mine.Block, 300, [9]);
            _transaction.Order(Mine.Block, item.Block);
            Refused(XnStatus.AccessDenied);
        }

        // Waiting for the victim is allowed, and holds nobody up but oneself.
        Assert.Equal(XnStatus.Ok, Disk.Order(_tenants.Thief, Theirs.Block, Mine.Block));
        Assert.Equal(XnStatus.Tainted, Disk.WriteBack(_tenants.Thief, [Mine.Block]));
        Assert.Equal(XnStatus.Ok, Disk.WriteBack(Victim.Key, [Theirs.Block]));
        _tenants.Remember();
        StillGood();
    }

    [Theory]
    [InlineData(0UL)]
    [InlineData(500UL)]
    [InlineData(ulong.MaxValue)]
    public void Orders_of_what_is_not_there(ulong block)
    {
        foreach ((BlockNumber before, BlockNumber after) in new[] { (new BlockNumber(block), Mine.Block), (Mine.Block, new BlockNumber(block)) })
        {
            _transaction.Clear();
            _transaction.Write(Mine.Block, 300, [9]);
            _transaction.Order(before, after);
            Refused(XnStatus.NotRegistered);
        }

        _transaction.Clear();
        _transaction.Write(Mine.Block, 300, [9]);
        _transaction.Order(Mine.Block, TwoTenants.Data(Intruder).Block);
        Refused(XnStatus.WrongTemplate);
        StillGood();
    }

    [Fact]
    public void Writing_back_early_shows_nothing_that_is_not_ready()
    {
        Assert.Equal(XnStatus.Ok, Victim.AddData(Theirs, 60, _tenants.Free(1, 300), out StampedTree.Item? data));
        Assert.Equal(XnStatus.Tainted, Disk.WriteBack(_tenants.Thief, [Theirs.Block]));
        Assert.Equal(XnStatus.Ok, Disk.WriteBack(_tenants.Thief, [data!.Block]));
        Assert.Equal(XnStatus.Tainted, Disk.WriteBack(_tenants.Thief, [Theirs.Block]));
        _tenants.Remember();
        StillGood();
    }

    [Fact]
    public void Catalogues_are_the_volume_owners()
    {
        Assert.Equal(XnStatus.AccessDenied, Assert.Throws<XnException>(() => Disk.InstallTemplates(_tenants.Thief, [OneBlock.Data("mine")])).Status);
        Assert.Equal(XnStatus.AccessDenied, Assert.Throws<XnException>(() => Disk.CreateRoot(_tenants.Thief, Intruder.RootTemplate, default, default)).Status);
        Assert.Equal(XnStatus.AccessDenied, Assert.Throws<XnException>(() => Disk.PublishRoot(_tenants.Thief, "mine", Mine.Block)).Status);
        StillGood();
    }

    [Fact]
    public void Exhausting_what_is_shared()
    {
        // All frames that reading ahead gives, all blocks of the disk, and all of them freed: what is left must be enough for the victim's next sync.
        _ = Disk.ReadAhead([new BlockExtent(Disk.DataStart, (uint)(Disk.BlockCount - Disk.DataStart.Value))]);
        Assert.True(Disk.BlocksReadAhead <= Disk.BlocksReadAheadMax);
        Touch(Victim, Theirs);
        int entry = 60;
        while (Intruder.FindFree(0, 1) is { } extent && entry < StampedFormat.EntriesMax)
        {
            uint count = 1;
            while (extent.First.Value + count < Disk.BlockCount && Intruder.IsFree(extent.First.Value + count))
            {
                count++;
            }

            _transaction.Clear();
            Write(Mine, entry, StampedFormat.Entry(new BlockExtent(extent.First, count), StampedFormat.Data, 77));
            _transaction.ClaimAllocate(new BlockExtent(extent.First, count), Intruder.DataTemplate, Mine.Block, entry++);
            Assert.Equal(XnStatus.Ok, Disk.Apply(_tenants.Thief, _transaction));
        }

        Assert.Equal(0UL, Disk.FreeBlocks);

        // Never written, so never to be waited for: the victim's plan does not contain them.
        Assert.Equal([Theirs.Block], Disk.PlanWriteBack(Theirs.Block));
        Assert.Equal(XnStatus.Ok, Disk.WriteBack(Victim.Key, [Theirs.Block]));
        Disk.Flush();
        Assert.True(Disk.TryGetEntry(Theirs.Block, out RegistryEntryInfo info));
        Assert.Equal(info.Version, info.DurableVersion);
        Assert.Equal(XnStatus.Ok, Victim.Remove(TheirData));
    }

    /// <summary>A template says what it likes about its own blocks; it does not say anything about those of others.</summary>
    [Theory]
    [InlineData(300UL, 1UL, true)]
    [InlineData(511UL, 1UL, true)]
    [InlineData(511UL, 2UL, false)]
    [InlineData(512UL, 1UL, false)]
    [InlineData(0UL, 1UL, true)]
    [InlineData(1UL, 1UL, false)]
    [InlineData(131UL, 2UL, false)]
    [InlineData(ulong.MaxValue, ulong.MaxValue, false)]
    [InlineData(300UL, 0x1_0000_0001UL, false)]
    public void A_template_that_lies_about_where_blocks_are(ulong first, ulong count, bool isAccepted)
    {
        using OneBlock volume = new(OneBlock.Plain("liar", "data"), OneBlock.Data());
        volume.Begin().Write(0, OneBlock.Pointer(first, count));
        if (first != 0)
        {
            volume.Transaction.ClaimAllocate(new BlockExtent(new(first), (uint)Math.Min(count, 4)), volume.Ids[1], volume.Root, 0);
        }

        XnStatus status = volume.Apply();
        Assert.True(isAccepted ? status == XnStatus.Ok : status is XnStatus.BadBlock or XnStatus.TypeError or XnStatus.NotFree, status.ToString());
    }

    [Fact]
    public void A_template_that_lies_about_how_much_it_owns()
    {
        // It allocates two blocks and admits to one: the other was never its own.
        const string Half = """
                ldxdw r2, [r1+8]
                rsh r2, 1
                ldxdw r1, [r1+0]
                mov r3, 0
                call 1
                mov r0, 0
                exit
            """;
        using OneBlock volume = new(OneBlock.Plain("half", "data", owns: Half), OneBlock.Data());
        Assert.Equal(XnStatus.TypeError, volume.Allocate(0, 300, 2));
        volume.Begin().Write(0, OneBlock.Pointer(300, 2));
        volume.Transaction.ClaimAllocate(new BlockExtent(new(300), 1), volume.Ids[1], volume.Root, 0);
        Assert.Equal(XnStatus.Ok, volume.Apply());
        Assert.True(volume.IsFree(301));
        Assert.Equal(XnStatus.NotOwned, volume.Disk.Insert(volume.Key, new XnReadRequest(volume.Root, 0, new BlockExtent(new(301), 1))));
    }

    private void Point(BlockExtent extent, uint kind)
    {
        _transaction.Clear();
        Write(Mine, 50, StampedFormat.Entry(extent, kind, 99));
    }

    private void Write(StampedTree.Item node, int entry, byte[] bytes) => _transaction.Write(node.Block, StampedFormat.OffsetOf(entry), bytes);

    private void Refused(XnStatus expected)
    {
        Assert.Equal(expected, Disk.Apply(_tenants.Thief, _transaction));
        _transaction.Clear();
        _tenants.VictimIsUnharmed();
    }

    private void Touch(StampedTree tree, StampedTree.Item node)
    {
        tree.Transaction.Clear();
        tree.Transaction.Write(node.Block, 256, [1, 2, 3]);
        Assert.Equal(XnStatus.Ok, Disk.Apply(tree.Key, tree.Transaction));
        _tenants.Remember();
    }

    private void StillGood()
    {
        _tenants.VictimIsUnharmed();
        _tenants.NothingIsOwnedTwice();
        Victim.Sync();
        Assert.Equal(XnStatus.Ok, Victim.AddData(Theirs, 61, _tenants.Free(1, 350), out _));
        Victim.Sync();
        _tenants.NothingIsOwnedTwice();
    }
}
