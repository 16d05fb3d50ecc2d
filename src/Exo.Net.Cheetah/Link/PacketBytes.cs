// SPDX-License-Identifier: MIT
using Exo.Core.Net;

namespace Exo.Net.Cheetah.Link;

/// <summary>The rest of a packet that came in, in the pieces it lies in; headers are taken off the front of the first piece.</summary>
internal readonly ref struct PacketBytes
{
    private readonly ReadOnlySpan<byte> head;
    private readonly ReceiveBatch? batch;
    private readonly int index;

    /// <summary>A packet in one piece.</summary>
    public PacketBytes(ReadOnlySpan<byte> bytes)
    {
        head = bytes;
        LengthBytes = bytes.Length;
    }

    /// <summary>A packet of a batch.</summary>
    public PacketBytes(ReceiveBatch batch, int index)
    {
        head = batch.Head(index);
        LengthBytes = batch.Packets[index].LengthBytes;
        this.batch = batch.Packets[index].SliceCount > 1 ? batch : null;
        this.index = index;
    }

    private PacketBytes(ReadOnlySpan<byte> head, ReceiveBatch? batch, int index, int lengthBytes)
    {
        this.head = head.Length > lengthBytes ? head[..lengthBytes] : head;
        this.batch = batch;
        this.index = index;
        LengthBytes = lengthBytes;
    }

    /// <summary>All bytes.</summary>
    public int LengthBytes { get; }

    /// <summary>The first piece: all headers, and often everything.</summary>
    public ReadOnlySpan<byte> Head => head;

    /// <summary>Everything is in the first piece.</summary>
    public bool IsWhole => head.Length == LengthBytes;

    /// <summary>A part that begins in the first piece.</summary>
    public PacketBytes Slice(int startBytes, int lengthBytes) => new(head[startBytes..], batch, index, lengthBytes);

    /// <summary>The partial checksum of all bytes.</summary>
    public ushort PartialSum()
    {
        ushort sum = 0;
        int summed = 0;
        foreach (ReadOnlySpan<byte> piece in this)
        {
            sum = InternetChecksum.Combine(sum, summed, InternetChecksum.Partial(piece));
            summed += piece.Length;
        }

        return sum;
    }

    /// <summary>Copies all bytes.</summary>
    public void CopyTo(Span<byte> destination)
    {
        foreach (ReadOnlySpan<byte> piece in this)
        {
            piece.CopyTo(destination);
            destination = destination[piece.Length..];
        }
    }

    public Enumerator GetEnumerator() => new(this);

    internal ref struct Enumerator
    {
        private readonly PacketBytes bytes;
        private int left;
        private int slice;

        public Enumerator(PacketBytes bytes)
        {
            this.bytes = bytes;
            left = bytes.LengthBytes;
        }

        public ReadOnlySpan<byte> Current { get; private set; }

        public bool MoveNext()
        {
            if (left == 0)
            {
                return false;
            }

            ReadOnlySpan<byte> piece = slice == 0 ? bytes.head : bytes.batch!.Slices(bytes.index)[slice].Bytes(bytes.batch.Frames);
            slice++;
            Current = piece.Length > left ? piece[..left] : piece;
            left -= Current.Length;
            return !Current.IsEmpty || MoveNext();
        }
    }
}
