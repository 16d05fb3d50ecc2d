// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Allocation;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Volume;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Directories;

/// <summary>
/// Entries of directories: load, find, make room, put in, take out. Every method runs under the directory's lock.
/// A directory's blocks are a heap of slots; of a small one the names are in memory from its first use on, a large one has an index on the disk (<see cref="DirectoryIndex"/>).
/// </summary>
internal sealed partial class DirectoryStore(VolumeCore core)
{
    private const int LoadBatchBlocks = 64;
    private const ulong SlotWindowBlocks = 8;
    private const ulong WindowBlocksMax = 2048;

    public DirectoryIndex Index { get; } = new(core);

    /// <summary>
    /// Loads a directory: its map, and, unless it has an index on the disk that can be believed, the names of all its records. After a crash the index lacks the names that recovery has seen as new
    /// ones: they are put in here.
    /// </summary>
    public ValueTask<DirectoryState> EnsureLoadedAsync(Inode directory, IoMode mode) =>
        directory.Directory is { MustRead: false } loaded ? new ValueTask<DirectoryState>(loaded) : LoadAsync(directory, mode);

    private async ValueTask<DirectoryState> LoadAsync(Inode directory, IoMode mode)
    {
        await core.Maps.EnsureAsync(directory, mode).ConfigureAwait(false);
        if (directory.Directory is null && Index.IsTrusted(directory))
        {
            directory.Directory = new DirectoryState
            {
                IsIndexed = true, Buckets = DirectoryIndex.CountOf(directory), Subdirectories = core.AfterCrash?.SubdirectoriesOf(directory.Number) ?? directory.Record.Links,
            };
            try
            {
                await EnterNewNamesAsync(directory, mode).ConfigureAwait(false);
                return directory.Directory;
            }
            catch (CffsException damaged) when (damaged.Error is CffsError.Corrupt or CffsError.NoSpace or CffsError.Busy)
            {
                directory.Directory = null;
            }
        }

        // What is known already of dead records and of burials stays.
        DirectoryState state = directory.Directory ?? new DirectoryState();
        state.Names = null;
        state.Subdirectories = 0;
        NameIndex names = new();
        List<(uint Address, uint Twin)> unseen = [];
        await ReadWithSiblingsAsync(directory, mode).ConfigureAwait(false);
        for (int e = 0; e < directory.Map.Count; e++)
        {
            MappedExtent extent = directory.Map[e];
            for (uint from = 0; from < extent.Count; from += LoadBatchBlocks)
            {
                uint count = Math.Min(LoadBatchBlocks, extent.Count - from);
                await ReadAheadAsync(directory, extent.Logical + from, count, mode).ConfigureAwait(false);
                for (uint i = 0; i < count; i++)
                {
                    FrameNumber frame = await GetBlockAsync(directory, extent.Logical + from + i, mode).ConfigureAwait(false);
                    try
                    {
                        Enter(directory, state, names, unseen, extent.Logical + from + i, new BlockNumber(extent.Start + from + i), frame);
                    }
                    finally
                    {
                        core.Cache.Release(frame);
                    }
                }
            }
        }

        foreach ((uint address, uint twin) in unseen)
        {
            await CompareUnseenAsync(directory, state, names, address, twin, mode).ConfigureAwait(false);
        }

        state.Names = names;
        bool isFirst = directory.Directory is null;
        directory.Directory = state;
        if (isFirst)
        {
            core.Ahead.Loaded(directory);
        }

        return state;
    }

    /// <summary>The frame of a directory's block, retained.</summary>
    public ValueTask<FrameNumber> GetBlockAsync(Inode directory, ulong logical, IoMode mode)
    {
        if (!directory.Map.TryFind(logical, out MappedExtent extent))
        {
            throw new CffsException(CffsError.Corrupt, $"directory {directory.Number} has no block {logical}");
        }

        return core.Maps.GetSectorsAsync(
            new BlockNumber(extent.Start + (logical - extent.Logical)), extent.Parent, extent.Partition, SectorKind.Slots, directory.Number, mode);
    }

    /// <summary>The place of a slot address, its frame retained.</summary>
    public async ValueTask<SlotPlace> PlaceAsync(Inode directory, uint address, IoMode mode)
    {
        ulong logical = address / Slot.PerBlock;
        FrameNumber frame = await GetBlockAsync(directory, logical, mode).ConfigureAwait(false);
        directory.Map.TryFind(logical, out MappedExtent extent);
        return new SlotPlace(new BlockNumber(extent.Start + (logical - extent.Logical)), frame, (int)(address % Slot.PerBlock), address);
    }

    /// <summary>
    /// Finds adjacent free slots in one sector for a record, appending a block to the directory when no place is known (<see cref="RoomMap"/>). The place's frame is retained for the caller.
    /// </summary>
    /// <param name="directory">The directory, loaded.</param>
    /// <param name="slots">1 to 4.</param>
    /// <param name="exclude">A block not to use, or block 0.</param>
    /// <param name="mode">The door.</param>
    /// <param name="alsoExclude">Another block not to use, or block 0.</param>
    /// <param name="isOneMore">The caller has been given a place here already and has not used it yet: this one is beside it.</param>
    public async ValueTask<SlotPlace> MakeRoomAsync(
        Inode directory, int slots, BlockNumber exclude, IoMode mode, BlockNumber alsoExclude = default, bool isOneMore = false)
    {
        RoomMap room = directory.Directory!.Room;
        room.Extend(directory.Map.Count == 0 ? 0 : directory.Map[directory.Map.Count - 1].LogicalEnd);
        ulong from = 0;
        bool hasProbed = false;
        while (true)
        {
            if (!room.TryKnown(slots, from, out ulong logical) && (hasProbed || !(hasProbed = room.TryProbe(out logical))))
            {
                await AppendBlockAsync(directory, mode).ConfigureAwait(false);
                continue;
            }

            if (!directory.Map.TryFind(logical, out MappedExtent extent))
            {
                room.Found(logical, 0);
                continue;
            }

            FrameNumber frame = await GetBlockAsync(directory, logical, mode).ConfigureAwait(false);
            BlockNumber block = new(extent.Start + (logical - extent.Logical));
            if (block == exclude || block == alsoExclude)
            {
                from = logical + 1;
            }
            else if (TryPromise(directory.Directory.Promised, block, frame, slots, isOneMore, out int index))
            {
                if (hasProbed)
                {
                    room.Found(logical, LongestRun(core.Cache.Bytes(frame)));
                }

                return new SlotPlace(block, frame, index, (uint)((logical * Slot.PerBlock) + (uint)index));
            }
            else if (isOneMore)
            {
                // The free slots that it seems to have are those of the first place.
                from = logical + 1;
            }

            room.Found(logical, LongestRun(core.Cache.Bytes(frame)));
            core.Cache.Release(frame);
        }
    }

    /// <summary>
    /// Gives up most blocks of an empty directory, from its end: what remains fits into the cache, as XN asks of what goes in one step. Under its lock.
    /// </summary>
    public async ValueTask ShrinkEmptyAsync(Inode directory, IoMode mode)
    {
        if (directory.Map.TotalBlocks <= (ulong)core.Cache.Frames.FrameCount / 8)
        {
            return;
        }

        await core.PrepareFreeAsync(directory, mode).ConfigureAwait(false);
        while (directory.Map.TotalBlocks > LoadBatchBlocks && directory.Map[directory.Map.Count - 1].LogicalEnd > LoadBatchBlocks)
        {
            MappedExtent last = directory.Map[directory.Map.Count - 1];
            ulong from = last.LogicalEnd - Math.Min(LoadBatchBlocks, last.Count);
            List<FrameNumber> held = [];
            await ReadAheadAsync(directory, from, LoadBatchBlocks, mode).ConfigureAwait(false);
            try
            {
                for (ulong logical = from; logical < last.LogicalEnd; logical++)
                {
                    held.Add(await GetBlockAsync(directory, logical, mode).ConfigureAwait(false));
                }

                lock (core.Metadata)
                {
                    Record record = directory.Record;
                    record.Size = from * 4096;
                    core.MapEdits.RemoveFrom(directory, ref record, from);
                    directory.Record = record;
                    core.Committer.AddDirty(directory);
                }
            }
            finally
            {
                held.ForEach(core.Cache.Release);
            }
        }

        for (ulong logical = directory.Map.NextMapped(0); logical != ulong.MaxValue; logical = directory.Map.NextMapped(logical + 1))
        {
            core.Cache.Release(await GetBlockAsync(directory, logical, mode).ConfigureAwait(false));
        }
    }

    /// <summary>A record's sector, in core.</summary>
    public ReadOnlySpan<byte> SectorOf(in SlotPlace place) =>
        core.Cache.Bytes(place.Frame).Slice(place.SectorIndex * Sector.SizeBytes, Sector.SizeBytes);

    /// <summary>The record at a place, whose frame stays the caller's, also when the record is damaged.</summary>
    /// <exception cref="CffsException">Corrupt: it is no record, although its sector's checksum is right.</exception>
    public Record RecordAt(Inode directory, in SlotPlace place) =>
        Record.TryParse(SectorOf(place), place.InSector, out Record record)
            ? record
            : throw new CffsException(CffsError.Corrupt, $"slot {place.Address} of directory {directory.Number} is damaged");

    /// <summary>As <see cref="RecordAt"/>, for who has done with the place then: gives its frame back, in any case.</summary>
    public Record TakeRecord(Inode directory, in SlotPlace place)
    {
        try
        {
            return RecordAt(directory, place);
        }
        finally
        {
            core.Cache.Release(place.Frame);
        }
    }

    /// <summary>Stages a record with its name and inline contents at a place. Under the metadata lock, after <see cref="MetadataEdit.Begin"/>.</summary>
    public void Stage(Inode directory, in SlotPlace place, in Record record, ReadOnlySpan<byte> name, ReadOnlySpan<byte> inline)
    {
        Span<byte> sector = core.Edit.Sector(place.Block, place.Frame, place.SectorIndex, SectorKind.Slots, directory.Number);
        StageInto(sector, place.InSector, record, name, inline);
    }

    public static void StageInto(Span<byte> sector, int inSector, in Record record, ReadOnlySpan<byte> name, ReadOnlySpan<byte> inline)
    {
        Invariant.Check(record.NameLength == name.Length && record.InlineLength == inline.Length);
        sector.Slice(inSector * Slot.SizeBytes, record.Slots * Slot.SizeBytes).Clear();
        record.Emit(sector, inSector);
        Record.WriteContents(sector, inSector, 0, name);
        Record.WriteContents(sector, inSector, name.Length, inline);
    }

    /// <summary>Stages the removal of a record. Under the metadata lock.</summary>
    public Span<byte> StageClear(ulong owner, BlockNumber block, FrameNumber frame, int index, int slots)
    {
        Span<byte> sector = core.Edit.Sector(block, frame, index >> 2, SectorKind.Slots, owner);
        sector.Slice((index & 3) * Slot.SizeBytes, slots * Slot.SizeBytes).Clear();
        return sector;
    }

    /// <summary>Finds adjacent free slots in one sector of a block, none of them promised.</summary>
    public static bool TryFindRun(ReadOnlySpan<byte> block, int slots, out int index, PromisedSlots? promised = null, BlockNumber number = default)
    {
        for (int sector = 0; sector < Sector.PerBlock; sector++)
        {
            int run = 0;
            for (int i = 0; i < Slot.PerSector; i++)
            {
                bool isFree = block[(sector * Sector.SizeBytes) + (i * Slot.SizeBytes)] == (byte)SlotKind.Free && promised?.Overlaps(number, (sector * Slot.PerSector) + i, 1) != true;
                run = isFree ? run + 1 : 0;
                if (run == slots)
                {
                    index = (sector * Slot.PerSector) + i + 1 - slots;
                    return true;
                }
            }
        }

        index = 0;
        return false;
    }

    /// <summary>Finds free slots in a block and promises them to the caller, in one step for those who grow into free slots.</summary>
    private bool TryPromise(PromisedSlots promised, BlockNumber block, FrameNumber frame, int slots, bool isOneMore, out int index)
    {
        lock (core.Metadata)
        {
            if (!isOneMore)
            {
                promised.Clear();
            }

            if (!TryFindRun(core.Cache.Bytes(frame), slots, out index, promised, block))
            {
                return false;
            }

            promised.Add(block, index, slots);
            return true;
        }
    }

    private static int LongestRun(ReadOnlySpan<byte> block)
    {
        int slots = Slot.PerSector;
        while (slots > 0 && !TryFindRun(block, slots, out _))
        {
            slots--;
        }

        return slots;
    }

    private async ValueTask AppendBlockAsync(Inode directory, IoMode mode)
    {
        if (directory != core.Orphans)
        {
            await core.Space.RequireAsync(1, mode).ConfigureAwait(false);
        }

        FrameNumber frame = await core.Cache.TakeFrameAsync(mode).ConfigureAwait(false);
        ulong logical = directory.Map.Count == 0 ? 0 : directory.Map[directory.Map.Count - 1].LogicalEnd;
        try
        {
            while (!TryAppend(directory, logical, frame))
            {
                await core.MapEdits.GrowAsync(directory, mode).ConfigureAwait(false);
            }
        }
        catch
        {
            core.Cache.Release(frame);
            throw;
        }
    }

    /// <summary>Hangs a block of slots behind the others; false when the tree must grow first.</summary>
    private bool TryAppend(Inode directory, ulong logical, FrameNumber frame)
    {
        lock (core.Metadata)
        {
            // Slots have a window of their own, in front of the files' and growing with the directory: a small directory is one extent, which its record holds, and is read by one request.
            bool hasOwn = directory.Directory is not null;
            ref AllocationWindow window = ref hasOwn ? ref directory.Directory!.SlotWindow : ref directory.Window;
            uint windowBlocks = hasOwn ? (uint)Math.Clamp(logical / 4, SlotWindowBlocks, WindowBlocksMax) : BlockAllocator.DirectoryWindowBlocks;
            if (!core.Allocator.TryTake(ref window, directory.SlotBlock.Value, 1, windowBlocks, out BlockExtent place))
            {
                throw core.Space.NoSpace();
            }

            Record record = directory.Record;
            record.Size = (logical + 1) * 4096;
            if (!core.MapEdits.TryAdd(directory, ref record, logical, place, [frame]))
            {
                return false;
            }

            directory.Record = record;
            core.Cache.Remember(frame, place.First);
            directory.Directory?.Room.Freed(logical);
            return true;
        }
    }
}
