// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using Exo.Adapters.Fuse.Mounting;
using Exo.Simulation.Timing;
using Exo.Tests;

namespace Exo.Adapters.Fuse.Tests;

/// <summary>Servers take SCHED_IDLE while they see their programs bounce between processors, and give it back as soon as it keeps them from working.</summary>
public sealed class WakeAffinityTests
{
    private const uint Program = 4711, Other = 4712;
    private const string SchedIdle = "5";

    private readonly VirtualTime _time = new();
    private readonly FakeThreads _threads = new();
    private readonly WakeAffinity _affinity;
    private readonly WakeAffinity.Server[] _servers;

    public WakeAffinityTests()
    {
        _affinity = new WakeAffinity(_threads, _time);
        _servers = [_affinity.Join(queue: 0, thread: 100), _affinity.Join(queue: 1, thread: 101)];
    }

    private void Bounce(int times)
    {
        for (int i = 0; i < times; i++)
        {
            _servers[i % 2].Took(Program);
        }
    }

    [Fact]
    public void A_program_that_comes_back_through_the_other_queue_makes_them_idle()
    {
        Bounce((2 * WakeAffinity.BouncesMin) - 1);
        Assert.Empty(_threads.Idle);
        Bounce(6);
        Assert.Equal([100, 101], _threads.Idle.Order());
    }

    [Fact]
    public void Programs_that_stay_where_they_are_do_not_nor_does_one_that_moves_now_and_then_nor_the_kernel()
    {
        for (int i = 0; i < 1000; i++)
        {
            _servers[0].Took(Program);
            _servers[1].Took(Other);
            _servers[i % 2].Took(0);
            if (i % 8 == 0)
            {
                _servers[1].Took(Program);
            }
        }

        Assert.Empty(_threads.Idle);
    }

    [Fact]
    public void Who_has_nothing_to_do_is_as_before_and_may_again()
    {
        Bounce(20);
        Assert.True(_affinity.Look());
        _servers[0].Took(Program);
        Assert.True(_affinity.Look());
        Assert.Equal([100], _threads.Idle);
        Assert.False(_affinity.Look());
        Assert.Empty(_threads.Idle);
        Bounce(20);
        Assert.Equal([100, 101], _threads.Idle.Order());
    }

    [Fact]
    public void A_long_message_is_served_as_before()
    {
        Bounce(20);
        _threads.Runnable.Add(100);
        _affinity.Look();
        _threads.Ran[100] = WakeAffinity.Tick.Ticks * 100;
        Assert.False(_affinity.Look());
        Bounce(20);
        Assert.Equal([100, 101], _threads.Idle.Order());
    }

    [Fact]
    public void Who_was_kept_from_the_processor_does_not_try_it_again_for_longer_and_longer()
    {
        for (int barMs = 250; barMs < 4000; barMs *= 2)
        {
            Bounce(20);
            Assert.Contains(100, _threads.Idle);
            _threads.Runnable.Add(100);
            _affinity.Look();
            _affinity.Look();
            Assert.Empty(_threads.Idle);
            _threads.Runnable.Clear();
            _time.Advance(TimeSpan.FromMilliseconds(barMs - 1));
            Bounce(20);
            Assert.DoesNotContain(100, _threads.Idle);
            Assert.Contains(101, _threads.Idle);
            _time.Advance(TimeSpan.FromMilliseconds(1));
        }

        // A stay that ends by itself makes up for that.
        Bounce(20);
        _time.Advance(TimeSpan.FromMilliseconds(1001));
        _servers[0].Took(Other);
        _servers[0].Took(Other);
        Assert.DoesNotContain(100, _threads.Idle);
        Bounce(20);
        Assert.Contains(100, _threads.Idle);
    }

    [Fact]
    public void Nobody_stays_idle_whom_the_watch_does_not_know_of()
    {
        // The server's calls and the watch's, in whatever order the machine makes of them: the fake takes its time with each.
        FakeThreads slow = new() { Delays = true };
        WakeAffinity affinity = new(slow, TimeProvider.System);
        WakeAffinity.Server[] servers = [.. Enumerable.Range(0, 4).Select(i => affinity.Join(queue: i, thread: i + 1))];
        using CancellationTokenSource stop = new();
        Thread watch = new(() =>
        {
            while (!stop.IsCancellationRequested)
            {
                affinity.Look();
            }
        });
        watch.Start();
        Thread[] threads = [.. Enumerable.Range(0, 2).Select(s => new Thread(() =>
        {
            while (slow.Changes < 500)
            {
                servers[2 * s].Took(Program + (uint)s);
                servers[(2 * s) + 1].Took(Program + (uint)s);
            }
        }))];
        Array.ForEach(threads, thread => thread.Start());
        Array.ForEach(threads, thread => thread.Join());
        stop.Cancel();
        watch.Join();
        while (affinity.Look())
        {
        }

        Assert.Empty(slow.Idle);
        Assert.All(servers, server => Assert.False(server.IsIdle));
    }

    /// <summary>The real thing: whatever the servers of a busy mount were in between, they are usual threads when it is quiet.</summary>
    [Fact]
    public void The_servers_of_a_quiet_mount_are_usual_threads()
    {
        Requires.Root();
        Requires.That(FuseRingSwitch.IsThere, "FUSE over io_uring is not there");
        using Mounted at = new(new FuseMountOptions().With("io_uring"));
        at.Shell("for i in $(seq 500); do echo $i >f$i; done; cat f* | wc -l");
        string[] servers = [.. Directory.GetDirectories("/proc/self/task").Where(task => File.ReadAllText($"{task}/comm").StartsWith("exo-fuse-cpu", StringComparison.Ordinal))];
        Assert.NotEmpty(servers);
        Assert.True(
            SpinWait.SpinUntil(() => servers.All(task => PolicyOf(task) != SchedIdle), TimeSpan.FromSeconds(30)),
            "a server of a quiet mount has SCHED_IDLE still");
    }

    // proc_pid_stat(5): field 41; the third stands behind the name in brackets.
    private static string PolicyOf(string task)
    {
        string stat = File.ReadAllText($"{task}/stat");
        return stat[(stat.LastIndexOf(')') + 2)..].Split(' ')[41 - 3];
    }

    private sealed class FakeThreads : WakeAffinity.IThreads
    {
        private readonly ConcurrentDictionary<int, bool> _idle = new();
        private int _changes;

        public bool Delays { get; init; }

        public int Changes => Volatile.Read(ref _changes);

        public IEnumerable<int> Idle => _idle.Where(thread => thread.Value).Select(thread => thread.Key);

        public HashSet<int> Runnable { get; } = [];

        public Dictionary<int, long> Ran { get; } = [];

        public void SetIdle(int thread, bool isIdle)
        {
            if (Delays)
            {
                Thread.SpinWait(Random.Shared.Next(200));
            }

            _idle[thread] = isIdle;
            Interlocked.Increment(ref _changes);
        }

        public bool IsRunnable(int thread) => Runnable.Contains(thread);

        public long RanNanoseconds(int thread) => Ran.GetValueOrDefault(thread);
    }
}
