// SPDX-License-Identifier: MIT
using Exo.Capabilities;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Storage.XN;

namespace Exo.Host.Tests;

/// <summary>What a library OS can do through its host.</summary>
public sealed class HostClientTests
{
    private static readonly BlockExtent Items = new(new BlockNumber(2000), 3);

    /// <summary>A list with one entry of three blocks full of 1, 2 and 3.</summary>
    internal static (BlockNumber List, TemplateId Items) MakeList(HostClient client, BlockExtent? at = null)
    {
        BlockExtent items = at ?? Items;
        TemplateId[] templates = client.InstallTemplates(HostedDisk.Templates);
        BlockNumber list = client.CreateRoot(templates[0]);
        FrameNumber[] frames = new FrameNumber[items.Count];
        for (int i = 0; i < frames.Length; i++)
        {
            Assert.True(client.TryTakeFrame(out int frame));
            client.Frame(frame).Fill((byte)(i + 1));
            frames[i] = new FrameNumber((uint)frame);
        }

        XnTransaction change = new();
        change.Write(list, 7 * 16, HostedDisk.Entry(items));
        change.ClaimAllocate(items, templates[1], list, 7, frames);
        Assert.True(client.Apply(change) == XnStatus.Ok, change.LastRefusal);
        return (list, templates[1]);
    }

    /// <summary>Writes until nothing waits, and, where others may be writing just then what a client has made, until one block is durable.</summary>
    internal static void MakeDurable(HostClient client, BlockNumber? until = null)
    {
        BlockNumber[] plan = new BlockNumber[64];
        do
        {
            while (client.PlanWriteBack(plan) is > 0 and var count)
            {
                Assert.True(client.WriteBack(plan.AsSpan(0, count)) is XnStatus.Ok || until is not null);
                client.Flush();
            }

            client.Flush();
        }
        while (until is { } block && client.TryGetEntry(block, out RegistryEntryInfo entry) && entry.DurableVersion < entry.Version);
    }

    /// <summary>Clients that go as the host goes: whoever closes the pool after the host finds nobody in it who cleans up.</summary>
    [Fact]
    public async Task A_host_that_ends_waits_for_those_who_clean_up()
    {
        for (int round = 0; round < 40; round++)
        {
            HostedDisk disk = new();
            HostClient[] clients = [disk.Attach(), disk.Attach(), disk.Attach()];
            Array.ForEach(clients, client => client.Ping());
            Task[] going = [.. clients.Select(client => Task.Run(client.Dispose, TestContext.Current.CancellationToken))];
            await going[round % going.Length];
            disk.Dispose();
            await Task.WhenAll(going);
        }
    }

    [Fact]
    public void What_one_client_stores_another_reads_after_it_has_gone()
    {
        using HostedDisk disk = new();
        byte[] block = new byte[4096];
        using (HostClient client = disk.Attach())
        {
            (BlockNumber list, _) = MakeList(client);
            Assert.True(client.TryGetEntry(Items.First, out RegistryEntryInfo info));
            Assert.True(info is { HasFrame: true, IsDirty: true } && info.Parent == list);
            Assert.True(client.TryReadCached(list, block));
            Assert.Equal(HostedDisk.Entry(Items), block[112..128]);
            MakeDurable(client);
            client.PublishRoot("list", list);
            client.Ping();
        }

        disk.WaitFor(0);
        using HostClient other = disk.Attach();
        RootEntry root = other.OpenRoot("list");
        Assert.True(other.TryReadCached(root.Block, block));
        Assert.False(other.TryReadCached(Items.First, block));
        other.Read(new XnReadRequest(root.Block, 7, Items));
        for (uint i = 0; i < Items.Count; i++)
        {
            Assert.True(other.TryReadCached(Items.First + i, block));
            Assert.True(block.AsSpan().IndexOfAnyExcept((byte)(i + 1)) < 0);
        }

        Assert.True(disk.Server.Close());
    }

    [Fact]
    public void Blocks_are_changed_in_frames_of_the_clients_own()
    {
        using HostedDisk disk = new();
        using HostClient client = disk.Attach();
        (BlockNumber list, _) = MakeList(client);
        MakeDurable(client);
        Assert.Equal(XnStatus.Ok, client.Unbind(Items.First));
        client.Read(new XnReadRequest(list, 7, Items));
        Assert.True(client.TryTakeFrame(out int frame));
        client.Frame(frame).Fill(9);
        Assert.Equal(XnStatus.Ok, client.Rebind(Items.First, frame));
        byte[] block = new byte[4096];
        Assert.True(client.TryReadCached(Items.First, block));
        Assert.Equal(9, block[0]);
        client.Frame(frame).Fill(10);
        Assert.Equal(XnStatus.Ok, client.MarkDirty(Items.First, 1));
        Assert.True(client.TryGetEntry(Items.First, out RegistryEntryInfo info) && info.IsDirty);
        MakeDurable(client);
        Assert.Equal(XnStatus.Ok, client.Unbind(Items.First));
        Assert.False(client.TryReadCached(Items.First, block));
        client.Read(new XnReadRequest(list, 7, new BlockExtent(Items.First, 1)));
        Assert.True(client.TryReadCached(Items.First, block));
        Assert.Equal(10, block[4095]);

        Assert.Equal(XnStatus.Ok, client.Unbind(Items.First));
        Assert.True(client.TryTakeFrame(out frame));
        client.Frame(frame).Fill(11);
        Assert.Equal(XnStatus.Ok, client.BindOverwrite(new XnReadRequest(list, 7, new BlockExtent(Items.First, 1)), [frame]));
        client.Fetch(Items.First, block);
        Assert.Equal(11, block[0]);
    }

    [Fact]
    public void Refusals_say_why_and_change_nothing()
    {
        using HostedDisk disk = new();
        using HostClient client = disk.Attach();
        (BlockNumber list, TemplateId items) = MakeList(client);
        BlockExtent more = new(new BlockNumber(3000), 1);
        XnTransaction lie = new();
        lie.Write(list, 8 * 16, HostedDisk.Entry(more));
        Assert.Equal(XnStatus.TypeError, client.Apply(lie));
        Assert.NotEqual("", lie.LastRefusal);
        lie.ClaimAllocate(new BlockExtent(new BlockNumber(3001), 1), items, list, 8);
        Assert.Equal(XnStatus.TypeError, client.Apply(lie));
        lie.Clear();
        lie.Write(new BlockNumber(3500), 0, [1]);
        Assert.NotEqual(XnStatus.Ok, client.Apply(lie));

        Assert.Equal(XnStatus.NotFound, Assert.Throws<HostException>(() => client.OpenRoot("none")).XnStatus);
        Assert.Equal(HostStatus.Malformed, Assert.Throws<HostException>(() => client.ReadFreeMap(1000, new ulong[1])).Status);
        Assert.Equal(XnStatus.NotRegistered, client.Unbind(new BlockNumber(3000)));
        Assert.Equal(XnStatus.NotInCore, Assert.Throws<HostException>(() => client.Fetch(new BlockNumber(3000), new byte[4096])).XnStatus);
        Assert.Equal(HostStatus.NoFrames, Assert.Throws<HostException>(() => client.Read(new XnReadRequest(list, 7, new BlockExtent(Items.First, 1000)))).Status);
        ulong[] words = new ulong[64];
        client.ReadFreeMap(0, words);
        Assert.Equal(0UL, words[2000 / 64] >> (2000 % 64) & 7);
        Assert.True(client.TryFindFree(new BlockNumber(1999), 2, out BlockExtent free));
        Assert.Equal(new BlockNumber(2003), free.First);
    }

    [Fact]
    public void Frames_are_taken_given_and_come_back()
    {
        using HostedDisk disk = new(framesPerClient: 3);
        using HostClient client = disk.Attach();
        (BlockNumber list, _) = MakeList(client);
        Assert.False(client.TryTakeFrame(out _));
        MakeDurable(client);
        Assert.Equal(XnStatus.Ok, client.Unbind(Items.First + 1));
        Assert.True(client.TryTakeFrame(out int frame));
        Assert.False(client.TryTakeFrame(out _));
        client.ReturnFrame(frame);
        Assert.Throws<ArgumentOutOfRangeException>(() => client.ReturnFrame(frame));
        Assert.True(client.TryTakeFrame(out int again));
        Assert.Equal(frame, again);

        // One that XN has is not taken twice.
        Assert.Equal(HostStatus.Malformed, Assert.Throws<HostException>(() => client.Rebind(Items.First, (frame + 1) % 3)).Status);
        Assert.Throws<ArgumentOutOfRangeException>(() => client.Frame(3));
        Assert.Equal(XnStatus.Ok, client.Rebind(Items.First, frame));
        Assert.True(list.Value > 0);
    }

    [Fact]
    public void Others_registry_is_seen_but_their_blocks_only_by_a_call_that_may()
    {
        using HostedDisk disk = new();
        using HostClient owner = disk.Attach();
        using HostClient other = disk.Attach();
        MakeList(owner);
        byte[] block = new byte[4096];
        Assert.True(other.TryGetEntry(Items.First, out RegistryEntryInfo info) && info.HasFrame);
        Assert.False(other.TryReadCached(Items.First, block));
        other.Fetch(Items.First + 1, block);
        Assert.Equal(2, block[77]);
    }

    [Fact]
    public void A_registry_that_grows_is_followed()
    {
        using HostedDisk disk = new(blocksPerClient: 1500, framesPerClient: 8);
        using HostClient client = disk.Attach();
        TemplateId[] templates = client.InstallTemplates(HostedDisk.Templates);
        BlockNumber list = client.CreateRoot(templates[0]);
        using HostClient watcher = disk.Attach();
        for (uint i = 0; i < 12; i++)
        {
            BlockExtent extent = new(new BlockNumber(1000 + (i * 100)), 100);
            XnTransaction change = new();
            change.Write(list, (int)i * 16, HostedDisk.Entry(extent));
            change.ClaimAllocate(extent, templates[1], list, (int)i, [.. Enumerable.Repeat(HostClient.AnyFrame, 100)]);
            Assert.Equal(XnStatus.Ok, client.Apply(change));
            for (uint k = 0; k < 100; k++)
            {
                Assert.True(watcher.TryGetEntry(extent.First + k, out RegistryEntryInfo info));
                Assert.Equal(extent.First + k, info.Block);
            }
        }
    }

    [Fact]
    public void Who_may_not_is_not_let_in()
    {
        using HostedDisk disk = new(clients: 1, admit: peer => peer.ProcessId == Environment.ProcessId ? null : throw new InvalidOperationException());
        Assert.Equal(HostStatus.NotAdmitted, Assert.Throws<HostException>(disk.Attach).Status);
        using HostedDisk small = new(clients: 1);
        using HostClient only = small.Attach();
        Assert.Equal(HostStatus.TooManyClients, Assert.Throws<HostException>(small.Attach).Status);
        only.Dispose();
        small.WaitFor(0);
        using HostClient next = small.Attach();
        next.Ping();
    }

    [Fact]
    public void A_user_without_the_owners_capability_is_refused_what_takes_it()
    {
        FramePool? pool = null;
        using HostedDisk disk = new(admit: _ => pool!.Authority.Root.Forge(UnixNames.User(12345), Rights.All));
        pool = disk.Frames;
        using HostClient client = disk.Attach();
        Assert.Equal(XnStatus.AccessDenied, Assert.Throws<HostException>(() => client.InstallTemplates(HostedDisk.Templates)).XnStatus);
    }

    [Fact]
    public void The_hosts_end_is_told()
    {
        HostedDisk disk = new();
        using HostClient client = disk.Attach();
        (BlockNumber list, _) = MakeList(client);
        disk.Server.Dispose();
        Assert.Equal(HostStatus.Disconnected, Assert.Throws<HostException>(client.Ping).Status);
        Assert.False(client.IsConnected);

        // What it has mapped it has: reading harms nobody, and does not fail.
        client.TryReadCached(list, new byte[4096]);
        disk.Dispose();
    }
}
