// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;
using Exo.Net.Cheetah.Ip;
using Exo.Net.Cheetah.Tests.Raw;
using Exo.Net.Cheetah.Tests.Sockets;

namespace Exo.Net.Cheetah.Tests.Handlers;

/// <summary>The page that shows what a server is doing.</summary>
public partial class StatusPageTests
{
    private const string Host = "Host: h\r\n";

    private static CheetahServerOptions Options(int reactors = 1, CheetahHandlers? handlers = null, string? path = "/-/status") => new()
    {
        EndPoint = new IPEndPoint(IPAddress.Loopback, 0),
        Reactors = reactors,
        StatusPath = path,
        Handlers = handlers ?? new(),
    };

    private static Dictionary<string, long> Values(string metrics) =>
        metrics.Split('\n').Where(line => line.Length > 0 && line[0] != '#').ToDictionary(line => line.Split(' ', '{')[0], line => long.Parse(line.Split(' ')[^1], CultureInfo.InvariantCulture));

    private static string Body(string answer) => answer.Split("\r\n\r\n", 2)[1];

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public async Task The_text_tells_the_numbers_of_all_reactors(int reactors)
    {
        await using var server = new TestServer(options: Options(reactors, new CheetahHandlers().Add("GET", "/fails", (in _, _) => throw new InvalidDataException())));
        server.Set("/a", 5000);
        RawClient[] idle = [.. Enumerable.Range(0, 10).Select(_ => server.Connect())];
        foreach (RawClient client in idle)
        {
            client.Send($"GET /a HTTP/1.1\r\n{Host}\r\n");
            client.ReadResponse();
        }

        using RawClient half = server.Connect();
        half.Send("GET /a HTTP/1.1\r\n");
        server.Exchange($"GET /fails HTTP/1.1\r\n{Host}\r\n");
        server.Exchange("no\n");
        Dictionary<string, long> values = [];
        string answer = "";

        // What others have sent may not have been read yet.
        Assert.True(SpinWait.SpinUntil(() => (values = Values(Body(answer = server.Exchange($"GET /-/status/metrics HTTP/1.1\r\n{Host}\r\n"))))["cheetah_connections_receiving"] == 1 && values["cheetah_connections_open"] == 12, 20_000));
        Assert.Contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n", answer, StringComparison.Ordinal);
        Assert.Contains("\r\nCache-Control: no-store\r\n", answer, StringComparison.Ordinal);
        Assert.Equal((12, 10, 1, 1), (values["cheetah_connections_open"], values["cheetah_connections_idle"], values["cheetah_connections_receiving"], values["cheetah_connections_waiting"]));
        Assert.Equal((1, 9, 1, 5000), (values["cheetah_cache_documents"], values["cheetah_cache_hits_total"], values["cheetah_cache_misses_total"], values["cheetah_payload_sent_bytes_total"] / 10));
        Assert.Equal((1, 1), (values["cheetah_requests_refused_total"], values["cheetah_handler_failures_total"]));
        Assert.Equal((server.Frames.FrameCount, server.Frames.FreeCount), (values["cheetah_frames"], values["cheetah_frames_free"]));
        Assert.DoesNotContain("device", answer, StringComparison.Ordinal);
        Assert.All(Body(answer).TrimEnd('\n').Split('\n'), line => Assert.Matches(MetricLine(), line));
        Array.ForEach(idle, client => client.Dispose());
    }

    [Fact]
    public async Task The_page_needs_nothing_from_elsewhere_and_shows_the_same_numbers()
    {
        await using var server = new TestServer(options: Options(path: "/-/st'a<t>us&"));
        server.Set("/a", 1_234_567);
        server.Exchange($"GET /a HTTP/1.1\r\n{Host}\r\n");
        string path = "/-/st'a%3Ct%3Eus&";
        string answer = server.Exchange($"GET {path} HTTP/1.1\r\n{Host}\r\n"), page = Body(answer);
        Assert.StartsWith("HTTP/1.1 200 OK\r\n", answer, StringComparison.Ordinal);
        Assert.Contains("<tr><td>Bytes of documents sent<td>1,234,567\n", page, StringComparison.Ordinal);
        Assert.Contains($"<h1>Cheetah at {server.Server.EndPoint}</h1>", page, StringComparison.Ordinal);
        Assert.Equal(["<a href=\"st%27a%3Ct%3Eus%26/metrics\">"], Reference().Matches(page).Select(match => match.Value));
        Assert.DoesNotContain("<script", page, StringComparison.Ordinal);
        string style = page.Split("<style>")[1].Split("</style>")[0];
        Assert.Contains($"style-src 'sha256-{Convert.ToBase64String(SHA256.HashData(Encoding.UTF8.GetBytes(style)))}'", answer, StringComparison.Ordinal);
        Assert.Contains("Content-Security-Policy: default-src 'none';", answer, StringComparison.Ordinal);
        Assert.StartsWith("HTTP/1.1 200", server.Exchange($"GET {path}/metrics HTTP/1.1\r\n{Host}\r\n"), StringComparison.Ordinal);
        Assert.StartsWith("HTTP/1.1 405", server.Exchange($"POST {path} HTTP/1.1\r\n{Host}\r\n"), StringComparison.Ordinal);
        Assert.StartsWith("HTTP/1.1 404", server.Exchange($"GET {path}/else HTTP/1.1\r\n{Host}\r\n"), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Who_comes_from_elsewhere_sees_it_only_if_it_is_public(bool isPublic)
    {
        // Linux answers for an address of this machine's on any interface; the client is at that address then, not at loopback.
        IPAddress? other = System.Net.NetworkInformation.NetworkInterface.GetAllNetworkInterfaces()
            .SelectMany(one => one.GetIPProperties().UnicastAddresses).Select(one => one.Address)
            .FirstOrDefault(address => address.AddressFamily == System.Net.Sockets.AddressFamily.InterNetwork && !IPAddress.IsLoopback(address));
        Assert.SkipWhen(other is null, "This machine has no address but loopback.");
        var options = new CheetahServerOptions { EndPoint = new IPEndPoint(IPAddress.Any, 0), StatusPath = "/-/status", StatusIsPublic = isPublic };
        await using var server = new TestServer(options: options);
        foreach (string path in (string[])["/-/status", "/-/status/metrics"])
        {
            using RawClient near = new(new IPEndPoint(IPAddress.Loopback, server.Server.EndPoint.Port)), far = new(new IPEndPoint(other, server.Server.EndPoint.Port));
            near.Send($"GET {path} HTTP/1.1\r\n{Host}\r\n");
            far.Send($"GET {path} HTTP/1.1\r\n{Host}\r\n");
            Assert.StartsWith("HTTP/1.1 200", near.ReadResponse().Head, StringComparison.Ordinal);
            (string head, byte[] body) = far.ReadResponse();
            Assert.StartsWith(isPublic ? "HTTP/1.1 200" : "HTTP/1.1 403 Forbidden", head, StringComparison.Ordinal);
            Assert.Equal(isPublic, Encoding.UTF8.GetString(body).Contains("onnections", StringComparison.Ordinal));
        }
    }

    [Fact]
    public async Task There_is_none_unless_it_is_asked_for_and_its_path_is_checked()
    {
        await using var server = new TestServer();
        Assert.StartsWith("HTTP/1.1 404", server.Exchange($"GET /-/status HTTP/1.1\r\n{Host}\r\n"), StringComparison.Ordinal);
        foreach (string path in (string[])["", "status", "/", "/-/", "/-/*", "/a//b", "/../a"])
        {
            Assert.Throws<ArgumentException>(() => new CheetahServer(Options(path: path), server.Documents, server.Frames));
        }

        CheetahHandlers taken = new CheetahHandlers().Add("GET", "/-/status", (in _, _) => { });
        Assert.Throws<ArgumentException>(() => new CheetahServer(Options(handlers: taken), server.Documents, server.Frames));
        using RawServerTests.Site site = new();
        var hidden = new CheetahServerOptions { Device = site.Device, Network = new NetworkStackOptions { Addresses = [InterfaceAddress.Parse("10.0.0.3/24")] }, StatusPath = "/-/status" };
        Assert.Throws<ArgumentException>(() => new CheetahServer(hidden, site.Documents, site.Frames));
    }

    [Fact]
    public void On_a_raw_device_it_shows_rings_and_TCP()
    {
        using RawServerTests.Site site = new(statusPath: "/-/status", deviceName: "a<b>&\"");
        string answer = Encoding.UTF8.GetString(site.Get("GET /-/status/metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
        Dictionary<string, long> values = Values(Body(answer));
        Assert.Equal((1, 1), (values["cheetah_connections_open"], values["cheetah_tcp_connections"]));
        Assert.True(values["cheetah_device_received_packets_total"] > 0 && values["cheetah_tcp_segments_received_total"] > 0);
        Assert.Contains("\ncheetah_device_info{text=\"a<b>&\\\"", answer, StringComparison.Ordinal);
        Assert.All(
            (string[])["device_receive_ring_slots", "device_receive_ring_waiting", "device_transmit_ring_slots", "device_transmit_ring_waiting", "device_receive_dropped_total", "tcp_retransmitted_bytes_total", "tcp_timeouts_total", "tcp_time_wait"],
            name => Assert.Contains($"cheetah_{name}", values.Keys));
        string page = Body(Encoding.UTF8.GetString(site.Get("GET /-/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")));
        Assert.Contains("<h2>TCP</h2>", page, StringComparison.Ordinal);
        Assert.Contains("a&lt;b&gt;&amp;&quot;", page, StringComparison.Ordinal);   // the interface's name
    }

    [GeneratedRegex("^(# (HELP|TYPE) cheetah_[a-z_]+ .*|cheetah_[a-z_]+ [0-9]+)$")]
    private static partial Regex MetricLine();

    [GeneratedRegex("<[^>]*(href|src|url)[^>]*>")]
    private static partial Regex Reference();
}
