// SPDX-License-Identifier: MIT
namespace Exo.Core.Blocks;

/// <summary>
/// The ring that one thread has for one device, made at the thread's first synchronous call: no other thread uses it, so it
/// needs no lock. Closed with the device; or, when the thread ends first, by the finalizer of the thread's list.
/// </summary>
internal sealed class ThreadRing(SynchronousDoor owner, UringQueue queue)
{
    private readonly UringBatch _batch = new();
    private BlockRequest[] _requests = new BlockRequest[4];

    /// <summary>Null once the device or the thread has gone.</summary>
    public SynchronousDoor? Owner { get; set; } = owner;

    public UringQueue Queue { get; } = queue;

    /// <summary>Carries out a batch. The requests are copied because a span cannot be kept beside the ring.</summary>
    /// <returns>Calls into the kernel.</returns>
    public long Run(Span<BlockRequest> batch)
    {
        if (_requests.Length < batch.Length)
        {
            _requests = new BlockRequest[Math.Max(batch.Length, _requests.Length * 2)];
        }

        long enters = Queue.EnterCount;
        batch.CopyTo(_requests);
        _batch.Begin(_requests.AsMemory(0, batch.Length));
        Queue.Run(_batch);
        for (int i = 0; i < batch.Length; i++)
        {
            batch[i].Error = _requests[i].Error;
        }

        Array.Clear(_requests, 0, batch.Length);
        return Queue.EnterCount - enters;
    }

    /// <summary>The calling thread's ring for a device's door; null if it has none yet.</summary>
    public static ThreadRing? Find(SynchronousDoor door)
    {
        if (List.Current is { } list)
        {
            foreach (ThreadRing? ring in list.Rings)
            {
                if (ring is not null && ReferenceEquals(ring.Owner, door))
                {
                    return ring;
                }
            }
        }

        return null;
    }

    /// <summary>Remembers the calling thread's ring for its device, in the place of one whose device is gone.</summary>
    public static void Remember(ThreadRing ring)
    {
        List list = List.Current ??= new List();
        int free = Array.FindIndex(list.Rings, static seen => seen?.Owner is null);
        if (free < 0)
        {
            free = list.Rings.Length;
            Array.Resize(ref list.Rings, free * 2);
        }

        list.Rings[free] = ring;
    }

    /// <summary>The rings of one thread. Only the thread refers to it, so it is finalized when the thread has ended.</summary>
    private sealed class List
    {
        [ThreadStatic]
        public static List? Current;

        public ThreadRing?[] Rings = new ThreadRing?[2];

        ~List()
        {
            foreach (ThreadRing? ring in Rings)
            {
                ring?.Owner?.Forget(ring);
            }
        }
    }
}
