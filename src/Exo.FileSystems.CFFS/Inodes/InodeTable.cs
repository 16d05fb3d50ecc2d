// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Cache;

namespace Exo.FileSystems.CFFS.Inodes;

/// <summary>
/// The inodes in memory, by number. An inode stays while somebody holds it or it is dirty; others go when the table is over its limit, or when frames run short: each keeps that of its record, and those of its tree.
/// <para>Thread-safe; its lock is a leaf. That an inode is not in memory is told without the lock: who asks has the lock of its container, so that nobody brings it in, or builds it next, and <see cref="Add"/>
/// decides. An inode also stays while somebody has its own lock: who has entered one of which it then says that it is not forgotten needs no hold (two atomic operations where a hold is four more).</para>
/// </summary>
/// <param name="cache">Whose frames they keep.</param>
/// <param name="isDurable">Whether everything is durable that was changed when a stamp was taken; takes no lock.</param>
internal sealed class InodeTable(BlockCache cache, Func<long, bool> isDurable)
{
    // Inodes kept although nobody holds them.
    private const int InodesMax = 32768;

    // Changed under the lock.
    private readonly InodeIndex _inodes = new();
    private readonly Lock _lock = new();
    private int _sweepAt = InodesMax;

    public int Count => _inodes.Count;

    /// <summary>Whether an inode is in memory.</summary>
    public bool Contains(ulong number) => _inodes.Find(number) is not null;

    /// <summary>The inode, held, if it is in memory.</summary>
    public Inode? TryHold(ulong number)
    {
        Inode? inode = _inodes.Find(number);
        if (inode is null)
        {
            return null;
        }

        lock (_lock)
        {
            if (inode.IsForgotten)
            {
                // Meanwhile; another one may have its number.
                inode = _inodes.Find(number);
                if (inode is null)
                {
                    return null;
                }
            }

            inode.Holds++;
            return inode;
        }
    }

    /// <summary>Holds an inode that was held once, if it is still in memory.</summary>
    public bool TryHold(Inode inode)
    {
        lock (_lock)
        {
            if (inode.IsForgotten)
            {
                return false;
            }

            inode.Holds++;
            return true;
        }
    }

    /// <summary>Sees to it that an inode is not in memory: false when somebody holds it or it is dirty. Under the lock of its container, so that nobody brings it in again.</summary>
    public bool TryForget(ulong number)
    {
        lock (_lock)
        {
            return _inodes.Find(number) is not { } inode || TryForget(inode);
        }
    }

    /// <summary>
    /// Adds an inode that the caller has built (held once, and holding its container), or returns, held, the one that another thread added first;
    /// the caller's is then given up.
    /// </summary>
    public Inode Add(Inode built)
    {
        Inode winner;
        lock (_lock)
        {
            if (_inodes.Find(built.Number) is not { } existing)
            {
                built.Holds = 1;
                _inodes.Add(built);
                if (_inodes.Count > _sweepAt)
                {
                    Sweep(InodesMax / 2);
                    _sweepAt = Math.Max(InodesMax, _inodes.Count + (InodesMax / 4));
                }

                return built;
            }

            existing.Holds++;
            winner = existing;
        }

        Discard(built);
        return winner;
    }

    /// <summary>Holds an inode once more, or one whose lock the caller has.</summary>
    public void Hold(Inode inode)
    {
        lock (_lock)
        {
            Invariant.Check(!inode.IsForgotten && (inode.Holds > 0 || inode.Lock.IsHeld));
            inode.Holds++;
        }
    }

    public void Release(Inode inode)
    {
        lock (_lock)
        {
            Invariant.Check(inode.Holds > 0);
            // After the volume has been closed there is nothing left to forget.
            if (--inode.Holds == 0 && inode is { IsRemoved: true, IsForgotten: false })
            {
                Forget(inode);
            }
        }
    }

    /// <summary>Every inode in memory, for unmounting.</summary>
    public List<Inode> Snapshot()
    {
        lock (_lock)
        {
            return _inodes.ToList();
        }
    }

    /// <summary>Gives back the frames of every inode; the table is not used afterwards.</summary>
    public void ReleaseAll()
    {
        lock (_lock)
        {
            foreach (Inode inode in _inodes.ToList())
            {
                Discard(inode, releaseContainer: false);
            }

            _inodes.Clear();
        }
    }

    /// <summary>Somebody finds no frames: half of the inodes go, as far as nobody uses them. What is still dirty stays, so this comes after a commit.</summary>
    public void GiveUpHalf()
    {
        lock (_lock)
        {
            Sweep(_inodes.Count / 2);
        }
    }

    // Children before parents: removing a child releases its hold on the parent, which the same sweep may then remove.
    private void Sweep(int downTo)
    {
        bool again = true;
        while (again && _inodes.Count > downTo)
        {
            again = false;
            foreach (Inode inode in _inodes.ToList())
            {
                again |= !inode.IsForgotten && _inodes.Count > downTo && TryForget(inode);
            }
        }
    }

    private bool TryForget(Inode inode)
    {
        if (inode.Holds > 0 || inode.IsDirty || inode.Container is null || !inode.Lock.TryEnter())
        {
            return false;
        }

        // What a directory knows of changes that a crash would undo is nowhere else.
        bool goes = inode.Directory is not { } state || isDurable(state.ChangedLast);
        if (goes)
        {
            Forget(inode);
        }

        inode.Lock.Exit();
        return goes;
    }

    // One that is removed goes even when somebody has its lock: he looks whether it is.
    private void Forget(Inode inode)
    {
        _inodes.Remove(inode);
        Inode? container = inode.Container;
        Discard(inode, releaseContainer: false);
        if (container is not null)
        {
            Invariant.Check(container.Holds > 0);
            if (--container.Holds == 0 && container.IsRemoved)
            {
                Forget(container);
            }
        }
    }

    private void Discard(Inode inode, bool releaseContainer = true)
    {
        inode.IsForgotten = true;
        cache.Release(inode.SlotFrame);
        if (inode.HasNodeFrames)
        {
            foreach (Exo.Core.Memory.FrameNumber frame in inode.NodeFrames)
            {
                cache.Release(frame);
            }

            inode.NodeFrames.Clear();
        }

        if (releaseContainer && inode.Container is { } container)
        {
            Release(container);
        }
    }
}
