// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Volume;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Attributes;

/// <summary>
/// Extended attributes: one block per inode that has any. A change writes a new block and moves the record's pointer to it in one sector write, so that a crash leaves
/// all of the old attributes or all of the new ones. Methods run under the inode's lock.
/// </summary>
internal sealed partial class AttributeStore(VolumeCore core)
{
    /// <summary>The value of an attribute, or null.</summary>
    public async ValueTask<byte[]?> GetAsync(Inode inode, ReadOnlyMemory<byte> name, IoMode mode)
    {
        if (inode.Record.Attributes == 0 || inode.Record.Kind == SlotKind.Special)
        {
            return null;
        }

        FrameNumber frame = await BlockAsync(inode, mode).ConfigureAwait(false);
        try
        {
            return AttributeBlock.TryFind(core.Cache.Bytes(frame), name.Span, out ReadOnlySpan<byte> value) ? value.ToArray() : null;
        }
        finally
        {
            core.Cache.Release(frame);
        }
    }

    /// <summary>All names, in the order in which they were first set.</summary>
    public async ValueTask<IReadOnlyList<byte[]>> ListAsync(Inode inode, IoMode mode)
    {
        if (inode.Record.Attributes == 0 || inode.Record.Kind == SlotKind.Special)
        {
            return [];
        }

        FrameNumber frame = await BlockAsync(inode, mode).ConfigureAwait(false);
        try
        {
            List<byte[]> names = [];
            ReadOnlySpan<byte> rest = AttributeBlock.Entries(core.Cache.Bytes(frame));
            while (AttributeBlock.TryNext(ref rest, out ReadOnlySpan<byte> found, out _))
            {
                names.Add(found.ToArray());
            }

            return names;
        }
        finally
        {
            core.Cache.Release(frame);
        }
    }

    /// <summary>Sets an attribute, or removes it where <paramref name="value"/> is null; with it, where they are given, type and permission bits. The caller has begun writing.</summary>
    /// <exception cref="CffsException">Exists or NoAttribute, as <paramref name="when"/> says; NoSpace: the attributes of an inode share one block, or the volume is full.</exception>
    public async ValueTask SetAsync(Inode inode, ReadOnlyMemory<byte> name, ReadOnlyMemory<byte>? value, CffsAttributeSet when, IoMode mode, ushort? permissions = null)
    {
        if (inode.Record.Kind == SlotKind.Special)
        {
            throw new CffsException(CffsError.NotPermitted, "devices, FIFOs and sockets have no extended attributes");
        }

        byte[] block = new byte[AttributeBlock.SizeBytes];
        int entryBytes = 0;
        bool found = false;
        if (inode.Record.Attributes != 0)
        {
            FrameNumber old = await BlockAsync(inode, mode).ConfigureAwait(false);
            try
            {
                found = !TryCopy(core.Cache.Bytes(old), block, ref entryBytes, name.Span, value);
            }
            finally
            {
                core.Cache.Release(old);
            }
        }

        if (found ? when == CffsAttributeSet.Create : when == CffsAttributeSet.Replace)
        {
            throw new CffsException(found ? CffsError.Exists : CffsError.NoAttribute, $"attribute '{Paths.PathName.Display(name)}' {(found ? "is there already" : "is not there")}");
        }

        if (value is { } added && !found && !AttributeBlock.TryAppend(block, ref entryBytes, name.Span, added.Span))
        {
            throw Full();
        }

        if (value is not null)
        {
            await core.Space.RequireAsync(1, mode).ConfigureAwait(false);
        }

        await ReplaceAsync(inode, block, entryBytes, mode, permissions: permissions).ConfigureAwait(false);
    }

    /// <summary>Gives an inode a copy of all that another has. Under the lock of the other; nobody else knows the one.</summary>
    public async ValueTask CopyAsync(Inode source, Inode target, IoMode mode)
    {
        byte[] block = new byte[AttributeBlock.SizeBytes];
        int entryBytes = 0;
        FrameNumber frame = await BlockAsync(source, mode).ConfigureAwait(false);
        try
        {
            _ = TryCopy(core.Cache.Bytes(frame), block, ref entryBytes, default, null);
        }
        finally
        {
            core.Cache.Release(frame);
        }

        await ReplaceAsync(target, block, entryBytes, mode).ConfigureAwait(false);
    }

    /// <summary>Removes the file capabilities that a change of contents or owner takes away (capabilities(7)).</summary>
    public async ValueTask DropCapabilitiesAsync(Inode inode, IoMode mode)
    {
        if (inode.Record.Attributes != 0 && await GetAsync(inode, CapabilityName, mode).ConfigureAwait(false) is not null)
        {
            await SetAsync(inode, CapabilityName, null, CffsAttributeSet.Replace, mode).ConfigureAwait(false);
        }
    }

    /// <summary>
    /// What a change of contents takes from a program: its capabilities, and the set-id bits unless the superuser makes the change. Before the change, so that one that fails half-way leaves nothing that is half another's.
    /// </summary>
    /// <param name="inode">The file, under its lock; writing has begun.</param>
    /// <param name="keepsSetId">Whoever makes the change may keep the bits.</param>
    /// <param name="mode">The door.</param>
    public async ValueTask DropPrivilegesAsync(Inode inode, bool keepsSetId, IoMode mode)
    {
        inode.RequireThawed();
        if (inode.Record.Attributes != 0)
        {
            await DropCapabilitiesAsync(inode, mode).ConfigureAwait(false);
        }

        ushort bits = keepsSetId ? inode.Record.Mode : ModeBits.WithoutSetId(inode.Record.Mode);
        if (bits != inode.Record.Mode)
        {
            lock (core.Metadata)
            {
                inode.Record.Mode = bits;
                core.Committer.AddDirty(inode);
            }
        }
    }

    /// <summary>Writes the attributes to another block, unchanged. May use the reserve.</summary>
    public async ValueTask MoveAsync(Inode inode, IoMode mode)
    {
        byte[] block = new byte[AttributeBlock.SizeBytes];
        int entryBytes;
        FrameNumber old = await BlockAsync(inode, mode).ConfigureAwait(false);
        try
        {
            core.Cache.Bytes(old).CopyTo(block);
            entryBytes = AttributeBlock.Entries(block).Length;
        }
        finally
        {
            core.Cache.Release(old);
        }

        await ReplaceAsync(inode, block, entryBytes, mode, isChange: false).ConfigureAwait(false);
    }

    private static readonly byte[] CapabilityName = "security.capability"u8.ToArray();

    /// <summary>Copies entries, the named one with its new value or, where that is null, not at all. True when the name is not among them.</summary>
    private static bool TryCopy(ReadOnlySpan<byte> from, Span<byte> to, ref int entryBytes, ReadOnlySpan<byte> name, ReadOnlyMemory<byte>? value)
    {
        bool isNew = true;
        ReadOnlySpan<byte> rest = AttributeBlock.Entries(from);
        while (AttributeBlock.TryNext(ref rest, out ReadOnlySpan<byte> found, out ReadOnlySpan<byte> old))
        {
            bool isIt = found.SequenceEqual(name);
            isNew &= !isIt;
            if (isIt && value is null)
            {
                continue;
            }

            if (!AttributeBlock.TryAppend(to, ref entryBytes, found, isIt ? value!.Value.Span : old))
            {
                throw Full();
            }
        }

        return isNew;
    }

    private async ValueTask ReplaceAsync(Inode inode, byte[] contents, int entryBytes, IoMode mode, bool isChange = true, ushort? permissions = null)
    {
        for (bool hasTried = false; ; hasTried = true)
        {
            FrameNumber frame = entryBytes > 0 ? await core.Cache.TakeFrameAsync(mode).ConfigureAwait(false) : default;
            bool isDone = false;
            try
            {
                isDone = TryReplace(inode, contents, entryBytes, frame, isChange, permissions);
            }
            finally
            {
                if (!isDone && entryBytes > 0)
                {
                    core.Cache.Release(frame);
                }
            }

            if (isDone)
            {
                return;
            }

            await core.Space.AwaitFreedAsync(hasTried, mode).ConfigureAwait(false);
        }
    }

    /// <summary>False when no block is free.</summary>
    private bool TryReplace(Inode inode, byte[] contents, int entryBytes, FrameNumber frame, bool isChange, ushort? permissions)
    {
        lock (core.Metadata)
        {
            BlockExtent place = default;
            if (entryBytes > 0)
            {
                if (!core.Allocator.TryFind(inode.SlotBlock.Value, 1, out place))
                {
                    return false;
                }

                AttributeBlock.Seal(contents, entryBytes, inode.Number, core.Seed, place.First.Value);
                contents.CopyTo(core.Cache.Frames.Bytes(frame));
            }

            Record record = inode.Record;
            ulong old = record.Attributes;
            record.Attributes = place.First.Value;
            record.Mode = permissions ?? record.Mode;
            record.ChangeTime = isChange ? core.Now() : record.ChangeTime;
            int partition = MapLoader.PartitionOf(inode);
            core.Edit.Begin();
            core.Edit.Stage(inode, record);
            if (old != 0)
            {
                core.Edit.Transaction.ClaimFree(new BlockExtent(new BlockNumber(old), 1), core.Templates.Attributes, inode.SlotBlock, partition);
            }

            if (entryBytes > 0)
            {
                core.Edit.Transaction.ClaimAllocate(place, core.Templates.Attributes, inode.SlotBlock, partition, [frame]);
            }

            core.Edit.Apply();
            inode.Record = record;
            AccessList? before = inode.Access;
            inode.Access = entryBytes > 0 ? AccessIn(contents) : null;
            core.NoteNames(changesPaths: inode.IsDirectory && (before is not { IsNone: true } || inode.Access is { IsNone: false }));
            core.Changes.NoteInode(CffsChangeKind.Attributes, inode);
            if (entryBytes > 0)
            {
                core.Cache.Remember(frame, place.First);
            }

            return true;
        }
    }

    /// <summary>The frame of the block, retained, and checked when it is read.</summary>
    private async ValueTask<FrameNumber> BlockAsync(Inode inode, IoMode mode)
    {
        BlockNumber block = new(inode.Record.Attributes);
        FrameNumber frame;
        bool wasRead = false;
        while (!core.Cache.TryGet(block, out frame))
        {
            await core.Cache.ReadAsync(new[] { new XnReadRequest(inode.SlotBlock, MapLoader.PartitionOf(inode), new BlockExtent(block, 1)) }, mode).ConfigureAwait(false);
            wasRead = true;
        }

        if (wasRead && !AttributeBlock.IsValid(core.Cache.Bytes(frame), inode.Number, core.Seed, block.Value))
        {
            core.Cache.Release(frame);
            _ = core.Disk.Unbind(core.Key, block);
            throw new CffsException(CffsError.Corrupt, $"the extended attributes of inode {inode.Number} ({block}) are damaged");
        }

        return frame;
    }

    internal static CffsException Full() => new(CffsError.NoSpace, $"the extended attributes of one inode have {AttributeBlock.EntriesBytesMax} bytes");
}
