// SPDX-License-Identifier: MIT
using System.Net;
using System.Text;
using System.Text.Json;
using Exo.Net.Cheetah.Sockets;
using Exo.Net.Cheetah.Tests.Sockets;

namespace Exo.Net.Cheetah.Tests.Handlers;

/// <summary>The application's own answers, on sockets.</summary>
public class HandlersTests
{
    private const string Host = "Host: h\r\n";

    private static CheetahServerOptions Options(CheetahHandlers handlers, TimeProvider? time = null, Action<Exception>? failed = null, int bodyBytesMax = 65536) => new()
    {
        EndPoint = new IPEndPoint(IPAddress.Loopback, 0),
        Time = time ?? TimeProvider.System,
        Handlers = handlers,
        HandlerFailed = failed,
        HandlerBodyBytesMax = bodyBytesMax,
    };

    // Everything a request says, so that a test can compare it.
    private static void Tell(in CheetahRequest request, CheetahResponse response)
    {
        response.Write(request.Method);
        response.Write(" ");
        response.Write(request.Path);
        response.Write(" ?");
        response.Write(request.Query);
        foreach (CheetahField field in request.Fields)
        {
            response.Write("\n");
            response.Write(field.Name);
            response.Write("=");
            response.Write(field.Value);
        }

        response.Write("\n\n");
        response.Write(request.Body);
    }

    private static TestServer Telling(int bodyBytesMax = 65536, TimeProvider? time = null) => new(options: Options(
        new CheetahHandlers().Add("GET", "/tell/*", Tell).Add("POST", "/tell/*", Tell).Add("PURGE", "/tell/*", Tell).Add("GET", "/hello", (in request, response) => response.Write("hello"u8)), time, bodyBytesMax: bodyBytesMax));

    private static string Text(byte[] bytes) => Encoding.Latin1.GetString(bytes);

    private static void Until(Func<bool> condition) => Assert.True(SpinWait.SpinUntil(condition, 20_000));

    [Fact]
    public async Task A_handler_sees_what_the_client_has_sent()
    {
        await using TestServer server = Telling();
        using RawClient client = server.Connect();
        client.Send($"\r\nGET /tell/a%20b//./c?x=1&y HTTP/1.1\r\n{Host}x-one:  first \t\r\nX-One: second\r\nX-Empty:\r\n\r\n");
        (string head, byte[] body) = client.ReadResponse();
        Assert.Equal("GET /tell/a b/c ?x=1&y\nHost=h\nx-one=first\nX-One=second\nX-Empty=\n\n", Text(body));
        Assert.StartsWith("HTTP/1.1 200 OK\r\nDate: ", head, StringComparison.Ordinal);
        Assert.EndsWith("GMT\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 65\r\n\r\n", head, StringComparison.Ordinal);
        client.Send("POST http://h/tell/ HTTP/1.0\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nabcdePURGE /tell/x HTTP/1.0\r\n\r\n");
        (head, body) = client.ReadResponse();
        Assert.Equal("POST /tell/ ?\nContent-Length=5\nConnection=keep-alive\n\nabcde", Text(body));
        Assert.EndsWith("Connection: keep-alive\r\n\r\n", head, StringComparison.Ordinal);
        (head, body) = client.ReadResponse();
        Assert.Equal("PURGE /tell/x ?\n\n", Text(body));
        Assert.EndsWith("Connection: close\r\n\r\n", head, StringComparison.Ordinal);
        Assert.Empty(client.ReadToEnd());
        Assert.Equal((3, 3, 0), (server.Server.Counters.Requests, server.Server.Counters.RequestsHandled, server.Server.Counters.HandlerFailures));
    }

    [Fact]
    public async Task A_field_is_found_by_its_name_in_any_case_and_the_client_by_its_address()
    {
        var handlers = new CheetahHandlers().Add("GET", "/", (in request, response) =>
        {
            Assert.True(request.TryGetField("x-a"u8, out ReadOnlySpan<byte> first));
            Assert.False(request.TryGetField("x-b"u8, out _));
            Assert.True(request.IsFromLoopback);
            response.Write(first);
            response.Write(request.RemoteEndPoint.Address.ToString());
        });
        await using var server = new TestServer(options: Options(handlers));
        Assert.EndsWith("\r\n\r\n1127.0.0.1", server.Exchange($"GET / HTTP/1.1\r\n{Host}X-A: 1\r\nx-a: 2\r\n\r\n"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Status_type_fields_and_body_are_the_handlers_and_the_rest_the_servers()
    {
        var handlers = new CheetahHandlers()
            .Add("GET", "/json", (in request, response) =>
            {
                response.Status = 201;
                response.ContentType = "application/json"u8;
                using (var json = new Utf8JsonWriter(response.Body))
                {
                    json.WriteStartArray();
                    json.WriteNumberValue(1.5);
                    json.WriteStringValue("ä");
                    json.WriteEndArray();
                }

                response.AddField("Location"u8, "/x"u8);
                response.AddField("X-Tab"u8, "a\tb"u8);
            })
            .Add("GET", "/number", (in request, response) =>
            {
                response.Status = 299;
                response.Write(12345.5, "F1");
                response.Write(" ä");
            })
            .Add("GET", "/none", (in request, response) => response.Status = 204)
            .Add("GET", "/not-modified", (in request, response) =>
            {
                response.Status = 304;
                response.AddField("ETag"u8, "\"x\""u8);
            })
            .Add("GET", "/empty", (in request, response) =>
            {
            });
        await using var server = new TestServer(options: Options(handlers));
        using RawClient client = server.Connect();
        client.Send(string.Concat(((string[])["GET /json", "HEAD /json", "GET /number", "GET /none", "GET /not-modified", "GET /empty"]).Select(line => $"{line} HTTP/1.1\r\n{Host}\r\n")) + $"GET /none HTTP/1.1\r\n{Host}Connection: close\r\n\r\n");
        string[] lines = Text(client.ReadToEnd()).Split("\r\n");
        string[] expected =
        [
            "HTTP/1.1 201 Created", "Content-Type: application/json", "Content-Length: 14", "Location: /x", "X-Tab: a\tb", "", "[1.5,\"\\u00E4\"]HTTP/1.1 201 Created",
            "Content-Type: application/json", "Content-Length: 14", "Location: /x", "X-Tab: a\tb", "", "HTTP/1.1 299 ", "Content-Type: text/plain; charset=utf-8", "Content-Length: 10", "", "12345.5 \u00C3\u00A4HTTP/1.1 204 No Content",
            "", "HTTP/1.1 304 Not Modified", "ETag: \"x\"", "", "HTTP/1.1 200 OK", "Content-Length: 0", "", "HTTP/1.1 204 No Content", "Connection: close", "", "",
        ];
        Assert.Equal(expected, lines.Where(line => !line.StartsWith("Date: ", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task Handlers_and_documents_are_pipelined_in_order()
    {
        await using TestServer server = Telling();
        byte[] document = server.Set("/a", 5000);
        using RawClient client = server.Connect();
        client.Send(string.Concat(Enumerable.Range(0, 300).Select(i => $"GET /tell/{i} HTTP/1.1\r\n{Host}\r\nGET /a HTTP/1.1\r\n{Host}\r\nPOST /tell/{i} HTTP/1.1\r\n{Host}Content-Length: {i}\r\n\r\n{new string('x', i)}")));
        for (int i = 0; i < 300; i++)
        {
            Assert.Equal($"GET /tell/{i} ?\nHost=h\n\n", Text(client.ReadResponse().Body));
            Assert.Equal(document, client.ReadResponse().Body);
            Assert.Equal($"POST /tell/{i} ?\nHost=h\nContent-Length={i}\n\n{new string('x', i)}", Text(client.ReadResponse().Body));
        }
    }

    [Fact]
    public async Task Requests_cut_anywhere_are_answered_alike()
    {
        await using TestServer server = Telling(bodyBytesMax: 100_000);
        string requests = $"POST /tell/1 HTTP/1.1\r\n{Host}Content-Length: 3\r\n\r\nabcGET /hello HTTP/1.1\r\n{Host}\r\nPOST /tell/2 HTTP/1.1\r\n{Host}Content-Length: 100000\r\n\r\n{new string('y', 100_000)}"
            + $"DELETE /tell/ HTTP/1.1\r\n{Host}Content-Length: 4\r\n\r\nGET HEAD /hello HTTP/1.1\r\n{Host}Connection: close\r\n\r\n";
        string expected = WithoutDates(server.Exchange(requests));
        Assert.Equal(5, expected.Split("HTTP/1.1 ").Length - 1);
        var random = new Random(4);
        for (int i = 0; i < 60; i++)
        {
            using RawClient client = server.Connect();
            int at = 0;
            while (at < requests.Length)
            {
                int count = Math.Min(requests.Length - at, at is < 300 or > 100_100 ? random.Next(1, 60) : random.Next(1, 60_000));
                client.Send(requests.Substring(at, count));
                at += count;
            }

            Assert.Equal(expected, WithoutDates(Text(client.ReadToEnd())));
        }
    }

    [Fact]
    public async Task A_handler_that_throws_is_a_500_and_nothing_else()
    {
        List<Exception> failures = [];
        var handlers = new CheetahHandlers()
            .Add("GET", "/hello", (in request, response) => response.Write("hello"u8))
            .Add("GET", "/throws", (in request, response) =>
            {
                response.Status = 202;
                response.AddField("X-Half"u8, "done"u8);
                response.Write("half"u8);
                throw new InvalidDataException("no");
            })
            .Add("GET", "/body-of-nothing", (in request, response) =>
            {
                response.Status = 204;
                response.Write("x"u8);
            })
            .Add("GET", "/informational", (in request, response) => response.Status = 101)
            .AddDeferred("GET", "/deferred", (in request, stopping) => throw new InvalidDataException("no"))
            .AddDeferred("GET", "/nobody", (in request, stopping) => ValueTask.FromResult<CheetahHandler>(null!));
        await using var server = new TestServer(options: Options(handlers, failed: failure =>
        {
            failures.Add(failure);
            throw new InvalidOperationException("who is told fails too");
        }));
        string[] failing = ["/throws", "/body-of-nothing", "/informational", "/deferred", "/nobody"];
        string answer = server.Exchange(string.Concat(failing.Select(path => $"GET {path} HTTP/1.1\r\n{Host}\r\nGET /hello HTTP/1.1\r\n{Host}\r\n")));
        Assert.Equal(5, answer.Split("HTTP/1.1 500 Internal Server Error").Length - 1);
        Assert.Equal(5, answer.Split("Content-Length: 5\r\n\r\nhello").Length - 1);
        Assert.DoesNotContain("alf", answer, StringComparison.Ordinal);
        Assert.Equal(
            [typeof(InvalidDataException), typeof(InvalidOperationException), typeof(ArgumentOutOfRangeException), typeof(InvalidDataException), typeof(InvalidOperationException)], failures.Select(failure => failure.GetType()));
        Assert.Equal((10, 5), (server.Server.Counters.RequestsHandled, server.Server.Counters.HandlerFailures));
    }

    [Theory]
    [InlineData("X-A", "a\r\nX-B: b")]
    [InlineData("X-A", "a\n")]
    [InlineData("X-A", "a\r")]
    [InlineData("X-A", "a\0")]
    [InlineData("X-A", "\u007f")]
    [InlineData("X-A\r\nX-B", "b")]
    [InlineData("X A", "b")]
    [InlineData("X-A:", "b")]
    [InlineData("", "b")]
    [InlineData("content-length", "7")]
    [InlineData("Content-Type", "text/html")]
    [InlineData("Transfer-Encoding", "chunked")]
    [InlineData("Connection", "close")]
    [InlineData("Keep-Alive", "1")]
    [InlineData("Date", "now")]
    [InlineData("Trailer", "x")]
    [InlineData("Upgrade", "h2c")]
    [InlineData("Proxy-Connection", "x")]
    public async Task What_is_no_field_of_a_handlers_is_refused(string name, string value)
    {
        Exception? refused = null;
        var handlers = new CheetahHandlers().Add("GET", "/", (in request, response) =>
        {
            try
            {
                response.AddField(Encoding.Latin1.GetBytes(name), Encoding.Latin1.GetBytes(value));
            }
            catch (ArgumentException failure)
            {
                refused = failure;
            }

            response.Write("x"u8);
        });
        await using var server = new TestServer(options: Options(handlers));
        string answer = server.Exchange($"GET / HTTP/1.1\r\n{Host}\r\n");
        Assert.NotNull(refused);
        Assert.Equal(["HTTP/1.1 200 OK", "Content-Type: text/plain; charset=utf-8", "Content-Length: 1", "", "x"], answer.Split("\r\n").Where(line => !line.StartsWith("Date: ", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task A_content_type_with_a_line_end_is_refused_and_so_are_too_many_fields()
    {
        var handlers = new CheetahHandlers()
            .Add("GET", "/type", (in request, response) => response.ContentType = "text/html\r\nX: y"u8)
            .Add("GET", "/fields", (in request, response) =>
            {
                for (int i = 0; i < 1000; i++)
                {
                    response.AddField("X-Many"u8, "0123456789"u8);
                }
            })
            .Add("GET", "/many", (in request, response) =>
            {
                for (int i = 0; i < 300; i++)
                {
                    response.AddField("X-Many"u8, "0123456789"u8);
                }

                response.Write(new string('b', 3000));
            });
        await using var server = new TestServer(options: Options(handlers));
        Assert.StartsWith("HTTP/1.1 500", server.Exchange($"GET /type HTTP/1.1\r\n{Host}\r\n"), StringComparison.Ordinal);
        Assert.StartsWith("HTTP/1.1 500", server.Exchange($"GET /fields HTTP/1.1\r\n{Host}\r\n"), StringComparison.Ordinal);
        string answer = server.Exchange($"GET /many HTTP/1.1\r\n{Host}\r\n");
        Assert.Equal(300, answer.Split("X-Many: 0123456789\r\n").Length - 1);
        Assert.EndsWith(new string('b', 3000), answer, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_path_belongs_to_the_closest_handler_and_other_methods_are_told_which_there_are()
    {
        CheetahHandler Say(string text) => (in request, response) => response.Write(text);
        var handlers = new CheetahHandlers().Add("GET", "/a/*", Say("a")).Add("GET", "/a/b/*", Say("b")).Add("GET", "/a/b/c", Say("c")).Add("POST", "/a/b/c", Say("p"));
        await using var server = new TestServer(options: Options(handlers));
        byte[] document = server.Set("/a", 7);
        string Body(string line) => server.Exchange($"{line} HTTP/1.1\r\n{Host}\r\n").Split("\r\n\r\n", 2)[1];
        Assert.Equal("a", Body("GET /a/"));
        Assert.Equal("a", Body("GET /a/x"));
        Assert.Equal("b", Body("GET /a/b/d"));
        Assert.Equal("c", Body("GET /a/./b/%63"));
        Assert.Equal("p", Body("POST /a/b/c"));
        Assert.Equal("", Body("HEAD /a/b/c"));
        Assert.Equal(Text(document), Body("GET /a"));
        string refused = server.Exchange($"PUT /a/b/c HTTP/1.1\r\n{Host}\r\n");
        Assert.StartsWith("HTTP/1.1 405 Method Not Allowed\r\n", refused, StringComparison.Ordinal);
        Assert.Contains("\r\nAllow: GET, HEAD, POST\r\n", refused, StringComparison.Ordinal);
        Assert.StartsWith("HTTP/1.1 501", server.Exchange($"BREW /a/b/c HTTP/1.1\r\n{Host}\r\n"), StringComparison.Ordinal);
        Assert.StartsWith("HTTP/1.1 405", server.Exchange($"OPTIONS * HTTP/1.1\r\n{Host}\r\n"), StringComparison.Ordinal);
        Assert.StartsWith("HTTP/1.1 405", server.Exchange($"CONNECT h:1 HTTP/1.1\r\n{Host}\r\n"), StringComparison.Ordinal);
        Assert.StartsWith("HTTP/1.1 400", server.Exchange($"GET /a/%00 HTTP/1.1\r\n{Host}\r\n"), StringComparison.Ordinal);
        Assert.Contains("\r\nAllow: GET, HEAD\r\n", server.Exchange($"POST /a HTTP/1.1\r\n{Host}\r\n"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Bodies_that_are_too_long_or_no_bodies_are_refused_and_smuggle_nothing()
    {
        await using TestServer server = Telling(bodyBytesMax: 100);
        string Answers(string requests) => string.Join(' ', server.Exchange(requests).Split("HTTP/1.1 ")[1..].Select(answer => answer[..3]));
        Assert.Equal("200 200", Answers($"POST /tell/ HTTP/1.1\r\n{Host}Content-Length: 100\r\n\r\n{new string('x', 100)}GET /hello HTTP/1.1\r\n{Host}\r\n"));
        Assert.Equal("413 200", Answers($"POST /tell/ HTTP/1.1\r\n{Host}Content-Length: 101\r\n\r\n{new string('x', 101)}GET /hello HTTP/1.1\r\n{Host}\r\n"));
        Assert.Equal("413", Answers($"POST /tell/ HTTP/1.1\r\n{Host}Content-Length: 9999999\r\n\r\n{new string('x', 101)}GET /hello HTTP/1.1\r\n{Host}\r\n"));
        string Chunked(string body) => Answers($"POST /tell/ HTTP/1.1\r\n{Host}Transfer-Encoding: chunked\r\n\r\n{body}GET /hello HTTP/1.1\r\n{Host}\r\n");
        Assert.Equal("200 200", Chunked("5\r\nhello\r\n0\r\n\r\n"));
        Assert.Equal("200 200", Chunked($"4F\r\n{new string('x', 79)}\r\n1;a=b\r\n0\r\n0\r\n\r\n"));
        Assert.Equal("413", Chunked($"50\r\n{new string('x', 80)}\r\n1;a=b\r\n0\r\n0\r\n\r\n"));
        Assert.Equal("413", Chunked("FFFFFFFF\r\n"));
        Assert.Equal("400", Chunked("5\r\nhello0\r\n\r\n"));
        Assert.Equal("400", Chunked("5\nhello\r\n0\r\n\r\n"));
        Assert.Equal("400", Chunked("0\r\nContent-Length 5\r\n\r\n"));
        Assert.Equal("400", Answers($"POST /tell/ HTTP/1.1\r\n{Host}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhelloGET /hello HTTP/1.1\r\n{Host}\r\n"));
        Assert.Equal("417", Answers($"POST /tell/ HTTP/1.1\r\n{Host}Expect: 100-continue\r\nExpect: more\r\nContent-Length: 5\r\n\r\nhelloGET /hello HTTP/1.1\r\n{Host}\r\n"));
        Assert.Equal("413", Answers($"POST /tell/ HTTP/1.1\r\n{Host}Expect: 100-continue\r\nContent-Length: 101\r\n\r\nGET /hello HTTP/1.1\r\n{Host}\r\n"));
    }

    [Fact]
    public async Task A_chunked_body_reaches_its_handler_whole()
    {
        await using TestServer server = Telling();
        using RawClient client = server.Connect();
        for (int i = 0; i < 3; i++)
        {
            client.Send($"POST /tell/ HTTP/1.1\r\n{Host}Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n");
            Assert.Equal("HTTP/1.1 100 Continue\r\n\r\n", client.ReadResponse(hasBody: false).Head);
            foreach (string piece in (string[])["5\r", "\n012", "34\r\n0", "3;x=\"y\"\r\n567\r\n00\r\nDigest: z\r\n", "\r\n"])
            {
                client.Send(piece);
            }

            Assert.EndsWith("\n\n01234567", Text(client.ReadResponse().Body), StringComparison.Ordinal);
        }

        // As curl sends what comes from a pipe.
        byte[] large = new byte[60_000];
        new Random(1).NextBytes(large.AsSpan());
        using HttpClient http = new();
        using HttpRequestMessage request = new(HttpMethod.Post, $"http://{server.Server.EndPoint}/tell/") { Content = new StreamContent(new MemoryStream(Convert.FromBase64String(Convert.ToBase64String(large)))) };
        request.Headers.TransferEncodingChunked = true;
        using HttpResponseMessage answer = await http.SendAsync(request);
        byte[] told = await answer.Content.ReadAsByteArrayAsync();
        Assert.Equal(large, told[^large.Length..]);
    }

    [Fact]
    public async Task Who_expects_to_be_told_to_go_on_is_told_once()
    {
        await using TestServer server = Telling();
        using RawClient client = server.Connect();
        for (int i = 0; i < 3; i++)
        {
            client.Send($"GET /hello HTTP/1.1\r\n{Host}\r\nPOST /tell/ HTTP/1.1\r\n{Host}Expect: 100-continue\r\nContent-Length: 10\r\n\r\n");
            Assert.EndsWith("\r\n\r\n", client.ReadResponse().Head, StringComparison.Ordinal);
            Assert.Equal("HTTP/1.1 100 Continue\r\n\r\n", client.ReadResponse(hasBody: false).Head);
            client.Send("01234");
            client.Send("56789");
            Assert.EndsWith("\n\n0123456789", Text(client.ReadResponse().Body), StringComparison.Ordinal);
        }

        // Who does not wait for it is not told.
        client.Send($"POST /tell/ HTTP/1.1\r\n{Host}Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc");
        Assert.StartsWith("HTTP/1.1 200", client.ReadResponse().Head, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_body_that_does_not_come_gets_408()
    {
        var clock = new StandingClock();
        await using TestServer server = Telling(time: clock);
        using RawClient client = server.Connect();
        client.Send($"GET /hello HTTP/1.1\r\n{Host}\r\nPOST /tell/ HTTP/1.1\r\n{Host}Content-Length: 10\r\n\r\n12345");
        Assert.Equal("hello", Text(client.ReadResponse().Body));
        for (int i = 0; i < 11; i++)
        {
            long turns = server.Server.Counters.SystemCalls;
            Until(() => server.Server.Counters.SystemCalls > turns + 1);
            clock.Advance(TimeSpan.FromSeconds(1));
        }

        Assert.StartsWith("HTTP/1.1 408", Text(client.ReadToEnd()), StringComparison.Ordinal);
        Assert.Equal(1, server.Server.Counters.TimeOuts);
    }

    [Theory]
    [InlineData(4095)]
    [InlineData(7990)]
    [InlineData(8000)]
    [InlineData(8192)]
    [InlineData(100_000)]
    [InlineData(1 << 20)]
    public async Task Responses_of_every_size_arrive_whole(int lengthBytes)
    {
        byte[] bytes = TestServer.Bytes(lengthBytes);
        await using var server = new TestServer(options: Options(new CheetahHandlers().Add("GET", "/", (in request, response) => response.Write(bytes))));
        using RawClient client = server.Connect(receiveBufferBytes: 4096);
        client.Send(string.Concat(Enumerable.Repeat($"GET / HTTP/1.1\r\n{Host}\r\nHEAD / HTTP/1.1\r\n{Host}\r\n", 5)));
        for (int i = 0; i < 5; i++)
        {
            Assert.Equal(bytes, client.ReadResponse().Body);
            Assert.Contains($"\r\nContent-Length: {lengthBytes}\r\n", client.ReadResponse(hasBody: false).Head, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task A_response_beyond_the_limit_is_a_failure_and_without_frames_503()
    {
        byte[] bytes = TestServer.Bytes((1 << 20) + 1);
        var handlers = new CheetahHandlers()
            .Add("GET", "/over", (in request, response) => response.Write(bytes))
            .Add("GET", "/most", (in request, response) => response.Write(bytes.AsSpan(1)));
        await using var server = new TestServer(options: Options(handlers), poolBytes: 1 << 19);
        Assert.StartsWith("HTTP/1.1 500", server.Exchange($"GET /over HTTP/1.1\r\n{Host}\r\n"), StringComparison.Ordinal);
        Assert.StartsWith("HTTP/1.1 503", server.Exchange($"GET /most HTTP/1.1\r\n{Host}\r\n"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_deferred_handler_keeps_its_client_waiting_and_nobody_else()
    {
        TaskCompletionSource<CheetahHandler> first = new(TaskCreationOptions.RunContinuationsAsynchronously);
        var handlers = new CheetahHandlers()
            .Add("GET", "/hello", (in request, response) => response.Write("hello"u8))
            .AddDeferred("POST", "/wait", (in request, stopping) => new ValueTask<CheetahHandler>(first.Task))
            .AddDeferred("GET", "/at-once", (in request, stopping) => ValueTask.FromResult<CheetahHandler>(Tell))
            .AddDeferred("GET", "/fails", (in request, stopping) => FailsAsync());
        await using var server = new TestServer(options: Options(handlers));
        using RawClient client = server.Connect(), other = server.Connect();
        client.Send($"POST /wait HTTP/1.1\r\n{Host}Content-Length: 4\r\n\r\nbodyGET /hello HTTP/1.1\r\n{Host}\r\nGET /at-once HTTP/1.1\r\n{Host}\r\nGET /fails HTTP/1.1\r\n{Host}\r\nGET /hello HTTP/1.1\r\n{Host}\r\n");
        for (int i = 0; i < 10; i++)
        {
            other.Send($"GET /hello HTTP/1.1\r\n{Host}\r\n");
            Assert.Equal("hello", Text(other.ReadResponse().Body));
        }

        first.SetResult(Tell);
        Assert.Equal("POST /wait ?\nHost=h\nContent-Length=4\n\nbody", Text(client.ReadResponse().Body));
        Assert.Equal("hello", Text(client.ReadResponse().Body));
        Assert.Equal("GET /at-once ?\nHost=h\n\n", Text(client.ReadResponse().Body));
        Assert.StartsWith("HTTP/1.1 500", client.ReadResponse().Head, StringComparison.Ordinal);
        Assert.Equal("hello", Text(client.ReadResponse().Body));

        static async ValueTask<CheetahHandler> FailsAsync()
        {
            await Task.Yield();
            throw new InvalidDataException("no");
        }
    }

    [Fact]
    public async Task A_deferred_handler_may_take_too_long_or_come_back_for_nobody()
    {
        var clock = new StandingClock();
        List<TaskCompletionSource<CheetahHandler>> waiting = [];
        var handlers = new CheetahHandlers().AddDeferred("GET", "/wait", (in request, stopping) =>
        {
            TaskCompletionSource<CheetahHandler> one = new(TaskCreationOptions.RunContinuationsAsynchronously);
            lock (waiting)
            {
                waiting.Add(one);
            }

            return new ValueTask<CheetahHandler>(one.Task);
        });
        await using var server = new TestServer(options: Options(handlers, clock));
        using RawClient patient = server.Connect(), gone = server.Connect();
        patient.Send($"GET /wait HTTP/1.1\r\n{Host}\r\n");
        gone.Send($"GET /wait HTTP/1.1\r\n{Host}\r\n");
        Until(() => waiting.Count == 2);
        gone.Abort();
        clock.Advance(TimeSpan.FromSeconds(31));
        Assert.StartsWith("HTTP/1.1 503", Text(patient.ReadToEnd()), StringComparison.Ordinal);
        using RawClient next = server.Connect();
        next.Send($"GET /wait HTTP/1.1\r\n{Host}\r\n");
        Until(() => waiting.Count == 3);
        waiting[0].SetResult((in request, response) => response.Write("late"u8));
        waiting[1].SetResult((in request, response) => response.Write("late"u8));
        waiting[2].SetResult((in request, response) => response.Write("right"u8));
        Assert.Equal("right", Text(next.ReadResponse().Body));
    }

    [Fact]
    public async Task A_server_stops_when_the_last_deferred_handler_has_come_back()
    {
        TaskCompletionSource<CheetahHandler> stubborn = new(TaskCreationOptions.RunContinuationsAsynchronously);
        CancellationToken told = default;
        var handlers = new CheetahHandlers().AddDeferred("GET", "/wait", (in request, stopping) =>
        {
            told = stopping;
            return new ValueTask<CheetahHandler>(stubborn.Task);
        });
        await using var server = new TestServer(options: Options(handlers));
        using RawClient client = server.Connect();
        client.Send($"GET /wait HTTP/1.1\r\n{Host}\r\n");
        Until(() => told.CanBeCanceled);
        Task stopped = server.Server.StopAsync(TimeSpan.Zero);
        Assert.Empty(client.ReadToEnd());
        Until(() => told.IsCancellationRequested);
        Assert.False(stopped.IsCompleted);
        stubborn.SetResult(Tell);
        await stopped;
    }

    [Fact]
    public async Task Ten_thousand_handled_requests_allocate_nothing_on_the_reactor()
    {
        byte[] payload = TestServer.Bytes(1024);
        long sum = 0;
        var handlers = new CheetahHandlers()
            .Add("GET", "/value/*", (in request, response) =>
            {
                request.TryGetField("user-agent"u8, out ReadOnlySpan<byte> agent);
                response.ContentType = "application/octet-stream"u8;
                response.AddField("X-Agent"u8, agent);
                response.Write(payload);
                response.Write(sum);
            })
            .Add("POST", "/value/*", (in request, response) =>
            {
                sum += request.Body.Length;
                response.Status = 204;
            });
        await using var server = new TestServer(options: Options(handlers));
        using RawClient client = server.Connect();
        byte[] get = Encoding.ASCII.GetBytes($"GET /value/a?b HTTP/1.1\r\n{Host}User-Agent: test\r\n\r\n");
        byte[] post = Encoding.ASCII.GetBytes($"POST /value/a HTTP/1.1\r\n{Host}Content-Length: 3\r\n\r\nabc");
        void Exchange(int count)
        {
            for (int i = 0; i < count; i++)
            {
                client.Send(i % 10 == 9 ? post : get);
                Assert.Equal(i % 10 == 9, client.ReadResponse(hasBody: i % 10 != 9).Body.Length == 0);
            }
        }

        Exchange(500);
        _ = server.AllocatedBytes();
        long before = server.AllocatedBytes(), idle = server.AllocatedBytes();
        Exchange(9500);
        long after = server.AllocatedBytes();
        Assert.Equal((0, 0), (idle - before, after - idle));
        Assert.Equal(3000, sum);
    }

    [Fact]
    public void A_table_takes_only_paths_and_methods_that_requests_can_have()
    {
        CheetahHandlers handlers = new CheetahHandlers().Add("GET", "/a", Tell).Add("POST", "/a", Tell).Add("GET", "/ä/", Tell).Add("GET", "/*", Tell);
        Assert.Throws<ArgumentException>(() => handlers.Add("GET", "/a", Tell));
        foreach (string path in (string[])["", "a", "//a", "/a//b", "/./a", "/a/..", "/a%20b", "/a\nb", "/a\\b"])
        {
            Assert.Throws<ArgumentException>(() => handlers.Add("GET", path, Tell));
        }

        foreach (string method in (string[])["", "G T", "HEAD", "CONNECT", "GET\r\n"])
        {
            Assert.Throws<ArgumentException>(() => handlers.Add(method, "/b", Tell));
        }

        Assert.Throws<ArgumentNullException>(() => handlers.Add("GET", "/b", null!));
        Assert.Throws<ArgumentNullException>(() => handlers.AddDeferred("GET", "/b", null!));
        Assert.Throws<ArgumentNullException>(() => handlers.Add("GET", null!, Tell));
    }

    private static string WithoutDates(string answer) => string.Join("\r\n", answer.Split("\r\n").Where(line => !line.StartsWith("Date: ", StringComparison.Ordinal)));
}
