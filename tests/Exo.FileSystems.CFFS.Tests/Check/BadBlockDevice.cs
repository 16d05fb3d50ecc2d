// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;

namespace Exo.FileSystems.CFFS.Tests.Check;

/// <summary>A disk with blocks that cannot be read until they are written, as disks have them.</summary>
internal sealed class BadBlockDevice(BlockDevice inner, params ulong[] bad) : BlockDevice(inner.Frames, inner.Geometry)
{
    private const int Eio = 5;

    private readonly Lock _lock = new();
    private readonly HashSet<ulong> _bad = [.. bad];

    protected override void ExecuteCore(Span<BlockRequest> batch)
    {
        lock (_lock)
        {
            foreach (ref BlockRequest request in batch)
            {
                Execute(ref request);
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

    private void Execute(ref BlockRequest request)
    {
        for (int i = 0; i < request.BlockCount; i++)
        {
            ulong block = request.FirstBlock.Value + (ulong)i;
            if (request.Operation == BlockOperation.Read && _bad.Contains(block))
            {
                request.Error = Eio;
                return;
            }

            if (request.Operation == BlockOperation.Write)
            {
                _bad.Remove(block);
            }
        }

        inner.Execute(new Span<BlockRequest>(ref request));
    }
}
