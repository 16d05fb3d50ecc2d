// SPDX-License-Identifier: MIT
using Exo.Core.Scheduling;

namespace Exo.FileSystems.CFFS.Inodes;

/// <summary>
/// The lock of one inode (contents, block map, directory entries). May be held over I/O of that inode only. Several are taken in the order of
/// their inode numbers. Not reentrant; entered and left on any thread. One interlocked operation each way, and nothing allocated, while nobody waits.
/// </summary>
internal sealed class NodeLock
{
    private const int Held = 1;
    private const int Awaited = 2;
    private const int Called = 4;
    private const int Spins = 10;

    [ThreadStatic]
    private static Waiter? t_waiter;

    // Held: somebody is in. Awaited: the queue is not empty. Called: its first has been called and has not come yet; until then nobody else is. The last two change under the queue's lock only.
    private int _state;
    private Queue<Waiter>? _queue;

    /// <summary>Whether somebody is in, at that moment.</summary>
    public bool IsHeld => (Volatile.Read(ref _state) & Held) != 0;

    public ValueTask EnterAsync(IoMode mode)
    {
        if (TryEnter())
        {
            return default;
        }

        if (mode == IoMode.Sync)
        {
            EnterContended();
            return default;
        }

        return EnterContendedAsync();
    }

    public void Enter()
    {
        if (!TryEnter())
        {
            EnterContended();
        }
    }

    /// <summary>Enters if nobody is in.</summary>
    public bool TryEnter()
    {
        int seen = Volatile.Read(ref _state);
        return (seen & Held) == 0 && Interlocked.CompareExchange(ref _state, seen | Held, seen) == seen;
    }

    public void Exit()
    {
        int before = Interlocked.And(ref _state, ~Held);
        Invariant.Check((before & Held) != 0);
        if ((before & (Awaited | Called)) == Awaited)
        {
            CallFirst();
        }
    }

    private void EnterContended()
    {
        SpinWait spin = default;
        for (int i = 0; i < Spins; i++)
        {
            spin.SpinOnce(sleep1Threshold: -1);
            if (TryEnter())
            {
                return;
            }
        }

        // A thread is in one queue at a time.
        Waiter waiter = t_waiter ??= new Waiter(new ThreadLatch());
        for (bool isNew = true; !TryEnterOrWait(waiter, isNew); isNew = false)
        {
            waiter.Latch!.Wait();
        }
    }

    private async ValueTask EnterContendedAsync()
    {
        Waiter waiter = new(latch: null);
        for (bool isNew = true; !TryEnterOrWait(waiter, isNew); isNew = false)
        {
            await waiter.Turn!.Task.ConfigureAwait(false);
        }
    }

    /// <summary>Enters, and leaves the queue; or gets in line, and stays there when it has been called and others were faster.</summary>
    private bool TryEnterOrWait(Waiter waiter, bool isNew)
    {
        Queue<Waiter> queue = _queue ?? Interlocked.CompareExchange(ref _queue, new Queue<Waiter>(), null) ?? _queue!;
        lock (queue)
        {
            Invariant.Check(isNew || queue.Peek() == waiter);
            while (true)
            {
                int seen = Volatile.Read(ref _state);
                bool isFree = (seen & Held) == 0;
                int next = isNew ? seen : seen & ~Called;
                if (!isFree)
                {
                    // The one inside sees the bit when it leaves.
                    waiter.Arm();
                    next |= Awaited;
                }
                else
                {
                    next |= Held;
                    if (!isNew && queue.Count == 1)
                    {
                        next &= ~Awaited;
                    }
                }

                if (Interlocked.CompareExchange(ref _state, next, seen) != seen)
                {
                    continue;
                }

                if (isFree && !isNew)
                {
                    _ = queue.Dequeue();
                }
                else if (!isFree && isNew)
                {
                    queue.Enqueue(waiter);
                }

                return isFree;
            }
        }
    }

    private void CallFirst()
    {
        Waiter first;
        lock (_queue!)
        {
            // Somebody who has come in meanwhile calls when it leaves.
            if ((Volatile.Read(ref _state) & (Held | Called | Awaited)) != Awaited)
            {
                return;
            }

            _ = Interlocked.Or(ref _state, Called);
            first = _queue.Peek();
        }

        first.Call();
    }

    /// <summary>Who waits: a thread at its latch, or a task.</summary>
    private sealed class Waiter(ThreadLatch? latch)
    {
        public ThreadLatch? Latch => latch;

        public TaskCompletionSource? Turn { get; private set; }

        public void Arm()
        {
            if (latch is not null)
            {
                latch.Close();
            }
            else
            {
                Turn = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            }
        }

        public void Call()
        {
            latch?.Open();
            Turn?.SetResult();
        }
    }
}
