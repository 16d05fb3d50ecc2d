// SPDX-License-Identifier: MIT
using Exo.Capabilities;
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.Storage.XN;

/// <content>
/// The commit log: everything dirty becomes durable by one sequential write. A transaction is closed under the orders that writes in place would have to keep, and is on the disk whole or not at all, so
/// that it needs none of them; what is in it counts as durable, and is brought home later, all at once (<see cref="Checkpoint"/>). The log is filled from its beginning and then begins anew: it never wraps.
/// <code>
/// commit:      dirty blocks → images of their changed sectors → one write of the log, durable by itself → their versions are durable, the blocks are live (LiveImages)
/// checkpoint:  live blocks → their places, in any order, many of them ahead (<see cref="BringHomeAhead"/>) → flush → an empty transaction at the log's beginning, durable → nothing is live
/// replay:      images of all transactions → their places → flush; what comes next in the volume's life begins with another log epoch in the superblock
/// </code>
/// One commit, checkpoint or write in place at a time: what one of them finds under its turn the others cannot change.
/// </content>
public sealed partial class XnVolume
{
    private readonly SemaphoreSlim _logTurn = new(1, 1);
    private readonly LiveImages _live = new();
    private readonly List<int> _committing = [];
    private readonly FrameNumber[] _logFrames = [];
    private BlockDevice? _replayed;

    // Under the turn: where the next transaction goes, and its number. Both begin anew with the log epoch.
    private ulong _logPosition;
    private ulong _logSequence = 1;

    // The last transaction's write failed: it may be on the disk or not, until the log begins anew.
    private bool _isLogInDoubt;
    private long _commits;
    private long _checkpoints;

    private bool HasLog => _logFrames.Length > 0;

    /// <summary>Blocks that are durable in the commit log and not in their places. They stay in core until a <see cref="Checkpoint"/>.</summary>
    public int BlocksInLog
    {
        get
        {
            lock (_lock)
            {
                return _live.Count;
            }
        }
    }

    /// <summary>
    /// Makes every block durable that is dirty or not flushed, by one write to the commit log. Blocks that wait for something that cannot be written now stay dirty. Anybody may commit: it is what
    /// <see cref="WriteBack"/> and <see cref="Flush"/> do, in one step.
    /// </summary>
    /// <returns>False when the volume has no log, when there is more than the log takes at once, or when no dirty block can be committed: then nothing has changed, and writing back is the way.</returns>
    /// <exception cref="BlockDeviceException">The device failed: nothing has become durable, all is as dirty as before.</exception>
    public bool TryCommit(Credential credential) => Commit(credential) != CommitOutcome.Nothing;

    /// <summary>As <see cref="TryCommit"/>; says whether all was committed that was dirty or not flushed as it began.</summary>
    internal CommitOutcome Commit(Credential credential)
    {
        ArgumentNullException.ThrowIfNull(credential);
        if (!HasLog || IsAllDurable())
        {
            return HasLog ? CommitOutcome.All : CommitOutcome.Nothing;
        }

        MakeUnclean();
        _logTurn.Wait();
        try
        {
            while (true)
            {
                CommitPlan plan = BeginCommit();
                if (plan.NeedsCheckpoint)
                {
                    RunCheckpoint();
                }
                else if (plan.Requests.Length == 0)
                {
                    return plan.IsAll ? CommitOutcome.All : CommitOutcome.Nothing;
                }
                else
                {
                    try
                    {
                        _device.Execute(plan.Requests);
                    }
                    catch (BlockDeviceException)
                    {
                        EndCommit(plan, succeeded: false);
                        throw;
                    }

                    if (EndCommit(plan, succeeded: true))
                    {
                        RunCheckpoint();
                    }
                    else
                    {
                        BringHomeAhead();
                    }

                    return plan.IsAll ? CommitOutcome.All : CommitOutcome.Part;
                }
            }
        }
        finally
        {
            _logTurn.Release();
        }
    }

    /// <summary>As <see cref="TryCommit"/>, through the device's asynchronous door.</summary>
    public async ValueTask<bool> TryCommitAsync(Credential credential) => await CommitAsync(credential).ConfigureAwait(false) != CommitOutcome.Nothing;

    /// <inheritdoc cref="Commit"/>
    internal async ValueTask<CommitOutcome> CommitAsync(Credential credential)
    {
        ArgumentNullException.ThrowIfNull(credential);
        if (!HasLog || IsAllDurable())
        {
            return HasLog ? CommitOutcome.All : CommitOutcome.Nothing;
        }

        MakeUnclean();
        await _logTurn.WaitAsync().ConfigureAwait(false);
        try
        {
            while (true)
            {
                CommitPlan plan = BeginCommit();
                if (plan.NeedsCheckpoint)
                {
                    await RunCheckpointAsync().ConfigureAwait(false);
                }
                else if (plan.Requests.Length == 0)
                {
                    return plan.IsAll ? CommitOutcome.All : CommitOutcome.Nothing;
                }
                else
                {
                    try
                    {
                        await _device.ExecuteAsync(plan.Requests).ConfigureAwait(false);
                    }
                    catch (BlockDeviceException)
                    {
                        EndCommit(plan, succeeded: false);
                        throw;
                    }

                    if (EndCommit(plan, succeeded: true))
                    {
                        await RunCheckpointAsync().ConfigureAwait(false);
                    }
                    else
                    {
                        BringHomeAhead();
                    }

                    return plan.IsAll ? CommitOutcome.All : CommitOutcome.Part;
                }
            }
        }
        finally
        {
            _logTurn.Release();
        }
    }

    /// <summary>Brings everything home that is in the commit log only, and begins the log anew: blocks that wait for it can leave core or become free. Nothing to do without a log.</summary>
    /// <exception cref="BlockDeviceException">The device failed: the log stays as it is.</exception>
    public void Checkpoint()
    {
        ThrowIfClosed();
        if (HasLog)
        {
            _logTurn.Wait();
            try
            {
                RunCheckpoint();
            }
            finally
            {
                _logTurn.Release();
            }
        }
    }

    /// <summary>As <see cref="Checkpoint"/>, through the device's asynchronous door.</summary>
    public async ValueTask CheckpointAsync()
    {
        ThrowIfClosed();
        if (HasLog)
        {
            await _logTurn.WaitAsync().ConfigureAwait(false);
            try
            {
                await RunCheckpointAsync().ConfigureAwait(false);
            }
            finally
            {
                _logTurn.Release();
            }
        }
    }

    private bool IsAllDurable()
    {
        ThrowIfClosed();
        lock (_lock)
        {
            return _registry.DirtyCount == 0 && UnflushedBlocks == 0;
        }
    }

    /// <summary>What a commit has made durable of what there was to be made so.</summary>
    internal enum CommitOutcome
    {
        Nothing,
        Part,
        All,
    }

    /// <summary>One transaction: what is written, of which blocks, and which of them were uninitialised. The requests are empty when there is nothing to write.</summary>
    private readonly record struct CommitPlan(BlockRequest[] Requests, List<CommitItem> Items, bool NeedsCheckpoint, bool IsAll);

    private readonly record struct CommitItem(ulong Block, FrameNumber Frame, byte Sectors, bool IsData, bool WasUninitialised);

    /// <summary>
    /// Decides what the transaction holds and makes it. From here on, until the commit ends, the blocks are being written; those that were uninitialised count as if they were durable, which
    /// lets nobody write a pointer to them meanwhile, because nobody writes in place.
    /// </summary>
    private CommitPlan BeginCommit()
    {
        List<CommitItem> items = [];
        bool isAll;
        using (new Changing(this))
        {
            if (_isLogInDoubt)
            {
                return new CommitPlan([], items, NeedsCheckpoint: true, IsAll: false);
            }

            int sectors = Choose(items);
            int length = LogRecord.LengthBlocks(_committing.Count, sectors);
            bool isTooLarge = length > _logFrames.Length || (ulong)length > _superblock.Current.LogBlocks - 1;
            bool isFull = (ulong)length > _superblock.Current.LogBlocks - _logPosition;
            if (_committing.Count == 0 || isTooLarge || isFull)
            {
                Unchoose(items);
                return new CommitPlan([], items, NeedsCheckpoint: isFull && !isTooLarge && _committing.Count > 0, IsAll: _registry.DirtyCount == 0 && UnflushedBlocks == 0);
            }

            foreach (int index in _committing)
            {
                ref RegistryEntry entry = ref _registry[index];
                ref WriteState state = ref _registry.StateOf(index);
                state.Submitted = entry.Version;
                state.LoggedSectors = state.DirtySectors;
                state.DirtySectors = 0;
                entry.Flags |= EntryFlags.Writing | EntryFlags.Live;
                _registry.ClearDirty(index);
                _live.Enter(entry.Block).Begin();
                _frames.Retain(new FrameNumber(entry.Frame));
            }

            foreach (int index in _committing)
            {
                if (!_registry[index].Has(EntryFlags.Volatile))
                {
                    PromoteKids(index);
                }
            }

            isAll = _registry.DirtyCount == 0 && _underWay == 0 && !LeavesUnflushed();
            _underWay += items.Count;

            // Metadata is copied here, as it is at this moment; data, which has no order, below, without the lock.
            Fill(items, isData: false);
            _blocksWritten += items.Count;
        }

        int blocks = Fill(items, isData: true);
        BlockRequest[] requests = [BlockRequest.Write(new BlockNumber(_superblock.Current.LogStart + _logPosition), _logFrames.AsMemory(0, blocks), forceUnitAccess: true)];
        return new CommitPlan(requests, items, NeedsCheckpoint: false, isAll);
    }

    /// <summary>
    /// All that is dirty or not flushed, without what waits for something that stays behind. Uninitialised blocks that are chosen stop being so.
    /// </summary>
    /// <returns>Sectors that may need images.</returns>
    private int Choose(List<CommitItem> items)
    {
        _committing.Clear();
        for (int index = _registry.DirtyFirst; index != BlockRegistry.None; index = _registry.DirtyNext(index))
        {
            Take(index);
        }

        foreach (ulong block in _unflushed)
        {
            int index = _registry.Find(block);
            if (index >= 0 && _registry[index].Has(EntryFlags.Unflushed) && !_registry[index].Has(EntryFlags.Dirty))
            {
                Take(index);
            }
        }

        foreach (int index in _committing)
        {
            ref RegistryEntry entry = ref _registry[index];
            bool wasUninitialised = entry.Has(EntryFlags.Uninitialised);
            items.Add(new CommitItem(entry.Block, new FrameNumber(entry.Frame), _registry.StateOf(index).DirtySectors, !_registry.TemplateOf(index).IsMetadata, wasUninitialised));
            if (wasUninitialised)
            {
                entry.Flags &= ~EntryFlags.Uninitialised;
                AddPendingAbove(index, -1);
            }
        }

        // What waits for something outside stays outside, and then what waits for that.
        for (bool again = true; again;)
        {
            again = false;
            for (int i = _committing.Count - 1; i >= 0; i--)
            {
                if (MayCommit(_committing[i]))
                {
                    continue;
                }

                again = true;
                Leave(_committing[i], items[i]);
                _committing.RemoveAt(i);
                items.RemoveAt(i);
            }
        }

        int sectors = 0;
        foreach (CommitItem item in items)
        {
            sectors += int.PopCount(item.Sectors);
        }

        return sectors;

        void Take(int index)
        {
            ref RegistryEntry entry = ref _registry[index];
            if (entry.Has(EntryFlags.Framed) && !entry.Has(EntryFlags.Writing | EntryFlags.Reading | EntryFlags.Dropped))
            {
                entry.Flags |= EntryFlags.Committing;
                _committing.Add(index);
            }
        }
    }

    private bool LeavesUnflushed()
    {
        foreach (ulong block in _unflushed)
        {
            int index = _registry.Find(block);
            if (index >= 0 && _registry[index].Has(EntryFlags.Unflushed) && !_registry[index].Has(EntryFlags.Committing | EntryFlags.Dropped))
            {
                return true;
            }
        }

        return false;
    }

    private bool MayCommit(int index)
    {
        ref RegistryEntry entry = ref _registry[index];
        if (!entry.Has(EntryFlags.Volatile) && _registry.Pending(index) > 0 && _registry.TemplateOf(index).IsMetadata)
        {
            return false;
        }

        foreach (OrderEdges.Wait wait in _order.WaitsOf(entry.Block))
        {
            int before = _registry.Find(wait.Before);
            if (before < 0 || !_registry[before].Has(EntryFlags.Committing))
            {
                return false;
            }
        }

        return true;
    }

    private void Leave(int index, in CommitItem item)
    {
        ref RegistryEntry entry = ref _registry[index];
        entry.Flags &= ~EntryFlags.Committing;
        if (item.WasUninitialised)
        {
            entry.Flags |= EntryFlags.Uninitialised;
            AddPendingAbove(index, 1);
        }
    }

    private void Unchoose(List<CommitItem> items)
    {
        for (int i = 0; i < items.Count; i++)
        {
            Leave(_committing[i], items[i]);
        }
    }

    private void AddPendingAbove(int index, int count)
    {
        int parent = _registry.Find(_registry[index].Parent);
        if (parent >= 0)
        {
            AddPending(parent, count);
        }
    }

    private Span<byte> LogBytes(int offset, int length) => _frames.Bytes(_logFrames[offset / LogRecord.BlockBytes]).Slice(offset % LogRecord.BlockBytes, length);

    private int _fillAt;

    /// <summary>Puts entries and images of metadata, and then of data, into the log's frames. After data it is complete: header, zeros to its end, checksum.</summary>
    /// <returns>Blocks of the transaction, after data.</returns>
    private int Fill(List<CommitItem> items, bool isData)
    {
        int count = items.Count;
        int entry = isData ? items.Count(static item => !item.IsData) : 0;
        if (!isData)
        {
            _fillAt = LogRecord.ImagesOffset(count);
        }

        foreach (CommitItem item in items)
        {
            if (item.IsData != isData)
            {
                continue;
            }

            ReadOnlySpan<byte> bytes = _frames.Bytes(item.Frame);
            byte images = 0;
            for (int sector = 0; sector < LogRecord.SectorsPerBlock; sector++)
            {
                ReadOnlySpan<byte> from = bytes.Slice(sector * LogRecord.SectorBytes, LogRecord.SectorBytes);
                if ((item.Sectors >> sector & 1) != 0 && from.ContainsAnyExcept((byte)0))
                {
                    images |= (byte)(1 << sector);
                    from.CopyTo(LogBytes(_fillAt, LogRecord.SectorBytes));
                    _fillAt += LogRecord.SectorBytes;
                }
            }

            LogRecord.EmitEntry(
                LogBytes(LogRecord.HeaderBytes + (entry++ * LogRecord.EntryBytes), LogRecord.EntryBytes), new LogRecord.Entry(item.Block, images, (byte)(item.Sectors & ~images)));
        }

        return isData ? Seal(count) : 0;
    }

    private int Seal(int entryCount)
    {
        for (int at = LogRecord.HeaderBytes + (entryCount * LogRecord.EntryBytes); at < LogRecord.ImagesOffset(entryCount); at += LogRecord.EntryBytes)
        {
            LogBytes(at, LogRecord.EntryBytes).Clear();
        }

        for (; _fillAt % LogRecord.BlockBytes != 0; _fillAt += LogRecord.SectorBytes)
        {
            LogBytes(_fillAt, LogRecord.SectorBytes).Clear();
        }

        int length = _fillAt / LogRecord.BlockBytes;
        Span<byte> first = _frames.Bytes(_logFrames[0]);
        LogRecord.EmitHeader(first, new LogRecord.Header(_superblock.Current.VolumeId, _superblock.Current.LogEpoch, _logSequence, length, entryCount));
        ulong sum = LogRecord.Begin(_superblock.Current.LogStart + _logPosition, first);
        for (int i = 1; i < length; i++)
        {
            sum = LogRecord.Add(sum, _frames.Bytes(_logFrames[i]));
        }

        LogRecord.WriteChecksum(first, sum);
        return length;
    }

    /// <summary>The transaction is durable, or has failed.</summary>
    /// <returns>It is time for a checkpoint.</returns>
    private bool EndCommit(in CommitPlan plan, bool succeeded)
    {
        bool wantsCheckpoint;
        using (new Changing(this))
        {
            _paid.Clear();
            _underWay -= plan.Items.Count;
            foreach (CommitItem item in plan.Items)
            {
                EndOne(item, succeeded);
            }

            if (succeeded)
            {
                _unflushed.RemoveAll(block => _registry.Find(block) is var index && (index < 0 || !_registry[index].Has(EntryFlags.Unflushed)));
                _logPosition += (ulong)plan.Requests[0].BlockCount;
                _logSequence++;
                _commits++;
            }
            else
            {
                _isLogInDoubt = true;
            }

            Pay();

            // Live blocks cannot leave core, and those that are freed are wanted when the disk is nearly full.
            wantsCheckpoint = succeeded && (_live.Count > _frames.FrameCount / 4 || (_live.FreedCount > 0 && _freeMap.FreeBlocks < BlockCount / 16));
        }

        foreach (CommitItem item in plan.Items)
        {
            _frames.Release(item.Frame);
        }

        return wantsCheckpoint;
    }

    private void EndOne(in CommitItem item, bool succeeded)
    {
        int index = _registry.Find(item.Block);
        ref RegistryEntry entry = ref _registry[index];
        LiveImage live = _live.Find(item.Block)!;
        live.End(succeeded);
        entry.Flags &= ~(EntryFlags.Writing | EntryFlags.Committing);
        if (entry.Has(EntryFlags.Dropped))
        {
            EndDropped(index);
            return;
        }

        ref WriteState state = ref _registry.StateOf(index);
        if (succeeded)
        {
            entry.Flags &= ~EntryFlags.Unflushed;
            state.Written = state.Submitted;
            BecomeDurable(index);
            return;
        }

        state.DirtySectors |= state.LoggedSectors;
        if (item.WasUninitialised && !entry.Has(EntryFlags.Uninitialised))
        {
            entry.Flags |= EntryFlags.Uninitialised;
            AddPendingAbove(index, 1);
        }

        _registry.SetDirty(index);
    }

    /// <summary>A metadata block that is live is about to change: what the log has of it may have to be written home.</summary>
    private void Preserve(int index)
    {
        if (_registry[index].Has(EntryFlags.Live) && _registry.TemplateOf(index).IsMetadata)
        {
            _live.Find(_registry[index].Block)!.Preserve(FrameBytes(index));
        }
    }

    /// <summary>Gives blocks back to the free map; live ones when the log has begun anew.</summary>
    private void Give(in BlockExtent extent)
    {
        if (_live.Count == 0)
        {
            _freeMap.Give(extent);
            return;
        }

        for (uint i = 0; i < extent.Count; i++)
        {
            BlockNumber block = extent.First + i;
            if (_live.Contains(block.Value))
            {
                _live.NoteFreed(block.Value, _frames);
            }
            else
            {
                _freeMap.Give(new BlockExtent(block, 1));
            }
        }
    }

    /// <summary>Whether the log must begin anew before these blocks are written in place.</summary>
    private bool IsInWayOf(ReadOnlySpan<BlockNumber> blocks)
    {
        if (_isLogInDoubt)
        {
            return true;
        }

        lock (_lock)
        {
            foreach (BlockNumber block in blocks)
            {
                if (_live.Contains(block.Value))
                {
                    return true;
                }
            }

            return false;
        }
    }

    /// <summary>Live blocks in disk order, when there is anything to bring home or to end. Under the turn: none is added.</summary>
    private ulong[]? LiveBlocks()
    {
        lock (_lock)
        {
            if (_live.Count == 0 && !_isLogInDoubt)
            {
                return null;
            }

            ulong[] blocks = [.. _live.Blocks];
            Array.Sort(blocks);
            return blocks;
        }
    }

    private void RunCheckpoint()
    {
        _homeAhead.Wait();
        if (LiveBlocks() is not { } blocks)
        {
            return;
        }

        for (int from = 0; from < blocks.Length;)
        {
            HomePlan plan = BeginHome(blocks, ref from);
            try
            {
                if (plan.Requests.Length > 0)
                {
                    _device.Execute(plan.Requests);
                }
            }
            finally
            {
                EndHome(plan);
            }
        }

        _device.Flush();
        _device.Execute(Restart());
        EndCheckpoint(blocks);
    }

    private async ValueTask RunCheckpointAsync()
    {
        await _homeAhead.ConfigureAwait(false);
        if (LiveBlocks() is not { } blocks)
        {
            return;
        }

        for (int from = 0; from < blocks.Length;)
        {
            HomePlan plan = BeginHome(blocks, ref from);
            try
            {
                if (plan.Requests.Length > 0)
                {
                    await _device.ExecuteAsync(plan.Requests).ConfigureAwait(false);
                }
            }
            finally
            {
                EndHome(plan);
            }
        }

        await _device.FlushAsync().ConfigureAwait(false);
        await _device.ExecuteAsync(Restart()).ConfigureAwait(false);
        EndCheckpoint(blocks);
    }

    private readonly record struct HomePlan(BlockRequest[] Requests, List<FrameNumber> Held);

    /// <summary>Takes the next live blocks, as many as there are frames to copy metadata to. Blocks that no durable pointer leads to stay as they are, and so do those that are home already.</summary>
    private HomePlan BeginHome(ulong[] blocks, ref int from)
    {
        List<(BlockNumber, FrameNumber)> writing = [];
        List<FrameNumber> held = [];
        lock (_lock)
        {
            for (int copies = 0; from < blocks.Length; from++)
            {
                LiveImage live = _live.Find(blocks[from])!;
                int index = _registry.Find(blocks[from]);
                if (!live.IsDurable || live.IsHome || (index < 0 && live.Kept is null))
                {
                    continue;
                }

                FrameNumber frame = live.Kept ?? new FrameNumber(_registry[index].Frame);
                if (live.Logged.Length > 0 || (index >= 0 && _registry.TemplateOf(index).IsMetadata))
                {
                    FrameNumber copy = _logFrames[copies++];
                    (live.Logged.Length > 0 ? live.Logged : _frames.Bytes(frame)).CopyTo(_frames.Bytes(copy));
                    frame = copy;
                }

                _frames.Retain(frame);
                held.Add(frame);
                writing.Add((new BlockNumber(blocks[from]), frame));
                if (copies == _logFrames.Length || writing.Count == BlockRuns.RunBlocksMax)
                {
                    from++;
                    break;
                }
            }

            _blocksWritten += writing.Count;
        }

        return new HomePlan(BlockRuns.Build(BlockOperation.Write, writing), held);
    }

    private void EndHome(in HomePlan plan)
    {
        foreach (FrameNumber frame in plan.Held)
        {
            _frames.Release(frame);
        }
    }

    /// <summary>An empty transaction for the log's beginning: whichever of its sectors reach the disk, what was there is not a transaction any more, and everything in it is home.</summary>
    private BlockRequest[] Restart()
    {
        _isLogInDoubt = true;
        _logPosition = 0;
        _fillAt = LogRecord.ImagesOffset(0);
        _ = Seal(0);
        return [BlockRequest.Write(new BlockNumber(_superblock.Current.LogStart), _logFrames.AsMemory(0, 1), forceUnitAccess: true)];
    }

    private void EndCheckpoint(ulong[] blocks)
    {
        using (new Changing(this))
        {
            foreach (ulong block in blocks)
            {
                int index = _registry.Find(block);
                if (index >= 0)
                {
                    _registry[index].Flags &= ~EntryFlags.Live;
                }
            }

            List<ulong> freed = [];
            _live.Clear(_frames, freed);
            foreach (ulong block in freed)
            {
                _freeMap.Give(new BlockExtent(new BlockNumber(block), 1));
            }

            _logPosition = 1;
            _logSequence++;
            _isLogInDoubt = false;
            _checkpoints++;
        }
    }

    /// <summary>The superblock has a new log epoch: the log is empty.</summary>
    private void BeginLog()
    {
        lock (_lock)
        {
            Invariant.Check(_live.Count == 0);
            _logPosition = 0;
            _logSequence = 1;
            _isLogInDoubt = false;
        }
    }

    /// <summary>Frames in which transactions are made: bounds what one of them can hold, and what a checkpoint copies at once.</summary>
    private static FrameNumber[] TakeLogFrames(FramePool frames, in XnSuperblock superblock)
    {
        const int FramesMax = 256;
        int count = (int)Math.Min((ulong)Math.Clamp(frames.FrameCount / 16, 4, FramesMax), superblock.LogBlocks);
        if (count == 0)
        {
            return [];
        }

        FrameNumber[] taken = new FrameNumber[count];
        if (frames.TryAllocateRun(frames.RootCredential, count, out FrameNumber first))
        {
            for (int i = 0; i < count; i++)
            {
                taken[i] = new FrameNumber(first.Value + (uint)i);
            }

            return taken;
        }

        for (int i = 0; i < count; i++)
        {
            if (!frames.TryAllocate(frames.RootCredential, out taken[i]))
            {
                // A pool without room: the volume works without a log.
                for (int k = 0; k < i; k++)
                {
                    frames.Release(taken[k]);
                }

                return [];
            }
        }

        return taken;
    }
}
