// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;

namespace Exo.Core.Scheduling;

/// <summary>Giving way, to be awaited at once by the environment's own code. Allocates nothing.</summary>
public readonly struct SliceAwaitable : ICriticalNotifyCompletion
{
    private readonly ScheduledEnvironment _environment;
    private readonly ScheduledEnvironment? _target;
    private readonly bool _onlyWhenOver;

    internal SliceAwaitable(ScheduledEnvironment environment, ScheduledEnvironment? target, bool onlyWhenOver)
    {
        _environment = environment;
        _target = target;
        _onlyWhenOver = onlyWhenOver;
    }

    /// <summary>Whether the code just goes on.</summary>
    public bool IsCompleted
    {
        get
        {
            if (!_onlyWhenOver || _environment.IsSliceOver)
            {
                return false;
            }

            _environment.Processor?.ShareNext();
            return true;
        }
    }

    /// <summary>Itself.</summary>
    public SliceAwaitable GetAwaiter() => this;

    /// <summary>What the await throws.</summary>
    /// <exception cref="ObjectDisposedException">The environment has ended.</exception>
    public void GetResult() => ObjectDisposedException.ThrowIf(_environment.IsOver, _environment.Environment);

    /// <inheritdoc/>
    public void OnCompleted(Action continuation) => UnsafeOnCompleted(continuation);

    /// <inheritdoc/>
    public void UnsafeOnCompleted(Action continuation)
    {
        _environment.Processor?.GiveWay(_target);
        _environment.Enqueue(continuation, null);
    }
}
