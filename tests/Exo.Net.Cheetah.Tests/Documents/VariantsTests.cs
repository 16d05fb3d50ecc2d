// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.IO.Compression;
using System.Text;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS;
using Exo.Net.Cheetah.Tests.Sockets;
using Exo.Tests;

namespace Exo.Net.Cheetah.Tests.Documents;

/// <summary>Documents that lie at hand compressed beforehand, over sockets.</summary>
public sealed class VariantsTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("exo-variants-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private string At(string name) => Path.Combine(_folder, name);

    private const string Host = "Host: h\r\n";

    private static readonly DateTimeOffset Then = new(2025, 5, 6, 7, 8, 9, TimeSpan.Zero);

    private static CheetahServerOptions Options(ContentCodings precompressed = ContentCodings.All) => new() { EndPoint = TestServer.Options().EndPoint, Precompressed = precompressed };

    private static TestServer Site(ContentCodings precompressed = ContentCodings.All)
    {
        var server = new TestServer(options: Options(precompressed));
        server.Documents.Set("/a.css", TestServer.Bytes(5000, 1), lastModified: Then);
        server.Documents.Set("/a.css.gz", TestServer.Bytes(500, 2), lastModified: Then.AddHours(1));
        server.Documents.Set("/a.css.br", TestServer.Bytes(400, 3), lastModified: Then.AddHours(2));
        server.Documents.Set("/plain.css", TestServer.Bytes(300, 4), lastModified: Then);
        return server;
    }

    private static (string Head, byte[] Body) Ask(TestServer server, string fields, string path = "/a.css", string method = "GET")
    {
        using RawClient client = server.Connect();
        client.Send($"{method} {path} HTTP/1.1\r\n{Host}{fields}\r\n");
        return client.ReadResponse(hasBody: method == "GET");
    }

    private static string? Field(string head, string name) =>
        head.Split("\r\n").SingleOrDefault(line => line.StartsWith(name + ": ", StringComparison.Ordinal))?[(name.Length + 2)..];

    [Theory]
    [InlineData("", null)]
    [InlineData("Accept-Encoding:\r\n", null)]
    [InlineData("Accept-Encoding: gzip\r\n", "gzip")]
    [InlineData("Accept-Encoding: gzip, deflate, br, zstd\r\n", "br")]
    [InlineData("accept-encoding: br;q=0.1, gzip;q=0.2\r\n", "gzip")]
    [InlineData("Accept-Encoding: *\r\n", "br")]
    [InlineData("Accept-Encoding: *, br;q=0\r\n", "gzip")]
    [InlineData("Accept-Encoding: zstd\r\n", null)]
    [InlineData("Accept-Encoding: identity, gzip;q=0.5\r\n", null)]
    [InlineData("Accept-Encoding: identity, gzip\r\n", "gzip")]
    [InlineData("Accept-Encoding: identity;q=0\r\n", null)]
    [InlineData("Accept-Encoding: identity;q=0, gzip;q=0.001\r\n", "gzip")]
    [InlineData("Accept-Encoding: gzip;q=nonsense\r\n", null)]
    [InlineData("Accept-Encoding: gzip\r\nX: y\r\nAccept-Encoding: br;q=0.9\r\n", "gzip")]
    [InlineData("Accept-Encoding: gzip;q=0.5\r\nX: y\r\nAccept-Encoding: br;q=0.9\r\n", "br")]
    public async Task What_is_accepted_decides(string fields, string? coding)
    {
        await using TestServer server = Site();
        (string head, byte[] body) = Ask(server, fields);
        Assert.Equal(coding, Field(head, "Content-Encoding"));
        Assert.Equal(coding switch { null => TestServer.Bytes(5000, 1), "gzip" => TestServer.Bytes(500, 2), _ => TestServer.Bytes(400, 3) }, body);
        Assert.Equal("Accept-Encoding", Field(head, "Vary"));
        Assert.Equal("text/css; charset=utf-8", Field(head, "Content-Type"));
        Assert.Equal((coding switch { null => Then, "gzip" => Then.AddHours(1), _ => Then.AddHours(2) }).ToString("R"), Field(head, "Last-Modified"));
        (string without, _) = Ask(server, fields, method: "HEAD");
        Assert.Equal(Field(head, "ETag"), Field(without, "ETag"));
        Assert.Equal(Field(head, "Content-Encoding"), Field(without, "Content-Encoding"));
    }

    [Fact]
    public async Task A_path_without_variants_does_not_vary_and_a_variant_under_its_own_path_is_what_it_is()
    {
        await using TestServer server = Site();
        (string head, byte[] body) = Ask(server, "Accept-Encoding: gzip\r\n", "/plain.css");
        Assert.Equal((null, null), (Field(head, "Vary"), Field(head, "Content-Encoding")));
        Assert.Equal(TestServer.Bytes(300, 4), body);
        server.Documents.Set("/a.css.gz.br", "never asked for"u8);
        (head, body) = Ask(server, "Accept-Encoding: gzip, br\r\n", "/a.css.gz");
        Assert.Equal((null, null, "application/gzip"), (Field(head, "Vary"), Field(head, "Content-Encoding"), Field(head, "Content-Type")));
        Assert.Equal(TestServer.Bytes(500, 2), body);
    }

    [Theory]
    [InlineData(ContentCodings.None, null)]
    [InlineData(ContentCodings.Gzip, "gzip")]
    [InlineData(ContentCodings.Brotli | ContentCodings.Zstandard, "br")]
    public async Task Only_what_the_options_name_is_looked_for(ContentCodings precompressed, string? coding)
    {
        await using TestServer server = Site(precompressed);
        Assert.Equal(coding, Field(Ask(server, "Accept-Encoding: gzip, br\r\n").Head, "Content-Encoding"));
    }

    [Fact]
    public async Task Conditions_and_ranges_are_about_the_representation()
    {
        await using TestServer server = Site();
        string Tag(string coding) => Field(Ask(server, $"Accept-Encoding: {coding}\r\n").Head, "ETag")!;
        string original = Tag("identity"), gzip = Tag("gzip"), brotli = Tag("br");
        Assert.Equal(3, new HashSet<string> { original, gzip, brotli }.Count);
        const string Gzip = "Accept-Encoding: gzip\r\n";
        (string head, _) = Ask(server, $"{Gzip}If-None-Match: {gzip}\r\n");
        Assert.StartsWith("HTTP/1.1 304", head, StringComparison.Ordinal);
        Assert.Equal(("Accept-Encoding", gzip), (Field(head, "Vary"), Field(head, "ETag")));
        Assert.StartsWith("HTTP/1.1 200", Ask(server, $"{Gzip}If-None-Match: {original}, {brotli}\r\n").Head, StringComparison.Ordinal);
        Assert.StartsWith("HTTP/1.1 304", Ask(server, $"If-None-Match: {original}\r\n").Head, StringComparison.Ordinal);
        Assert.StartsWith("HTTP/1.1 412", Ask(server, $"{Gzip}If-Match: {original}\r\n").Head, StringComparison.Ordinal);

        // Modified an hour after the original.
        Assert.StartsWith("HTTP/1.1 200", Ask(server, $"{Gzip}If-Modified-Since: {Then:R}\r\n").Head, StringComparison.Ordinal);
        Assert.StartsWith("HTTP/1.1 304", Ask(server, $"If-Modified-Since: {Then:R}\r\n").Head, StringComparison.Ordinal);

        (head, byte[] body) = Ask(server, $"{Gzip}Range: bytes=100-199\r\nIf-Range: {gzip}\r\n");
        Assert.StartsWith("HTTP/1.1 206", head, StringComparison.Ordinal);
        Assert.Equal(("bytes 100-199/500", "gzip", "Accept-Encoding"), (Field(head, "Content-Range"), Field(head, "Content-Encoding"), Field(head, "Vary")));
        Assert.Equal(TestServer.Bytes(500, 2)[100..200], body);

        // Half of the original, and now it would be continued with bytes of the variant.
        (head, body) = Ask(server, $"{Gzip}Range: bytes=100-199\r\nIf-Range: {original}\r\n");
        Assert.StartsWith("HTTP/1.1 200", head, StringComparison.Ordinal);
        Assert.Equal(TestServer.Bytes(500, 2), body);

        (head, body) = Ask(server, $"{Gzip}Range: bytes=0-9,20-29\r\n");
        Assert.Equal((null, "Accept-Encoding"), (Field(head, "Content-Encoding"), Field(head, "Vary")));
        string parts = Encoding.Latin1.GetString(body);
        Assert.Equal(2, parts.Split("Content-Encoding: gzip\r\n").Length - 1);
        Assert.Contains(Encoding.Latin1.GetString(TestServer.Bytes(500, 2), 20, 10), parts, StringComparison.Ordinal);

        (head, _) = Ask(server, $"{Gzip}Range: bytes=500-\r\n");
        Assert.StartsWith("HTTP/1.1 416", head, StringComparison.Ordinal);
        Assert.Equal(("bytes */500", "Accept-Encoding"), (Field(head, "Content-Range"), Field(head, "Vary")));
    }

    [Fact]
    public async Task Two_names_of_the_same_bytes_have_tags_of_their_own()
    {
        await using TestServer server = Site();
        server.Documents.Set("/a.css.gz", TestServer.Bytes(5000, 1), lastModified: Then);
        Assert.NotEqual(Field(Ask(server, "").Head, "ETag"), Field(Ask(server, "Accept-Encoding: gzip\r\n").Head, "ETag"));
    }

    [Fact]
    public async Task Any_history_is_answered_from_what_memory_holds()
    {
        await using var server = new TestServer(options: Options());
        var model = new VariantModel(new Random(11), (path, bytes, time) => server.Documents.Set(path, bytes, lastModified: DateTimeOffset.FromUnixTimeSeconds(time)), path => server.Documents.Remove(path));
        using RawClient client = server.Connect();
        Run(model, client, 3000);
        Assert.Equal(0, server.Server.Counters.PayloadBytesCopied);
    }

    [Fact]
    public async Task Any_history_is_answered_from_what_a_volume_holds()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 64 << 20 });
        using var disk = new MemoryBlockDevice(frames, blockCount: 16_384);
        using CffsVolume volume = CffsVolume.Create(disk, new CffsCreateOptions { Seed = 1 });
        var server = new CheetahServer(Options(), new CffsDocumentSource(volume), frames);
        server.Start();
        using (var client = new RawClient(server.EndPoint))
        {
            var model = new VariantModel(new Random(12), (path, bytes, time) => Put(volume, path, bytes, time), path => volume.RemoveFile(path));
            Run(model, client, 3000);
        }

        await server.DisposeAsync();
    }

    [Fact]
    public async Task What_is_written_in_place_to_a_file_of_a_volume_is_seen_by_the_next_request()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 64 << 20 });
        using var disk = new MemoryBlockDevice(frames, blockCount: 16_384);
        using CffsVolume volume = CffsVolume.Create(disk, new CffsCreateOptions { Seed = 1 });
        var server = new CheetahServer(Options(), new CffsDocumentSource(volume), frames);
        server.Start();
        string now = "variant 000";
        Put(volume, "/a.css", TestServer.Bytes(5000), time: 1_700_000_000);
        volume.WriteAllBytes(Encoding.UTF8.GetBytes("/a.css.gz"), Encoding.ASCII.GetBytes(now), 0x1A4);
        using (CffsFile file = volume.OpenFile("/a.css.gz", CffsOpenMode.ReadWrite))
        using (var client = new RawClient(server.EndPoint))
        {
            for (int i = 0; i < 100; i++)
            {
                client.Send(VariantModel.Request(["gzip"]));
                Assert.Equal(now, Encoding.ASCII.GetString(client.ReadResponse().Body));
                now = $"variant {i:d3}";
                file.Write(0, Encoding.ASCII.GetBytes(now));
            }
        }

        await server.DisposeAsync();
    }

    /// <summary>Makes or replaces a file in one of several ways, and sets its time.</summary>
    internal static void Put(CffsVolume volume, string path, byte[] bytes, long time)
    {
        if (bytes.Length % 2 == 0)
        {
            volume.WriteAllBytes(Encoding.UTF8.GetBytes("/new"), bytes, 0x1A4);
            volume.SetAttributes("/new", new CffsAttributeChange { ModifyTimeNs = time * 1_000_000_000 });
            volume.Rename("/new", path);
            return;
        }

        volume.WriteAllBytes(Encoding.UTF8.GetBytes(path), bytes, 0x1A4);
        volume.SetAttributes(path, new CffsAttributeChange { ModifyTimeNs = time * 1_000_000_000 });
    }

    private static void Run(VariantModel model, RawClient client, int steps)
    {
        for (int i = 0; i < steps; i++)
        {
            model.Change();
            for (int k = 0; k < 3; k++)
            {
                string[]? accepted = model.Accepted();
                client.Send(VariantModel.Request(accepted));
                (string head, byte[] body) = client.ReadResponse();
                model.IsAnswered(accepted, head, body);
            }
        }
    }

    [Fact]
    public async Task A_folder_is_followed_as_variants_come_change_and_go()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
        using var source = new FolderDocumentSource(_folder, frames);
        await using var server = new CheetahServer(Options(), source, frames);
        server.Start();
        string original = At("a.css"), variant = At("a.css.gz");
        File.WriteAllText(original, "original");
        Assert.True(SpinWait.SpinUntil(() => source.IsWatched, 30_000));
        Shows(null, "original");
        File.WriteAllText(variant, "new variant");
        Shows("gzip", "new variant");
        File.WriteAllText(variant, "changed variant");
        Shows("gzip", "changed variant");
        File.SetLastWriteTimeUtc(variant, File.GetLastWriteTimeUtc(original).AddSeconds(-1));
        Shows(null, "original");
        File.SetLastWriteTimeUtc(variant, File.GetLastWriteTimeUtc(original));
        Shows("gzip", "changed variant");
        File.WriteAllText(original, "changed");
        File.SetLastWriteTimeUtc(original, File.GetLastWriteTimeUtc(variant).AddSeconds(5));
        Shows(null, "changed");
        File.SetLastWriteTimeUtc(original, File.GetLastWriteTimeUtc(variant));
        Shows("gzip", "changed variant");
        File.Delete(variant);
        Shows(null, "changed");
        File.CreateSymbolicLink(variant, "/etc/hostname");   // leads out
        Shows(null, "changed");

        // News comes when it comes; what is asserted is that it does.
        void Shows(string? coding, string expected)
        {
            long begun = Stopwatch.GetTimestamp();
            using var client = new RawClient(server.EndPoint);
            while (true)
            {
                client.Send($"GET /a.css HTTP/1.1\r\n{Host}Accept-Encoding: gzip\r\n\r\n");
                (string head, byte[] body) = client.ReadResponse();
                if (Field(head, "Content-Encoding") == coding && Encoding.UTF8.GetString(body) == expected)
                {
                    return;
                }

                Assert.True(Stopwatch.GetElapsedTime(begun) < TimeSpan.FromSeconds(30), $"not {coding}, {expected}:\n{head}");
            }
        }
    }

    [Fact]
    public async Task Requests_for_variants_allocate_nothing_on_the_reactor()
    {
        await using TestServer server = Site();
        using RawClient client = server.Connect();
        byte[] request = Encoding.ASCII.GetBytes($"GET /a.css HTTP/1.1\r\n{Host}Accept-Encoding: gzip, deflate;q=0.7, br;q=1.0\r\nAccept-Encoding: *;q=0\r\n\r\n");
        void Exchange(int count)
        {
            for (int i = 0; i < count; i++)
            {
                client.Send(request);
                Assert.Equal(400, client.ReadResponse().Body.Length);
            }
        }

        Exchange(500);
        _ = server.AllocatedBytes();
        long before = server.AllocatedBytes();
        long idle = server.AllocatedBytes();
        Exchange(3000);
        long after = server.AllocatedBytes();
        Assert.Equal((0, 0), (idle - before, after - idle));
        Assert.Equal(1, server.Server.Counters.CacheMisses);
    }

    [Fact]
    public void A_variant_in_use_keeps_its_document_and_all_frames_come_back()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 1 << 20 });
        using (var source = new MemoryDocumentSource(frames))
        {
            foreach (string name in (string[])["/a", "/a.gz", "/b", "/b.br"])
            {
                source.Set(name, new byte[4000], lastModified: Then);
            }

            source.Set("/b.gz", new byte[4000], lastModified: Then.AddSeconds(-1));
            using (var cache = new DocumentCache(frames, source, budgetBytes: 18_000, CancellationToken.None, ContentCodings.All))
            {
                Document a = Load("/a"u8);
                Document variant = Assert.Single(a.Variants);
                Assert.True(variant.TryRetain());
                a.Release();
                Assert.InRange(cache.UsedBytes, 2 * 4096, 3 * 4096);

                // It costs more than is left, and what is there may not go.
                Document b = Load("/b"u8);
                Assert.Equal((1, 1, 0L), (b.Variants.Length, b.Outdated.Length, cache.EvictionCount));
                Assert.Equal(1, cache.DocumentCount);
                b.Release();
                variant.Release();
                Load("/b"u8).Release();
                Assert.Equal((1L, 1), (cache.EvictionCount, cache.DocumentCount));

                Document Load(ReadOnlySpan<byte> path)
                {
                    Assert.True(cache.TryLoad(path, new Nobody(), out DocumentResult result));
                    return result.Document!;
                }
            }
        }

        Assert.Equal(frames.FrameCount, frames.FreeCount);
    }

    [Fact]
    public async Task A_source_that_fails_for_a_variant_serves_the_original_and_is_asked_again()
    {
        var source = new Failing();
        await using var server = new TestServer(inner => source.Around(inner), Options());
        server.Set("/a.css", 100);
        server.Set("/a.css.gz", 50, seed: 2);
        source.Fails = true;
        for (int i = 0; i < 3; i++)
        {
            (string head, byte[] body) = Ask(server, "Accept-Encoding: gzip\r\n");
            Assert.Equal((null, "Accept-Encoding", 100), (Field(head, "Content-Encoding"), Field(head, "Vary"), body.Length));
        }

        source.Fails = false;
        Assert.Equal(50, Ask(server, "Accept-Encoding: gzip\r\n").Body.Length);
        Assert.Equal(4, server.Server.Counters.CacheMisses);
        Ask(server, "Accept-Encoding: gzip\r\n");
        Assert.Equal(4, server.Server.Counters.CacheMisses);
    }

    private sealed class Failing : IDocumentSource
    {
        private MemoryDocumentSource? _inner;

        public bool Fails { get; set; }

        public bool TellsOfVariants => true;

        public Failing Around(MemoryDocumentSource inner)
        {
            _inner = inner;
            return this;
        }

        public ValueTask<DocumentLookup> FindAsync(ReadOnlyMemory<byte> path, CancellationToken cancellationToken) =>
            Fails && path.Span.EndsWith(".gz"u8) ? throw new IOException("a bad sector") : _inner!.FindAsync(path, cancellationToken);

        public bool IsCurrent(DocumentContent content) => _inner!.IsCurrent(content);
    }

    private sealed class Nobody : IDocumentWaiter
    {
        public void Complete(DocumentResult result) => Assert.Fail("The source answers at once.");
    }

    [Theory]
    [InlineData("gzip")]
    [InlineData("br")]
    [InlineData("zstd")]
    public async Task Curl_decodes_what_it_gets(string coding)
    {
        Requires.Program("curl");
        string text = string.Concat(Enumerable.Range(0, 2000).Select(i => $".c{i} {{ color: #{i:x6} }}\n"));
        await using var server = new TestServer(options: Options());
        server.Documents.Set("/a.css", Encoding.ASCII.GetBytes(text));
        byte[] encoded = coding == "zstd" ? Zstandard(text) : Encode(text, coding == "br");
        server.Documents.Set("/a.css" + coding switch { "gzip" => ".gz", "br" => ".br", _ => ".zst" }, encoded);
        Process curl = Process.Start(new ProcessStartInfo("curl", ["-sS", "--max-time", "20", "--compressed", "-D", At("head"), "-o", At("got"), "-w", "%{size_download}", $"http://{server.Server.EndPoint}/a.css"]) { RedirectStandardOutput = true })!;
        Assert.Equal($"{encoded.Length}", await curl.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken));
        await curl.WaitForExitAsync(TestContext.Current.CancellationToken);
        Assert.Equal(0, curl.ExitCode);
        Assert.Contains($"Content-Encoding: {coding}\r\n", await File.ReadAllTextAsync(At("head"), TestContext.Current.CancellationToken), StringComparison.Ordinal);
        Assert.Equal(text, await File.ReadAllTextAsync(At("got"), TestContext.Current.CancellationToken));
    }

    private static byte[] Encode(string text, bool isBrotli)
    {
        var output = new MemoryStream();
        using (Stream encoder = isBrotli ? new BrotliStream(output, CompressionLevel.Optimal) : new GZipStream(output, CompressionLevel.Optimal))
        {
            encoder.Write(Encoding.ASCII.GetBytes(text));
        }

        return output.ToArray();
    }

    private byte[] Zstandard(string text)
    {
        Requires.Program("zstd");
        File.WriteAllText(At("a"), text);
        using Process zstd = Process.Start(new ProcessStartInfo("zstd", ["-q", "-19", At("a"), "-o", At("a.zst")]))!;
        zstd.WaitForExit();
        Assert.Equal(0, zstd.ExitCode);
        return File.ReadAllBytes(At("a.zst"));
    }
}
