// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Volume;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Directories;

/// <summary>
/// The index of a large directory on the disk (docs/cffs-format.md, "Directory index"): linear hashing over buckets of one block. Every method runs under the directory's lock.
/// <para>Buckets are written at a commit with everything else, in any order, because whatever mix of old and new sectors a crash leaves is one of which nothing is missing but names that were
/// made since the last mount, and those the recovery sees in the slots: an entry is put in with its record; it is taken out when the removal of its record is durable; and when a
/// bucket is split the old one keeps what went to the new one until that is durable. Entries that lead nowhere are harmless: each is compared with its slot when it is used.</para>
/// </summary>
internal sealed partial class DirectoryIndex(VolumeCore core)
{
    private const uint SplitsMax = 4096;

    /// <summary>How many buckets there are: as many as are mapped without a gap.</summary>
    public static uint CountOf(Inode directory)
    {
        BlockMap map = directory.Map.Index;
        uint count = 0;
        for (int e = 0; e < map.Count && (uint)map[e].Logical == count && IndexBucket.IncarnationOf(map[e].Logical) == IncarnationOf(directory); e++)
        {
            count += map[e].Count;
        }

        return Math.Min(count, 1u << IndexBucket.BucketBitsMax);
    }

    /// <summary>The incarnation of the index that is there.</summary>
    public static uint IncarnationOf(Inode directory) => IndexBucket.IncarnationOf(directory.Map.Index[0].Logical);

    /// <summary>Whether the buckets that are there may be believed: all of one incarnation, and none that is older than the volume trusts.</summary>
    public bool IsTrusted(Inode directory)
    {
        BlockMap map = directory.Map.Index;
        return directory.Map.HasIndex && CountOf(directory) > 0 && IndexBucket.IncarnationOf(map[map.Count - 1].Logical) == IncarnationOf(directory)
            && (int)(IncarnationOf(directory) - core.IndexTrust) >= 0;
    }

    /// <summary>
    /// The bucket in which a hash stands, its frame retained; null when it cannot be believed, and the slots must be read.
    /// </summary>
    public ValueTask<FrameNumber?> FindAsync(Inode directory, uint hash, IoMode mode)
    {
        uint bucket = IndexBucket.Of(hash, directory.Directory!.Buckets);
        return TryGetInCore(directory, bucket, out FrameNumber frame)
            ? new ValueTask<FrameNumber?>(frame)
            : TryGetAsync(directory, bucket, mode);
    }

    /// <summary>The bucket in which a hash stands, if it seems to be in core: not held (<see cref="Cache.BlockCache.BeginPeek"/>). What an index says is compared with the slots anyway.</summary>
    public bool TryPeek(Inode directory, uint hash, out ReadOnlySpan<byte> bucket) =>
        core.Cache.TryPeek(PlaceOf(directory, IndexBucket.Of(hash, directory.Directory!.Buckets)).Block, IndexBucket.HomeOf(hash) * Layout.Sector.SizeBytes, out bucket);

    /// <summary>Puts an entry in.</summary>
    /// <exception cref="CffsException">Corrupt: the index cannot be believed; NoSpace, Busy: it cannot grow.</exception>
    public async ValueTask AddAsync(Inode directory, uint hash, uint address, IoMode mode)
    {
        uint splits = 0;
        uint splitsMax = Math.Max(SplitsMax, 2 * directory.Directory!.Buckets);
        bool hasCommitted = false;
        while (true)
        {
            uint count = directory.Directory.Buckets;
            uint bucket = IndexBucket.Of(hash, count);
            FrameNumber frame = await RequireAsync(directory, bucket, mode).ConfigureAwait(false);
            bool isGone;
            bool isFull;
            try
            {
                if (!Covers(IndexBucket.DeepestOf(core.Cache.Bytes(frame)), bucket, hash))
                {
                    throw new CffsException(CffsError.Corrupt, $"bucket {bucket} of the index of directory {directory.Number} is not what it must be");
                }

                if (Has(core.Cache.Bytes(frame), hash, address))
                {
                    return;
                }

                await TryPurgeAsync(directory, bucket, frame, mode).ConfigureAwait(false);
                int depth = IndexBucket.DepthOf(bucket, count);
                bool isLong = IndexBucket.Count(core.Cache.Bytes(frame)) >= core.IndexSplitAt && CountStaying(directory.Directory, core.Cache.Bytes(frame), bucket, depth) >= core.IndexSplitAt;
                isFull = !IndexBucket.TryFindFree(core.Cache.Bytes(frame), hash, out int entry);
                if (!isFull && (!isLong || splits > 0))
                {
                    lock (core.Metadata)
                    {
                        core.Edit.Begin();
                        IndexBucket.Write(
                            Sector(directory, bucket, frame, entry / IndexBucket.EntriesPerSector), entry % IndexBucket.EntriesPerSector, hash, address);
                        core.Edit.Apply();
                    }

                    return;
                }

                isGone = isFull && !isLong;
                if ((isGone && hasCommitted) || splits > splitsMax)
                {
                    throw new CffsException(CffsError.Busy, $"bucket {bucket} of the index of directory {directory.Number} has no room");
                }
            }
            finally
            {
                core.Cache.Release(frame);
            }

            if (isGone)
            {
                // It is full of what has gone: to other buckets, or from the directory. When that is durable there is room.
                await core.Committer.CommitAsync(mode).ConfigureAwait(false);
                await DrainAsync(directory, mode).ConfigureAwait(false);
                hasCommitted = true;
            }
            else
            {
                // Not necessarily this bucket: they are split in turn. A full one is reached at the latest when all have been.
                splits++;
                try
                {
                    await SplitAsync(directory, mode).ConfigureAwait(false);
                }
                catch (CffsException refused) when (!isFull && refused.Error is (CffsError.NoSpace or CffsError.Busy or CffsError.FileTooLarge))
                {
                    // There is room for this entry all the same.
                }
            }
        }
    }

    /// <summary>Takes entries out whose records are durably gone.</summary>
    public async ValueTask DrainAsync(Inode directory, IoMode mode)
    {
        DirectoryState state = directory.Directory!;
        uint count = state.Buckets;
        List<(uint Bucket, uint Hash, uint Address)> due = [];
        foreach ((ulong key, long stamp) in state.Leaving)
        {
            if (core.Committer.IsDurable(stamp))
            {
                due.Add((IndexBucket.Of((uint)(key >> 32), count), (uint)(key >> 32), (uint)key));
            }
        }

        due.Sort();
        for (int from = 0; from < due.Count;)
        {
            int end = from + 1;
            while (end < due.Count && due[end].Bucket == due[from].Bucket)
            {
                end++;
            }

            FrameNumber frame = await RequireAsync(directory, due[from].Bucket, mode).ConfigureAwait(false);
            try
            {
                for (int i = from; i < end; i++)
                {
                    Remove(directory, due[i].Bucket, frame, due[i].Hash, due[i].Address);
                    state.Leaving.Remove(KeyOf(due[i].Hash, due[i].Address));
                }
            }
            finally
            {
                core.Cache.Release(frame);
            }

            from = end;
        }
    }

    /// <summary>
    /// How many entries a split could share out: those that neither have gone to another bucket nor are about to leave. A name that many files have had in turn stands here once for each of
    /// their slots until a commit, and no split parts entries of one hash.
    /// </summary>
    private static int CountStaying(DirectoryState state, ReadOnlySpan<byte> block, uint bucket, int depth)
    {
        int count = 0;
        for (int entry = 0; entry < IndexBucket.EntriesMax; entry++)
        {
            count += IndexBucket.TryRead(block, entry, out uint hash, out uint address) && Covers(depth, bucket, hash)
                && (state.Leaving.Count == 0 || !state.Leaving.ContainsKey(KeyOf(hash, address))) ? 1 : 0;
        }

        return count;
    }

    public static ulong KeyOf(uint hash, uint address) => ((ulong)hash << 32) | address;

    private static bool Covers(int depth, uint bucket, uint hash) => (hash & IndexBucket.Mask(depth)) == bucket;

    private static bool Has(ReadOnlySpan<byte> block, uint hash, uint address)
    {
        int cursor = 0;
        while (IndexBucket.TryNext(block, hash, ref cursor, out _, out uint found))
        {
            if (found == address)
            {
                return true;
            }
        }

        return false;
    }

    private void Remove(Inode directory, uint bucket, FrameNumber frame, uint hash, uint address)
    {
        int cursor = 0;
        while (IndexBucket.TryNext(core.Cache.Bytes(frame), hash, ref cursor, out int entry, out uint found))
        {
            if (found == address)
            {
                lock (core.Metadata)
                {
                    core.Edit.Begin();
                    IndexBucket.Clear(Sector(directory, bucket, frame, entry / IndexBucket.EntriesPerSector), entry % IndexBucket.EntriesPerSector);
                    core.Edit.Apply();
                }
            }
        }
    }

    /// <summary>The image of a sector of a bucket. Under the metadata lock, after Begin.</summary>
    private Span<byte> Sector(Inode directory, uint bucket, FrameNumber frame, int sector) =>
        core.Edit.Sector(PlaceOf(directory, bucket).Block, frame, sector, SectorKind.Index, directory.Number);

    private static (BlockNumber Block, MappedExtent Extent) PlaceOf(Inode directory, uint bucket)
    {
        ulong logical = IndexBucket.LogicalOf(IncarnationOf(directory), bucket);
        bool found = directory.Map.Index.TryFind(logical, out MappedExtent extent);
        Invariant.Check(found);
        return (new BlockNumber(extent.Start + (logical - extent.Logical)), extent);
    }

    private bool TryGetInCore(Inode directory, uint bucket, out FrameNumber frame) => core.Cache.TryGet(PlaceOf(directory, bucket).Block, out frame);

    /// <summary>A bucket's frame, retained; null when the block does not hold the bucket.</summary>
    private async ValueTask<FrameNumber?> TryGetAsync(Inode directory, uint bucket, IoMode mode)
    {
        (BlockNumber block, MappedExtent extent) = PlaceOf(directory, bucket);
        FrameNumber frame;
        while (!core.Cache.TryGet(block, out frame))
        {
            // Neighbours too, when many are asked for. Those that are there and are wrong are let go again at once, so that what is in core can be believed.
            BlockExtent run = directory.Directory!.Misses.Around(extent, IndexBucket.LogicalOf(IncarnationOf(directory), bucket), core.Cache.Frames.FrameCount, directory.Map.Index.TotalBlocks);
            uint first = bucket - (uint)(block.Value - run.First.Value);
            try
            {
                await core.Cache.ReadAsync(new[] { new XnReadRequest(extent.Parent, extent.Partition, run) }, mode).ConfigureAwait(false);
            }
            catch (BlockDeviceException)
            {
                // Derived data: the slots have everything that was in it.
                return null;
            }

            bool isGood = true;
            for (uint i = 0; i < run.Count; i++)
            {
                isGood &= Verify(directory, first + i, run.First + i) || first + i != bucket;
            }

            if (!isGood)
            {
                return null;
            }
        }

        return frame;
    }

    /// <summary>Looks at a block that may just have been read. False, and no longer in core, when it is not the bucket, or one from which more has been split off than there are buckets.</summary>
    private bool Verify(Inode directory, uint bucket, BlockNumber block)
    {
        if (!core.Cache.TryGet(block, out FrameNumber frame))
        {
            return true;
        }

        bool isValid = bucket < directory.Directory!.Buckets
            && IndexBucket.IsValid(core.Cache.Bytes(frame), core.Seed, block.Value, directory.Number, IncarnationOf(directory), bucket)
            && IndexBucket.DeepestOf(core.Cache.Bytes(frame)) <= IndexBucket.DepthOf(bucket, directory.Directory.Buckets);
        core.Cache.Release(frame);
        if (!isValid)
        {
            _ = core.Disk.Unbind(core.Key, block);
        }

        return isValid;
    }
}
