// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Net.Cheetah.Http;
using Exo.Net.Cheetah.Raw;
using Exo.Net.Cheetah.Sockets;
using Exo.Net.Cheetah.Tcp;

namespace Exo.Net.Cheetah;

/// <summary>One line of the status page.</summary>
/// <param name="Group">The heading it stands under.</param>
/// <param name="Name">Its name in metrics; those of counters end in _total.</param>
/// <param name="Help">What it is, for people.</param>
/// <param name="Value">The number; 1 for a text.</param>
/// <param name="Text">A text instead; null: the number.</param>
internal readonly record struct StatusValue(string Group, string Name, string Help, long Value, string? Text = null)
{
    /// <summary>It only ever grows.</summary>
    public bool IsCounter => Name.EndsWith("_total", StringComparison.Ordinal);
}

/// <summary>Takes what the status page shows. Each reactor is asked on its own thread; between two reactors and the counters a few events may pass.</summary>
internal sealed class StatusValues
{
    private readonly TaskCompletionSource taken = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Lock gate = new();
    private readonly List<StatusValue> ofDevice = [];
    private ConnectionStates states;
    private int left;

    private StatusValues(int reactors) => left = reactors;

    public static async Task<IReadOnlyList<StatusValue>> TakeAsync(CheetahServer server, FramePool frames, TimeSpan uptime)
    {
        var taking = new StatusValues(Math.Max(1, server.Reactors.Length));
        foreach (Reactor reactor in server.Reactors)
        {
            reactor.Post(new ReactorWork(one => taking.Add(one.CountConnections())));
        }

        if (server.Raw is { } raw)
        {
            raw.Post(() =>
            {
                taking.AddDevice(raw);
                taking.Add(raw.CountConnections());
            });
        }

        await taking.taken.Task.ConfigureAwait(false);
        return taking.List(server, frames, uptime);
    }

    private void Add(ConnectionStates one)
    {
        lock (gate)
        {
            states += one;
            if (--left > 0)
            {
                return;
            }
        }

        taken.SetResult();
    }

    private List<StatusValue> List(CheetahServer server, FramePool frames, TimeSpan uptime)
    {
        CheetahCounters counters = server.Counters;
        DocumentCache cache = server.Cache;
        const string Connections = "Connections", Requests = "Requests", Cache = "Cache";
        return
        [
            new("Server", "uptime_seconds", "Seconds since the server was made", (long)uptime.TotalSeconds),
            new(Connections, "connections_open", "Open now", counters.ConnectionsOpen),
            new(Connections, "connections_idle", "Of those, idle", states.Idle),
            new(Connections, "connections_receiving", "Of those, with a request that has come in part", states.Receiving),
            new(Connections, "connections_waiting", "Of those, waiting for a document or a deferred handler", states.Waiting),
            new(Connections, "connections_sending", "Of those, being sent to or closed", states.Sending),
            new(Connections, "connections_accepted_total", "Accepted", counters.ConnectionsAccepted),
            new(Connections, "connections_refused_total", "Refused", counters.ConnectionsRefused),
            new(Connections, "connections_timed_out_total", "Ended because a time was up", counters.TimeOuts),
            new(Connections, "connections_aborted_total", "Ended by an error", counters.ConnectionsAborted),
            new(Requests, "requests_total", "Answered", counters.Requests),
            new(Requests, "requests_refused_total", "Refused as malformed or beyond a limit", counters.RequestsRefused),
            new(Requests, "requests_handled_total", "Answered by custom handlers", counters.RequestsHandled),
            new(Requests, "handler_failures_total", "Failures of custom handlers", counters.HandlerFailures),
            new(Requests, "sent_bytes_total", "Bytes sent", counters.BytesSent),
            new(Requests, "payload_sent_bytes_total", "Bytes of documents sent", counters.PayloadBytesSent),
            new(Requests, "payload_copied_bytes_total", "Bytes of documents copied into frames by this process", counters.PayloadBytesCopied),
            new(Requests, "packets_copied_bytes_total", "Bytes of packets copied by this process to hand them over (what the kernel copies is not counted)", counters.PacketBytesCopied),
            new(Requests, "answers_copied_bytes_total", "Bytes of responses copied for the kernel's handler, and by it", counters.AnswerBytesCopied),
            new(Requests, "system_calls_total", "System calls", counters.SystemCalls),
            new(Cache, "cache_documents", "Documents at hand", cache.DocumentCount),
            new(Cache, "cache_bytes", "Bytes of those", counters.CacheBytes),
            new(Cache, "cache_limit_bytes", "Bytes they may take", cache.BudgetBytes),
            new(Cache, "cache_hits_total", "Hits", counters.CacheHits),
            new(Cache, "cache_misses_total", "Misses", counters.CacheMisses),
            new(Cache, "cache_evictions_total", "Evictions", counters.CacheEvictions),
            new(Cache, "ranges_read_total", "Ranges read of documents that are not at hand whole", counters.RangesRead),
            new(Cache, "window_bytes", "Bytes held of those", counters.WindowBytes),
            new(Cache, "window_limit_bytes", "Bytes they may take", cache.Windows.BudgetBytes),
            new(Cache, "frames", "Frames of the pool, 4096 bytes each", frames.FrameCount),
            new(Cache, "frames_free", "Of those, free", frames.FreeCount),
            .. ofDevice,
        ];
    }

    // On the thread of the stack.
    private void AddDevice(RawReactor raw)
    {
        NetworkDevice device = raw.Stack.Device;
        NetworkDeviceCounters counters = device.Counters;
        NetworkDeviceRings rings = device.RingFill;
        TcpCounters tcp = raw.Stack.Tcp.Counters;
        const string Device = "Device", Tcp = "TCP";
        ofDevice.AddRange(
        [
            new(Device, "device_info", "Interface and driver", 1, $"{device.Name}, {device.Features.Driver}"),
            new(Device, "device_receive_ring_slots", "Slots of the receive ring", rings.ReceiveCapacity),
            new(Device, "device_receive_ring_waiting", "Of those, filled", rings.ReceiveWaiting),
            new(Device, "device_transmit_ring_slots", "Slots of the transmit ring", rings.TransmitCapacity),
            new(Device, "device_transmit_ring_waiting", "Of those, filled", rings.TransmitWaiting),
            new(Device, "device_transmits_in_flight", "Packets sent from frames that are still held", device.TransmitsInFlight),
            new(Device, "device_received_packets_total", "Packets received", counters.ReceivedPackets),
            new(Device, "device_received_bytes_total", "Bytes received", counters.ReceivedBytes),
            new(Device, "device_receive_dropped_total", "Packets dropped before they were received", counters.ReceiveDropped),
            new(Device, "device_transmitted_packets_total", "Packets sent, a super-packet counting as one", counters.TransmittedPackets),
            new(Device, "device_transmitted_bytes_total", "Bytes sent", counters.TransmittedBytes),
            new(Device, "device_transmit_dropped_total", "Packets dropped after they were sent", counters.TransmitDropped),
            new(Device, "device_transmit_full_total", "Times that the device had no room", counters.TransmitFull),
            new(Device, "requests_answered_by_kernel_total", "Requests answered where packets come in", raw.AnsweredElsewhere),
            new(Tcp, "tcp_connections", "Connections, half-closed ones included", raw.Stack.ConnectionCount),
            new(Tcp, "tcp_time_wait", "In TIME-WAIT", raw.Stack.TimeWaitCount),
            new(Tcp, "tcp_half_open", "Handshakes under way", raw.Stack.Tcp.HalfOpenCount),
            new(Tcp, "tcp_segments_received_total", "Segments received", tcp.SegmentsReceived),
            new(Tcp, "tcp_segments_refused_total", "Segments refused", tcp.SegmentsRefused),
            new(Tcp, "tcp_checksum_errors_total", "Wrong checksums", tcp.ChecksumErrors),
            new(Tcp, "tcp_sent_bytes_total", "Bytes of payload sent, sent again included", tcp.BytesSent),
            new(Tcp, "tcp_retransmitted_bytes_total", "Bytes sent again", tcp.BytesResent),
            new(Tcp, "tcp_received_bytes_total", "Bytes of payload received", tcp.BytesReceived),
            new(Tcp, "tcp_recoveries_total", "Times that loss was seen", tcp.Recoveries),
            new(Tcp, "tcp_timeouts_total", "Retransmission time-outs", tcp.Timeouts),
            new(Tcp, "tcp_spurious_recoveries_total", "Recoveries that were undone", tcp.SpuriousRecoveries),
            new(Tcp, "tcp_spurious_timeouts_total", "Time-outs that were undone", tcp.SpuriousTimeouts),
            new(Tcp, "tcp_ecn_connections_total", "Connections with explicit congestion notification", tcp.EcnConnections),
            new(Tcp, "tcp_ecn_marks_total", "Segments that came marked", tcp.CongestionMarks),
            new(Tcp, "tcp_ecn_reductions_total", "Reductions since peers told of marks", tcp.MarkReductions),
            new(Tcp, "tcp_tail_loss_probes_total", "Tail loss probes", tcp.TailLossProbes),
            new(Tcp, "tcp_resets_sent_total", "Resets sent", tcp.ResetsSent),
            new(Tcp, "tcp_challenge_acks_total", "Challenge acknowledgments", tcp.ChallengeAcks),
            new(Tcp, "tcp_cookies_sent_total", "SYN cookies sent", tcp.CookiesSent),
            new(Tcp, "tcp_cookies_accepted_total", "SYN cookies that came back", tcp.CookiesAccepted),
        ]);
    }
}
