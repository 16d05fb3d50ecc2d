// SPDX-License-Identifier: MIT
using Exo.Core.Linux;
using Exo.Core.Memory;
using Exo.Core.Net;

namespace Exo.Net.Cheetah;

/// <summary>Bytes that lie in frames of a pool, in order and without a gap, as one reads, sums and sends them. Who has it holds the frames.</summary>
internal readonly unsafe struct FramePieces
{
    private readonly Piece[] pieces;
    private readonly nint poolAddress;

    private FramePieces(Piece[] pieces, nint poolAddress, long lengthBytes)
    {
        this.pieces = pieces;
        this.poolAddress = poolAddress;
        LengthBytes = lengthBytes;
    }

    // Consecutive bytes; pieces are in order and leave no gap.
    private readonly record struct Piece(nint Address, long StartBytes, long LengthBytes);

    /// <summary>All bytes.</summary>
    public long LengthBytes { get; }

    /// <summary>Bytes of the frames they lie in, as far as they are taken up.</summary>
    public long FrameBytes
    {
        get
        {
            long frameBytes = 0;
            foreach (Piece piece in pieces)
            {
                frameBytes += (piece.LengthBytes + FramePool.FrameBytes - 1) / FramePool.FrameBytes * FramePool.FrameBytes;
            }

            return frameBytes;
        }
    }

    /// <summary>Runs that happen to follow one another become one piece, so that one vector covers them.</summary>
    public static FramePieces Of(FramePool frames, ReadOnlySpan<DocumentRun> runs, int firstByteOffset, long lengthBytes)
    {
        var pieces = new List<Piece>();
        long start = 0;
        foreach (DocumentRun run in runs)
        {
            if (start == lengthBytes)
            {
                break;
            }

            int skip = start == 0 ? firstByteOffset : 0;
            nint address = frames.Address(run.First) + skip;
            _ = frames.Bytes(run.First, run.FrameCount);   // throws when the run leaves the pool
            long take = Math.Min(((long)run.FrameCount * FramePool.FrameBytes) - skip, lengthBytes - start);
            if (pieces.Count > 0 && pieces[^1].Address + (nint)pieces[^1].LengthBytes == address)
            {
                pieces[^1] = pieces[^1] with { LengthBytes = pieces[^1].LengthBytes + take };
            }
            else
            {
                pieces.Add(new Piece(address, start, take));
            }

            start += take;
        }

        Invariant.Check(start == lengthBytes);
        return new FramePieces([.. pieces], frames.Address(new FrameNumber(0)), lengthBytes);
    }

    /// <inheritdoc cref="IPayload.Gather(long, long, Span{IoVector}, out long)"/>
    public int Gather(long offsetBytes, long lengthBytes, Span<IoVector> vectors, out long gatheredBytes)
    {
        gatheredBytes = 0;
        Invariant.Check(offsetBytes >= 0 && lengthBytes >= 0 && offsetBytes + lengthBytes <= LengthBytes);
        int at = pieces.Length > 1 ? PieceOf(offsetBytes) : 0;
        int count = 0;
        for (; lengthBytes > 0 && count < vectors.Length; at++)
        {
            // Inside the piece because it starts at or before the offset, and pieces leave no gap.
            ref readonly Piece piece = ref pieces[at];
            long skip = offsetBytes - piece.StartBytes;
            long take = Math.Min(lengthBytes, piece.LengthBytes - skip);
            vectors[count++] = new IoVector { Base = piece.Address + (nint)skip, LengthBytes = (nuint)take };
            offsetBytes += take;
            lengthBytes -= take;
            gatheredBytes += take;
        }

        return count;
    }

    /// <inheritdoc cref="Tcp.ISendSource.Gather"/>
    public int Gather(long offsetBytes, int lengthBytes, Span<PacketSlice> slices, out int gatheredBytes)
    {
        Invariant.Check(offsetBytes >= 0 && lengthBytes >= 0 && offsetBytes + lengthBytes <= LengthBytes);
        gatheredBytes = 0;
        int count = 0;
        for (int at = pieces.Length > 1 ? PieceOf(offsetBytes) : 0; lengthBytes > 0 && count < slices.Length; at++)
        {
            ref readonly Piece piece = ref pieces[at];
            long skip = offsetBytes - piece.StartBytes;
            int take = (int)Math.Min(lengthBytes, piece.LengthBytes - skip);
            nint inPool = piece.Address + (nint)skip - poolAddress;
            slices[count++] = new PacketSlice(
                new FrameNumber((uint)(inPool / FramePool.FrameBytes)), (int)(inPool % FramePool.FrameBytes), take);
            offsetBytes += take;
            lengthBytes -= take;
            gatheredBytes += take;
        }

        return count;
    }

    /// <summary>The partial checksum of a stretch; all of it is read.</summary>
    public ushort SumOf(long startBytes, int lengthBytes)
    {
        ushort sum = 0;
        for (int summed = 0; summed < lengthBytes;)
        {
            ReadOnlySpan<byte> part = BytesAt(startBytes + summed, lengthBytes - summed);
            sum = InternetChecksum.Combine(sum, summed, InternetChecksum.Partial(part));
            summed += part.Length;
        }

        return sum;
    }

    /// <inheritdoc cref="IPayload.BytesAt"/>
    public ReadOnlySpan<byte> BytesAt(long offsetBytes, int maxBytes)
    {
        Invariant.Check(offsetBytes >= 0 && offsetBytes < LengthBytes);
        ref readonly Piece piece = ref pieces[PieceOf(offsetBytes)];
        long skip = offsetBytes - piece.StartBytes;
        return new ReadOnlySpan<byte>((void*)(piece.Address + (nint)skip), (int)Math.Min(maxBytes, piece.LengthBytes - skip));
    }

    private int PieceOf(long offsetBytes)
    {
        int low = 0, high = pieces.Length - 1;
        while (low < high)
        {
            int middle = (low + high + 1) / 2;
            (low, high) = pieces[middle].StartBytes <= offsetBytes ? (middle, high) : (low, middle - 1);
        }

        return low;
    }
}
