// SPDX-License-Identifier: MIT
using Exo.Net.Cheetah.Link;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Tcp;

/// <summary>
/// Segments for a port that listens, and the end of a handshake that a peer began (RFC 9293 section 3.10.7.2, RFC 4987). When more
/// handshakes are half done than the stack keeps, the answer is a cookie and nothing is kept.
/// </summary>
internal static class PassiveOpen
{
    public static void Take(TcpLayer tcp, ITcpHandler handler, in ConnectionKey key, in TcpSegment segment, PacketBytes payload, uint issAtLeast)
    {
        if ((segment.Flags & TcpFlags.Rst) != 0)
        {
            return;
        }

        if ((segment.Flags & TcpFlags.Ack) != 0)
        {
            if ((segment.Flags & TcpFlags.Syn) != 0 || !(TryCookie(tcp, handler, key, segment, payload) || IsAhead(tcp, key, segment)))
            {
                tcp.SendResetFor(key, segment, payload.LengthBytes);
            }

            return;
        }

        if ((segment.Flags & TcpFlags.Syn) == 0 || tcp.Table.Count >= tcp.Options.ConnectionsMax)
        {
            return;
        }

        if (tcp.HalfOpenCount >= tcp.Options.HalfOpenMax)
        {
            SendCookie(tcp, key, segment);
            return;
        }

        var c = new TcpConnection(tcp, key, handler) { State = TcpState.SynReceived, IsAccepted = true };
        tcp.Begin(c, tcp.InitialSequence(key, issAtLeast));
        TakeSyn(c, segment);
        c.UsesEcn = tcp.Options.Ecn != EcnUse.Never && CongestionMarks.IsAsked(segment);
        tcp.HalfOpenCount++;
        SegmentOutput.SendSyn(c);
    }

    /// <summary>What a peer's SYN says, kept (RFC 9293 section 3.10.7.2 and 3, RFC 7323 sections 2 and 3, RFC 2018).</summary>
    public static void TakeSyn(TcpConnection c, in TcpSegment syn)
    {
        TcpOptions options = syn.Options;
        c.Irs = syn.Sequence;
        c.RcvNxt = syn.Sequence + 1;
        c.RcvEdge = c.RcvNxt + (uint)Math.Min(c.Tcp.Options.ReceiveWindowBytes, ushort.MaxValue);
        c.LastAckSent = c.RcvNxt;
        c.PeerSegmentBytes = options.MaximumSegmentBytes != 0 ? Math.Max(options.MaximumSegmentBytes, (ushort)64) : c.Key.Remote.IsV4 ? 536 : 1220;
        c.UsesSack = options.SackPermitted;
        c.UsesTimestamps = options.HasTimestamps;
        c.RecentTimestamp = options.Timestamp;
        c.RecentTimestampUs = c.Tcp.NowUs;
        c.SndScale = options.HasWindowScale ? options.WindowScale : (byte)0;
        c.RcvScale = options.HasWindowScale ? c.Tcp.WindowScale : (byte)0;
        c.SndWnd = syn.Window;   // never scaled in a SYN
        c.MaxSndWnd = syn.Window;
        c.SndWl1 = syn.Sequence;
        c.LastReceivedUs = c.Tcp.NowUs;
    }

    /// <summary>Our SYN has been acknowledged: SYN-RECEIVED becomes ESTABLISHED. False when the handler ended the connection.</summary>
    public static bool Complete(TcpConnection c, in TcpSegment segment)
    {
        TcpLayer tcp = c.Tcp;
        if (c.IsAccepted)
        {
            tcp.HalfOpenCount--;
        }

        Establish(c, segment, segment.Window << c.SndScale);
        return c.State != TcpState.Closed;
    }

    /// <summary>From here on bytes may flow.</summary>
    public static void Establish(TcpConnection c, in TcpSegment segment, int windowBytes)
    {
        TcpLayer tcp = c.Tcp;
        c.State = c.FinQueued ? TcpState.FinWait1 : TcpState.Established;
        c.SndUna = c.Iss + 1;
        c.SndWnd = windowBytes;
        c.MaxSndWnd = Math.Max(c.MaxSndWnd, windowBytes);
        c.SndWl1 = segment.Sequence;
        c.SndWl2 = segment.Acknowledgment;
        c.Timer = SendTimer.None;
        c.SendTimerUs = long.MaxValue;
        if (c.SynRetries == 0 && c.LastSentUs > 0)
        {
            c.Rtt.Measure(tcp.NowUs - c.LastSentUs);
        }
        else if (c.SynRetries > 0)
        {
            c.Rtt.SynWasLost();
        }

        c.Rtt.Resume();
        c.Congestion.Begin(c.SegmentBytes, c.SynRetries > 1);
        c.SynRetries = 0;
        if (tcp.KeepAliveUs > 0)
        {
            c.IdleUs = tcp.NowUs + tcp.KeepAliveUs;
        }

        TimerExpiry.Arm(c);
        tcp.Counters.ConnectionsOpened++;
        tcp.Counters.EcnConnections += c.UsesEcn ? 1 : 0;
        c.Handler.OnOpened(c);
        if (c.State != TcpState.Closed)
        {
            tcp.MakeDirty(c);
        }
    }

    private static void SendCookie(TcpLayer tcp, in ConnectionKey key, in TcpSegment syn)
    {
        tcp.Counters.CookiesSent++;
        uint iss = tcp.Cookies.Make(key, syn.Sequence, syn.Options.MaximumSegmentBytes, tcp.NowUs);
        TcpOptions options = syn.Options;
        uint stamp = options.HasTimestamps
            ? SynCookies.Stamp((uint)(tcp.NowUs / 1000) + tcp.TimestampOffsetOf(key), options)
            : 0;
        var answer = new TcpSegment(
            key.LocalPort, key.RemotePort, iss, syn.Sequence + 1, TcpFlags.Syn | TcpFlags.Ack, (ushort)Math.Min(tcp.Options.ReceiveWindowBytes, ushort.MaxValue),
            new TcpOptions(
                MaximumSegmentBytes: tcp.OwnSegmentBytes(key.Remote.IsV4),
                HasWindowScale: options.HasTimestamps && options.HasWindowScale,
                WindowScale: options.HasTimestamps && options.HasWindowScale ? tcp.WindowScale : (byte)0,
                SackPermitted: options.HasTimestamps && options.SackPermitted,
                HasTimestamps: options.HasTimestamps, Timestamp: stamp, TimestampEcho: options.Timestamp));
        tcp.SendBare(key, answer);
    }

    // The third segment of a handshake of which nothing was kept but what it brings back itself.
    private static bool TryCookie(TcpLayer tcp, ITcpHandler handler, in ConnectionKey key, in TcpSegment segment, PacketBytes payload)
    {
        if (tcp.Table.Count >= tcp.Options.ConnectionsMax
            || !tcp.Cookies.TryRead(key, segment.Sequence - 1, segment.Acknowledgment - 1, tcp.NowUs, out ushort segmentBytes))
        {
            return false;
        }

        tcp.Counters.CookiesAccepted++;
        TcpOptions told = SynCookies.OptionsOf(segment.Options);
        var c = new TcpConnection(tcp, key, handler) { State = TcpState.SynReceived };
        tcp.Begin(c, segment.Acknowledgment - 1);
        TakeSyn(c, segment with { Sequence = segment.Sequence - 1, Options = told with { MaximumSegmentBytes = segmentBytes } });
        SegmentArrival.Take(c, segment, payload, isMarked: false);   // the request may come with it
        return true;
    }

    // Where every handshake ends with a cookie, the segment that brings it may be lost, or overtaken by the next: then the peer sends it again, and must not be reset. What such a
    // peer echoes is our clock as it was a moment ago, which nobody else can tell.
    private static bool IsAhead(TcpLayer tcp, in ConnectionKey key, in TcpSegment segment) =>
        tcp.Cookies.AreMadeElsewhere && segment.Options.HasTimestamps
        && (uint)(tcp.NowUs / 1000) + tcp.TimestampOffsetOf(key) - segment.Options.TimestampEcho < 3_000;
}
