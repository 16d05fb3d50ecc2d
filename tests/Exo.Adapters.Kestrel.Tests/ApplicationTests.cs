// SPDX-License-Identifier: MIT
using System.Net;
using System.Net.WebSockets;
using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace Exo.Adapters.Kestrel.Tests;

/// <summary>An unmodified application behind the raw device, asked by .NET's own client. Each network runs all of these.</summary>
public abstract class ApplicationTests
{
    private const int LargeBytes = 48 << 20;

    private protected abstract ITestNetwork CreateNetwork();

    [Fact]
    public async Task Requests_on_one_connection_are_answered()
    {
        await using ITestNetwork network = CreateNetwork();
        await using TestApplication server = await TestApplication.StartAsync(network, app =>
            app.MapGet("/", (HttpContext context) => $"{context.Connection.Id} {context.Connection.LocalIpAddress}:{context.Connection.LocalPort} {context.Connection.RemoteIpAddress}"));
        using HttpClient client = server.Client();
        string first = await client.GetStringAsync("http://10.9.0.2/");
        Assert.EndsWith(" 10.9.0.2:80 10.9.0.1", first, StringComparison.Ordinal);
        for (int i = 0; i < 100; i++)
        {
            Assert.Equal(first, await client.GetStringAsync("http://10.9.0.2/"));
        }

        Assert.Empty(server.Errors);
    }

    [Theory]
    [InlineData("http://10.9.0.2/", 1)]
    [InlineData("https://10.9.0.2/", 1)]
    [InlineData("https://10.9.0.2/", 2)]
    public async Task Much_is_sent_and_received_and_every_byte_arrives(string address, int version)
    {
        await using ITestNetwork network = CreateNetwork();
        await Exchange.RunAsync(network, address, version, LargeBytes);
    }

    [Fact]
    public async Task A_hundred_streams_share_a_connection()
    {
        await using ITestNetwork network = CreateNetwork();
        await using TestApplication server = await TestApplication.StartAsync(network, app =>
            app.MapPost("/{number:int}", async (int number, HttpRequest request) => $"{number} {request.Protocol} {request.HttpContext.Connection.Id[..2]} {(await new StreamReader(request.Body).ReadToEndAsync()).Length}"));
        using HttpClient client = server.Client(HttpVersion.Version20);
        string[] answers = await Task.WhenAll(Enumerable.Range(0, 100).Select(async number =>
        {
            using HttpResponseMessage answer = await client.PostAsync($"https://10.9.0.2/{number}", new StringContent(new string('x', number * 1000)));
            return await answer.Content.ReadAsStringAsync();
        }));
        for (int i = 0; i < answers.Length; i++)
        {
            Assert.Matches($"^{i} HTTP/2 .. {i * 1000}$", answers[i]);
        }

        Assert.Empty(server.Errors);
    }

    [Fact]
    public async Task A_web_socket_is_a_connection_too()
    {
        await using ITestNetwork network = CreateNetwork();
        await using TestApplication server = await TestApplication.StartAsync(network, app =>
        {
            app.UseWebSockets();
            app.Map("/", async (HttpContext context) =>
            {
                using WebSocket socket = await context.WebSockets.AcceptWebSocketAsync();
                byte[] buffer = new byte[1000];
                while (await socket.ReceiveAsync(buffer, default) is { MessageType: not WebSocketMessageType.Close } received)
                {
                    await socket.SendAsync(buffer.AsMemory(0, received.Count), received.MessageType, received.EndOfMessage, default);
                }

                await socket.CloseAsync(WebSocketCloseStatus.NormalClosure, null, default);
            });
        });
        using HttpClient invoker = server.Client();
        using ClientWebSocket client = new();
        await client.ConnectAsync(new Uri("ws://10.9.0.2/"), invoker, default);
        byte[] answer = new byte[1000];
        for (int i = 1; i <= 50; i++)
        {
            await client.SendAsync(Encoding.ASCII.GetBytes($"message {i}"), WebSocketMessageType.Text, true, default);
            WebSocketReceiveResult received = await client.ReceiveAsync(answer, default);
            Assert.Equal($"message {i}", Encoding.ASCII.GetString(answer, 0, received.Count));
        }

        await client.CloseAsync(WebSocketCloseStatus.NormalClosure, null, default);
        Assert.Empty(server.Errors);
    }

    [Fact]
    public async Task A_client_that_resets_is_noticed_while_it_is_answered()
    {
        await using ITestNetwork network = CreateNetwork();
        TaskCompletionSource aborted = new(TaskCreationOptions.RunContinuationsAsynchronously);
        await using TestApplication server = await TestApplication.StartAsync(network, app => app.MapGet("/", async (HttpContext context) =>
        {
            byte[] block = new byte[64 * 1024];
            while (!context.RequestAborted.IsCancellationRequested)
            {
                await context.Response.Body.WriteAsync(block);   // held back for ever if nobody noticed
            }

            aborted.SetResult();
        }));
        await using ClientStream client = await network.ConnectAsync(new IPEndPoint(TestApplication.Address, 80), default);
        await client.WriteAsync("GET / HTTP/1.1\r\nHost: x\r\n\r\n"u8.ToArray());
        await client.ReadExactlyAsync(new byte[200_000]);
        client.Reset();
        await aborted.Task.WaitAsync(TimeSpan.FromSeconds(60));
        Assert.Empty(server.Errors);
    }

    [Fact]
    public async Task A_client_that_resets_ends_the_reading_of_its_request()
    {
        await using ITestNetwork network = CreateNetwork();
        TaskCompletionSource<Exception?> ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
        TaskCompletionSource reading = new(TaskCreationOptions.RunContinuationsAsynchronously);
        await using TestApplication server = await TestApplication.StartAsync(network, app => app.MapPost("/", async (HttpRequest request) =>
        {
            byte[] buffer = new byte[1000];
            await request.Body.ReadExactlyAsync(buffer);
            reading.SetResult();
            ended.SetResult(await Record.ExceptionAsync(async () => await request.Body.ReadExactlyAsync(buffer)));
        }));
        await using ClientStream client = await network.ConnectAsync(new IPEndPoint(TestApplication.Address, 80), default);
        await client.WriteAsync("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n"u8.ToArray());
        await client.WriteAsync(new byte[1500]);
        await reading.Task;
        client.Reset();
        Assert.IsType<ConnectionResetException>(await ended.Task.WaitAsync(TimeSpan.FromSeconds(60)));
    }

    [Fact]
    public async Task A_server_that_aborts_resets_the_client()
    {
        await using ITestNetwork network = CreateNetwork();
        await using TestApplication server = await TestApplication.StartAsync(network, app => app.MapGet("/", async (HttpContext context) =>
        {
            await context.Response.WriteAsync("the beginning");
            await context.Response.Body.FlushAsync();
            context.Abort();
        }));
        using HttpClient client = server.Client();
        Exception failure = (await Record.ExceptionAsync(() => client.GetStringAsync("http://10.9.0.2/")))!;
        Assert.IsType<HttpRequestException>(failure);
        Assert.Empty(server.Errors);
    }

    [Fact]
    public async Task Stopping_answers_what_has_begun_and_takes_no_more()
    {
        await using ITestNetwork network = CreateNetwork();
        TaskCompletionSource begun = new(TaskCreationOptions.RunContinuationsAsynchronously), finish = new(TaskCreationOptions.RunContinuationsAsynchronously);
        await using TestApplication server = await TestApplication.StartAsync(network, app => app.MapGet("/", async () =>
        {
            begun.SetResult();
            await finish.Task;
            return "finished";
        }));
        using HttpClient client = server.Client();
        Task<string> answer = client.GetStringAsync("http://10.9.0.2/");
        await begun.Task;
        CancellationToken stopping = server.Application.Lifetime.ApplicationStopping;
        Task stopped = server.Application.StopAsync();
        Assert.True(stopping.IsCancellationRequested);

        // Unbinding is under way: sooner or later the port refuses, while the answer is still to come.
        await RefusedAsync(network);
        Assert.False(answer.IsCompleted);
        finish.SetResult();
        Assert.Equal("finished", await answer);
        await stopped;
        Assert.Empty(server.Errors);
    }

    [Fact]
    public async Task An_application_that_does_not_read_holds_its_client_back()
    {
        await using ITestNetwork network = CreateNetwork();
        const int Bytes = 32 << 20;
        SemaphoreSlim read = new(0);
        await using TestApplication server = await TestApplication.StartAsync(network, app => app.MapPost("/", async (HttpRequest request) =>
        {
            await read.WaitAsync();
            long count = 0;
            byte[] buffer = new byte[100_000];
            for (int got; (got = await request.Body.ReadAsync(buffer)) > 0; count += got)
            {
            }

            return count;
        }));
        await using ClientStream client = await network.ConnectAsync(new IPEndPoint(TestApplication.Address, 80), default);
        await client.WriteAsync(Encoding.ASCII.GetBytes($"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {Bytes}\r\n\r\n"));
        long written = 0;
        Task writing = Task.Run(async () =>
        {
            for (byte[] chunk = new byte[64 * 1024]; written < Bytes; Interlocked.Add(ref written, chunk.Length))
            {
                await client.WriteAsync(chunk);
            }
        });

        // Twice the same count, with other requests answered in between: the client stands still, far before the end.
        for (long before = -1; before != Interlocked.Read(ref written);)
        {
            before = Interlocked.Read(ref written);
            using HttpClient other = server.Client();
            for (int i = 0; i < 20; i++)
            {
                Assert.Equal(HttpStatusCode.NotFound, (await other.GetAsync("http://10.9.0.2/nothing")).StatusCode);
            }
        }

        Assert.InRange(written, 0, 24 << 20);
        read.Release();
        await writing;
        byte[] answer = new byte[12];
        await client.ReadExactlyAsync(answer);
        Assert.Equal("HTTP/1.1 200", Encoding.ASCII.GetString(answer));
        Assert.Empty(server.Errors);
    }

    [Fact]
    public async Task A_client_that_does_not_read_holds_the_application_back()
    {
        await using ITestNetwork network = CreateNetwork();
        const int Bytes = 64 << 20;
        long written = 0;
        await using TestApplication server = await TestApplication.StartAsync(network, app => app.MapGet("/", async (HttpResponse response) =>
        {
            for (byte[] chunk = new byte[64 * 1024]; written < Bytes; Interlocked.Add(ref written, chunk.Length))
            {
                await response.Body.WriteAsync(chunk);
            }
        }));
        await using ClientStream client = await network.ConnectAsync(new IPEndPoint(TestApplication.Address, 80), default);
        await client.WriteAsync("GET / HTTP/1.1\r\nHost: x\r\n\r\n"u8.ToArray());
        await client.ReadExactlyAsync(new byte[1000]);
        byte[] buffer = new byte[64 * 1024];
        for (long taken = 1000; taken < Bytes;)
        {
            // What the server may be ahead: its pipe, its queue, and both windows; 16 MiB is what the kernel buffers at most.
            Assert.InRange(Interlocked.Read(ref written), 0, taken + (24 << 20));
            int count = await client.ReadAsync(buffer);
            Assert.True(count > 0);
            taken += count;
        }

        Assert.Empty(server.Errors);
    }

    [Fact]
    public async Task Thousands_of_connections_are_open_at_once()
    {
        await using ITestNetwork network = CreateNetwork();
        await using TestApplication server = await TestApplication.StartAsync(network, app => app.MapGet("/", () => "here"));
        const int Count = 2000;
        List<ClientStream> clients = [];
        byte[] request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"u8.ToArray(), buffer = new byte[1000];
        for (int i = 0; i < Count; i++)
        {
            clients.Add(await network.ConnectAsync(new IPEndPoint(TestApplication.Address, 80), default));
        }

        for (int round = 0; round < 2; round++)
        {
            foreach (ClientStream client in clients)
            {
                await client.WriteAsync(request);
            }

            foreach (ClientStream client in clients)
            {
                StringBuilder answer = new();
                while (!answer.ToString().EndsWith("here\r\n0\r\n\r\n", StringComparison.Ordinal) && !answer.ToString().EndsWith("\r\n\r\nhere", StringComparison.Ordinal))
                {
                    int count = await client.ReadAsync(buffer);
                    Assert.True(count > 0, $"ended after: {answer}");
                    answer.Append(Encoding.ASCII.GetString(buffer, 0, count));
                }
            }
        }

        foreach (ClientStream client in clients)
        {
            await client.DisposeAsync();
        }

        Assert.Empty(server.Errors);
    }

    private static async Task RefusedAsync(ITestNetwork network)
    {
        while (true)
        {
            try
            {
                await using ClientStream taken = await network.ConnectAsync(new IPEndPoint(TestApplication.Address, 80), default);
            }
            catch (Exception refused) when (refused is IOException or System.Net.Sockets.SocketException)
            {
                return;
            }
        }
    }
}

/// <summary>On the simulated wire.</summary>
public sealed class WireApplicationTests : ApplicationTests
{
    private protected override ITestNetwork CreateNetwork() => new WireNetwork();
}

/// <summary>On a TAP, with the kernel's TCP as client.</summary>
public sealed class TapApplicationTests : ApplicationTests
{
    private protected override ITestNetwork CreateNetwork() => new TapNetwork();
}
