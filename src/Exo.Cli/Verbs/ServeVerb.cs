// SPDX-License-Identifier: MIT
using System.CommandLine;
using System.Net;
using System.Runtime.InteropServices;
using Exo.Cli.Output;
using Exo.Cli.Top;
using Exo.Core.Net;
using Exo.Host;
using Exo.Net.Cheetah;

namespace Exo.Cli.Verbs;

/// <summary><c>exo serve</c>: an image, which is opened for reading only, or a folder as a web site.</summary>
internal static class ServeVerb
{
    public static Command Create()
    {
        Argument<string> image = Symbols.Image("; or a folder of this machine");
        Option<IPEndPoint> listen = Symbols.Listen("127.0.0.1:8080");
        listen.Description = "Address and port to listen on; on sockets port 0 takes a free one. With --device one of --address, 0.0.0.0 for all of IPv4 or [::] for all; a port alone is loopback, with --device all";
        Option<long?> cache = Symbols.Cache("Memory for the cache [default: 64M]");
        Option<int> reactors = new("--reactors") { Description = "Threads that serve", HelpName = "N", DefaultValueFactory = _ => 1 };
        Option<string> device = new("--device")
        {
            Description = "sockets, or an interface with a TCP/IP stack of the server's own: tap:NAME, packet:IFACE, xdp:IFACE",
            HelpName = "DEVICE",
            DefaultValueFactory = _ => "sockets",
        };
        Option<bool> handlers = new("--handlers") { Description = "With packet:, have the kernel answer who connects, and requests that come again, where packets come in" };
        Option<string[]> address = new("--address") { Description = "Address of the server's own stack, with its prefix; may be given for IPv4 and IPv6. One that the interface has already stays the system's but for the port served [default: those of the interface]", HelpName = "ADDRESS" };
        Option<string[]> gateway = new("--gateway") { Description = "Who passes on packets for other links", HelpName = "ADDRESS" };
        ServeSettings settings = new();
        Option<string?> observe = Symbols.Observe();
        VerbCommand command = new("serve", "Serves the files of an image or a folder over HTTP. Ctrl-C or SIGTERM ends it.")
        {
            Examples =
            [
                "exo serve disk.img",
                "exo serve disk.img --listen 0.0.0.0:80 --cache 1G --reactors 4",
                "exo serve disk.img --listen 127.0.0.1:0 --status /-/status",
                "exo serve ./public --precompressed",
                "exo serve ./public --log /var/log/exo.log --idle-timeout 15s",
                "exo serve disk.img --device packet:eth0 --listen [::]:80",
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
        settings.AddTo(command);
        command.Add(observe);
        command.SetAction(parsed => Run(
            parsed.GetRequiredValue(image), ListenPointOf(parsed, listen, parsed.GetRequiredValue(device)), parsed.GetValue(cache), parsed.GetValue(reactors),
            ServeDevice.Parse(parsed.GetRequiredValue(device)) with { TakesHandlers = parsed.GetValue(handlers) }, parsed.GetValue(address) ?? [], parsed.GetValue(gateway) ?? [], parsed.GetValue(observe), settings, parsed));
        return command;
    }

    // A port alone, and nothing at all, is loopback; an interface that the server drives itself has no such address, so there it is all of them.
    private static IPEndPoint ListenPointOf(ParseResult parsed, Option<IPEndPoint> listen, string device)
    {
        IPEndPoint said = parsed.GetRequiredValue(listen);
        bool namesAddress = parsed.GetResult(listen)?.Tokens is [{ Value: var text }] && text.Contains(':', StringComparison.Ordinal);
        return device != "sockets" && !namesAddress
            ? new IPEndPoint(IPAddress.IPv6Any, said.Port)
            : said;
    }

    private static int Run(string image, IPEndPoint endPoint, long? cacheBytes, int reactors, ServeDevice where, string[] addresses, string[] gateways, string? observePath, ServeSettings settings, ParseResult parsed)
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

        bool isFolder = ServedContent.IsFolder(image);
        (NetworkStackOptions Network, bool IsShared)? network = where.IsRaw ? where.Network(addresses, gateways, endPoint) : null;
        ServePlan plan = settings.Read(parsed, endPoint, reactors, network?.Network, isFolder);
        using Interruption interruption = new(hangUp: plan.Server.AccessLog?.Path is null);
        using ServedContent content = ServedContent.Open(image, (cacheBytes ?? 64L << 20) + (where.IsRaw ? ServeDevice.PacketBytes : 0), plan.Folder);
        using ServedInterface? served = network is { } stack ? ServedInterface.Open(where, content.Frames, plan.Server.Network!, stack.IsShared) : null;
        CheetahServerOptions options = served is null ? plan.Server : plan.Server with { Device = served.Device, Network = served.Network };
        CheetahServer server = new(options, content.Source, content.Frames);
        server.Start();
        using PosixSignalRegistration? hangUp = options.AccessLog?.Path is null ? null : PosixSignalRegistration.Create(PosixSignal.SIGHUP, context =>
        {
            context.Cancel = true;
            _ = ReopenAsync(server);
        });
        using ObservationServer? observed = Observation.Start(observePath, $"exo serve {image}", content.Frames, content.Disk, () =>
        {
            CheetahCounters counters = server.Counters;
            return [new("requests", counters.Requests), new("requests refused", counters.RequestsRefused), new("connections", counters.ConnectionsAccepted), new("bytes sent", counters.BytesSent), new("cache hits", counters.CacheHits), new("cache misses", counters.CacheMisses)];
        });
        Console.WriteLine($"serving {image} on http://{server.EndPoint}/");
        try
        {
            server.Completion.Wait(interruption.Token);
        }
        catch (OperationCanceledException)
        {
            // Told to stop.
        }
        finally
        {
            server.StopAsync(plan.DrainTimeout).GetAwaiter().GetResult();
        }

        Console.WriteLine($"{server.Counters.Requests} requests served");
        if (server.Counters.AccessLogDropped is > 0 and var dropped)
        {
            Console.Error.WriteLine($"exo serve: {dropped} responses are missing in the log");
        }

        return 0;
    }

    private static async Task ReopenAsync(CheetahServer server)
    {
        try
        {
            await server.ReopenAccessLogAsync().ConfigureAwait(false);
        }
        catch (IOException failure)
        {
            await Console.Error.WriteLineAsync($"exo serve: {OneLine.Of(failure.Message)}").ConfigureAwait(false);
        }
    }
}
