// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Directories;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Volume;

namespace Exo.FileSystems.CFFS.Paths;

/// <summary>From paths to inodes. Inodes returned are held; the caller releases them. Locks one directory at a time.</summary>
internal sealed partial class PathWalk(VolumeCore core)
{
    private const int SymbolicLinksMax = 40;

    /// <summary>The inode that a path leads to.</summary>
    public async ValueTask<Inode> ResolveAsync(ReadOnlyMemory<byte> path, bool followLast, CffsIdentity identity, IoMode mode)
    {
        (Inode parent, ReadOnlyMemory<byte> name) = await ResolveParentAsync(path, identity, mode).ConfigureAwait(false);
        if (name.IsEmpty)
        {
            return parent;
        }

        Inode? found = await StepAsync(parent, name, identity, mode).ConfigureAwait(false);
        if (found is null)
        {
            core.Inodes.Release(parent);
            throw Refusal.Of(CffsError.NotFound, path, ": not found");
        }

        if (found.Record.Kind == SlotKind.SymbolicLink && followLast)
        {
            byte[] target = await core.Files.ReadLinkAsync(found, mode).ConfigureAwait(false);
            core.Inodes.Release(found);
            return await FollowAsync(parent, target, 1, followLast, identity, mode).ConfigureAwait(false);
        }

        core.Inodes.Release(parent);
        return found;
    }

    /// <summary>
    /// The attributes of what a path leads to, if they can be had from its record alone: without an inode in memory, so that asking for many is cheap. Null when they cannot, for whatever reason.
    /// </summary>
    public async ValueTask<CffsStat?> TryStatAsync(ReadOnlyMemory<byte> path, bool followLast, CffsIdentity identity, IoMode mode)
    {
        (Inode parent, ReadOnlyMemory<byte> name) = await ResolveParentAsync(path, identity, mode).ConfigureAwait(false);
        try
        {
            if (name.IsEmpty || name.Length > Slot.NameBytesMax || !parent.IsDirectory || name.Span.SequenceEqual(".."u8))
            {
                return null;
            }

            Permissions.Require(parent, identity, Permissions.Execute);
            await parent.Lock.EnterAsync(mode).ConfigureAwait(false);
            try
            {
                if (await core.Directories.FindAsync(parent, name, mode).ConfigureAwait(false) is not { } place)
                {
                    throw Refusal.Of(CffsError.NotFound, path, ": not found");
                }

                Record record = core.Directories.TakeRecord(parent, place);
                bool isPlain = record.Kind is SlotKind.File or SlotKind.Special || (record.Kind == SlotKind.SymbolicLink && !followLast);
                return isPlain && !record.HasTree && !core.Inodes.Contains(record.Inode) ? CffsVolume.StatOf(record, record.Links) : null;
            }
            finally
            {
                parent.Lock.Exit();
            }
        }
        finally
        {
            core.Inodes.Release(parent);
        }
    }

    /// <summary>The directory of a path's last name (held), and that name; the name is empty when the path is the root.</summary>
    public ValueTask<(Inode Parent, ReadOnlyMemory<byte> Name)> ResolveParentAsync(ReadOnlyMemory<byte> path, CffsIdentity identity, IoMode mode) =>
        TryRecent(path.Span, identity, out Inode? recent, out int nameFrom) && core.Inodes.TryHold(recent)
            ? new ValueTask<(Inode Parent, ReadOnlyMemory<byte> Name)>((recent, path[nameFrom..]))
            : WalkFromRootAsync(path, identity, mode);

    private async ValueTask<(Inode Parent, ReadOnlyMemory<byte> Name)> WalkFromRootAsync(ReadOnlyMemory<byte> path, CffsIdentity identity, IoMode mode)
    {
        long pathsVersion = Volatile.Read(ref core.PathsVersion);
        Inode root = RootOf(identity);
        core.Inodes.Hold(root);
        (Inode parent, ReadOnlyMemory<byte> name) = await WalkAsync(root, path, 0, identity, mode).ConfigureAwait(false);
        Remember(path.Span, name.Span, identity, pathsVersion, parent);
        return (parent, name);
    }

    /// <summary>One step: the inode of a name in a directory, held, or null. <c>..</c> is the directory above.</summary>
    public async ValueTask<Inode?> StepAsync(Inode directory, ReadOnlyMemory<byte> name, CffsIdentity identity, IoMode mode)
    {
        if (!directory.IsDirectory)
        {
            throw new CffsException(CffsError.NotDirectory, $"'{PathName.Display(name)}' is looked up in something that is no directory");
        }

        Permissions.Require(directory, identity, Permissions.Execute);
        if (name.Span.SequenceEqual(".."u8))
        {
            return HoldAbove(directory, identity);
        }

        if (name.Length > Slot.NameBytesMax)
        {
            throw new CffsException(CffsError.NameTooLong, $"a name of {name.Length} bytes is longer than 255");
        }

        await directory.Lock.EnterAsync(mode).ConfigureAwait(false);
        try
        {
            SlotPlace? place = await core.Directories.FindAsync(directory, name, mode).ConfigureAwait(false);
            return place is { } found ? await core.GetInodeAsync(directory, found, mode).ConfigureAwait(false) : null;
        }
        finally
        {
            directory.Lock.Exit();
        }
    }

    private Inode RootOf(CffsIdentity identity) => identity.Root is { } confined ? confined.RootOn(core) : core.Root;

    /// <summary>The directory above, held; for the root, itself. A directory that has been moved out from beneath the identity's root since the walk came to it leads nowhere.</summary>
    private Inode HoldAbove(Inode directory, CffsIdentity identity)
    {
        Inode root = RootOf(identity);
        lock (core.Metadata)
        {
            for (Inode at = directory; identity.Root is not null && at != root; at = at.Container!)
            {
                if (at.Container is null)
                {
                    throw new CffsException(CffsError.NotFound, "the directory has left the one that the identity is confined to");
                }
            }

            // Within the lock: a move would let go of the one above.
            Inode above = directory == root ? directory : directory.Container ?? directory;
            core.Inodes.Hold(above);
            return above;
        }
    }

    private async ValueTask<(Inode Parent, ReadOnlyMemory<byte> Name)> WalkAsync(Inode from, ReadOnlyMemory<byte> path, int links, CffsIdentity identity, IoMode mode)
    {
        Inode at = from;
        try
        {
            ReadOnlyMemory<byte> rest = path;
            while (PathName.TryNext(ref rest, out ReadOnlyMemory<byte> name))
            {
                bool isDotDot = name.Span.SequenceEqual(".."u8);
                if (PathName.IsEnd(rest) && !isDotDot)
                {
                    return (at, name);
                }

                Inode next = await StepAsync(at, name, identity, mode).ConfigureAwait(false)
                    ?? throw new CffsException(CffsError.NotFound, $"{PathName.Display(path)}: '{PathName.Display(name)}' not found") { SaysPath = links == 0 };
                if (next.Record.Kind == SlotKind.SymbolicLink)
                {
                    byte[] target = await core.Files.ReadLinkAsync(next, mode).ConfigureAwait(false);
                    core.Inodes.Release(next);
                    Inode start = at;
                    at = null!;
                    next = await FollowAsync(start, target, links + 1, followLast: true, identity, mode).ConfigureAwait(false);
                    at = next;
                }
                else
                {
                    core.Inodes.Release(at);
                    at = next;
                }
            }

            return (at, default);
        }
        catch when (at is not null)
        {
            core.Inodes.Release(at);
            throw;
        }
    }

    /// <summary>Resolves a link's target from the directory that holds the link; releases that directory.</summary>
    private async ValueTask<Inode> FollowAsync(Inode directory, byte[] target, int links, bool followLast, CffsIdentity identity, IoMode mode)
    {
        if (links > SymbolicLinksMax)
        {
            core.Inodes.Release(directory);
            throw new CffsException(CffsError.Loop, "too many symbolic links");
        }

        if (target.Length > 0 && target[0] == '/')
        {
            core.Inodes.Release(directory);
            directory = RootOf(identity);
            core.Inodes.Hold(directory);
        }

        (Inode parent, ReadOnlyMemory<byte> name) = await WalkAsync(directory, target, links, identity, mode).ConfigureAwait(false);
        if (name.IsEmpty)
        {
            return parent;
        }

        Inode? found;
        try
        {
            found = await StepAsync(parent, name, identity, mode).ConfigureAwait(false);
        }
        catch
        {
            core.Inodes.Release(parent);
            throw;
        }

        if (found is null)
        {
            core.Inodes.Release(parent);
            throw new CffsException(CffsError.NotFound, $"{PathName.Display(target)}: not found");
        }

        if (found.Record.Kind == SlotKind.SymbolicLink && followLast)
        {
            byte[] next = await core.Files.ReadLinkAsync(found, mode).ConfigureAwait(false);
            core.Inodes.Release(found);
            return await FollowAsync(parent, next, links + 1, followLast, identity, mode).ConfigureAwait(false);
        }

        core.Inodes.Release(parent);
        return found;
    }
}
