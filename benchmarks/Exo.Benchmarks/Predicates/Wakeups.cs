// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using BenchmarkDotNet.Attributes;
using Exo.Capabilities;
using Exo.Core.Environments;
using Exo.Core.Memory;
using Exo.Core.Predicates;

namespace Exo.Benchmarks.Predicates;

/// <summary>What a predicate of three terms costs: by itself, as one of a hundred that a write rings, and written by hand.</summary>
public class Wakeups
{
    private const int Sleepers = 100;
    private readonly List<WakeupPredicate> _sleeping = [];
    private FramePool _pool = null!;
    private ExoEnvironment _root = null!;
    private SecureBinding<Frame> _frame;
    private SecureBinding<Frame> _quiet;
    private FrameNumber _number;
    private WakeupPredicate _predicate = null!;

    [GlobalSetup]
    public void Setup()
    {
        _pool = FramePool.Create(new FramePoolOptions { CapacityBytes = 1 << 20 });
        _root = ExoEnvironment.CreateRoot(_pool.Authority);
        _pool.TryAllocate(_pool.RootCredential, out _number, zero: true);
        _pool.TryAllocate(_pool.RootCredential, out FrameNumber quiet, zero: true);
        _frame = _pool.Bind(_pool.RootCredential, _number, Rights.Write);
        _quiet = _pool.Bind(_pool.RootCredential, quiet, Rights.Write);
        _predicate = Bind();
        for (int i = 0; i < Sleepers; i++)
        {
            WakeupPredicate sleeping = Bind();
            _sleeping.Add(sleeping);
            _ = _root.SleepUntil(sleeping).AsTask();
        }
    }

    [GlobalCleanup]
    public void Cleanup()
    {
        _root.Dispose();
        _sleeping.ForEach(predicate => predicate.Dispose());
        _predicate.Dispose();
        _pool.Dispose();
    }

    [Benchmark(Baseline = true)]
    public ulong By_hand()
    {
        using BindingUse<Frame> use = _frame.Use();
        ReadOnlySpan<ulong> words = MemoryMarshal.Cast<byte, ulong>(use.Bytes());
        return Volatile.Read(in words[0]) == 0 && Volatile.Read(in words[1]) < 10 && Volatile.Read(in words[2]) != 0 ? 1UL : 0;
    }

    [Benchmark]
    public ulong Evaluated_alone() => _predicate.Evaluate();

    [Benchmark(OperationsPerInvoke = Sleepers)]
    public void Evaluated_by_a_ring_of_a_hundred() => _pool.Ring(_number);

    [Benchmark]
    public void Write_where_nobody_sleeps()
    {
        using BindingUse<Frame> use = _quiet.Use(Rights.Write);
        use.WritableBytes()[0] = 1;
    }

    // All three terms are looked at: the first two hold, the last does not.
    private WakeupPredicate Bind() => WakeupPredicate.Bind(new PredicateProduct(
        1, PredicateValue.Word(_frame, 0).EqualTo(0), PredicateValue.Word(_frame, 8).Below(10), PredicateValue.Word(_frame, 16).NotEqualTo(0)));
}
