// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Files;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Nodes;

/// <summary>One page of a file as the cache holds it, retained for the borrower; or a hole, which reads as zeros.</summary>
internal readonly record struct BorrowedPage(FrameNumber Frame, bool IsHole);

/// <content>Open files and their contents.</content>
internal sealed partial class NodeDoor
{
    /// <summary>Opens a file: while it is open it survives its last name. The handle holds the inode. False when the inode is gone.</summary>
    public bool TryOpen(Inode inode, bool truncate)
    {
        RequireFile(inode);
        if (truncate)
        {
            core.BeginWritingAsync(IoMode.Sync).Take();
        }

        // Whoever removes an inode looks at its handles under its lock: either it sees this one, or we see that it is gone.
        inode.Lock.Enter();
        try
        {
            if (inode.IsRemoved)
            {
                return false;
            }

            if (truncate)
            {
                core.Attributes.DropPrivilegesAsync(inode, keepsSetId: true, IoMode.Sync).Take();
                core.Files.SetLengthAsync(inode, 0, IoMode.Sync).Take();
            }

            _ = Interlocked.Increment(ref inode.Opens);
            core.Inodes.Hold(inode);
            return true;
        }
        finally
        {
            inode.Lock.Exit();
        }
    }

    /// <summary>
    /// Turns a hold into that of an open file: it survives its last name until <see cref="Close"/>. Takes no inode's lock, so that somebody may be removing the inode at the same time;
    /// then it is gone (<see cref="CffsError.Stale"/>) for whoever asks for its contents. False, and nothing done, for all that is no file.
    /// </summary>
    public bool Keep(Inode inode)
    {
        lock (core.Metadata)
        {
            if (inode.Record.Kind != SlotKind.File)
            {
                return false;
            }

            _ = Interlocked.Increment(ref inode.Opens);
            return true;
        }
    }

    /// <summary>Closes what <see cref="TryOpen"/> or <see cref="Keep"/> has opened.</summary>
    public void Close(Inode inode) => volume.CloseAsync(inode, IoMode.Sync).Take();

    /// <summary>The most that is not lent as pages.</summary>
    public const int InlineBytesMax = Layout.Pack.BytesMax;

    /// <summary>
    /// Reads without a copy: the cache's own pages from the one that <paramref name="offset"/> lies in. Returns the bytes that are there, at most <paramref name="lengthBytes"/>.
    /// Contents that lie in the directory, or in a block that others share, are copied to <paramref name="inline"/> (<see cref="InlineBytesMax"/>) instead, and <paramref name="pageCount"/> is 0.
    /// The access time is left alone where the read is not to be noted (<c>O_NOATIME</c>).
    /// </summary>
    public int Borrow(Inode inode, long offset, int lengthBytes, Span<BorrowedPage> pages, Span<byte> inline, bool isNoted, out int pageCount)
    {
        for (int apart = 0; ; apart++)
        {
            if (TryBorrow(inode, offset, lengthBytes, pages, inline, isNoted, mayFetch: apart == FileStore.ApartMax, out int length, out pageCount, out Missing missing))
            {
                return length;
            }

            if (!core.Files.TryReadApartAsync(missing, IoMode.Sync).Take())
            {
                apart = FileStore.ApartMax - 1;
            }
        }
    }

    private bool TryBorrow(
        Inode inode, long offset, int lengthBytes, Span<BorrowedPage> pages, Span<byte> inline, bool isNoted, bool mayFetch, out int length, out int pageCount, out Missing missing)
    {
        pageCount = 0;
        missing = default;
        inode.Lock.Enter();
        try
        {
            RequireThere(inode);
            core.Maps.EnsureAsync(inode, IoMode.Sync).Take();
            length = (int)Math.Min(lengthBytes, Math.Max(0, (long)inode.Record.Size - offset));
            core.Files.Accessed(inode, isNoted && notesAccess);

            if (length == 0)
            {
                return true;
            }

            if (inode.Record.InlineLength > 0)
            {
                core.Files.ReadInline(inode, (int)offset, inline[..length]);
                return true;
            }

            if (inode.Record.IsPacked)
            {
                while (core.Files.ReadCached(inode, offset, inline[..length]) < length)
                {
                    if (!mayFetch)
                    {
                        missing = core.Files.Collect(inode, offset, length);
                        return false;
                    }

                    core.Files.FetchAsync(inode, offset, length, IoMode.Sync).Take();
                }

                return true;
            }

            ulong first = (ulong)offset / FramePool.FrameBytes;
            ulong end = ((ulong)(offset + length - 1) / FramePool.FrameBytes) + 1;
            for (ulong logical = first; logical < end; logical++)
            {
                if (!inode.Map.TryFind(logical, out MappedExtent extent) || extent.Kind != TreeEntryKind.Contents)
                {
                    pages[pageCount++] = new BorrowedPage(default, IsHole: true);
                    continue;
                }

                FrameNumber frame;
                while (!core.Cache.TryGet(new BlockNumber(extent.Start + (logical - extent.Logical)), out frame))
                {
                    if (!mayFetch)
                    {
                        GiveBack(pages[..pageCount]);
                        pageCount = 0;
                        missing = core.Files.Collect(inode, (long)logical * FramePool.FrameBytes, (long)(end - logical) * FramePool.FrameBytes);
                        return false;
                    }

                    core.Files.FetchAsync(
                        inode, (long)logical * FramePool.FrameBytes, (long)(end - logical) * FramePool.FrameBytes, IoMode.Sync).Take();
                }

                pages[pageCount++] = new BorrowedPage(frame, IsHole: false);
            }

            return true;
        }
        catch
        {
            GiveBack(pages[..pageCount]);
            pageCount = 0;
            throw;
        }
        finally
        {
            inode.Lock.Exit();
        }
    }

    /// <summary>Gives borrowed pages back.</summary>
    public void GiveBack(ReadOnlySpan<BorrowedPage> pages)
    {
        foreach (BorrowedPage page in pages)
        {
            if (!page.IsHole)
            {
                core.Cache.Release(page.Frame);
            }
        }
    }

    /// <summary>Takes the set-id bits, for somebody who is about to change contents and may not keep them. False when there are none to take.</summary>
    public bool TakeSetId(Inode inode)
    {
        // Not under the lock: whoever is not root comes by here with every write, and the kernel lets nobody change the mode meanwhile.
        ushort before = inode.Record.Mode;
        bool hasBits = ModeBits.WithoutSetId(before) != before;
        if (hasBits)
        {
            DropPrivileges(inode);
        }

        return hasBits;
    }

    // By itself: what it captures is allocated for each call.
    private void DropPrivileges(Inode inode) => Change(inode, () => core.Attributes.DropPrivilegesAsync(inode, keepsSetId: false, IoMode.Sync));

    /// <summary>
    /// Writes; the file grows as needed. On a full volume as much as there is room for, as POSIX says of write(2); returns how many bytes. Of what is written behind, all that finds room, whatever lies between: its writer has gone
    /// on, nobody will try the rest again, and a page that has its block must not be lost with a neighbour that has none.
    /// </summary>
    /// <exception cref="CffsException">NoSpace: there is room for nothing, or not for all that was written behind.</exception>
    public int Write(Inode inode, long offset, ReadOnlyMemory<byte> source, bool isWrittenBehind = false)
    {
        core.BeginWritingAsync(IoMode.Sync).Take();
        core.Files.EnterForWriteAsync(inode, offset, source.Length, IoMode.Sync).Take();
        try
        {
            RequireThere(inode);
            core.Attributes.DropPrivilegesAsync(inode, keepsSetId: true, IoMode.Sync).Take();
            return WriteWhatFits(inode, offset, source, isWrittenBehind);
        }
        finally
        {
            inode.Lock.Exit();
        }
    }

    private int WriteWhatFits(Inode inode, long offset, ReadOnlyMemory<byte> source, bool isWrittenBehind)
    {
        try
        {
            core.Files.WriteAsync(inode, offset, source, IoMode.Sync).Take();
            return source.Length;
        }
        catch (CffsException full) when (full.Error == CffsError.NoSpace && source.Length > BytesToBlockEnd(offset))
        {
            return WriteByBlocks(inode, offset, source, isWrittenBehind);
        }
    }

    /// <summary>Writes block by block what has no room as a whole. Under the inode's lock.</summary>
    private int WriteByBlocks(Inode inode, long offset, ReadOnlyMemory<byte> source, bool isWrittenBehind)
    {
        CffsException? refused = null;
        int done = 0;
        while (done < source.Length)
        {
            int take = Math.Min(source.Length - done, BytesToBlockEnd(offset + done));
            try
            {
                core.Files.WriteAsync(inode, offset + done, source.Slice(done, take), IoMode.Sync).Take();
            }
            catch (CffsException full) when (full.Error == CffsError.NoSpace && isWrittenBehind)
            {
                refused = full;
            }
            catch (CffsException full) when (full.Error == CffsError.NoSpace && done > 0)
            {
                return done;
            }

            done += take;
        }

        return refused is null ? done : throw refused;
    }

    private static int BytesToBlockEnd(long offset) => FramePool.FrameBytes - (int)(offset % FramePool.FrameBytes);

    /// <summary>The next offset that is data or a hole; see <see cref="Files.FileStore.SeekAsync"/>.</summary>
    public long SeekData(Inode inode, long offset, bool data)
    {
        inode.Lock.Enter();
        try
        {
            RequireThere(inode);
            return core.Files.SeekAsync(inode, offset, data, IoMode.Sync).Take();
        }
        finally
        {
            inode.Lock.Exit();
        }
    }

    /// <summary>Gives a range blocks of zeros where it has none; see <see cref="Files.FileStore.AllocateAsync"/>.</summary>
    public void Allocate(Inode inode, long offset, long lengthBytes, bool keepSize) =>
        Change(inode, () => core.Files.AllocateAsync(inode, offset, lengthBytes, keepSize, IoMode.Sync));

    /// <summary>Makes a hole; the size stays.</summary>
    public void Punch(Inode inode, long offset, long lengthBytes) => Change(inode, () => core.Files.PunchAsync(inode, offset, lengthBytes, IoMode.Sync));

    /// <summary>Zeros a range, and gives it blocks.</summary>
    public void Zero(Inode inode, long offset, long lengthBytes, bool keepSize) =>
        Change(inode, () => core.Files.ZeroAsync(inode, offset, lengthBytes, keepSize, IoMode.Sync));

    /// <summary>
    /// Copies from one file to another. Returns the bytes copied, fewer than asked for at the end of the source and on a full volume. Whole blocks of more than a small file are shared where offsets allow it.
    /// </summary>
    public int Copy(Inode from, long fromOffset, Inode to, long toOffset, int lengthBytes, Memory<byte> buffer)
    {
        RequireFile(from);
        RequireFile(to);
        int done = TryClone(from, fromOffset, to, toOffset, lengthBytes);
        while (done < lengthBytes)
        {
            int read;
            from.Lock.Enter();
            try
            {
                RequireThere(from);
                read = core.Files.ReadAsync(from, fromOffset + done, buffer[..Math.Min(buffer.Length, lengthBytes - done)], IoMode.Sync).Take();
                core.Files.Accessed(from, notesAccess);
            }
            finally
            {
                from.Lock.Exit();
            }

            if (read == 0)
            {
                break;
            }

            int written;
            try
            {
                written = Write(to, toOffset + done, buffer[..read]);
            }
            catch (CffsException full) when (full.Error == CffsError.NoSpace && done > 0)
            {
                break;
            }

            done += written;
            if (written < read)
            {
                break;
            }
        }

        return done;
    }

    /// <summary>Shares what of a range can be shared: whole blocks, and the source's last one if it becomes the target's last one. Returns its length.</summary>
    private int TryClone(Inode from, long fromOffset, Inode to, long toOffset, int lengthBytes)
    {
        // Sharing what is not durable yet costs a commit; a few blocks are copied sooner.
        const int LeastBytes = 16 * FramePool.FrameBytes;
        long size = (long)from.Record.Size;
        long length = Math.Min(lengthBytes, size - fromOffset);
        bool endsBoth = fromOffset + length == size && toOffset + length >= (long)to.Record.Size;
        length = endsBoth ? length : length / FramePool.FrameBytes * FramePool.FrameBytes;
        if (!core.Templates.SharesData || length <= LeastBytes || fromOffset % FramePool.FrameBytes != 0 || toOffset % FramePool.FrameBytes != 0
            || (from == to && fromOffset < toOffset + length && toOffset < fromOffset + length))
        {
            return 0;
        }

        core.BeginWritingAsync(IoMode.Sync).Take();
        try
        {
            return (int)CffsVolume.CloneAsync(core, from, fromOffset, to, toOffset, length, keepsSetId: true, IoMode.Sync).Take();
        }
        catch (CffsException changed) when (changed.Error == CffsError.Invalid)
        {
            // The files have other lengths by now.
            return 0;
        }
    }

    private void Change(Inode inode, Func<ValueTask> change)
    {
        core.BeginWritingAsync(IoMode.Sync).Take();
        inode.Lock.Enter();
        try
        {
            RequireThere(inode);
            change().Take();
        }
        finally
        {
            inode.Lock.Exit();
        }
    }

    /// <summary>Refuses all but files.</summary>
    public static void RequireFile(Inode inode)
    {
        if (inode.Record.Kind != SlotKind.File)
        {
            throw new CffsException(inode.IsDirectory ? CffsError.IsDirectory : CffsError.Invalid, $"inode {inode.Number} is no file");
        }
    }

    /// <summary>The inode's blocks may be another's by now. Under the inode's lock.</summary>
    private static void RequireThere(Inode inode)
    {
        if (inode.IsRemoved)
        {
            throw new CffsException(CffsError.Stale, $"inode {inode.Number} is gone");
        }
    }
}
