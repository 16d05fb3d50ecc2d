// SPDX-License-Identifier: MIT
using System.Net;
using System.Runtime.CompilerServices;
using System.Text;
using Exo.Core.Memory;

namespace Exo.Net.Cheetah.Tests;

public class ReadmeTests
{
    /// <summary>The sample of the package page, line by line; <see cref="The_page_shows_the_sample_that_is_tested"/> keeps them equal.</summary>
    private static async Task Sample(TextWriter Console)
    {
        // <sample>
        using var frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 64 << 20 });
        using var documents = new MemoryDocumentSource(frames);
        documents.Set("/index.html", "<!doctype html><title>Hello</title><h1>Hello from Cheetah</h1>"u8);

        var options = new CheetahServerOptions { EndPoint = new IPEndPoint(IPAddress.Loopback, 0), Reactors = 1 };
        await using var server = new CheetahServer(options, documents, frames);
        server.Start();

        using var client = new HttpClient();
        Console.WriteLine(await client.GetStringAsync($"http://{server.EndPoint}/"));
        Console.WriteLine($"payload bytes copied: {server.Counters.PayloadBytesCopied}");
        await server.StopAsync(drainTimeout: TimeSpan.FromSeconds(5));
        // </sample>
    }

    /// <summary>The sample of custom handlers, likewise.</summary>
    private static async Task Handlers(TextWriter Console)
    {
        // <handlers>
        using var frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 64 << 20 });
        using var documents = new MemoryDocumentSource(frames);
        long visits = 0;
        var handlers = new CheetahHandlers()
            .Add("GET", "/visits", (in request, response) =>
            {
                response.ContentType = "application/json"u8;
                response.AddField("Cache-Control"u8, "no-store"u8);
                response.Write("{\"visits\":"u8);
                response.Write(Interlocked.Increment(ref visits));
                response.Write("}"u8);
            })
            .Add("POST", "/echo/*", (in request, response) => response.Write(request.Body))
            .AddDeferred("GET", "/slow", (in request, stopping) => AfterAWhileAsync(Encoding.UTF8.GetString(request.Query), stopping));

        // What waits runs elsewhere; what it gives back writes the response.
        static async ValueTask<CheetahHandler> AfterAWhileAsync(string query, CancellationToken stopping)
        {
            await Task.Delay(10, stopping);
            return (in request, response) => response.Write($"waited for {query}");
        }

        var options = new CheetahServerOptions { EndPoint = new IPEndPoint(IPAddress.Loopback, 0), Handlers = handlers };
        await using var server = new CheetahServer(options, documents, frames);
        server.Start();

        using var client = new HttpClient { BaseAddress = new Uri($"http://{server.EndPoint}/") };
        Console.WriteLine(await client.GetStringAsync("visits"));
        Console.WriteLine(await (await client.PostAsync("echo/x", new StringContent("hello"))).Content.ReadAsStringAsync());
        Console.WriteLine(await client.GetStringAsync("slow?tea"));
        // </handlers>
    }

    [Fact]
    public async Task The_sample_of_handlers_runs()
    {
        var output = new StringWriter { NewLine = "\n" };
        await Handlers(output);
        Assert.Equal("{\"visits\":1}\nhello\nwaited for tea\n", output.ToString());
    }

    [Fact]
    public async Task The_sample_runs()
    {
        var output = new StringWriter { NewLine = "\n" };
        await Sample(output);
        Assert.Equal("<!doctype html><title>Hello</title><h1>Hello from Cheetah</h1>\npayload bytes copied: 0\n", output.ToString());
    }

    [Theory]
    [InlineData("sample")]
    [InlineData("handlers")]
    public void The_page_shows_the_sample_that_is_tested(string name)
    {
        string here = Source();
        string page = File.ReadAllText(Path.Combine(Path.GetDirectoryName(here)!, "../../src/Exo.Net.Cheetah/README.md"));
        string sample = File.ReadAllText(here).Split($"// <{name}>\n")[1].Split($"        // </{name}>")[0];
        string[] lines = [.. sample.TrimEnd().Split('\n').Select(line => line.Length > 8 ? line[8..] : line)];
        Assert.Contains(string.Join('\n', lines), page, StringComparison.Ordinal);
    }

    private static string Source([CallerFilePath] string path = "") => path;
}
