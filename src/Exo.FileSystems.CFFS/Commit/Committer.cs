// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Runtime.ExceptionServices;
using Exo.Core.Blocks;
using Exo.Core.Scheduling;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Volume;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Commit;

/// <summary>
/// Makes everything durable that has been changed. One commit at a time; callers that come while one runs are served together by the next (group commit). Where commits are quick it begins as soon as the last one has ended, so that the
/// disk has work while those who were served do theirs; where they take long it waits a moment for them (<see cref="CommitGathering"/>), since one for all takes as long as one for the first.
/// <para>A commit is led by one of its callers: by who came last, without waking anybody, when nothing is waited for any more; else by who came first, who is called before those wake whom the last commit has served: behind them
/// he would wait for a processor, and the disk for him.</para>
/// <para>A commit is one transaction of XN's commit log: one write. What is too much for the log, and everything on a volume without one, is written in place: { list what XN lets be written, write it, flush } is
/// repeated until nothing is dirty: file data and new metadata go in the first round, pointers to them in the second.</para>
/// <para>While a transaction is on its way to the log, changes go on: they belong to the next one. While blocks are written in place, new changes wait at their start, so that it ends. So they do, too, when moves or new links are
/// noted, which a commit makes void all together, and when room is wanted in the cache.</para>
/// </summary>
internal sealed class Committer(VolumeCore core)
{
    // How often somebody who must not block a thread lets others run while he waits for a commit's other callers.
    private const int YieldsMax = 64;

    // Of what is written and only not flushed, few blocks go into the log once more, which saves the flush; more are flushed.
    private const int LoggedAgainMax = 64;

    // Of more dirty blocks than that most are contents, which one transaction of the log as a rule does not hold: a guess, and XN decides. A wrong one costs or saves a flush.
    private const int LoggedMax = 512;

    private readonly Lock _turns = new();
    private readonly BlockNumber[] _plan = new BlockNumber[4096];
    private List<Inode> _dirty = [];
    private readonly List<(long AddedIn, Func<IoMode, ValueTask> Action)> _afterCommit = [];
    private long _started;
    private long _completed;
    private BlockDeviceException? _failure;

    // Under _turns. The commit that runs; the one that callers gather for; whom that one should wait for.
    private volatile Turn? _running;

    // The commit that runs, if changes are to wait for its end.
    private volatile Turn? _stopping;
    private volatile Turn? _gathering;
    private readonly CommitGathering _expected = new();

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

    /// <summary>Callers that wait for the commit after the one that runs.</summary>
    public int Gathered => _gathering is { } turn ? Volatile.Read(ref turn.Callers) : 0;

    /// <summary>A commit runs that new changes wait for.</summary>
    public bool IsStopping => _stopping is not null;

    /// <summary>How many such actions wait.</summary>
    public int ActionsWaiting => _afterCommit.Count;

    /// <summary>Commits, then carries out what waited for that. The caller holds no inode lock.</summary>
    public async ValueTask SyncAsync(IoMode mode)
    {
        // Names that were removed are durably so, though their inodes are open; those for which there is no room stay as they are.
        await core.Names.ClearShelfAsync(mode).ConfigureAwait(false);
        await CommitAsync(mode).ConfigureAwait(false);
        if (ActionsWaiting == 0)
        {
            // All whom a commit has served come here at once: as a rule they need not meet at the lock. What the caller has noted itself it sees.
            return;
        }

        List<(long AddedIn, Func<IoMode, ValueTask> Action)> due;
        lock (core.Metadata)
        {
            due = _afterCommit.FindAll(item => item.AddedIn < _completed);
            _afterCommit.RemoveAll(item => item.AddedIn < _completed);
        }

        for (int i = 0; i < due.Count; i++)
        {
            try
            {
                await due[i].Action(mode).ConfigureAwait(false);
            }
            catch
            {
                // The device failed before anything of it was done, or all that can be told apart from it: it is tried again.
                lock (core.Metadata)
                {
                    _afterCommit.InsertRange(0, due[i..]);
                }

                throw;
            }
        }
    }

    /// <summary>Commits, and brings home what is only in XN's log: then every block can leave the cache.</summary>
    public async ValueTask CommitHomeAsync(IoMode mode)
    {
        await CommitAsync(mode, stops: true).ConfigureAwait(false);
        if (mode == IoMode.Sync)
        {
            core.Disk.Checkpoint();
        }
        else
        {
            await core.Disk.CheckpointAsync().ConfigureAwait(false);
        }
    }

    /// <summary>Waits while a commit runs that changes would keep from its end. Whether it succeeds is not the affair of who waits here.</summary>
    public ValueTask WaitForTurnAsync(IoMode mode) => _stopping is { } stopping ? stopping.WaitAsync(mode) : default;

    /// <summary>Commits. A failed write is reported to every caller until a commit succeeds; what failed stays dirty.</summary>
    /// <param name="mode">The door.</param>
    /// <param name="stops">New changes wait meanwhile: nothing at all is dirty at the end but what changes have added that were under way.</param>
    public async ValueTask CommitAsync(IoMode mode, bool stops = false)
    {
        if (core.IsReadOnly)
        {
            return;
        }

        Turn turn;
        bool isFirst;
        bool leads;
        lock (_turns)
        {
            isFirst = _gathering is null;
            turn = _gathering ??= new Turn();
            turn.Callers++;
            turn.Stops |= stops;
            leads = _running is null && _expected.IsWholeWith(turn.Callers, Stopwatch.GetTimestamp());
            if (leads)
            {
                Lead(turn);
            }
        }

        if (isFirst && !leads)
        {
            leads = await GatherAsync(turn, mode).ConfigureAwait(false);
        }

        if (!leads)
        {
            await turn.WaitAsync(mode).ConfigureAwait(false);
            turn.ThrowIfFailed();
            return;
        }

        Exception? thrown = null;
        try
        {
            long number = Begin(turn);
            await RunAsync(turn, mode).ConfigureAwait(false);
            Volatile.Write(ref _completed, number);
            _failure = null;
            core.Behind.Resume();
        }
        catch (Exception exception)
        {
            thrown = exception;
            _failure = exception as BlockDeviceException ?? _failure;
            throw;
        }
        finally
        {
            End(turn, thrown);
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

    /// <summary>The commit begins: who comes now is served by the next. Under the lock of the turns.</summary>
    private void Lead(Turn turn)
    {
        Invariant.Check(_running is null && _gathering == turn);
        _gathering = null;
        _running = turn;
        turn.Began = Stopwatch.GetTimestamp();
    }

    /// <summary>The first caller waits until the last one has come and leads, or for as long as that is worth it.</summary>
    /// <returns>He leads himself.</returns>
    private async ValueTask<bool> GatherAsync(Turn turn, IoMode mode)
    {
        int yields = 0;
        while (true)
        {
            bool isTurn;
            TimeSpan left;
            lock (_turns)
            {
                if (_gathering != turn)
                {
                    return false;
                }

                isTurn = _running is null;
                left = _expected.Left(turn.Callers, Stopwatch.GetTimestamp());
                if (isTurn && (left <= TimeSpan.Zero || yields == YieldsMax))
                {
                    Lead(turn);
                    return true;
                }

                if (!isTurn)
                {
                    turn.AwaitCall();
                }
            }

            if (!isTurn)
            {
                await turn.WaitForCallAsync(mode).ConfigureAwait(false);
            }
            else if (mode == IoMode.Sync)
            {
                turn.TryWait(left);
            }
            else
            {
                yields++;
                await Task.Yield();
            }
        }
    }

    /// <summary>A commit has ended. Who may lead the next is called before those wake whom this one has served.</summary>
    private void End(Turn turn, Exception? thrown)
    {
        Turn? next;
        lock (_turns)
        {
            next = _gathering;
            _expected.Ended(turn.Callers, next?.Callers ?? 0, turn.Began, Stopwatch.GetTimestamp());
            _running = _stopping = null;
        }

        next?.Call();
        turn.End(thrown);
    }

    /// <summary>What has changed so far belongs to this commit: it is counted, and records of inodes are staged.</summary>
    /// <returns>Its number.</returns>
    private long Begin(Turn turn)
    {
        long number;
        List<Inode> dirty;
        lock (core.Metadata)
        {
            number = ++_started;
            core.Files.Small.Begin();
            if (turn.Stops || !core.Intents.IsEmpty || !core.RecentLinks.IsEmpty)
            {
                _stopping = turn;
            }

            dirty = StageInodes();
        }

        foreach (Inode inode in dirty)
        {
            core.Inodes.Release(inode);
        }

        return number;
    }

    private async ValueTask RunAsync(Turn turn, IoMode mode)
    {
        bool stops = _stopping == turn;
        while (true)
        {
            // What has been handed to the disk is neither dirty nor written yet, and what points to it waits for it.
            await core.Behind.WaitForAllAsync(mode).ConfigureAwait(false);
            if (!stops)
            {
                // One transaction with all that there is: what comes while it is written belongs to the next.
                if (core.Disk.UnflushedBlocks <= LoggedAgainMax
                    && (mode == IoMode.Sync ? core.Disk.Commit(core.Key) : await core.Disk.CommitAsync(core.Key).ConfigureAwait(false)) == XnVolume.CommitOutcome.All)
                {
                    return;
                }

                stops = true;
                _stopping = turn;
            }

            if (TryFinish())
            {
                return;
            }

            // Where there is more to be written besides than the log takes, the flush after that does for both.
            if (core.Disk.UnflushedBlocks > LoggedAgainMax && core.Disk.DirtyBlocks <= LoggedMax)
            {
                await FlushAsync(mode).ConfigureAwait(false);
                continue;
            }

            if (core.Disk.UnflushedBlocks <= LoggedAgainMax && (mode == IoMode.Sync ? core.Disk.TryCommit(core.Key) : await core.Disk.TryCommitAsync(core.Key).ConfigureAwait(false)))
            {
                continue;
            }

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
            await FlushAsync(mode).ConfigureAwait(false);
        }
    }

    private ValueTask FlushAsync(IoMode mode)
    {
        if (mode == IoMode.Async)
        {
            return core.Disk.FlushAsync();
        }

        core.Disk.Flush();
        return default;
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

    /// <summary>Stages the records of all dirty inodes. Under the metadata lock.</summary>
    /// <returns>These inodes, which are still held for having been dirty.</returns>
    private List<Inode> StageInodes()
    {
        List<Inode> dirty = _dirty;
        _dirty = [];

        // The records of one block in one change: each sector is sealed once, and the block checked once.
        dirty.Sort(static (a, b) => a.SlotBlock != b.SlotBlock ? a.SlotBlock.Value.CompareTo(b.SlotBlock.Value) : a.SlotIndex.CompareTo(b.SlotIndex));
        for (int from = 0; from < dirty.Count;)
        {
            from = StageBlock(dirty, from);
        }

        return dirty;
    }

    /// <summary>Stages the records of those dirty inodes that lie in one block; where the next block's begin.</summary>
    private int StageBlock(List<Inode> dirty, int from)
    {
        BlockNumber block = dirty[from].SlotBlock;
        bool any = false;
        core.Edit.Begin();
        int at = from;
        for (; at < dirty.Count && dirty[at].SlotBlock == block; at++)
        {
            Inode inode = dirty[at];
            inode.IsDirty = false;
            if (!inode.IsRemoved)
            {
                core.Edit.Stage(inode, inode.Record);
                any = true;
            }
        }

        if (any)
        {
            core.Edit.Apply();
        }

        return at;
    }

    /// <summary>One commit, and those who wait for its end.</summary>
    private sealed class Turn
    {
        private readonly Signal _ended = new();
        private readonly Signal _called = new();
        private Exception? _thrown;

        /// <summary>Callers that this commit serves. Changed under the lock of the turns.</summary>
        public int Callers;

        /// <summary>One of them wants changes to wait. Changed under the lock of the turns.</summary>
        public bool Stops;

        /// <summary>When it began, by the stopwatch. Under the lock of the turns.</summary>
        public long Began;

        public void End(Exception? thrown)
        {
            _thrown = thrown;
            _ended.Set();

            // Who came first may sleep there, when somebody who came later has led.
            _called.Set();
        }

        /// <summary>Waits for its end on the calling thread, for so long at most.</summary>
        public void TryWait(TimeSpan atMost) => _ended.TryWait(atMost);

        public ValueTask WaitAsync(IoMode mode) => _ended.WaitAsync(mode);

        /// <summary>The first caller is told that it may lead, if it does not sleep for another reason. Others may have been faster.</summary>
        public void Call() => _called.Set();

        /// <summary>Calls from now on are waited for. Under the lock of the turns.</summary>
        public void AwaitCall() => _called.Reset();

        public ValueTask WaitForCallAsync(IoMode mode) => _called.WaitAsync(mode);

        /// <summary>The leader's error, for those it led.</summary>
        public void ThrowIfFailed()
        {
            if (_thrown is not null)
            {
                ExceptionDispatchInfo.Throw(_thrown);
            }
        }
    }

    /// <summary>What threads sleep at, and tasks await.</summary>
    private sealed class Signal
    {
        private readonly ThreadLatch _latch = new();
        private TaskCompletionSource? _awaited;

        public void Set()
        {
            _latch.Open();
            lock (_latch)
            {
                _awaited?.TrySetResult();
            }
        }

        /// <summary>Only by the one that waits.</summary>
        public void Reset()
        {
            _latch.Close();
            lock (_latch)
            {
                _awaited = null;
            }
        }

        public void TryWait(TimeSpan atMost) => _latch.TryWait(atMost);

        public ValueTask WaitAsync(IoMode mode)
        {
            if (mode == IoMode.Sync)
            {
                _latch.Wait();
                return default;
            }

            lock (_latch)
            {
                return _latch.IsOpen ? default : new ValueTask((_awaited ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).Task);
            }
        }
    }
}
