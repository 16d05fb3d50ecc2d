// SPDX-License-Identifier: MIT
using System.Text;
using Exo.Adapters.Fuse.Session;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Watching;

namespace Exo.Adapters.Fuse.Mounting;

/// <summary>
/// What changes in the volume without the kernel's doing, noted as it happens and told to the kernel by a thread of its own (<see cref="Serve"/>): telling can wait for the kernel's locks,
/// whose owners wait for answers of this mount. What has been noted and not told yet is a set, so that many changes of one thing are told once.
/// </summary>
internal sealed class FuseInvalidations(FuseSession session, FuseNotifications notifications) : IChangeObserver
{
    // The kernel does not know an inode of which an answer is still under way to it.
    private const int RoundsMax = 200;
    private static readonly TimeSpan RoundTime = TimeSpan.FromMilliseconds(1);

    private readonly object _lock = new();
    private HashSet<(ulong Directory, string Name)> _names = [];
    private Dictionary<ulong, bool> _inodes = [];
    private bool _isTelling;
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
        while (TryTake(out HashSet<(ulong Directory, string Name)> names, out Dictionary<ulong, bool> inodes))
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

    private bool TryTake(out HashSet<(ulong Directory, string Name)> names, out Dictionary<ulong, bool> inodes)
    {
        lock (_lock)
        {
            _isTelling = false;
            while (_names.Count + _inodes.Count == 0 && !_hasEnded)
            {
                Monitor.PulseAll(_lock);
                Monitor.Wait(_lock);
            }

            (names, inodes) = (_names, _inodes);
            (_names, _inodes) = ([], []);
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
