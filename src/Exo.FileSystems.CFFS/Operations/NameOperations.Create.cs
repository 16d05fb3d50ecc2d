// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Attributes;
using Exo.FileSystems.CFFS.Directories;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Paths;

namespace Exo.FileSystems.CFFS.Operations;

/// <content>New inodes with their names: one sector, one transaction.</content>
internal sealed partial class NameOperations
{
    /// <summary>Creates an inode with a name, and gives it back held; or, when the name exists and <paramref name="exclusive"/> is false, the one that has it. With an <paramref name="umask"/>, which a default access control list of the directory replaces, it inherits; a copy does not.</summary>
    public async ValueTask<(Inode Inode, bool Created)> CreateAsync(
        Inode directory, ReadOnlyMemory<byte> name, ushort mode, ulong device, ReadOnlyMemory<byte> inline, bool exclusive, CffsIdentity identity, IoMode io, bool opens = false, ushort? umask = null)
    {
        PathName.CheckNew(name);
        while (true)
        {
            (Inode? inode, bool created) = await TryCreateAsync(directory, name, mode, device, inline, exclusive, opens, umask, identity, io).ConfigureAwait(false);
            if (inode is not null)
            {
                return (inode, created);
            }

            RequireClear(await ClearShelfAsync(io).ConfigureAwait(false));
        }
    }

    /// <summary>No inode when a dead record of the name stands in the way.</summary>
    private async ValueTask<(Inode? Inode, bool Created)> TryCreateAsync(
        Inode directory, ReadOnlyMemory<byte> name, ushort mode, ulong device, ReadOnlyMemory<byte> inline, bool exclusive, bool opens, ushort? umask, CffsIdentity identity, IoMode io)
    {
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
            if (HasShelved(directory, name))
            {
                return (null, false);
            }

            Inheritance inherited = await InheritAsync(directory, mode, umask, io).ConfigureAwait(false);
            Record record = NewRecord(directory, name.Span, inherited.Mode, device, identity);
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
            Inode inode = await InsertAsync(directory, record, name, contents, io, inherited.Lists).ConfigureAwait(false);
            if (opens)
            {
                // Whoever takes the name away needs the directory's lock, which we have: he finds the file open.
                _ = Interlocked.Increment(ref inode.Opens);
            }

            return (inode, true);
        }
        finally
        {
            directory.Lock.Exit();
        }
    }

    /// <summary>As <see cref="CreateAsync"/>; contents that the record has no room for go to a block. Where they cannot, the name goes again.</summary>
    public async ValueTask<(Inode Inode, bool Created)> CreateWithContentsAsync(
        Inode directory, ReadOnlyMemory<byte> name, ushort mode, ulong device, ReadOnlyMemory<byte> contents, bool exclusive, CffsIdentity identity, IoMode io, ushort? umask = null)
    {
        (Inode inode, bool created) = await CreateAsync(directory, name, mode, device, contents, exclusive, identity, io, umask: umask).ConfigureAwait(false);
        if (!created || inode.Record.Size >= (ulong)contents.Length)
        {
            return (inode, created);
        }

        await inode.Lock.EnterAsync(io).ConfigureAwait(false);
        try
        {
            await core.Files.WriteAsync(inode, 0, contents, io).ConfigureAwait(false);
        }
        catch
        {
            inode.Lock.Exit();
            core.Inodes.Release(inode);
            await RemoveAsync(directory, name, isDirectory: false, CffsIdentity.Superuser, io).ConfigureAwait(false);
            throw;
        }

        inode.Lock.Exit();
        return (inode, created);
    }

    private async ValueTask<Inode> InsertAsync(Inode directory, Record record, ReadOnlyMemory<byte> name, ReadOnlyMemory<byte> inline, IoMode io, InheritedLists? lists = null)
    {
        for (bool hasTried = false; ; hasTried = true)
        {
            (SlotPlace place, FrameNumber frame) = await MakeRoomAsync(directory, record, lists, io).ConfigureAwait(false);
            if (TryInsert(directory, ref record, place, name.Span, inline.Span, lists, frame))
            {
                Inode inode = core.AddInode(directory, place, record);
                inode.IsMapLoaded = true;
                await core.Directories.AddNameAsync(directory, record.NameHash, place.Address, record.Kind == SlotKind.Directory, io).ConfigureAwait(false);
                return inode;
            }

            await core.Space.AwaitFreedAsync(hasTried, io).ConfigureAwait(false);
        }
    }

    /// <summary>False when no block is free for the lists; then the place and their frame are given back, as they are where it throws.</summary>
    private bool TryInsert(
        Inode directory, ref Record record, in SlotPlace place, ReadOnlySpan<byte> name, ReadOnlySpan<byte> inline, InheritedLists? lists, FrameNumber frame)
    {
        bool isDone = false;
        try
        {
            lock (core.Metadata)
            {
                core.Edit.Begin();
                if (lists is not null && !core.Attributes.TryClaim(lists, ref record, place, frame))
                {
                    return false;
                }

                core.Directories.Stage(directory, place, record, name, inline);
                core.Edit.Apply();
                isDone = true;
                if (lists is not null)
                {
                    core.Cache.Remember(frame, new BlockNumber(record.Attributes));
                }

                Touch(directory, changesPaths: false);
                core.Changes.NoteName(CffsChangeKind.Created, directory, name, record.Inode, record.Mode);
                return true;
            }
        }
        finally
        {
            if (!isDone)
            {
                core.Cache.Release(place.Frame);
                if (lists is not null)
                {
                    core.Cache.Release(frame);
                }
            }
        }
    }

    private Record NewRecord(Inode directory, ReadOnlySpan<byte> name, ushort mode, ulong device, CffsIdentity identity)
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
            NameHash = NameHash.Compute(name, core.Guard.HashSeed),
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
}
