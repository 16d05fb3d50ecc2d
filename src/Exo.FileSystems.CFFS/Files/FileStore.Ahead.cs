// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Allocation;
using Exo.FileSystems.CFFS.Inodes;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Files;

/// <content>
/// Reading ahead in one file: as long as its reads follow one another, what lies in front of the reader is on its way in several pieces, so that the disk has work while he uses what has come. How far is a
/// window that doubles each time he has used up enough of it for the next piece: a reader who stops soon has cost little. A read that is long by itself is treated in the same way.
/// A piece is read like any other blocks, with its proofs; whoever comes to a block of it before the block does waits for it in XN. It takes frames that are free or hold clean blocks, and no others;
/// where it fails, nobody is told: the block is one that is missing. One thread of the disk's works for it, none of ours.
/// </content>
internal sealed partial class FileStore
{
    private const long StretchBytes = (long)StepBlocks * BlockBytes;
    private const long WindowBytesMin = 128 << 10;
    private const int WindowStretchesMax = 8;

    private readonly Lock _aheadLock = new();
    private readonly List<Task> _ahead = [];
    private int _aheadBlocks;
    private bool _isFinished;

    /// <summary>The farthest that a reader is read ahead of: a sixteenth of the cache, at most eight stretches; nothing in a cache of less than 8 MiB.</summary>
    public long WindowBytesMax => core.Cache.Frames.FrameCount < 8 * StepBlocks ? 0 : Math.Min(core.Cache.Frames.FrameCount / 16, WindowStretchesMax * StepBlocks) * (long)BlockBytes;

    /// <summary>Blocks that may be on their way to all readers together.</summary>
    private int AheadBlocksMax => core.Cache.Frames.FrameCount / 8;

    /// <summary>A read has been carried out. Under the inode's lock.</summary>
    public void Follow(Inode inode, long offset, long lengthBytes)
    {
        long end = offset + lengthBytes;
        bool follows = offset == inode.ReadEnd && offset > 0;
        inode.ReadEnd = end;
        if (!follows)
        {
            inode.AheadEnd = inode.AheadWindow = 0;
            return;
        }

        if (WindowBytesMax == 0 || inode.Map.TotalBlocks <= BlockAllocator.SmallFileBlocks)
        {
            return;
        }

        if (inode.AheadWindow == 0)
        {
            inode.AheadWindow = Math.Clamp(2 * lengthBytes, WindowBytesMin, WindowBytesMax);
        }

        if (ReadAhead(inode, end, (long)inode.Record.Size, inode.AheadWindow, ref inode.AheadEnd))
        {
            inode.AheadWindow = Math.Min(2 * inode.AheadWindow, WindowBytesMax);
        }
    }

    /// <summary>Begins to read what a long read has still before it behind its next step. Under the inode's lock.</summary>
    public void LookAhead(Inode inode, long offset, long lengthBytes, ref long aheadEnd)
    {
        if (lengthBytes > StretchBytes && WindowBytesMax > 0)
        {
            _ = ReadAhead(inode, offset + StretchBytes, offset + lengthBytes, WindowBytesMax, ref aheadEnd);
        }
    }

    /// <summary>Waits for what is on its way, and begins nothing any more.</summary>
    public void Finish()
    {
        Task[] last;
        lock (_aheadLock)
        {
            _isFinished = true;
            last = [.. _ahead];
        }

        Task.WaitAll(last);
        core.Behind.WaitForAllAsync(IoMode.Sync).Take();
    }

    /// <summary>Begins to read pieces, from where the last one ended, as long as they lie within a window in front of a position. Whether there was one.</summary>
    private bool ReadAhead(Inode inode, long position, long end, long windowBytes, ref long aheadEnd)
    {
        long piece = Math.Min(StretchBytes, windowBytes / 2);
        long at = Math.Max(aheadEnd, position);
        bool hasBegun = false;
        while (at < end && at + piece <= position + windowBytes)
        {
            long length = Math.Min(piece, end - at);
            long known = KnownBytes(inode, at, length, orOnItsWay: true);
            if (known < length && TryBegin(Collect(inode, at + known, length - known).Requests.ToArray()) is null)
            {
                break;
            }

            at += length;
            hasBegun = true;
        }

        aheadEnd = at;
        return hasBegun;
    }

    /// <summary>Begins to read a piece. Null when it is to be tried again: too much is on its way.</summary>
    private Task? TryBegin(XnReadRequest[] requests)
    {
        FrameNumber[] frames = new FrameNumber[core.Cache.CountAbsent(requests)];
        lock (_aheadLock)
        {
            _ = _ahead.RemoveAll(static task => task.IsCompleted);
            if (_isFinished || _aheadBlocks + frames.Length > AheadBlocksMax)
            {
                return null;
            }

            // A piece for which there is no room is passed over: to look for room costs much where there is none.
            if (!core.Cache.TryTakeFrames(frames))
            {
                return Task.CompletedTask;
            }

            _aheadBlocks += frames.Length;
            Task piece = ReadPieceAsync(requests, frames);
            _ahead.Add(piece);
            return piece;
        }
    }

    private async Task ReadPieceAsync(XnReadRequest[] requests, FrameNumber[] frames)
    {
        try
        {
            await core.Cache.ReadAsync(requests, frames, IoMode.Async).ConfigureAwait(false);
        }
        catch (Exception failure) when (failure is CffsException or XnException or BlockDeviceException)
        {
            // Whoever wants the blocks reads them himself, and is told.
        }
        finally
        {
            _ = Interlocked.Add(ref _aheadBlocks, -frames.Length);
        }
    }
}
