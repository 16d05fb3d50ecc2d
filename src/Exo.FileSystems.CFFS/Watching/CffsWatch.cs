// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;
using Exo.FileSystems.CFFS.Inodes;

namespace Exo.FileSystems.CFFS;

/// <summary>
/// Changes of a directory's entries, or of everything below it, in the order in which they happened. Bounded: whoever does not read gets <see cref="CffsChangeKind.Overflow"/> and not more memory.
/// Several writes to one file that nobody has read yet are one. Thread-safe; changes go to whoever reads first.
/// <code>
/// using CffsWatch watch = volume.Watch("/inbox");
/// await foreach (CffsChange change in watch.ReadAllAsync(stopping)) { ... }
/// </code>
/// </summary>
public sealed class CffsWatch : IDisposable
{
    private readonly Watching.ChangeFeed _feed;
    private readonly int _capacity;
    private readonly Lock _lock = new();
    private readonly Queue<CffsChange> _queue = new();
    private CffsChange _last;
    private TaskCompletionSource? _waiting;
    private bool _hasOverflowed;
    private bool _hasEnded;

    internal CffsWatch(Watching.ChangeFeed feed, Inode root, bool isSubtree, int capacity)
    {
        _feed = feed;
        _capacity = capacity;
        Root = root;
        IsSubtree = isSubtree;
    }

    /// <summary>Everything below the directory is watched, not only its entries.</summary>
    public bool IsSubtree { get; }

    internal Inode Root { get; }

    /// <summary>Takes the next change, if there is one.</summary>
    public bool TryRead(out CffsChange change)
    {
        lock (_lock)
        {
            if (_queue.TryDequeue(out change))
            {
                return true;
            }

            change = new CffsChange { Kind = CffsChangeKind.Overflow };
            bool tell = _hasOverflowed;
            _hasOverflowed = false;
            _last = default;
            return tell;
        }
    }

    /// <summary>Waits until there is a change to read: true; false when the watch has ended (disposed of, or the volume closed) and all has been read.</summary>
    /// <exception cref="OperationCanceledException">The wait was cancelled; no change is lost.</exception>
    public async ValueTask<bool> WaitAsync(CancellationToken cancellationToken = default)
    {
        while (true)
        {
            Task waiting;
            lock (_lock)
            {
                if (_queue.Count > 0 || _hasOverflowed)
                {
                    return true;
                }

                if (_hasEnded)
                {
                    return false;
                }

                _waiting ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                waiting = _waiting.Task;
            }

            await waiting.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>All changes, as they come, until the watch ends.</summary>
    public async IAsyncEnumerable<CffsChange> ReadAllAsync([EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        while (await WaitAsync(cancellationToken).ConfigureAwait(false))
        {
            while (TryRead(out CffsChange change))
            {
                yield return change;
            }
        }
    }

    /// <summary>Ends the watch. What has been seen can still be read.</summary>
    public void Dispose() => _feed.Remove(this);

    internal void Add(in CffsChange change)
    {
        TaskCompletionSource? waiting;
        lock (_lock)
        {
            bool isRepeated = _queue.Count > 0 && change.Kind is CffsChangeKind.Written or CffsChangeKind.Attributes && _last.Kind == change.Kind && _last.Inode == change.Inode;
            if (_hasEnded || _hasOverflowed || isRepeated)
            {
                // After an overflow nothing is taken until the reader knows.
                return;
            }

            if (_queue.Count == _capacity)
            {
                _hasOverflowed = true;
            }
            else
            {
                _queue.Enqueue(change);
                _last = change;
            }

            waiting = _waiting;
            _waiting = null;
        }

        waiting?.SetResult();
    }

    internal void End()
    {
        TaskCompletionSource? waiting;
        lock (_lock)
        {
            _hasEnded = true;
            waiting = _waiting;
            _waiting = null;
        }

        waiting?.SetResult();
    }
}
