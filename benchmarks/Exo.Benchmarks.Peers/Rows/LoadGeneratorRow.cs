// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using Exo.Benchmarks.Peers.Machine;
using Exo.Benchmarks.Peers.Measuring;
using Exo.Benchmarks.Peers.Web;

namespace Exo.Benchmarks.Peers.Rows;

/// <summary>
/// Our load generator beside wrk, before the same server (the bare epoll loop): requests for each second of processor time that the generator used. What the two
/// see of the server must agree where both keep up; this row says how much sooner wrk is the bottleneck.
/// </summary>
internal sealed partial class LoadGeneratorRow(string name, bool keepsAlive) : IPeerRow
{
    private const int Port = 8000;
    private const int Connections = 32;

    private readonly TwoNamespaces _network = new();
    private Process? _server;

    public string Name => name;

    public string Work => $"1,024 bytes from a bare epoll loop over veth, {(keepsAlive ? "connections kept alive" : "a connection for each request")}";

    public string Peer => "wrk";

    public string Unit => "requests per client processor second";

    public bool MoreIsBetter => true;

    public string? Missing() => TwoNamespaces.Missing() ?? Tool.Missing("wrk");

    public void Prepare(WorkFolder folder)
    {
        _network.Open();
        _server = Tool.Start("ip", TwoNamespaces.Command(
            _network.Server, 0, CProgram.Compile(folder, "epoll_server"), TwoNamespaces.ServerAddress, $"{Port}", "1024"));
        Thread.Sleep(200);
    }

    public double RunExo()
    {
        HttpLoadResult result = WebServers.Load(_network, $"{TwoNamespaces.ServerAddress}:{Port}", keepsAlive, Connections, seconds: 4);
        Console.Error.WriteLine($"  ours: {result.Requests / result.Seconds:0} requests/s, {result}");
        return result.Requests / result.ProcessorSeconds;
    }

    public double RunPeer()
    {
        string[] header = keepsAlive ? [] : ["-H", "Connection: close"];
        string output = Tool.Run("ip", TwoNamespaces.Command(
            _network.Client, 1, ["bash", "-c", "wrk \"$@\"; times", "wrk", "-t", "1", "-c", $"{Connections}", "-d", "4s", .. header,
            $"http://{TwoNamespaces.ServerAddress}:{Port}/file.bin"]));
        double requests = double.Parse(Requests().Match(output).Groups[1].Value, CultureInfo.InvariantCulture);

        // The last line of "times": user and system time of the children.
        double seconds = Times().Matches(output.TrimEnd().Split('\n')[^1])
            .Sum(match => double.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture) * 60 + double.Parse(match.Groups[2].Value, CultureInfo.InvariantCulture));
        Console.Error.WriteLine($"  wrk: {Rate().Match(output).Groups[1].Value} requests/s, {seconds:0.00} s");
        return requests / seconds;
    }

    public void Dispose()
    {
        if (_server is { HasExited: false })
        {
            Tool.Run("kill", _server.Id.ToString(CultureInfo.InvariantCulture));
            _server.WaitForExit(10_000);
        }

        _server?.Dispose();
        _server = null;
        _network.Dispose();
    }

    [GeneratedRegex(@"(\d+) requests in")]
    private static partial Regex Requests();

    [GeneratedRegex(@"Requests/sec:\s+([\d.]+)")]
    private static partial Regex Rate();

    [GeneratedRegex(@"(\d+)m([\d.]+)s")]
    private static partial Regex Times();
}
