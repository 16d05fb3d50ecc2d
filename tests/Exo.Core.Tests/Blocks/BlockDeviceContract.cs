// SPDX-License-Identifier: MIT
using CsCheck;
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.Core.Tests.Blocks;

/// <summary>What every device promises, whatever it stands on.</summary>
public abstract class BlockDeviceContract(DiskKind kind) : IDisposable
{
    private const int BlockCount = 96;
    private const int QueueDepth = 8;

    private readonly FramePool _pool = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });
    private TestDisk? _disk;

    private BlockDevice Device => (_disk ??= new TestDisk(kind, _pool, BlockCount, QueueDepth)).Device;

    public void Dispose()
    {
        _disk?.Dispose();
        _pool.Dispose();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public void Random_operations_do_what_a_byte_array_does()
    {
        Gen<(BlockOperation, int, int, bool, bool, int)> operation = Gen.Select(
            Gen.Frequency(
                (4, Gen.Const(BlockOperation.Read)),
                (4, Gen.Const(BlockOperation.Write)),
                (1, Gen.Const(BlockOperation.Flush)),
                (1, Gen.Const(BlockOperation.Discard)),
                (1, Gen.Const(BlockOperation.WriteZeroes))),
            Gen.Int[0, BlockCount - 1],
            Gen.Int[1, 24],
            Gen.Bool,
            Gen.Bool,
            Gen.Int[0, 1000]);
        FrameNumber[] frames = Allocate(64);
        operation.Array[1, 25].Sample(
            operations =>
            {
                byte?[] model = new byte?[BlockCount];
                Fill(frames, 0xFF);
                Array.Fill(model, (byte)0);
                Device.Execute([BlockRequest.WriteZeroes(default, BlockCount)]);
                foreach ((BlockOperation what, int first, int wanted, bool force, bool isAsync, int seed) in operations)
                {
                    int count = Math.Min(wanted, BlockCount - first);
                    var random = new Random(seed);
                    FrameNumber[] chosen = [.. frames];
                    if (seed % 2 == 0)
                    {
                        random.Shuffle(chosen);
                    }

                    chosen = chosen[..count];
                    var at = new BlockNumber((ulong)first);
                    for (int i = 0; i < count; i++)
                    {
                        _pool.Bytes(chosen[i]).Fill((byte)(seed + i + 1));
                    }

                    BlockRequest request = what switch
                    {
                        BlockOperation.Read => BlockRequest.Read(at, chosen),
                        BlockOperation.Write => BlockRequest.Write(at, chosen, force),
                        BlockOperation.Flush => BlockRequest.Flush(),
                        BlockOperation.Discard => BlockRequest.Discard(at, count),
                        _ => BlockRequest.WriteZeroes(at, count, force),
                    };
                    BlockRequest[] batch = [request];
                    if (isAsync)
                    {
                        Device.ExecuteAsync(batch).AsTask().GetAwaiter().GetResult();
                    }
                    else
                    {
                        Device.Execute(batch);
                    }

                    Assert.Equal(0, batch[0].Error);
                    for (int i = 0; i < count; i++)
                    {
                        ref byte? block = ref model[first + i];
                        switch (what)
                        {
                            case BlockOperation.Read:
                                AssertFilled(block, chosen[i]);
                                break;
                            case BlockOperation.Write:
                                block = (byte)(seed + i + 1);
                                break;
                            case BlockOperation.Discard:
                                block = null;
                                break;
                            case BlockOperation.WriteZeroes:
                                block = 0;
                                break;
                        }
                    }
                }

                for (int i = 0; i < BlockCount; i++)
                {
                    Device.Execute([BlockRequest.Read(new BlockNumber((ulong)i), frames.AsMemory(0, 1))]);
                    AssertFilled(model[i], frames[0]);
                }
            },
            iter: 25,
            threads: 1);
    }

    [Fact]
    public void Scattered_frames_receive_their_own_blocks()
    {
        FrameNumber[] frames = Allocate(BlockCount);
        WriteNumbers(frames);
        Fill(frames, 0xAA);
        FrameNumber[] shuffled = [.. frames];
        new Random(7).Shuffle(shuffled);
        Device.Execute([BlockRequest.Read(default, shuffled)]);
        AssertNumbers(shuffled);
    }

    [Fact]
    public void More_scattered_frames_than_one_transfer_takes()
    {
        const int count = 700;
        using var disk = new TestDisk(kind, _pool, count, QueueDepth);
        FrameNumber[] frames = Allocate(count);
        for (int i = 0; i < count; i++)
        {
            BitConverter.TryWriteBytes(_pool.Bytes(frames[i]), i);
        }

        Array.Reverse(frames);
        disk.Device.Execute([BlockRequest.Write(default, frames)]);
        Fill(frames, 0xAA);
        Array.Reverse(frames);
        disk.Device.Execute([BlockRequest.Read(default, frames)]);
        for (int i = 0; i < count; i++)
        {
            Assert.Equal(count - 1 - i, BitConverter.ToInt32(_pool.Bytes(frames[i])));
        }
    }

    [Fact]
    public void A_run_longer_than_one_transfer()
    {
        const int count = 4096 + 300;
        using FramePool pool = FramePool.Create(new FramePoolOptions { CapacityBytes = count * FramePool.FrameBytes });
        using var disk = new TestDisk(kind, pool, count, QueueDepth);
        Assert.True(pool.TryAllocateRun(pool.RootCredential, count, out FrameNumber first));
        FrameNumber[] frames = [.. Enumerable.Range(0, count).Select(i => new FrameNumber(first.Value + (uint)i))];
        for (int i = 0; i < count; i++)
        {
            BitConverter.TryWriteBytes(pool.Bytes(frames[i])[100..], i);
        }

        disk.Device.Execute([BlockRequest.Write(default, frames)]);
        pool.Bytes(first, count).Clear();
        disk.Device.Execute([BlockRequest.Read(default, frames)]);
        for (int i = 0; i < count; i++)
        {
            Assert.Equal(i, BitConverter.ToInt32(pool.Bytes(frames[i])[100..]));
        }
    }

    [Fact]
    public void A_batch_longer_than_the_queue_is_fed_through_it()
    {
        FrameNumber[] frames = Allocate(BlockCount);
        WriteNumbers(frames);
        Fill(frames, 0xAA);
        BlockRequest[] batch = [.. Enumerable.Range(0, BlockCount).Select(i => BlockRequest.Read(new BlockNumber((ulong)i), frames.AsMemory(i, 1)))];
        Device.Execute(batch);
        AssertNumbers(frames);
        Assert.All(batch, request => Assert.Equal(0, request.Error));
    }

    [Fact]
    public async Task An_asynchronous_batch_longer_than_the_queue_is_fed_through_it()
    {
        FrameNumber[] frames = Allocate(BlockCount);
        WriteNumbers(frames);
        Fill(frames, 0xAA);
        BlockRequest[] batch = [.. Enumerable.Range(0, BlockCount).Select(i => BlockRequest.Read(new BlockNumber((ulong)i), frames.AsMemory(i, 1)))];
        await Device.ExecuteAsync(batch);
        AssertNumbers(frames);
    }

    [Fact]
    public void Threads_with_batches_of_their_own_do_not_disturb_one_another()
    {
        const int threads = 4, own = BlockCount / threads;
        BlockDevice device = Device;
        Parallel.For(0, threads, new ParallelOptions { MaxDegreeOfParallelism = threads }, thread =>
        {
            FrameNumber[] frames = Allocate(own);
            var first = new BlockNumber((ulong)(thread * own));
            for (int round = 0; round < 30; round++)
            {
                foreach (FrameNumber frame in frames)
                {
                    _pool.Bytes(frame).Fill((byte)(thread * 50 + round));
                }

                device.Execute([BlockRequest.Write(first, frames)]);
                Fill(frames, 0xFF);
                BlockRequest[] batch = [.. Enumerable.Range(0, own).Select(i => BlockRequest.Read(first + (ulong)i, frames.AsMemory(i, 1)))];
                device.Execute(batch);
                Assert.All(frames, frame => AssertFilled((byte)(thread * 50 + round), frame));
            }
        });
    }

    [Fact]
    public async Task Both_doors_may_be_used_at_the_same_time()
    {
        BlockDevice device = Device;
        FrameNumber[] frames = Allocate(BlockCount);
        var tasks = new List<Task>();
        for (int i = 0; i < BlockCount; i++)
        {
            _pool.Bytes(frames[i]).Fill((byte)(i + 1));
            BlockRequest[] batch = [BlockRequest.Write(new BlockNumber((ulong)i), frames.AsMemory(i, 1))];
            if (i % 3 == 0)
            {
                device.Execute(batch);
            }
            else
            {
                tasks.Add(device.ExecuteAsync(batch).AsTask());
            }
        }

        await Task.WhenAll(tasks);
        await device.FlushAsync();
        Fill(frames, 0);
        device.Execute([BlockRequest.Read(default, frames)]);
        for (int i = 0; i < BlockCount; i++)
        {
            AssertFilled((byte)(i + 1), frames[i]);
        }
    }

    [Fact]
    public async Task What_leaves_the_device_is_refused_and_nothing_is_done()
    {
        FrameNumber[] frames = Allocate(2);
        _pool.Bytes(frames[0]).Fill(9);
        BlockRequest good = BlockRequest.Write(default, frames.AsMemory(0, 1));
        foreach (BlockRequest bad in new[]
        {
            BlockRequest.Read(new BlockNumber(BlockCount), frames.AsMemory(0, 1)),
            BlockRequest.Read(new BlockNumber(BlockCount - 1), frames),
            BlockRequest.Write(new BlockNumber(ulong.MaxValue), frames),
            BlockRequest.Discard(new BlockNumber(1), int.MaxValue),
        })
        {
            Assert.Throws<ArgumentOutOfRangeException>(() => Device.Execute([good, bad]));
            await Assert.ThrowsAsync<ArgumentOutOfRangeException>(() => Device.ExecuteAsync(new[] { good, bad }).AsTask());
        }

        Device.Execute([BlockRequest.Read(default, frames.AsMemory(1, 1))]);
        AssertFilled(0, frames[1]);
        Assert.All(frames, frame => Assert.Equal(1, _pool.ReferenceCount(frame)));
    }

    [Fact]
    public void Requests_that_make_no_sense_are_refused()
    {
        FrameNumber[] frames = Allocate(2);
        Assert.True(_pool.TryAllocate(_pool.RootCredential, out FrameNumber freed));
        _pool.Release(freed);
        foreach (BlockRequest bad in new[]
        {
            BlockRequest.Read(default, default),
            new BlockRequest { Operation = BlockOperation.Read, BlockCount = 1, Frames = frames },
            new BlockRequest { Operation = BlockOperation.WriteZeroes, BlockCount = -1 },
            new BlockRequest { Operation = (BlockOperation)77, BlockCount = 1 },
            BlockRequest.Read(default, new[] { freed }),
            BlockRequest.Read(default, new[] { new FrameNumber(uint.MaxValue) }),
        })
        {
            Assert.Throws<ArgumentException>(() => Device.Execute([bad]));
        }
    }

    [Fact]
    public async Task An_empty_batch_is_done_at_once()
    {
        Device.Execute([]);
        await Device.ExecuteAsync(Array.Empty<BlockRequest>());
        Assert.Equal(0, Device.Counters.Reads);
    }

    [Fact]
    public async Task Counters_count_and_flushes_complete()
    {
        FrameNumber[] frames = Allocate(4);
        Fill(frames, 1);
        Device.Execute([BlockRequest.Write(default, frames, forceUnitAccess: true), BlockRequest.WriteZeroes(new BlockNumber(10), 2, forceUnitAccess: true)]);
        Device.Flush();
        await Device.FlushAsync();
        await Device.ExecuteAsync(new[] { BlockRequest.Read(default, frames) });
        BlockDeviceCounters counters = Device.Counters;
        Assert.Equal((1, 2, 2, 4, 6, 0), (counters.Reads, counters.Writes, counters.Flushes, counters.BlocksRead, counters.BlocksWritten, counters.Failures));
        Assert.True(kind == DiskKind.Memory || counters.SystemCalls > 0);
    }

    [Fact]
    public void A_batch_is_one_call_where_there_are_rings()
    {
        FrameNumber[] frames = Allocate(QueueDepth);
        BlockRequest[] batch = [.. Enumerable.Range(0, QueueDepth).Select(i => BlockRequest.Read(new BlockNumber((ulong)i), frames.AsMemory(i, 1)))];
        Device.Execute(batch);
        bool hasRings = Device.Geometry.Driver == "io_uring";
        long before = Device.Counters.SystemCalls;
        for (int i = 0; i < 10; i++)
        {
            Device.Execute(batch);
        }

        // A wait that a signal ended, or a short transfer, is one more; the older asynchronous calls are two, plain ones one each.
        long calls = Device.Counters.SystemCalls - before;
        Assert.InRange(calls, 0, hasRings ? 15 : 10 * QueueDepth);
        Assert.True(!Device.Geometry.IsDirect || calls <= 30, $"{calls} calls for 10 batches");
    }

    [Fact]
    public async Task Dispose_waits_for_what_is_in_flight()
    {
        BlockDevice device = Device;
        FrameNumber[] frames = Allocate(BlockCount);
        Task[] tasks = [.. Enumerable.Range(0, BlockCount).Select(
            i => device.ExecuteAsync(new[] { BlockRequest.Write(new BlockNumber((ulong)i), frames.AsMemory(i, 1)) }).AsTask())];
        if (Random.Shared.Next(2) == 0)
        {
            device.Dispose();
        }
        else
        {
            await device.DisposeAsync();
        }

        Assert.All(frames, frame => Assert.Equal(1, _pool.ReferenceCount(frame)));
        await Task.WhenAll(tasks);
        Assert.Throws<ObjectDisposedException>(() => device.Execute([BlockRequest.Flush()]));
        await Assert.ThrowsAsync<ObjectDisposedException>(() => device.FlushAsync().AsTask());
        device.Dispose();
    }

    [Fact]
    public async Task Cancellation_gives_up_waiting_and_leaves_the_frames_to_the_device()
    {
        BlockDevice device = Device;
        FrameNumber[] frames = Allocate(BlockCount);
        WriteNumbers(frames);
        for (int round = 0; round < 50; round++)
        {
            using var cancel = new CancellationTokenSource();
            Task[] tasks = [.. Enumerable.Range(0, 12).Select(
                i => device.ExecuteAsync(new[] { BlockRequest.Read(new BlockNumber((ulong)i * 8), frames.AsMemory(i * 8, 8)) }, cancel.Token).AsTask())];
            await cancel.CancelAsync();
            foreach (Task task in tasks)
            {
                try
                {
                    await task;
                }
                catch (OperationCanceledException e)
                {
                    Assert.Equal(cancel.Token, e.CancellationToken);
                }
            }
        }

        using var cancelled = new CancellationTokenSource();
        await cancelled.CancelAsync();
        await Assert.ThrowsAsync<TaskCanceledException>(async () => await device.FlushAsync(cancelled.Token));
        await device.DisposeAsync();
        Assert.All(frames, frame => Assert.Equal(1, _pool.ReferenceCount(frame)));
        AssertNumbers(frames);
    }

    private FrameNumber[] Allocate(int count)
    {
        var frames = new FrameNumber[count];
        for (int i = 0; i < count; i++)
        {
            Assert.True(_pool.TryAllocate(_pool.RootCredential, out frames[i]));
        }

        return frames;
    }

    private void WriteNumbers(FrameNumber[] frames)
    {
        for (int i = 0; i < frames.Length; i++)
        {
            _pool.Bytes(frames[i]).Fill((byte)(i + 1));
        }

        Device.Execute([BlockRequest.Write(default, frames)]);
    }

    private void AssertNumbers(FrameNumber[] frames)
    {
        for (int i = 0; i < frames.Length; i++)
        {
            AssertFilled((byte)(i + 1), frames[i]);
        }
    }

    private void Fill(FrameNumber[] frames, byte value)
    {
        foreach (FrameNumber frame in frames)
        {
            _pool.Bytes(frame).Fill(value);
        }
    }

    private void AssertFilled(byte? value, FrameNumber frame)
    {
        if (value is byte expected)
        {
            int different = _pool.Bytes(frame).IndexOfAnyExcept(expected);
            Assert.True(different < 0, $"{frame}: byte {different} is not {expected}");
        }
    }
}

public sealed class MemoryDiskTests() : BlockDeviceContract(DiskKind.Memory);

public sealed class PortableDiskTests() : BlockDeviceContract(DiskKind.Portable);

public sealed class PortableDirectDiskTests() : BlockDeviceContract(DiskKind.PortableDirect);

public sealed class UringDiskTests() : BlockDeviceContract(DiskKind.Uring);

public sealed class UringDirectDiskTests() : BlockDeviceContract(DiskKind.UringDirect);

public sealed class UringRegisteredDiskTests() : BlockDeviceContract(DiskKind.UringRegistered);

public sealed class LoopPortableDiskTests() : BlockDeviceContract(DiskKind.LoopPortable);

public sealed class LoopUringDiskTests() : BlockDeviceContract(DiskKind.LoopUring);
