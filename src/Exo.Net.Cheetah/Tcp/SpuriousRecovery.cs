// SPDX-License-Identifier: MIT
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Tcp;

/// <summary>
/// Recoveries from losses that were none: the path was late or out of order. They are told by timestamps (Eifel, RFC 3522), without these after a
/// time-out by what acknowledges new segments (F-RTO, RFC 5682), and by duplicate SACKs for everything that was sent again (RFC 2883, RFC 3708). Then the
/// congestion control is what it was (RFC 4015, RFC 9438 section 4.9), and what was believed lost and not sent again counts as under way.
/// </summary>
internal static class SpuriousRecovery
{
    private const int BurstSegments = 10;   // no more than an initial window leaves at once (RFC 4015 section 3.2, step 8)

    /// <summary>A recovery begins, and the congestion control has not been told yet.</summary>
    public static void Begin(TcpConnection c, bool isTimeout)
    {
        c.Record ??= c.Tcp.TakeRecord();
        c.Record.Begin(c.Congestion, isTimeout, c.UsesTimestamps, c.Tcp.NowUs);
    }

    /// <summary>
    /// The timer has expired during a recovery. After the first time-out what is known stays true, but forward RTO-recovery is not for what follows once
    /// something has been acknowledged (RFC 5682 section 3.1, step 1); after losses seen through acknowledgments nothing tells which of the two was in vain.
    /// </summary>
    public static void OnTimeoutAgain(TcpConnection c)
    {
        if (c.Recovery == RecoveryState.Recovery)
        {
            c.Tcp.ReturnRecord(c);
        }
        else if (c.Record is { Forward: ForwardStep.Second } record)
        {
            record.Forward = ForwardStep.None;
        }
    }

    /// <summary>A recovery has ended as if its losses had been real.</summary>
    public static void End(TcpConnection c)
    {
        if (c.Record is not { Phase: RecordPhase.Recovering } record)
        {
            return;
        }

        if (record.AwaitsDuplicates && c.UsesSack)
        {
            record.Phase = RecordPhase.Ended;
            record.PhaseStart = c.SndNxt;
            record.AwaitsEcho = false;
            record.Forward = ForwardStep.None;
        }
        else
        {
            c.Tcp.ReturnRecord(c);
        }
    }

    /// <summary>Bytes have been sent again.</summary>
    public static void OnResent(TcpConnection c, uint start, int bytes, bool wasResentBefore)
    {
        if (c.Recovery != RecoveryState.Open && c.Record is { Phase: RecordPhase.Recovering } record)
        {
            record.AddResent(new SackBlock(start, start + (uint)bytes), c.UsesTimestamps ? c.Tcp.TimestampOf(c) : 0, wasResentBefore);
        }
    }

    /// <summary>New segments go instead of lost ones.</summary>
    public static bool IsProbing(TcpConnection c) => c.Record is { Forward: ForwardStep.Second };

    /// <summary>What an acknowledgment tells of the last recovery, SND.UNA and the scoreboard being up to date.</summary>
    public static void Examine(TcpConnection c, RecoveryRecord record, in TcpSegment segment, int newBytes, in Delivery delivery)
    {
        if (record.Phase == RecordPhase.AwaitsSample)
        {
            return;
        }

        if (record.HasAllComeTwice || (newBytes > 0 && record.AwaitsEcho && IsEchoEarlier(c, record, segment, delivery)) || (record.Forward != ForwardStep.None && IsLateAnyway(c, record, newBytes, delivery)))
        {
            Undo(c, record);
        }
        else if (record.Phase == RecordPhase.Ended && SequenceNumber.IsAfter(c.SndUna, record.PhaseStart))
        {
            c.Tcp.ReturnRecord(c);   // whatever has come twice has been told by now
        }
    }

    // RFC 3522 section 3.2: what is acknowledged was sent before it was sent again.
    private static bool IsEchoEarlier(TcpConnection c, RecoveryRecord record, in TcpSegment segment, in Delivery delivery)
    {
        if (!record.HasResent || !SequenceNumber.IsAfter(c.SndUna, record.FirstStart))
        {
            return false;
        }

        if (!segment.Options.HasTimestamps || segment.Options.TimestampEcho == 0 || !SequenceNumber.IsBefore(segment.Options.TimestampEcho, record.FirstStamp))
        {
            record.AwaitsEcho = false;
            return false;
        }

        // Where the answers to a whole flight were lost, the answer to the retransmission has an old echo, too (step 5). With several holes only the last of them decides.
        return !delivery.HasDuplicate && (c.SawDuplicateSack || c.SndUna != c.SndNxt) && SequenceNumber.IsAtOrAfter(c.SndUna, record.LastEnd);
    }

    // RFC 5682 section 3.1 and, without SACK, 2.1.
    private static bool IsLateAnyway(TcpConnection c, RecoveryRecord record, int newBytes, in Delivery delivery)
    {
        if (newBytes == 0 && delivery.Bytes == 0)
        {
            record.Forward = c.UsesSack || c.DuplicateAcks == 0 ? record.Forward : ForwardStep.None;
            return false;
        }

        int segmentBytes = c.SegmentBytes;
        if (record.Forward == ForwardStep.First)
        {
            if (newBytes > 0)
            {
                bool hasNew = c.UnsentBytes > 0 && (long)c.SndWnd - (c.SndNxt - c.SndUna) >= Math.Min(segmentBytes, c.UnsentBytes);
                record.Forward = hasNew && SequenceNumber.IsBefore(c.SndUna, c.RecoveryPoint) ? ForwardStep.Second : ForwardStep.None;
                record.ForwardPoint = c.SndNxt;
                if (record.Forward == ForwardStep.Second)
                {
                    c.Congestion.Set(c.InFlightBytes + (2 * segmentBytes));
                }
            }

            return false;
        }

        bool isBeyond = SequenceNumber.IsAfter(c.SndUna, record.ForwardPoint)
            || (c.Sent is { SackedBytes: > 0 } sent && SequenceNumber.IsAfter(sent.HighestSacked, record.ForwardPoint));
        if (!isBeyond && delivery.SampleSentUs >= 0)
        {
            return true;   // of what was sent once only, before the time-out
        }

        record.Forward = ForwardStep.None;
        c.Congestion.Set(Math.Min(c.Congestion.WindowBytes, 3 * segmentBytes));
        return false;
    }

    private static void Undo(TcpConnection c, RecoveryRecord record)
    {
        TcpLayer tcp = c.Tcp;
        c.Sent?.ForgetLost();
        c.Rack.ForgetNewest();
        c.RecoveryPoint = c.SndUna;
        c.TellsReduced = false;
        if (c.Recovery != RecoveryState.Open)
        {
            c.Recovery = RecoveryState.Open;
            c.DuplicateAcks = c.RenoSackedBytes = 0;
        }

        int segmentBytes = c.SegmentBytes;
        c.Congestion.Restore(record.Before, c.InFlightBytes + (BurstSegments * segmentBytes), tcp.NowUs - record.BeganUs);
        if (record.IsTimeout)
        {
            tcp.Counters.SpuriousTimeouts++;
            c.Rtt.Resume();
            record.Phase = RecordPhase.AwaitsSample;
            record.PhaseStart = c.SndNxt;
            record.Forward = ForwardStep.None;
        }
        else
        {
            tcp.Counters.SpuriousRecoveries++;
            c.Rack.OnReordering();
            tcp.ReturnRecord(c);
        }

        TimerExpiry.Arm(c);
        tcp.MakeDirty(c);
    }
}
