// SPDX-License-Identifier: MIT
using Exo.Core.Linux;
using Exo.Core.Memory;

namespace Exo.Core.Blocks;

/// <summary>
/// A disk in memory: for tests and for file systems that need not survive. Memory comes into being when a block is first
/// written. Every write is as durable as the device, which lasts until it is disposed. Completes on the caller's thread.
/// </summary>
public sealed unsafe class MemoryBlockDevice : BlockDevice
{
    private readonly MappedRegion _disk;

    /// <summary>A disk of zeroes.</summary>
    /// <param name="frames">The pool whose frames requests name.</param>
    /// <param name="blockCount">Blocks of 4 KiB.</param>
    /// <exception cref="ArgumentOutOfRangeException">No block, or more than an address space holds.</exception>
    public MemoryBlockDevice(FramePool frames, ulong blockCount)
        : this(frames, blockCount, Reserve(blockCount))
    {
    }

    private MemoryBlockDevice(FramePool frames, ulong blockCount, MappedRegion disk)
        : base(frames, GeometryOf(blockCount)) => _disk = disk;

    /// <inheritdoc/>
    protected override void ExecuteCore(Span<BlockRequest> batch)
    {
        foreach (ref BlockRequest request in batch)
        {
            switch (request.Operation)
            {
                case BlockOperation.Read:
                    for (int i = 0; i < request.BlockCount; i++)
                    {
                        Bytes(request.FirstBlock + (ulong)i, 1).CopyTo(Frames.Bytes(request.Frames.Span[i]));
                    }

                    break;
                case BlockOperation.Write:
                    for (int i = 0; i < request.BlockCount; i++)
                    {
                        Frames.Bytes(request.Frames.Span[i]).CopyTo(Bytes(request.FirstBlock + (ulong)i, 1));
                    }

                    break;
                case BlockOperation.Discard or BlockOperation.WriteZeroes:
                    // Private anonymous pages that are dropped read as zeroes afterwards (madvise(2)).
                    nint start = _disk.Address + (nint)(request.FirstBlock.Value * FramePool.FrameBytes);
                    request.Error = Libc.MemoryAdvise(start, (nuint)request.BlockCount * FramePool.FrameBytes, Abi.MADV_DONTNEED) == 0
                        ? 0
                        : Errno.Last;
                    break;
                default:
                    break;
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
    protected override void DisposeCore() => _disk.Dispose();

    /// <summary>The base class has checked that the blocks lie on the disk.</summary>
    private Span<byte> Bytes(BlockNumber first, int count) =>
        new((byte*)_disk.Address + first.Value * FramePool.FrameBytes, count * FramePool.FrameBytes);

    private static MappedRegion Reserve(ulong blockCount)
    {
        ArgumentOutOfRangeException.ThrowIfZero(blockCount);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(blockCount, 1UL << 34);
        return MappedRegion.Anonymous((long)blockCount * FramePool.FrameBytes);
    }

    private static BlockGeometry GeometryOf(ulong blockCount) => new()
    {
        BlockCount = blockCount,
        HasVolatileCache = false,
        SupportsDiscard = true,
        DiscardGranularityBytes = FramePool.FrameBytes,
        Path = "memory",
        Driver = "memory",
    };
}
