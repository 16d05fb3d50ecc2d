// SPDX-License-Identifier: MIT
namespace Exo.Adapters.Fuse.Mounting;

/// <summary>
/// The threads that serve one queue of messages. When the last one that does not wait is about to, another joins: what it waits for may come through this very queue,
/// and those who call <c>fsync</c> at the same time are to share a commit.
/// </summary>
internal sealed class FuseCrew(int mostThreads, Action<FuseCrew> startThread)
{
    private readonly Lock _lock = new();
    private int _threads;
    private int _waiting;

    /// <summary>Threads that were started.</summary>
    public int Threads => _threads;

    /// <summary>Starts threads.</summary>
    public void Start(int count)
    {
        for (int i = 0; i < count; i++)
        {
            TryAdd();
        }
    }

    /// <summary>The calling thread of this crew is about to wait for others. False when no thread is left that does not.</summary>
    public bool BeginWaiting() => Interlocked.Increment(ref _waiting) < Volatile.Read(ref _threads) || TryAdd();

    public void EndWaiting() => Interlocked.Decrement(ref _waiting);

    private bool TryAdd()
    {
        lock (_lock)
        {
            if (_threads >= mostThreads)
            {
                return false;
            }

            Volatile.Write(ref _threads, _threads + 1);
        }

        startThread(this);
        return true;
    }
}
