// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Net;
using System.Text;

namespace Exo.Tests;

/// <summary>Two network namespaces with a veth pair between them; the kernel has addresses of both families on each side. Gone when disposed.</summary>
internal sealed class TwoNamespaces : IDisposable
{
    public const string ServerLink = "eth0", ClientLink = "eth0";

    public static readonly IPAddress[] ServerAddresses = [IPAddress.Parse("10.78.0.1"), IPAddress.Parse("fd78::1")];

    private static int s_number;

    private readonly string _name = $"exo-shared-{Environment.ProcessId}-{Interlocked.Increment(ref s_number)}";

    public TwoNamespaces()
    {
        Requires.Root();
        Requires.Program("ip");
        try
        {
            Ip("netns", "add", Server);
            Ip("netns", "add", Client);
            Ip("-n", Server, "link", "add", ServerLink, "type", "veth", "peer", "name", ClientLink, "netns", Client);
            foreach ((string space, string link, string v4, string v6) in ((string, string, string, string)[])[
                (Server, ServerLink, "10.78.0.1/24", "fd78::1/64"), (Client, ClientLink, "10.78.0.2/24", "fd78::2/64")])
            {
                Ip("-n", space, "link", "set", "lo", "up");
                Ip("-n", space, "link", "set", link, "up");
                Ip("-n", space, "addr", "add", v4, "dev", link);
                Ip("-n", space, "addr", "add", v6, "dev", link, "nodad");
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public string Server => _name + "s";

    public string Client => _name + "c";

    /// <summary>What the kernel tells of the server's interface, without what counts.</summary>
    public string LinkOfServer() => Ip("-n", Server, "-d", "link", "show", ServerLink);

    /// <summary>Resets that the kernel's own TCP of the server's side has sent.</summary>
    public long ResetsOfServer()
    {
        string[][] tcp = [.. Run("ip", "netns", "exec", Server, "cat", "/proc/net/snmp").Split('\n').Where(line => line.StartsWith("Tcp:", StringComparison.Ordinal)).Select(line => line.Split(' '))];
        return long.Parse(tcp[1][Array.IndexOf(tcp[0], "OutRsts")], CultureInfo.InvariantCulture);
    }

    public void Dispose()
    {
        foreach (string space in (string[])[Server, Client])
        {
            if (File.Exists($"/run/netns/{space}"))
            {
                Ip("netns", "del", space);
            }
        }
    }

    private static string Ip(params string[] arguments) => Run("ip", arguments);

    private static string Run(string program, params string[] arguments) => Encoding.UTF8.GetString(NetworkNamespace.Host(program, arguments));
}
