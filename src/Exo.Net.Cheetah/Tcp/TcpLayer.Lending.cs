// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;
using Exo.Net.Cheetah.Tcp.Answers;

namespace Exo.Net.Cheetah.Tcp;

/// <summary>
/// Connections that a handler has, so that it answers requests where packets come in (<see cref="AnswerTable"/>). One is lent when everything that was to be said has been said; it is taken back
/// before anything here looks at it or changes it. Then it has the numbers that the handler came to, and the last answer, which may be lost, is under way as if it had been sent here.
/// </summary>
internal sealed partial class TcpLayer
{
    private TcpConnection?[] lent = [];

    /// <summary>The whole window, rounded up, so that its right edge does not go back.</summary>
    public ushort WholeWindow(byte scale) => (ushort)Math.Min((Options.ReceiveWindowBytes + (1 << scale) - 1) >> scale, ushort.MaxValue);

    /// <summary>Lends a connection that has nothing left to say, if there is a place for it.</summary>
    public void TryLend(TcpConnection c)
    {
        if (Answers is not { } table || c.LentPlace >= 0 || !IsQuiet(c))
        {
            return;
        }

        if (lent.Length == 0)
        {
            lent = new TcpConnection?[AnswerTable.Connections];
        }

        int place = table.PlaceOf(c.Key);
        if (lent[place] is not null)
        {
            return;
        }

        table.Connection(place) = new LentConnection
        {
            Names = ConnectionNames.Of(c.Key),
            ReceiveNext = c.RcvNxt,
            SendNext = c.SndNxt,
            RecentTimestamp = c.RecentTimestamp,
            TimestampOffset = (uint)c.NameHash,
            PeerScale = c.SndScale,
            SegmentBytes = (uint)c.SegmentBytes,
            Window = (ushort)System.Net.IPAddress.HostToNetworkOrder((short)WholeWindow(c.RcvScale)),
        };
        lent[place] = c;
        c.LentPlace = place;
        table.Lend(place);
    }

    /// <summary>Takes a connection back if a handler has it. It may end by that: there may be no frames for what the handler said last.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Reclaim(TcpConnection c)
    {
        if (c.LentPlace >= 0)
        {
            TakeBack(c);
        }
    }

    /// <summary>Takes back what the place's answer was given to last, since its bytes are about to change.</summary>
    public void ReclaimAnswered(int answerPlace)
    {
        foreach (TcpConnection? c in lent)
        {
            if (c is not null && Answers!.Connection(c.LentPlace).LastAnswer == answerPlace + 1)
            {
                TakeBack(c);
                MakeDirty(c);
            }
        }
    }

    /// <summary>Takes everything back, since the interface is another than it was; what still may be is lent again.</summary>
    public void ReclaimAll()
    {
        foreach (TcpConnection? c in lent)
        {
            if (c is not null)
            {
                TakeBack(c);
                MakeDirty(c);
            }
        }
    }

    /// <summary>
    /// Whether a timer that has run out has nothing to do, since a handler has answered the peer lately: everything from here is acknowledged, and if the last answer was lost the
    /// peer asks again. Otherwise the connection is taken back.
    /// </summary>
    public bool IsAnsweredElsewhere(TcpConnection c)
    {
        if (c.LentPlace < 0)
        {
            return false;
        }

        ref LentConnection there = ref Answers!.Connection(c.LentPlace);
        if (Volatile.Read(ref there.Count) > 0 && c.IdleUs > NowUs && NowUs - Volatile.Read(ref there.LastUs) is >= 0 and long since && since < c.Rtt.TimeoutUs)
        {
            c.SendTimerUs = NowUs + c.Rtt.TimeoutUs - since;
            TimerExpiry.SetDeadline(c);
            return true;
        }

        TakeBack(c);
        MakeDirty(c);   // lent again when it has been looked at
        return c.State == TcpState.Closed;
    }

    private static bool IsQuiet(TcpConnection c) =>
        c is { State: TcpState.Established, UsesTimestamps: true, UsesEcn: false, FinQueued: false, PeerFinKnown: false, Received: null, IsReceivePaused: false, AckNow: false, IsDirty: false, Recovery: RecoveryState.Open }
        && c.LastAckSent == c.RcvNxt && c.UnsentBytes == 0 && c.Sent is null or { LostBytes: 0, SackedBytes: 0 } && c.DelayedAckUs == long.MaxValue;

    private void TakeBack(TcpConnection c)
    {
        AnswerTable table = Answers!;
        int place = c.LentPlace;
        table.Recall(place);
        LentConnection there = table.Connection(place);
        lent[place] = null;
        c.LentPlace = -1;
        if (there.Count == 0)
        {
            return;
        }

        // The first request that was answered acknowledged everything that had been sent here.
        if (c.SendQueue is { } queue)
        {
            queue.Acknowledge(queue.LengthBytes, Releases);
            ReturnSendIfEmpty(c);
        }

        Counters.BytesAcknowledged += there.LastSend - c.SndUna;
        ReturnSent(c);
        ReturnRecord(c);
        c.Rtt.Resume();
        c.ProbeCount = c.DuplicateAcks = c.RenoSackedBytes = c.SynRetries = 0;
        c.Rack.ProbeIsOutstanding = false;
        c.Rack.ReorderingUs = long.MaxValue;
        c.SndUna = c.SndNxt = there.LastSend;
        c.RcvNxt = c.LastAckSent = there.ReceiveNext;
        c.RcvEdge = SequenceNumber.Later(c.RcvEdge, c.RcvNxt + ((uint)(ushort)System.Net.IPAddress.NetworkToHostOrder((short)there.Window) << c.RcvScale));
        c.SndWnd = (int)there.PeerWindow;
        c.MaxSndWnd = Math.Max(c.MaxSndWnd, c.SndWnd);
        c.SndWl1 = there.LastReceive;
        c.SndWl2 = there.LastSend;
        c.RecentTimestamp = there.RecentTimestamp;
        c.RecentTimestampUs = c.LastReceivedUs = c.LastSentUs = c.LastAnswerUs = there.LastUs;
        c.UnackedReceivedBytes = 0;

        Span<byte> response = stackalloc byte[AnswerTable.ResponseBytesMax];
        response = response[..table.CopyResponse(there, response)];
        Invariant.Check(there.LastSend + (uint)response.Length == there.SendNext);
        if (!TryQueueCopy(c, response))
        {
            c.Abort();
            return;
        }

        c.TakenOverBytes += response.Length;
        c.Sent = TakeSent();
        c.Sent.Add(there.LastSend, there.SendNext, there.LastUs);
        c.SndNxt = there.SendNext;
        TimerExpiry.Arm(c);
    }
}
