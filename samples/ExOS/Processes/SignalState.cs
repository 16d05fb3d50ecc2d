// SPDX-License-Identifier: MIT
namespace ExOS.Processes;

/// <summary>
/// What a process does with signals, and those that have come. They are delivered when the process makes a system call, or wakes from one: sending sets a bit and then cancels what the process sleeps in. Before it takes the
/// bits the process gets a new token, so that a signal that comes after that interrupts whatever is next.
/// </summary>
#pragma warning disable CA1001 // A source without a timer and without a link has nothing to give back.
internal sealed class SignalState
#pragma warning restore CA1001
{
    private readonly Dictionary<Signal, Disposition> _dispositions = [];
    private CancellationTokenSource _interruption = new();
    private uint _pending;

    /// <summary>What happens when a signal comes, if not its default.</summary>
    /// <param name="Handler">Null: it is ignored.</param>
    /// <param name="Restarts">Whether the call that it interrupts goes on afterwards, or fails (EINTR).</param>
    private sealed record Disposition(Action? Handler, bool Restarts);

    /// <summary>Cancelled when a signal comes.</summary>
    public CancellationToken Interruption => Volatile.Read(ref _interruption).Token;

    public bool HasPending => Volatile.Read(ref _pending) != 0;

    public void Default(Signal signal) => _dispositions.Remove(signal);

    public void Ignore(Signal signal) => _dispositions[signal] = new Disposition(null, Restarts: true);

    public void Handle(Signal signal, Action handler, bool restarts = true) => _dispositions[signal] = new Disposition(handler, restarts);

    /// <summary>From any thread.</summary>
    public void Send(Signal signal)
    {
        Interlocked.Or(ref _pending, 1u << (int)signal);
        Volatile.Read(ref _interruption).Cancel();
    }

    /// <summary>Deals with all signals that have come: handlers run, or the process ends.</summary>
    /// <returns>Whether a call that was interrupted has to fail.</returns>
    /// <exception cref="ProcessExit">The default of one of them.</exception>
    public bool Deliver()
    {
        if (!HasPending)
        {
            return false;
        }

        Volatile.Write(ref _interruption, new CancellationTokenSource());
        uint pending = Interlocked.Exchange(ref _pending, 0);
        bool fails = false;
        for (int number = 1; number < 32; number++)
        {
            if ((pending & (1u << number)) != 0)
            {
                fails |= Deliver((Signal)number);
            }
        }

        return fails;
    }

    /// <summary>A child has its parent's dispositions, and none of its pending signals.</summary>
    public SignalState ForFork()
    {
        SignalState child = new();
        foreach ((Signal signal, Disposition disposition) in _dispositions)
        {
            child._dispositions.Add(signal, disposition);
        }

        return child;
    }

    /// <summary>Handlers are code of the program that goes; what was ignored stays so.</summary>
    public void ResetForExec()
    {
        foreach (Signal signal in _dispositions.Where(pair => pair.Value.Handler is not null).Select(pair => pair.Key).ToArray())
        {
            _ = _dispositions.Remove(signal);
        }
    }

    private bool Deliver(Signal signal)
    {
        if (signal != Signal.Kill && _dispositions.TryGetValue(signal, out Disposition? disposition))
        {
            disposition.Handler?.Invoke();
            return disposition.Handler is not null && !disposition.Restarts;
        }

        return signal == Signal.Child ? false : throw new ProcessExit(new ExitStatus(0, signal));
    }
}
