// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;

namespace Exo.Storage.XN.Tests.Statuses;

/// <summary>A disk whose asynchronous door, once shut, holds the next batch until it is opened. Others pass.</summary>
internal sealed class GateBlockDevice(BlockDevice inner) : BlockDevice(inner.Frames, inner.Geometry)
{
    private TaskCompletionSource? _shut;
    private TaskCompletionSource? _held;

    public void Shut() => _shut = new TaskCompletionSource();

    public void Open()
    {
        _shut = null;
        Interlocked.Exchange(ref _held, null)?.SetResult();
    }

    protected override void ExecuteCore(Span<BlockRequest> batch) => inner.Execute(batch);

    protected override async ValueTask ExecuteCoreAsync(Memory<BlockRequest> batch)
    {
        if (Interlocked.Exchange(ref _shut, null) is { } shut)
        {
            _held = shut;
            await shut.Task;
        }

        inner.Execute(batch.Span);
    }

    protected override void DisposeCore()
    {
    }
}
