// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using Exo.Core.Linux;
using Exo.Core.Memory;

namespace Exo.Core.Blocks;

/// <summary>
/// The asynchronous door's thread and ring. Any thread posts batches to a queue; the reactor is woken by an event file only
/// when it sleeps in the kernel.
/// <code>
/// Post: enqueue, then if (asleep taken 1 -> 0) write event file
/// loop: fill slots; asleep = 1; queue still empty? wait for one completion : do not wait; asleep = 0; reap
/// </code>
/// Both sides write before they read, with full fences between: a batch is never left behind by a sleeping reactor.
/// </summary>
internal sealed unsafe class UringReactor : IDisposable
{
    private readonly ConcurrentQueue<UringBatch> _posted = new();
    private readonly ConcurrentQueue<UringBatch> _idle = new();
    private readonly Queue<UringBatch> _unissued = new();
    private readonly Action<UringBatch> _recycle;
    private readonly Action<long> _countSystemCalls;
    private readonly Thread _thread;
    private readonly int _eventFile;
    private UringQueue? _queue;
    private int _asleep;
    private volatile bool _stopping;

    public UringReactor(DiskFile file, FramePool frames, int queueDepth, bool registerFrames, Action<long> countSystemCalls)
    {
        _recycle = _idle.Enqueue;
        _countSystemCalls = countSystemCalls;
        _eventFile = Libc.EventFile(0, Abi.O_CLOEXEC);
        if (_eventFile < 0)
        {
            throw new BlockDeviceException(Errno.Last, file.Path, $"{file.Path}: no event file for the reactor: {Errno.Describe(Errno.Last)}.");
        }

        int errno = 0;
        using var started = new ManualResetEventSlim();
        _thread = new Thread(() =>
        {
            // Made here because the ring belongs to the thread that makes it.
            _queue = UringQueue.TryCreate(file, frames, queueDepth, registerFrames, registerFile: true, out errno);
            bool running = _queue is not null;
            started.Set();
            if (running)
            {
                Loop(_queue!);
            }
        })
        {
            IsBackground = true,
            Name = $"exo disk {Path.GetFileName(file.Path)}",
        };
        _thread.UnsafeStart();
        started.Wait();
        if (_queue is null)
        {
            _thread.Join();
            _ = Libc.Close(_eventFile);
            throw new BlockDeviceException(errno, file.Path, $"{file.Path}: no ring for the reactor: {Errno.Describe(errno)}.");
        }
    }

    /// <summary>Hands a batch to the reactor; its memory is the device's until the task completes, which happens on the reactor's thread.</summary>
    public ValueTask Post(Memory<BlockRequest> requests)
    {
        UringBatch batch = _idle.TryDequeue(out UringBatch? idle) ? idle : new UringBatch(_recycle);
        batch.Begin(requests);
        ValueTask task = batch.Task();
        _posted.Enqueue(batch);
        if (Interlocked.Exchange(ref _asleep, 0) == 1)
        {
            Wake();
        }

        return task;
    }

    /// <summary>Ends the thread. Nothing is in flight any more.</summary>
    public void Dispose()
    {
        _stopping = true;
        Wake();
        _thread.Join();
        _ = Libc.Close(_eventFile);
    }

    private void Loop(UringQueue queue)
    {
        bool isArmed = false;
        long counted = 0;
        while (true)
        {
            while (_posted.TryDequeue(out UringBatch? posted))
            {
                _unissued.Enqueue(posted);
            }

            while (queue.HasFreeSlot && _unissued.TryPeek(out UringBatch? next))
            {
                queue.Fill(next);
                if (next.IsIssued)
                {
                    _unissued.Dequeue();
                }
            }

            if (!isArmed)
            {
                if (_stopping)
                {
                    break;
                }

                queue.ArmWake(_eventFile);
                isArmed = true;
            }

            Interlocked.Exchange(ref _asleep, 1);
            queue.SubmitAndWait(_posted.IsEmpty ? 1u : 0u);
            Volatile.Write(ref _asleep, 0);
            while (queue.TryReap(out bool isWake, out UringBatch? done))
            {
                isArmed &= !isWake;
                done?.Complete();
            }

            _countSystemCalls(queue.EnterCount - counted);
            counted = queue.EnterCount;
        }

        // The stopping wake-up has been consumed and was not armed again: the ring is empty.
        queue.Dispose();
    }

    private void Wake()
    {
        ulong one = 1;
        _ = Libc.Write(_eventFile, &one, sizeof(ulong));
    }
}
