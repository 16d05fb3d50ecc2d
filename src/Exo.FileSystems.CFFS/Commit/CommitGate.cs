// SPDX-License-Identifier: MIT
using Exo.Core.Scheduling;
using Exo.FileSystems.CFFS.Inodes;

namespace Exo.FileSystems.CFFS.Commit;

/// <summary>What callers of either door wait for, that happens once. All that wait are let go by one call.</summary>
internal sealed class CommitGate
{
    private readonly ThreadLatch _latch = new();
    private TaskCompletionSource? _tasks;

    public bool IsOpen => _latch.IsOpen;

    public void Open()
    {
        _latch.Open();
        lock (_latch)
        {
            _ = _tasks?.TrySetResult();
        }
    }

    public ValueTask WaitAsync(IoMode mode)
    {
        if (mode == IoMode.Sync)
        {
            _latch.Wait();
            return default;
        }

        lock (_latch)
        {
            return _latch.IsOpen ? default : new ValueTask((_tasks ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).Task);
        }
    }
}
