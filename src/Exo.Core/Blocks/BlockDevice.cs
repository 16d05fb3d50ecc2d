// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;
using Exo.Core.Memory;

namespace Exo.Core.Blocks;

/// <summary>
/// A disk as it is: numbered 4 KiB blocks, moved to and from page frames, no cache, no order, no policy.
/// <para>
/// Two doors, and queues. <see cref="Execute"/> runs on the caller's thread and returns when the batch is done. <see cref="ExecuteAsync"/>
/// returns at once; io_uring completes it from the device's own reactor thread, which is made at the first asynchronous call.
/// Code after an await never runs on that thread. <see cref="OpenQueue"/> is for a thread that keeps many requests under way.
/// </para>
/// <para>
/// The requests of a batch, and batches of different callers, may be carried out in any order and at the same time. What must
/// come later is submitted after what must come earlier has completed. Durable is what a flush covered: a flush covers the
/// writes that had completed when it was submitted; a write with <see cref="BlockRequest.ForceUnitAccess"/> covers itself.
/// </para>
/// <para>All members may be called from any thread. Frames are retained from submission to completion.</para>
/// </summary>
/// <remarks>
/// Derived devices implement <see cref="ExecuteCore"/>, <see cref="ExecuteCoreAsync"/> and <see cref="DisposeCore"/>; this
/// class validates, retains frames, counts, turns errors into exceptions, and waits at disposal for what is in flight.
/// </remarks>
public abstract partial class BlockDevice : IDisposable, IAsyncDisposable
{
    private readonly DeviceGate _gate = new();
    private readonly DeviceTally _tally = new();
    private readonly List<BlockQueue> _queues = [];
    private readonly Lock _measuring = new();
    private volatile BlockGeometry _geometry;

    /// <summary>For derived devices.</summary>
    /// <param name="frames">The pool whose frames requests name; kept mapped until the device is disposed.</param>
    /// <param name="geometry">What the device is made of.</param>
    protected BlockDevice(FramePool frames, BlockGeometry geometry)
    {
        ArgumentNullException.ThrowIfNull(frames);
        ArgumentNullException.ThrowIfNull(geometry);
        frames.AddUser();
        Frames = frames;
        _geometry = geometry;
    }

    /// <summary>The pool whose frames requests name.</summary>
    public FramePool Frames { get; }

    /// <summary>What the device is made of. Fixed while it is open, but for its size (<see cref="Measure"/>, <see cref="SetBlockCount"/>).</summary>
    public BlockGeometry Geometry => _geometry;

    /// <summary>Whether the device is all of an image file that is open for writing, so that <see cref="SetBlockCount"/> can make it longer and shorter.</summary>
    public virtual bool IsResizable => false;

    /// <summary>What has been done so far.</summary>
    public BlockDeviceCounters Counters => _tally.Snapshot();

    /// <summary>Carries out a batch; all requests are complete on return, successfully or not.</summary>
    /// <exception cref="ArgumentException">A request makes no sense (block range, frames); nothing was done.</exception>
    /// <exception cref="BlockDeviceException">At least one failed; every <see cref="BlockRequest.Error"/> is filled in.</exception>
    public void Execute(Span<BlockRequest> batch)
    {
        Validate(batch);
        _gate.Enter(this);
        try
        {
            RetainFrames(batch);
            try
            {
                ExecuteCore(batch);
            }
            finally
            {
                ReleaseFrames(batch);
            }
        }
        finally
        {
            _gate.Leave();
        }

        _tally.Add(batch);
        if (FirstFailure(batch) is int failed and >= 0)
        {
            throw Failure(in batch[failed]);
        }
    }

    /// <summary>
    /// Carries out a batch without blocking. The batch is copied; when the task completes, every <see cref="BlockRequest.Error"/>
    /// in <paramref name="batch"/> is filled in. Allocates nothing in steady state. As with every ValueTask: await it once.
    /// </summary>
    /// <param name="batch">The requests.</param>
    /// <param name="cancellationToken">
    /// Gives up waiting, not the I/O: the kernel may go on reading into the frames, which stay retained until it is done.
    /// </param>
    /// <exception cref="ArgumentException">A request makes no sense (block range, frames); nothing was done.</exception>
    /// <exception cref="BlockDeviceException">At least one failed.</exception>
    /// <exception cref="OperationCanceledException">The wait was given up; errors are not filled in.</exception>
    public ValueTask ExecuteAsync(Memory<BlockRequest> batch, CancellationToken cancellationToken = default)
    {
        Validate(batch.Span);
        return StartAsync(batch.Span, batch, cancellationToken);
    }

    /// <summary>Makes every write durable that completed before this call.</summary>
    /// <exception cref="BlockDeviceException">It failed: nothing written since the last successful flush may be taken for durable.</exception>
    public void Flush()
    {
        BlockRequest flush = BlockRequest.Flush();
        Execute(new Span<BlockRequest>(ref flush));
    }

    /// <summary>As <see cref="Flush"/>, without blocking.</summary>
    public ValueTask FlushAsync(CancellationToken cancellationToken = default)
    {
        BlockRequest flush = BlockRequest.Flush();
        return StartAsync(new ReadOnlySpan<BlockRequest>(in flush), default, cancellationToken);
    }

    /// <summary>
    /// Looks anew how large the device is: a disk or an image file may have grown while it was open. What has become smaller is taken for as large as before, and so is what cannot tell (a partition, an export, a device over another one).
    /// </summary>
    /// <returns>Blocks.</returns>
    /// <exception cref="BlockDeviceException">It does not say.</exception>
    /// <exception cref="ObjectDisposedException">The device is gone.</exception>
    public ulong Measure()
    {
        _gate.Enter(this);
        try
        {
            lock (_measuring)
            {
                ulong before = _geometry.BlockCount;
                ulong now = MeasureCore(before);
                if (now > before)
                {
                    _geometry = _geometry with { BlockCount = now };
                }

                return _geometry.BlockCount;
            }
        }
        finally
        {
            _gate.Leave();
        }
    }

    /// <summary>
    /// Makes the image file longer or shorter, durably, while it is in use. What comes reads as zeros; what goes is lost, and the caller has seen to it that nobody wants it: from now on requests that reach there are refused.
    /// </summary>
    /// <param name="blockCount">Blocks, at least 1.</param>
    /// <exception cref="NotSupportedException">It is no image file (<see cref="IsResizable"/>).</exception>
    /// <exception cref="BlockDeviceException">The length cannot be changed; it is as it was.</exception>
    /// <exception cref="ObjectDisposedException">The device is gone.</exception>
    public void SetBlockCount(ulong blockCount)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(blockCount, 1UL);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(blockCount, (ulong)long.MaxValue / FramePool.FrameBytes);
        if (!IsResizable)
        {
            throw new NotSupportedException($"{_geometry.Path} is not all of an image file: its size is not ours to change.");
        }

        _gate.Enter(this);
        try
        {
            lock (_measuring)
            {
                // A device is never said to be larger than it is: first it is smaller, or last it is larger.
                BlockGeometry before = _geometry;
                BlockGeometry after = before with { BlockCount = blockCount };
                _geometry = blockCount < before.BlockCount ? after : before;
                try
                {
                    SetBlockCountCore(blockCount);
                }
                catch
                {
                    _geometry = before;
                    throw;
                }

                _geometry = after;
            }
        }
        finally
        {
            _gate.Leave();
        }
    }

    /// <summary>
    /// A queue for the calling thread, which alone may use it: submit and poll, many requests under way, no thread switch. Any
    /// number may be open; dispose of them before the device.
    /// </summary>
    /// <param name="depth">Requests under way at most, 1 to 4,096.</param>
    /// <exception cref="ObjectDisposedException">The device is gone.</exception>
    public BlockQueue OpenQueue(int depth = 32)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(depth, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(depth, 4096);
        _gate.Enter(this);
        try
        {
            var queue = new BlockQueue(this, MakeQueueEngine(depth) ?? new TaskEngine(this, depth), depth);
            lock (_queues)
            {
                _queues.Add(queue);
            }

            return queue;
        }
        finally
        {
            _gate.Leave();
        }
    }

    /// <summary>Refuses new requests, waits for those in flight, closes. Does not flush.</summary>
    public void Dispose()
    {
        if (_gate.TryClose())
        {
            TakeOverQueues();
            _gate.WaitUntilEmpty();
            Close();
        }

        GC.SuppressFinalize(this);
    }

    /// <summary>As <see cref="Dispose"/>, waiting for what is in flight without blocking.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_gate.TryClose())
        {
            TakeOverQueues();
            await _gate.WaitUntilEmptyAsync().ConfigureAwait(false);
            Close();
        }

        GC.SuppressFinalize(this);
    }

    /// <summary>
    /// Carries out a validated batch on the caller's thread and fills in every <see cref="BlockRequest.Error"/> (they are 0 on
    /// entry). Called from several threads at once. I/O errors are reported in the requests, not thrown.
    /// </summary>
    protected abstract void ExecuteCore(Span<BlockRequest> batch);

    /// <summary>
    /// As <see cref="ExecuteCore"/>, completing later. The memory belongs to the device until the task completes. A device
    /// that never waits may carry it out at once and return a completed task.
    /// </summary>
    protected abstract ValueTask ExecuteCoreAsync(Memory<BlockRequest> batch);

    /// <summary>How many blocks there are just now. Called by one thread at a time.</summary>
    private protected virtual ulong MeasureCore(ulong blockCount) => blockCount;

    /// <summary>Changes the length of the file, durably. Called by one thread at a time, where <see cref="IsResizable"/>.</summary>
    private protected virtual void SetBlockCountCore(ulong blockCount) => throw new NotSupportedException();

    /// <summary>Closes what the device holds. Called once; nothing is in flight any more.</summary>
    protected abstract void DisposeCore();

    /// <summary>Adds to the counter of system calls.</summary>
    protected void CountSystemCalls(long count) => _tally.AddSystemCalls(count);

    /// <summary>
    /// <see cref="ExecuteAsync"/> for a device over this one with the same pool and geometry, which has validated the batch and retains its frames. What follows runs on whichever thread completes the batch,
    /// the reactor's perhaps: it is to be short and must not throw.
    /// </summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    internal async ValueTask CarryAsync(Memory<BlockRequest> batch)
    {
        _gate.Enter(this);
        try
        {
            await ExecuteCoreAsync(batch).ConfigureAwait(false);
        }
        finally
        {
            _gate.Leave();
        }

        _tally.Add(batch.Span);
    }

    /// <summary>A better engine for queues than the device's asynchronous door; null: there is none.</summary>
    private protected virtual QueueEngine? MakeQueueEngine(int depth) => null;

    /// <summary>Counts the batches inside the device, and queues with something under way.</summary>
    internal DeviceGate Gate => _gate;

    /// <summary>A queue has finished requests.</summary>
    internal void Count(in DeviceTally.Sum sum, long systemCalls)
    {
        _tally.Add(in sum);
        _tally.AddSystemCalls(systemCalls);
    }

    /// <summary>A queue has been disposed of.</summary>
    internal void Forget(BlockQueue queue)
    {
        lock (_queues)
        {
            _queues.Remove(queue);
        }
    }

    /// <summary>Completions that nobody else will take.</summary>
    private void TakeOverQueues()
    {
        BlockQueue[] open;
        lock (_queues)
        {
            open = [.. _queues];
        }

        Array.ForEach(open, static queue => queue.TakeOver());
    }

    private void Close()
    {
        try
        {
            lock (_queues)
            {
                _queues.ForEach(static queue => queue.CloseEngine());
                _queues.Clear();
            }

            DisposeCore();
        }
        finally
        {
            Frames.RemoveUser();
        }
    }

    private ValueTask StartAsync(ReadOnlySpan<BlockRequest> batch, Memory<BlockRequest> callers, CancellationToken cancellationToken)
    {
        if (cancellationToken.IsCancellationRequested)
        {
            return ValueTask.FromCanceled(cancellationToken);
        }

        _gate.Enter(this);
        return AsyncBatch.Rent(this).Start(batch, callers, cancellationToken);
    }

    /// <summary>Refuses what makes no sense before anything is done, and clears the errors.</summary>
    internal void Validate(Span<BlockRequest> batch)
    {
        bool refused = false;
        for (int i = 0; i < batch.Length; i++)
        {
            ref BlockRequest request = ref batch[i];
            request.Error = 0;
            bool moves = request.Operation is BlockOperation.Read or BlockOperation.Write;
            if (request.Operation > BlockOperation.WriteZeroes)
            {
                throw new ArgumentException($"Request {i}: unknown operation {request.Operation}.", nameof(batch));
            }

            if (request.Operation == BlockOperation.Flush)
            {
                continue;
            }

            if (request.BlockCount < 1 || request.Frames.Length != (moves ? request.BlockCount : 0))
            {
                throw new ArgumentException(
                    $"Request {i}: {request.Operation} of {request.BlockCount} blocks with {request.Frames.Length} frames.", nameof(batch));
            }

            // Written so that nothing overflows.
            if (request.FirstBlock.Value >= Geometry.BlockCount
                || (ulong)request.BlockCount > Geometry.BlockCount - request.FirstBlock.Value)
            {
                throw new ArgumentOutOfRangeException(
                    nameof(batch),
                    $"Request {i}: {request.BlockCount} blocks from {request.FirstBlock} leave the device, which has {Geometry.BlockCount} blocks.");
            }

            foreach (FrameNumber frame in request.Frames.Span)
            {
                if (frame.Value >= (uint)Frames.FrameCount || Frames.ReferenceCount(frame) == 0)
                {
                    throw new ArgumentException($"Request {i}: {frame} is not an allocated frame of the device's pool.", nameof(batch));
                }
            }

            if (Geometry.IsReadOnly && request.Operation != BlockOperation.Read)
            {
                request.Error = Linux.Errno.EROFS;
                refused = true;
            }
        }

        if (refused)
        {
            throw Failure(in batch[FirstFailure(batch)]);
        }
    }

    internal void RetainFrames(ReadOnlySpan<BlockRequest> batch)
    {
        foreach (ref readonly BlockRequest request in batch)
        {
            foreach (FrameNumber frame in request.Frames.Span)
            {
                Frames.Retain(frame);
            }
        }
    }

    internal void ReleaseFrames(ReadOnlySpan<BlockRequest> batch)
    {
        foreach (ref readonly BlockRequest request in batch)
        {
            foreach (FrameNumber frame in request.Frames.Span)
            {
                Frames.Release(frame);
            }
        }
    }

    private static int FirstFailure(ReadOnlySpan<BlockRequest> batch)
    {
        for (int i = 0; i < batch.Length; i++)
        {
            if (batch[i].Error != 0)
            {
                return i;
            }
        }

        return -1;
    }

    private BlockDeviceException Failure(in BlockRequest request) =>
        new(request.Error, request.FirstBlock, request.Operation, Geometry.Path);
}
