// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Exo.Capabilities;
using Exo.Core.Environments;
using Exo.Core.Memory;
using Exo.Core.Predicates;

namespace Exo.Core.Tests.Predicates;

/// <summary>Many sleepers, many writers. A lost wakeup is a test that does not end: each has its time limit.</summary>
public sealed class SleeperStressTests : IDisposable
{
    private const int WordsPerFrame = FramePool.FrameBytes / sizeof(ulong);
    private readonly FramePool _pool = FramePool.Create(new FramePoolOptions { CapacityBytes = 128 * FramePool.FrameBytes });
    private readonly ExoEnvironment _root;

    public SleeperStressTests() => _root = ExoEnvironment.CreateRoot(_pool.Authority);

    public void Dispose()
    {
        _root.Dispose();
        _pool.Dispose();
    }

    private SecureBinding<Frame>[] Frames(int count) =>
    [
        .. Enumerable.Range(0, count).Select(_ =>
        {
            Assert.True(_pool.TryAllocate(_pool.RootCredential, out FrameNumber frame, zero: true));
            return _pool.Bind(_pool.RootCredential, frame, Rights.Read | Rights.Write);
        }),
    ];

    private static void Add(SecureBinding<Frame> frame, int offset, ulong by)
    {
        using BindingUse<Frame> use = frame.Use(Rights.Write);
        Interlocked.Add(ref MemoryMarshal.Cast<byte, ulong>(use.WritableBytes())[offset / 8], by);
    }

    [Theory(Timeout = 120_000)]
    [InlineData(1)]
    [InlineData(4)]
    public async Task Ten_thousand_sleepers_on_as_many_words_wake_once_each_in_the_order_of_writing(int writers)
    {
        const int Sleepers = 10_000;
        CancellationToken stop = TestContext.Current.CancellationToken;
        SecureBinding<Frame>[] frames = Frames((Sleepers + WordsPerFrame - 1) / WordsPerFrame);
        ExoEnvironment[] environments = new ExoEnvironment[Sleepers];
        Task<ulong>[] sleeps = new Task<ulong>[Sleepers];
        WakeupPredicate[] predicates = new WakeupPredicate[Sleepers];
        for (int i = 0; i < Sleepers; i++)
        {
            environments[i] = _root.CreateChild([(byte)(i >> 8), (byte)i]);
            predicates[i] = WakeupPredicate.Bind(
                new PredicateProduct((ulong)i + 1, PredicateValue.Word(frames[i / WordsPerFrame], i % WordsPerFrame * 8).AtLeast(1)));
            sleeps[i] = environments[i].SleepUntil(predicates[i], stop).AsTask();
        }

        // Each writer has every writers-th word, in an order of its own.
        int[][] orders = [.. Enumerable.Range(0, writers).Select(w =>
        {
            int[] mine = [.. Enumerable.Range(0, Sleepers).Where(i => i % writers == w)];
            new Random(w).Shuffle(mine);
            return mine;
        })];
        await Task.WhenAll(orders.Select(order => Task.Run(() =>
        {
            foreach (int i in order)
            {
                Add(frames[i / WordsPerFrame], i % WordsPerFrame * 8, 1);
            }
        })));

        ulong[] tags = await Task.WhenAll(sleeps);
        Assert.Equal(Enumerable.Range(1, Sleepers).Select(i => (ulong)i), tags);
        long Place(int i) => environments[i].Counters[(int)EnvironmentCounter.LastWakeOrder];
        Assert.Equal(Enumerable.Range(1, Sleepers).Select(i => (long)i), Enumerable.Range(0, Sleepers).Select(Place).Order());
        if (writers == 1)
        {
            Assert.Equal(Enumerable.Range(1, Sleepers).Select(i => (long)i), orders[0].Select(Place));
        }

        Assert.All(environments, e => Assert.Equal((1, 1), (e.Counters[(int)EnvironmentCounter.Sleeps], e.Counters[(int)EnvironmentCounter.Wakes])));
        Array.ForEach(predicates, predicate => predicate.Dispose());
    }

    [Theory(Timeout = 120_000)]
    [InlineData(1, 20_000)]
    [InlineData(16, 3_000)]
    public async Task Pairs_hand_a_count_to_and_fro_and_lose_none(int pairs, int rounds)
    {
        // All on one frame: every write rings all of them.
        CancellationToken stop = TestContext.Current.CancellationToken;
        SecureBinding<Frame> frame = Frames(1)[0];
        async Task Side(int mine, int theirs)
        {
            PredicateValue word = PredicateValue.Word(frame, mine);
            using WakeupPredicate predicate = WakeupPredicate.Bind(new PredicateProduct(1, word.NotEqualTo(0)));
            for (int round = 0; round < rounds; round++)
            {
                Assert.Equal(1UL, await _root.SleepUntil(predicate, stop));
                Add(frame, mine, ulong.MaxValue);
                Add(frame, theirs, 1);
            }
        }

        List<Task> tasks = [];
        for (int pair = 0; pair < pairs; pair++)
        {
            int left = pair * 16, right = left + 8;
            tasks.Add(Task.Run(() => Side(left, right)));
            tasks.Add(Task.Run(() => Side(right, left)));
            Add(frame, left, 1);
        }

        await Task.WhenAll(tasks);
        using BindingUse<Frame> use = frame.Use();
        ReadOnlySpan<ulong> words = MemoryMarshal.Cast<byte, ulong>(use.Bytes());
        for (int pair = 0; pair < pairs; pair++)
        {
            Assert.Equal((1UL, 0UL), (words[pair * 2], words[(pair * 2) + 1]));
        }

        Assert.Equal(_root.Counters[(int)EnvironmentCounter.Sleeps], _root.Counters[(int)EnvironmentCounter.Wakes]);
    }

    [Fact(Timeout = 120_000)]
    public async Task A_frame_that_is_freed_under_a_predicate_never_shows_it_what_the_next_owner_writes()
    {
        const ulong Secret = 0xDEAD;
        const int Rounds = 4_000;
        CancellationToken stop = TestContext.Current.CancellationToken;
        FrameNumber number = default;
        int revoked = 0;
        ulong seen = 0;
        SemaphoreSlim turn = new(0), taken = new(0);
        SecureBinding<Frame> binding = default;
        Task sleeper = Task.Run(async () =>
        {
            for (int round = 0; round < Rounds; round++)
            {
                await turn.WaitAsync(stop);
                try
                {
                    using WakeupPredicate predicate = WakeupPredicate.Bind(new PredicateProduct(Secret, PredicateValue.Word(binding, 0).EqualTo(Secret)));
                    taken.Release();
                    seen |= predicate.Evaluate();
                    seen |= await _root.SleepUntil(predicate, stop);
                }
                catch (AccessDeniedException denied) when (denied.Refusal == AccessRefusal.Revoked)
                {
                    revoked++;
                }
            }
        });

        for (int round = 0; round < Rounds; round++)
        {
            Assert.True(_pool.TryAllocate(_pool.RootCredential, out number, zero: true));
            binding = _pool.Bind(_pool.RootCredential, number, Rights.Read | Rights.Write);
            turn.Release();
            await taken.WaitAsync(stop);
            _pool.Release(number);
            SpinWait wait = default;
            while (!_pool.TryAllocate(_pool.RootCredential, number))
            {
                wait.SpinOnce();
            }

            using (BindingUse<Frame> use = _pool.Bind(_pool.RootCredential, number, Rights.Write).Use(Rights.Write))
            {
                MemoryMarshal.Write(use.WritableBytes(), Secret);
            }

            _pool.Release(number);
        }

        await sleeper;
        Assert.Equal((0UL, Rounds), (seen, revoked));
    }
}
