// SPDX-License-Identifier: MIT
using System.Net;
using Exo.Core.Net;
using Exo.Net.Cheetah.Tcp;

namespace Exo.Net.Cheetah;

/// <summary>Settings of a <see cref="CheetahServer"/>. Every property has a default that is safe against hostile clients.</summary>
public sealed record CheetahServerOptions
{
    /// <summary>
    /// Where to listen; port 0 = any free port. On a raw device one of the addresses of <see cref="Network"/>, or <see cref="IPAddress.Any"/> for all IPv4 addresses, or <see cref="IPAddress.IPv6Any"/> for all; the port must
    /// not be 0. Default 127.0.0.1:8080.
    /// </summary>
    public IPEndPoint EndPoint { get; init; } = new(IPAddress.Loopback, 8080);

    /// <summary>
    /// A raw network device to serve on, with a TCP/IP stack of the server's own on it; null: ordinary sockets. Its frame pool is the one the documents lie
    /// in. One thread serves. <see cref="Network"/> has the addresses, <see cref="EndPoint"/> says which of them are listened on. Not
    /// disposed by the server. When it goes away the server ends: <see cref="CheetahServer.Completion"/>. One that takes handlers (<see cref="NetworkDevice.TakesHandlers"/>) gets one that opens connections, and that answers requests which come again as long as the source says when its documents change.
    /// </summary>
    public NetworkDevice? Device { get; init; }

    /// <summary>Settings of the stack on <see cref="Device"/>; needed with it.</summary>
    public NetworkStackOptions? Network { get; init; }

    /// <summary>Threads that serve, 1..64, each with its own listening socket. Default 1.</summary>
    public int Reactors { get; init; } = 1;

    /// <summary>On sockets: connections waiting to be accepted, per reactor; the kernel caps it. A raw device has no such queue: handshakes under way are <see cref="NetworkStackOptions.HalfOpenMax"/>. Default 1024.</summary>
    public int Backlog { get; init; } = 1024;

    /// <summary>Open connections per reactor, at least 1. On sockets more wait to be accepted, on a raw device they are reset. Default 65536.</summary>
    public int ConnectionsMax { get; init; } = 65536;

    /// <summary>Bytes of documents to keep at hand; 0 = three quarters of the frame pool. Default 0.</summary>
    public long CacheBytes { get; init; }

    internal const long DefaultWindowBytes = 2 << 20;

    /// <summary>
    /// Bytes that one response may hold of a document that is not at hand whole (<see cref="DocumentContent.FromRanges"/>), read ahead and sent but not acknowledged; 64 KiB to 1 GiB. On a raw device no client is sent more in a round trip.
    /// All such responses together hold at most a quarter of the frame pool, each the less the more there are. Default 2 MiB.
    /// </summary>
    public long DocumentWindowBytes { get; init; } = DefaultWindowBytes;

    /// <summary>Makes the policy that says which documents leave the cache when there is no room; called once by each server. Default <see cref="ClockEviction"/>.</summary>
    public Func<IEvictionPolicy> EvictionPolicy { get; init; } = static () => new ClockEviction();

    /// <summary>
    /// In which codings the source may have a document beside itself, compressed beforehand: a request for <c>/a.css</c> that accepts it (Accept-Encoding) is answered with the bytes of <c>/a.css.br</c>, <c>/a.css.zst</c> or
    /// <c>/a.css.gz</c>, if that is not older than <c>/a.css</c>; of several equally wanted with the shortest. Such variants are cached with the document, and are looked for when it is not at hand. What ends in one of these ways is
    /// served under its own path as ever. Only for sources with <see cref="IDocumentSource.TellsOfVariants"/>.
    /// <para>Default none, as with nginx and Caddy: that a file ends in <c>.gz</c> does not say that it is its neighbour compressed (<c>access.log</c> and <c>access.log.gz</c>, or <c>dump</c> and last week's <c>dump.gz</c>),
    /// so that it is has to be said by whoever makes the site.</para>
    /// </summary>
    public ContentCodings Precompressed { get; init; }

    /// <summary>Header fields of documents by their paths, such as Cache-Control; of several of one name the first that fits. At most 4 KiB for one document; what is beyond is left out. Custom handlers set their own. Default none.</summary>
    public IReadOnlyList<DocumentField> DocumentFields { get; init; } = [];

    /// <summary>Media types by file name extension, like "wasm", in front of those that the server knows; a source that gives a type itself is believed. Default none.</summary>
    public IReadOnlyDictionary<string, string> MediaTypes { get; init; } = new Dictionary<string, string>();

    /// <summary>
    /// Documents that are sent as the pages of errors: for 404, 500 and 503 of documents the path of one, like "/404.html". The status stays, and the page has no fields of its own but its type; where it cannot be had the server's small page is sent.
    /// Default none.
    /// </summary>
    public IReadOnlyDictionary<int, string> ErrorPages { get; init; } = new Dictionary<int, string>();

    /// <summary>Longest request line, 64..32768 bytes; longer ones get 414. Default 8192.</summary>
    public int RequestLineBytesMax { get; init; } = 8192;

    /// <summary>Longest request head, 128..65536 bytes and at least the request line; longer ones get 431. Default 16384.</summary>
    public int RequestHeadBytesMax { get; init; } = 16384;

    /// <summary>Most header fields in a request, at least 1; more get 431. Default 100.</summary>
    public int FieldCountMax { get; init; } = 100;

    /// <summary>What the application answers itself. Default nothing.</summary>
    public CheetahHandlers Handlers { get; init; } = new();

    /// <summary>
    /// Longest body, in bytes, of a request that a handler gets, 0 to 16 MiB; a longer one gets 413. Of a chunked body the sizes, extensions and trailer fields count too. Until it is whole the request is kept, within
    /// <see cref="RequestTimeout"/>. Default 65536.
    /// </summary>
    public int HandlerBodyBytesMax { get; init; } = 65536;

    /// <summary>
    /// Longest body, in bytes, that a handler may write, 1 to 256 MiB; beyond, writing throws. What does not fit into 8 KiB with its head takes frames of the pool while it is sent, and a few objects. Default 1 MiB.
    /// </summary>
    public int HandlerResponseBytesMax { get; init; } = 1 << 20;

    /// <summary>Told what a handler threw; the client gets 500 in any case. Called on the thread where it happened, at the same time from several. Default null.</summary>
    public Action<Exception>? HandlerFailed { get; init; }

    /// <summary>
    /// Path of a page that shows connections, cache and rings, like "/-/status", and below it "/metrics" the same as text in Prometheus' format; null: there is none. Each time it is
    /// asked for every reactor looks at all of its connections. Default null.
    /// </summary>
    public string? StatusPath { get; init; }

    /// <summary>
    /// Whether the status page is for whoever can reach the server; otherwise it is for clients that connect from this machine's loopback addresses, a proxy on it included, and others get 403. On a raw device,
    /// which has no such clients, it must be. Default false.
    /// </summary>
    public bool StatusIsPublic { get; init; }

    /// <summary>
    /// Longest body, in bytes, of a request for a document that is read past so that the connection can stay; a longer one gets 413 and the
    /// connection is closed. No such body is ever used. 0 = none. Default 65536.
    /// </summary>
    public long DiscardedBodyBytesMax { get; init; } = 65536;

    /// <summary>How long a connection may stay between requests. Default 60 s.</summary>
    public TimeSpan IdleTimeout { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>How long a request, head and discarded body, may take to come; then 408. Default 10 s.</summary>
    public TimeSpan RequestTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How long the document source may take; then 503. Default 30 s.</summary>
    public TimeSpan DocumentTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How often the pace of a client that lets responses wait is judged. Default 10 s.</summary>
    public TimeSpan SendTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Slower clients than this many bytes per second are cut off at the next judgement. Default 240.</summary>
    public int SendBytesPerSecondMin { get; init; } = 240;

    /// <summary>Where responses are logged; null: nowhere. With a log the kernel answers no requests for the server (<see cref="Device"/>), since it could not log them. Default null.</summary>
    public AccessLogOptions? AccessLog { get; init; }

    /// <summary>The clock. Default the system's.</summary>
    public TimeProvider Time { get; init; } = TimeProvider.System;

    /// <summary>Checks what can be checked before the server is made, which does the same.</summary>
    /// <exception cref="ArgumentException">A setting makes no sense; <see cref="ArgumentException.ParamName"/> is the property's name.</exception>
    public void Validate()
    {
        ArgumentNullException.ThrowIfNull(EndPoint);
        ArgumentNullException.ThrowIfNull(Time);
        ArgumentNullException.ThrowIfNull(EvictionPolicy);
        SettingRange.Check(Reactors, 1, 64, nameof(Reactors));
        SettingRange.Check(Backlog, 1, int.MaxValue, nameof(Backlog));
        SettingRange.Check(ConnectionsMax, 1, 1 << 24, nameof(ConnectionsMax));
        SettingRange.Check(CacheBytes, 0, long.MaxValue, nameof(CacheBytes));
        SettingRange.Check(DocumentWindowBytes, 64 << 10, 1 << 30, nameof(DocumentWindowBytes));
        SettingRange.Check((long)Precompressed, 0, (long)ContentCodings.All, nameof(Precompressed));
        SettingRange.Check(RequestLineBytesMax, 64, 32768, nameof(RequestLineBytesMax));
        SettingRange.Check(RequestHeadBytesMax, Math.Max(128, RequestLineBytesMax), 65536, nameof(RequestHeadBytesMax));
        SettingRange.Check(FieldCountMax, 1, int.MaxValue, nameof(FieldCountMax));
        SettingRange.Check(DiscardedBodyBytesMax, 0, long.MaxValue, nameof(DiscardedBodyBytesMax));
        ArgumentNullException.ThrowIfNull(Handlers);
        SettingRange.Check(HandlerBodyBytesMax, 0, 16 << 20, nameof(HandlerBodyBytesMax));
        SettingRange.Check(HandlerResponseBytesMax, 1, 256 << 20, nameof(HandlerResponseBytesMax));
        SettingRange.Check(SendBytesPerSecondMin, 0, int.MaxValue, nameof(SendBytesPerSecondMin));
        if (Device is not null && (Network is null || EndPoint.Port == 0))
        {
            throw new ArgumentException("A raw device needs addresses (Network) and a port.", nameof(Device));
        }

        Network?.Validate();
        if (Device is not null && !Network!.Addresses.Any(own => ListenPoint.From(EndPoint).Covers(own.Address)))
        {
            throw new ArgumentException("On a raw device the server listens on an address of Network, or on all (IPAddress.IPv6Any) or all of IPv4 (IPAddress.Any).", nameof(EndPoint));
        }

        ArgumentNullException.ThrowIfNull(DocumentFields);
        ArgumentNullException.ThrowIfNull(MediaTypes);
        ArgumentNullException.ThrowIfNull(ErrorPages);
        _ = new DocumentHeads(DocumentFields, MediaTypes);
        foreach ((int status, string page) in ErrorPages)
        {
            if (status is not (404 or 500 or 503))
            {
                throw new ArgumentException($"A document can be the page of 404, 500 and 503, not of {status}.", nameof(ErrorPages));
            }

            CheetahHandlers.CheckPath(page, nameof(ErrorPages));
            if (page.EndsWith('/') || page.Contains('*', StringComparison.Ordinal))
            {
                throw new ArgumentException($"'{page}' is no path of a document like /404.html.", nameof(ErrorPages));
            }
        }

        if (StatusPath is not null)
        {
            CheetahHandlers.CheckPath(StatusPath, nameof(StatusPath));
            if (StatusPath.EndsWith('/') || StatusPath.EndsWith('*'))
            {
                throw new ArgumentException("The status page is at a path like /-/status.", nameof(StatusPath));
            }

            if (Device is not null && !StatusIsPublic)
            {
                throw new ArgumentException("On a raw device no client is on this machine: the status page is for everybody there, or for nobody.", nameof(StatusIsPublic));
            }
        }

        if ((Handlers.Entries.Count > 0 || StatusPath is not null) && Network?.ReceiveWindowBytes < RequestHeadBytesMax + HandlerBodyBytesMax)
        {
            throw new ArgumentException("A request for a handler must fit into the receive window whole (Network.ReceiveWindowBytes).", nameof(HandlerBodyBytesMax));
        }

        if (AccessLog is { } log)
        {
            if (log.Path is null == log.Output is null)
            {
                throw new ArgumentException("An access log goes to a path or to a stream: one of the two.", nameof(AccessLog));
            }

            SettingRange.Check(log.RingBytes, Math.Max(1 << 16, 3 * RequestHeadBytesMax), 1 << 30, nameof(log.RingBytes));
            SettingRange.Check(log.FlushInterval, TimeSpan.Zero, TimeSpan.FromMinutes(1), nameof(log.FlushInterval));
        }

        SettingRange.CheckPositive(IdleTimeout, nameof(IdleTimeout));
        SettingRange.CheckPositive(RequestTimeout, nameof(RequestTimeout));
        SettingRange.CheckPositive(DocumentTimeout, nameof(DocumentTimeout));
        SettingRange.CheckPositive(SendTimeout, nameof(SendTimeout));
    }
}
