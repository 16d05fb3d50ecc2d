// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Cache;

namespace Exo.FileSystems.CFFS.Inodes;

/// <summary>
/// The inodes in memory, by number. An inode stays while somebody holds it or it is dirty; others go when the table is over its limit.
/// Thread-safe; its lock is a leaf.
/// </summary>
internal sealed class InodeTable(BlockCache cache)
{
    // Inodes kept although nobody holds them.
    private const int InodesMax = 32768;

    private readonly Dictionary<ulong, Inode> _inodes = [];
    private readonly Lock _lock = new();
    private int _sweepAt = InodesMax;

    public int Count => _inodes.Count;

    /// <summary>Whether an inode is in memory.</summary>
    public bool Contains(ulong number)
    {
        lock (_lock)
        {
            return _inodes.ContainsKey(number);
        }
    }

    /// <summary>The inode, held, if it is in memory.</summary>
    public Inode? TryHold(ulong number)
    {
        lock (_lock)
        {
            if (_inodes.TryGetValue(number, out Inode? inode))
            {
                inode.Holds++;
                return inode;
            }

            return null;
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
            if (!_inodes.TryGetValue(number, out Inode? inode))
            {
                return true;
            }

            if (inode.Holds > 0 || inode.IsDirty || inode.Container is null)
            {
                return false;
            }

            Forget(inode);
            return true;
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
            if (!_inodes.TryGetValue(built.Number, out Inode? existing))
            {
                built.Holds = 1;
                _inodes.Add(built.Number, built);
                if (_inodes.Count > _sweepAt)
                {
                    Sweep();
                }

                return built;
            }

            existing.Holds++;
            winner = existing;
        }

        Discard(built);
        return winner;
    }

    public void Hold(Inode inode)
    {
        lock (_lock)
        {
            Invariant.Check(inode.Holds > 0);
            inode.Holds++;
        }
    }

    public void Release(Inode inode)
    {
        lock (_lock)
        {
            Invariant.Check(inode.Holds > 0);
            if (--inode.Holds == 0 && inode.IsRemoved)
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
            return [.. _inodes.Values];
        }
    }

    /// <summary>Gives back the frames of every inode; the table is not used afterwards.</summary>
    public void ReleaseAll()
    {
        lock (_lock)
        {
            foreach (Inode inode in _inodes.Values)
            {
                Discard(inode, releaseContainer: false);
            }

            _inodes.Clear();
        }
    }

    // Children before parents: removing a child releases its hold on the parent, which the same sweep may then remove.
    private void Sweep()
    {
        bool again = true;
        while (again && _inodes.Count > InodesMax / 2)
        {
            again = false;
            foreach (Inode inode in _inodes.Values.ToArray())
            {
                if (inode is { Holds: 0, IsDirty: false, Container: not null })
                {
                    Forget(inode);
                    again = true;
                }
            }
        }

        _sweepAt = Math.Max(InodesMax, _inodes.Count + (InodesMax / 4));
    }

    private void Forget(Inode inode)
    {
        _inodes.Remove(inode.Number);
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
