// SPDX-License-Identifier: MIT
using Exo.Core.Scheduling;

namespace Exo.Core.Environments;

/// <content>
/// The gate: whoever runs the environment's code (its scheduler's processor, or the caller of a protected call) is in it, alone. So an environment is never in two places.
/// <code>
///   0: nobody is in        Occupied: somebody is        Occupied | Awaited: and a processor went away that wanted in; whoever leaves makes the environment runnable again
/// </code>
/// </content>
public sealed partial class ExoEnvironment
{
    private const int Occupied = 1;
    private const int Awaited = 2;

    private int _gate;
    private ScheduledEnvironment? _scheduled;

    /// <summary>What it is on a scheduler; null: it is on none.</summary>
    public ScheduledEnvironment? Scheduled => Volatile.Read(ref _scheduled);

    internal bool HasEnded => Volatile.Read(ref _hasEnded);

    /// <summary>It is on a scheduler from now on, until it ends.</summary>
    internal void Schedule(ScheduledEnvironment scheduled)
    {
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_hasEnded, this);
            if (_scheduled is not null)
            {
                throw new InvalidOperationException($"{this} is on a scheduler already.");
            }

            _scheduled = scheduled;
        }
    }

    /// <summary>A caller goes in. False: somebody is in, or about to go in.</summary>
    internal bool TryEnter() => Interlocked.CompareExchange(ref _gate, Occupied, 0) == 0;

    /// <summary>A caller comes out.</summary>
    internal void Exit()
    {
        if (Leave())
        {
            ScheduledEnvironment scheduled = _scheduled!;
            scheduled.Scheduler.MakeRunnable(scheduled);
        }
    }

    /// <summary>A processor goes in. False: a caller is in, and will make the environment runnable when he comes out.</summary>
    internal bool TryRun()
    {
        if (TryEnter())
        {
            return true;
        }

        if ((Interlocked.Or(ref _gate, Awaited) & Occupied) != 0)
        {
            return false;
        }

        // He has come out in between. Nobody goes in where somebody is awaited, so it is ours.
        Volatile.Write(ref _gate, Occupied);
        return true;
    }

    /// <summary>Comes out. True: a processor is awaited by nobody but the caller of this.</summary>
    internal bool Leave() => (Interlocked.Exchange(ref _gate, 0) & Awaited) != 0;
}
