// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Directories;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Paths;
using Exo.FileSystems.CFFS.Volume;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Operations;

/// <content>Names that go, and inodes with their last one, unless they are open.</content>
internal sealed partial class NameOperations
{
    /// <summary>Removes a name; with the last name the inode goes, or, while it is open, stays without one.</summary>
    public async ValueTask RemoveAsync(Inode directory, ReadOnlyMemory<byte> name, bool isDirectory, CffsIdentity identity, IoMode io)
    {
        // What is dead goes with a commit. What is shelved and open goes before it, if there is room; that somebody closes it meanwhile is likely enough to wait for a few commits.
        const int CommitsMax = 4;
        for (int i = 0;
             !((isDirectory ? null : await TryRemovePlainAsync(directory, name, identity, io).ConfigureAwait(false))
                 ?? await TryRemoveAsync(directory, name, isDirectory, identity, io).ConfigureAwait(false));
             i++)
        {
            if (!await ClearShelfAsync(io).ConfigureAwait(false) && i == CommitsMax)
            {
                throw new CffsException(CffsError.NoSpace, "no room for a file that is open and has lost its name");
            }

            if (i > 0)
            {
                await core.Committer.SyncAsync(io).ConfigureAwait(false);
            }
        }
    }

    private async ValueTask<bool> TryRemoveAsync(Inode directory, ReadOnlyMemory<byte> name, bool isDirectory, CffsIdentity identity, IoMode io)
    {
        await core.BeginWritingAsync(io).ConfigureAwait(false);
        await _moves.EnterAsync(io).ConfigureAwait(false);
        Inode? inode = null;
        try
        {
            inode = await core.Paths.StepAsync(directory, name, identity, io).ConfigureAwait(false)
                ?? throw new CffsException(CffsError.NotFound, $"'{PathName.Display(name)}' not found");
            bool external = inode.Container == core.Externals;
            Inode?[] locks = [directory, inode, external ? core.Externals : null];
            await EnterAsync(locks, io).ConfigureAwait(false);
            try
            {
                RequireThawed(directory, inode, identity);
                Permissions.RequireRemoval(directory, inode, identity);
                if (inode.IsDirectory != isDirectory)
                {
                    throw new CffsException(
                        isDirectory ? CffsError.NotDirectory : CffsError.IsDirectory, $"'{PathName.Display(name)}' is {(isDirectory ? "no" : "a")} directory");
                }

                if (isDirectory && !await RequireEmptyAsync(inode, io).ConfigureAwait(false))
                {
                    return false;
                }

                if (inode.Container is null || name.Span.SequenceEqual(".."u8))
                {
                    throw new CffsException(CffsError.Invalid, "this directory cannot be removed");
                }

                if (isDirectory)
                {
                    await core.Directories.ShrinkEmptyAsync(inode, io).ConfigureAwait(false);
                }

                return await RemoveNameAsync(directory, name, inode, io).ConfigureAwait(false);
            }
            finally
            {
                Exit(locks);
            }
        }
        finally
        {
            if (inode is not null)
            {
                core.Inodes.Release(inode);
            }

            _moves.Exit();
        }
    }

    /// <summary>False when the record must keep its name for now: see <see cref="DirectoryState.Burials"/>.</summary>
    private async ValueTask<bool> RemoveNameAsync(Inode directory, ReadOnlyMemory<byte> name, Inode inode, IoMode io)
    {
        SlotPlace place = await RequireAsync(directory, name, io).ConfigureAwait(false);
        try
        {
            if (directory.Directory!.Burials.ContainsKey(place.Address))
            {
                return false;
            }

            Record record = core.Directories.RecordAt(directory, place);
            if (record.Kind == SlotKind.ExternalLink)
            {
                await DropLinkAsync(directory, place, inode, isBuried: false, io).ConfigureAwait(false);
            }
            else if (inode.Opens > 0)
            {
                Shelve(directory, place, record.NameHash, inode);
            }
            else
            {
                await RemoveRecordAsync(inode, io).ConfigureAwait(false);
            }

            if (!inode.IsShelved)
            {
                DirectoryState state = directory.Directory!;
                core.Directories.RemoveName(directory, record.NameHash, place.Address, record.Kind == SlotKind.Directory);
                state.Room.Freed(place.Address / Slot.PerBlock);
                state.LastRemoval = core.Committer.Stamp;
            }

            lock (core.Metadata)
            {
                Touch(directory, changesPaths: record.Kind is not (SlotKind.File or SlotKind.Special));
                core.Changes.NoteName(CffsChangeKind.Removed, directory, name.Span, inode.Number, inode.Record.Mode);
                core.Changes.NoteLinks(inode);
            }

            return true;
        }
        finally
        {
            core.Cache.Release(place.Frame);
        }
    }

    /// <summary>Moves an inode to the orphan directory. It goes when it is not open any more, or now.</summary>
    private async ValueTask OrphanAsync(Inode directory, SlotPlace source, Inode inode, IoMode io)
    {
        await MoveToOrphansAsync(directory, source, inode, io).ConfigureAwait(false);
        if (inode.Opens == 0)
        {
            // The last handle was closed while the record moved, when it was not yet to be found here.
            await core.Orphans.Lock.EnterAsync(io).ConfigureAwait(false);
            try
            {
                await RemoveRecordAsync(inode, io).ConfigureAwait(false);
            }
            finally
            {
                core.Orphans.Lock.Exit();
            }
        }
    }

    private async ValueTask MoveToOrphansAsync(Inode directory, SlotPlace source, Inode inode, IoMode io)
    {
        await core.Orphans.Lock.EnterAsync(io).ConfigureAwait(false);
        try
        {
            await core.Directories.EnsureLoadedAsync(core.Orphans, io).ConfigureAwait(false);
            byte[] name = OrphanName(inode.Number);
            if (inode.Record.IsPacked || inode.Record.InlineLength > Slot.ContentBytesMax - name.Length)
            {
                await core.Files.MoveOutAsync(inode, io, mayUseReserve: true).ConfigureAwait(false);
            }

            Record record = inode.Record;
            byte[] inline = new byte[record.InlineLength];
            Record.ReadContents(core.Directories.SectorOf(source), source.InSector, record.NameLength, inline);
            Record next = record;
            next.NameLength = (byte)name.Length;
            next.NameHash = NameHash.Compute(name, core.Guard.HashSeed);
            next.NameSequence = core.NextNameSequence();
            next.Slots = (byte)Slot.SlotsFor(next.ContentBytes);
            SlotPlace target = await MoveRecordAsync(directory, source, core.Orphans, inode, record, next, name, inline, io).ConfigureAwait(false);
            core.Cache.Release(target.Frame);
            await core.Directories.AddNameAsync(core.Orphans, next.NameHash, target.Address, isDirectory: false, io).ConfigureAwait(false);
            lock (core.Metadata)
            {
                inode.IsUnlinked = true;
            }
        }
        finally
        {
            core.Orphans.Lock.Exit();
        }
    }

    /// <summary>The last handle of an inode without a name has closed: its record goes.</summary>
    public async ValueTask DropOrphanAsync(Inode inode, IoMode io)
    {
        if (core.IsReadOnly)
        {
            return;
        }

        await _moves.EnterAsync(io).ConfigureAwait(false);
        Inode container = inode.Container!;
        Inode?[] locks = [container, inode];
        await EnterAsync(locks, io).ConfigureAwait(false);
        try
        {
            if (inode is { IsUnlinked: true, IsRemoved: false, Opens: 0 })
            {
                if (inode.IsShelved)
                {
                    await TakeFromShelfAsync(container, inode, io).ConfigureAwait(false);
                }
                else
                {
                    await RemoveRecordAsync(inode, io).ConfigureAwait(false);
                }
            }
        }
        finally
        {
            Exit(locks);
            _moves.Exit();
        }
    }

    private async ValueTask RemoveRecordAsync(Inode inode, IoMode io)
    {
        await core.PrepareFreeAsync(inode, io).ConfigureAwait(false);
        List<FrameNumber> held = await HoldBlocksAsync(inode, io).ConfigureAwait(false);
        try
        {
            lock (core.Metadata)
            {
                RemoveRecordLocked(inode);
            }
        }
        finally
        {
            held.ForEach(core.Cache.Release);
        }
    }

    private void RemoveRecordLocked(Inode inode)
    {
        ClearRecord(inode, isTwiceOwned: false);
        Removed(inode);
    }

    /// <summary>In memory too. Under the metadata lock.</summary>
    private void Removed(Inode inode)
    {
        core.Allocator.Close(ref inode.Window);
        if (inode.Directory is { } large)
        {
            core.Allocator.Close(ref large.SlotWindow);
            core.Allocator.Close(ref large.IndexWindow);
        }

        inode.IsUnlinked = true;
        inode.IsRemoved = true;
        core.MapEdits.ForgetMap(inode);
        inode.IsMapLoaded = true;
        if (inode.Container is { Directory: { } state } container)
        {
            state.Room.Freed(inode.SlotAddress / Slot.PerBlock);
            if (container == core.Orphans)
            {
                core.Directories.HideName(container, inode.Record.NameHash, inode.SlotAddress, isDirectory: false);
            }
        }
    }

    /// <summary>Clears a record and claims everything it owns as free. Under the metadata lock.</summary>
    private void ClearRecord(Inode inode, bool isTwiceOwned)
    {
        core.Edit.Begin();
        StageClear(inode, isTwiceOwned);
        core.Edit.Apply();
    }

    private void StageClear(Inode inode, bool isTwiceOwned)
    {
        StageClear(inode.Container!.Number, inode.SlotBlock, inode.SlotFrame, inode.SlotIndex, inode.Record, isTwiceOwned);
    }

    private void StageClear(ulong owner, BlockNumber block, FrameNumber frame, int index, in Record record, bool isTwiceOwned)
    {
        Span<byte> sector = core.Directories.StageClear(owner, block, frame, index, record.Slots);
        if (record.IsPacked)
        {
            core.Files.StageLeave(sector, block, index >> 2, record);
        }

        if (record.Kind is not (SlotKind.Special or SlotKind.ExternalLink))
        {
            if (record.Count > 0)
            {
                BlockExtent extent = new(new BlockNumber(record.Start), record.Count);
                if (isTwiceOwned)
                {
                    core.Edit.Transaction.ClaimFree(extent, core.MapEdits.RootTemplate(record), block, index);
                }
                else
                {
                    core.Edit.Transaction.ClaimFreeTree(extent, core.MapEdits.RootTemplate(record), block, index);
                }
            }

            if (record.Attributes != 0)
            {
                core.Edit.Transaction.ClaimFree(new BlockExtent(new BlockNumber(record.Attributes), 1), core.Templates.Attributes, block, index);
            }
        }
    }
}
