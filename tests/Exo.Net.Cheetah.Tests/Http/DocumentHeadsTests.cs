// SPDX-License-Identifier: MIT
using System.Net;
using System.Text;
using Exo.Net.Cheetah.Tests.Raw;
using Exo.Net.Cheetah.Tests.Sockets;

namespace Exo.Net.Cheetah.Tests.Http;

/// <summary>Header fields, media types and error pages that the options add, on the own stack and by their rules.</summary>
public class DocumentHeadsTests
{
    private static readonly CheetahServerOptions Options = new()
    {
        DocumentFields =
        [
            new("/assets/*", "Cache-Control", "max-age=31536000, immutable"),
            new("*.html", "cache-control", "no-cache"),
            new("*", "Cache-Control", "max-age=60"),
            new("*", "X-Content-Type-Options", "nosniff"),
            new("/a*c*e", "Content-Language", "de"),
        ],
        MediaTypes = new Dictionary<string, string> { [".GLB"] = "model/gltf-binary", ["txt"] = "text/x-plain" },
        ErrorPages = new Dictionary<int, string> { [404] = "/errors/404.html" },
    };

    [Theory]
    [InlineData("/assets/a.html", "max-age=31536000, immutable", false)]
    [InlineData("/index.html", "no-cache", false)]
    [InlineData("/x", "max-age=60", false)]
    [InlineData("/abcde", "max-age=60", true)]
    [InlineData("/ace", "max-age=60", true)]
    [InlineData("/ae", "max-age=60", false)]
    [InlineData("/acex", "max-age=60", false)]
    public void The_first_that_fits_a_path_counts_for_each_name(string path, string cacheControl, bool hasLanguage)
    {
        DocumentFields fields = new DocumentHeads(Options.DocumentFields, Options.MediaTypes).FieldsOf(Encoding.ASCII.GetBytes(path));
        string whole = Encoding.ASCII.GetString(fields.Whole), notModified = Encoding.ASCII.GetString(fields.NotModified);
        Assert.Contains($": {cacheControl}\r\n", whole, StringComparison.Ordinal);
        Assert.Single(whole.Split("\r\n"), line => line.StartsWith("cache-control:", StringComparison.OrdinalIgnoreCase));
        Assert.Contains("X-Content-Type-Options: nosniff\r\n", whole, StringComparison.Ordinal);
        Assert.Equal(hasLanguage, whole.Contains("Content-Language: de\r\n", StringComparison.Ordinal));
        Assert.Equal(whole.Replace("Content-Language: de\r\n", "", StringComparison.Ordinal), notModified);
    }

    [Fact]
    public void Responses_have_them_304_repeats_them_and_the_page_of_an_error_keeps_its_status()
    {
        using var site = new RawServerTests.Site(change: options => options with { DocumentFields = Options.DocumentFields, MediaTypes = Options.MediaTypes, ErrorPages = Options.ErrorPages });
        site.Documents.Set("/assets/a.glb", TestServer.Bytes(5000));
        site.Documents.Set("/t.txt", "t"u8);
        string whole = Ask("GET /assets/a.glb HTTP/1.1");
        Assert.StartsWith("HTTP/1.1 200 ", whole, StringComparison.Ordinal);
        Assert.Contains("Cache-Control: max-age=31536000, immutable\r\n", whole, StringComparison.Ordinal);
        Assert.Contains("Content-Type: model/gltf-binary\r\n", whole, StringComparison.Ordinal);
        Assert.Contains("Content-Type: text/x-plain\r\n", Ask("HEAD /t.txt HTTP/1.1"), StringComparison.Ordinal);
        string tag = whole.Split("ETag: ")[1].Split('\r')[0];
        string notModified = Ask("GET /assets/a.glb HTTP/1.1", $"If-None-Match: {tag}\r\n");
        Assert.StartsWith("HTTP/1.1 304 ", notModified, StringComparison.Ordinal);
        Assert.Contains("Cache-Control: max-age=31536000, immutable\r\n", notModified, StringComparison.Ordinal);
        foreach (string range in (string[])["bytes=1-2", "bytes=1-2,5-6"])
        {
            string partial = Ask("GET /assets/a.glb HTTP/1.1", $"Range: {range}\r\n");
            Assert.StartsWith("HTTP/1.1 206 ", partial, StringComparison.Ordinal);
            Assert.Contains("Cache-Control: max-age=31536000, immutable\r\n", partial, StringComparison.Ordinal);
        }

        // Without the page the small one; with it that, on one connection after the other, at hand and not.
        Assert.Contains("<h1>404 Not Found</h1>", Ask("GET /nosuch HTTP/1.1"), StringComparison.Ordinal);
        site.Documents.Set("/errors/404.html", "<p>lost"u8);
        for (int i = 0; i < 2; i++)
        {
            string lost = Ask("GET /nosuch HTTP/1.1");
            Assert.StartsWith("HTTP/1.1 404 ", lost, StringComparison.Ordinal);
            Assert.EndsWith("\r\n\r\n<p>lost", lost, StringComparison.Ordinal);
            Assert.DoesNotContain("ETag", lost, StringComparison.Ordinal);
            Assert.DoesNotContain("Cache-Control", lost, StringComparison.Ordinal);
        }

        Assert.EndsWith("\r\n\r\n", Ask("HEAD /nosuch HTTP/1.1"), StringComparison.Ordinal);
        Assert.StartsWith("HTTP/1.1 200 ", Ask("GET /errors/404.html HTTP/1.1"), StringComparison.Ordinal);

        string Ask(string line, string fields = "") => Encoding.Latin1.GetString(site.Get($"{line}\r\nHost: x\r\nConnection: close\r\n{fields}\r\n"));
    }

    [Fact]
    public async Task A_page_that_has_to_be_waited_for_comes_with_its_status_and_the_next_request_is_answered()
    {
        string folder = Directory.CreateTempSubdirectory("exo-pages-").FullName;
        try
        {
            using var frames = Exo.Core.Memory.FramePool.Create(new Exo.Core.Memory.FramePoolOptions { CapacityBytes = 16 << 20 });
            File.WriteAllText(Path.Combine(folder, "404.html"), "<p>lost");
            File.WriteAllText(Path.Combine(folder, "a"), "a");
            using var source = new FolderDocumentSource(folder, frames);
            await using var server = new CheetahServer(TestServer.Options() with { ErrorPages = new Dictionary<int, string> { [404] = "/404.html" } }, source, frames);
            server.Start();
            using var client = new HttpClient { BaseAddress = new Uri($"http://{server.EndPoint}/") };
            for (int i = 0; i < 3; i++)
            {
                using HttpResponseMessage lost = await client.GetAsync(new Uri("nosuch", UriKind.Relative), TestContext.Current.CancellationToken);
                Assert.Equal(HttpStatusCode.NotFound, lost.StatusCode);
                Assert.Equal("<p>lost", await lost.Content.ReadAsStringAsync(TestContext.Current.CancellationToken));
                Assert.Equal("a", await client.GetStringAsync(new Uri("a", UriKind.Relative), TestContext.Current.CancellationToken));
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public async Task Who_leaves_while_the_page_is_looked_for_leaves_nothing_to_the_next()
    {
        using var frames = Exo.Core.Memory.FramePool.Create(new Exo.Core.Memory.FramePoolOptions { CapacityBytes = 16 << 20 });
        using var documents = new MemoryDocumentSource(frames);
        documents.Set("/a", "a"u8);
        var source = new HeldPage(documents);
        await using var server = new CheetahServer(TestServer.Options() with { ErrorPages = new Dictionary<int, string> { [404] = "/404.html" } }, source, frames);
        server.Start();
        using (var first = new System.Net.Sockets.TcpClient())
        {
            await first.ConnectAsync(server.EndPoint, TestContext.Current.CancellationToken);
            await first.GetStream().WriteAsync("GET /nosuch HTTP/1.1\r\nHost: x\r\n\r\n"u8.ToArray(), TestContext.Current.CancellationToken);
            await source.Asked.Task.WaitAsync(TestContext.Current.CancellationToken);
            first.Client.LingerState = new System.Net.Sockets.LingerOption(true, 0);
        }

        Assert.True(SpinWait.SpinUntil(() => server.Counters.ConnectionsOpen == 0, TimeSpan.FromMinutes(1)));
        using var client = new HttpClient();
        Assert.Equal("a", await client.GetStringAsync($"http://{server.EndPoint}/a", TestContext.Current.CancellationToken));
        source.Released.SetResult();
    }

    private sealed class HeldPage(MemoryDocumentSource inner) : IDocumentSource
    {
        public TaskCompletionSource Asked { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public TaskCompletionSource Released { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public async ValueTask<DocumentLookup> FindAsync(ReadOnlyMemory<byte> path, CancellationToken cancellationToken)
        {
            if (path.Span.SequenceEqual("/404.html"u8))
            {
                Asked.TrySetResult();
                await Released.Task.WaitAsync(cancellationToken);
            }

            return await inner.FindAsync(path, cancellationToken);
        }

        public bool IsCurrent(DocumentContent content) => inner.IsCurrent(content);
    }

    [Theory]
    [InlineData("*", "Vary", "x")]
    [InlineData("*", "content-length", "1")]
    [InlineData("*", "X Y", "1")]
    [InlineData("*", "X", "a\r\nb")]
    [InlineData("*", "X", "")]
    [InlineData("x", "X", "y")]
    [InlineData("", "X", "y")]
    public void What_is_no_field_is_refused(string pattern, string name, string value) =>
        Assert.Equal("DocumentFields", Assert.Throws<ArgumentException>(() => new CheetahServerOptions { DocumentFields = [new(pattern, name, value)] }.Validate()).ParamName);
}
