// SPDX-License-Identifier: MIT
using System.Buffers;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Tcp;

/// <summary>
/// Bytes that could not be handed up as they came: in order but not consumed, or out of order. It exists only while there are any.
/// <code>
/// buffer   |consumed|in order ......|  gap  |arrived|  gap  |arrived|
///                    ^ start         ^ RCV.NXT       ranges, sequence numbers, in order, apart, at most RangesMax
/// </code>
/// </summary>
internal sealed class ReceiveQueue
{
    /// <summary>Stretches out of order that are kept; bytes that would make one more are dropped, and come again.</summary>
    public const int RangesMax = 32;

    private readonly SackBlock[] ranges = new SackBlock[RangesMax];
    private byte[] buffer = [];
    private int start;
    private int inOrder;

    /// <summary>Stretches out of order.</summary>
    public int RangeCount { get; private set; }

    /// <summary>The range that the last segment out of order went to: reported first (RFC 2018 section 4).</summary>
    public int LastRange { get; private set; }

    /// <summary>Bytes in order.</summary>
    public int LengthBytes => inOrder;

    /// <summary>Bytes of memory.</summary>
    public int CapacityBytes => buffer.Length;

    public bool IsEmpty => inOrder == 0 && RangeCount == 0;

    /// <summary>The bytes in order.</summary>
    public ReadOnlySpan<byte> Bytes => buffer.AsSpan(start, inOrder);

    public SackBlock Range(int index) => ranges[index];

    /// <summary>The application is done with bytes from the front.</summary>
    public void Consume(int bytes)
    {
        Invariant.Check(bytes <= inOrder);
        start += bytes;
        inOrder -= bytes;
    }

    /// <summary>Appends bytes in order, the first at <paramref name="next"/>, and what they connect to; returns the new RCV.NXT.</summary>
    public uint Append(uint next, ReadOnlySpan<byte> bytes)
    {
        Write(inOrder, bytes);
        inOrder += bytes.Length;
        next += (uint)bytes.Length;
        return Connect(next);
    }

    /// <summary>Bytes in order were handed up without coming here: what was out of order moves nearer. Returns the new RCV.NXT.</summary>
    public uint Skip(uint next, int bytes)
    {
        Invariant.Check(inOrder == 0);
        start += bytes;   // the place of the bytes in the buffer stays empty
        return Connect(next + (uint)bytes);
    }

    /// <summary>Bytes in front of all others here, which count as received already: the application left them.</summary>
    public void Prepend(ReadOnlySpan<byte> bytes)
    {
        if (IsEmpty)
        {
            start = 0;
            Reserve(bytes.Length);
        }
        else
        {
            Invariant.Check(start >= bytes.Length);
            start -= bytes.Length;   // the place they had, which Skip moved past
        }

        bytes.CopyTo(buffer.AsSpan(start));
        inOrder += bytes.Length;
    }

    /// <summary>Keeps bytes out of order. False when they are dropped because there are too many gaps.</summary>
    public bool TryInsert(uint next, uint sequence, ReadOnlySpan<byte> bytes)
    {
        uint from = sequence, to = sequence + (uint)bytes.Length;
        int at = 0;
        while (at < RangeCount && SequenceNumber.IsBefore(ranges[at].End, from))
        {
            at++;
        }

        int last = at;
        while (last < RangeCount && SequenceNumber.IsAtOrBefore(ranges[last].Start, to))
        {
            from = SequenceNumber.Earlier(from, ranges[last].Start);
            to = SequenceNumber.Later(to, ranges[last].End);
            last++;
        }

        if (last == at && RangeCount == RangesMax)
        {
            return false;
        }

        // The bytes that came first stay: a peer that sends others under the same numbers changes nothing.
        int offset = inOrder + (int)(sequence - next);
        Reserve(offset + bytes.Length);
        for (int i = 0; i < bytes.Length;)
        {
            uint position = sequence + (uint)i;
            int run = bytes.Length - i;
            bool have = false;
            for (int r = at; r < last; r++)
            {
                if (SequenceNumber.IsAtOrBefore(ranges[r].Start, position) && SequenceNumber.IsBefore(position, ranges[r].End))
                {
                    have = true;
                    run = Math.Min(run, (int)(ranges[r].End - position));
                    break;
                }

                if (SequenceNumber.IsAfter(ranges[r].Start, position))
                {
                    run = Math.Min(run, (int)(ranges[r].Start - position));
                }
            }

            if (!have)
            {
                bytes.Slice(i, run).CopyTo(buffer.AsSpan(start + offset + i));
            }

            i += run;
        }

        if (last == at)
        {
            ranges.AsSpan(at, RangeCount - at).CopyTo(ranges.AsSpan(at + 1));
            RangeCount++;
        }
        else if (last > at + 1)
        {
            ranges.AsSpan(last, RangeCount - last).CopyTo(ranges.AsSpan(at + 1));
            RangeCount -= last - at - 1;
        }

        ranges[at] = new SackBlock(from, to);
        LastRange = at;
        return true;
    }

    /// <summary>The first bytes of a stretch that are kept out of order already; null if none are.</summary>
    public SackBlock? FirstHeld(uint start, uint end)
    {
        for (int i = 0; i < RangeCount; i++)
        {
            uint from = SequenceNumber.Later(ranges[i].Start, start), to = SequenceNumber.Earlier(ranges[i].End, end);
            if (SequenceNumber.IsBefore(from, to))
            {
                return new SackBlock(from, to);
            }
        }

        return null;
    }

    /// <summary>Gives the memory back.</summary>
    public void Clear()
    {
        if (buffer.Length > 0)
        {
            ArrayPool<byte>.Shared.Return(buffer);
            buffer = [];
        }

        start = inOrder = RangeCount = LastRange = 0;
    }

    private uint Connect(uint next)
    {
        int done = 0;
        while (done < RangeCount && SequenceNumber.IsAtOrBefore(ranges[done].Start, next))
        {
            if (SequenceNumber.IsAfter(ranges[done].End, next))
            {
                inOrder += (int)(ranges[done].End - next);
                next = ranges[done].End;
            }

            done++;
        }

        if (done > 0)
        {
            ranges.AsSpan(done, RangeCount - done).CopyTo(ranges);
            RangeCount -= done;
            LastRange = Math.Max(0, LastRange - done);
        }

        return next;
    }

    private void Write(int offset, ReadOnlySpan<byte> bytes)
    {
        Reserve(offset + bytes.Length);
        bytes.CopyTo(buffer.AsSpan(start + offset));
    }

    // Room for that many bytes from the start on; what is there keeps its place relative to the start.
    private void Reserve(int lengthBytes)
    {
        if (start + lengthBytes <= buffer.Length)
        {
            return;
        }

        int kept = Math.Min(buffer.Length - Math.Min(start, buffer.Length), lengthBytes);
        if (lengthBytes <= buffer.Length)
        {
            buffer.AsSpan(Math.Min(start, buffer.Length), kept).CopyTo(buffer);
        }
        else
        {
            byte[] larger = ArrayPool<byte>.Shared.Rent(Math.Max(lengthBytes, Math.Min(buffer.Length * 2, 1 << 20)));
            buffer.AsSpan(Math.Min(start, buffer.Length), kept).CopyTo(larger);
            if (buffer.Length > 0)
            {
                ArrayPool<byte>.Shared.Return(buffer);
            }

            buffer = larger;
        }

        start = 0;
    }
}
