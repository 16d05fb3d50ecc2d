// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Exo.Core.Linux;
using Exo.Core.Memory;

namespace Exo.Core.Blocks;

/// <summary>
/// Blocks through io_uring. The synchronous door uses a ring of the calling thread's own and is one call into the kernel per
/// batch; the asynchronous door posts to the device's reactor thread.
/// </summary>
internal sealed class IoUringBlockDevice : BlockDevice
{
    private readonly DiskFile _file;
    private readonly int _queueDepth;
    private readonly bool _registerFrames;
    private readonly Lock _changing = new();
    private readonly List<ThreadRing> _rings = [];
    private UringReactor? _reactor;

    private IoUringBlockDevice(FramePool frames, DiskFile file, BlockDeviceOptions options)
        : base(frames, PortableBlockDevice.GeometryOf(file, "io_uring"))
    {
        _file = file;
        _queueDepth = options.QueueDepth;
        _registerFrames = options.RegisterFrames;
    }

    /// <summary>Rings of threads that are alive, or whose end has not been noticed yet.</summary>
    internal int ThreadRingCount
    {
        get
        {
            lock (_changing)
            {
                return _rings.Count;
            }
        }
    }

    /// <summary>Makes the device if the kernel grants the calling thread a ring; else null and the error number.</summary>
    public static IoUringBlockDevice? TryCreate(FramePool frames, DiskFile file, BlockDeviceOptions options, out int errno)
    {
        UringQueue? queue = UringQueue.TryCreate(file, frames, options.QueueDepth, options.RegisterFrames, registerFile: false, out errno);
        if (queue is null)
        {
            return null;
        }

        var device = new IoUringBlockDevice(frames, file, options);
        device.Keep(queue);
        return device;
    }

    /// <summary>A thread has ended: nobody else uses its ring.</summary>
    public void Forget(ThreadRing ring)
    {
        lock (_changing)
        {
            if (_rings.Remove(ring))
            {
                ring.Owner = null;
                ring.Queue.Dispose();
            }
        }
    }

    protected override void ExecuteCore(Span<BlockRequest> batch)
    {
        if (batch.Length == 1 && batch[0].Frames.Length <= FrameVector.CountMax)
        {
            // One transfer at a time has nothing to gain from a ring: the plain call waits with one wake-up less.
            long calls = 0;
            batch[0].Error = DirectTransfer.Run(_file, Frames, in batch[0], ref calls);
            CountSystemCalls(calls);
            return;
        }

        ThreadRing? ring = ThreadRing.Find(this);
        if (ring is null && UringQueue.TryCreate(_file, Frames, _queueDepth, _registerFrames, registerFile: false, out _) is { } queue)
        {
            ring = Keep(queue);
        }

        long systemCalls = 0;
        if (ring is not null)
        {
            systemCalls = ring.Run(batch);
        }
        else
        {
            // The system has run out of rings or descriptors: slower, not broken.
            foreach (ref BlockRequest request in batch)
            {
                request.Error = DirectTransfer.Run(_file, Frames, in request, ref systemCalls);
            }
        }

        CountSystemCalls(systemCalls);
    }

    protected override ValueTask ExecuteCoreAsync(Memory<BlockRequest> batch) =>
        batch.IsEmpty ? ValueTask.CompletedTask : (Volatile.Read(ref _reactor) ?? StartReactor()).Post(batch);

    /// <summary>Where the system has run out of rings, the queue goes through the reactor's.</summary>
    private protected override QueueEngine? MakeQueueEngine(int depth) =>
        UringEngine.TryCreate(_file, Frames, depth, _registerFrames);

    protected override void DisposeCore()
    {
        _reactor?.Dispose();
        lock (_changing)
        {
            foreach (ThreadRing ring in CollectionsMarshal.AsSpan(_rings))
            {
                ring.Owner = null;
                ring.Queue.Dispose();
            }

            _rings.Clear();
        }

        _file.Dispose();
    }

    private ThreadRing Keep(UringQueue queue)
    {
        var ring = new ThreadRing(this, queue);
        lock (_changing)
        {
            _rings.Add(ring);
        }

        ThreadRing.Remember(ring);
        return ring;
    }

    private UringReactor StartReactor()
    {
        lock (_changing)
        {
            return _reactor ??= new UringReactor(_file, Frames, _queueDepth, _registerFrames, CountSystemCalls);
        }
    }
}
