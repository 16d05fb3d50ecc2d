// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Core.Blocks;
using Exo.FileSystems.CFFS.Directories;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Volume;

/// <summary>
/// What C-FFS mends after a crash, beside XN's free map (docs/cffs-format.md, last table). While XN's recovery traverses the disk, this watches it: it counts the links to external
/// inodes and notes which directory lies in which. Then, on the open volume, it finishes renames between directories, sets link counts right and empties the orphan directory.
/// </summary>
internal sealed class CrashRepair : IXnRecoveryObserver
{
    private readonly Dictionary<ulong, uint> _links = [];
    private readonly Dictionary<ulong, ulong> _directories = [];

    // Names seen, by a 64-bit mix of directory and hash; directories in which one was seen twice.
    private readonly HashSet<ulong> _names = [];
    private readonly HashSet<ulong> _suspects = [];

    /// <inheritdoc/>
    public void Visit(BlockNumber block, TemplateId template, BlockNumber parent, int parentPartition, ReadOnlySpan<byte> bytes)
    {
        // Blocks of other file systems on the disk have no slot sectors; a false match only adds an unused count.
        for (int index = 0; index < Slot.PerBlock; index++)
        {
            ReadOnlySpan<byte> sector = bytes.Slice((index >> 2) * Sector.SizeBytes, Sector.SizeBytes);
            if (BinaryPrimitives.ReadUInt32LittleEndian(sector[Sector.Magic..]) != (uint)SectorKind.Slots || !Record.TryParse(sector, index & 3, out Record record))
            {
                continue;
            }

            ulong owner = BinaryPrimitives.ReadUInt64LittleEndian(sector[Sector.Owner..]);
            if (record.NameLength > 0 && !_names.Add((owner * 0x9E3779B97F4A7C15UL) ^ record.NameHash))
            {
                _suspects.Add(owner);
            }

            if (record.Kind == SlotKind.ExternalLink)
            {
                _links[record.Inode] = _links.GetValueOrDefault(record.Inode) + 1;
            }
            else if (record.Kind == SlotKind.Directory)
            {
                _directories[record.Inode] = owner;
            }
        }
    }

    /// <summary>Mends an open volume whose last epoch ended in a crash.</summary>
    public async ValueTask RunAsync(VolumeCore core, ulong crashedEpoch, IoMode io)
    {
        foreach (Intent intent in core.Intents.Read(crashedEpoch))
        {
            await FinishMoveAsync(core, intent, io).ConfigureAwait(false);
        }

        foreach (ulong suspect in _suspects)
        {
            await LoadSuspectAsync(core, suspect, io).ConfigureAwait(false);
        }

        await CountLinksAsync(core, io).ConfigureAwait(false);
        await EmptyOrphansAsync(core, io).ConfigureAwait(false);
        _names.Clear();
        _directories.Clear();
    }

    /// <summary>A directory with two records of one name: loading it finds the dead one and has it removed. A dead link does not count.</summary>
    private async ValueTask LoadSuspectAsync(VolumeCore core, ulong number, IoMode io)
    {
        if (await OpenDirectoryAsync(core, number, io).ConfigureAwait(false) is not { } directory)
        {
            return;
        }

        DirectoryState state = await core.Directories.EnsureLoadedAsync(directory, io).ConfigureAwait(false);
        foreach (uint address in state.Dead)
        {
            SlotPlace place = await core.Directories.PlaceAsync(directory, address, io).ConfigureAwait(false);
            Record record = core.Directories.RecordAt(directory, place);
            core.Cache.Release(place.Frame);
            if (record.Kind == SlotKind.ExternalLink)
            {
                _links[record.Inode]--;
            }
        }

        core.Inodes.Release(directory);
    }

    private async ValueTask FinishMoveAsync(VolumeCore core, Intent intent, IoMode io)
    {
        Inode? from = await OpenDirectoryAsync(core, intent.FromDirectory, io).ConfigureAwait(false);
        Inode? to = await OpenDirectoryAsync(core, intent.ToDirectory, io).ConfigureAwait(false);
        if (from is not null && to is not null
            && await FindRecordAsync(core, to, intent.Inode, sequence => sequence == intent.NameSequence, io).ConfigureAwait(false) is not null
            && await FindRecordAsync(core, from, intent.Inode, sequence => sequence == intent.OldNameSequence, io).ConfigureAwait(false) is { } old)
        {
            await core.BeginWritingAsync(io).ConfigureAwait(false);
            await from.Lock.EnterAsync(io).ConfigureAwait(false);
            try
            {
                SlotPlace place = await core.Directories.PlaceAsync(from, old, io).ConfigureAwait(false);
                Record record = core.Directories.RecordAt(from, place);
                core.Cache.Release(place.Frame);
                from.Directory!.Names.Remove(record.NameHash, old);
                if (record.Kind == SlotKind.Directory)
                {
                    from.Directory.Subdirectories--;
                }

                await core.Names.RemoveDeadAsync(from, old, io).ConfigureAwait(false);
            }
            finally
            {
                from.Lock.Exit();
            }
        }

        if (from is not null)
        {
            core.Inodes.Release(from);
        }

        if (to is not null)
        {
            core.Inodes.Release(to);
        }
    }

    /// <summary>Opens a directory by its number, along the directories that recovery has seen above it.</summary>
    private async ValueTask<Inode?> OpenDirectoryAsync(VolumeCore core, ulong number, IoMode io)
    {
        Stack<ulong> path = new();
        for (ulong at = number; at is not (Superblock.RootInode or Superblock.OrphanInode);)
        {
            path.Push(at);
            if (path.Count > 4096 || !_directories.TryGetValue(at, out at))
            {
                return null;
            }
        }

        Inode directory = number == Superblock.OrphanInode ? core.Orphans : core.Root;
        core.Inodes.Hold(directory);
        while (path.TryPop(out ulong next))
        {
            uint? address = await FindRecordAsync(core, directory, next, _ => true, io).ConfigureAwait(false);
            if (address is null)
            {
                core.Inodes.Release(directory);
                return null;
            }

            SlotPlace place = await core.Directories.PlaceAsync(directory, address.Value, io).ConfigureAwait(false);
            Inode child = await core.GetInodeAsync(directory, place, io).ConfigureAwait(false);
            core.Inodes.Release(directory);
            directory = child;
        }

        return directory;
    }

    private static async ValueTask<uint?> FindRecordAsync(VolumeCore core, Inode directory, ulong inode, Func<uint, bool> sequence, IoMode io)
    {
        await core.Directories.EnsureLoadedAsync(directory, io).ConfigureAwait(false);
        for (ulong logical = directory.Map.NextMapped(0); logical != ulong.MaxValue; logical = directory.Map.NextMapped(logical + 1))
        {
            for (uint index = 0; index < Slot.PerBlock; index++)
            {
                SlotPlace place = await core.Directories.PlaceAsync(directory, (uint)(logical * Slot.PerBlock) + index, io).ConfigureAwait(false);
                bool found = Record.TryParse(core.Directories.SectorOf(place), place.InSector, out Record record)
                    && record.Inode == inode && sequence(record.NameSequence) && !directory.Directory!.Dead.Contains(place.Address);
                core.Cache.Release(place.Frame);
                if (found)
                {
                    return place.Address;
                }
            }
        }

        return null;
    }

    private async ValueTask CountLinksAsync(VolumeCore core, IoMode io)
    {
        Inode table = core.Externals;
        await core.Directories.EnsureLoadedAsync(table, io).ConfigureAwait(false);
        for (ulong logical = table.Map.NextMapped(0); logical != ulong.MaxValue; logical = table.Map.NextMapped(logical + 1))
        {
            for (uint index = 0; index < Slot.PerBlock; index++)
            {
                SlotPlace place = await core.Directories.PlaceAsync(table, (uint)(logical * Slot.PerBlock) + index, io).ConfigureAwait(false);
                if (!Record.TryParse(core.Directories.SectorOf(place), place.InSector, out Record record))
                {
                    core.Cache.Release(place.Frame);
                    continue;
                }

                uint links = _links.GetValueOrDefault(record.Inode);
                if (links == record.Links)
                {
                    core.Cache.Release(place.Frame);
                    continue;
                }

                await core.BeginWritingAsync(io).ConfigureAwait(false);
                if (links == 0)
                {
                    core.Cache.Release(place.Frame);
                    await core.Names.RemoveDeadAsync(table, place.Address, io).ConfigureAwait(false);
                    continue;
                }

                Inode inode = core.AddInode(table, place, record);
                lock (core.Metadata)
                {
                    inode.Record.Links = links;
                    core.Committer.AddDirty(inode);
                }

                core.Inodes.Release(inode);
            }
        }
    }

    private static async ValueTask EmptyOrphansAsync(VolumeCore core, IoMode io)
    {
        Inode orphans = core.Orphans;
        await core.Directories.EnsureLoadedAsync(orphans, io).ConfigureAwait(false);
        for (ulong logical = orphans.Map.NextMapped(0); logical != ulong.MaxValue; logical = orphans.Map.NextMapped(logical + 1))
        {
            for (uint index = 0; index < Slot.PerBlock; index++)
            {
                SlotPlace place = await core.Directories.PlaceAsync(orphans, (uint)(logical * Slot.PerBlock) + index, io).ConfigureAwait(false);
                bool isRecord = Record.TryParse(core.Directories.SectorOf(place), place.InSector, out Record record);
                core.Cache.Release(place.Frame);
                if (isRecord)
                {
                    await core.BeginWritingAsync(io).ConfigureAwait(false);
                    if (!orphans.Directory!.Dead.Contains(place.Address))
                    {
                        orphans.Directory.Names.Remove(record.NameHash, place.Address);
                    }

                    await core.Names.RemoveDeadAsync(orphans, place.Address, io).ConfigureAwait(false);
                }
            }
        }
    }
}
