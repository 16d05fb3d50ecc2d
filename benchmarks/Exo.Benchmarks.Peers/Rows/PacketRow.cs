// SPDX-License-Identifier: MIT
using System.Globalization;
using Exo.Benchmarks.Peers.Machine;
using Exo.Benchmarks.Peers.Measuring;

namespace Exo.Benchmarks.Peers.Rows;

/// <summary>Packets of one size sent by one thread into a peer that drops them: our driver beside the same calls from C.</summary>
internal sealed class PacketRow(string name, string driver, int bytes) : IPeerRow
{
    private const string Seconds = "2";

    private readonly TwoNamespaces _network = new();
    private string _program = "";

    public string Name => name;

    public string Work => $"packets of {bytes} bytes through {driver}, sent by one thread pinned to a processor, dropped by the other end";

    public string Peer => IsTap ? "C, writev on TAP" : "C, sendmmsg on a packet socket";

    public string Unit => "packets per processor second";

    public bool MoreIsBetter => true;

    private bool IsTap => driver == "tap";

    public string? Missing() => TwoNamespaces.Missing();

    public void Prepare(WorkFolder folder)
    {
        _program = CProgram.Compile(folder, "packet_send");
        _network.Open();
    }

    public double RunExo() => Rate("dotnet", Path.Combine(AppContext.BaseDirectory, "Exo.Benchmarks.Peers.dll"), "packet-send", driver);

    public double RunPeer() => Rate(_program, IsTap ? "tap" : "packet");

    public void Dispose() => _network.Dispose();

    private double Rate(params string[] command)
    {
        string output = Tool.Run("ip", TwoNamespaces.Command(
            _network.Server, 0, [.. command, IsTap ? "exo-t" : TwoNamespaces.ServerLink, bytes.ToString(CultureInfo.InvariantCulture), Seconds]));
        double[] figures = [.. output.Split(' ').Select(text => double.Parse(text, CultureInfo.InvariantCulture))];
        return figures[0] / figures[1];
    }
}
