// SPDX-License-Identifier: MIT
using System.Globalization;
using Exo.Core.Linux;

namespace Exo.Adapters.Fuse.Mounting;

/// <summary>
/// Keeps a program on its processor that asks one thing after the other. It is woken by a thread of that very processor, which still runs: so the kernel puts it on another one if any is idle. From there the next
/// message goes to that processor's queue, whose thread wakes it back to the first; each message then costs an interrupt to a processor that sleeps, and everything that is in the other's caches:
/// <code>
///   processor 0   program ─ sends ┐       ┌ server 0 ─ wakes        ┌ program ─ sends ┐
///                                 └───────┘       │                 │                 └─ server 0 ...
///   processor 1   asleep                          └ program ─ sends ┴ server 1 ─ wakes
/// </code>
/// A thread of the policy SCHED_IDLE is no load to the kernel: who is woken where such a one runs stays there, and runs at once (<c>select_idle_sibling</c> and <c>check_preempt_wakeup_fair</c> of kernel/sched/fair.c). So servers take
/// that policy when they see a program come back through another queue (<see cref="BouncesMin"/>). It has a price: whoever wants the processor for something else has it before them. Therefore a
/// server that has taken no message between two ticks of the watch gets its own policy back, whether it had nothing to do or did not get to it; and if it did not get to it, it does not try that again for a
/// while.
/// <para>Where another policy than the usual one was given, or the way back is not allowed (it is the superuser's), all stays as it is.</para>
/// </summary>
/// <param name="threads">The threads of this process.</param>
/// <param name="time">Where time comes from.</param>
#pragma warning disable CA1001 // The event makes no wait handle: there is nothing to dispose of.
internal sealed class WakeAffinity(WakeAffinity.IThreads threads, TimeProvider time)
#pragma warning restore CA1001
{
    /// <summary>Between two looks of the watch at servers of that policy: how long one can be kept from the processor.</summary>
    public static readonly TimeSpan Tick = TimeSpan.FromMilliseconds(1);

    /// <summary>A server takes SCHED_IDLE when so many messages more have come to it from elsewhere than half of those that have not.</summary>
    public const int BouncesMin = 4;

    // The policy is given back after a while in any case: whether it is still good for anything shows only without it.
    private static readonly TimeSpan LongestStay = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan ShortestBar = TimeSpan.FromMilliseconds(250), LongestBar = TimeSpan.FromSeconds(16);

    // By the low bits of a thread's number: that number, and the queue through which it has sent last. Others with the same bits hide it; then a bounce is not seen.
    private readonly long[] _lastQueues = new long[256];
    private readonly IThreads _threads = threads;
    private readonly Lock _lock = new();
    private readonly List<Server> _servers = [];
    private readonly ManualResetEventSlim _anyIdle = new();
    private volatile bool _isOver;

    /// <summary>The kernel's threads, and time; null where this process may not take SCHED_IDLE and give it back.</summary>
    public static WakeAffinity? TryCreate() => IsAllowed() ? new WakeAffinity(new KernelThreads(), TimeProvider.System) : null;

    /// <summary>Whether this thread may take SCHED_IDLE and give it back. Tried by a thread that ends afterwards: one that could not would stay what it is.</summary>
    private static bool IsAllowed()
    {
        bool isAllowed = false;
        Thread trial = new(() => isAllowed = Libc.SchedulingPolicy(0) == Abi.SCHED_OTHER && Libc.SetSchedulingPolicy(0, Abi.SCHED_IDLE) && Libc.SetSchedulingPolicy(0, Abi.SCHED_OTHER)) { IsBackground = true };
        trial.Start();
        trial.Join();
        return isAllowed;
    }

    /// <summary>The calling thread serves a queue from now on.</summary>
    public Server Join(int queue) => Join(queue, Libc.ThreadId());

    internal Server Join(int queue, int thread)
    {
        Server server = new(this, queue, thread);
        lock (_lock)
        {
            _servers.Add(server);
        }

        return server;
    }

    /// <summary>Watches, until <see cref="End"/>. A thread of its own does this, whose policy is the usual one.</summary>
    public void Watch()
    {
        while (true)
        {
            _anyIdle.Wait();
            _anyIdle.Reset();
            while (Look())
            {
                Thread.Sleep(Tick);
            }

            if (_isOver)
            {
                return;
            }
        }
    }

    /// <summary>No server takes SCHED_IDLE any more; those who have it are watched until they have not.</summary>
    public void End()
    {
        _isOver = true;
        _anyIdle.Set();
    }

    /// <summary>One tick: whoever has taken no message since the last gets his policy back. False when nobody is left.</summary>
    internal bool Look()
    {
        bool isAnyIdle = false;
        lock (_lock)
        {
            foreach (Server server in _servers)
            {
                isAnyIdle |= server.Look();
            }
        }

        return isAnyIdle;
    }

    private void Leave(Server server)
    {
        lock (_lock)
        {
            _servers.Remove(server);
        }
    }

    /// <summary>Whether a thread's last message came through another queue; from now on this one is its last.</summary>
    private bool HasComeFromElsewhere(uint thread, int queue)
    {
        ref long last = ref _lastQueues[thread % (uint)_lastQueues.Length];
        long now = ((long)thread << 16) | (uint)queue;
        long before = Volatile.Read(ref last);
        if (before == now)
        {
            return false;
        }

        Volatile.Write(ref last, now);
        return before >> 16 == thread;
    }

    /// <summary>
    /// One thread that serves a queue. It and the watch change its policy; what it is, or is becoming, is one word:
    /// <code>
    ///   Usual ─ the server ─> Taking ─ has taken it ─> Idle
    ///     ^                      └───── the watch, or the server ─────> Returning ─┐
    ///     └───────────────────────── has it back ──────────────────────────────────┘
    /// </code>
    /// A server that has taken the policy, and finds that the watch was there meanwhile, gives it back itself.
    /// </summary>
    internal sealed class Server(WakeAffinity affinity, int queue, int thread) : IDisposable
    {
        private const int Usual = 0, Taking = 1, Idle = 2, Returning = 3;

        private int _policy;
        private long _taken;
        private long _takenAtLastLook = -1;
        private long _ranNsAtLastLook;
        private int _bounces;
        private long _idleSince;
        private long _barredUntil;
        private TimeSpan _bar = ShortestBar;

        /// <summary>Whether it has SCHED_IDLE, or is about to.</summary>
        public bool IsIdle => Volatile.Read(ref _policy) is Taking or Idle;

        /// <summary>A message has come. By the server's thread.</summary>
        /// <param name="sender">The thread that has sent it; 0 is the kernel itself.</param>
        public void Took(uint sender)
        {
            Volatile.Write(ref _taken, _taken + 1);
            if (sender == 0)
            {
                return;
            }

            if (!affinity.HasComeFromElsewhere(sender, queue))
            {
                _bounces = Math.Max(0, _bounces - 1);
                if (Volatile.Read(ref _policy) == Idle && affinity.Elapsed(_idleSince) > LongestStay)
                {
                    // Nobody has been kept from the processor all the while.
                    _bar = ShortestBar;
                    TryReturn(Idle);
                }

                return;
            }

            _bounces += 2;
            if (_bounces >= 2 * BouncesMin && Volatile.Read(ref _policy) == Usual)
            {
                _bounces = 0;
                TryTake();
            }
        }

        public void Dispose() => affinity.Leave(this);

        /// <summary>By the watch. Whether it must look again.</summary>
        public bool Look()
        {
            int policy = Volatile.Read(ref _policy);
            long taken = Volatile.Read(ref _taken);
            if (policy is not (Taking or Idle))
            {
                _takenAtLastLook = -1;
                return false;
            }

            long ranNs = affinity._threads.RanNanoseconds(thread);
            if (taken != _takenAtLastLook)
            {
                (_takenAtLastLook, _ranNsAtLastLook) = (taken, ranNs);
                return true;
            }

            // Whoever wants the processor and has hardly had it in all this time is kept from it by others; a long message is no reason.
            _takenAtLastLook = -1;
            bool isStarved = ranNs - _ranNsAtLastLook < Tick.TotalNanoseconds / 4 && affinity._threads.IsRunnable(thread);
            if (!TryReturn(policy))
            {
                return true;
            }

            if (isStarved)
            {
                Volatile.Write(ref _barredUntil, affinity.Now + affinity.Ticks(_bar));
                _bar = _bar * 2 < LongestBar ? _bar * 2 : LongestBar;
            }

            return false;
        }

        private void TryTake()
        {
            long now = affinity.Now;
            if (affinity._isOver || now < Volatile.Read(ref _barredUntil) || Interlocked.CompareExchange(ref _policy, Taking, Usual) != Usual)
            {
                return;
            }

            _idleSince = now;
            affinity._anyIdle.Set();
            affinity._threads.SetIdle(thread, isIdle: true);
            if (Interlocked.CompareExchange(ref _policy, Idle, Taking) != Taking)
            {
                affinity._threads.SetIdle(thread, isIdle: false);
            }
        }

        private bool TryReturn(int from)
        {
            if (Interlocked.CompareExchange(ref _policy, Returning, from) != from)
            {
                return false;
            }

            affinity._threads.SetIdle(thread, isIdle: false);
            Volatile.Write(ref _policy, Usual);
            return true;
        }
    }

    private long Now => time.GetTimestamp();

    private TimeSpan Elapsed(long since) => time.GetElapsedTime(since);

    private long Ticks(TimeSpan span) => (long)(span.TotalSeconds * time.TimestampFrequency);

    /// <summary>What is asked of the kernel about threads of this process, by their numbers.</summary>
    internal interface IThreads
    {
        /// <summary>Gives it SCHED_IDLE, or the usual policy back.</summary>
        void SetIdle(int thread, bool isIdle);

        /// <summary>Whether it runs, or waits for a processor and for nothing else.</summary>
        bool IsRunnable(int thread);

        /// <summary>Processor time that it has used.</summary>
        long RanNanoseconds(int thread);
    }

    private sealed class KernelThreads : IThreads
    {
        public void SetIdle(int thread, bool isIdle) => Libc.SetSchedulingPolicy(thread, isIdle ? Abi.SCHED_IDLE : Abi.SCHED_OTHER);

        public bool IsRunnable(int thread)
        {
            try
            {
                // The state stands behind the name in brackets, which may have some of its own (proc_pid_stat(5)).
                string stat = File.ReadAllText(string.Create(CultureInfo.InvariantCulture, $"/proc/self/task/{thread}/stat"));
                return stat.AsSpan(stat.LastIndexOf(')') + 1).StartsWith(" R");
            }
            catch (IOException)
            {
                return false;   // it has ended
            }
        }

        public long RanNanoseconds(int thread) => Libc.ThreadTimeNanoseconds(thread);
    }
}
