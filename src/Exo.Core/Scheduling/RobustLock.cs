// SPDX-License-Identifier: MIT
using Exo.Capabilities;
using Exo.Core.Environments;
using Exo.Core.Ipc;
using Exo.Core.Memory;

namespace Exo.Core.Scheduling;

/// <summary>
/// A robust critical section (SOSP'97, section 5.2) between environments of one scheduler that share a frame: a word of that frame says whose turn it is. Within an environment none is needed: what stands
/// between two awaits is not interrupted. For the same reason a holder never sleeps (the guard cannot live across an await), so who waits spins, and going in and out calls nobody: one atomic instruction each.
/// <code>
///   word (4 B):  0 free    n: environment n of the scheduler is in
/// </code>
/// Robust: when the holder's environment ends while it is in (killed for running too long, say), the next one gets in and is told so by <see cref="WasAbandoned"/>: what the section guards may be half changed.
/// </summary>
public sealed unsafe class RobustLock : IDisposable
{
    private readonly PinnedFrames _frame;
    private readonly ScheduledEnvironment _environment;
    private readonly int _offsetBytes;

    /// <summary>Opens the lock for one environment; each that shares it opens it for itself.</summary>
    /// <param name="environment">Who enters.</param>
    /// <param name="pool">The frame's pool.</param>
    /// <param name="frame">A frame that the environment may write.</param>
    /// <param name="offsetBytes">Where the word is: a multiple of 4, at most 4,092. Zero at first.</param>
    /// <exception cref="AccessDeniedException">The environment may not write the frame.</exception>
    public RobustLock(ScheduledEnvironment environment, FramePool pool, FrameNumber frame, int offsetBytes = 0)
    {
        ArgumentNullException.ThrowIfNull(environment);
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentOutOfRangeException.ThrowIfNegative(offsetBytes);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offsetBytes, FramePool.FrameBytes - 4);
        ArgumentOutOfRangeException.ThrowIfNotEqual(offsetBytes % 4, 0, nameof(offsetBytes));
        _environment = environment;
        _offsetBytes = offsetBytes;
        _frame = new PinnedFrames(pool, environment.Environment.Credential, frame, 1, Rights.Write);
    }

    /// <summary>Whether whoever was in before ended in it; to be read inside.</summary>
    public bool WasAbandoned { get; private set; }

    /// <summary>Goes in; waits, spinning, while somebody else is. Dispose what it returns to come out.</summary>
    /// <exception cref="InvalidOperationException">The environment is in already.</exception>
    /// <exception cref="AccessDeniedException">The frame was taken back.</exception>
    /// <exception cref="ObjectDisposedException">The environment has ended.</exception>
    public Guard Enter()
    {
        lock (_frame.Lock)
        {
            if (_frame.IsRevoked)
            {
                throw BindingPoint.Revoked(_frame.First.ToString(), Rights.Write);
            }

            _frame.Lease();
        }

        try
        {
            Wait();
            return new Guard(this);
        }
        catch
        {
            _frame.EndLease();
            throw;
        }
    }

    /// <summary>Lets the frame go.</summary>
    public void Dispose() => _frame.Dispose();

    private void Wait()
    {
        ref int word = ref *(int*)(_frame.Address + _offsetBytes);
        int mine = _environment.Number;
        SpinWait spin = default;
        while (true)
        {
            ObjectDisposedException.ThrowIf(_environment.IsOver, _environment.Environment);
            int holder = Interlocked.CompareExchange(ref word, mine, 0);
            if (holder == 0)
            {
                WasAbandoned = false;
                return;
            }

            if (holder == mine)
            {
                throw new InvalidOperationException("The environment is in this critical section already.");
            }

            if (!_environment.Scheduler.IsAlive(holder) && Interlocked.CompareExchange(ref word, mine, holder) == holder)
            {
                WasAbandoned = true;
                return;
            }

            spin.SpinOnce(sleep1Threshold: -1);
        }
    }

    private void Leave()
    {
        // If this environment ended in here, somebody else may be in: then the word is his.
        _ = Interlocked.CompareExchange(ref *(int*)(_frame.Address + _offsetBytes), 0, _environment.Number);
        _frame.EndLease();
    }

    /// <summary>Being inside.</summary>
    public ref struct Guard
    {
        private RobustLock? _lock;

        internal Guard(RobustLock entered)
        {
            _lock = entered;
        }

        /// <summary>Comes out. Twice is once.</summary>
        public void Dispose()
        {
            RobustLock? entered = _lock;
            _lock = null;
            entered?.Leave();
        }
    }
}
