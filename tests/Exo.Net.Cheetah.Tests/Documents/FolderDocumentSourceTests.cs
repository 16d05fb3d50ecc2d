// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Text;
using System.Threading.Channels;
using CsCheck;
using Exo.Core.Memory;
using Exo.Net.Cheetah.Folders;
using Exo.Net.Cheetah.Tests.Sockets;

namespace Exo.Net.Cheetah.Tests.Documents;

/// <summary>Files of a host folder, through the server to a client, with the folder changing underneath.</summary>
public sealed class FolderDocumentSourceTests : IDisposable
{
    private readonly string _outside = Directory.CreateTempSubdirectory("exo-folder-").FullName;
    private readonly string _folder;

    public FolderDocumentSourceTests()
    {
        _folder = Path.Combine(_outside, "site");
        Directory.CreateDirectory(_folder);
    }

    public void Dispose() => Directory.Delete(_outside, recursive: true);

    private string At(string name) => Path.Combine(_folder, name);

    private void Put(string name, byte[] bytes) => File.WriteAllBytes(At(name), bytes);

    /// <summary>A file that has not changed for as long as one must not have that nobody has open for writing.</summary>
    private static void WaitUntilAtRest(string path)
    {
        using FileStream file = File.OpenRead(path);
        using ReadLease lease = ReadLease.Take(file.SafeFileHandle);
        Assert.True(SpinWait.SpinUntil(() => FolderStat.Of(file.SafeFileHandle).Until(lease.Rest, DateTimeOffset.UtcNow) == TimeSpan.Zero, TimeSpan.FromSeconds(30)));
    }

    private static byte[] Text(string text) => Encoding.UTF8.GetBytes(text);

    private sealed class Site : IAsyncDisposable
    {
        private readonly FramePool frames;
        private readonly HttpClient client = new(new SocketsHttpHandler { AllowAutoRedirect = false });

        public Site(string folder, FolderDocumentOptions? options = null, long poolBytes = 64 << 20)
        {
            frames = FramePool.Create(new FramePoolOptions { CapacityBytes = poolBytes });
            Source = new FolderDocumentSource(folder, frames, options);
            Server = new CheetahServer(TestServer.Options(), Source, frames);
            Server.Start();
            client.BaseAddress = new Uri($"http://{Server.EndPoint}");
        }

        public FolderDocumentSource Source { get; }

        public CheetahServer Server { get; }

        public async Task<HttpResponseMessage> Get(string path) => await client.GetAsync(new Uri(path, UriKind.Relative), TestContext.Current.CancellationToken);

        /// <summary>Null where there is nothing.</summary>
        public async Task<byte[]?> BytesOf(string path)
        {
            using HttpResponseMessage response = await Get(path);
            Assert.True(response.StatusCode is HttpStatusCode.OK or HttpStatusCode.NotFound, $"{path}: {response.StatusCode}");
            return response.StatusCode == HttpStatusCode.OK ? await response.Content.ReadAsByteArrayAsync(TestContext.Current.CancellationToken) : null;
        }

        /// <summary>News comes when it comes; what is asserted is that it does.</summary>
        public async Task Shows(string path, byte[]? expected)
        {
            long begun = Stopwatch.GetTimestamp();
            while (true)
            {
                using HttpResponseMessage response = await Get(path);
                byte[] got = await response.Content.ReadAsByteArrayAsync(TestContext.Current.CancellationToken);
                if (expected is null ? response.StatusCode == HttpStatusCode.NotFound : response.StatusCode == HttpStatusCode.OK && got.AsSpan().SequenceEqual(expected))
                {
                    return;
                }

                Assert.True(response.StatusCode is HttpStatusCode.OK or HttpStatusCode.NotFound or HttpStatusCode.ServiceUnavailable);   // the last: not come to rest
                Assert.True(Stopwatch.GetElapsedTime(begun) < TimeSpan.FromSeconds(30), $"{path} stays out of date");
            }
        }

        public void WaitUntilWatched() => Assert.True(SpinWait.SpinUntil(() => Source.IsWatched, TimeSpan.FromSeconds(30)));

        /// <summary>
        /// News comes in order, so what was there before a file was written has been taken in when the file is heard of. Several times: the first may be told of an overflow, and the next with it, before it is clear what has become of the
        /// names; who hears of one written after that has done with them.
        /// </summary>
        public void WaitUntilAllIsHeard(string path)
        {
            using FileStream file = new(path, FileMode.Create, FileAccess.ReadWrite, FileShare.ReadWrite, bufferSize: 0);
            WatchedFile watched = Source.Watch.Watch(file.SafeFileHandle)!;
            for (int i = 0; i < 4; i++)
            {
                long before = watched.Version;
                file.WriteByte(1);
                Assert.True(SpinWait.SpinUntil(() => watched.Version != before, TimeSpan.FromSeconds(30)));
            }

            Source.Watch.Release(watched);
        }

        public async ValueTask DisposeAsync()
        {
            client.Dispose();
            await Server.DisposeAsync();
            Source.Dispose();
            Assert.Equal(frames.FrameCount, frames.FreeCount);
            frames.Dispose();
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(4096)]
    [InlineData(4097)]
    [InlineData(9_000_001)]
    public async Task A_file_comes_back_byte_for_byte_and_is_read_once(int lengthBytes)
    {
        byte[] bytes = TestServer.Bytes(lengthBytes);
        Put("file.css", bytes);
        await using Site site = new(_folder);
        site.WaitUntilWatched();
        await site.Shows("/file.css", bytes);
        long misses = site.Server.Counters.CacheMisses;
        for (int i = 0; i < 20; i++)
        {
            using HttpResponseMessage response = await site.Get("/file.css");
            Assert.Equal("text/css", response.Content.Headers.ContentType!.MediaType);
            Assert.Equal(File.GetLastWriteTimeUtc(At("file.css")), response.Content.Headers.LastModified!.Value.UtcDateTime, TimeSpan.FromSeconds(1));
            Assert.Equal(bytes, await response.Content.ReadAsByteArrayAsync(TestContext.Current.CancellationToken));
        }

        Assert.Equal(misses, site.Server.Counters.CacheMisses);
        Assert.Equal(0, site.Server.Counters.PayloadBytesCopied);
    }

    [Fact]
    public async Task Nothing_leads_out_and_what_is_no_file_is_not_found()
    {
        File.WriteAllText(Path.Combine(_outside, "secret"), "s");
        Put("file", Text("f"));
        Put(".hidden", Text("h"));
        Directory.CreateDirectory(At(".git"));
        Put(".git/config", Text("g"));
        Directory.CreateDirectory(At("folder"));
        File.CreateSymbolicLink(At("up"), "../secret");
        File.CreateSymbolicLink(At("folder/up"), "../../secret");
        File.CreateSymbolicLink(At("absolute"), Path.Combine(_outside, "secret"));
        File.CreateSymbolicLink(At("own"), At("file"));   // absolute, hence out of the folder, even though it would come back
        File.CreateSymbolicLink(At("out"), "..");
        File.CreateSymbolicLink(At("root"), "/");
        File.CreateSymbolicLink(At("magic"), "/proc/self/root");
        File.CreateSymbolicLink(At("loop"), "loop");
        File.CreateSymbolicLink(At("nowhere"), "no/such");
        using Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        socket.Bind(new UnixDomainSocketEndPoint(At("socket")));
        Run("mkfifo", At("fifo"));
        await using Site site = new(_folder);
        foreach (string path in (string[])
            ["/up", "/folder/up", "/absolute", "/own", "/out/secret", "/out/site/file", "/root/etc/passwd", "/magic/etc/passwd", "/loop", "/nowhere", "/socket", "/fifo", "/file/below", "/none",
                "/.hidden", "/.git/config", "/.git", "/folder/.", "/" + new string('n', 300), "/..%2fsecret", "/%2e%2e/secret", "/folder/%2e%2e/%2e%2e/secret"])
        {
            using HttpResponseMessage response = await site.Get(path);
            Assert.True(path == "/folder/." || response.StatusCode is HttpStatusCode.NotFound or HttpStatusCode.BadRequest, $"{path}: {response.StatusCode}");
            Assert.NotEqual(HttpStatusCode.OK, response.StatusCode);
        }

        using HttpResponseMessage redirect = await site.Get("/folder");
        Assert.Equal(HttpStatusCode.PermanentRedirect, redirect.StatusCode);
    }

    private static void Run(string program, params string[] arguments)
    {
        using Process process = Process.Start(program, arguments);
        process.WaitForExit();
        Assert.Equal(0, process.ExitCode);
    }

    [Fact]
    public async Task Links_inside_are_followed_and_dot_names_are_served_where_that_is_wanted()
    {
        Directory.CreateDirectory(At("folder/.deep"));
        Put("folder/.deep/index.html", Text("<p>i"));
        File.CreateSymbolicLink(At("link"), "folder/.deep");
        Directory.CreateDirectory(At("other"));
        File.CreateSymbolicLink(At("other/back"), "../link/index.html");
        await using (Site site = new(_folder))
        {
            Assert.Equal(Text("<p>i"), await site.BytesOf("/link/"));
            Assert.Equal(Text("<p>i"), await site.BytesOf("/other/back"));
            Assert.Null(await site.BytesOf("/folder/.deep/"));
        }

        await using Site open = new(_folder, new FolderDocumentOptions { ServesDotNames = true });
        Assert.Equal(Text("<p>i"), await open.BytesOf("/folder/.deep/"));
    }

    [Fact]
    public async Task Every_change_shows_and_changes_the_entity_tag()
    {
        await using Site site = new(_folder);
        site.WaitUntilWatched();
        HashSet<EntityTagHeaderValue> tags = [];
        async Task Shows(byte[]? expected)
        {
            await site.Shows("/page", expected);
            if (expected is not null)
            {
                // News of how it became so may still be on its way, and a file at work be refused.
                HttpResponseMessage response = await site.Get("/page");
                while (response.StatusCode == HttpStatusCode.ServiceUnavailable)
                {
                    response.Dispose();
                    response = await site.Get("/page");
                }

                Assert.True(tags.Add(response.Headers.ETag!));
                response.Dispose();
            }
        }

        byte[] first = TestServer.Bytes(20_000, 1), second = TestServer.Bytes(30_000, 2), third = TestServer.Bytes(30_000, 3);
        await Shows(null);
        Put("page", first);
        await Shows(first);
        using (FileStream file = File.OpenWrite(At("page")))
        {
            first[5000] ^= 1;
            file.Position = 5000;
            file.Write(first.AsSpan(5000, 1));
            file.Flush();
            await Shows(first);
            file.SetLength(7000);
            await Shows(first[..7000]);
        }

        // By another name, which lies where nobody looks.
        string alias = Path.Combine(_outside, "alias");
        Run("ln", At("page"), alias);
        await site.Shows("/page", first[..7000]);
        File.WriteAllBytes(alias, second);
        await Shows(second);

        // With the old time and length.
        DateTime modified = File.GetLastWriteTimeUtc(At("page"));
        Put("new", third);
        File.SetLastWriteTimeUtc(At("new"), modified);
        File.Move(At("new"), At("page"), overwrite: true);
        await Shows(third);
        File.Delete(At("page"));
        await Shows(null);
        File.CreateSymbolicLink(At("page"), "target");
        await Shows(null);
        Put("target", first);
        await Shows(first);
    }

    [Fact]
    public async Task Directories_that_come_move_and_go_are_followed()
    {
        await using Site site = new(_folder);
        site.WaitUntilWatched();
        Directory.CreateDirectory(At("a/b/c"));
        Put("a/b/c/page", Text("1"));
        await site.Shows("/a/b/c/page", Text("1"));
        Put("a/b/c/page", Text("2"));
        await site.Shows("/a/b/c/page", Text("2"));
        Directory.Move(At("a/b"), At("moved"));
        await site.Shows("/a/b/c/page", null);
        await site.Shows("/moved/c/page", Text("2"));
        Put("moved/c/page", Text("3"));
        await site.Shows("/moved/c/page", Text("3"));
        Directory.CreateDirectory(At("moved/c/later/still"));
        Put("moved/c/later/still/page", Text("4"));
        await site.Shows("/moved/c/later/still/page", Text("4"));
        File.Move(At("moved/c/later/still/page"), At("moved/c/later/still/gone"));
        await site.Shows("/moved/c/later/still/page", null);

        // The way a release is published.
        File.CreateSymbolicLink(At("current"), "moved");
        await site.Shows("/current/c/page", Text("3"));
        Directory.CreateDirectory(Path.Combine(_outside, "next/c"));
        File.WriteAllText(Path.Combine(_outside, "next/c/page"), "5");
        Directory.Move(Path.Combine(_outside, "next"), At("next"));
        File.CreateSymbolicLink(At("switch"), "next");
        Run("mv", "-T", At("switch"), At("current"));
        await site.Shows("/current/c/page", Text("5"));
        Put("next/c/page", Text("6"));
        await site.Shows("/current/c/page", Text("6"));
        Directory.Delete(At("next"), recursive: true);
        await site.Shows("/current/c/page", null);
    }

    [Fact]
    public void Whatever_happens_to_a_tree_its_documents_come_to_be_what_it_holds()
    {
        string[] folders = ["a", "a/d", "b", "link"];
        string[] names = [.. folders.Select(folder => folder + "/x"), .. folders.Select(folder => folder + "/d/x"), "x"];
        Gen<(int Kind, int From, int To)> step = Gen.Select(Gen.Int[0, 6], Gen.Int[0, names.Length - 1], Gen.Int[0, names.Length - 1]);
        step.Array[1, 30].Sample(steps => Follow(steps, names).GetAwaiter().GetResult(), iter: 20, threads: 1);
    }

    // The directory of a name, but never the folder itself.
    private string Inner(string path) => Path.GetDirectoryName(path) is { } directory && directory != _folder ? directory : At("a");

    private async Task Follow((int Kind, int From, int To)[] steps, string[] names)
    {
        Directory.Delete(_folder, recursive: true);
        Directory.CreateDirectory(_folder);
        await using Site site = new(_folder);
        int version = 0;
        foreach ((int kind, int from, int to) in steps)
        {
            string one = At(names[from]), other = At(names[to]);
            try
            {
                switch (kind)
                {
                    case 0:
                        Directory.CreateDirectory(Path.GetDirectoryName(one)!);
                        File.WriteAllText(one, $"{version++}");
                        break;
                    case 1:
                        File.WriteAllText(one, $"{version++}");
                        break;
                    case 2:
                        File.Move(one, other, overwrite: true);
                        break;
                    case 3:
                        Directory.Move(Inner(one), Inner(other));
                        break;
                    case 4:
                        Directory.CreateSymbolicLink(At("link"), Path.GetRelativePath(_folder, Path.GetDirectoryName(one)!));
                        break;
                    case 5:
                        File.Delete(At("link"));
                        break;
                    default:
                        Directory.Delete(Inner(one), recursive: true);
                        break;
                }
            }
            catch (Exception impossible) when (impossible is IOException or UnauthorizedAccessException)
            {
            }

            using HttpResponseMessage meanwhile = await site.Get("/" + names[to]);
        }

        foreach (string name in names)
        {
            await site.Shows("/" + name, File.Exists(At(name)) ? File.ReadAllBytes(At(name)) : null);
        }
    }

    [Theory]
    [InlineData(300_000, true, 1 << 18)]
    [InlineData(6_000_000, false, 1 << 18)]
    [InlineData(6_000_000, false, 0)]   // nothing but its own times tells that a file has changed
    public async Task While_a_file_is_being_rewritten_a_client_sees_one_version_whole(int lengthBytes, bool replaces, int watchesMax)
    {
        byte[] Version(int round) => [.. Enumerable.Repeat((byte)round, lengthBytes)];
        Put("page", Version(0));
        await using Site site = new(_folder, new FolderDocumentOptions { WatchesMax = watchesMax });
        using CancellationTokenSource done = new();
        Channel<byte> served = Channel.CreateUnbounded<byte>();
        Task writer = Task.Run(
            async () =>
            {
                for (int round = 1; !done.IsCancellationRequested; round++)
                {
                    if (replaces)
                    {
                        Put("next", Version(round));
                        File.Move(At("next"), At("page"), overwrite: true);
                    }
                    else
                    {
                        using FileStream page = new(At("page"), FileMode.Open, FileAccess.Write, FileShare.ReadWrite, bufferSize: 0);
                        page.Write(Version(round));
                    }

                    // Every third version is replaced before it has come to rest, the others as soon as somebody has seen them.
                    bool isSeen = round % 3 == 0;
                    while (!isSeen && !done.IsCancellationRequested)
                    {
                        isSeen = await served.Reader.WaitToReadAsync() is false || (served.Reader.TryRead(out byte version) && version == (byte)round);
                    }
                }
            },
            TestContext.Current.CancellationToken);
        HashSet<byte> seen = [];
        long begun = Stopwatch.GetTimestamp();
        for (int whole = 0; whole < 100 && Stopwatch.GetElapsedTime(begun) < TimeSpan.FromSeconds(60);)
        {
            using HttpResponseMessage response = await site.Get("/page");
            Assert.True(response.StatusCode is HttpStatusCode.OK or HttpStatusCode.ServiceUnavailable);
            if (response.IsSuccessStatusCode)
            {
                byte[] got = await response.Content.ReadAsByteArrayAsync(TestContext.Current.CancellationToken);
                Assert.Equal(lengthBytes, got.Length);
                Assert.False(got.AsSpan().ContainsAnyExcept(got[0]));
                served.Writer.TryWrite(got[0]);
                whole += seen.Add(got[0]) || watchesMax == 0 ? 1 : 0;
            }
        }

        await done.CancelAsync();
        served.Writer.Complete();
        await writer;
        Assert.True(seen.Count > 1);
        await site.Shows("/page", File.ReadAllBytes(At("page")));
    }

    [Fact]
    public async Task A_file_that_somebody_has_open_for_writing_is_read_when_it_has_rested_for_a_second()
    {
        Put("page", Text("1"));
        await using Site site = new(_folder);
        using FileStream writer = new(At("page"), FileMode.Open, FileAccess.Write, FileShare.ReadWrite);
        using (FileStream reader = File.OpenRead(At("page")))
        {
            Assert.Equal(WriterState.Present, ReadLease.Take(reader.SafeFileHandle).Writer);
        }

        long begun = Stopwatch.GetTimestamp();
        HttpStatusCode status;
        do
        {
            using HttpResponseMessage response = await site.Get("/page");
            status = response.StatusCode;
        }
        while (status == HttpStatusCode.ServiceUnavailable && Stopwatch.GetElapsedTime(begun) < TimeSpan.FromSeconds(30));
        Assert.Equal(HttpStatusCode.OK, status);
    }

    [Fact]
    public void A_file_that_has_just_changed_could_change_again_without_showing_it()
    {
        DateTimeOffset changed = DateTimeOffset.UnixEpoch.AddDays(20_000);
        FolderStat stat = new(1, 2, 3, 0x81A4, 4, 0, (changed - DateTimeOffset.UnixEpoch).Ticks * 100, 1);
        TimeSpan rest = TimeSpan.FromMilliseconds(20);
        Assert.Equal(rest, stat.Until(rest, changed));
        Assert.Equal(TimeSpan.FromMilliseconds(1), stat.Until(rest, changed.AddMilliseconds(19.5)));
        Assert.True(stat.Until(rest, changed.AddMilliseconds(-10)) >= rest);
        Assert.Equal(TimeSpan.Zero, stat.Until(rest, changed.AddMilliseconds(20)));
        Assert.Equal(TimeSpan.Zero, stat.Until(rest, changed.AddHours(-1)));
    }

    [Theory]
    [InlineData(0)]    // no directory
    [InlineData(1)]    // the folder, not the one in it
    [InlineData(2)]    // all directories, no document
    public async Task What_cannot_be_watched_is_asked_for_every_time(int watchesMax)
    {
        Directory.CreateDirectory(At("a"));
        Put("a/page", Text("0"));
        await using Site site = new(_folder, new FolderDocumentOptions { WatchesMax = watchesMax });
        for (int round = 1; round < 10; round++)
        {
            Put("a/page", Text($"{round}"));
            Assert.Equal(Text($"{round}"), await site.BytesOf("/a/page"));   // at once
        }

        Assert.Equal(9, site.Server.Counters.CacheMisses);
        if (watchesMax == 2)
        {
            site.WaitUntilWatched();
        }
        else
        {
            Assert.False(site.Source.IsWatched);
        }
    }

    [Fact]
    public async Task News_that_the_kernel_had_no_room_for_is_made_up_for()
    {
        Put("page", Text("old"));
        Directory.CreateDirectory(At("many"));
        await using Site site = new(_folder);
        site.WaitUntilWatched();
        await site.Shows("/page", Text("old"));
        int queueMax = int.Parse(File.ReadAllText("/proc/sys/fs/inotify/max_queued_events"));
        lock (site.Source.Watch.Gate)
        {
            for (int i = 0; i < queueMax + 2; i++)
            {
                File.Create(At($"many/{i % 100}-{i / 100}")).Dispose();
            }

            Put("page", Text("new"));
            Directory.CreateDirectory(At("unheard"));
            Put("unheard/page", Text("1"));
        }

        // Old news would hide that there is none of what follows.
        site.WaitUntilAllIsHeard(Path.Combine(_outside, "heard last"));
        await site.Shows("/page", Text("new"));
        await site.Shows("/unheard/page", Text("1"));
        File.Delete(At("unheard/page"));
        await site.Shows("/unheard/page", null);
    }

    [Fact]
    public async Task What_is_looked_up_in_a_directory_before_that_is_watched_does_not_stay()
    {
        const int Directories = 3000;
        string large = Path.Combine(_outside, "large");
        for (int i = 0; i < Directories; i++)
        {
            Directory.CreateDirectory(Path.Combine(large, $"{i}"));
        }

        int[] looked = [.. Enumerable.Range(0, 10).Select(i => i * Directories / 10)];
        foreach (int i in looked)
        {
            File.WriteAllText(Path.Combine(large, $"{i}/page"), "1");
        }

        await using Site site = new(_folder);
        site.WaitUntilWatched();
        foreach (int i in looked)
        {
            WaitUntilAtRest(Path.Combine(large, $"{i}/page"));
        }

        long before = site.Source.Watch.Names;
        Directory.Move(large, At("large"));
        Assert.True(SpinWait.SpinUntil(() => site.Source.Watch.Names != before, TimeSpan.FromSeconds(30)));
        foreach (int i in looked)
        {
            await site.BytesOf($"/large/{i}/page");
            File.Move(At($"large/{i}/page"), At($"large/{i}/elsewhere"));
        }

        foreach (int i in looked)
        {
            await site.Shows($"/large/{i}/page", null);
        }
    }

    [Fact]
    public async Task A_document_makes_room_for_itself_and_one_larger_than_the_pool_needs_none()
    {
        byte[] large = TestServer.Bytes(3 << 20);
        Put("large", large);
        Put("larger", TestServer.Bytes(5 << 20));
        for (int i = 0; i < 6; i++)
        {
            Put($"{i}", TestServer.Bytes(500_000, i));
        }

        await using Site site = new(_folder, new FolderDocumentOptions { WholeDocumentBytesMax = 4 << 20 }, poolBytes: 4 << 20);
        for (int i = 0; i < 6; i++)
        {
            await site.Shows($"/{i}", TestServer.Bytes(500_000, i));
        }

        await site.Shows("/large", large);
        Assert.InRange(site.Server.Counters.CacheEvictions, 1, 6);
        Assert.Equal(0, site.Server.Counters.RangesRead);
        await site.Shows("/larger", TestServer.Bytes(5 << 20));
        Assert.InRange(site.Server.Counters.RangesRead, 1, 1000);
        await site.Shows("/0", TestServer.Bytes(500_000, 0));
    }

    [Fact]
    public void A_folder_that_is_not_there_is_refused()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 1 << 20 });
        Assert.Throws<IOException>(() => new FolderDocumentSource(At("none"), frames));
        Put("file", Text("f"));
        Assert.Throws<IOException>(() => new FolderDocumentSource(At("file"), frames));
    }
}
