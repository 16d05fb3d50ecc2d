// SPDX-License-Identifier: MIT
using Exo.Benchmarks.Peers.Machine;
using Exo.Benchmarks.Peers.Measuring;
using Exo.Benchmarks.Peers.Web;
using Exo.Net.Cheetah;

namespace Exo.Benchmarks.Peers.Rows;

/// <summary>
/// How long requests take that come at 30 % of the rate that nginx can do, the same for both: the time that 99 of 100 do not exceed, counted from when each was due.
/// 1 KiB, 32 connections kept alive, over veth; the generator polls.
/// </summary>
internal sealed class LatencyRow(string name, int busyPollUs) : IPeerRow
{
    private const int Connections = 32;
    private const double Share = 0.3;

    private readonly WebServers _servers = new();
    private double _requestsPerSecond;

    public string Name => name;

    public string Work => $"packet socket{(busyPollUs > 0 ? $", {busyPollUs} us of busy polling" : "")}: 1,024 bytes, requests at {Share:P0} of nginx's most, over veth";

    public string Peer => "nginx, tuned";

    public string Unit => "us, 99th percentile";

    public bool MoreIsBetter => false;

    public string? Missing() => TwoNamespaces.Missing() ?? Tool.Missing("nginx");

    public void Prepare(WorkFolder folder)
    {
        _servers.Open(folder, 1 << 10, busyPollUs, Ablations.None, WebServer.Raw, WebServer.Nginx);
        HttpLoadResult most = _servers.Measure(WebServer.Nginx, keepsAlive: true, Connections, 4).Load;
        _requestsPerSecond = Share * most.Requests / most.Seconds;
    }

    public double RunExo()
    {
        _servers.Warm(WebServer.Raw, keepsAlive: true, Connections);
        return Measure(WebServer.Raw);
    }

    public double RunPeer() => Measure(WebServer.Nginx);

    public void Dispose() => _servers.Dispose();

    private double Measure(WebServer server) => _servers.Measure(server, keepsAlive: true, Connections, 4, _requestsPerSecond).Load.P99Us;
}
