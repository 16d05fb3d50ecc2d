// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Directories;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Volume;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Attributes;

/// <content>
/// Access control lists. The list of an inode and its permission bits change in one sector write, so that neither says what the other does not; a list that says no more than permission bits is none.
/// </content>
internal sealed partial class AttributeStore
{
    /// <summary>As <see cref="SetAsync"/>, of any name: an access control list is checked, and changes the permission bits.</summary>
    /// <exception cref="CffsException">Invalid: it is no list; AccessDenied: a default list of what is no directory; NotSupported: a list of a link, a device, a FIFO or a socket.</exception>
    public async ValueTask SetAnyAsync(Inode inode, ReadOnlyMemory<byte> name, ReadOnlyMemory<byte>? value, CffsAttributeSet when, IoMode mode, bool dropSetGroup = false)
    {
        bool isAccess = name.Span.SequenceEqual(AccessList.AccessName);
        if ((!isAccess && !name.Span.SequenceEqual(AccessList.DefaultName)) || value is null)
        {
            await SetAsync(inode, name, value, when, mode).ConfigureAwait(false);
            return;
        }

        if (!AccessList.TryParse(value.Value.Span, out AccessList list))
        {
            throw new CffsException(CffsError.Invalid, "this is no access control list of version 2 whose entries are whole and in order");
        }

        if (inode.Record.Kind == SlotKind.SymbolicLink || (list.IsExtended && inode.Record.Kind == SlotKind.Special))
        {
            throw new CffsException(CffsError.NotSupported, "files and directories have access control lists");
        }

        if (!isAccess && !inode.IsDirectory && !list.IsNone)
        {
            throw new CffsException(CffsError.AccessDenied, "only a directory has a default access control list");
        }

        ushort? permissions = isAccess && !list.IsNone ? (ushort)((inode.Record.Mode & ~(dropSetGroup ? 0x1FF | ModeBits.SetGroup : 0x1FF)) | list.Permissions) : null;
        if (isAccess ? list.IsExtended : !list.IsNone)
        {
            await SetAsync(inode, name, list.ToBytes(), when, mode, permissions).ConfigureAwait(false);
        }
        else if (await GetAsync(inode, name, mode).ConfigureAwait(false) is not null)
        {
            await SetAsync(inode, name, null, CffsAttributeSet.Replace, mode, permissions).ConfigureAwait(false);
        }
        else if (permissions is { } bits)
        {
            lock (core.Metadata)
            {
                inode.Record.Mode = bits;
                inode.Record.ChangeTime = core.Now();
                core.NoteNames();
                core.Changes.NoteInode(CffsChangeKind.Attributes, inode);
                core.Committer.AddDirty(inode);
            }
        }
    }

    /// <summary>The access control list follows chmod, and the permission bits with it. Under the inode's lock; nothing where there is none.</summary>
    public async ValueTask FollowPermissionsAsync(Inode inode, ushort permissions, IoMode mode)
    {
        if (await GetAsync(inode, AccessList.AccessName, mode).ConfigureAwait(false) is { } old && AccessList.TryParse(old, out AccessList list))
        {
            await SetAsync(
                inode, AccessList.AccessName, list.WithPermissions(permissions).ToBytes(), CffsAttributeSet.Replace, mode, (ushort)((inode.Record.Mode & ModeBits.TypeMask) | (permissions & ModeBits.PermissionMask)))
                .ConfigureAwait(false);
        }
    }

    /// <summary>What new things in a directory begin with. Under the directory's lock.</summary>
    public async ValueTask<AccessList> DefaultOfAsync(Inode directory, IoMode mode) =>
        directory.Record.Attributes != 0 && await GetAsync(directory, AccessList.DefaultName, mode).ConfigureAwait(false) is { } bytes && AccessList.TryParse(bytes, out AccessList list) ? list : AccessList.None;

    /// <summary>Claims a block for the lists that something new begins with, in the change that makes its record. Under <see cref="VolumeCore.Metadata"/>; false when no block is free.</summary>
    /// <param name="lists">The lists.</param>
    /// <param name="record">The new record: it is made to point to them.</param>
    /// <param name="slot">Where it will be.</param>
    /// <param name="frame">The frame of the block; the cache takes it over when the change is made.</param>
    public bool TryClaim(InheritedLists lists, ref Record record, in SlotPlace slot, FrameNumber frame)
    {
        if (!core.Allocator.TryFind(slot.Block.Value, 1, out BlockExtent place))
        {
            return false;
        }

        AttributeBlock.Seal(lists.Block, lists.EntryBytes, record.Inode, core.Seed, place.First.Value);
        lists.Block.CopyTo(core.Cache.Frames.Bytes(frame));
        record.Attributes = place.First.Value;
        core.Edit.Transaction.ClaimAllocate(place, core.Templates.Attributes, slot.Block, slot.Index, [frame]);
        return true;
    }

    /// <summary>
    /// The access control list of an inode that has attributes, for a decision; <see cref="AccessList.None"/> where it has none. The caller need not have its lock. Reads the block when nobody has
    /// looked at it since the inode came into memory, and blocks meanwhile: few have attributes, and owner and superuser need not look.
    /// </summary>
    public AccessList AccessOf(Inode inode)
    {
        while (inode.Access is null)
        {
            XnReadRequest request;
            lock (core.Metadata)
            {
                if (inode.Record.Attributes == 0 || inode.Record.Kind == SlotKind.Special)
                {
                    return AccessList.None;
                }

                BlockNumber block = new(inode.Record.Attributes);
                request = new XnReadRequest(inode.SlotBlock, MapLoader.PartitionOf(inode), new BlockExtent(block, 1));
                if (core.Cache.TryGet(block, out FrameNumber frame))
                {
                    // Under this lock the pointer stays, and so it is this inode's.
                    ReadOnlySpan<byte> bytes = core.Cache.Bytes(frame);
                    bool isValid = AttributeBlock.IsValid(bytes, inode.Number, core.Seed, block.Value);
                    inode.Access = isValid ? AccessIn(bytes) : null;
                    core.Cache.Release(frame);
                    if (!isValid)
                    {
                        throw new CffsException(CffsError.Corrupt, $"the extended attributes of inode {inode.Number} ({block}) are damaged");
                    }

                    break;
                }
            }

            try
            {
                core.Cache.ReadAsync(new[] { request }, IoMode.Sync).Take();
            }
            catch (CffsException) when (inode.Record.Attributes != request.Extent.First.Value)
            {
                // They lie elsewhere by now.
            }
        }

        return inode.Access ?? AccessList.None;
    }

    private static AccessList AccessIn(ReadOnlySpan<byte> block) =>
        AttributeBlock.TryFind(block, AccessList.AccessName, out ReadOnlySpan<byte> value) && AccessList.TryParse(value, out AccessList list) ? list : AccessList.None;
}
