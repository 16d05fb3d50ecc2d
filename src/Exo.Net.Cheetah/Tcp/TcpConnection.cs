// SPDX-License-Identifier: MIT
using System.Net;
using Exo.Core.Net;
using Exo.Net.Cheetah.Link;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Tcp;

/// <summary>How the sender recovers from loss (RFC 5681, RFC 6675, RFC 8985).</summary>
internal enum RecoveryState : byte
{
    /// <summary>Nothing is believed lost.</summary>
    Open,

    /// <summary>Loss was seen through acknowledgments; ends when what was under way then is acknowledged.</summary>
    Recovery,

    /// <summary>The retransmission timer has expired.</summary>
    Loss,
}

/// <summary>What the retransmission timer of a connection is running for; it can be one thing at a time.</summary>
internal enum SendTimer : byte
{
    None,
    Retransmission,
    TailLossProbe,
    Reordering,
    WindowProbe,
}

/// <summary>
/// One TCP connection. Only the thread that polls its stack may touch it. Queues exist only while there is something in them, so an idle
/// connection is this object alone. The rules are written as verbs in files of their own, by the part of RFC 9293 they follow:
/// <c>PassiveOpen</c>, <c>ActiveOpen</c>, <c>SegmentArrival</c>, <c>Acknowledgment</c>, <c>SpuriousRecovery</c>, <c>DataArrival</c>, <c>SegmentOutput</c>,
/// <c>TimerExpiry</c>.
/// </summary>
public sealed class TcpConnection
{
    internal readonly TcpLayer Tcp;
    internal readonly ConnectionKey Key;
    internal readonly ITcpHandler Handler;

    // RFC 9293 section 3.3.1. SND.NXT never goes back: what is sent again is found in Sent.
    internal uint SndUna, SndNxt, SndWl1, SndWl2, Iss;
    internal int SndWnd, MaxSndWnd;
    internal uint RcvNxt, RcvEdge, Irs;      // RcvEdge = the highest RCV.NXT + RCV.WND ever told; it never goes back
    internal uint LastAckSent;

    internal byte SndScale, RcvScale;
    internal bool UsesTimestamps, UsesSack;
    internal bool AsksEcn, UsesEcn;          // the SYN asks; both sides agreed
    internal bool EchoesMark, TellsReduced;  // ECE until the peer has slowed down; CWR with the next new data
    internal uint RecentTimestamp;
    internal ulong NameHash;                 // the keyed hash of the names; its lower half is the offset of timestamps
    internal int FarewellSlot = -1;          // where the handler may acknowledge the peer's FIN
    internal int LentPlace = -1;             // where a handler has it; what is here is as it was then
    internal bool MayBeLent;                 // nothing but whole requests has come, and whoever answers them would have them answered
    internal long LastAnswerUs;              // when a handler answered last, as far as is known here; 0 = it did not
    internal long TakenOverBytes;            // answers of the handler's that were queued here, in all
    internal long RecentTimestampUs;
    internal int PeerSegmentBytes;           // the MSS the peer told
    internal int PathMtuBytes;
    internal PathSearch? Search;             // present once the path was found small

    internal SendQueue? SendQueue;           // present exactly while bytes are queued
    internal SentSegments? Sent;             // present exactly while something is under way
    internal ReceiveQueue? Received;         // present exactly while bytes wait
    internal bool FinQueued, FinSent, PeerFinished;
    internal uint PeerFin;                   // sequence number of the peer's FIN, once seen, perhaps before the bytes in front of it
    internal bool PeerFinKnown, PeerClosedTold;

    internal RoundTripTimer Rtt;
    internal CubicCongestion Congestion;
    internal RecoveryState Recovery;
    internal RecoveryRecord? Record;         // of the last recovery, while it may still prove to have been in vain
    internal bool SawDuplicateSack;          // the peer tells what comes twice
    internal uint RecoveryPoint;             // SND.NXT when the window was reduced last, by loss or by a mark
    internal int DuplicateAcks, RenoSackedBytes;
    internal int PrrDelivered, PrrOut, PrrFlight;
    internal bool IsWindowLimited;
    internal RackState Rack = new() { ReorderingUs = long.MaxValue };

    internal SendTimer Timer;
    internal long SendTimerUs = long.MaxValue, DelayedAckUs = long.MaxValue, IdleUs = long.MaxValue;
    internal int UnackedReceivedBytes, ProbeCount;
    internal bool AckNow, IsDirty, IsReceivePaused, IsInCallback, IsAbandoned, IsAccepted, SkipsTimeWait;
    internal long LastReceivedUs, LastSentUs;
    internal int SynRetries, ReceiveAccountedBytes;
    internal long LastChallengeUs = long.MinValue / 2;

    internal MacHop Hop;

    // Intrusive links.
    internal TcpConnection? NextInTable, WheelNext, WheelPrevious;
    internal long DeadlineUs = long.MaxValue, WheelTick;
    internal int WheelSlot = -1;

    internal TcpConnection(TcpLayer tcp, in ConnectionKey key, ITcpHandler handler)
    {
        Tcp = tcp;
        Key = key;
        Handler = handler;
    }

    /// <summary>Where the connection stands.</summary>
    public TcpState State { get; internal set; }

    /// <summary>The handler's own.</summary>
    public object? Tag { get; set; }

    /// <summary>This side's address and port.</summary>
    public IPEndPoint LocalEndPoint => new(Key.Local.ToIPAddress(), Key.LocalPort);

    /// <summary>The peer's address and port.</summary>
    public IPEndPoint RemoteEndPoint => new(Key.Remote.ToIPAddress(), Key.RemotePort);

    /// <summary>Bytes queued and not acknowledged.</summary>
    public long QueuedBytes => SendQueue?.LengthBytes ?? 0;

    /// <summary>The peer has sent its last byte and all of them were handed up.</summary>
    public bool HasPeerClosed => PeerFinished;

    /// <summary>Bytes may be queued: the connection is open in this direction.</summary>
    public bool CanSend => !FinQueued && State is TcpState.Established or TcpState.CloseWait or TcpState.SynSent or TcpState.SynReceived;

    /// <summary>The smoothed round-trip time; zero before the first measurement.</summary>
    public TimeSpan RoundTrip => TimeSpan.FromMicroseconds(Rtt.SmoothedUs);

    /// <summary>The congestion window in bytes.</summary>
    public int CongestionWindowBytes => Congestion.WindowBytes;

    /// <summary>
    /// Queues a copy of bytes; it lies in frames until acknowledged. What goes out in one poll leaves together.
    /// </summary>
    /// <returns>False when the pool has no frames for it; nothing is queued then.</returns>
    /// <exception cref="InvalidOperationException">The connection is closed in this direction.</exception>
    public bool TrySend(ReadOnlySpan<byte> bytes)
    {
        Tcp.Reclaim(this);
        ThrowUnlessCanSend();
        return bytes.IsEmpty || Tcp.TryQueueCopy(this, bytes);
    }

    /// <summary>
    /// Queues bytes where they lie in frames of the device's pool: nothing is copied or, after a while, allocated, and what is lost is sent again from there. Each frame has one holder more until all bytes of the call are acknowledged or
    /// given up with the connection. Until then they must not change, but the caller may let go of its own hold at once.
    /// </summary>
    /// <param name="bytes">Pieces, in order, none of them empty; the vector itself is not kept.</param>
    /// <param name="released">Called once, on the stack's thread and from where anything may be called, when this connection holds the frames no longer; perhaps after <see cref="ITcpHandler.OnClosed"/>. Null: nobody. Before bytes are written anew
    /// a device that sends from frames (<see cref="NetworkDeviceFeatures.TransmitsFromFrames"/>) must be done with them, too, which <see cref="Exo.Core.Memory.FramePool.ReferenceCount"/> tells.</param>
    /// <param name="state">What <paramref name="released"/> is called with.</param>
    /// <exception cref="ArgumentException">A piece is empty, or not in allocated frames of the pool, or there is none; nothing is queued, and nobody will be called.</exception>
    /// <exception cref="InvalidOperationException">The connection is closed in this direction; likewise.</exception>
    public void Send(ReadOnlySpan<PacketSlice> bytes, Action<object?>? released = null, object? state = null)
    {
        Tcp.Reclaim(this);
        if (bytes.IsEmpty)
        {
            throw new ArgumentException("There is nothing to send.", nameof(bytes));
        }

        Tcp.QueueFrames(this, bytes, released, state);
    }

    /// <summary>Nothing more will be sent: a FIN follows the last queued byte, on the same segment. Bytes still come in. A second call does nothing.</summary>
    public void CloseSend()
    {
        Tcp.Reclaim(this);
        if (FinQueued || State is TcpState.Closed or TcpState.TimeWait)
        {
            return;
        }

        if (State == TcpState.SynSent)
        {
            Tcp.Close(this, TcpCloseReason.Aborted);
            return;
        }

        FinQueued = true;
        State = State == TcpState.CloseWait ? TcpState.LastAck : State == TcpState.SynReceived ? State : TcpState.FinWait1;
        Tcp.MakeDirty(this);
    }

    /// <summary>Closes, and throws away what still comes in: the peer's close is waited for, but not its bytes.</summary>
    public void Close()
    {
        CloseSend();
        if (State != TcpState.Closed)
        {
            IsAbandoned = true;
            IsReceivePaused = false;
            DataArrival.HandUp(this);
        }
    }

    /// <summary>
    /// Gives up at once: queued bytes are dropped and the peer gets a reset, unless both sides have closed and nothing but the acknowledgment of the last FIN is missing (RFC 9293
    /// section 3.10.5): a reset could only take from the peer's application what has arrived.
    /// </summary>
    public void Abort()
    {
        Tcp.Reclaim(this);
        if (State != TcpState.Closed)
        {
            if (!(State is TcpState.Closing or TcpState.LastAck && FinSent && QueuedBytes == 0))
            {
                Tcp.SendReset(this);
            }

            Tcp.Close(this, TcpCloseReason.Aborted);
        }
    }

    /// <summary>Bytes that come are kept, and the window closes, until <see cref="ResumeReceive"/>.</summary>
    public void PauseReceive()
    {
        Tcp.Reclaim(this);
        IsReceivePaused = true;
    }

    /// <summary>Hands up what was kept and what comes from now on.</summary>
    public void ResumeReceive()
    {
        IsReceivePaused = false;
        DataArrival.HandUp(this);
    }

    internal void ThrowUnlessCanSend()
    {
        if (!CanSend)
        {
            throw new InvalidOperationException($"The connection is closed for sending ({State}).");
        }
    }

    /// <summary>Bytes under way, by the sender's best knowledge.</summary>
    internal int InFlightBytes => Sent is null ? 0 : (int)(SndNxt - SndUna) - Sent.SackedBytes - Sent.LostBytes - RenoSackedBytes;

    /// <summary>Bytes queued and never sent.</summary>
    internal long UnsentBytes => SendQueue is null ? 0 : SendQueue.LengthBytes - (SndNxt - SndUna - (FinSent ? 1u : 0));

    /// <summary>Payload bytes of a full segment, with the options every segment carries taken off.</summary>
    internal int SegmentBytes => SegmentBytesIn(PathMtuBytes);

    /// <summary>The same for packets of a size.</summary>
    internal int SegmentBytesIn(int mtuBytes)
    {
        int ip = Key.Remote.IsV4 ? Ipv4Packet.SizeBytes : Ipv6Packet.SizeBytes;
        int room = Math.Min(mtuBytes, Tcp.Link.MtuBytes) - ip - TcpSegment.FixedBytes;
        return Math.Max(Math.Min(room, PeerSegmentBytes) - (UsesTimestamps ? TcpOptions.TimestampsBytes : 0), 32);
    }

    /// <summary>The window to tell now: what the application has not taken is not offered again, and the right edge never goes back.</summary>
    internal int ReceiveWindowBytes
    {
        get
        {
            int told = (int)(RcvEdge - RcvNxt);
            int room = Tcp.Options.ReceiveWindowBytes - (Received?.LengthBytes ?? 0);

            // Receiver's silly window avoidance (RFC 9293 section 3.8.6.2.2): open in steps worth a segment.
            return room - told >= Math.Min(Tcp.Options.ReceiveWindowBytes / 2, 2 * PeerSegmentBytes) ? room : Math.Max(told, 0);
        }
    }
}
