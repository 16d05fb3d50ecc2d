// SPDX-License-Identifier: MIT
using System.Text;
using CsCheck;
using Exo.Net.Cheetah.Http;

namespace Exo.Net.Cheetah.Tests.Sockets;

public class HttpSemanticsTests
{
    private const string Host = "Host: h\r\n";

    private static string Status(string response) => response.Split("\r\n")[0]["HTTP/1.1 ".Length..];

    /// <summary>Requests, the status of the response, and parts of it; for documents as <see cref="Fill"/> makes them.</summary>
    public static TheoryData<string, string, string> Requests { get; } = new()
    {
        { "GET /a.txt HTTP/1.1\r\nHost: h\r\n\r\n", "200 OK", "Content-Type: text/plain; charset=utf-8|Content-Length: 10|Accept-Ranges: bytes|Last-Modified: Tue, 06 May 2025 07:08:09 GMT|ETag: \"|Date: Fri, 02 Jan 2026 03:04:05 GMT" },
        { "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "200 OK", "Content-Type: text/html; charset=utf-8|Content-Length: 20" },
        { "GET /dir/ HTTP/1.1\r\nHost: h\r\n\r\n", "200 OK", "Content-Length: 30" },
        { "GET /dir?q=1 HTTP/1.1\r\nHost: h\r\n\r\n", "308 Permanent Redirect", "Location: /dir/?q=1|Content-Length: 0" },
        { "GET /dir HTTP/1.0\r\n\r\n", "301 Moved Permanently", "Location: /dir/" },
        { "GET //dir HTTP/1.1\r\nHost: h\r\n\r\n", "308 Permanent Redirect", "Location: /dir/\r\n" },
        { "GET /sp%20ace HTTP/1.1\r\nHost: h\r\n\r\n", "308 Permanent Redirect", "Location: /sp%20ace/\r\n" },
        { "GET http://h/a.txt HTTP/1.1\r\nHost: h\r\n\r\n", "200 OK", "Content-Length: 10" },
        { "GET http://h HTTP/1.1\r\nHost: h\r\n\r\n", "200 OK", "Content-Length: 20" },
        { "GET /./dir/../a.txt HTTP/1.1\r\nHost: h\r\n\r\n", "200 OK", "Content-Length: 10" },
        { "GET /%61.txt?x HTTP/1.1\r\nHost: h\r\n\r\n", "200 OK", "Content-Length: 10" },
        { "GET /empty HTTP/1.1\r\nHost: h\r\n\r\n", "200 OK", "Content-Length: 0" },
        { "GET /nope HTTP/1.1\r\nHost: h\r\n\r\n", "404 Not Found", "Content-Type: text/html" },
        { "GET /../a.txt HTTP/1.1\r\nHost: h\r\n\r\n", "400 Bad Request", "Content-Length: " },
        { "GET /a%2ftxt HTTP/1.1\r\nHost: h\r\n\r\n", "400 Bad Request", "Content-Length: " },
        { "POST /a.txt HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", "405 Method Not Allowed", "Allow: GET, HEAD" },
        { "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "405 Method Not Allowed", "Allow: GET, HEAD" },
        { "CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n", "405 Method Not Allowed", "Allow: GET, HEAD" },
        { "BREW / HTTP/1.1\r\nHost: h\r\n\r\n", "501 Not Implemented", "Content-Length: " },
        { "GET /a.txt HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n", "417 Expectation Failed", "Connection: close" },
        { "GET /a.txt HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n", "200 OK", "Content-Length: 10" },
        { "GET /a.txt HTTP/1.1\r\nHost: h\r\nExpect: gold\r\n\r\n", "417 Expectation Failed", "" },
        { "GET /a.txt HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "411 Length Required", "Connection: close" },
        { "GET /a.txt HTTP/1.1\r\nHost: h\r\nContent-Length: 70000\r\n\r\n", "413 Content Too Large", "Connection: close" },
        { "GET /a.txt HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "200 OK", "Connection: close" },
        { "GET /a.txt HTTP/1.0\r\n\r\n", "200 OK", "Connection: close" },
        { "GET /a.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "200 OK", "Connection: keep-alive" },
        { "GET /a.txt HTTP/1.1\nHost: h\n\n", "400 Bad Request", "Connection: close" },
        { "GET /a.txt HTTP/3.0\r\n\r\n", "505 HTTP Version Not Supported", "Connection: close" },
        { "GET /a.txt HTTP/1.1\r\nHost: h\r\nRange: bytes=2-4\r\n\r\n", "206 Partial Content", "Content-Range: bytes 2-4/10|Content-Length: 3|ETag: |Content-Type: text/plain" },
        { "GET /a.txt HTTP/1.1\r\nHost: h\r\nRange: bytes=-4\r\n\r\n", "206 Partial Content", "Content-Range: bytes 6-9/10" },
        { "GET /a.txt HTTP/1.1\r\nHost: h\r\nRange: bytes=10-\r\n\r\n", "416 Range Not Satisfiable", "Content-Range: bytes */10" },
        { "GET /a.txt HTTP/1.1\r\nHost: h\r\nRange: bytes=4-2\r\n\r\n", "200 OK", "Content-Length: 10" },
        { "GET /a.txt HTTP/1.1\r\nHost: h\r\nRange: bytes=0-1\r\nRange: bytes=0-1\r\n\r\n", "200 OK", "Content-Length: 10" },
        { "GET /a.txt HTTP/1.1\r\nHost: h\r\nRange: bytes=0-1\r\nIf-Range: \"no\"\r\n\r\n", "200 OK", "Content-Length: 10" },
        { "GET /a.txt HTTP/1.1\r\nHost: h\r\nIf-None-Match: *\r\n\r\n", "304 Not Modified", "ETag: |Last-Modified: |Date: " },
        { "GET /a.txt HTTP/1.1\r\nHost: h\r\nIf-Modified-Since: Tue, 06 May 2025 07:08:09 GMT\r\n\r\n", "304 Not Modified", "ETag: " },
        { "GET /a.txt HTTP/1.1\r\nHost: h\r\nIf-Modified-Since: Tue, 06 May 2025 07:08:08 GMT\r\n\r\n", "200 OK", "ETag: " },
        { "GET /a.txt HTTP/1.1\r\nHost: h\r\nIf-Match: \"no\"\r\n\r\n", "412 Precondition Failed", "Content-Length: " },
        { "GET /a.txt HTTP/1.1\r\nHost: h\r\nIf-Unmodified-Since: Mon, 05 May 2025 07:08:09 GMT\r\n\r\n", "412 Precondition Failed", "" },
    };

    /// <summary>The documents that the requests are about.</summary>
    internal static void Fill(Action<string, int> set)
    {
        set("/a.txt", 10);
        set("/index.html", 20);
        set("/dir/index.html", 30);
        set("/sp ace/x", 1);
        set("/empty", 0);
    }

    [Theory]
    [MemberData(nameof(Requests))]
    public async Task A_request_gets_its_response(string request, string status, string parts)
    {
        await using var server = new TestServer(options: TestServer.Options(new StandingClock()));
        Fill((path, count) => server.Set(path, count));
        Check(server.Exchange(request), status, parts);
    }

    internal static void Check(string response, string status, string parts)
    {
        Assert.Equal(status, Status(response));
        Assert.All(parts.Split('|'), part => Assert.Contains(part, response, StringComparison.Ordinal));
        string body = response[(response.IndexOf("\r\n\r\n", StringComparison.Ordinal) + 4)..];
        string? length = response.Split("\r\n").FirstOrDefault(l => l.StartsWith("Content-Length: ", StringComparison.Ordinal));
        Assert.Equal(length?["Content-Length: ".Length..] ?? "0", body.Length.ToString());
    }

    [Fact]
    public async Task HEAD_says_what_GET_would_say_and_sends_no_body()
    {
        await using var server = new TestServer(options: TestServer.Options(new StandingClock()));
        server.Set("/a.txt", 5000);
        foreach (string path in (string[])["/a.txt", "/nope", "/%zz"])
        {
            using RawClient client = server.Connect();
            client.Send($"GET {path} HTTP/1.1\r\n{Host}\r\n");
            (string get, _) = client.ReadResponse();
            client.Send($"HEAD {path} HTTP/1.1\r\n{Host}Range: bytes=0-1\r\n\r\nGET {path} HTTP/1.1\r\n{Host}\r\n");
            Assert.Equal(get, client.ReadResponse(hasBody: false).Head);
            Assert.Equal(get, client.ReadResponse().Head);
        }
    }

    [Fact]
    public async Task Several_ranges_come_as_parts_with_the_right_bytes()
    {
        await using var server = new TestServer();
        byte[] bytes = server.Set("/a.bin", 100_000);
        using RawClient client = server.Connect();
        client.Send($"GET /a.bin HTTP/1.1\r\n{Host}Range: bytes=0-9,50000-59999,-5\r\n\r\nGET /a.bin HTTP/1.1\r\n{Host}\r\n");
        (string head, byte[] body) = client.ReadResponse();
        Assert.StartsWith("HTTP/1.1 206", head, StringComparison.Ordinal);
        string boundary = head.Split("boundary=")[1].Split("\r\n")[0];
        string text = Encoding.Latin1.GetString(body);
        string[] parts = text.Split($"\r\n--{boundary}");
        Assert.Equal(5, parts.Length);
        Assert.Equal("", parts[0]);
        Assert.Equal("--\r\n", parts[4]);
        (int First, int Last)[] expected = [(0, 9), (50_000, 59_999), (99_995, 99_999)];
        foreach ((string part, (int first, int last)) in parts[1..4].Zip(expected))
        {
            Assert.Contains($"Content-Range: bytes {first}-{last}/100000\r\n", part, StringComparison.Ordinal);
            Assert.Equal(Encoding.Latin1.GetString(bytes, first, last - first + 1), part.Split("\r\n\r\n", 2)[1]);
        }

        Assert.Equal(bytes, client.ReadResponse().Body);   // and the next response is where it should be
    }

    [Fact]
    public async Task A_body_is_read_past_and_never_taken_for_a_request()
    {
        await using var server = new TestServer();
        server.Set("/a", 10);
        string inner = $"GET /smuggled HTTP/1.1\r\n{Host}\r\n";
        string answer = server.Exchange(
            $"GET /a HTTP/1.1\r\n{Host}Content-Length: {inner.Length}\r\n\r\n{inner}POST /a HTTP/1.1\r\n{Host}Content-Length: {inner.Length}\r\n\r\n{inner}GET /a HTTP/1.1\r\n{Host}\r\n");
        Assert.Equal(["200", "405", "200"], answer.Split("HTTP/1.1 ")[1..].Select(part => part[..3]));
    }

    [Fact]
    public async Task Nothing_behind_a_refused_request_is_answered()
    {
        await using var server = new TestServer();
        server.Set("/a", 10);
        string answer = server.Exchange($"GET /a HTTP/1.1\r\n{Host}\r\nGET /a HTTP/1.1\r\n{Host}X : y\r\n\r\nGET /a HTTP/1.1\r\n{Host}\r\n");
        Assert.Equal(["200", "400"], answer.Split("HTTP/1.1 ")[1..].Select(part => part[..3]));
    }

    [Fact]
    public async Task An_ETag_revalidates_until_the_document_changes()
    {
        await using var server = new TestServer();
        server.Set("/a", 10);
        using RawClient client = server.Connect();
        client.Send($"GET /a HTTP/1.1\r\n{Host}\r\n");
        string tag = client.ReadResponse().Head.Split("ETag: ")[1].Split("\r\n")[0];
        client.Send($"GET /a HTTP/1.1\r\n{Host}If-None-Match: W/\"x\", {tag}\r\n\r\n");
        Assert.StartsWith("HTTP/1.1 304", client.ReadResponse().Head, StringComparison.Ordinal);
        client.Send($"GET /a HTTP/1.1\r\n{Host}If-Range: {tag}\r\nRange: bytes=1-2\r\n\r\n");
        Assert.StartsWith("HTTP/1.1 206", client.ReadResponse().Head, StringComparison.Ordinal);
        byte[] changed = server.Set("/a", 12, seed: 2);
        client.Send($"GET /a HTTP/1.1\r\n{Host}If-None-Match: {tag}\r\n\r\n");
        Assert.Equal(changed, client.ReadResponse().Body);
        server.Documents.Remove("/a");
        client.Send($"GET /a HTTP/1.1\r\n{Host}If-None-Match: {tag}\r\n\r\n");
        Assert.StartsWith("HTTP/1.1 404", client.ReadResponse().Head, StringComparison.Ordinal);
    }

    private static readonly Gen<string> AnyRequest = Gen.OneOf<string>(
        $"GET /a.txt HTTP/1.1\r\n{Host}\r\n", $"GET / HTTP/1.1\r\n{Host}\r\n", $"HEAD /big HTTP/1.1\r\n{Host}\r\n",
        $"GET /big HTTP/1.1\r\n{Host}Range: bytes=5-20000\r\n\r\n", $"GET /nope HTTP/1.1\r\n{Host}\r\n",
        $"POST / HTTP/1.1\r\n{Host}Content-Length: 20\r\n\r\n01234567890123456789", "\r\nGET /dir HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        $"GET /a.txt HTTP/1.1\r\n{Host}If-None-Match: *\r\n\r\n", $"BREW / HTTP/1.1\r\n{Host}\r\n", $"GET /a.txt HTTP/1.1\r\n{Host}X : y\r\n\r\n",
        $"GET /a.txt HTTP/1.1\r\n{Host}Connection: close\r\n\r\n", "GET /a", $"GET /%2f HTTP/1.1\r\n{Host}\r\n");

    [Fact]
    public async Task Requests_cut_anywhere_get_the_bytes_that_requests_in_one_piece_get()
    {
        await using var server = new TestServer(options: TestServer.Options(new StandingClock()));
        server.Set("/a.txt", 10);
        server.Set("/index.html", 2000);
        server.Set("/dir/index.html", 30);
        server.Set("/big", 30_000);
        Gen.Select(AnyRequest.Array[1, 12], Gen.Int[1, 80].Array[1, 20]).Sample((requests, cuts) =>
        {
            string all = string.Concat(requests);
            string whole = server.Exchange(all);
            using RawClient client = server.Connect();
            try
            {
                for (int at = 0, i = 0; at < all.Length; i++)
                {
                    int length = Math.Min(cuts[i % cuts.Length], all.Length - at);
                    client.Send(all.Substring(at, length));
                    at += length;
                }

                client.Shutdown();
            }
            catch (System.Net.Sockets.SocketException)
            {
                // The server ended the connection at a bad request while this side was still sending.
            }

            Assert.Equal(whole, Encoding.Latin1.GetString(client.ReadToEnd()));
        }, iter: 300, threads: 1);
    }

    [Fact]
    public async Task Any_bytes_leave_the_server_serving()
    {
        await using var server = new TestServer();
        byte[] bytes = server.Set("/a", 100);
        Gen.OneOf(Gen.Byte.Array[0, 400].Select(Encoding.Latin1.GetString), Gen.Select(AnyRequest, Gen.Int[0, 40], Gen.Char['\0', '\xFF']).Select((text, at, c) =>
            text.Insert(Math.Min(at, text.Length), c.ToString()))).Sample(text =>
        {
            string answer = server.Exchange(text);
            Assert.True(answer.Length == 0 || answer.StartsWith("HTTP/1.1 ", StringComparison.Ordinal));
        }, iter: 500, threads: 1);
        using RawClient client = server.Connect();
        client.Send($"GET /a HTTP/1.1\r\n{Host}\r\n");
        Assert.Equal(bytes, client.ReadResponse().Body);
    }

    [Fact]
    public void Every_extension_has_a_type_and_text_has_a_charset()
    {
        Assert.Equal("text/html; charset=utf-8", MediaTypes.ForPath("/a/b.HTML"u8));
        Assert.Equal("image/png", MediaTypes.ForPath("/a.b/c.png"u8));
        Assert.Equal("application/octet-stream", MediaTypes.ForPath("/a.png/c"u8));
        Assert.Equal("application/octet-stream", MediaTypes.ForPath("/a.unknown"u8));
    }
}
