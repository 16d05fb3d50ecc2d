// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Allocation;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Files;

/// <content>
/// Contents with several owners (reflinks): a clone points to the blocks of its source, which are durable by then; who writes to such a block gets a fresh one for it.
/// Blocks are the grain: a block that one of several owners leaves is the others' alone when that is durable.
/// </content>
internal sealed partial class FileStore
{
    /// <summary>
    /// Makes a range of one file share the blocks of a range of another (or of the same). Offsets are those of whole blocks, and so is the length, unless the range ends with the source; then the
    /// target ends there too or earlier. Under the locks of both; writing has begun. Contents that lie in a directory sector are copied.
    /// </summary>
    /// <exception cref="CffsException">NoSpace (of tree nodes), FileTooLarge. The target may have part of the range by then, as after a write.</exception>
    public async ValueTask CloneAsync(Inode source, long sourceOffset, Inode target, long targetOffset, long length, IoMode mode)
    {
        if (length == 0)
        {
            return;
        }

        if (targetOffset > SizeMax - length)
        {
            throw new CffsException(CffsError.FileTooLarge, $"a file has at most {SizeMax} bytes");
        }

        await core.Maps.EnsureAsync(source, mode).ConfigureAwait(false);
        if (source.Record.InlineLength > 0 || source.Record.IsPacked)
        {
            byte[] contents = new byte[length];
            _ = await ReadAsync(source, sourceOffset, contents, mode).ConfigureAwait(false);
            await WriteAsync(target, targetOffset, contents, mode).ConfigureAwait(false);
            return;
        }

        // The nodes of its tree.
        await core.Space.RequireAsync(2, mode).ConfigureAwait(false);
        await core.PrepareFreeAsync(target, mode).ConfigureAwait(false);
        await MoveOutAsync(target, mode).ConfigureAwait(false);
        if (targetOffset > (long)target.Record.Size)
        {
            await ClearBehindAsync(target, mode).ConfigureAwait(false);
        }

        // What is behind the source's end comes along.
        target.IsZeroBehind = false;
        ulong first = (ulong)sourceOffset / BlockBytes;
        ulong end = (ulong)(sourceOffset + length + BlockBytes - 1) / BlockBytes;
        ulong shift = ((ulong)targetOffset / BlockBytes) - first;
        await RemoveRangeAsync(target, first + shift, end + shift, mode).ConfigureAwait(false);
        for (ulong logical = source.Map.NextMapped(first); logical < end; logical = source.Map.NextMapped(logical))
        {
            logical += await ShareAsync(source, logical, target, logical + shift, end - logical, mode).ConfigureAwait(false);
        }

        Changed(target, Math.Max(target.Record.Size, (ulong)(targetOffset + length)));
    }

    /// <summary>Shares what one extent of the source has of a range. Returns how many blocks that is.</summary>
    private async ValueTask<ulong> ShareAsync(Inode source, ulong logical, Inode target, ulong targetLogical, ulong count, IoMode mode)
    {
        while (true)
        {
            // The target may be the source: its extents move when its tree grows.
            bool isMapped = source.Map.TryFind(logical, out MappedExtent extent);
            Invariant.Check(isMapped);
            uint take = (uint)Math.Min(count, extent.LogicalEnd - logical);
            if (extent.Kind != TreeEntryKind.Contents)
            {
                return take;
            }

            MapEditResult result;
            lock (core.Metadata)
            {
                Record record = target.Record;
                result = core.MapEdits.TryShare(target, ref record, targetLogical, new BlockExtent(new BlockNumber(extent.Start + (logical - extent.Logical)), take), extent);
                target.Record = record;
            }

            if (result == MapEditResult.Done)
            {
                return take;
            }

            await MakeWayAsync(result, target, default, mode).ConfigureAwait(false);
        }
    }

    /// <summary>Blocks of a range that a write replaces by fresh ones, because others own them too.</summary>
    private ulong FixedBlocks(Inode inode, long offset, long length)
    {
        ulong found = 0;
        ulong end = ((ulong)(offset + length) + BlockBytes - 1) / BlockBytes;
        for (ulong logical = (ulong)offset / BlockBytes; core.Disk.HasFixedBlocks && logical < end;)
        {
            if (!inode.Map.TryFind(logical, out MappedExtent extent))
            {
                logical = Math.Min(end, inode.Map.NextMapped(logical));
                continue;
            }

            uint most = (uint)(Math.Min(end, extent.LogicalEnd) - logical);
            uint run = core.Disk.FixedRun(new BlockNumber(extent.Start + (logical - extent.Logical)), most, out bool isFixed);
            found += isFixed ? run : 0;
            logical += run;
        }

        return found;
    }

    /// <summary>Does what a change of a map has asked for before it can be done.</summary>
    private async ValueTask MakeWayAsync(MapEditResult result, Inode inode, MappedExtent crowded, IoMode mode)
    {
        switch (result)
        {
            case MapEditResult.MustGrow:
                await core.MapEdits.GrowAsync(inode, mode).ConfigureAwait(false);
                break;
            case MapEditResult.Crowded:
                await core.MapEdits.SpreadAsync(inode, crowded, mode).ConfigureAwait(false);
                break;
            case MapEditResult.NotDurable:
                await core.Committer.CommitAsync(mode).ConfigureAwait(false);
                break;
        }
    }

    /// <summary>
    /// Writes to blocks that others own too, or may own on the disk: the file gets fresh blocks, with what it had where the write leaves that. Returns how many blocks from
    /// <paramref name="logical"/> on have been written. A small file moves whole, so that it stays one extent; of others an extent is cut.
    /// </summary>
    private async ValueTask<uint> ReplaceAsync(Inode inode, ulong logical, uint count, long offset, ReadOnlyMemory<byte> source, IoMode mode)
    {
        inode.Map.TryFind(logical, out MappedExtent extent);
        bool isWhole = inode.Record.Depth == 0 && extent.Count <= BlockAllocator.SmallFileBlocks;
        ulong first = isWhole ? extent.Logical : logical;
        FrameNumber[] frames = new FrameNumber[isWhole ? extent.Count : count];
        await core.Cache.TakeFramesAsync(frames, mode).ConfigureAwait(false);
        uint used = 0;
        BlockNumber node = default;
        try
        {
            for (uint i = 0; i < frames.Length; i++)
            {
                await FillReplacementAsync(inode, extent, first + i, frames[i], offset, source, mode).ConfigureAwait(false);
            }

            bool hasTried = false;
            while (used < frames.Length)
            {
                MapEditResult? result = null;
                lock (core.Metadata)
                {
                    inode.Map.TryFind(first + used, out extent);
                    uint wanted = (uint)frames.Length - used;
                    if (isWhole && inode.Container is { } container
                        ? core.Allocator.TryTake(ref container.Window, container.SlotBlock.Value, wanted, BlockAllocator.DirectoryWindowBlocks, out BlockExtent place)
                        : TryPlace(inode, wanted, out place))
                    {
                        Record record = inode.Record;
                        result = core.MapEdits.TryReplace(inode, ref record, extent, first + used, place, frames.AsSpan((int)used, (int)place.Count));
                        if (result == MapEditResult.Done)
                        {
                            inode.Record = record;
                            node = inode.Record.Depth > 0 ? extent.Parent : default;
                            for (uint i = 0; i < place.Count; i++)
                            {
                                core.Cache.Remember(frames[used + i], place.First + i);
                            }

                            used += place.Count;
                        }
                    }
                }

                if (result is not { } known)
                {
                    await core.Space.AwaitFreedAsync(hasTried, mode).ConfigureAwait(false);
                    hasTried = true;
                }
                else
                {
                    await MakeWayAsync(known, inode, extent, mode).ConfigureAwait(false);
                }
            }
        }
        finally
        {
            for (int i = (int)used; i < frames.Length; i++)
            {
                core.Cache.Release(frames[i]);
            }
        }

        if (node != default && offset + source.Length > (long)inode.Record.Size)
        {
            // The new length must not be durable before the bytes that it takes in.
            await core.OrderAsync(node, inode.SlotBlock, mode).ConfigureAwait(false);
        }

        return isWhole ? (uint)Math.Min(first + used - logical, (ulong)(offset + source.Length + BlockBytes - 1) / BlockBytes - logical) : used;
    }

    /// <summary>Where a file's contents lie, in the order of the file. Under its lock.</summary>
    public async ValueTask<IReadOnlyList<CffsExtent>> ExtentsAsync(Inode inode, IoMode mode)
    {
        await core.Maps.EnsureAsync(inode, mode).ConfigureAwait(false);
        List<CffsExtent> extents = [];
        if (inode.Record.InlineLength > 0)
        {
            extents.Add(new CffsExtent(0, inode.Record.InlineLength, null, IsShared: false));
            return extents;
        }

        if (inode.Record.IsPacked)
        {
            extents.Add(new CffsExtent(0, (long)inode.Record.Size, PackOf(SectorOf(inode), inode.Record), IsShared: false));
            return extents;
        }

        foreach (MappedExtent extent in inode.Map.Extents)
        {
            for (uint at = 0; at < extent.Count;)
            {
                BlockNumber block = new(extent.Start + at);
                uint run = core.Disk.OwnerRun(block, extent.Count - at, out int owners);
                extents.Add(new CffsExtent((long)(extent.Logical + at) * BlockBytes, (long)run * BlockBytes, block, owners > 1));
                at += run;
            }
        }

        return extents;
    }

    /// <summary>What a block will hold after a write: the written bytes, and around them what it holds now.</summary>
    private async ValueTask FillReplacementAsync(
        Inode inode, MappedExtent extent, ulong logical, FrameNumber into, long offset, ReadOnlyMemory<byte> source, IoMode mode)
    {
        long start = (long)logical * BlockBytes;
        bool isTouched = offset < start + BlockBytes && offset + source.Length > start;
        if (isTouched && offset <= start && offset + source.Length >= start + BlockBytes)
        {
            Fill(core.Cache.Frames.Bytes(into), logical, offset, source.Span, fresh: true);
            return;
        }

        BlockNumber block = new(extent.Start + (logical - extent.Logical));
        FrameNumber frame;
        while (!core.Cache.TryGet(block, out frame))
        {
            uint run = (uint)Math.Min(extent.LogicalEnd - logical, BlockAllocator.SmallFileBlocks);
            uint count = inode.Record.Depth == 0 ? run : 1;
            await core.Cache.ReadAsync(new[] { new XnReadRequest(extent.Parent, extent.Partition, new BlockExtent(block, count)) }, mode).ConfigureAwait(false);
        }

        core.Cache.Bytes(frame).CopyTo(core.Cache.Frames.Bytes(into));
        core.Cache.Release(frame);
        if (isTouched)
        {
            Fill(core.Cache.Frames.Bytes(into), logical, offset, source.Span, fresh: false);
        }
    }
}
