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
    
    /// <summary>The most blocks of a group that are fetched at once.</summary>
    public const int GroupBlocksMax = 256;

    // Slot blocks each way whose files may belong to one group.
    private const ulong SlotReach = GroupBlocksMax / Slot.PerBlock;

    // Directories to fetch from far and wide from the first miss on, since a directory was asked for more than the first group. Racy on purpose: a wrong count costs a request.
    private const int EagerAfterReturn = 32;
    private int _eager;

    private readonly GroupShape _shape = new();

    // Directories of which the first group is fetched ahead, since in one after the other a file was asked for. As racy.
    private int _inTurn;

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
        _inTurn = container.Container?.Directory?.Siblings.IsInOrder == true ? EagerAfterReturn : _inTurn;
        int budget = Math.Min(GroupBlocksMax, core.Cache.Frames.FrameCount / 8);
        if ((isReturn || _eager > 0) && container.Lock.TryEnter())
        {
            try
            {
                CollectFar(container, inode, ref budget, requests, held);
                if (!isReturn)
                {
                    // All of it, or most: nothing of it has been read before.
                    _shape.Note(container.Record, requests);
                }
            }
            finally
            {
                container.Lock.Exit();
            }
        }
        else
        {
            budget = Math.Min(budget, (int)ReachBlocks * 2);
            CollectBlock(inode.SlotBlock, core.Cache.Bytes(inode.SlotFrame), Around(OwnRequest(inode).Extent.First.Value, ReachBlocks), ref budget, requests);
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
        (ulong Low, ulong High) reach = Around(OwnRequest(inode).Extent.First.Value, FarReachBlocks);
        CollectBlock(inode.SlotBlock, core.Cache.Bytes(inode.SlotFrame), reach, ref budget, requests);
        ulong own = inode.SlotAddress / Slot.PerBlock;
        for (ulong logical = own > SlotReach ? own - SlotReach : 0; logical <= own + SlotReach && budget > 0; logical++)
        {
            if (logical == own || !container.Map.TryFind(logical, out MappedExtent extent))
            {
                continue;
            }

            BlockNumber block = new(extent.Start + (logical - extent.Logical));
            if (core.Cache.TryGet(block, out FrameNumber frame))
            {
                held.Add(frame);
                CollectBlock(block, core.Cache.Bytes(frame), reach, ref budget, requests);
            }
        }
    }

    /// <summary>Where the small files of a directory whose slot blocks are about to be read lie, if those of the last ones, whose contents were read, tell.</summary>
    public bool TryGuessGroup(in Record directory, out BlockExtent extent)
    {
        extent = default;
        return _eager > 0 && _shape.TryGuess(directory, out extent);
    }

    /// <summary>Whether small files' contents are being read in one directory after the other.</summary>
    public bool IsInTurn => _inTurn > 0;

    /// <summary>Contents that a directory has ahead are used for the first time: they are wanted, and so will those of the next be.</summary>
    public void ContentsUsed(Inode directory)
    {
        directory.HasContentsAhead = false;
        _inTurn = EagerAfterReturn;
        _eager = _eager > 0 ? EagerAfterReturn : 0;
    }

    /// <summary>
    /// The group of a directory's first small file, though nobody has asked for one yet: what would be fetched with it. Under the directory's lock. Not for ever when nobody uses it (<see cref="ContentsUsed"/>).
    /// </summary>
    public void CollectDirectory(Inode directory, ref int budget, List<XnReadRequest> requests, List<FrameNumber> held)
    {
        (ulong Low, ulong High)? reach = null;
        int most = budget;
        bool isFar = _eager > 0;
        _eager = Math.Max(0, _eager - 1);
        _inTurn = Math.Max(0, _inTurn - 1);
        for (ulong logical = 0; logical <= 2 * SlotReach && budget > 0 && directory.Map.TryFind(logical, out MappedExtent extent) && (isFar || reach is null); logical++)
        {
            BlockNumber block = new(extent.Start + (logical - extent.Logical));
            if (!core.Cache.TryGet(block, out FrameNumber frame))
            {
                continue;
            }

            held.Add(frame);
            reach ??= FirstSmallFile(core.Cache.Bytes(frame)) is { } first ? Around(first, isFar ? FarReachBlocks : ReachBlocks) : null;
            if (reach is { } near)
            {
                CollectBlock(block, core.Cache.Bytes(frame), near, ref budget, requests);
            }
        }

        directory.HasContentsAhead = budget < most;
    }

    private static (ulong Low, ulong High) Around(ulong block, ulong reach) => (block > reach ? block - reach : 0, block + reach);

    private static ulong? FirstSmallFile(ReadOnlySpan<byte> block)
    {
        for (int index = 0; index < Slot.PerBlock; index++)
        {
            ReadOnlySpan<byte> sector = block.Slice((index >> 2) * Sector.SizeBytes, Sector.SizeBytes);
            if ((index & 3) == 0 && Pack.TryFind(sector, out _, out ulong pack))
            {
                return pack;
            }

            if (IsSmallFile(sector, index & 3, out Record record))
            {
                return record.Start;
            }
        }

        return null;
    }

    private static bool IsSmallFile(ReadOnlySpan<byte> sector, int inSector, out Record record)
    {
        record = default;
        return Slot.KindOf(sector[(inSector * Slot.SizeBytes)..]) == SlotKind.File && Record.TryParse(sector, inSector, out record)
            && record.Depth == 0 && record.Count is > 0 and <= BlockAllocator.SmallFileBlocks;
    }

    /// <summary>The small files whose records lie in one slot block, that lie within reach and are not in core.</summary>
    private void CollectBlock(BlockNumber slotBlock, ReadOnlySpan<byte> block, (ulong Low, ulong High) reach, ref int budget, List<XnReadRequest> requests)
    {
        for (int index = 0; index < Slot.PerBlock && budget > 0; index++)
        {
            ReadOnlySpan<byte> sector = block.Slice((index >> 2) * Sector.SizeBytes, Sector.SizeBytes);
            if ((index & 3) == 0 && Pack.TryFind(sector, out int slot, out ulong pack) && pack >= reach.Low && pack < reach.High && !core.Disk.TryGetEntry(new BlockNumber(pack), out _))
            {
                requests.Add(new XnReadRequest(slotBlock, index + slot, new BlockExtent(new BlockNumber(pack), 1)));
                budget--;
            }

            if (IsSmallFile(sector, index & 3, out Record record) && record.Start >= reach.Low && record.Start < reach.High && !core.Disk.TryGetEntry(new BlockNumber(record.Start), out _))
            {
                requests.Add(new XnReadRequest(slotBlock, index, new BlockExtent(new BlockNumber(record.Start), record.Count)));
                budget -= (int)record.Count;
            }
        }
    }
}
