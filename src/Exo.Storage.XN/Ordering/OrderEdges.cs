// SPDX-License-Identifier: MIT
namespace Exo.Storage.XN;

/// <summary>
/// Rule three, and a library's own orders: "block A must not be written before version v of block B is durable". A move also leaves a trace: A's old image on the disk still
/// holds the pointer, until A's version without it is durable.
/// Guarded by the volume's lock.
/// </summary>
internal sealed class OrderEdges
{
    private readonly Dictionary<ulong, List<Wait>> _waits = [];
    private readonly Dictionary<ulong, List<ulong>> _waiters = [];
    private readonly List<MoveTrace> _moves = [];
    private ulong _lastMove;
    private readonly Stack<List<Wait>> _spareWaits = [];
    private readonly Stack<List<ulong>> _spareWaiters = [];

    internal readonly record struct Wait(ulong Before, ulong Version);

    /// <summary>A pointer went elsewhere; the old image of <paramref name="From"/> below version <paramref name="FromVersion"/> still has it.</summary>
    private readonly record struct MoveTrace(ulong Number, ulong From, ulong FromVersion);

    public bool IsEmpty => _waits.Count == 0;

    /// <summary>The number of the last move; moves count from 1.</summary>
    public ulong LastMove => _lastMove;

    /// <summary>Every move up to this one is over: no old image holds its pointer any more.</summary>
    public ulong MovesOver => _moves.Count == 0 ? _lastMove : _moves[0].Number - 1;

    public bool MustWait(ulong block) => _waits.ContainsKey(block);

    /// <summary>The blocks that wait for a block.</summary>
    public IReadOnlyList<ulong> WaitersOf(ulong block) => _waiters.TryGetValue(block, out List<ulong>? waiters) ? waiters : [];

    public IReadOnlyList<Wait> WaitsOf(ulong block) => _waits.TryGetValue(block, out List<Wait>? waits) ? waits : [];

    public void Add(ulong after, ulong before, ulong version)
    {
        Invariant.Check(after != before);
        if (!_waits.TryGetValue(after, out List<Wait>? waits))
        {
            waits = _spareWaits.TryPop(out List<Wait>? spare) ? spare : [];
            _waits.Add(after, waits);
        }

        for (int i = 0; i < waits.Count; i++)
        {
            if (waits[i].Before == before)
            {
                waits[i] = new Wait(before, Math.Max(version, waits[i].Version));
                return;
            }
        }

        waits.Add(new Wait(before, version));
        if (!_waiters.TryGetValue(before, out List<ulong>? waiters))
        {
            waiters = _spareWaiters.TryPop(out List<ulong>? spare) ? spare : [];
            _waiters.Add(before, waiters);
        }

        waiters.Add(after);
    }

    public void AddMove(ulong from, ulong fromVersion) => _moves.Add(new MoveTrace(++_lastMove, from, fromVersion));

    /// <summary>A version of a block is durable: waits for it are over, and so are the traces of what moved out of it by then.</summary>
    public void Durable(ulong block, ulong version)
    {
        if (_waiters.TryGetValue(block, out List<ulong>? waiters))
        {
            for (int i = waiters.Count - 1; i >= 0; i--)
            {
                List<Wait> waits = _waits[waiters[i]];
                int at = IndexOf(waits, block);
                if (waits[at].Version <= version)
                {
                    waits.RemoveAt(at);
                    DropIfEmpty(waiters[i], waits);
                    waiters.RemoveAt(i);
                }
            }

            if (waiters.Count == 0)
            {
                _waiters.Remove(block);
                _spareWaiters.Push(waiters);
            }
        }

        if (_moves.Count > 0)
        {
            for (int i = _moves.Count - 1; i >= 0; i--)
            {
                if (_moves[i].From == block && _moves[i].FromVersion <= version)
                {
                    _moves.RemoveAt(i);
                }
            }
        }
    }

    /// <summary>
    /// A block is freed before what it waited for has happened, or before others that wait for it could go on: its parent's next version takes its place, because
    /// only that makes the old image unreachable.
    /// </summary>
    public void Replace(ulong freed, ulong heir, ulong heirVersion)
    {
        if (_waits.Remove(freed, out List<Wait>? waits))
        {
            foreach (Wait wait in waits)
            {
                List<ulong> waiters = _waiters[wait.Before];
                waiters.Remove(freed);
                if (waiters.Count == 0)
                {
                    _waiters.Remove(wait.Before);
                    _spareWaiters.Push(waiters);
                }
            }

            foreach (Wait wait in waits)
            {
                if (wait.Before != heir)
                {
                    Add(heir, wait.Before, wait.Version);
                }
            }

            waits.Clear();
            _spareWaits.Push(waits);
        }

        if (_waiters.Remove(freed, out List<ulong>? after))
        {
            foreach (ulong waiter in after)
            {
                List<Wait> list = _waits[waiter];
                list.RemoveAt(IndexOf(list, freed));
                DropIfEmpty(waiter, list);
            }

            foreach (ulong waiter in after)
            {
                // What it waited for is gone for good: nothing points there any more once the heir is written.
                if (waiter != heir)
                {
                    Add(waiter, heir, heirVersion);
                }
            }

            after.Clear();
            _spareWaiters.Push(after);
        }

        for (int i = _moves.Count - 1; i >= 0; i--)
        {
            MoveTrace move = _moves[i];
            if (move.From == freed)
            {
                _moves[i] = new MoveTrace(move.Number, heir, heirVersion);
            }
        }
    }

    // A loop, not a predicate: one that knows the block would be made anew for each call. A list has each block once.
    private static int IndexOf(List<Wait> waits, ulong before)
    {
        int at = waits.Count - 1;
        while (waits[at].Before != before)
        {
            at--;
        }

        return at;
    }

    private void DropIfEmpty(ulong after, List<Wait> waits)
    {
        if (waits.Count == 0)
        {
            _waits.Remove(after);
            _spareWaits.Push(waits);
        }
    }
}
