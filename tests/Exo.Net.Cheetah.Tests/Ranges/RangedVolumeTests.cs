// SPDX-License-Identifier: MIT
using System.Text;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS;
using Exo.Net.Cheetah.Tests.Sockets;

namespace Exo.Net.Cheetah.Tests.Ranges;

/// <summary>Files of a volume that are larger than its frame pool: from the frames of the file system's cache, uncopied.</summary>
public sealed class RangedVolumeTests : IAsyncLifetime
{
    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
    private readonly MemoryBlockDevice _disk;
    private readonly CffsVolume _volume;
    private readonly CheetahServer _server;

    public RangedVolumeTests()
    {
        _disk = new MemoryBlockDevice(_frames, blockCount: 65_536);
        _volume = CffsVolume.Create(_disk, new CffsCreateOptions { Seed = 1 });
        _server = new CheetahServer(TestServer.Options(), new CffsDocumentSource(_volume), _frames);
        _server.Start();
    }

    public ValueTask InitializeAsync() => default;

    public async ValueTask DisposeAsync()
    {
        await _server.DisposeAsync();
        Assert.Equal(0, _server.Cache.Windows.HeldBytes);
        _volume.Dispose();
        _disk.Dispose();
        _frames.Dispose();
    }

    private void Put(string path, long lengthBytes, int version = 0, params (long Place, int Length)[] parts)
    {
        using CffsFile file = _volume.OpenFile(path, CffsOpenMode.ReadWrite | CffsOpenMode.Create);
        foreach ((long place, int length) in parts.Length == 0 ? Enumerable.Range(0, (int)((lengthBytes + 99_999) / 100_000)).Select(i => (i * 100_000L, (int)Math.Min(100_000, lengthBytes - (i * 100_000L)))) : parts)
        {
            byte[] bytes = new byte[length];
            for (int i = 0; i < length; i++)
            {
                bytes[i] = LargeSource.At(place + i, version);
            }

            file.Write(place, bytes);
        }

        file.SetLength(lengthBytes);
    }

    private static string Get(string target, string fields = "") => $"GET {target} HTTP/1.1\r\nHost: x\r\n{fields}\r\n";

    [Fact]
    public void A_file_larger_than_the_pool_comes_whole_and_uncopied_beside_small_ones()
    {
        const int Length = 40_000_001;
        Put("/large", Length);
        Put("/small", 5000);
        using RawClient client = new(_server.EndPoint);
        client.Send(Get("/large") + Get("/small") + Get("/large", "Range: bytes=-5,1000000-1299999\r\n"));
        byte[] body = client.ReadResponse().Body;
        Assert.Equal(Length, body.Length);
        LargeSource.Check(body, 0);
        LargeSource.Check(client.ReadResponse().Body, 0);
        (string head, body) = client.ReadResponse();
        Assert.StartsWith("HTTP/1.1 206 ", head, StringComparison.Ordinal);
        Assert.InRange(body.Length, 300_005, 301_000);
        Assert.Equal(0, _server.Counters.PayloadBytesCopied);
        Assert.InRange(_server.Cache.Windows.HeldBytesMax, 1, 4 << 20);
        Assert.InRange(_server.Counters.RangesRead, Length >> 18, 2 + (Length >> 16));
    }

    [Fact]
    public void Ranges_beyond_2_and_4_GiB_of_a_sparse_file()
    {
        const long Length = (6L << 30) + 77;
        (long Place, int Length)[] parts = [((1L << 31) - 50, 100), ((1L << 32) - 50, 100), (Length - 5000, 5000)];
        Put("/sparse", Length, 0, parts);
        using RawClient client = new(_server.EndPoint);
        foreach ((long place, int length) in parts)
        {
            client.Send(Get("/sparse", $"Range: bytes={place}-{place + length - 1}\r\n"));
            (string head, byte[] body) = client.ReadResponse();
            Assert.Contains($"/{Length}\r\n", head, StringComparison.Ordinal);
            LargeSource.Check(body, place);
        }

        client.Send(Get("/sparse", "Range: bytes=1000-99999\r\n"));
        Assert.False(client.ReadResponse().Body.AsSpan().ContainsAnyExcept((byte)0));
        Assert.InRange(_server.Counters.RangesRead, 4, 8);   // where one crosses a cell, it is two
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_file_that_is_written_to_or_cut_under_way_ends_with_a_reset(bool cuts)
    {
        const int Length = 30_000_000;
        Put("/large", Length);
        using (RawClient client = new(_server.EndPoint, receiveBufferBytes: 65536))
        {
            client.Send(Get("/large"));
            Assert.True(SpinWait.SpinUntil(() => _server.Counters.PayloadBytesSent > 0, TimeSpan.FromSeconds(20)));
            Put("/large", cuts ? Length / 2 : Length, cuts ? 0 : 1, (Length / 2, cuts ? 0 : 100));
            byte[] got = client.ReadToEnd();
            int head = got.AsSpan().IndexOf("\r\n\r\n"u8) + 4;
            Assert.Contains($"Content-Length: {Length}\r\n", Encoding.ASCII.GetString(got[..head]), StringComparison.Ordinal);
            Assert.InRange(got.Length - head, 1, Length - 1);
            LargeSource.Check(got.AsSpan(head), 0);
        }

        Assert.Equal(1, _server.Counters.ConnectionsAborted);
        using RawClient again = new(_server.EndPoint);
        again.Send(Get("/large", $"Range: bytes={(Length / 2) - 5}-{(Length / 2) - 1}\r\n"));
        LargeSource.Check(again.ReadResponse().Body, (Length / 2) - 5);
    }

    [Fact]
    public void A_file_that_is_removed_under_way_is_sent_to_its_end()
    {
        const int Length = 30_000_000;
        Put("/large", Length);
        using RawClient client = new(_server.EndPoint, receiveBufferBytes: 65536);
        client.Send(Get("/large"));
        Assert.True(SpinWait.SpinUntil(() => _server.Counters.PayloadBytesSent > 0, TimeSpan.FromSeconds(20)));
        _volume.RemoveFile("/large");
        byte[] body = client.ReadResponse().Body;
        Assert.Equal(Length, body.Length);
        LargeSource.Check(body, 0);
        client.Send(Get("/large"));
        Assert.StartsWith("HTTP/1.1 404 ", client.ReadResponse().Head, StringComparison.Ordinal);
    }
}
