// SPDX-License-Identifier: MIT
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Tcp;

/// <summary>Connections this side begins: the SYN, and segments in SYN-SENT (RFC 9293 sections 3.10.1 and 3.10.7.3).</summary>
internal static class ActiveOpen
{
    public static TcpConnection Begin(TcpLayer tcp, in ConnectionKey key, ITcpHandler handler, object? tag)
    {
        var c = new TcpConnection(tcp, key, handler)
        {
            State = TcpState.SynSent,
            Tag = tag,
            UsesSack = true,
            UsesTimestamps = true,
            AsksEcn = tcp.Options.Ecn == EcnUse.Ask,
            RcvScale = tcp.WindowScale,
            PeerSegmentBytes = key.Remote.IsV4 ? 536 : 1220,
        };
        tcp.Begin(c, tcp.InitialSequence(key, 0));
        SegmentOutput.SendSyn(c);
        return c;
    }

    public static void Take(TcpConnection c, in TcpSegment segment, int lengthBytes)
    {
        TcpLayer tcp = c.Tcp;
        bool hasAck = (segment.Flags & TcpFlags.Ack) != 0;
        bool isAckAcceptable = hasAck && segment.Acknowledgment == c.SndNxt;
        if (hasAck && !isAckAcceptable)
        {
            tcp.SendResetFor(c.Key, segment, lengthBytes);
            return;
        }

        if ((segment.Flags & TcpFlags.Rst) != 0)
        {
            if (hasAck && c.AsksEcn)
            {
                c.AsksEcn = false;   // some refuse what they do not know (RFC 3168 section 6.1.1.1)
                SegmentOutput.SendSyn(c);
            }
            else if (hasAck)
            {
                tcp.Close(c, TcpCloseReason.Refused);   // without an acknowledgment of ours anybody could have made it
            }

            return;
        }

        if ((segment.Flags & TcpFlags.Syn) == 0)
        {
            return;
        }

        bool scales = segment.Options.HasWindowScale;
        PassiveOpen.TakeSyn(c, segment);
        c.RcvScale = scales ? tcp.WindowScale : (byte)0;
        c.UsesEcn = c.AsksEcn && (hasAck ? CongestionMarks.IsGranted(segment) : CongestionMarks.IsAsked(segment));
        if (hasAck)
        {
            c.AckNow = true;
            PassiveOpen.Establish(c, segment, segment.Window);
            return;
        }

        // Both sides asked at the same time (RFC 9293 figure 8).
        c.State = TcpState.SynReceived;
        SegmentOutput.SendSyn(c);
    }
}
