// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Directories;

/// <content>Walking over the slots, reading ahead.</content>
internal sealed partial class DirectoryStore
{
    /// <summary>The live entries after a position, in the order of their slot addresses.</summary>
    public async ValueTask<IReadOnlyList<CffsDirectoryEntry>> ListAsync(Inode directory, long afterPosition, IoMode mode)
    {
        List<CffsDirectoryEntry> entries = [];
        await ListSomeAsync(directory, afterPosition, int.MaxValue, entries, mode).ConfigureAwait(false);
        return entries;
    }

    /// <summary>As <see cref="ListAsync"/>, but stops after the block with which <paramref name="most"/> entries are reached.</summary>
    public async ValueTask ListSomeAsync(Inode directory, long afterPosition, int most, List<CffsDirectoryEntry> entries, IoMode mode)
    {
        DirectoryState state = await EnsureLoadedAsync(directory, mode).ConfigureAwait(false);
        core.Ahead.Used(directory, state);

        ulong first = (ulong)(afterPosition + 1) / Slot.PerBlock;
        for (ulong logical = directory.Map.NextMapped(first); logical != ulong.MaxValue && entries.Count < most; logical = directory.Map.NextMapped(logical + 1))
        {
            await ReadAheadAsync(directory, logical, LoadBatchBlocks, mode).ConfigureAwait(false);
            FrameNumber frame = await GetBlockAsync(directory, logical, mode).ConfigureAwait(false);
            List(core.Cache.Bytes(frame), (uint)(logical * Slot.PerBlock), afterPosition, state, entries);
            core.Cache.Release(frame);
        }
    }

    /// <summary>Copies the next slot block at or after a logical one, without the records that are dead; its number, or null when there is none.</summary>
    public async ValueTask<ulong?> CopyBlockAsync(Inode directory, ulong from, byte[] into, IoMode mode)
    {
        DirectoryState state = await EnsureLoadedAsync(directory, mode).ConfigureAwait(false);
        core.Ahead.Used(directory, state);

        ulong logical = directory.Map.NextMapped(from);
        if (logical == ulong.MaxValue)
        {
            return null;
        }

        await ReadAheadAsync(directory, logical, LoadBatchBlocks, mode).ConfigureAwait(false);
        FrameNumber frame = await GetBlockAsync(directory, logical, mode).ConfigureAwait(false);
        lock (core.Metadata)
        {
            core.Cache.Bytes(frame).CopyTo(into);
        }

        core.Cache.Release(frame);
        foreach (uint address in state.Dead)
        {
            if (address / Slot.PerBlock == logical)
            {
                into[Slot.OffsetInBlock((int)(address % Slot.PerBlock))] = (byte)SlotKind.Free;
            }
        }

        return logical;
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

    /// <summary>
    /// Reads slot blocks from a logical one on in one request, where that one is not in core: as many as lie in a row on the disk and are not in core, up to a number.
    /// </summary>
    private ValueTask ReadAheadAsync(Inode directory, ulong logical, uint most, IoMode mode)
    {
        if (!directory.Map.TryFind(logical, out MappedExtent extent))
        {
            return default;
        }

        uint from = (uint)(logical - extent.Logical);
        most = Math.Min(most, (uint)Math.Max(1, core.Cache.Frames.FrameCount / 8));
        uint count = 0;
        while (count < most && from + count < extent.Count)
        {
            if (core.Cache.TryGet(new BlockNumber(extent.Start + from + count), out FrameNumber frame))
            {
                core.Cache.Release(frame);
                break;
            }

            count++;
        }

        return count < 2
            ? default
            : ReadRunAsync(directory, new XnReadRequest(extent.Parent, extent.Partition, new BlockExtent(new BlockNumber(extent.Start + from), count)), mode);
    }

    /// <summary>Reads blocks ahead. What cannot be read, or is damaged, is not in core afterwards: whoever wants that very block is told when he asks for it.</summary>
    private async ValueTask ReadRunAsync(Inode directory, XnReadRequest request, IoMode mode)
    {
        try
        {
            await core.Cache.ReadAsync(new[] { request }, mode).ConfigureAwait(false);
        }
        catch (BlockDeviceException) when (request.Extent.Count > 1)
        {
            return;
        }

        for (uint i = 0; i < request.Extent.Count; i++)
        {
            BlockNumber block = request.Extent.First + i;
            if (!core.Cache.TryGet(block, out FrameNumber frame))
            {
                continue;
            }

            try
            {
                core.Maps.Verify(block, frame, SectorKind.Slots, directory.Number);
                core.Cache.Release(frame);
            }
            catch (CffsException)
            {
                // Verify has let go of it.
            }
        }
    }

    /// <summary>Notes what a block of a directory holds whose names are all to be in memory.</summary>
    private void Enter(Inode directory, DirectoryState state, NameIndex names, List<(uint Address, uint Twin)> unseen, ulong logical, BlockNumber block, FrameNumber frame)
    {
        ReadOnlySpan<byte> bytes = core.Cache.Bytes(frame);
        state.Room.Found(logical, LongestRun(bytes));
        for (int index = 0; index < Slot.PerBlock; index++)
        {
            ReadOnlySpan<byte> sector = bytes.Slice((index >> 2) * Sector.SizeBytes, Sector.SizeBytes);
            if ((index & 3) == 0 && !Sector.IsEmpty(sector) && BinaryPrimitives.ReadUInt64LittleEndian(sector[Sector.Owner..]) != directory.Number)
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
            if (directory.Number == Superblock.ExternalInode || state.Dead.Contains(address))
            {
                continue;
            }

            if (FindTwin(directory, names, unseen, address, sector, index & 3, record, out uint twin, out Record other))
            {
                if (BuryOneOf(directory, state, address, record, twin, other) == address)
                {
                    continue;
                }

                names.Remove(record.NameHash, twin);
                state.Subdirectories -= other.Kind == SlotKind.Directory ? 1u : 0;
            }

            names.Add(record.NameHash, address);
            state.Subdirectories += record.Kind == SlotKind.Directory ? 1u : 0;
        }
    }

    private bool FindTwin(
        Inode directory, NameIndex names, List<(uint Address, uint Twin)> unseen, uint address, ReadOnlySpan<byte> sector, int inSector, in Record record, out uint twin, out Record found)
    {
        int cursor = -1;
        Span<byte> name = stackalloc byte[record.NameLength];
        while (names.TryNext(record.NameHash, ref cursor, out twin))
        {
            directory.Map.TryFind(twin / Slot.PerBlock, out MappedExtent extent);
            BlockNumber block = new(extent.Start + ((twin / Slot.PerBlock) - extent.Logical));
            if (!core.Cache.TryGet(block, out FrameNumber frame))
            {
                unseen.Add((address, twin));
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

    /// <summary>Two records of one hash, the earlier of which was no longer in core when the later was read.</summary>
    private async ValueTask CompareUnseenAsync(Inode directory, DirectoryState state, NameIndex names, uint address, uint twin, IoMode mode)
    {
        SlotPlace place = await PlaceAsync(directory, address, mode).ConfigureAwait(false);
        Record record;
        byte[] name;
        try
        {
            record = RecordAt(directory, place);
            name = new byte[record.NameLength];
            Record.ReadContents(SectorOf(place), place.InSector, 0, name);
        }
        finally
        {
            core.Cache.Release(place.Frame);
        }

        if (state.Dead.Contains(address) || state.Dead.Contains(twin)
            || await TryPlaceAsync(directory, twin, record.NameHash, name, mode).ConfigureAwait(false) is not { } found)
        {
            return;
        }

        Record other = TakeRecord(directory, found);
        uint dead = BuryOneOf(directory, state, address, record, twin, other);
        names.Remove(record.NameHash, dead);
        state.Subdirectories -= (dead == address ? record : other).Kind == SlotKind.Directory ? 1u : 0;
    }
}
