// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using CsCheck;
using Exo.Capabilities;
using Exo.Core.DownloadedCode;
using Exo.Core.Environments;
using Exo.Core.Memory;
using Exo.Core.Predicates;
using Exo.Core.Tests.Environments;
using Exo.Tests;

namespace Exo.Core.Tests.Predicates;

public sealed class WakeupPredicateTests : IDisposable
{
    private readonly ManualTime _time = new();
    private readonly FramePool _pool = FramePool.Create(new FramePoolOptions { CapacityBytes = 64 * FramePool.FrameBytes });
    private readonly ExoEnvironment _root;

    public WakeupPredicateTests() => _root = ExoEnvironment.CreateRoot(_pool.Authority, timeProvider: _time);

    public void Dispose()
    {
        _root.Dispose();
        _pool.Dispose();
    }

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    private FrameNumber Allocate()
    {
        Assert.True(_pool.TryAllocate(_pool.RootCredential, out FrameNumber frame, zero: true));
        return frame;
    }

    private SecureBinding<Frame> Bind(FrameNumber frame, Rights rights = Rights.Read | Rights.Write) => _pool.Bind(_pool.RootCredential, frame, rights);

    private static void Store(SecureBinding<Frame> frame, int offset, ulong value)
    {
        using BindingUse<Frame> use = frame.Use(Rights.Write);
        MemoryMarshal.Write(use.WritableBytes()[offset..], value);
    }

    [Fact]
    public async Task A_consumer_sleeps_until_there_is_something_in_the_ring_or_its_time_is_up()
    {
        SecureBinding<Frame> ring = Bind(Allocate());
        PredicateValue head = PredicateValue.Word(ring, 0), tail = PredicateValue.Word(ring, 8);
        using WakeupPredicate predicate = WakeupPredicate.Bind(
            [new PredicateProduct(1, head.NotEqualTo(tail)), new PredicateProduct(2, PredicateValue.Now.AtLeast(PredicateValue.Of(_time.GetUtcNow().AddSeconds(5))))], _time);

        Task<ulong> sleep = _root.SleepUntil(predicate, Stop).AsTask();
        Assert.False(sleep.IsCompleted);
        Store(ring, 100, 1);
        Assert.False(sleep.IsCompleted);
        Store(ring, 8, 7);
        Assert.Equal(1UL, await sleep);

        Store(ring, 0, 7);
        sleep = _root.SleepUntil(predicate, Stop).AsTask();
        _time.Advance(TimeSpan.FromSeconds(4.9));
        Assert.False(sleep.IsCompleted);
        _time.Advance(TimeSpan.FromSeconds(0.2));
        Assert.Equal(2UL, await sleep);

        // Holds already: no sleep at all.
        Assert.Equal(2UL, await _root.SleepUntil(predicate, Stop));
        Assert.Equal((2, 2), (_root.Counters[(int)EnvironmentCounter.Sleeps], _root.Counters[(int)EnvironmentCounter.Wakes]));
    }

    private sealed record TermSpec(int Left, int Comparison, int Right);

    /// <summary>Sides: 0..3 are words of 8 bytes, 4..7 halves of words 4 and 5, the rest constants.</summary>
    [Fact]
    public void A_predicate_says_what_its_sum_of_products_says()
    {
        SecureBinding<Frame> first = Bind(Allocate()), second = Bind(Allocate());
        ulong[] constants = [0, 1, 2, uint.MaxValue, 1UL << 32, ulong.MaxValue, 1UL << 63];
        PredicateValue Side(int side) => side switch
        {
            < 4 => PredicateValue.Word(side % 2 == 0 ? first : second, 8 * side),
            < 8 => PredicateValue.Word32(side % 2 == 0 ? first : second, 64 + (4 * side)),
            _ => constants[side - 8],
        };

        Gen<TermSpec> term = Gen.Select(Gen.Int[0, 14], Gen.Int[0, 5], Gen.Int[0, 14], (l, c, r) => new TermSpec(l, c, r));
        Gen.Select(term.Array[0, 4].Array[1, 5], Gen.Int[0, 6].Array[8].Array[1, 40]).Sample(
            (products, memories) =>
            {
                using WakeupPredicate predicate = WakeupPredicate.Bind(
                    [.. products.Select((p, i) => new PredicateProduct((ulong)i + 1, [.. p.Select(t => new PredicateTerm(Side(t.Left), (PredicateComparison)t.Comparison, Side(t.Right)))]))]);
                foreach (int[] memory in memories)
                {
                    ulong[] values = [.. memory.Select((c, i) => i < 4 ? constants[c] : (uint)constants[c])];
                    for (int i = 0; i < 8; i++)
                    {
                        using BindingUse<Frame> use = (i % 2 == 0 ? first : second).Use(Rights.Write);
                        if (i < 4)
                        {
                            MemoryMarshal.Write(use.WritableBytes()[(8 * i)..], values[i]);
                        }
                        else
                        {
                            MemoryMarshal.Write(use.WritableBytes()[(64 + (4 * i))..], (uint)values[i]);
                        }
                    }

                    ulong Number(int side) => side < 8 ? values[side] : constants[side - 8];
                    bool Holds(TermSpec t)
                    {
                        ulong l = Number(t.Left), r = Number(t.Right);
                        return (PredicateComparison)t.Comparison switch
                        {
                            PredicateComparison.Equal => l == r,
                            PredicateComparison.NotEqual => l != r,
                            PredicateComparison.Above => l > r,
                            PredicateComparison.AtLeast => l >= r,
                            PredicateComparison.Below => l < r,
                            _ => l <= r,
                        };
                    }

                    ulong expected = (ulong)(Array.FindIndex(products, p => Array.TrueForAll(p, Holds)) + 1);
                    Assert.Equal(expected, predicate.Evaluate());
                }
            },
            iter: 300, threads: 1);
    }

    [Fact]
    public void The_program_of_a_predicate_reads_like_this()
    {
        SecureBinding<Frame> frame = Bind(Allocate());
        PredicateValue word = PredicateValue.Word(frame, 16);
        using WakeupPredicate predicate = WakeupPredicate.Bind(
            [new PredicateProduct(1, word.Above(3), word.NotEqualTo(PredicateValue.Word32(frame, 16))), new PredicateProduct(0xABCDEF0123, PredicateValue.Now.AtLeast(word))]);
        Snapshot.Verify(Disassembler.Listing(predicate.Program));
    }

    public static TheoryData<string, int, int> Hostile => new()
    {
        { "nothing", -1, -1 },
        { "products", -1, -1 },
        { "terms", 1, 56 },
        { "words", -1, -1 },
        { "default binding", 1, 0 },
        { "outside", 0, 1 },
        { "outside, half", 0, 0 },
        { "negative", 0, 0 },
        { "crooked", 0, 0 },
        { "crooked, half", 0, 0 },
        { "two pools", 0, 1 },
        { "comparison", 0, 0 },
        { "null", 0, -1 },
    };

    [Theory]
    [MemberData(nameof(Hostile))]
    public void What_cannot_be_bound_is_refused_with_its_place_and_pins_nothing(string what, int product, int term)
    {
        using FramePool other = FramePool.Create(new FramePoolOptions { CapacityBytes = FramePool.FrameBytes });
        Assert.True(other.TryAllocate(other.RootCredential, out FrameNumber foreign));
        FrameNumber number = Allocate();
        SecureBinding<Frame> frame = Bind(number);
        PredicateTerm good = PredicateValue.Word(frame, 0).EqualTo(1);
        PredicateTerm[] Many(int count) => [.. Enumerable.Repeat(good, count)];
        PredicateProduct[] products = what switch
        {
            "nothing" => [],
            "products" => [.. Enumerable.Repeat(new PredicateProduct(1), WakeupPredicate.ProductsMax + 1)],
            "terms" => [new PredicateProduct(1, Many(200)), new PredicateProduct(1, Many(57))],
            "words" => [new PredicateProduct(1, [.. Enumerable.Range(0, WakeupPredicate.WordsMax + 1).Select(i => PredicateValue.Word32(frame, 4 * i).EqualTo(1))])],
            "default binding" => [new PredicateProduct(1), new PredicateProduct(2, PredicateValue.Word(default, 0).EqualTo(1))],
            "outside" => [new PredicateProduct(1, good, PredicateValue.Word(frame, 4096).EqualTo(1))],
            "outside, half" => [new PredicateProduct(1, PredicateValue.Word32(frame, int.MaxValue - 3).EqualTo(1))],
            "negative" => [new PredicateProduct(1, PredicateValue.Word(frame, -8).EqualTo(1))],
            "crooked" => [new PredicateProduct(1, PredicateValue.Word(frame, 4).EqualTo(1))],
            "crooked, half" => [new PredicateProduct(1, PredicateValue.Word32(frame, 2).EqualTo(1))],
            "two pools" => [new PredicateProduct(1, good, PredicateValue.Of(1).EqualTo(PredicateValue.Word(other.Bind(other.RootCredential, foreign, Rights.Read), 0)))],
            "comparison" => [new PredicateProduct(1, new PredicateTerm(1, (PredicateComparison)6, 1))],
            _ => [null!],
        };
        PredicateRejectedException refusal = Assert.Throws<PredicateRejectedException>(() => WakeupPredicate.Bind(products));
        Assert.Equal((product, term), (refusal.Product, refusal.Term));

        // Nothing is pinned: the frame can be freed and taken again at once.
        _pool.Release(number);
        Assert.True(_pool.TryAllocate(_pool.RootCredential, number));
    }

    [Fact]
    public void Who_may_not_read_cannot_bind()
    {
        FrameNumber frame = Allocate();
        SecureBinding<Frame> binding = Bind(frame);
        _pool.Release(frame);
        AccessDeniedException refusal = Assert.Throws<AccessDeniedException>(
            () => WakeupPredicate.Bind(new PredicateProduct(1, PredicateValue.Word(binding, 0).EqualTo(1))));
        Assert.Equal(AccessRefusal.Revoked, refusal.Refusal);
        ExoEnvironment stranger = _root.CreateChild([9]);
        FrameNumber secret = Allocate();
        Assert.Throws<AccessDeniedException>(() => _pool.Bind(stranger.Credential, secret, Rights.Read));
    }

    [Fact]
    public async Task Revoking_a_binding_ends_the_sleep_and_the_frame_is_free_at_once()
    {
        FrameNumber number = Allocate(), second = Allocate();
        WakeupPredicate predicate = WakeupPredicate.Bind(
            new PredicateProduct(1, PredicateValue.Word(Bind(number), 0).EqualTo(1), PredicateValue.Word(Bind(second), 0).EqualTo(1)));
        Task<ulong> sleep = _root.SleepUntil(predicate, Stop).AsTask();
        _pool.Release(number);
        AccessDeniedException refusal = await Assert.ThrowsAsync<AccessDeniedException>(async () => await sleep);
        Assert.Equal(AccessRefusal.Revoked, refusal.Refusal);
        Assert.True(_pool.TryAllocate(_pool.RootCredential, number));
        Assert.Throws<AccessDeniedException>(() => predicate.Evaluate());
        await Assert.ThrowsAsync<AccessDeniedException>(async () => await _root.SleepUntil(predicate, Stop));

        // The other frame is let go as well.
        _pool.Release(second);
        Assert.True(_pool.TryAllocate(_pool.RootCredential, second));
        predicate.Dispose();
    }

    [Fact]
    public async Task Cancelling_disposing_and_the_end_of_the_environment_end_a_sleep_each_in_its_way()
    {
        SecureBinding<Frame> frame = Bind(Allocate());
        WakeupPredicate predicate = WakeupPredicate.Bind(new PredicateProduct(1, PredicateValue.Word(frame, 0).EqualTo(1)));
        using CancellationTokenSource cancel = new();
        Task<ulong> sleep = _root.SleepUntil(predicate, cancel.Token).AsTask();
        await Assert.ThrowsAsync<InvalidOperationException>(async () => await _root.SleepUntil(predicate, Stop));
        await cancel.CancelAsync();
        OperationCanceledException cancelled = await Assert.ThrowsAnyAsync<OperationCanceledException>(async () => await sleep);
        Assert.Equal(cancel.Token, cancelled.CancellationToken);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () => await _root.SleepUntil(predicate, cancel.Token));

        ExoEnvironment child = _root.CreateChild([1]);
        sleep = child.SleepUntil(predicate, Stop).AsTask();
        child.Dispose();
        await Assert.ThrowsAsync<ObjectDisposedException>(async () => await sleep);
        await Assert.ThrowsAsync<ObjectDisposedException>(async () => await child.SleepUntil(predicate, Stop));

        sleep = _root.SleepUntil(predicate, Stop).AsTask();
        predicate.Dispose();
        await Assert.ThrowsAsync<ObjectDisposedException>(async () => await sleep);
        Assert.Throws<ObjectDisposedException>(() => predicate.Evaluate());
    }

    [Fact]
    public async Task A_deadline_in_a_word_can_be_moved_while_somebody_sleeps_on_it()
    {
        SecureBinding<Frame> frame = Bind(Allocate());
        long Tick(double seconds) => _time.GetUtcNow().AddSeconds(seconds).UtcTicks;
        Store(frame, 0, (ulong)Tick(100));
        using WakeupPredicate predicate = WakeupPredicate.Bind(new PredicateProduct(9, PredicateValue.Word(frame, 0).AtMost(PredicateValue.Now)), _time);
        Task<ulong> sleep = _root.SleepUntil(predicate, Stop).AsTask();
        Store(frame, 0, (ulong)Tick(10));
        _time.Advance(TimeSpan.FromSeconds(5));
        Store(frame, 0, (ulong)Tick(20));
        _time.Advance(TimeSpan.FromSeconds(19));
        Assert.False(sleep.IsCompleted);
        _time.Advance(TimeSpan.FromSeconds(1.1));
        Assert.Equal(9UL, await sleep);
    }

    [Fact]
    public async Task Writing_without_a_use_counts_once_it_is_said()
    {
        FrameNumber number = Allocate();
        using WakeupPredicate predicate = WakeupPredicate.Bind(new PredicateProduct(1, PredicateValue.Word(Bind(number), 0).EqualTo(5)));
        Task<ulong> sleep = _root.SleepUntil(predicate, Stop).AsTask();
        MemoryMarshal.Write(_pool.Bytes(number), 5UL);
        Assert.False(sleep.IsCompleted);
        _pool.Ring(number);
        Assert.Equal(1UL, await sleep);
        MemoryMarshal.Write(_pool.Bytes(number), 0UL);
        sleep = _root.SleepUntil(predicate, Stop).AsTask();
        using (BindingUse<Frame> use = Bind(number).Use(Rights.Write))
        {
            MemoryMarshal.Write(use.WritableBytes(), 5UL);
            use.Announce();
            Assert.Equal(2, _root.Counters[(int)EnvironmentCounter.Wakes]);
        }

        Assert.Equal(1UL, await sleep);
    }

    [Fact]
    public void Evaluating_and_ringing_allocate_nothing()
    {
        SecureBinding<Frame> frame = Bind(Allocate());
        using WakeupPredicate predicate = WakeupPredicate.Bind(new PredicateProduct(1, PredicateValue.Word(frame, 0).EqualTo(1)));
        _ = _root.SleepUntil(predicate, Stop).AsTask();
        using WakeupPredicate awake = WakeupPredicate.Bind(new PredicateProduct(1, PredicateValue.Word(frame, 8).AtLeast(0)));
        void Step()
        {
            awake.Evaluate();
            using BindingUse<Frame> use = frame.Use(Rights.Write);
            use.Announce();
        }

        for (int i = 0; i < 200; i++)
        {
            Step();
        }

        Assert.Equal(0, Allocations.Least(() =>
        {
            for (int i = 0; i < 1000; i++)
            {
                Step();
            }
        }));
    }
}
