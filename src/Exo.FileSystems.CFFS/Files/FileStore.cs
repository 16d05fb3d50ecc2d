// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Allocation;
using Exo.FileSystems.CFFS.Cache;
using Exo.FileSystems.CFFS.Directories;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Volume;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Files;

/// <summary>Contents of files and symbolic links. Methods run under the inode's lock unless they say otherwise.</summary>
internal sealed partial class FileStore(VolumeCore core)
{
    /// <summary>Blocks moved in one step of a long read or write: 1 MiB.</summary>
    public const int StepBlocks = 256;

    private const int BlockBytes = 4096;
    private const long SizeMax = 1L << 46;

    /// <summary>The target of a symbolic link. Takes the inode's lock.</summary>
    public async ValueTask<byte[]> ReadLinkAsync(Inode inode, IoMode mode)
    {
        await inode.Lock.EnterAsync(mode).ConfigureAwait(false);
        try
        {
            if (inode.Record.Kind != SlotKind.SymbolicLink || inode.Record.Size > BlockBytes)
            {
                throw new CffsException(CffsError.Invalid, $"inode {inode.Number} is no symbolic link");
            }

            byte[] target = new byte[inode.Record.Size];
            int read = await ReadAsync(inode, 0, target, mode).ConfigureAwait(false);
            return read == target.Length ? target : throw new CffsException(CffsError.Corrupt, $"symbolic link {inode.Number} is cut short");
        }
        finally
        {
            inode.Lock.Exit();
        }
    }

    /// <summary>Copies what is in core: bytes copied, less than asked for when a block is missing. Nothing waits and nothing is allocated.</summary>
    public int ReadCached(Inode inode, long offset, Span<byte> destination)
    {
        if (!inode.IsMapLoaded)
        {
            return 0;
        }

        int wanted = (int)Math.Min(destination.Length, Math.Max(0, (long)inode.Record.Size - offset));
        int done = 0;
        if (inode.Record.InlineLength > 0)
        {
            ReadInline(inode, (int)offset, destination[..wanted]);
            return wanted;
        }

        if (inode.Record.IsPacked)
        {
            return wanted > 0 && TryReadPacked(inode.Record, SectorOf(inode), (int)offset, destination[..wanted]) ? wanted : 0;
        }

        while (done < wanted)
        {
            ulong logical = (ulong)(offset + done) / BlockBytes;
            int within = (int)((offset + done) % BlockBytes);
            int take = Math.Min(BlockBytes - within, wanted - done);
            if (!inode.Map.TryFind(logical, out MappedExtent extent) || extent.Kind != TreeEntryKind.Contents)
            {
                destination.Slice(done, take).Clear();
                done += take;
                continue;
            }

            ulong blocks = Math.Min(((ulong)(within + wanted - done) + BlockBytes - 1) / BlockBytes, extent.LogicalEnd - logical);
            take = (int)Math.Min((long)blocks * BlockBytes - within, wanted - done);
            int copied = CopyRun(new BlockNumber(extent.Start + (logical - extent.Logical)), within, destination.Slice(done, take));
            done += copied;
            if (copied < take)
            {
                break;
            }
        }

        return done;
    }

    /// <summary>Copies from neighbouring blocks of the disk what is in core: bytes copied, up to the first block that is not.</summary>
    /// <param name="first">The first block.</param>
    /// <param name="within">Where in it to begin.</param>
    /// <param name="destination">Where to; its length says how much.</param>
    private int CopyRun(BlockNumber first, int within, Span<byte> destination)
    {
        // As many at once as stay near in the processor's cache: who looks for them also counts them, and counts them back.
        const int AtOnce = 64;
        Span<FrameNumber> frames = stackalloc FrameNumber[AtOnce];
        int done = 0;
        while (done < destination.Length)
        {
            int wanted = Math.Min(AtOnce, (within + destination.Length - done + BlockBytes - 1) / BlockBytes);
            int found = core.Cache.GetRun(first, frames[..wanted]);
            for (int i = 0; i < found; i++)
            {
                ReadOnlySpan<byte> block = core.Cache.Bytes(frames[i]);
                int take = Math.Min(BlockBytes - within, destination.Length - done);
                if (take == BlockBytes)
                {
                    FrameCopy.Copy(block, destination.Slice(done, take));
                }
                else
                {
                    block.Slice(within, take).CopyTo(destination[done..]);
                }

                done += take;
                within = 0;
            }

            core.Cache.Release(frames[..found]);
            if (found < wanted)
            {
                break;
            }

            first += (uint)found;
        }

        return done;
    }

    /// <summary>How many bytes of a range can be had from its beginning without the disk.</summary>
    public long CachedBytes(Inode inode, long offset, long lengthBytes)
    {
        if (inode.Record.InlineLength > 0)
        {
            return lengthBytes;
        }

        if (inode.Record.IsPacked)
        {
            if (!TryGetPack(inode, out FrameNumber pack))
            {
                return 0;
            }

            core.Cache.Release(pack);
            return lengthBytes;
        }

        return KnownBytes(inode, offset, lengthBytes, orOnItsWay: false);
    }

    /// <summary>How many bytes of a range, from its beginning, are in core, or are being read by somebody, or are a hole.</summary>
    private long KnownBytes(Inode inode, long offset, long lengthBytes, bool orOnItsWay)
    {
        long done = 0;
        while (done < lengthBytes)
        {
            ulong logical = (ulong)(offset + done) / BlockBytes;
            if (inode.Map.TryFind(logical, out MappedExtent extent) && extent.Kind == TreeEntryKind.Contents
                && !core.Cache.IsKnown(new BlockNumber(extent.Start + (logical - extent.Logical)), orOnItsWay))
            {
                break;
            }

            done += BlockBytes - ((offset + done) % BlockBytes);
        }

        return Math.Min(done, lengthBytes);
    }

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

    /// <summary>Notes a read in a record of which no inode is in memory. If it cannot be noted, it is not. Under the lock of its directory.</summary>
    public void NoteAccess(Inode directory, in SlotPlace place, Record record)
    {
        lock (core.Metadata)
        {
            if (core.IsWriting)
            {
                record.AccessTime = core.Now();
                core.Edit.Begin();
                record.Emit(core.Edit.Sector(place.Block, place.Frame, place.SectorIndex, SectorKind.Slots, directory.Number), place.InSector);
                _ = core.Edit.TryApply();
            }
        }
    }

    /// <summary>Copies the beginning of a file that is one extent or lies in its record, if it is in core. Locks as for <see cref="TryLease(in Record, ReadOnlySpan{byte}, out CffsSpanLease)"/>.</summary>
    public bool TryRead(in Record record, ReadOnlySpan<byte> sector, int inSector, Span<byte> destination, out int length)
    {
        length = (int)Math.Min((ulong)destination.Length, record.Size);
        if (record.InlineLength > 0)
        {
            Record.ReadContents(sector, inSector, record.NameLength, destination[..length]);
            return true;
        }

        if (record.IsPacked)
        {
            return TryReadPacked(record, sector, 0, destination[..length]);
        }

        int mapped = (int)Math.Min(length, (long)record.Count * BlockBytes);
        destination[mapped..length].Clear();
        return CopyRun(new BlockNumber(record.Start), 0, destination[..mapped]) == mapped;
    }

    /// <summary>Reads up to the end of the file.</summary>
    public async ValueTask<int> ReadAsync(Inode inode, long offset, Memory<byte> destination, IoMode mode)
    {
        await core.Maps.EnsureAsync(inode, mode).ConfigureAwait(false);
        int wanted = (int)Math.Min(destination.Length, Math.Max(0, (long)inode.Record.Size - offset));
        int done = 0;
        while (true)
        {
            done += ReadCached(inode, offset + done, destination.Span[done..wanted]);
            if (done >= wanted)
            {
                return wanted;
            }

            await FetchAsync(inode, offset + done, wanted - done, mode).ConfigureAwait(false);
        }
    }

    /// <summary>
    /// Brings the next missing blocks of a range into core: as much of it as one step moves, and for a small file what its directory has placed around it (explicit grouping). Holds the lock meanwhile:
    /// those who have time first read what is missing without it (<see cref="Missing"/>).
    /// </summary>
    public ValueTask FetchAsync(Inode inode, long offset, long lengthBytes, IoMode mode) => ReadAsync(Collect(inode, offset, lengthBytes), mode);

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

    /// <summary>Changes the length of a file. What lies beyond a shorter end is gone; a longer end reads as zeros.</summary>
    public async ValueTask SetLengthAsync(Inode inode, long length, IoMode mode)
    {
        if (length < 0 || length > SizeMax)
        {
            throw new CffsException(length < 0 ? CffsError.Invalid : CffsError.FileTooLarge, $"{length} bytes is no length of a file");
        }

        inode.RequireThawed();
        await core.PrepareFreeAsync(inode, mode).ConfigureAwait(false);
        if (length > (long)inode.Record.Size)
        {
            await ClearBehindAsync(inode, mode).ConfigureAwait(false);
        }

        if (inode.Record.IsPacked)
        {
            if (await TrySetPackedLengthAsync(inode, length, mode).ConfigureAwait(false))
            {
                return;
            }

            await MoveOutAsync(inode, mode).ConfigureAwait(false);
        }

        if (inode.Record.InlineLength > 0)
        {
            if (TrySetInlineLength(inode, length))
            {
                return;
            }

            await MoveOutAsync(inode, mode).ConfigureAwait(false);
        }

        ulong size = inode.Record.Size;
        if ((ulong)length < size && length % BlockBytes != 0)
        {
            // The rest of the last block must read as zeros if the file grows again.
            await ZeroTailAsync(inode, length, mode).ConfigureAwait(false);
        }

        ulong keepBlocks = ((ulong)length + BlockBytes - 1) / BlockBytes;
        lock (core.Metadata)
        {
            Record record = inode.Record;
            record.Size = (ulong)length;
            record.ModifyTime = record.ChangeTime = core.Now();
            if ((ulong)length < size)
            {
                core.Allocator.Close(ref inode.Window);
                core.MapEdits.RemoveFrom(inode, ref record, keepBlocks);
            }

            inode.Record = record;
            core.Advance(ref inode.Version);
            core.Committer.AddDirty(inode);
            core.Changes.NoteInode(CffsChangeKind.Written, inode);
        }
    }

    /// <summary>Notes a read for the access time, when that is older than the last change: <c>relatime</c>, but for its once a day, which would cost each read a look at a clock.</summary>
    /// <param name="inode">What was read, under its lock.</param>
    /// <param name="movesTime">False: the time stays (<c>noatime</c>); what is read ahead still learns of the use.</param>
    public void Accessed(Inode inode, bool movesTime = true)
    {
        if (inode.Container is { HasContentsAhead: true } directory)
        {
            ContentsUsed(directory);
        }

        if (!movesTime || !WantsAccessTime(inode.Record))
        {
            return;
        }

        lock (core.Metadata)
        {
            if (!inode.IsRemoved && core.IsWriting)
            {
                inode.Record.AccessTime = core.Now();
                core.Committer.AddDirty(inode);
            }
        }
    }

    /// <summary>Whether a read is to be noted as <see cref="Accessed"/> says.</summary>
    public bool WantsAccessTime(in Record record) =>
        !core.IsReadOnly && (record.Inode & Superblock.SnapshotInodes) == 0 && (record.AccessTime <= record.ModifyTime || record.AccessTime <= record.ChangeTime);

    /// <summary>The inline contents of a record.</summary>
    public void ReadInline(Inode inode, int offset, Span<byte> destination) =>
        Record.ReadContents(
            core.Cache.Bytes(inode.SlotFrame).Slice((inode.SlotIndex >> 2) * Sector.SizeBytes, Sector.SizeBytes),
            inode.SlotIndex & 3,
            inode.Record.NameLength + offset,
            destination);

    private bool TryWriteInline(Inode inode, long offset, ReadOnlySpan<byte> source)
    {
        ref Record current = ref inode.Record;
        if (offset + source.Length > Slot.ContentBytesMax - current.NameLength || offset > (long)current.Size
            || current.Size != current.InlineLength || inode.Container is null)
        {
            return false;
        }

        lock (core.Metadata)
        {
            Record next = inode.Record;
            int length = (int)Math.Max(offset + source.Length, (long)next.Size);
            next.InlineLength = (ushort)length;
            next.Size = (ulong)length;
            next.Slots = (byte)Slot.SlotsFor(next.ContentBytes);
            next.ModifyTime = next.ChangeTime = core.Now();
            core.Edit.Begin();
            Span<byte> sector = core.Edit.Sector(inode.SlotBlock, inode.SlotFrame, inode.SlotIndex >> 2, SectorKind.Slots, inode.Container.Number);
            int inSector = inode.SlotIndex & 3;
            int more = next.Slots - inode.Record.Slots;
            bool arePromised = more > 0 && inode.Container.Lock.IsHeld
                && inode.Container.Directory is { } names && names.Promised.Overlaps(inode.SlotBlock, inode.SlotIndex + inode.Record.Slots, more);
            if (arePromised || !Slot.AreFree(sector, inSector + inode.Record.Slots, more))
            {
                return false;
            }

            next.Emit(sector, inSector);
            Record.WriteContents(sector, inSector, next.NameLength + (int)offset, source);
            core.Edit.Apply();
            inode.Record = next;
            core.Advance(ref inode.Version);
            core.Changes.NoteInode(CffsChangeKind.Written, inode);
            return true;
        }
    }

    /// <summary>
    /// Contents that lie in the record or in its sector's pack move into a block of their own, in one change: pointer in, bytes out. Rule one holds the sector back until the block is durable. On the way to a removal the block may come
    /// from the reserve. Nothing is done where they lie in blocks already. Under the inode's lock.
    /// </summary>
    public async ValueTask MoveOutAsync(Inode inode, IoMode mode, bool mayUseReserve = false)
    {
        if (!inode.Record.IsPacked && inode.Record.InlineLength == 0)
        {
            return;
        }

        if (!mayUseReserve)
        {
            await core.Space.RequireAsync(1, mode).ConfigureAwait(false);
        }

        byte[] contents = new byte[inode.Record.Size];
        _ = await ReadAsync(inode, 0, contents, mode).ConfigureAwait(false);
        FrameNumber frame = await core.Cache.TakeFrameAsync(mode).ConfigureAwait(false);
        core.Cache.Frames.Bytes(frame).Clear();
        contents.CopyTo(core.Cache.Frames.Bytes(frame));
        try
        {
            MoveOut(inode, frame);
        }
        catch
        {
            core.Cache.Release(frame);
            throw;
        }
    }

    private void MoveOut(Inode inode, FrameNumber frame)
    {
        lock (core.Metadata)
        {
            if (!TryPlace(inode, 1, out BlockExtent place))
            {
                throw core.Space.NoSpace();
            }

            Record old = inode.Record;
            Record next = old;
            next.InlineLength = 0;
            next.Slots = (byte)Slot.SlotsFor(next.ContentBytes);
            (next.Depth, next.Start, next.Count) = (0, place.First.Value, 1);
            core.Edit.Begin();
            Span<byte> sector = core.Edit.Sector(inode.SlotBlock, inode.SlotFrame, inode.SlotIndex >> 2, SectorKind.Slots, inode.Container?.Number ?? 0);
            byte[] name = new byte[next.NameLength];
            Record.ReadContents(sector, inode.SlotIndex & 3, 0, name);
            sector.Slice((inode.SlotIndex & 3) * Slot.SizeBytes, old.Slots * Slot.SizeBytes).Clear();
            next.Emit(sector, inode.SlotIndex & 3);
            Record.WriteContents(sector, inode.SlotIndex & 3, 0, name);
            core.Edit.Transaction.ClaimAllocate(place, core.Templates.Data, inode.SlotBlock, MapLoader.PartitionOf(inode), [frame]);
            if (old.IsPacked)
            {
                StageLeave(sector, inode.SlotBlock, inode.SlotIndex >> 2, old);
            }

            core.Edit.Apply();
            inode.Record = next;
            inode.Map.Insert(new MappedExtent(0, next.Start, 1, TreeEntryKind.Contents, inode.SlotBlock, MapLoader.PartitionOf(inode)));
            core.Cache.Remember(frame, place.First);
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

    private async ValueTask ZeroTailAsync(Inode inode, long length, IoMode mode)
    {
        ulong logical = (ulong)length / BlockBytes;
        if (inode.Map.TryFind(logical, out MappedExtent extent))
        {
            int within = (int)(length % BlockBytes);
            _ = await OverwriteAsync(inode, extent, logical, logical + 1, length, new byte[BlockBytes - within], mode).ConfigureAwait(false);
        }
    }

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
