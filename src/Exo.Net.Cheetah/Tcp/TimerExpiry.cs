// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah.Tcp;

/// <summary>
/// The timers of a connection: retransmission (RFC 6298), tail loss probe (RFC 8985 section 7), reordering, window probe (RFC 9293 section 3.8.6.1),
/// delayed acknowledgment, keep-alive (section 3.8.4), and the end of FIN-WAIT-2.
/// </summary>
internal static class TimerExpiry
{
    private const int RetransmissionsMax = 15, SynRetriesMax = 6, BlackHoleAfter = 3;

    /// <summary>Something new was acknowledged, or the window changed: the send timer starts anew.</summary>
    public static void Arm(TcpConnection c)
    {
        TcpLayer tcp = c.Tcp;
        if (c.State is TcpState.SynSent or TcpState.SynReceived or TcpState.Closed)
        {
            return;
        }

        if (c.SndUna != c.SndNxt)
        {
            if (c.Rack.ReorderingUs != long.MaxValue)
            {
                c.Timer = SendTimer.Reordering;
                c.SendTimerUs = Math.Min(c.Rack.ReorderingUs, tcp.NowUs + c.Rtt.TimeoutUs);
            }
            else
            {
                ArmForLoss(c);
            }
        }
        else if (c.UnsentBytes > 0 || (c.FinQueued && !c.FinSent))
        {
            c.Timer = SendTimer.WindowProbe;
            c.SendTimerUs = tcp.NowUs + c.Rtt.TimeoutUs;
        }
        else
        {
            c.Timer = SendTimer.None;
            c.SendTimerUs = long.MaxValue;
        }

        SetDeadline(c);
    }

    /// <summary>After output: starts the timer if none runs that fits.</summary>
    public static void ArmAfterSend(TcpConnection c, bool sent)
    {
        bool waits = c.SndUna != c.SndNxt;
        bool fits = waits
            ? c.Timer is SendTimer.Retransmission or SendTimer.Reordering || (c.Timer == SendTimer.TailLossProbe && !sent)
            : c.Timer == (c.UnsentBytes > 0 || (c.FinQueued && !c.FinSent) ? SendTimer.WindowProbe : SendTimer.None);
        if (fits)
        {
            SetDeadline(c);
        }
        else
        {
            Arm(c);
        }
    }

    /// <summary>Puts the earliest of the connection's times into the wheel.</summary>
    public static void SetDeadline(TcpConnection c) =>
        c.Tcp.Wheel.Set(c, Math.Min(c.SendTimerUs, Math.Min(c.DelayedAckUs, c.IdleUs)));

    /// <summary>The wheel says that one of the times has come.</summary>
    public static void Run(TcpConnection c)
    {
        TcpLayer tcp = c.Tcp;
        if (tcp.IsAnsweredElsewhere(c))
        {
            return;
        }

        if (c.DelayedAckUs <= tcp.NowUs)
        {
            c.DelayedAckUs = long.MaxValue;
            c.AckNow = true;
            tcp.MakeDirty(c);
        }

        if (c.IdleUs <= tcp.NowUs)
        {
            Idle(c);
        }

        if (c.State != TcpState.Closed && c.SendTimerUs <= tcp.NowUs)
        {
            SendTimer timer = c.Timer;
            c.Timer = SendTimer.None;
            c.SendTimerUs = long.MaxValue;
            switch (timer)
            {
                case SendTimer.Retransmission when c.State is TcpState.SynSent or TcpState.SynReceived:
                    Syn(c);
                    break;
                case SendTimer.Retransmission:
                    Retransmission(c);
                    break;
                case SendTimer.TailLossProbe:
                    TailLossProbe(c);
                    break;
                case SendTimer.Reordering:
                    Reordering(c);
                    break;
                case SendTimer.WindowProbe:
                    WindowProbe(c);
                    break;
            }
        }

        if (c.State != TcpState.Closed)
        {
            SetDeadline(c);
        }
    }

    private static void ArmForLoss(TcpConnection c)
    {
        long now = c.Tcp.NowUs;
        long timeoutUs = now + c.Rtt.TimeoutUs;
        c.Timer = SendTimer.Retransmission;
        c.SendTimerUs = timeoutUs;
        if (c.UsesSack && c.Recovery == RecoveryState.Open && c.Sent is { SackedBytes: 0, LostBytes: 0 }
            && c.Rtt.SmoothedUs > 0 && c.Rtt.Backoff == 0 && !c.Rack.ProbeIsOutstanding)
        {
            long probeUs = now + Math.Max(2 * c.Rtt.SmoothedUs, 2_000) + (c.SndNxt - c.SndUna <= c.SegmentBytes ? 40_000 : 0);
            if (probeUs < timeoutUs)
            {
                c.Timer = SendTimer.TailLossProbe;
                c.SendTimerUs = probeUs;
            }
        }
    }

    private static void Syn(TcpConnection c)
    {
        if (c.SynRetries >= SynRetriesMax)
        {
            c.Tcp.Close(c, TcpCloseReason.TimedOut);
            return;
        }

        c.SynRetries++;
        c.AsksEcn = false;   // perhaps somebody on the way drops what asks (RFC 3168 section 6.1.1.1)
        c.Rtt.BackOff();
        c.Tcp.Link.Doubt(c.Key.Remote);
        SegmentOutput.SendSyn(c);
    }

    // RFC 6298 section 5, RFC 5681 section 3.1. What was under way counts as lost, and the first segment goes again.
    private static void Retransmission(TcpConnection c)
    {
        TcpLayer tcp = c.Tcp;
        if (c.Sent is not { Count: > 0 } sent)
        {
            return;
        }

        if (c.Rtt.Backoff >= RetransmissionsMax)
        {
            tcp.Close(c, TcpCloseReason.TimedOut);
            return;
        }

        tcp.Counters.Timeouts++;
        bool isFirst = c.Recovery != RecoveryState.Loss || SequenceNumber.IsAtOrAfter(c.SndUna, c.RecoveryPoint);
        if (c.Recovery == RecoveryState.Open)
        {
            SpuriousRecovery.Begin(c, isTimeout: true);
        }
        else
        {
            SpuriousRecovery.OnTimeoutAgain(c);
        }

        c.Congestion.OnTimeout(isFirst, c.SegmentBytes);
        c.Recovery = RecoveryState.Loss;
        c.RecoveryPoint = c.SndNxt;
        c.TellsReduced = c.UsesEcn;
        c.DuplicateAcks = c.RenoSackedBytes = 0;
        c.Rack.ProbeIsOutstanding = false;
        c.Rack.ReorderingUs = long.MaxValue;
        if (sent.At(0).Is(SentFlags.Sacked))
        {
            sent.ForgetSacks();   // the peer has taken back what it had (RFC 2018 section 8)
        }

        c.Rtt.BackOff();
        if (c.Rtt.Backoff > 1)
        {
            tcp.Link.Doubt(c.Key.Remote);
        }

        if (c.Rtt.Backoff > BlackHoleAfter)
        {
            PathMtu.SuspectBlackHole(c);
        }

        sent.MarkAllLost();
        _ = PathMtu.TakeLostProbe(c, sent);
        tcp.MakeDirty(c);
    }

    // The last segment again, or a new one if there is: its acknowledgment shows what else is missing.
    private static void TailLossProbe(TcpConnection c)
    {
        TcpLayer tcp = c.Tcp;
        if (c.Sent is not { Count: > 0 } sent)
        {
            return;
        }

        int last = sent.Count - 1;
        int segmentBytes = c.SegmentBytes;
        bool hasNew = c.UnsentBytes > 0 && (long)c.SndWnd - (c.SndNxt - c.SndUna) >= Math.Min(segmentBytes, c.UnsentBytes);
        if (!hasNew)
        {
            if (sent.At(last).LengthBytes > segmentBytes && sent.TrySplit(last, sent.At(last).End - (uint)segmentBytes))
            {
                last++;
            }

            sent.MarkLost(last);
            _ = PathMtu.TakeLostProbe(c, sent);
        }

        int window = c.Congestion.WindowBytes;
        c.Rack.ProbeIsOutstanding = true;
        c.Congestion.Set(c.InFlightBytes + segmentBytes);   // one segment, whatever the window
        SegmentOutput.Run(c);
        c.Congestion.Set(window);
        c.Rack.ProbeEnd = c.SndNxt;
        c.Rack.ProbeIsRetransmission = !hasNew;
        tcp.Counters.TailLossProbes++;
        c.Timer = SendTimer.Retransmission;
        c.SendTimerUs = tcp.NowUs + c.Rtt.TimeoutUs;
    }

    private static void Reordering(TcpConnection c)
    {
        TcpLayer tcp = c.Tcp;
        c.Rack.ReorderingUs = long.MaxValue;
        if (c.Sent is { } sent)
        {
            Acknowledgment.LookForLoss(c, sent);
        }

        Arm(c);
        tcp.MakeDirty(c);
    }

    private static void WindowProbe(TcpConnection c)
    {
        TcpLayer tcp = c.Tcp;
        if (c.SndWnd > 0)
        {
            // A window too small to be worth a segment, for too long: take what there is.
            c.ProbeCount++;
            tcp.MakeDirty(c);
        }
        else
        {
            if (c.IsAbandoned && c.ProbeCount++ >= RetransmissionsMax)
            {
                tcp.Close(c, TcpCloseReason.TimedOut);
                return;
            }

            // A peer that answers may keep its window closed as long as it likes (RFC 9293 section 3.8.6.1); one that is silent may not.
            if (tcp.NowUs - c.LastReceivedUs > TcpLayer.SilenceUs)
            {
                tcp.Close(c, TcpCloseReason.TimedOut);
                return;
            }

            SegmentOutput.SendProbe(c);
        }

        c.Rtt.BackOff();
        Arm(c);
    }

    private static void Idle(TcpConnection c)
    {
        TcpLayer tcp = c.Tcp;
        c.IdleUs = long.MaxValue;
        if (c.State == TcpState.FinWait2)
        {
            // A half-closed connection may be silent for as long as it likes; one that nobody listens to may not.
            if (c.IsAbandoned)
            {
                tcp.Close(c, TcpCloseReason.TimedOut);
            }
            else
            {
                c.IdleUs = tcp.NowUs + TcpLayer.FinWait2Us;
            }

            return;
        }

        if (tcp.KeepAliveUs == 0)
        {
            return;
        }

        long silentUs = tcp.NowUs - c.LastReceivedUs;
        if (silentUs < tcp.KeepAliveUs || c.SndUna != c.SndNxt)
        {
            c.ProbeCount = silentUs < tcp.KeepAliveUs ? 0 : c.ProbeCount;
            c.IdleUs = silentUs < tcp.KeepAliveUs ? c.LastReceivedUs + tcp.KeepAliveUs : tcp.NowUs + tcp.KeepAliveProbeUs;
        }
        else if (c.ProbeCount >= tcp.Options.KeepAliveProbes)
        {
            tcp.SendReset(c);
            tcp.Close(c, TcpCloseReason.TimedOut);
        }
        else
        {
            c.ProbeCount++;
            SegmentOutput.SendProbe(c);
            c.IdleUs = tcp.NowUs + tcp.KeepAliveProbeUs;
        }
    }
}
