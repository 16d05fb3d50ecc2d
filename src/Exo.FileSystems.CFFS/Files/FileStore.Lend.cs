// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Cache;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Files;

/// <content>Contents lent: spans over the frames that hold them, in one piece.</content>
internal sealed partial class FileStore
{
    /// <summary>The frames of a range, retained, if all of it is in core and in frames that lie in a row.</summary>
    public bool TryLease(Inode inode, long offset, int lengthBytes, out CffsSpanLease lease)
    {
        lease = default;
        int length = (int)Math.Min(lengthBytes, Math.Max(0, (long)inode.Record.Size - offset));
        if (inode.Record.IsPacked && length > 0)
        {
            return TryLeasePacked(inode.Record, SectorOf(inode), (int)offset, length, out lease);
        }

        if (length == 0 || inode.Record.InlineLength > 0 || !(inode.IsMapLoaded || inode.Record.Depth == 0))
        {
            return false;
        }

        core.Maps.EnsureAsync(inode, IoMode.Sync).Take();
        ulong logical = (ulong)offset / BlockBytes;
        int within = (int)(offset % BlockBytes);
        int blocks = (within + length + BlockBytes - 1) / BlockBytes;
        if (inode.Map.TryFind(logical, out MappedExtent one) && one.Kind == TreeEntryKind.Contents && logical + (ulong)blocks <= one.LogicalEnd && blocks <= BlockCache.RowMax)
        {
            return TryLeaseRow(new BlockNumber(one.Start + (logical - one.Logical)), blocks, within, length, out lease);
        }

        FrameNumber first = default;
        int held = 0;
        for (; held < blocks; held++)
        {
            if (!inode.Map.TryFind(logical + (ulong)held, out MappedExtent extent) || extent.Kind != TreeEntryKind.Contents
                || !core.Cache.TryGet(new BlockNumber(extent.Start + (logical + (ulong)held - extent.Logical)), out FrameNumber frame))
            {
                break;
            }

            if (held == 0)
            {
                first = frame;
            }
            else if (frame.Value != first.Value + (uint)held)
            {
                core.Cache.Release(frame);
                break;
            }
        }

        if (held == blocks)
        {
            lease = new CffsSpanLease(core.Cache.Frames, first, blocks, ((ReadOnlySpan<byte>)core.Cache.Frames.Bytes(first, blocks)).Slice(within, length));
            return true;
        }

        for (int i = 0; i < held; i++)
        {
            core.Cache.Release(new FrameNumber(first.Value + (uint)i));
        }

        return false;
    }

    /// <summary>As <see cref="TryLease(Inode, long, int, out CffsSpanLease)"/>, the whole of a file that is one extent, by its record. Under the lock of its directory, while no inode of it is in memory.</summary>
    public bool TryLease(scoped in Record record, scoped ReadOnlySpan<byte> sector, out CffsSpanLease lease)
    {
        lease = default;
        if (record.IsPacked)
        {
            return TryLeasePacked(record, sector, 0, (int)record.Size, out lease);
        }

        ulong blocks = (record.Size + BlockBytes - 1) / BlockBytes;
        if (blocks == 0 || blocks > record.Count || record.Size > int.MaxValue)
        {
            return false;
        }

        return TryLeaseRow(new BlockNumber(record.Start), (int)blocks, 0, (int)record.Size, out lease);
    }

    private bool TryLeaseRow(BlockNumber block, int blocks, int within, int length, out CffsSpanLease lease)
    {
        if (!core.Cache.TryGetRow(block, blocks, out FrameNumber first))
        {
            lease = default;
            return false;
        }

        lease = new CffsSpanLease(core.Cache.Frames, first, blocks, ((ReadOnlySpan<byte>)core.Cache.Frames.Bytes(first, blocks)).Slice(within, length));
        return true;
    }
}
