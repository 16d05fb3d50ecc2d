// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Volume;

namespace Exo.FileSystems.CFFS.Watching;

/// <summary>
/// Tells watches and observers what has changed. Told under the metadata lock, in the order of the changes; with nobody there, telling is reading a field or two. A watch's own lock is a leaf.
/// </summary>
internal sealed class ChangeFeed(VolumeCore core)
{
    private readonly Lock _lock = new();
    private volatile CffsWatch[] _watches = [];
    private volatile IChangeObserver[] _observers = [];
    private bool _hasEnded;

    [ThreadStatic]
    private static IChangeObserver? t_author;

    /// <summary>Whatever the calling thread changes from here on is the observer's own doing, of which it need not be told.</summary>
    public static void ActFor(IChangeObserver observer) => t_author = observer;

    public void Add(IChangeObserver observer)
    {
        lock (_lock)
        {
            _observers = [.. _observers, observer];
        }
    }

    public void Remove(IChangeObserver observer)
    {
        lock (_lock)
        {
            _observers = [.. _observers.Where(other => other != observer)];
        }
    }

    /// <summary>Adds a watch; the root's hold becomes its own.</summary>
    public CffsWatch Add(Inode root, bool isSubtree, int capacity)
    {
        CffsWatch watch = new(this, root, isSubtree, capacity);
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_hasEnded, core);
            _watches = [.. _watches, watch];
        }

        return watch;
    }

    public void Remove(CffsWatch watch)
    {
        lock (_lock)
        {
            if (!_watches.Contains(watch))
            {
                return;
            }

            _watches = [.. _watches.Where(other => other != watch)];
        }

        watch.End();
        core.Inodes.Release(watch.Root);
    }

    /// <summary>The volume closes.</summary>
    public void End()
    {
        CffsWatch[] watches;
        lock (_lock)
        {
            _hasEnded = true;
            watches = _watches;
            _watches = [];
        }

        Array.ForEach(watches, watch => watch.End());
    }

    /// <summary>A name was made or removed.</summary>
    public void NoteName(CffsChangeKind kind, Inode directory, ReadOnlySpan<byte> name, ulong inode, ushort mode)
    {
        Observe(directory, name, inode);
        foreach (CffsWatch watch in _watches)
        {
            if (watch.Root.Number == inode)
            {
                watch.Add(new CffsChange { Kind = kind, Inode = inode, Directory = directory.Number, InodeKind = ModeBits.KindOf(mode) });
            }

            if (TryPath(watch, directory, name) is { } path)
            {
                watch.Add(new CffsChange { Kind = kind, Inode = inode, Directory = directory.Number, Path = path, InodeKind = ModeBits.KindOf(mode) });
            }
        }
    }

    /// <summary>A name was moved. The directories lie where they lay before. What had the new name before may have others, and links less.</summary>
    public void NoteMove(Inode from, ReadOnlySpan<byte> fromName, Inode to, ReadOnlySpan<byte> toName, ulong inode, ushort mode, Inode? replaced)
    {
        Observe(from, fromName, inode);
        Observe(to, toName, inode);
        if (replaced is not null)
        {
            Observe(replaced, contents: false, null, default);
        }

        foreach (CffsWatch watch in _watches)
        {
            byte[]? before = TryPath(watch, from, fromName);
            byte[]? after = TryPath(watch, to, toName);
            if (before is not null && after is not null)
            {
                watch.Add(new CffsChange
                {
                    Kind = CffsChangeKind.Renamed, Inode = inode, Directory = to.Number, Path = after, OldPath = before, InodeKind = ModeBits.KindOf(mode),
                });
            }
            else if ((before ?? after) is { } path)
            {
                bool isGone = after is null;
                watch.Add(new CffsChange
                {
                    Kind = isGone ? CffsChangeKind.Removed : CffsChangeKind.Created, Inode = inode, Directory = isGone ? from.Number : to.Number, Path = path,
                    InodeKind = ModeBits.KindOf(mode),
                });
            }
        }
    }

    /// <summary>
    /// Two names were exchanged. A watch that looks at both is told of each, one right after the other; one that looks at one of them is told that what was there is gone and what is there has come, in this order.
    /// The directories lie where they lay before.
    /// </summary>
    public void NoteExchange(Inode from, ReadOnlySpan<byte> fromName, Inode one, Inode to, ReadOnlySpan<byte> toName, Inode other)
    {
        Observe(from, fromName, other.Number);
        Observe(to, toName, one.Number);
        foreach (CffsWatch watch in _watches)
        {
            byte[]? fromPath = TryPath(watch, from, fromName);
            byte[]? toPath = TryPath(watch, to, toName);
            if (fromPath is not null && toPath is not null)
            {
                watch.Add(Change(CffsChangeKind.Exchanged, one, to, toPath) with { OldPath = fromPath });
                watch.Add(Change(CffsChangeKind.Exchanged, other, from, fromPath) with { OldPath = toPath });
            }
            else if (fromPath is not null)
            {
                watch.Add(Change(CffsChangeKind.Removed, one, from, fromPath));
                watch.Add(Change(CffsChangeKind.Created, other, from, fromPath));
            }
            else if (toPath is not null)
            {
                watch.Add(Change(CffsChangeKind.Removed, other, to, toPath));
                watch.Add(Change(CffsChangeKind.Created, one, to, toPath));
            }
        }
    }

    private static CffsChange Change(CffsChangeKind kind, Inode inode, Inode directory, byte[] path) => new()
    {
        Kind = kind, Inode = inode.Number, Directory = directory.Number, Path = path, InodeKind = ModeBits.KindOf(inode.Record.Mode),
    };

    /// <summary>An inode was given a name or lost one, or one changed: whoever knows a file by its other names sees its time of change and its link count differ.</summary>
    public void NoteLinks(Inode inode)
    {
        if (inode.Container == core.Externals && inode.Record.Links > inode.BuriedLinks)
        {
            NoteInode(CffsChangeKind.Attributes, inode);
        }
    }

    /// <summary>Contents or attributes of an inode changed.</summary>
    public void NoteInode(CffsChangeKind kind, Inode inode)
    {
        CffsWatch[] watches = _watches;
        bool isObserved = IsObserved(inode);
        if (watches.Length > 0 || isObserved)
        {
            NoteInode(watches, isObserved, kind, inode);
        }
    }

    private void NoteInode(CffsWatch[] watches, bool isObserved, CffsChangeKind kind, Inode inode)
    {
        Invariant.Check(core.Metadata.IsHeldByCurrentThread);
        bool contents = kind == CffsChangeKind.Written;
        if (inode.Container is not { } container || inode.IsRemoved || container == core.Orphans)
        {
            if (isObserved)
            {
                Observe(inode, contents, null, default);
            }

            return;
        }

        Span<byte> name = stackalloc byte[inode.Record.NameLength];
        ReadName(inode, name);
        if (isObserved)
        {
            Observe(inode, contents, container == core.Externals ? null : container, name);
        }

        foreach (CffsWatch watch in watches)
        {
            // Of the several names of an external inode none is the one, and nobody knows where they all are: whoever watches a tree may have one in it.
            byte[]? path = container == core.Externals ? (watch.IsSubtree ? [] : null) : TryPath(watch, container, name);
            if (path is not null)
            {
                watch.Add(new CffsChange { Kind = kind, Inode = inode.Number, Directory = container == core.Externals ? 0 : container.Number, Path = path, InodeKind = ModeBits.KindOf(inode.Record.Mode) });
            }
        }
    }

    private bool IsObserved(Inode inode)
    {
        if (inode.Tellings > 0)
        {
            foreach (IChangeObserver observer in _observers)
            {
                if (observer != t_author)
                {
                    return true;
                }
            }
        }

        return false;
    }

    private void Observe(Inode directory, ReadOnlySpan<byte> name, ulong inode)
    {
        foreach (IChangeObserver observer in _observers)
        {
            if (directory.Tellings > 0 && observer != t_author)
            {
                observer.NameChanged(directory, name, inode);
            }
        }
    }

    private void Observe(Inode inode, bool contents, Inode? directory, ReadOnlySpan<byte> name)
    {
        foreach (IChangeObserver observer in _observers)
        {
            if (inode.Tellings > 0 && observer != t_author)
            {
                observer.InodeChanged(inode, contents, directory, name);
            }
        }
    }

    private byte[]? TryPath(CffsWatch watch, Inode directory, ReadOnlySpan<byte> name)
    {
        int length = name.Length;
        for (Inode at = directory; at != watch.Root; at = at.Container)
        {
            if (!watch.IsSubtree || at.Container is null)
            {
                return null;
            }

            length += at.Record.NameLength + 1;
        }

        byte[] path = new byte[length];
        int end = length - name.Length;
        name.CopyTo(path.AsSpan(end));
        for (Inode at = directory; at != watch.Root; at = at.Container!)
        {
            path[--end] = (byte)'/';
            end -= at.Record.NameLength;
            ReadName(at, path.AsSpan(end, at.Record.NameLength));
        }

        return path;
    }

    private void ReadName(Inode inode, Span<byte> name) =>
        Record.ReadContents(core.Cache.Bytes(inode.SlotFrame).Slice((inode.SlotIndex >> 2) * Sector.SizeBytes, Sector.SizeBytes), inode.SlotIndex & 3, 0, name);
}
