// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Text;
using Exo.Core.Memory;
using Exo.Net.Cheetah.Tests.Sockets;
using Exo.Tests;

namespace Exo.Net.Cheetah.Tests.Ranges;

/// <summary>Files of a folder that are larger than the pool, changing while they are sent.</summary>
public sealed class RangedFolderTests : IAsyncLifetime
{
    private const int PoolBytes = 16 << 20;

    private readonly string _outside = Directory.CreateTempSubdirectory("exo-ranges-").FullName;
    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = PoolBytes });
    private readonly string _folder;
    private readonly FolderDocumentSource _source;
    private readonly CheetahServer _server;

    public RangedFolderTests()
    {
        _folder = Path.Combine(_outside, "site");
        Directory.CreateDirectory(_folder);
        _source = new FolderDocumentSource(_folder, _frames);
        _server = new CheetahServer(TestServer.Options(), _source, _frames);
        _server.Start();
    }

    public ValueTask InitializeAsync() => default;

    public async ValueTask DisposeAsync()
    {
        await _server.DisposeAsync();
        _source.Dispose();
        Assert.Equal(0, _server.Cache.Windows.HeldBytes);
        Assert.Equal(_frames.FrameCount, _frames.FreeCount);
        _frames.Dispose();
        Directory.Delete(_outside, recursive: true);
    }

    private string At(string name) => Path.Combine(_folder, name);

    // All of it follows from the place, but for the holes of a sparse one.
    private void Put(string name, long lengthBytes, int version = 0, params (long Place, int Length)[] parts)
    {
        using FileStream file = File.Create(At(name));
        file.SetLength(lengthBytes);
        foreach ((long place, int length) in parts.Length == 0 ? Enumerable.Range(0, (int)((lengthBytes + 99_999) / 100_000)).Select(i => (i * 100_000L, (int)Math.Min(100_000, lengthBytes - (i * 100_000L)))) : parts)
        {
            byte[] bytes = new byte[length];
            for (int i = 0; i < length; i++)
            {
                bytes[i] = LargeSource.At(place + i, version);
            }

            file.Position = place;
            file.Write(bytes);
        }
    }

    private static (int Code, byte[] Output) Curl(params string[] arguments)
    {
        using Process curl = Process.Start(new ProcessStartInfo("curl", ["-sS", "-g", "--max-time", "60", .. arguments]) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        var output = new MemoryStream();
        Task errors = curl.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        curl.StandardOutput.BaseStream.CopyTo(output);
        curl.WaitForExit();
        errors.Wait(TestContext.Current.CancellationToken);
        return (curl.ExitCode, output.ToArray());
    }

    private string Url(string name) => $"http://{_server.EndPoint}/{name}";

    [Fact]
    public void Curl_gets_ranges_of_a_sparse_file_of_5_GiB_and_its_length()
    {
        Requires.Program("curl");
        const long Length = (5L << 30) + 12_345;
        (long Place, int Length)[] parts = [(0, 100), ((1L << 31) - 50, 100), ((1L << 32) - 50, 100), (Length - 70_000, 70_000)];
        Put("sparse", Length, 0, parts);
        Assert.Contains($"Content-Length: {Length}\r\n", Encoding.ASCII.GetString(Curl("-I", Url("sparse")).Output), StringComparison.Ordinal);
        foreach ((long place, int length) in parts)
        {
            (int code, byte[] got) = Curl("--fail", "-r", $"{place}-{place + length - 1}", Url("sparse"));
            Assert.Equal(0, code);
            Assert.Equal(length, got.Length);
            LargeSource.Check(got, place);
        }

        (_, byte[] last) = Curl("--fail", "-r", "-5", Url("sparse"));
        LargeSource.Check(last, Length - 5);
        string several = Encoding.Latin1.GetString(Curl("--fail", "-r", "4294967290-4294967299,0-4", Url("sparse")).Output);
        Assert.Contains($"Content-Range: bytes 4294967290-4294967299/{Length}", several, StringComparison.Ordinal);
        Assert.Contains("416", Encoding.ASCII.GetString(Curl("-o", "/dev/null", "-w", "%{http_code}", "-r", $"{Length}-", Url("sparse")).Output), StringComparison.Ordinal);
        Assert.Equal(0, _server.Counters.PayloadBytesCopied);
        Assert.InRange(_server.Cache.Windows.HeldBytesMax, 1, PoolBytes / 4);
    }

    [Fact]
    public void Curl_gets_several_files_at_once_each_larger_than_the_pool()
    {
        Requires.Program("curl");
        Put("a", 40_000_001);
        Put("b", 30_000_000);
        string[] targets = ["a", "b", "a", "b"];
        Assert.Equal(0, Curl(["--fail", "-Z", .. targets.SelectMany((name, i) => (string[])["-o", Path.Combine(_outside, $"got{i}"), Url(name)])]).Code);
        for (int i = 0; i < targets.Length; i++)
        {
            Assert.True(File.ReadAllBytes(At(targets[i])).AsSpan().SequenceEqual(File.ReadAllBytes(Path.Combine(_outside, $"got{i}"))), targets[i]);
        }

        Assert.InRange(_server.Cache.Windows.HeldBytesMax, 1, PoolBytes / 4);
        Assert.Equal(0, _server.Counters.PayloadBytesCopied);
    }

    [Fact]
    public void A_file_for_which_there_are_no_frames_is_read_through_a_window_until_there_are()
    {
        Put("file", 1_500_000);
        List<FrameNumber> taken = [];
        while (_frames.FreeCount > 64 && _frames.TryAllocate(_frames.RootCredential, out FrameNumber frame))
        {
            taken.Add(frame);
        }

        using RawClient client = new(_server.EndPoint);
        void GetsIt()
        {
            client.Send("GET /file HTTP/1.1\r\nHost: x\r\n\r\n");
            byte[] body = client.ReadResponse().Body;
            Assert.Equal(1_500_000, body.Length);
            LargeSource.Check(body, 0);
        }

        GetsIt();
        long ranges = _server.Counters.RangesRead;
        Assert.InRange(ranges, 6, 200);
        Assert.Equal(0, _server.Cache.DocumentCount);
        taken.ForEach(_frames.Release);
        GetsIt();
        Assert.Equal(ranges, _server.Counters.RangesRead);
        Assert.Equal(1, _server.Cache.DocumentCount);
    }

    // What is under way has been promised and sent in part when something is done to its file.
    private byte[] Interrupted(Action change)
    {
        Put("file", 60_000_000);
        using RawClient client = new(_server.EndPoint, receiveBufferBytes: 65536);
        client.Send("GET /file HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        Assert.True(SpinWait.SpinUntil(() => _server.Counters.PayloadBytesSent > 0, TimeSpan.FromSeconds(20)));
        change();
        byte[] got = client.ReadToEnd();
        int head = got.AsSpan().IndexOf("\r\n\r\n"u8) + 4;
        Assert.Contains("Content-Length: 60000000\r\n", Encoding.ASCII.GetString(got[..head]), StringComparison.Ordinal);
        LargeSource.Check(got.AsSpan(head), 0);   // of the first version to the last byte
        return got[head..];
    }

    [Fact]
    public void A_file_that_is_cut_under_way_ends_with_a_reset()
    {
        Assert.InRange(Interrupted(() => File.OpenWrite(At("file")).Using(file => file.SetLength(40_000_000))).Length, 1, 40_000_000);
        Assert.Equal(1, _server.Counters.ConnectionsAborted);
    }

    [Fact]
    public void A_file_that_is_written_to_under_way_ends_with_a_reset()
    {
        Assert.InRange(Interrupted(() => Put("file", 60_000_000, version: 1)).Length, 1, 59_999_999);
        Assert.Equal(1, _server.Counters.ConnectionsAborted);
    }

    [Fact]
    public void A_file_that_another_is_renamed_over_is_sent_to_its_end()
    {
        Put("new", 50_000_000, version: 1);
        Assert.Equal(60_000_000, Interrupted(() => File.Move(At("new"), At("file"), overwrite: true)).Length);
        Assert.Equal(0, _server.Counters.ConnectionsAborted);
        using RawClient client = new(_server.EndPoint);
        byte[] got;
        do
        {
            client.Send("GET /file HTTP/1.1\r\nHost: x\r\nRange: bytes=-70000\r\n\r\n");
            got = client.ReadResponse().Body;
        }
        while (got[0] == LargeSource.At(60_000_000 - 70_000));   // until the news has come

        LargeSource.Check(got, 50_000_000 - 70_000, version: 1);
    }
}

file static class Usings
{
    public static void Using(this FileStream file, Action<FileStream> use)
    {
        using (file)
        {
            use(file);
        }
    }
}
