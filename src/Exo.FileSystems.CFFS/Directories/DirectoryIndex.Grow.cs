// SPDX-License-Identifier: MIT
using System.Numerics;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Directories;

/// <content>Buckets that come: split from others one at a time, in order of their numbers; all at once when an index is built; again after a crash has lost them.</content>
internal sealed partial class DirectoryIndex
{
    private const int BuildBatchBlocks = 64;
    private const uint WindowBlocksMax = 1024;

    /// <summary>Builds an index from all names. False when there is no room for it: then nothing has changed that matters.</summary>
    public async ValueTask<bool> TryBuildAsync(Inode directory, List<(uint Hash, uint Address)> names, IoMode mode)
    {
        uint wanted = (uint)Math.Max(1, names.Count / (core.IndexSplitAt / 2));
        int depth = BitOperations.Log2(BitOperations.RoundUpToPowerOf2(wanted));
        uint count = 1u << depth;
        (uint Hash, uint Address)[] sorted = new (uint, uint)[names.Count];
        int[] ends = new int[count];
        foreach ((uint hash, _) in names)
        {
            ends[hash & IndexBucket.Mask(depth)]++;
        }

        for (int b = 1; b < ends.Length; b++)
        {
            ends[b] += ends[b - 1];
        }

        int[] at = [.. ends];
        foreach ((uint hash, uint address) in names)
        {
            sorted[--at[hash & IndexBucket.Mask(depth)]] = (hash, address);
        }

        uint incarnation = core.NextNameSequence();
        try
        {
            for (uint bucket = 0; bucket < count;)
            {
                FrameNumber[] frames = new FrameNumber[Math.Min(BuildBatchBlocks, count - bucket)];
                await core.Cache.TakeFramesAsync(frames, mode).ConfigureAwait(false);
                bool fits = true;
                for (uint i = 0; i < frames.Length; i++)
                {
                    Span<byte> block = core.Cache.Frames.Bytes(frames[i]);
                    IndexBucket.Format(block, incarnation, bucket + i, depth);
                    for (int e = at[bucket + i]; e < ends[bucket + i]; e++)
                    {
                        fits &= TryPut(block, sorted[e].Hash, sorted[e].Address);
                    }
                }

                if (!fits)
                {
                    Array.ForEach(frames, core.Cache.Release);
                }

                if (!fits || !await TryAppendAsync(directory, incarnation, bucket, frames, count, mode).ConfigureAwait(false))
                {
                    Drop(directory);
                    return false;
                }

                bucket += (uint)frames.Length;
            }

            return true;
        }
        catch (CffsException refused) when (refused.Error is CffsError.NoSpace or CffsError.Busy or CffsError.FileTooLarge)
        {
            Drop(directory);
            return false;
        }
    }

    /// <summary>Gives all buckets up. Where that is refused, the volume distrusts all indexes that are older than now.</summary>
    public void Drop(Inode directory)
    {
        lock (core.Metadata)
        {
            core.Allocator.Close(ref directory.Directory!.IndexWindow);
            BlockMap map = directory.Map.Index;
            while (map.Count > 0)
            {
                MappedExtent last = map[map.Count - 1];
                if (!TryFree(directory, last))
                {
                    core.DistrustIndexes();
                    return;
                }

                map.RemoveAt(map.Count - 1);
            }

            directory.Record.Links = 0;
            core.Committer.AddDirty(directory);
        }

        directory.Directory.Leaving.Clear();
        directory.Directory.SplitStamps.Clear();
        directory.Directory.Buckets = 0;
    }

    /// <summary>Splits the bucket whose turn it is.</summary>
    private async ValueTask SplitAsync(Inode directory, IoMode mode)
    {
        uint count = directory.Directory!.Buckets;
        uint from = count - (1u << BitOperations.Log2(count));
        int depth = BitOperations.Log2(count) + 1;
        if (depth > IndexBucket.BucketBitsMax)
        {
            throw new CffsException(CffsError.Busy, $"the index of directory {directory.Number} has as many buckets as there can be");
        }

        TrimBeyond(directory, count);
        FrameNumber source = await RequireAsync(directory, from, mode).ConfigureAwait(false);
        try
        {
            FrameNumber[] fresh = [await core.Cache.TakeFrameAsync(mode).ConfigureAwait(false)];
            Copy(core.Cache.Bytes(source), core.Cache.Frames.Bytes(fresh[0]), IncarnationOf(directory), count, depth);
            if (!await TryAppendAsync(directory, IncarnationOf(directory), count, fresh, count + 1, mode).ConfigureAwait(false))
            {
                throw new CffsException(CffsError.NoSpace, $"no free block for the index of directory {directory.Number}");
            }
        }
        finally
        {
            core.Cache.Release(source);
        }

        directory.Directory!.SplitStamps[from] = core.Committer.Stamp;
    }

    /// <summary>Takes out of a bucket what splits have taken to others, once those are durable, and what has left the directory.</summary>
    private async ValueTask TryPurgeAsync(Inode directory, uint bucket, FrameNumber frame, IoMode mode)
    {
        DirectoryState state = directory.Directory!;
        uint count = directory.Directory!.Buckets;
        int depth = IndexBucket.DepthOf(bucket, count);
        int found = IndexBucket.ShallowestOf(core.Cache.Bytes(frame));
        if (found >= depth)
        {
            return;
        }

        if (!state.SplitStamps.TryGetValue(bucket, out long stamp))
        {
            // Split in an earlier mount. What was split off must be there before it goes from here.
            for (int bits = found; bits < depth; bits++)
            {
                core.Cache.Release(await RequireAsync(directory, bucket + (1u << bits), mode).ConfigureAwait(false));
            }

            state.SplitStamps.TryAdd(bucket, core.Committer.Stamp);
            return;
        }

        if (!core.Committer.IsDurable(stamp))
        {
            return;
        }

        lock (core.Metadata)
        {
            core.Edit.Begin();
            for (int s = 0; s < Layout.Sector.PerBlock; s++)
            {
                Span<byte> sector = Sector(directory, bucket, frame, s);
                sector[IndexBucket.Depth] = (byte)depth;
                for (int i = 0; i < IndexBucket.EntriesPerSector; i++)
                {
                    if (IndexBucket.TryRead(core.Cache.Bytes(frame), (s * IndexBucket.EntriesPerSector) + i, out uint hash, out uint address)
                        && (!Covers(depth, bucket, hash) || (state.Leaving.TryGetValue(KeyOf(hash, address), out long left) && core.Committer.IsDurable(left))))
                    {
                        IndexBucket.Clear(sector, i);
                        if (Covers(depth, bucket, hash))
                        {
                            state.Leaving.Remove(KeyOf(hash, address));
                        }
                    }
                }
            }

            core.Edit.Apply();
        }

        state.SplitStamps.Remove(bucket);
    }

    /// <summary>
    /// Goes through all buckets after a crash, and makes those again that splits had made and the crash has lost. Later nobody can tell them from buckets that the medium has lost, and
    /// that had other entries.
    /// </summary>
    public async ValueTask RecoverAsync(Inode directory, IoMode mode)
    {
        for (uint bucket = 0; bucket < directory.Directory!.Buckets; bucket++)
        {
            core.Cache.Release(await RequireAsync(directory, bucket, mode).ConfigureAwait(false));
        }
    }

    /// <summary>A bucket's frame, retained. While recovery goes on, one that a crash has lost is made again from the bucket that it was split from.</summary>
    private async ValueTask<FrameNumber> RequireAsync(Inode directory, uint bucket, IoMode mode)
    {
        if (TryGetInCore(directory, bucket, out FrameNumber frame))
        {
            return frame;
        }

        if (await TryGetAsync(directory, bucket, mode).ConfigureAwait(false) is { } there)
        {
            return there;
        }

        uint ancestor = bucket;
        FrameNumber? source = null;
        while (source is null && ancestor > 0 && core.AfterCrash is not null)
        {
            ancestor = IndexBucket.ParentOf(ancestor);
            source = await TryGetAsync(directory, ancestor, mode).ConfigureAwait(false);
        }

        if (source is not { } from || !Covers(IndexBucket.DeepestOf(core.Cache.Bytes(from)), ancestor, bucket))
        {
            if (source is { } useless)
            {
                core.Cache.Release(useless);
            }

            throw new CffsException(CffsError.Corrupt, $"bucket {bucket} of the index of directory {directory.Number} is damaged");
        }

        (BlockNumber block, MappedExtent extent) = PlaceOf(directory, bucket);
        byte[] image = new byte[4096];
        Copy(core.Cache.Bytes(from), image, IncarnationOf(directory), bucket, IndexBucket.DepthOf(bucket, directory.Directory!.Buckets));
        core.Cache.Release(from);
        while (!core.Cache.TryGet(block, out frame))
        {
            await core.Cache.ReadAsync(new[] { new XnReadRequest(extent.Parent, extent.Partition, new BlockExtent(block, 1)) }, mode).ConfigureAwait(false);
        }

        lock (core.Metadata)
        {
            core.Edit.Begin();
            for (int s = 0; s < Layout.Sector.PerBlock; s++)
            {
                image.AsSpan(s * Layout.Sector.SizeBytes, Layout.Sector.SizeBytes).CopyTo(Sector(directory, bucket, frame, s));
            }

            XnStatus status = core.Edit.TryApply();
            if (status != XnStatus.Ok)
            {
                core.Cache.Release(frame);
                _ = core.Disk.Unbind(core.Key, block);
                throw core.Edit.Refused(status);
            }
        }

        // Nobody may purge what it was made from before it is durable.
        for (uint above = bucket; above > 0;)
        {
            above = IndexBucket.ParentOf(above);
            directory.Directory!.SplitStamps[above] = core.Committer.Stamp;
            if (above == ancestor)
            {
                break;
            }
        }

        return frame;
    }

    /// <summary>Makes a bucket of the entries of another that belong to it.</summary>
    private static void Copy(ReadOnlySpan<byte> source, Span<byte> target, uint incarnation, uint bucket, int depth)
    {
        IndexBucket.Format(target, incarnation, bucket, depth);
        for (int entry = 0; entry < IndexBucket.EntriesMax; entry++)
        {
            if (IndexBucket.TryRead(source, entry, out uint hash, out uint address) && Covers(depth, bucket, hash))
            {
                TryPut(target, hash, address);
            }
        }
    }

    private static bool TryPut(Span<byte> block, uint hash, uint address)
    {
        if (!IndexBucket.TryFindFree(block, hash, out int entry))
        {
            return false;
        }

        IndexBucket.Write(
            block.Slice(entry / IndexBucket.EntriesPerSector * Layout.Sector.SizeBytes, Layout.Sector.SizeBytes), entry % IndexBucket.EntriesPerSector, hash, address);
        return true;
    }

    /// <summary>Allocates blocks for buckets whose contents are in frames. The frames are no longer the caller's. False when the disk is full.</summary>
    private async ValueTask<bool> TryAppendAsync(Inode directory, uint incarnation, uint bucket, FrameNumber[] frames, uint count, IoMode mode)
    {
        int done = 0;
        try
        {
            while (done < frames.Length)
            {
                bool mustGrow;
                lock (core.Metadata)
                {
                    mustGrow = directory.Record.Depth == 0 || !TryFindEntry(directory, IndexBucket.LogicalOf(incarnation, bucket + (uint)done), out _, out _, out _);
                    if (!mustGrow)
                    {
                        uint window = Math.Clamp(count / 4, 16, WindowBlocksMax);
                        if (core.Space.AvailableBlocks < (ulong)(frames.Length - done)
                            || !core.Allocator.TryTake(ref directory.Directory!.IndexWindow, directory.SlotBlock.Value, (uint)(frames.Length - done), window, out BlockExtent place))
                        {
                            return false;
                        }

                        Append(directory, IndexBucket.LogicalOf(incarnation, bucket + (uint)done), place, frames.AsSpan(done, (int)place.Count));
                        done += (int)place.Count;
                    }
                }

                if (mustGrow)
                {
                    await core.MapEdits.GrowAsync(directory, mode).ConfigureAwait(false);
                }
            }
        }
        finally
        {
            // Those that no bucket has got.
            Array.ForEach(frames[done..], core.Cache.Release);
        }

        directory.Directory!.Buckets = CountOf(directory);
        return true;
    }

    /// <summary>An extent that goes on here, or else a free entry.</summary>
    private bool TryFindEntry(Inode directory, ulong logical, out int before, out BlockNumber node, out int entry)
    {
        before = directory.Map.HasIndex ? directory.Map.Index.IndexAtOrBefore(logical) : -1;
        return core.MapEdits.TryFindFreeEntry(directory, 1, out node, out entry);
    }

    private void Append(Inode directory, ulong logical, in BlockExtent place, ReadOnlySpan<FrameNumber> frames)
    {
        for (uint i = 0; i < place.Count; i++)
        {
            IndexBucket.Seal(core.Cache.Frames.Bytes(frames[(int)i]), core.Seed, place.First.Value + i, directory.Number);
        }

        bool isFree = TryFindEntry(directory, logical, out int before, out BlockNumber node, out int entry);
        BlockMap map = directory.Map.Index;
        bool extends = before >= 0 && map[before].LogicalEnd == logical && map[before].End == place.First.Value;
        Invariant.Check(extends || isFree);
        MappedExtent mapped = extends
            ? map[before] with { Count = map[before].Count + place.Count }
            : new MappedExtent(logical, place.First.Value, place.Count, TreeEntryKind.Index, node, entry);
        core.Edit.Begin();
        core.MapEdits.StageEntry(directory, mapped.Parent, mapped.Partition, new TreeEntry(mapped.Logical, mapped.Start, mapped.Count, TreeEntryKind.Index), 1);
        core.Edit.Transaction.ClaimAllocate(place, core.Templates.Index, mapped.Parent, mapped.Partition, frames);
        core.Edit.Apply();
        if (extends)
        {
            map.Replace(before, mapped);
        }
        else
        {
            map.Insert(mapped);
        }

        for (uint i = 0; i < place.Count; i++)
        {
            core.Cache.Remember(frames[(int)i], place.First + i);
        }
    }

    /// <summary>Buckets beyond a gap, which a crash can leave, are not part of the index.</summary>
    private void TrimBeyond(Inode directory, uint count)
    {
        BlockMap map = directory.Map.Index;
        while (map.Count > 0 && map[map.Count - 1].Logical >= IndexBucket.LogicalOf(IncarnationOf(directory), count))
        {
            lock (core.Metadata)
            {
                if (!TryFree(directory, map[map.Count - 1]))
                {
                    throw new CffsException(CffsError.Busy, $"the index of directory {directory.Number} cannot grow now");
                }
            }

            map.RemoveAt(map.Count - 1);
        }
    }

    private bool TryFree(Inode directory, in MappedExtent extent)
    {
        core.Edit.Begin();
        core.MapEdits.StageEntry(directory, extent.Parent, extent.Partition, default, 1);
        core.Edit.Transaction.ClaimFree(
            new BlockExtent(new BlockNumber(extent.Start), extent.Count), core.Templates.Index, extent.Parent, extent.Partition);
        return core.Edit.TryApply() == XnStatus.Ok;
    }
}
