// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Exo.Core.Environments;

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
    private readonly Lock _inboxLock = new();
    private readonly EnvironmentContext _context;
    private Work[] _inbox = new Work[8];
    private int _inboxFirst;
    private int _inboxCount;
    private RunState _state;
    private Action? _sliceBegin;
    private Action? _sliceEnd;
    private long _slices;
    private long _ranTicks;

    internal ScheduledEnvironment(Scheduler scheduler, ExoEnvironment environment, int number)
    {
        Scheduler = scheduler;
        Environment = environment;
        Number = number;
        _context = new EnvironmentContext(this);
    }

    private enum RunState : byte
    {
        Asleep,
        Runnable,
        Running,
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

    // Guarded by the scheduler's lock, all of these.
    internal long Credit { get; set; }

    internal int Positions { get; set; }

    internal WheelPlace Place { get; set; }

    internal ScheduledEnvironment? NextReady { get; set; }

    internal ScheduledEnvironment? PreviousReady { get; set; }

    /// <summary>What runs it now; null: nothing.</summary>
    internal Processor? Processor { get; private set; }

    internal bool IsOver => Environment.HasEnded;

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
    internal void Enqueue(Delegate callback, object? state)
    {
        lock (_inboxLock)
        {
            if (_inboxCount == _inbox.Length)
            {
                Work[] larger = new Work[_inbox.Length * 2];
                for (int i = 0; i < _inboxCount; i++)
                {
                    larger[i] = _inbox[(_inboxFirst + i) & (_inbox.Length - 1)];
                }

                _inbox = larger;
                _inboxFirst = 0;
            }

            _inbox[(_inboxFirst + _inboxCount++) & (_inbox.Length - 1)] = new Work(callback, state);
            if (_state != RunState.Asleep)
            {
                return;
            }

            _state = RunState.Runnable;
        }

        Scheduler.MakeRunnable(this);
    }

    /// <summary>Runs what there is to do until there is nothing, the slice is over, or the environment gives way. By the processor that has taken it.</summary>
    internal void Run(Processor processor)
    {
        // Nobody but the processor that has it changes this from runnable on.
        Invariant.Check(_state == RunState.Runnable);
        _state = RunState.Running;
        Processor = processor;
        _slices++;
        SynchronizationContext? before = SynchronizationContext.Current;
        SynchronizationContext.SetSynchronizationContext(_context);
        Upcall(Volatile.Read(ref _sliceBegin));
        while (!processor.MustSwitch && TryTakeWork(out Work work))
        {
            work.Run();
        }

        if (processor.IsSliceOver)
        {
            Upcall(Volatile.Read(ref _sliceEnd));
        }

        SynchronizationContext.SetSynchronizationContext(before);
        Processor = null;
    }

    /// <summary>It stops running. True: there is more to do, and it is runnable again.</summary>
    internal bool Stop(long ranTicks)
    {
        Volatile.Write(ref _ranTicks, _ranTicks + ranTicks);
        lock (_inboxLock)
        {
            _state = _inboxCount > 0 ? RunState.Runnable : RunState.Asleep;
            return _state == RunState.Runnable;
        }
    }

    private bool TryTakeWork(out Work work)
    {
        lock (_inboxLock)
        {
            if (_inboxCount == 0)
            {
                work = default;
                return false;
            }

            work = _inbox[_inboxFirst];
            _inbox[_inboxFirst] = default;
            _inboxFirst = (_inboxFirst + 1) & (_inbox.Length - 1);
            _inboxCount--;
            return true;
        }
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

    /// <summary>A continuation, as whoever completes it gives it.</summary>
    private readonly struct Work(Delegate callback, object? state)
    {
        public void Run()
        {
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
