// SPDX-License-Identifier: MIT
namespace Exo.Core.Environments;

/// <summary>
/// What all bindings made between two revocations of one resource share: one word that says how many uses are in progress and
/// whether the epoch is over.
/// <code>
///   bit 31          30                              0
///       | closed   | uses in progress                |
/// </code>
/// A use raises the count and only then looks at the closed bit; closing sets the bit and only then looks at the count. So
/// either the use sees that the epoch is over and goes away, or the closing sees the use and the resource is not handed on
/// before that use has left: <see cref="WhenDrained"/>. Nobody ever uses what somebody else was given.
/// </summary>
internal sealed class BindingEpoch
{
    private const int Closed = int.MinValue;

    // How deep this thread is in uses. Whoever waits for users must be in none: so no circle of waiting can come about.
    [ThreadStatic]
    private static int t_uses;

    private readonly object _monitor = new();
    private int _state;
    private bool _isDrained;
    private List<Action>? _whenDrained;
    private List<Action>? _whenClosed;

    /// <summary>Whether the calling thread is inside a use of anything.</summary>
    public static bool ThreadIsInUse => t_uses > 0;

    /// <summary>Whether bindings of this epoch still hold.</summary>
    public bool IsOpen => Volatile.Read(ref _state) >= 0;

    /// <summary>Whether uses are in progress. Changes under the reader.</summary>
    public bool IsInUse => (Volatile.Read(ref _state) & ~Closed) != 0;

    /// <summary>Begins a use by the calling thread. False: the epoch is over.</summary>
    public bool TryEnter()
    {
        if (!TryHold())
        {
            return false;
        }

        t_uses++;
        return true;
    }

    /// <summary>Ends a use by the thread that began it.</summary>
    public void Leave()
    {
        t_uses--;
        Drop();
    }

    /// <summary><see cref="TryEnter"/> for a use that belongs to no thread.</summary>
    public bool TryHold()
    {
        if (Interlocked.Increment(ref _state) > 0)
        {
            return true;
        }

        Drop();
        return false;
    }

    /// <summary>Ends what <see cref="TryHold"/> began.</summary>
    public void Drop()
    {
        int left = Interlocked.Decrement(ref _state);
        Invariant.Check(left != -1);
        if (left == Closed)
        {
            Drained();
        }
    }

    /// <summary>Ends the epoch: from now on nobody enters. Returns without waiting. Closing twice changes nothing.</summary>
    public void Close()
    {
        int before = Interlocked.Or(ref _state, Closed);
        if (before < 0)
        {
            return;
        }

        List<Action>? tell;
        lock (_monitor)
        {
            tell = _whenClosed;
            _whenClosed = null;
        }

        foreach (Action action in tell ?? [])
        {
            action();
        }

        if (before == 0)
        {
            Drained();
        }
    }

    /// <summary>Blocks until the last use of a closed epoch has left. The calling thread must be in no use.</summary>
    public void WaitUntilDrained()
    {
        Invariant.Check(!IsOpen && t_uses == 0);
        lock (_monitor)
        {
            while (!_isDrained)
            {
                Monitor.Wait(_monitor);
            }
        }
    }

    /// <summary>Runs <paramref name="action"/> once, when the closed epoch's last use has left; at once if that has been.</summary>
    /// <returns>True when it ran at once.</returns>
    public bool WhenDrained(Action action)
    {
        lock (_monitor)
        {
            if (!_isDrained)
            {
                (_whenDrained ??= []).Add(action);
                return false;
            }
        }

        action();
        return true;
    }

    /// <summary>Has <paramref name="action"/> run by the closing thread, before anybody waits. False, and nothing kept, when the epoch is over.</summary>
    public bool TrySubscribe(Action action)
    {
        lock (_monitor)
        {
            if (!IsOpen)
            {
                return false;
            }

            // Close takes the list under this lock after it has set the bit: what is added here is seen there.
            (_whenClosed ??= []).Add(action);
            return true;
        }
    }

    /// <summary>The counterpart of <see cref="TrySubscribe"/>.</summary>
    public void Unsubscribe(Action action)
    {
        lock (_monitor)
        {
            _whenClosed?.Remove(action);
        }
    }

    // The count of a closed epoch may return to zero several times: those who come too late raise it for a moment.
    private void Drained()
    {
        List<Action>? tell;
        lock (_monitor)
        {
            if (_isDrained)
            {
                return;
            }

            _isDrained = true;
            tell = _whenDrained;
            _whenDrained = null;
            Monitor.PulseAll(_monitor);
        }

        foreach (Action action in tell ?? [])
        {
            action();
        }
    }
}
