// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Exo.Core.Environments;
using Exo.Core.Observation;

namespace Exo.Core.Scheduling;

/// <summary>
/// An environment on a scheduler. Its code is ordinary <c>async</c> methods, started with <see cref="Start(Func{ScheduledEnvironment, ValueTask})"/>: as many as it likes, of which one runs at a
/// time, on whichever processor the scheduler has put the environment. So nothing inside an environment needs a lock, and whatever it awaits
/// (a predicate, a disk read, a <see cref="Task"/>) it goes on within itself.
/// <code>
///   asleep --(something awaited is complete)--> runnable --(its turn)--> running --(awaits)--> asleep
///                                                  ^--(slice over, Yield)---'
/// </code>
/// What stands between two awaits is not interrupted; that is the critical section, and costs nothing. It is on the environment to come to an await, or to ask <see cref="IsSliceOver"/>, before
/// its slice ends: what it runs too long is taken off its next slices, and <see cref="SchedulerOptions.EndAfter"/> bounds it.
/// </summary>
public sealed class ScheduledEnvironment : IDisposable
{
    // In the place of the list of what has arrived: the environment sleeps, and who adds to it makes it runnable.
    private static readonly EnvironmentWork s_asleep = new NoWork();

    private readonly EnvironmentContext _context;
    private readonly CallQueue _calls;

    // Null, or what has arrived since the processor looked last, newest first, or s_asleep. Whoever takes s_asleep away has the environment, and with it the list below, until he has made it runnable.
    private EnvironmentWork? _arrived = s_asleep;

    // What is run next, in order: of whoever has the environment.
    private EnvironmentWork? _first;
    private EnvironmentWork? _last;
    private Action? _sliceBegin;
    private Action? _sliceEnd;
    private long _slices;
    private long _ranTicks;
    private long _granted;
    private long _charged;
    private volatile bool _goesOn;

    internal ScheduledEnvironment(Scheduler scheduler, ExoEnvironment environment, int number)
    {
        Scheduler = scheduler;
        Environment = environment;
        Number = number;
        _context = new EnvironmentContext(this);
        _calls = new CallQueue(this);
    }

    /// <summary>The principal whose code runs here.</summary>
    public ExoEnvironment Environment { get; }

    /// <summary>What it runs on.</summary>
    public Scheduler Scheduler { get; }

    /// <summary>Its number on the scheduler, from 1; never given twice. Positions of <see cref="Scheduler.Slices"/> name their owners by it.</summary>
    public int Number { get; }

    /// <summary>Slices it was given.</summary>
    public long SlicesBegun => Volatile.Read(ref _slices);

    /// <summary>How long it ran.</summary>
    public TimeSpan Ran => Scheduler.Duration(Volatile.Read(ref _ranTicks));

    /// <summary>
    /// True when its slice has ended, or it has: the code that runs should come to an <c>await</c>, best <see cref="Checkpoint"/>. Costs a load.
    /// </summary>
    public bool IsSliceOver => IsOver || Processor is { } processor && processor.IsSliceOver;

    /// <summary>
    /// How long it may run, in ticks: what the wheel has granted less what its processors have charged. Two counts, so that a processor that hands on to an environment it has woken need not take the scheduler's lock to charge.
    /// </summary>
    internal long Credit => Granted - Volatile.Read(ref _charged);

    /// <summary>All that it was ever charged.</summary>
    internal long Charged => Volatile.Read(ref _charged);

    // Guarded by the scheduler's lock, all of these; read without it where a guess is good enough.
    internal long Granted
    {
        get => Volatile.Read(ref _granted);
        set => Volatile.Write(ref _granted, value);
    }

    internal int Positions { get; set; }

    internal WheelPlace Place { get; set; }

    internal ScheduledEnvironment? NextReady { get; set; }

    internal ScheduledEnvironment? PreviousReady { get; set; }

    /// <summary>What runs it now; null: nothing.</summary>
    internal Processor? Processor { get; private set; }

    internal bool IsOver => Environment.HasEnded;

    /// <summary>When it wakes somebody it does not sleep soon: so it was found last. Set by the clock, and by the processor that has it.</summary>
    internal bool GoesOn
    {
        get => _goesOn;
        set => _goesOn = value;
    }

    /// <summary>What it is doing, for those who look at it. Changes under the reader.</summary>
    internal EnvironmentState State =>
        Processor is not null ? EnvironmentState.Running
        : Volatile.Read(ref _arrived) == s_asleep ? EnvironmentState.Asleep
        : EnvironmentState.Runnable;

    internal SynchronizationContext Context => _context;

    /// <summary>
    /// Starts a coroutine of this environment: <paramref name="code"/> runs in its slices. Any thread may start one.
    /// </summary>
    /// <returns>Completes when the code has; its exceptions come out here.</returns>
    /// <exception cref="ObjectDisposedException">The environment has ended.</exception>
    public Task Start(Func<ScheduledEnvironment, ValueTask> code)
    {
        ArgumentNullException.ThrowIfNull(code);
        return Start(async self =>
        {
            await code(self);
            return true;
        });
    }

    /// <summary><see cref="Start(Func{ScheduledEnvironment, ValueTask})"/> for code that gives a result.</summary>
    /// <exception cref="ObjectDisposedException">The environment has ended.</exception>
    public Task<T> Start<T>(Func<ScheduledEnvironment, ValueTask<T>> code)
    {
        ArgumentNullException.ThrowIfNull(code);
        ObjectDisposedException.ThrowIf(IsOver, Environment);
        Coroutine<T> coroutine = new(this, code);
        Enqueue(Coroutine<T>.Begin, coroutine);
        return coroutine.Task;
    }

    /// <summary>
    /// What runs in the environment before anything else whenever it begins a slice (Xok's prologue): the place for signals and for what was asked back. Short, and without awaiting; what it throws is
    /// counted as <see cref="EnvironmentCounter.UpcallFailures"/>.
    /// </summary>
    public void OnSliceBegin(Action? upcall) => Volatile.Write(ref _sliceBegin, upcall);

    /// <summary>What runs in the environment when its slice is over and it gives way (Xok's epilogue), as <see cref="OnSliceBegin"/>. Falling asleep earlier ends no slice.</summary>
    public void OnSliceEnd(Action? upcall) => Volatile.Write(ref _sliceEnd, upcall);

    /// <summary>Gives way if the slice is over; otherwise awaiting it costs a few nanoseconds. What long computations call now and then.</summary>
    /// <exception cref="ObjectDisposedException">The environment has ended; thrown by the await.</exception>
    public SliceAwaitable Checkpoint() => new(this, null, onlyWhenOver: true);

    /// <summary>Gives way, and what is left of the slice up; goes on when it is this environment's turn again.</summary>
    /// <exception cref="ObjectDisposedException">The environment has ended; thrown by the await.</exception>
    public SliceAwaitable Yield() => new(this, null, onlyWhenOver: false);

    /// <summary>
    /// Directed yield: gives the rest of the slice to <paramref name="target"/>, which runs at once if it can run at all, and pays nothing for it.
    /// If it cannot, this is <see cref="Yield"/>.
    /// </summary>
    /// <exception cref="ArgumentException">The target is on another scheduler.</exception>
    /// <exception cref="ObjectDisposedException">The environment has ended; thrown by the await.</exception>
    public SliceAwaitable YieldTo(ScheduledEnvironment target)
    {
        ArgumentNullException.ThrowIfNull(target);
        return target.Scheduler == Scheduler
            ? new SliceAwaitable(this, target, onlyWhenOver: false)
            : throw new ArgumentException("It runs on another scheduler.", nameof(target));
    }

    /// <summary>
    /// Takes it off the scheduler: ends the environment and gives its time slices back. What its code still has to clean up runs when nobody's slice is wasted on it, one step for
    /// each time the hand goes round.
    /// </summary>
    public void Dispose() => Environment.Dispose();

    /// <inheritdoc/>
    public override string ToString() => $"{Environment} on {Scheduler}";

    /// <summary>Something for the environment to do, from any thread. Allocates nothing but a larger queue.</summary>
    internal void Enqueue(Delegate callback, object? state) => _calls.Add(callback, state);

    /// <summary><see cref="Enqueue(Delegate, object?)"/> for what is an object already, and on no queue.</summary>
    internal void Enqueue(EnvironmentWork work)
    {
        while (true)
        {
            EnvironmentWork? arrived = Volatile.Read(ref _arrived);
            if (arrived == s_asleep)
            {
                if (Interlocked.CompareExchange(ref _arrived, null, arrived) == arrived)
                {
                    EnqueueOwn(work);
                    Scheduler.MakeRunnable(this);
                    return;
                }
            }
            else
            {
                work.NextWork = arrived;
                if (Interlocked.CompareExchange(ref _arrived, work, arrived) == arrived)
                {
                    return;
                }
            }
        }
    }

    /// <summary>Runs what there is to do until there is nothing, the slice is over, or the environment gives way. By the processor that has taken it.</summary>
    internal void Run(Processor processor)
    {
        Invariant.Check(_arrived != s_asleep);
        Processor = processor;
        _slices++;
        SynchronizationContext.SetSynchronizationContext(_context);
        Upcall(Volatile.Read(ref _sliceBegin));
        while (!processor.MustSwitch && TakeWork() is { } work)
        {
            work.Run();
        }

        if (processor.IsSliceOver)
        {
            Upcall(Volatile.Read(ref _sliceEnd));
        }

        Processor = null;
    }

    /// <summary>It was run for so long, and pays so much for it. By the processor that has it.</summary>
    internal void Charge(long ranTicks, long chargedTicks)
    {
        Volatile.Write(ref _ranTicks, _ranTicks + ranTicks);
        Volatile.Write(ref _charged, _charged + chargedTicks);
    }

    /// <summary>It stops running. True: there is more to do, and it is runnable again. False: somebody else may have it already.</summary>
    internal bool Stop() => _first is not null || Interlocked.CompareExchange(ref _arrived, s_asleep, null) is not null;

    private EnvironmentWork? TakeWork()
    {
        if (_first is null)
        {
            if (Volatile.Read(ref _arrived) is null)
            {
                return null;
            }

            // Newest first, as they came: turned round.
            for (EnvironmentWork? at = Interlocked.Exchange(ref _arrived, null); at is not null;)
            {
                EnvironmentWork? older = at.NextWork;
                _last ??= at;
                at.NextWork = _first;
                _first = at;
                at = older;
            }
        }

        EnvironmentWork work = _first!;
        _first = work.NextWork;
        if (_first is null)
        {
            _last = null;
        }

        work.NextWork = null;
        return work;
    }

    // By whoever has the environment.
    private void EnqueueOwn(EnvironmentWork work)
    {
        work.NextWork = null;
        if (_last is null)
        {
            _first = work;
        }
        else
        {
            _last.NextWork = work;
        }

        _last = work;
    }

    private void Upcall(Action? upcall)
    {
        if (upcall is null)
        {
            return;
        }

        try
        {
            upcall();
        }
#pragma warning disable CA1031 // Whatever a library OS throws is its own affair; the processor is everybody's.
        catch (Exception)
#pragma warning restore CA1031
        {
            Environment.Count(EnvironmentCounter.UpcallFailures);
        }
    }

    /// <summary>Continuations as whoever completes them gives them. All of them together are one piece of work, which runs one of them and goes to the end of the queue while there are more.</summary>
    private sealed class CallQueue(ScheduledEnvironment environment) : EnvironmentWork
    {
        private readonly Lock _lock = new();
        private (Delegate Callback, object? State)[] _calls = new (Delegate, object?)[8];
        private int _oldest;
        private int _count;
        private bool _isQueued;

        public void Add(Delegate callback, object? state)
        {
            lock (_lock)
            {
                if (_count == _calls.Length)
                {
                    (Delegate, object?)[] larger = new (Delegate, object?)[_calls.Length * 2];
                    for (int i = 0; i < _count; i++)
                    {
                        larger[i] = _calls[(_oldest + i) & (_calls.Length - 1)];
                    }

                    _calls = larger;
                    _oldest = 0;
                }

                _calls[(_oldest + _count++) & (_calls.Length - 1)] = (callback, state);
                if (_isQueued)
                {
                    return;
                }

                _isQueued = true;
            }

            environment.Enqueue(this);
        }

        internal override void Run()
        {
            Delegate callback;
            object? state;
            bool hasMore;
            lock (_lock)
            {
                ref (Delegate Callback, object? State) oldest = ref _calls[_oldest];
                (callback, state) = oldest;
                oldest = default;
                _oldest = (_oldest + 1) & (_calls.Length - 1);
                hasMore = --_count > 0;
                _isQueued = hasMore;
            }

            if (hasMore)
            {
                environment.EnqueueOwn(this);
            }

            switch (callback)
            {
                case Action<object?> action:
                    action(state);
                    break;
                case Action action:
                    action();
                    break;
                default:
                    ((SendOrPostCallback)callback)(state);
                    break;
            }
        }
    }

    private sealed class NoWork : EnvironmentWork
    {
        internal override void Run() => Invariant.Check(false);
    }

    private sealed class Coroutine<T>(ScheduledEnvironment self, Func<ScheduledEnvironment, ValueTask<T>> code)
    {
        public static readonly Action<object?> Begin = coroutine => _ = ((Coroutine<T>)coroutine!).RunAsync();

        private readonly TaskCompletionSource<T> _done = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task<T> Task => _done.Task;

        private async Task RunAsync()
        {
            try
            {
                _done.SetResult(await code(self));
            }
            catch (OperationCanceledException cancelled)
            {
                _done.SetCanceled(cancelled.CancellationToken);
            }
#pragma warning disable CA1031 // It comes out where the coroutine is awaited.
            catch (Exception exception)
#pragma warning restore CA1031
            {
                _done.SetException(exception);
            }
        }
    }
}

/// <summary>Where what an environment's code awaits goes on: in the environment.</summary>
internal sealed class EnvironmentContext(ScheduledEnvironment environment) : SynchronizationContext
{
    public ScheduledEnvironment Environment => environment;

    public override void Post(SendOrPostCallback d, object? state) => environment.Enqueue(d, state);

    public override SynchronizationContext CreateCopy() => this;

    /// <summary>Waiting for another environment on its processor would be a way to wait for oneself.</summary>
    public override void Send(SendOrPostCallback d, object? state)
    {
        if (Current != this)
        {
            throw new NotSupportedException("An environment's code is not run on other threads; Start it, and await that.");
        }

        Debug.Assert(environment.Processor is not null);
        d(state);
    }
}
