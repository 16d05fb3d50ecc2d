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
/// A directory's blocks are a heap of slots; the index in memory is built when the directory is first used.
/// </summary>
internal sealed class DirectoryStore(VolumeCore core)
{
    private const int LoadBatchBlocks = 64;

    /// <summary>Loads a directory: its map, and the names of all its records.</summary>
    public async ValueTask<DirectoryState> EnsureLoadedAsync(Inode directory, IoMode mode)
    {
        if (directory.Directory is { } loaded)
        {
            return loaded;
        }

        await core.Maps.EnsureAsync(directory, mode).ConfigureAwait(false);
        DirectoryState state = new();
        for (int e = 0; e < directory.Map.Count; e++)
        {
            MappedExtent extent = directory.Map[e];
            for (uint from = 0; from < extent.Count; from += LoadBatchBlocks)
            {
                uint count = Math.Min(LoadBatchBlocks, extent.Count - from);
                await ReadAheadAsync(extent, from, count, mode).ConfigureAwait(false);
                for (uint i = 0; i < count; i++)
                {
                    FrameNumber frame = await GetBlockAsync(directory, extent.Logical + from + i, mode).ConfigureAwait(false);
                    Enter(directory, state, extent.Logical + from + i, new BlockNumber(extent.Start + from + i), frame);
                    core.Cache.Release(frame);
                }
            }
        }

        directory.Directory = state;
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

    /// <summary>Finds a name. The place's frame is retained for the caller.</summary>
    public async ValueTask<SlotPlace?> FindAsync(Inode directory, ReadOnlyMemory<byte> name, IoMode mode)
    {
        DirectoryState state = await EnsureLoadedAsync(directory, mode).ConfigureAwait(false);
        uint hash = NameHash.Compute(name.Span, core.Guard.HashSeed);
        int cursor = -1;
        while (state.Names.TryNext(hash, ref cursor, out uint address))
        {
            SlotPlace place = await PlaceAsync(directory, address, mode).ConfigureAwait(false);
            if (Record.NameEquals(SectorOf(place), place.InSector, name.Span))
            {
                return place;
            }

            core.Cache.Release(place.Frame);
        }

        return null;
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
    /// Finds adjacent free slots in one sector for a record, appending a block to the directory when there are none. The place's frame is retained for the caller.
    /// </summary>
    /// <param name="directory">The directory, loaded.</param>
    /// <param name="slots">1 to 4.</param>
    /// <param name="exclude">A block not to use, or block 0.</param>
    /// <param name="mode">The door.</param>
    public async ValueTask<SlotPlace> MakeRoomAsync(Inode directory, int slots, BlockNumber exclude, IoMode mode)
    {
        DirectoryState state = directory.Directory!;
        while (true)
        {
            ulong logical = directory.Map.NextMapped(state.RoomFrom(slots));
            bool skipped = false;
            while (logical != ulong.MaxValue)
            {
                FrameNumber frame = await GetBlockAsync(directory, logical, mode).ConfigureAwait(false);
                directory.Map.TryFind(logical, out MappedExtent extent);
                BlockNumber block = new(extent.Start + (logical - extent.Logical));
                if (block == exclude)
                {
                    skipped = true;
                }
                else if (TryFindRun(core.Cache.Bytes(frame), slots, out int index))
                {
                    return new SlotPlace(block, frame, index, (uint)((logical * Slot.PerBlock) + (uint)index));
                }

                core.Cache.Release(frame);
                if (!skipped)
                {
                    state.NoRoomBefore(slots, logical + 1);
                }

                logical = directory.Map.NextMapped(logical + 1);
            }

            await AppendBlockAsync(directory, mode).ConfigureAwait(false);
        }
    }

    /// <summary>The live entries after a position, in the order of their slot addresses.</summary>
    public async ValueTask<IReadOnlyList<CffsDirectoryEntry>> ListAsync(Inode directory, long afterPosition, IoMode mode)
    {
        DirectoryState state = await EnsureLoadedAsync(directory, mode).ConfigureAwait(false);
        List<CffsDirectoryEntry> entries = [];
        ulong first = (ulong)(afterPosition + 1) / Slot.PerBlock;
        for (ulong logical = directory.Map.NextMapped(first); logical != ulong.MaxValue; logical = directory.Map.NextMapped(logical + 1))
        {
            FrameNumber frame = await GetBlockAsync(directory, logical, mode).ConfigureAwait(false);
            List(core.Cache.Bytes(frame), (uint)(logical * Slot.PerBlock), afterPosition, state, entries);
            core.Cache.Release(frame);
        }

        return entries;
    }

    /// <summary>As <see cref="ListAsync"/>, but stops after the block with which <paramref name="most"/> entries are reached.</summary>
    public async ValueTask ListSomeAsync(Inode directory, long afterPosition, int most, List<CffsDirectoryEntry> entries, IoMode mode)
    {
        DirectoryState state = await EnsureLoadedAsync(directory, mode).ConfigureAwait(false);
        ulong first = (ulong)(afterPosition + 1) / Slot.PerBlock;
        for (ulong logical = directory.Map.NextMapped(first); logical != ulong.MaxValue && entries.Count < most; logical = directory.Map.NextMapped(logical + 1))
        {
            FrameNumber frame = await GetBlockAsync(directory, logical, mode).ConfigureAwait(false);
            List(core.Cache.Bytes(frame), (uint)(logical * Slot.PerBlock), afterPosition, state, entries);
            core.Cache.Release(frame);
        }
    }

    private static void List(ReadOnlySpan<byte> block, uint firstAddress, long afterPosition, DirectoryState state, List<CffsDirectoryEntry> entries)
    {
        for (int index = 0; index < Slot.PerBlock; index++)
        {
            uint address = firstAddress + (uint)index;
            ReadOnlySpan<byte> sector = block.Slice((index >> 2) * Sector.SizeBytes, Sector.SizeBytes);
            if (address > afterPosition && Slot.IsHead(sector[((index & 3) * Slot.SizeBytes)..]) && !state.Dead.Contains(address)
                && Record.TryParse(sector, index & 3, out Record record))
            {
                byte[] name = new byte[record.NameLength];
                Record.ReadContents(sector, index & 3, 0, name);
                entries.Add(new CffsDirectoryEntry(name, record.Inode, ModeBits.KindOf(record.Mode), address));
            }
        }
    }

    /// <summary>A record's sector, in core.</summary>
    public ReadOnlySpan<byte> SectorOf(in SlotPlace place) =>
        core.Cache.Bytes(place.Frame).Slice(place.SectorIndex * Sector.SizeBytes, Sector.SizeBytes);

    /// <summary>The record at a place.</summary>
    public Record RecordAt(Inode directory, in SlotPlace place) =>
        Record.TryParse(SectorOf(place), place.InSector, out Record record)
            ? record
            : throw new CffsException(CffsError.Corrupt, $"slot {place.Address} of directory {directory.Number} is damaged");

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

    public static bool TryFindRun(ReadOnlySpan<byte> block, int slots, out int index)
    {
        for (int sector = 0; sector < Sector.PerBlock; sector++)
        {
            int run = 0;
            for (int i = 0; i < Slot.PerSector; i++)
            {
                run = block[(sector * Sector.SizeBytes) + (i * Slot.SizeBytes)] == (byte)SlotKind.Free ? run + 1 : 0;
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

    private ValueTask ReadAheadAsync(in MappedExtent extent, uint from, uint count, IoMode mode)
    {
        for (uint i = 0; i < count; i++)
        {
            if (core.Cache.TryGet(new BlockNumber(extent.Start + from + i), out FrameNumber frame))
            {
                // Some of it is in core: the blocks are fetched one by one where they are missing.
                core.Cache.Release(frame);
                return default;
            }
        }

        return ReadRunAsync(new XnReadRequest(extent.Parent, extent.Partition, new BlockExtent(new BlockNumber(extent.Start + from), count)), mode);
    }

    private async ValueTask ReadRunAsync(XnReadRequest request, IoMode mode)
    {
        await core.Cache.ReadAsync(new[] { request }, mode).ConfigureAwait(false);
        for (uint i = 0; i < request.Extent.Count; i++)
        {
            BlockNumber block = request.Extent.First + i;
            if (core.Cache.TryGet(block, out FrameNumber frame))
            {
                ulong owner = 0;
                ReadOnlySpan<byte> bytes = core.Cache.Bytes(frame);
                for (int s = 0; s < Sector.PerBlock && owner == 0; s++)
                {
                    owner = System.Buffers.Binary.BinaryPrimitives.ReadUInt64LittleEndian(bytes[((s * Sector.SizeBytes) + Sector.Owner)..]);
                }

                core.Maps.Verify(block, frame, SectorKind.Slots, owner);
                core.Cache.Release(frame);
            }
        }
    }

    private void Enter(Inode directory, DirectoryState state, ulong logical, BlockNumber block, FrameNumber frame)
    {
        ReadOnlySpan<byte> bytes = core.Cache.Bytes(frame);
        for (int index = 0; index < Slot.PerBlock; index++)
        {
            ReadOnlySpan<byte> sector = bytes.Slice((index >> 2) * Sector.SizeBytes, Sector.SizeBytes);
            if ((index & 3) == 0 && !Sector.IsEmpty(sector)
                && System.Buffers.Binary.BinaryPrimitives.ReadUInt64LittleEndian(sector[Sector.Owner..]) != directory.Number)
            {
                throw new CffsException(CffsError.Corrupt, $"{block} belongs to another directory than {directory.Number}");
            }

            if (!Slot.IsHead(sector[((index & 3) * Slot.SizeBytes)..]))
            {
                continue;
            }

            if (!Record.TryParse(sector, index & 3, out Record record))
            {
                throw new CffsException(CffsError.Corrupt, $"slot {index} of {block} in directory {directory.Number} is damaged");
            }

            uint address = (uint)((logical * Slot.PerBlock) + (uint)index);
            if (directory.Number != Superblock.ExternalInode)
            {
                if (FindTwin(directory, state, sector, index & 3, record, out uint twin, out Record other))
                {
                    // A crash came between the two steps of a rename over an existing name: the later name counts. Or between a rename
                    // away from a name and its next use: the earlier one counts.
                    bool isLater = (int)(record.NameSequence - other.NameSequence) > 0;
                    bool counts = isLater ? !record.YieldsToEarlier : other.YieldsToEarlier;
                    uint dead = counts ? twin : address;
                    uint living = counts ? address : twin;
                    state.Dead.Add(dead);
                    state.Burials.Remove(twin, out BurialGround? ground);
                    ground ??= new BurialGround();
                    ground.Count++;
                    state.Burials.Add(living, ground);
                    if (!core.IsReadOnly)
                    {
                        core.Names.BuryAtLoad(directory, dead, ground);
                    }

                    if (!counts)
                    {
                        continue;
                    }

                    state.Names.Remove(record.NameHash, twin);
                }

                state.Names.Add(record.NameHash, address);
                if (record.Kind == SlotKind.Directory)
                {
                    state.Subdirectories++;
                }
            }
        }
    }

    private bool FindTwin(Inode directory, DirectoryState state, ReadOnlySpan<byte> sector, int inSector, in Record record, out uint twin, out Record found)
    {
        int cursor = -1;
        Span<byte> name = stackalloc byte[record.NameLength];
        while (state.Names.TryNext(record.NameHash, ref cursor, out twin))
        {
            directory.Map.TryFind(twin / Slot.PerBlock, out MappedExtent extent);
            BlockNumber block = new(extent.Start + ((twin / Slot.PerBlock) - extent.Logical));
            if (!core.Cache.TryGet(block, out FrameNumber frame))
            {
                continue;
            }

            int index = (int)(twin % Slot.PerBlock);
            ReadOnlySpan<byte> other = core.Cache.Bytes(frame).Slice((index >> 2) * Sector.SizeBytes, Sector.SizeBytes);
            Record.ReadContents(sector, inSector, 0, name);
            bool same = Record.TryParse(other, index & 3, out Record parsed) && Record.NameEquals(other, index & 3, name);
            core.Cache.Release(frame);
            if (same)
            {
                found = parsed;
                return true;
            }
        }

        found = default;
        return false;
    }

    private async ValueTask AppendBlockAsync(Inode directory, IoMode mode)
    {
        FrameNumber frame = await core.Cache.TakeFrameAsync(mode).ConfigureAwait(false);
        ulong logical = directory.Map.Count == 0 ? 0 : directory.Map[directory.Map.Count - 1].LogicalEnd;
        while (true)
        {
            lock (core.Metadata)
            {
                if (!core.Allocator.TryTake(ref directory.Window, directory.SlotBlock.Value, 1, BlockAllocator.DirectoryWindowBlocks, out BlockExtent place))
                {
                    core.Cache.Release(frame);
                    throw new CffsException(CffsError.NoSpace, $"no free block for directory {directory.Number}");
                }

                Record record = directory.Record;
                record.Size = (logical + 1) * 4096;
                if (core.MapEdits.TryAdd(directory, ref record, logical, place, [frame]))
                {
                    directory.Record = record;
                    core.Cache.Remember(frame, place.First);
                    directory.Directory?.RoomIn(logical);
                    return;
                }
            }

            await core.MapEdits.GrowAsync(directory, mode).ConfigureAwait(false);
        }
    }
}
