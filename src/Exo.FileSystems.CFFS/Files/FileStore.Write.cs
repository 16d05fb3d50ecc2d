// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Allocation;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Files;

/// <content>Writes, step by step: behind the end, over blocks that are there, over blocks that are not in core.</content>
internal sealed partial class FileStore
{
    /// <summary>Writes bytes; the file grows as needed. Allocation, data and the new size are in core when it returns.</summary>
    public async ValueTask WriteAsync(Inode inode, long offset, ReadOnlyMemory<byte> source, IoMode mode)
    {
        if (source.Length == 0)
        {
            return;
        }

        inode.RequireThawed();
        if (offset < 0 || offset > SizeMax - source.Length)
        {
            throw new CffsException(CffsError.FileTooLarge, $"a file has at most {SizeMax} bytes");
        }

        await WriteCopyAsync(inode, offset, source, mode).ConfigureAwait(false);
    }

    /// <summary>As <see cref="WriteAsync"/>, of a snapshot in the making too.</summary>
    public async ValueTask WriteCopyAsync(Inode inode, long offset, ReadOnlyMemory<byte> source, IoMode mode)
    {
        await core.Maps.EnsureForChangeAsync(inode, mode).ConfigureAwait(false);
        if (offset > (long)inode.Record.Size)
        {
            await ClearBehindAsync(inode, mode).ConfigureAwait(false);
        }

        if (inode.Record.IsPacked)
        {
            if (await TryWritePackedAsync(inode, offset, source, mode).ConfigureAwait(false))
            {
                return;
            }

            await MoveOutAsync(inode, mode).ConfigureAwait(false);
        }

        if (inode.Record.Count == 0 && TryWriteInline(inode, offset, source.Span))
        {
            return;
        }

        ulong missing = MissingBlocks(inode, offset, source.Length) + FixedBlocks(inode, offset, source.Length);
        if (missing > 0)
        {
            await core.Space.RequireAsync(missing, mode).ConfigureAwait(false);
        }

        if (offset == 0 && await TryPackAsync(inode, source, mode).ConfigureAwait(false))
        {
            return;
        }

        if (inode.Record.InlineLength > 0)
        {
            await MoveOutAsync(inode, mode).ConfigureAwait(false);
        }

        int done = 0;
        while (done < source.Length)
        {
            int take = (int)Math.Min(source.Length - done, ((long)StepBlocks * BlockBytes) - ((offset + done) % BlockBytes));
            await WriteStepAsync(inode, offset + done, source.Slice(done, take), mode).ConfigureAwait(false);
            Trail(inode, offset + done, take);
            done += take;
        }
    }

    private async ValueTask WriteStepAsync(Inode inode, long offset, ReadOnlyMemory<byte> source, IoMode mode)
    {
        ulong first = (ulong)offset / BlockBytes;
        ulong end = ((ulong)(offset + source.Length) + BlockBytes - 1) / BlockBytes;
        ulong logical = first;
        while (logical < end)
        {
            if (inode.Map.TryFind(logical, out MappedExtent extent))
            {
                logical += await OverwriteAsync(inode, extent, logical, end, offset, source, mode).ConfigureAwait(false);
            }
            else
            {
                ulong hole = Math.Min(end, inode.Map.NextMapped(logical)) - logical;
                logical += await AppendAsync(inode, logical, (uint)hole, offset, source, mode).ConfigureAwait(false);
            }
        }

        lock (core.Metadata)
        {
            inode.Record.Size = Math.Max(inode.Record.Size, (ulong)(offset + source.Length));
            inode.Record.ModifyTime = inode.Record.ChangeTime = core.Now();
            core.Advance(ref inode.Version);
            core.Committer.AddDirty(inode);
            core.Changes.NoteInode(CffsChangeKind.Written, inode);
        }
    }

    /// <summary>Fills a hole or adds to the end: new blocks, written whole. Returns how many.</summary>
    private async ValueTask<uint> AppendAsync(Inode inode, ulong logical, uint wanted, long offset, ReadOnlyMemory<byte> source, IoMode mode)
    {
        FrameNumber[] frames = new FrameNumber[wanted];
        await core.Cache.TakeFramesAsync(frames, mode).ConfigureAwait(false);
        for (uint i = 0; i < wanted; i++)
        {
            Fill(core.Cache.Frames.Bytes(frames[i]), logical + i, offset, source.Span, fresh: true);
        }

        uint used = 0;
        bool hasTried = false;
        try
        {
            while (used == 0)
            {
                bool isFull;
                lock (core.Metadata)
                {
                    if (TryPlace(inode, wanted, out BlockExtent place))
                    {
                        isFull = false;
                        Record record = inode.Record;
                        record.Size = Math.Max(record.Size, Math.Min((ulong)(offset + source.Length), (logical + place.Count) * BlockBytes));
                        if (core.MapEdits.TryAdd(inode, ref record, logical, place, frames.AsSpan(0, (int)place.Count)))
                        {
                            inode.Record = record;
                            used = place.Count;
                            for (uint i = 0; i < used; i++)
                            {
                                core.Cache.Remember(frames[i], place.First + i);
                            }
                        }
                    }
                    else
                    {
                        isFull = true;
                    }
                }

                if (isFull)
                {
                    await core.Space.AwaitFreedAsync(hasTried, mode).ConfigureAwait(false);
                    hasTried = true;
                }
                else if (used == 0 && wanted > 1)
                {
                    // The node gets one of these frames: who waited for another with so many in hand would keep everybody else from ever getting as many.
                    FrameNumber own = frames[--wanted];
                    core.Cache.Frames.Bytes(own).Clear();
                    await core.MapEdits.GrowIntoAsync(inode, own, mode).ConfigureAwait(false);
                }
                else if (used == 0)
                {
                    await core.MapEdits.GrowAsync(inode, mode).ConfigureAwait(false);
                }
            }
        }
        finally
        {
            for (uint i = used; i < wanted; i++)
            {
                core.Cache.Release(frames[i]);
            }
        }

        return used;
    }

    /// <summary>
    /// Writes into blocks that the file has, from one on and before <paramref name="end"/>; returns how many. What others own too is left alone: the file gets fresh blocks
    /// (<see cref="ReplaceAsync"/>). The rest goes in place.
    /// </summary>
    private ValueTask<uint> OverwriteAsync(Inode inode, in MappedExtent extent, ulong logical, ulong end, long offset, ReadOnlyMemory<byte> source, IoMode mode)
    {
        if (core.Disk.HasFixedBlocks && core.Templates.SharesData)
        {
            uint most = (uint)Math.Min(Math.Min(end, extent.LogicalEnd) - logical, StepBlocks);
            uint run = core.Disk.FixedRun(new BlockNumber(extent.Start + (logical - extent.Logical)), most, out bool isFixed);
            if (isFixed)
            {
                return ReplaceAsync(inode, logical, run, offset, source, mode);
            }

            end = logical + run;
        }

        return OverwriteInPlaceAsync(inode, extent, logical, end, offset, source, mode);
    }

    /// <summary>Writes into blocks that only this file has. A frame that somebody leases is left alone: the block moves to a new one.</summary>
    private async ValueTask<uint> OverwriteInPlaceAsync(Inode inode, MappedExtent extent, ulong logical, ulong end, long offset, ReadOnlyMemory<byte> source, IoMode mode)
    {
        BlockNumber block = new(extent.Start + (logical - extent.Logical));
        FrameNumber frame;
        while (!core.Cache.TryGet(block, out frame))
        {
            uint replaced = await TryOverwriteAbsentAsync(inode, extent, logical, end, offset, source, mode).ConfigureAwait(false);
            if (replaced > 0)
            {
                return replaced;
            }

            // In part, or somebody is reading it: then this waits for him.
            await core.Cache.ReadAsync(new[] { new XnReadRequest(extent.Parent, extent.Partition, new BlockExtent(block, 1)) }, mode).ConfigureAwait(false);
        }

        try
        {
            if (core.Cache.Frames.ReferenceCount(frame) > 2)
            {
                FrameNumber copy = await core.Cache.TakeFrameAsync(mode).ConfigureAwait(false);
                core.Cache.Bytes(frame).CopyTo(core.Cache.Frames.Bytes(copy));
                Fill(core.Cache.Frames.Bytes(copy), logical, offset, source.Span, fresh: false);
                XnStatus rebound = core.Disk.Rebind(core.Key, block, copy);
                Invariant.Check(rebound == XnStatus.Ok);
                core.Cache.Remember(copy, block);
            }
            else
            {
                // Marked when the bytes are there: a commit of somebody else's that takes the block while they are being copied does not make it clean.
                Fill(core.Cache.Frames.Bytes(frame), logical, offset, source.Span, fresh: false);
                XnStatus marked = core.Disk.MarkDirty(core.Key, block, 1);
                Invariant.Check(marked == XnStatus.Ok);
            }
        }
        finally
        {
            core.Cache.Release(frame);
        }

        await OrderLengthAsync(inode, block, offset + source.Length, mode).ConfigureAwait(false);
        return 1;
    }

    /// <summary>Writes into blocks that are not in core and that are replaced whole, as many as there are in a row from one on; returns how many. 0 when somebody has brought one in meanwhile, too.</summary>
    private async ValueTask<uint> TryOverwriteAbsentAsync(Inode inode, MappedExtent extent, ulong logical, ulong end, long offset, ReadOnlyMemory<byte> source, IoMode mode)
    {
        BlockNumber first = new(extent.Start + (logical - extent.Logical));
        uint most = (uint)Math.Min(Math.Min(end, extent.LogicalEnd) - logical, StepBlocks);
        uint count = 0;
        for (; count < most && IsReplaced(inode, (long)(logical + count) * BlockBytes, offset, source.Length); count++)
        {
            if (core.Cache.TryGet(first + count, out FrameNumber present))
            {
                core.Cache.Release(present);
                break;
            }
        }

        if (count == 0)
        {
            return 0;
        }

        FrameNumber[] frames = new FrameNumber[count];
        await core.Cache.TakeFramesAsync(frames, mode).ConfigureAwait(false);
        for (uint i = 0; i < count; i++)
        {
            Fill(core.Cache.Frames.Bytes(frames[i]), logical + i, offset, source.Span, fresh: true);
        }

        XnStatus bound = core.Disk.BindOverwrite(core.Key, new XnReadRequest(extent.Parent, extent.Partition, new BlockExtent(first, count)), frames);
        if (bound != XnStatus.Ok)
        {
            Invariant.Check(bound == XnStatus.InCore);
            Array.ForEach(frames, core.Cache.Release);
            return 0;
        }

        for (uint i = 0; i < count; i++)
        {
            core.Cache.Remember(frames[i], first + i);
            await OrderLengthAsync(inode, first + i, offset + source.Length, mode).ConfigureAwait(false);
        }

        return count;
    }

    /// <summary>A new length must not be durable before the bytes that it takes in.</summary>
    private ValueTask OrderLengthAsync(Inode inode, BlockNumber block, long end, IoMode mode) =>
        end > (long)inode.Record.Size ? core.OrderAsync(block, inode.SlotBlock, mode) : default;

    /// <summary>Copies the part of a write that falls into one block; a fresh block's other bytes are zeros.</summary>
    private static void Fill(Span<byte> block, ulong logical, long offset, ReadOnlySpan<byte> source, bool fresh)
    {
        long start = (long)logical * BlockBytes;
        int from = (int)Math.Max(0, offset - start);
        int sourceFrom = (int)Math.Clamp(start - offset, 0, source.Length);
        int count = Math.Min(BlockBytes - from, source.Length - sourceFrom);
        if (count == BlockBytes)
        {
            FrameCopy.Copy(source[sourceFrom..], block);
            return;
        }

        source.Slice(sourceFrom, count).CopyTo(block[from..]);
        if (fresh)
        {
            block[..from].Clear();
            block[(from + count)..].Clear();
        }
    }

    /// <summary>
    /// Chooses blocks: those set aside for the file; else small files next to the others of their directory, in its window; larger ones behind their own last block, in a window that grows with them.
    /// Under the metadata lock.
    /// </summary>
    private bool TryPlace(Inode inode, uint wanted, out BlockExtent place)
    {
        if (inode.Placement is { } placement && placement.TryTake(wanted, out place))
        {
            return true;
        }

        BlockMap map = inode.Map;
        Inode? container = inode.Container;
        if (map.TotalBlocks + wanted <= BlockAllocator.SmallFileBlocks && container is not null)
        {
            if (map.Count > 0 && core.Allocator.TryFindAt(map[map.Count - 1].End, wanted, out place))
            {
                return true;
            }

            return core.Allocator.TryTake(ref container.Window, container.SlotBlock.Value, wanted, BlockAllocator.DirectoryWindowBlocks, out place);
        }

        ulong goal = map.Count > 0 ? map[map.Count - 1].End : container?.SlotBlock.Value ?? 0;
        uint window = (uint)Math.Clamp(map.TotalBlocks, wanted, 8192);
        return core.Allocator.TryTake(ref inode.Window, goal, wanted, window, out place);
    }
}
