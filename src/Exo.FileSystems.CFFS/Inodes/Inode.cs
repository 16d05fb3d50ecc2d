// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Allocation;
using Exo.FileSystems.CFFS.Attributes;
using Exo.FileSystems.CFFS.Directories;
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Inodes;

/// <summary>
/// An inode in memory. It holds the frame of the block that its record lies in, so that its record can be changed without I/O.
/// <para><see cref="Record"/>, <see cref="SlotBlock"/>, <see cref="SlotIndex"/>, <see cref="SlotAddress"/> and <see cref="Container"/> change only
/// under the volume's metadata lock; <see cref="Map"/>, <see cref="Directory"/> and the contents only under <see cref="Lock"/>.</para>
/// </summary>
internal sealed class Inode
{
    private List<FrameNumber>? _nodeFrames;
    private AccessList? _access;

    public Inode(ulong number)
    {
        Number = number;
    }

    public ulong Number { get; }

    /// <summary>The next inode in the table's chain (<see cref="InodeIndex"/>).</summary>
    public Inode? Next;

    public NodeLock Lock { get; } = new();

    /// <summary>The record's fixed fields; newer than the sector while <see cref="IsDirty"/>.</summary>
    public Record Record;

    /// <summary>The directory (or external inode table) that holds the record; held by this inode. Null for the built-in inodes.</summary>
    public Inode? Container { get; set; }

    /// <summary>Block and slot (0..31) of the record.</summary>
    public BlockNumber SlotBlock { get; set; }

    public int SlotIndex { get; set; }

    /// <summary>Slot address within the container.</summary>
    public uint SlotAddress { get; set; }

    /// <summary>The frame of <see cref="SlotBlock"/>, retained.</summary>
    public FrameNumber SlotFrame { get; set; }

    /// <summary>Where the last read ended, and, since reads follow one another, up to where has been read ahead and how far that may be from the reader. Under the lock.</summary>
    public long ReadEnd;

    /// <inheritdoc cref="ReadEnd"/>
    public long AheadEnd;

    /// <inheritdoc cref="ReadEnd"/>
    public long AheadWindow;

    /// <summary>Where the writes that follow one another began, where the last one ended, and up to where they have been written behind. Under the lock.</summary>
    public long WriteStart;

    /// <inheritdoc cref="WriteStart"/>
    public long WriteEnd;

    /// <inheritdoc cref="WriteStart"/>
    public long BehindEnd;

    /// <summary>Extents; valid when <see cref="IsMapLoaded"/>.</summary>
    public BlockMap Map { get; } = new();

    public bool IsMapLoaded { get; set; }

    /// <summary>Frames of the tree nodes, retained while the map is loaded.</summary>
    public List<FrameNumber> NodeFrames => _nodeFrames ??= [];

    /// <summary>Whether there are any.</summary>
    public bool HasNodeFrames => _nodeFrames is { Count: > 0 };

    /// <summary>The access control list; null while nobody has looked (<see cref="AttributeStore.AccessOf"/>). Set under the metadata lock.</summary>
    public AccessList? Access
    {
        get => Volatile.Read(ref _access);
        set => Volatile.Write(ref _access, value);
    }

    /// <summary>Where attributes are looked up.</summary>
    public AttributeStore? Attributes { get; init; }

    /// <summary>What is known of a directory's entries; null until loaded, and for everything else.</summary>
    public DirectoryState? Directory { get; set; }

    /// <summary>The record has changes that its sector has not.</summary>
    public bool IsDirty { get; set; }

    /// <summary>Users of this object: open handles, operations under way, children in memory. Guarded by the inode table.</summary>
    public int Holds { get; set; }

    /// <summary>
    /// Open file handles. Changed with interlocked operations: by who opens it under its lock, or its directory's, as whoever takes its last name away looks at it under both; by who closes it under the
    /// metadata lock.
    /// </summary>
    public int Opens;

    /// <summary>How many observers keep what they were told of this inode (<see cref="Watching.IChangeObserver"/>). Changed with interlocked operations, before the telling and after the forgetting.</summary>
    public int Tellings;

    /// <summary>No name is left; the record goes when the last handle closes.</summary>
    public bool IsUnlinked { get; set; }

    /// <summary>No name is left, and the record still lies under the last one; see <see cref="Operations.NameOperations"/>. Guarded by the metadata lock.</summary>
    public bool IsShelved { get; set; }

    /// <summary>The record is gone from the disk's directory.</summary>
    public bool IsRemoved { get; set; }

    /// <summary>Blocks set aside for this inode: a directory's group, or a growing file's run.</summary>
    public AllocationWindow Window;

    /// <summary>Where a file's next blocks are taken from, before its directory's window. Guarded by the metadata lock.</summary>
    public CffsPlacement? Placement { get; set; }

    /// <summary>How often contents of a directory's small files were fetched (<see cref="Files.FileStore"/>). Racy: a hint.</summary>
    public int GroupMisses { get; set; }

    /// <summary>Contents of a directory's small files have been fetched before anybody asked for one, and nobody has yet. Racy: a hint.</summary>
    public bool HasContentsAhead { get; set; }

    /// <summary>Names that were replaced and still count in the record's links. Guarded by the metadata lock.</summary>
    public uint BuriedLinks { get; set; }

    /// <summary>Incremented with each change of contents.</summary>
    public long Version;

    /// <summary>What its blocks hold behind its end is zeros, as far as a crash could have left something else there (<see cref="Files.FileStore"/>). Under its lock.</summary>
    public bool IsZeroBehind { get; set; }

    /// <summary>It has left the table: who still refers to it must ask for the inode anew. Guarded by the inode table.</summary>
    public bool IsForgotten { get; set; }

    /// <summary>It belongs to a snapshot, and does not change.</summary>
    public bool IsFrozen => (Number & Superblock.SnapshotInodes) != 0;

    /// <summary>Refuses a change of what belongs to a snapshot.</summary>
    /// <exception cref="CffsException">ReadOnly.</exception>
    public void RequireThawed()
    {
        if (IsFrozen)
        {
            CffsException.Throw(CffsError.ReadOnly, $"inode {Number} belongs to a snapshot");
        }
    }

    /// <summary>Asks the processor for what a search for a name goes through: all at once, as each by itself would have to be waited for. No lock is needed.</summary>
    public void Prefetch()
    {
        Exo.Core.Memory.Prefetch.Line(in Record);
        Exo.Core.Memory.Prefetch.Line(in Version);
        Exo.Core.Memory.Prefetch.Object(Lock);
        Exo.Core.Memory.Prefetch.Object(Map);
        Exo.Core.Memory.Prefetch.Object(Directory);
    }

    public bool IsDirectory => Record.Kind == SlotKind.Directory;
}
