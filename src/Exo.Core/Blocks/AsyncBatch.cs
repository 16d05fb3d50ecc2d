// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Threading.Tasks.Sources;
using Exo.Core.Memory;

namespace Exo.Core.Blocks;

public abstract partial class BlockDevice
{
    private readonly ConcurrentQueue<AsyncBatch> _idleBatches = new();

    /// <summary>
    /// One asynchronous batch: a copy of the caller's requests and frame numbers, so that the caller may give up waiting and
    /// reuse what it passed while the kernel is still at work; the awaitable that the caller holds; pooled per device.
    /// <code>
    /// Start --> device at work --> Finish: release frames, copy errors back --.
    ///   |                                                                      v
    ///   '--> waiting ------------> GetResult (once), by completion or cancel --> second of the two: back to the pool
    /// </code>
    /// </summary>
    private sealed class AsyncBatch : IValueTaskSource, IThreadPoolWorkItem
    {
        private const int Waiting = 0;
        private const int Finished = 1;
        private const int Detached = 2;

        private readonly BlockDevice _device;
        private readonly Action _coreCompleted;
        private BlockRequest[] _requests = new BlockRequest[4];
        private FrameNumber[] _frames = new FrameNumber[16];
        private int _requestCount;
        private Memory<BlockRequest> _callers;
        private ManualResetValueTaskSourceCore<bool> _source;
        private ConfiguredValueTaskAwaitable.ConfiguredValueTaskAwaiter _core;
        private CancellationToken _cancellation;
        private CancellationTokenRegistration _registration;
        private Exception? _failure;
        private int _outcome;
        private int _parties;

        private AsyncBatch(BlockDevice device)
        {
            _device = device;
            _coreCompleted = () => Finish(inline: false);
        }

        public static AsyncBatch Rent(BlockDevice device) =>
            device._idleBatches.TryDequeue(out AsyncBatch? idle) ? idle : new AsyncBatch(device);

        /// <summary>Begins. The gate has been entered; it is left when the device is done.</summary>
        public ValueTask Start(ReadOnlySpan<BlockRequest> batch, Memory<BlockRequest> callers, CancellationToken cancellation)
        {
            Copy(batch);
            _callers = callers;
            _outcome = Waiting;
            _parties = 2;
            _failure = null;
            _cancellation = cancellation;
            _device.RetainFrames(_requests.AsSpan(0, _requestCount));

            // Read before the batch can complete and be reused.
            short version = _source.Version;
            if (cancellation.CanBeCanceled)
            {
                _registration = cancellation.UnsafeRegister(static state => ((AsyncBatch)state!).Detach(), this);
            }

#pragma warning disable CA2012 // The awaiter is consumed exactly once, in Finish; kept in a field so that waiting allocates nothing.
            try
            {
                _core = _device.ExecuteCoreAsync(_requests.AsMemory(0, _requestCount)).ConfigureAwait(false).GetAwaiter();
            }
            catch (Exception thrown)
            {
                _core = ValueTask.FromException(thrown).ConfigureAwait(false).GetAwaiter();
            }
#pragma warning restore CA2012

            if (_core.IsCompleted)
            {
                Finish(inline: true);
            }
            else
            {
                _core.UnsafeOnCompleted(_coreCompleted);
            }

            return new ValueTask(this, version);
        }

        public ValueTaskSourceStatus GetStatus(short token) => _source.GetStatus(token);

        public void OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
            _source.OnCompleted(continuation, state, token, flags);

        public void GetResult(short token)
        {
            // A wrong or early call throws here and leaves the batch as it is.
            bool unused = _source.GetStatus(token) == ValueTaskSourceStatus.Pending;
            if (unused)
            {
                throw new InvalidOperationException("The batch is not complete: await it.");
            }

            try
            {
                _source.GetResult(token);
            }
            finally
            {
                // Waits for a cancellation callback that is just running: none can come later and hit the next user.
                _registration.Dispose();
                LeaveParty();
            }
        }

        /// <summary>On a pool thread: wakes the waiter, whose code runs here.</summary>
        void IThreadPoolWorkItem.Execute() => Complete();

        private void Complete()
        {
            Exception? failure = _outcome == Detached ? new OperationCanceledException(_cancellation) : _failure;
            if (failure is null)
            {
                _source.SetResult(true);
            }
            else
            {
                _source.SetException(failure);
            }
        }

        /// <summary>The device is done. Runs inline in Start, or on the device's reactor thread.</summary>
        private void Finish(bool inline)
        {
            Span<BlockRequest> requests = _requests.AsSpan(0, _requestCount);
            Exception? failure = null;
            try
            {
                _core.GetResult();
                int failed = FirstFailure(requests);
                failure = failed >= 0 ? _device.Failure(in requests[failed]) : null;
            }
            catch (Exception thrown)
            {
                failure = thrown;
            }

            _device.ReleaseFrames(requests);
            _device._tally.Add(requests);
            if (Interlocked.CompareExchange(ref _outcome, Finished, Waiting) == Waiting)
            {
                _failure = failure;
                for (int i = 0; i < _callers.Length; i++)
                {
                    _callers.Span[i].Error = requests[i].Error;
                }

                _device._gate.Leave();
                WakeWaiter(inline);
            }
            else
            {
                _device._gate.Leave();
            }

            LeaveParty();
        }

        private void Detach()
        {
            if (Interlocked.CompareExchange(ref _outcome, Detached, Waiting) == Waiting)
            {
                WakeWaiter(inline: false);
            }
        }

        /// <summary>The waiter's code must not run on the reactor, nor inside a call to Cancel: it gets a pool thread.</summary>
        private void WakeWaiter(bool inline)
        {
            if (inline)
            {
                Complete();
            }
            else
            {
                ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
            }
        }

        /// <summary>Both the waiter and the device must be through with this object before somebody else gets it.</summary>
        private void LeaveParty()
        {
            if (Interlocked.Decrement(ref _parties) == 0)
            {
                Array.Clear(_requests, 0, _requestCount);
                _callers = default;
                _core = default;
                _registration = default;
                _cancellation = default;
                _source.Reset();
                _device._idleBatches.Enqueue(this);
            }
        }

        private void Copy(ReadOnlySpan<BlockRequest> batch)
        {
            _requestCount = batch.Length;
            if (_requests.Length < batch.Length)
            {
                _requests = new BlockRequest[Math.Max(batch.Length, _requests.Length * 2)];
            }

            int frameCount = 0;
            foreach (ref readonly BlockRequest request in batch)
            {
                frameCount += request.Frames.Length;
            }

            if (_frames.Length < frameCount)
            {
                _frames = new FrameNumber[Math.Max(frameCount, _frames.Length * 2)];
            }

            int at = 0;
            for (int i = 0; i < batch.Length; i++)
            {
                _requests[i] = batch[i];
                int length = batch[i].Frames.Length;
                batch[i].Frames.CopyTo(_frames.AsMemory(at, length));
                _requests[i].Frames = _frames.AsMemory(at, length);
                at += length;
            }
        }
    }
}
