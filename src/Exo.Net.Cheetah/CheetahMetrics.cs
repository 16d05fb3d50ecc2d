// SPDX-License-Identifier: MIT
using System.Diagnostics.Metrics;
using System.Net;
using Exo.Net.Cheetah.Tcp;

namespace Exo.Net.Cheetah;

/// <summary>
/// A server's counters as instruments of a meter "Exo.Net.Cheetah", each measurement tagged with <c>server.address</c> and <c>server.port</c>. They are read when somebody observes
/// them; nothing is done for them otherwise.
/// </summary>
internal sealed class CheetahMetrics : IDisposable
{
    public const string MeterName = "Exo.Net.Cheetah";

    private readonly Meter meter = new(MeterName);
    private readonly KeyValuePair<string, object?>[] tags;

    /// <param name="endPoint">Where the server listens.</param>
    /// <param name="read">The server's counters.</param>
    /// <param name="tcp">Those of its own stack, if it has one.</param>
    public CheetahMetrics(IPEndPoint endPoint, Func<CheetahCounters> read, TcpCounters? tcp)
    {
        tags = [new("server.address", endPoint.Address.ToString()), new("server.port", endPoint.Port)];
        Level("http.server.active_connections", "{connection}", "Connections that are open.", () => read().ConnectionsOpen);
        Level("cheetah.cache.size", "By", "Documents at hand.", () => read().CacheBytes);
        Level("cheetah.windows.size", "By", "Held of documents that are read range by range.", () => read().WindowBytes);
        Count("cheetah.ranges.read", "{range}", "Ranges read of documents that are not at hand whole.", () => read().RangesRead);
        Count("cheetah.connections.accepted", "{connection}", "Connections accepted.", () => read().ConnectionsAccepted);
        Count("cheetah.connections.aborted", "{connection}", "Connections ended by an error, most often a client that went away.", () => read().ConnectionsAborted);
        Count("cheetah.connections.timed_out", "{connection}", "Connections ended because a time was up.", () => read().TimeOuts);
        Count("cheetah.requests", "{request}", "Requests answered.", () => read().Requests);
        Count("cheetah.requests.refused", "{request}", "Requests that were malformed or beyond a limit.", () => read().RequestsRefused);
        Count("cheetah.sent", "By", "Bytes sent, heads and payload.", () => read().BytesSent);
        Count("cheetah.payload.sent", "By", "Bytes of documents sent.", () => read().PayloadBytesSent);
        Count("cheetah.payload.copied", "By", "Bytes of documents that this process copied into frames.", () => read().PayloadBytesCopied);
        Count("cheetah.packets.copied", "By", "Bytes of packets that this process copied to hand them to the device.", () => read().PacketBytesCopied);
        Count("cheetah.answers.copied", "By", "Bytes of responses copied for the kernel's handler to answer with, and by it.", () => read().AnswerBytesCopied);
        Count("cheetah.cache.hits", "{document}", "Documents found at hand.", () => read().CacheHits);
        Count("cheetah.cache.misses", "{document}", "Lookups that went to the source.", () => read().CacheMisses);
        Count("cheetah.cache.evictions", "{document}", "Documents evicted for room.", () => read().CacheEvictions);
        Count("cheetah.system_calls", "{call}", "System calls for waiting, receiving and sending.", () => read().SystemCalls);
        Count("cheetah.access_log.lines", "{line}", "Lines written to the access log.", () => read().AccessLogLines);
        Count("cheetah.access_log.dropped", "{line}", "Responses that are missing in the access log.", () => read().AccessLogDropped);
        if (tcp is not null)
        {
            Count("cheetah.tcp.segments.received", "{segment}", "Segments received.", () => Volatile.Read(ref tcp.SegmentsReceived));
            Count("cheetah.tcp.segments.refused", "{segment}", "Segments that were malformed or nobody's.", () => Volatile.Read(ref tcp.SegmentsRefused));
            Count("cheetah.tcp.checksum_errors", "{segment}", "Segments with a wrong checksum.", () => Volatile.Read(ref tcp.ChecksumErrors));
            Count("cheetah.tcp.received", "By", "Payload received.", () => Volatile.Read(ref tcp.BytesReceived));
            Count("cheetah.tcp.acknowledged", "By", "Payload that peers have acknowledged.", () => Volatile.Read(ref tcp.BytesAcknowledged));
            Count("cheetah.tcp.retransmitted", "By", "Payload sent again.", () => Volatile.Read(ref tcp.BytesResent));
            Count("cheetah.tcp.recoveries", "{recovery}", "Losses repaired without a time-out.", () => Volatile.Read(ref tcp.Recoveries));
            Count("cheetah.tcp.timeouts", "{timeout}", "Retransmission time-outs.", () => Volatile.Read(ref tcp.Timeouts));
            Count("cheetah.tcp.recoveries.spurious", "{recovery}", "Of those, undone: nothing had been lost.", () => Volatile.Read(ref tcp.SpuriousRecoveries));
            Count("cheetah.tcp.timeouts.spurious", "{timeout}", "Of those, undone: nothing had been lost.", () => Volatile.Read(ref tcp.SpuriousTimeouts));
            Count("cheetah.tcp.duplicate_sacks.received", "{segment}", "Acknowledgments that tell of bytes that came twice (RFC 2883).", () => Volatile.Read(ref tcp.DuplicateSacksReceived));
            Count("cheetah.tcp.duplicate_sacks.sent", "{segment}", "Of those, sent.", () => Volatile.Read(ref tcp.DuplicateSacksSent));
            Count("cheetah.tcp.ecn.connections", "{connection}", "Connections that agreed on explicit congestion notification (RFC 3168).", () => Volatile.Read(ref tcp.EcnConnections));
            Count("cheetah.tcp.ecn.marks", "{segment}", "Segments of peers that were marked on their way.", () => Volatile.Read(ref tcp.CongestionMarks));
            Count("cheetah.tcp.ecn.reductions", "{reduction}", "Times that a window was reduced because a peer told of marks.", () => Volatile.Read(ref tcp.MarkReductions));
            Count("cheetah.tcp.tail_loss_probes", "{probe}", "Tail loss probes.", () => Volatile.Read(ref tcp.TailLossProbes));
            Count("cheetah.tcp.resets_sent", "{segment}", "Resets sent.", () => Volatile.Read(ref tcp.ResetsSent));
            Count("cheetah.tcp.challenge_acks", "{segment}", "Challenge acknowledgments (RFC 5961).", () => Volatile.Read(ref tcp.ChallengeAcks));
            Count("cheetah.tcp.cookies_sent", "{segment}", "SYN cookies sent.", () => Volatile.Read(ref tcp.CookiesSent));
            Count("cheetah.tcp.cookies_accepted", "{connection}", "Connections opened by a SYN cookie.", () => Volatile.Read(ref tcp.CookiesAccepted));
            Count("cheetah.tcp.path_mtu_reductions", "{reduction}", "Paths found smaller than thought.", () => Volatile.Read(ref tcp.PathMtuReductions));
            Count("cheetah.tcp.path_mtu_probes", "{segment}", "Segments sent to find out whether a path takes larger ones again (RFC 4821).", () => Volatile.Read(ref tcp.PathMtuProbes));
            Count("cheetah.tcp.path_mtu_raises", "{raise}", "Paths found larger than thought.", () => Volatile.Read(ref tcp.PathMtuRaises));
        }
    }

    public void Dispose() => meter.Dispose();

    private void Count(string name, string unit, string description, Func<long> read) =>
        meter.CreateObservableCounter(name, () => new Measurement<long>(read(), tags), unit, description);

    private void Level(string name, string unit, string description, Func<long> read) =>
        meter.CreateObservableUpDownCounter(name, () => new Measurement<long>(read(), tags), unit, description);
}
