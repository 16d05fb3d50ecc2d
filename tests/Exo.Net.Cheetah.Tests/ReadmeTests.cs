// SPDX-License-Identifier: MIT
using System.Net;
using System.Runtime.CompilerServices;
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

    [Fact]
    public async Task The_sample_runs()
    {
        var output = new StringWriter { NewLine = "\n" };
        await Sample(output);
        Assert.Equal("<!doctype html><title>Hello</title><h1>Hello from Cheetah</h1>\npayload bytes copied: 0\n", output.ToString());
    }

    [Fact]
    public void The_page_shows_the_sample_that_is_tested()
    {
        string here = Source();
        string page = File.ReadAllText(Path.Combine(Path.GetDirectoryName(here)!, "../../src/Exo.Net.Cheetah/README.md"));
        string sample = File.ReadAllText(here).Split("// <sample>\n")[1].Split("        // </sample>")[0];
        string[] lines = [.. sample.TrimEnd().Split('\n').Select(line => line.Length > 8 ? line[8..] : line)];
        Assert.Contains(string.Join('\n', lines), page, StringComparison.Ordinal);
    }

    private static string Source([CallerFilePath] string path = "") => path;
}
