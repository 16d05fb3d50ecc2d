// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Directories;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Paths;
using Exo.FileSystems.CFFS.Volume;

namespace Exo.FileSystems.CFFS.Nodes;

/// <summary>
/// The file system by inode instead of by path, for a kernel that walks paths and checks permissions itself. Every inode passed in is held by the caller, every one
/// returned is held for it. Reads move access times unless <paramref name="notesAccess"/> is false. Thread-safe; calls block. All but reads are refused with <see cref="CffsException"/> on a read-only volume.
/// </summary>
internal sealed partial class NodeDoor(CffsVolume volume, bool notesAccess = true)
{
    private readonly VolumeCore core = volume.Core;

    public bool IsReadOnly => volume.IsReadOnly;

    public FramePool Frames => core.Cache.Frames;

    /// <summary>The root directory, held as long as the volume is open.</summary>
    public Inode Root => core.Root;

    /// <summary>Nanoseconds since 1970 by the volume's clock.</summary>
    public long Now() => core.Now();

    public void Hold(Inode inode) => core.Inodes.Hold(inode);

    public void Release(Inode inode) => core.Inodes.Release(inode);

    public void Sync() => volume.Sync();

    public CffsSpace GetSpace() => volume.GetSpace();

    /// <summary>The inode of a name, or null. <c>.</c> and <c>..</c> are what they are everywhere.</summary>
    public Inode? Lookup(Inode directory, ReadOnlyMemory<byte> name)
    {
        if (name.Span.SequenceEqual("."u8))
        {
            core.Inodes.Hold(directory);
            return directory;
        }

        return core.Paths.StepAsync(directory, name, CffsIdentity.Superuser, IoMode.Sync).Take();
    }

    /// <summary>Attributes. An inode whose last name is gone has no links.</summary>
    public CffsStat Stat(Inode inode)
    {
        CffsVolume.LoadForStatAsync(core, inode, IoMode.Sync).Take();
        lock (core.Metadata)
        {
            CffsStat stat = CffsVolume.StatOf(inode);
            return HasName(inode) ? stat : stat with { Links = 0 };
        }
    }

    /// <summary>Whether an inode still has a name somewhere.</summary>
    public bool HasName(Inode inode)
    {
        lock (core.Metadata)
        {
            return !inode.IsUnlinked && !inode.IsRemoved;
        }
    }

    /// <summary>
    /// Changes attributes of which the kernel has checked that the caller may. A new owner or, where <paramref name="dropSetId"/> says so, a new length takes the set-id bits away
    /// (the group's only where the group may execute: without that the bit means mandatory locking).
    /// </summary>
    public void SetAttributes(Inode inode, in CffsAttributeChange change, long? changeTimeNs, bool dropSetId)
    {
        if (change.Size is not null)
        {
            RequireFile(inode);
        }

        inode.RequireThawed();
        core.BeginWritingAsync(IoMode.Sync).Take();
        inode.Lock.Enter();
        try
        {
            if (change.Size is { } size)
            {
                RequireThere(inode);
                core.Files.SetLengthAsync(inode, size, IoMode.Sync).Take();
            }

            if (change.Size is not null || change.User is not null || change.Group is not null)
            {
                core.Attributes.DropCapabilitiesAsync(inode, IoMode.Sync).Take();
            }

            if (change.Permissions is { } permissions)
            {
                core.Attributes.FollowPermissionsAsync(inode, permissions, IoMode.Sync).Take();
            }

            lock (core.Metadata)
            {
                AttributeRules.Apply(ref inode.Record, change, CffsIdentity.Superuser, core.Now());
                if ((dropSetId || change.User is not null || change.Group is not null) && !inode.IsDirectory && change.Permissions is null)
                {
                    inode.Record.Mode = ModeBits.WithoutSetId(inode.Record.Mode);
                }

                inode.Record.ChangeTime = changeTimeNs ?? inode.Record.ChangeTime;
                core.NoteNames();
                core.Changes.NoteInode(CffsChangeKind.Attributes, inode);
                if (!inode.IsRemoved)
                {
                    core.Committer.AddDirty(inode);
                }
            }
        }
        finally
        {
            inode.Lock.Exit();
        }
    }

    /// <summary>Up to <paramref name="most"/> entries after a position, in the order of their positions. Positions are slot addresses: stable while an entry keeps its name.</summary>
    public void List(Inode directory, long afterPosition, int most, List<CffsDirectoryEntry> entries)
    {
        directory.Lock.Enter();
        try
        {
            core.Directories.ListSomeAsync(directory, afterPosition, most, entries, IoMode.Sync).Take();
            core.Files.Accessed(directory, notesAccess);
        }
        finally
        {
            directory.Lock.Exit();
        }
    }
}
