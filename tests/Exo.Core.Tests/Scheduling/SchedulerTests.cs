// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Exo.Capabilities;
using Exo.Core.Environments;
using Exo.Core.Memory;
using Exo.Core.Predicates;
using Exo.Core.Scheduling;

namespace Exo.Core.Tests.Scheduling;

/// <summary>The scheduler with its threads. What does not come about is a test that does not end: each has its time limit.</summary>
public sealed class SchedulerTests : IDisposable
{
    private const int Limit = 60_000;
    private readonly FramePool _pool = FramePool.Create(new FramePoolOptions { CapacityBytes = 1 << 20 });
    private readonly ExoEnvironment _root;

    public SchedulerTests() => _root = ExoEnvironment.CreateRoot(_pool.Authority);

    public void Dispose()
    {
        _root.Dispose();
        _pool.Dispose();
    }

    [Fact(Timeout = Limit)]
    public async Task An_environment_is_in_one_place_at_a_time_whatever_it_awaits()
    {
        using Scheduler scheduler = new(new SchedulerOptions { Processors = 3 });
        const int Environments = 8, Coroutines = 8, Rounds = 200;
        int[] counts = new int[Environments];
        int[] inside = new int[Environments];
        List<Task> all = [];
        for (int e = 0; e < Environments; e++)
        {
            int at = e;
            ScheduledEnvironment one = scheduler.Admit(_root.CreateChild([(byte)e]));
            for (int c = 0; c < Coroutines; c++)
            {
                all.Add(one.Start(async self =>
                {
                    for (int i = 0; i < Rounds; i++)
                    {
                        Assert.Equal(1, Interlocked.Increment(ref inside[at]));
                        counts[at]++;
                        Interlocked.Decrement(ref inside[at]);
                        switch (i % 4)
                        {
                            case 0:
                                await self.Yield();
                                break;
                            case 1:
                                await Task.Run(() => { });
                                break;
                            case 2:
                                await self.Checkpoint();
                                break;
                            default:
                                await Task.Yield();
                                break;
                        }
                    }
                }));
            }
        }

        await Task.WhenAll(all).WaitAsync(TestContext.Current.CancellationToken);
        Assert.All(counts, count => Assert.Equal(Coroutines * Rounds, count));
    }

    [Fact(Timeout = Limit)]
    public async Task What_threads_post_to_an_environment_is_run_once_and_in_the_order_of_each()
    {
        using Scheduler scheduler = new(new SchedulerOptions { Processors = 2 });
        ScheduledEnvironment one = scheduler.Admit(_root.CreateChild([1]));
        const int Threads = 4, Posts = 20_000;
        int[] next = new int[Threads];
        int wrong = 0;
        await Task.WhenAll(Enumerable.Range(0, Threads).Select(thread => Task.Run(() =>
        {
            for (int i = 0; i < Posts; i++)
            {
                int at = i;
                one.Context.Post(_ => wrong += next[thread]++ == at ? 0 : 1, null);
                if (i % 512 == 0)
                {
                    Thread.Yield();
                }
            }
        }))).WaitAsync(TestContext.Current.CancellationToken);

        // All of it was there before this.
        await one.Start(_ => default).WaitAsync(TestContext.Current.CancellationToken);
        Assert.Equal(0, wrong);
        Assert.Equal([Posts, Posts, Posts, Posts], next);
    }

    [Fact(Timeout = Limit)]
    public async Task Two_that_can_run_do_so_at_once_where_there_are_two_processors()
    {
        using Scheduler scheduler = new(new SchedulerOptions { Processors = 2 });
        using Barrier both = new(2);
        ScheduledEnvironment a = scheduler.Admit(_root.CreateChild([1]));
        ScheduledEnvironment b = scheduler.Admit(_root.CreateChild([2]));

        // The second is woken by the first, which does not sleep: it must not wait for that one's processor.
        Task second = Task.CompletedTask;
        Task first = a.Start(_ =>
        {
            second = b.Start(_ =>
            {
                both.SignalAndWait();
                return default;
            });
            both.SignalAndWait();
            return default;
        });
        await first.WaitAsync(TestContext.Current.CancellationToken);
        await second.WaitAsync(TestContext.Current.CancellationToken);
    }

    [Fact(Timeout = Limit)]
    public async Task Who_was_found_going_on_is_expected_to_go_on()
    {
        using Scheduler scheduler = new(new SchedulerOptions { Processors = 2 });
        ScheduledEnvironment a = scheduler.Admit(_root.CreateChild([1]));
        ScheduledEnvironment b = scheduler.Admit(_root.CreateChild([2]));
        for (int round = 0; round < 20; round++)
        {
            // The one that is woken can run only if it is taken from the processor of the one that waits for it.
            using ManualResetEventSlim hasRun = new();
            await a.Start(_ =>
            {
                Task unused = b.Start(other =>
                {
                    hasRun.Set();
                    return default;
                });
                hasRun.Wait();
                return default;
            }).WaitAsync(TestContext.Current.CancellationToken);

            // In the first one the other had no credit yet, and was not kept.
            if (round == 1)
            {
                Assert.True(a.GoesOn);
            }
        }
    }

    [Fact(Timeout = Limit)]
    public async Task A_step_that_is_held_up_holds_up_nobody_else()
    {
        using Scheduler scheduler = new(new SchedulerOptions { Processors = 1 });
        using ManualResetEventSlim free = new();
        Task held = scheduler.Admit(_root.CreateChild([1])).Start(_ =>
        {
            free.Wait();
            return default;
        });
        await scheduler.Admit(_root.CreateChild([2])).Start(_ =>
        {
            free.Set();
            return default;
        });
        await held.WaitAsync(TestContext.Current.CancellationToken);
        Assert.Equal(1, scheduler.Replacements);

        // And the one that took its place stays.
        await scheduler.Admit(_root.CreateChild([3])).Start(async self => await self.Yield());
    }

    [Fact(Timeout = Limit)]
    public async Task Whoever_never_gives_way_is_ended_when_that_was_wished()
    {
        using Scheduler scheduler = new(new SchedulerOptions { Processors = 1, EndAfter = TimeSpan.FromMilliseconds(50), SliceLength = TimeSpan.FromMilliseconds(1) });
        ScheduledEnvironment hog = scheduler.Admit(_root.CreateChild([1]));
        Assert.True(hog.Environment.TryAllocateFrame(_pool, out FrameNumber frame).IsGranted);
        Task code = hog.Start(async self =>
        {
            while (!self.IsOver)
            {
                Thread.SpinWait(100);
            }

            await self.Checkpoint();
        });
        await Assert.ThrowsAsync<ObjectDisposedException>(() => code.WaitAsync(TestContext.Current.CancellationToken));

        // The clock's thread takes everything back, after it has said that the environment has ended.
        Assert.True(SpinWait.SpinUntil(() => _pool.ReferenceCount(frame) == 0, Limit));
    }

    [Fact(Timeout = Limit)]
    public async Task Sleepers_are_woken_by_predicates_on_their_own_scheduler()
    {
        using Scheduler scheduler = new(new SchedulerOptions { Processors = 2 });
        Assert.True(_pool.TryAllocate(_pool.RootCredential, out FrameNumber frame, zero: true));
        SecureBinding<Frame> words = _pool.Bind(_pool.RootCredential, frame, Rights.Write);
        const int Rounds = 2000;
        Task[] both = [.. Enumerable.Range(0, 2).Select(side => scheduler.Admit(_root.CreateChild([(byte)side])).Start(async self =>
        {
            for (ulong round = 0; round < Rounds; round++)
            {
                ulong mine = (round * 2) + (ulong)side;
                using WakeupPredicate turn = WakeupPredicate.Bind(new PredicateProduct(1, PredicateValue.Word(words, 0).EqualTo(mine)));
                await self.Environment.SleepUntil(turn);
                Assert.Same(self.Context, SynchronizationContext.Current);
                using BindingUse<Frame> use = words.Use(Rights.Write);
                Volatile.Write(ref MemoryMarshal.Cast<byte, ulong>(use.WritableBytes())[0], mine + 1);
            }
        }))];
        await Task.WhenAll(both).WaitAsync(TestContext.Current.CancellationToken);
    }

    [Fact(Timeout = Limit)]
    public async Task A_robust_critical_section_excludes_and_outlives_its_holder()
    {
        using Scheduler scheduler = new(new SchedulerOptions { Processors = 3 });
        Assert.True(_pool.TryAllocate(_pool.RootCredential, out FrameNumber frame, zero: true));
        for (byte i = 0; i < 3; i++)
        {
            Assert.True(_pool.TryModifyAcl(_pool.RootCredential, frame, i + 1, new AclEntry(_root.Name.Append([i]), Rights.Write), out _));
        }

        const int Rounds = 5000;
        int count = 0;
        ScheduledEnvironment[] all = [.. Enumerable.Range(0, 3).Select(i => scheduler.Admit(_root.CreateChild([(byte)i])))];
        await Task.WhenAll(all.Select(one => one.Start(async self =>
        {
            using RobustLock section = new(self, _pool, frame, 64);
            for (int i = 0; i < Rounds; i++)
            {
                using (section.Enter())
                {
                    count++;
                    Assert.False(section.WasAbandoned);
                }

                await self.Checkpoint();
            }
        })));
        Assert.Equal(3 * Rounds, count);

        await Assert.ThrowsAsync<InvalidOperationException>(() => all[0].Start(self =>
        {
            using RobustLock section = new(self, _pool, frame, 64);
            using RobustLock.Guard once = section.Enter();
            using RobustLock.Guard twice = section.Enter();
            return default;
        }));

        // The holder ends while it is in: the next one gets in, and is told.
        using ManualResetEventSlim isIn = new();
        using ManualResetEventSlim mayLeave = new();
        Task holder = all[0].Start(self =>
        {
            using RobustLock section = new(self, _pool, frame, 64);
            using RobustLock.Guard inside = section.Enter();
            isIn.Set();
            mayLeave.Wait();
            return default;
        });
        isIn.Wait(TestContext.Current.CancellationToken);
        all[0].Dispose();
        await all[1].Start(self =>
        {
            using RobustLock section = new(self, _pool, frame, 64);
            using (section.Enter())
            {
                Assert.True(section.WasAbandoned);
                mayLeave.Set();
            }

            return default;
        });
        await holder;
        using RobustLock last = new(all[2], _pool, frame, 64);
        using (last.Enter())
        {
            Assert.False(last.WasAbandoned);
        }

        Assert.Throws<AccessDeniedException>(() => new RobustLock(scheduler.Admit(_root.CreateChild([9])), _pool, frame));
    }
}
