// SPDX-License-Identifier: MIT
using System.Net;
using Exo.Core.Environments;
using Exo.Core.PacketFilters;
using Exo.Core.Tests.Blocks;
using Exo.Tests;

namespace Exo.Core.Tests.PacketFilters;

/// <summary>Classification while others insert and remove.</summary>
[Collection("allocations")]
public sealed class FilterRaceTests
{
    private const int Rounds = 20_000;

    [Fact]
    public void Readers_see_every_finished_change_and_no_state_that_never_was()
    {
        using ExoEnvironment root = FilterGen.Root();
        PacketFilterTree tree = FilterGen.Tree(root);
        InstalledFilter broad = tree.Insert(root, PacketFilter.Parse("u8[0] == 1"));
        PacketFilter middle = PacketFilter.Parse("u8[0] == 1; u8[2] == 3");
        PacketFilter narrow = PacketFilter.Parse("u16[0] == 0x0102; u8[5] == 6");
        byte[] packet = [1, 2, 3, 4, 5, 6];

        // The narrow filter comes before the middle one and goes after it: the middle one is never the answer.
        long published = 0, going = 0, removed = 0, mistakes = 0, narrowSeen = 0, broadSeen = 0, allocated = 0;
        bool isOver = false;
        Thread[] readers = [.. Enumerable.Range(0, 2).Select(_ => new Thread(() =>
        {
            tree.Classify(packet);
            long before = GC.GetAllocatedBytesForCurrentThread();
            while (!Volatile.Read(ref isOver))
            {
                long gone = Volatile.Read(ref removed);
                long there = Volatile.Read(ref published);
                InstalledFilter? answer = tree.Classify(packet);
                if (ReferenceEquals(answer, broad))
                {
                    // Right only if the narrow one that was there is going or has gone.
                    Interlocked.Increment(ref broadSeen);
                    Interlocked.Add(ref mistakes, Volatile.Read(ref going) >= there ? 0 : 1);
                }
                else
                {
                    Interlocked.Increment(ref narrowSeen);
                    Interlocked.Add(ref mistakes, answer is not null && ReferenceEquals(answer.Filter, narrow) && (long)answer.Number > gone ? 0 : 1);
                }
            }

            Interlocked.Add(ref allocated, GC.GetAllocatedBytesForCurrentThread() - before);
        }))];
        Array.ForEach(readers, reader => reader.Start());
        for (int round = 0; round < Rounds || Volatile.Read(ref narrowSeen) == 0 || Volatile.Read(ref broadSeen) == 0; round++)
        {
            InstalledFilter specific = tree.Insert(root, narrow);
            Volatile.Write(ref published, (long)specific.Number);
            InstalledFilter other = tree.Insert(root, middle);
            other.Dispose();
            Volatile.Write(ref going, (long)specific.Number);
            specific.Dispose();
            Volatile.Write(ref removed, (long)specific.Number);
        }

        Volatile.Write(ref isOver, true);
        Array.ForEach(readers, reader => reader.Join());
        Assert.Equal(0, mistakes);
        Assert.Equal(0, allocated);
    }

    [Fact]
    public void Writers_of_many_environments_leave_what_they_hold_and_nothing_else()
    {
        using ExoEnvironment root = FilterGen.Root();
        PacketFilterTree tree = FilterGen.Tree(root);
        ExoEnvironment[] owners = [.. Enumerable.Range(0, 4).Select(i => root.CreateChild([(byte)i]))];
        int refused = 0;
        Parallel.ForEach(owners, owner =>
        {
            List<InstalledFilter> held = [];
            for (int i = 0; i < 3000; i++)
            {
                // Ports are contended: one owner has each at any time.
                PacketFilter filter = ProtocolFilters.Port(ProtocolFilters.Tcp, new IPEndPoint(IPAddress.Any, i % 97));
                FilterVerdict verdict = tree.TryInsert(owner, filter, out InstalledFilter? installed);
                Interlocked.Add(ref refused, verdict.Refusal == FilterRefusal.Overlap ? 1 : 0);
                if (installed is not null)
                {
                    held.Add(installed);
                }

                if (held.Count > 20)
                {
                    held[0].Dispose();
                    held.RemoveAt(0);
                }
            }

            Assert.Equal(held.Count, owner.Held(ResourceKind.Ports));
            Assert.All(held, one => Assert.True(one.IsInstalled));
        });
        Assert.Equal(tree.Count, root.Held(ResourceKind.Ports));
        Array.ForEach(owners, owner => owner.Dispose());
        Assert.Equal(0, tree.Count);
        Assert.Equal("", tree.ToString());
        Assert.InRange(refused, 0, 12_000);
    }

    [Fact]
    public void Classification_allocates_nothing()
    {
        using ExoEnvironment root = FilterGen.Root();
        PacketFilterTree tree = FilterGen.Tree(root);
        IPEndPoint here = new(IPAddress.Parse("10.0.0.1"), 80);
        for (int i = 0; i < 1000; i++)
        {
            tree.Insert(root, ProtocolFilters.Connection(ProtocolFilters.Tcp, here, new IPEndPoint(0x0200000a, 1000 + i)));
        }

        byte[] packet = FilterOwnershipTests.TcpPacket(new IPEndPoint(0x0200000a, 1500), here, optionWords: 2);
        Assert.Equal(501UL, tree.Classify(packet)!.Number);
        Assert.Equal(0, Allocations.Least(() =>
        {
            for (int i = 0; i < 10_000; i++)
            {
                tree.Classify(packet);
            }
        }));
    }
}
