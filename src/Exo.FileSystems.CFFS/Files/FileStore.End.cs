// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Files;

/// <content>
/// What lies behind the end of a file. Contents reach the disk before the length that takes them in, so a crash can leave there what was being added. Nobody reads it; but who makes the file longer otherwise than by writing
/// right behind its end must find zeros.
/// </content>
internal sealed partial class FileStore
{
    /// <summary>
    /// Before a file that had these blocks in an epoch that crashed grows over a gap: what its blocks hold behind its end becomes zeros. Once for each inode that is in memory, and only on a volume that has ever crashed.
    /// Under the inode's lock, its map loaded for a change.
    /// </summary>
    private async ValueTask ClearBehindAsync(Inode inode, IoMode mode)
    {
        if (inode.IsZeroBehind || core.State.LastUncleanEpoch == 0)
        {
            return;
        }

        if (inode.Record.IsPacked)
        {
            if (!await IsZeroBehindPackedAsync(inode, mode).ConfigureAwait(false))
            {
                // A block of its own is made of what is before the end, and zeros.
                await MoveOutAsync(inode, mode).ConfigureAwait(false);
            }
        }
        else if (inode.Record.InlineLength == 0)
        {
            await ClearBlocksBehindAsync(inode, (long)inode.Record.Size, mode).ConfigureAwait(false);
        }

        inode.IsZeroBehind = true;
    }

    private async ValueTask<bool> IsZeroBehindPackedAsync(Inode inode, IoMode mode)
    {
        FrameNumber frame;
        while (!TryGetPack(inode, out frame))
        {
            await FetchAsync(inode, 0, (long)inode.Record.Size, mode).ConfigureAwait(false);
        }

        int size = (int)inode.Record.Size;
        bool isZero = !core.Cache.Bytes(frame).Slice((int)inode.Record.Start * Sector.SizeBytes, Pack.SectorsFor((ulong)size) * Sector.SizeBytes)[size..].ContainsAnyExcept((byte)0);
        core.Cache.Release(frame);
        return isZero;
    }

    private async ValueTask ClearBlocksBehindAsync(Inode inode, long offset, IoMode mode)
    {
        while (TryFindMapped(inode, ref offset, out MappedExtent extent))
        {
            ulong logical = (ulong)offset / BlockBytes;
            int within = (int)(offset % BlockBytes);
            if (extent.Kind == TreeEntryKind.Contents)
            {
                BlockNumber block = new(extent.Start + (logical - extent.Logical));
                FrameNumber frame;
                while (!core.Cache.TryGet(block, out frame))
                {
                    await core.Cache.ReadAsync(new[] { new XnReadRequest(extent.Parent, extent.Partition, new BlockExtent(block, 1)) }, mode).ConfigureAwait(false);
                }

                bool isZero = !core.Cache.Bytes(frame)[within..].ContainsAnyExcept((byte)0);
                core.Cache.Release(frame);
                if (!isZero)
                {
                    _ = await OverwriteAsync(inode, extent, logical, logical + 1, offset, Zeros.AsMemory(0, BlockBytes - within), mode).ConfigureAwait(false);
                }
            }

            offset += BlockBytes - within;
        }
    }
}
