// SPDX-License-Identifier: MIT
namespace Exo.Core.Blocks;

/// <summary>
/// Counts the batches inside a device and shuts it. State = 2 * inside + (1 once closed); who closes waits for the last to leave.
/// </summary>
internal sealed class DeviceGate
{
    private readonly TaskCompletionSource _empty = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _state;

    /// <exception cref="ObjectDisposedException">The gate is closed.</exception>
    public void Enter(object device)
    {
        if ((Interlocked.Add(ref _state, 2) & 1) != 0)
        {
            Leave();
            throw new ObjectDisposedException(device.GetType().FullName);
        }
    }

    public void Leave()
    {
        int state = Interlocked.Add(ref _state, -2);
        Invariant.Check(state >= 0);
        if (state == 1)
        {
            _empty.TrySetResult();
        }
    }

    /// <summary>Nobody may enter any more; some may still be inside.</summary>
    public bool IsClosed => (Volatile.Read(ref _state) & 1) != 0;

    /// <summary>True for the one caller that closed it.</summary>
    public bool TryClose()
    {
        int before = Interlocked.Or(ref _state, 1);
        if (before == 0)
        {
            _empty.TrySetResult();
        }

        return (before & 1) == 0;
    }

    public void WaitUntilEmpty() => _empty.Task.Wait();

    public Task WaitUntilEmptyAsync() => _empty.Task;
}
