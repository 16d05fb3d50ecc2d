// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;
using Exo.Core.Predicates;

namespace Exo.Core.Environments;

/// <content>Sleeping on predicates.</content>
public sealed partial class ExoEnvironment
{
    // Guarded by the environment's lock: predicates that it sleeps on, or slept on last. Sleepers cost an entry here and nothing else.
    private readonly HashSet<WakeupPredicate> _sleepers = [];

    // One count for the whole tree: the root's.
    private readonly StrongBox<long> _wakeOrder;

    /// <summary>
    /// Sleeps until a product of the predicate holds; at once if one does. What the environment awaits costs nothing while it waits, and allocates nothing.
    /// Continuations run on the thread pool.
    /// </summary>
    /// <param name="predicate">One that nobody sleeps on now.</param>
    /// <param name="cancellationToken">Ends the sleep with <see cref="OperationCanceledException"/>.</param>
    /// <returns>The tag of the first product that held when the predicate was evaluated. To be awaited once.</returns>
    /// <exception cref="Exo.Capabilities.AccessDeniedException">A frame of the predicate was revoked, before or during the sleep.</exception>
    /// <exception cref="ObjectDisposedException">The environment has ended or the predicate is disposed, before or during the sleep.</exception>
    /// <exception cref="InvalidOperationException">Somebody sleeps on the predicate already.</exception>
    public ValueTask<ulong> SleepUntil(WakeupPredicate predicate, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(predicate);
        ObjectDisposedException.ThrowIf(Volatile.Read(ref _hasEnded), this);
        return predicate.SleepAsync(this, cancellationToken);
    }

    /// <summary>The predicate is told when the environment ends, until it is removed.</summary>
    internal void AddSleeper(WakeupPredicate predicate)
    {
        lock (_lock)
        {
            _sleepers.Add(predicate);
        }
    }

    internal void RemoveSleeper(WakeupPredicate predicate)
    {
        lock (_lock)
        {
            _sleepers.Remove(predicate);
        }
    }

    internal long NextWakeOrder() => Interlocked.Increment(ref _wakeOrder.Value);

    private void EndSleeps()
    {
        WakeupPredicate[] sleepers;
        lock (_lock)
        {
            sleepers = [.. _sleepers];
            _sleepers.Clear();
        }

        // That the environment has ended is set before anybody's sleep is looked at; a sleeper names himself and then looks whether it has.
        Interlocked.MemoryBarrier();

        foreach (WakeupPredicate sleeper in sleepers)
        {
            sleeper.EndWithEnvironment(this);
        }
    }
}
