// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.RegularExpressions;
using Exo.Benchmarks.Peers.Machine;
using Exo.Benchmarks.Peers.Measuring;

namespace Exo.Benchmarks.Peers.Rows;

/// <summary>
/// One file over keep-alive connections: the server on processor 0, wrk on processor 1, both over loopback. A large one is a file of a folder, in the host's page cache for both servers; ours has a pool of a quarter of it, and curl fetches it
/// again and again.
/// </summary>
internal sealed partial class ServeRow(string name, int lengthBytes, bool isLarge = false) : IPeerRow
{
    private const int Connections = 50;
    private const int Seconds = 5;
    private const int Fetches = 5;

    private readonly List<Process> _servers = [];
    private int _exoPort;
    private int _nginxPort;

    public string Name => name;

    public string Work => isLarge ? $"a file of {lengthBytes >> 20} MiB in a folder, frame pool of {lengthBytes >> 22} MiB, one connection, server pinned to one processor" : $"a file of {lengthBytes} bytes, {Connections} connections kept alive, server pinned to one processor";

    public string Peer => "nginx, open_file_cache";

    public string Unit => isLarge ? "MB/s" : "requests/s";

    public bool MoreIsBetter => true;

    public string? Missing() =>
        Tool.Missing("nginx", "wrk", "curl", "taskset") ?? (Environment.ProcessorCount < 2 ? "needs two processors" : null);

    public void Prepare(WorkFolder folder)
    {
        string content = Directory.CreateDirectory(folder["content"]).FullName;
        byte[] bytes = new byte[lengthBytes];
        new Random(1).NextBytes(bytes);
        File.WriteAllBytes(Path.Combine(content, "file.bin"), bytes);
        _exoPort = FreePort();
        _nginxPort = FreePort();
        string[] served = [content, "--cache", $"{lengthBytes >> 22}M"];
        if (!isLarge)
        {
            string image = folder["site.img"];
            Tool.Run("dotnet", Tool.Exo("mkfs", image, "--size", "64M"));
            Tool.Run("dotnet", Tool.Exo("import", image, content));
            served = [image];
        }

        Serve(["-c", "0", "dotnet", .. Tool.Exo(["serve", .. served, "--listen", $"127.0.0.1:{_exoPort}"])], _exoPort);

        // A prefix of its own, so that nothing of the machine's own configuration is read.
        string prefix = Directory.CreateDirectory(folder["nginx"]).FullName;
        string configuration = Path.Combine(prefix, "nginx.conf");
        File.WriteAllText(configuration, $$"""
            worker_processes 1;
            daemon off;
            pid {{prefix}}/nginx.pid;
            error_log {{prefix}}/error.log;
            events { worker_connections 1024; }
            http {
              access_log off;
              sendfile on;
              tcp_nopush on;
              keepalive_requests 1000000000;
              open_file_cache max=100 inactive=1h;
              open_file_cache_valid 1h;
              server { listen 127.0.0.1:{{_nginxPort}}; root {{content}}; }
            }
            """);
        Tool.Run("chmod", "-R", "a+rX", folder.Root);
        Serve(["-c", "0", "nginx", "-p", prefix, "-c", configuration], _nginxPort);
    }

    public double RunExo() => Load(_exoPort);

    public double RunPeer() => Load(_nginxPort);

    public void Dispose()
    {
        foreach (Process server in _servers)
        {
            if (!server.HasExited)
            {
                // Politely: both end their work and their children on SIGTERM.
                Tool.Run("kill", server.Id.ToString(CultureInfo.InvariantCulture));
                server.WaitForExit(10_000);
            }

            server.Dispose();
        }

        _servers.Clear();
    }

    private void Serve(string[] command, int port)
    {
        Process server = Tool.Start("taskset", command);
        _servers.Add(server);
        _ = server.StandardOutput.ReadToEndAsync();
        Task<string> errors = server.StandardError.ReadToEndAsync();
        for (int attempt = 0; attempt < 200; attempt++)
        {
            if (server.HasExited)
            {
                throw new InvalidOperationException($"{string.Join(' ', command)} ended: {errors.Result}");
            }

            try
            {
                using TcpClient client = new();
                client.Connect(IPAddress.Loopback, port);
                return;
            }
            catch (SocketException)
            {
                Thread.Sleep(50);
            }
        }

        throw new InvalidOperationException($"{string.Join(' ', command)} does not listen");
    }

    private double Load(int port)
    {
        if (isLarge)
        {
            string url = $"http://127.0.0.1:{port}/file.bin";
            string speeds = Tool.Run("taskset", ["-c", "1", "curl", "-sS", "--fail", "-w", "%{speed_download}\n", .. Enumerable.Repeat((string[])["-o", "/dev/null", url], Fetches).SelectMany(one => one)]);
            return speeds.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(speed => double.Parse(speed, CultureInfo.InvariantCulture)).Average() / 1e6;
        }

        string output = Tool.Run(
            "taskset", "-c", "1", "wrk", "-t", "1", "-c", $"{Connections}", "-d", $"{Seconds}s", $"http://127.0.0.1:{port}/file.bin");
        if (output.Contains("Non-2xx", StringComparison.Ordinal) || output.Contains("Socket errors", StringComparison.Ordinal))
        {
            throw new InvalidOperationException($"wrk saw errors: {output}");
        }

        return double.Parse(Rate().Match(output).Groups[1].Value, CultureInfo.InvariantCulture);
    }

    private static int FreePort()
    {
        using TcpListener listener = new(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    [GeneratedRegex(@"Requests/sec:\s+([\d.]+)")]
    private static partial Regex Rate();
}
