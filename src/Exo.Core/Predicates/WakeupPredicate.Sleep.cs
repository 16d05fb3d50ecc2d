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
/// The state is one word, and why a sleep ended is part of it: whoever moves it to ended, by one exchange, settles the outcome. If that was while the sleeper was still lying down,
/// the sleeper finishes the sleep himself when he is done; otherwise the one who ended it does. To finish is to leave every list, and only then
/// to be idle and to tell the sleeper: so the next sleep finds nothing of the last one.
/// <para>
/// The environment's list is different: a predicate stays in that of whoever slept on it last, until it is disposed. So before a sleeper lies he looks whether his environment has ended, and an environment that
/// ends sets that first and then looks who lies: one of the two sees the other.
/// </para>
/// </content>
public sealed partial class WakeupPredicate
{
    // | product that held: 24 bits | end: 6 bits | phase: 2 bits |
    private const int Idle = 0;
    private const int Arming = 1;
    private const int Sleeping = 2;
    private const int Ended = 3;
    private const int PhaseMask = 3;
    private const int EndShift = 2;
    private const int EndMask = 63;
    private const int ProductShift = 8;

    private readonly SleepTask _task = new();
    private readonly ITimer? _timer;
    private int _state;
    private long _wakeOrder;
    private ExoEnvironment? _sleeper;
    private ISleeper? _toTell;
    private ExoEnvironment? _listedIn;
    private CancellationTokenRegistration _cancellation;

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

    /// <summary>Whether an environment sleeps on it, for those who look at that. Changes under the reader.</summary>
    internal bool IsSleptOnBy(ExoEnvironment environment) =>
        (Volatile.Read(ref _state) & PhaseMask) is Arming or Sleeping && Volatile.Read(ref _sleeper) == environment;

    /// <summary>Sleeps until a product holds. Allocates nothing.</summary>
    internal ValueTask<ulong> SleepAsync(ExoEnvironment environment, CancellationToken cancellationToken)
    {
        if (cancellationToken.IsCancellationRequested)
        {
            return ValueTask.FromCanceled<ulong>(cancellationToken);
        }

        if (Evaluate() is not 0 and var tag)
        {
            return new ValueTask<ulong>(tag);
        }

        Arm();
        _task.Reset();
        short token = _task.Version;
        LieDown(environment, _task, cancellationToken);
        return new ValueTask<ulong>(_task, token);
    }

    /// <summary>Sleeps until a product holds, which is looked at once the sleeper is listed. The sleeper is told on whichever thread ends the sleep, perhaps before this returns.</summary>
    /// <exception cref="Exo.Capabilities.AccessDeniedException">A binding was revoked.</exception>
    /// <exception cref="ObjectDisposedException">The predicate is disposed.</exception>
    internal void Sleep(ExoEnvironment environment, ISleeper sleeper, CancellationToken cancellationToken)
    {
        Arm();
        LieDown(environment, sleeper, cancellationToken);
    }

    /// <summary>
    /// <see cref="Sleep"/> for a predicate that stands by (<see cref="StandBy"/>), by one who holds the lock of its only watch and has seen under it that no product holds: whoever rings comes after him.
    /// </summary>
    /// <returns>False: nothing was done; sleep as others do, without the lock.</returns>
    internal bool TrySleepLocked(ISleeper sleeper)
    {
        ExoEnvironment environment = _listedIn!;
        Watcher watcher = _watchers[0];
        Invariant.Check(_standsBy && watcher.Watch.Lock.IsHeldByCurrentThread);
        if (Volatile.Read(ref _state) != Idle)
        {
            return false;
        }

        // Who ends the sleep of a predicate that stands by has the lock, and has set before why it ends.
        if (Volatile.Read(ref _isUnbound) != 0 || environment.HasEnded)
        {
            return false;
        }

        _sleeper = environment;
        _toTell = sleeper;
        watcher.Watch.Add(watcher);
        Volatile.Write(ref _state, Sleeping);
        environment.Count(EnvironmentCounter.Sleeps);
        return true;
    }

    /// <summary>
    /// For a predicate over one frame, for one environment and for its whole life: the frame counts it as a sleeper also while nobody sleeps, and the environment has it on its list, so that a sleep costs neither. Uses of the frame by others are dearer for it. Once, before the first sleep.
    /// </summary>
    internal void StandBy(ExoEnvironment environment)
    {
        Invariant.Check(_watchers.Length == 1 && !_usesTime);
        _pool!.AddWatcher(_watchers[0].Frame);
        _standsBy = true;
        ListIn(environment);
    }

    /// <summary>
    /// Under a watch's lock: evaluates, and ends the sleep if a product holds. True: the caller finishes it, once it has let the lock go.
    /// </summary>
    internal bool TryWake() => TryWake(out _);

    /// <inheritdoc cref="TryWake()"/>
    /// <param name="hasChanged">Whether what others sleep for may have been changed.</param>
    internal bool TryWake(out bool hasChanged)
    {
        hasChanged = false;
        if ((Volatile.Read(ref _state) & PhaseMask) is not (Arming or Sleeping))
        {
            return false;
        }

        int product = EvaluatePinned();
        if (product != 0)
        {
            bool isMine = TryEnd(SleepEnd.Woken, product) == Ending.IFinish;
            hasChanged = isMine && _standsBy && _toTell!.HoldsLocked();
            return isMine;
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
        if (!_standsBy)
        {
            _pool!.RemoveWatcher(watcher.Frame);
        }
    }

    /// <summary>Completes a sleep that <see cref="TryWake()"/> ended.</summary>
    internal void Finish()
    {
        foreach (Watcher watcher in _watchers)
        {
            // Who lay down has linked it, and whoever ended the sleep may have unlinked it: nobody else does, so this needs no lock to be true.
            if (watcher.IsLinked)
            {
                lock (watcher.Watch.Lock)
                {
                    Unlink(watcher);
                }
            }
        }

        CancellationToken cancelled = default;
        if (_cancellation != default)
        {
            // Waits for a callback that is under way, so that it cannot end the next sleep; it takes no lock that is held here.
            _cancellation.Dispose();
            cancelled = _cancellation.Token;
            _cancellation = default;
        }

        int state = Volatile.Read(ref _state);
        Invariant.Check((state & PhaseMask) == Ended);
        SleepEnd end = (SleepEnd)((state >> EndShift) & EndMask);
        ExoEnvironment sleeper = _sleeper!;
        ISleeper toTell = _toTell!;
        long wakeOrder = _wakeOrder;
        _sleeper = null;
        _toTell = null;
        _wakeOrder = 0;
        if (end == SleepEnd.Woken)
        {
            sleeper.Woken(wakeOrder != 0 ? wakeOrder : sleeper.NextWakeOrder());
        }

        Volatile.Write(ref _state, Idle);
        if (end == SleepEnd.Woken)
        {
            toTell.SleepEnded(_products[(state >> ProductShift) - 1].Tag, null);
            return;
        }

        toTell.SleepEnded(0, end switch
        {
            SleepEnd.Cancelled => new OperationCanceledException(cancelled),
            SleepEnd.Revoked => BindingPoint.Revoked("a frame of the predicate", Exo.Capabilities.Rights.Read),
            SleepEnd.EnvironmentEnded => new ObjectDisposedException(sleeper.ToString()),
            _ => new ObjectDisposedException(nameof(WakeupPredicate)),
        });
    }

    /// <summary>The environment has ended: if it sleeps here, it does no longer.</summary>
    internal void EndWithEnvironment(ExoEnvironment environment)
    {
        // One that stands by does so for this environment, and is looked at under its lock.
        if (_standsBy || Volatile.Read(ref _sleeper) == environment)
        {
            End(SleepEnd.EnvironmentEnded);
        }
    }

    /// <summary>From idle to arming: the caller lies down next.</summary>
    private void Arm()
    {
        if (Interlocked.CompareExchange(ref _state, Arming, Idle) != Idle)
        {
            ThrowIfUnbound();
            throw new InvalidOperationException("Somebody sleeps on this predicate already; bind one for each sleeper.");
        }

        // Unbinding sets its mark first and ends the sleep then; an end that it makes of this one is undone here.
        if (Volatile.Read(ref _isUnbound) != 0)
        {
            Volatile.Write(ref _state, Idle);
            ThrowIfUnbound();
        }
    }

    private void LieDown(ExoEnvironment environment, ISleeper sleeper, CancellationToken cancellationToken)
    {
        _toTell = sleeper;
        Volatile.Write(ref _sleeper, environment);
        environment.Count(EnvironmentCounter.Sleeps);
        ListIn(environment);

        // After the sleeper is named: see EndWithEnvironment.
        Interlocked.MemoryBarrier();
        if (environment.HasEnded)
        {
            End(SleepEnd.EnvironmentEnded);
        }

        if (cancellationToken.CanBeCanceled)
        {
            _cancellation = cancellationToken.UnsafeRegister(static (predicate, _) => ((WakeupPredicate)predicate!).End(SleepEnd.Cancelled), this);
        }

        // The last look is made when he is listed everywhere: who writes from then on rings, and what was written before is seen.
        int left = _watchers.Length;
        foreach (Watcher watcher in _watchers)
        {
            lock (watcher.Watch.Lock)
            {
                watcher.Watch.Add(watcher);
                if (!_standsBy)
                {
                    _pool!.AddWatcher(watcher.Frame);
                }

                if (--left == 0)
                {
                    TryWake();
                }
            }
        }

        if (_watchers.Length == 0)
        {
            lock (_own.Lock)
            {
                TryWake();
            }
        }

        if (Interlocked.CompareExchange(ref _state, Sleeping, Arming) != Arming)
        {
            Finish();
        }
    }

    /// <summary>By the sleeper, or before anybody can sleep.</summary>
    private void ListIn(ExoEnvironment environment)
    {
        if (_listedIn == environment)
        {
            return;
        }

        _listedIn?.RemoveSleeper(this);
        _listedIn = environment;
        environment.AddSleeper(this);
        if (Volatile.Read(ref _isUnbound) != 0)
        {
            environment.RemoveSleeper(this);
        }
    }

    private void End(SleepEnd end)
    {
        Ending ending;
        if (_standsBy)
        {
            lock (_own.Lock)
            {
                ending = TryEnd(end, 0);
            }
        }
        else
        {
            ending = TryEnd(end, 0);
        }

        if (ending == Ending.IFinish)
        {
            Finish();
        }
    }

    /// <summary>If it stands by, under the lock of its only watch, so that of two who would end it one comes first; otherwise the exchange decides.</summary>
    private Ending TryEnd(SleepEnd end, int product)
    {
        int ended = Ended | (int)end << EndShift | product << ProductShift;
        while (true)
        {
            int state = Volatile.Read(ref _state);
            if (state is not (Arming or Sleeping))
            {
                return Ending.NotMine;
            }

            bool isMine;
            if (_standsBy && state == Sleeping)
            {
                Volatile.Write(ref _state, ended);
                isMine = true;
            }
            else
            {
                isMine = Interlocked.CompareExchange(ref _state, ended, state) == state;
            }

            if (isMine)
            {
                if (state == Arming)
                {
                    return Ending.SleeperFinishes;
                }

                // In the order of the rings; who wakes while he lies down is counted when he is up.
                _wakeOrder = end == SleepEnd.Woken ? _sleeper!.NextWakeOrder() : 0;
                return Ending.IFinish;
            }
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
    private sealed class SleepTask : EnvironmentWork, IValueTaskSource<ulong>, ISleeper
    {
        private static readonly Action<object?> s_enqueue = task => ((SleepTask)task!).Enqueue();

        // Continuations are the sleeper's code: never on the thread of the one who rings.
        private ManualResetValueTaskSourceCore<ulong> _core = new() { RunContinuationsAsynchronously = true };
        private ScheduledEnvironment? _environment;
        private Action<object?>? _continuation;
        private object? _state;

        public short Version => _core.Version;

        public void Reset() => _core.Reset();

        public void SleepEnded(ulong tag, Exception? failure)
        {
            if (failure is null)
            {
                _core.SetResult(tag);
            }
            else
            {
                _core.SetException(failure);
            }
        }

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

        internal override void Run()
        {
            (Action<object?>? continuation, object? state) = (_continuation, _state);
            (_continuation, _state) = (null, null);
            continuation!(state);
        }

        private void Enqueue()
        {
            ScheduledEnvironment environment = _environment!;
            _environment = null;
            environment.Enqueue(this);
        }
    }
}
