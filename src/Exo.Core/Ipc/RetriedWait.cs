// SPDX-License-Identifier: MIT
using System.Runtime.ExceptionServices;
using System.Threading.Tasks.Sources;
using Exo.Capabilities;
using Exo.Core.Environments;
using Exo.Core.Predicates;
using Exo.Core.Scheduling;

namespace Exo.Core.Ipc;

/// <summary>
/// "Sleep until the predicate holds, then try again, until it works" as one object for all waits at an end: what awaits it allocates nothing, and an environment on a scheduler goes on where it was woken, without another turn through its queue.
/// </summary>
internal sealed class RetriedWait<T> : EnvironmentWork, IValueTaskSource<T>, IValueTaskSource, ISleeper, IThreadPoolWorkItem
{
    private readonly ExoEnvironment _environment;
    private readonly WakeupPredicate _ready;
    private readonly Attempt _attempt;
    private readonly Attempt? _attemptLocked;
    private ManualResetValueTaskSourceCore<T> _core;
    private CancellationToken _cancellation;
    private EnvironmentContext? _context;
    private Exception? _failure;
    private int _isTaken;

    // What was had while the one who woke held the lock.
    private T _result = default!;
    private bool _hasResult;

    // A continuation of the environment's own, which needs no exchange: it is left and run in the environment.
    private Action<object?>? _continuation;
    private object? _state;
    private bool _isDone;

    /// <param name="environment">Who sleeps.</param>
    /// <param name="ready">On what.</param>
    /// <param name="attempt">What is tried.</param>
    /// <param name="attemptLocked">The same by whoever wakes, on his thread and under the lock of the watch; may always say that it did not work, and throws nothing.</param>
    public RetriedWait(ExoEnvironment environment, WakeupPredicate ready, Attempt attempt, Attempt? attemptLocked = null)
    {
        _attemptLocked = attemptLocked;
        _environment = environment;
        _ready = ready;
        _attempt = attempt;
    }

    /// <summary>True: it worked. False: sleep. Failures are thrown.</summary>
    public delegate bool Attempt(out T result);

    /// <summary>For the task that stands for the wait.</summary>
    public short Version => _core.Version;

    /// <summary>Takes the place of the one who waits here; what the attempt needs is set after this and before <see cref="Begin"/>.</summary>
    /// <exception cref="InvalidOperationException">Somebody waits here already.</exception>
    public void Take()
    {
        if (Interlocked.Exchange(ref _isTaken, 1) != 0)
        {
            ThrowTaken();
        }
    }

    /// <summary><see cref="Take"/> by one who holds the lock under which everybody takes this place.</summary>
    /// <exception cref="InvalidOperationException">Somebody waits here already.</exception>
    public void TakeLocked()
    {
        if (Volatile.Read(ref _isTaken) != 0)
        {
            ThrowTaken();
        }

        Volatile.Write(ref _isTaken, 1);
    }

    /// <summary>Nobody waits after all.</summary>
    public void Leave() => Volatile.Write(ref _isTaken, 0);

    /// <summary>Begins to wait. The attempt has just failed.</summary>
    /// <returns>For the task that stands for the wait.</returns>
    public short Begin(CancellationToken cancellationToken)
    {
        short version = Reset(cancellationToken);
        Sleep();
        return version;
    }

    /// <summary><see cref="Begin"/> without cancellation, under the lock of the predicate's only watch, under which the attempt has failed.</summary>
    /// <returns>False: the wait has not begun.</returns>
    public bool TryBeginLocked()
    {
        Reset(default);
        return _ready.TrySleepLocked(this);
    }

    public T GetResult(short token)
    {
        if (!_isDone || token != _core.Version)
        {
            try
            {
                return _core.GetResult(token);
            }
            finally
            {
                Leave();
            }
        }

        (T result, Exception? failure) = (_result, _failure);
        _isDone = false;
        Leave();
        return failure is null ? result : Throw(failure);
    }

    void IValueTaskSource.GetResult(short token) => GetResult(token);

    public ValueTaskSourceStatus GetStatus(short token) => _core.GetStatus(token);

    public void OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags)
    {
        if (_context is not null && SynchronizationContext.Current == _context)
        {
            // The attempt that works is made in this environment, which runs nothing else meanwhile: it just goes on there.
            flags &= ~ValueTaskSourceOnCompletedFlags.UseSchedulingContext;
            if (flags == ValueTaskSourceOnCompletedFlags.None && GetStatus(token) == ValueTaskSourceStatus.Pending && _continuation is null)
            {
                _state = state;
                _continuation = continuation;
                return;
            }
        }

        _core.OnCompleted(continuation, state, token, flags);
    }

    bool ISleeper.HoldsLocked()
    {
        _hasResult = _attemptLocked is not null && _attemptLocked(out _result);
        return _hasResult;
    }

    void ISleeper.SleepEnded(ulong tag, Exception? failure)
    {
        _failure = failure;
        if (_context is { } context)
        {
            context.Environment.Enqueue(this);
        }
        else
        {
            ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
        }
    }

    void IThreadPoolWorkItem.Execute() => Run();

    /// <summary>The sleep is over: tries again.</summary>
    internal override void Run()
    {
        Exception? failure = _failure;
        T result = _result;
        try
        {
            if (_hasResult)
            {
                failure = null;
            }


            // Revoked: the attempt tells.
            else if (failure is null or AccessDeniedException)
            {
                if (_attempt(out result))
                {
                    failure = null;
                }
                else if (failure is null)
                {
                    Sleep();
                    return;
                }
                else
                {
                    failure = IpcException.Of(IpcStatus.Revoked);
                }
            }
        }
#pragma warning disable CA1031 // Whatever it is, it comes out where the wait is awaited.
        catch (Exception thrown)
#pragma warning restore CA1031
        {
            failure = thrown;
        }

        if (_continuation is { } continuation)
        {
            object? state = _state;
            (_continuation, _state) = (null, null);
            (_result, _failure) = (result, failure);
            _isDone = true;
            continuation(state);
        }
        else if (failure is null)
        {
            _core.SetResult(result);
        }
        else
        {
            _core.SetException(failure);
        }
    }

    private static void ThrowTaken() => throw new InvalidOperationException("Somebody waits at this end already; open another one for each flow.");

    private static T Throw(Exception failure)
    {
        ExceptionDispatchInfo.Throw(failure);
        return default!;
    }

    private short Reset(CancellationToken cancellationToken)
    {
        _core.Reset();
        _isDone = false;
        _hasResult = false;
        _cancellation = cancellationToken;
        _context = SynchronizationContext.Current as EnvironmentContext;
        return _core.Version;
    }

    private void Sleep()
    {
        try
        {
            _ready.Sleep(_environment, this, _cancellation);
        }
        catch (AccessDeniedException revoked)
        {
            ((ISleeper)this).SleepEnded(0, revoked);
        }
        catch (ObjectDisposedException closed)
        {
            ((ISleeper)this).SleepEnded(0, closed);
        }
    }
}
