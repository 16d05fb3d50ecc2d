// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Volume;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Commit;

/// <summary>
/// Makes everything durable that has been changed. One commit at a time; callers that come while one runs are served together by the next (group commit).
/// While a commit runs, new changes wait for it at their start, so that it ends.
/// <para>A commit repeats { list what XN lets be written, write it, flush } until nothing is dirty: file data and new metadata go in the first round, pointers to them in the second.</para>
/// </summary>
internal sealed class Committer(VolumeCore core) : IDisposable
{
    private readonly SemaphoreSlim _turn = new(1, 1);
    private readonly BlockNumber[] _plan = new BlockNumber[4096];
    private List<Inode> _dirty = [];
    private readonly List<(long AddedIn, Func<IoMode, ValueTask> Action)> _afterCommit = [];
    private long _started;
    private long _completed;
    private BlockDeviceException? _failure;

    /// <summary>Notes that an inode's record is newer than its sector. Under the metadata lock.</summary>
    public void AddDirty(Inode inode)
    {
        Invariant.Check(core.Metadata.IsHeldByCurrentThread);
        if (!inode.IsDirty)
        {
            inode.IsDirty = true;
            core.Inodes.Hold(inode);
            _dirty.Add(inode);
        }
    }

    /// <summary>Something to do once all that has happened so far is durable. Under the metadata lock.</summary>
    public void AfterCommit(Func<IoMode, ValueTask> action)
    {
        Invariant.Check(core.Metadata.IsHeldByCurrentThread);
        _afterCommit.Add((_started, action));
    }

    /// <summary>A stamp for what is changed now; see <see cref="IsDurable"/>. Under the metadata lock or the lock of what is stamped.</summary>
    public long Stamp => Volatile.Read(ref _started);

    /// <summary>Whether everything is durable that was changed when a stamp was taken.</summary>
    public bool IsDurable(long stamp) => stamp < Volatile.Read(ref _completed);

    /// <summary>How many such actions wait.</summary>
    public int ActionsWaiting => _afterCommit.Count;

    /// <summary>Commits, then carries out what waited for that. The caller holds no inode lock.</summary>
    public async ValueTask SyncAsync(IoMode mode)
    {
        await CommitAsync(mode).ConfigureAwait(false);
        List<Func<IoMode, ValueTask>> due = [];
        lock (core.Metadata)
        {
            foreach ((long addedIn, Func<IoMode, ValueTask> action) in _afterCommit)
            {
                if (addedIn < _completed)
                {
                    due.Add(action);
                }
            }

            _afterCommit.RemoveAll(item => item.AddedIn < _completed);
        }

        foreach (Func<IoMode, ValueTask> action in due)
        {
            await action(mode).ConfigureAwait(false);
        }
    }

    /// <summary>Waits while a commit runs.</summary>
    public ValueTask WaitForTurnAsync(IoMode mode)
    {
        if (_turn.CurrentCount > 0)
        {
            return default;
        }

        return PassAsync(mode);
    }

    /// <summary>Commits. A failed write is reported to every caller until a commit succeeds; what failed stays dirty.</summary>
    public async ValueTask CommitAsync(IoMode mode)
    {
        if (core.IsReadOnly)
        {
            return;
        }

        if (mode == IoMode.Sync)
        {
            _turn.Wait();
        }
        else
        {
            await _turn.WaitAsync().ConfigureAwait(false);
        }

        try
        {
            long number;
            lock (core.Metadata)
            {
                number = ++_started;
            }

            await RunAsync(mode).ConfigureAwait(false);
            Volatile.Write(ref _completed, number);
            _failure = null;
        }
        catch (BlockDeviceException failure)
        {
            _failure = failure;
            throw;
        }
        finally
        {
            _turn.Release();
        }
    }

    /// <summary>Whether nothing waits to be written or done.</summary>
    public bool IsIdle
    {
        get
        {
            lock (core.Metadata)
            {
                return _dirty.Count == 0 && _afterCommit.Count == 0 && core.Disk.DirtyBlocks == 0 && core.Disk.UnflushedBlocks == 0;
            }
        }
    }

    /// <summary>The error of the last commit, if it failed.</summary>
    public BlockDeviceException? Failure => _failure;

    public void Dispose() => _turn.Dispose();

    private async ValueTask PassAsync(IoMode mode)
    {
        if (mode == IoMode.Sync)
        {
            _turn.Wait();
        }
        else
        {
            await _turn.WaitAsync().ConfigureAwait(false);
        }

        _turn.Release();
    }

    private async ValueTask RunAsync(IoMode mode)
    {
        StageInodes();
        while (!TryFinish())
        {
            int count;
            bool wrote = false;
            while ((count = core.Disk.PlanWriteBack(_plan)) > 0)
            {
                XnStatus status = mode == IoMode.Sync
                    ? core.Disk.WriteBack(core.Key, _plan.AsSpan(0, count))
                    : await core.Disk.WriteBackAsync(core.Key, _plan.AsMemory(0, count)).ConfigureAwait(false);
                Invariant.Check(status is XnStatus.Ok or XnStatus.Busy or XnStatus.Tainted or XnStatus.NotRegistered);
                wrote = true;
                if (count < _plan.Length)
                {
                    break;
                }
            }

            Invariant.Check(wrote || core.Disk.UnflushedBlocks > 0);
            if (mode == IoMode.Sync)
            {
                core.Disk.Flush();
            }
            else
            {
                await core.Disk.FlushAsync().ConfigureAwait(false);
            }
        }
    }

    /// <summary>When everything is durable, what was noted for the case that it is not is done with. Changes need the metadata lock, so that none comes between.</summary>
    private bool TryFinish()
    {
        lock (core.Metadata)
        {
            if (core.Disk.DirtyBlocks > 0 || core.Disk.UnflushedBlocks > 0)
            {
                return false;
            }

            core.Intents.AllDone();
            core.RecentLinks.AllDone();
            return true;
        }
    }

    private void StageInodes()
    {
        List<Inode> dirty;
        lock (core.Metadata)
        {
            dirty = _dirty;
            _dirty = [];
            foreach (Inode inode in dirty)
            {
                inode.IsDirty = false;
                if (!inode.IsRemoved)
                {
                    core.Edit.Begin();
                    core.Edit.Stage(inode, inode.Record);
                    core.Edit.Apply();
                }
            }
        }

        foreach (Inode inode in dirty)
        {
            core.Inodes.Release(inode);
        }
    }
}
