// SPDX-License-Identifier: MIT
using System.Net;
using System.Net.Sockets;
using System.Text;
using Exo.Tests;

namespace Exo.Core.Tests.Net;

/// <summary>
/// Two network namespaces with a veth pair between them, <see cref="LinkA"/> in one and <see cref="LinkB"/> in the other, both up and with nothing of the kernel's own on them. Gone when disposed.
/// </summary>
public sealed class TestNetwork : IDisposable
{
    public const string LinkA = "exo-a";
    public const string LinkB = "exo-b";

    /// <summary>What the kernel has on <see cref="LinkA"/> after <see cref="Address"/>.</summary>
    public static readonly IPAddress AddressA = IPAddress.Parse("10.77.0.1");

    /// <summary>And on <see cref="LinkB"/>.</summary>
    public static readonly IPAddress AddressB = IPAddress.Parse("10.77.0.2");

    private static int s_number;

    private readonly string _name = $"exo-netdev-{Environment.ProcessId}-{Interlocked.Increment(ref s_number)}";

    public TestNetwork()
        : this(1)
    {
    }

    /// <param name="queues">Queues of each end, in both directions.</param>
    public TestNetwork(int queues)
    {
        Requires.Root();
        Requires.Program("ip");
        try
        {
            Ip("netns", "add", NamespaceA);
            Ip("netns", "add", NamespaceB);
            Ip(["-n", NamespaceA, "link", "add", LinkA, .. Queues(queues), "type", "veth", "peer", "name", LinkB, "netns", NamespaceB, .. Queues(queues)]);
            foreach ((string space, string link) in ((string, string)[])[(NamespaceA, LinkA), (NamespaceB, LinkB)])
            {
                Ip("-n", space, "link", "set", "lo", "up");
                Ip("-n", space, "link", "set", link, "addrgenmode", "none", "up");
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public string NamespaceA => _name + "a";

    public string NamespaceB => _name + "b";

    /// <summary>Gives the kernel an address on each side.</summary>
    public void Address()
    {
        Ip("-n", NamespaceA, "addr", "add", $"{AddressA}/24", "dev", LinkA);
        Ip("-n", NamespaceB, "addr", "add", $"{AddressB}/24", "dev", LinkB);
    }

    /// <summary>A UDP socket of the kernel's, in the namespace of the calling thread.</summary>
    public static Socket Udp(IPAddress address, int port)
    {
        Socket socket = new(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        socket.Bind(new IPEndPoint(address, port));
        return socket;
    }

    private static string[] Queues(int count) => ["numtxqueues", $"{count}", "numrxqueues", $"{count}"];

    /// <summary>Runs the ip program.</summary>
    public static string Ip(params string[] arguments) => Run("ip", arguments);

    /// <summary>Runs the tc program for a namespace.</summary>
    public static string Tc(string space, params string[] arguments) => Run("tc", ["-n", space, .. arguments]);

    private static string Run(string program, params string[] arguments) => Encoding.UTF8.GetString(NetworkNamespace.Host(program, arguments));

    /// <summary>Runs something on a thread that lives in a namespace; sockets made there stay there.</summary>
    public static T In<T>(string space, Func<T> action) => NetworkNamespace.In(space, action);

    public T InA<T>(Func<T> action) => In(NamespaceA, action);

    public T InB<T>(Func<T> action) => In(NamespaceB, action);

    public void Dispose()
    {
        foreach (string space in (string[])[NamespaceA, NamespaceB])
        {
            if (File.Exists($"/run/netns/{space}"))
            {
                Ip("netns", "del", space);
            }
        }
    }
}
