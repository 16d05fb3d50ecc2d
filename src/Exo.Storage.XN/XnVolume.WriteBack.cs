// SPDX-License-Identifier: MIT
using Exo.Capabilities;
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.Storage.XN;

/// <content>Ordered writes and durability.</content>
public sealed partial class XnVolume
{
    /// <summary>Metadata blocks copied for one round of writing: bounds the frames that a write-back borrows.</summary>
    private const int BounceFramesMax = 256;

    private readonly SemaphoreSlim _flushTurn = new(1, 1);
    private List<ulong> _unflushed = [];

    // Under the lock. Blocks that are being written, by whomever and wherever to: neither dirty nor, yet, written.
    private int _underWay;
    private ulong _epoch = 1;
    private ulong _durableEpoch;
    private long _blocksWritten;
    private long _flushes;
    private long _sharedFlushes;

    /// <summary>
    /// Lists dirty blocks that may be written now, in disk order. A library OS makes everything durable by repeating { plan, <see cref="WriteBack"/>, <see cref="Flush"/> } until
    /// nothing is dirty: each round writes all that the rounds before have made writable.
    /// </summary>
    /// <returns>How many were put into <paramref name="into"/>.</returns>
    public int PlanWriteBack(Span<BlockNumber> into)
    {
        int count = 0;
        lock (_lock)
        {
            for (int index = _registry.DirtyFirst; index != BlockRegistry.None && count < into.Length; index = _registry.DirtyNext(index))
            {
                if (MayWrite(index) == XnStatus.Ok)
                {
                    into[count++] = new BlockNumber(_registry[index].Block);
                }
            }
        }

        into[..count].Sort();
        return count;
    }

    /// <summary>
    /// Lists what must become durable before a block may be written: the blocks that it must wait for, directly or not, and last the block itself; each dirty one once, in an order
    /// in which they can be written when a <see cref="Flush"/> follows each step that the next one waits for.
    /// </summary>
    public IReadOnlyList<BlockNumber> PlanWriteBack(BlockNumber block)
    {
        lock (_lock)
        {
            List<BlockNumber> plan = [];
            HashSet<ulong> seen = [];
            Collect(block.Value, plan, seen);
            return plan;
        }
    }

    /// <summary>
    /// Writes dirty blocks, adjacent ones as one request. Anybody may write back a block whose order permits it. Metadata is copied to borrowed frames first, so that it can be
    /// changed while the write is under way and reaches the disk as one consistent image; data is written from where it lies. Returns when the device has the blocks: they are durable after <see cref="Flush"/>.
    /// </summary>
    /// <returns>
    /// Ok; ReadOnly; or, for the first block that may not be written, NotRegistered, Busy, Tainted: then nothing was written. Busy also when other writers hold all frames
    /// that metadata can be copied to; then a part was written. Clean blocks are skipped. A block that is live in the commit log is written after a <see cref="Checkpoint"/>, which this call then makes.
    /// </returns>
    /// <exception cref="BlockDeviceException">The device failed. What it failed to write is dirty again.</exception>
    public XnStatus WriteBack(Credential credential, ReadOnlySpan<BlockNumber> blocks)
    {
        ArgumentNullException.ThrowIfNull(credential);
        if (!HasLog)
        {
            return WriteInPlace(blocks);
        }

        _logTurn.Wait();
        try
        {
            if (IsInWayOf(blocks))
            {
                RunCheckpoint();
            }

            return WriteInPlace(blocks);
        }
        finally
        {
            _logTurn.Release();
        }
    }

    private XnStatus WriteInPlace(ReadOnlySpan<BlockNumber> blocks)
    {
        XnStatus status = CheckWriteBack(blocks);
        for (int from = 0; status == XnStatus.Ok && from < blocks.Length;)
        {
            int start = from;
            WritePlan plan = BeginWrite(blocks, ref from);
            if (from == start)
            {
                return XnStatus.Busy;
            }

            try
            {
                if (plan.Requests.Length > 0)
                {
                    _device.Execute(plan.Requests);
                }
            }
            catch (BlockDeviceException)
            {
                EndWrite(plan);
                throw;
            }

            EndWrite(plan);
        }

        return status;
    }

    /// <summary>As <see cref="WriteBack"/>, through the device's asynchronous door.</summary>
    public async ValueTask<XnStatus> WriteBackAsync(Credential credential, ReadOnlyMemory<BlockNumber> blocks)
    {
        ArgumentNullException.ThrowIfNull(credential);
        if (!HasLog)
        {
            return await WriteInPlaceAsync(blocks).ConfigureAwait(false);
        }

        await _logTurn.WaitAsync().ConfigureAwait(false);
        try
        {
            if (IsInWayOf(blocks.Span))
            {
                await RunCheckpointAsync().ConfigureAwait(false);
            }

            return await WriteInPlaceAsync(blocks).ConfigureAwait(false);
        }
        finally
        {
            _logTurn.Release();
        }
    }

    private async ValueTask<XnStatus> WriteInPlaceAsync(ReadOnlyMemory<BlockNumber> blocks)
    {
        XnStatus status = CheckWriteBack(blocks.Span);
        for (int from = 0; status == XnStatus.Ok && from < blocks.Length;)
        {
            int start = from;
            WritePlan plan = BeginWrite(blocks.Span, ref from);
            if (from == start)
            {
                return XnStatus.Busy;
            }

            try
            {
                if (plan.Requests.Length > 0)
                {
                    await _device.ExecuteAsync(plan.Requests).ConfigureAwait(false);
                }
            }
            catch (BlockDeviceException)
            {
                EndWrite(plan);
                throw;
            }

            EndWrite(plan);
        }

        return status;
    }

    /// <summary>
    /// Makes everything that was written back before the call durable. Callers share flushes: one that arrives while a flush is under way waits for it and at most one more.
    /// </summary>
    /// <exception cref="BlockDeviceException">The device failed: nothing has become durable, and what was written since the last good flush is dirty again.</exception>
    public void Flush()
    {
        ThrowIfClosed();
        ulong needed = NeededEpoch();
        if (needed == 0)
        {
            return;
        }

        _flushTurn.Wait();
        try
        {
            if (BeginFlush(needed) is { } closing)
            {
                try
                {
                    _device.Flush();
                }
                catch (BlockDeviceException)
                {
                    EndFlush(closing, succeeded: false);
                    throw;
                }

                EndFlush(closing, succeeded: true);
            }
        }
        finally
        {
            _flushTurn.Release();
        }
    }

    /// <summary>As <see cref="Flush"/>, through the device's asynchronous door.</summary>
    public async ValueTask FlushAsync()
    {
        ThrowIfClosed();
        ulong needed = NeededEpoch();
        if (needed == 0)
        {
            return;
        }

        await _flushTurn.WaitAsync().ConfigureAwait(false);
        try
        {
            if (BeginFlush(needed) is { } closing)
            {
                try
                {
                    await _device.FlushAsync().ConfigureAwait(false);
                }
                catch (BlockDeviceException)
                {
                    EndFlush(closing, succeeded: false);
                    throw;
                }

                EndFlush(closing, succeeded: true);
            }
        }
        finally
        {
            _flushTurn.Release();
        }
    }

    /// <summary>Rules one and three for one dirty block. Guarded by the lock.</summary>
    private XnStatus MayWrite(int index)
    {
        ref RegistryEntry entry = ref _registry[index];
        Invariant.Check(entry.Has(EntryFlags.Framed));
        return entry.Has(EntryFlags.Writing | EntryFlags.Reading | EntryFlags.Dropped) ? XnStatus.Busy
            : (!entry.Has(EntryFlags.Volatile) && _registry.Pending(index) > 0 && _registry.TemplateOf(index).IsMetadata) || _order.MustWait(entry.Block) ? XnStatus.Tainted
            : XnStatus.Ok;
    }

    private void Collect(ulong block, List<BlockNumber> plan, HashSet<ulong> seen)
    {
        if (!seen.Add(block))
        {
            return;
        }

        int index = _registry.Find(block);
        foreach (OrderEdges.Wait wait in _order.WaitsOf(block))
        {
            Collect(wait.Before, plan, seen);
        }

        if (index < 0)
        {
            return;
        }

        if (_registry.Pending(index) > 0)
        {
            for (int kid = _registry.KidFirst(index); kid != BlockRegistry.None; kid = _registry.KidNext(kid))
            {
                Collect(_registry[kid].Block, plan, seen);
            }

            // Data below has no lists: it is found by its parent.
            for (int other = _registry.DirtyFirst; other != BlockRegistry.None; other = _registry.DirtyNext(other))
            {
                if (_registry[other].Parent == block && _registry[other].Has(EntryFlags.Uninitialised))
                {
                    Collect(_registry[other].Block, plan, seen);
                }
            }
        }

        if (_registry[index].Has(EntryFlags.Dirty))
        {
            plan.Add(new BlockNumber(block));
        }
    }

    private XnStatus CheckWriteBack(ReadOnlySpan<BlockNumber> blocks)
    {
        ThrowIfClosed();
        if (IsReadOnly)
        {
            return XnStatus.ReadOnly;
        }

        lock (_lock)
        {
            foreach (BlockNumber block in blocks)
            {
                int index = _registry.Find(block.Value);
                if (index < 0)
                {
                    return XnStatus.NotRegistered;
                }

                XnStatus status = _registry[index].Has(EntryFlags.Dirty) ? MayWrite(index) : XnStatus.Ok;
                if (status != XnStatus.Ok)
                {
                    return status;
                }
            }
        }

        return XnStatus.Ok;
    }

    private readonly record struct WritePlan(BlockRequest[] Requests, List<(BlockNumber Block, FrameNumber Frame)> Blocks, List<FrameNumber> Borrowed);

    /// <summary>Takes the next blocks of the list, as many as there are frames to copy metadata to; at least one.</summary>
    private WritePlan BeginWrite(ReadOnlySpan<BlockNumber> blocks, ref int from)
    {
        List<(BlockNumber, FrameNumber)> writing = [];
        List<FrameNumber> borrowed = [];
        int copies = 0;
        using (new Changing(this))
        {
            while (from < blocks.Length)
            {
                int index = _registry.Find(blocks[from].Value);
                if (index < 0 || !_registry[index].Has(EntryFlags.Dirty) || MayWrite(index) != XnStatus.Ok)
                {
                    // Changed since the check: somebody else writes it, or it waits for something new. It stays dirty.
                    from++;
                    continue;
                }

                ref RegistryEntry entry = ref _registry[index];
                FrameNumber frame = new(entry.Frame);
                if (_registry.TemplateOf(index).IsMetadata)
                {
                    if (copies == BounceFramesMax || !TryBorrow(out FrameNumber copy))
                    {
                        break;
                    }

                    _frames.Bytes(frame).CopyTo(_frames.Bytes(copy));
                    copies++;
                    borrowed.Add(copy);
                    writing.Add((blocks[from], copy));
                }
                else
                {
                    _frames.Retain(frame);
                    borrowed.Add(frame);
                    writing.Add((blocks[from], frame));
                }

                Submit(index);
                from++;
            }

            _underWay += writing.Count;
            _blocksWritten += writing.Count;
        }

        return new WritePlan(BlockRuns.Build(BlockOperation.Write, writing), writing, borrowed);
    }

    private void Submit(int index)
    {
        ref RegistryEntry entry = ref _registry[index];
        _registry.StateOf(index).Submitted = entry.Version;
        entry.Flags |= EntryFlags.Writing;
        _registry.ClearDirty(index);
        if (!entry.Has(EntryFlags.Volatile))
        {
            PromoteKids(index);
        }
    }

    /// <summary>
    /// The block's image with all its pointers is on its way to the disk: what lies below is attached from now on. Everything there is durable (pending is 0).
    /// </summary>
    private void PromoteKids(int index)
    {
        for (int kid = _registry.KidFirst(index); kid != BlockRegistry.None; kid = _registry.KidFirst(index))
        {
            _registry.UnlinkKid(kid);
            _registry[kid].Flags &= ~EntryFlags.Volatile;
            PromoteKids(kid);
            _registry.Settle(kid);
        }
    }

    private void EndWrite(in WritePlan plan)
    {
        using (new Changing(this))
        {
            _paid.Clear();
            _underWay -= plan.Blocks.Count;
            foreach (BlockRequest request in plan.Requests)
            {
                for (int i = 0; i < request.BlockCount; i++)
                {
                    Written((request.FirstBlock + (ulong)i).Value, request.Error == 0);
                }
            }

            Pay();
        }

        foreach (FrameNumber frame in plan.Borrowed)
        {
            _frames.Release(frame);
        }
    }

    /// <summary>A frame for one copy of metadata: one of the volume's own reserve that is not in use (count 1), else any free one.</summary>
    private bool TryBorrow(out FrameNumber copy)
    {
        foreach (FrameNumber reserved in _reserve)
        {
            if (_frames.ReferenceCount(reserved) == 1)
            {
                _frames.Retain(reserved);
                copy = reserved;
                return true;
            }
        }

        return _frames.TryAllocate(_frames.RootCredential, out copy);
    }

    private void Written(ulong block, bool succeeded)
    {
        int index = _registry.Find(block);
        ref RegistryEntry entry = ref _registry[index];
        entry.Flags &= ~EntryFlags.Writing;
        if (entry.Has(EntryFlags.Dropped))
        {
            EndDropped(index);
            return;
        }

        if (!succeeded)
        {
            _registry.SetDirty(index);
            return;
        }

        ref WriteState state = ref _registry.StateOf(index);
        state.Written = state.Submitted;
        state.WrittenEpoch = _epoch;
        if (!entry.Has(EntryFlags.Unflushed))
        {
            entry.Flags |= EntryFlags.Unflushed;
            _unflushed.Add(block);
        }
    }

    /// <summary>A block that was freed while it was being written is not any more.</summary>
    private void EndDropped(int index)
    {
        ulong block = _registry[index].Block;
        if (_registry[index].Has(EntryFlags.FreeWhenWritten))
        {
            _paid.Add(new BlockExtent(new BlockNumber(block), 1));
        }

        Forget(index);
        _willFree.Durable(block, ulong.MaxValue, _order.MovesOver, _paid);
    }

    private void Pay()
    {
        foreach (BlockExtent extent in _paid)
        {
            Give(extent);
        }

        _paid.Clear();
    }

    private ulong NeededEpoch()
    {
        lock (_lock)
        {
            return _unflushed.Count == 0 ? 0 : _epoch;
        }
    }

    /// <summary>Closes the present epoch; null when another caller's flush has covered what is needed.</summary>
    private ulong? BeginFlush(ulong needed)
    {
        lock (_lock)
        {
            if (_durableEpoch >= needed)
            {
                _sharedFlushes++;
                return null;
            }

            _flushes++;
            return _epoch++;
        }
    }

    private void EndFlush(ulong closing, bool succeeded)
    {
        using (new Changing(this))
        {
            List<ulong> unflushed = _unflushed;
            _unflushed = [];
            _paid.Clear();
            if (succeeded)
            {
                _durableEpoch = closing;
            }

            foreach (ulong block in unflushed)
            {
                int index = _registry.Find(block);
                if (index < 0 || !_registry[index].Has(EntryFlags.Unflushed))
                {
                    continue;
                }

                if (_registry.StateOf(index).WrittenEpoch > closing)
                {
                    _unflushed.Add(block);
                    continue;
                }

                _registry[index].Flags &= ~EntryFlags.Unflushed;
                if (succeeded)
                {
                    BecomeDurable(index);
                }
                else if (!_registry[index].Has(EntryFlags.Dropped))
                {
                    _registry.SetDirty(index);
                }
            }

            Pay();
        }
    }

    private void BecomeDurable(int index)
    {
        ref RegistryEntry entry = ref _registry[index];
        if (entry.Has(EntryFlags.Dropped))
        {
            return;
        }

        ref WriteState state = ref _registry.StateOf(index);
        ulong durable = state.Durable = state.Written;
        if (durable == entry.Version)
        {
            state.DirtySectors = 0;
        }

        if (entry.Has(EntryFlags.Uninitialised) && durable >= state.InitialiseAt)
        {
            entry.Flags &= ~EntryFlags.Uninitialised;
            int parent = _registry.Find(entry.Parent);
            if (parent >= 0)
            {
                AddPending(parent, -1);
            }
        }

        _order.Durable(entry.Block, durable);
        _willFree.Durable(entry.Block, durable, _order.MovesOver, _paid);
        _willFree.MovesOver(_order.MovesOver, _paid);
        _registry.Settle(index);
    }
}
