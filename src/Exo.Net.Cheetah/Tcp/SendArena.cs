// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.Core.Net;

namespace Exo.Net.Cheetah.Tcp;

/// <summary>
/// Frames for bytes that have no other home: response heads, and what applications give as spans. Filled from front to back, each stretch counts as
/// one holder of its block, and a block is used again when all its stretches have been acknowledged.
/// <code>
/// block = one run of frames   |head of A|head of B|head of A|....free....|
/// </code>
/// </summary>
internal sealed class SendArena(FramePool frames) : IDisposable
{
    /// <summary>Frames of a block; the most that is written in place is half of it.</summary>
    public const int BlockFrames = 4, BlockBytes = BlockFrames * FramePool.FrameBytes;

    private readonly Stack<Block> spare = new();
    private Block? current;
    private int usedBytes;
    private bool isDisposed;

    private sealed class Block(SendArena arena, FrameNumber first) : ISendSource
    {
        public FrameNumber First => first;

        /// <summary>Stretches held, and one for being the current block.</summary>
        public int Holders;

        public Span<byte> Bytes => arena.Frames.Bytes(first, BlockFrames);

        public int Gather(long offsetBytes, int lengthBytes, Span<PacketSlice> slices, out int gatheredBytes)
        {
            if (slices.IsEmpty)
            {
                gatheredBytes = 0;
                return 0;
            }

            int offset = (int)offsetBytes;
            slices[0] = new PacketSlice(
                new FrameNumber(first.Value + (uint)(offset / FramePool.FrameBytes)), offset % FramePool.FrameBytes, lengthBytes);
            gatheredBytes = lengthBytes;
            return 1;
        }

        public ushort PartialSum(long offsetBytes, int lengthBytes) => InternetChecksum.Partial(Bytes.Slice((int)offsetBytes, lengthBytes));

        public void Release()
        {
            Invariant.Check(Holders > 0);
            if (--Holders == 0)
            {
                arena.TakeBack(this);
            }
        }
    }

    private FramePool Frames { get; } = frames;

    /// <summary>So many bytes could be copied now, as far as the pool can tell.</summary>
    public bool HasRoom(int bytes) => Frames.FreeCount + (spare.Count * BlockFrames) > ((bytes / FramePool.FrameBytes) + (2 * BlockFrames));

    /// <summary>Room to write in place, at least so many bytes. Empty when the pool has no frames.</summary>
    public Span<byte> Room(int bytes)
    {
        Invariant.Check(bytes <= BlockBytes);
        if (current is null || usedBytes + bytes > BlockBytes)
        {
            Next();
        }

        return current is null ? default : current.Bytes[usedBytes..];
    }

    /// <summary>The first bytes of the last <see cref="Room"/> have been written: they are held by the caller now.</summary>
    public ISendSource Commit(int bytes, out int offsetBytes)
    {
        Invariant.Check(current is not null && usedBytes + bytes <= BlockBytes);
        offsetBytes = usedBytes;
        usedBytes += bytes;
        current.Holders++;
        return current;
    }

    /// <summary>Copies what fits into the block at hand.</summary>
    public bool TryCopy(ReadOnlySpan<byte> bytes, out ISendSource? source, out int offsetBytes, out int copiedBytes)
    {
        Span<byte> room = Room(1);
        source = null;
        offsetBytes = 0;
        copiedBytes = Math.Min(bytes.Length, room.Length);
        if (copiedBytes == 0)
        {
            return false;
        }

        bytes[..copiedBytes].CopyTo(room);
        source = Commit(copiedBytes, out offsetBytes);
        return true;
    }

    public void Dispose()
    {
        isDisposed = true;
        current?.Release();
        current = null;
        while (spare.TryPop(out Block? block))
        {
            Free(block);
        }
    }

    private void Next()
    {
        Block? last = current;
        current = null;
        last?.Release();
        usedBytes = 0;
        while (current is null && spare.TryPop(out Block? block))
        {
            // A device that sends from frames may still hold what has been acknowledged: such a block is not written to.
            if (IsHeldElsewhere(block))
            {
                Free(block);
            }
            else
            {
                current = block;
            }
        }

        if (current is null && Frames.TryAllocateRun(Frames.RootCredential, BlockFrames, out FrameNumber first))
        {
            current = new Block(this, first);
        }

        if (current is not null)
        {
            current.Holders = 1;
        }
    }

    private bool IsHeldElsewhere(Block block)
    {
        for (uint i = 0; i < BlockFrames; i++)
        {
            if (Frames.ReferenceCount(new FrameNumber(block.First.Value + i)) != 1)
            {
                return true;
            }
        }

        return false;
    }

    private void TakeBack(Block block)
    {
        if (isDisposed)
        {
            Free(block);
        }
        else
        {
            spare.Push(block);
        }
    }

    private void Free(Block block)
    {
        for (uint i = 0; i < BlockFrames; i++)
        {
            Frames.Release(new FrameNumber(block.First.Value + i));
        }
    }
}
