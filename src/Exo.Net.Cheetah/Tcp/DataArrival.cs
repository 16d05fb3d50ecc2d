// SPDX-License-Identifier: MIT
using Exo.Net.Cheetah.Link;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Tcp;

/// <summary>Bytes and FIN of an acceptable segment (RFC 9293 section 3.10.7.4, seventh and eighth), and handing bytes up.</summary>
internal static class DataArrival
{
    public static void Take(TcpConnection c, in TcpSegment segment, PacketBytes payload)
    {
        if (c.State is not (TcpState.Established or TcpState.FinWait1 or TcpState.FinWait2))
        {
            return;   // the peer has closed already: nothing can come behind its FIN
        }

        TcpLayer tcp = c.Tcp;
        uint before = c.RcvNxt;
        uint sequence = segment.Sequence;
        int lengthBytes = payload.LengthBytes;
        bool isInOrder = SequenceNumber.IsAtOrBefore(sequence, c.RcvNxt);
        bool hadGaps = c.Received is { RangeCount: > 0 };
        SackBlock duplicate = default;
        foreach (ReadOnlySpan<byte> piece in payload)
        {
            Piece(c, sequence, piece, ref duplicate);
            sequence += (uint)piece.Length;
            if (c.State == TcpState.Closed)
            {
                return;
            }
        }

        if ((segment.Flags & TcpFlags.Fin) != 0 && !c.PeerFinKnown
            && SequenceNumber.IsAtOrBefore(segment.Sequence + (uint)lengthBytes, c.RcvEdge))
        {
            c.PeerFinKnown = true;
            c.PeerFin = segment.Sequence + (uint)lengthBytes;
        }

        // RFC 5681 section 4.2: at once for what is out of order or fills a gap, else every second full segment.
        c.UnackedReceivedBytes += (int)(c.RcvNxt - before);
        if (!isInOrder || hadGaps || c.UnackedReceivedBytes >= 2 * c.PeerSegmentBytes || c.RcvNxt == before)
        {
            c.AckNow = true;
        }
        else if (c.DelayedAckUs == long.MaxValue)
        {
            c.DelayedAckUs = tcp.NowUs + tcp.DelayedAckUs;
        }

        Finish(c);
        if (c.State is TcpState.Closed or TcpState.TimeWait)
        {
            return;
        }

        if (duplicate != default && c.UsesSack)
        {
            tcp.DuplicateSack = duplicate;   // each is told once (RFC 2883 section 4)
            SegmentOutput.SendAck(c);
            tcp.DuplicateSack = default;
        }

        tcp.MakeDirty(c);
    }

    // The first stretch that has come twice, as far as it is one.
    private static void Twice(ref SackBlock duplicate, uint start, uint end)
    {
        if (duplicate == default)
        {
            duplicate = new SackBlock(start, end);
        }
        else if (duplicate.End == start)
        {
            duplicate = duplicate with { End = end };
        }
    }

    // The FIN counts once everything in front of it has come.
    private static void Finish(TcpConnection c)
    {
        if (!c.PeerFinKnown || c.PeerFin != c.RcvNxt || c.PeerFinished)
        {
            return;
        }

        c.RcvNxt++;
        c.RcvEdge = SequenceNumber.Later(c.RcvEdge, c.RcvNxt);
        c.PeerFinished = true;
        c.AckNow = true;
        switch (c.State)
        {
            case TcpState.Established:
                c.State = TcpState.CloseWait;
                break;
            case TcpState.FinWait1:
                c.State = TcpState.Closing;   // our FIN is not acknowledged, or the state would be FIN-WAIT-2
                break;
            case TcpState.FinWait2:
                c.Tcp.Finish(c);
                return;
        }

        TellPeerClosed(c);
    }

    // Those behind bytes the application has not taken yet hear of the end when it has.
    public static void TellPeerClosed(TcpConnection c)
    {
        if (c.PeerFinished && !c.PeerClosedTold && c.Received is not { LengthBytes: > 0 })
        {
            c.PeerClosedTold = true;
            if (!c.IsAbandoned)
            {
                c.Handler.OnPeerClosed(c);
            }
        }
    }

    private static void Piece(TcpConnection c, uint sequence, ReadOnlySpan<byte> bytes, ref SackBlock duplicate)
    {
        // Trim what came before, what lies outside the window, and what lies behind the FIN.
        if (SequenceNumber.IsBefore(sequence, c.RcvNxt))
        {
            uint old = c.RcvNxt - sequence;
            Twice(ref duplicate, sequence, sequence + Math.Min(old, (uint)bytes.Length));
            if (old >= (uint)bytes.Length)
            {
                return;
            }

            bytes = bytes[(int)old..];
            sequence = c.RcvNxt;
        }

        uint last = c.PeerFinKnown ? SequenceNumber.Earlier(c.RcvEdge, c.PeerFin) : c.RcvEdge;
        if (SequenceNumber.IsAtOrAfter(sequence, last))
        {
            return;
        }

        if (SequenceNumber.IsAfter(sequence + (uint)bytes.Length, last))
        {
            bytes = bytes[..(int)(last - sequence)];
        }

        c.Tcp.Counters.BytesReceived += bytes.Length;
        if (c.Received is { RangeCount: > 0 } apart && apart.FirstHeld(sequence, sequence + (uint)bytes.Length) is { } held)
        {
            Twice(ref duplicate, held.Start, held.End);
        }

        if (sequence != c.RcvNxt)
        {
            if (c.Tcp.TryReserveReceive(c, (int)(sequence - c.RcvNxt) + bytes.Length) is { } queue)
            {
                _ = queue.TryInsert(c.RcvNxt, sequence, bytes);
                c.Tcp.AccountReceive(c);
            }

            return;
        }

        if (c.Received is not { LengthBytes: > 0 } && !c.IsReceivePaused && !c.IsInCallback)
        {
            // The usual case: up from where the device put it.
            if (c.Received is { } gaps)
            {
                c.RcvNxt = gaps.Skip(c.RcvNxt, bytes.Length);
            }
            else
            {
                c.RcvNxt += (uint)bytes.Length;
            }

            int used = Call(c, bytes);
            if (c.State == TcpState.Closed)
            {
                return;
            }

            if (used < bytes.Length)
            {
                c.Tcp.KeepFront(c, bytes[used..]);
            }
            else if (c.Received is { LengthBytes: > 0 })
            {
                HandUp(c);
            }
            else
            {
                c.Tcp.ReturnReceiveIfEmpty(c);
            }

            return;
        }

        if (c.Tcp.TryReserveReceive(c, bytes.Length) is { } kept)
        {
            c.RcvNxt = kept.Append(c.RcvNxt, bytes);
            c.Tcp.AccountReceive(c);
            HandUp(c);
        }
    }

    /// <summary>Gives the application what was kept for it; tells the peer when that opens the window.</summary>
    public static void HandUp(TcpConnection c)
    {
        if (c.IsInCallback || c.State == TcpState.Closed)
        {
            return;
        }

        while (c.Received is { LengthBytes: > 0 } queue && !c.IsReceivePaused)
        {
            int before = queue.LengthBytes;
            int used = Call(c, queue.Bytes);
            if (c.State == TcpState.Closed)
            {
                return;
            }

            queue.Consume(used);
            if (used < before)
            {
                break;
            }
        }

        c.Tcp.ReturnReceiveIfEmpty(c);
        TellPeerClosed(c);
        if (c.State == TcpState.TimeWait)
        {
            c.Tcp.Finish(c);
        }
        else if (c.State is TcpState.Established or TcpState.FinWait1 or TcpState.FinWait2
            && c.RcvNxt + (uint)c.ReceiveWindowBytes != c.RcvEdge)
        {
            // A window update of its own is sent only when the peer may be stuck for want of it; else it rides on what goes anyway.
            c.AckNow |= (int)(c.RcvEdge - c.RcvNxt) < Math.Min(c.Tcp.Options.ReceiveWindowBytes / 2, 4 * c.PeerSegmentBytes);
            c.Tcp.MakeDirty(c);
        }
    }

    private static int Call(TcpConnection c, ReadOnlySpan<byte> bytes)
    {
        if (c.IsAbandoned)
        {
            return bytes.Length;
        }

        c.IsInCallback = true;
        int used = c.Handler.OnReceived(c, bytes);
        c.IsInCallback = false;
        Invariant.Check(used >= 0 && used <= bytes.Length);
        return used;
    }
}
