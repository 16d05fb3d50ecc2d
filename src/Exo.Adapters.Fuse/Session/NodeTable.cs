// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Nodes;

namespace Exo.Adapters.Fuse.Session;

/// <summary>
/// The inodes that the kernel knows, and how often it was told of each: until it has forgotten as often, the inode stays in memory. Where the kernel does not tell what it has open
/// (<paramref name="keepsFiles"/>), a file that it knows may be open and so survives its last name, too. A node's number is its inode's; the root is 1, as the protocol wants it. Thread-safe.
/// <para>Each inode keeps the frame of the block that its record lies in, so what the kernel remembers is bounded by the frames: with more than half of them kept it is asked to forget (<see cref="IsCrowded"/>).</para>
/// </summary>
internal sealed class NodeTable(NodeDoor door, Func<bool> keepsFiles)
{
    public const ulong RootNode = 1;

    private readonly Dictionary<ulong, Known> _known = [];
    private readonly Lock _lock = new();

    // With so many nodes more than half of the frames may be kept.
    private int _lookAt = door.Frames.FrameCount / 2;

    public int Count => _known.Count;

    /// <summary>Whether it is time to look for a crowd (<see cref="TakeCrowd"/>). Asked without the lock, for each message: a moment's error does no harm.</summary>
    public bool IsCrowded => _known.Count >= Volatile.Read(ref _lookAt);

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
            return _known.TryGetValue(node, out Known known) ? known.Inode : null;
        }
    }

    /// <summary>The kernel is about to be told of an inode; takes the caller's hold over. Before its attributes are read, so that none of their changes is missed (<see cref="NodeDoor.Tell"/>).</summary>
    public void Tell(Inode inode)
    {
        if (inode == door.Root)
        {
            door.Release(inode);
            return;
        }

        bool isNew;
        lock (_lock)
        {
            ref Known known = ref CollectionsMarshal.GetValueRefOrAddDefault(_known, inode.Number, out bool wasKnown);
            known.Times++;
            isNew = !wasKnown;
            if (isNew)
            {
                NodeDoor.Tell(inode);
                known.Inode = inode;
                known.IsKept = keepsFiles() && door.Keep(inode);
            }
        }

        if (!isNew)
        {
            door.Release(inode);
        }
    }

    /// <summary>The nodes that the kernel should forget, those told of last first (what it has below a directory before the directory); none when no more than half of the frames are kept.</summary>
    public ulong[] TakeCrowd()
    {
        lock (_lock)
        {
            int half = door.Frames.FrameCount / 2;
            HashSet<uint> kept = [];
            foreach (Known known in _known.Values)
            {
                kept.Add(known.Inode.SlotFrame.Value);
            }

            _lookAt = _known.Count + Math.Max(half / 8, half - kept.Count);
            return kept.Count <= half ? [] : [.. _known.Keys.Take(_known.Count - (_known.Count / 4)).Reverse()];
        }
    }

    /// <summary>The kernel forgets.</summary>
    public void Forget(ulong node, ulong times)
    {
        Known gone;
        lock (_lock)
        {
            ref Known known = ref CollectionsMarshal.GetValueRefOrNullRef(_known, node);
            if (System.Runtime.CompilerServices.Unsafe.IsNullRef(ref known))
            {
                return;
            }

            known.Times -= Math.Min(times, known.Times);
            if (known.Times > 0)
            {
                return;
            }

            gone = known;
            _known.Remove(node);
        }

        Drop(gone);
    }

    /// <summary>The mount is over: the kernel knows nothing any more.</summary>
    public void ForgetAll()
    {
        List<Known> all;
        lock (_lock)
        {
            all = [.. _known.Values];
            _known.Clear();
        }

        foreach (Known gone in all)
        {
            Drop(gone);
        }
    }

    private void Drop(in Known gone)
    {
        NodeDoor.Untell(gone.Inode);
        if (gone.IsKept)
        {
            door.Close(gone.Inode);
        }
        else
        {
            door.Release(gone.Inode);
        }
    }

    private struct Known
    {
        public Inode Inode;

        /// <summary>How often the kernel was told, less how often it has forgotten.</summary>
        public ulong Times;

        /// <summary>The hold is that of an open file (<see cref="NodeDoor.Keep"/>).</summary>
        public bool IsKept;
    }
}
