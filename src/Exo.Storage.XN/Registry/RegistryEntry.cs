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
}

/// <summary>
/// One block in core. <c>Version</c> is the time of its last change on the registry's clock, so that a block that leaves the registry and comes back never has an old version again; <c>Submitted</c>, <c>Written</c> and <c>Durable</c> say which of them were handed to the
/// device, completed there, and survive a power cut. Durable ≤ Written ≤ Submitted ≤ Version.
/// </summary>
internal struct RegistryEntry
{
    public ulong Block;
    public ulong Parent;
    public ulong Guard;
    public ulong WrittenEpoch;
    public Template Template;
    public uint Frame;
    public int ParentPartition;

    /// <summary>Uninitialised blocks in the volatile tree below, without this one.</summary>
    public int Pending;
    public ulong Version;
    public ulong Submitted;
    public ulong Written;
    public ulong Durable;

    /// <summary>The parent's version that first held the pointer to this block.</summary>
    public ulong AttachVersion;

    /// <summary>With <see cref="EntryFlags.Uninitialised"/>: the first version that may be shown. Earlier ones point to what was never initialised.</summary>
    public ulong InitialiseAt;
    public EntryFlags Flags;

    /// <summary>Links of the dirty list, -1 at its ends.</summary>
    public int DirtyNext;
    public int DirtyPrevious;

    /// <summary>Volatile metadata children: first, and links of the list that this entry is in.</summary>
    public int KidFirst;
    public int KidNext;
    public int KidPrevious;

    public readonly bool Has(EntryFlags flags) => (Flags & flags) != 0;
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
