// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Files;

/// <content>Reads: what is in core without waiting, and the rest, for which blocks are fetched first.</content>
internal sealed partial class FileStore
{
    /// <summary>Copies what is in core: bytes copied, less than asked for when a block is missing. Nothing waits and nothing is allocated.</summary>
    public int ReadCached(Inode inode, long offset, Span<byte> destination)
    {
        if (!inode.IsMapLoaded)
        {
            return 0;
        }

        int wanted = (int)Math.Min(destination.Length, Math.Max(0, (long)inode.Record.Size - offset));
        int done = 0;
        if (inode.Record.InlineLength > 0)
        {
            ReadInline(inode, (int)offset, destination[..wanted]);
            return wanted;
        }

        if (inode.Record.IsPacked)
        {
            return wanted > 0 && TryReadPacked(inode.Record, SectorOf(inode), (int)offset, destination[..wanted]) ? wanted : 0;
        }

        while (done < wanted)
        {
            ulong logical = (ulong)(offset + done) / BlockBytes;
            int within = (int)((offset + done) % BlockBytes);
            int take = Math.Min(BlockBytes - within, wanted - done);
            if (!inode.Map.TryFind(logical, out MappedExtent extent) || extent.Kind != TreeEntryKind.Contents)
            {
                destination.Slice(done, take).Clear();
                done += take;
                continue;
            }

            ulong blocks = Math.Min(((ulong)(within + wanted - done) + BlockBytes - 1) / BlockBytes, extent.LogicalEnd - logical);
            take = (int)Math.Min((long)blocks * BlockBytes - within, wanted - done);
            int copied = CopyRun(new BlockNumber(extent.Start + (logical - extent.Logical)), within, destination.Slice(done, take));
            done += copied;
            if (copied < take)
            {
                break;
            }
        }

        return done;
    }

    /// <summary>Copies from neighbouring blocks of the disk what is in core: bytes copied, up to the first block that is not.</summary>
    /// <param name="first">The first block.</param>
    /// <param name="within">Where in it to begin.</param>
    /// <param name="destination">Where to; its length says how much.</param>
    private int CopyRun(BlockNumber first, int within, Span<byte> destination)
    {
        // As many at once as stay near in the processor's cache: who looks for them also counts them, and counts them back.
        const int AtOnce = 64;
        Span<FrameNumber> frames = stackalloc FrameNumber[AtOnce];
        int done = 0;
        while (done < destination.Length)
        {
            int wanted = Math.Min(AtOnce, (within + destination.Length - done + BlockBytes - 1) / BlockBytes);
            int found = core.Cache.GetRun(first, frames[..wanted]);
            for (int i = 0; i < found; i++)
            {
                ReadOnlySpan<byte> block = core.Cache.Bytes(frames[i]);
                int take = Math.Min(BlockBytes - within, destination.Length - done);
                if (take == BlockBytes)
                {
                    FrameCopy.Copy(block, destination.Slice(done, take));
                }
                else
                {
                    block.Slice(within, take).CopyTo(destination[done..]);
                }

                done += take;
                within = 0;
            }

            core.Cache.Release(frames[..found]);
            if (found < wanted)
            {
                break;
            }

            first += (uint)found;
        }

        return done;
    }

    /// <summary>How many bytes of a range can be had from its beginning without the disk.</summary>
    public long CachedBytes(Inode inode, long offset, long lengthBytes)
    {
        if (inode.Record.InlineLength > 0)
        {
            return lengthBytes;
        }

        if (inode.Record.IsPacked)
        {
            if (!TryGetPack(inode, out FrameNumber pack))
            {
                return 0;
            }

            core.Cache.Release(pack);
            return lengthBytes;
        }

        return KnownBytes(inode, offset, lengthBytes, orOnItsWay: false);
    }

    /// <summary>How many bytes of a range, from its beginning, are in core, or are being read by somebody, or are a hole.</summary>
    private long KnownBytes(Inode inode, long offset, long lengthBytes, bool orOnItsWay)
    {
        long done = 0;
        while (done < lengthBytes)
        {
            ulong logical = (ulong)(offset + done) / BlockBytes;
            if (inode.Map.TryFind(logical, out MappedExtent extent) && extent.Kind == TreeEntryKind.Contents
                && !core.Cache.IsKnown(new BlockNumber(extent.Start + (logical - extent.Logical)), orOnItsWay))
            {
                break;
            }

            done += BlockBytes - ((offset + done) % BlockBytes);
        }

        return Math.Min(done, lengthBytes);
    }

    /// <summary>Copies the beginning of a file that is one extent or lies in its record, if it is in core. Locks as for <see cref="TryLease(in Record, ReadOnlySpan{byte}, out CffsSpanLease)"/>.</summary>
    public bool TryRead(in Record record, ReadOnlySpan<byte> sector, int inSector, Span<byte> destination, out int length)
    {
        length = (int)Math.Min((ulong)destination.Length, record.Size);
        if (record.InlineLength > 0)
        {
            Record.ReadContents(sector, inSector, record.NameLength, destination[..length]);
            return true;
        }

        if (record.IsPacked)
        {
            return TryReadPacked(record, sector, 0, destination[..length]);
        }

        int mapped = (int)Math.Min(length, (long)record.Count * BlockBytes);
        destination[mapped..length].Clear();
        return CopyRun(new BlockNumber(record.Start), 0, destination[..mapped]) == mapped;
    }

    /// <summary>Reads up to the end of the file.</summary>
    public async ValueTask<int> ReadAsync(Inode inode, long offset, Memory<byte> destination, IoMode mode)
    {
        await core.Maps.EnsureAsync(inode, mode).ConfigureAwait(false);
        int wanted = (int)Math.Min(destination.Length, Math.Max(0, (long)inode.Record.Size - offset));
        int done = 0;
        while (true)
        {
            done += ReadCached(inode, offset + done, destination.Span[done..wanted]);
            if (done >= wanted)
            {
                return wanted;
            }

            await FetchAsync(inode, offset + done, wanted - done, mode).ConfigureAwait(false);
        }
    }

    /// <summary>
    /// Brings the next missing blocks of a range into core: as much of it as one step moves, and for a small file what its directory has placed around it (explicit grouping). Holds the lock meanwhile:
    /// those who have time first read what is missing without it (<see cref="Missing"/>).
    /// </summary>
    public ValueTask FetchAsync(Inode inode, long offset, long lengthBytes, IoMode mode) => ReadAsync(Collect(inode, offset, lengthBytes), mode);
}
