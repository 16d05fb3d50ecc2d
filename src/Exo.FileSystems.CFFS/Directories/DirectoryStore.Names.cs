// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Directories;

/// <content>Names: found, put in, taken out; in memory for small directories, through the index for large ones.</content>
internal sealed partial class DirectoryStore
{
    /// <summary>Finds a name. The place's frame is retained for the caller.</summary>
    public ValueTask<SlotPlace?> FindAsync(Inode directory, ReadOnlyMemory<byte> name, IoMode mode)
    {
        uint hash = NameHash.Compute(name.Span, core.Guard.HashSeed);
        if (directory.Directory is { Names: { } names } state)
        {
            core.Ahead.Used(directory, state);

            int cursor = -1;
            if (!names.TryNext(hash, ref cursor, out uint address))
            {
                return default;
            }

            if (TryReadInCore(directory, address, hash, name.Span, out SlotPlace place))
            {
                return new ValueTask<SlotPlace?>(place);
            }
        }

        return FindAnywhereAsync(directory, hash, name, mode);
    }

    private async ValueTask<SlotPlace?> FindAnywhereAsync(Inode directory, uint hash, ReadOnlyMemory<byte> name, IoMode mode)
    {
        while (true)
        {
            DirectoryState state = await EnsureLoadedAsync(directory, mode).ConfigureAwait(false);
            if (state.Names is { } names)
            {
                int cursor = -1;
                while (names.TryNext(hash, ref cursor, out uint address))
                {
                    if (await TryPlaceAsync(directory, address, hash, name, mode).ConfigureAwait(false) is { } place)
                    {
                        return place;
                    }
                }

                return null;
            }

            if (await Index.FindAsync(directory, hash, mode).ConfigureAwait(false) is not { } bucket)
            {
                // It cannot be believed: all slots are read, now and until something is written.
                state.IsIndexed = false;
                continue;
            }

            try
            {
                return await FindInAsync(directory, state, bucket, hash, name, mode).ConfigureAwait(false);
            }
            finally
            {
                core.Cache.Release(bucket);
            }
        }
    }

    /// <summary>The record of a name, when everything that leads to it is in core. False says nothing.</summary>
    public bool TryFindInCore(Inode directory, ReadOnlySpan<byte> name, out Record record)
    {
        PeekedRecord peeked = new();
        uint peek = core.Cache.BeginPeek();
        bool found = TryVisitInCore(directory, name, ref peeked);
        record = peeked.Record;
        if (found && core.Cache.IsUnchanged(peek))
        {
            return true;
        }

        // Somebody has changed something.
        if (!TryPlaceInCore(directory, name, out SlotPlace place))
        {
            return false;
        }

        bool isWhole = Record.TryParse(SectorOf(place), place.InSector, out record);
        core.Cache.Release(place.Frame);
        return isWhole;
    }

    /// <summary>The place of a name, when everything that leads to it is in core, with its frame retained. False says nothing.</summary>
    public bool TryPlaceInCore(Inode directory, ReadOnlySpan<byte> name, out SlotPlace place)
    {
        HeldPlace held = new();
        bool found = TryVisitInCore(directory, name, ref held);
        place = held.Place;
        return found;
    }

    /// <summary>Shows the places where a name's record may be, when everything that leads to it is in core, until one is the name's. False says nothing.</summary>
    private bool TryVisitInCore<TVisit>(Inode directory, ReadOnlySpan<byte> name, ref TVisit visit)
        where TVisit : struct, IPlaceVisit
    {
        if (directory.Directory is not { MustRead: false } state)
        {
            return false;
        }

        uint hash = NameHash.Compute(name, core.Guard.HashSeed);
        core.Ahead.Used(directory, state);

        int cursor = -1;
        if (state.Names is { } names)
        {
            while (names.TryNext(hash, ref cursor, out uint address))
            {
                if (visit.TryVisit(this, directory, address, hash, name))
                {
                    return true;
                }
            }
        }
        else if (Index.TryPeek(directory, hash, out ReadOnlySpan<byte> bucket))
        {
            cursor = 0;
            while (IndexBucket.TryNext(bucket, hash, ref cursor, out _, out uint address))
            {
                if (!IsGone(state, hash, address) && visit.TryVisit(this, directory, address, hash, name))
                {
                    return true;
                }
            }
        }

        return false;
    }

    private static bool TryPlaceOf(Inode directory, uint address, out BlockNumber block)
    {
        ulong logical = address / Slot.PerBlock;
        bool isMapped = directory.Map.TryFind(logical, out MappedExtent extent);
        block = new BlockNumber(extent.Start + (logical - extent.Logical));
        return isMapped;
    }

    private bool TryReadInCore(Inode directory, uint address, uint hash, ReadOnlySpan<byte> name, out SlotPlace place)
    {
        int index = (int)(address % Slot.PerBlock);
        place = default;
        if (!TryPlaceOf(directory, address, out BlockNumber block) || !core.Cache.TryGet(block, out FrameNumber frame, Slot.OffsetInBlock(index))
            || Compared(new SlotPlace(block, frame, index, address), hash, name) is not { } found)
        {
            return false;
        }

        place = found;
        return true;
    }

    /// <summary>Whether there seems to be a record with this name at an address (<see cref="Cache.BlockCache.BeginPeek"/>), and the record.</summary>
    private bool TryPeekRecord(Inode directory, uint address, uint hash, ReadOnlySpan<byte> name, out Record record)
    {
        record = default;
        int index = (int)(address % Slot.PerBlock);
        if (!TryPlaceOf(directory, address, out BlockNumber block) || !core.Cache.TryPeek(block, Slot.OffsetInBlock(index), out ReadOnlySpan<byte> bytes))
        {
            return false;
        }

        ReadOnlySpan<byte> sector = bytes.Slice(index / Slot.PerSector * Sector.SizeBytes, Sector.SizeBytes);
        return HasName(sector, index % Slot.PerSector, hash, name) && Record.TryParse(sector, index % Slot.PerSector, out record);
    }

    /// <summary>What is done with an address where a name's record may be: false when it is not there.</summary>
    private interface IPlaceVisit
    {
        bool TryVisit(DirectoryStore directories, Inode directory, uint address, uint hash, ReadOnlySpan<byte> name);
    }

    private struct HeldPlace : IPlaceVisit
    {
        public SlotPlace Place;

        public bool TryVisit(DirectoryStore directories, Inode directory, uint address, uint hash, ReadOnlySpan<byte> name) => directories.TryReadInCore(directory, address, hash, name, out Place);
    }

    private struct PeekedRecord : IPlaceVisit
    {
        public Record Record;

        public bool TryVisit(DirectoryStore directories, Inode directory, uint address, uint hash, ReadOnlySpan<byte> name) => directories.TryPeekRecord(directory, address, hash, name, out Record);
    }

    /// <summary>A record has been put in.</summary>
    public async ValueTask AddNameAsync(Inode directory, uint hash, uint address, bool isDirectory, IoMode mode)
    {
        DirectoryState state = directory.Directory!;
        CountSubdirectories(directory, isDirectory ? 1 : 0);
        try
        {
            if (state.IsIndexed)
            {
                if (!state.Leaving.Remove(DirectoryIndex.KeyOf(hash, address)))
                {
                    await Index.AddAsync(directory, hash, address, mode).ConfigureAwait(false);
                }

                return;
            }
        }
        catch (Exception failure) when (failure is CffsException or BlockDeviceException)
        {
            // The record is there; the index is not worth more than it is.
            state.IsIndexed = false;
        }

        state.Names?.Add(hash, address);
        if (directory.Map.HasIndex)
        {
            // It lacks this name.
            Index.Drop(directory);
        }

        ulong blocks = directory.Map.TotalBlocks;
        if (state.Names is not null && blocks > core.IndexFromBlocks && blocks >= state.IndexRefusedBelow && directory.Number is not (Superblock.OrphanInode or Superblock.ExternalInode))
        {
            try
            {
                await BuildIndexAsync(directory, state, mode).ConfigureAwait(false);
            }
            catch (BlockDeviceException)
            {
                // The record is there. The index is built when the next one comes.
            }
        }
    }

    /// <summary>A record is no longer to be found, but still lies in its slot.</summary>
    public void HideName(Inode directory, uint hash, uint address, bool isDirectory)
    {
        directory.Directory!.Names?.Remove(hash, address);
        CountSubdirectories(directory, isDirectory ? -1 : 0);
    }

    /// <summary>A hidden record has left its slot.</summary>
    public void ForgetName(Inode directory, uint hash, uint address)
    {
        DirectoryState state = directory.Directory!;
        state.Dead.Remove(address);
        state.LastRemoval = core.Committer.Stamp;
        if (!state.IsIndexed)
        {
            return;
        }

        state.Leaving[DirectoryIndex.KeyOf(hash, address)] = core.Committer.Stamp;
        core.NoteLeaving();
        if (!state.IsLeavingNoted)
        {
            state.IsLeavingNoted = true;
            core.Inodes.Hold(directory);
            lock (core.Metadata)
            {
                core.Committer.AfterCommit(io => DrainAsync(directory, io));
            }
        }
    }

    /// <summary>A record has given its place and its name to one that is no directory.</summary>
    public void HandOverName(Inode directory, bool wasDirectory) => CountSubdirectories(directory, wasDirectory ? -1 : 0);

    /// <summary>A record has left its slot, or has got another name there.</summary>
    public void RemoveName(Inode directory, uint hash, uint address, bool isDirectory)
    {
        HideName(directory, hash, address, isDirectory);
        ForgetName(directory, hash, address);
    }

    /// <summary>Whether there is no live record.</summary>
    public async ValueTask<bool> IsEmptyAsync(Inode directory, IoMode mode)
    {
        DirectoryState state = await EnsureLoadedAsync(directory, mode).ConfigureAwait(false);
        if (state.Names is { } names)
        {
            return names.Count == 0;
        }

        for (ulong logical = directory.Map.NextMapped(0); logical != ulong.MaxValue; logical = directory.Map.NextMapped(logical + 1))
        {
            await ReadAheadAsync(directory, logical, LoadBatchBlocks, mode).ConfigureAwait(false);
            FrameNumber frame = await GetBlockAsync(directory, logical, mode).ConfigureAwait(false);
            bool isEmpty = HasNoneBut(state.Dead, core.Cache.Bytes(frame), (uint)(logical * Slot.PerBlock));
            core.Cache.Release(frame);
            if (!isEmpty)
            {
                return false;
            }
        }

        return true;
    }

    private static bool HasNoneBut(HashSet<uint> dead, ReadOnlySpan<byte> block, uint firstAddress)
    {
        for (int index = 0; index < Slot.PerBlock; index++)
        {
            if (Slot.IsHead(block[Slot.OffsetInBlock(index)..]) && !dead.Contains(firstAddress + (uint)index))
            {
                return false;
            }
        }

        return true;
    }

    private ValueTask<SlotPlace?> FindInAsync(Inode directory, DirectoryState state, FrameNumber bucket, uint hash, ReadOnlyMemory<byte> name, IoMode mode)
    {
        int cursor = 0;
        while (IndexBucket.TryNext(core.Cache.Bytes(bucket), hash, ref cursor, out _, out uint address))
        {
            if (IsGone(state, hash, address))
            {
                continue;
            }

            ValueTask<SlotPlace?> trying = TryPlaceAsync(directory, address, hash, name, mode);
            if (!trying.IsCompletedSuccessfully)
            {
                return FindRestAsync(directory, state, bucket, cursor, trying, hash, name, mode);
            }

            if (trying.Result is { } place)
            {
                return new ValueTask<SlotPlace?>(place);
            }
        }

        return default;
    }

    private async ValueTask<SlotPlace?> FindRestAsync(
        Inode directory, DirectoryState state, FrameNumber bucket, int cursor, ValueTask<SlotPlace?> trying, uint hash, ReadOnlyMemory<byte> name, IoMode mode)
    {
        while (true)
        {
            if (await trying.ConfigureAwait(false) is { } place)
            {
                return place;
            }

            uint address;
            do
            {
                if (!IndexBucket.TryNext(core.Cache.Bytes(bucket), hash, ref cursor, out _, out address))
                {
                    return null;
                }
            }
            while (IsGone(state, hash, address));
            trying = TryPlaceAsync(directory, address, hash, name, mode);
        }
    }

    private static bool IsGone(DirectoryState state, uint hash, uint address) =>
        (state.Dead.Count > 0 && state.Dead.Contains(address)) || (state.Leaving.Count > 0 && state.Leaving.ContainsKey(DirectoryIndex.KeyOf(hash, address)));

    /// <summary>The place of a slot address, if the record there has this name.</summary>
    private ValueTask<SlotPlace?> TryPlaceAsync(Inode directory, uint address, uint hash, ReadOnlyMemory<byte> name, IoMode mode)
    {
        ulong logical = address / Slot.PerBlock;
        if (!directory.Map.TryFind(logical, out MappedExtent extent))
        {
            return default;
        }

        BlockNumber block = new(extent.Start + (logical - extent.Logical));
        return core.Cache.TryGet(block, out FrameNumber frame)
            ? new ValueTask<SlotPlace?>(Compared(new SlotPlace(block, frame, (int)(address % Slot.PerBlock), address), hash, name.Span))
            : ReadPlaceAsync(directory, address, hash, name, mode);
    }

    private async ValueTask<SlotPlace?> ReadPlaceAsync(Inode directory, uint address, uint hash, ReadOnlyMemory<byte> name, IoMode mode)
    {
        if (directory.Directory is { } state && directory.Map.TryFind(address / Slot.PerBlock, out MappedExtent extent))
        {
            BlockExtent run = state.Misses.Around(extent, address / Slot.PerBlock, core.Cache.Frames.FrameCount, directory.Map.TotalBlocks);
            if (run.Count > 1)
            {
                await ReadRunAsync(directory, new XnReadRequest(extent.Parent, extent.Partition, run), mode).ConfigureAwait(false);
            }
        }

        return Compared(await PlaceAsync(directory, address, mode).ConfigureAwait(false), hash, name.Span);
    }

    /// <summary>The place if its record has the name; else null, and its frame is released. An index leads to slots that hold other records by now, or none.</summary>
    private SlotPlace? Compared(in SlotPlace place, uint hash, ReadOnlySpan<byte> name)
    {
        if (HasName(SectorOf(place), place.InSector, hash, name))
        {
            return place;
        }

        core.Cache.Release(place.Frame);
        return null;
    }

    private static bool HasName(ReadOnlySpan<byte> sector, int inSector, uint hash, ReadOnlySpan<byte> name)
    {
        ReadOnlySpan<byte> slot = sector[(inSector * Slot.SizeBytes)..];
        return Slot.IsHead(slot) && Slot.NameHashOf(slot) == hash && Record.NameEquals(sector, inSector, name);
    }

    private void CountSubdirectories(Inode directory, int change)
    {
        if (change == 0)
        {
            return;
        }

        DirectoryState state = directory.Directory!;
        state.Subdirectories = (uint)(state.Subdirectories + change);
        if (state.IsIndexed)
        {
            lock (core.Metadata)
            {
                directory.Record.Links = state.Subdirectories;
                core.Committer.AddDirty(directory);
            }
        }
    }

    /// <summary>Gives a directory's index up and builds it anew, in other blocks. Where it cannot be built the directory has none until it grows.</summary>
    public async ValueTask RebuildIndexAsync(Inode directory, IoMode mode)
    {
        DirectoryState state = await EnsureLoadedAsync(directory, mode).ConfigureAwait(false);
        if (directory.Map.HasIndex)
        {
            state.IsIndexed = false;
            Index.Drop(directory);
        }

        state = await EnsureLoadedAsync(directory, mode).ConfigureAwait(false);
        await BuildIndexAsync(directory, state, mode).ConfigureAwait(false);
    }

    private async ValueTask BuildIndexAsync(Inode directory, DirectoryState state, IoMode mode)
    {
        if (!core.Committer.IsDurable(state.LastRemoval))
        {
            // A crash would bring back what has just been removed, under a name that the index never had.
            await core.Committer.CommitAsync(mode).ConfigureAwait(false);
        }

        // For the same reason the dead are in it.
        List<(uint Hash, uint Address)> names = [.. state.Names!.Entries];
        foreach (uint address in state.Dead)
        {
            SlotPlace place = await PlaceAsync(directory, address, mode).ConfigureAwait(false);
            names.Add((TakeRecord(directory, place).NameHash, address));
        }

        if (!await Index.TryBuildAsync(directory, names, mode).ConfigureAwait(false))
        {
            state.IndexRefusedBelow = directory.Map.TotalBlocks * 2;
            return;
        }

        state.IsIndexed = true;
        state.Names = null;
        lock (core.Metadata)
        {
            directory.Record.Links = state.Subdirectories;
            core.Committer.AddDirty(directory);
        }
    }

    private async ValueTask DrainAsync(Inode directory, IoMode mode)
    {
        await directory.Lock.EnterAsync(mode).ConfigureAwait(false);
        DirectoryState state = directory.Directory!;
        bool again = false;
        try
        {
            if (state.IsIndexed && !directory.IsRemoved)
            {
                await Index.DrainAsync(directory, mode).ConfigureAwait(false);
                again = state.Leaving.Count > 0;
            }
            else
            {
                state.Leaving.Clear();
            }
        }
        catch (CffsException damaged) when (damaged.Error == CffsError.Corrupt)
        {
            state.IsIndexed = false;
            state.Leaving.Clear();
        }
        finally
        {
            state.IsLeavingNoted = again;
            if (again)
            {
                lock (core.Metadata)
                {
                    core.Committer.AfterCommit(io => DrainAsync(directory, io));
                }
            }

            directory.Lock.Exit();
        }

        if (!again)
        {
            core.Inodes.Release(directory);
        }
    }

    /// <summary>After a crash: the names that recovery has seen as new ones, and of two records of one name the one that counts.</summary>
    private async ValueTask EnterNewNamesAsync(Inode directory, IoMode mode)
    {
        DirectoryState state = directory.Directory!;
        if (core.AfterCrash is not { } crash)
        {
            return;
        }

        if (state.Subdirectories != directory.Record.Links)
        {
            lock (core.Metadata)
            {
                directory.Record.Links = state.Subdirectories;
                core.Committer.AddDirty(directory);
            }
        }

        if (crash.NewNamesOf(directory.Number).Count > 0)
        {
            await Index.RecoverAsync(directory, mode).ConfigureAwait(false);
        }

        foreach ((ulong block, int index) in crash.NewNamesOf(directory.Number))
        {
            if (!TryFindLogical(directory, block, out ulong logical))
            {
                continue;
            }

            uint address = (uint)((logical * Slot.PerBlock) + (ulong)index);
            SlotPlace place = await PlaceAsync(directory, address, mode).ConfigureAwait(false);
            try
            {
                if (!state.Dead.Contains(address) && Record.TryParse(SectorOf(place), place.InSector, out Record record) && record.NameLength > 0)
                {
                    byte[] name = new byte[record.NameLength];
                    Record.ReadContents(SectorOf(place), place.InSector, 0, name);
                    await BuryTwinAsync(directory, state, address, record, name, mode).ConfigureAwait(false);
                    await Index.AddAsync(directory, record.NameHash, address, mode).ConfigureAwait(false);
                }
            }
            finally
            {
                core.Cache.Release(place.Frame);
            }
        }
    }

    private async ValueTask BuryTwinAsync(Inode directory, DirectoryState state, uint address, Record record, byte[] name, IoMode mode)
    {
        FrameNumber bucket = await Index.FindAsync(directory, record.NameHash, mode).ConfigureAwait(false)
            ?? throw new CffsException(CffsError.Corrupt, $"the index of directory {directory.Number} is damaged");
        try
        {
            int cursor = 0;
            while (IndexBucket.TryNext(core.Cache.Bytes(bucket), record.NameHash, ref cursor, out _, out uint twin))
            {
                if (twin == address || state.Dead.Contains(twin) || state.Dead.Contains(address)
                    || await TryPlaceAsync(directory, twin, record.NameHash, name, mode).ConfigureAwait(false) is not { } other)
                {
                    continue;
                }

                Record found = TakeRecord(directory, other);
                uint dead = BuryOneOf(directory, state, address, record, twin, found);
                if ((dead == address ? record : found).Kind == SlotKind.Directory)
                {
                    CountSubdirectories(directory, -1);
                }
            }
        }
        finally
        {
            core.Cache.Release(bucket);
        }
    }

    /// <summary>
    /// Of two records of one name one is dead. A crash came between the two steps of a rename over an existing name: the later name counts. Or between a rename away from a name and
    /// its next use: the earlier one counts.
    /// </summary>
    private uint BuryOneOf(Inode directory, DirectoryState state, uint address, in Record record, uint twin, in Record other)
    {
        bool isLater = (int)(record.NameSequence - other.NameSequence) > 0;
        bool counts = isLater ? !record.YieldsToEarlier : other.YieldsToEarlier;
        uint dead = counts ? twin : address;
        uint living = counts ? address : twin;
        state.Dead.Add(dead);

        // Either may have others buried under it: of three records of one name any two can be compared first.
        state.Burials.Remove(twin, out BurialGround? ofTwin);
        state.Burials.Remove(address, out BurialGround? own);
        BurialGround ground = ofTwin ?? own ?? new BurialGround();
        if (ofTwin is not null && own is not null)
        {
            ground.TakeOver(own);
        }

        ground.Count++;
        state.Burials.Add(living, ground);
        if (!core.IsReadOnly)
        {
            core.Names.BuryAtLoad(directory, dead, ground);
        }

        return dead;
    }

    private static bool TryFindLogical(Inode directory, ulong block, out ulong logical)
    {
        for (int e = 0; e < directory.Map.Count; e++)
        {
            if (block - directory.Map[e].Start < directory.Map[e].Count)
            {
                logical = directory.Map[e].Logical + (block - directory.Map[e].Start);
                return true;
            }
        }

        logical = 0;
        return false;
    }
}
