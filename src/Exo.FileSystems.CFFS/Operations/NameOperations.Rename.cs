// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Directories;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Paths;
using Exo.FileSystems.CFFS.Volume;

namespace Exo.FileSystems.CFFS.Operations;

/// <content>Renames. In place it is one sector. Else: the intent, the record at its new place, the removal of the old one (or a whiteout over it), each durable before the next; a name that is replaced is buried.</content>
internal sealed partial class NameOperations
{
    /// <summary>Renames, over an existing name if there is one.</summary>
    /// <param name="from">Directory.</param>
    /// <param name="fromName">Name in it.</param>
    /// <param name="to">Directory.</param>
    /// <param name="toName">New name in it.</param>
    /// <param name="mayReplace">Whether what has the new name may lose it.</param>
    /// <param name="whiteoutOwner">Whose whiteout takes the old name in the same step; null: there is none.</param>
    /// <param name="identity">Who asks.</param>
    /// <param name="io">How blocks are waited for.</param>
    public async ValueTask RenameAsync(
        Inode from, ReadOnlyMemory<byte> fromName, Inode to, ReadOnlyMemory<byte> toName, bool mayReplace, CffsIdentity? whiteoutOwner, CffsIdentity identity, IoMode io)
    {
        PathName.CheckNew(toName);
        while (!await TryRenameAsync(from, fromName, to, toName, mayReplace, whiteoutOwner, identity, io).ConfigureAwait(false))
        {
            RequireClear(await ClearShelfAsync(io).ConfigureAwait(false));
            await core.Committer.SyncAsync(io).ConfigureAwait(false);
        }
    }

    private async ValueTask<bool> TryRenameAsync(
        Inode from, ReadOnlyMemory<byte> fromName, Inode to, ReadOnlyMemory<byte> toName, bool mayReplace, CffsIdentity? whiteoutOwner, CffsIdentity identity, IoMode io)
    {
        await core.BeginWritingAsync(io).ConfigureAwait(false);
        await _moves.EnterAsync(io).ConfigureAwait(false);
        Inode? inode = null;
        Inode? replaced = null;
        try
        {
            inode = await core.Paths.StepAsync(from, fromName, identity, io).ConfigureAwait(false)
                ?? throw new CffsException(CffsError.NotFound, $"'{PathName.Display(fromName)}' not found");
            replaced = await core.Paths.StepAsync(to, toName, identity, io).ConfigureAwait(false);
            if (inode == replaced)
            {
                return true;
            }

            if (inode.Container is null || fromName.Span.SequenceEqual(".."u8))
            {
                throw new CffsException(CffsError.Invalid, "this directory cannot be renamed");
            }

            for (Inode? above = to; above is not null; above = above.Container)
            {
                if (above == inode)
                {
                    throw new CffsException(CffsError.Invalid, "a directory cannot move below itself");
                }
            }

            if (inode.IsDirectory && from != to && IsBelowMoving(to))
            {
                // On the disk what it moves into may still lie below it: a crash between would leave a circle that hangs from nothing.
                await core.Committer.CommitAsync(io).ConfigureAwait(false);
            }

            bool externals = inode.Container == core.Externals || replaced?.Container == core.Externals;
            Inode?[] locks = [from, to, inode, replaced, externals ? core.Externals : null];
            await EnterAsync(locks, io).ConfigureAwait(false);
            try
            {
                RequireThawed(from, inode, identity);
                Permissions.RequireRemoval(from, inode, identity);
                RequireWritable(to, identity);
                if (replaced is not null && !await CheckReplaceAsync(inode, replaced, to, toName, mayReplace, identity, io).ConfigureAwait(false))
                {
                    return false;
                }

                return await MoveNameAsync(from, fromName, to, toName, inode, replaced, whiteoutOwner, io).ConfigureAwait(false);
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

            if (replaced is not null)
            {
                core.Inodes.Release(replaced);
            }

            _moves.Exit();
        }
    }

    /// <summary>Whether a directory, or one above it, has moved since the last commit. Under the lock of moves.</summary>
    private bool IsBelowMoving(Inode directory)
    {
        for (Inode? above = directory; above is not null; above = above.Container)
        {
            if (core.Intents.IsMoving(above.Number))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>False when the directory to be replaced holds dead records: see <see cref="RequireEmptyAsync"/>.</summary>
    private async ValueTask<bool> CheckReplaceAsync(
        Inode inode, Inode replaced, Inode to, ReadOnlyMemory<byte> toName, bool mayReplace, CffsIdentity identity, IoMode io)
    {
        if (!mayReplace)
        {
            throw new CffsException(CffsError.Exists, $"'{PathName.Display(toName)}' exists");
        }

        RequireThawed(to, replaced, identity);
        Permissions.RequireRemoval(to, replaced, identity);
        if (inode.IsDirectory != replaced.IsDirectory)
        {
            throw new CffsException(
                inode.IsDirectory ? CffsError.NotDirectory : CffsError.IsDirectory, $"'{PathName.Display(toName)}' is {(replaced.IsDirectory ? "a" : "no")} directory");
        }

        if (!replaced.IsDirectory)
        {
            return true;
        }

        if (!await RequireEmptyAsync(replaced, io).ConfigureAwait(false))
        {
            return false;
        }

        // A crash must not show a directory that was replaced and is not empty: nobody could tell which of the two is to be given up.
        if (!core.Committer.IsDurable(replaced.Directory!.LastRemoval))
        {
            await core.Committer.CommitAsync(io).ConfigureAwait(false);
        }

        return true;
    }

    /// <summary>
    /// False when the record must keep its name for now (<see cref="DirectoryState.Burials"/>), or a dead one of the new name is in the way; or when a name was made or removed before the directories were locked.
    /// </summary>
    private async ValueTask<bool> MoveNameAsync(
        Inode from, ReadOnlyMemory<byte> fromName, Inode to, ReadOnlyMemory<byte> toName, Inode inode, Inode? replaced, CffsIdentity? whiteoutOwner, IoMode io)
    {
        SlotPlace source = await RequireAsync(from, fromName, io).ConfigureAwait(false);
        SlotPlace? victim = null;
        try
        {
            if (core.Directories.RecordAt(from, source).Inode != inode.Number || !await LeadsToAsync(to, toName, replaced, io).ConfigureAwait(false)
                || from.Directory!.Burials.ContainsKey(source.Address) || HasShelved(to, toName))
            {
                return false;
            }

            await RequireNotJustLeftAsync(to, toName, io).ConfigureAwait(false);
            if (replaced is not null && core.RecentLinks.Has(replaced))
            {
                await core.Committer.CommitAsync(io).ConfigureAwait(false);
            }

            victim = replaced is null ? null : await RequireAsync(to, toName, io).ConfigureAwait(false);
            Record record = core.Directories.RecordAt(from, source);
            if (record.Kind != SlotKind.ExternalLink)
            {
                record = inode.Record;
            }

            uint oldHash = record.NameHash;
            Record next = record;
            next.NameLength = (byte)toName.Length;
            next.NameHash = NameHash.Compute(toName.Span, core.Guard.HashSeed);
            next.NameSequence = core.NextNameSequence();
            next.ChangeTime = core.Now();
            bool fits = next.ContentBytes <= Slot.ContentBytesMax;
            if (!fits)
            {
                await core.Files.MoveOutAsync(inode, io).ConfigureAwait(false);
                record = inode.Record;
                next.InlineLength = record.InlineLength;
                next.Start = record.Start;
                next.Count = record.Count;
            }

            next.Slots = (byte)Slot.SlotsFor(next.ContentBytes);
            byte[] inline = new byte[record.InlineLength];
            Record.ReadContents(core.Directories.SectorOf(source), source.InSector, record.NameLength, inline);

            SlotPlace target = source;
            Record? whiteout = whiteoutOwner is null ? null : NewWhiteout(from, fromName.Span, whiteoutOwner);
            bool inPlace = from == to && whiteout is null && TryRenameInPlace(from, source, inode, record, next, toName.Span, inline);
            if (!inPlace)
            {
                if (record.IsPacked)
                {
                    await core.Files.MoveOutAsync(inode, io).ConfigureAwait(false);
                    record = inode.Record;
                    (next.Depth, next.Start, next.Count) = (record.Depth, record.Start, record.Count);
                }

                target = await MoveRecordAsync(from, source, to, inode, record, next, toName, inline, io, fromName, whiteout).ConfigureAwait(false);
            }

            DirectoryState fromState = from.Directory!;
            if (whiteout is null)
            {
                core.Directories.RemoveName(from, oldHash, source.Address, inode.IsDirectory);
            }
            else
            {
                core.Directories.HandOverName(from, inode.IsDirectory);
            }

            fromState.Leave(oldHash, core.Committer.Stamp);
            fromState.LastRemoval = core.Committer.Stamp;
            lock (core.Metadata)
            {
                if (record.Kind == SlotKind.ExternalLink)
                {
                    inode.Record.ChangeTime = next.ChangeTime;
                    core.Committer.AddDirty(inode);
                }

                Touch(from);
                Touch(to);
                core.Changes.NoteMove(from, fromName.Span, to, toName.Span, inode.Number, inode.Record.Mode, replaced);
                core.Changes.NoteLinks(inode);
                if (replaced is not null)
                {
                    core.Changes.NoteLinks(replaced);
                }

                if (whiteout is { } left)
                {
                    core.Changes.NoteName(CffsChangeKind.Created, from, fromName.Span, left.Inode, left.Mode);
                }
            }

            if (!inPlace)
            {
                fromState.Room.Freed(source.Address / Slot.PerBlock);
                core.Cache.Release(target.Frame);
            }

            if (victim is { } dead)
            {
                Bury(to, dead, replaced!, target.Address);
            }

            await core.Directories.AddNameAsync(to, next.NameHash, target.Address, inode.IsDirectory, io).ConfigureAwait(false);
            return true;
        }
        finally
        {
            core.Cache.Release(source.Frame);
            if (victim is { } held)
            {
                core.Cache.Release(held.Frame);
            }
        }
    }

    /// <summary>What hides a name of a layer below (<c>RENAME_WHITEOUT</c>): a character device with number 0 and no permissions. It has no contents: so it takes no more slots than any other record of its name.</summary>
    private Record NewWhiteout(Inode directory, ReadOnlySpan<byte> name, CffsIdentity owner)
    {
        Record record = NewRecord(directory, name, ModeBits.CharacterDevice, device: 0, owner);
        record.Slots = (byte)Slot.SlotsFor(record.ContentBytes);
        return record;
    }

    /// <summary>Whether a name leads to an inode, or nowhere. Under the directory's lock.</summary>
    private async ValueTask<bool> LeadsToAsync(Inode directory, ReadOnlyMemory<byte> name, Inode? inode, IoMode io)
    {
        if (await core.Directories.FindAsync(directory, name, io).ConfigureAwait(false) is not { } place)
        {
            return inode is null;
        }

        return core.Directories.TakeRecord(directory, place).Inode == inode?.Number;
    }

    /// <summary>Rewrites a record's name where it is, if its sector has room: one sector, atomic.</summary>
    private bool TryRenameInPlace(Inode directory, SlotPlace place, Inode inode, in Record record, in Record next, ReadOnlySpan<byte> name, ReadOnlySpan<byte> inline)
    {
        lock (core.Metadata)
        {
            core.Edit.Begin();
            Span<byte> sector = core.Edit.Sector(place.Block, place.Frame, place.SectorIndex, SectorKind.Slots, directory.Number);
            if (!Slot.AreFree(sector, place.InSector + record.Slots, next.Slots - record.Slots))
            {
                return false;
            }

            sector.Slice(place.InSector * Slot.SizeBytes, record.Slots * Slot.SizeBytes).Clear();
            DirectoryStore.StageInto(sector, place.InSector, next, name, inline);
            core.Edit.Apply();
            if (record.Kind != SlotKind.ExternalLink)
            {
                // Under the same lock: a commit that runs meanwhile writes a dirty inode's fields over those of its record.
                inode.Record = next;
            }

            return true;
        }
    }

    /// <summary>
    /// An inode that exists is to get a name that another has just left. After a crash the disk could show both under it, and neither could be given up: so the leaving is made durable first.
    /// </summary>
    private ValueTask RequireNotJustLeftAsync(Inode directory, ReadOnlyMemory<byte> name, IoMode io) =>
        directory.Directory!.IsJustLeft(NameHash.Compute(name.Span, core.Guard.HashSeed), core.Committer.IsDurable) ? core.Committer.CommitAsync(io) : default;
}
