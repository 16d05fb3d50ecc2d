// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Directories;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Paths;

namespace Exo.FileSystems.CFFS.Operations;

/// <content>
/// Names that were removed while their inodes were open. The record is dead at once, in core, and stays where it is: most such files are closed before anything is committed, and then the record
/// goes as if nobody had had it open, without a move and without room for one. What is still open when somebody wants durability moves to the orphan directory first, and so does what stands in
/// the way of a new record of its name: a crash must not find two.
/// </content>
internal sealed partial class NameOperations
{
    // Inodes with a dead record in their container, each held. Guarded by the metadata lock.
    private readonly HashSet<Inode> _shelved = [];
    private volatile int _shelvedCount;

    /// <summary>Under the locks of both.</summary>
    private void Shelve(Inode directory, SlotPlace place, uint hash, Inode inode)
    {
        core.Directories.HideName(directory, hash, place.Address, isDirectory: false);
        directory.Directory!.Dead.Add(place.Address);
        core.Inodes.Hold(inode);
        lock (core.Metadata)
        {
            inode.IsUnlinked = true;
            inode.IsShelved = true;
            _shelved.Add(inode);
            _shelvedCount = _shelved.Count;
        }
    }

    /// <summary>The dead record has left its place, whatever way.</summary>
    private void Unshelve(Inode directory, uint hash, uint address, Inode inode)
    {
        core.Directories.ForgetName(directory, hash, address);
        directory.Directory!.Room.Freed(address / Slot.PerBlock);
        lock (core.Metadata)
        {
            inode.IsShelved = false;
            _shelved.Remove(inode);
            _shelvedCount = _shelved.Count;
        }

        core.Inodes.Release(inode);
    }

    /// <summary>Whether a dead record of this name lies in the directory. Under the directory's lock.</summary>
    private bool HasShelved(Inode directory, ReadOnlyMemory<byte> name)
    {
        if (_shelvedCount == 0 || directory.Directory is not { Dead.Count: > 0 })
        {
            return false;
        }

        uint hash = NameHash.Compute(name.Span, core.Guard.HashSeed);
        lock (core.Metadata)
        {
            foreach (Inode inode in _shelved)
            {
                if (inode.Container == directory && inode.Record.NameHash == hash)
                {
                    return true;
                }
            }

            return false;
        }
    }

    /// <summary>
    /// Moves what is shelved and open to the orphan directory, and lets go what is not. The caller holds no lock. What finds no room there stays where it is:
    /// false then, and a crash will show its name again.
    /// </summary>
    public async ValueTask<bool> ClearShelfAsync(IoMode io)
    {
        if (_shelvedCount == 0 || core.IsReadOnly)
        {
            return true;
        }

        List<Inode> shelved;
        lock (core.Metadata)
        {
            shelved = [.. _shelved];
            shelved.ForEach(core.Inodes.Hold);
        }

        bool isClear = true;
        foreach (Inode inode in shelved)
        {
            // The epoch is open, or nothing would be shelved; and what waits for a commit must not be committed from here.
            await core.Committer.WaitForTurnAsync(io).ConfigureAwait(false);
            await _moves.EnterAsync(io).ConfigureAwait(false);
            Inode container = inode.Container!;
            Inode?[] locks = [container, inode];
            await EnterAsync(locks, io).ConfigureAwait(false);
            try
            {
                if (inode.IsShelved)
                {
                    await TakeFromShelfAsync(container, inode, io).ConfigureAwait(false);
                }
            }
            catch (CffsException full) when (full.Error == CffsError.NoSpace)
            {
                isClear = false;
            }
            finally
            {
                Exit(locks);
                _moves.Exit();
                core.Inodes.Release(inode);
            }
        }

        return isClear;
    }

    private static void RequireClear(bool isClear)
    {
        if (!isClear)
        {
            throw new CffsException(CffsError.NoSpace, "no room for a file that is open and has lost its name to this one");
        }
    }

    private async ValueTask TakeFromShelfAsync(Inode directory, Inode inode, IoMode io)
    {
        uint hash = inode.Record.NameHash;
        uint address = inode.SlotAddress;
        if (inode.Opens == 0)
        {
            await RemoveRecordAsync(inode, io).ConfigureAwait(false);
        }
        else
        {
            SlotPlace place = new(inode.SlotBlock, inode.SlotFrame, inode.SlotIndex, address);
            await OrphanAsync(directory, place, inode, io).ConfigureAwait(false);
        }

        Unshelve(directory, hash, address, inode);
    }
}
