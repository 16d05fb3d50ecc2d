// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Simulation.Recording;

namespace Exo.Simulation.Disks;

/// <summary>
/// A disk with a volatile write cache, in memory: it starts from given contents, can be looked at in any moment, and writes down
/// everything that is done to it. Completes on the caller's thread; batches of several threads are carried out one after the other.
/// </summary>
public sealed class SimulatedBlockDevice : BlockDevice
{
    private readonly Lock _lock = new();
    private readonly DiskContents.Builder _contents;

    /// <summary>A disk with the given contents.</summary>
    /// <param name="frames">The pool whose frames requests name.</param>
    /// <param name="contents">What it holds at first, all of it durable.</param>
    /// <param name="recorded">Whether requests are recorded; a recording keeps every byte that was written.</param>
    public SimulatedBlockDevice(FramePool frames, DiskContents contents, bool recorded = false)
        : base(frames, GeometryOf(contents))
    {
        _contents = contents.ToBuilder();
        Recording = recorded ? new DiskRecording(contents) : null;
    }

    /// <summary>What was done to the disk, if it is recorded.</summary>
    public DiskRecording? Recording { get; }

    /// <summary>What the disk would hold if everything in its cache were written: what a crash of the process leaves.</summary>
    public DiskContents Snapshot()
    {
        lock (_lock)
        {
            return _contents.ToContents();
        }
    }

    /// <inheritdoc/>
    protected override void ExecuteCore(Span<BlockRequest> batch)
    {
        lock (_lock)
        {
            // All requests of a batch are under way together: a flush covers no write of its own batch.
            long firstTick = Recording?.Submit(batch.Length) ?? 0;
            for (int i = 0; i < batch.Length; i++)
            {
                ref BlockRequest request = ref batch[i];
                byte[]?[] blocks = [];
                switch (request.Operation)
                {
                    case BlockOperation.Read:
                        for (int b = 0; b < request.BlockCount; b++)
                        {
                            _contents[request.FirstBlock.Value + (ulong)b].CopyTo(Frames.Bytes(request.Frames.Span[b]));
                        }

                        continue;
                    case BlockOperation.Write:
                        blocks = new byte[request.BlockCount][];
                        for (int b = 0; b < request.BlockCount; b++)
                        {
                            blocks[b] = Frames.Bytes(request.Frames.Span[b]).ToArray();
                        }

                        break;
                    case BlockOperation.Discard or BlockOperation.WriteZeroes:
                        blocks = new byte[]?[request.BlockCount];
                        break;
                    default:
                        break;
                }

                for (int b = 0; b < blocks.Length; b++)
                {
                    _contents.Replace(request.FirstBlock.Value + (ulong)b, blocks[b]);
                }

                Recording?.Add(in request, blocks, firstTick + i);
            }
        }
    }

    /// <inheritdoc/>
    protected override ValueTask ExecuteCoreAsync(Memory<BlockRequest> batch)
    {
        ExecuteCore(batch.Span);
        return ValueTask.CompletedTask;
    }

    /// <inheritdoc/>
    protected override void DisposeCore()
    {
    }

    private static BlockGeometry GeometryOf(DiskContents contents)
    {
        ArgumentNullException.ThrowIfNull(contents);
        return new BlockGeometry
        {
            BlockCount = (ulong)contents.BlockCount,
            HasVolatileCache = true,
            SupportsDiscard = true,
            DiscardGranularityBytes = FramePool.FrameBytes,
            Path = "simulated",
            Driver = "simulated",
        };
    }
}
