// SPDX-License-Identifier: MIT
using Exo.Benchmarks.Peers.Machine;
using Exo.Benchmarks.Peers.Measuring;
using Exo.Benchmarks.Peers.Web;
using Exo.Net.Cheetah;

namespace Exo.Benchmarks.Peers.Rows;

/// <summary>Cheetah on a packet socket beside itself without one of its ideas.</summary>
/// <param name="name">What the row is called.</param>
/// <param name="lengthBytes">Of the document.</param>
/// <param name="keepsAlive">One connection for all requests, or one for each.</param>
/// <param name="without">What the peer leaves out.</param>
/// <param name="always">What both leave out, where only that shows what the idea is for.</param>
/// <param name="whole">Which server is whole; the peer is <see cref="WebServer.Raw"/>.</param>
internal sealed class AblationRow(string name, int lengthBytes, bool keepsAlive, Ablations without, Ablations always = Ablations.None, WebServer whole = WebServer.Raw) : IPeerRow
{
    private const int Connections = 32;

    // Each in namespaces of its own: on one interface either would see the packets of both.
    private readonly WebServers _whole = new(), _without = new();

    public string Name => name;

    public string Work => $"packet socket{(always == Ablations.None ? "" : $" without {always}")}: {lengthBytes} bytes, {Connections} {(keepsAlive ? "connections kept alive" : "connections at a time, one for each request")}";

    public string Peer => whole == WebServer.Raw ? $"without {without}" : "without handlers";

    public string Unit => "requests per server processor second";

    public bool MoreIsBetter => true;

    public string? Missing() => TwoNamespaces.Missing();

    public void Prepare(WorkFolder folder)
    {
        _whole.Open(folder, lengthBytes, busyPollUs: 0, always, whole);
        _without.Open(folder, lengthBytes, busyPollUs: 0, always | without, WebServer.Raw);
    }

    public double RunExo() => Measure(_whole, whole);

    public double RunPeer() => Measure(_without, WebServer.Raw);

    public void Dispose()
    {
        _whole.Dispose();
        _without.Dispose();
    }

    private double Measure(WebServers servers, WebServer kind)
    {
        servers.Warm(kind, keepsAlive, Connections);
        return servers.Measure(kind, keepsAlive, Connections, 4).PerServerSecond;
    }
}
