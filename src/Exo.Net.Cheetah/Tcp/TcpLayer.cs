// SPDX-License-Identifier: MIT
using System.Diagnostics.CodeAnalysis;
using Exo.Core.Net;
using Exo.Net.Cheetah.Link;
using Exo.Net.Cheetah.Tcp.Answers;
using Exo.Net.Cheetah.Tcp.Handshake;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Tcp;

/// <summary>
/// All connections of one stack: finds the one a segment is for, hands out queues from pools, and lets those that have something to say speak once
/// per poll. One thread. What queues are made of is in TcpLayer.Queues.cs, how segments leave in TcpLayer.Departure.cs.
/// </summary>
internal sealed partial class TcpLayer : IDisposable
{
    private const int FirstEphemeralPort = 32768, EphemeralPorts = 28232;

    private readonly NetworkStack stack;
    private readonly SipHash hash;
    // By address and port; ListenPoint.AllV4 and All stand for addresses that have no entry of their own.
    private readonly Dictionary<ListenPoint, ITcpHandler> listeners = [];
    private readonly List<TcpConnection> expired = [];
    private List<TcpConnection> dirty = [];
    private List<TcpConnection> running = [];

    public TcpLayer(NetworkStack stack, NetworkStackOptions options, LinkInterface link, ulong key0, ulong key1)
    {
        this.stack = stack;
        Options = options;
        Link = link;
        hash = new SipHash(key0, key1);
        Table = new ConnectionTable(key0 ^ 0x9E37_79B9_7F4A_7C15, key1 | 1);
        TimeWaits = new TimeWaitTable(options.TimeWaitMax, Table);
        Cookies = new SynCookies(new CookieSecrets(stack.NextSecret));
        Wheel = new TimerWheel(stack.NowUs);
        arena = new SendArena(link.Frames);
        challenges = new TokenBucket(options.ChallengeAcksPerSecond, stack.NowUs);
        resets = new TokenBucket(options.ResetsPerSecond, stack.NowUs);
        WindowScale = 0;
        while (options.ReceiveWindowBytes >> WindowScale > ushort.MaxValue)
        {
            WindowScale++;
        }

        DelayedAckUs = (long)options.DelayedAcknowledgment.TotalMicroseconds;
        TimeWaitUs = (long)options.TimeWait.TotalMicroseconds;
        PathMtuRetryUs = (long)options.PathMtuRetry.TotalMicroseconds;
        KeepAliveUs = (long)options.KeepAlive.TotalMicroseconds;
        KeepAliveProbeUs = (long)(options.KeepAliveInterval ?? TimeSpan.FromMicroseconds(Math.Max(1_000_000, Math.Min(75_000_000, KeepAliveUs)))).TotalMicroseconds;
    }

    public NetworkStackOptions Options { get; }

    public LinkInterface Link { get; }

    public ConnectionTable Table { get; }

    public TimeWaitTable TimeWaits { get; }

    public TimerWheel Wheel { get; }

    public SynCookies Cookies { get; }

    /// <summary>What initial sequence numbers and timestamps are drawn with.</summary>
    public SipHash Hash => hash;

    /// <summary>Connections whose last FIN a handler may acknowledge; null = there is no handler.</summary>
    public FarewellTable? Farewells { get; set; }

    /// <summary>What a handler answers, and the connections that it has; null = it answers nothing.</summary>
    public AnswerTable? Answers { get; set; }

    public DeferredReleases Releases { get; } = new();

    public TcpCounters Counters { get; } = new();

    public long NowUs => stack.NowUs;

    public byte WindowScale { get; }

    public long DelayedAckUs { get; }

    public long TimeWaitUs { get; }

    public long PathMtuRetryUs { get; }

    public long KeepAliveUs { get; }

    public long KeepAliveProbeUs { get; }

    /// <summary>How long a connection that nobody listens to waits for the peer's FIN.</summary>
    public const long FinWait2Us = 60_000_000;

    /// <summary>How long a peer with a closed window may be silent to probes.</summary>
    public const long SilenceUs = 600_000_000;

    public int HalfOpenCount { get; set; }

    /// <summary>What came twice, to be told with the next acknowledgment of the same connection; set and used within one segment.</summary>
    public SackBlock DuplicateSack { get; set; }

    /// <summary>Connections that wait for the end of the poll to speak.</summary>
    public bool HasDirty => dirty.Count > 0;

    // Ports.

    public void Listen(ListenPoint point, ITcpHandler handler)
    {
        if (!listeners.TryAdd(point, handler))
        {
            throw new InvalidOperationException($"Port {point.Port} is listened on already.");
        }
    }

    /// <summary>Nobody listens there any more: handshakes that peers have begun with whom did are reset, and nobody hears of them.</summary>
    public void StopListening(ListenPoint point)
    {
        if (listeners.Remove(point) && HalfOpenCount > 0)
        {
            foreach (TcpConnection c in Table.ToList())
            {
                if (c is { State: TcpState.SynReceived, IsAccepted: true } && !(TryFindListener(c.Key.Local, c.Key.LocalPort, out ITcpHandler? handler) && handler == c.Handler))
                {
                    c.Abort();
                }
            }
        }
    }

    /// <summary>Whether somebody listens at the port, at whichever address.</summary>
    public bool IsListening(ushort port)
    {
        foreach (ListenPoint point in listeners.Keys)
        {
            if (point.Port == port)
            {
                return true;
            }
        }

        return false;
    }

    // The one that says most about the address.
    private bool TryFindListener(InternetAddress local, ushort port, [NotNullWhen(true)] out ITcpHandler? handler) =>
        listeners.TryGetValue(new ListenPoint(local, port), out handler)
        || (local.IsV4 && listeners.TryGetValue(new ListenPoint(ListenPoint.AllV4, port), out handler))
        || listeners.TryGetValue(new ListenPoint(ListenPoint.All, port), out handler);

    /// <param name="local">The address to connect from.</param>
    /// <param name="localPort">The port to connect from; 0 = one that is free.</param>
    /// <param name="remote">The peer's address.</param>
    /// <param name="remotePort">The peer's port.</param>
    /// <param name="handler">Whom to call.</param>
    /// <param name="tag">The handler's own.</param>
    /// <param name="mayUse">Lets a local port through, or not; null lets all through.</param>
    public TcpConnection Connect(InternetAddress local, ushort localPort, InternetAddress remote, ushort remotePort, ITcpHandler handler, object? tag, Func<ushort, bool>? mayUse)
    {
        if (localPort != 0)
        {
            var named = new ConnectionKey(local, localPort, remote, remotePort);
            return IsFree(named) && mayUse?.Invoke(localPort) != false ? ActiveOpen.Begin(this, named, handler, tag) : throw new InvalidOperationException($"Port {localPort} is in use towards that peer, or listened on.");
        }

        // RFC 6056 section 3.3.4: where the search begins depends on the peer and a secret.
        uint start = (uint)hash.Of(new ConnectionKey(local, 0, remote, remotePort), 2) + (uint)stack.NextRandom();
        for (uint i = 0; i < EphemeralPorts; i++)
        {
            var key = new ConnectionKey(local, (ushort)(FirstEphemeralPort + ((start + i) % EphemeralPorts)), remote, remotePort);
            if (IsFree(key) && mayUse?.Invoke(key.LocalPort) != false)
            {
                return ActiveOpen.Begin(this, key, handler, tag);
            }
        }

        throw new InvalidOperationException("All ports to that peer are in use.");
    }

    private bool IsFree(in ConnectionKey key) => Table.Find(key) is null && TimeWaits.Find(key) < 0 && !TryFindListener(key.Local, key.LocalPort, out _);

    // Arrival.

    /// <summary>A segment whose checksum is right; its packet may have been marked (RFC 3168).</summary>
    public void Take(InternetAddress source, InternetAddress destination, in TcpSegment segment, PacketBytes payload, bool isMarked)
    {
        Counters.SegmentsReceived++;
        var key = new ConnectionKey(destination, segment.DestinationPort, source, segment.SourcePort);
        if (Table.Find(key) is { } connection)
        {
            Reclaim(connection);
            if (connection.State == TcpState.Closed)
            {
                return;
            }

            if (connection.State == TcpState.SynSent)
            {
                ActiveOpen.Take(connection, segment, payload.LengthBytes);
            }
            else
            {
                SegmentArrival.Take(connection, segment, payload, isMarked);
            }

            DuplicateSack = default;
            return;
        }

        uint issAtLeast = 0;
        int waiting = TimeWaits.Find(key);
        if (waiting >= 0 && !TakeInTimeWait(waiting, segment, payload.LengthBytes, out issAtLeast))
        {
            return;
        }

        if (TryFindListener(destination, segment.DestinationPort, out ITcpHandler? handler))
        {
            PassiveOpen.Take(this, handler, key, segment, payload, issAtLeast);
        }
        else if ((segment.Flags & TcpFlags.Rst) == 0)
        {
            SendResetFor(key, segment, payload.LengthBytes);
        }
    }

    // RFC 9293 section 3.10.7.4 and RFC 6191: a SYN that is certainly younger begins a new connection; what else comes is acknowledged.
    private bool TakeInTimeWait(int index, in TcpSegment segment, int lengthBytes, out uint issAtLeast)
    {
        ref TimeWaitEntry entry = ref TimeWaits.At(index);
        issAtLeast = 0;
        if ((segment.Flags & TcpFlags.Rst) != 0)
        {
            return false;   // RFC 1337
        }

        bool isSyn = (segment.Flags & (TcpFlags.Syn | TcpFlags.Ack)) == TcpFlags.Syn;
        bool isYounger = entry.HasTimestamps && segment.Options.HasTimestamps
            ? SequenceNumber.IsAfter(segment.Options.Timestamp, entry.RecentTimestamp)
                || (segment.Options.Timestamp == entry.RecentTimestamp && SequenceNumber.IsAfter(segment.Sequence, entry.ReceiveNext))
            : SequenceNumber.IsAfter(segment.Sequence, entry.ReceiveNext);
        bool isHandshake = isSyn
            || (Cookies.AreMadeElsewhere && (segment.Flags & (TcpFlags.Syn | TcpFlags.Ack)) == TcpFlags.Ack && segment.Options.HasTimestamps && isYounger
                && Cookies.TryRead(entry.Key, segment.Sequence - 1, segment.Acknowledgment - 1, NowUs, out _));
        if (isHandshake && isYounger && TryFindListener(entry.Key.Local, entry.Key.LocalPort, out _))
        {
            // Behind a cookie it is timestamps that keep segments of the last connection out (RFC 7323 section 5.2).
            issAtLeast = entry.SendNext + 65537;
            TimeWaits.Remove(index);
            return true;
        }

        if (lengthBytes > 0 || (segment.Flags & (TcpFlags.Fin | TcpFlags.Syn)) != 0)
        {
            ConnectionKey key = entry.Key;
            var options = !entry.HasTimestamps ? default : new TcpOptions(
                HasTimestamps: true, Timestamp: (uint)(NowUs / 1000) + entry.TimestampOffset, TimestampEcho: entry.RecentTimestamp);
            if (resets.TryTake(NowUs))
            {
                SendBare(key, new TcpSegment(key.LocalPort, key.RemotePort, entry.SendNext, entry.ReceiveNext, TcpFlags.Ack, 0, options));
            }

            TimeWaits.Restart(index, NowUs + TimeWaitUs);
        }

        return false;
    }

    /// <summary>
    /// Whether a segment that cannot belong to a connection ends a handshake of which the stack has not seen the SYN: the peer has forgotten the connection and begun another under the
    /// same names. The segment is dealt with then.
    /// </summary>
    public bool TryBeginAnew(TcpConnection c, in TcpSegment segment, PacketBytes payload)
    {
        if (!Cookies.AreMadeElsewhere || (segment.Flags & (TcpFlags.Syn | TcpFlags.Rst | TcpFlags.Ack)) != TcpFlags.Ack || !segment.Options.HasTimestamps
            || segment.Sequence - 1 == c.Irs || !TryFindListener(c.Key.Local, c.Key.LocalPort, out ITcpHandler? handler)
            || !Cookies.TryRead(c.Key, segment.Sequence - 1, segment.Acknowledgment - 1, NowUs, out _))
        {
            return false;
        }

        if (c.UsesTimestamps && SequenceNumber.IsBefore(segment.Options.Timestamp, c.RecentTimestamp))
        {
            // A peer whose clock began anew as well, or a segment from long ago, for whom a reset means nothing. The peer tries again.
            SendResetFor(c.Key, segment, payload.LengthBytes);
            return true;
        }

        Close(c, TcpCloseReason.Reset);
        PassiveOpen.Take(this, handler, c.Key, segment, payload, 0);
        return true;
    }

    // Lives of connections.

    /// <summary>The number to begin a connection with (RFC 6528: a clock of 4 us, and a secret of the names).</summary>
    /// <param name="key">The names.</param>
    /// <param name="atLeast">0, or a number beyond those of the last connection of these names.</param>
    public uint InitialSequence(in ConnectionKey key, uint atLeast)
    {
        uint sequence = (uint)(NowUs / 4) + (uint)hash.Of(key, 0);
        return atLeast != 0 && SequenceNumber.IsBefore(sequence, atLeast) ? atLeast : sequence;
    }

    /// <summary>A new connection gets its number, its timers and its place.</summary>
    public void Begin(TcpConnection c, uint initialSequence)
    {
        c.Iss = initialSequence;
        c.SndUna = c.Iss;
        c.SndNxt = c.Iss + 1;
        c.RecoveryPoint = c.SndNxt;
        c.NameHash = hash.Of(c.Key, 1);
        c.PathMtuBytes = Link.MtuBytes;
        c.LastReceivedUs = NowUs;
        Table.Add(c);
        Answers?.Hold(c.Key);
    }

    public uint TimestampOffsetOf(in ConnectionKey key) => (uint)hash.Of(key, 1);

    /// <summary>The millisecond clock of RFC 7323 section 5.4, as one connection tells it.</summary>
    public uint TimestampOf(TcpConnection c) => (uint)(NowUs / 1000) + (uint)c.NameHash;

    public void MakeDirty(TcpConnection c)
    {
        if (!c.IsDirty && c.State != TcpState.Closed)
        {
            c.IsDirty = true;
            dirty.Add(c);
        }
    }

    /// <summary>Every connection that has something to say says it.</summary>
    public void RunDirty()
    {
        while (dirty.Count > 0 && !Link.IsFull)
        {
            (dirty, running) = (running, dirty);
            foreach (TcpConnection c in running)
            {
                c.IsDirty = false;
                if (Link.IsFull)
                {
                    MakeDirty(c);
                }
                else
                {
                    SegmentOutput.Run(c);
                    if (c.MayBeLent)
                    {
                        TryLend(c);
                    }
                }
            }

            running.Clear();
        }
    }

    public void RunTimers()
    {
        Wheel.Advance(NowUs, expired);
        foreach (TcpConnection c in expired)
        {
            if (c.State != TcpState.Closed)
            {
                TimerExpiry.Run(c);
            }
        }

        expired.Clear();
        TimeWaits.Expire(NowUs);
    }

    /// <summary>
    /// Both sides have closed. Bytes that the application has not taken yet keep the object; when they are gone, a small entry waits in its
    /// place, unless the peer closed first and waits itself.
    /// </summary>
    public void Finish(TcpConnection c)
    {
        if (c.AckNow && !WasFarewellAnswered(c))
        {
            SegmentOutput.SendAck(c);   // of the peer's FIN; it is sent again if this is lost
        }

        c.AckNow = false;

        c.SkipsTimeWait |= c.State == TcpState.LastAck;
        c.State = TcpState.TimeWait;
        if (c.Received is { LengthBytes: > 0 } && !c.IsAbandoned)
        {
            return;
        }

        if (!c.SkipsTimeWait)
        {
            TimeWaits.Add(new TimeWaitEntry
            {
                Key = c.Key,
                SendNext = c.SndNxt,
                ReceiveNext = c.RcvNxt,
                RecentTimestamp = c.RecentTimestamp,
                TimestampOffset = (uint)c.NameHash,
                HasTimestamps = c.UsesTimestamps,
                EndsUs = NowUs + TimeWaitUs,
            });
        }

        DataArrival.TellPeerClosed(c);
        Close(c, TcpCloseReason.Graceful);
    }

    /// <summary>Our FIN is about to leave: the peer's may be acknowledged where it comes in.</summary>
    public void AllowFarewell(TcpConnection c)
    {
        if (Farewells is { } table && c is { FarewellSlot: < 0, State: TcpState.FinWait1, UsesTimestamps: true, UsesEcn: false, PeerFinKnown: false, Received: null })
        {
            c.FarewellSlot = table.TryArm(c.NameHash, c.SndNxt, c.RcvNxt);
        }
    }

    // From now on it is not, if it has not been.
    private bool WasFarewellAnswered(TcpConnection c)
    {
        int slot = c.FarewellSlot;
        c.FarewellSlot = -1;
        if (slot < 0 || !Farewells!.Take(slot, c.NameHash))
        {
            return false;
        }

        Counters.FarewellsElsewhere++;
        return true;
    }

    /// <summary>The end of a connection, once.</summary>
    public void Close(TcpConnection c, TcpCloseReason reason)
    {
        Reclaim(c);
        if (c.State == TcpState.Closed)
        {
            return;
        }

        if (c.State == TcpState.SynReceived && c.IsAccepted)
        {
            HalfOpenCount--;
        }

        if (WasFarewellAnswered(c) && reason != TcpCloseReason.Aborted)
        {
            reason = TcpCloseReason.Graceful;   // the FIN, which acknowledged everything, has been answered and did not come here
        }

        bool wasOpen = c.State is not (TcpState.SynReceived or TcpState.SynSent);
        c.State = TcpState.Closed;
        Table.Remove(c);
        Answers?.LetGo(c.Key);
        Wheel.Remove(c);
        c.SendTimerUs = c.DelayedAckUs = c.IdleUs = long.MaxValue;
        if (c.SendQueue is { } queue)
        {
            queue.Clear(Releases);
            ReturnSendIfEmpty(c);
        }

        ReturnSent(c);
        ReturnRecord(c);
        ReturnReceived(c);
        Counters.ConnectionsClosed += wasOpen ? 1 : 0;
        if (wasOpen || !c.IsAccepted)
        {
            c.Handler.OnClosed(c, reason);
        }
    }

    /// <summary>Ends everything; peers are told.</summary>
    public void Dispose()
    {
        foreach (TcpConnection c in Table.ToList())
        {
            c.Abort();
        }

        arena.Dispose();
        Farewells?.Dispose();
        Answers?.Dispose();
    }
}
