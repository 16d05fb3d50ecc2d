// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using Exo.Benchmarks.Peers.Machine;
using Exo.Benchmarks.Peers.Measuring;
using Exo.Benchmarks.Peers.Wire;

namespace Exo.Benchmarks.Peers.Rows;

/// <summary>
/// Bytes that arrive over a bad wire: the kernel takes what our stack sends, and what the kernel's CUBIC sends, behind the same faults. The wire is the bottleneck, not a processor.
/// <code>
///   sender's namespace --veth-- relay (loss, delay, order) --veth-- receiver's namespace
/// </code>
/// </summary>
internal sealed class LossRow(string name, WireFaults faults) : IPeerRow
{
    private const int Connections = 4;
    private const int Port = 9000;
    private const string SenderLink = "exo-s", ReceiverLink = "exo-r", RelaySender = "exo-ws", RelayReceiver = "exo-wr";
    private const string SenderAddress = "10.79.0.1", ReceiverAddress = "10.79.0.2", ExoAddress = "10.79.0.3";
    private const double Seconds = 10;

    private readonly string _sender = $"exo-bench-{Environment.ProcessId}s", _relay = $"exo-bench-{Environment.ProcessId}w", _receiver = $"exo-bench-{Environment.ProcessId}r";
    private Process? _wire;

    public string Name => name;

    public string Work => string.Create(
        CultureInfo.InvariantCulture,
        $"{Connections} connections send for {Seconds} s over {2 * faults.DelayMs} ms and back, {faults.Loss:P1} lost, {faults.Reordering:P1} overtaken, each way");

    public string Peer => "the kernel's CUBIC";

    public string Unit => "MB/s";

    public bool MoreIsBetter => true;

    public string? Missing() => TwoNamespaces.Missing();

    public void Prepare(WorkFolder folder)
    {
        foreach (string space in (string[])[_sender, _relay, _receiver])
        {
            Tool.Run("ip", "netns", "add", space);
        }

        Connect(_sender, SenderLink, RelaySender, SenderAddress);
        Connect(_receiver, ReceiverLink, RelayReceiver, ReceiverAddress);
        _wire = Tool.Start("ip", TwoNamespaces.Command(
            _relay, 1, [.. Self, "wire-relay", RelaySender, RelayReceiver, "--loss", Text(faults.Loss), "--reorder", Text(faults.Reordering), "--delay", Text(faults.DelayMs)]));
        if (_wire.StandardOutput.ReadLine() != "ready")
        {
            throw new InvalidOperationException($"the relay does not run: {_wire.StandardError.ReadToEnd()}");
        }
    }

    public double RunExo() => Measure("bulk-send-exo", SenderLink, $"{ExoAddress}/24");

    public double RunPeer() => Measure("bulk-send");

    public void Dispose()
    {
        if (_wire is { HasExited: false })
        {
            Tool.Run("kill", _wire.Id.ToString(CultureInfo.InvariantCulture));
            _wire.WaitForExit(10_000);
        }

        _wire?.Dispose();
        _wire = null;
        foreach (string space in (string[])[_sender, _relay, _receiver])
        {
            if (File.Exists($"/run/netns/{space}"))
            {
                Tool.Run("ip", "netns", "del", space);
            }
        }
    }

    private static string[] Self => ["dotnet", Path.Combine(AppContext.BaseDirectory, "Exo.Benchmarks.Peers.dll")];

    private static string Text(double number) => number.ToString(CultureInfo.InvariantCulture);

    private void Connect(string space, string link, string relayLink, string address)
    {
        Tool.Run("ip", "-n", space, "link", "add", link, "type", "veth", "peer", "name", relayLink, "netns", _relay);
        Tool.Run("ip", "-n", space, "addr", "add", $"{address}/24", "dev", link);
        foreach ((string where, string what) in ((string, string)[])[(space, link), (_relay, relayLink)])
        {
            Tool.Run("ip", "-n", where, "link", "set", what, "addrgenmode", "none", "up");

            // No checksums and no segments left to others: on a wire every packet is one.
            Tool.Run("ip", TwoNamespaces.Command(where, 0, [.. Self, "plain-wire", what]));
        }
    }

    private double Measure(string verb, params string[] device)
    {
        using Process receiver = Tool.Start("ip", TwoNamespaces.Command(
            _receiver, 0, [.. Self, "bulk-receive", $"{ReceiverAddress}:{Port}", $"{Connections}", Text(Seconds)]));
        if (receiver.StandardError.ReadLine() != "ready")
        {
            throw new InvalidOperationException($"the receiver does not listen: {receiver.StandardError.ReadToEnd()}");
        }

        using Process sender = Tool.Start("ip", TwoNamespaces.Command(_sender, 0, [.. Self, verb, $"{ReceiverAddress}:{Port}", $"{Connections}", .. device]));
        string rate = receiver.StandardOutput.ReadToEnd();
        receiver.WaitForExit();
        if (!sender.WaitForExit(3000))
        {
            Tool.Run("kill", sender.Id.ToString(CultureInfo.InvariantCulture));
            sender.WaitForExit(10_000);
        }

        return double.Parse(rate, CultureInfo.InvariantCulture) / 1e6;
    }
}
