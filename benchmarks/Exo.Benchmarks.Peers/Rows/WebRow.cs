// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using Exo.Benchmarks.Peers.Machine;
using Exo.Benchmarks.Peers.Measuring;
using Exo.Benchmarks.Peers.Web;

namespace Exo.Benchmarks.Peers.Rows;

/// <summary>A server that the web rows know.</summary>
internal enum WebServer
{
    /// <summary>Exo on ordinary sockets.</summary>
    Exo,

    /// <summary>Exo on a packet socket, with a TCP of its own.</summary>
    Raw,

    /// <summary>nginx with one worker.</summary>
    Nginx,

    /// <summary>epoll_server.c.</summary>
    Epoll,
}

/// <summary>
/// One file over a veth pair between two namespaces: the server on processor 0, our load generator on processor 1, reno on both ends. The figure is
/// requests for each second of processor time that the server's processes used. On veth that includes most of the client's receiving, which runs where the sender is.
/// </summary>
internal sealed class WebRow(string name, int lengthBytes, bool keepsAlive, WebServer exo, WebServer peer) : IPeerRow
{
    private const int Connections = 32;
    private const int Port = 8000;

    // Nobody's in the kernel.
    private const string RawAddress = "10.78.0.4";

    private readonly TwoNamespaces _network = new();
    private readonly List<Process> _servers = [];
    private readonly Dictionary<WebServer, int[]> _processes = [];

    public string Name => name;

    public string Work => $"{(exo == WebServer.Raw ? "packet socket" : "sockets")}: {lengthBytes} bytes, {Connections} {(keepsAlive ? "connections kept alive" : "connections at a time, one for each request")}, over veth";

    public string Peer => peer == WebServer.Nginx ? "nginx, tuned" : "C, a bare epoll loop";

    public string Unit => "requests per server processor second";

    public bool MoreIsBetter => true;

    public string? Missing() => TwoNamespaces.Missing() ?? Tool.Missing("nginx");

    public void Prepare(WorkFolder folder)
    {
        _network.Open();
        WebContent content = WebContent.Make(folder, lengthBytes);
        if (exo == WebServer.Raw)
        {
            Serve(
                WebServer.Raw, "dotnet", Path.Combine(AppContext.BaseDirectory, "Exo.Benchmarks.Peers.dll"), "raw-serve", TwoNamespaces.ServerLink, RawAddress,
                $"{Port + (int)WebServer.Raw}", lengthBytes.ToString(CultureInfo.InvariantCulture));
        }
        else
        {
            Serve(WebServer.Exo, "dotnet", Tool.Exo("serve", content.Image, "--listen", $"{TwoNamespaces.ServerAddress}:{Port + (int)WebServer.Exo}"));
        }

        if (peer == WebServer.Nginx)
        {
            Serve(WebServer.Nginx, "nginx", "-p", content.NginxPrefix, "-c", content.WriteNginx(TwoNamespaces.ServerAddress, Port + (int)WebServer.Nginx));
        }
        else
        {
            Serve(
                WebServer.Epoll, CProgram.Compile(folder, "epoll_server"), TwoNamespaces.ServerAddress,
                $"{Port + (int)WebServer.Epoll}", lengthBytes.ToString(CultureInfo.InvariantCulture));
        }
    }

    public double RunExo()
    {
        // Until the server's compiler has done its work, by processor time: on a busy machine a second of the clock may be little.
        for (int i = 0; i < 10 && ProcessorTime.OfProcesses(_processes[exo]) < 3; i++)
        {
            Measure(exo);
        }

        return Measure(exo);
    }

    public double RunPeer() => Measure(peer);

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

    private double Measure(WebServer server)
    {
        double before = ProcessorTime.OfProcesses(_processes[server]), busyBefore = ProcessorTime.OfProcessor(0);
        HttpLoadResult result = Load(
            _network, $"{(server == WebServer.Raw ? RawAddress : TwoNamespaces.ServerAddress)}:{Port + (int)server}", keepsAlive, Connections, seconds: 4);
        double used = ProcessorTime.OfProcesses(_processes[server]) - before, busy = ProcessorTime.OfProcessor(0) - busyBefore;
        Console.Error.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"  {server}: {result.Requests / result.Seconds:0}/s, {result.RequestsInAll / used:0} per server second ({used:0.00} s; its processor {busy:0.00} s), client {result.ProcessorSeconds / result.Seconds:0.00}, p50 {result.P50Us:0} us, p99 {result.P99Us:0} us, resent {result.Retransmissions}, failed {result.Failures}"));
        if (result.Failures > 0 || result.Requests == 0)
        {
            throw new InvalidOperationException($"{server}: {result}");
        }

        return result.RequestsInAll / used;
    }

    /// <summary>Runs the load generator in the client's namespace on processor 1.</summary>
    internal static HttpLoadResult Load(TwoNamespaces network, string server, bool keepsAlive, int connections, double seconds)
    {
        string output = Tool.Run("ip", TwoNamespaces.Command(
            network.Client, 1, "dotnet", Path.Combine(AppContext.BaseDirectory, "Exo.Benchmarks.Peers.dll"), "http-load", TwoNamespaces.ClientLink, "10.78.0.3",
            server, "/file.bin", "--connections", $"{connections}", "--seconds", seconds.ToString(CultureInfo.InvariantCulture),
            "--keep-alive", keepsAlive ? "true" : "false"));
        return JsonSerializer.Deserialize<HttpLoadResult>(output) ?? throw new InvalidOperationException("the load generator said nothing");
    }

    private void Serve(WebServer kind, string program, params string[] arguments)
    {
        Process server = Tool.Start("ip", TwoNamespaces.Command(_network.Server, 0, [program, .. arguments]));
        _servers.Add(server);
        Task<string> errors = server.StandardError.ReadToEndAsync();
        Task<string?> ready = kind == WebServer.Raw ? server.StandardOutput.ReadLineAsync() : Task.FromResult<string?>(null);
        if (kind != WebServer.Raw)
        {
            _ = server.StandardOutput.ReadToEndAsync();
        }

        int port = Port + (int)kind;
        for (int attempt = 0; ; attempt++)
        {
            if (server.HasExited || attempt == 600)
            {
                throw new InvalidOperationException($"{program} does not serve: {(server.HasExited ? errors.Result : "")}");
            }

            if (kind == WebServer.Raw && ready.IsCompleted)
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

        int[] known = [.. _processes.Values.SelectMany(ids => ids)];
        string ids = Tool.Run("ip", "netns", "pids", _network.Server);
        _processes[kind] = [.. ids.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(id => int.Parse(id, CultureInfo.InvariantCulture)).Except(known)];
    }
}
