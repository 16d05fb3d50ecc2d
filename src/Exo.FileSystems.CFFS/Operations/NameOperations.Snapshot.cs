// SPDX-License-Identifier: MIT
using System.Runtime.ExceptionServices;
using Exo.Core.Blocks;
using Exo.FileSystems.CFFS.Directories;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Paths;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Operations;

/// <content>
/// Snapshots: a tree is copied into the orphan directory, where nobody sees it and where a crash lets it be collected, and enters its place by a rename when all of it is durable.
/// <para>One moment for all of it: every inode of the tree is locked before the first is copied, and none is let go before the last has been. Renames, links and removals wait at
/// <c>_moves</c>, so that the tree keeps its shape while locks are taken from the top down; who locks two files at once waits at <see cref="Pairs"/>.</para>
/// </content>
internal sealed partial class NameOperations
{
    private sealed class SnapshotNode(Inode source, byte[] name)
    {
        public Inode Source { get; } = source;

        public byte[] Name { get; } = name;

        public List<SnapshotNode> Children { get; } = [];
    }

    /// <summary>Counts what has been copied, tells of it from time to time, and ends it when that is wished.</summary>
    private sealed class SnapshotSteps(IProgress<CffsSnapshotProgress>? progress, long inodes, CancellationToken cancellation)
    {
        public const int PerReport = 1024;

        private long _copied;

        public void Copied()
        {
            if (++_copied % PerReport == 0)
            {
                progress?.Report(new CffsSnapshotProgress(inodes, _copied));
            }
        }

        public void MayGoOn() => cancellation.ThrowIfCancellationRequested();

        public void End()
        {
            Invariant.Check(_copied == inodes);
            progress?.Report(new CffsSnapshotProgress(inodes, _copied));
        }
    }

    /// <summary>Held by whoever locks several files and is not at <c>_moves</c>: a clone.</summary>
    public NodeLock Pairs { get; } = new();

    /// <summary>Makes a read-only copy of a directory and all below it, under a new name. Snapshots in it are left out. It is durable when this returns.</summary>
    public async ValueTask SnapshotAsync(
        Inode source, Inode directory, ReadOnlyMemory<byte> name, CffsIdentity identity, IProgress<CffsSnapshotProgress>? progress, IoMode io, CancellationToken cancellation = default)
    {
        PathName.CheckNew(name);
        await core.BeginWritingAsync(io).ConfigureAwait(false);
        await RequireNewAsync(directory, name, identity, io).ConfigureAwait(false);

        // Most of what must be durable becomes so while others go on.
        await core.Committer.SyncAsync(io).ConfigureAwait(false);
        (Inode root, Exception? failure) = await CopyLockedAsync(source, progress, io, cancellation).ConfigureAwait(false);
        try
        {
            if (failure is not null)
            {
                ExceptionDispatchInfo.Throw(failure);
            }

            await core.Committer.CommitAsync(io).ConfigureAwait(false);
            await ShowAsync(root, directory, name, identity, io).ConfigureAwait(false);
            await core.Committer.SyncAsync(io).ConfigureAwait(false);
        }
        catch (Exception failed) when (failed is CffsException or OperationCanceledException)
        {
            if (root.Container == core.Orphans)
            {
                await DropTreeAsync(root, io, CancellationToken.None).ConfigureAwait(false);
                await core.Committer.SyncAsync(io).ConfigureAwait(false);
            }

            throw;
        }
        finally
        {
            core.Inodes.Release(root);
        }
    }

    /// <summary>Refuses a name that exists.</summary>
    public async ValueTask RequireNewAsync(Inode directory, ReadOnlyMemory<byte> name, CffsIdentity identity, IoMode io)
    {
        await directory.Lock.EnterAsync(io).ConfigureAwait(false);
        try
        {
            await RequireAbsentAsync(directory, name, identity, io).ConfigureAwait(false);
        }
        finally
        {
            directory.Lock.Exit();
        }
    }

    private async ValueTask RequireAbsentAsync(Inode directory, ReadOnlyMemory<byte> name, CffsIdentity identity, IoMode io)
    {
        RequireWritable(directory, identity);
        if (await core.Directories.FindAsync(directory, name, io).ConfigureAwait(false) is { } existing)
        {
            core.Cache.Release(existing.Frame);
            throw new CffsException(CffsError.Exists, $"'{PathName.Display(name)}' exists");
        }
    }

    /// <summary>A tree of the orphan directory, all of it durable, gets a name.</summary>
    public async ValueTask ShowAsync(Inode root, Inode directory, ReadOnlyMemory<byte> name, CffsIdentity identity, IoMode io)
    {
        await core.BeginWritingAsync(io).ConfigureAwait(false);
        await _moves.EnterAsync(io).ConfigureAwait(false);
        Inode?[] locks = [directory, root, core.Orphans];
        await EnterAsync(locks, io).ConfigureAwait(false);
        try
        {
            await RequireAbsentAsync(directory, name, identity, io).ConfigureAwait(false);
            if (HasShelved(directory, name))
            {
                // Made, opened and removed since the commit before this.
                throw new CffsException(CffsError.Busy, $"a file that was '{PathName.Display(name)}' is still open");
            }

            await RequireNotJustLeftAsync(directory, name, io).ConfigureAwait(false);
            long changed = root.Record.ChangeTime;
            await AdoptAsync(root, directory, name, io).ConfigureAwait(false);
            lock (core.Metadata)
            {
                root.Record.ChangeTime = changed;
                core.Committer.AddDirty(root);
            }
        }
        finally
        {
            Exit(locks);
            _moves.Exit();
        }
    }

    /// <summary>Copies a tree as it is at one moment. Gives the copy of the directory back, held; with what went wrong, if the copy is not whole.</summary>
    private async ValueTask<(Inode Root, Exception? Failure)> CopyLockedAsync(Inode source, IProgress<CffsSnapshotProgress>? progress, IoMode io, CancellationToken cancellation)
    {
        List<Inode> locked = [];
        await _moves.EnterAsync(io).ConfigureAwait(false);
        await Pairs.EnterAsync(io).ConfigureAwait(false);
        try
        {
            if (source.IsRemoved || source.IsUnlinked)
            {
                throw new CffsException(CffsError.NotFound, $"directory {source.Number} has been removed");
            }

            SnapshotNode tree = await LockTreeAsync(source, locked, progress, io, cancellation).ConfigureAwait(false);
            await core.Committer.CommitAsync(io).ConfigureAwait(false);
            return await CopyTreeAsync(tree, new SnapshotSteps(progress, locked.Count, cancellation), io).ConfigureAwait(false);
        }
        finally
        {
            for (int i = locked.Count - 1; i >= 0; i--)
            {
                locked[i].Lock.Exit();
                core.Inodes.Release(locked[i]);
            }

            Pairs.Exit();
            _moves.Exit();
        }
    }

    private async ValueTask<SnapshotNode> LockTreeAsync(Inode source, List<Inode> locked, IProgress<CffsSnapshotProgress>? progress, IoMode io, CancellationToken cancellation)
    {
        SnapshotNode root = new(source, []);
        HashSet<Inode> seen = [source];
        Stack<SnapshotNode> pending = new([root]);
        core.Inodes.Hold(source);
        await LockAsync(source).ConfigureAwait(false);
        while (pending.TryPop(out SnapshotNode? node))
        {
            Inode directory = node.Source;
            DirectoryState state = await core.Directories.EnsureLoadedAsync(directory, io).ConfigureAwait(false);
            for (ulong logical = directory.Map.NextMapped(0); logical != ulong.MaxValue; logical = directory.Map.NextMapped(logical + 1))
            {
                cancellation.ThrowIfCancellationRequested();
                for (uint index = 0; index < Slot.PerBlock; index++)
                {
                    SlotPlace place = await core.Directories.PlaceAsync(directory, (uint)(logical * Slot.PerBlock) + index, io).ConfigureAwait(false);
                    if (!Record.TryParse(core.Directories.SectorOf(place), place.InSector, out Record record) || state.Dead.Contains(place.Address))
                    {
                        core.Cache.Release(place.Frame);
                        continue;
                    }

                    byte[] name = new byte[record.NameLength];
                    Record.ReadContents(core.Directories.SectorOf(place), place.InSector, 0, name);
                    Inode child = await core.GetInodeAsync(directory, place, io).ConfigureAwait(false);
                    if ((child.IsFrozen && !source.IsFrozen) || !seen.Add(child))
                    {
                        core.Inodes.Release(child);
                        if (child.IsFrozen && !source.IsFrozen)
                        {
                            continue;
                        }
                    }
                    else
                    {
                        await LockAsync(child).ConfigureAwait(false);
                    }

                    SnapshotNode below = new(child, name);
                    node.Children.Add(below);
                    if (child.IsDirectory)
                    {
                        pending.Push(below);
                    }
                }
            }
        }

        return root;

        async ValueTask LockAsync(Inode inode)
        {
            await inode.Lock.EnterAsync(io).ConfigureAwait(false);
            locked.Add(inode);
            if (locked.Count % SnapshotSteps.PerReport == 0)
            {
                progress?.Report(new CffsSnapshotProgress(locked.Count, 0));
            }
        }
    }

    private async ValueTask<(Inode Root, Exception? Failure)> CopyTreeAsync(SnapshotNode tree, SnapshotSteps steps, IoMode io)
    {
        Dictionary<Inode, Inode> linked = [];
        Stack<(SnapshotNode Node, Inode Copy)> pending = new();
        Inode? root = null;
        try
        {
            await core.Orphans.Lock.EnterAsync(io).ConfigureAwait(false);
            try
            {
                await core.Directories.EnsureLoadedAsync(core.Orphans, io).ConfigureAwait(false);
                root = await CopyInodeAsync(tree.Source, core.Orphans, null, io).ConfigureAwait(false);
                steps.Copied();
            }
            finally
            {
                core.Orphans.Lock.Exit();
            }

            core.Inodes.Hold(root);
            pending.Push((tree, root));
            while (pending.TryPop(out (SnapshotNode Node, Inode Copy) next))
            {
                try
                {
                    await FillCopyAsync(next.Node, next.Copy, linked, pending, steps, io).ConfigureAwait(false);
                }
                finally
                {
                    core.Inodes.Release(next.Copy);
                }
            }

            lock (core.Metadata)
            {
                // Of the snapshot itself: when it was made.
                root.Record.BirthTime = core.Now();
                core.Committer.AddDirty(root);
            }

            steps.End();
            return (root, null);
        }
        catch (Exception failure) when (root is not null && (failure is CffsException or OperationCanceledException))
        {
            // It can be taken away when the locks that are held now are given back.
            return (root, failure);
        }
        finally
        {
            foreach (Inode copy in linked.Values.Concat(pending.Select(item => item.Copy)))
            {
                core.Inodes.Release(copy);
            }
        }
    }

    private async ValueTask FillCopyAsync(
        SnapshotNode node, Inode copy, Dictionary<Inode, Inode> linked, Stack<(SnapshotNode Node, Inode Copy)> pending, SnapshotSteps steps, IoMode io)
    {
        await copy.Lock.EnterAsync(io).ConfigureAwait(false);
        try
        {
            await core.Directories.EnsureLoadedAsync(copy, io).ConfigureAwait(false);
            foreach (SnapshotNode child in node.Children)
            {
                steps.MayGoOn();
                if (linked.TryGetValue(child.Source, out Inode? known))
                {
                    await AddLinkAsync(known, copy, child.Name, io).ConfigureAwait(false);
                    CopyTimes(child.Source, known);
                    continue;
                }

                Inode below = await CopyInodeAsync(child.Source, copy, child.Name, io).ConfigureAwait(false);
                steps.Copied();
                if (child.Source.IsDirectory)
                {
                    pending.Push((child, below));
                }
                else if (child.Source.Record.Links > 1)
                {
                    linked.Add(child.Source, below);
                }
                else
                {
                    core.Inodes.Release(below);
                }
            }

            CopyTimes(node.Source, copy);
        }
        finally
        {
            copy.Lock.Exit();
        }
    }

    /// <summary>Copies one inode into a directory of the hidden tree, or, without a name, into the orphan directory; contents are shared. Gives the copy back, held.</summary>
    private async ValueTask<Inode> CopyInodeAsync(Inode source, Inode directory, byte[]? name, IoMode io)
    {
        await core.EnsureNumbersAsync(io).ConfigureAwait(false);
        Record record = source.Record;
        Record next = record;
        next.Inode = core.NextInode() | Superblock.SnapshotInodes;
        name ??= OrphanName(next.Inode);
        byte[] inline = new byte[record.InlineLength];
        core.Files.ReadInline(source, 0, inline);
        bool hasRoom = name.Length + inline.Length <= Slot.ContentBytesMax;
        bool isShared = record is { Kind: SlotKind.File or SlotKind.SymbolicLink, Depth: 0, Count: > 0 };
        next.NameLength = (byte)name.Length;
        next.NameHash = NameHash.Compute(name, core.Guard.HashSeed);
        next.NameSequence = core.NextNameSequence();
        next.Links = source.IsDirectory ? 0u : 1u;
        next.Attributes = 0;
        next.InlineLength = (ushort)(hasRoom ? inline.Length : 0);
        next.Size = source.IsDirectory || !hasRoom || record.IsPacked ? 0 : record.Size;
        next.Slots = (byte)Slot.SlotsFor(next.ContentBytes);
        if (!isShared && record.Kind != SlotKind.Special)
        {
            (next.Start, next.Count, next.Depth) = (0, 0, 0);
        }

        SlotPlace place;
        while (true)
        {
            XnStatus status;
            place = await core.Directories.MakeRoomAsync(directory, next.Slots, default, io).ConfigureAwait(false);
            lock (core.Metadata)
            {
                core.Edit.Begin();
                core.Directories.Stage(directory, place, next, name, hasRoom ? inline : []);
                if (isShared)
                {
                    BlockExtent extent = new(new BlockNumber(record.Start), record.Count);
                    core.Edit.Transaction.ClaimShare(extent, core.Templates.Data, source.SlotBlock, MapLoader.PartitionOf(source), place.Block, place.Index);
                }

                status = core.Edit.TryApply();
            }

            if (status == XnStatus.Ok)
            {
                break;
            }

            core.Cache.Release(place.Frame);
            if (status != XnStatus.NotDurable)
            {
                throw core.Edit.Refused(status);
            }

            await core.Committer.CommitAsync(io).ConfigureAwait(false);
        }

        Inode copy = core.AddInode(directory, place, next);
        await core.Directories.AddNameAsync(directory, next.NameHash, place.Address, source.IsDirectory && directory != core.Orphans, io).ConfigureAwait(false);
        bool isFinished = hasRoom && record.Attributes == 0;
        if (!hasRoom)
        {
            await core.Files.WriteCopyAsync(copy, 0, inline, io).ConfigureAwait(false);
        }
        else if (record.IsPacked)
        {
            byte[] contents = new byte[record.Size];
            _ = await core.Files.ReadAsync(source, 0, contents, io).ConfigureAwait(false);
            await core.Files.WriteFirstCopyAsync(copy, contents, io).ConfigureAwait(false);
            isFinished = false;
        }
        else if (!isShared && record.Kind is SlotKind.File or SlotKind.SymbolicLink && record is { Count: > 0, Size: > 0 })
        {
            isFinished = false;
            await core.Files.CloneAsync(source, 0, copy, 0, (long)record.Size, io).ConfigureAwait(false);
        }

        if (record.Attributes != 0 && record.Kind != SlotKind.Special)
        {
            await core.Attributes.CopyAsync(source, copy, io).ConfigureAwait(false);
        }

        if (!isFinished)
        {
            CopyTimes(source, copy);
        }

        return copy;
    }

    private void CopyTimes(Inode source, Inode copy)
    {
        lock (core.Metadata)
        {
            copy.Record.AccessTime = source.Record.AccessTime;
            copy.Record.ModifyTime = source.Record.ModifyTime;
            copy.Record.ChangeTime = source.Record.ChangeTime;
            copy.Record.BirthTime = source.Record.BirthTime;
            core.Committer.AddDirty(copy);
        }
    }
}
