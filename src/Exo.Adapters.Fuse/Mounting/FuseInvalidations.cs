// SPDX-License-Identifier: MIT
using System.Text;
using Exo.Adapters.Fuse.Session;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Watching;

namespace Exo.Adapters.Fuse.Mounting;

/// <summary>
/// What changes in the volume without the kernel's doing, noted as it happens and told to the kernel by a thread of its own (<see cref="Serve"/>): telling can wait for the kernel's locks,
/// whose owners wait for answers of this mount. What has been noted and not told yet is a set, so that many changes of one thing are told once. So it is asked to forget when what it remembers keeps too many frames.
/// </summary>
internal sealed class FuseInvalidations(FuseSession session, FuseNotifications notifications) : IChangeObserver
{
    // The kernel does not know an inode of which an answer is still under way to it; nor one that it has dropped, before it says so.
    private const int RoundsMax = 200;
    private static readonly TimeSpan RoundTime = TimeSpan.FromMilliseconds(1);

    private readonly object _lock = new();
    private readonly Lock _thinning = new();
    private HashSet<(ulong Directory, string Name)> _names = [];
    private Dictionary<ulong, bool> _inodes = [];
    private bool _isTelling;
    private bool _isCrowded;
    private bool _hasEnded;

    public void NameChanged(Inode directory, ReadOnlySpan<byte> name, ulong inode)
    {
        lock (_lock)
        {
            // Listings of the directory are among its contents.
            AddName(directory, name);
            AddInode(directory.Number, contents: true);
            AddInode(inode, contents: false);
        }
    }

    public void InodeChanged(Inode inode, bool contents, Inode? directory, ReadOnlySpan<byte> name)
    {
        lock (_lock)
        {
            AddInode(inode.Number, contents);
            if (session.KernelKeepsLengths && directory is not null)
            {
                // It does not take a new length or time. But it gives the inode up with its last name, where nobody has the file open.
                AddName(directory, name);
            }
        }
    }

    /// <summary>Waits until all that was noted before is told.</summary>
    public void CatchUp()
    {
        lock (_lock)
        {
            while ((_isTelling || _names.Count + _inodes.Count > 0) && !_hasEnded)
            {
                Monitor.Wait(_lock);
            }
        }
    }

    /// <summary>Tells until <see cref="End"/>.</summary>
    public void Serve()
    {
        while (TryTake(out HashSet<(ulong Directory, string Name)> names, out Dictionary<ulong, bool> inodes, out bool isCrowded))
        {
            foreach ((ulong directory, string name) in names)
            {
                if (session.NodeNumberOf(directory) is > 0 and var node)
                {
                    notifications.InvalidateName(node, Encoding.Latin1.GetBytes(name));
                }
            }

            for (int round = 0; round < RoundsMax && inodes.Count > 0; round++)
            {
                foreach ((ulong inode, bool contents) in inodes)
                {
                    ulong node = session.NodeNumberOf(inode);
                    if (node == 0 || (contents ? notifications.Invalidate(node, 0) : notifications.InvalidateAttributes(node)))
                    {
                        inodes.Remove(inode);
                    }
                }

                if (inodes.Count > 0)
                {
                    WaitARound();
                }
            }

            if (isCrowded)
            {
                Thin();
            }
        }
    }

    /// <summary>The kernel may remember too much. From any thread.</summary>
    public void NoteCrowd()
    {
        lock (_lock)
        {
            _isCrowded = true;
            Monitor.PulseAll(_lock);
        }
    }

    /// <summary>
    /// Has the kernel forget what it does not need. Who answers a message may do that, where somebody else is left to take the FORGETs and WRITEs that it brings: pruning wants no lock of the kernel's that
    /// the asker of the message may hold. (Telling of names does. So nobody waits for the thread that tells them.)
    /// </summary>
    public void Thin()
    {
        lock (_thinning)
        {
            ThinInRounds();
        }
    }

    // What is below a directory goes before the directory, and its FORGET comes when the kernel likes: so in rounds, as long as they help.
    private void ThinInRounds()
    {
        while (session.TakeCrowd() is { Length: > 0 } crowd)
        {
            int before = session.NodeCount;
            if (!notifications.Prune(crowd))
            {
                session.Crowded = session.Thin = null;
                return;
            }

            for (int round = 0; round < RoundsMax && session.NodeCount > before - (crowd.Length / 2); round++)
            {
                WaitARound();
            }

            if (session.NodeCount >= before)
            {
                return;   // all of it is in use
            }
        }
    }

    private void WaitARound()
    {
        lock (_lock)
        {
            if (!_hasEnded)
            {
                Monitor.Wait(_lock, RoundTime);
            }
        }
    }

    /// <summary>The mount is over.</summary>
    public void End()
    {
        lock (_lock)
        {
            _hasEnded = true;
            Monitor.PulseAll(_lock);
        }
    }

    private bool TryTake(out HashSet<(ulong Directory, string Name)> names, out Dictionary<ulong, bool> inodes, out bool isCrowded)
    {
        lock (_lock)
        {
            _isTelling = false;
            while (_names.Count + _inodes.Count == 0 && !_isCrowded && !_hasEnded)
            {
                Monitor.PulseAll(_lock);
                Monitor.Wait(_lock);
            }

            (names, inodes, isCrowded) = (_names, _inodes, _isCrowded);
            (_names, _inodes, _isCrowded) = ([], [], false);
            _isTelling = true;
            return !_hasEnded;
        }
    }

    // Bytes as characters, one each: comparable, and nothing is lost.
    private void AddName(Inode directory, ReadOnlySpan<byte> name)
    {
        if (_names.Add((directory.Number, Encoding.Latin1.GetString(name))))
        {
            Monitor.PulseAll(_lock);
        }
    }

    private void AddInode(ulong inode, bool contents)
    {
        bool had = _inodes.TryGetValue(inode, out bool hadContents);
        if (!had || (contents && !hadContents))
        {
            _inodes[inode] = contents;
            Monitor.PulseAll(_lock);
        }
    }
}
