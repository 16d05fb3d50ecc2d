// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;

namespace Exo.Storage.XN;

/// <summary>A disk, for reading only, seen through what its commit log has for it: as it will be once the log has been replayed.</summary>
internal sealed class ReplayedDevice(BlockDevice disk, LogScan log) : BlockDevice(disk.Frames, disk.Geometry with { IsReadOnly = true })
{
    /// <inheritdoc/>
    protected override void ExecuteCore(Span<BlockRequest> batch)
    {
        try
        {
            disk.Execute(batch);
        }
        catch (BlockDeviceException)
        {
            // Each request says what became of it.
        }

        Patch(batch);
    }

    /// <inheritdoc/>
    protected override async ValueTask ExecuteCoreAsync(Memory<BlockRequest> batch)
    {
        try
        {
            await disk.ExecuteAsync(batch).ConfigureAwait(false);
        }
        catch (BlockDeviceException)
        {
            // Each request says what became of it.
        }

        Patch(batch.Span);
    }

    /// <inheritdoc/>
    protected override void DisposeCore()
    {
    }

    private void Patch(ReadOnlySpan<BlockRequest> batch)
    {
        foreach (ref readonly BlockRequest request in batch)
        {
            for (int i = 0; request.Operation == BlockOperation.Read && request.Error == 0 && i < request.BlockCount; i++)
            {
                ulong block = request.FirstBlock.Value + (ulong)i;
                if (log.Contains(block))
                {
                    log.Patch(block, Frames.Bytes(request.Frames.Span[i]));
                }
            }
        }
    }
}
