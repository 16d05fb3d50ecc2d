// SPDX-License-Identifier: MIT
using System.Net;
using Exo.Core.Linux;
using Exo.Core.Memory;
using Exo.Core.Net;
using Exo.Net.Cheetah.Logging;
using Exo.Net.Cheetah.Raw;
using Exo.Net.Cheetah.Sockets;
using Exo.Net.Cheetah.Tcp;

namespace Exo.Net.Cheetah;

/// <summary>
/// A web server for documents: HTTP/1.1 (RFC 9110, RFC 9112), GET and HEAD, whose responses leave straight from the frames
/// its documents are kept in; and for what the application answers itself (<see cref="CheetahHandlers"/>). It runs one thread per reactor, or one on a raw device, made by <see cref="Start"/> and ended by <see cref="StopAsync"/>.
/// </summary>
public sealed class CheetahServer : IAsyncDisposable
{
    private readonly CheetahServerOptions options;
    private readonly CancellationTokenSource stopping = new();
    private readonly DocumentCache cache;
    private readonly HandlerRoutes handlers;
    private readonly Lock gate = new();
    private readonly TaskCompletionSource completion = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private Reactor[] reactors = [];
    private RawReactor? raw;
    private AccessLog? log;
    private CheetahMetrics? metrics;
    private Task? stopped;

    /// <summary>Makes a server that does not listen yet.</summary>
    /// <param name="options">Settings; checked here.</param>
    /// <param name="source">Where documents come from. Not disposed by the server.</param>
    /// <param name="frames">Holds the documents; the pool that <paramref name="source"/> leases frames of. Not disposed by the server.</param>
    public CheetahServer(CheetahServerOptions options, IDocumentSource source, FramePool frames)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(source);
        ArgumentNullException.ThrowIfNull(frames);
        options.Validate();
        if (options.Device is { } device && device.Frames != frames)
        {
            throw new ArgumentException("The device and the documents must share one frame pool.", nameof(frames));
        }

        this.options = options;
        long cacheBytes = options.CacheBytes != 0 ? options.CacheBytes : (long)frames.FrameCount * FramePool.FrameBytes / 4 * 3;
        cache = new DocumentCache(frames, source, cacheBytes, stopping.Token, options.Precompressed, NeedsSums(options) ? DocumentTraits.HasSums : DocumentTraits.None, options.EvictionPolicy(), new DocumentHeads(options.DocumentFields, options.MediaTypes), options.DocumentWindowBytes, options.DocumentTimeout);
        handlers = new HandlerRoutes(options.StatusPath is null ? options.Handlers : new StatusPage(this, options, frames).AddTo(options.Handlers), stopping.Token);
        EndPoint = options.EndPoint;
    }

    /// <summary>Where the server listens; after <see cref="Start"/> with the port it was given, on a raw device with the first address that it listens on.</summary>
    public IPEndPoint EndPoint { get; private set; }

    /// <summary>
    /// Ends when the server does: after <see cref="StopAsync"/>, or before, with a <see cref="NetworkDeviceException"/>, when its raw device is gone and nothing can be served any more. What it holds is given back by
    /// <see cref="StopAsync"/> in either case. Of a server that was stopped after its device had gone, it keeps the error.
    /// </summary>
    public Task Completion => completion.Task;

    /// <summary>What has been done so far.</summary>
    public CheetahCounters Counters
    {
        get
        {
            var sum = new CheetahCounters
            {
                CacheMisses = cache.MissCount,
                CacheEvictions = cache.EvictionCount,
                CacheBytes = cache.UsedBytes,
                PayloadBytesCopied = cache.CopiedBytes + cache.Windows.CopiedBytes,
                RangesRead = cache.Windows.ReadCount,
                WindowBytes = cache.Windows.HeldBytes,
                AccessLogLines = log?.WrittenCount ?? 0,
                AccessLogDropped = log?.DroppedCount ?? 0,
            };
            foreach (CheetahCounters part in (IEnumerable<CheetahCounters>)(raw is null ? reactors.Select(reactor => reactor.Counters) : [raw.Counters]))
            {
                sum = sum with
                {
                    ConnectionsAccepted = sum.ConnectionsAccepted + part.ConnectionsAccepted,
                    ConnectionsRefused = sum.ConnectionsRefused + part.ConnectionsRefused,
                    ConnectionsOpen = sum.ConnectionsOpen + part.ConnectionsOpen,
                    Requests = sum.Requests + part.Requests,
                    RequestsRefused = sum.RequestsRefused + part.RequestsRefused,
                    RequestsHandled = sum.RequestsHandled + part.RequestsHandled,
                    HandlerFailures = sum.HandlerFailures + part.HandlerFailures,
                    BytesSent = sum.BytesSent + part.BytesSent,
                    PayloadBytesSent = sum.PayloadBytesSent + part.PayloadBytesSent,
                    PayloadBytesCopied = sum.PayloadBytesCopied + part.PayloadBytesCopied,
                    PacketBytesCopied = sum.PacketBytesCopied + part.PacketBytesCopied,
                    AnswerBytesCopied = sum.AnswerBytesCopied + part.AnswerBytesCopied,
                    CacheHits = sum.CacheHits + part.CacheHits,
                    TimeOuts = sum.TimeOuts + part.TimeOuts,
                    ConnectionsAborted = sum.ConnectionsAborted + part.ConnectionsAborted,
                    SystemCalls = sum.SystemCalls + part.SystemCalls,
                };
            }

            return sum;
        }
    }

    internal Reactor[] Reactors => reactors;

    internal RawReactor? Raw => raw;

    internal DocumentCache Cache => cache;

    internal AccessLog? Log => log;

    /// <summary>Listens and serves. Returns as soon as clients can connect.</summary>
    /// <exception cref="EndPointUnavailableException">The port is taken, or the address cannot be listened on.</exception>
    /// <exception cref="IOException">The access log's file cannot be opened.</exception>
    /// <exception cref="InvalidOperationException">The server was started before; it cannot be started twice.</exception>
    public void Start()
    {
        lock (gate)
        {
            if (reactors.Length > 0 || raw is not null || stopped is not null)
            {
                throw new InvalidOperationException("The server was started before. Make a new one to serve again.");
            }

            if (options.Device is { } device)
            {
                StartRaw(device).Start();
                return;
            }

            bool shared = options.Reactors > 1;
            if (shared && options.EndPoint.Port != 0)
            {
                ListeningSocket.CheckFree(options.EndPoint);
            }

            var listeners = new List<int>();
            try
            {
                for (int i = 0; i < options.Reactors; i++)
                {
                    int listener = ListeningSocket.Open(i == 0 ? options.EndPoint : EndPoint, options.Backlog, shared);
                    listeners.Add(listener);
                    EndPoint = ListeningSocket.EndPointOf(listener);
                }

                OpenLog();
            }
            catch
            {
                listeners.ForEach(listener => Libc.Close(listener));
                EndPoint = options.EndPoint;
                throw;
            }

            reactors = [.. listeners.Select((listener, index) => new Reactor(options, cache, handlers, log, listener, index))];
            metrics = new CheetahMetrics(EndPoint, () => Counters, tcp: null);
            foreach (Reactor reactor in reactors)
            {
                reactor.Start();
            }
        }
    }

    /// <summary>The raw transport without its thread: whoever calls this turns it.</summary>
    internal RawReactor StartRaw(NetworkDevice device)
    {
        // Room for the connections that the server takes, whatever stands half open: a flood of those must not keep others out.
        NetworkStackOptions network = options.Network! with { ConnectionsMax = options.ConnectionsMax + options.Network.HalfOpenMax };
        OpenLog();
        raw = new RawReactor(options, cache, handlers, log, device, network);
        _ = WatchAsync(raw);
        ListenPoint point = ListenPoint.From(options.EndPoint);
        EndPoint = new IPEndPoint(network.Addresses.First(own => point.Covers(own.Address)).Address.ToIPAddress(), point.Port);
        metrics = new CheetahMetrics(EndPoint, () => Counters, raw.Stack.Tcp.Counters);
        return raw;
    }

    /// <summary>
    /// Stops listening at once, lets responses under way finish for at most <paramref name="drainTimeout"/>, then cuts off
    /// what is left. Completes when all connections are closed and all documents given back. A second call shortens or
    /// lengthens the time of the first and completes with it.
    /// </summary>
    /// <param name="drainTimeout">From nothing to a day, by the clock of the options.</param>
    public Task StopAsync(TimeSpan drainTimeout)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(drainTimeout, TimeSpan.Zero);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(drainTimeout, TimeSpan.FromDays(1));
        lock (gate)
        {
            if (stopped is not { IsCompleted: true })
            {
                foreach (Reactor reactor in reactors)
                {
                    reactor.Post(new DrainMessage(drainTimeout));
                }

                raw?.Post(() => raw.BeginDrain(drainTimeout));
            }

            return stopped ??= FinishAsync();
        }
    }

    /// <summary>
    /// Opens the file of the access log anew, for whoever has renamed or removed it. Completes when everything decided on before is in the old file, which is closed then.
    /// When the file cannot be opened the task fails, with an <see cref="IOException"/>, and the old one stays.
    /// </summary>
    /// <exception cref="InvalidOperationException">The server writes no log to a path, or has not been started.</exception>
    public Task ReopenAccessLogAsync() => log is not null && options.AccessLog!.Path is not null
        ? log.ReopenAsync()
        : throw new InvalidOperationException("The server has no access log with a path, or has not been started.");

    /// <summary>Stops without waiting for responses under way.</summary>
    public async ValueTask DisposeAsync()
    {
        await StopAsync(TimeSpan.Zero).ConfigureAwait(false);
        stopping.Dispose();
    }

    // The kernel sums up what goes through its sockets, and so do most devices.
    private static bool NeedsSums(CheetahServerOptions options) =>
        options.Device is { } device && (!device.Features.TransmitChecksum || (options.Network!.Without & Ablations.Offload) != 0) && (options.Network!.Without & Ablations.StoredChecksums) == 0;

    private void OpenLog() => log = options.AccessLog is { } settings ? new AccessLog(settings, options.RequestHeadBytesMax, options.Time) : null;

    private async Task WatchAsync(RawReactor reactor)
    {
        await reactor.Ended.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (reactor.Ended.IsFaulted)
        {
            Complete();
        }
    }

    private void Complete()
    {
        if (raw?.Ended.Exception is { } failure)
        {
            completion.TrySetException(failure.InnerExceptions);
            _ = completion.Task.Exception;   // nobody has to look
        }
        else
        {
            completion.TrySetResult();
        }
    }

    private async Task FinishAsync()
    {
        await Task.WhenAll(reactors.Select(reactor => reactor.Ended)).ConfigureAwait(false);
        if (raw is not null)
        {
            await raw.Ended.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);   // a device that is gone has ended it too: Completion tells
        }

        metrics?.Dispose();
        await stopping.CancelAsync().ConfigureAwait(false);
        await cache.WhenIdleAsync().ConfigureAwait(false);
        await handlers.WhenIdleAsync().ConfigureAwait(false);
        foreach (Reactor reactor in reactors)
        {
            reactor.Dispose();
        }

        raw?.Dispose();
        if (log is not null)
        {
            await log.DisposeAsync().ConfigureAwait(false);
        }

        cache.Dispose();
        Complete();
    }
}
