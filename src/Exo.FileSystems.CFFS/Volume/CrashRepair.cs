// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Core.Blocks;
using Exo.FileSystems.CFFS.Directories;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Volume;

/// <summary>
/// What C-FFS mends after a crash, beside XN's free map (docs/cffs-format.md, last table). While XN's recovery traverses the disk, this is told of every record (<see cref="CffsCrashObserver"/>): it counts the links to external
/// inodes and notes which directory lies in which. Then, on the open volume, it finishes renames between directories, sets link counts right and empties the orphan directory.
/// </summary>
internal sealed partial class CrashRepair(uint indexedSequence)
{
    private readonly Dictionary<ulong, uint> _links = [];

    // In which directory each embedded inode was seen; of two places of a moving inode the later one.
    private readonly Dictionary<ulong, (ulong Directory, uint Sequence)> _containers = [];
    private readonly HashSet<ulong> _external = [];

    // Names seen, by a 64-bit mix of directory and hash; directories in which one was seen twice.
    private readonly HashSet<ulong> _names = [];
    private readonly HashSet<ulong> _suspects = [];
    private bool _hasDeadLinks;

    /// <summary>Sees a record of this file system, in the slots of directory <paramref name="owner"/>.</summary>
    public void Note(ulong owner, BlockNumber block, int index, in Record record)
    {
        NoteName(owner, block, index, record);
        if (record.NameLength > 0 && !_names.Add((owner * 0x9E3779B97F4A7C15UL) ^ record.NameHash))
        {
            _suspects.Add(owner);
        }

        if (record.Kind == SlotKind.ExternalLink)
        {
            _links[record.Inode] = _links.GetValueOrDefault(record.Inode) + 1;
        }
        else if (owner == Superblock.ExternalInode)
        {
            _external.Add(record.Inode);
        }
        else if (!_containers.TryGetValue(record.Inode, out (ulong Directory, uint Sequence) other) || IsEarlier(other.Sequence, record.NameSequence))
        {
            _containers[record.Inode] = (owner, record.NameSequence);
        }
    }

    /// <summary>Mends an open volume whose last epoch ended in a crash.</summary>
    public async ValueTask RunAsync(VolumeCore core, ulong crashedEpoch, IoMode io)
    {
        List<Intent> all = await FinishExchangesAsync(core, core.Intents.Read(crashedEpoch), io).ConfigureAwait(false);
        foreach (IGrouping<ulong, Intent> moves in all.GroupBy(intent => intent.Inode))
        {
            await FinishMovesAsync(core, moves, io).ConfigureAwait(false);
        }

        foreach (ulong inode in _external)
        {
            if (_containers.TryGetValue(inode, out (ulong Directory, uint Sequence) container))
            {
                await FinishExternaliseAsync(core, inode, container.Directory, io).ConfigureAwait(false);
            }
        }

        await CompleteIndexesAsync(core, io).ConfigureAwait(false);
        foreach (ulong suspect in _suspects)
        {
            await LoadSuspectAsync(core, suspect, io).ConfigureAwait(false);
        }

        if (_hasDeadLinks)
        {
            // An external inode may go with the last name that counts. Not before the dead ones: were the power to fail between, they would lead nowhere.
            await core.Committer.SyncAsync(io).ConfigureAwait(false);
            await core.Committer.CommitAsync(io).ConfigureAwait(false);
        }

        await CountLinksAsync(core, io).ConfigureAwait(false);
        await EmptyOrphansAsync(core, io).ConfigureAwait(false);
        _names.Clear();
        _containers.Clear();
        _external.Clear();
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
            Record record = core.Directories.TakeRecord(directory, place);
            if (record.Kind == SlotKind.ExternalLink)
            {
                DropLink(record.Inode);
            }
        }

        core.Inodes.Release(directory);
    }

    /// <summary>A name of an external inode is dead: it does not count, and is there until a commit or two.</summary>
    private void DropLink(ulong inode)
    {
        _links[inode]--;
        _hasDeadLinks = true;
    }

    /// <summary>
    /// An inode that was moving, perhaps several times (docs/cffs-format.md, intent log): what a move that has happened left behind is dead.
    /// </summary>
    private async ValueTask FinishMovesAsync(VolumeCore core, IGrouping<ulong, Intent> moves, IoMode io)
    {
        List<Intent> latestFirst = [.. moves];
        latestFirst.Sort(static (a, b) => (int)(b.NameSequence - a.NameSequence));
        HashSet<(ulong Directory, uint Address)> left = [];
        foreach (Intent move in latestFirst)
        {
            bool hasHappened = left.Contains((move.ToDirectory, move.ToAddress))
                || (await SequenceAtAsync(core, move.ToDirectory, move.ToAddress, moves.Key, io).ConfigureAwait(false) is { } there && !IsEarlier(there, move.NameSequence));
            if (!hasHappened)
            {
                continue;
            }

            left.Add((move.FromDirectory, move.FromAddress));
            if (await SequenceAtAsync(core, move.FromDirectory, move.FromAddress, moves.Key, io).ConfigureAwait(false) is { } old && IsEarlier(old, move.NameSequence)
                && await OpenDirectoryAsync(core, move.FromDirectory, io).ConfigureAwait(false) is { } from)
            {
                await RemoveMovedAsync(core, from, move, io).ConfigureAwait(false);
                core.Inodes.Release(from);
            }
        }
    }

    /// <summary>Serial arithmetic.</summary>
    private static bool IsEarlier(uint sequence, uint than) => (int)(sequence - than) < 0;

    /// <summary>The name sequence of a record at a slot, if it is one of this inode.</summary>
    private async ValueTask<uint?> SequenceAtAsync(VolumeCore core, ulong number, uint address, ulong inode, IoMode io)
    {
        if (await OpenDirectoryAsync(core, number, io).ConfigureAwait(false) is not { } directory)
        {
            return null;
        }

        uint? sequence = null;
        DirectoryState state = await core.Directories.EnsureLoadedAsync(directory, io).ConfigureAwait(false);
        if (directory.Map.TryFind(address / Slot.PerBlock, out _) && !state.Dead.Contains(address))
        {
            SlotPlace place = await core.Directories.PlaceAsync(directory, address, io).ConfigureAwait(false);
            if (Record.TryParse(core.Directories.SectorOf(place), place.InSector, out Record record) && record.Inode == inode)
            {
                sequence = record.NameSequence;
            }

            core.Cache.Release(place.Frame);
        }

        core.Inodes.Release(directory);
        return sequence;
    }

    private async ValueTask RemoveMovedAsync(VolumeCore core, Inode directory, Intent move, IoMode io)
    {
        uint address = move.FromAddress;
        await core.BeginWritingAsync(io).ConfigureAwait(false);
        await directory.Lock.EnterAsync(io).ConfigureAwait(false);
        try
        {
            SlotPlace place = await core.Directories.PlaceAsync(directory, address, io).ConfigureAwait(false);
            Record record = core.Directories.TakeRecord(directory, place);
            if (record.Kind == SlotKind.ExternalLink)
            {
                // Recovery has seen this name at both of its places.
                DropLink(record.Inode);
            }

            if (move.IsWhiteout)
            {
                await core.Names.FinishWhiteoutAsync(directory, move, io).ConfigureAwait(false);
                return;
            }

            core.Directories.HideName(directory, record.NameHash, address, record.Kind == SlotKind.Directory);
            await core.Names.RemoveDeadAsync(directory, address, io).ConfigureAwait(false);
        }
        finally
        {
            directory.Lock.Exit();
        }
    }

    /// <summary>An inode is in the external table and, from before it moved there, still in a directory: the table's counts, and the directory's becomes a name of it.</summary>
    private async ValueTask FinishExternaliseAsync(VolumeCore core, ulong inode, ulong container, IoMode io)
    {
        Inode table = core.Externals;
        if (await FindRecordAsync(core, table, inode, _ => true, io).ConfigureAwait(false) is not { } outside
            || await OpenDirectoryAsync(core, container, io).ConfigureAwait(false) is not { } directory)
        {
            return;
        }

        if (await FindRecordAsync(core, directory, inode, found => found.Kind != SlotKind.ExternalLink, io).ConfigureAwait(false) is { } inside)
        {
            await core.BeginWritingAsync(io).ConfigureAwait(false);
            await directory.Lock.EnterAsync(io).ConfigureAwait(false);
            try
            {
                await core.Names.FinishExternaliseAsync(directory, inside, outside, io).ConfigureAwait(false);
                _links[inode] = _links.GetValueOrDefault(inode) + 1;
            }
            finally
            {
                directory.Lock.Exit();
            }
        }

        core.Inodes.Release(directory);
    }

    /// <summary>Opens a directory by its number, along the directories that recovery has seen above it.</summary>
    private async ValueTask<Inode?> OpenDirectoryAsync(VolumeCore core, ulong number, IoMode io)
    {
        Stack<(ulong Inode, uint Sequence)> path = new();
        for (ulong at = number; at is not (Superblock.RootInode or Superblock.OrphanInode);)
        {
            if (path.Count > 4096 || !_containers.TryGetValue(at, out (ulong Directory, uint Sequence) container))
            {
                return null;
            }

            path.Push((at, container.Sequence));
            at = container.Directory;
        }

        Inode directory = number == Superblock.OrphanInode ? core.Orphans : core.Root;
        core.Inodes.Hold(directory);
        while (path.TryPop(out (ulong Inode, uint Sequence) next))
        {
            uint? address = await FindRecordAsync(core, directory, next.Inode, found => found.NameSequence == next.Sequence, io).ConfigureAwait(false);
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

    private static async ValueTask<uint?> FindRecordAsync(VolumeCore core, Inode directory, ulong inode, Func<Record, bool> isWanted, IoMode io)
    {
        await core.Directories.EnsureLoadedAsync(directory, io).ConfigureAwait(false);
        for (ulong logical = directory.Map.NextMapped(0); logical != ulong.MaxValue; logical = directory.Map.NextMapped(logical + 1))
        {
            for (uint index = 0; index < Slot.PerBlock; index++)
            {
                SlotPlace place = await core.Directories.PlaceAsync(directory, (uint)(logical * Slot.PerBlock) + index, io).ConfigureAwait(false);
                bool found = Record.TryParse(core.Directories.SectorOf(place), place.InSector, out Record record)
                    && record.Inode == inode && isWanted(record) && !directory.Directory!.Dead.Contains(place.Address);
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
                if (links == record.Links && links > 0)
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

    /// <summary>Removes what the orphan directory has: files that were deleted while they were open, and trees on whose removal nobody went on.</summary>
    public static async ValueTask EmptyOrphansAsync(VolumeCore core, IoMode io)
    {
        Inode orphans = core.Orphans;
        await core.Directories.EnsureLoadedAsync(orphans, io).ConfigureAwait(false);
        for (ulong logical = orphans.Map.NextMapped(0); logical != ulong.MaxValue; logical = orphans.Map.NextMapped(logical + 1))
        {
            for (uint index = 0; index < Slot.PerBlock; index++)
            {
                SlotPlace place = await core.Directories.PlaceAsync(orphans, (uint)(logical * Slot.PerBlock) + index, io).ConfigureAwait(false);
                bool isRecord = Record.TryParse(core.Directories.SectorOf(place), place.InSector, out Record record);
                if (isRecord && record.Kind == SlotKind.Directory && !orphans.Directory!.Dead.Contains(place.Address))
                {
                    // A snapshot that was being made or removed.
                    Inode tree = await core.GetInodeAsync(orphans, place, io).ConfigureAwait(false);
                    await core.Names.DropTreeAsync(tree, io).ConfigureAwait(false);
                    core.Inodes.Release(tree);
                    continue;
                }

                core.Cache.Release(place.Frame);
                if (isRecord)
                {
                    await core.BeginWritingAsync(io).ConfigureAwait(false);
                    if (!orphans.Directory!.Dead.Contains(place.Address))
                    {
                        core.Directories.HideName(orphans, record.NameHash, place.Address, record.Kind == SlotKind.Directory);
                    }

                    await core.Names.RemoveDeadAsync(orphans, place.Address, io).ConfigureAwait(false);
                }
            }
        }
    }
}
