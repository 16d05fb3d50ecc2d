// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Check;

/// <summary>The buckets of one directory's index.</summary>
internal sealed record IndexImage(uint Incarnation, uint Count, List<RepairExtent> Extents, uint Subdirectories)
{
    /// <summary>The deepest depth of each bucket; 255 when it is not valid.</summary>
    public byte[] Depths { get; } = new byte[Count];

    /// <summary>All entries of valid buckets, sorted: hash in the upper half, slot address in the lower; only those that a lookup can come to.</summary>
    public List<ulong> Entries { get; } = [];

    /// <summary>Directories seen among the records.</summary>
    public uint SubdirectoriesSeen { get; set; }

    /// <summary>Some buckets do not say what is in them, nor does the one that they were split from: names there are looked for in the slots.</summary>
    public bool IsIncomplete { get; set; }

    /// <summary>The bucket that a lookup of a hash ends at, or null. After a crash, recovery makes buckets again from those that they were split from.</summary>
    public uint? BucketOf(uint hash, bool isUnclean)
    {
        for (uint bucket = IndexBucket.Of(hash, Count); ; bucket = IndexBucket.ParentOf(bucket))
        {
            if (Depths[bucket] != 255)
            {
                return (hash & IndexBucket.Mask(Depths[bucket])) == bucket ? bucket : null;
            }

            if (bucket == 0 || !isUnclean)
            {
                return null;
            }
        }
    }
}

/// <content>
/// Indexes: whoever looks a name up must come to it. Entries that lead nowhere are no fault; a bucket that is lost is none either, because then the slots are read. Memory: 8 bytes
/// for each entry, and a byte for each bucket, of one directory at a time.
/// </content>
internal sealed partial class VolumeCheck
{
    private DirectoryVisit Visit(in Record record, ulong block, string path)
    {
        List<RepairExtent> map = MapOf(record, block, path);
        if (record.Depth == 0 && record.Size != record.Count * 4096UL)
        {
            Find(CffsSeverity.Error, "size", $"{path}/: a size of {record.Size} bytes, and {record.Count} logical blocks", record.Inode, block);
        }

        List<RepairExtent> buckets = [.. map.Where(extent => extent.Kind == TreeEntryKind.Index).OrderBy(extent => extent.Logical)];
        map.RemoveAll(extent => extent.Kind == TreeEntryKind.Index);
        if (buckets.Count == 0)
        {
            return new DirectoryVisit(record.Inode, path, map);
        }

        uint incarnation = IndexBucket.IncarnationOf(buckets[0].Logical);
        ulong count = 0;
        foreach (RepairExtent extent in buckets.TakeWhile(extent => extent.Logical == IndexBucket.LogicalOf(incarnation, (uint)count)))
        {
            count += extent.Count;
        }

        count = Math.Min(count, 1UL << IndexBucket.BucketBitsMax);
        bool isBelieved = count > 0 && IndexBucket.IncarnationOf(buckets[^1].Logical) == incarnation && (int)(incarnation - _state.IndexTrust) >= 0;
        return new DirectoryVisit(record.Inode, path, map) { Index = isBelieved ? new IndexImage(incarnation, (uint)count, buckets, record.Links) : null };
    }

    private void BeginIndex(DirectoryVisit directory)
    {
        if (directory.Index is not { } index)
        {
            return;
        }

        // First how deep each bucket is: only then is it known which of its entries a lookup can come to.
        byte[] block = new byte[4096];
        foreach ((uint bucket, ulong number) in BucketsOf(index))
        {
            bool isValid = _blocks.TryRead(number, block)
                && IndexBucket.IsValid(block, _guard.ChecksumSeed, number, directory.Inode, index.Incarnation, bucket)
                && IndexBucket.DeepestOf(block) <= IndexBucket.DepthOf(bucket, index.Count);
            index.Depths[bucket] = isValid ? (byte)IndexBucket.DeepestOf(block) : (byte)255;
        }

        foreach ((uint bucket, ulong number) in BucketsOf(index))
        {
            for (int entry = 0; index.Depths[bucket] != 255 && entry < IndexBucket.EntriesMax && (entry > 0 || _blocks.TryRead(number, block)); entry++)
            {
                if (IndexBucket.TryRead(block, entry, out uint hash, out uint address) && index.BucketOf(hash, _isUnclean) == bucket)
                {
                    index.Entries.Add(((ulong)hash << 32) | address);
                }
            }
        }

        index.Entries.Sort();
    }

    private static IEnumerable<(uint Bucket, ulong Block)> BucketsOf(IndexImage index)
    {
        foreach (RepairExtent extent in index.Extents)
        {
            for (uint i = 0; i < extent.Count && (uint)extent.Logical + i < index.Count; i++)
            {
                yield return ((uint)extent.Logical + i, extent.Start + i);
            }
        }
    }

    private void CheckIndexed(DirectoryVisit directory, uint address, in Record record, ulong block)
    {
        if (directory.Index is not { } index)
        {
            return;
        }

        index.SubdirectoriesSeen += record.Kind == SlotKind.Directory ? 1u : 0;
        if (index.BucketOf(record.NameHash, _isUnclean) is null)
        {
            index.IsIncomplete = true;
        }
        else if (index.Entries.BinarySearch(((ulong)record.NameHash << 32) | address) < 0 && !(_isUnclean && (int)(record.NameSequence - _state.IndexedSequence) >= 0))
        {
            Find(CffsSeverity.Error, "index-missing", $"{directory.Path}/: the index leads to no record in slot {address}", record.Inode, block);
        }
    }

    private void EndIndex(DirectoryVisit? directory)
    {
        if (directory?.Index is not { } index)
        {
            return;
        }

        if (index.IsIncomplete)
        {
            Find(CffsSeverity.Info, "index-incomplete", $"{directory.Path}/: parts of the index are lost; the next change makes it anew", directory.Inode, 0);
        }

        if (index.Subdirectories != index.SubdirectoriesSeen)
        {
            Find(
                _isUnclean ? CffsSeverity.Info : CffsSeverity.Warning, "index-count", $"{directory.Path}/ counts {index.Subdirectories} directories and has {index.SubdirectoriesSeen}",
                directory.Inode, 0);
        }

        index.Entries.Clear();
        index.Entries.TrimExcess();
    }
}
