// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Allocation;
using Exo.FileSystems.CFFS.Copying;
using Exo.FileSystems.CFFS.Directories;
using Exo.FileSystems.CFFS.Files;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Paths;
using Exo.FileSystems.CFFS.Volume;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Operations;

/// <content>
/// Small files made whole and removed by their records alone: one lock (the directory's), one change of one sector with the claim on the file's blocks, and no inode in memory. What these do not
/// do is done by <see cref="CreateAsync"/> and <see cref="RemoveAsync"/>, which also say what is wrong.
/// </content>
internal sealed partial class NameOperations
{
    private const int BlockBytes = FramePool.FrameBytes;

    /// <summary>The longest file that is made whole: what lies in one run in its directory's group.</summary>
    public const int WholeBytesMax = (int)BlockAllocator.SmallFileBlocks * BlockBytes;

    /// <summary>
    /// Makes a file with a name and all its contents in one change: a crash leaves all of it or nothing. False when the name exists, or a dead record of it is in the way, or there is no run of free blocks: then nothing has changed.
    /// </summary>
    public async ValueTask<bool> TryCreateWholeAsync(Inode directory, ReadOnlyMemory<byte> name, ushort permissions, ReadOnlyMemory<byte> contents, CffsIdentity identity, IoMode io, CopiedAttributes? copied = null)
    {
        Invariant.Check(contents.Length <= WholeBytesMax);
        PathName.CheckNew(name);
        await core.BeginWritingAsync(io).ConfigureAwait(false);
        await directory.Lock.EnterAsync(io).ConfigureAwait(false);
        try
        {
            if (await core.Directories.FindAsync(directory, name, io).ConfigureAwait(false) is { } existing)
            {
                core.Cache.Release(existing.Frame);
                return false;
            }

            if (HasShelved(directory, name))
            {
                return false;
            }

            RequireWritable(directory, identity);
            if (copied is null && !(await core.Attributes.DefaultOfAsync(directory, io).ConfigureAwait(false)).IsNone)
            {
                // What inherits an access control list has an inode.
                return false;
            }

            Record record = NewRecord(directory, name.Span, (ushort)(ModeBits.File | (permissions & ModeBits.PermissionMask)), 0, identity);
            if (directory.Directory!.IsJustLeft(record.NameHash, core.Committer.IsDurable))
            {
                record.NameSequence = core.NextNameSequence(yieldsToEarlier: true);
            }

            copied?.ApplyTo(ref record);
            record.Size = (ulong)contents.Length;
            if (contents.Length <= Slot.ContentBytesMax - name.Length)
            {
                record.InlineLength = (ushort)contents.Length;
            }
            else
            {
                record.Count = ((uint)contents.Length + BlockBytes - 1) / BlockBytes;
            }

            record.Slots = (byte)Slot.SlotsFor(record.ContentBytes);
            await core.Space.RequireAsync(record.Count, io).ConfigureAwait(false);
            SlotPlace place = await core.Directories.MakeRoomAsync(directory, record.Slots, default, io).ConfigureAwait(false);
            try
            {
                if (record.Count == 0)
                {
                    Insert(directory, place, record, name.Span, contents.Span, default);
                }
                else if (!(core.Files.IsPackable(directory, contents.Length) && await TryInsertPackedAsync(directory, place, record, name, contents, io).ConfigureAwait(false))
                    && !await TryInsertWithBlocksAsync(directory, place, record, name, contents, io).ConfigureAwait(false))
                {
                    return false;
                }
            }
            finally
            {
                core.Cache.Release(place.Frame);
            }

            await core.Directories.AddNameAsync(directory, record.NameHash, place.Address, isDirectory: false, io).ConfigureAwait(false);
            core.Files.TrailSmall();
            return true;
        }
        finally
        {
            directory.Lock.Exit();
        }
    }

    /// <summary>Contents in the pack of the record's sector, or in a new one. False when there is room for neither.</summary>
    private async ValueTask<bool> TryInsertPackedAsync(Inode directory, SlotPlace place, Record record, ReadOnlyMemory<byte> name, ReadOnlyMemory<byte> contents, IoMode io)
    {
        (record.Depth, record.Count, record.Start) = (Pack.Depth, 0, 0);
        if (Pack.TryFind(core.Directories.SectorOf(place), out _, out _))
        {
            lock (core.Metadata)
            {
                if (!core.Files.TryFillPack(place, contents.Span, out int first))
                {
                    return false;
                }

                record.Start = (ulong)first;
                Insert(directory, place, record, name.Span, default, default);
                return true;
            }
        }

        int slot = FileStore.RoomForPack(core.Directories.SectorOf(place), place.InSector, record.Slots);
        if (slot < 0)
        {
            return false;
        }

        FrameNumber frame = await core.Cache.TakeFrameAsync(io).ConfigureAwait(false);
        bool isTaken = false;
        try
        {
            lock (core.Metadata)
            {
                core.Edit.Begin();
                core.Directories.Stage(directory, place, record, name.Span, default);
                Span<byte> sector = core.Edit.Sector(place.Block, place.Frame, place.SectorIndex, SectorKind.Slots, directory.Number);
                if (!core.Files.TryStagePack(directory, place, sector, slot, frame, contents.Span, out BlockNumber block))
                {
                    return false;
                }

                core.Edit.Apply();
                isTaken = true;
                core.Cache.Remember(frame, block);
                core.Files.Small.Add(new BlockExtent(block, 1));
                NoteCreated(directory, record, name.Span);
                return true;
            }
        }
        finally
        {
            if (!isTaken)
            {
                core.Cache.Release(frame);
            }
        }
    }

    private async ValueTask<bool> TryInsertWithBlocksAsync(Inode directory, SlotPlace place, Record record, ReadOnlyMemory<byte> name, ReadOnlyMemory<byte> contents, IoMode io)
    {
        FrameNumber first;
        FrameNumber[]? more = null;
        if (record.Count == 1)
        {
            first = await core.Cache.TakeFrameAsync(io).ConfigureAwait(false);
        }
        else
        {
            more = new FrameNumber[record.Count];
            await core.Cache.TakeFramesAsync(more, io).ConfigureAwait(false);
            first = more[0];
        }

        return TryInsertWithBlocks(directory, place, record, name.Span, contents.Span, more ?? new ReadOnlySpan<FrameNumber>(in first));
    }

    private bool TryInsertWithBlocks(Inode directory, in SlotPlace place, Record record, ReadOnlySpan<byte> name, ReadOnlySpan<byte> contents, ReadOnlySpan<FrameNumber> frames)
    {
        for (int i = 0; i < frames.Length; i++)
        {
            Span<byte> block = core.Cache.Frames.Bytes(frames[i]);
            ReadOnlySpan<byte> part = contents[(i * BlockBytes)..Math.Min(contents.Length, (i + 1) * BlockBytes)];
            part.CopyTo(block);
            block[part.Length..].Clear();
        }

        bool isTaken = false;
        try
        {
            lock (core.Metadata)
            {
                if (core.Allocator.TryTake(ref directory.Window, directory.SlotBlock.Value, record.Count, BlockAllocator.DirectoryWindowBlocks, out BlockExtent extent)
                    && extent.Count == record.Count)
                {
                    record.Start = extent.First.Value;
                    Insert(directory, place, record, name, default, frames);
                    isTaken = true;
                }
            }
        }
        finally
        {
            if (!isTaken)
            {
                foreach (FrameNumber frame in frames)
                {
                    core.Cache.Release(frame);
                }
            }
        }

        return isTaken;
    }

    private void Insert(Inode directory, in SlotPlace place, in Record record, ReadOnlySpan<byte> name, ReadOnlySpan<byte> inline, ReadOnlySpan<FrameNumber> frames)
    {
        lock (core.Metadata)
        {
            core.Edit.Begin();
            core.Directories.Stage(directory, place, record, name, inline);
            if (record.Count > 0)
            {
                core.Edit.Transaction.ClaimAllocate(new BlockExtent(new BlockNumber(record.Start), record.Count), core.Templates.Data, place.Block, place.Index, frames);
            }

            core.Edit.Apply();
            for (int i = 0; i < frames.Length; i++)
            {
                core.Cache.Remember(frames[i], new BlockNumber(record.Start + (ulong)i));
            }

            if (frames.Length > 0)
            {
                core.Files.Small.Add(new BlockExtent(new BlockNumber(record.Start), (uint)frames.Length));
            }

            NoteCreated(directory, record, name);
        }
    }

    private void NoteCreated(Inode directory, in Record record, ReadOnlySpan<byte> name)
    {
        Touch(directory, record.BirthTime, changesPaths: false);
        core.Changes.NoteName(CffsChangeKind.Created, directory, name, record.Inode, record.Mode);
    }

    /// <summary>
    /// Removes a file or link whose record is all there is to it: no other name, no tree, no attributes' block, nobody who has it open. Null when it is not one; false when the record must stay for
    /// now (<see cref="DirectoryState.Burials"/>).
    /// </summary>
    private async ValueTask<bool?> TryRemovePlainAsync(Inode directory, ReadOnlyMemory<byte> name, CffsIdentity identity, IoMode io)
    {
        await core.BeginWritingAsync(io).ConfigureAwait(false);
        await directory.Lock.EnterAsync(io).ConfigureAwait(false);
        try
        {
            if (!directory.IsDirectory || directory.IsRemoved || await core.Directories.FindAsync(directory, name, io).ConfigureAwait(false) is not { } place)
            {
                return null;
            }

            try
            {
                return RemovePlain(directory, place, name.Span, identity);
            }
            finally
            {
                core.Cache.Release(place.Frame);
            }
        }
        finally
        {
            directory.Lock.Exit();
        }
    }

    private bool? RemovePlain(Inode directory, in SlotPlace place, ReadOnlySpan<byte> name, CffsIdentity identity)
    {
        Record record = core.Directories.RecordAt(directory, place);
        if (record.Kind is not (SlotKind.File or SlotKind.SymbolicLink or SlotKind.Special) || record.HasTree || record.Attributes != 0 || !core.Inodes.TryForget(record.Inode))
        {
            return null;
        }

        // Nobody can bring the inode into memory now: for that he needs the directory's lock.
        if (!ReferenceEquals(identity, CffsIdentity.Collector))
        {
            directory.RequireThawed();
        }

        Permissions.RequireRemoval(directory, record, identity);
        DirectoryState state = directory.Directory!;
        if (state.Burials.ContainsKey(place.Address))
        {
            return false;
        }

        lock (core.Metadata)
        {
            core.Edit.Begin();
            StageClear(directory.Number, place.Block, place.Frame, place.Index, record, isTwiceOwned: false);
            core.Edit.Apply();
            Touch(directory, changesPaths: record.Kind == SlotKind.SymbolicLink);
            core.Changes.NoteName(CffsChangeKind.Removed, directory, name, record.Inode, record.Mode);
        }

        core.Directories.RemoveName(directory, record.NameHash, place.Address, isDirectory: false);
        state.Room.Freed(place.Address / Slot.PerBlock);
        state.LastRemoval = core.Committer.Stamp;
        return true;
    }
}
