// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Allocation;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Files;

/// <content>
/// Explicit grouping when reading: with a small file come those that its directory has placed around it, in one request. How many depends on what their use has been: as a start the files whose records
/// lie in the same block; where somebody comes back to a directory for more, and in other directories after that, up to 1 MiB of the directory's small files.
/// </content>
internal sealed partial class FileStore
{
    /// <summary>How far around a small file's blocks its directory's other small files are fetched with it: 256 KiB each way, or 1 MiB.</summary>
    private const ulong ReachBlocks = 64;
    private const ulong FarReachBlocks = 256;
    private const int FarBlocksMax = 256;

    // Directories to fetch from far and wide from the first miss on, since a directory was asked for more than the first group. Racy on purpose: a wrong count costs a request.
    private const int EagerAfterReturn = 32;
    private int _eager;

    private Missing CollectGroup(Inode inode)
    {
        XnReadRequest own = OwnRequest(inode);
        List<XnReadRequest> requests = [];
        List<FrameNumber> held = [];
        CollectGroup(inode, requests, held);
        if (!requests.Contains(own))
        {
            // The file itself, whatever the others took.
            requests.Add(own);
        }

        return new Missing(requests, own, held);
    }

    /// <summary>The blocks of a file that is one extent, or packed.</summary>
    private XnReadRequest OwnRequest(Inode inode) =>
        inode.Record.IsPacked ? RequestOf(inode, PackOf(SectorOf(inode), inode.Record))
        : new XnReadRequest(inode.SlotBlock, inode.SlotIndex, new BlockExtent(new BlockNumber(inode.Record.Start), inode.Record.Count));

    /// <summary>The block of a packed file, if it is not in core; null too when the file is none any more. No lock is needed: what is asked for is proved when it is read.</summary>
    public XnReadRequest? PackRequest(Inode inode) =>
        Pack.TryFind(SectorOf(inode), out _, out ulong block) && !core.Disk.TryGetEntry(new BlockNumber(block), out _) ? RequestOf(inode, new BlockNumber(block)) : null;

    private XnReadRequest RequestOf(Inode inode, BlockNumber pack)
    {
        _ = Pack.TryFind(SectorOf(inode), out int slot, out _);
        return new XnReadRequest(inode.SlotBlock, (inode.SlotIndex & ~(Slot.PerSector - 1)) + slot, new BlockExtent(pack, 1));
    }

    private void CollectGroup(Inode inode, List<XnReadRequest> requests, List<FrameNumber> held)
    {
        Inode container = inode.Container!;
        bool isReturn = container.GroupMisses++ > 0;
        _eager = isReturn ? EagerAfterReturn : Math.Max(0, _eager - 1);
        int budget = Math.Min(FarBlocksMax, core.Cache.Frames.FrameCount / 8);
        if ((isReturn || _eager > 0) && container.Lock.TryEnter())
        {
            try
            {
                CollectFar(container, inode, ref budget, requests, held);
            }
            finally
            {
                container.Lock.Exit();
            }
        }
        else
        {
            budget = Math.Min(budget, (int)ReachBlocks * 2);
            CollectBlock(inode, inode.SlotBlock, core.Cache.Bytes(inode.SlotFrame), ReachBlocks, ref budget, requests);
        }
    }

    /// <summary>Small files of all the directory's slot blocks that are in core, the file's own block first. Under the directory's lock.</summary>
    /// <param name="container">The directory.</param>
    /// <param name="inode">The file.</param>
    /// <param name="budget">How many blocks may be added.</param>
    /// <param name="requests">Where they are added.</param>
    /// <param name="held">The slot blocks that prove them: they stay in core until the caller lets go of them.</param>
    private void CollectFar(Inode container, Inode inode, ref int budget, List<XnReadRequest> requests, List<FrameNumber> held)
    {
        CollectBlock(inode, inode.SlotBlock, core.Cache.Bytes(inode.SlotFrame), FarReachBlocks, ref budget, requests);
        ulong own = inode.SlotAddress / Slot.PerBlock;
        const ulong Around = FarBlocksMax / Slot.PerBlock;
        for (ulong logical = own > Around ? own - Around : 0; logical <= own + Around && budget > 0; logical++)
        {
            if (logical == own || !container.Map.TryFind(logical, out MappedExtent extent))
            {
                continue;
            }

            BlockNumber block = new(extent.Start + (logical - extent.Logical));
            if (core.Cache.TryGet(block, out FrameNumber frame))
            {
                held.Add(frame);
                CollectBlock(inode, block, core.Cache.Bytes(frame), FarReachBlocks, ref budget, requests);
            }
        }
    }

    /// <summary>The small files whose records lie in one slot block, that lie near a file and are not in core.</summary>
    private void CollectBlock(Inode inode, BlockNumber slotBlock, ReadOnlySpan<byte> block, ulong reach, ref int budget, List<XnReadRequest> requests)
    {
        ulong center = OwnRequest(inode).Extent.First.Value;
        ulong low = center > reach ? center - reach : 0;
        for (int index = 0; index < Slot.PerBlock && budget > 0; index++)
        {
            ReadOnlySpan<byte> sector = block.Slice((index >> 2) * Sector.SizeBytes, Sector.SizeBytes);
            if ((index & 3) == 0 && Pack.TryFind(sector, out int slot, out ulong pack) && pack >= low && pack < center + reach && !core.Disk.TryGetEntry(new BlockNumber(pack), out _))
            {
                requests.Add(new XnReadRequest(slotBlock, index + slot, new BlockExtent(new BlockNumber(pack), 1)));
                budget--;
            }

            if (Slot.KindOf(sector[((index & 3) * Slot.SizeBytes)..]) == SlotKind.File && Record.TryParse(sector, index & 3, out Record record)
                && record.Depth == 0 && record.Count is > 0 and <= BlockAllocator.SmallFileBlocks
                && record.Start >= low && record.Start < center + reach
                && !core.Disk.TryGetEntry(new BlockNumber(record.Start), out _))
            {
                requests.Add(new XnReadRequest(slotBlock, index, new BlockExtent(new BlockNumber(record.Start), record.Count)));
                budget -= (int)record.Count;
            }
        }
    }
}
