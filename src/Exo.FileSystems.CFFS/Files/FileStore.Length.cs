// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Files;

/// <content>A file made shorter or longer.</content>
internal sealed partial class FileStore
{
    /// <summary>Changes the length of a file. What lies beyond a shorter end is gone; a longer end reads as zeros.</summary>
    public async ValueTask SetLengthAsync(Inode inode, long length, IoMode mode)
    {
        if (length < 0 || length > SizeMax)
        {
            throw new CffsException(length < 0 ? CffsError.Invalid : CffsError.FileTooLarge, $"{length} bytes is no length of a file");
        }

        inode.RequireThawed();
        await core.PrepareFreeAsync(inode, mode).ConfigureAwait(false);
        if (length > (long)inode.Record.Size)
        {
            await ClearBehindAsync(inode, mode).ConfigureAwait(false);
        }

        if (inode.Record.IsPacked)
        {
            if (await TrySetPackedLengthAsync(inode, length, mode).ConfigureAwait(false))
            {
                return;
            }

            await MoveOutAsync(inode, mode).ConfigureAwait(false);
        }

        if (inode.Record.InlineLength > 0)
        {
            if (TrySetInlineLength(inode, length))
            {
                return;
            }

            await MoveOutAsync(inode, mode).ConfigureAwait(false);
        }

        ulong size = inode.Record.Size;
        if ((ulong)length < size && length % BlockBytes != 0)
        {
            // The rest of the last block must read as zeros if the file grows again.
            await ZeroTailAsync(inode, length, mode).ConfigureAwait(false);
        }

        ulong keepBlocks = ((ulong)length + BlockBytes - 1) / BlockBytes;
        lock (core.Metadata)
        {
            Record record = inode.Record;
            record.Size = (ulong)length;
            record.ModifyTime = record.ChangeTime = core.Now();
            if ((ulong)length < size)
            {
                core.Allocator.Close(ref inode.Window);
                core.MapEdits.RemoveFrom(inode, ref record, keepBlocks);
            }

            inode.Record = record;
            core.Advance(ref inode.Version);
            core.Committer.AddDirty(inode);
            core.Changes.NoteInode(CffsChangeKind.Written, inode);
        }
    }

    private async ValueTask ZeroTailAsync(Inode inode, long length, IoMode mode)
    {
        ulong logical = (ulong)length / BlockBytes;
        if (inode.Map.TryFind(logical, out MappedExtent extent))
        {
            int within = (int)(length % BlockBytes);
            _ = await OverwriteAsync(inode, extent, logical, logical + 1, length, new byte[BlockBytes - within], mode).ConfigureAwait(false);
        }
    }
}
