// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;

namespace Exo.Storage.XN.Tests.Log;

/// <summary>A disk during whose writes something else happens, on the same thread: whatever may change while a write is under way does, and repeatably.</summary>
internal sealed class InterruptedBlockDevice(BlockDevice inner) : BlockDevice(inner.Frames, inner.Geometry)
{
    private bool _isBusy;

    public Action? BeforeWrite { get; set; }

    public Action? AfterWrite { get; set; }

    protected override void ExecuteCore(Span<BlockRequest> batch)
    {
        bool isWrite = batch.Length > 0 && batch[0].Operation != BlockOperation.Read;
        Interrupt(isWrite ? BeforeWrite : null);
        try
        {
            inner.Execute(batch);
        }
        catch (BlockDeviceException)
        {
            // Each request says what became of it.
        }

        Interrupt(isWrite ? AfterWrite : null);
    }

    protected override ValueTask ExecuteCoreAsync(Memory<BlockRequest> batch)
    {
        ExecuteCore(batch.Span);
        return ValueTask.CompletedTask;
    }

    protected override void DisposeCore()
    {
    }

    private void Interrupt(Action? action)
    {
        if (action is not null && !_isBusy)
        {
            _isBusy = true;
            action();
            _isBusy = false;
        }
    }
}
