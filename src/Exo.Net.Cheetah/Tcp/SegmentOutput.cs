// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;
using Exo.Core.Net;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Tcp;

/// <summary>
/// What a connection may send now (RFC 9293 sections 3.7 and 3.8): first what is lost, then what is new, then an acknowledgment if none
/// went along. Packets are merged by what is known: a FIN rides on the last bytes, an acknowledgment on whatever goes, and as many segments
/// as the windows allow leave as one super-packet.
/// </summary>
internal static class SegmentOutput
{
    private const int SlicesMax = 32;

    public static void Run(TcpConnection c)
    {
        if (c.State is TcpState.Closed or TcpState.SynSent or TcpState.SynReceived or TcpState.TimeWait)
        {
            return;
        }

        c.Tcp.Reclaim(c);
        if (c.State == TcpState.Closed)
        {
            return;
        }

        bool sent = SendLost(c);
        sent |= SendNew(c);
        if (c.AckNow)
        {
            SendAck(c);
        }

        TimerExpiry.ArmAfterSend(c, sent);
    }

    // Segments believed lost, in order, as far as the congestion window allows. True when something went.
    private static bool SendLost(TcpConnection c)
    {
        if (c.Sent is not { LostBytes: > 0 } sent || SpuriousRecovery.IsProbing(c))
        {
            return false;
        }

        bool any = false;
        int segmentBytes = c.SegmentBytes;
        for (int index = sent.FirstLost(); index >= 0; index = sent.FirstLost())
        {
            int flight = c.InFlightBytes;
            int room = c.Congestion.WindowBytes - flight;
            uint start = sent.At(index).Start;
            if ((room < segmentBytes && flight > 0) || (index > 0 && start - c.SndUna >= (uint)c.SndWnd))
            {
                break;
            }

            int most = Math.Max(segmentBytes, Math.Min(room, c.Tcp.PayloadBytesMax(c, segmentBytes)) / segmentBytes * segmentBytes);
            int bytes = Math.Min(sent.At(index).LengthBytes, most);
            int went = Send(c, start, bytes, segmentBytes, isNew: false);
            if (went == 0)
            {
                break;
            }

            SpuriousRecovery.OnResent(c, start, went, sent.At(index).Is(SentFlags.Retransmitted));
            sent.MarkResent(index, went, c.Tcp.NowUs);
            c.PrrOut += went;
            c.Tcp.Counters.BytesResent += went;
            any = true;
        }

        return any;
    }

    private static bool SendNew(TcpConnection c)
    {
        bool any = false;
        int segmentBytes = c.SegmentBytes;
        int most = c.Tcp.PayloadBytesMax(c, segmentBytes);
        c.IsWindowLimited = false;
        while (true)
        {
            long unsent = c.UnsentBytes;
            bool finWaits = c.FinQueued && !c.FinSent;
            if (unsent == 0 && !finWaits)
            {
                break;
            }

            int flight = c.InFlightBytes;
            int window = (int)Math.Max(0, c.SndWnd - (long)(c.SndNxt - c.SndUna));
            int congestion = flight == 0 ? Math.Max(c.Congestion.WindowBytes, segmentBytes) : c.Congestion.WindowBytes - flight;
            int bytes = (int)Math.Min(Math.Min(unsent, most), Math.Min(window, Math.Max(congestion, 0)));
            int probe = c.Search is { } search ? PathMtu.ProbeBytes(c, search, window) : 0;
            if (probe > 0)
            {
                c.IsWindowLimited = true;
                if (congestion < probe && flight > 0)
                {
                    break;
                }

                bytes = probe;
            }
            else if (bytes < unsent)
            {
                c.IsWindowLimited |= congestion < Math.Min(unsent, most) + segmentBytes && congestion <= window;
                if (bytes >= segmentBytes)
                {
                    bytes -= bytes % segmentBytes;
                }
                else if (!(bytes > 0 && window < segmentBytes && flight == 0 && (bytes >= c.MaxSndWnd / 2 || c.ProbeCount > 0)))
                {
                    break;   // sender's silly window avoidance (RFC 9293 section 3.8.6.2.1)
                }
            }
            else if (unsent > 0 && congestion < bytes + segmentBytes)
            {
                c.IsWindowLimited = true;
            }

            if (bytes == 0 && !(unsent == 0 && finWaits && (window > 0 || flight == 0)))
            {
                break;
            }

            bytes = c.TellsReduced ? Math.Min(bytes, segmentBytes) : bytes;   // CWR goes with one segment alone: not every device that cuts knows that the others go without
            int withFin = bytes + (bytes == unsent && finWaits ? 1 : 0);
            uint start = c.SndNxt;
            RestartAfterIdle(c, segmentBytes);
            int went = Send(c, start, withFin, Math.Max(segmentBytes, probe), isNew: true);
            if (went == 0)
            {
                break;
            }

            c.Sent ??= c.Tcp.TakeSent();
            bool isProbe = probe > 0 && went > segmentBytes;
            c.Sent.Add(start, start + (uint)went, c.Tcp.NowUs, isProbe ? SentFlags.Probe : SentFlags.None);
            if (isProbe)
            {
                PathMtu.OnProbeSent(c, c.Search!, went);
            }

            c.SndNxt = start + (uint)went;
            c.FinSent |= went == bytes + 1 && withFin > bytes;
            c.PrrOut += went;
            if (c.FinSent)
            {
                c.Tcp.AllowFarewell(c);
            }

            any = true;
        }

        return any;
    }

    private static void RestartAfterIdle(TcpConnection c, int segmentBytes)
    {
        if (c.SndUna == c.SndNxt && c.LastSentUs > 0 && c.Tcp.NowUs - c.LastSentUs > c.Rtt.TimeoutUs)
        {
            c.Congestion.OnIdle(segmentBytes);
            c.Tcp.ReturnRecord(c);
        }
    }

    // Sends stream bytes from a sequence number on, a FIN behind the last byte included in the count. Returns how much of it went. Packets with new data may be marked on
    // their way (RFC 3168 section 6.1.5).
    [SkipLocalsInit]   // of the slices only those gathered are looked at
    private static int Send(TcpConnection c, uint start, int count, int segmentBytes, bool isNew)
    {
        TcpLayer tcp = c.Tcp;
        long offset = start - c.SndUna;
        long queued = c.SendQueue?.LengthBytes ?? 0;
        int payloadBytes = (int)Math.Min(count, queued - offset);
        bool fin = payloadBytes < count;
        Span<PacketSlice> slices = stackalloc PacketSlice[SlicesMax];
        int sliceCount = 0;
        if (payloadBytes > 0)
        {
            sliceCount = c.SendQueue!.Gather(offset, payloadBytes, slices[..Math.Min(SlicesMax, tcp.Link.PayloadSlicesMax)], out int gathered);
            if (gathered < payloadBytes)
            {
                // Too many pieces for one packet: so much of it as makes whole segments, or what there is.
                payloadBytes = gathered >= segmentBytes ? gathered / segmentBytes * segmentBytes : gathered;
                fin = false;
                sliceCount = c.SendQueue.Gather(offset, payloadBytes, slices[..sliceCount], out gathered);
                Invariant.Check(gathered == payloadBytes);
            }
        }

        bool isLast = offset + payloadBytes == queued;
        bool mayBeMarked = isNew && c.UsesEcn && payloadBytes > 0;
        TcpFlags flags = TcpFlags.Ack | (mayBeMarked && c.TellsReduced ? TcpFlags.Cwr : 0) | (fin ? TcpFlags.Fin : 0) | (isLast && payloadBytes > 0 ? TcpFlags.Psh : 0);
        TcpOptions options = StampOf(c);
        if (payloadBytes < segmentBytes && c.Received is { RangeCount: > 0 })
        {
            options = WithSacks(c, options, segmentBytes - payloadBytes);
        }

        TcpSegment segment = Head(c, start, flags, options);
        if (!tcp.TrySend(c, segment, offset, payloadBytes, slices[..sliceCount], segmentBytes, mayBeMarked ? CongestionMarks.Capable : (byte)0))
        {
            return 0;
        }

        c.TellsReduced &= !mayBeMarked;
        Acknowledged(c);
        c.LastSentUs = tcp.NowUs;
        tcp.Counters.BytesSent += payloadBytes;
        return payloadBytes + (fin ? 1 : 0);
    }

    /// <summary>A segment that only acknowledges, with what has come out of order.</summary>
    public static void SendAck(TcpConnection c)
    {
        TcpSegment segment = Head(c, c.SndNxt, TcpFlags.Ack, WithSacks(c, StampOf(c), int.MaxValue));
        if (c.Tcp.TrySend(c, segment, 0, 0, default, 0))
        {
            Acknowledged(c);
        }
    }

    /// <summary>A segment in front of the window: whoever gets it must answer with what it expects and its window. For probes and keep-alives.</summary>
    public static void SendProbe(TcpConnection c) =>
        _ = c.Tcp.TrySend(c, Head(c, c.SndUna - 1, TcpFlags.Ack, StampOf(c)), 0, 0, default, 0);

    /// <summary>The SYN, or the SYN and ACK, of a connection; again when it was lost.</summary>
    public static void SendSyn(TcpConnection c)
    {
        TcpLayer tcp = c.Tcp;
        bool answers = c.State == TcpState.SynReceived;
        bool scales = !answers || c.RcvScale > 0 || c.SndScale > 0;
        var options = new TcpOptions(
            MaximumSegmentBytes: tcp.OwnSegmentBytes(c.Key.Remote.IsV4),
            HasWindowScale: scales, WindowScale: scales ? tcp.WindowScale : (byte)0,
            SackPermitted: c.UsesSack, HasTimestamps: c.UsesTimestamps,
            Timestamp: c.UsesTimestamps ? tcp.TimestampOf(c) : 0, TimestampEcho: answers && c.UsesTimestamps ? c.RecentTimestamp : 0);
        var syn = new TcpSegment(
            c.Key.LocalPort, c.Key.RemotePort, c.Iss, answers ? c.RcvNxt : 0, (answers ? TcpFlags.Syn | TcpFlags.Ack : TcpFlags.Syn) | CongestionMarks.OfSyn(c),
            (ushort)Math.Min(tcp.Options.ReceiveWindowBytes, ushort.MaxValue), options);
        _ = tcp.TrySend(c, syn, 0, 0, default, 0);
        c.LastSentUs = tcp.NowUs;
        c.Timer = SendTimer.Retransmission;
        c.SendTimerUs = tcp.NowUs + c.Rtt.TimeoutUs;
        TimerExpiry.SetDeadline(c);
    }

    private static TcpSegment Head(TcpConnection c, uint sequence, TcpFlags flags, in TcpOptions options)
    {
        int window = c.ReceiveWindowBytes;
        int told = (int)(c.RcvEdge - c.RcvNxt);
        int scaled = window >> c.RcvScale;
        if (scaled << c.RcvScale < told)
        {
            scaled = (told + (1 << c.RcvScale) - 1) >> c.RcvScale;   // rounding must not take back what was told
        }

        scaled = Math.Min(scaled, ushort.MaxValue);
        c.RcvEdge = SequenceNumber.Later(c.RcvEdge, c.RcvNxt + (uint)(scaled << c.RcvScale));
        flags |= c.EchoesMark ? TcpFlags.Ece : 0;
        return new TcpSegment(c.Key.LocalPort, c.Key.RemotePort, sequence, c.RcvNxt, flags, (ushort)scaled, options);
    }

    private static void Acknowledged(TcpConnection c)
    {
        c.LastAckSent = c.RcvNxt;
        c.AckNow = false;
        c.DelayedAckUs = long.MaxValue;
        c.UnackedReceivedBytes = 0;
        c.Tcp.DuplicateSack = default;
    }

    private static TcpOptions StampOf(TcpConnection c) => !c.UsesTimestamps ? default : new TcpOptions(
        HasTimestamps: true, Timestamp: c.Tcp.TimestampOf(c), TimestampEcho: c.RecentTimestamp);

    // The block that came last first, then the others (RFC 2018 section 4); in front of all what came twice (RFC 2883).
    private static TcpOptions WithSacks(TcpConnection c, TcpOptions options, int roomBytes)
    {
        SackBlock duplicate = c.Tcp.DuplicateSack;
        int ranges = c.Received?.RangeCount ?? 0;
        int most = Math.Min(c.UsesTimestamps ? 3 : 4, (Math.Min(roomBytes, 36) - 4) / 8);
        if (!c.UsesSack || most <= 0 || (ranges == 0 && duplicate == default))
        {
            return options;
        }

        Span<SackBlock> blocks = stackalloc SackBlock[4];
        int count = 0;
        if (duplicate != default)
        {
            blocks[count++] = duplicate;
            c.Tcp.Counters.DuplicateSacksSent++;
        }

        if (ranges > 0)
        {
            int last = c.Received!.LastRange;
            for (int i = 0; i < ranges && count < most; i++)
            {
                blocks[count++] = c.Received.Range((last + i) % ranges);
            }
        }

        return options with
        {
            SackCount = count,
            Sack0 = blocks[0],
            Sack1 = count > 1 ? blocks[1] : default,
            Sack2 = count > 2 ? blocks[2] : default,
            Sack3 = count > 3 ? blocks[3] : default,
        };
    }
}
