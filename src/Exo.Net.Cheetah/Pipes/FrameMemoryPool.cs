// SPDX-License-Identifier: MIT
using System.Buffers;
using Exo.Core.Memory;

namespace Exo.Net.Cheetah.Pipes;

/// <summary>
/// Memory of a pipe that is frames, so that what an application writes into it can leave from where it lies. When the pool has none left, memory of the
/// managed heap is handed out, and its bytes are copied into frames later.
/// </summary>
internal sealed class FrameMemoryPool(FramePool frames) : MemoryPool<byte>
{
    public const int BlockBytes = 4 * FramePool.FrameBytes;

    public override int MaxBufferSize => 64 * FramePool.FrameBytes;

    public override IMemoryOwner<byte> Rent(int minBufferSize = -1)
    {
        int count = Math.Max(BlockBytes, minBufferSize + FramePool.FrameBytes - 1) / FramePool.FrameBytes;
        return frames.TryAllocateRun(frames.RootCredential, count, out FrameNumber first)
            ? new Block(frames, first, count)
            : new HeapBlock(count * FramePool.FrameBytes);
    }

    protected override void Dispose(bool disposing)
    {
    }

    private sealed class Block(FramePool frames, FrameNumber first, int count) : IMemoryOwner<byte>
    {
        private int isDisposed;

        public Memory<byte> Memory => frames.Memory(first, count);

        public void Dispose()
        {
            if (Interlocked.Exchange(ref isDisposed, 1) == 0)
            {
                for (uint i = 0; i < count; i++)
                {
                    frames.Release(new FrameNumber(first.Value + i));
                }
            }
        }
    }

    private sealed class HeapBlock(int bytes) : IMemoryOwner<byte>
    {
        public Memory<byte> Memory { get; } = new byte[bytes];

        public void Dispose()
        {
        }
    }
}
