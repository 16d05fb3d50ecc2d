// SPDX-License-Identifier: MIT
using System.Numerics;
using CsCheck;
using Exo.Capabilities;
using Exo.Core.Memory;
using Exo.Tests;

namespace Exo.Core.Tests.Memory;

public sealed class FramePoolTests
{
    private enum Step
    {
        Any,
        Named,
        Run,
        Retain,
        Release,
    }

    [Fact]
    public void Frames_follow_a_model_of_reference_counts()
    {
        const int frames = 150;
        Gen<(Step, int, int)> step = Gen.Select(Gen.Enum<Step>(), Gen.Int[0, frames - 1], Gen.Int[1, 70]);
        step.Array[1, 200].Sample(
            steps =>
            {
                using FramePool pool = Pool(frames);
                Credential root = pool.RootCredential;
                int[] model = new int[frames];
                foreach ((Step what, int frame, int count) in steps)
                {
                    var number = new FrameNumber((uint)frame);
                    switch (what)
                    {
                        case Step.Any:
                            bool any = pool.TryAllocate(root, out FrameNumber got);
                            Assert.Equal(model.Contains(0), any);
                            if (any)
                            {
                                Assert.Equal(0, model[got.Value]);
                                model[got.Value] = 1;
                            }

                            break;
                        case Step.Named:
                            Assert.Equal(model[frame] == 0, pool.TryAllocate(root, number));
                            model[frame] = Math.Max(model[frame], 1);
                            break;
                        case Step.Run:
                            int expected = Enumerable.Range(0, frames - count + 1).FirstOrDefault(at => !model.AsSpan(at, count).ContainsAnyExcept(0), -1);
                            Assert.Equal(expected >= 0, pool.TryAllocateRun(root, count, out FrameNumber first));
                            if (expected >= 0)
                            {
                                Assert.Equal((uint)expected, first.Value);
                                model.AsSpan(expected, count).Fill(1);
                            }

                            break;
                        case Step.Retain when model[frame] > 0:
                            pool.Retain(number);
                            model[frame]++;
                            break;
                        case Step.Release when model[frame] > 0:
                            pool.Release(number);
                            model[frame]--;
                            break;
                    }
                }

                for (int i = 0; i < frames; i++)
                {
                    Assert.Equal(model[i], pool.ReferenceCount(new FrameNumber((uint)i)));
                }

                AssertMapEqualsCounts(pool);
            },
            iter: 100,
            threads: 1);
    }

    [Fact]
    public void Threads_never_get_the_same_frame_and_lose_none()
    {
        const int frames = 256;
        using FramePool pool = Pool(frames);
        int[] holders = new int[frames];
        Parallel.For(0, 6, new ParallelOptions { MaxDegreeOfParallelism = 6 }, thread =>
        {
            var random = new Random(thread);
            var held = new Stack<FrameNumber>();
            for (int i = 0; i < 20_000; i++)
            {
                int choice = random.Next(8);
                if (choice < 3 && pool.TryAllocate(pool.RootCredential, out FrameNumber any))
                {
                    Hold(any);
                }
                else if (choice == 3 && new FrameNumber((uint)random.Next(frames)) is var named && pool.TryAllocate(pool.RootCredential, named))
                {
                    Hold(named);
                }
                else if (choice == 4 && pool.TryAllocateRun(pool.RootCredential, 5, out FrameNumber first))
                {
                    for (uint n = 0; n < 5; n++)
                    {
                        Hold(new FrameNumber(first.Value + n));
                    }
                }
                else if (held.TryPop(out FrameNumber frame))
                {
                    pool.Retain(frame);
                    pool.Release(frame);
                    Assert.Equal(0, Interlocked.Decrement(ref holders[frame.Value]));
                    pool.Release(frame);
                }
            }

            while (held.TryPop(out FrameNumber frame))
            {
                Interlocked.Decrement(ref holders[frame.Value]);
                pool.Release(frame);
            }

            void Hold(FrameNumber frame)
            {
                Assert.Equal(1, Interlocked.Increment(ref holders[frame.Value]));
                held.Push(frame);
            }
        });
        Assert.Equal(frames, pool.FreeCount);
        AssertMapEqualsCounts(pool);
    }

    [Fact]
    public void Releasing_or_using_a_free_frame_is_a_broken_invariant()
    {
        using FramePool pool = Pool(4);
        Assert.True(pool.TryAllocate(pool.RootCredential, out FrameNumber frame));
        pool.Release(frame);
        Assert.Throws<InvariantException>(() => pool.Release(frame));
        Assert.Throws<InvariantException>(() => pool.Retain(frame));
        Assert.Throws<InvariantException>(() => pool.Bytes(frame).Length);
        Assert.Equal(4, pool.FreeCount);
        foreach (uint outside in new uint[] { 4, uint.MaxValue })
        {
            Assert.Throws<ArgumentOutOfRangeException>(() => pool.Release(new FrameNumber(outside)));
            Assert.Throws<ArgumentOutOfRangeException>(() => pool.Address(new FrameNumber(outside)));
            Assert.Throws<ArgumentOutOfRangeException>(() => pool.TryAllocate(pool.RootCredential, new FrameNumber(outside)));
        }

        Assert.Throws<ArgumentOutOfRangeException>(() => pool.Bytes(new FrameNumber(2), 3).Length);
    }

    [Fact]
    public void A_large_pool_is_made_without_touching_it_and_costs_little()
    {
        long before = GC.GetAllocatedBytesForCurrentThread();
        using FramePool pool = FramePool.Create(new FramePoolOptions { CapacityBytes = 1L << 30 });
        long managedBytes = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.Equal(1 << 18, pool.FrameCount);
        Assert.True(managedBytes < 13L * pool.FrameCount, $"{managedBytes} managed bytes");
        string shared = File.ReadLines("/proc/self/smaps").SkipWhile(line => !line.Contains("exo-frames", StringComparison.Ordinal) || !line.StartsWith(pool.BaseAddress.ToString("x"), StringComparison.Ordinal))
            .First(line => line.StartsWith("Rss:", StringComparison.Ordinal));
        Assert.Equal(0, int.Parse(shared.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1]));
    }

    [Fact]
    public void Memory_reaches_every_run_of_a_pool_larger_than_a_span()
    {
        using FramePool pool = FramePool.Create(new FramePoolOptions { CapacityBytes = 5L << 30 });
        uint perGib = (1u << 30) / FramePool.FrameBytes;
        foreach (uint first in new uint[] { 0, perGib - 1, perGib, 2 * perGib - 1, 3 * perGib + 5, 5 * perGib - 2 })
        {
            Assert.True(pool.TryAllocate(pool.RootCredential, new FrameNumber(first)));
            Assert.True(pool.TryAllocate(pool.RootCredential, new FrameNumber(first + 1)));
            Memory<byte> memory = pool.Memory(new FrameNumber(first), 2);
            memory.Span[FramePool.FrameBytes] = (byte)(first % 251);
            Assert.Equal((byte)(first % 251), pool.Bytes(new FrameNumber(first + 1))[0]);
            Assert.Equal(pool.Address(new FrameNumber(first)) + FramePool.FrameBytes, pool.Address(new FrameNumber(first + 1)));
            using System.Buffers.MemoryHandle pin = memory.Pin();
            pool.Release(new FrameNumber(first));
            pool.Release(new FrameNumber(first + 1));
        }

        Assert.Throws<ArgumentOutOfRangeException>(() => pool.Memory(default, (int)perGib + 1));
    }

    [Fact]
    public void Zeroes_are_given_when_asked_for()
    {
        using FramePool pool = Pool(3);
        Assert.True(pool.TryAllocateRun(pool.RootCredential, 3, out FrameNumber first));
        pool.Bytes(first, 3).Fill(0xEE);
        for (uint i = 0; i < 3; i++)
        {
            pool.Release(new FrameNumber(i));
        }

        Assert.True(pool.TryAllocate(pool.RootCredential, first, zero: true));
        Assert.Equal(-1, pool.Bytes(first).IndexOfAnyExcept((byte)0));
        pool.Release(first);
        Assert.True(pool.TryAllocateRun(pool.RootCredential, 3, out first, zero: true));
        Assert.Equal(-1, pool.Bytes(first, 3).IndexOfAnyExcept((byte)0));
    }

    [Fact]
    public void Allocating_retaining_and_checking_allocate_nothing()
    {
        using FramePool pool = Pool(64);
        Credential user = Forge(pool, "1.7", Rights.All);
        Assert.Equal(0, Allocations.Least(() =>
        {
            for (int i = 0; i < 1000; i++)
            {
                Cycle();
            }
        }));

        void Cycle()
        {
            bool done = pool.TryAllocate(user, out FrameNumber frame)
                && pool.TryAllocateRun(user, 3, out FrameNumber run)
                && pool.Check(user, frame, Rights.Write) == AccessRefusal.None;
            pool.Retain(frame);
            pool.Release(frame);
            pool.Memory(frame, 1).Span[0] = 1;
            for (uint i = 0; i < (uint)pool.FrameCount; i++)
            {
                if (pool.ReferenceCount(new FrameNumber(i)) > 0)
                {
                    pool.Release(new FrameNumber(i));
                }
            }

            Invariant.Check(done);
        }
    }

    [Fact]
    public void Impossible_sizes_are_refused()
    {
        foreach (long bytes in new[] { 0, 4095, -1, long.MaxValue })
        {
            Assert.Throws<ArgumentOutOfRangeException>(() => FramePool.Create(new FramePoolOptions { CapacityBytes = bytes }));
        }

        Assert.Throws<IOException>(() => FramePool.Create(new FramePoolOptions { Name = new string('x', 1000) }));
    }

    internal static FramePool Pool(int frames) => FramePool.Create(new FramePoolOptions { CapacityBytes = (long)frames * FramePool.FrameBytes });

    internal static Credential Forge(FramePool pool, string name, Rights rights) =>
        Credential.Of(pool.Authority.Root.Forge(CapabilityName.Parse(name), rights));

    private static void AssertMapEqualsCounts(FramePool pool)
    {
        int free = 0;
        for (int i = 0; i < pool.FrameCount; i++)
        {
            bool isFree = (pool.FreeMap[i / 64] >> (i % 64) & 1) != 0;
            Assert.Equal(pool.ReferenceCount(new FrameNumber((uint)i)) == 0, isFree);
            free += isFree ? 1 : 0;
        }

        Assert.Equal(free, pool.FreeCount);
        Assert.Equal(free, pool.FreeMap.ToArray().Sum(BitOperations.PopCount));
    }
}
