// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;

namespace Exo.Storage.XN;

[Flags]
internal enum EntryFlags : ushort
{
    None = 0,

    /// <summary>Has a frame.</summary>
    Framed = 1,

    /// <summary>Being read; the frame's contents are not valid yet.</summary>
    Reading = 2,

    /// <summary>Being written.</summary>
    Writing = 4,

    /// <summary>Newer than what was last submitted for writing.</summary>
    Dirty = 8,

    /// <summary>A block whose pointer must wait for it, never durable since it was allocated. Counts in its ancestors' pending.</summary>
    Uninitialised = 16,

    /// <summary>Metadata not reachable from a root on the disk: its writes need no order.</summary>
    Volatile = 32,

    /// <summary>No pointer to the block has been handed to the disk as long as its parent has not been submitted at <c>AttachVersion</c>.</summary>
    NeverOnDisk = 64,

    /// <summary>Freed while being written: dropped when the write completes.</summary>
    Dropped = 128,

    /// <summary>Written, and that write is not durable yet.</summary>
    Unflushed = 256,

    /// <summary>With <see cref="Dropped"/>: no pointer was ever on the disk, the block is free once the write completes.</summary>
    FreeWhenWritten = 512,

    /// <summary>Has an image in the commit log, which a replay would put over the block.</summary>
    Live = 1024,

    /// <summary>In the transaction of the commit log that is being made or written.</summary>
    Committing = 2048,
}

/// <summary>
/// One block in core: 56 bytes, whatever is true of every block. What is true only of blocks on their way to the disk is in a <see cref="WriteState"/>.
/// Block numbers have 48 bits here: disks up to 2^60 bytes.
/// </summary>
internal struct RegistryEntry
{
    /// <summary>The time of the last change on the registry's clock, so that a block that leaves the registry and comes back never has an old version again.</summary>
    public ulong Version;

    /// <summary>The parent's version that first held the pointer to this block.</summary>
    public ulong AttachVersion;

    private uint _block;
    private uint _parent;
    private uint _guard;
    private ushort _blockHigh;
    private ushort _parentHigh;
    private ushort _guardHigh;

    public EntryFlags Flags;
    public uint Frame;
    public ushort ParentPartition;

    /// <summary>Number of the template; 0: the entry is not in use.</summary>
    public ushort Template;

    /// <summary>Index of the write state, or <see cref="BlockRegistry.None"/>: then the present version is the one on the disk.</summary>
    public int WriteState;

    /// <summary>Next entry of the bucket, or of the free list.</summary>
    public int Next;

    public ulong Block
    {
        readonly get => _block | ((ulong)_blockHigh << 32);
        set => (_block, _blockHigh) = ((uint)value, checked((ushort)(value >> 32)));
    }

    public ulong Parent
    {
        readonly get => _parent | ((ulong)_parentHigh << 32);
        set => (_parent, _parentHigh) = ((uint)value, checked((ushort)(value >> 32)));
    }

    /// <summary>The nearest block above, or this one, whose template has an <c>acl</c>.</summary>
    public ulong Guard
    {
        readonly get => _guard | ((ulong)_guardHigh << 32);
        set => (_guard, _guardHigh) = ((uint)value, checked((ushort)(value >> 32)));
    }

    public readonly bool Has(EntryFlags flags) => (Flags & flags) != 0;
}

/// <summary>
/// What a block on its way to the disk has beyond its entry. <c>Submitted</c>, <c>Written</c> and <c>Durable</c> say which versions were handed to the device, completed there, and survive
/// a power cut. Durable ≤ Written ≤ Submitted ≤ the entry's version.
/// </summary>
internal struct WriteState
{
    public ulong Submitted;
    public ulong Written;
    public ulong Durable;

    /// <summary>The epoch of the last completed write; the flush that closes it makes it durable.</summary>
    public ulong WrittenEpoch;

    /// <summary>With <see cref="EntryFlags.Uninitialised"/>: the first version that may be shown. Earlier ones point to what was never initialised.</summary>
    public ulong InitialiseAt;

    /// <summary>Uninitialised blocks in the volatile tree below, without this one.</summary>
    public int Pending;

    /// <summary>Links of the dirty list, by entry.</summary>
    public int DirtyNext;
    public int DirtyPrevious;

    /// <summary>Volatile metadata children, by entry: first, and links of the list that this entry is in.</summary>
    public int KidFirst;
    public int KidNext;
    public int KidPrevious;

    /// <summary>Next state of the free list.</summary>
    public int Free;

    /// <summary>Sectors, a bit each, in which what is in core differs from what is durable; of the transaction under way only by what came after it.</summary>
    public byte DirtySectors;

    /// <summary>Sectors that the transaction under way has images of.</summary>
    public byte LoggedSectors;
}

/// <summary>What the registry says about a block in core.</summary>
/// <param name="Block">The block.</param>
/// <param name="Template">Its template.</param>
/// <param name="Parent">The block that points to it; block 0 for a root.</param>
/// <param name="ParentPartition">In which partition.</param>
/// <param name="HasFrame">It has a frame with valid contents.</param>
/// <param name="IsDirty">It has changes that were not handed to the device.</param>
/// <param name="IsReading">It is being read in.</param>
/// <param name="IsWriting">It is being written.</param>
/// <param name="IsInitialised">It has been durable at least once since it was allocated.</param>
/// <param name="IsAttached">It is reachable from a root on the disk, as far as XN knows.</param>
/// <param name="PendingBelow">Blocks below it that must be durable before it may be written.</param>
/// <param name="Version">Its present version: grows with each change, and is never given twice to one block.</param>
/// <param name="DurableVersion">The newest version that is durable.</param>
public readonly record struct RegistryEntryInfo(
    BlockNumber Block, TemplateId Template, BlockNumber Parent, int ParentPartition, bool HasFrame, bool IsDirty, bool IsReading, bool IsWriting,
    bool IsInitialised, bool IsAttached, int PendingBelow, ulong Version, ulong DurableVersion);
