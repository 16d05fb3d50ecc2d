// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Exo.Tests;

namespace Exo.Samples.Tests.Exos;

/// <summary>Sockets of ExOS on a TAP interface: the kernel of a namespace of its own, and curl in it, are the other machine.</summary>
public sealed class TapNetworkTests : IDisposable
{
    private readonly NetworkNamespace _space;
    private readonly string _image = Path.Combine(Path.GetTempPath(), $"exo-exos-{Guid.NewGuid():N}.img");

    public TapNetworkTests()
    {
        Requires.Root();
        Requires.Program("ip");
        Requires.Program("curl");
        Requires.File("/dev/net/tun");
        _space = new NetworkNamespace("exos");
        _space.Ip("tuntap add exos0 mode tap vnet_hdr");
        _space.Ip("addr add 10.79.0.1/24 dev exos0");
        _space.Ip("link set exos0 up");
    }

    public void Dispose()
    {
        _space.Dispose();
        File.Delete(_image);
    }

    [Fact(Timeout = 120_000)]
    public async Task Curl_is_answered_by_a_script()
    {
        CancellationToken stop = TestContext.Current.CancellationToken;
        using Process exos = Exos("echo 'HTTP/1.0 200 OK' > /tmp/page; echo >> /tmp/page; echo from ExOS >> /tmp/page; nc -l 80 < /tmp/page > /tmp/asked; head -n 1 /tmp/asked");

        // Until somebody answers at that address, and then listens.
        using Process curl = InSpace("curl", "-s", "-S", "--max-time", "60", "--retry", "60", "--retry-delay", "1", "--retry-all-errors", "--http1.0", "http://10.79.0.2/page");
        string got = await curl.StandardOutput.ReadToEndAsync(stop);
        string complaint = await curl.StandardError.ReadToEndAsync(stop);
        Assert.True(got == "from ExOS\n", complaint);
        Assert.Equal("GET /page HTTP/1.0", (await exos.StandardOutput.ReadToEndAsync(stop)).TrimEnd());
        await exos.WaitForExitAsync(stop);
        Assert.Equal(0, exos.ExitCode);
    }

    [Fact(Timeout = 120_000)]
    public async Task A_script_talks_to_the_kernels_tcp()
    {
        CancellationToken stop = TestContext.Current.CancellationToken;
        using Socket listener = _space.In(() =>
        {
            Socket made = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            made.Bind(new IPEndPoint(IPAddress.Any, 7));
            made.Listen();
            return made;
        });
        using Process exos = Exos("echo to the kernel | nc 10.79.0.1 7");
        using Socket peer = await listener.AcceptAsync(stop);
        await using NetworkStream stream = new(peer);
        using StreamReader reader = new(stream);
        Assert.Equal("to the kernel\n", await reader.ReadToEndAsync(stop));
        await stream.WriteAsync("and back\n"u8.ToArray(), stop);
        peer.Shutdown(SocketShutdown.Send);
        Assert.Equal("and back\n", await exos.StandardOutput.ReadToEndAsync(stop));
        await exos.WaitForExitAsync(stop);
        Assert.Equal(0, exos.ExitCode);
    }

    [Fact]
    public void Mistakes_are_told_on_one_line()
    {
        foreach (string[] wrong in (string[][])[["--network", "eth0"], ["--network", "tap:"], ["--network", "tap:this-name-is-too-long"], ["--network", "tap:exos0", "--address", "nowhere"]])
        {
            ExoResult result = ExoProcess.Run("exos.dll", [_image, .. wrong, "-c", "true"]);
            Assert.Equal(2, result.ExitCode);
            Assert.Single(result.Error.TrimEnd().Split('\n'));
        }

        ExoResult refused = ExoProcess.Run("exos.dll", _image, "--network", "tap:lo", "-c", "true");
        Assert.Equal(1, refused.ExitCode);
        Assert.Single(refused.Error.TrimEnd().Split('\n'));
    }

    private Process Exos(string script) =>
        InSpace("dotnet", "exec", Path.Combine(AppContext.BaseDirectory, "exos.dll"), _image, "--size", "16M", "--network", "tap:exos0", "--address", "10.79.0.2/24", "-c", script);

    private Process InSpace(params string[] command) =>
        Process.Start(new ProcessStartInfo("ip", ["netns", "exec", _space.Name, .. command]) { RedirectStandardOutput = true, RedirectStandardError = command[0] == "curl", RedirectStandardInput = false })!;
}
