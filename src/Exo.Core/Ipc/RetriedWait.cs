// SPDX-License-Identifier: MIT
using System.Threading.Tasks.Sources;
using Exo.Capabilities;
using Exo.Core.Environments;
using Exo.Core.Predicates;
using Exo.Core.Scheduling;

namespace Exo.Core.Ipc;

/// <summary>
/// "Sleep until the predicate holds, then try again, until it works" as one object for all waits at an end: what awaits it allocates nothing, and an environment on a scheduler goes on where it was woken, without another turn through its queue.
/// </summary>
internal sealed class RetriedWait<T> : IValueTaskSource<T>, IValueTaskSource
{
    private readonly ExoEnvironment _environment;
    private readonly WakeupPredicate _ready;
    private readonly Attempt _attempt;
    private readonly Action _resume;
    private ManualResetValueTaskSourceCore<T> _core;
    private ValueTask<ulong> _sleep;
    private CancellationToken _cancellation;
    private SynchronizationContext? _context;
    private int _isTaken;

    /// <param name="environment">Who sleeps.</param>
    /// <param name="ready">On what.</param>
    /// <param name="attempt">What is tried.</param>
    public RetriedWait(ExoEnvironment environment, WakeupPredicate ready, Attempt attempt)
    {
        _environment = environment;
        _ready = ready;
        _attempt = attempt;
        _resume = Resume;
    }

    /// <summary>True: it worked. False: sleep. Failures are thrown.</summary>
    public delegate bool Attempt(out T result);

    /// <summary>Takes the place of the one who waits here; what the attempt needs is set after this and before <see cref="Begin"/>.</summary>
    /// <exception cref="InvalidOperationException">Somebody waits here already.</exception>
    public void Take()
    {
        if (Interlocked.Exchange(ref _isTaken, 1) != 0)
        {
            throw new InvalidOperationException("Somebody waits at this end already; open another one for each flow.");
        }
    }

    /// <summary>Nobody waits after all.</summary>
    public void Leave() => Volatile.Write(ref _isTaken, 0);

    /// <summary>Begins to wait. The attempt has just failed.</summary>
    /// <returns>For the task that stands for the wait.</returns>
    public short Begin(CancellationToken cancellationToken)
    {
        _core.Reset();
        _cancellation = cancellationToken;
        _context = SynchronizationContext.Current;
        short version = _core.Version;
        Sleep();
        return version;
    }

    public T GetResult(short token)
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

    void IValueTaskSource.GetResult(short token) => GetResult(token);

    public ValueTaskSourceStatus GetStatus(short token) => _core.GetStatus(token);

    public void OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags)
    {
        if (_context is EnvironmentContext && SynchronizationContext.Current == _context)
        {
            // The attempt that works is made in this environment, which runs nothing else meanwhile: it just goes on there.
            flags &= ~ValueTaskSourceOnCompletedFlags.UseSchedulingContext;
        }

        _core.OnCompleted(continuation, state, token, flags);
    }

    private void Sleep()
    {
        try
        {
            while (true)
            {
#pragma warning disable CA2012 // Kept until it is over, and asked for its result once, in TryAgain.
                _sleep = _environment.SleepUntilChanged(_ready, _cancellation);
#pragma warning restore CA2012
                if (!_sleep.IsCompleted)
                {
                    _sleep.GetAwaiter().UnsafeOnCompleted(_resume);
                    return;
                }

                if (TryAgain())
                {
                    return;
                }
            }
        }
        catch (AccessDeniedException)
        {
            // Revoked: the attempt tells.
            if (!TryAgain())
            {
                _core.SetException(IpcException.Of(IpcStatus.Revoked));
            }
        }
#pragma warning disable CA1031 // Whatever it is, it comes out where the wait is awaited.
        catch (Exception failure)
#pragma warning restore CA1031
        {
            _core.SetException(failure);
        }
    }

    private void Resume()
    {
        if (!TryAgain())
        {
            Sleep();
        }
    }

    /// <summary>The sleep is over. True: so is the wait.</summary>
    private bool TryAgain()
    {
        T result;
        try
        {
            ValueTask<ulong> sleep = _sleep;
            _sleep = default;
            try
            {
                _ = sleep.GetAwaiter().GetResult();
            }
            catch (AccessDeniedException)
            {
                // Revoked: the attempt tells.
            }

            if (!_attempt(out result))
            {
                return false;
            }
        }
#pragma warning disable CA1031 // As above.
        catch (Exception failure)
#pragma warning restore CA1031
        {
            _core.SetException(failure);
            return true;
        }

        _core.SetResult(result);
        return true;
    }
}
