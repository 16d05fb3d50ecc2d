// SPDX-License-Identifier: MIT
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Tcp;

/// <summary>
/// What the acknowledgment of an acceptable segment means (RFC 9293 section 3.10.7.4, fifth): bytes delivered, the peer's window, round-trip times,
/// loss (RFC 6675 and RFC 8985, or NewReno of RFC 6582 without SACK) and the congestion window (RFC 9438, PRR of RFC 6937).
/// </summary>
internal static class Acknowledgment
{
    public static void Take(TcpConnection c, in TcpSegment segment, int payloadBytes)
    {
        TcpLayer tcp = c.Tcp;
        uint acknowledged = segment.Acknowledgment;
        if (SequenceNumber.IsBefore(acknowledged, c.SndUna))
        {
            return;   // an old one that was overtaken
        }

        int newBytes = (int)(acknowledged - c.SndUna);
        bool windowChanged = TakeWindow(c, segment);
        Delivery delivery = Delivery.None with { EchoedUs = EchoedUs(c, segment), IsMarked = c.UsesEcn && (segment.Flags & TcpFlags.Ece) != 0 };
        if (delivery.IsMarked)
        {
            CongestionMarks.TakeEcho(c, acknowledged);
        }

        SentSegments? sent = c.Sent;
        sent?.Acknowledge(acknowledged, ref delivery);
        if (c.UsesSack && segment.Options.SackCount > 0)
        {
            TakeSacks(c, sent, segment, acknowledged, ref delivery);
        }

        bool finAcknowledged = false;
        if (newBytes > 0)
        {
            finAcknowledged = c.FinSent && acknowledged == c.SndNxt;
            c.SndUna = acknowledged;
            int streamBytes = newBytes - (finAcknowledged ? 1 : 0);
            if (streamBytes > 0)
            {
                c.SendQueue!.Acknowledge(streamBytes, tcp.Releases);
                tcp.ReturnSendIfEmpty(c);
                tcp.Counters.BytesAcknowledged += streamBytes;
            }

            c.Rtt.Resume();
            c.ProbeCount = 0;
            c.SynRetries = 0;
        }
        else if (payloadBytes == 0 && !windowChanged && c.SndNxt != c.SndUna && (segment.Flags & (TcpFlags.Fin | TcpFlags.Syn)) == 0)
        {
            c.DuplicateAcks++;
        }

        if (delivery.HasProbe)
        {
            PathMtu.OnProbeArrived(c);
        }

        if (c.Record is { } record)
        {
            SpuriousRecovery.Examine(c, record, segment, newBytes, delivery);
        }

        if (sent is not null)
        {
            TakeRoundTrip(c, segment, delivery, newBytes, tcp.NowUs);
            c.Rack.Update(delivery, tcp.NowUs);
            if (newBytes > 0 && !c.UsesSack)
            {
                c.RenoSackedBytes = Math.Max(0, c.RenoSackedBytes - Math.Max(0, newBytes - c.SegmentBytes));
                c.RenoSackedBytes = acknowledged == c.SndNxt ? 0 : c.RenoSackedBytes;
            }

            DetectLoss(c, sent, newBytes, ref delivery);
            if (newBytes > 0 && c.Recovery == RecoveryState.Open)
            {
                c.DuplicateAcks = 0;
            }

            if (sent.Count == 0)
            {
                tcp.ReturnSent(c);
            }
        }

        if (newBytes > 0 || delivery.Bytes > 0 || windowChanged)
        {
            TimerExpiry.Arm(c);
            tcp.MakeDirty(c);
        }

        if (newBytes > 0 && newBytes > (finAcknowledged ? 1 : 0) && !c.IsAbandoned)
        {
            c.Handler.OnAcknowledged(c);
        }

        if (finAcknowledged && c.State != TcpState.Closed)
        {
            switch (c.State)
            {
                case TcpState.FinWait1:
                    c.State = TcpState.FinWait2;
                    c.IdleUs = tcp.NowUs + TcpLayer.FinWait2Us;
                    TimerExpiry.Arm(c);
                    break;
                case TcpState.Closing or TcpState.LastAck:
                    tcp.Finish(c);
                    break;
            }
        }
    }

    /// <summary>Time has passed: what the path could only have reordered is lost by now.</summary>
    public static void LookForLoss(TcpConnection c, SentSegments sent)
    {
        Delivery nothing = Delivery.None;
        DetectLoss(c, sent, 0, ref nothing);
    }

    // SND.WND, with the rule that an old segment does not shrink what a younger one opened.
    private static bool TakeWindow(TcpConnection c, in TcpSegment segment)
    {
        if (!SequenceNumber.IsBefore(c.SndWl1, segment.Sequence)
            && !(c.SndWl1 == segment.Sequence && SequenceNumber.IsAtOrBefore(c.SndWl2, segment.Acknowledgment)))
        {
            return false;
        }

        int window = segment.Window << c.SndScale;
        bool changed = window != c.SndWnd;
        c.SndWnd = window;
        c.MaxSndWnd = Math.Max(c.MaxSndWnd, window);
        c.SndWl1 = segment.Sequence;
        c.SndWl2 = segment.Acknowledgment;
        if (changed && window > 0 && c.Timer == SendTimer.WindowProbe)
        {
            c.Rtt.Resume();
        }

        return changed;
    }

    // Send times up to here are those of segments that the echoed timestamp may be of.
    private static long EchoedUs(TcpConnection c, in TcpSegment segment)
    {
        if (!c.UsesTimestamps || segment.Options.TimestampEcho == 0)
        {
            return long.MaxValue;
        }

        int elapsedMs = (int)(c.Tcp.TimestampOf(c) - segment.Options.TimestampEcho);
        return elapsedMs < 0 ? long.MaxValue : (((c.Tcp.NowUs / 1000) - elapsedMs) * 1000) + 999;
    }

    private static void TakeSacks(TcpConnection c, SentSegments? sent, in TcpSegment segment, uint acknowledged, ref Delivery delivery)
    {
        for (int i = 0; i < segment.Options.SackCount; i++)
        {
            SackBlock block = segment.Options.Sack(i);
            if (!SequenceNumber.IsBefore(block.Start, block.End) || SequenceNumber.IsAfter(block.End, c.SndNxt))
            {
                continue;   // of something never sent
            }

            if (i == 0 && (SequenceNumber.IsAtOrBefore(block.End, acknowledged)
                || (segment.Options.SackCount > 1 && SequenceNumber.IsAtOrAfter(block.Start, segment.Options.Sack1.Start)
                    && SequenceNumber.IsAtOrBefore(block.End, segment.Options.Sack1.End))))
            {
                TakeDuplicate(c, block, acknowledged, ref delivery);
                continue;
            }

            if (SequenceNumber.IsAfter(block.End, acknowledged))
            {
                sent?.Sack(SequenceNumber.Later(block.Start, acknowledged), block.End, ref delivery);
            }
        }
    }

    // RFC 2883. A probe of the tail that was needless says nothing of how the path reorders (RFC 8985 section 3.3.2).
    private static void TakeDuplicate(TcpConnection c, SackBlock block, uint acknowledged, ref Delivery delivery)
    {
        c.Tcp.Counters.DuplicateSacksReceived++;
        c.SawDuplicateSack = delivery.HasDuplicate = true;
        if (c.Rack.ProbeIsOutstanding && c.Rack.ProbeIsRetransmission && block.End == c.Rack.ProbeEnd)
        {
            c.Rack.ProbeIsOutstanding = false;
            return;
        }

        c.Rack.OnDuplicateSack(acknowledged, c.SndNxt);
        c.Record?.TakeDuplicate(block);
    }

    // Prefers the own clock, which is finer than timestamps; those serve when something acknowledged was sent twice (Karn).
    private static void TakeRoundTrip(TcpConnection c, in TcpSegment segment, in Delivery delivery, int newBytes, long nowUs)
    {
        long sampleUs = -1;
        if (delivery.SampleSentUs >= 0 && !delivery.HasResent)
        {
            sampleUs = nowUs - delivery.SampleSentUs;
        }
        else if (newBytes > 0 && delivery.NewestSentUs >= 0 && c.UsesTimestamps && segment.Options.TimestampEcho != 0)
        {
            // Only when the echo is of the last transmission: that of an earlier one, told again because the first answer was lost, is no measure.
            uint elapsedMs = c.Tcp.TimestampOf(c) - segment.Options.TimestampEcho;
            sampleUs = elapsedMs * 1000L <= nowUs - delivery.NewestSentUs + 1000 ? Math.Max(1, elapsedMs) * 1000L : -1;
        }

        if (sampleUs >= 0)
        {
            if (c.Record is { Phase: RecordPhase.AwaitsSample } record && SequenceNumber.IsAfter(c.SndUna, record.PhaseStart))
            {
                c.Rtt.MeasureAfterSpuriousTimeout(sampleUs);
                c.Tcp.ReturnRecord(c);
            }
            else
            {
                c.Rtt.Measure(sampleUs);
            }

            c.Rack.LeastRoundTripUs = c.Rack.LeastRoundTripUs == 0 ? Math.Max(1, sampleUs) : Math.Max(1, Math.Min(c.Rack.LeastRoundTripUs, sampleUs));
        }
    }

    private static void DetectLoss(TcpConnection c, SentSegments sent, int newBytes, ref Delivery delivery)
    {
        TcpLayer tcp = c.Tcp;
        int segmentBytes = c.SegmentBytes;
        int lostBefore = sent.LostBytes;
        bool isRecovering = c.Recovery != RecoveryState.Open;
        long againUs = long.MaxValue;
        if (c.UsesSack)
        {
            againUs = c.Rack.Detect(sent, isRecovering, segmentBytes, c.Rtt.SmoothedUs, tcp.NowUs);
        }
        else if (newBytes == 0)
        {
            // Without SACK each duplicate stands for a segment that has left the path; the third says that the first is lost (RFC 5681 section 3.2).
            if (c.DuplicateAcks > 0)
            {
                c.RenoSackedBytes = Math.Min(c.DuplicateAcks * segmentBytes, Math.Max(0, (int)(c.SndNxt - c.SndUna) - sent.LostBytes - segmentBytes));
                delivery.Bytes += c.DuplicateAcks <= 3 || isRecovering ? segmentBytes : 0;
            }

            if (c.DuplicateAcks == 3 && !isRecovering && sent.Count > 0)
            {
                MarkFirstLost(sent, segmentBytes);
            }
        }
        else if (c.Recovery == RecoveryState.Recovery && SequenceNumber.IsBefore(c.SndUna, c.RecoveryPoint) && sent.Count > 0 && !sent.At(0).Is(SentFlags.Lost))
        {
            MarkFirstLost(sent, segmentBytes);   // a partial acknowledgment: the next hole (RFC 6582)
        }

        lostBefore += PathMtu.TakeLostProbe(c, sent);   // no sign of congestion (RFC 4821 section 7.6.2)
        bool masked = IsTailLossMasked(c, newBytes);
        if ((sent.LostBytes > lostBefore || masked) && c.Recovery == RecoveryState.Open)
        {
            Enter(c);
        }

        if (c.Recovery != RecoveryState.Open && SequenceNumber.IsAtOrAfter(c.SndUna, c.RecoveryPoint))
        {
            if (c.Recovery == RecoveryState.Recovery)
            {
                c.Congestion.Set(Math.Max(c.Congestion.ThresholdBytes, segmentBytes));
            }

            c.Recovery = RecoveryState.Open;
            c.DuplicateAcks = 0;
            c.RenoSackedBytes = 0;
            c.Rack.OnRecovered();
            SpuriousRecovery.End(c);
        }
        else if (c.Recovery == RecoveryState.Recovery)
        {
            Reduce(c, delivery.Bytes, segmentBytes);
        }
        else if (newBytes > 0 && (c.IsWindowLimited || c.Recovery == RecoveryState.Loss) && !delivery.IsMarked && !SpuriousRecovery.IsProbing(c))
        {
            c.Congestion.OnAcknowledged(
                newBytes, segmentBytes, c.SndUna, c.SndNxt, delivery.SampleSentUs >= 0 ? tcp.NowUs - delivery.SampleSentUs : 0, c.Rtt.SmoothedUs, tcp.NowUs);
        }

        c.Rack.ReorderingUs = againUs;
    }

    // A probe of the tail repaired the only loss, which nothing else shows: it was a loss all the same (RFC 8985 section 7.4.2).
    private static bool IsTailLossMasked(TcpConnection c, int newBytes)
    {
        if (!c.Rack.ProbeIsOutstanding || SequenceNumber.IsBefore(c.SndUna, c.Rack.ProbeEnd))
        {
            return false;
        }

        if (!c.Rack.ProbeIsRetransmission)
        {
            c.Rack.ProbeIsOutstanding = false;
            return false;
        }

        if (SequenceNumber.IsAfter(c.SndUna, c.Rack.ProbeEnd) && newBytes > 0)
        {
            c.Rack.ProbeIsOutstanding = false;
            return true;
        }

        return false;
    }

    private static void MarkFirstLost(SentSegments sent, int segmentBytes)
    {
        if (sent.At(0).LengthBytes > segmentBytes)
        {
            _ = sent.TrySplit(0, sent.At(0).Start + (uint)segmentBytes);
        }

        sent.MarkLost(0);
    }

    private static void Enter(TcpConnection c)
    {
        SpuriousRecovery.Begin(c, isTimeout: false);
        c.Recovery = RecoveryState.Recovery;
        c.RecoveryPoint = c.SndNxt;
        c.PrrFlight = Math.Max((int)(c.SndNxt - c.SndUna), 1);
        c.PrrDelivered = c.PrrOut = 0;
        c.Congestion.OnLoss(c.SegmentBytes);
        c.TellsReduced = c.UsesEcn;   // whatever the window is reduced for (RFC 3168 section 6.1.2)
        c.Tcp.Counters.Recoveries++;
    }

    // Proportional rate reduction (RFC 6937): the window comes down while acknowledgments come in, and never starves the retransmission.
    private static void Reduce(TcpConnection c, int deliveredBytes, int segmentBytes)
    {
        c.PrrDelivered += deliveredBytes;
        int flight = c.InFlightBytes;
        int threshold = c.Congestion.ThresholdBytes;
        long allowed;
        if (flight > threshold)
        {
            allowed = (((long)c.PrrDelivered * threshold) + c.PrrFlight - 1) / c.PrrFlight - c.PrrOut;
        }
        else
        {
            allowed = Math.Min(threshold - flight, Math.Max(c.PrrDelivered - c.PrrOut, deliveredBytes) + segmentBytes);
        }

        if (c.PrrOut == 0)
        {
            allowed = Math.Max(allowed, segmentBytes);
        }

        c.Congestion.Set(Math.Max(flight + (int)Math.Max(allowed, 0), segmentBytes));
    }
}
