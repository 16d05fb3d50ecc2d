// SPDX-License-Identifier: MIT
using Exo.Core.Net;
using Exo.Net.Cheetah.Link;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Tcp;

/// <summary>How segments leave: of connections, and answers that belong to none, so many a second.</summary>
internal sealed partial class TcpLayer
{
    private TokenBucket challenges, resets;

    /// <summary>Payload of the largest packet that may go to a peer at once.</summary>
    public int PayloadBytesMax(TcpConnection c, int segmentBytes)
    {
        int most = Link.SuperPacketBytesMax(c.Key.Remote.IsV4);
        int headers = EthernetFrame.SizeBytes + (c.Key.Remote.IsV4 ? Ipv4Packet.SizeBytes : Ipv6Packet.SizeBytes) + TcpSegment.FixedBytes + TcpOptions.BytesMax;
        return most == 0 ? segmentBytes : Math.Max(segmentBytes, (Math.Min(most, 65535) - headers) / segmentBytes * segmentBytes);
    }

    /// <summary>The MSS this side tells: what its interface takes (RFC 9293 section 3.7.1).</summary>
    public ushort OwnSegmentBytes(bool v4) =>
        (ushort)Math.Min(ushort.MaxValue, Link.MtuBytes - TcpSegment.FixedBytes - (v4 ? Ipv4Packet.SizeBytes : Ipv6Packet.SizeBytes));

    /// <summary>Hands a segment to the link. False when the device is full: come again.</summary>
    public bool TrySend(TcpConnection c, in TcpSegment segment, long offsetBytes, int payloadBytes, ReadOnlySpan<PacketSlice> payload, int segmentBytes, byte trafficClass = 0)
    {
        ushort sum = payloadBytes == 0 || Link.ComputesChecksums ? (ushort)0
            : (Options.Without & Ablations.StoredChecksums) == 0 ? c.SendQueue!.PartialSum(offsetBytes, payloadBytes)
            : Link.SumOf(payload);
        if (Link.TrySendTcp(ref c.Hop, c.Key, segment, payload, payloadBytes, sum, payloadBytes > segmentBytes ? segmentBytes : 0, trafficClass))
        {
            return true;
        }

        MakeDirty(c);
        return false;
    }

    /// <summary>A segment of no connection.</summary>
    public void SendBare(in ConnectionKey key, in TcpSegment segment)
    {
        var hop = default(MacHop);
        _ = Link.TrySendTcp(ref hop, key, segment, default, 0, 0, 0);
    }

    /// <summary>Resets a connection that has been, or is, there.</summary>
    public void SendReset(TcpConnection c)
    {
        if (c.State is TcpState.SynSent or TcpState.TimeWait)
        {
            return;
        }

        Counters.ResetsSent++;
        SendBare(c.Key, new TcpSegment(c.Key.LocalPort, c.Key.RemotePort, c.SndNxt, c.RcvNxt, TcpFlags.Rst | TcpFlags.Ack, 0, default));
    }

    /// <summary>The answer to a segment that belongs to nothing (RFC 9293 section 3.10.7.1), so many a second.</summary>
    public void SendResetFor(in ConnectionKey key, in TcpSegment segment, int lengthBytes)
    {
        if ((segment.Flags & TcpFlags.Rst) != 0 || !resets.TryTake(NowUs))
        {
            return;
        }

        Counters.ResetsSent++;
        uint end = segment.Sequence + (uint)lengthBytes
            + ((segment.Flags & TcpFlags.Syn) != 0 ? 1u : 0) + ((segment.Flags & TcpFlags.Fin) != 0 ? 1u : 0);
        SendBare(key, (segment.Flags & TcpFlags.Ack) != 0
            ? new TcpSegment(key.LocalPort, key.RemotePort, segment.Acknowledgment, 0, TcpFlags.Rst, 0, default)
            : new TcpSegment(key.LocalPort, key.RemotePort, 0, end, TcpFlags.Rst | TcpFlags.Ack, 0, default));
    }

    /// <summary>Asks a peer that may be an impostor what it really expects (RFC 5961 section 7), so many a second, and how many nobody can count.</summary>
    public void ChallengeAck(TcpConnection c)
    {
        if (NowUs - c.LastChallengeUs >= 500_000 && challenges.TryTake(NowUs))
        {
            c.LastChallengeUs = NowUs;
            Counters.ChallengeAcks++;
            SegmentOutput.SendAck(c);
        }
    }

    /// <summary>Answers a segment outside the window: at once if it brought bytes, for then the peer is behind; else sparingly, or two stacks could go on for ever.</summary>
    public void AckOutOfWindow(TcpConnection c, bool broughtBytes)
    {
        if (c.State == TcpState.SynReceived)
        {
            ChallengeAck(c);
        }
        else if (broughtBytes || NowUs - c.LastChallengeUs >= 500_000)
        {
            c.LastChallengeUs = broughtBytes ? c.LastChallengeUs : NowUs;
            SegmentOutput.SendAck(c);
        }
    }
}
