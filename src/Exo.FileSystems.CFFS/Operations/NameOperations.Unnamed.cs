// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;
using Exo.FileSystems.CFFS.Directories;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Operations;

/// <content>Inodes that begin without a name (<c>O_TMPFILE</c>): they lie in the orphan directory from the start, and leave it when they get a name.</content>
internal sealed partial class NameOperations
{
    /// <summary>A new file without a name, held and open once. It goes with its last handle unless it is linked before.</summary>
    public async ValueTask<Inode> CreateUnnamedAsync(Inode directory, ushort mode, CffsIdentity identity, IoMode io, ushort umask = 0)
    {
        await core.BeginWritingAsync(io).ConfigureAwait(false);
        Inheritance inherited;
        await directory.Lock.EnterAsync(io).ConfigureAwait(false);
        try
        {
            inherited = await InheritAsync(directory, mode, umask, io).ConfigureAwait(false);
        }
        finally
        {
            directory.Lock.Exit();
        }

        return await InsertUnnamedAsync(directory, inherited, identity, io).ConfigureAwait(false);
    }

    private async ValueTask<Inode> InsertUnnamedAsync(Inode directory, Inheritance inherited, CffsIdentity identity, IoMode io)
    {
        await core.Space.RequireAsync(1, io).ConfigureAwait(false);
        await core.Orphans.Lock.EnterAsync(io).ConfigureAwait(false);
        try
        {
            RequireWritable(directory, identity);
            await core.Directories.EnsureLoadedAsync(core.Orphans, io).ConfigureAwait(false);
            Record record = NewRecord(directory, default, inherited.Mode, 0, identity);
            byte[] name = OrphanName(record.Inode);
            record.NameLength = (byte)name.Length;
            record.NameHash = NameHash.Compute(name, core.Guard.HashSeed);
            Inode inode = await InsertAsync(core.Orphans, record, name, default, io, inherited.Lists).ConfigureAwait(false);
            lock (core.Metadata)
            {
                _ = Interlocked.Increment(ref inode.Opens);
                inode.IsUnlinked = true;
            }

            core.Inodes.Hold(inode);
            return inode;
        }
        finally
        {
            core.Orphans.Lock.Exit();
        }
    }

    /// <summary>Gives an inode of the orphan directory a name. Under the locks of both directories and of the inode.</summary>
    private async ValueTask AdoptAsync(Inode inode, Inode directory, ReadOnlyMemory<byte> name, IoMode io)
    {
        await core.Directories.EnsureLoadedAsync(core.Orphans, io).ConfigureAwait(false);
        Record next = inode.Record;
        next.NameLength = (byte)name.Length;
        if (next.ContentBytes > Slot.ContentBytesMax)
        {
            await core.Files.MoveOutAsync(inode, io).ConfigureAwait(false);
            next = inode.Record;
            next.NameLength = (byte)name.Length;
        }

        Record record = inode.Record;
        next.NameHash = NameHash.Compute(name.Span, core.Guard.HashSeed);
        next.NameSequence = core.NextNameSequence();
        next.ChangeTime = core.Now();
        next.Slots = (byte)Slot.SlotsFor(next.ContentBytes);
        SlotPlace source = new(inode.SlotBlock, inode.SlotFrame, inode.SlotIndex, inode.SlotAddress);
        byte[] inline = new byte[record.InlineLength];
        Record.ReadContents(core.Directories.SectorOf(source), source.InSector, record.NameLength, inline);
        SlotPlace target = await MoveRecordAsync(core.Orphans, source, directory, inode, record, next, name, inline, io).ConfigureAwait(false);
        core.Cache.Release(target.Frame);
        core.Directories.RemoveName(core.Orphans, record.NameHash, source.Address, isDirectory: false);
        core.Orphans.Directory!.Room.Freed(source.Address / Slot.PerBlock);
        await core.Directories.AddNameAsync(directory, next.NameHash, target.Address, inode.IsDirectory, io).ConfigureAwait(false);
        lock (core.Metadata)
        {
            inode.IsUnlinked = false;
            Touch(directory);
            core.Changes.NoteName(CffsChangeKind.Created, directory, name.Span, inode.Number, inode.Record.Mode);
        }
    }

    private static byte[] OrphanName(ulong inode) => Encoding.ASCII.GetBytes(inode.ToString("x", CultureInfo.InvariantCulture));
}
