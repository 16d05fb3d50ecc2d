// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Inodes;

/// <summary>
/// One extent of an inode in memory: where it lies in the file, on the disk, and which XN partition (block and index) holds the pointer to it.
/// </summary>
internal readonly record struct MappedExtent(ulong Logical, ulong Start, uint Count, TreeEntryKind Kind, BlockNumber Parent, int Partition)
{
    public ulong LogicalEnd => Logical + Count;

    public ulong End => Start + Count;
}

/// <summary>A node of an inode's extent tree, kept in core while the map is.</summary>
internal readonly record struct MappedNode(BlockNumber Block, BlockNumber Parent, int Partition, int Level);

/// <summary>
/// All extents of one inode, sorted by logical block. On disk they lie in no order (slot or tree nodes); this is the order.
/// Invariant: extents do not overlap logically. Guarded by the inode's lock.
/// </summary>
internal sealed class BlockMap
{
    // Most files have one extent: room for it is made with it, and doubled with each that finds none.
    private MappedExtent[] _extents = [];
    private int _count;
    private int _last;
    private BlockMap? _index;
    private List<MappedNode>? _nodes;

    public ReadOnlySpan<MappedExtent> Extents => _extents.AsSpan(0, _count);

    public List<MappedNode> Nodes => _nodes ??= [];

    /// <summary>Second pointers to extents that are in the map, each the same as the first: an interrupted move between leaves has left them. They go with the next change.</summary>
    public List<MappedExtent>? Twins { get; set; }

    public int Count => _count;

    /// <summary>A directory's index buckets, which lie in the same tree (docs/cffs-format.md, "Directory index").</summary>
    public BlockMap Index => _index ??= new BlockMap();

    /// <summary>Whether there are index buckets.</summary>
    public bool HasIndex => _index is { Count: > 0 };

    /// <summary>Blocks of all extents.</summary>
    public ulong TotalBlocks { get; private set; }

    public MappedExtent this[int index] => Extents[index];

    /// <summary>Finds the extent that holds a logical block.</summary>
    public bool TryFind(ulong logical, out MappedExtent extent)
    {
        int last = _last;
        if (last < _count && logical - _extents[last].Logical < _extents[last].Count)
        {
            extent = _extents[last];
            return true;
        }

        int index = IndexAtOrBefore(logical);
        if (index >= 0 && logical - _extents[index].Logical < _extents[index].Count)
        {
            _last = index;
            extent = _extents[index];
            return true;
        }

        extent = default;
        return false;
    }

    /// <summary>Index of the last extent that begins at or before a logical block, or -1.</summary>
    public int IndexAtOrBefore(ulong logical)
    {
        int low = 0;
        int high = _count - 1;
        while (low <= high)
        {
            int middle = (low + high) >>> 1;
            if (_extents[middle].Logical <= logical)
            {
                low = middle + 1;
            }
            else
            {
                high = middle - 1;
            }
        }

        return high;
    }

    /// <summary>Adds an extent at its place.</summary>
    public void Insert(in MappedExtent extent)
    {
        int index = IndexAtOrBefore(extent.Logical) + 1;
        Invariant.Check(extent.Count > 0);
        Invariant.Check(index == 0 || _extents[index - 1].LogicalEnd <= extent.Logical);
        Invariant.Check(index == _count || extent.LogicalEnd <= _extents[index].Logical);
        if (_count == _extents.Length)
        {
            Array.Resize(ref _extents, Math.Max(1, _count * 2));
        }

        _extents.AsSpan(index, _count - index).CopyTo(_extents.AsSpan(index + 1));
        _extents[index] = extent;
        _count++;
        TotalBlocks += extent.Count;
    }

    /// <summary>Replaces the extent at an index, for growing, shrinking or moving its pointer.</summary>
    public void Replace(int index, in MappedExtent extent)
    {
        Invariant.Check(extent.Count > 0);
        TotalBlocks = TotalBlocks - _extents[index].Count + extent.Count;
        _extents[index] = extent;
    }

    public void RemoveAt(int index)
    {
        TotalBlocks -= _extents[index].Count;
        _count--;
        _extents.AsSpan(index + 1, _count - index).CopyTo(_extents.AsSpan(index));
    }

    public void Clear()
    {
        _extents = [];
        _count = 0;
        _nodes = null;
        Twins = null;
        TotalBlocks = 0;
        _last = 0;
        _index = null;
    }

    /// <summary>The record that pointed to the extent or the tree has moved.</summary>
    public void Reparent(BlockNumber from, int fromPartition, BlockNumber to, int toPartition)
    {
        for (int i = 0; i < _count; i++)
        {
            if (_extents[i].Parent == from && _extents[i].Partition == fromPartition)
            {
                _extents[i] = _extents[i] with { Parent = to, Partition = toPartition };
            }
        }

        for (int i = 0; _nodes is { } nodes && i < nodes.Count; i++)
        {
            if (nodes[i].Parent == from && nodes[i].Partition == fromPartition)
            {
                nodes[i] = nodes[i] with { Parent = to, Partition = toPartition };
            }
        }
    }

    /// <summary>The block that held pointers has moved; they lie in the same partitions at its new place.</summary>
    public void MoveParent(BlockNumber from, BlockNumber to)
    {
        for (int i = 0; i < _count; i++)
        {
            if (_extents[i].Parent == from)
            {
                _extents[i] = _extents[i] with { Parent = to };
            }
        }

        for (int i = 0; i < Nodes.Count; i++)
        {
            if (Nodes[i].Parent == from)
            {
                Nodes[i] = Nodes[i] with { Parent = to };
            }
        }

        _index?.MoveParent(from, to);
    }

    /// <summary>First mapped logical block at or after <paramref name="logical"/>, or <see cref="ulong.MaxValue"/>.</summary>
    public ulong NextMapped(ulong logical)
    {
        int index = IndexAtOrBefore(logical);
        if (index >= 0 && logical < _extents[index].LogicalEnd)
        {
            return logical;
        }

        return index + 1 < _count ? _extents[index + 1].Logical : ulong.MaxValue;
    }
}
