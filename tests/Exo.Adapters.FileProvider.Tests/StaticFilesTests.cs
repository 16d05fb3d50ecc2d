// SPDX-License-Identifier: MIT
using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using Exo.FileSystems.CFFS;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Exo.Adapters.FileProvider.Tests;

/// <summary>ASP.NET Core's own middleware over the provider, asked by a client.</summary>
public sealed class StaticFilesTests : IAsyncLifetime
{
    private readonly MemoryVolume memory = new();
    private readonly CffsFileProvider files;
    private readonly HttpClient client = new();
    private WebApplication? app;

    public StaticFilesTests()
    {
        memory.Volume.CreateDirectories("/www/sub");
        memory.Write("/www/index.html", "<p>index");
        memory.Write("/www/sub/page.txt", "0123456789");
        files = new CffsFileProvider(memory.Volume, new CffsFileProviderOptions { Root = "/www" });
    }

    public async ValueTask InitializeAsync()
    {
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Services.AddDirectoryBrowser();
        app = builder.Build();
        app.UseFileServer(new FileServerOptions { FileProvider = files, EnableDirectoryBrowsing = true });
        await app.StartAsync();
        client.BaseAddress = new Uri(app.Urls.Single());
    }

    public async ValueTask DisposeAsync()
    {
        client.Dispose();
        await app!.DisposeAsync();
        files.Dispose();
        memory.Dispose();
    }

    [Fact]
    public async Task Files_default_documents_and_listings_are_served()
    {
        Assert.Equal("<p>index", await client.GetStringAsync("/"));
        using HttpResponseMessage page = await client.GetAsync("/sub/page.txt");
        Assert.Equal("0123456789", await page.Content.ReadAsStringAsync());
        Assert.Equal("text/plain", page.Content.Headers.ContentType!.MediaType);
        Assert.Contains("page.txt", await client.GetStringAsync("/sub/"), StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.NotFound, (await client.GetAsync("/nothing")).StatusCode);
        Assert.Equal(HttpStatusCode.NotFound, (await client.GetAsync("/%2e%2e/%2e%2e/etc/passwd")).StatusCode);
    }

    [Fact]
    public async Task Validators_and_ranges_are_honoured()
    {
        memory.Volume.SetAttributes("/www/sub/page.txt", new CffsAttributeChange { ModifyTimeNs = 1_700_000_000_700_000_000 });
        using HttpResponseMessage first = await client.GetAsync("/sub/page.txt");
        Assert.Equal(DateTimeOffset.FromUnixTimeSeconds(1_700_000_000), first.Content.Headers.LastModified);

        using HttpRequestMessage again = new(HttpMethod.Get, "/sub/page.txt");
        again.Headers.IfNoneMatch.Add(first.Headers.ETag!);
        Assert.Equal(HttpStatusCode.NotModified, (await client.SendAsync(again)).StatusCode);

        using HttpRequestMessage since = new(HttpMethod.Get, "/sub/page.txt");
        since.Headers.IfModifiedSince = first.Content.Headers.LastModified;
        Assert.Equal(HttpStatusCode.NotModified, (await client.SendAsync(since)).StatusCode);

        using HttpRequestMessage part = new(HttpMethod.Get, "/sub/page.txt");
        part.Headers.Range = new RangeHeaderValue(3, 5);
        using HttpResponseMessage partial = await client.SendAsync(part);
        Assert.Equal((HttpStatusCode.PartialContent, "345"), (partial.StatusCode, await partial.Content.ReadAsStringAsync()));

        memory.Write("/www/sub/page.txt", "9876543210");
        using HttpRequestMessage changed = new(HttpMethod.Get, "/sub/page.txt");
        changed.Headers.IfNoneMatch.Add(first.Headers.ETag!);
        using HttpResponseMessage fresh = await client.SendAsync(changed);
        Assert.Equal("9876543210", await fresh.Content.ReadAsStringAsync());
    }

    [Fact]
    public async Task A_large_file_arrives_whole()
    {
        byte[] contents = new byte[10_000_019];
        new Random(1).NextBytes(contents);
        memory.Volume.WriteAllBytes("/www/large.bin", contents);
        Assert.Equal(SHA256.HashData(contents), SHA256.HashData(await client.GetByteArrayAsync("/large.bin")));
    }

    // Every answer is one version, or no answer; never the length of one with the bytes of another.
    [Fact]
    public async Task A_file_that_is_replaced_all_the_time_is_served_whole_or_not_at_all()
    {
        byte[][] versions = [.. Enumerable.Range(1, 8).Select(length => Enumerable.Repeat((byte)length, length * 3001).ToArray())];
        memory.Volume.ReplaceAllBytes("/www/busy.bin", versions[0]);
        using CancellationTokenSource stop = new();
        Task writing = Task.Run(() =>
        {
            for (int i = 0; !stop.IsCancellationRequested; i++)
            {
                memory.Volume.ReplaceAllBytes("/www/busy.bin", versions[i % versions.Length]);
            }
        });
        int whole = 0;
        for (int i = 0; i < 500; i++)
        {
            using HttpResponseMessage response = await client.GetAsync("/busy.bin");
            if (response.IsSuccessStatusCode)
            {
                byte[] bytes = await response.Content.ReadAsByteArrayAsync();
                Assert.Equal(versions[bytes[0] - 1], bytes);
                whole++;
            }
        }

        await stop.CancelAsync();
        await writing;
        Assert.True(whole > 0);
    }
}
