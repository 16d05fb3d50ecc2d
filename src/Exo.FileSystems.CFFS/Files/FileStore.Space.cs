// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Files;

/// <content>Space of files (<c>fallocate</c>): blocks of zeros ahead of their use, and holes made again. Under the inode's lock.</content>
internal sealed partial class FileStore
{
    private static readonly byte[] Zeros = new byte[StepBlocks * BlockBytes];

    /// <summary>Gives the holes of a range blocks of zeros, so that writing there later needs no space; the file grows to the range's end unless its size is kept.</summary>
    /// <exception cref="CffsException">NoSpace, before anything has changed; Invalid; FileTooLarge.</exception>
    public async ValueTask AllocateAsync(Inode inode, long offset, long length, bool keepSize, IoMode mode)
    {
        await BeginRangeAsync(inode, offset, length, mode).ConfigureAwait(false);
        await core.Space.RequireAsync(MissingBlocks(inode, offset, length), mode).ConfigureAwait(false);
        if (!keepSize && offset + length > (long)inode.Record.Size)
        {
            await ClearBehindAsync(inode, mode).ConfigureAwait(false);
        }

        if (inode.Record.InlineLength > 0)
        {
            await MoveOutAsync(inode, mode).ConfigureAwait(false);
        }

        ulong end = (ulong)(offset + length + BlockBytes - 1) / BlockBytes;
        for (ulong logical = (ulong)offset / BlockBytes; logical < end;)
        {
            if (inode.Map.TryFind(logical, out MappedExtent extent))
            {
                logical = extent.LogicalEnd;
                continue;
            }

            ulong hole = Math.Min(Math.Min(end, inode.Map.NextMapped(logical)) - logical, StepBlocks);
            logical += await AppendAsync(inode, logical, (uint)hole, 0, default, mode).ConfigureAwait(false);
        }

        Changed(inode, keepSize ? inode.Record.Size : Math.Max(inode.Record.Size, (ulong)(offset + length)));
    }

    /// <summary>Zeros a range. Parts that are whole blocks become holes. The size stays.</summary>
    public async ValueTask PunchAsync(Inode inode, long offset, long length, IoMode mode)
    {
        await BeginRangeAsync(inode, offset, length, mode).ConfigureAwait(false);
        await core.PrepareFreeAsync(inode, mode).ConfigureAwait(false);
        long size = (long)inode.Record.Size;
        long end = offset + length;
        if (inode.Record.InlineLength > 0)
        {
            await ZeroMappedAsync(inode, offset, Math.Min(end, size), mode).ConfigureAwait(false);
            return;
        }

        // What lies beyond the end in the last block is zeros: the block counts as whole.
        ulong first = ((ulong)offset + BlockBytes - 1) / BlockBytes;
        ulong last = end >= size ? Math.Max(first, ((ulong)end + BlockBytes - 1) / BlockBytes) : (ulong)end / BlockBytes;
        if (first >= last)
        {
            await ZeroMappedAsync(inode, offset, Math.Min(end, size), mode).ConfigureAwait(false);
            Changed(inode, (ulong)size);
            return;
        }

        await ZeroMappedAsync(inode, offset, Math.Min((long)first * BlockBytes, size), mode).ConfigureAwait(false);
        await ZeroMappedAsync(inode, (long)last * BlockBytes, Math.Min(end, size), mode).ConfigureAwait(false);
        await RemoveRangeAsync(inode, first, last, mode).ConfigureAwait(false);
        Changed(inode, (ulong)size);
    }

    /// <summary>Makes a hole of whole blocks.</summary>
    private async ValueTask RemoveRangeAsync(Inode inode, ulong first, ulong end, IoMode mode)
    {
        while (true)
        {
            MapEditResult result;
            MappedExtent crowded;
            lock (core.Metadata)
            {
                core.Allocator.Close(ref inode.Window);
                Record record = inode.Record;
                result = core.MapEdits.TryRemoveRange(inode, ref record, first, end, out crowded);
                inode.Record = record;
            }

            if (result == MapEditResult.Done)
            {
                return;
            }

            if (result == MapEditResult.Crowded && !core.Templates.SharesData)
            {
                // Where contents have one owner, none may be seen to have two after a crash: these blocks stay, as zeros.
                ulong to = Math.Min(end, crowded.LogicalEnd);
                await ZeroMappedAsync(inode, (long)Math.Max(first, crowded.Logical) * BlockBytes, (long)to * BlockBytes, mode).ConfigureAwait(false);
                first = to;
                continue;
            }

            await MakeWayAsync(result, inode, crowded, mode).ConfigureAwait(false);
        }
    }

    /// <summary>Zeros a range and gives all of it blocks.</summary>
    public async ValueTask ZeroAsync(Inode inode, long offset, long length, bool keepSize, IoMode mode)
    {
        await AllocateAsync(inode, offset, length, keepSize, mode).ConfigureAwait(false);
        await ZeroMappedAsync(inode, offset, Math.Min(offset + length, (long)inode.Record.Size), mode).ConfigureAwait(false);
        Changed(inode, inode.Record.Size);
    }

    /// <summary>The next offset, from one on, that is data or that is a hole (the end counts as one). -1 when there is none.</summary>
    public async ValueTask<long> SeekAsync(Inode inode, long offset, bool data, IoMode mode)
    {
        await core.Maps.EnsureAsync(inode, mode).ConfigureAwait(false);
        long size = (long)inode.Record.Size;
        if (offset < 0 || offset >= size)
        {
            return -1;
        }

        if (inode.Record.InlineLength > 0 || inode.Record.IsPacked)
        {
            return data ? offset : size;
        }

        ulong logical = (ulong)offset / BlockBytes;
        if (data)
        {
            ulong mapped = inode.Map.NextMapped(logical);
            long found = mapped == ulong.MaxValue ? -1 : Math.Max(offset, (long)mapped * BlockBytes);
            return found < size ? found : -1;
        }

        while (inode.Map.TryFind(logical, out MappedExtent extent))
        {
            logical = extent.LogicalEnd;
        }

        return Math.Min(size, Math.Max(offset, (long)logical * BlockBytes));
    }

    /// <summary>Blocks that a range lacks, and, where contents that lie in the inode have to leave it for that, their block.</summary>
    private static ulong MissingBlocks(Inode inode, long offset, long length)
    {
        ulong first = (ulong)offset / BlockBytes;
        ulong end = ((ulong)(offset + length) + BlockBytes - 1) / BlockBytes;
        ulong missing = inode.Record.InlineLength > 0 && first > 0 ? 1u : 0;
        for (ulong logical = first; logical < end;)
        {
            bool isMapped = inode.Map.TryFind(logical, out MappedExtent extent);
            ulong next = Math.Min(end, isMapped ? extent.LogicalEnd : inode.Map.NextMapped(logical));
            missing += isMapped ? 0 : next - logical;
            logical = next;
        }

        return missing;
    }

    /// <summary>Changes the length of contents that lie in the inode, where it stays in its slots or needs fewer. Takes no block: a file can be cut short on a full volume.</summary>
    private bool TrySetInlineLength(Inode inode, long length)
    {
        lock (core.Metadata)
        {
            Record next = inode.Record;
            int before = next.InlineLength;
            if (next.Size != (ulong)before || length > ((next.Slots - 1) * Slot.ContinuationContentBytes) + Slot.HeadContentBytes - next.NameLength || inode.Container is null)
            {
                return false;
            }

            next.InlineLength = (ushort)length;
            next.Size = (ulong)length;
            next.Slots = (byte)Slot.SlotsFor(next.ContentBytes);
            next.ModifyTime = next.ChangeTime = core.Now();
            core.Edit.Begin();
            Span<byte> sector = core.Edit.Sector(inode.SlotBlock, inode.SlotFrame, inode.SlotIndex >> 2, SectorKind.Slots, inode.Container.Number);
            int inSector = inode.SlotIndex & 3;
            byte[] contents = new byte[next.ContentBytes];
            Record.ReadContents(sector, inSector, 0, contents.AsSpan(0, next.NameLength + (int)Math.Min(before, length)));
            sector.Slice(inSector * Slot.SizeBytes, inode.Record.Slots * Slot.SizeBytes).Clear();
            next.Emit(sector, inSector);
            Record.WriteContents(sector, inSector, 0, contents);
            core.Edit.Apply();
            inode.Record = next;
            core.Advance(ref inode.Version);
            return true;
        }
    }

    private ValueTask BeginRangeAsync(Inode inode, long offset, long length, IoMode mode)
    {
        inode.RequireThawed();
        if (offset < 0 || length <= 0)
        {
            throw new CffsException(CffsError.Invalid, "an empty or negative range");
        }

        return offset > SizeMax - length ? throw new CffsException(CffsError.FileTooLarge, $"a file has at most {SizeMax} bytes")
            : inode.Record.IsPacked ? MoveOutAsync(inode, mode)
            : core.Maps.EnsureForChangeAsync(inode, mode);
    }

    /// <summary>Writes zeros over what is there of a range; holes stay holes. The range ends at or before the file's end.</summary>
    private async ValueTask ZeroMappedAsync(Inode inode, long offset, long end, IoMode mode)
    {
        if (inode.Record.InlineLength > 0)
        {
            if (offset < end)
            {
                await WriteAsync(inode, offset, Zeros.AsMemory(0, (int)(end - offset)), mode).ConfigureAwait(false);
            }

            return;
        }

        while (TryFindMapped(inode, ref offset, out MappedExtent extent) && offset < end)
        {
            ulong logical = (ulong)offset / BlockBytes;
            int take = (int)Math.Min(BlockBytes - (offset % BlockBytes), end - offset);
            _ = await OverwriteAsync(inode, extent, logical, logical + 1, offset, Zeros.AsMemory(0, take), mode).ConfigureAwait(false);
            offset += take;
        }
    }

    /// <summary>Goes on to the first offset, from one on, that has a block. False when none follows.</summary>
    private static bool TryFindMapped(Inode inode, ref long offset, out MappedExtent extent)
    {
        ulong logical = inode.Map.NextMapped((ulong)offset / BlockBytes);
        if (logical != ulong.MaxValue)
        {
            offset = Math.Max(offset, (long)logical * BlockBytes);
        }

        return inode.Map.TryFind(logical, out extent);
    }

    private void Changed(Inode inode, ulong size)
    {
        lock (core.Metadata)
        {
            inode.Record.Size = size;
            inode.Record.ModifyTime = inode.Record.ChangeTime = core.Now();
            core.Advance(ref inode.Version);
            core.Committer.AddDirty(inode);
            core.Changes.NoteInode(CffsChangeKind.Written, inode);
        }
    }
}
