// SPDX-License-Identifier: MIT
using CsCheck;
using Exo.Capabilities;
using Exo.Core.Environments;
using Exo.Core.Scheduling;
using Exo.Core.Tests.Environments;

namespace Exo.Core.Tests.Scheduling;

/// <summary>The scheduler without threads: what environments get, under a clock that moves when they compute.</summary>
public sealed class SimulatedSchedulerTests : IDisposable
{
    private static readonly TimeSpan Ms = TimeSpan.FromMilliseconds(1);
    private readonly ManualTime _time = new();
    private readonly ExoEnvironment _root;

    public SimulatedSchedulerTests() => _root = ExoEnvironment.CreateRoot(CapabilityAuthority.Create(), timeProvider: _time);

    public void Dispose() => _root.Dispose();

    private Scheduler New(int? seed = null, int slices = 64) =>
        new(new SchedulerOptions { Processors = 0, TimeProvider = _time, SliceLength = 5 * Ms, SliceCount = slices, Seed = seed });

    /// <summary>Computes in steps of a length until a moment.</summary>
    private ValueTask Compute(ScheduledEnvironment self, TimeSpan step, TimeSpan until) => Compute(self, () => step, until);

    private async ValueTask Compute(ScheduledEnvironment self, Func<TimeSpan> step, TimeSpan until)
    {
        while (_time.GetTimestamp() < until.Ticks)
        {
            _time.Advance(step());
            await self.Checkpoint();
        }
    }

    [Fact]
    public void Time_is_shared_by_positions_in_the_vector()
    {
        using Scheduler scheduler = New();
        ScheduledEnvironment[] all = [.. new[] { 1, 2, 5 }.Select((count, i) => scheduler.Admit(_root.CreateChild([(byte)i]), count))];
        Assert.Equal([1, 2, 2, 3, 3, 3, 3, 3, 0], scheduler.Slices[..9].ToArray());
        foreach (ScheduledEnvironment each in all)
        {
            _ = each.Start(self => Compute(self, Ms, TimeSpan.FromSeconds(8)));
        }

        scheduler.RunUntilIdle();
        for (int i = 0; i < 3; i++)
        {
            double expected = new[] { 1, 2, 5 }[i] * 1000;
            Assert.InRange(all[i].Ran.TotalMilliseconds, expected - 30, expected + 30);
        }
    }

    [Fact]
    public void Who_runs_too_long_pays_it_back()
    {
        using Scheduler scheduler = New();
        ScheduledEnvironment hog = scheduler.Admit(_root.CreateChild([1]));
        ScheduledEnvironment modest = scheduler.Admit(_root.CreateChild([2]));
        _ = hog.Start(self => Compute(self, 40 * Ms, TimeSpan.FromSeconds(10)));
        _ = modest.Start(self => Compute(self, Ms, TimeSpan.FromSeconds(10)));
        scheduler.RunUntilIdle();
        Assert.InRange(hog.Ran - modest.Ran, -50 * Ms, 50 * Ms);
        Assert.True(modest.SlicesBegun > 4 * hog.SlicesBegun);
    }

    [Fact]
    public void A_lone_environment_that_owes_much_does_not_stand_still()
    {
        using Scheduler scheduler = New();
        ScheduledEnvironment hog = scheduler.Admit(_root.CreateChild([1]));
        Task done = hog.Start(self => Compute(self, TimeSpan.FromHours(1), TimeSpan.FromDays(1)));
        scheduler.RunUntilIdle();
        Assert.True(done.IsCompletedSuccessfully);
    }

    [Fact]
    public void Shares_are_kept_whatever_the_lengths_of_steps()
    {
        Gen.Select(Gen.Int[1, 4], Gen.Double[0.1, 12.0]).Array[2, 8].Sample(wishes =>
        {
            ManualTime time = new();
            using ExoEnvironment root = ExoEnvironment.CreateRoot(CapabilityAuthority.Create(), timeProvider: time);
            using Scheduler scheduler = new(new SchedulerOptions { Processors = 0, TimeProvider = time, SliceLength = 5 * Ms });
            List<ScheduledEnvironment> all = [];
            foreach ((int count, double stepMs) in wishes)
            {
                ScheduledEnvironment one = scheduler.Admit(root.CreateChild([(byte)all.Count]), count);
                all.Add(one);
                _ = one.Start(async self =>
                {
                    while (time.GetTimestamp() < TimeSpan.FromSeconds(20).Ticks)
                    {
                        time.Advance(TimeSpan.FromMilliseconds(stepMs));
                        await self.Checkpoint();
                    }
                });
            }

            scheduler.RunUntilIdle();
            double positions = wishes.Sum(wish => wish.Item1);
            double total = all.Sum(one => one.Ran.TotalMilliseconds);
            for (int i = 0; i < all.Count; i++)
            {
                Assert.InRange(all[i].Ran.TotalMilliseconds, total * wishes[i].Item1 / positions - 60, total * wishes[i].Item1 / positions + 60);
            }
        }, iter: 30);
    }

    [Fact]
    public void Who_sleeps_much_is_served_within_a_slice()
    {
        using Scheduler scheduler = New();
        ScheduledEnvironment sleeper = scheduler.Admit(_root.CreateChild([0]));
        long longest = 0;
        _ = sleeper.Start(async _ =>
        {
            for (int i = 0; i < 50; i++)
            {
                long due = _time.GetTimestamp() + (20 * Ms).Ticks;
                await Task.Delay(20 * Ms, _time);
                longest = Math.Max(longest, _time.GetTimestamp() - due);
            }
        });
        for (byte i = 1; i < 20; i++)
        {
            _ = scheduler.Admit(_root.CreateChild([i])).Start(self => Compute(self, Ms, TimeSpan.FromSeconds(2)));
        }

        scheduler.RunUntilIdle();
        Assert.InRange(sleeper.SlicesBegun, 51, 60);
        Assert.True(longest <= (6 * Ms).Ticks, $"{longest} ticks late");
    }

    [Fact]
    public void What_happens_depends_on_the_seed_alone()
    {
        string[] runs = [Trace(1), Trace(1), Trace(2), Trace(null), Trace(null)];
        Assert.Equal(runs[0], runs[1]);
        Assert.Equal(runs[3], runs[4]);
        Assert.NotEqual(runs[0], runs[2]);

        string Trace(int? seed)
        {
            ManualTime time = new();
            using ExoEnvironment root = ExoEnvironment.CreateRoot(CapabilityAuthority.Create(), timeProvider: time);
            using Scheduler scheduler = new(new SchedulerOptions { Processors = 0, TimeProvider = time, SliceLength = 5 * Ms, Seed = seed });
            System.Text.StringBuilder trace = new();
            for (byte i = 0; i < 6; i++)
            {
                byte name = i;
                _ = scheduler.Admit(root.CreateChild([i])).Start(async self =>
                {
                    for (int round = 0; round < 10; round++)
                    {
                        trace.Append((char)('a' + name));
                        time.Advance(Ms);
                        await self.Yield();
                    }
                });
            }

            scheduler.RunUntilIdle();
            return trace.ToString();
        }
    }

    [Fact]
    public void A_directed_yield_gives_the_rest_of_the_slice()
    {
        using Scheduler scheduler = New();
        List<string> order = [];
        ScheduledEnvironment giver = scheduler.Admit(_root.CreateChild([1]));
        ScheduledEnvironment other = scheduler.Admit(_root.CreateChild([2]));
        ScheduledEnvironment taker = scheduler.Admit(_root.CreateChild([3]));
        TimeSpan left = default;
        _ = giver.Start(async self =>
        {
            _time.Advance(2 * Ms);
            order.Add("giver");
            await self.YieldTo(taker);
            order.Add("giver again");
        });
        _ = other.Start(_ =>
        {
            order.Add("other");
            return default;
        });
        _ = taker.Start(async self =>
        {
            order.Add("taker");
            for (left = default; !self.IsSliceOver; left += Ms)
            {
                _time.Advance(Ms);
            }

            await self.Checkpoint();
        });
        scheduler.RunUntilIdle();
        Assert.Equal(["giver", "taker", "other", "giver again"], order);
        Assert.Equal(3 * Ms, left);

        // To one that sleeps it is a yield.
        Task done = giver.Start(async self => await self.YieldTo(taker));
        scheduler.RunUntilIdle();
        Assert.True(done.IsCompletedSuccessfully);
        using Scheduler elsewhere = New();
        Assert.Throws<ArgumentException>(() => giver.YieldTo(elsewhere.Admit(_root.CreateChild([4]))));
    }

    [Fact]
    public void Slices_begin_and_end_with_upcalls()
    {
        using Scheduler scheduler = New();
        List<string> calls = [];
        ScheduledEnvironment one = scheduler.Admit(_root.CreateChild([1]));
        one.OnSliceBegin(() => calls.Add("begin"));
        one.OnSliceEnd(() =>
        {
            calls.Add("end");
            throw new InvalidOperationException();
        });
        _ = one.Start(async self =>
        {
            calls.Add("work");
            _time.Advance(6 * Ms);
            await self.Checkpoint();
            calls.Add("more");
        });
        scheduler.RunUntilIdle();
        Assert.Equal(["begin", "work", "end", "begin", "more"], calls);
        Assert.Equal(1, one.Environment.Counters[(int)EnvironmentCounter.UpcallFailures]);
    }

    [Fact]
    public void Whoever_ends_is_told_at_its_next_await_and_its_slices_are_free()
    {
        using Scheduler scheduler = New(slices: 2);
        ScheduledEnvironment one = scheduler.Admit(_root.CreateChild([1]), [1]);
        Assert.Throws<InvalidOperationException>(() => scheduler.Admit(_root.CreateChild([2]), [1]));
        Assert.Throws<InvalidOperationException>(() => scheduler.Admit(_root.CreateChild([3]), 2));
        Assert.Throws<InvalidOperationException>(() => scheduler.Admit(one.Environment));
        bool cleaned = false;
        Task code = one.Start(async self =>
        {
            try
            {
                while (true)
                {
                    await self.Yield();
                    one.Dispose();
                }
            }
            finally
            {
                await Task.CompletedTask;
                cleaned = true;
            }
        });
        scheduler.RunUntilIdle();
        Assert.IsType<ObjectDisposedException>(code.Exception!.InnerException);
        Assert.True(cleaned);
        Assert.Equal([0, 0], scheduler.Slices.ToArray());
        Assert.Throws<ObjectDisposedException>(() => { _ = one.Start(_ => default); });
    }

    [Fact]
    public void Options_are_checked()
    {
        Assert.Throws<ArgumentException>(() => new Scheduler(new SchedulerOptions { Processors = 1, Seed = 1 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new Scheduler(new SchedulerOptions { Processors = -1 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new Scheduler(new SchedulerOptions { SliceLength = TimeSpan.Zero }));
        using Scheduler threads = new(new SchedulerOptions { Processors = 1 });
        Assert.Throws<InvalidOperationException>(() => threads.RunUntilIdle());
    }
}
