// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Volume;

namespace Exo.FileSystems.CFFS.Watching;

/// <summary>
/// Tells watches what has changed. Told under the metadata lock, in the order of the changes; with nobody watching, telling is reading one field. A watch's own lock is a leaf.
/// </summary>
internal sealed class ChangeFeed(VolumeCore core)
{
    private readonly Lock _lock = new();
    private volatile CffsWatch[] _watches = [];
    private bool _hasEnded;

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

    /// <summary>A name was moved. The directories lie where they lay before.</summary>
    public void NoteMove(Inode from, ReadOnlySpan<byte> fromName, Inode to, ReadOnlySpan<byte> toName, ulong inode, ushort mode)
    {
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

    /// <summary>Contents or attributes of an inode changed.</summary>
    public void NoteInode(CffsChangeKind kind, Inode inode)
    {
        CffsWatch[] watches = _watches;
        if (watches.Length > 0)
        {
            NoteInode(watches, kind, inode);
        }
    }

    private void NoteInode(CffsWatch[] watches, CffsChangeKind kind, Inode inode)
    {
        Invariant.Check(core.Metadata.IsHeldByCurrentThread);
        if (inode.Container is not { } container || inode.IsRemoved || container == core.Orphans)
        {
            return;
        }

        Span<byte> name = stackalloc byte[inode.Record.NameLength];
        ReadName(inode, name);
        foreach (CffsWatch watch in watches)
        {
            // Of the several names of an external inode none is the one.
            byte[]? path = container == core.Externals ? (watch.IsSubtree && watch.Root == core.Root ? [] : null) : TryPath(watch, container, name);
            if (path is not null)
            {
                watch.Add(new CffsChange { Kind = kind, Inode = inode.Number, Directory = container == core.Externals ? 0 : container.Number, Path = path, InodeKind = ModeBits.KindOf(inode.Record.Mode) });
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
