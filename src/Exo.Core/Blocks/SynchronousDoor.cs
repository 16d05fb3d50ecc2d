// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Exo.Core.Memory;

namespace Exo.Core.Blocks;

/// <summary>
/// Batches on the caller's thread: a single request by a plain call, several through a ring that the thread keeps for the device, so that they
/// are under way together. Where there is no ring they go one after the other.
/// </summary>
internal sealed class SynchronousDoor(DiskFile file, FramePool frames, Func<UringQueue?>? makeRing) : IDisposable
{
    private readonly Lock _lock = new();
    private readonly List<ThreadRing> _rings = [];

    /// <summary>Rings of threads that are alive, or whose end has not been noticed yet.</summary>
    public int RingCount
    {
        get
        {
            lock (_lock)
            {
                return _rings.Count;
            }
        }
    }

    /// <summary>Carries out a batch.</summary>
    /// <returns>Calls into the kernel.</returns>
    public long Execute(Span<BlockRequest> batch)
    {
        // One transfer at a time has nothing to gain from a ring: the plain call waits with one wake-up less.
        bool isSingle = batch.Length == 1 && batch[0].Frames.Length <= FrameVector.CountMax;
        if (!isSingle && makeRing is not null && (ThreadRing.Find(this) ?? (makeRing() is { } queue ? Keep(queue) : null)) is { } ring)
        {
            return ring.Run(batch);
        }

        // Also when the system has run out of rings or descriptors: slower, not broken.
        long systemCalls = 0;
        foreach (ref BlockRequest request in batch)
        {
            request.Error = DirectTransfer.Run(file, frames, in request, ref systemCalls);
        }

        return systemCalls;
    }

    /// <summary>A ring that the calling thread has made; it is used by its synchronous calls from now on.</summary>
    public ThreadRing Keep(UringQueue queue)
    {
        var ring = new ThreadRing(this, queue);
        lock (_lock)
        {
            _rings.Add(ring);
        }

        ThreadRing.Remember(ring);
        return ring;
    }

    /// <summary>A thread has ended: nobody else uses its ring.</summary>
    public void Forget(ThreadRing ring)
    {
        lock (_lock)
        {
            if (_rings.Remove(ring))
            {
                ring.Owner = null;
                ring.Queue.Dispose();
            }
        }
    }

    /// <summary>Nothing is in flight any more.</summary>
    public void Dispose()
    {
        lock (_lock)
        {
            foreach (ThreadRing ring in CollectionsMarshal.AsSpan(_rings))
            {
                ring.Owner = null;
                ring.Queue.Dispose();
            }

            _rings.Clear();
        }
    }
}
