// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Check;

/// <summary>One extent of a map that is being repaired.</summary>
internal readonly record struct RepairExtent(ulong Logical, ulong Start, uint Count, TreeEntryKind Kind);

/// <summary>A record: as it was found, and as it will be.</summary>
internal sealed class RepairRecord
{
    /// <summary>The fixed fields as they will be.</summary>
    public Record Now;

    /// <summary>Where it lies; block 0: nowhere yet.</summary>
    public ulong Block { get; init; }

    /// <summary>Slot in the block, 0 to 31.</summary>
    public int Index { get; init; }

    /// <summary>What the trailer of its sector says: inode number of the directory, 0 in the superblock.</summary>
    public ulong Owner { get; init; }

    /// <summary>Slots and length of the name as found.</summary>
    public byte SlotsFound { get; init; }

    /// <inheritdoc cref="SlotsFound"/>
    public byte NameLengthFound { get; init; }

    /// <summary>The directory it lies in; null for the built-in records and for what was found without one.</summary>
    public RepairDirectory? Container { get; set; }

    /// <summary>The inode number as found.</summary>
    public ulong InodeFound { get; init; }

    /// <summary>Its extended attributes, when they need a block that says its new number.</summary>
    public byte[]? Attributes { get; set; }

    /// <summary>It goes: its slots become free.</summary>
    public bool IsRemoved { get; set; }

    /// <summary>Its slot must be written.</summary>
    public bool IsDirty { get; set; }

    /// <summary>Its map must be written anew, in fresh tree nodes.</summary>
    public bool IsMapDirty { get; set; }

    /// <summary>Found by the search for lost directories: weaker than anything that a pointer leads to.</summary>
    public bool IsSalvaged { get; set; }

    /// <summary>It gets a name in lost+found; the slots it has now become free.</summary>
    public bool IsMoved { get; set; }

    /// <summary>The name it gets.</summary>
    public byte[]? NewName { get; set; }

    /// <summary>Its extents; null: what the record says directly, if anything.</summary>
    public List<RepairExtent>? Map { get; set; }

    /// <summary>The nodes of its extent tree that are proved to be its own.</summary>
    public HashSet<ulong> Nodes { get; } = [];

    /// <summary>Of a packed file: its sector's pack.</summary>
    public RepairRecord? Pack { get; set; }

    /// <summary>Of a pack, which is treated as a record of its own: the files in it.</summary>
    public List<RepairRecord> Packed { get; } = [];

    public bool OwnsBlocks => Now.Kind is SlotKind.File or SlotKind.Directory or SlotKind.SymbolicLink or SlotKind.Log or SlotKind.Pack;

    public bool IsLive => !IsRemoved;

    /// <summary>The extents, wherever they are written.</summary>
    public IEnumerable<RepairExtent> Extents =>
        !OwnsBlocks ? [] : Map ?? (Now.Count > 0 && Now.Depth == 0 ? [new RepairExtent(0, Now.Start, Now.Count, TreeEntryKind.Contents)] : []);

    /// <summary>Two records of one inode agree in what never changes.</summary>
    public bool WasBornAs(RepairRecord other) => Now.Kind == other.Now.Kind && Now.BirthTime == other.Now.BirthTime;

    /// <summary>Two records that lead to the same blocks: one inode, found twice.</summary>
    public bool LeadsWhere(RepairRecord other) =>
        Pack == other.Pack && Now.Count == other.Now.Count && Now.Depth == other.Now.Depth && Now.Start == other.Now.Start && Now.Size == other.Now.Size && Now.Kind == other.Now.Kind;
}

/// <summary>A directory: its blocks that are proved to be its own, and the records in them.</summary>
internal sealed class RepairDirectory
{
    public required ulong Inode { get; init; }

    /// <summary>The record that names it. Changes when a later one of an interrupted move is found.</summary>
    public required RepairRecord Record { get; set; }

    public List<(ulong Logical, ulong Block)> Blocks { get; } = [];

    public List<RepairRecord> Children { get; } = [];

    /// <summary>Blocks of zeros that it points to.</summary>
    public long EmptyBlocks { get; set; }

    /// <summary>Whether this lies below (or is) another directory.</summary>
    public bool IsBelow(RepairDirectory other)
    {
        int steps = 0;
        for (RepairDirectory? at = this; at is not null && steps < 1 << 20; at = at.Record.Container, steps++)
        {
            if (at == other)
            {
                return true;
            }
        }

        return false;
    }
}
