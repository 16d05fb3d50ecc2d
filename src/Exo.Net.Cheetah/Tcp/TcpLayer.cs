// SPDX-License-Identifier: MIT
using Exo.Core.Net;
using Exo.Net.Cheetah.Link;
using Exo.Net.Cheetah.Wire;

namespace Exo.Net.Cheetah.Tcp;

/// <summary>
/// All connections of one stack: finds the one a segment is for, hands out queues from pools, and lets those that have something to say speak once
/// per poll. One thread.
/// </summary>
internal sealed class TcpLayer : IDisposable
{
    private const int FirstEphemeralPort = 32768, EphemeralPorts = 28232;

    private readonly NetworkStack stack;
    private readonly SipHash hash;
    private readonly Dictionary<ushort, ITcpHandler> listeners = [];
    private readonly Stack<SendQueue> spareSendQueues = new();
    private readonly Stack<SentSegments> spareSent = new();
    private readonly Stack<ReceiveQueue> spareReceived = new();
    private readonly List<TcpConnection> expired = [];
    private List<TcpConnection> dirty = [];
    private List<TcpConnection> running = [];
    private TokenBucket challenges, resets;
    private readonly SendArena arena;
    private long receiveBytes;

    public TcpLayer(NetworkStack stack, NetworkStackOptions options, LinkInterface link, ulong key0, ulong key1)
    {
        this.stack = stack;
        Options = options;
        Link = link;
        hash = new SipHash(key0, key1);
        Table = new ConnectionTable(key0 ^ 0x9E37_79B9_7F4A_7C15, key1 | 1);
        TimeWaits = new TimeWaitTable(options.TimeWaitMax, Table);
        Cookies = new SynCookies(new SipHash(key1, key0));
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
        KeepAliveUs = (long)options.KeepAlive.TotalMicroseconds;
        KeepAliveProbeUs = Math.Max(1_000_000, Math.Min(75_000_000, KeepAliveUs));
    }

    public NetworkStackOptions Options { get; }

    public LinkInterface Link { get; }

    public ConnectionTable Table { get; }

    public TimeWaitTable TimeWaits { get; }

    public TimerWheel Wheel { get; }

    public SynCookies Cookies { get; }

    public DeferredReleases Releases { get; } = new();

    public TcpCounters Counters { get; } = new();

    public long NowUs => stack.NowUs;

    public byte WindowScale { get; }

    public long DelayedAckUs { get; }

    public long TimeWaitUs { get; }

    public long KeepAliveUs { get; }

    public long KeepAliveProbeUs { get; }

    /// <summary>How long a connection that nobody listens to waits for the peer's FIN.</summary>
    public const long FinWait2Us = 60_000_000;

    /// <summary>How long a peer with a closed window may be silent to probes.</summary>
    public const long SilenceUs = 600_000_000;

    public int HalfOpenCount { get; set; }

    /// <summary>What came twice, to be told with the next acknowledgment of the same connection; set and used within one segment.</summary>
    public SackBlock DuplicateSack { get; set; }

    /// <summary>Bytes kept for applications and out of order, of all connections.</summary>
    public long ReceiveBytes => receiveBytes;

    /// <summary>Connections that wait for the end of the poll to speak.</summary>
    public bool HasDirty => dirty.Count > 0;

    // Ports.

    public void Listen(ushort port, ITcpHandler handler)
    {
        if (!listeners.TryAdd(port, handler))
        {
            throw new InvalidOperationException($"Port {port} is listened on already.");
        }
    }

    public void StopListening(ushort port) => listeners.Remove(port);

    public TcpConnection Connect(InternetAddress local, InternetAddress remote, ushort remotePort, ITcpHandler handler, object? tag)
    {
        // RFC 6056 section 3.3.4: where the search begins depends on the peer and a secret.
        uint start = (uint)hash.Of(new ConnectionKey(local, 0, remote, remotePort), 2) + (uint)stack.NextRandom();
        for (uint i = 0; i < EphemeralPorts; i++)
        {
            var key = new ConnectionKey(local, (ushort)(FirstEphemeralPort + ((start + i) % EphemeralPorts)), remote, remotePort);
            if (Table.Find(key) is null && TimeWaits.Find(key) < 0 && !listeners.ContainsKey(key.LocalPort))
            {
                return ActiveOpen.Begin(this, key, handler, tag);
            }
        }

        throw new InvalidOperationException("All ports to that peer are in use.");
    }

    // Arrival.

    /// <summary>A segment whose checksum is right.</summary>
    public void Take(InternetAddress source, InternetAddress destination, in TcpSegment segment, PacketBytes payload)
    {
        Counters.SegmentsReceived++;
        var key = new ConnectionKey(destination, segment.DestinationPort, source, segment.SourcePort);
        if (Table.Find(key) is { } connection)
        {
            if (connection.State == TcpState.SynSent)
            {
                ActiveOpen.Take(connection, segment, payload.LengthBytes);
            }
            else
            {
                SegmentArrival.Take(connection, segment, payload);
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

        if (listeners.TryGetValue(segment.DestinationPort, out ITcpHandler? handler))
        {
            PassiveOpen.Take(this, handler, key, segment, payload.LengthBytes, issAtLeast);
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
        if (isSyn && isYounger && listeners.ContainsKey(entry.Key.LocalPort))
        {
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

    /// <summary>An ICMP error that quotes a segment of ours (RFC 5927): believed only when the quoted number is under way.</summary>
    public void TakeError(in ConnectionKey key, uint sequence, bool isHard, int mtuBytes)
    {
        if (Table.Find(key) is not { } c || SequenceNumber.IsBefore(sequence, c.SndUna) || !SequenceNumber.IsBefore(sequence, c.SndNxt))
        {
            return;
        }

        if (mtuBytes > 0)
        {
            ShrinkPath(c, mtuBytes);
        }
        else if (isHard && c.State is TcpState.SynSent)
        {
            Close(c, TcpCloseReason.Unreachable);
        }
    }

    /// <summary>Segments of full size vanish again and again: perhaps the path takes only smaller ones, and says nothing (RFC 2923, RFC 8899).</summary>
    public void SuspectBlackHole(TcpConnection c)
    {
        ReadOnlySpan<int> plateaus = [8166, 4352, 1400, 1280, 1006, 576];
        foreach (int plateau in plateaus)
        {
            if (plateau < Math.Min(c.PathMtuBytes, Link.MtuBytes) && (plateau >= 1280 || c.Key.Remote.IsV4))
            {
                ShrinkPath(c, plateau);
                return;
            }
        }
    }

    // RFC 1191 section 6.5, RFC 8201: smaller segments from now on, and what was too large goes again at once.
    private void ShrinkPath(TcpConnection c, int mtuBytes)
    {
        int least = c.Key.Remote.IsV4 ? 552 : 1280;
        mtuBytes = Math.Max(mtuBytes, least);
        if (mtuBytes >= Math.Min(c.PathMtuBytes, Link.MtuBytes))
        {
            return;
        }

        Counters.PathMtuReductions++;
        c.PathMtuBytes = mtuBytes;
        c.Sent?.MarkAllLost();
        MakeDirty(c);
    }

    // Lives of connections.

    /// <summary>A new connection gets its number (RFC 6528: a clock of 4 us, and a secret of the names), its timers and its place.</summary>
    public void Begin(TcpConnection c, uint issAtLeast)
    {
        c.Iss = (uint)(NowUs / 4) + (uint)hash.Of(c.Key, 0);
        if (issAtLeast != 0 && SequenceNumber.IsBefore(c.Iss, issAtLeast))
        {
            c.Iss = issAtLeast;
        }

        c.SndUna = c.Iss;
        c.SndNxt = c.Iss + 1;
        c.RecoveryPoint = c.SndNxt;
        c.TimestampOffset = TimestampOffsetOf(c.Key);
        c.PathMtuBytes = Link.MtuBytes;
        c.LastReceivedUs = NowUs;
        Table.Add(c);
    }

    public uint TimestampOffsetOf(in ConnectionKey key) => (uint)hash.Of(key, 1);

    /// <summary>The millisecond clock of RFC 7323 section 5.4, as one connection tells it.</summary>
    public uint TimestampOf(TcpConnection c) => (uint)(NowUs / 1000) + c.TimestampOffset;

    public void CompleteCookie(TcpConnection c, in TcpSegment segment)
    {
        if (PassiveOpen.Complete(c, segment))
        {
            MakeDirty(c);
        }
    }

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
        if (c.AckNow)
        {
            SegmentOutput.SendAck(c);   // of the peer's FIN; it is sent again if this is lost
        }

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
                TimestampOffset = c.TimestampOffset,
                HasTimestamps = c.UsesTimestamps,
                EndsUs = NowUs + TimeWaitUs,
            });
        }

        DataArrival.TellPeerClosed(c);
        Close(c, TcpCloseReason.Graceful);
    }

    /// <summary>The end of a connection, once.</summary>
    public void Close(TcpConnection c, TcpCloseReason reason)
    {
        if (c.State == TcpState.Closed)
        {
            return;
        }

        if (c.State == TcpState.SynReceived && c.IsAccepted)
        {
            HalfOpenCount--;
        }

        bool wasOpen = c.State is not (TcpState.SynReceived or TcpState.SynSent);
        c.State = TcpState.Closed;
        Table.Remove(c);
        Wheel.Remove(c);
        c.SendTimerUs = c.DelayedAckUs = c.IdleUs = long.MaxValue;
        if (c.SendQueue is { } queue)
        {
            queue.Clear(Releases);
            ReturnSendIfEmpty(c);
        }

        ReturnSent(c);
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
    }

    // Queues and pools.

    public void Queue(TcpConnection c, ISendSource source, long offsetBytes, long lengthBytes)
    {
        c.ThrowUnlessCanSend();
        c.SendQueue ??= spareSendQueues.TryPop(out SendQueue? spare) ? spare : new SendQueue();
        c.SendQueue.Add(source, offsetBytes, lengthBytes);
        MakeDirty(c);
    }

    public bool TryQueueCopy(TcpConnection c, ReadOnlySpan<byte> bytes)
    {
        int checkedBytes = 0;
        if (!arena.HasRoom(bytes.Length))
        {
            return false;
        }

        while (checkedBytes < bytes.Length)
        {
            if (!arena.TryCopy(bytes[checkedBytes..], out ISendSource? source, out int offset, out int copied))
            {
                throw new InvalidOperationException("The pool ran out of frames in the middle of a copy.");
            }

            Counters.BytesCopied += copied;
            Queue(c, source!, offset, copied);
            checkedBytes += copied;
        }

        return true;
    }

    /// <summary>Room for a head that is written in place and then queued: no copy.</summary>
    public SendArena Arena => arena;

    public void ReturnSendIfEmpty(TcpConnection c)
    {
        if (c.SendQueue is { LengthBytes: 0 } queue)
        {
            Invariant.Check(queue.Count == 0);
            c.SendQueue = null;
            spareSendQueues.Push(queue);
        }
    }

    public SentSegments TakeSent() => spareSent.TryPop(out SentSegments? spare) ? spare : new SentSegments();

    public void ReturnSent(TcpConnection c)
    {
        if (c.Sent is { } sent)
        {
            sent.Clear();
            c.Sent = null;
            spareSent.Push(sent);
        }
    }

    /// <summary>A queue for bytes that cannot be handed up now, or null when all connections together hold what they may: the peer sends again.</summary>
    public ReceiveQueue? TryReserveReceive(TcpConnection c, int bytes)
    {
        if (receiveBytes + bytes > Options.ReceiveMemoryBytesMax && (c.Received is null || c.Received.CapacityBytes < bytes))
        {
            return null;
        }

        return c.Received ??= spareReceived.TryPop(out ReceiveQueue? spare) ? spare : new ReceiveQueue();
    }

    public void AccountReceive(TcpConnection c)
    {
        int capacity = c.Received?.CapacityBytes ?? 0;
        receiveBytes += capacity - c.ReceiveAccountedBytes;
        c.ReceiveAccountedBytes = capacity;
    }

    /// <summary>The application left bytes of a segment: they are acknowledged or will be, so they are kept in any case.</summary>
    public void KeepFront(TcpConnection c, ReadOnlySpan<byte> bytes)
    {
        c.Received ??= spareReceived.TryPop(out ReceiveQueue? spare) ? spare : new ReceiveQueue();
        c.Received.Prepend(bytes);
        AccountReceive(c);
    }

    public void ReturnReceiveIfEmpty(TcpConnection c)
    {
        if (c.Received is { IsEmpty: true })
        {
            ReturnReceived(c);
        }
    }

    private void ReturnReceived(TcpConnection c)
    {
        if (c.Received is { } queue)
        {
            queue.Clear();
            c.Received = null;
            AccountReceive(c);
            spareReceived.Push(queue);
        }
    }

    // Departure.

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
    public bool TrySend(TcpConnection c, in TcpSegment segment, long offsetBytes, int payloadBytes, ReadOnlySpan<PacketSlice> payload, int segmentBytes)
    {
        ushort sum = payloadBytes > 0 && !Link.ComputesChecksums ? c.SendQueue!.PartialSum(offsetBytes, payloadBytes) : (ushort)0;
        if (Link.TrySendTcp(ref c.Hop, c.Key, segment, payload, payloadBytes, sum, payloadBytes > segmentBytes ? segmentBytes : 0))
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

/// <summary>So many a second, and as many at once.</summary>
internal struct TokenBucket(int perSecond, long nowUs)
{
    private double tokens = perSecond;
    private long lastUs = nowUs;

    public bool TryTake(long nowUs)
    {
        tokens = Math.Min(perSecond, tokens + ((nowUs - lastUs) * (double)perSecond / 1e6));
        lastUs = nowUs;
        if (tokens < 1)
        {
            return false;
        }

        tokens--;
        return true;
    }
}
