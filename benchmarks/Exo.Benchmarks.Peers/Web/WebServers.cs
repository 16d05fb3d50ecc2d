// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Exo.Benchmarks.Peers.Machine;
using Exo.Net.Cheetah;

namespace Exo.Benchmarks.Peers.Web;

/// <summary>A server that the web rows know.</summary>
internal enum WebServer
{
    /// <summary>Exo on ordinary sockets.</summary>
    Exo,

    /// <summary>Exo on a packet socket, with a TCP of its own.</summary>
    Raw,

    /// <summary>The same, with SYNs and known requests answered where they come in.</summary>
    RawHandlers,

    /// <summary>Exo on a packet socket, every response written by a handler of the application's.</summary>
    RawCustom,

    /// <summary>nginx with one worker.</summary>
    Nginx,

    /// <summary>epoll_server.c.</summary>
    Epoll,

    /// <summary>Kestrel on ordinary sockets.</summary>
    Kestrel,

    /// <summary>Kestrel on Exo's TCP, on a packet socket.</summary>
    RawKestrel,
}

/// <summary>What one load did to a server.</summary>
/// <param name="Load">What the generator saw.</param>
/// <param name="ServerSeconds">Processor time of the server's processes, and of the kernel's thread for the soft interrupts of its processor.</param>
internal sealed record WebMeasurement(HttpLoadResult Load, double ServerSeconds)
{
    /// <summary>Requests for each second of it.</summary>
    public double PerServerSecond => Load.RequestsInAll / ServerSeconds;

    /// <summary>Requests for each second of both processors, the load generator's own work included: what is done where packets come in is done, on veth, on the sender's processor.</summary>
    public double PerBothSecond => 1 / ((ServerSeconds / Load.RequestsInAll) + (Load.ProcessorSeconds / Load.Requests));
}

/// <summary>One file behind several servers on processor 0 of one namespace, and our load generator on processor 1 in the other.</summary>
internal sealed class WebServers : IDisposable
{
    private const int Port = 8000;

    // Nobody's in the kernel.
    private const string RawAddress = "10.78.0.4";

    private readonly TwoNamespaces _network = new();
    private readonly List<Process> _servers = [];
    private readonly Dictionary<WebServer, int[]> _processes = [];

    public void Open(WorkFolder folder, int lengthBytes, int busyPollUs, Ablations without, params ReadOnlySpan<WebServer> kinds)
    {
        _network.Open();
        WebContent? content = kinds.ContainsAny(WebServer.Exo, WebServer.Nginx) ? WebContent.Make(folder, lengthBytes) : null;
        string length = lengthBytes.ToString(CultureInfo.InvariantCulture);
        foreach (WebServer kind in kinds)
        {
            string port = PortOf(kind).ToString(CultureInfo.InvariantCulture);
            switch (kind)
            {
                case WebServer.Raw or WebServer.RawHandlers or WebServer.RawCustom:
                    Serve(
                        kind, "dotnet", Path.Combine(AppContext.BaseDirectory, "Exo.Benchmarks.Peers.dll"), "raw-serve", TwoNamespaces.ServerLink, RawAddress, port, length,
                        "--busy-poll", busyPollUs.ToString(CultureInfo.InvariantCulture), "--without", without.ToString(), "--handlers", kind == WebServer.RawHandlers ? "true" : "false", "--custom", kind == WebServer.RawCustom ? "true" : "false");
                    break;
                case WebServer.Kestrel:
                    Serve(kind, "dotnet", Path.Combine(AppContext.BaseDirectory, "Exo.Benchmarks.Peers.dll"), "kestrel-serve", TwoNamespaces.ServerAddress, port, length);
                    break;
                case WebServer.RawKestrel:
                    Serve(
                        kind, "dotnet", Path.Combine(AppContext.BaseDirectory, "Exo.Benchmarks.Peers.dll"), "kestrel-serve", RawAddress, port, length, "--device", TwoNamespaces.ServerLink);
                    break;
                case WebServer.Exo:
                    Serve(kind, "dotnet", Tool.Exo("serve", content!.Image, "--listen", $"{TwoNamespaces.ServerAddress}:{port}"));
                    break;
                case WebServer.Nginx:
                    Serve(kind, "nginx", "-p", content!.NginxPrefix, "-c", content.WriteNginx(TwoNamespaces.ServerAddress, PortOf(kind)));
                    break;
                default:
                    Serve(kind, CProgram.Compile(folder, "epoll_server"), TwoNamespaces.ServerAddress, port, length);
                    break;
            }
        }
    }

    /// <summary>Loads a server until its compiler has done its work, by processor time: on a busy machine a second of the clock may be little.</summary>
    public void Warm(WebServer server, bool keepsAlive, int connections)
    {
        const double Seconds = 4, Idle = 0.1;
        for (int i = 0; i < 10 && ProcessorTime.OfProcesses(_processes[server]) < 3; i++)
        {
            if (Measure(server, keepsAlive, connections, Seconds).ServerSeconds < Idle * Seconds)
            {
                break;   // handlers do its work, which nothing compiles
            }
        }
    }

    /// <summary>One load, told on standard error too.</summary>
    /// <exception cref="InvalidOperationException">The server did not answer, or not well.</exception>
    public WebMeasurement Measure(WebServer server, bool keepsAlive, int connections, double seconds, double requestsPerSecond = 0)
    {
        double before = ProcessorTime.OfProcesses(_processes[server]) + ProcessorTime.OfSoftInterrupts(0);
        HttpLoadResult result = Load(
            _network, $"{(IsRaw(server) ? RawAddress : TwoNamespaces.ServerAddress)}:{PortOf(server)}", keepsAlive, connections, seconds, requestsPerSecond);
        double used = ProcessorTime.OfProcesses(_processes[server]) + ProcessorTime.OfSoftInterrupts(0) - before;
        Console.Error.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"  {server}: {result.Requests / result.Seconds:0}/s, {used / result.RequestsInAll * 1e6:0.00} us of the server each, {((used / result.RequestsInAll) + (result.ProcessorSeconds / result.Requests)) * 1e6:0.00} us of both, client {result.ProcessorSeconds / result.Seconds:0.00}, p50 {result.P50Us:0} us, p99 {result.P99Us:0} us, resent {result.Retransmissions}, failed {result.Failures}"));
        return result.Failures > 0 || result.Requests == 0 ? throw new InvalidOperationException($"{server}: {result}") : new WebMeasurement(result, used);
    }

    /// <summary>Runs the load generator in the client's namespace on processor 1.</summary>
    public static HttpLoadResult Load(TwoNamespaces network, string server, bool keepsAlive, int connections, double seconds, double requestsPerSecond = 0)
    {
        string output = Tool.Run("ip", TwoNamespaces.Command(
            network.Client, 1, "dotnet", Path.Combine(AppContext.BaseDirectory, "Exo.Benchmarks.Peers.dll"), "http-load", TwoNamespaces.ClientLink, "10.78.0.3",
            server, "/file.bin", "--connections", $"{connections}", "--seconds", seconds.ToString(CultureInfo.InvariantCulture),
            "--keep-alive", keepsAlive ? "true" : "false", "--rate", requestsPerSecond.ToString(CultureInfo.InvariantCulture)));
        return JsonSerializer.Deserialize<HttpLoadResult>(output) ?? throw new InvalidOperationException("the load generator said nothing");
    }

    public void Dispose()
    {
        foreach (Process server in _servers)
        {
            if (!server.HasExited)
            {
                Tool.Run("kill", server.Id.ToString(CultureInfo.InvariantCulture));
                server.WaitForExit(10_000);
            }

            server.Dispose();
        }

        _servers.Clear();
        _network.Dispose();
    }

    private static bool IsRaw(WebServer kind) => kind is WebServer.Raw or WebServer.RawHandlers or WebServer.RawCustom or WebServer.RawKestrel;

    private static int PortOf(WebServer kind) => Port + (int)kind;

    private void Serve(WebServer kind, string program, params string[] arguments)
    {
        Process server = Tool.Start("ip", TwoNamespaces.Command(_network.Server, 0, [program, .. arguments]));
        _servers.Add(server);
        Task<string> errors = server.StandardError.ReadToEndAsync();
        Task<string?> ready = IsRaw(kind) ? server.StandardOutput.ReadLineAsync() : Task.FromResult<string?>(null);
        if (!IsRaw(kind))
        {
            _ = server.StandardOutput.ReadToEndAsync();
        }

        int port = PortOf(kind);
        for (int attempt = 0; ; attempt++)
        {
            if (server.HasExited || attempt == 600)
            {
                throw new InvalidOperationException($"{program} does not serve: {(server.HasExited ? errors.Result : "")}");
            }

            if (IsRaw(kind) && ready.IsCompleted)
            {
                break;
            }

            // A listening socket, as the namespace sees it: connecting would need a process in there.
            string listening = Tool.Run("ip", "netns", "exec", _network.Server, "cat", "/proc/net/tcp");
            if (listening.Contains($":{port:X4} 00000000:0000 0A", StringComparison.Ordinal))
            {
                break;
            }

            Thread.Sleep(50);
        }

        // nginx listens before it has made its worker.
        int[] known = [.. _processes.Values.SelectMany(ids => ids)], mine;
        do
        {
            string ids = Tool.Run("ip", "netns", "pids", _network.Server);
            mine = [.. ids.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(id => int.Parse(id, CultureInfo.InvariantCulture)).Except(known)];
        }
        while (mine.Length < (kind == WebServer.Nginx ? 2 : 1) && !server.HasExited);

        _processes[kind] = mine;
    }
}
