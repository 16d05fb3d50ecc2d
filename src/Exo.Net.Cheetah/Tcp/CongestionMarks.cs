// SPDX-License-Identifier: MIT
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Tcp;

/// <summary>
/// Explicit congestion notification (RFC 3168, RFC 8311). Both sides must have said in their SYNs that they know it.
/// <code>
///   this side                              path                    peer
///     new data, ECT(0)  ------------------> CE ------------------>  EchoesMark
///     window * 0.85 once per flight  &lt;----- ECE on every segment --  |
///     TellsReduced: CWR on new data  ----------------------------->  until then
/// </code>
/// </summary>
internal static class CongestionMarks
{
    /// <summary>The codepoint of packets that may be marked, ECT(0), and of those that are, CE: the low bits of the traffic class (RFC 3168 section 5).</summary>
    public const byte Capable = 2, Marked = 3;

    private const TcpFlags Setup = TcpFlags.Ece | TcpFlags.Cwr;

    /// <summary>The packet has been marked.</summary>
    public static bool IsMarked(byte trafficClass) => (trafficClass & Marked) == Marked;

    /// <summary>The peer's SYN asks for it (section 6.1.1).</summary>
    public static bool IsAsked(in TcpSegment syn) => (syn.Flags & Setup) == Setup;

    /// <summary>The peer's SYN and ACK grants it. With both bits it is a mirror of the SYN, by somebody who does not know what they mean.</summary>
    public static bool IsGranted(in TcpSegment answer) => (answer.Flags & Setup) == TcpFlags.Ece;

    /// <summary>What the own SYN, or SYN and ACK, says of it.</summary>
    public static TcpFlags OfSyn(TcpConnection c) => c.State == TcpState.SynReceived ? (c.UsesEcn ? TcpFlags.Ece : 0) : c.AsksEcn ? Setup : 0;

    /// <summary>Bytes of the window have come (section 6.1.3). Whoever sends them hears of a mark at once, and until it says that it has slowed down.</summary>
    public static void TakeData(TcpConnection c, TcpFlags flags, bool isMarked)
    {
        if ((flags & TcpFlags.Cwr) != 0 && c.EchoesMark)
        {
            c.EchoesMark = false;
            c.AckNow = true;
        }

        if (isMarked)
        {
            c.Tcp.Counters.CongestionMarks++;
            c.AckNow |= !c.EchoesMark;
            c.EchoesMark = true;
        }
    }

    /// <summary>The peer says that packets of this side were marked: one reduction for all that was under way (section 6.1.2), and none where a recovery reduces already.</summary>
    public static void TakeEcho(TcpConnection c, uint acknowledged)
    {
        TcpLayer tcp = c.Tcp;
        tcp.ReturnRecord(c);   // congestion is no matter of doubt (RFC 4015 section 3.2, step 8)
        if (c.Recovery == RecoveryState.Open && SequenceNumber.IsAfter(acknowledged, c.RecoveryPoint))
        {
            c.Congestion.OnMark(c.SegmentBytes);
            c.RecoveryPoint = c.SndNxt;
            c.TellsReduced = true;
            tcp.Counters.MarkReductions++;
        }
    }
}
