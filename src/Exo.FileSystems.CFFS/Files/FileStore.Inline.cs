// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Files;

/// <content>Contents in the record, beside the name; and how they leave it when they, or the name, find no room there.</content>
internal sealed partial class FileStore
{
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
}
