// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;

namespace Exo.FileSystems.CFFS.Tests.Space;

/// <summary>A disk of which one request fails, or all from one on, until it is healed. A write that fails has written nothing.</summary>
internal sealed class NthFaultDevice(BlockDevice inner) : BlockDevice(inner.Frames, inner.Geometry)
{
    private const int Eio = 5;

    private readonly Lock _lock = new();

    /// <summary>Requests so far.</summary>
    public long Requests { get; private set; }

    /// <summary>Requests that have failed.</summary>
    public long Faults { get; private set; }

    /// <summary>The request that fails, counted from 1; 0: none.</summary>
    public long FailAt { get; set; }

    /// <summary>All later ones fail too.</summary>
    public bool IsPersistent { get; set; }

    protected override void ExecuteCore(Span<BlockRequest> batch)
    {
        lock (_lock)
        {
            foreach (ref BlockRequest request in batch)
            {
                long number = ++Requests;
                if (FailAt > 0 && (number == FailAt || (IsPersistent && number > FailAt)))
                {
                    Faults++;
                    request.Error = Eio;
                    continue;
                }

                inner.Execute(new Span<BlockRequest>(ref request));
            }
        }
    }

    protected override ValueTask ExecuteCoreAsync(Memory<BlockRequest> batch)
    {
        ExecuteCore(batch.Span);
        return ValueTask.CompletedTask;
    }

    protected override void DisposeCore()
    {
    }
}
