// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.FileSystems.CFFS.Inodes;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Files;

/// <content>
/// Writing behind in one file: as long as its writes follow one another and are more than a little, what has gathered is handed to the disk in stretches of 1 MiB while the next ones are being copied. A short file
/// stays in the cache until somebody commits: it may be gone before.
/// </content>
internal sealed partial class FileStore
{
    private const long BehindBytesMax = 4 * StretchBytes;

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
