// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.FileSystems.CFFS.Directories;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Paths;
using Exo.FileSystems.CFFS.Volume;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Operations;

/// <content>
/// Two names change places (<c>RENAME_EXCHANGE</c>). Of one sector it is that sector. Else both inodes get fresh slots, and one change makes all four:
/// <code>
///   from-directory   [one, from-name]  ──┐  ┌──►  [other, from-name]
///                                        ╳
///   to-directory     [other, to-name]  ──┘  └──►  [one, to-name]
/// </code>
/// On the disk: the intent; then the two new records, in either order; then, when both are durable, the removal of the two old ones. So as long as one new record is missing, both old ones are there, and what recovery needs to
/// make the missing one: whoever finds one of the two carries the other move out too, whoever finds none leaves everything as it was (docs/cffs-format.md, intent log).
/// </content>
internal sealed partial class NameOperations
{
    /// <summary>Exchanges two names, in one step for readers, watches and crashes. Two names of one inode are exchanged already.</summary>
    public async ValueTask ExchangeAsync(
        Inode from, ReadOnlyMemory<byte> fromName, Inode to, ReadOnlyMemory<byte> toName, CffsIdentity identity, IoMode io)
    {
        while (!await TryExchangeAsync(from, fromName, to, toName, identity, io).ConfigureAwait(false))
        {
            RequireClear(await ClearShelfAsync(io).ConfigureAwait(false));
            await core.Committer.SyncAsync(io).ConfigureAwait(false);
        }
    }

    private async ValueTask<bool> TryExchangeAsync(
        Inode from, ReadOnlyMemory<byte> fromName, Inode to, ReadOnlyMemory<byte> toName, CffsIdentity identity, IoMode io)
    {
        await core.BeginWritingAsync(io).ConfigureAwait(false);
        await _moves.EnterAsync(io).ConfigureAwait(false);
        Inode? one = null;
        Inode? other = null;
        try
        {
            one = await RequireInodeAsync(from, fromName, identity, io).ConfigureAwait(false);
            other = await RequireInodeAsync(to, toName, identity, io).ConfigureAwait(false);
            if (one == other)
            {
                return true;
            }

            if (one.Container is null || other.Container is null || fromName.Span.SequenceEqual(".."u8) || toName.Span.SequenceEqual(".."u8))
            {
                throw new CffsException(CffsError.Invalid, "this directory cannot be renamed");
            }

            if (IsAtOrAbove(one, to) || IsAtOrAbove(other, from))
            {
                throw new CffsException(CffsError.Invalid, "a directory cannot move below itself");
            }

            bool externals = one.Container == core.Externals || other.Container == core.Externals;
            Inode?[] locks = [from, to, one, other, externals ? core.Externals : null];
            await EnterAsync(locks, io).ConfigureAwait(false);
            try
            {
                RequireExchange(from, one, to, identity);
                RequireExchange(to, other, from, identity);
                return await ExchangeNamesAsync(new Crossing(from, fromName, one, toName), new Crossing(to, toName, other, fromName), io).ConfigureAwait(false);
            }
            finally
            {
                Exit(locks);
            }
        }
        finally
        {
            if (one is not null)
            {
                core.Inodes.Release(one);
            }

            if (other is not null)
            {
                core.Inodes.Release(other);
            }

            _moves.Exit();
        }
    }

    /// <summary>What rename(2) asks of each of the two: the name may go and the other directory take it, and a directory that gets another parent changes itself.</summary>
    private static void RequireExchange(Inode from, Inode inode, Inode to, CffsIdentity identity)
    {
        RequireThawed(from, inode, identity);
        Permissions.RequireRemoval(from, inode, identity);
        RequireWritable(to, identity);
        if (inode.IsDirectory && from != to)
        {
            Permissions.Require(inode, identity, Permissions.Write);
        }
    }

    /// <summary>One of the two inodes on its way to the other's name.</summary>
    private sealed class Crossing(Inode from, ReadOnlyMemory<byte> oldName, Inode inode, ReadOnlyMemory<byte> newName)
    {
        public Inode From => from;

        public ReadOnlyMemory<byte> OldName => oldName;

        public Inode Inode => inode;

        public ReadOnlyMemory<byte> NewName => newName;

        /// <summary>Where the record is, its frame retained.</summary>
        public SlotPlace? Source { get; set; }

        /// <summary>Where it will be, its frame retained.</summary>
        public SlotPlace? Target { get; set; }

        /// <summary>The record as it is.</summary>
        public Record Record { get; set; }

        /// <summary>And as it will be.</summary>
        public Record Next { get; set; }

        public byte[] Inline { get; set; } = [];

        /// <summary>The record is the inode, and not a mere name of it.</summary>
        public bool IsEmbedded => Record.Kind != SlotKind.ExternalLink;
    }

    /// <summary>False when something has to go before: see <see cref="MoveNameAsync"/>; or when a name leads elsewhere by now.</summary>
    private async ValueTask<bool> ExchangeNamesAsync(Crossing one, Crossing other, IoMode io)
    {
        try
        {
            foreach (Crossing crossing in (Crossing[])[one, other])
            {
                SlotPlace source = await RequireAsync(crossing.From, crossing.OldName, io).ConfigureAwait(false);
                crossing.Source = source;
                if (core.Directories.RecordAt(crossing.From, source).Inode != crossing.Inode.Number || crossing.From.Directory!.Burials.ContainsKey(source.Address)
                    || HasShelved(crossing.From, crossing.OldName))
                {
                    return false;
                }
            }

            await RequireNotJustLeftAsync(one.From, one.OldName, io).ConfigureAwait(false);
            await RequireNotJustLeftAsync(other.From, other.OldName, io).ConfigureAwait(false);
            Compose(one);
            Compose(other);
            bool isInPlace = TryExchangeInPlace(one, other);
            if (!isInPlace)
            {
                await MakeRoomAsync(one, other, io).ConfigureAwait(false);
                await CrossAsync(one, other, io).ConfigureAwait(false);
            }

            foreach (Crossing crossing in (Crossing[])[one, other])
            {
                DirectoryState state = crossing.From.Directory!;
                uint address = crossing.Source!.Value.Address;
                core.Directories.RemoveName(crossing.From, crossing.Record.NameHash, address, crossing.Inode.IsDirectory);
                state.Leave(crossing.Record.NameHash, core.Committer.Stamp);
                state.LastRemoval = core.Committer.Stamp;
                if (!isInPlace)
                {
                    state.Room.Freed(address / Slot.PerBlock);
                }
            }

            lock (core.Metadata)
            {
                foreach (Crossing crossing in (Crossing[])[one, other])
                {
                    if (!crossing.IsEmbedded)
                    {
                        crossing.Inode.Record.ChangeTime = crossing.Next.ChangeTime;
                        core.Committer.AddDirty(crossing.Inode);
                    }
                }

                Touch(one.From);
                Touch(other.From);
                core.Changes.NoteExchange(one.From, one.OldName.Span, one.Inode, other.From, other.OldName.Span, other.Inode);
                core.Changes.NoteLinks(one.Inode);
                core.Changes.NoteLinks(other.Inode);
            }

            await core.Directories.AddNameAsync(other.From, one.Next.NameHash, one.Target!.Value.Address, one.Inode.IsDirectory, io).ConfigureAwait(false);
            await core.Directories.AddNameAsync(one.From, other.Next.NameHash, other.Target!.Value.Address, other.Inode.IsDirectory, io).ConfigureAwait(false);
            return true;
        }
        finally
        {
            foreach (SlotPlace place in new[] { one.Source, other.Source, one.Target, other.Target }.OfType<SlotPlace>())
            {
                core.Cache.Release(place.Frame);
            }
        }
    }

    /// <summary>Reads the record as it is now and makes of it what it will be.</summary>
    private void Compose(Crossing crossing)
    {
        SlotPlace source = crossing.Source!.Value;
        Record record = core.Directories.RecordAt(crossing.From, source);
        if (record.Kind != SlotKind.ExternalLink)
        {
            record = crossing.Inode.Record;
        }

        crossing.Record = record;
        crossing.Next = Renamed(record, crossing.NewName.Span, crossing.Next.NameSequence != 0 ? crossing.Next.NameSequence : core.NextNameSequence());
        crossing.Inline = new byte[record.InlineLength];
        Record.ReadContents(core.Directories.SectorOf(source), source.InSector, record.NameLength, crossing.Inline);
    }

    private Record Renamed(Record record, ReadOnlySpan<byte> name, uint sequence)
    {
        record.NameLength = (byte)name.Length;
        record.NameHash = NameHash.Compute(name, core.Guard.HashSeed);
        record.NameSequence = sequence;
        record.ChangeTime = core.Now();
        record.Slots = record.ContentBytes <= Slot.ContentBytesMax ? (byte)Slot.SlotsFor(record.ContentBytes) : (byte)0;
        return record;
    }

    /// <summary>Two records of one sector get each other's name where they are, if there is room: one sector, atomic.</summary>
    private bool TryExchangeInPlace(Crossing one, Crossing other)
    {
        SlotPlace place = one.Source!.Value;
        SlotPlace otherPlace = other.Source!.Value;
        if (place.Block != otherPlace.Block || place.SectorIndex != otherPlace.SectorIndex)
        {
            return false;
        }

        lock (core.Metadata)
        {
            core.Edit.Begin();
            Span<byte> sector = core.Edit.Sector(place.Block, place.Frame, place.SectorIndex, SectorKind.Slots, one.From.Number);
            sector.Slice(place.InSector * Slot.SizeBytes, one.Record.Slots * Slot.SizeBytes).Clear();
            sector.Slice(otherPlace.InSector * Slot.SizeBytes, other.Record.Slots * Slot.SizeBytes).Clear();
            if (!TryStage(sector, place, one) || !TryStage(sector, otherPlace, other))
            {
                return false;
            }

            core.Edit.Apply();
            foreach (Crossing crossing in (Crossing[])[one, other])
            {
                if (crossing.IsEmbedded)
                {
                    // Under the same lock: a commit that runs meanwhile writes a dirty inode's fields over those of its record.
                    crossing.Inode.Record = crossing.Next;
                }

                crossing.Target = crossing.Source;
                core.Cache.Frames.Retain(crossing.Source!.Value.Frame);
            }

            return true;
        }
    }

    private static bool TryStage(Span<byte> sector, in SlotPlace place, Crossing crossing)
    {
        int slots = crossing.Next.Slots;
        if (slots == 0 || !Slot.AreFree(sector, place.InSector, slots))
        {
            return false;
        }

        DirectoryStore.StageInto(sector, place.InSector, crossing.Next, crossing.NewName.Span, crossing.Inline);
        return true;
    }

    /// <summary>
    /// Makes both records such as fit into their new places, and finds those, and has all that durable: recovery then finds it so, and needs no room of its own. Not in the blocks of the old records, which must stay until both
    /// new ones are durable.
    /// </summary>
    private async ValueTask MakeRoomAsync(Crossing one, Crossing other, IoMode io)
    {
        foreach (Crossing crossing in (Crossing[])[one, other])
        {
            if (crossing.Record.IsPacked || crossing.Next.Slots == 0)
            {
                await core.Files.MoveOutAsync(crossing.Inode, io).ConfigureAwait(false);
                Compose(crossing);
            }
        }

        SlotPlace source = one.Source!.Value;
        SlotPlace otherSource = other.Source!.Value;
        one.Target = await core.Directories.MakeRoomAsync(other.From, one.Next.Slots, source.Block, io, otherSource.Block).ConfigureAwait(false);
        other.Target = await core.Directories.MakeRoomAsync(one.From, other.Next.Slots, source.Block, io, otherSource.Block, isOneMore: one.From == other.From).ConfigureAwait(false);
        await core.Committer.CommitAsync(io).ConfigureAwait(false);
    }

    /// <summary>The change itself. In core it is one step; both inodes are at their new places with it, unless a record is a mere name.</summary>
    private async ValueTask CrossAsync(Crossing one, Crossing other, IoMode io)
    {
        SlotPlace source = one.Source!.Value;
        SlotPlace otherSource = other.Source!.Value;
        SlotPlace target = one.Target!.Value;
        SlotPlace otherTarget = other.Target!.Value;
        while (core.Intents.IsFull || !TryCross())
        {
            await core.Committer.CommitAsync(io).ConfigureAwait(false);
        }

        bool TryCross()
        {
            lock (core.Metadata)
            {
                core.Intents.Write(new Intent
                {
                    Inode = one.Inode.Number,
                    FromDirectory = one.From.Number,
                    ToDirectory = other.From.Number,
                    NameSequence = one.Next.NameSequence,
                    State = Intent.Pending | Intent.Exchange,
                    Epoch = core.State.Epoch,
                    FromAddress = source.Address,
                    ToAddress = target.Address,
                    OtherInode = other.Inode.Number,
                    OtherNameSequence = other.Next.NameSequence,
                    OtherFromAddress = otherSource.Address,
                    OtherToAddress = otherTarget.Address,
                });
                XnStatus status = XnStatus.Ok;
                BlockExtent log = core.Intents.Pending;
                for (uint i = 0; i < log.Count && status == XnStatus.Ok; i++)
                {
                    status = Order(log.First + i, target.Block);
                    status = status == XnStatus.Ok ? Order(log.First + i, otherTarget.Block) : status;
                }

                foreach (Crossing crossing in (Crossing[])[one, other])
                {
                    if (status == XnStatus.Ok && !crossing.IsEmbedded)
                    {
                        // A name is not there before what it names.
                        status = Order(crossing.Inode.SlotBlock, crossing.Target!.Value.Block);
                    }
                }

                if (status == XnStatus.Ok)
                {
                    core.Edit.Begin();
                    Stage(one, other);
                    Stage(other, one);
                    core.Edit.Transaction.Order(target.Block, otherSource.Block);
                    core.Edit.Transaction.Order(otherTarget.Block, source.Block);
                    status = core.Edit.TryApply();
                }

                if (status == XnStatus.OrderCycle)
                {
                    return false;
                }

                if (status != XnStatus.Ok)
                {
                    throw new CffsException(CffsError.Corrupt, $"XN refused to exchange inodes {one.Inode.Number} and {other.Inode.Number} ({status}): {core.Edit.Transaction.LastRefusal}");
                }

                // Under the same lock: a commit that runs meanwhile writes what it finds of a dirty inode to where it finds it.
                Arrive(one, other.From);
                Arrive(other, one.From);
                return true;
            }
        }

        XnStatus Order(BlockNumber before, BlockNumber after) => core.Disk.Order(core.Key, before, after);

        void Stage(Crossing crossing, Crossing opposite)
        {
            SlotPlace from = crossing.Source!.Value;
            SlotPlace to = crossing.Target!.Value;
            core.Directories.Stage(opposite.From, to, crossing.Next, crossing.NewName.Span, crossing.Inline);
            core.Directories.StageClear(crossing.From.Number, from.Block, from.Frame, from.Index, crossing.Record.Slots);
            ClaimMoves(crossing.Record, from.Block, from.Index, to.Block, to.Index);

            // Without blocks there is no move that XN sees; the order is the same.
            core.Edit.Transaction.Order(to.Block, from.Block);
        }

        void Arrive(Crossing crossing, Inode container)
        {
            if (crossing.IsEmbedded)
            {
                crossing.Inode.Record = crossing.Next;
                Relocate(crossing.Inode, container, crossing.Target!.Value);
            }
        }
    }

    /// <summary>
    /// A crash has left one move of an exchange and not the other: that one is carried out. The record goes from its old place to <paramref name="toAddress"/>, or, where that is taken, elsewhere in the directory,
    /// under the name of the record at <paramref name="nameAddress"/>, which has moved and is dead from then on. False when the records are such as no crash leaves.
    /// </summary>
    public async ValueTask<bool> FinishExchangeAsync(Inode from, uint fromAddress, Inode to, uint toAddress, uint nameAddress, uint nameSequence, IoMode io)
    {
        await core.BeginWritingAsync(io).ConfigureAwait(false);
        Inode?[] locks = [from, to];
        await EnterAsync(locks, io).ConfigureAwait(false);
        List<SlotPlace> held = [];
        try
        {
            SlotPlace source = await HoldAsync(from, fromAddress).ConfigureAwait(false);
            SlotPlace named = await HoldAsync(to, nameAddress).ConfigureAwait(false);
            Record record = core.Directories.RecordAt(from, source);
            byte[] name = new byte[core.Directories.RecordAt(to, named).NameLength];
            Record.ReadContents(core.Directories.SectorOf(named), named.InSector, 0, name);
            Record next = Renamed(record, name, nameSequence);
            if (next.Slots == 0 || record.IsPacked)
            {
                return false;
            }

            byte[] inline = new byte[record.InlineLength];
            Record.ReadContents(core.Directories.SectorOf(source), source.InSector, record.NameLength, inline);
            SlotPlace target = await PlaceForAsync(to, toAddress, next.Slots, source.Block, named.Block, io).ConfigureAwait(false);
            held.Add(target);
            Inode? inode = null;
            if (record.Kind != SlotKind.ExternalLink)
            {
                core.Cache.Frames.Retain(source.Frame);
                inode = await core.GetInodeAsync(from, source, io).ConfigureAwait(false);
            }

            while (!TryMove())
            {
                await core.Committer.CommitAsync(io).ConfigureAwait(false);
            }

            bool wasDead = from.Directory!.Dead.Contains(fromAddress);
            bool isDirectory = record.Kind == SlotKind.Directory;
            if (!wasDead)
            {
                core.Directories.HideName(from, record.NameHash, fromAddress, isDirectory);
            }

            core.Directories.ForgetName(from, record.NameHash, fromAddress);
            from.Directory.Room.Freed(fromAddress / Slot.PerBlock);
            await core.Directories.AddNameAsync(to, next.NameHash, target.Address, isDirectory, io).ConfigureAwait(false);
            if (inode is not null)
            {
                core.Inodes.Release(inode);
            }

            return true;

            bool TryMove()
            {
                lock (core.Metadata)
                {
                    core.Edit.Begin();
                    core.Directories.Stage(to, target, next, name, inline);
                    core.Directories.StageClear(from.Number, source.Block, source.Frame, source.Index, record.Slots);
                    ClaimMoves(record, source.Block, source.Index, target.Block, target.Index);
                    core.Edit.Transaction.Order(target.Block, source.Block);
                    if (!core.Edit.TryApplyOrdered())
                    {
                        return false;
                    }

                    if (inode is not null)
                    {
                        inode.Record = next;
                        Relocate(inode, to, target);
                    }

                    return true;
                }
            }
        }
        finally
        {
            held.ForEach(place => core.Cache.Release(place.Frame));
            Exit(locks);
        }

        async ValueTask<SlotPlace> HoldAsync(Inode directory, uint address)
        {
            SlotPlace place = await core.Directories.PlaceAsync(directory, address, io).ConfigureAwait(false);
            held.Add(place);
            return place;
        }
    }

    /// <summary>A certain place, if it is free, or another. Its frame is retained.</summary>
    private async ValueTask<SlotPlace> PlaceForAsync(Inode directory, uint address, int slots, BlockNumber exclude, BlockNumber alsoExclude, IoMode io)
    {
        if (directory.Map.TryFind(address / Slot.PerBlock, out _))
        {
            SlotPlace place = await core.Directories.PlaceAsync(directory, address, io).ConfigureAwait(false);
            if (place.Block != exclude && place.Block != alsoExclude && Slot.AreFree(core.Directories.SectorOf(place), place.InSector, slots))
            {
                return place;
            }

            core.Cache.Release(place.Frame);
        }

        return await core.Directories.MakeRoomAsync(directory, slots, exclude, io, alsoExclude).ConfigureAwait(false);
    }

    private async ValueTask<Inode> RequireInodeAsync(Inode directory, ReadOnlyMemory<byte> name, CffsIdentity identity, IoMode io) =>
        await core.Paths.StepAsync(directory, name, identity, io).ConfigureAwait(false)
            ?? throw new CffsException(CffsError.NotFound, $"'{PathName.Display(name)}' not found");

    private static bool IsAtOrAbove(Inode inode, Inode directory)
    {
        for (Inode? above = directory; above is not null; above = above.Container)
        {
            if (above == inode)
            {
                return true;
            }
        }

        return false;
    }
}
