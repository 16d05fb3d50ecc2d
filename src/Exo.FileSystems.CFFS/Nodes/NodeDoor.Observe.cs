// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Watching;

namespace Exo.FileSystems.CFFS.Nodes;

/// <content>Changes that come through other doors.</content>
internal sealed partial class NodeDoor
{
    /// <summary>The observer hears of changes of inodes it has been told of (<see cref="Tell"/>) from here on; of the root always.</summary>
    public void Observe(IChangeObserver observer)
    {
        Tell(Root);
        core.Changes.Add(observer);
    }

    public void EndObserving(IChangeObserver observer)
    {
        core.Changes.Remove(observer);
        Untell(Root);
    }

    /// <summary>Somebody is about to be told of an inode, which the caller holds. Before its attributes are read: a change is either in them, or heard of.</summary>
    public static void Tell(Inode inode) => Interlocked.Increment(ref inode.Tellings);

    /// <summary>Whoever was told of an inode has forgotten it.</summary>
    public static void Untell(Inode inode) => Interlocked.Decrement(ref inode.Tellings);
}
