// SPDX-License-Identifier: MIT
using Exo.Net.Cheetah.Link;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Tcp;

/// <summary>
/// A segment for a connection in a synchronized state or SYN-RECEIVED (RFC 9293 section 3.10.7.4), in the order of the RFC: timestamps,
/// sequence number, RST, SYN, ACK, data, FIN; with the defences of RFC 5961. Marks count on data within the window only (RFC 3168 section 6.1.5).
/// </summary>
internal static class SegmentArrival
{
    private const long TimestampsForgottenUs = 24L * 24 * 3600 * 1_000_000;   // RFC 7323 section 5.5

    public static void Take(TcpConnection c, in TcpSegment arrived, PacketBytes payload, bool isMarked)
    {
        TcpLayer tcp = c.Tcp;
        TcpSegment segment = arrived;
        if (c.State == TcpState.SynReceived && (segment.Flags & (TcpFlags.Syn | TcpFlags.Ack)) == (TcpFlags.Syn | TcpFlags.Ack) && segment.Sequence == c.Irs)
        {
            // Both opened at once: the SYN is known, its acknowledgment is news (RFC 9293 figure 8).
            segment = segment with { Sequence = segment.Sequence + 1, Flags = segment.Flags & ~(TcpFlags.Syn | TcpFlags.Ece | TcpFlags.Cwr) };
        }

        bool isReset = (segment.Flags & TcpFlags.Rst) != 0;
        int lengthBytes = payload.LengthBytes;
        uint end = segment.Sequence + (uint)lengthBytes + ((segment.Flags & TcpFlags.Fin) != 0 ? 1u : 0) + ((segment.Flags & TcpFlags.Syn) != 0 ? 1u : 0);
        c.LastReceivedUs = tcp.NowUs;

        // RFC 7323 section 5.3 (PAWS). An old timestamp comes from an earlier turn of the sequence numbers.
        if (c.UsesTimestamps && !isReset)
        {
            if (!segment.Options.HasTimestamps)
            {
                tcp.Counters.SegmentsRefused++;
                return;   // section 3.2
            }

            if (SequenceNumber.IsBefore(segment.Options.Timestamp, c.RecentTimestamp) && tcp.NowUs - c.RecentTimestampUs < TimestampsForgottenUs)
            {
                tcp.Counters.SegmentsRefused++;
                if (!tcp.TryBeginAnew(c, segment, payload))
                {
                    tcp.AckOutOfWindow(c, lengthBytes > 0);
                }

                return;
            }
        }

        if (c.State == TcpState.SynReceived && (segment.Flags & ~(TcpFlags.Ece | TcpFlags.Cwr)) == TcpFlags.Syn && segment.Sequence == c.Irs)
        {
            c.UsesEcn &= CongestionMarks.IsAsked(segment);   // perhaps not any more
            SegmentOutput.SendSyn(c);   // our SYN and ACK was lost
            return;
        }

        uint window = c.RcvEdge - c.RcvNxt;
        uint offset = segment.Sequence - c.RcvNxt;
        bool isAcceptable = end == segment.Sequence
            ? offset <= window && (int)offset >= 0
            : SequenceNumber.IsAfter(end, c.RcvNxt) && (SequenceNumber.IsAtOrBefore(segment.Sequence, c.RcvNxt) || offset < window);
        if (!isAcceptable)
        {
            tcp.Counters.SegmentsRefused++;
            if (tcp.TryBeginAnew(c, segment, payload))
            {
                return;
            }

            if (!isReset)
            {
                if (c.UsesSack && lengthBytes > 0 && SequenceNumber.IsAtOrBefore(end, c.RcvNxt))
                {
                    // All of it came before: say which (RFC 2883), so that the peer knows that it sent it in vain.
                    tcp.DuplicateSack = new SackBlock(segment.Sequence, segment.Sequence + (uint)lengthBytes);
                }

                // What it acknowledges may still be news when only its sequence number is old.
                if ((segment.Flags & TcpFlags.Ack) != 0 && SequenceNumber.IsAtOrBefore(segment.Sequence, c.RcvNxt)
                    && c.State != TcpState.SynReceived && (segment.Flags & TcpFlags.Syn) == 0
                    && SequenceNumber.IsAfter(segment.Acknowledgment, c.SndUna) && SequenceNumber.IsAtOrBefore(segment.Acknowledgment, c.SndNxt))
                {
                    c.AckNow |= (segment.Flags & TcpFlags.Fin) != 0;   // if this ends the connection, the peer's FIN is acknowledged first: it has come again
                    Acknowledgment.Take(c, segment, lengthBytes);
                    if (c.State == TcpState.Closed)
                    {
                        return;
                    }
                }

                tcp.AckOutOfWindow(c, lengthBytes > 0 || (segment.Flags & TcpFlags.Fin) != 0);
            }

            return;
        }

        if (isReset)
        {
            // RFC 5961 section 3.2: only the exact number resets; another in the window is asked back.
            if (segment.Sequence == c.RcvNxt)
            {
                tcp.Close(c, c.State == TcpState.SynReceived && !c.IsAccepted ? TcpCloseReason.Refused : TcpCloseReason.Reset);
            }
            else
            {
                tcp.ChallengeAck(c);
            }

            return;
        }

        if ((segment.Flags & TcpFlags.Syn) != 0)
        {
            tcp.ChallengeAck(c);   // RFC 5961 section 4.2
            return;
        }

        if ((segment.Flags & TcpFlags.Ack) == 0)
        {
            return;
        }

        if (c.State == TcpState.SynReceived)
        {
            if (!SequenceNumber.IsAfter(segment.Acknowledgment, c.SndUna) || SequenceNumber.IsAfter(segment.Acknowledgment, c.SndNxt))
            {
                tcp.SendResetFor(c.Key, segment, lengthBytes);
                return;
            }

            if (!PassiveOpen.Complete(c, segment))
            {
                return;
            }
        }

        // RFC 5961 section 5.2: an acknowledgment from too long ago, or of what was never sent.
        if (SequenceNumber.IsAfter(segment.Acknowledgment, c.SndNxt)
            || SequenceNumber.IsBefore(segment.Acknowledgment, c.SndUna - (uint)c.MaxSndWnd))
        {
            if (!tcp.TryBeginAnew(c, segment, payload))
            {
                tcp.ChallengeAck(c);
            }

            return;
        }

        if (c.UsesTimestamps && SequenceNumber.IsAtOrAfter(segment.Options.Timestamp, c.RecentTimestamp)
            && SequenceNumber.IsAtOrBefore(segment.Sequence, c.LastAckSent))
        {
            c.RecentTimestamp = segment.Options.Timestamp;   // RFC 7323 section 4.3
            c.RecentTimestampUs = tcp.NowUs;
        }

        if (c.UsesEcn && lengthBytes > 0)
        {
            CongestionMarks.TakeData(c, segment.Flags, isMarked);
        }

        Acknowledgment.Take(c, segment, lengthBytes);
        if (c.State == TcpState.Closed)
        {
            return;
        }

        if (lengthBytes > 0 || (segment.Flags & TcpFlags.Fin) != 0)
        {
            DataArrival.Take(c, segment, payload);
        }
    }
}
