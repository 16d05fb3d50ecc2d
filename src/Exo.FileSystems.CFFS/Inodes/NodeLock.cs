// SPDX-License-Identifier: MIT
namespace Exo.FileSystems.CFFS.Inodes;

/// <summary>
/// The lock of one inode (contents, block map, directory entries). May be held over I/O of that inode only. Several are taken in the order of
/// their inode numbers. Not reentrant; entered and left on any thread. One interlocked operation each way, and nothing allocated, while nobody waits.
/// </summary>
internal sealed class NodeLock
{
    private const int Held = 1;
    private const int Awaited = 2;
    private const int Spins = 10;

    // Held: somebody is in. Awaited: somebody may be in the queue; set and cleared under the queue's lock only.
    private int _state;
    private Queue<TaskCompletionSource>? _queue;

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
        if ((before & Awaited) != 0)
        {
            WakeOne();
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

        // Whoever is woken tries again: others may have come in meanwhile.
        while (Join() is { } turn)
        {
            turn.Task.Wait();
        }
    }

    private async ValueTask EnterContendedAsync()
    {
        while (Join() is { } turn)
        {
            await turn.Task.ConfigureAwait(false);
        }
    }

    /// <summary>Enters, or gets in line: null when it has entered.</summary>
    private TaskCompletionSource? Join()
    {
        Queue<TaskCompletionSource> queue = _queue ?? Interlocked.CompareExchange(ref _queue, new Queue<TaskCompletionSource>(), null) ?? _queue!;
        lock (queue)
        {
            while (true)
            {
                int seen = Volatile.Read(ref _state);
                bool isFree = (seen & Held) == 0;
                if (Interlocked.CompareExchange(ref _state, seen | (isFree ? Held : Awaited), seen) != seen)
                {
                    continue;
                }

                if (isFree)
                {
                    return null;
                }

                // The one inside sees the bit when it leaves.
                TaskCompletionSource turn = new(TaskCreationOptions.RunContinuationsAsynchronously);
                queue.Enqueue(turn);
                return turn;
            }
        }
    }

    private void WakeOne()
    {
        TaskCompletionSource? next;
        lock (_queue!)
        {
            _ = _queue.TryDequeue(out next);
            if (_queue.Count == 0)
            {
                _ = Interlocked.And(ref _state, ~Awaited);
            }
        }

        next?.SetResult();
    }
}
