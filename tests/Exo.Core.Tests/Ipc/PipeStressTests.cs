// SPDX-License-Identifier: MIT
using System.Buffers;
using Exo.Core.Environments;
using Exo.Core.Ipc;
using Exo.Core.Memory;
using Exo.Core.Scheduling;

namespace Exo.Core.Tests.Ipc;

/// <summary>Sleeps at pipes that several threads end at once. A lost wakeup is a test that does not end: each has its time limit.</summary>
public sealed class PipeStressTests : IDisposable
{
    private readonly FramePool _pool = FramePool.Create(new FramePoolOptions { CapacityBytes = 4 << 20 });
    private readonly ExoEnvironment _root;

    public PipeStressTests() => _root = ExoEnvironment.CreateRoot(_pool.Authority);

    public void Dispose()
    {
        _root.Dispose();
        _pool.Dispose();
    }

    /// <summary>What comes at the same time as a byte.</summary>
    public enum Rival
    {
        ReadEndCloses,
        WriteEndCloses,
        ReaderEnds,
        OwnerEnds,
        SecondByte,
        Cancellation,
    }

    [Theory(Timeout = 120_000)]
    [InlineData(true, Rival.ReadEndCloses)]
    [InlineData(true, Rival.WriteEndCloses)]
    [InlineData(true, Rival.ReaderEnds)]
    [InlineData(true, Rival.OwnerEnds)]
    [InlineData(true, Rival.SecondByte)]
    [InlineData(true, Rival.Cancellation)]
    [InlineData(false, Rival.ReadEndCloses)]
    [InlineData(false, Rival.ReaderEnds)]
    [InlineData(false, Rival.OwnerEnds)]
    [InlineData(false, Rival.Cancellation)]
    public async Task A_wait_ends_once_whatever_ends_it(bool isScheduled, Rival rival)
    {
        const int Rounds = 400;
        using Scheduler scheduler = new(new SchedulerOptions { Processors = 2 });
        CancellationToken stop = TestContext.Current.CancellationToken;
        using ExoEnvironment writing = _root.CreateChild([255]);
        for (int round = 0; round < Rounds; round++)
        {
            using CancellationTokenSource cancel = new();
            ExoEnvironment owner = _root.CreateChild([1, (byte)(round >> 8), (byte)round]);
            ExoEnvironment reading = _root.CreateChild([2, (byte)(round >> 8), (byte)round]);
            (PipeReadEnd reader, PipeWriteEnd writer) = Pipe.Create(_pool, owner, reading, writing, 4096);
            byte[] buffer = new byte[8];
            CancellationToken token = rival == Rival.Cancellation ? cancel.Token : default;
            Task<int> read = isScheduled
                ? scheduler.Admit(reading).Start(async _ => await reader.ReadAsync(buffer, token))
                : Task.Run(async () => await reader.ReadAsync(buffer, token), stop);

            // From before the sleep to long after its beginning.
            Thread.SpinWait(round * 7 % 300);
            using Barrier both = new(2);
            Task<IpcStatus> byWriter = Task.Run(
                () =>
                {
                    both.SignalAndWait();
                    return writer.TryWrite([7], out _);
                },
                stop);
            await Task.Run(
                () =>
                {
                    both.SignalAndWait();
                    switch (rival)
                    {
                        case Rival.ReadEndCloses:
                            reader.Dispose();
                            break;
                        case Rival.WriteEndCloses:
                            writer.Duplicate(writing).Dispose();
                            break;
                        case Rival.ReaderEnds:
                            reading.Dispose();
                            break;
                        case Rival.OwnerEnds:
                            owner.Dispose();
                            break;
                        case Rival.SecondByte:
                            writer.TryWrite([7], out _);
                            break;
                        default:
                            cancel.Cancel();
                            break;
                    }
                },
                stop);
            IpcStatus written = await byWriter;
            try
            {
                int count = await read.WaitAsync(stop);
                Assert.InRange(count, 1, rival == Rival.SecondByte ? 2 : 1);
                Assert.All(buffer[..count], value => Assert.Equal(7, value));
                Assert.Equal(IpcStatus.Ok, written);
            }
            catch (ObjectDisposedException)
            {
                Assert.True(rival is Rival.ReadEndCloses or Rival.ReaderEnds);
            }
            catch (OperationCanceledException)
            {
                Assert.Equal(Rival.Cancellation, rival);
            }
            catch (IpcException failure)
            {
                Assert.Equal((Rival.OwnerEnds, IpcStatus.Revoked), (rival, failure.Status));
            }

            reader.Dispose();
            writer.Dispose();
            reading.Dispose();
            owner.Dispose();
        }

        Assert.Equal(_pool.FrameCount, _pool.FreeCount);
    }

    [Fact(Timeout = 120_000)]
    public async Task Every_byte_comes_to_one_reader_whatever_memory_it_reads_into()
    {
        const int Readers = 4, Writers = 2, Bytes = 20_000;
        using Scheduler scheduler = new(new SchedulerOptions { Processors = 2 });
        ExoEnvironment first = _root.CreateChild([1]);
        (PipeReadEnd reader, PipeWriteEnd writer) = Pipe.Create(_pool, _root, first, first, 4096);
        long[] seen = new long[256];
        List<Task> all = [];
        for (byte r = 0; r < Readers; r++)
        {
            ExoEnvironment own = _root.CreateChild([2, r]);
            PipeReadEnd end = reader.Duplicate(own);
            using OwnMemory foreign = new(r + 1);
            Memory<byte> memory = r % 2 == 0 ? new byte[r + 1] : foreign.Memory;
            Func<ValueTask> code = async () =>
            {
                using (end)
                {
                    for (int count; (count = await end.ReadAsync(memory)) > 0;)
                    {
                        for (int i = 0; i < count; i++)
                        {
                            Interlocked.Increment(ref seen[memory.Span[i]]);
                        }
                    }
                }
            };
            all.Add(r < 3 ? scheduler.Admit(own).Start(_ => code()) : Task.Run(async () => await code()));
        }

        for (byte w = 0; w < Writers; w++)
        {
            byte mark = w;
            ExoEnvironment own = _root.CreateChild([3, w]);
            PipeWriteEnd end = writer.Duplicate(own);
            all.Add(scheduler.Admit(own).Start(async self =>
            {
                using (end)
                {
                    for (int i = 0; i < Bytes; i++)
                    {
                        await end.WriteAsync(new[] { (byte)(mark + (i % 2 * 2)) });
                        if (i % 64 == 0)
                        {
                            await self.Yield();
                        }
                    }
                }
            }));
        }

        reader.Dispose();
        writer.Dispose();
        await Task.WhenAll(all).WaitAsync(TestContext.Current.CancellationToken);
        Assert.Equal([Bytes / 2, Bytes / 2, Bytes / 2, Bytes / 2], seen[..4]);
        Assert.Equal(_pool.FrameCount, _pool.FreeCount);
    }

    [Fact(Timeout = 60_000)]
    public async Task A_writer_that_waits_for_room_goes_on_when_a_sleeping_reader_is_given_what_another_writes()
    {
        using Scheduler scheduler = new(new SchedulerOptions { Processors = 2 });
        ExoEnvironment reads = _root.CreateChild([1]);
        ExoEnvironment writes = _root.CreateChild([2]);
        (PipeReadEnd reader, PipeWriteEnd writer) = Pipe.Create(_pool, _root, reads, writes, 4096);
        Task<int> read = scheduler.Admit(reads).Start(async _ =>
        {
            byte[] buffer = new byte[4096];
            int total = 0;
            for (int count; (count = await reader.ReadAsync(buffer)) > 0;)
            {
                total += count;
            }

            return total;
        });
        ScheduledEnvironment sender = scheduler.Admit(writes);
        await Task.WhenAll(Enumerable.Range(0, 4).Select(_ =>
        {
            PipeWriteEnd end = writer.Duplicate(writes);
            return sender.Start(async self =>
            {
                using (end)
                {
                    for (int i = 0; i < 500; i++)
                    {
                        await end.WriteAsync(new byte[3000]);
                    }
                }
            });
        })).WaitAsync(TestContext.Current.CancellationToken);
        writer.Dispose();
        Assert.Equal(4 * 500 * 3000, await read.WaitAsync(TestContext.Current.CancellationToken));
        reader.Dispose();
    }

    private sealed class OwnMemory(int length) : MemoryManager<byte>
    {
        private readonly byte[] _bytes = new byte[length];

        public override Span<byte> GetSpan() => _bytes;

        public override MemoryHandle Pin(int elementIndex = 0) => throw new NotSupportedException();

        public override void Unpin()
        {
        }

        protected override void Dispose(bool disposing)
        {
        }
    }
}
