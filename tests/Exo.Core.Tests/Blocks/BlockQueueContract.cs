// SPDX-License-Identifier: MIT
using CsCheck;
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.Core.Tests.Blocks;

/// <summary>What a queue promises, whatever its device stands on.</summary>
public sealed class BlockQueueContract : IDisposable
{
    private const int BlockCount = 96;

    private readonly FramePool _pool = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });

    public static TheoryData<DiskKind> Kinds => [.. Enum.GetValues<DiskKind>()];

    public void Dispose() => _pool.Dispose();

    [Theory]
    [MemberData(nameof(Kinds))]
    public void Random_operations_under_way_together_do_what_a_byte_array_does(DiskKind kind)
    {
        using var disk = new TestDisk(kind, _pool, BlockCount);
        const int depth = 7, largest = 5;
        FrameNumber[] frames = Allocate(depth * largest);
        using BlockQueue queue = disk.Device.OpenQueue(depth);
        Gen.Select(Gen.Enum<BlockOperation>(), Gen.Int[0, BlockCount - largest], Gen.Int[1, largest], Gen.Byte[1, 255], Gen.Int[0, depth]).Array[1, 60].Sample(
            operations =>
            {
                // Null: undefined since a discard. A block takes part in one request at a time, as the order of two is nobody's promise.
                byte?[] model = new byte?[BlockCount];
                bool[] isBusy = new bool[BlockCount];
                (BlockOperation What, int First, int Count)[] slots = new (BlockOperation, int, int)[depth];
                Stack<int> free = new(Enumerable.Range(0, depth));
                BlockCompletion[] done = new BlockCompletion[depth];
                void Reap(int minCount)
                {
                    int count = queue.Reap(done, minCount);
                    Assert.True(count >= Math.Min(minCount, depth - free.Count));
                    foreach (BlockCompletion completion in done.AsSpan(0, count))
                    {
                        Assert.Equal(0, completion.Error);
                        int slot = (int)completion.Cookie;
                        (BlockOperation what, int first, int length) = slots[slot];
                        isBusy.AsSpan(first, length).Clear();
                        for (int i = 0; what == BlockOperation.Read && i < length; i++)
                        {
                            AssertFilled(model[first + i], frames[(slot * largest) + i]);
                        }

                        Assert.DoesNotContain(slot, free);
                        free.Push(slot);
                    }

                    Assert.Equal(depth - free.Count, queue.InFlight);
                }

                disk.Device.Execute([BlockRequest.WriteZeroes(default, BlockCount)]);
                Array.Fill(model, (byte)0);
                foreach ((BlockOperation what, int first, int count, byte value, int minCount) in operations)
                {
                    while (free.Count == 0 || isBusy.AsSpan(first, count).Contains(true))
                    {
                        Reap(1);
                    }

                    int slot = free.Pop();
                    slots[slot] = (what, first, what == BlockOperation.Flush ? 0 : count);
                    isBusy.AsSpan(first, slots[slot].Count).Fill(true);
                    Memory<FrameNumber> own = frames.AsMemory(slot * largest, count);
                    foreach (FrameNumber frame in own.Span)
                    {
                        _pool.Bytes(frame).Fill(value);
                    }

                    for (int i = 0; i < slots[slot].Count && what != BlockOperation.Read; i++)
                    {
                        model[first + i] = what switch { BlockOperation.Write => value, BlockOperation.WriteZeroes => 0, _ => null };
                    }

                    var at = new BlockNumber((ulong)first);
                    Assert.True(queue.TrySubmit(
                        what switch
                        {
                            BlockOperation.Read => BlockRequest.Read(at, own),
                            BlockOperation.Write => BlockRequest.Write(at, own, value % 2 == 0),
                            BlockOperation.Flush => BlockRequest.Flush(),
                            BlockOperation.Discard => BlockRequest.Discard(at, count),
                            _ => BlockRequest.WriteZeroes(at, count, value % 2 == 0),
                        },
                        (ulong)slot));
                    if (value % 3 == 0)
                    {
                        queue.Kick();
                    }
                    else if (minCount < depth / 2)
                    {
                        Reap(minCount);
                    }
                }

                while (queue.InFlight > 0)
                {
                    Reap(queue.InFlight);
                }

                Assert.All(frames, frame => Assert.Equal(1, _pool.ReferenceCount(frame)));
            },
            iter: 20,
            threads: 1);
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void A_request_of_many_transfers_goes_through_a_queue_of_one(DiskKind kind)
    {
        const int count = 700;
        using var disk = new TestDisk(kind, _pool, count);
        FrameNumber[] frames = Allocate(count);
        for (int i = 0; i < count; i++)
        {
            BitConverter.TryWriteBytes(_pool.Bytes(frames[i]), i);
        }

        Array.Reverse(frames);
        using BlockQueue queue = disk.Device.OpenQueue(1);
        BlockCompletion[] done = new BlockCompletion[3];
        Assert.True(queue.TrySubmit(BlockRequest.Write(default, frames), 17));
        Assert.False(queue.TrySubmit(BlockRequest.Flush(), 18));

        // The vector of frames was copied: the caller may reuse it at once.
        Array.Reverse(frames);
        Assert.Equal((1, new BlockCompletion(17, 0)), (queue.Reap(done, 3), done[0]));
        foreach (FrameNumber frame in frames)
        {
            _pool.Bytes(frame).Clear();
        }

        Assert.True(queue.TrySubmit(BlockRequest.Read(default, frames), 19));
        Assert.Equal((1, new BlockCompletion(19, 0)), (queue.Reap(done), done[0]));
        for (int i = 0; i < count; i++)
        {
            Assert.Equal(count - 1 - i, BitConverter.ToInt32(_pool.Bytes(frames[i])));
        }
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void Threads_with_queues_of_their_own_do_not_disturb_one_another(DiskKind kind)
    {
        using var disk = new TestDisk(kind, _pool, BlockCount);
        const int threads = 4, own = BlockCount / threads;
        Thread[] all = new Thread[threads];
        Exception?[] failures = new Exception?[threads];
        for (int t = 0; t < threads; t++)
        {
            int thread = t;
            all[t] = new Thread(() => failures[thread] = Record.Exception(() =>
            {
                FrameNumber[] frames = Allocate(own);
                BlockCompletion[] done = new BlockCompletion[own];
                using BlockQueue queue = disk.Device.OpenQueue(own);
                for (int round = 0; round < 30; round++)
                {
                    for (int pass = 0; pass < 2; pass++)
                    {
                        for (int i = 0; i < own; i++)
                        {
                            _pool.Bytes(frames[i]).Fill((byte)(pass == 0 ? thread + round + i : 255));
                            var at = new BlockNumber((ulong)((thread * own) + i));
                            Assert.True(queue.TrySubmit(pass == 0 ? BlockRequest.Write(at, frames.AsMemory(i, 1)) : BlockRequest.Read(at, frames.AsMemory(i, 1)), (ulong)i));
                        }

                        Assert.Equal(own, queue.Reap(done, own));
                        Assert.Equal(own, done.Select(one => one.Cookie).Distinct().Count());
                    }

                    for (int i = 0; i < own; i++)
                    {
                        AssertFilled((byte)(thread + round + i), frames[i]);
                    }
                }
            }));
            all[t].Start();
        }

        Assert.All(all, thread => thread.Join());
        Assert.All(failures, Assert.Null);
        Assert.Equal((30 * BlockCount, 30 * BlockCount), (disk.Device.Counters.Reads, disk.Device.Counters.Writes));
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void What_makes_no_sense_is_refused_and_leaves_the_queue_as_it_is(DiskKind kind)
    {
        using var disk = new TestDisk(kind, _pool, BlockCount);
        FrameNumber[] frames = Allocate(2);
        using BlockQueue queue = disk.Device.OpenQueue(2);
        Assert.Throws<ArgumentOutOfRangeException>(() => queue.TrySubmit(BlockRequest.Read(new BlockNumber(BlockCount - 1), frames), 0));
        Assert.Throws<ArgumentException>(() => queue.TrySubmit(new BlockRequest { Operation = (BlockOperation)9, BlockCount = 1 }, 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => disk.Device.OpenQueue(0));
        Assert.Throws<ArgumentOutOfRangeException>(() => disk.Device.OpenQueue(5000));
        Assert.Equal((0, 0), (queue.InFlight, queue.Reap(new BlockCompletion[1])));
        Exception? elsewhere = null;
        var thread = new Thread(() => elsewhere = Record.Exception(() => queue.Reap([])));
        thread.Start();
        thread.Join();
        Assert.IsType<InvalidOperationException>(elsewhere);
        Assert.All(frames, frame => Assert.Equal(1, _pool.ReferenceCount(frame)));
    }

    [Theory]
    [InlineData(BlockDriver.IoUring)]
    [InlineData(BlockDriver.Portable)]
    public void A_queue_of_a_device_for_reading_refuses_every_change(BlockDriver driver)
    {
        string path = TestDisk.NewPath();
        try
        {
            File.WriteAllBytes(path, new byte[4 * 4096]);
            using BlockDevice device = BlockDevice.Open(path, _pool, new BlockDeviceOptions { ReadOnly = true, Driver = driver });
            using BlockQueue queue = device.OpenQueue(4);
            FrameNumber[] frames = Allocate(1);
            foreach (BlockRequest change in new[]
            {
                BlockRequest.Write(default, frames), BlockRequest.Discard(default, 1), BlockRequest.WriteZeroes(default, 1),
            })
            {
                Assert.Equal(30, Assert.Throws<BlockDeviceException>(() => queue.TrySubmit(in change, 0)).Errno);
            }

            Assert.True(queue.TrySubmit(BlockRequest.Read(default, frames), 4));
            BlockCompletion[] done = new BlockCompletion[4];
            Assert.Equal((1, new BlockCompletion(4, 0)), (queue.Reap(done), done[0]));
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void Whoever_goes_first_nothing_stays_with_the_kernel(DiskKind kind)
    {
        FrameNumber[] frames = Allocate(8);
        for (int round = 0; round < 2; round++)
        {
            var disk = new TestDisk(kind, _pool, BlockCount);
            BlockQueue queue = disk.Device.OpenQueue(8);
            for (int i = 0; i < 8; i++)
            {
                Assert.True(queue.TrySubmit(BlockRequest.Write(new BlockNumber((ulong)i), frames.AsMemory(i, 1)), 0));
            }

            IDisposable[] order = round == 0 ? [queue, disk] : [disk, queue];
            Assert.All(order, one => one.Dispose());
            Assert.All(frames, frame => Assert.Equal(1, _pool.ReferenceCount(frame)));
            Assert.Throws<ObjectDisposedException>(() => queue.TrySubmit(BlockRequest.Flush(), 0));
            Assert.Throws<ObjectDisposedException>(() => disk.Device.OpenQueue());
        }
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void A_device_waits_for_the_queue_of_another_thread(DiskKind kind)
    {
        using var disk = new TestDisk(kind, _pool, BlockCount);
        FrameNumber[] frames = Allocate(4);
        using BlockQueue queue = disk.Device.OpenQueue(4);
        for (int i = 0; i < 4; i++)
        {
            Assert.True(queue.TrySubmit(BlockRequest.Write(new BlockNumber((ulong)i), frames.AsMemory(i, 1)), (ulong)i));
        }

        var closing = new Thread(disk.Device.Dispose);
        closing.Start();
        SpinWait.SpinUntil(() => Record.Exception(disk.Device.Flush) is ObjectDisposedException);
        Assert.False(queue.TrySubmit(BlockRequest.Flush(), 9));
        BlockCompletion[] last = new BlockCompletion[1];
        Assert.Equal(1, queue.Reap(last));
        Assert.Throws<ObjectDisposedException>(() => queue.TrySubmit(BlockRequest.Flush(), 9));
        BlockCompletion[] done = new BlockCompletion[4];
        Assert.Equal(3, queue.Reap(done, 4));
        closing.Join();
        Assert.Throws<ObjectDisposedException>(() => queue.TrySubmit(BlockRequest.Flush(), 0));
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void A_device_does_not_wait_for_a_thread_that_has_ended(DiskKind kind)
    {
        var disk = new TestDisk(kind, _pool, BlockCount);
        FrameNumber[] frames = Allocate(8);
        bool isRing = disk.Device.Geometry.Driver == "io_uring";
        var careless = new Thread(() =>
        {
            BlockQueue queue = disk.Device.OpenQueue(8);
            for (int i = 0; i < 8; i++)
            {
                queue.TrySubmit(BlockRequest.Read(new BlockNumber((ulong)i), frames.AsMemory(i, 1)), 0);
            }
        });
        careless.Start();
        careless.Join();
        disk.Dispose();

        // Lost, and never given to somebody else, where the kernel may still be about to write into them.
        Assert.All(frames, frame => Assert.Equal(isRing ? 2 : 1, _pool.ReferenceCount(frame)));
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

    private void AssertFilled(byte? value, FrameNumber frame)
    {
        if (value is byte expected)
        {
            int different = _pool.Bytes(frame).IndexOfAnyExcept(expected);
            Assert.True(different < 0, $"{frame}: byte {different} is not {expected}");
        }
    }
}
