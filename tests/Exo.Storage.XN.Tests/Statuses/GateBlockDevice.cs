// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;

namespace Exo.Storage.XN.Tests.Statuses;

/// <summary>A disk whose asynchronous door waits while it is shut.</summary>
internal sealed class GateBlockDevice(BlockDevice inner) : BlockDevice(inner.Frames, inner.Geometry)
{
    private TaskCompletionSource? _shut;

    public void Shut() => _shut = new TaskCompletionSource();

    public void Open() => Interlocked.Exchange(ref _shut, null)?.SetResult();

    protected override void ExecuteCore(Span<BlockRequest> batch) => inner.Execute(batch);

    protected override async ValueTask ExecuteCoreAsync(Memory<BlockRequest> batch)
    {
        if (_shut is { } shut)
        {
            await shut.Task;
        }

        inner.Execute(batch.Span);
    }

    protected override void DisposeCore()
    {
    }
}
