// SPDX-License-Identifier: MIT
using System.CommandLine;
using System.Net;
using Exo.Cli.Output;
using Exo.Cli.Top;
using Exo.Core.Net;
using Exo.Host;
using Exo.Net.Cheetah;

namespace Exo.Cli.Verbs;

/// <summary><c>exo serve</c>: an image, which is opened for reading only, or a folder as a web site.</summary>
internal static class ServeVerb
{
    /// <summary>How long responses under way may take once the server is told to stop.</summary>
    private static readonly TimeSpan DrainTimeout = TimeSpan.FromSeconds(5);

    public static Command Create()
    {
        Argument<string> image = Symbols.Image("; or a folder of this machine");
        Option<IPEndPoint> listen = Symbols.Listen("127.0.0.1:8080");
        Option<long?> cache = Symbols.Size("--cache", "Memory for the cache [default: 64M]");
        Option<int> reactors = new("--reactors") { Description = "Threads that serve", HelpName = "N", DefaultValueFactory = _ => 1 };
        Option<string> device = new("--device")
        {
            Description = "sockets, or an interface with a TCP/IP stack of the server's own: tap:NAME, packet:IFACE, xdp:IFACE",
            HelpName = "DEVICE",
            DefaultValueFactory = _ => "sockets",
        };
        Option<bool> handlers = new("--handlers") { Description = "With packet:, have the kernel answer who connects, and requests that come again, where packets come in" };
        Option<string[]> address = new("--address") { Description = "Address of the server's own stack, with its prefix; may be given for IPv4 and IPv6", HelpName = "ADDRESS" };
        Option<string[]> gateway = new("--gateway") { Description = "Who passes on packets for other links", HelpName = "ADDRESS" };
        Option<string?> status = new("--status") { Description = "Path of a page that shows connections, cache and rings; PATH/metrics is the same as text. For clients on this machine", HelpName = "PATH" };
        Option<bool> statusPublic = new("--status-public") { Description = "Show it to whoever asks" };
        Option<string?> observe = Symbols.Observe();
        VerbCommand command = new("serve", "Serves the files of an image or a folder over HTTP. Ctrl-C or SIGTERM ends it.")
        {
            Examples =
            [
                "exo serve disk.img",
                "exo serve disk.img --listen 0.0.0.0:80 --cache 1G --reactors 4",
                "exo serve disk.img --listen 127.0.0.1:0 --status /-/status",
                "exo serve ./public",
                "exo serve disk.img --device tap:exo0 --address 10.0.0.2/24 --listen 0.0.0.0:80",
            ],
        };
        command.Add(image);
        command.Add(listen);
        command.Add(cache);
        command.Add(reactors);
        command.Add(device);
        command.Add(handlers);
        command.Add(address);
        command.Add(gateway);
        command.Add(status);
        command.Add(statusPublic);
        command.Add(observe);
        command.SetAction(parsed => Run(
            parsed.GetRequiredValue(image), parsed.GetRequiredValue(listen), parsed.GetValue(cache), parsed.GetValue(reactors),
            ServeDevice.Parse(parsed.GetRequiredValue(device)) with { TakesHandlers = parsed.GetValue(handlers) }, parsed.GetValue(address) ?? [], parsed.GetValue(gateway) ?? [], parsed.GetValue(status), parsed.GetValue(statusPublic), parsed.GetValue(observe)));
        return command;
    }

    private static int Run(string image, IPEndPoint endPoint, long? cacheBytes, int reactors, ServeDevice where, string[] addresses, string[] gateways, string? statusPath, bool statusIsPublic, string? observePath)
    {
        if (reactors is < 1 or > 64)
        {
            throw new UsageException("--reactors: from 1 to 64");
        }

        if (where.IsRaw && (reactors != 1 || endPoint.Port == 0))
        {
            throw new UsageException("--device: an interface is served by one thread, at a port that --listen names");
        }

        if (where.TakesHandlers && where.Kind != "packet")
        {
            throw new UsageException("--handlers: only with --device packet:");
        }

        if (!where.IsRaw && (addresses.Length > 0 || gateways.Length > 0))
        {
            throw new UsageException("--address, --gateway: only with --device tap:, packet: or xdp:");
        }

        if (statusIsPublic && statusPath is null)
        {
            throw new UsageException("--status-public: only with --status");
        }

        if (statusPath is not null && where.IsRaw && !statusIsPublic)
        {
            throw new UsageException("--status: nobody on this machine reaches an interface that the server drives itself; add --status-public");
        }

        NetworkStackOptions? network = where.IsRaw ? ServeDevice.Network(addresses, gateways) : null;
        using Interruption interruption = new();
        using ServedContent content = ServedContent.Open(image, (cacheBytes ?? 64L << 20) + (where.IsRaw ? ServeDevice.PacketBytes : 0));
        using NetworkDevice? device = network is null ? null : where.Open(content.Frames, network);
        CheetahServerOptions options = new() { EndPoint = endPoint, Reactors = reactors, Device = device, Network = network, StatusPath = statusPath, StatusIsPublic = statusIsPublic };
        CheetahServer server;
        try
        {
            server = new CheetahServer(options, content.Source, content.Frames);
        }
        catch (ArgumentException failure) when (failure.ParamName == nameof(CheetahServerOptions.StatusPath))
        {
            throw new UsageException($"--status: '{statusPath}' is no path like /-/status");
        }

        server.Start();
        using ObservationServer? observed = Observation.Start(observePath, $"exo serve {image}", content.Frames, content.Disk, () =>
        {
            CheetahCounters counters = server.Counters;
            return [new("requests", counters.Requests), new("requests refused", counters.RequestsRefused), new("connections", counters.ConnectionsAccepted), new("bytes sent", counters.BytesSent), new("cache hits", counters.CacheHits), new("cache misses", counters.CacheMisses)];
        });
        Console.WriteLine($"serving {image} on http://{server.EndPoint}/");
        interruption.Token.WaitHandle.WaitOne();
        server.StopAsync(DrainTimeout).GetAwaiter().GetResult();
        Console.WriteLine($"{server.Counters.Requests} requests served");
        return 0;
    }
}
