// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Storage.XN;

namespace Exo.Host.Tests;

/// <summary>What a client cannot have more of than it was given: blocks of the disk, connections, requests, frames.</summary>
public sealed class QuotaTests
{
    private static readonly BlockExtent Small = new(new BlockNumber(2000), 3);

    private static TemplateSource CountedList => new()
    {
        Name = "list of counted",
        ReadSetBytes = HostedDisk.Templates[0].ReadSetBytes,
        Partitions = HostedDisk.Templates[0].Partitions,
        Children = ["counted"],
        Acl = HostedDisk.Templates[0].Acl,
        Owns = HostedDisk.Templates[0].Owns,
    };

    private sealed class ManualTime : TimeProvider
    {
        private long _now;

        public override long TimestampFrequency => 1000;

        public override long GetTimestamp() => Volatile.Read(ref _now);

        public void Pass(int milliseconds) => Interlocked.Add(ref _now, milliseconds);
    }

    [Fact]
    public void A_user_allocates_what_it_may_and_coming_back_gains_nothing()
    {
        using HostedDisk disk = new(diskBlocksPerUser: 10);
        BlockNumber list;
        TemplateId items;
        using (HostClient client = disk.Attach())
        {
            (list, items) = HostClientTests.MakeList(client, Small);                // 1 + 3
            Assert.Equal(XnStatus.Ok, Allocate(client, list, items, 0, new BlockExtent(new BlockNumber(3000), 6), isZero: true));
            Refused(client, () => Allocate(client, list, items, 1, new BlockExtent(new BlockNumber(3100), 1)));
            Refused(client, () => client.CreateRoot(new TemplateId(items.Value - 1)));
            HostClientTests.MakeDurable(client, list);
            client.PublishRoot("list", list);
        }

        disk.WaitFor(0);
        using HostClient again = disk.Attach();
        again.OpenRoot("list");
        Refused(again, () => Allocate(again, list, items, 1, new BlockExtent(new BlockNumber(3100), 1)));
        Assert.Equal(10, Assert.Single(disk.Server.Observe().Clients).DiskBlocks);

        // An exchange needs no room.
        XnTransaction exchange = new();
        exchange.Write(list, 7 * 16, HostedDisk.Entry(Small with { First = new BlockNumber(2500) }));
        exchange.ClaimFree(Small, items, list, 7);
        exchange.ClaimAllocate(Small with { First = new BlockNumber(2500) }, items, list, 7);
        Assert.Equal(XnStatus.Ok, again.Apply(exchange));
        Assert.Equal(10, Assert.Single(disk.Server.Observe().Clients).DiskBlocks);

        Assert.Equal(XnStatus.Ok, Free(again, list, items, 7, Small with { First = new BlockNumber(2500) }));
        Assert.Equal(XnStatus.Ok, Allocate(again, list, items, 1, new BlockExtent(new BlockNumber(3100), 2)));
        Refused(again, () => Allocate(again, list, items, 2, new BlockExtent(new BlockNumber(3200), 2)));
        Assert.Equal(XnStatus.Ok, Allocate(again, list, items, 2, new BlockExtent(new BlockNumber(3200), 1)));
    }

    [Fact]
    public void What_XN_refuses_costs_nothing()
    {
        using HostedDisk disk = new(diskBlocksPerUser: 5);
        using HostClient client = disk.Attach();
        (BlockNumber list, TemplateId items) = HostClientTests.MakeList(client, Small);
        for (int i = 0; i < 20; i++)
        {
            // Taken already; and a claim without what it claims.
            Assert.Equal(XnStatus.NotFree, Allocate(client, list, items, 0, Small with { Count = 1 }));
            XnTransaction lie = new();
            lie.ClaimAllocate(new BlockExtent(new BlockNumber(3000), 1), items, list, 0);
            Assert.NotEqual(XnStatus.Ok, client.Apply(lie));
            Assert.Equal(HostStatus.Refused, Assert.Throws<HostException>(() => client.CreateRoot(items)).Status);
        }

        Assert.Equal(XnStatus.Ok, Allocate(client, list, items, 0, new BlockExtent(new BlockNumber(3000), 1)));
        Refused(client, () => Allocate(client, list, items, 1, new BlockExtent(new BlockNumber(3100), 1)));
    }

    [Fact]
    public void Everything_below_what_is_freed_is_given_back()
    {
        using HostedDisk disk = new(diskBlocksPerUser: 12);
        using HostClient client = disk.Attach();
        (BlockNumber list, TemplateId items) = HostClientTests.MakeList(client, Small);
        TemplateId lists = new(items.Value - 1);
        BlockExtent below = new(new BlockNumber(2500), 1);
        XnTransaction change = new();
        change.Write(list, 0, HostedDisk.Entry(below, inUse: 2));
        change.ClaimAllocate(below, lists, list, 0, [HostClient.AnyFrame]);
        Assert.Equal(XnStatus.Ok, client.Apply(change));
        Assert.Equal(XnStatus.Ok, Allocate(client, below.First, items, 3, new BlockExtent(new BlockNumber(3000), 7)));
        Refused(client, () => Allocate(client, list, items, 1, new BlockExtent(new BlockNumber(3100), 1)));

        change.Clear();
        change.Write(list, 0, HostedDisk.Entry(below, inUse: 0));
        change.ClaimFreeTree(below, lists, list, 0);
        Assert.Equal(XnStatus.Ok, client.Apply(change));
        Assert.Equal(4, Assert.Single(disk.Server.Observe().Clients).DiskBlocks);
        Assert.Equal(XnStatus.Ok, Allocate(client, list, items, 1, new BlockExtent(new BlockNumber(3100), 8)));
    }

    /// <summary>Blocks that several pointers lead to are there as long as one does, whoever lets go of the others.</summary>
    [Fact]
    public void Shared_blocks_are_given_back_with_the_last_pointer()
    {
        using HostedDisk disk = new(diskBlocksPerUser: 8);
        using HostClient client = disk.Attach();
        TemplateId[] templates = client.InstallTemplates([CountedList, new TemplateSource { Name = "counted", Flags = TemplateFlags.InitialiseFirst | TemplateFlags.Counted }]);
        BlockNumber list = client.CreateRoot(templates[0]);
        Assert.Equal(XnStatus.Ok, Allocate(client, list, templates[1], 0, Small, isZero: true));
        HostClientTests.MakeDurable(client, list);
        XnTransaction change = new();
        for (int pointer = 1; pointer < 5; pointer++)
        {
            change.Clear();
            change.Write(list, pointer * 16, HostedDisk.Entry(Small));
            change.ClaimShare(Small, templates[1], list, 0, list, pointer);
            Assert.True(client.Apply(change) == XnStatus.Ok, change.LastRefusal);
        }

        HostClientTests.MakeDurable(client, list);
        for (int pointer = 0; pointer < 4; pointer++)
        {
            Assert.Equal(XnStatus.Ok, Free(client, list, templates[1], pointer, Small));
            Assert.Equal(4, Assert.Single(disk.Server.Observe().Clients).DiskBlocks);
        }

        Assert.Equal(XnStatus.Ok, Free(client, list, templates[1], 4, Small));
        Assert.Equal(1, Assert.Single(disk.Server.Observe().Clients).DiskBlocks);
    }

    [Fact]
    public void Clients_of_one_user_that_race_for_the_last_blocks_get_no_more_than_there_are()
    {
        const int Quota = 60;
        using HostedDisk disk = new(diskBlocksPerUser: Quota);
        HostClient[] clients = [disk.Attach(), disk.Attach(), disk.Attach()];
        TemplateId[] templates = clients[0].InstallTemplates(HostedDisk.Templates);
        BlockNumber[] lists = Array.ConvertAll(clients, client => client.CreateRoot(templates[0]));
        int allocated = lists.Length;
        Parallel.For(0, 3, new ParallelOptions { MaxDegreeOfParallelism = 3 }, index =>
        {
            using HostClient client = clients[index];
            for (int i = 0; i < 100; i++)
            {
                BlockExtent one = new(new BlockNumber((ulong)(2000 + (index * 200) + i)), 1);
                try
                {
                    Assert.Equal(XnStatus.Ok, Allocate(client, lists[index], templates[1], i, one));
                    Interlocked.Increment(ref allocated);
                }
                catch (HostException refused)
                {
                    Assert.Equal(HostStatus.OverQuota, refused.Status);
                }
            }
        });
        Assert.Equal(Quota, allocated);
    }

    [Fact]
    public void One_who_takes_all_it_can_get_leaves_the_others_theirs()
    {
        using HostedDisk disk = new(diskBlocksPerUser: 300);
        ulong free = disk.Server.Observe().Registry!.FreeBlocks;
        HostileClientTests.BesideHonestWork(disk, () =>
        {
            // Comes, takes what there is, and goes without a word, again and again.
            for (int round = 0; round < 12; round++)
            {
                using HostClient greedy = disk.Attach();
                TemplateId[] templates = greedy.InstallTemplates(HostedDisk.Templates);
                try
                {
                    BlockNumber list = greedy.CreateRoot(templates[0]);
                    for (int i = 0; i < 100; i++)
                    {
                        Allocate(greedy, list, templates[1], i, new BlockExtent(new BlockNumber((ulong)(2100 + (round * 150) + i)), 1));
                    }
                }
                catch (HostException refused)
                {
                    Assert.Equal(HostStatus.OverQuota, refused.Status);
                }
            }
        });
        Assert.True(disk.Server.Observe().Registry!.FreeBlocks >= free - 300);
    }

    [Fact]
    public void A_user_attaches_so_often_and_is_told_why_no_more()
    {
        using HostedDisk disk = new(clientsPerUser: 2);
        using HostClient first = disk.Attach();
        HostClient second = disk.Attach();
        for (int i = 0; i < 50; i++)
        {
            Assert.Equal(HostStatus.TooManyClients, Assert.Throws<HostException>(disk.Attach).Status);
        }

        first.Ping();
        second.Dispose();
        disk.WaitFor(1);
        using HostClient third = disk.Attach();
        third.Ping();
    }

    [Fact]
    public void Requests_beyond_the_rate_are_refused_and_cost_nobody_else_anything()
    {
        ManualTime time = new();
        using HostedDisk disk = new(requestsPerSecond: 100, time: time);
        using HostClient fast = disk.Attach();
        using HostClient slow = disk.Attach();
        for (int i = 0; i < 100; i++)
        {
            fast.Ping();
        }

        for (int i = 0; i < 1000; i++)
        {
            Assert.Equal(HostStatus.TooManyRequests, Assert.Throws<HostException>(fast.Ping).Status);
        }

        slow.Ping();
        time.Pass(milliseconds: 30);
        for (int i = 0; i < 3; i++)
        {
            fast.Ping();
        }

        Assert.Equal(HostStatus.TooManyRequests, Assert.Throws<HostException>(fast.Ping).Status);

        // No more is saved up than a second's.
        time.Pass(milliseconds: 1_000_000);
        int asked = 0;
        while (Record.Exception(fast.Ping) is null)
        {
            asked++;
        }

        Assert.Equal(100, asked);
        slow.Ping();
    }

    [Fact]
    public void Frames_are_as_many_as_were_given()
    {
        using HostedDisk disk = new(blocksPerClient: 8, framesPerClient: 4);
        using HostClient client = disk.Attach();
        (BlockNumber list, TemplateId items) = HostClientTests.MakeList(client, Small);         // 3 frames, and a block for the list
        Assert.True(client.TryTakeFrame(out _));
        Assert.False(client.TryTakeFrame(out _));
        BlockExtent many = new(new BlockNumber(3000), 8);
        XnTransaction change = new();
        change.Write(list, 0, HostedDisk.Entry(many));
        change.ClaimAllocate(many, items, list, 0, [.. Enumerable.Repeat(HostClient.AnyFrame, 8)]);
        Assert.Equal(HostStatus.NoFrames, Assert.Throws<HostException>(() => client.Apply(change)).Status);
    }

    private static void Refused(HostClient client, Action request)
    {
        Assert.Equal(HostStatus.OverQuota, Assert.Throws<HostException>(request).Status);
        client.Ping();
    }

    private static void Refused(HostClient client, Func<object> request) => Refused(client, () => { _ = request(); });

    private static XnStatus Allocate(HostClient client, BlockNumber list, TemplateId items, int slot, BlockExtent extent, bool isZero = false)
    {
        XnTransaction change = new();
        change.Write(list, slot * 16, HostedDisk.Entry(extent));
        change.ClaimAllocate(extent, items, list, slot, [.. Enumerable.Repeat(HostClient.AnyFrame, isZero ? (int)extent.Count : 0)]);
        return client.Apply(change);
    }

    private static XnStatus Free(HostClient client, BlockNumber list, TemplateId items, int slot, BlockExtent extent)
    {
        XnTransaction change = new();
        change.Write(list, slot * 16, HostedDisk.Entry(extent, inUse: 0));
        change.ClaimFree(extent, items, list, slot);
        return client.Apply(change);
    }
}
