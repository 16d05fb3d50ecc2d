// SPDX-License-Identifier: MIT
using System.Runtime.ExceptionServices;

namespace Exo.FileSystems.CFFS.Copying;

/// <summary>
/// Steps from the reading thread to the copying one, bounded by the blocks that were read for them: the one may be ahead of the other as far as both fit into the cache. The reader's end, or its
/// failure, comes after its last step; an abandoned queue takes nothing any more.
/// </summary>
internal sealed class CopyQueue(int blocksMax)
{
    private const int StepsMax = 4096;
    private readonly object _lock = new();
    private readonly Queue<CopyStep> _steps = new();
    private Exception? _failure;
    private int _blocks;
    private bool _hasEnded;
    private bool _isAbandoned;

    /// <summary>Waits until there is room for blocks that are to be read. False when nobody wants them.</summary>
    public bool Reserve(int blocks)
    {
        lock (_lock)
        {
            while (!_isAbandoned && _steps.Count > 0 && (_blocks + blocks > blocksMax || _steps.Count >= StepsMax))
            {
                Monitor.Wait(_lock);
            }

            return !_isAbandoned;
        }
    }

    /// <summary>Adds a step. False when nobody wants it.</summary>
    public bool TryAdd(in CopyStep step)
    {
        lock (_lock)
        {
            if (_isAbandoned)
            {
                return false;
            }

            _steps.Enqueue(step);
            _blocks += step.Blocks;
            Monitor.PulseAll(_lock);
            return true;
        }
    }

    /// <summary>No more steps come; with why, if not all are there.</summary>
    public void End(Exception? failure)
    {
        lock (_lock)
        {
            (_hasEnded, _failure) = (true, failure);
            Monitor.PulseAll(_lock);
        }
    }

    /// <summary>Takes the next step; false after the last. A failure of the reader is thrown here.</summary>
    public bool TryTake(out CopyStep step)
    {
        lock (_lock)
        {
            while (_steps.Count == 0 && !_hasEnded)
            {
                Monitor.Wait(_lock);
            }

            if (_steps.TryDequeue(out step))
            {
                _blocks -= step.Blocks;
                Monitor.PulseAll(_lock);
                return true;
            }

            if (_failure is not null)
            {
                ExceptionDispatchInfo.Throw(_failure);
            }

            return false;
        }
    }

    /// <summary>Nothing is wanted any more; what is left is the caller's.</summary>
    public List<CopyStep> Abandon()
    {
        lock (_lock)
        {
            _isAbandoned = true;
            List<CopyStep> left = [.. _steps];
            _steps.Clear();
            Monitor.PulseAll(_lock);
            return left;
        }
    }
}
