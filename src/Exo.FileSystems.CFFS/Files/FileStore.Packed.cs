// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Allocation;
using Exo.FileSystems.CFFS.Directories;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Volume;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Files;

/// <content>
/// Small files that share a block with the others of their slot sector (<see cref="Pack"/>): a third of the blocks to write, to read and to ask XN for. The pack's pointer and the records that mean it are
/// in one sector, so that whatever becomes of them is one change; a record that leaves its sector takes its contents out first.
/// <para>XN does not know which file a part of a block belongs to. Two things are therefore C-FFS's own to keep: the record is ordered behind what is written into a block that is there already, and sectors
/// that a file has given up are nobody's until that is durable, since an old record might still mean them.</para>
/// </content>
internal sealed partial class FileStore
{
    // By the number of the slot sector: sectors of its pack that were given up, and the stamp of the last of them. Under the metadata lock.
    private readonly Dictionary<ulong, (byte Mask, long Stamp)> _left = [];
    private int _leftSweepAt = 1024;

    /// <summary>Whether new small files are packed. Those that are there are used in any case.</summary>
    public bool Packs { get; set; }

    /// <summary>Whether contents of this length may lie in a pack of a directory.</summary>
    public bool IsPackable(Inode directory, long lengthBytes) =>
        Packs && lengthBytes is > 0 and <= Pack.BytesMax && (directory.Number >= Superblock.FirstInode || directory.Number == Superblock.RootInode);

    /// <summary>
    /// Puts contents into the pack that a slot sector has, if it has room and is in core, and orders the slot block behind them: the caller stages the record. Under the metadata lock. False otherwise.
    /// </summary>
    public bool TryFillPack(in SlotPlace place, ReadOnlySpan<byte> contents, out int first)
    {
        ReadOnlySpan<byte> sector = core.Directories.SectorOf(place);
        first = -1;
        if (!Pack.TryFind(sector, out _, out ulong block))
        {
            return false;
        }

        int count = Pack.SectorsFor((ulong)contents.Length);
        first = Pack.FindRoom((byte)(Pack.UsedBy(sector) | LeftIn(place.Block, place.SectorIndex)), count);
        return first >= 0 && TryWritePack(new BlockNumber(block), place.Block, first, count, 0, contents);
    }

    /// <summary>A free slot of a sector for its pack, when it has none yet and a record takes some of its slots; -1 when there is none.</summary>
    public static int RoomForPack(ReadOnlySpan<byte> sector, int recordAt, int recordSlots)
    {
        for (int i = Slot.PerSector - 1; i >= 0; i--)
        {
            if ((i < recordAt || i >= recordAt + recordSlots) && sector[i * Slot.SizeBytes] == (byte)SlotKind.Free)
            {
                return i;
            }
        }

        return -1;
    }

    /// <summary>
    /// Stages a sector's first pack, with contents in it, next to what is staged already; the frame becomes XN's with the change. Under the metadata lock. False when there is no block for it.
    /// </summary>
    public bool TryStagePack(Inode directory, in SlotPlace place, Span<byte> sector, int slot, FrameNumber frame, ReadOnlySpan<byte> contents, out BlockNumber block)
    {
        block = default;
        if (!core.Allocator.TryTake(ref directory.Window, directory.SlotBlock.Value, 1, BlockAllocator.DirectoryWindowBlocks, out BlockExtent extent))
        {
            return false;
        }

        block = extent.First;
        Span<byte> bytes = core.Cache.Frames.Bytes(frame);
        contents.CopyTo(bytes);
        bytes[contents.Length..].Clear();
        Pack.Emit(sector, slot, block.Value);
        PackIsNew(place);
        core.Edit.Transaction.ClaimAllocate(extent, core.Templates.Data, place.Block, (place.SectorIndex * Slot.PerSector) + slot, [frame]);
        return true;
    }

    /// <summary>
    /// A record that is gone from a staged sector, or means other blocks there, has left the pack: with the last one the pack goes; else its sectors are free when that is durable. Under the metadata lock.
    /// </summary>
    public void StageLeave(Span<byte> sector, BlockNumber slotBlock, int sectorIndex, in Record old)
    {
        if (!Pack.TryFind(sector, out int slot, out ulong block))
        {
            return;
        }

        if (Pack.UsedBy(sector) == 0)
        {
            sector.Slice(slot * Slot.SizeBytes, Slot.SizeBytes).Clear();
            core.Edit.Transaction.ClaimFree(new BlockExtent(new BlockNumber(block), 1), core.Templates.Data, slotBlock, (sectorIndex * Slot.PerSector) + slot);
            return;
        }

        Leave(slotBlock, sectorIndex, Pack.MaskOf(old));
    }

    /// <summary>Where the contents of a packed file are, given its sector.</summary>
    private static BlockNumber PackOf(ReadOnlySpan<byte> sector, in Record record) =>
        Pack.TryFind(sector, out _, out ulong block) ? new BlockNumber(block) : throw new CffsException(CffsError.Corrupt, $"inode {record.Inode} lies in a pack that is not there");

    private ReadOnlySpan<byte> SectorOf(Inode inode) => core.Cache.Bytes(inode.SlotFrame).Slice((inode.SlotIndex >> 2) * Sector.SizeBytes, Sector.SizeBytes);

    private static int PackOffset(in Record record) => (int)record.Start * Sector.SizeBytes;

    /// <summary>A sector's pack is another block from now on, of which no record that may be on the disk means anything: all of it that is not used is free. Under the metadata lock.</summary>
    public void PackIsNew(in SlotPlace place) => _left.Remove(SectorNumber(place.Block, place.SectorIndex));

    /// <summary>The frame of a packed file's block, retained, if it is in core.</summary>
    public bool TryGetPack(Inode inode, out FrameNumber frame) => core.Cache.TryGet(PackOf(SectorOf(inode), inode.Record), out frame);

    /// <summary>Copies a part of a packed file that lies before its end, if it is in core.</summary>
    private bool TryReadPacked(in Record record, ReadOnlySpan<byte> sector, int offset, Span<byte> destination)
    {
        if (!core.Cache.TryGet(PackOf(sector, record), out FrameNumber frame))
        {
            return false;
        }

        core.Cache.Bytes(frame).Slice(PackOffset(record) + offset, destination.Length).CopyTo(destination);
        core.Cache.Release(frame);
        return true;
    }

    private bool TryLeasePacked(scoped in Record record, scoped ReadOnlySpan<byte> sector, int offset, int length, out CffsSpanLease lease)
    {
        lease = default;
        if (!core.Cache.TryGet(PackOf(sector, record), out FrameNumber frame))
        {
            return false;
        }

        lease = new CffsSpanLease(core.Cache.Frames, frame, 1, core.Cache.Bytes(frame).Slice(PackOffset(record) + offset, length));
        return true;
    }

    /// <summary>The first contents of an empty file go to its sector's pack. False when there is no room, or the file is to lie elsewhere than with its directory: they go to a block of their own.</summary>
    private async ValueTask<bool> TryPackAsync(Inode inode, ReadOnlyMemory<byte> source, IoMode mode, bool holdsContainer = false)
    {
        if (inode.Placement is not null || inode.Container is not { } container || inode.Record is not { Kind: SlotKind.File, Size: 0, Count: 0, Depth: 0, InlineLength: 0 } || !IsPackable(container, source.Length))
        {
            return false;
        }

        lock (core.Metadata)
        {
            SlotPlace place = PlaceOf(inode);
            if (Pack.TryFind(core.Directories.SectorOf(place), out _, out _))
            {
                return TryFillPack(place, source.Span, out int first) && StagePacked(inode, PackedRecord(inode, first, source.Length));
            }
        }

        // A slot for the pack: slots are the directory's, whose lock comes before ours.
        if (!holdsContainer && !container.Lock.TryEnter())
        {
            return false;
        }

        FrameNumber frame = default;
        bool isTaken = false;
        try
        {
            frame = await core.Cache.TakeFrameAsync(mode).ConfigureAwait(false);
            lock (core.Metadata)
            {
                SlotPlace place = PlaceOf(inode);
                ReadOnlySpan<byte> sector = core.Directories.SectorOf(place);
                int slot = RoomForPack(sector, place.InSector, inode.Record.Slots);
                if (slot < 0 || Pack.TryFind(sector, out _, out _))
                {
                    return false;
                }

                Record next = PackedRecord(inode, 0, source.Length);
                core.Edit.Begin();
                Span<byte> image = core.Edit.Stage(inode, next);
                if (!TryStagePack(container, place, image, slot, frame, source.Span, out BlockNumber block))
                {
                    return false;
                }

                core.Edit.Apply();
                isTaken = true;
                core.Cache.Remember(frame, block);
                return Packed(inode, next);
            }
        }
        finally
        {
            if (!holdsContainer)
            {
                container.Lock.Exit();
            }

            if (!isTaken && frame != default)
            {
                core.Cache.Release(frame);
            }
        }
    }

    /// <summary>Writes the contents of an empty file in a directory whose lock the caller has, of a snapshot in the making too. Under its lock.</summary>
    public async ValueTask WriteFirstCopyAsync(Inode inode, ReadOnlyMemory<byte> source, IoMode mode)
    {
        await core.Maps.EnsureForChangeAsync(inode, mode).ConfigureAwait(false);
        await core.Space.RequireAsync(1, mode).ConfigureAwait(false);
        if (!await TryPackAsync(inode, source, mode, holdsContainer: true).ConfigureAwait(false))
        {
            await WriteCopyAsync(inode, 0, source, mode).ConfigureAwait(false);
        }
    }

    /// <summary>Writes to a packed file where it is, or where the sectors behind it are free. False when it must leave its pack.</summary>
    private async ValueTask<bool> TryWritePackedAsync(Inode inode, long offset, ReadOnlyMemory<byte> source, IoMode mode)
    {
        long end = offset + source.Length;
        if (Math.Max(end, (long)inode.Record.Size) > Pack.BytesMax)
        {
            return false;
        }

        if (inode.Container is { HasContentsAhead: true } directory)
        {
            ContentsUsed(directory);
        }

        FrameNumber frame;
        while (!TryGetPack(inode, out frame))
        {
            await FetchAsync(inode, 0, (long)inode.Record.Size, mode).ConfigureAwait(false);
        }

        try
        {
            if (core.Cache.Frames.ReferenceCount(frame) > 2)
            {
                await UnshareFrameAsync(PackOf(SectorOf(inode), inode.Record), frame, mode).ConfigureAwait(false);
            }

            lock (core.Metadata)
            {
                if (!TryWritePacked(inode, (int)offset, source.Span))
                {
                    return false;
                }

                Small.Add(new BlockExtent(PackOf(SectorOf(inode), inode.Record), 1));
            }
        }
        finally
        {
            core.Cache.Release(frame);
        }

        TrailSmall();
        return true;
    }

    /// <summary>Under the metadata lock, the pack in core.</summary>
    private bool TryWritePacked(Inode inode, int offset, ReadOnlySpan<byte> source)
    {
        Record old = inode.Record;
        Record next = old;
        next.Size = Math.Max(old.Size, (ulong)(offset + source.Length));
        int before = Pack.SectorsFor(old.Size);
        int more = Pack.SectorsFor(next.Size) - before;
        int first = (int)old.Start;
        SlotPlace place = PlaceOf(inode);
        byte others = (byte)((Pack.UsedBy(SectorOf(inode)) & ~Pack.MaskOf(old)) | LeftIn(place.Block, place.SectorIndex));
        if (first + before + more > Sector.PerBlock || (others & Pack.Mask(first + before, more)) != 0
            || !TryWritePack(PackOf(SectorOf(inode), old), place.Block, first, before + more, offset, source, before, (int)old.Size))
        {
            return false;
        }

        next.ModifyTime = next.ChangeTime = core.Now();
        if (more > 0)
        {
            return StagePacked(inode, next);
        }

        inode.Record = next;
        core.Advance(ref inode.Version);
        core.Committer.AddDirty(inode);
        core.Changes.NoteInode(CffsChangeKind.Written, inode);
        return true;
    }

    /// <summary>Changes the length of a packed file, to no more than its sectors hold. False otherwise.</summary>
    private async ValueTask<bool> TrySetPackedLengthAsync(Inode inode, long length, IoMode mode)
    {
        long size = (long)inode.Record.Size;
        if (length > Pack.SectorsFor((ulong)size) * Sector.SizeBytes)
        {
            return false;
        }

        if (length > 0 && length < size && !await TryWritePackedAsync(inode, length, new byte[size - length], mode).ConfigureAwait(false))
        {
            return false;
        }

        lock (core.Metadata)
        {
            Record old = inode.Record;
            Record next = old;
            next.Size = (ulong)length;
            next.ModifyTime = next.ChangeTime = core.Now();
            if (length == 0)
            {
                (next.Start, next.Depth) = (0, 0);
            }

            core.Edit.Begin();
            Span<byte> sector = core.Edit.Stage(inode, next);
            if (length == 0)
            {
                StageLeave(sector, inode.SlotBlock, inode.SlotIndex >> 2, old);
            }
            else
            {
                Leave(inode.SlotBlock, inode.SlotIndex >> 2, (byte)(Pack.MaskOf(old) & ~Pack.MaskOf(next)));
            }

            core.Edit.Apply();
            return Packed(inode, next);
        }
    }

    private static SlotPlace PlaceOf(Inode inode) => new(inode.SlotBlock, inode.SlotFrame, inode.SlotIndex, inode.SlotAddress);

    private Record PackedRecord(Inode inode, int first, int length)
    {
        Record next = inode.Record;
        (next.Depth, next.Start, next.Size) = (Pack.Depth, (ulong)first, (ulong)length);
        next.ModifyTime = next.ChangeTime = core.Now();
        return next;
    }

    private bool StagePacked(Inode inode, in Record next)
    {
        core.Edit.Begin();
        _ = core.Edit.Stage(inode, next);
        core.Edit.Apply();
        return Packed(inode, next);
    }

    private bool Packed(Inode inode, in Record next)
    {
        inode.Record = next;
        core.Advance(ref inode.Version);
        core.Changes.NoteInode(CffsChangeKind.Written, inode);
        return true;
    }

    /// <summary>
    /// Writes into a file's sectors of a pack that is in core: sectors from <paramref name="freshFrom"/> on are cleared first. The slot block does not reach the disk before them where it may say something
    /// new of them. Under the metadata lock. False when the block is not in core, or the order contradicts a pending one: the file may have the new bytes as far as it went, and its record is as it was.
    /// </summary>
    private bool TryWritePack(BlockNumber block, BlockNumber slotBlock, int first, int count, int offset, ReadOnlySpan<byte> source, int freshFrom = 0, int endBefore = 0)
    {
        if (!core.Cache.TryGet(block, out FrameNumber frame))
        {
            return false;
        }

        try
        {
            // First the bytes, then the order: where the block has not been written yet, the order is that it will be, as it is then.
            Span<byte> own = core.Cache.Frames.Bytes(frame).Slice(first * Sector.SizeBytes, count * Sector.SizeBytes);
            own[(freshFrom * Sector.SizeBytes)..].Clear();
            source.CopyTo(own[offset..]);
            return core.Disk.MarkDirty(core.Key, block, 1) == XnStatus.Ok
                && (offset + source.Length <= endBefore || core.Disk.Order(core.Key, block, slotBlock) == XnStatus.Ok);
        }
        finally
        {
            core.Cache.Release(frame);
        }
    }

    /// <summary>Gives a block in core another frame with the same contents: what is leased of it does not change.</summary>
    private async ValueTask UnshareFrameAsync(BlockNumber block, FrameNumber frame, IoMode mode)
    {
        FrameNumber copy = await core.Cache.TakeFrameAsync(mode).ConfigureAwait(false);
        lock (core.Metadata)
        {
            // The pack's other files are written under this lock.
            if (core.Cache.TryGet(block, out FrameNumber current))
            {
                core.Cache.Release(current);
                if (current == frame)
                {
                    core.Cache.Bytes(frame).CopyTo(core.Cache.Frames.Bytes(copy));
                    XnStatus rebound = core.Disk.Rebind(core.Key, block, copy);
                    Invariant.Check(rebound == XnStatus.Ok);
                    core.Cache.Remember(copy, block);
                    return;
                }
            }
        }

        core.Cache.Release(copy);
    }

    private static ulong SectorNumber(BlockNumber slotBlock, int sectorIndex) => (slotBlock.Value * Sector.PerBlock) + (uint)sectorIndex;

    private byte LeftIn(BlockNumber slotBlock, int sectorIndex) =>
        _left.TryGetValue(SectorNumber(slotBlock, sectorIndex), out (byte Mask, long Stamp) left) && !core.Committer.IsDurable(left.Stamp) ? left.Mask : (byte)0;

    private void Leave(BlockNumber slotBlock, int sectorIndex, byte mask)
    {
        if (mask == 0)
        {
            return;
        }

        Invariant.Check(core.Metadata.IsHeldByCurrentThread);
        if (_left.Count >= _leftSweepAt)
        {
            foreach ((ulong sector, (byte _, long stamp)) in _left)
            {
                if (core.Committer.IsDurable(stamp))
                {
                    _left.Remove(sector);
                }
            }

            _leftSweepAt = Math.Max(1024, _left.Count * 2);
        }

        _left[SectorNumber(slotBlock, sectorIndex)] = ((byte)(mask | LeftIn(slotBlock, sectorIndex)), core.Committer.Stamp);
    }
}
