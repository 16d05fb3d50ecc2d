// SPDX-License-Identifier: MIT
using System.Net;
using System.Net.Http.Headers;
using System.Text;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS;
using Exo.Net.Cheetah.Tests.Sockets;

namespace Exo.Net.Cheetah.Tests.Documents;

/// <summary>Files of a volume, through the server to a client, with the volume changing underneath.</summary>
public sealed class CffsDocumentSourceTests : IAsyncLifetime
{
    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 64 << 20 });
    private readonly MemoryBlockDevice _disk;
    private readonly CffsVolume _volume;
    private readonly CheetahServer _server;
    private readonly HttpClient _client = new(new SocketsHttpHandler { AllowAutoRedirect = false });

    public CffsDocumentSourceTests()
    {
        _disk = new MemoryBlockDevice(_frames, blockCount: 16_384);
        _volume = CffsVolume.Create(_disk, new CffsCreateOptions { Seed = 1 });
        _volume.CreateDirectory("/site");
        _server = new CheetahServer(TestServer.Options(), new CffsDocumentSource(_volume, "/site"), _frames);
        _server.Start();
        _client.BaseAddress = new Uri($"http://{_server.EndPoint}");
    }

    public ValueTask InitializeAsync() => default;

    public async ValueTask DisposeAsync()
    {
        _client.Dispose();
        await _server.DisposeAsync();
        _volume.Dispose();
        _disk.Dispose();
        _frames.Dispose();
    }

    private Task<HttpResponseMessage> Get(string path) => _client.GetAsync(new Uri(path, UriKind.Relative), TestContext.Current.CancellationToken);

    private async Task<byte[]> BytesOf(string path)
    {
        using HttpResponseMessage response = await Get(path);
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        return await response.Content.ReadAsByteArrayAsync(TestContext.Current.CancellationToken);
    }

    private void Put(string path, byte[] bytes, ushort permissions = 0x1A4) => _volume.WriteAllBytes(Encoding.UTF8.GetBytes(path), bytes, permissions);

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(100)]
    [InlineData(4095)]
    [InlineData(4096)]
    [InlineData(4097)]
    [InlineData(70_000)]
    [InlineData(9_000_001)]
    public async Task Files_of_every_kind_of_place_come_back_byte_for_byte(int lengthBytes)
    {
        byte[] bytes = TestServer.Bytes(lengthBytes);
        Put("/site/file.bin", bytes);
        Assert.Equal(bytes, await BytesOf("/file.bin"));
        Assert.Equal(bytes, await BytesOf("/file.bin"));
    }

    [Fact]
    public async Task Bytes_on_blocks_are_not_copied_on_their_way()
    {
        Put("/site/file.bin", TestServer.Bytes(50_000));
        await BytesOf("/file.bin");
        Assert.Equal(0, _server.Counters.PayloadBytesCopied);
    }

    [Fact]
    public async Task Holes_are_zeros()
    {
        using (CffsFile file = _volume.OpenFile("/site/holes", CffsOpenMode.ReadWrite | CffsOpenMode.Create))
        {
            file.Write(100_000, "end"u8);
        }

        byte[] expected = [.. new byte[100_000], .. "end"u8];
        Assert.Equal(expected, await BytesOf("/holes"));
    }

    [Fact]
    public async Task What_is_not_a_file_for_everybody_is_not_found()
    {
        Put("/outside", "o"u8.ToArray());
        Put("/site/private", "p"u8.ToArray(), permissions: 0x180);
        _volume.CreateDirectory("/site/closed", 0x1C0);
        Put("/site/closed/inside", "i"u8.ToArray());
        _volume.CreateNode("/site/pipe"u8.ToArray(), 0x1000 | 0x1A4);
        _volume.CreateSymbolicLink("/site/loop", "loop");
        _volume.CreateSymbolicLink("/site/nowhere", "no/such");
        Put("/site/file", "f"u8.ToArray());
        string longName = "/" + new string('n', 300);
        foreach (string path in (string[])["/none", "/private", "/closed/inside", "/pipe", "/loop", "/nowhere", "/file/below", longName, "/..%2foutside", "/%2e%2e/outside"])
        {
            using HttpResponseMessage response = await Get(path);
            Assert.True(response.StatusCode is HttpStatusCode.NotFound or HttpStatusCode.BadRequest, $"{path}: {response.StatusCode}");
        }
    }

    [Fact]
    public async Task A_link_is_followed_and_a_folder_is_sent_on_to_its_slash()
    {
        _volume.CreateDirectory("/site/folder");
        Put("/site/folder/index.html", "<p>index"u8.ToArray());
        _volume.CreateSymbolicLink("/site/link", "folder/index.html");
        Assert.Equal("<p>index"u8.ToArray(), await BytesOf("/link"));
        Assert.Equal("<p>index"u8.ToArray(), await BytesOf("/folder/"));
        using HttpResponseMessage response = await Get("/folder");
        Assert.Equal(HttpStatusCode.PermanentRedirect, response.StatusCode);
        Assert.EndsWith("/folder/", response.Headers.Location!.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Every_change_shows_at_once_and_changes_the_entity_tag()
    {
        var tags = new HashSet<EntityTagHeaderValue>();
        async Task Shows(byte[]? expected)
        {
            using HttpResponseMessage response = await Get("/page");
            Assert.Equal(expected is null ? HttpStatusCode.NotFound : HttpStatusCode.OK, response.StatusCode);
            if (expected is not null)
            {
                Assert.Equal(expected, await response.Content.ReadAsByteArrayAsync(TestContext.Current.CancellationToken));
                Assert.True(tags.Add(response.Headers.ETag!));
            }
        }

        byte[] first = TestServer.Bytes(20_000, 1), second = TestServer.Bytes(30_000, 2), third = TestServer.Bytes(30_000, 3);
        await Shows(null);
        Put("/site/page", first);
        await Shows(first);
        using (CffsFile file = _volume.OpenFile("/site/page", CffsOpenMode.ReadWrite))
        {
            first[5000] ^= 1;
            file.Write(5000, first.AsSpan(5000, 1));
            await Shows(first);
            file.SetLength(7000);
            await Shows(first[..7000]);
        }

        Put("/site/other", second);
        _volume.Rename("/site/other", "/site/page");
        await Shows(second);
        _volume.RemoveFile("/site/page");
        await Shows(null);
        Put("/site/page", third);
        await Shows(third);
        _volume.Rename("/site", "/moved");
        await Shows(null);
    }

    [Fact]
    public async Task A_change_of_permissions_takes_a_document_away()
    {
        Put("/site/page", TestServer.Bytes(5000));
        await BytesOf("/page");
        _volume.SetAttributes("/site/page", new CffsAttributeChange { Permissions = 0x180 });
        using HttpResponseMessage response = await Get("/page");
        Assert.Equal(HttpStatusCode.NotFound, response.StatusCode);
    }

    [Fact]
    public async Task While_a_file_is_being_rewritten_a_client_sees_one_version_whole()
    {
        const int Rounds = 300;
        static byte[] Version(int round) => [.. Enumerable.Repeat((byte)round, 3000 + (round * 97 % 9000))];
        Put("/site/page", Version(0));
        Task writer = Task.Run(
            () =>
            {
                for (int round = 1; round < Rounds; round++)
                {
                    _volume.ReplaceAllBytes("/site/page", Version(round));
                }
            },
            TestContext.Current.CancellationToken);
        int seen = 0;
        do
        {
            byte[] got = await BytesOf("/page");
            Assert.NotEmpty(got);
            byte round = got[0];
            Assert.Contains(Enumerable.Range(0, Rounds).Where(r => (byte)r == round).Select(Version), version => got.AsSpan().SequenceEqual(version));
            seen++;
        }
        while (!writer.IsCompleted);
        await writer;
        Assert.Equal(Version(Rounds - 1), await BytesOf("/page"));
        Assert.True(seen > 0);
    }
}
