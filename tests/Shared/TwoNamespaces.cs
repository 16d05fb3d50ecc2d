// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Exo.Tests;

/// <summary>Two network namespaces with a veth pair between them; the kernel has addresses of both families on each side. Gone when disposed.</summary>
internal sealed partial class TwoNamespaces : IDisposable
{
    public const string ServerLink = "eth0", ClientLink = "eth0";

    public static readonly IPAddress[] ServerAddresses = [IPAddress.Parse("10.78.0.1"), IPAddress.Parse("fd78::1")];

    private const int NewNetworkNamespace = 0x40000000;

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

    /// <summary>Runs something on a thread that lives in a namespace; sockets and processes made there stay there.</summary>
    public static T In<T>(string space, Func<T> action)
    {
        T result = default!;
        ExceptionDispatchInfo? failure = null;
        Thread thread = new(() =>
        {
            try
            {
                using SafeFileHandle file = File.OpenHandle($"/run/netns/{space}");
                Assert.Equal(0, SetNamespace((int)file.DangerousGetHandle(), NewNetworkNamespace));
                result = action();
            }
            catch (Exception e)
            {
                failure = ExceptionDispatchInfo.Capture(e);
            }
        });
        thread.Start();
        thread.Join();
        failure?.Throw();
        return result;
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

    private static string Run(string program, params string[] arguments)
    {
        using Process process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardError = true, RedirectStandardOutput = true })!;
        Task<string> error = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, $"{program} {string.Join(' ', arguments)}: {error.Result}");
        return output;
    }

    [LibraryImport("libc", EntryPoint = "setns", SetLastError = true)]
    private static partial int SetNamespace(int descriptor, int kind);
}
