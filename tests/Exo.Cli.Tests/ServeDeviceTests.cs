// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Exo.Tests;

namespace Exo.Cli.Tests;

/// <summary><c>exo serve --device</c> on a TAP interface in a network namespace of its own, asked by curl.</summary>
public sealed class ServeDeviceTests
{
    [Fact]
    public void One_address_of_two_is_served_until_the_interface_is_deleted()
    {
        Requires.Root();
        Requires.Program("ip");
        Requires.Program("curl");
        Requires.File("/dev/net/tun");
        using TempFolder folder = new();
        File.WriteAllText(folder["index.html"], "<h1>hello</h1>");
        File.WriteAllText(folder[".secret"], "dot");
        string space = $"exo-cli-{Environment.ProcessId}";
        Run("ip", "netns", "add", space);
        try
        {
            using ExoProcess server = ExoProcess.StartIn(
                space, "serve", folder.Path, "--device", "tap:exo0", "--address", "10.9.0.2/24", "--address", "10.9.0.3/24", "--listen", "10.9.0.3:80", "--dot-names", "--max-connections", "70000",
                "--keep-alive", "2m", "--keep-alive-interval", "500ms", "--receive-window", "1M", "--max-half-open", "16", "--time-wait", "1s");
            server.WaitForLine("http://10.9.0.3:80/");
            Run("ip", "-n", space, "addr", "add", "10.9.0.1/24", "dev", "exo0");
            Assert.Equal("<h1>hello</h1>", Curl(space, "http://10.9.0.3/", 0));
            Assert.Equal("dot", Curl(space, "http://10.9.0.3/.secret", 0));
            Curl(space, "http://10.9.0.2/", 7);   // refused
            Run("ip", "-n", space, "link", "delete", "exo0");
            Assert.Contains("exo0 is gone", server.Wait().Refused(1), StringComparison.Ordinal);
        }
        finally
        {
            Run("ip", "netns", "delete", space);
        }
    }

    private static string Curl(string space, string url, int exitCode)
    {
        using Process curl = Process.Start(new ProcessStartInfo("ip", ["netns", "exec", space, "curl", "-s", "--max-time", "20", url]) { RedirectStandardOutput = true })!;
        string said = curl.StandardOutput.ReadToEnd();
        curl.WaitForExit();
        Assert.Equal(exitCode, curl.ExitCode);
        return said;
    }

    private static void Run(string program, params string[] args)
    {
        using Process process = Process.Start(new ProcessStartInfo(program, args))!;
        process.WaitForExit();
        Assert.Equal(0, process.ExitCode);
    }
}
