// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Volume;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Commit;

/// <summary>
/// Writes contents to the disk while whoever made them goes on making more, so that copying and the disk overlap and the cache does not fill up with what cannot leave it. What is written behind is pieces of files
/// that are written in order, bounded in number; the disk is asked to flush them, too, when much has gathered.
/// <para>A failure is nobody's yet: what was not written is dirty again, the next commit tries it once more, and tells everybody it serves if it fails. Until a commit has succeeded nothing is written behind.</para>
/// </summary>
internal sealed class WriteBehind(VolumeCore core)
{
    // Pieces under way: what keeps a disk busy.
    private const int PiecesMax = 8;

    private readonly Lock _lock = new();
    private readonly List<Task> _underWay = [];
    private int _flushing;
    private volatile bool _hasFailed;

    /// <summary>Whether a piece can be begun at once.</summary>
    public bool HasRoom
    {
        get
        {
            lock (_lock)
            {
                _ = _underWay.RemoveAll(static task => task.IsCompleted);
                return _underWay.Count < PiecesMax && !_hasFailed;
            }
        }
    }

    /// <summary>Begins to write what is dirty of some extents. Under the lock of the inode whose contents they are, so that they do not change as the writing begins; small files' packs, which change under the metadata lock, may: then they are dirty again.</summary>
    public void Start(BlockExtent[] extents)
    {
        Task piece = WriteAsync(extents);
        lock (_lock)
        {
            _underWay.Add(piece);
        }
    }

    /// <summary>Waits until a piece can be begun: for who makes contents faster than the disk takes them. Without locks.</summary>
    public async ValueTask WaitForRoomAsync(IoMode mode)
    {
        while (!_hasFailed && !HasRoom)
        {
            await WaitAsync(isForAll: false, mode).ConfigureAwait(false);
        }
    }

    /// <summary>Waits for all that is under way.</summary>
    public ValueTask WaitForAllAsync(IoMode mode) => WaitAsync(isForAll: true, mode);

    /// <summary>Makes room in the cache by a flush of what has been written, if that is much. False when it is not.</summary>
    public async ValueTask<bool> TryMakeRoomAsync(IoMode mode)
    {
        if (core.Disk.UnflushedBlocks < core.Cache.Frames.FrameCount / 32)
        {
            return false;
        }

        await WaitForAllAsync(mode).ConfigureAwait(false);
        if (mode == IoMode.Sync)
        {
            core.Disk.Flush();
        }
        else
        {
            await core.Disk.FlushAsync().ConfigureAwait(false);
        }

        return true;
    }

    /// <summary>A commit has succeeded: the disk is well.</summary>
    public void Resume() => _hasFailed = false;

    private ValueTask WaitAsync(bool isForAll, IoMode mode)
    {
        Task task;
        lock (_lock)
        {
            if (_underWay.Count == 0)
            {
                return default;
            }

            task = isForAll ? Task.WhenAll(_underWay) : _underWay[0];
            _ = _underWay.RemoveAll(static task => task.IsCompleted);
        }

        if (mode == IoMode.Async)
        {
            return new ValueTask(task);
        }

        task.Wait();
        return default;
    }

    private async Task WriteAsync(BlockExtent[] extents)
    {
        try
        {
            _ = await core.Disk.WriteBehindAsync(core.Key, extents).ConfigureAwait(false);
            if (core.Disk.UnflushedBlocks > core.Cache.Frames.FrameCount / 8 && Interlocked.Exchange(ref _flushing, 1) == 0)
            {
                try
                {
                    await core.Disk.FlushAsync().ConfigureAwait(false);
                }
                finally
                {
                    Volatile.Write(ref _flushing, 0);
                }
            }
        }
        catch (BlockDeviceException)
        {
            _hasFailed = true;
        }
    }
}
