// SPDX-License-Identifier: MIT
namespace Exo.Simulation.Timing;

/// <summary>
/// A clock that stands still until it is moved. Timers that come due run on the thread that moves it, in order of their time, those of
/// one moment in the order in which they were set: what a simulation does depends on nothing else. Pass it wherever a <see cref="TimeProvider"/> is taken.
/// </summary>
public sealed class VirtualTime : TimeProvider
{
    private readonly Lock _lock = new();
    private readonly SortedSet<VirtualTimer> _due = new(Comparer<VirtualTimer>.Create(
        static (a, b) => a.DueTicks != b.DueTicks ? a.DueTicks.CompareTo(b.DueTicks) : a.Sequence.CompareTo(b.Sequence)));

    private long _nowTicks;
    private long _sequence;

    /// <summary>Time since the clock was made.</summary>
    public TimeSpan Elapsed => TimeSpan.FromTicks(GetTimestamp());

    /// <summary>Timers that are set.</summary>
    public int TimerCount
    {
        get
        {
            lock (_lock)
            {
                return _due.Count;
            }
        }
    }

    /// <inheritdoc/>
    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    /// <inheritdoc/>
    public override long GetTimestamp() => Volatile.Read(ref _nowTicks);

    /// <inheritdoc/>
    public override DateTimeOffset GetUtcNow() => DateTimeOffset.UnixEpoch + Elapsed;

    /// <inheritdoc/>
    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        ArgumentNullException.ThrowIfNull(callback);
        VirtualTimer timer = new(this, callback, state);
        timer.Change(dueTime, period);
        return timer;
    }

    /// <summary>Moves the clock; timers that come due on the way run here, each at its own time.</summary>
    public void Advance(TimeSpan by)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(by, TimeSpan.Zero);
        long until = GetTimestamp() + by.Ticks;
        while (TryRunNext(until))
        {
        }

        lock (_lock)
        {
            _nowTicks = Math.Max(_nowTicks, until);
        }
    }

    /// <summary>Moves the clock to the next timer and runs it; false if none is set.</summary>
    public bool AdvanceToNext() => TryRunNext(long.MaxValue);

    private bool TryRunNext(long untilTicks)
    {
        VirtualTimer next;
        lock (_lock)
        {
            if (_due.Min is not { } first || first.DueTicks > untilTicks)
            {
                return false;
            }

            next = first;
            _due.Remove(next);
            _nowTicks = Math.Max(_nowTicks, next.DueTicks);
            if (next.PeriodTicks > 0)
            {
                Set(next, next.DueTicks + next.PeriodTicks);
            }
        }

        next.Run();
        return true;
    }

    private void Set(VirtualTimer timer, long dueTicks)
    {
        timer.DueTicks = dueTicks;
        timer.Sequence = ++_sequence;
        _due.Add(timer);
    }

    private sealed class VirtualTimer(VirtualTime time, TimerCallback callback, object? state) : ITimer
    {
        private bool _isDisposed;

        // Both stay as they are while the timer is in the set.
        public long DueTicks { get; set; }

        public long Sequence { get; set; }

        public long PeriodTicks { get; private set; }

        public void Run() => callback(state);

        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            lock (time._lock)
            {
                if (_isDisposed)
                {
                    return false;
                }

                time._due.Remove(this);
                PeriodTicks = period == Timeout.InfiniteTimeSpan ? 0 : period.Ticks;
                if (dueTime != Timeout.InfiniteTimeSpan)
                {
                    time.Set(this, time._nowTicks + dueTime.Ticks);
                }

                return true;
            }
        }

        public void Dispose()
        {
            lock (time._lock)
            {
                _isDisposed = true;
                time._due.Remove(this);
            }
        }

        public ValueTask DisposeAsync()
        {
            Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
