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

/// <summary>
/// Changes of the name space. Creating and removing a name is one change of one sector, hence atomic; what spans sectors is ordered so that every
/// crash leaves the old state or the new one, or a state that the next mount or load recognises (docs/cffs-format.md, last table).
/// </summary>
internal sealed class NameOperations(VolumeCore core) : IDisposable
{
    private readonly NodeLock _moves = new();

    public void Dispose() => _moves.Dispose();

    /// <summary>Creates an inode with a name, and gives it back held; or, when the name exists and <paramref name="exclusive"/> is false, the one that has it.</summary>
    public async ValueTask<(Inode Inode, bool Created)> CreateAsync(
        Inode directory, ReadOnlyMemory<byte> name, ushort mode, ulong device, ReadOnlyMemory<byte> inline, bool exclusive, CffsIdentity identity, IoMode io)
    {
        PathName.CheckNew(name);
        await core.BeginWritingAsync(io).ConfigureAwait(false);
        await directory.Lock.EnterAsync(io).ConfigureAwait(false);
        try
        {
            if (await core.Directories.FindAsync(directory, name, io).ConfigureAwait(false) is { } existing)
            {
                if (exclusive)
                {
                    core.Cache.Release(existing.Frame);
                    throw new CffsException(CffsError.Exists, $"'{PathName.Display(name)}' exists");
                }

                return (await core.GetInodeAsync(directory, existing, io).ConfigureAwait(false), false);
            }

            RequireWritable(directory, identity);
            Record record = NewRecord(directory, name, mode, device, identity);
            if (directory.Directory!.IsJustLeft(record.NameHash, core.Committer.IsDurable))
            {
                if (record.Kind == SlotKind.Directory)
                {
                    // A crash must not have to choose between a directory, which others may have moved into, and the inode that had the name.
                    await core.Committer.CommitAsync(io).ConfigureAwait(false);
                }
                else
                {
                    record.NameSequence = core.NextNameSequence(yieldsToEarlier: true);
                }
            }

            int room = Slot.ContentBytesMax - name.Length;
            ReadOnlyMemory<byte> contents = inline.Length <= room ? inline : default;
            record.InlineLength = (ushort)contents.Length;
            record.Size = (ulong)contents.Length;
            record.Slots = (byte)Slot.SlotsFor(record.ContentBytes);
            Inode inode = await InsertAsync(directory, record, name, contents, io).ConfigureAwait(false);
            return (inode, true);
        }
        finally
        {
            directory.Lock.Exit();
        }
    }

    /// <summary>Adds a second name to an inode. The inode moves out of its directory into the external inode table first.</summary>
    public async ValueTask LinkAsync(Inode inode, Inode directory, ReadOnlyMemory<byte> name, CffsIdentity identity, IoMode io)
    {
        PathName.CheckNew(name);
        if (inode.IsDirectory)
        {
            throw new CffsException(CffsError.NotPermitted, "a directory has one name");
        }

        await core.BeginWritingAsync(io).ConfigureAwait(false);
        await _moves.EnterAsync(io).ConfigureAwait(false);
        Inode? container = inode.Container == core.Externals ? null : inode.Container;
        await EnterAsync([directory, container, inode], io).ConfigureAwait(false);
        try
        {
            if (inode.IsUnlinked)
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

            await RequireNotJustLeftAsync(directory, name, io).ConfigureAwait(false);
            if (container is not null)
            {
                await ExternaliseAsync(inode, container, io).ConfigureAwait(false);
            }

            Record link = LinkRecord(inode, name.Span);
            SlotPlace place = await core.Directories.MakeRoomAsync(directory, link.Slots, default, io).ConfigureAwait(false);
            lock (core.Metadata)
            {
                inode.Record.Links++;
                inode.Record.ChangeTime = core.Now();
                core.Edit.Begin();
                core.Edit.Stage(inode, inode.Record);
                core.Edit.Apply();
            }

            await core.OrderAsync(inode.SlotBlock, place.Block, io).ConfigureAwait(false);
            lock (core.Metadata)
            {
                core.Edit.Begin();
                core.Directories.Stage(directory, place, link, name.Span, default);
                core.Edit.Apply();
                core.RecentLinks.Add(inode, place.Block);
                Touch(directory);
            }

            directory.Directory!.Names.Add(link.NameHash, place.Address);
            core.Cache.Release(place.Frame);
        }
        finally
        {
            Exit([directory, container, inode]);
            _moves.Exit();
        }
    }

    /// <summary>Removes a name; with the last name the inode goes, or, while it is open, moves to the orphan directory.</summary>
    public async ValueTask RemoveAsync(Inode directory, ReadOnlyMemory<byte> name, bool isDirectory, CffsIdentity identity, IoMode io)
    {
        while (!await TryRemoveAsync(directory, name, isDirectory, identity, io).ConfigureAwait(false))
        {
            await core.Committer.SyncAsync(io).ConfigureAwait(false);
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
            await EnterAsync([directory, inode, external ? core.Externals : null], io).ConfigureAwait(false);
            try
            {
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

                return await RemoveNameAsync(directory, name, inode, io).ConfigureAwait(false);
            }
            finally
            {
                Exit([directory, inode, external ? core.Externals : null]);
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

    /// <summary>Renames, over an existing name if there is one.</summary>
    public async ValueTask RenameAsync(
        Inode from, ReadOnlyMemory<byte> fromName, Inode to, ReadOnlyMemory<byte> toName, bool mayReplace, CffsIdentity identity, IoMode io)
    {
        PathName.CheckNew(toName);
        while (!await TryRenameAsync(from, fromName, to, toName, mayReplace, identity, io).ConfigureAwait(false))
        {
            await core.Committer.SyncAsync(io).ConfigureAwait(false);
        }
    }

    private async ValueTask<bool> TryRenameAsync(
        Inode from, ReadOnlyMemory<byte> fromName, Inode to, ReadOnlyMemory<byte> toName, bool mayReplace, CffsIdentity identity, IoMode io)
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

            bool externals = inode.Container == core.Externals || replaced?.Container == core.Externals;
            Inode?[] locks = [from, to, inode, replaced, externals ? core.Externals : null];
            await EnterAsync(locks, io).ConfigureAwait(false);
            try
            {
                Permissions.RequireRemoval(from, inode, identity);
                RequireWritable(to, identity);
                if (replaced is not null && !await CheckReplaceAsync(inode, replaced, to, toName, mayReplace, identity, io).ConfigureAwait(false))
                {
                    return false;
                }

                return await MoveNameAsync(from, fromName, to, toName, inode, replaced, io).ConfigureAwait(false);
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

    /// <summary>The last handle of an inode without a name has closed: its record goes.</summary>
    public async ValueTask DropOrphanAsync(Inode inode, IoMode io)
    {
        if (core.IsReadOnly)
        {
            return;
        }

        await _moves.EnterAsync(io).ConfigureAwait(false);
        Inode container = inode.Container!;
        await EnterAsync([container, inode], io).ConfigureAwait(false);
        try
        {
            if (inode is { IsUnlinked: true, IsRemoved: false, Opens: 0 })
            {
                await core.PrepareFreeAsync(inode, io).ConfigureAwait(false);
                RemoveRecord(inode);
            }
        }
        finally
        {
            Exit([container, inode]);
            _moves.Exit();
        }
    }

    /// <summary>Clears a record that is known to be dead, with what it owns. Under the directory's lock.</summary>
    public ValueTask RemoveDeadAsync(Inode directory, uint address, IoMode io) => SettleAsync(directory, address, null, io);

    /// <summary>
    /// A crash came while an inode moved out to the external table: the table has it, and its directory, from before, too. The table's counts, because other names may point there already;
    /// the directory's becomes a name like them. Under the directory's lock.
    /// </summary>
    public ValueTask FinishExternaliseAsync(Inode directory, uint address, uint tableAddress, IoMode io) => SettleAsync(directory, address, tableAddress, io);

    /// <summary>Gives up what a stale record owns; the record goes, or becomes a link to the external table.</summary>
    private async ValueTask SettleAsync(Inode directory, uint address, uint? tableAddress, IoMode io)
    {
        SlotPlace place = await core.Directories.PlaceAsync(directory, address, io).ConfigureAwait(false);
        Record record = core.Directories.RecordAt(directory, place);

        // Not through the inode table: the number may belong to a living record elsewhere.
        Inode dead = new(record.Inode)
        {
            Record = record, Container = directory, SlotBlock = place.Block, SlotIndex = place.Index, SlotAddress = address, SlotFrame = place.Frame,
        };
        bool isTwiceOwned = record.Count > 0 && core.IsMultiplyOwned(new BlockNumber(record.Start));
        if (record.Kind != SlotKind.ExternalLink && record.Kind != SlotKind.Special && !isTwiceOwned)
        {
            await core.PrepareFreeAsync(dead, io).ConfigureAwait(false);
            if (record.Kind == SlotKind.Directory)
            {
                // Only an empty directory is ever replaced.
                bool isEmpty = await RequireEmptyAsync(dead, io).ConfigureAwait(false);
                Invariant.Check(isEmpty);
            }
        }

        byte[] name = new byte[record.NameLength];
        Record.ReadContents(core.Directories.SectorOf(place), place.InSector, 0, name);
        lock (core.Metadata)
        {
            core.Edit.Begin();
            StageClear(dead, isTwiceOwned);
            if (tableAddress is { } outside)
            {
                Record link = LinkRecord(dead, name);
                link.Start = outside;
                link.NameSequence = record.NameSequence;
                core.Directories.Stage(directory, place, link, name, default);
            }

            core.Edit.Apply();
        }

        core.MapEdits.ForgetMap(dead);
        core.Cache.Release(place.Frame);
        if (tableAddress is not null)
        {
            return;
        }

        directory.Directory!.Dead.Remove(address);
        directory.Directory.RoomIn(address / Slot.PerBlock);
    }

    /// <summary>False when the directory to be replaced holds dead records: see <see cref="RequireEmptyAsync"/>.</summary>
    private async ValueTask<bool> CheckReplaceAsync(
        Inode inode, Inode replaced, Inode to, ReadOnlyMemory<byte> toName, bool mayReplace, CffsIdentity identity, IoMode io)
    {
        if (!mayReplace)
        {
            throw new CffsException(CffsError.Exists, $"'{PathName.Display(toName)}' exists");
        }

        Permissions.RequireRemoval(to, replaced, identity);
        if (inode.IsDirectory != replaced.IsDirectory)
        {
            throw new CffsException(
                inode.IsDirectory ? CffsError.NotDirectory : CffsError.IsDirectory, $"'{PathName.Display(toName)}' is {(replaced.IsDirectory ? "a" : "no")} directory");
        }

        return !replaced.IsDirectory || await RequireEmptyAsync(replaced, io).ConfigureAwait(false);
    }

    /// <summary>False when the record must keep its name for now: see <see cref="DirectoryState.Burials"/>.</summary>
    private async ValueTask<bool> MoveNameAsync(
        Inode from, ReadOnlyMemory<byte> fromName, Inode to, ReadOnlyMemory<byte> toName, Inode inode, Inode? replaced, IoMode io)
    {
        SlotPlace source = await RequireAsync(from, fromName, io).ConfigureAwait(false);
        if (from.Directory!.Burials.ContainsKey(source.Address))
        {
            core.Cache.Release(source.Frame);
            return false;
        }

        await RequireNotJustLeftAsync(to, toName, io).ConfigureAwait(false);
        if (replaced is not null && core.RecentLinks.Has(replaced))
        {
            await core.Committer.CommitAsync(io).ConfigureAwait(false);
        }

        SlotPlace? victim = replaced is null ? null : await RequireAsync(to, toName, io).ConfigureAwait(false);
        try
        {
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
                await core.Files.MoveInlineOutAsync(inode, io).ConfigureAwait(false);
                record = inode.Record;
                next.InlineLength = record.InlineLength;
                next.Start = record.Start;
                next.Count = record.Count;
            }

            next.Slots = (byte)Slot.SlotsFor(next.ContentBytes);
            byte[] inline = new byte[record.InlineLength];
            Record.ReadContents(core.Directories.SectorOf(source), source.InSector, record.NameLength, inline);

            SlotPlace target = source;
            bool inPlace = from == to && TryRenameInPlace(from, source, record, next, toName.Span, inline);
            if (!inPlace)
            {
                target = await MoveRecordAsync(from, source, to, inode, record, next, toName, inline, io).ConfigureAwait(false);
            }

            DirectoryState fromState = from.Directory!;
            DirectoryState toState = to.Directory!;
            fromState.Names.Remove(oldHash, source.Address);
            fromState.Leave(oldHash, core.Committer.Stamp);
            toState.Names.Add(next.NameHash, target.Address);
            if (inode.IsDirectory)
            {
                fromState.Subdirectories--;
                toState.Subdirectories++;
            }

            lock (core.Metadata)
            {
                if (record.Kind != SlotKind.ExternalLink)
                {
                    inode.Record = next;
                    if (!inPlace)
                    {
                        Relocate(inode, to, target);
                    }
                }
                else
                {
                    inode.Record.ChangeTime = next.ChangeTime;
                    core.Committer.AddDirty(inode);
                }

                Touch(from);
                Touch(to);
            }

            if (!inPlace)
            {
                fromState.RoomIn(source.Address / Slot.PerBlock);
                core.Cache.Release(target.Frame);
            }

            if (victim is { } dead)
            {
                Bury(to, dead, replaced!, target.Address);
            }

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

    /// <summary>
    /// The name that was replaced is dead at once; its record goes when the new name is durable. Until then a crash leaves both records, and the later NameSequence counts.
    /// </summary>
    private void Bury(Inode directory, SlotPlace place, Inode replaced, uint heir)
    {
        Record record = core.Directories.RecordAt(directory, place);
        DirectoryState state = directory.Directory!;
        state.Names.Remove(record.NameHash, place.Address);
        state.Dead.Add(place.Address);
        if (record.Kind == SlotKind.Directory)
        {
            state.Subdirectories--;
        }

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
                replaced.BuriedLinks++;
            }

            core.Committer.AfterCommit(io => RemoveBuriedAsync(directory, place.Address, replaced, ground, io));
        }
    }

    private async ValueTask RemoveBuriedAsync(Inode directory, uint address, Inode replaced, BurialGround ground, IoMode io)
    {
        await _moves.EnterAsync(io).ConfigureAwait(false);
        bool external = replaced.Container == core.Externals;
        await EnterAsync([directory, replaced, external ? core.Externals : null], io).ConfigureAwait(false);
        try
        {
            bool again;
            lock (core.Metadata)
            {
                again = !external && replaced.Opens > 0;
                if (again)
                {
                    // Still open: look again after the next commit. A crash meanwhile leaves a dead record, as before.
                    core.Committer.AfterCommit(io => RemoveBuriedAsync(directory, address, replaced, ground, io));
                }
            }

            if (again)
            {
                return;
            }

            if (external)
            {
                lock (core.Metadata)
                {
                    replaced.BuriedLinks--;
                }

                SlotPlace place = await core.Directories.PlaceAsync(directory, address, io).ConfigureAwait(false);
                await DropLinkAsync(directory, place, replaced, io).ConfigureAwait(false);
                core.Cache.Release(place.Frame);
            }
            else
            {
                await core.PrepareFreeAsync(replaced, io).ConfigureAwait(false);
                RemoveRecord(replaced);
            }

            directory.Directory!.Dead.Remove(address);
            directory.Directory.RoomIn(address / Slot.PerBlock);
            lock (core.Metadata)
            {
                core.Committer.AfterCommit(io => CloseGroundAsync(directory, ground, io));
            }
        }
        finally
        {
            Exit([directory, replaced, external ? core.Externals : null]);
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
            core.Committer.AfterCommit(io => RemoveFoundAsync(directory, address, ground, io));
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
                await DropLinkAsync(directory, place, inode, io).ConfigureAwait(false);
            }
            else if (inode.Opens > 0)
            {
                await OrphanAsync(directory, place, inode, io).ConfigureAwait(false);
            }
            else
            {
                await core.PrepareFreeAsync(inode, io).ConfigureAwait(false);
                RemoveRecord(inode);
            }

            DirectoryState state = directory.Directory!;
            state.Names.Remove(record.NameHash, place.Address);
            state.RoomIn(place.Address / Slot.PerBlock);
            if (record.Kind == SlotKind.Directory)
            {
                state.Subdirectories--;
            }

            lock (core.Metadata)
            {
                Touch(directory);
            }

            return true;
        }
        finally
        {
            core.Cache.Release(place.Frame);
        }
    }

    /// <summary>Removes one of several names: the name first, the count when that is durable or ordered behind it.</summary>
    private async ValueTask DropLinkAsync(Inode directory, SlotPlace place, Inode inode, IoMode io)
    {
        await core.RecentLinks.OrderAsync(inode, place.Block, io).ConfigureAwait(false);
        if (inode.Record.Links == 1 && core.Intents.IsMoving(inode.Number))
        {
            // The name's old place is still on the disk: the inode must not go before it.
            await core.Committer.CommitAsync(io).ConfigureAwait(false);
        }

        lock (core.Metadata)
        {
            core.Edit.Begin();
            Record link = core.Directories.RecordAt(directory, place);
            core.Directories.StageClear(directory.Number, place.Block, place.Frame, place.Index, link.Slots);
            core.Edit.Apply();
        }

        await core.OrderAsync(place.Block, inode.SlotBlock, io).ConfigureAwait(false);
        await core.PrepareFreeAsync(inode, io).ConfigureAwait(false);
        lock (core.Metadata)
        {
            inode.Record.Links--;
            inode.Record.ChangeTime = core.Now();
            if (inode.Record.Links == 0)
            {
                inode.IsUnlinked = true;
                if (inode.Opens == 0)
                {
                    RemoveRecordLocked(inode);
                    return;
                }
            }

            core.Edit.Begin();
            core.Edit.Stage(inode, inode.Record);
            core.Edit.Apply();
        }
    }

    private async ValueTask OrphanAsync(Inode directory, SlotPlace source, Inode inode, IoMode io)
    {
        await core.Orphans.Lock.EnterAsync(io).ConfigureAwait(false);
        try
        {
            await core.Directories.EnsureLoadedAsync(core.Orphans, io).ConfigureAwait(false);
            byte[] name = System.Text.Encoding.ASCII.GetBytes(inode.Number.ToString("x", System.Globalization.CultureInfo.InvariantCulture));
            Record record = inode.Record;
            byte[] inline = new byte[record.InlineLength];
            Record.ReadContents(core.Directories.SectorOf(source), source.InSector, record.NameLength, inline);
            Record next = record;
            next.NameLength = (byte)name.Length;
            next.NameHash = NameHash.Compute(name, core.Guard.HashSeed);
            next.NameSequence = core.NextNameSequence();
            next.Slots = (byte)Slot.SlotsFor(Math.Min(Slot.ContentBytesMax, next.ContentBytes));
            SlotPlace target = await MoveRecordAsync(directory, source, core.Orphans, inode, record, next, name, inline, io).ConfigureAwait(false);
            core.Orphans.Directory!.Names.Add(next.NameHash, target.Address);
            lock (core.Metadata)
            {
                inode.Record = next;
                Relocate(inode, core.Orphans, target);
                inode.IsUnlinked = true;
            }

            core.Cache.Release(target.Frame);
        }
        finally
        {
            core.Orphans.Lock.Exit();
        }
    }

    /// <summary>Rewrites a record's name where it is, if its sector has room: one sector, atomic.</summary>
    private bool TryRenameInPlace(Inode directory, SlotPlace place, in Record record, in Record next, ReadOnlySpan<byte> name, ReadOnlySpan<byte> inline)
    {
        if (place.InSector + next.Slots > Slot.PerSector)
        {
            return false;
        }

        lock (core.Metadata)
        {
            core.Edit.Begin();
            Span<byte> sector = core.Edit.Sector(place.Block, place.Frame, place.SectorIndex, SectorKind.Slots, directory.Number);
            for (int i = record.Slots; i < next.Slots; i++)
            {
                if (sector[(place.InSector + i) * Slot.SizeBytes] != (byte)SlotKind.Free)
                {
                    return false;
                }
            }

            sector.Slice(place.InSector * Slot.SizeBytes, record.Slots * Slot.SizeBytes).Clear();
            DirectoryStore.StageInto(sector, place.InSector, next, name, inline);
            core.Edit.Apply();
            return true;
        }
    }

    /// <summary>
    /// Moves a record to another block: the intent, then the new record, then the removal of the old one, each durable before the next (intent log; XN's rule three).
    /// In core it is one step. Returns the new place, its frame retained.
    /// </summary>
    private async ValueTask<SlotPlace> MoveRecordAsync(
        Inode from, SlotPlace source, Inode to, Inode inode, Record record, Record next, ReadOnlyMemory<byte> name, ReadOnlyMemory<byte> inline, IoMode io)
    {
        await core.Directories.EnsureLoadedAsync(to, io).ConfigureAwait(false);
        while (true)
        {
            if (core.Intents.IsFull)
            {
                await core.Committer.CommitAsync(io).ConfigureAwait(false);
            }

            SlotPlace target = await core.Directories.MakeRoomAsync(to, next.Slots, source.Block, io).ConfigureAwait(false);
            XnStatus status;
            lock (core.Metadata)
            {
                core.Intents.Write(new Intent
                {
                    Inode = inode.Number,
                    FromDirectory = from.Number,
                    ToDirectory = to.Number,
                    NameSequence = next.NameSequence,
                    FromAddress = source.Address,
                    ToAddress = target.Address,
                    State = Intent.Pending,
                    Epoch = core.State.Epoch,
                });
                status = XnStatus.Ok;
                BlockExtent log = core.Intents.Pending;
                for (uint i = 0; i < log.Count && status == XnStatus.Ok; i++)
                {
                    status = core.Disk.Order(core.Key, log.First + i, target.Block);
                }

                if (status == XnStatus.Ok && record.Kind == SlotKind.ExternalLink)
                {
                    // A name is not there before what it names.
                    status = core.Disk.Order(core.Key, inode.SlotBlock, target.Block);
                }

                if (status == XnStatus.Ok)
                {
                    core.Edit.Begin();
                    core.Directories.Stage(to, target, next, name.Span, inline.Span);
                    core.Directories.StageClear(from.Number, source.Block, source.Frame, source.Index, record.Slots);
                    ClaimMoves(record, source.Block, source.Index, target.Block, target.Index);

                    // Without blocks there is no move that XN sees; the order is the same.
                    core.Edit.Transaction.Order(target.Block, source.Block);
                    status = core.Edit.TryApply();
                    if (status == XnStatus.Ok)
                    {
                        return target;
                    }
                }

                if (status != XnStatus.OrderCycle)
                {
                    throw new CffsException(CffsError.Corrupt, $"XN refused to move inode {inode.Number} ({status}): {core.Edit.Transaction.LastRefusal}");
                }
            }

            core.Cache.Release(target.Frame);
            await core.Committer.CommitAsync(io).ConfigureAwait(false);
        }
    }

    private void ClaimMoves(in Record record, BlockNumber from, int fromPartition, BlockNumber to, int toPartition)
    {
        if (record.Kind is SlotKind.Special or SlotKind.ExternalLink)
        {
            return;
        }

        if (record.Count > 0)
        {
            core.Edit.Transaction.ClaimMove(
                new BlockExtent(new BlockNumber(record.Start), record.Count), core.MapEdits.RootTemplate(record), from, fromPartition, to, toPartition);
        }

        if (record.Attributes != 0)
        {
            core.Edit.Transaction.ClaimMove(
                new BlockExtent(new BlockNumber(record.Attributes), 1), core.Templates.Attributes, from, fromPartition, to, toPartition);
        }
    }

    private void Relocate(Inode inode, Inode container, in SlotPlace place)
    {
        BlockNumber oldBlock = inode.SlotBlock;
        int oldPartition = MapLoader.PartitionOf(inode);
        core.Cache.Frames.Retain(place.Frame);
        core.Cache.Release(inode.SlotFrame);
        Inode old = inode.Container!;
        core.Inodes.Hold(container);
        inode.Container = container;
        inode.SlotBlock = place.Block;
        inode.SlotIndex = place.Index;
        inode.SlotAddress = place.Address;
        inode.SlotFrame = place.Frame;
        core.Inodes.Release(old);
        inode.Map.Reparent(oldBlock, oldPartition, place.Block, place.Index);
    }

    private async ValueTask ExternaliseAsync(Inode inode, Inode container, IoMode io)
    {
        await core.Externals.Lock.EnterAsync(io).ConfigureAwait(false);
        try
        {
            await core.Directories.EnsureLoadedAsync(core.Externals, io).ConfigureAwait(false);
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

    private async ValueTask<Inode> InsertAsync(Inode directory, Record record, ReadOnlyMemory<byte> name, ReadOnlyMemory<byte> inline, IoMode io)
    {
        SlotPlace place = await core.Directories.MakeRoomAsync(directory, record.Slots, default, io).ConfigureAwait(false);
        lock (core.Metadata)
        {
            core.Edit.Begin();
            core.Directories.Stage(directory, place, record, name.Span, inline.Span);
            core.Edit.Apply();
            Touch(directory);
        }

        directory.Directory!.Names.Add(record.NameHash, place.Address);
        if (record.Kind == SlotKind.Directory)
        {
            directory.Directory.Subdirectories++;
        }

        Inode inode = core.AddInode(directory, place, record);
        inode.IsMapLoaded = true;
        return inode;
    }

    /// <summary>
    /// An inode that exists is to get a name that another has just left. After a crash the disk could show both under it, and neither could be given up: so the leaving is made durable first.
    /// </summary>
    private ValueTask RequireNotJustLeftAsync(Inode directory, ReadOnlyMemory<byte> name, IoMode io) =>
        directory.Directory!.IsJustLeft(NameHash.Compute(name.Span, core.Guard.HashSeed), core.Committer.IsDurable) ? core.Committer.CommitAsync(io) : default;

    private Record NewRecord(Inode directory, ReadOnlyMemory<byte> name, ushort mode, ulong device, CffsIdentity identity)
    {
        long now = core.Now();
        bool inheritsGroup = (directory.Record.Mode & ModeBits.SetGroup) != 0;
        SlotKind kind = ModeBits.KindOf(mode) switch
        {
            CffsKind.File => SlotKind.File,
            CffsKind.Directory => SlotKind.Directory,
            CffsKind.SymbolicLink => SlotKind.SymbolicLink,
            _ => SlotKind.Special,
        };
        return new Record
        {
            Kind = kind,
            Slots = 1,
            NameLength = (byte)name.Length,
            Start = kind == SlotKind.Special ? device : 0,
            Inode = core.NextInode(),
            NameHash = NameHash.Compute(name.Span, core.Guard.HashSeed),
            NameSequence = core.NextNameSequence(),
            Mode = inheritsGroup && kind == SlotKind.Directory ? (ushort)(mode | ModeBits.SetGroup) : mode,
            Links = kind == SlotKind.Directory ? 0u : 1u,
            User = identity.User,
            Group = inheritsGroup ? directory.Record.Group : identity.Group,
            AccessTime = now,
            ModifyTime = now,
            ChangeTime = now,
            BirthTime = now,
        };
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

    private void RemoveRecord(Inode inode)
    {
        lock (core.Metadata)
        {
            RemoveRecordLocked(inode);
        }
    }

    private void RemoveRecordLocked(Inode inode)
    {
        core.Allocator.Close(ref inode.Window);
        ClearRecord(inode, isTwiceOwned: false);
        inode.IsUnlinked = true;
        inode.IsRemoved = true;
        core.MapEdits.ForgetMap(inode);
        inode.IsMapLoaded = true;
        if (inode.Container is { Directory: { } state } container)
        {
            state.RoomIn(inode.SlotAddress / Slot.PerBlock);
            if (container == core.Orphans)
            {
                state.Names.Remove(inode.Record.NameHash, inode.SlotAddress);
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
        ref Record record = ref inode.Record;
        core.Directories.StageClear(inode.Container!.Number, inode.SlotBlock, inode.SlotFrame, inode.SlotIndex, record.Slots);
        if (record.Kind is not (SlotKind.Special or SlotKind.ExternalLink))
        {
            if (record.Count > 0)
            {
                BlockExtent extent = new(new BlockNumber(record.Start), record.Count);
                if (isTwiceOwned)
                {
                    core.Edit.Transaction.ClaimFree(extent, core.MapEdits.RootTemplate(record), inode.SlotBlock, inode.SlotIndex);
                }
                else
                {
                    core.Edit.Transaction.ClaimFreeTree(extent, core.MapEdits.RootTemplate(record), inode.SlotBlock, inode.SlotIndex);
                }
            }

            if (record.Attributes != 0)
            {
                core.Edit.Transaction.ClaimFree(new BlockExtent(new BlockNumber(record.Attributes), 1), core.Templates.Attributes, inode.SlotBlock, inode.SlotIndex);
            }
        }
    }

    private static void RequireWritable(Inode directory, CffsIdentity identity)
    {
        if (!directory.IsDirectory)
        {
            throw new CffsException(CffsError.NotDirectory, $"inode {directory.Number} is no directory");
        }

        if (directory.IsRemoved || directory.IsUnlinked)
        {
            throw new CffsException(CffsError.NotFound, $"directory {directory.Number} has been removed");
        }

        Permissions.Require(directory, identity, Permissions.Write | Permissions.Execute);
    }

    /// <summary>Refuses a directory with entries. False when it holds dead records only: they go with a commit, and the caller tries again.</summary>
    private async ValueTask<bool> RequireEmptyAsync(Inode directory, IoMode io)
    {
        DirectoryState state = await core.Directories.EnsureLoadedAsync(directory, io).ConfigureAwait(false);
        if (!state.IsEmpty)
        {
            throw new CffsException(CffsError.NotEmpty, $"directory {directory.Number} is not empty");
        }

        if (state.Dead.Count > 0)
        {
            return false;
        }

        // The blocks are freed with the directory: they must be in core for XN to see that they own nothing.
        await core.Maps.EnsureAsync(directory, io).ConfigureAwait(false);
        for (ulong logical = directory.Map.NextMapped(0); logical != ulong.MaxValue; logical = directory.Map.NextMapped(logical + 1))
        {
            core.Cache.Release(await core.Directories.GetBlockAsync(directory, logical, io).ConfigureAwait(false));
        }

        return true;
    }

    private async ValueTask<SlotPlace> RequireAsync(Inode directory, ReadOnlyMemory<byte> name, IoMode io) =>
        await core.Directories.FindAsync(directory, name, io).ConfigureAwait(false)
            ?? throw new CffsException(CffsError.NotFound, $"'{PathName.Display(name)}' not found");

    private void Touch(Inode directory)
    {
        directory.Record.ModifyTime = directory.Record.ChangeTime = core.Now();
        directory.Version++;
        core.NamesVersion++;
        core.Committer.AddDirty(directory);
    }

    private static async ValueTask EnterAsync(Inode?[] inodes, IoMode io)
    {
        foreach (Inode inode in InOrder(inodes))
        {
            await inode.Lock.EnterAsync(io).ConfigureAwait(false);
        }
    }

    private static void Exit(Inode?[] inodes)
    {
        foreach (Inode inode in InOrder(inodes).Reverse())
        {
            inode.Lock.Exit();
        }
    }

    private static IEnumerable<Inode> InOrder(Inode?[] inodes) => inodes.Where(inode => inode is not null).Distinct().OrderBy(Rank)!;

    // The built-in tables come last: lookups take them while they hold a directory.
    private static ulong Rank(Inode? inode) =>
        inode!.Number is Superblock.OrphanInode or Superblock.ExternalInode ? ulong.MaxValue - inode.Number : inode.Number;
}
