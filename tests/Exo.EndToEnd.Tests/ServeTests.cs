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
    public void A_folder_is_served_as_it_changes_and_nothing_leads_out_of_it()
    {
        Requires.Program("curl");
        Directory.CreateDirectory(_folder["public/deep"]);
        File.WriteAllText(_folder["secret"], "secret");
        File.WriteAllText(_folder["public/index.html"], "<p>one");
        File.WriteAllText(_folder["public/.hidden"], "hidden");
        HostTreeManifest.Run(_folder.Path, "ln -s ../secret public/relative; ln -s $PWD/secret public/absolute; ln -s .. public/up; ln -s / public/root; ln -s ../index.html public/deep/inside; mkfifo public/fifo");
        using ExoProcess server = ExoProcess.Start("exo.dll", "serve", _folder["public"], "--listen", "127.0.0.1:0");
        string url = Url(server);
        string Status(string path) => HostTreeManifest.Run(_folder.Path, $"curl -sS --path-as-is --max-time 20 -o /dev/null -w '%{{http_code}}' '{url}{path}'");
        void Shows(string path, string text) => HostTreeManifest.Run(
            _folder.Path, $"for i in $(seq 500); do test \"$(curl -sS --max-time 20 '{url}{path}')\" = '{text}' && exit 0; done; exit 1");
        foreach (string path in (string[])["relative", "absolute", "up/secret", "root/etc/passwd", ".hidden", "fifo", "../secret", "deep/../../secret", "%2e%2e/secret", "deep/%2e%2e%2f%2e%2e/secret"])
        {
            Assert.True(Status(path) is "404" or "400", path);
        }

        Shows("", "<p>one");
        Shows("deep/inside", "<p>one");
        Assert.StartsWith("text/html", HostTreeManifest.Run(_folder.Path, $"curl -sS -o /dev/null -w '%{{content_type}}' '{url}'"), StringComparison.Ordinal);
        HostTreeManifest.Run(_folder.Path, "echo -n two > public/index.html");
        Shows("", "two");
        HostTreeManifest.Run(_folder.Path, "echo -n three > new && mv new public/index.html");
        Shows("deep/inside", "three");
        HostTreeManifest.Run(_folder.Path, "mkdir -p public/a/b && echo -n four > public/a/b/c");
        Shows("a/b/c", "four");
        HostTreeManifest.Run(_folder.Path, "echo -n five > public/a/b/c; mv public/a public/z");
        Shows("z/b/c", "five");
        HostTreeManifest.Run(_folder.Path, "rm -r public/z; mv public/deep outside; ln -s ../outside public/deep");
        HostTreeManifest.Run(_folder.Path, $"for i in $(seq 500); do test $(curl -sS -o /dev/null -w '%{{http_code}}' '{url}z/b/c')$(curl -sS -o /dev/null -w '%{{http_code}}' '{url}deep/inside') = 404404 && exit 0; done; exit 1");
        server.Signal("TERM");
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
