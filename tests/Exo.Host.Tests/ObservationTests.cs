// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using System.Text.Json;
using Exo.Core.Blocks;
using Exo.Core.Environments;
using Exo.Core.Ipc;
using Exo.Core.Memory;
using Exo.Core.Observation;
using Exo.Core.Scheduling;
using Exo.Host.Protocol;
using Exo.Storage.XN;

namespace Exo.Host.Tests;

/// <summary>A host and its clients as observers see them, and observers that harm nobody.</summary>
public sealed class ObservationTests
{
    private static readonly CancellationToken s_test = TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_host_is_seen_with_its_clients_frames_and_registry()
    {
        using HostedDisk disk = new();
        using ExokernelObserver observer = ExokernelObserver.Attach(disk.SocketPath);
        ExokernelSnapshot before = await observer.ObserveAsync(s_test);
        Assert.Equal(("exo host", Environment.ProcessId, true), (before.Name, before.ProcessId, before.IsComplete));
        Assert.Empty(before.Clients);
        Assert.Equal(4096ul, before.Registry!.BlockCount);

        using HostClient client = disk.Attach();
        (BlockNumber list, _) = HostClientTests.MakeList(client, new BlockExtent(new BlockNumber(2000), 3));
        Assert.NotEqual(XnStatus.Ok, client.Unbind(new BlockNumber(1)));
        ExokernelSnapshot after = await observer.ObserveAsync(s_test);
        ClientSnapshot seen = Assert.Single(after.Clients);
        Assert.Equal((Environment.ProcessId, 64, 64, 1L), (seen.ProcessId, seen.BlockFrames, seen.Frames, seen.Refused));
        Assert.True(seen.Requests >= 4 && seen.RanMicroseconds > 0 && seen.BlockFramesHeld >= 1, $"{seen}");
        Assert.Equal(3, seen.FramesHeld);
        Assert.Equal([RingKind.Requests, RingKind.Replies], after.Rings.Select(ring => ring.Kind));
        Assert.All(after.Rings, ring => Assert.True(ring is { Depth: 0, Passed: > 0, Status: IpcStatus.Ok }, $"{ring}"));
        Assert.Equal(disk.Frames.FrameCount, after.Frames!.Held + after.Frames.Free + after.Frames.Draining);
        Assert.Equal(128, after.Frames.Exported);
        Assert.True(after.TakenAtMicroseconds > before.TakenAtMicroseconds);
        Assert.Equal((disk.Server.Volume.RegisteredBlocks, disk.Server.Volume.DirtyBlocks), (after.Registry!.InCore, after.Registry.Dirty));
        Assert.Contains(after.Registry.Templates, use => use is { Name: "items", InCore: 3, Dirty: 3 });
        Assert.True(after.Registry.Counters.Transactions > before.Registry.Counters.Transactions);
        Assert.True(client.TryGetEntry(list, out _));

        client.Dispose();
        disk.WaitFor(0);
        Assert.Empty((await observer.ObserveAsync(s_test)).Clients);
    }

    [Fact]
    public async Task What_is_written_as_JSON_is_read_as_it_was()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 4 << 20 });
        using ExoEnvironment root = ExoEnvironment.CreateRoot(frames.Authority);
        ExoEnvironment reader = root.CreateChild("reader \"<&>\" "u8), writer = root.CreateChild("writer"u8);
        using Scheduler scheduler = new(new SchedulerOptions { Processors = 0 });
        ScheduledEnvironment reads = scheduler.Admit(reader, slices: 2);
        (PipeReadEnd outOf, PipeWriteEnd into) = Pipe.Create(frames, root, reader, writer);
        Task<int> read = reads.Start(async _ => await outOf.ReadAsync(new byte[10], s_test));
        scheduler.RunUntilIdle();
        using HostedDisk disk = new();
        ExokernelSnapshot snapshot = ExokernelSnapshot.Take("a \u2013 b", frames, disk.Server.Volume, root, scheduler) with
        {
            Clients = [new ClientSnapshot(7, 1000, "1.2", true, 3, 1, 12, 4, 64, 2, 64, 5, 1 << 20, 9, 10)],
            Counters = [new CounterSnapshot("requests", long.MaxValue)],
        };
        Assert.NotEmpty(snapshot.Predicates);
        Assert.NotEmpty(snapshot.Rings);
        byte[] json = snapshot.ToJson();
        Assert.Equal(json, ExokernelSnapshot.FromJson(json).ToJson());
        using JsonDocument document = JsonDocument.Parse(json);
        JsonElement environment = document.RootElement.GetProperty("environments").EnumerateArray().Single(element => element.GetProperty("label").GetString() == "reader \"<&>\" ");
        Assert.Equal(("asleep", 2, 1), (environment.GetProperty("state").GetString()!.ToLowerInvariant(), environment.GetProperty("slices").GetInt32(), environment.GetProperty("predicatesAsleep").GetInt32()));
        Assert.Throws<JsonException>(() => ExokernelSnapshot.FromJson("null"u8));
        Assert.Throws<JsonException>(() => ExokernelSnapshot.FromJson("{}"u8));
        into.TryWrite("x"u8, out _);
        scheduler.RunUntilIdle();
        Assert.Equal(1, await read);
        into.Dispose();
        outOf.Dispose();
    }

    [Fact]
    public async Task Any_process_can_be_looked_at()
    {
        string path = Path.Combine(Path.GetTempPath(), $"exo-watch-{Guid.NewGuid():N}");
        long taken = 0;
        using (ObservationServer server = ObservationServer.Start(path, () => ExokernelSnapshot.Take("mine") with { Counters = [new CounterSnapshot("looks", ++taken)] }))
        {
            using ExokernelObserver observer = ExokernelObserver.Attach(path);
            Assert.Equal(1, (await observer.ObserveAsync(s_test)).Counters[0].Value);
            Assert.Equal(2, (await observer.ObserveAsync(s_test)).Counters[0].Value);
            Assert.Throws<HostException>(() => HostClient.Attach(path));
            server.Dispose();
            Assert.Equal(HostStatus.Disconnected, (await Assert.ThrowsAsync<HostException>(() => observer.ObserveAsync(s_test))).Status);
        }

        Assert.False(File.Exists(path));
        Assert.Throws<SocketException>(() => ExokernelObserver.Attach(path));
    }

    [Fact]
    public async Task Who_may_not_look_is_told_nothing()
    {
        string path = Path.Combine(Path.GetTempPath(), $"exo-watch-{Guid.NewGuid():N}");
        using ObservationServer server = ObservationServer.Start(path, () => throw new InvalidOperationException("Nobody may look."), admit: _ => false);
        using ExokernelObserver observer = ExokernelObserver.Attach(path);
        Assert.Equal(HostStatus.Disconnected, (await Assert.ThrowsAsync<HostException>(() => observer.ObserveAsync(s_test))).Status);
    }

    /// <summary>Many who ask as fast as they can make no more snapshots than a few, each is told what was so after it asked, and none is told something older than before.</summary>
    [Fact]
    public async Task However_many_ask_snapshots_are_taken_one_after_the_other_and_shared()
    {
        string path = Path.Combine(Path.GetTempPath(), $"exo-watch-{Guid.NewGuid():N}");
        long world = 0;
        int takers = 0;
        using ObservationServer server = ObservationServer.Start(path, () =>
        {
            Assert.Equal(1, Interlocked.Increment(ref takers));
            ExokernelSnapshot snapshot = ExokernelSnapshot.Take("mine") with { Counters = [new CounterSnapshot("world", Volatile.Read(ref world))] };
            Interlocked.Decrement(ref takers);
            return snapshot;
        });
        int answers = 0;
        HashSet<long> different = [];
        await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Task.Run(async () =>
        {
            using ExokernelObserver observer = ExokernelObserver.Attach(path);
            for (int i = 0; i < 5; i++)
            {
                long asked = Interlocked.Increment(ref world);
                ExokernelSnapshot snapshot = await observer.ObserveAsync(s_test);
                Assert.InRange(snapshot.Counters[0].Value, asked, Volatile.Read(ref world));
                Interlocked.Increment(ref answers);
                lock (different)
                {
                    different.Add(snapshot.TakenAtMicroseconds);
                }
            }
        }, s_test)));
        Assert.Equal(40, answers);
        Assert.InRange(different.Count, 5, 39);
    }

    /// <summary>Some connect and say nothing, some lie, some ask and do not take the answer, some are too many: the host serves its clients and an honest observer all the same.</summary>
    [Fact]
    public async Task Observers_that_misbehave_harm_nobody()
    {
        using HostedDisk disk = new();
        using ExokernelObserver honest = ExokernelObserver.Attach(disk.SocketPath);
        await honest.ObserveAsync(s_test);
        List<Socket> hostile = [];
        HostileClientTests.BesideHonestWork(disk, () =>
        {
            Random random = new(20261130);
            for (int i = 0; i < 200; i++)
            {
                Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                socket.Connect(new UnixDomainSocketEndPoint(disk.SocketPath));
                hostile.Add(socket);
                try
                {
                    switch (i % 5)
                    {
                        case 0:
                            break;
                        case 1:
                            socket.Send(new byte[random.Next(1, 8)]);
                            break;
                        case 2:
                            byte[] noise = new byte[64];
                            random.NextBytes(noise);
                            socket.Send(noise);
                            break;
                        case 3:
                            // Asks a thousand times and reads nothing.
                            byte[] greedy = [.. BitConverter.GetBytes((ulong)Hello.Observer), .. Enumerable.Repeat((byte)ObserverRequest.Observe, 1000)];
                            socket.Send(greedy);
                            break;
                        default:
                            byte[] wrong = [.. BitConverter.GetBytes((ulong)Hello.Observer), 0xFF];
                            socket.Send(wrong);
                            socket.Dispose();
                            break;
                    }
                }
                catch (SocketException)
                {
                    // Sent away already: too many, or not understood.
                }
            }
        });
        ExokernelSnapshot seen = await honest.ObserveAsync(s_test);
        Assert.Equal(4096ul, seen.Registry!.BlockCount);
        hostile.ForEach(socket => socket.Dispose());
        disk.WaitFor(0);
        Assert.Equal(0, seen.Frames!.Draining);
    }

    /// <summary>Clients come, work and go while others look: every picture agrees with itself.</summary>
    [Fact]
    public async Task Beside_clients_that_come_and_go_each_part_agrees_with_itself()
    {
        using HostedDisk disk = new();
        using CancellationTokenSource over = new();
        Task[] clients =
        [
            .. Enumerable.Range(0, 2).Select(number => Task.Run(() =>
            {
                BlockExtent items = new(new BlockNumber(2000 + ((ulong)number * 100)), 3);
                using (HostClient first = disk.Attach())
                {
                    (BlockNumber list, _) = HostClientTests.MakeList(first, items);
                    HostClientTests.MakeDurable(first, until: list);
                    first.PublishRoot($"list {number}", list);
                }

                while (!over.IsCancellationRequested)
                {
                    using HostClient client = disk.Attach();
                    client.Read(new XnReadRequest(client.OpenRoot($"list {number}").Block, 7, items));
                    Assert.True(client.TryTakeFrame(out int frame));
                    Assert.Equal(XnStatus.Ok, client.Rebind(items.First, frame));
                    client.TryCommit();
                }
            }, s_test)),
        ];
        ExokernelSnapshot? last = null;
        int withClients = 0;
        for (int look = 0; (look < 300 || withClients < 50) && !clients.Any(client => client.IsCompleted); look++)
        {
            // Beside the socket, where ten a second are told.
            ExokernelSnapshot seen = disk.Server.Observe();
            RegistrySnapshot registry = seen.Registry!;
            Assert.Equal((registry.InCore, registry.Dirty), (registry.Templates.Sum(use => use.InCore), registry.Templates.Sum(use => use.Dirty)));
            Assert.InRange(registry.OnTheWay, registry.Dirty, registry.InCore);
            Assert.InRange(registry.LogPosition, 0ul, registry.LogBlocks);
            Assert.True(registry.FreeBlocks + registry.WillFreeBlocks + (ulong)registry.InCore <= registry.BlockCount);
            Assert.Equal(seen.Frames!.FrameCount, seen.Frames.Held + seen.Frames.Free + seen.Frames.Draining);
            Assert.All(seen.Rings, ring => Assert.InRange(ring.Depth, 0, ring.Capacity));
            Assert.All(seen.Clients, client => Assert.True(client.Refused <= client.Requests && client.FramesHeld <= client.Frames && client.BlockFramesHeld <= client.BlockFrames, $"{client}"));
            if (last is not null)
            {
                Assert.True(seen.TakenAtMicroseconds >= last.TakenAtMicroseconds && registry.Counters.Transactions >= last.Registry!.Counters.Transactions);
            }

            last = seen;
            withClients += seen.Clients.Count;
        }

        over.Cancel();
        await Task.WhenAll(clients);
        Assert.True(withClients >= 50);
    }
}
