// SPDX-License-Identifier: MIT
namespace Exo.Core.Scheduling;

/// <summary>
/// Who runs next. A vector of time slices, each a position that an environment owns (Xok, kern/sched.c), and a hand that goes round it. No locks and no clock of its own: the scheduler's.
/// <code>
///   slices:  | A | B | B | . | C | . | ...      position: how soon    number of positions: how much
///                      ^ hand
///   ready:   those whose turn it is, first come first served        waiting: those who have used up what they had
/// </code>
/// This is deficit round robin. Where the hand passes, the owner's credit grows by one slice, up to what all its positions are worth; who runs pays the time it took, overruns
/// included, and may owe. An environment with credit that becomes runnable is ready; one without waits for the hand, which moves only when nobody is ready. So who sleeps much is served soon, and nobody gets more in the
/// long run than its share of the positions of those who want to run.
/// </summary>
internal sealed class SliceWheel
{
    private readonly ScheduledEnvironment?[] _owners;
    private readonly int[] _numbers;
    private int[] _owned = [];
    private readonly long _length;
    private readonly Queue<ScheduledEnvironment> _orphans = new();
    private ScheduledEnvironment? _firstReady;
    private ScheduledEnvironment? _lastReady;
    private int _hand;
    private int _waiting;

    public SliceWheel(int positions, long length)
    {
        _owners = new ScheduledEnvironment?[positions];
        _numbers = new int[positions];
        _length = length;
    }

    /// <summary>Environments whose turn it is.</summary>
    public int ReadyCount { get; private set; }

    /// <summary>Environments that can run: those, and those that wait for the hand.</summary>
    public int RunnableCount => ReadyCount + _waiting + _orphans.Count;

    /// <summary>Whether anybody can run.</summary>
    public bool HasAny => ReadyCount > 0 || _waiting > 0 || _orphans.Count > 0;

    /// <summary>The owners' numbers, by position; 0: free.</summary>
    public ReadOnlySpan<int> Numbers => _numbers;

    /// <summary>Gives free positions to an environment: those named, or the first free ones. All or none.</summary>
    public bool TryTake(ScheduledEnvironment environment, int count, ReadOnlySpan<int> positions)
    {
        Span<int> chosen = count <= 64 ? stackalloc int[count] : new int[count];
        int found = 0;
        if (positions.IsEmpty)
        {
            for (int i = 0; i < _owners.Length && found < count; i++)
            {
                if (_owners[i] is null)
                {
                    chosen[found++] = i;
                }
            }
        }
        else
        {
            foreach (int position in positions)
            {
                if ((uint)position >= (uint)_owners.Length || _owners[position] is not null || chosen[..found].Contains(position))
                {
                    return false;
                }

                chosen[found++] = position;
            }
        }

        if (found < count)
        {
            return false;
        }

        foreach (int position in chosen)
        {
            _owners[position] = environment;
            Volatile.Write(ref _numbers[position], environment.Number);
        }

        environment.Positions += count;
        FindOwned();
        return true;
    }

    /// <summary>The environment gives up its positions. What it has still to run is run in the slice behind the last position, which belongs to nobody.</summary>
    public void GiveBack(ScheduledEnvironment environment)
    {
        for (int i = 0; i < _owners.Length; i++)
        {
            if (_owners[i] == environment)
            {
                _owners[i] = null;
                Volatile.Write(ref _numbers[i], 0);
            }
        }

        FindOwned();
        environment.Positions = 0;
        environment.Granted = Math.Min(environment.Granted, environment.Charged);
        if (environment.Place == WheelPlace.Waiting)
        {
            _waiting--;
            environment.Place = WheelPlace.None;
            Add(environment);
        }
    }

    /// <summary>The environment can run.</summary>
    public void Add(ScheduledEnvironment environment)
    {
        Invariant.Check(environment.Place == WheelPlace.None);
        if (environment.Credit > 0)
        {
            AddReady(environment);
        }
        else if (environment.Positions > 0)
        {
            environment.Place = WheelPlace.Waiting;
            _waiting++;
        }
        else
        {
            environment.Place = WheelPlace.Orphaned;
            _orphans.Enqueue(environment);
        }
    }

    /// <summary>Takes one that can run out of its turn. False when it is not here, or is nobody's any more.</summary>
    public bool TryRemove(ScheduledEnvironment environment)
    {
        switch (environment.Place)
        {
            case WheelPlace.Ready:
                RemoveReady(environment);
                return true;
            case WheelPlace.Waiting:
                environment.Place = WheelPlace.None;
                _waiting--;
                return true;
            default:
                return false;
        }
    }

    /// <summary>Takes the next whose turn it is, or with <paramref name="choice"/> any of those whose turn it is.</summary>
    public ScheduledEnvironment? Next(Random? choice = null)
    {
        // Who is to choose needs a choice: everybody whom one round of the hand makes ready.
        int least = choice is null ? 0 : _owned.Length;
        int turned = 0;
        while (_firstReady is null || (turned > 0 && turned < least))
        {
            if (_waiting == 0 && _orphans.Count == 0)
            {
                break;
            }

            if (turned >= _owned.Length && turned > 0)
            {
                // Once round and nobody has credit: as many rounds at once as the one who owes least needs.
                turned = 0;
                Turn(RoundsNeeded());
            }

            Pass();
            turned++;
        }

        if (_firstReady is not { } next)
        {
            return null;
        }

        for (int skip = choice?.Next(ReadyCount) ?? 0; skip > 0; skip--)
        {
            next = next.NextReady!;
        }

        RemoveReady(next);
        return next;
    }

    private void Pass()
    {
        if (_hand < _owned.Length)
        {
            Refill(_owners[_owned[_hand++]]!, _length);
            return;
        }

        // Behind the last position.
        _hand = 0;
        if (_orphans.TryDequeue(out ScheduledEnvironment? orphan))
        {
            orphan.Place = WheelPlace.None;
            AddReady(orphan);
        }
    }

    /// <summary>The hand goes over what is owned only. It stays where it was in the order of positions, whatever comes and goes.</summary>
    private void FindOwned()
    {
        int at = _hand < _owned.Length ? _owned[_hand] : _owners.Length;
        _owned = [.. Enumerable.Range(0, _owners.Length).Where(position => _owners[position] is not null)];
        _hand = _owned.Count(position => position < at);
    }

    private void Refill(ScheduledEnvironment owner, long by)
    {
        owner.Granted = Math.Min(owner.Granted + by, owner.Positions * _length + owner.Charged);
        if (owner.Place == WheelPlace.Waiting && owner.Credit > 0)
        {
            owner.Place = WheelPlace.None;
            _waiting--;
            AddReady(owner);
        }
    }

    private long RoundsNeeded()
    {
        long rounds = long.MaxValue;
        foreach (int position in _owned)
        {
            ScheduledEnvironment owner = _owners[position]!;
            if (owner.Place == WheelPlace.Waiting)
            {
                long round = owner.Positions * _length;
                rounds = Math.Min(rounds, (round - owner.Credit) / round);
            }
        }

        return rounds == long.MaxValue ? 0 : rounds - 1;
    }

    private void Turn(long rounds)
    {
        if (rounds <= 0)
        {
            return;
        }

        foreach (int position in _owned)
        {
            Refill(_owners[position]!, rounds * _length);
        }
    }

    private void AddReady(ScheduledEnvironment environment)
    {
        environment.Place = WheelPlace.Ready;
        environment.PreviousReady = _lastReady;
        environment.NextReady = null;
        if (_lastReady is null)
        {
            _firstReady = environment;
        }
        else
        {
            _lastReady.NextReady = environment;
        }

        _lastReady = environment;
        ReadyCount++;
    }

    private void RemoveReady(ScheduledEnvironment environment)
    {
        environment.Place = WheelPlace.None;
        if (environment.PreviousReady is null)
        {
            _firstReady = environment.NextReady;
        }
        else
        {
            environment.PreviousReady.NextReady = environment.NextReady;
        }

        if (environment.NextReady is null)
        {
            _lastReady = environment.PreviousReady;
        }
        else
        {
            environment.NextReady.PreviousReady = environment.PreviousReady;
        }

        environment.NextReady = null;
        environment.PreviousReady = null;
        ReadyCount--;
    }
}

/// <summary>Where in the wheel an environment is that can run.</summary>
internal enum WheelPlace : byte
{
    /// <summary>Nowhere: asleep, running, or about to run next on a processor.</summary>
    None = 0,

    /// <summary>Its turn has come.</summary>
    Ready,

    /// <summary>Without credit.</summary>
    Waiting,

    /// <summary>Without positions.</summary>
    Orphaned,
}
