// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.FileSystems.CFFS.Commit;
using Exo.FileSystems.CFFS.Inodes;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Files;

/// <content>
/// Writing behind in one file: as long as its writes follow one another and are more than a little, what has gathered is handed to the disk in stretches of 1 MiB while the next ones are being copied. So are
/// the blocks of many short files (<see cref="SmallBlocks"/>); a few stay in the cache until somebody commits: they may be gone before.
/// </content>
internal sealed partial class FileStore
{
    private const long BehindBytesMax = 4 * StretchBytes;

    private SmallBlocks? _small;

    /// <summary>Blocks of small files that are to be written behind. Guarded by the metadata lock.</summary>
    public SmallBlocks Small => _small ??= new SmallBlocks(core.BehindFromBytes / BlockBytes, Math.Min(StretchBytes, core.BehindFromBytes) / BlockBytes);

    /// <summary>Hands a stretch of small files' blocks to the disk, if there is one. Not under the metadata lock: who changes them meanwhile makes them dirty again.</summary>
    public void TrailSmall()
    {
        if (_small is not { HasStretch: true } small || core.Cache.Frames.FrameCount < 2 * core.BehindFromBytes / BlockBytes || !core.Behind.HasRoom)
        {
            return;
        }

        BlockExtent[] extents;
        lock (core.Metadata)
        {
            extents = small.Take();
        }

        if (extents.Length > 0)
        {
            core.Behind.Start(extents);
        }
    }

    /// <summary>A stretch has been written, and is in core. Under the inode's lock.</summary>
    private void Trail(Inode inode, long offset, long lengthBytes)
    {
        if (offset != inode.WriteEnd)
        {
            inode.WriteStart = inode.BehindEnd = offset;
        }

        inode.WriteEnd = offset + lengthBytes;
        if (IsBehind(inode) && core.Behind.HasRoom)
        {
            long end = inode.WriteEnd / BlockBytes * BlockBytes;
            long length = Math.Min(end - inode.BehindEnd, BehindBytesMax);
            core.Behind.Start(ExtentsOf(inode, inode.BehindEnd, length));
            inode.BehindEnd += length;
        }
    }

    /// <summary>Whether there is a stretch to be written behind. Racy without the inode's lock.</summary>
    private bool IsBehind(Inode inode) =>
        inode.WriteEnd - inode.WriteStart >= core.BehindFromBytes
        && inode.WriteEnd - inode.BehindEnd >= Math.Min(StretchBytes, core.BehindFromBytes)
        && core.Cache.Frames.FrameCount >= 2 * core.BehindFromBytes / BlockBytes;

    private static BlockExtent[] ExtentsOf(Inode inode, long offset, long lengthBytes)
    {
        List<BlockExtent> extents = [];
        ulong end = (ulong)(offset + lengthBytes) / BlockBytes;
        for (ulong logical = (ulong)offset / BlockBytes; logical < end; logical = inode.Map.NextMapped(logical))
        {
            if (!inode.Map.TryFind(logical, out MappedExtent extent))
            {
                logical++;
                continue;
            }

            uint count = (uint)(Math.Min(extent.LogicalEnd, end) - logical);
            extents.Add(new BlockExtent(new BlockNumber(extent.Start + (logical - extent.Logical)), count));
            logical += count;
        }

        return [.. extents];
    }
}
