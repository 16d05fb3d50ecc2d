// SPDX-License-Identifier: MIT
namespace Exo.Benchmarks.Peers.Machine;

/// <summary>
/// Two network namespaces with a veth pair between them, as the definitions of the web rows want them: the server's end, the client's end, reno on both, receive
/// packet steering off.
/// </summary>
internal sealed class TwoNamespaces : IDisposable
{
    public const string ServerLink = "exo-s";
    public const string ClientLink = "exo-c";
    public const string ServerAddress = "10.78.0.1";
    public const string ClientAddress = "10.78.0.2";

    private static int s_count;

    private readonly string _name = $"exo-bench-{Environment.ProcessId}-{Interlocked.Increment(ref s_count)}";

    public string Server => _name + "s";

    public string Client => _name + "c";

    public static string? Missing() => Tool.Missing("ip", "taskset", "gcc", "sysctl") ?? Tool.NotRoot()
        ?? (Environment.ProcessorCount < 2 ? "needs two processors" : null);

    public void Open()
    {
        Tool.Run("ip", "netns", "add", Server);
        Tool.Run("ip", "netns", "add", Client);
        Tool.Run("ip", "-n", Server, "link", "add", ServerLink, "type", "veth", "peer", "name", ClientLink, "netns", Client);
        foreach ((string space, string link, string address) in ((string, string, string)[])[(Server, ServerLink, ServerAddress), (Client, ClientLink, ClientAddress)])
        {
            Tool.Run("ip", "-n", space, "link", "set", "lo", "up");
            Tool.Run("ip", "-n", space, "addr", "add", $"{address}/24", "dev", link);
            Tool.Run("ip", "-n", space, "link", "set", link, "addrgenmode", "none", "up");
            Tool.Run("ip", "netns", "exec", space, "sysctl", "-qw", "net.ipv4.tcp_congestion_control=reno", "net.core.somaxconn=8192", "net.ipv4.ip_local_port_range=1024 65535");
            Tool.Run("ip", "netns", "exec", space, "sh", "-c", $"echo 0 > /sys/class/net/{link}/queues/rx-0/rps_cpus");
        }
    }

    /// <summary>The command that runs another one in a namespace on one processor.</summary>
    public static string[] Command(string space, int processor, params string[] command) =>
        ["netns", "exec", space, "taskset", "-c", processor.ToString(System.Globalization.CultureInfo.InvariantCulture), .. command];

    public void Dispose()
    {
        foreach (string space in (string[])[Server, Client])
        {
            if (File.Exists($"/run/netns/{space}"))
            {
                Tool.Run("ip", "netns", "del", space);
            }
        }
    }
}
