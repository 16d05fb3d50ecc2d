// SPDX-License-Identifier: MIT
using System.Net;
using System.Net.Sockets;
using System.Text.RegularExpressions;
using Exo.Tests;

namespace Exo.EndToEnd.Tests;

/// <summary><c>exo serve</c> against curl and wrk.</summary>
public sealed partial class ServeTests : IDisposable
{
    private static readonly string Content = Path.Combine(AppContext.BaseDirectory, "content");
    private readonly TempFolder _folder = new();

    public ServeTests()
    {
        ExoProcess.Exo("mkfs", _folder["site.img"], "--size", "64M").Succeeded();
        ExoProcess.Exo("import", _folder["site.img"], Content).Succeeded();
    }

    [Fact]
    public void Curl_fetches_every_file_with_identical_bytes()
    {
        Requires.Program("curl");
        using ExoProcess server = ExoProcess.Start("exo.dll", "serve", _folder["site.img"], "--listen", "127.0.0.1:0");
        string url = Url(server);
        foreach (string file in Directory.GetFiles(Content, "*", SearchOption.AllDirectories))
        {
            string path = Path.GetRelativePath(Content, file);
            HostTreeManifest.Run(_folder.Path, $"curl -sS --fail --max-time 20 -o got '{url}{path}'");
            Assert.True(File.ReadAllBytes(file).AsSpan().SequenceEqual(File.ReadAllBytes(_folder["got"])), path);
        }

        HostTreeManifest.Run(_folder.Path, $"curl -sS --fail --max-time 20 -o got '{url}'");
        Assert.Equal(File.ReadAllBytes(Path.Combine(Content, "index.html")), File.ReadAllBytes(_folder["got"]));
        Assert.Equal("404", HostTreeManifest.Run(_folder.Path, $"curl -sS --max-time 20 -o /dev/null -w '%{{http_code}}' '{url}nosuch'"));

        server.Signal("TERM");
        server.Wait().Succeeded();
        ExoProcess.Exo("fsck", _folder["site.img"]).Succeeded();
    }

    [Fact]
    public void The_status_is_where_it_was_asked_for()
    {
        Requires.Program("curl");
        using (ExoProcess server = ExoProcess.Start("exo.dll", "serve", _folder["site.img"], "--listen", "127.0.0.1:0", "--status", "/-/status"))
        {
            string url = Url(server);
            HostTreeManifest.Run(_folder.Path, $"curl -sS --fail --max-time 20 -o got '{url}'");
            string metrics = HostTreeManifest.Run(_folder.Path, $"curl -sS --fail --max-time 20 '{url}-/status/metrics'");
            Assert.Contains("\ncheetah_cache_documents 1\n", metrics, StringComparison.Ordinal);
            Assert.Contains("<h2>Cache</h2>", HostTreeManifest.Run(_folder.Path, $"curl -sS --fail --max-time 20 '{url}-/status'"), StringComparison.Ordinal);
            server.Signal("TERM");
            server.Wait().Succeeded();
        }

        Assert.Contains("--status", ExoProcess.Exo("serve", _folder["site.img"], "--status", "status").Refused(2), StringComparison.Ordinal);
    }

    [Fact]
    public void Wrk_runs_without_an_error()
    {
        Requires.Program("wrk");
        using ExoProcess server = ExoProcess.Start("exo.dll", "serve", _folder["site.img"], "--listen", "127.0.0.1:0");
        string report = HostTreeManifest.Run(_folder.Path, $"wrk -t1 -c16 -d2s '{Url(server)}cffs.html'");
        Assert.Contains("requests in", report, StringComparison.Ordinal);
        Assert.DoesNotContain("Socket errors", report, StringComparison.Ordinal);
        Assert.DoesNotContain("Non-2xx", report, StringComparison.Ordinal);
        server.Signal("INT");
        server.Wait().Succeeded();
    }

    [Fact]
    public void A_port_in_use_is_one_line()
    {
        using Socket other = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        other.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        other.Listen();
        int port = ((IPEndPoint)other.LocalEndPoint!).Port;
        string line = ExoProcess.Exo("serve", _folder["site.img"], "--listen", $"127.0.0.1:{port}").Refused(1);
        Assert.Contains($"127.0.0.1:{port}", line, StringComparison.Ordinal);
    }

    public void Dispose() => _folder.Dispose();

    internal static string Url(ExoProcess server) => Address().Match(server.WaitForLine("http://")).Value;

    [GeneratedRegex(@"http://127\.0\.0\.1:\d+/")]
    private static partial Regex Address();
}
