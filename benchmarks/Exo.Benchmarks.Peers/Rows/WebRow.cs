// SPDX-License-Identifier: MIT
using Exo.Benchmarks.Peers.Machine;
using Exo.Benchmarks.Peers.Measuring;
using Exo.Benchmarks.Peers.Web;
using Exo.Net.Cheetah;

namespace Exo.Benchmarks.Peers.Rows;

/// <summary>
/// One file over a veth pair between two namespaces: the server on processor 0, our load generator on processor 1, reno on both ends. The figure is
/// requests for each second of processor time that the server used, soft interrupts included. On veth that contains most of the client's receiving, which runs where the sender is.
/// <para>A handler that answers requests runs on the client's processor then, so the server's says nothing: such rows count the time of both processors, all that the load generator
/// does included, for us and for the peer; what is the server's alone is told on standard error.</para>
/// </summary>
/// <param name="name">The row's.</param>
/// <param name="lengthBytes">Bytes of the file.</param>
/// <param name="keepsAlive">Whether connections stay.</param>
/// <param name="exo">Ours.</param>
/// <param name="peer">The other.</param>
/// <param name="countsBoth">Whether the load generator's processor time counts too.</param>
internal sealed class WebRow(string name, int lengthBytes, bool keepsAlive, WebServer exo, WebServer peer, bool countsBoth = false) : IPeerRow
{
    private const int Connections = 32;
    private readonly WebServers _servers = new();

    public string Name => name;

    public string Work => $"{exo switch { WebServer.Raw => "packet socket", WebServer.RawHandlers => "packet socket, SYNs and known requests answered by a handler", WebServer.RawCustom => "packet socket, a handler of the application's", WebServer.RawKestrel => "Kestrel on a packet socket", _ => "sockets" }}: {lengthBytes} bytes, {Connections} {(keepsAlive ? "connections kept alive" : "connections at a time, one for each request")}, over veth";

    public string Peer => peer switch { WebServer.Nginx => "nginx, tuned", WebServer.Kestrel => "Kestrel on sockets, the same application", _ => "C, a bare epoll loop" };

    public string Unit => countsBoth ? "requests per second of both processors" : "requests per server processor second";

    public bool MoreIsBetter => true;

    public string? Missing() => TwoNamespaces.Missing() ?? Tool.Missing("nginx");

    public void Prepare(WorkFolder folder) => _servers.Open(folder, lengthBytes, busyPollUs: 0, Ablations.None, exo, peer);

    public double RunExo()
    {
        _servers.Warm(exo, keepsAlive, Connections);
        return Figure(_servers.Measure(exo, keepsAlive, Connections, 4));
    }

    public double RunPeer()
    {
        if (peer == WebServer.Kestrel)
        {
            _servers.Warm(peer, keepsAlive, Connections);
        }

        return Figure(_servers.Measure(peer, keepsAlive, Connections, 4));
    }

    private double Figure(WebMeasurement measured) => countsBoth ? measured.PerBothSecond : measured.PerServerSecond;

    public void Dispose() => _servers.Dispose();
}
