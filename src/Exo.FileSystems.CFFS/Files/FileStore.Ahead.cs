// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Allocation;
using Exo.FileSystems.CFFS.Inodes;

namespace Exo.FileSystems.CFFS.Files;

/// <content>
/// Reading ahead in one file: as long as its reads follow one another, the next stretch of it is on its way while the last one is being used. A stretch is read like any other, with its proofs; whoever
/// comes to a block of it before the block does waits for it in XN. One thread of the disk's works for it, none of ours.
/// </content>
internal sealed partial class FileStore
{
    private const long StretchBytes = (long)StepBlocks * BlockBytes;
    private const long AheadBytesMax = 4 * StretchBytes;

    private readonly Lock _behindLock = new();
    private readonly List<Task> _behind = [];
    private bool _isFinished;

    /// <summary>A read has been carried out. Under the inode's lock.</summary>
    public void Follow(Inode inode, long offset, long lengthBytes)
    {
        long end = offset + lengthBytes;
        bool follows = offset == inode.ReadEnd && offset > 0;
        inode.ReadEnd = end;
        if (!follows)
        {
            inode.AheadEnd = 0;
            return;
        }

        if (inode.AheadEnd >= end + (AheadBytesMax / 2) || inode.Map.TotalBlocks <= BlockAllocator.SmallFileBlocks)
        {
            return;
        }

        long from = Math.Max(inode.AheadEnd, end);
        long length = Math.Min(StretchBytes, (long)inode.Record.Size - from);
        if (length <= 0 || core.Cache.Frames.FrameCount < 8 * StepBlocks)
        {
            return;
        }

        inode.AheadEnd = from + length;
        long cached = CachedBytes(inode, from, length);
        if (cached < length)
        {
            Start(Collect(inode, from + cached, length - cached));
        }
    }

    /// <summary>Waits for what is on its way, and begins nothing any more.</summary>
    public void Finish()
    {
        Task[] last;
        lock (_behindLock)
        {
            _isFinished = true;
            last = [.. _behind];
        }

        Task.WaitAll(last);
        core.Behind.WaitForAllAsync(IoMode.Sync).Take();
    }

    private void Start(Missing missing)
    {
        lock (_behindLock)
        {
            _ = _behind.RemoveAll(task => task.IsCompleted);
            if (!_isFinished)
            {
                _behind.Add(TryReadApartAsync(missing, IoMode.Async).AsTask());
            }
        }
    }
}
