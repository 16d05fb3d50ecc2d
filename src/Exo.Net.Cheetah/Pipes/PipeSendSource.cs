// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Net.Cheetah.Tcp;

namespace Exo.Net.Cheetah.Pipes;

/// <summary>
/// The bytes an application has flushed, as the send queue of its connection sees them: an offset is a byte of the frame pool. Stretches are released in the
/// order in which they were queued, which tells how far the pipe has been sent.
/// </summary>
internal sealed class PipeSendSource(FramePool frames, TcpPipeConnection owner) : ISendSource
{
    private Queue<int>? lengths;   // of what has been queued; made for the first

    /// <summary>Bytes released since they were last taken.</summary>
    public long ReleasedBytes { get; set; }

    public void Queue(TcpLayer tcp, TcpConnection connection, long poolOffsetBytes, int lengthBytes)
    {
        (lengths ??= new()).Enqueue(lengthBytes);
        tcp.Queue(connection, this, poolOffsetBytes, lengthBytes);
    }

    /// <summary>Queues a copy of bytes that are not in frames. False when there is no frame for it; part of it may be queued then.</summary>
    public bool TryQueueCopy(TcpLayer tcp, TcpConnection connection, ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            if (!tcp.Arena.TryCopy(bytes, out ISendSource? block, out int offset, out int copied))
            {
                return false;
            }

            (lengths ??= new()).Enqueue(copied);
            tcp.Counters.BytesCopied += copied;
            tcp.Queue(connection, new Copied(this, block!), offset, copied);
            bytes = bytes[copied..];
        }

        return true;
    }

    public int Gather(long offsetBytes, int lengthBytes, Span<PacketSlice> slices, out int gatheredBytes)
    {
        gatheredBytes = slices.IsEmpty ? 0 : lengthBytes;
        if (slices.IsEmpty)
        {
            return 0;
        }

        slices[0] = Slice(offsetBytes, lengthBytes);
        return 1;
    }

    public ushort PartialSum(long offsetBytes, int lengthBytes) => InternetChecksum.Partial(Slice(offsetBytes, lengthBytes).Bytes(frames));

    public void Release()
    {
        ReleasedBytes += lengths!.Dequeue();
        owner.OnReleased();
    }

    private static PacketSlice Slice(long offsetBytes, int lengthBytes) => new(
        new FrameNumber((uint)(offsetBytes / FramePool.FrameBytes)), (int)(offsetBytes % FramePool.FrameBytes), lengthBytes);

    private sealed class Copied(PipeSendSource owner, ISendSource block) : ISendSource
    {
        public int Gather(long offsetBytes, int lengthBytes, Span<PacketSlice> slices, out int gatheredBytes) =>
            block.Gather(offsetBytes, lengthBytes, slices, out gatheredBytes);

        public ushort PartialSum(long offsetBytes, int lengthBytes) => block.PartialSum(offsetBytes, lengthBytes);

        public void Release()
        {
            block.Release();
            owner.Release();
        }
    }
}
