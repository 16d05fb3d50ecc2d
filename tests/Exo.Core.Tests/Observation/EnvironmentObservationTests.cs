// SPDX-License-Identifier: MIT
using CsCheck;
using Exo.Capabilities;
using Exo.Core.Environments;
using Exo.Core.Ipc;
using Exo.Core.Memory;
using Exo.Core.Observation;
using Exo.Core.Predicates;
using Exo.Core.Scheduling;

namespace Exo.Core.Tests.Observation;

/// <summary>What an observer is told about environments, what they sleep on and their rings, is so.</summary>
public sealed class EnvironmentObservationTests : IDisposable
{
    private readonly FramePool _pool = FramePool.Create(new FramePoolOptions { CapacityBytes = 4 << 20 });
    private readonly ExoEnvironment _root;
    private readonly ExoEnvironment _a;
    private readonly ExoEnvironment _b;

    public EnvironmentObservationTests()
    {
        _root = ExoEnvironment.CreateRoot(_pool.Authority);
        _a = _root.CreateChild("a"u8, new EnvironmentQuotas { Frames = 100 });
        _b = _root.CreateChild([2]);
    }

    public void Dispose()
    {
        _root.Dispose();
        _pool.Dispose();
    }

    [Fact]
    public void Environments_are_told_with_what_they_hold()
    {
        ExoEnvironment below = _a.CreateChild("x y"u8);
        Assert.True(below.TryAllocateFrame(_pool, out _).IsGranted);
        Assert.True(_a.TryAllocateFrame(_pool, out _).IsGranted);
        EnvironmentTreeSnapshot seen = _root.Observe();
        Assert.True(seen.IsComplete);
        Assert.Equal([".", "97", "2", "97.120.32.121"], seen.Environments.Select(environment => environment.Name));
        Assert.Equal([null, "a", null, "x y"], seen.Environments.Select(environment => environment.Label));
        Assert.Equal([2, 2, 0, 1], seen.Environments.Select(environment => environment.FramesHeld));
        Assert.Equal([null, 100, null, null], seen.Environments.Select(environment => environment.FramesQuota));
        Assert.All(seen.Environments, environment => Assert.Equal((EnvironmentState.Unscheduled, 1), (environment.State, environment.Capabilities)));

        below.Dispose();
        Assert.Equal([EnvironmentState.Ended], below.Observe().Environments.Select(environment => environment.State));
        Assert.Equal([1, 1, 0], _root.Observe().Environments.Select(environment => environment.FramesHeld));
    }

    [Fact]
    public void On_a_scheduler_they_are_asleep_runnable_or_running()
    {
        using Scheduler scheduler = new(new SchedulerOptions { Processors = 0, Seed = 1, SliceCount = 16 });
        ScheduledEnvironment a = scheduler.Admit(_a, slices: 3);
        scheduler.Admit(_b);
        TaskCompletionSource wait = new();
        Task done = a.Start(async self => await wait.Task);
        Assert.Equal([EnvironmentState.Unscheduled, EnvironmentState.Runnable, EnvironmentState.Asleep], States());
        Assert.Equal((0, 1, 4, 16), (scheduler.Observe().Busy, scheduler.Observe().Runnable, scheduler.Observe().SlicesTaken, scheduler.Observe().SliceCount));

        EnvironmentState[] within = [];
        SchedulerSnapshot? schedulerWithin = null;
        Task look = a.Start(_ =>
        {
            (within, schedulerWithin) = (States(), scheduler.Observe());
            return default;
        });
        scheduler.RunUntilIdle();
        Assert.True(look.IsCompletedSuccessfully);
        Assert.Equal([EnvironmentState.Unscheduled, EnvironmentState.Running, EnvironmentState.Asleep], within);
        Assert.Equal(EnvironmentState.Asleep, States()[1]);
        EnvironmentSnapshot seen = _a.Observe().Environments[0];
        Assert.Equal((1, 3, true), (seen.Number, seen.Slices, seen.SlicesBegun >= 1));
        wait.SetResult();
        scheduler.RunUntilIdle();
        Assert.True(done.IsCompleted);

        EnvironmentState[] States() => [.. _root.Observe().Environments.Select(environment => environment.State)];
    }

    [Fact]
    public void A_protected_call_is_seen_at_the_callee()
    {
        AccessControlList guard = new(_a.Name, authority: _pool.Authority);
        Assert.True(guard.TryModify(_a.Credential, 1, new AclEntry(_b.Name, Rights.Read), out _));
        EnvironmentState within = default;
        using ProtectedEntry<int, int> entry = new(_a, guard, (_, request) =>
        {
            within = _a.Observe().Environments[0].State;
            return request;
        });
        Assert.Equal(CallRefusal.None, entry.Bind(_b).TryCall(1, out _));
        Assert.Equal(EnvironmentState.Called, within);
        Assert.Equal(EnvironmentState.Unscheduled, _a.Observe().Environments[0].State);
    }

    [Fact]
    public async Task Who_sleeps_is_told_with_what_for()
    {
        Assert.True(_a.TryAllocateFrame(_pool, out FrameNumber frame).IsGranted);
        _pool.Bytes(frame).Clear();
        SecureBinding<Frame> binding = _pool.Bind(_a.Credential, frame, Rights.Read | Rights.Write);
        using WakeupPredicate predicate = WakeupPredicate.Bind(
        [
            new PredicateProduct(7, PredicateValue.Word(binding, 8).Above(5), PredicateValue.Word32(binding, 4).EqualTo(0)),
            new PredicateProduct(9, PredicateValue.Now.AtLeast(ulong.MaxValue)),
        ]);
        ValueTask<ulong> sleep = _a.SleepUntil(predicate);
        PredicateSnapshot seen = Assert.Single(_root.Observe().Predicates);
        Assert.Equal($"{frame.Value}[8] > 5 & {frame.Value}[4] == 0 | now >= {ulong.MaxValue}", seen.Condition);
        Assert.Equal(("97", 2, 3, true), (seen.Environment, seen.Products, seen.Terms, seen.UsesTime));
        Assert.Equal([frame.Value], seen.Frames);
        Assert.Equal(1, _pool.Observe().Watched);
        Assert.Equal(1, _pool.Observe().Pinned);
        EnvironmentSnapshot sleeper = _a.Observe().Environments[0];
        Assert.Equal((1, 1L, 0L), (sleeper.PredicatesAsleep, sleeper.Sleeps, sleeper.Wakes));

        using (BindingUse<Frame> use = binding.Use(Rights.Write))
        {
            use.WritableBytes()[8] = 6;
        }

        Assert.Equal(7ul, await sleep);
        Assert.Empty(_root.Observe().Predicates);
        Assert.Equal(0, _pool.Observe().Watched);
    }

    [Fact]
    public void The_text_of_a_large_predicate_is_cut()
    {
        Assert.True(_a.TryAllocateFrame(_pool, out FrameNumber frame).IsGranted);
        _pool.Bytes(frame).Clear();
        SecureBinding<Frame> binding = _pool.Bind(_a.Credential, frame, Rights.Read);
        using WakeupPredicate predicate = WakeupPredicate.Bind(
            [.. Enumerable.Range(0, WakeupPredicate.ProductsMax).Select(i => new PredicateProduct(1, PredicateValue.Word(binding, i * 8).NotEqualTo(0)))]);
        ValueTask<ulong> sleep = _a.SleepUntil(predicate);
        PredicateSnapshot seen = Assert.Single(_root.Observe().Predicates);
        Assert.Equal(200, seen.Condition.Length);
        Assert.EndsWith("...", seen.Condition, StringComparison.Ordinal);
        Assert.False(sleep.IsCompleted);
    }

    [Fact]
    public void The_depth_of_a_pipe_is_what_was_written_and_not_read()
    {
        Gen.Select(Gen.Bool, Gen.Int[1, 5000]).List[1, 60].Sample(steps =>
        {
            (PipeReadEnd reader, PipeWriteEnd writer) = Pipe.Create(_pool, _root, _a, _b, 8192);
            long written = 0, read = 0;
            foreach ((bool writes, int length) in steps)
            {
                if (writes)
                {
                    writer.TryWrite(new byte[length], out int count);
                    written += count;
                }
                else
                {
                    reader.TryRead(new byte[length], out int count);
                    read += count;
                }

                EnvironmentTreeSnapshot seen = _root.Observe();
                RingSnapshot into = seen.Rings.Single(ring => ring.Environment == "2");
                RingSnapshot outOf = seen.Rings.Single(ring => ring.Environment == "97");
                Assert.Equal(new RingSnapshot("2", RingKind.Pipe, true, into.Frame, written - read, 8192, written, 0, IpcStatus.Ok), into);
                Assert.Equal(new RingSnapshot("97", RingKind.Pipe, false, into.Frame, written - read, 8192, read, 0, IpcStatus.Ok), outOf);
            }

            writer.Dispose();
            Assert.Equal(IpcStatus.Closed, Assert.Single(_root.Observe().Rings).Status);
            reader.Dispose();
            Assert.Empty(_root.Observe().Rings);
        }, threads: 1);
    }

    [Fact]
    public unsafe void A_ring_whose_other_side_scribbles_is_told_as_that_and_within_bounds()
    {
        (MessageWriter writer, MessageReader reader) = MessageRing.Create(_pool, _a, _b, PeerTrust.Distrusted, 4096);
        Assert.Equal(IpcStatus.Ok, writer.TryWrite(new byte[20]));
        RingSnapshot[] seen = [.. _root.Observe().Rings];
        Assert.All(seen, ring => Assert.Equal((RingKind.Messages, 32L, 4096L, IpcStatus.Ok), (ring.Kind, ring.Depth, ring.Capacity, ring.Status)));
        Assert.Equal([(true, 32L), (false, 0L)], seen.Select(ring => (ring.Writes, ring.Passed)));
        Assert.Equal(seen[0].Frame, seen[1].Frame);

        // What the writer says it has produced.
        Volatile.Write(ref *(ulong*)_pool.Address(new FrameNumber(seen[0].Frame!.Value)), ulong.MaxValue / 2);
        seen = [.. _root.Observe().Rings];
        Assert.Equal((32L, IpcStatus.Ok), (seen[0].Depth, seen[0].Status));
        Assert.Equal((4096L, IpcStatus.Corrupt), (seen[1].Depth, seen[1].Status));

        Assert.True(_pool.TryUnbind(_a.Credential, new FrameNumber(seen[0].Frame!.Value), out _));
        Assert.All(_root.Observe().Rings, ring => Assert.Equal(IpcStatus.Revoked, ring.Status));
        writer.Dispose();
        reader.Dispose();
        Assert.Empty(_root.Observe().Rings);
    }

    [Fact]
    public void There_are_no_more_entries_than_were_asked_for()
    {
        for (byte i = 10; i < 20; i++)
        {
            _root.CreateChild([i]);
        }

        Assert.Equal(13, _root.Observe(13).Environments.Count);
        Assert.True(_root.Observe(13).IsComplete);
        Assert.Equal(12, _root.Observe(12).Environments.Count);
        Assert.False(_root.Observe(12).IsComplete);
        Assert.Single(_root.Observe(1).Environments);
        Assert.Throws<ArgumentOutOfRangeException>(() => _root.Observe(0));
    }

    /// <summary>Whatever others do meanwhile, no environment is seen with less than those below it hold, or with more than it may.</summary>
    [Fact]
    public void Beside_changes_the_counts_of_parents_and_children_agree()
    {
        ExoEnvironment[] holders = [_a, _b, .. Enumerable.Range(0, 3).Select(i => _a.CreateChild([(byte)i])), .. Enumerable.Range(0, 3).Select(i => _b.CreateChild([(byte)i]))];
        using CancellationTokenSource over = new();
        Thread[] threads = [.. holders.Take(4).Select((_, i) => new Thread(() => Change(i)))];
        Array.ForEach(threads, thread => thread.Start());
        long frames = 0;
        for (int look = 0; look < 2000; look++)
        {
            EnvironmentTreeSnapshot seen = _root.Observe();
            foreach (EnvironmentSnapshot parent in seen.Environments)
            {
                CapabilityName name = CapabilityName.Parse(parent.Name);
                EnvironmentSnapshot[] children = [.. seen.Environments.Where(other => CapabilityName.Parse(other.Name) is var its && name.IsPrefixOf(its) && its.LengthBytes == name.LengthBytes + 1)];
                Assert.True(parent.FramesHeld >= children.Sum(child => child.FramesHeld), $"{parent} and {string.Join(", ", children.AsEnumerable())}");
                Assert.InRange(parent.FramesHeld, 0, parent.FramesQuota ?? _pool.FrameCount);
                frames += parent.FramesHeld;
            }

            FramesSnapshot pool = _pool.Observe();
            Assert.Equal(_pool.FrameCount, pool.Free + pool.Held + pool.Draining);
            Assert.Equal(pool.Held, pool.Owners.Sum(owner => owner.Frames));
            Assert.InRange(pool.Shared, 0, pool.Held);
            Assert.InRange(pool.Pinned, 0, pool.Held);
            Assert.All(seen.Rings, ring => Assert.InRange(ring.Depth, 0, ring.Capacity));
        }

        over.Cancel();
        Array.ForEach(threads, thread => thread.Join());
        Assert.True(frames > 0);

        void Change(int number)
        {
            Random random = new(number);
            Queue<(ExoEnvironment, FrameNumber)> held = [];
            while (!over.IsCancellationRequested)
            {
                ExoEnvironment holder = holders[random.Next(holders.Length)];
                if (random.Next(2) == 0 && holder.TryAllocateFrame(_pool, out FrameNumber frame).IsGranted)
                {
                    held.Enqueue((holder, frame));
                }
                else if (held.TryDequeue(out (ExoEnvironment By, FrameNumber Frame) first))
                {
                    first.By.TryReleaseFrame(_pool, first.Frame);
                }

                if (random.Next(20) == 0)
                {
                    (PipeReadEnd reader, PipeWriteEnd writer) = Pipe.Create(_pool, _root, _a, _b, 4096);
                    writer.TryWrite(new byte[random.Next(4096)], out _);
                    writer.Dispose();
                    reader.Dispose();
                }
            }
        }
    }
}
