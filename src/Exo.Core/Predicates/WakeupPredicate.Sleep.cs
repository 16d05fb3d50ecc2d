// SPDX-License-Identifier: MIT
using System.Threading.Tasks.Sources;
using Exo.Core.Environments;
using Exo.Core.Scheduling;

namespace Exo.Core.Predicates;

/// <content>
/// One sleep at a time, and exactly one who ends it.
/// <code>
///   idle --> arming --> sleeping --> ended --> idle
///               \---------------------^
/// </code>
/// Whoever moves the state to ended, under the sleep's lock, settles the outcome. If that was while the sleeper was still lying down,
/// the sleeper finishes the sleep himself when he is done; otherwise the one who ended it does. To finish is to leave every list, and only then
/// to be idle and to complete the task: so the next sleep finds nothing of the last one.
/// Order of locks: a watch's, then the sleep's.
/// </content>
public sealed partial class WakeupPredicate
{
    private readonly Lock _sleepLock = new();
    private readonly SleepTask _task = new();
    private readonly ITimer? _timer;
    private volatile SleepState _state;
    private SleepEnd _end;
    private ulong _tag;
    private long _wakeOrder;
    private ExoEnvironment? _sleeper;
    private CancellationTokenRegistration _cancellation;

    private enum SleepState
    {
        Idle,
        Arming,
        Sleeping,
        Ended,
    }

    /// <summary>Why a sleep ended.</summary>
    private enum SleepEnd
    {
        Woken,
        Revoked,
        Disposed,
        Cancelled,
        EnvironmentEnded,
    }

    /// <summary>Whether a sleep was ended, and who finishes it.</summary>
    private enum Ending
    {
        NotMine,
        SleeperFinishes,
        IFinish,
    }

    /// <summary>The next in a chain of predicates that one ring has woken; belongs to whoever finishes.</summary>
    internal WakeupPredicate? NextWoken { get; set; }

    /// <summary>Sleeps until a product holds. Allocates nothing.</summary>
    internal ValueTask<ulong> SleepAsync(ExoEnvironment environment, CancellationToken cancellationToken, bool lookFirst = true)
    {
        if (cancellationToken.IsCancellationRequested)
        {
            return ValueTask.FromCanceled<ulong>(cancellationToken);
        }

        if (lookFirst && Evaluate() is not 0 and var tag)
        {
            return new ValueTask<ulong>(tag);
        }

        lock (_sleepLock)
        {
            ThrowIfUnbound();
            if (_state != SleepState.Idle)
            {
                throw new InvalidOperationException("Somebody sleeps on this predicate already; bind one for each sleeper.");
            }

            _sleeper = environment;
            _task.Reset();
            _state = SleepState.Arming;
        }

        short token = _task.Version;
        environment.Count(EnvironmentCounter.Sleeps);
        foreach (Watcher watcher in _watchers)
        {
            lock (watcher.Watch.Lock)
            {
                watcher.Watch.Add(watcher);
                _pool!.AddWatcher(watcher.Frame);
            }
        }

        if (!environment.TryAddSleeper(this))
        {
            End(SleepEnd.EnvironmentEnded);
        }

        if (cancellationToken.CanBeCanceled)
        {
            _cancellation = cancellationToken.UnsafeRegister(static (predicate, _) => ((WakeupPredicate)predicate!).End(SleepEnd.Cancelled), this);
        }

        // Listed everywhere: who writes from now on rings. What was written before is seen here.
        lock (_own.Lock)
        {
            TryWake();
        }

        bool isOver;
        lock (_sleepLock)
        {
            isOver = _state == SleepState.Ended;
            if (!isOver)
            {
                _state = SleepState.Sleeping;
            }
        }

        if (isOver)
        {
            Finish();
        }

        return new ValueTask<ulong>(_task, token);
    }

    /// <summary>
    /// Under a watch's lock: evaluates, and ends the sleep if a product holds. True: the caller finishes it, once it has let the lock go.
    /// </summary>
    internal bool TryWake()
    {
        if (_state is not (SleepState.Arming or SleepState.Sleeping))
        {
            return false;
        }

        ulong tag = EvaluatePinned();
        if (tag != 0)
        {
            return TryEnd(SleepEnd.Woken, tag) == Ending.IFinish;
        }

        if (_usesTime)
        {
            SetTimer();
        }

        return false;
    }

    /// <summary>Under the watch's lock.</summary>
    internal void Unlink(Watcher watcher)
    {
        watcher.Watch.Remove(watcher);
        _pool!.RemoveWatcher(watcher.Frame);
    }

    /// <summary>Completes a sleep that <see cref="TryWake"/> ended.</summary>
    internal void Finish()
    {
        foreach (Watcher watcher in _watchers)
        {
            lock (watcher.Watch.Lock)
            {
                if (watcher.IsLinked)
                {
                    Unlink(watcher);
                }
            }
        }

        // Waits for a callback that is under way, so that it cannot end the next sleep; it takes no lock that is held here.
        _cancellation.Dispose();
        CancellationToken cancelled = _cancellation.Token;
        _cancellation = default;
        ExoEnvironment sleeper = _sleeper!;
        sleeper.RemoveSleeper(this);
        SleepEnd end;
        ulong tag;
        lock (_sleepLock)
        {
            Invariant.Check(_state == SleepState.Ended);
            end = _end;
            tag = _tag;
            _sleeper = null;
            if (end == SleepEnd.Woken)
            {
                sleeper.Woken(_wakeOrder);
            }

            _state = SleepState.Idle;
        }

        switch (end)
        {
            case SleepEnd.Woken:
                _task.SetResult(tag);
                break;
            case SleepEnd.Cancelled:
                _task.SetException(new OperationCanceledException(cancelled));
                break;
            case SleepEnd.Revoked:
                _task.SetException(BindingPoint.Revoked("a frame of the predicate", Exo.Capabilities.Rights.Read));
                break;
            case SleepEnd.EnvironmentEnded:
                _task.SetException(new ObjectDisposedException(sleeper.ToString()));
                break;
            default:
                _task.SetException(new ObjectDisposedException(nameof(WakeupPredicate)));
                break;
        }
    }

    /// <summary>The environment that sleeps has ended.</summary>
    internal void EndWithEnvironment() => End(SleepEnd.EnvironmentEnded);

    private void End(SleepEnd end)
    {
        if (TryEnd(end, 0) == Ending.IFinish)
        {
            Finish();
        }
    }

    private Ending TryEnd(SleepEnd end, ulong tag)
    {
        lock (_sleepLock)
        {
            SleepState state = _state;
            if (state is not (SleepState.Arming or SleepState.Sleeping))
            {
                return Ending.NotMine;
            }

            _end = end;
            _tag = tag;
            _wakeOrder = end == SleepEnd.Woken ? _sleeper!.NextWakeOrder() : 0;
            _state = SleepState.Ended;
            return state == SleepState.Sleeping ? Ending.IFinish : Ending.SleeperFinishes;
        }
    }

    private void OnTime()
    {
        bool finish;
        lock (_own.Lock)
        {
            finish = TryWake();
        }

        if (finish)
        {
            Finish();
        }
    }

    /// <summary>Has the predicate evaluated when the next comparison with the time may turn. Under a watch's lock.</summary>
    private void SetTimer()
    {
        ulong now = (ulong)_time.GetUtcNow().UtcTicks;
        ulong next = ulong.MaxValue;
        foreach (PredicateProduct product in _products)
        {
            foreach (PredicateTerm term in product.Terms)
            {
                bool left = term.Left.Kind == PredicateValueKind.Time;
                if (left == (term.Right.Kind == PredicateValueKind.Time))
                {
                    continue;
                }

                // A comparison with v turns when the time reaches v, or when it leaves it.
                ulong moment = ValueOf(left ? term.Right : term.Left);
                moment = moment == now ? now + 1 : moment;
                if (moment > now && moment < next)
                {
                    next = moment;
                }
            }
        }

        if (next != ulong.MaxValue)
        {
            // Timers count milliseconds and cut: one more, so as not to come early. A long wait is made in steps.
            ulong ticks = Math.Min(next - now, (ulong)TimeSpan.TicksPerDay);
            _timer!.Change(TimeSpan.FromTicks((long)ticks + TimeSpan.TicksPerMillisecond - 1), Timeout.InfiniteTimeSpan);
        }
    }

    private unsafe ulong ValueOf(PredicateValue value)
    {
        if (value.Kind == PredicateValueKind.Constant)
        {
            return value.Constant;
        }

        // As in EvaluatePinned.
        nint address = _pool!.Address(value.Binding.Named.Number) + value.OffsetBytes;
        return value.LengthBytes == 4 ? Volatile.Read(ref *(uint*)address) : Volatile.Read(ref *(ulong*)address);
    }

    /// <summary>What a sleeper awaits: one object for all sleeps on a predicate.</summary>
    private sealed class SleepTask : IValueTaskSource<ulong>
    {
        private static readonly Action<object?> s_enqueue = task => ((SleepTask)task!).Enqueue();

        // Continuations are the sleeper's code: never on the thread of the one who rings.
        private ManualResetValueTaskSourceCore<ulong> _core = new() { RunContinuationsAsynchronously = true };
        private ScheduledEnvironment? _environment;
        private Action<object?>? _continuation;
        private object? _state;

        public short Version => _core.Version;

        public void Reset() => _core.Reset();

        public void SetResult(ulong tag) => _core.SetResult(tag);

        public void SetException(Exception exception) => _core.SetException(exception);

        public ulong GetResult(short token) => _core.GetResult(token);

        public ValueTaskSourceStatus GetStatus(short token) => _core.GetStatus(token);

        public void OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags)
        {
            if ((flags & ValueTaskSourceOnCompletedFlags.UseSchedulingContext) != 0 && SynchronizationContext.Current is EnvironmentContext context)
            {
                // The sleeper is on a scheduler: who rings only puts him on his queue, so that is done in place, and allocates nothing.
                _environment = context.Environment;
                _continuation = continuation;
                _state = state;
                _core.RunContinuationsAsynchronously = false;
                _core.OnCompleted(s_enqueue, this, token, flags & ~ValueTaskSourceOnCompletedFlags.UseSchedulingContext);
                return;
            }

            _core.RunContinuationsAsynchronously = true;
            _core.OnCompleted(continuation, state, token, flags);
        }

        private void Enqueue()
        {
            (ScheduledEnvironment? environment, Action<object?>? continuation, object? state) = (_environment, _continuation, _state);
            (_environment, _continuation, _state) = (null, null, null);
            environment!.Enqueue(continuation!, state);
        }
    }
}
