// SPDX-License-Identifier: MIT
using Exo.Capabilities;
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.Storage.XN;

/// <summary>What a frame brings to the block it is bound to.</summary>
public enum BindMode
{
    /// <summary>The frame is cleared.</summary>
    Zero,

    /// <summary>The frame's contents become the block's; data only.</summary>
    Contents,
}

/// <summary>Blocks to bring in, with the proof of ownership: the parent's partition that points to them.</summary>
/// <param name="Parent">The block that points to them; it must be in core.</param>
/// <param name="Partition">Its partition.</param>
/// <param name="Extent">The blocks, all of one extent that the partition owns.</param>
public readonly record struct XnReadRequest(BlockNumber Parent, int Partition, BlockExtent Extent);

/// <content>Frames and blocks: bind, read in, let go.</content>
public sealed partial class XnVolume
{
    private long _blocksRead;

    /// <summary>
    /// Gives frames to blocks that have been allocated and have none. XN takes the frames over (the caller's count of one each); the blocks are dirty.
    /// </summary>
    /// <returns>
    /// Ok; ReadOnly, NotRegistered, InCore, NotOwned (the block has contents on the disk: read it in, or <see cref="BindOverwrite"/>), WrongTemplate (contents for metadata), AccessDenied,
    /// NotInCore (the guard).
    /// </returns>
    public XnStatus Bind(Credential credential, BlockNumber first, ReadOnlySpan<FrameNumber> frames, BindMode mode)
    {
        ThrowIfClosed();
        using (new Changing(this))
        {
            if (IsReadOnly)
            {
                return XnStatus.ReadOnly;
            }

            for (int i = 0; i < frames.Length; i++)
            {
                int index = _registry.Find(first.Value + (ulong)i);
                if (index < 0)
                {
                    return XnStatus.NotRegistered;
                }

                ref RegistryEntry entry = ref _registry[index];
                if (entry.Has(EntryFlags.Framed))
                {
                    return XnStatus.InCore;
                }

                if (_registry.Durable(index) == entry.Version)
                {
                    return XnStatus.NotOwned;
                }

                if (mode == BindMode.Contents && _registry.TemplateOf(index).IsMetadata)
                {
                    return XnStatus.WrongTemplate;
                }

                XnStatus status = CheckAccess(credential, entry.Guard, XnOperation.Write);
                if (status != XnStatus.Ok)
                {
                    return status;
                }
            }

            for (int i = 0; i < frames.Length; i++)
            {
                SetFrame(_registry.Find(first.Value + (ulong)i), frames[i], mode);
            }

            return XnStatus.Ok;
        }
    }

    /// <summary>
    /// Gives frames to data blocks that a partition owns, without reading what is on the disk: their whole contents are about to be replaced. The blocks are dirty.
    /// </summary>
    /// <returns>Ok; ReadOnly, NotRegistered, NotInCore, BadRange, NotOwned, AccessDenied, TypeError, WrongTemplate, InCore, Shared, BadFrames.</returns>
    public XnStatus BindOverwrite(Credential credential, in XnReadRequest request, ReadOnlySpan<FrameNumber> frames)
    {
        ThrowIfClosed();
        if (frames.Length != request.Extent.Count)
        {
            return XnStatus.BadFrames;
        }

        MakeUnclean();
        using (new Changing(this))
        {
            if (IsReadOnly)
            {
                return XnStatus.ReadOnly;
            }

            XnStatus status = Prove(credential, request, XnOperation.Write, out Template? template, out int parent);
            if (status != XnStatus.Ok)
            {
                return status;
            }

            if (template!.IsMetadata)
            {
                return XnStatus.WrongTemplate;
            }

            for (uint i = 0; i < request.Extent.Count; i++)
            {
                BlockNumber block = request.Extent.First + i;
                int index = _registry.Find(block.Value);
                if (index >= 0 && _registry[index].Has(EntryFlags.Framed))
                {
                    return XnStatus.InCore;
                }

                if (template.IsCounted && (Owners(block) > 1 || _willFree.IsHeld(block.Value)))
                {
                    return XnStatus.Shared;
                }
            }

            for (uint i = 0; i < request.Extent.Count; i++)
            {
                BlockNumber block = request.Extent.First + i;
                int index = _registry.Find(block.Value);
                if (index < 0)
                {
                    index = RegisterKnown(block, template, parent, request.Partition);
                    if (_registry[index].Has(EntryFlags.Framed))
                    {
                        _frames.Release(new FrameNumber(_registry[index].Frame));
                    }
                }

                SetFrame(index, frames[(int)i], BindMode.Contents);
            }

            return XnStatus.Ok;
        }
    }

    /// <summary>
    /// Enters blocks that a partition owns into the registry without bringing them in: proved once, they can be seen there by all, and <see cref="Read"/> or <see cref="BindOverwrite"/> give
    /// them frames later. Blocks that are entered already are passed over. <see cref="Unbind"/> takes an entry away, with or without a frame.
    /// </summary>
    /// <returns>Ok; NotRegistered, NotInCore, BadRange, AccessDenied, TypeError, NotOwned.</returns>
    public XnStatus Insert(Credential credential, in XnReadRequest request)
    {
        ThrowIfClosed();
        using (new Changing(this))
        {
            XnStatus status = Prove(credential, request, XnOperation.Read, out Template? template, out int parent);
            for (uint i = 0; status == XnStatus.Ok && i < request.Extent.Count; i++)
            {
                BlockNumber block = request.Extent.First + i;
                if (_registry.Find(block.Value) < 0)
                {
                    _ = RegisterKnown(block, template!, parent, request.Partition);
                }
            }

            return status;
        }
    }

    /// <summary>Says that the caller changes the contents of data blocks through their frames. Call it before or after the change, and before <see cref="WriteBack"/>.</summary>
    /// <returns>Ok; ReadOnly, NotInCore, AccessDenied, Shared, WrongTemplate (metadata changes by transaction only).</returns>
    public XnStatus MarkDirty(Credential credential, BlockNumber first, int count)
    {
        ThrowIfClosed();
        MakeUnclean();
        using (new Changing(this))
        {
            if (IsReadOnly)
            {
                return XnStatus.ReadOnly;
            }

            for (int pass = 0; pass < 2; pass++)
            {
                for (int i = 0; i < count; i++)
                {
                    int index = _registry.Find(first.Value + (ulong)i);
                    if (index < 0 || !_registry[index].Has(EntryFlags.Framed) || _registry[index].Has(EntryFlags.Reading | EntryFlags.Dropped))
                    {
                        return XnStatus.NotInCore;
                    }

                    if (pass == 0)
                    {
                        XnStatus status = _registry.TemplateOf(index).IsMetadata
                            ? XnStatus.WrongTemplate
                            : IsFixed(index) ? XnStatus.Shared
                            : CheckAccess(credential, _registry[index].Guard, XnOperation.Write);
                        if (status != XnStatus.Ok)
                        {
                            return status;
                        }
                    }
                    else
                    {
                        _registry.Change(index);
                    }
                }
            }

            return XnStatus.Ok;
        }
    }

    /// <summary>
    /// Replaces the frame of a data block by another with the contents that the block shall have: the old frame stays with whoever holds it (a lease, a write in flight).
    /// XN takes the new frame over and releases the old one. The block is dirty.
    /// </summary>
    /// <returns>Ok; ReadOnly, NotInCore, AccessDenied, Shared, WrongTemplate.</returns>
    public XnStatus Rebind(Credential credential, BlockNumber block, FrameNumber newFrame)
    {
        ThrowIfClosed();
        MakeUnclean();
        using (new Changing(this))
        {
            int index = _registry.Find(block.Value);
            if (IsReadOnly || index < 0)
            {
                return IsReadOnly ? XnStatus.ReadOnly : XnStatus.NotInCore;
            }

            ref RegistryEntry entry = ref _registry[index];
            if (!entry.Has(EntryFlags.Framed) || entry.Has(EntryFlags.Reading | EntryFlags.Dropped))
            {
                return XnStatus.NotInCore;
            }

            if (_registry.TemplateOf(index).IsMetadata)
            {
                return XnStatus.WrongTemplate;
            }

            XnStatus status = IsFixed(index) ? XnStatus.Shared : CheckAccess(credential, entry.Guard, XnOperation.Write);
            if (status == XnStatus.Ok)
            {
                _frames.Release(new FrameNumber(entry.Frame));
                entry.Frame = newFrame.Value;
                _registry.Change(index);
            }

            return status;
        }
    }

    /// <summary>
    /// Puts the contents of a block in core, whatever they are, into another frame; nobody can tell but by the frame's number. XN takes the new frame over and releases the old one. False when the block is
    /// not in core, or on its way to or from the device.
    /// </summary>
    internal bool TryRelocate(BlockNumber block, FrameNumber newFrame)
    {
        const EntryFlags Moving = EntryFlags.Reading | EntryFlags.Writing | EntryFlags.Committing | EntryFlags.Dropped;
        using (new Changing(this))
        {
            int index = _registry.Find(block.Value);
            if (index < 0 || !_registry[index].Has(EntryFlags.Framed) || _registry[index].Has(Moving))
            {
                return false;
            }

            ref RegistryEntry entry = ref _registry[index];
            FrameNumber old = new(entry.Frame);
            _frames.Bytes(old).CopyTo(_frames.Bytes(newFrame));
            entry.Frame = newFrame.Value;
            _frames.Release(old);
            return true;
        }
    }

    /// <summary>The blocks in core whose frames are among these.</summary>
    internal List<BlockNumber> BlocksIn(FrameNumber first, int count)
    {
        lock (_lock)
        {
            List<BlockNumber> blocks = [];
            foreach (int index in _registry.Indices())
            {
                ref RegistryEntry entry = ref _registry[index];
                if (entry.Has(EntryFlags.Framed) && entry.Frame - first.Value < (uint)count)
                {
                    blocks.Add(new BlockNumber(entry.Block));
                }
            }

            return blocks;
        }
    }

    /// <summary>
    /// Takes a clean block out of the registry and gives its frame back. XN never does this by itself. It is for those who may write the block, and for those whose frame it is.
    /// </summary>
    /// <returns>Ok; NotRegistered, AccessDenied, Dirty, Busy, NotDurable (its last write is not flushed or only in the commit log, its pointer is not durable, or blocks below wait for it).</returns>
    public XnStatus Unbind(Credential credential, BlockNumber block) => UnbindCore(credential, block, onlyIdle: false);

    /// <summary>As <see cref="Unbind(Credential, BlockNumber)"/>; Busy also when anybody but the registry holds the frame. Who finds a frame without the lock has retained it before this looks, or finds that the registry has changed.</summary>
    internal XnStatus UnbindIdle(Credential credential, BlockNumber block) => UnbindCore(credential, block, onlyIdle: true);

    // That there is a change must be seen before the count is looked at (a store and a load of other memory, which processors exchange): who retains a frame and sees no change then has been counted.
    private bool IsHeld(in RegistryEntry entry)
    {
        Interlocked.MemoryBarrier();
        return entry.Has(EntryFlags.Framed) && _frames.ReferenceCount(new FrameNumber(entry.Frame)) > 1;
    }

    private XnStatus UnbindCore(Credential credential, BlockNumber block, bool onlyIdle)
    {
        ArgumentNullException.ThrowIfNull(credential);
        using (new Changing(this))
        {
            int index = _registry.Find(block.Value);
            if (index < 0)
            {
                return XnStatus.NotRegistered;
            }

            ref RegistryEntry entry = ref _registry[index];
            bool isTheirs = entry.Has(EntryFlags.Framed) && _frames.Check(credential, new FrameNumber(entry.Frame), Rights.Write) == AccessRefusal.None;
            if (!isTheirs && CheckAccess(credential, entry.Guard, XnOperation.Write) != XnStatus.Ok)
            {
                return XnStatus.AccessDenied;
            }

            if (entry.Has(EntryFlags.Dirty))
            {
                return XnStatus.Dirty;
            }

            if (entry.Has(EntryFlags.Reading | EntryFlags.Writing | EntryFlags.Dropped) || (onlyIdle && IsHeld(entry)))
            {
                return XnStatus.Busy;
            }

            if (entry.Has(EntryFlags.Uninitialised | EntryFlags.Volatile | EntryFlags.Unflushed | EntryFlags.Live) || _registry.Pending(index) > 0
                || _registry.KidFirst(index) != BlockRegistry.None || entry.Parent == 0 || (_registry.TemplateOf(index).IsMetadata && !IsLinkDurable(index)) || _willFree.IsWaitedFor(block.Value) || _order.MustWait(block.Value))
            {
                return XnStatus.NotDurable;
            }

            Forget(index);
            return XnStatus.Ok;
        }
    }

    /// <summary>
    /// Brings blocks in. Each request is proved by running the parent's <c>owns</c>; blocks in core are skipped; blocks that another caller is reading are waited for; the others are
    /// read in as few device requests as their order allows. Runs on the calling thread.
    /// </summary>
    /// <param name="credential">Who asks: must pass the <c>acl</c> for reading.</param>
    /// <param name="requests">What to bring in.</param>
    /// <param name="frames">
    /// Frames with a count of one each, as many as blocks must be read: those that are not in core and that nobody is reading. One for each block asked for always suffices. XN takes those it needs; the others are
    /// moved to the front.
    /// </param>
    /// <param name="unusedFrames">How many were not needed: they are still the caller's.</param>
    /// <exception cref="XnException">NotRegistered, NotInCore, BadRange, AccessDenied, TypeError, NotOwned, BadFrames, NotDurable (an allocated block that has no contents yet). Nothing was read.</exception>
    /// <exception cref="BlockDeviceException">The device failed; the blocks that it failed on are not registered.</exception>
    public void Read(Credential credential, ReadOnlySpan<XnReadRequest> requests, Span<FrameNumber> frames, out int unusedFrames)
    {
        ReadPlan plan = BeginRead(credential, requests, frames, out unusedFrames);
        if (plan.Requests.Length > 0)
        {
            try
            {
                _device.Execute(plan.Requests);
            }
            catch (BlockDeviceException)
            {
                EndRead(plan);
                throw;
            }

            EndRead(plan);
        }

        foreach (BlockNumber block in plan.Awaited)
        {
            while (ReadInProgress(block) is { } reading)
            {
                reading.Wait();
            }
        }
    }

    /// <summary>
    /// As <see cref="Read"/>, through the device's asynchronous door. When the device fails, or the wait is given up, nobody can be told how many frames were not needed: then XN has given those back itself.
    /// </summary>
    /// <returns>How many frames were not needed.</returns>
    public async ValueTask<int> ReadAsync(
        Credential credential, ReadOnlyMemory<XnReadRequest> requests, Memory<FrameNumber> frames, CancellationToken cancellationToken = default)
    {
        ReadPlan plan = BeginRead(credential, requests.Span, frames.Span, out int unusedFrames);
        try
        {
            if (plan.Requests.Length > 0)
            {
                try
                {
                    // A cancelled wait would leave frames in the kernel's hands: the read itself is always seen through.
                    await _device.ExecuteAsync(plan.Requests, CancellationToken.None).ConfigureAwait(false);
                }
                finally
                {
                    EndRead(plan);
                }
            }

            foreach (BlockNumber block in plan.Awaited)
            {
                while (ReadInProgress(block) is { } reading)
                {
                    await reading.WaitAsync(cancellationToken).ConfigureAwait(false);
                }
            }
        }
        catch (Exception failure) when (failure is BlockDeviceException or OperationCanceledException)
        {
            foreach (FrameNumber frame in frames.Span[..unusedFrames])
            {
                _frames.Release(frame);
            }

            throw;
        }

        return unusedFrames;
    }

    private readonly record struct ReadPlan(BlockRequest[] Requests, List<BlockNumber> Awaited);

    private ReadPlan BeginRead(Credential credential, ReadOnlySpan<XnReadRequest> requests, Span<FrameNumber> frames, out int unusedFrames)
    {
        ThrowIfClosed();
        List<(BlockNumber Block, FrameNumber Frame)> toRead = [];
        List<BlockNumber> awaited = [];
        using (new Changing(this))
        {
            long blocks = 0;
            _proved.Clear();
            foreach (ref readonly XnReadRequest request in requests)
            {
                XnStatus status = Prove(credential, request, XnOperation.Read, out Template? proved, out int above);
                if (status != XnStatus.Ok)
                {
                    throw new XnException(status, $"{request.Extent} cannot be read through partition {request.Partition} of {request.Parent}: {status}");
                }

                blocks += request.Extent.Count;
                _proved.Add((proved!, above));
            }

            if (frames.Length < blocks && frames.Length < CountToRead(requests))
            {
                throw new XnException(XnStatus.BadFrames, $"{frames.Length} frames given for {blocks} blocks");
            }

            int used = frames.Length;
            for (int r = 0; r < requests.Length; r++)
            {
                ref readonly XnReadRequest request = ref requests[r];
                (Template template, int parent) = _proved[r];
                for (uint i = 0; i < request.Extent.Count; i++)
                {
                    BlockNumber block = request.Extent.First + i;
                    int index = _registry.Find(block.Value);
                    if (index >= 0)
                    {
                        if (_registry[index].Has(EntryFlags.Reading))
                        {
                            awaited.Add(block);
                        }
                        else if (_registry[index].Has(EntryFlags.Framed) && _registry.TemplateOf(index).IsCounted && Owners(block) > 1)
                        {
                            // It has several parents. Access follows the one that was last proved.
                            Adopt(index, parent, request.Partition);
                        }
                        else if (!_registry[index].Has(EntryFlags.Framed) && _registry.Durable(index) == _registry[index].Version)
                        {
                            toRead.Add((block, default));
                            _registry[index].Flags |= EntryFlags.Reading;
                        }
                        else if (!_registry[index].Has(EntryFlags.Framed))
                        {
                            Abandon(toRead);
                            throw new XnException(XnStatus.NotDurable, $"{block} has been allocated and has no contents yet");
                        }

                        continue;
                    }

                    bool isAhead = _ahead.Remove(block.Value, out FrameNumber ahead);
                    index = RegisterKnown(block, template, parent, request.Partition);
                    if (isAhead)
                    {
                        _registry[index].Frame = ahead.Value;
                        _registry[index].Flags |= EntryFlags.Framed;
                    }
                    else if (!_registry[index].Has(EntryFlags.Framed))
                    {
                        toRead.Add((block, default));
                        _registry[index].Flags |= EntryFlags.Reading;
                    }
                }
            }

            // Frames are used from the back, so that the unused ones are in front; consecutive blocks get the frames in the order given.
            used = frames.Length - toRead.Count;
            for (int i = 0; i < toRead.Count; i++)
            {
                FrameNumber frame = frames[used + i];
                toRead[i] = (toRead[i].Block, frame);
                ref RegistryEntry entry = ref _registry[_registry.Find(toRead[i].Block.Value)];
                entry.Frame = frame.Value;
                entry.Flags |= EntryFlags.Framed;
            }

            unusedFrames = used;
            _blocksRead += toRead.Count;
        }

        return new ReadPlan(BlockRuns.Build(BlockOperation.Read, toRead), awaited);
    }

    /// <summary>How many blocks have to be read, at most: they have no frame.</summary>
    private int CountToRead(ReadOnlySpan<XnReadRequest> requests)
    {
        int count = 0;
        foreach (ref readonly XnReadRequest request in requests)
        {
            for (uint i = 0; i < request.Extent.Count; i++)
            {
                int index = _registry.Find((request.Extent.First + i).Value);
                count += index >= 0 && _registry[index].Has(EntryFlags.Framed) ? 0 : 1;
            }
        }

        return count;
    }

    private void Abandon(List<(BlockNumber Block, FrameNumber Frame)> toRead)
    {
        foreach ((BlockNumber block, FrameNumber _) in toRead)
        {
            int index = _registry.Find(block.Value);
            _registry[index].Flags &= ~EntryFlags.Reading;
            Forget(index);
        }
    }

    private void EndRead(in ReadPlan plan)
    {
        TaskCompletionSource? done;
        using (new Changing(this))
        {
            foreach (BlockRequest request in plan.Requests)
            {
                for (int i = 0; i < request.BlockCount; i++)
                {
                    FrameNumber frame = request.Frames.Span[i];
                    int index = _registry.Find((request.FirstBlock + (ulong)i).Value);
                    if (index < 0 || !_registry[index].Has(EntryFlags.Reading) || _registry[index].Frame != frame.Value)
                    {
                        // Freed meanwhile, and perhaps somebody else's since: what was read is nobody's.
                        _frames.Release(frame);
                        continue;
                    }

                    _registry[index].Flags &= ~EntryFlags.Reading;
                    if (request.Error != 0)
                    {
                        Forget(index);
                    }
                }
            }

            done = _readDone;
            _readDone = null;
        }

        done?.TrySetResult();
    }

    /// <summary>A task that ends when some read has ended, if this block is still being read.</summary>
    private Task? ReadInProgress(BlockNumber block)
    {
        lock (_lock)
        {
            int index = _registry.Find(block.Value);
            if (index < 0 || !_registry[index].Has(EntryFlags.Reading))
            {
                return null;
            }

            _readDone ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            return _readDone.Task;
        }
    }

    /// <summary>Proves by <c>owns</c> that a partition points to an extent, and that the caller may.</summary>
    private XnStatus Prove(Credential credential, in XnReadRequest request, XnOperation operation, out Template? template, out int parent)
    {
        template = null;
        parent = _registry.Find(request.Parent.Value);
        if (parent < 0)
        {
            return XnStatus.NotRegistered;
        }

        ref RegistryEntry above = ref _registry[parent];
        if (!above.Has(EntryFlags.Framed) || above.Has(EntryFlags.Reading | EntryFlags.Dropped))
        {
            return XnStatus.NotInCore;
        }

        if ((uint)request.Partition >= (uint)_registry.TemplateOf(parent).PartitionCount || request.Extent.Count == 0)
        {
            return XnStatus.BadRange;
        }

        XnStatus status = CheckAccess(credential, above.Guard, operation);
        if (status != XnStatus.Ok)
        {
            return status;
        }

        ReadOnlySpan<byte> readSet = FrameBytes(parent).Slice(_registry.TemplateOf(parent).Offsets[request.Partition], _registry.TemplateOf(parent).ReadSetBytes);
        if (!_check.Owns.TryRun(_registry.TemplateOf(parent), request.Partition, readSet, BlockCount, _proof))
        {
            return XnStatus.TypeError;
        }

        if (!_proof.TryCover(request.Extent, out TemplateId id) || !IsInDataRegion(request.Extent))
        {
            return XnStatus.NotOwned;
        }

        template = _templates.Find(id);
        return template is null ? XnStatus.TypeError : XnStatus.Ok;
    }

    private readonly ExtentSet _proof = new();

    // By request of the read that begins: what it was proved to ask for, and where its parent is in the registry. Under the lock.
    private readonly List<(Template Template, int Parent)> _proved = [];

    /// <summary>Registers a block that lies on the disk with contents.</summary>
    private int RegisterKnown(BlockNumber block, Template template, int parent, int partition)
    {
        ForgetAhead(block.Value);
        int index = _registry.Add(block.Value, template, isFresh: false);
        Adopt(index, parent, partition);
        if (_live.Find(block.Value) is { Kept: { } frame } live)
        {
            live.Kept = null;
            _registry[index].Frame = frame.Value;
            _registry[index].Flags |= EntryFlags.Framed | EntryFlags.Live;
        }

        return index;
    }

    private void Adopt(int index, int parent, int partition)
    {
        ref RegistryEntry entry = ref _registry[index];
        ref RegistryEntry above = ref _registry[parent];
        entry.Parent = above.Block;
        entry.ParentPartition = (ushort)partition;
        entry.Guard = _registry.TemplateOf(index).Acl is not null ? entry.Block : above.Guard;
    }

    private void SetFrame(int index, FrameNumber frame, BindMode mode)
    {
        if (mode == BindMode.Zero)
        {
            _frames.Bytes(frame).Clear();
        }

        ref RegistryEntry entry = ref _registry[index];
        entry.Frame = frame.Value;
        entry.Flags |= EntryFlags.Framed;
        _registry.Change(index);
    }
}
