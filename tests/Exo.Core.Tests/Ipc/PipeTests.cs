// SPDX-License-Identifier: MIT
using CsCheck;
using Exo.Capabilities;
using Exo.Core.Environments;
using Exo.Core.Ipc;
using Exo.Core.Memory;
using Exo.Core.Predicates;
using Exo.Core.Scheduling;

namespace Exo.Core.Tests.Ipc;

/// <summary>Pipes as POSIX has them, over frames.</summary>
public sealed class PipeTests : IDisposable
{
    private readonly FramePool _pool = FramePool.Create(new FramePoolOptions { CapacityBytes = 4 << 20 });
    private readonly ExoEnvironment _root;
    private readonly ExoEnvironment _a;
    private readonly ExoEnvironment _b;

    public PipeTests()
    {
        _root = ExoEnvironment.CreateRoot(_pool.Authority);
        _a = _root.CreateChild([1]);
        _b = _root.CreateChild([2]);
    }

    public void Dispose()
    {
        _root.Dispose();
        _pool.Dispose();
    }

    private (PipeReadEnd Reader, PipeWriteEnd Writer) New(int capacityBytes = 8192) => Pipe.Create(_pool, _root, _a, _b, capacityBytes);

    [Fact]
    public void What_goes_in_comes_out_whatever_the_pieces()
    {
        Gen.Select(Gen.Bool, Gen.Int[0, 9000]).List[1, 200].Sample(steps =>
        {
            (PipeReadEnd reader, PipeWriteEnd writer) = New();
            Queue<byte> model = new();
            byte next = 0;
            foreach ((bool writes, int length) in steps)
            {
                if (writes)
                {
                    byte[] bytes = [.. Enumerable.Range(0, length).Select(i => (byte)(next + i))];
                    IpcStatus status = writer.TryWrite(bytes, out int count);
                    int room = 8192 - model.Count;
                    Assert.Equal(room < Math.Min(length, 4096) ? IpcStatus.WouldBlock : IpcStatus.Ok, status);
                    Assert.Equal(status == IpcStatus.Ok ? Math.Min(length, room) : 0, count);
                    bytes.Take(count).ToList().ForEach(model.Enqueue);
                    next += (byte)count;
                }
                else
                {
                    byte[] buffer = new byte[length];
                    Assert.Equal(model.Count > 0 || length == 0 ? IpcStatus.Ok : IpcStatus.WouldBlock, reader.TryRead(buffer, out int count));
                    Assert.Equal(Math.Min(length, model.Count), count);
                    for (int i = 0; i < count; i++)
                    {
                        Assert.Equal(model.Dequeue(), buffer[i]);
                    }
                }

                Assert.Equal(model.Count, reader.Available);
            }

            reader.Dispose();
            writer.Dispose();
        }, iter: 100);
        Assert.Equal(_pool.FrameCount, _pool.FreeCount);
    }

    [Fact]
    public void Ends_are_counted()
    {
        (PipeReadEnd reader, PipeWriteEnd writer) = New();
        PipeWriteEnd second = writer.Duplicate(_a);
        Assert.Equal(IpcStatus.Ok, writer.TryWrite("one"u8, out _));
        writer.Dispose();
        byte[] buffer = new byte[10];
        Assert.Equal(IpcStatus.Ok, reader.TryRead(buffer, out int count));
        Assert.Equal(3, count);
        Assert.Equal(IpcStatus.WouldBlock, reader.TryRead(buffer, out _));
        Assert.Equal(IpcStatus.Ok, second.TryWrite("two"u8, out _));
        second.Dispose();
        Assert.Equal(IpcStatus.Ok, reader.TryRead(buffer, out _));
        Assert.Equal(IpcStatus.Closed, reader.TryRead(buffer, out _));
        Assert.Throws<ObjectDisposedException>(() => writer.TryWrite("x"u8, out _));
        reader.Dispose();

        (reader, writer) = New();
        reader.Dispose();
        Assert.Equal(IpcStatus.Closed, writer.TryWrite("x"u8, out _));
        writer.Dispose();
        Assert.Equal(_pool.FrameCount, _pool.FreeCount);
    }

    [Fact]
    public void The_owners_end_is_the_pipes()
    {
        ExoEnvironment owner = _root.CreateChild([3]);
        (PipeReadEnd reader, PipeWriteEnd writer) = Pipe.Create(_pool, owner, _a, _b);
        ValueTask<int> read = reader.ReadAsync(new byte[1]);
        owner.Dispose();
        Assert.Equal(IpcStatus.Revoked, Assert.Throws<IpcException>(() => read.AsTask().GetAwaiter().GetResult()).Status);
        Assert.Equal(IpcStatus.Revoked, writer.TryWrite("x"u8, out _));
        Assert.Equal(_pool.FrameCount, _pool.FreeCount);
        reader.Dispose();
        writer.Dispose();
        Assert.Throws<InvalidOperationException>(() => Pipe.Create(_pool, _root, _a, _b, 1 << 30));
        using ExoEnvironment poor = _root.CreateChild([4], new EnvironmentQuotas { Frames = 3 });
        Assert.Throws<InvalidOperationException>(() => Pipe.Create(_pool, poor, _a, _b, 65_536));
        Assert.Equal(0, poor.Held(ResourceKind.Frames));
        Assert.Equal(_pool.FrameCount, _pool.FreeCount);
    }

    [Fact(Timeout = 60_000)]
    public async Task Environments_talk_through_pipes_and_sleep_in_between()
    {
        using Scheduler scheduler = new(new SchedulerOptions { Processors = 2 });
        (PipeReadEnd reader, PipeWriteEnd writer) = New(4096);
        const int Total = 3_000_000;
        Task<long> received = scheduler.Admit(_a).Start(async _ =>
        {
            using PipeReadEnd end = reader;
            byte[] buffer = new byte[1000];
            long at = 0;
            int count;
            while ((count = await end.ReadAsync(buffer)) > 0)
            {
                for (int i = 0; i < count; i++, at++)
                {
                    Assert.Equal((byte)(at % 251), buffer[i]);
                }
            }

            return at;
        });
        Task sent = scheduler.Admit(_b).Start(async self =>
        {
            using PipeWriteEnd end = writer;
            byte[] bytes = new byte[7777];
            for (long at = 0; at < Total;)
            {
                int length = (int)Math.Min(1 + (at % 7777), Total - at);
                for (int i = 0; i < length; i++)
                {
                    bytes[i] = (byte)((at + i) % 251);
                }

                await end.WriteAsync(bytes.AsMemory(0, length));
                at += length;
                await self.Checkpoint();
            }
        });
        await sent.WaitAsync(TestContext.Current.CancellationToken);
        Assert.Equal(Total, await received);
        Assert.Equal(_pool.FrameCount, _pool.FreeCount);
    }

    [Fact(Timeout = 60_000)]
    public async Task Writes_of_many_writers_are_in_one_piece()
    {
        using Scheduler scheduler = new(new SchedulerOptions { Processors = 2 });
        (PipeReadEnd reader, PipeWriteEnd writer) = New(4096);
        List<Task> writers = [];
        for (byte w = 10; w < 15; w++)
        {
            byte mark = w;
            ExoEnvironment each = _root.CreateChild([w]);
            PipeWriteEnd end = writer.Duplicate(each);
            writers.Add(scheduler.Admit(each).Start(async _ =>
            {
                using (end)
                {
                    byte[] bytes = new byte[1024];
                    bytes.AsSpan().Fill(mark);
                    for (int i = 0; i < 200; i++)
                    {
                        await end.WriteAsync(bytes);
                    }
                }
            }));
        }

        writer.Dispose();
        await scheduler.Admit(_a).Start(async _ =>
        {
            byte[] buffer = new byte[1024];
            int total = 0;
            while (true)
            {
                int have = 0;
                int count = 1;
                while (have < 1024 && count > 0)
                {
                    count = await reader.ReadAsync(buffer.AsMemory(have));
                    have += count;
                }

                if (have == 0)
                {
                    break;
                }

                Assert.Equal(1024, have);
                Assert.True(buffer.AsSpan().IndexOfAnyExcept(buffer[0]) < 0);
                total++;
            }

            Assert.Equal(5 * 200, total);
        });
        await Task.WhenAll(writers).WaitAsync(TestContext.Current.CancellationToken);
        reader.Dispose();
    }

    [Fact(Timeout = 60_000)]
    public async Task A_library_OS_waits_for_several_pipes_by_one_predicate()
    {
        (PipeReadEnd first, PipeWriteEnd toFirst) = New();
        (PipeReadEnd second, PipeWriteEnd toSecond) = New();
        using WakeupPredicate select = WakeupPredicate.Bind([first.ReadyWhen(1), first.ClosedWhen(2), second.ReadyWhen(3), second.ClosedWhen(4)]);
        CancellationToken stop = TestContext.Current.CancellationToken;
        Task<ulong> woken = _a.SleepUntil(select, stop).AsTask();
        toSecond.TryWrite("x"u8, out _);
        Assert.Equal(3UL, await woken);
        second.TryRead(new byte[1], out _);
        woken = _a.SleepUntil(select, stop).AsTask();
        toFirst.Dispose();
        Assert.Equal(2UL, await woken);
        first.Dispose();
        second.Dispose();
        toSecond.Dispose();
    }
}
