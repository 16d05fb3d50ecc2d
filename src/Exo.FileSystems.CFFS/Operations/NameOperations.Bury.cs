// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Directories;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Operations;

/// <content>Records that have lost their name to another. They stay until the new name is durable; a crash before that leaves both, and the name sequence tells which counts.</content>
internal sealed partial class NameOperations
{
    /// <summary>
    /// The name that was replaced is dead at once; its record goes when the new name is durable. Until then a crash leaves both records, and the later NameSequence counts.
    /// </summary>
    private void Bury(Inode directory, SlotPlace place, Inode replaced, uint heir)
    {
        Record record = core.Directories.RecordAt(directory, place);
        DirectoryState state = directory.Directory!;
        core.Directories.HideName(directory, record.NameHash, place.Address, record.Kind == SlotKind.Directory);
        state.Dead.Add(place.Address);

        // Who was buried under the name before is buried under the new record now.
        state.Burials.Remove(place.Address, out BurialGround? ground);
        ground ??= new BurialGround();
        ground.Count++;
        state.Burials.Add(heir, ground);
        core.Inodes.Hold(directory);
        core.Inodes.Hold(replaced);
        lock (core.Metadata)
        {
            if (record.Kind != SlotKind.ExternalLink)
            {
                replaced.IsUnlinked = true;
            }
            else
            {
                // It has a link less from now on; that its record goes later is no change of it.
                replaced.BuriedLinks++;
                replaced.Record.ChangeTime = core.Now();
                core.Committer.AddDirty(replaced);
            }

            // At least the one that it may share.
            long blocks = 1 + (long)(replaced.Record.Size / FramePool.FrameBytes);
            RemoveAfterCommit(blocks, io => RemoveBuriedAsync(directory, record.NameHash, place.Address, replaced, ground, io));
        }
    }

    /// <summary>An action that fails is tried again after the next commit. Under the metadata lock.</summary>
    private void RemoveAfterCommit(long blocks, Func<IoMode, ValueTask> remove)
    {
        core.NoteBuried(blocks);
        core.Committer.AfterCommit(async io =>
        {
            core.NoteBuried(-blocks);
            try
            {
                await remove(io).ConfigureAwait(false);
            }
            catch
            {
                core.NoteBuried(blocks);
                throw;
            }
        });
    }

    private async ValueTask RemoveBuriedAsync(Inode directory, uint hash, uint address, Inode replaced, BurialGround ground, IoMode io)
    {
        await _moves.EnterAsync(io).ConfigureAwait(false);
        bool external = replaced.Container == core.Externals;
        Inode?[] locks = [directory, replaced, external ? core.Externals : null];
        await EnterAsync(locks, io).ConfigureAwait(false);
        try
        {
            if (external)
            {
                SlotPlace place = await core.Directories.PlaceAsync(directory, address, io).ConfigureAwait(false);
                try
                {
                    await DropLinkAsync(directory, place, replaced, isBuried: true, io).ConfigureAwait(false);
                }
                finally
                {
                    core.Cache.Release(place.Frame);
                }
            }
            else if (replaced.Opens > 0)
            {
                // Still open: it lives on among the orphans, so that whoever has the name now may go or be renamed meanwhile.
                SlotPlace place = await core.Directories.PlaceAsync(directory, address, io).ConfigureAwait(false);
                try
                {
                    await OrphanAsync(directory, place, replaced, io).ConfigureAwait(false);
                }
                finally
                {
                    core.Cache.Release(place.Frame);
                }
            }
            else if (!replaced.IsRemoved)
            {
                await RemoveRecordAsync(replaced, io).ConfigureAwait(false);
            }

            core.Directories.ForgetName(directory, hash, address);
            directory.Directory!.Room.Freed(address / Slot.PerBlock);
            directory.Directory.LastRemoval = core.Committer.Stamp;
            lock (core.Metadata)
            {
                core.Committer.AfterCommit(io => CloseGroundAsync(directory, ground, io));
            }
        }
        finally
        {
            Exit(locks);
            _moves.Exit();
        }

        core.Inodes.Release(replaced);
    }

    /// <summary>A directory that is being loaded holds a dead record, left by a crash: it goes with the next commit.</summary>
    public void BuryAtLoad(Inode directory, uint address, BurialGround ground)
    {
        core.Inodes.Hold(directory);
        lock (core.Metadata)
        {
            RemoveAfterCommit(1, io => RemoveFoundAsync(directory, address, ground, io));
        }
    }

    private async ValueTask RemoveFoundAsync(Inode directory, uint address, BurialGround ground, IoMode io)
    {
        await core.BeginWritingAsync(io).ConfigureAwait(false);
        await directory.Lock.EnterAsync(io).ConfigureAwait(false);
        try
        {
            if (directory.Directory!.Dead.Contains(address))
            {
                await RemoveDeadAsync(directory, address, io).ConfigureAwait(false);
            }

            lock (core.Metadata)
            {
                core.Committer.AfterCommit(io => CloseGroundAsync(directory, ground, io));
            }
        }
        finally
        {
            directory.Lock.Exit();
        }
    }

    /// <summary>One dead record is durably gone.</summary>
    private async ValueTask CloseGroundAsync(Inode directory, BurialGround ground, IoMode io)
    {
        await directory.Lock.EnterAsync(io).ConfigureAwait(false);
        ground = ground.Living;
        if (--ground.Count == 0)
        {
            Dictionary<uint, BurialGround> burials = directory.Directory!.Burials;
            foreach (KeyValuePair<uint, BurialGround> item in burials)
            {
                if (item.Value == ground)
                {
                    burials.Remove(item.Key);
                    break;
                }
            }
        }

        directory.Lock.Exit();
        core.Inodes.Release(directory);
    }
}
