// SPDX-License-Identifier: MIT
namespace Exo.Core.Predicates;

/// <summary>
/// Who sleeps on words of one frame, in the order in which they fell asleep. A predicate is evaluated only under the lock of one
/// of its watches: who has gone through all of them once after ending a sleep knows that nobody evaluates it any more.
/// </summary>
internal sealed class FrameWatch
{
    private Watcher? _first;
    private Watcher? _last;

    /// <summary>A leaf: nothing is waited for and no other lock is taken while it is held.</summary>
    public Lock Lock { get; } = new();

    /// <summary>Under the lock.</summary>
    public void Add(Watcher watcher)
    {
        Invariant.Check(!watcher.IsLinked);
        watcher.IsLinked = true;
        watcher.Previous = _last;
        watcher.Next = null;
        if (_last is null)
        {
            _first = watcher;
        }
        else
        {
            _last.Next = watcher;
        }

        _last = watcher;
    }

    /// <summary>Under the lock.</summary>
    public void Remove(Watcher watcher)
    {
        Invariant.Check(watcher.IsLinked);
        watcher.IsLinked = false;
        if (watcher.Previous is null)
        {
            _first = watcher.Next;
        }
        else
        {
            watcher.Previous.Next = watcher.Next;
        }

        if (watcher.Next is null)
        {
            _last = watcher.Previous;
        }
        else
        {
            watcher.Next.Previous = watcher.Previous;
        }
    }

    /// <summary>The frame may have changed: whoever's predicate holds now wakes, in the order of falling asleep.</summary>
    public void Ring()
    {
        WakeupPredicate? woken;
        lock (Lock)
        {
            woken = TakeWoken();
        }

        Finish(woken);
    }

    /// <summary>The first half of <see cref="Ring"/>, for who holds the lock already. <see cref="Finish"/> what it gives once the lock is let go.</summary>
    public WakeupPredicate? TakeWoken()
    {
        WakeupPredicate? woken = null;
        WakeupPredicate? lastWoken = null;
        bool hasChanged;
        do
        {
            hasChanged = false;
            for (Watcher? watcher = _first; watcher is not null;)
            {
                Watcher? next = watcher.Next;
                WakeupPredicate predicate = watcher.Predicate;
                if (predicate.TryWake(out bool changes))
                {
                    hasChanged |= changes;
                    // Ours alone now: nobody else ends this sleep.
                    predicate.Unlink(watcher);
                    predicate.NextWoken = null;
                    if (lastWoken is null)
                    {
                        woken = predicate;
                    }
                    else
                    {
                        lastWoken.NextWoken = predicate;
                    }

                    lastWoken = predicate;
                }

                watcher = next;
            }
        }
        while (hasChanged && _first is not null);

        return woken;
    }

    /// <summary>Tells those who were woken, without the lock.</summary>
    public static void Finish(WakeupPredicate? woken)
    {
        while (woken is not null)
        {
            WakeupPredicate? next = woken.NextWoken;
            woken.NextWoken = null;
            woken.Finish();
            woken = next;
        }
    }
}

/// <summary>A predicate's place in the watch of one frame. The links are guarded by the watch's lock.</summary>
internal sealed class Watcher(WakeupPredicate predicate, FrameWatch watch, Exo.Core.Memory.FrameNumber frame)
{
    public WakeupPredicate Predicate => predicate;

    public FrameWatch Watch => watch;

    public Exo.Core.Memory.FrameNumber Frame => frame;

    public bool IsLinked { get; set; }

    public Watcher? Previous { get; set; }

    public Watcher? Next { get; set; }
}
