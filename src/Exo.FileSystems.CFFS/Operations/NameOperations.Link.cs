// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Directories;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Paths;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Operations;

/// <content>Second names. Order of durable writes: the inode in the external table, what makes the table's block found, the first name as a link, the new name; before a name goes, every newer one (<see cref="Commit.RecentLinks"/>).</content>
internal sealed partial class NameOperations
{
    /// <summary>Adds a second name to an inode. The inode moves out of its directory into the external inode table first.</summary>
    public async ValueTask LinkAsync(Inode inode, Inode directory, ReadOnlyMemory<byte> name, CffsIdentity identity, IoMode io)
    {
        PathName.CheckNew(name);
        if (inode.IsDirectory)
        {
            throw new CffsException(CffsError.NotPermitted, "a directory has one name");
        }

        inode.RequireThawed();

        while (!await TryLinkAsync(inode, directory, name, identity, io).ConfigureAwait(false))
        {
            RequireClear(await ClearShelfAsync(io).ConfigureAwait(false));
        }
    }

    /// <summary>False when a dead record of the name is in the way.</summary>
    private async ValueTask<bool> TryLinkAsync(Inode inode, Inode directory, ReadOnlyMemory<byte> name, CffsIdentity identity, IoMode io)
    {
        await core.BeginWritingAsync(io).ConfigureAwait(false);
        await _moves.EnterAsync(io).ConfigureAwait(false);
        Inode? container = inode.Container == core.Externals ? null : inode.Container;
        Inode?[] locks = [directory, container, inode];
        await EnterAsync(locks, io).ConfigureAwait(false);
        try
        {
            bool isUnnamed = inode is { IsUnlinked: true, IsRemoved: false } && container == core.Orphans;
            if (inode.IsUnlinked && !isUnnamed)
            {
                throw new CffsException(CffsError.NotFound, $"inode {inode.Number} has no name left");
            }

            if (inode.Record.Links == uint.MaxValue)
            {
                throw new CffsException(CffsError.TooManyLinks, $"inode {inode.Number} has too many links");
            }

            RequireWritable(directory, identity);
            if (await core.Directories.FindAsync(directory, name, io).ConfigureAwait(false) is { } existing)
            {
                core.Cache.Release(existing.Frame);
                throw new CffsException(CffsError.Exists, $"'{PathName.Display(name)}' exists");
            }

            if (HasShelved(directory, name))
            {
                return false;
            }

            await RequireNotJustLeftAsync(directory, name, io).ConfigureAwait(false);
            if (isUnnamed)
            {
                await AdoptAsync(inode, directory, name, io).ConfigureAwait(false);
                return true;
            }

            if (inode.Record.Kind == SlotKind.Special && core.Intents.IsMoving(inode.Number))
            {
                // A whiteout that is not durable: were it in the table, recovery would make it once more from the intent.
                await core.Committer.CommitAsync(io).ConfigureAwait(false);
            }

            await AddLinkAsync(inode, directory, name, io).ConfigureAwait(false);
            return true;
        }
        finally
        {
            Exit(locks);
            _moves.Exit();
        }
    }

    /// <summary>Gives an inode one more name, which is not there yet. Under the locks of both, and of the directory that holds the inode.</summary>
    private async ValueTask AddLinkAsync(Inode inode, Inode directory, ReadOnlyMemory<byte> name, IoMode io)
    {
        if (inode.Container != core.Externals)
        {
            await ExternaliseAsync(inode, inode.Container!, io).ConfigureAwait(false);
        }

        Record link = LinkRecord(inode, name.Span);
        SlotPlace place = await core.Directories.MakeRoomAsync(directory, link.Slots, default, io).ConfigureAwait(false);
        try
        {
            while (!TryAddLink(inode, directory, place, link, name.Span))
            {
                await core.Committer.CommitAsync(io).ConfigureAwait(false);
            }
        }
        finally
        {
            core.Cache.Release(place.Frame);
        }

        await core.Directories.AddNameAsync(directory, link.NameHash, place.Address, isDirectory: false, io).ConfigureAwait(false);
    }

    /// <summary>The count, and, not on the disk before it, the name. False when orders that are pending contradict that: nothing has changed, and a commit removes them.</summary>
    private bool TryAddLink(Inode inode, Inode directory, in SlotPlace place, in Record link, ReadOnlySpan<byte> name)
    {
        lock (core.Metadata)
        {
            Record counted = inode.Record;
            counted.Links++;
            counted.ChangeTime = core.Now();
            core.Edit.Begin();
            core.Edit.Stage(inode, counted);
            core.Directories.Stage(directory, place, link, name, default);
            core.Edit.Transaction.Order(inode.SlotBlock, place.Block);
            if (!core.Edit.TryApplyOrdered())
            {
                return false;
            }

            inode.Record = counted;
            core.RecentLinks.Add(inode, place.Block);
            Touch(directory);
            core.Changes.NoteName(CffsChangeKind.Created, directory, name, inode.Number, inode.Record.Mode);
            core.Changes.NoteLinks(inode);
            return true;
        }
    }

    private async ValueTask ExternaliseAsync(Inode inode, Inode container, IoMode io)
    {
        await core.Externals.Lock.EnterAsync(io).ConfigureAwait(false);
        try
        {
            await core.Directories.EnsureLoadedAsync(core.Externals, io).ConfigureAwait(false);
            if (inode.Record.IsPacked)
            {
                await core.Files.MoveOutAsync(inode, io).ConfigureAwait(false);
            }

            while (true)
            {
                Record record = inode.Record;
                byte[] contents = new byte[record.ContentBytes];
                SlotPlace source = new(inode.SlotBlock, inode.SlotFrame, inode.SlotIndex, inode.SlotAddress);
                Record.ReadContents(core.Directories.SectorOf(source), source.InSector, 0, contents);
                ReadOnlyMemory<byte> name = contents.AsMemory(0, record.NameLength);
                ReadOnlyMemory<byte> inline = contents.AsMemory(record.NameLength);
                Record outside = record;
                outside.NameLength = 0;
                outside.NameHash = 0;
                outside.Slots = (byte)Slot.SlotsFor(outside.ContentBytes);
                SlotPlace target = await core.Directories.MakeRoomAsync(core.Externals, outside.Slots, default, io).ConfigureAwait(false);
                XnStatus status;
                lock (core.Metadata)
                {
                    core.Edit.Begin();
                    core.Directories.Stage(core.Externals, target, outside, default, inline.Span);
                    core.Directories.StageClear(container.Number, source.Block, source.Frame, source.Index, record.Slots);
                    Record link = LinkRecord(inode, name.Span);
                    link.Start = target.Address;
                    link.NameSequence = record.NameSequence;
                    core.Directories.Stage(container, source, link, name.Span, default);
                    ClaimMoves(record, source.Block, source.Index, target.Block, target.Index);
                    core.Edit.Transaction.Order(target.Block, source.Block);
                    status = core.Edit.TryApply();
                    if (status == XnStatus.Ok)
                    {
                        inode.Record = outside;
                        Relocate(inode, core.Externals, target);
                        core.Cache.Release(target.Frame);
                        return;
                    }
                }

                core.Cache.Release(target.Frame);
                if (status != XnStatus.OrderCycle)
                {
                    throw new CffsException(CffsError.Corrupt, $"XN refused to move inode {inode.Number} out ({status}): {core.Edit.Transaction.LastRefusal}");
                }

                await core.Committer.CommitAsync(io).ConfigureAwait(false);
            }
        }
        finally
        {
            core.Externals.Lock.Exit();
        }
    }

    private Record LinkRecord(Inode inode, ReadOnlySpan<byte> name) => new()
    {
        Kind = SlotKind.ExternalLink,
        Slots = (byte)Slot.SlotsFor(name.Length),
        NameLength = (byte)name.Length,
        Start = inode.SlotAddress,
        Inode = inode.Number,
        NameHash = NameHash.Compute(name, core.Guard.HashSeed),
        NameSequence = core.NextNameSequence(),
        Mode = inode.Record.Mode,
    };

    /// <summary>Removes one of several names: the name and, not on the disk before it, the count; with the last name that nobody has open, the inode.</summary>
    private async ValueTask DropLinkAsync(Inode directory, SlotPlace place, Inode inode, bool isBuried, IoMode io)
    {
        await core.RecentLinks.OrderAsync(inode, place.Block, io).ConfigureAwait(false);
        if (inode.Record.Links == 1 && core.Intents.IsMoving(inode.Number))
        {
            // The name's old place is still on the disk: the inode must not go before it.
            await core.Committer.CommitAsync(io).ConfigureAwait(false);
        }

        await core.PrepareFreeAsync(inode, io).ConfigureAwait(false);
        while (!TryDropLink(directory, place, inode, isBuried))
        {
            await core.Committer.CommitAsync(io).ConfigureAwait(false);
        }
    }

    /// <summary>False when orders that are pending stand in the way: nothing has changed, and a commit removes them.</summary>
    private bool TryDropLink(Inode directory, in SlotPlace place, Inode inode, bool isBuried)
    {
        lock (core.Metadata)
        {
            Record counted = inode.Record;
            counted.Links--;
            counted.ChangeTime = isBuried ? counted.ChangeTime : core.Now();
            bool goes = counted.Links == 0 && inode.Opens == 0;
            core.Edit.Begin();
            core.Directories.StageClear(directory.Number, place.Block, place.Frame, place.Index, core.Directories.RecordAt(directory, place).Slots);
            if (goes)
            {
                StageClear(inode, isTwiceOwned: false);
            }
            else
            {
                core.Edit.Stage(inode, counted);
            }

            core.Edit.Transaction.Order(place.Block, inode.SlotBlock);
            if (!core.Edit.TryApplyOrdered())
            {
                return false;
            }

            inode.Record = counted;
            inode.BuriedLinks -= isBuried ? 1u : 0;
            inode.IsUnlinked |= counted.Links == 0;
            if (goes)
            {
                Removed(inode);
            }

            return true;
        }
    }
}
