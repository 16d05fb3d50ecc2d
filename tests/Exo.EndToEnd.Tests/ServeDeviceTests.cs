// SPDX-License-Identifier: MIT
using System.Text;
using Exo.Core.Net;
using Exo.Tests;

namespace Exo.EndToEnd.Tests;

/// <summary><c>exo serve --device</c> as a command: its own TCP/IP on a TAP, a packet socket and AF_XDP, with the kernel's as client, in a namespace.</summary>
public sealed class ServeDeviceTests : IDisposable
{
    private static readonly string Content = Path.Combine(AppContext.BaseDirectory, "content");

    private readonly TempFolder folder = new();
    private readonly NetworkNamespace? space;

    public ServeDeviceTests()
    {
        Requires.Root();
        Requires.Program("ip");
        Requires.Program("curl");
        Requires.File("/dev/net/tun");
        space = new NetworkNamespace();
        space.Ip("link set lo up");
        ExoProcess.Exo("mkfs", folder["site.img"], "--size", "64M").Succeeded();
        ExoProcess.Exo("import", folder["site.img"], Content).Succeeded();
    }

    public void Dispose()
    {
        space?.Dispose();
        folder.Dispose();
    }

    // Starts the command; the client's end of the link has addresses when it serves.
    private ExoProcess Serve(string kind, params string[] more)
    {
        bool isTap = kind == "tap";
        if (!isTap && !HasLink("exo-c"))
        {
            space!.Ip("link add exo-c type veth peer name exo-s");
            space.Ip("link set exo-s addrgenmode none up");
            Address();
            if (kind == "xdp")
            {
                // AF_XDP is not told of checksums that a virtual peer has left open.
                space.In(() =>
                {
                    using NetworkLink link = NetworkLink.Open("exo-c");
                    link.SetTransmitChecksumOffload(false);
                    return 0;
                });
            }
        }

        ExoProcess server = ExoProcess.StartIn(
            space!.Name,
            ["serve", folder["site.img"], "--device", isTap ? "tap:exo-c" : $"{kind}:exo-s", "--address", "10.9.0.2/24", "--address", "fd09::2/64", "--gateway", "10.9.0.1", "--gateway", "fd09::1", "--listen", "[::]:80", .. more]);
        server.WaitForLine("http://");
        if (isTap)
        {
            Address();
        }

        return server;
    }

    private void Address()
    {
        space!.Ip("addr add 10.9.0.1/24 dev exo-c");
        space.Ip("addr add fd09::1/64 dev exo-c nodad");
        space.Ip("link set exo-c up");
    }

    private bool HasLink(string name) => Encoding.ASCII.GetString(space!.Run("ip", "-o", "link", "show")).Contains(name, StringComparison.Ordinal);

    private byte[] Curl(params string[] arguments) => space!.Run("curl", ["-sS", "-g", "--fail", "--max-time", "20", .. arguments]);

    // Nothing of the server's is on the interface, or the interface is gone with it.
    private void NothingIsLeft(string kind)
    {
        if (kind == "tap")
        {
            Assert.False(HasLink("exo-c"));
            return;
        }

        Assert.DoesNotContain("xdp", Encoding.ASCII.GetString(space!.Run("ip", "-d", "link", "show", "dev", "exo-s")), StringComparison.Ordinal);
        Assert.DoesNotContain("bpf", Encoding.ASCII.GetString(space.Run("sh", "-c", "tc filter show dev exo-s ingress 2>/dev/null; tc qdisc show dev exo-s")), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("tap", false)]
    [InlineData("packet", false)]
    [InlineData("packet", true)]
    [InlineData("xdp", false)]
    public void Every_file_comes_over_both_versions_of_IP_and_the_end_leaves_nothing(string kind, bool handlers)
    {
        string[] more = [.. handlers ? (string[])["--handlers"] : [], "--status", "/-/status", "--status-public"];
        using (ExoProcess server = Serve(kind, more))
        {
            foreach (string host in (string[])["10.9.0.2", "[fd09::2]"])
            {
                foreach (string file in Directory.GetFiles(Content, "*", SearchOption.AllDirectories))
                {
                    string path = Path.GetRelativePath(Content, file);
                    Assert.True(File.ReadAllBytes(file).AsSpan().SequenceEqual(Curl($"http://{host}/{path}")), path);
                }

                // Of the pages asked for again the handler answers.
                Assert.Equal(File.ReadAllBytes(Path.Combine(Content, "index.html")), Curl($"http://{host}/"));
                Assert.Contains("<h2>Cache</h2>", Encoding.UTF8.GetString(Curl($"http://{host}/-/status")), StringComparison.Ordinal);
                Assert.Contains("\ncheetah_", Encoding.UTF8.GetString(Curl($"http://{host}/-/status/metrics")), StringComparison.Ordinal);
                Assert.Equal("404", Encoding.ASCII.GetString(space!.Run("curl", "-sS", "-g", "--max-time", "20", "-o", "/dev/null", "-w", "%{http_code}", $"http://{host}/nosuch")));
            }

            server.Signal("TERM");
            server.Wait().Succeeded();
            NothingIsLeft(kind);
        }

        using (ExoProcess server = Serve(kind, more))
        {
            Assert.NotEmpty(Curl("http://10.9.0.2/"));
            server.Signal("KILL");
            server.Wait();
            NothingIsLeft(kind);
        }

        using ExoProcess again = Serve(kind, more);
        Assert.NotEmpty(Curl("http://[fd09::2]/"));
        again.Signal("TERM");
        again.Wait().Succeeded();
        ExoProcess.Exo("fsck", folder["site.img"]).Succeeded();
    }

    [Theory]
    [InlineData("tap")]
    [InlineData("packet")]
    [InlineData("xdp")]
    public void The_end_lets_a_response_under_way_finish(string kind)
    {
        byte[] large = new byte[8 << 20];
        new Random(1).NextBytes(large);
        File.WriteAllBytes(folder["large.bin"], large);
        Directory.CreateDirectory(folder["more"]);
        File.Move(folder["large.bin"], folder["more/large.bin"]);
        ExoProcess.Exo("import", folder["site.img"], folder["more"]).Succeeded();
        using ExoProcess server = Serve(kind);

        // The client reads slowly enough that the response is under way when the signal comes: it is sent as soon as the first bytes are there.
        byte[] got = space!.Run(
            "sh", "-c",
            $"curl -sS --fail --max-time 60 --limit-rate 4M http://10.9.0.2/large.bin | (head -c 1000; kill -TERM {server.Id}; cat)");
        Assert.True(large.AsSpan().SequenceEqual(got));
        server.Wait().Succeeded();
        NothingIsLeft(kind);
    }
}
