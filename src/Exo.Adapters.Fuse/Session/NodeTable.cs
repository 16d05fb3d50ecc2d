// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Nodes;

namespace Exo.Adapters.Fuse.Session;

/// <summary>
/// The inodes that the kernel knows, and how often it was told of each: until it has forgotten as often, the inode stays in memory. A node's number is its inode's;
/// the root is 1, as the protocol wants it. Thread-safe.
/// </summary>
internal sealed class NodeTable(NodeDoor door)
{
    public const ulong RootNode = 1;

    private readonly Dictionary<ulong, Known> _known = [];
    private readonly Lock _lock = new();

    public int Count => _known.Count;

    public ulong NumberOf(Inode inode) => inode == door.Root ? RootNode : inode.Number;

    /// <summary>The inode of a node that the kernel knows, or null.</summary>
    public Inode? Find(ulong node)
    {
        if (node == RootNode)
        {
            return door.Root;
        }

        lock (_lock)
        {
            return _known.TryGetValue(node, out Known? known) ? known.Inode : null;
        }
    }

    /// <summary>The kernel is told of an inode; takes the caller's hold over.</summary>
    public void Tell(Inode inode)
    {
        if (inode != door.Root)
        {
            lock (_lock)
            {
                if (!_known.TryGetValue(inode.Number, out Known? known))
                {
                    _known.Add(inode.Number, new Known(inode) { Times = 1 });
                    return;
                }

                known.Times++;
            }
        }

        door.Release(inode);
    }

    /// <summary>The kernel forgets.</summary>
    public void Forget(ulong node, ulong times)
    {
        Inode? gone = null;
        lock (_lock)
        {
            if (_known.TryGetValue(node, out Known? known))
            {
                known.Times -= Math.Min(times, known.Times);
                if (known.Times == 0)
                {
                    _known.Remove(node);
                    gone = known.Inode;
                }
            }
        }

        if (gone is not null)
        {
            door.Release(gone);
        }
    }

    private sealed class Known(Inode inode)
    {
        public Inode Inode => inode;

        public ulong Times { get; set; }
    }
}
