// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah.Tcp;

/// <summary>How large a path's packets may be: what routers say (RFC 1191, RFC 8201), and what silence suggests (RFC 2923).</summary>
internal static class PathMtu
{
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
        ReadOnlySpan<int> plateaus = [8166, 4352, 1400, 1280, 1006, 576];
        foreach (int plateau in plateaus)
        {
            if (plateau < Math.Min(c.PathMtuBytes, c.Tcp.Link.MtuBytes) && (plateau >= 1280 || c.Key.Remote.IsV4))
            {
                Shrink(c, plateau);
                return;
            }
        }
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
        c.Sent?.MarkAllLost();
        c.Tcp.ReturnRecord(c);   // what was too large was lost in earnest
        c.Tcp.MakeDirty(c);
    }
}
