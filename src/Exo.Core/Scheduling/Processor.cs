// SPDX-License-Identifier: MIT
namespace Exo.Core.Scheduling;

/// <summary>
/// What runs environments, one after the other: a thread of the scheduler's, or whoever calls <see cref="Scheduler.RunUntilIdle"/>.
/// <para>
/// Whom the running environment wakes is usually whom it is about to wait for. So the first that it wakes is kept here and runs next, on this processor, on its own credit; a second one goes to
/// the wheel. If the running one goes on instead (<see cref="ShareNext"/>, or the clock's tick), the kept one goes to the wheel too, for another processor to take. One that the clock has found going on is expected
/// to do so again (<see cref="ScheduledEnvironment.GoesOn"/>): whom it wakes goes to the wheel at once, until it has slept soon after waking somebody.
/// </para>
/// </summary>
internal sealed class Processor(Scheduler scheduler, bool isDriven)
{
    [ThreadStatic]
    private static Processor? t_current;

    private ScheduledEnvironment? _next;
    private long _prepaid;
    private ScheduledEnvironment? _target;
    private volatile bool _isSliceOver;
    private volatile bool _isReplaced;
    private bool _gaveWay;
    private bool _hasSentAway;
    private long _runs;

    /// <summary>The one that the calling thread is.</summary>
    public static Processor? Current => t_current;

    public Scheduler Scheduler => scheduler;

    /// <summary>What runs; null: nothing. Read by the clock.</summary>
    public ScheduledEnvironment? Running { get; private set; }

    /// <summary>When the slice ends, by the clock's timestamps. Read by the clock.</summary>
    public long Deadline { get; private set; }

    /// <summary>Another one has taken its place: it retires when what it runs comes to an end. Guarded by the scheduler's lock; the processor's own thread may look without it.</summary>
    public bool IsReplaced
    {
        get => _isReplaced;
        set => _isReplaced = value;
    }

    /// <summary>It has waited for something to run.</summary>
    public bool HasRested { get; set; }

    /// <summary>Environments that it has begun to run. Read by the clock.</summary>
    public long Runs => Volatile.Read(ref _runs);

    /// <summary><see cref="Runs"/> at the clock's last tick: the same still, and what runs has run since.</summary>
    public long RunsAtTick { get; set; }

    public bool IsSliceOver => _isSliceOver || (isDriven && scheduler.Now >= Deadline);

    public bool MustSwitch => _gaveWay || IsSliceOver;

    public void EndSlice() => _isSliceOver = true;

    /// <summary>The running environment gives way, to somebody in particular or to whoever is next.</summary>
    public void GiveWay(ScheduledEnvironment? target)
    {
        _gaveWay = true;
        _target = target;
    }

    /// <summary>Keeps an environment to run next. False: one is kept already. On its own thread: others only take it away.</summary>
    public bool TryKeep(ScheduledEnvironment environment)
    {
        if (isDriven || Volatile.Read(ref _next) is not null || environment.Credit <= 0)
        {
            return false;
        }

        if (Running!.GoesOn)
        {
            _hasSentAway = true;
            return false;
        }

        Volatile.Write(ref _next, environment);
        return true;
    }

    public ScheduledEnvironment? TakeKept() => Volatile.Read(ref _next) is null ? null : Interlocked.Exchange(ref _next, null);

    /// <summary>The running environment goes on: whom it woke is for others.</summary>
    public void ShareNext()
    {
        if (Volatile.Read(ref _next) is not null)
        {
            scheduler.Share(this);
        }
    }

    /// <summary>The body of a scheduler's thread.</summary>
    public void Loop()
    {
        t_current = this;
        if (scheduler.Take(this, null, null) is { } first)
        {
            RunFrom(first, mayPark: true);
        }
    }

    /// <summary>Runs until nothing is runnable, on the calling thread.</summary>
    /// <returns>Slices run.</returns>
    public int Drive()
    {
        if (t_current is not null)
        {
            throw new InvalidOperationException("An environment's code cannot drive a scheduler.");
        }

        t_current = this;
        try
        {
            return scheduler.TryTake(this, null, null) is { } first ? RunFrom(first, mayPark: false) : 0;
        }
        finally
        {
            t_current = null;
        }
    }

    private int RunFrom(ScheduledEnvironment first, bool mayPark)
    {
        int slices = 0;
        SynchronizationContext? outside = SynchronizationContext.Current;
        long now = scheduler.Now;
        for (ScheduledEnvironment? environment = first; environment is not null;)
        {
            ScheduledEnvironment? ran = null;
            long rest = 0;
            if (environment.Environment.TryRun())
            {
                slices++;
                ran = environment;
                Run(environment, now);
                long end = scheduler.Now;
                long ticks = end - now;
                now = end;

                // Whoever gives way gives up the rest of its slice: to somebody in particular, or to all.
                rest = _gaveWay ? Math.Max(0, Deadline - now) : 0;
                if (_hasSentAway)
                {
                    ran.GoesOn = ticks >= scheduler.SoonTicks;
                    _hasSentAway = false;
                }

                ran.Charge(ticks, Math.Max(0, ticks - _prepaid) + (_prepaid > 0 ? 0 : rest));
            }

            ScheduledEnvironment? target = _target;
            _target = null;
            HasRested = false;
            environment = mayPark ? scheduler.Take(this, ran, target) : scheduler.TryTake(this, ran, target);
            _prepaid = environment is not null && environment == target ? rest : 0;
            if (HasRested)
            {
                now = scheduler.Now;
            }
        }

        SynchronizationContext.SetSynchronizationContext(outside);
        return slices;
    }

    private void Run(ScheduledEnvironment environment, long now)
    {
        _gaveWay = false;
        if (_prepaid == 0)
        {
            _isSliceOver = false;
            Deadline = now + scheduler.SliceOf(environment);
        }

        Volatile.Write(ref _runs, _runs + 1);
        Running = environment;
        environment.Run(this);
        Running = null;
    }
}
