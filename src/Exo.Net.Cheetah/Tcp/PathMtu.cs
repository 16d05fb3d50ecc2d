// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah.Tcp;

/// <summary>
/// How large a path's packets may be: what routers say (RFC 1191, RFC 8201), and what silence suggests (RFC 2923). A path that was found small may grow: after
/// a time one segment of the next larger size goes among the others, and if it arrives all are as large (RFC 4821, RFC 8899). If it does not, that says nothing of congestion.
/// <code>
///   smaller --Shrink--> wait --RetryUs--> TryProbe --arrived--> larger, the next size at once
///                        ^------------------- lost ---'
/// </code>
/// </summary>
internal static class PathMtu
{
    private const int SegmentsBehind = 4;   // so many more show that a probe is lost (RFC 4821 section 7.4)

    // RFC 1191 section 7.1, and what tunnels and DSL leave of Ethernet's 1500.
    private static ReadOnlySpan<int> Plateaus => [576, 1006, 1280, 1400, 1492, 1500, 4352, 8166];

    /// <summary>An ICMP error that quotes a segment of ours (RFC 5927): believed only when the quoted number is under way.</summary>
    public static void TakeError(TcpLayer tcp, in ConnectionKey key, uint sequence, bool isHard, int mtuBytes)
    {
        if (tcp.Table.Find(key) is not { } c)
        {
            return;
        }

        tcp.Reclaim(c);
        if (SequenceNumber.IsBefore(sequence, c.SndUna) || !SequenceNumber.IsBefore(sequence, c.SndNxt))
        {
            return;
        }

        if (mtuBytes > 0)
        {
            Shrink(c, mtuBytes);
        }
        else if (isHard && c.State is TcpState.SynSent)
        {
            tcp.Close(c, TcpCloseReason.Unreachable);
        }
    }

    /// <summary>Segments of full size vanish again and again: perhaps the path takes only smaller ones, and says nothing (RFC 2923, RFC 8899).</summary>
    public static void SuspectBlackHole(TcpConnection c)
    {
        for (int i = Plateaus.Length - 1; i >= 0; i--)
        {
            int plateau = Plateaus[i];
            if (plateau is not (1492 or 1500) && plateau < Math.Min(c.PathMtuBytes, c.Tcp.Link.MtuBytes) && (plateau >= 1280 || c.Key.Remote.IsV4))
            {
                Shrink(c, plateau);
                return;
            }
        }
    }

    /// <summary>
    /// Whether it is time to try a larger segment, and there is enough behind it to tell what becomes of it. It goes when the congestion window has room for it, which is waited for.
    /// </summary>
    /// <param name="c">A connection whose path was found small.</param>
    /// <param name="search">Its search.</param>
    /// <param name="windowBytes">What the peer's window has room for.</param>
    /// <returns>Bytes of the segment; 0: not now.</returns>
    public static int ProbeBytes(TcpConnection c, PathSearch search, int windowBytes)
    {
        TcpLayer tcp = c.Tcp;
        if (search.ProbedMtuBytes != 0 || tcp.NowUs < search.RetryUs || !c.UsesSack || c.Recovery != RecoveryState.Open || c.TellsReduced || c.Rack.ProbeIsOutstanding || c.Sent is { LostBytes: > 0 } or { SackedBytes: > 0 })
        {
            return 0;
        }

        int segmentBytes = c.SegmentBytes;
        int bytes = c.SegmentBytesIn(NextMtu(c));
        int behindBytes = SegmentsBehind * segmentBytes;
        return bytes > segmentBytes && Math.Min(Math.Min(c.UnsentBytes, windowBytes), c.Congestion.WindowBytes) >= bytes + behindBytes ? bytes : 0;
    }

    /// <summary>A larger segment has left.</summary>
    public static void OnProbeSent(TcpConnection c, PathSearch search, int bytes)
    {
        search.ProbedMtuBytes = c.PathMtuBytes + bytes - c.SegmentBytes;
        c.Tcp.Counters.PathMtuProbes++;
    }

    /// <summary>It has arrived: the path takes packets of that size.</summary>
    public static void OnProbeArrived(TcpConnection c)
    {
        if (c.Search is { ProbedMtuBytes: > 0 } search)
        {
            c.PathMtuBytes = search.ProbedMtuBytes;
            search.ProbedMtuBytes = 0;
            c.Tcp.Counters.PathMtuRaises++;
        }
    }

    /// <summary>Bytes of a larger segment that is believed lost since this was last asked. It goes again in smaller ones.</summary>
    public static int TakeLostProbe(TcpConnection c, SentSegments sent)
    {
        int bytes = sent.TakeLostProbe();
        if (bytes > 0 && c.Search is { } search)
        {
            Wait(c, search);
        }

        return bytes;
    }

    // The next larger size that is worth a try.
    private static int NextMtu(TcpConnection c)
    {
        foreach (int plateau in Plateaus)
        {
            if (plateau > c.PathMtuBytes)
            {
                return Math.Min(plateau, c.Tcp.Link.MtuBytes);
            }
        }

        return c.Tcp.Link.MtuBytes;
    }

    private static void Wait(TcpConnection c, PathSearch search)
    {
        search.ProbedMtuBytes = 0;
        search.RetryUs = c.Tcp.PathMtuRetryUs == 0 ? long.MaxValue : c.Tcp.NowUs + c.Tcp.PathMtuRetryUs;
    }

    // RFC 1191 section 6.5, RFC 8201: smaller segments from now on, and what was too large goes again at once.
    private static void Shrink(TcpConnection c, int mtuBytes)
    {
        int least = c.Key.Remote.IsV4 ? 552 : 1280;
        mtuBytes = Math.Max(mtuBytes, least);
        if (mtuBytes >= Math.Min(c.PathMtuBytes, c.Tcp.Link.MtuBytes))
        {
            return;
        }

        c.Tcp.Counters.PathMtuReductions++;
        c.PathMtuBytes = mtuBytes;
        if (c.Sent is { } sent)
        {
            sent.MarkAllLost();
            _ = sent.TakeLostProbe();
        }

        Wait(c, c.Search ??= new PathSearch());
        c.Tcp.ReturnRecord(c);   // what was too large was lost in earnest
        c.Tcp.MakeDirty(c);
    }
}
