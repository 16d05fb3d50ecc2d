// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.RegularExpressions;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS;
using Exo.Net.Cheetah.Tcp.Answers;
using Exo.Net.Cheetah.Tests.Documents;
using Exo.Net.Cheetah.Tests.Logging;
using Exo.Net.Cheetah.Tests.Sockets;
using Exo.Tests;

namespace Exo.Net.Cheetah.Tests.Kernel;

/// <summary>The kernel's TCP asks a server whose handlers answer where packets come in: nobody can tell who did, but by the counters.</summary>
public partial class AnswersTests
{
    [Theory]
    [InlineData("10.9.0.2")]
    [InlineData("fd09::2")]
    public void A_known_request_is_answered_without_the_stack(string address)
    {
        using var site = new AnsweringServer();
        byte[] bytes = TestServer.Bytes(1000);
        site.Documents.Set("/a", bytes);
        site.Server.Start();
        using AnsweringServer.Client client = site.Connect(address);
        for (int i = 0; i < 1000; i++)
        {
            Assert.Equal(bytes, client.Get("/a"));
        }

        Assert.InRange(site.Answered.Requests, 900, 998);   // the first two are the server's
        CheetahCounters counters = site.Server.Counters;
        Assert.Equal((1000, 999, 1_000_000, 1), (counters.Requests, counters.CacheHits, counters.PayloadBytesSent, counters.ConnectionsOpen));
        Assert.InRange(site.Server.Raw!.Stack.Tcp.Counters.SegmentsReceived, 3, 100);
        Assert.Equal(site.Answered.Requests * 1000, site.Answered.BodyBytes);
    }

    [Fact]
    public async Task With_an_access_log_nothing_is_answered_past_it()
    {
        var output = new LogOutput();
        using var site = new AnsweringServer(accessLog: new AccessLogOptions { Output = output });
        byte[] bytes = TestServer.Bytes(1000);
        site.Documents.Set("/a", bytes);
        site.Server.Start();
        using AnsweringServer.Client client = site.Connect();
        for (int i = 0; i < 100; i++)
        {
            Assert.Equal(bytes, client.Get("/a"));
        }

        string[] lines = await output.LinesAsync(site.Server.Log!);
        Assert.Equal(100, lines.Length);
        Assert.All(lines, line => Assert.EndsWith("\"GET /a HTTP/1.1\" 200 1000 \"-\" \"-\"", line, StringComparison.Ordinal));
    }

    [Fact]
    public void Whatever_is_asked_between_is_answered_as_on_sockets()
    {
        using var site = new AnsweringServer();
        DateTimeOffset then = new(2025, 5, 6, 7, 8, 9, TimeSpan.Zero);
        site.Documents.Set("/a", TestServer.Bytes(900), lastModified: then);
        site.Documents.Set("/b/index.html", TestServer.Bytes(33, seed: 2), lastModified: then);
        site.Documents.Set("/empty", [], lastModified: then);
        site.Documents.Set("/large", TestServer.Bytes(200_000), lastModified: then);
        site.Server.Start();
        CheetahServer plain = new(TestServer.Options(), site.Documents, site.Network.Frames);
        plain.Start();
        string[] asked =
        [
            "GET /a HTTP/1.1\r\nHost: x\r\n\r\n", "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n", "GET /b/ HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /empty HTTP/1.1\r\nHost: x\r\n\r\n", "GET /large HTTP/1.1\r\nHost: x\r\n\r\n", "GET /a HTTP/1.1\r\nHost: x\r\nRange: bytes=1-9\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: x\r\nIf-Modified-Since: Tue, 06 May 2025 07:08:09 GMT\r\n\r\n", "GET /none HTTP/1.1\r\nHost: x\r\n\r\n", "GET /b HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", "DELETE /a HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /a?" + new string('q', 2000) + " HTTP/1.1\r\nHost: x\r\n\r\n",
        ];
        using AnsweringServer.Client client = site.Connect();
        (string, byte[])[] expected = [.. asked.Select(request => Ask(plain.EndPoint, request))];
        var random = new Random(1);
        for (int i = 0; i < 1500; i++)
        {
            int one = random.Next(asked.Length), two = random.Next(asked.Length);
            switch (random.Next(8))
            {
                case 0:   // both in one piece
                    client.Send(asked[one] + asked[two]);
                    IsAnswered(one);
                    IsAnswered(two);
                    break;
                case 1:   // in two pieces
                    int cut = random.Next(1, asked[one].Length);
                    client.Send(asked[one][..cut]);
                    client.Send(asked[one][cut..]);
                    IsAnswered(one);
                    break;
                case 2:   // one behind the other
                    client.Send(asked[one]);
                    client.Send(asked[two]);
                    IsAnswered(one);
                    IsAnswered(two);
                    break;
                default:
                    client.Send(asked[one]);
                    IsAnswered(one);
                    break;
            }
        }

        Assert.InRange(site.Answered.Requests, 100, 1000);
        AnsweringServer.End(plain);

        void IsAnswered(int index)
        {
            (string head, byte[] body) = client.Receive(asked[index].StartsWith("HEAD", StringComparison.Ordinal));
            Assert.Equal(expected[index].Item1, WithoutDate(head));
            Assert.Equal(expected[index].Item2, body);
        }
    }

    [Fact]
    public void What_a_custom_handler_answers_is_never_answered_elsewhere()
    {
        int calls = 0;
        using var site = new AnsweringServer(handlers: new CheetahHandlers().Add("GET", "/count", (in request, response) => response.Write(++calls)));
        site.Documents.Set("/count", TestServer.Bytes(10));   // the path is the handler's
        byte[] document = TestServer.Bytes(10, seed: 2);
        site.Documents.Set("/a", document);
        site.Server.Start();
        using AnsweringServer.Client client = site.Connect();
        for (int i = 1; i <= 100; i++)
        {
            Assert.Equal(document, client.Get("/a"));
            Assert.Equal((2 * i) - 1, Number(client.Get("/count")));
            Assert.Equal(2 * i, Number(client.Get("/count")));
        }

        Assert.Equal((300, 200), (site.Server.Counters.Requests, site.Server.Counters.RequestsHandled));
        Assert.InRange(site.Answered.Requests, 0, 98);
    }

    [Fact]
    public void A_change_is_seen_by_the_next_request()
    {
        using var site = new AnsweringServer();
        site.Documents.Set("/a", "0"u8);
        site.Server.Start();
        using AnsweringServer.Client client = site.Connect();
        for (int i = 1; i <= 300; i++)
        {
            site.Documents.Set("/a", Encoding.ASCII.GetBytes(i.ToString(CultureInfo.InvariantCulture)));
            for (int k = 0; k < 5; k++)
            {
                Assert.Equal(i, Number(client.Get("/a")));
            }
        }

        Assert.InRange(site.Answered.Requests, 300, 1200);   // the first after each change is the server's
        Assert.True(site.Documents.Remove("/a"));
        client.Send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
        Assert.StartsWith("HTTP/1.1 404", client.Receive().Head, StringComparison.Ordinal);
    }

    [Fact]
    public void A_change_of_a_volume_is_seen_by_the_next_request()
    {
        MemoryBlockDevice? disk = null;
        CffsVolume? volume = null;
        using (AnsweringServer site = new(source: frames =>
        {
            disk = new MemoryBlockDevice(frames, blockCount: 4096);
            volume = CffsVolume.Create(disk, new CffsCreateOptions { Seed = 1 });
            return new CffsDocumentSource(volume);
        }))
        {
            site.Server.Start();
            using AnsweringServer.Client client = site.Connect();
            var random = new Random(5);
            byte[] now = [];
            Assert.NotNull(volume);
            volume.WriteAllBytes(Encoding.UTF8.GetBytes("/a"), now, 0x1A4);
            for (int i = 0; i < 400; i++)
            {
                // Contents in the record, in a block shared with others, in blocks of their own.
                switch (random.Next(4))
                {
                    case 0:
                        now = TestServer.Bytes(random.Next(1100), i);
                        volume.WriteAllBytes(Encoding.UTF8.GetBytes("/b"), now, 0x1A4);
                        volume.Rename("/b", "/a");
                        break;
                    case 1:
                        now = TestServer.Bytes(random.Next(1100), i);
                        volume.ReplaceAllBytes("/a", now);
                        break;
                    case 2:
                        using (CffsFile file = volume.OpenFile("/a", CffsOpenMode.ReadWrite))
                        {
                            int length = random.Next(1100);
                            file.SetLength(length);
                            Array.Resize(ref now, length);
                        }

                        break;
                    default:
                        using (CffsFile file = volume.OpenFile("/a", CffsOpenMode.ReadWrite))
                        {
                            byte[] more = TestServer.Bytes(random.Next(1, 50), i);
                            int at = random.Next(now.Length + 1);
                            file.Write(at, more);
                            Array.Resize(ref now, Math.Max(now.Length, at + more.Length));
                            more.CopyTo(now, at);
                        }

                        break;
                }

                for (int k = 0; k < 4; k++)
                {
                    Assert.Equal(now, client.Get("/a"));
                }
            }

            Assert.InRange(site.Answered.Requests, 400, 1200);
            volume.SetAttributes("/a", new CffsAttributeChange { Permissions = 0x180 });
            client.Send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
            Assert.StartsWith("HTTP/1.1 404", client.Receive().Head, StringComparison.Ordinal);
            AnsweringServer.End(site.Server);
            volume.Dispose();
            disk!.Dispose();
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_change_of_a_document_or_of_what_lies_beside_it_is_seen_by_the_next_request(bool ofVolume)
    {
        MemoryBlockDevice? disk = null;
        CffsVolume? volume = null;
        using (AnsweringServer site = new(precompressed: ContentCodings.All, source: !ofVolume ? null : frames =>
        {
            disk = new MemoryBlockDevice(frames, blockCount: 4096);
            volume = CffsVolume.Create(disk, new CffsCreateOptions { Seed = 1 });
            return new CffsDocumentSource(volume);
        }))
        {
            site.Server.Start();
            using AnsweringServer.Client client = site.Connect();
            var random = new Random(6);
            var model = new VariantModel(
                random,
                (path, bytes, time) =>
                {
                    if (ofVolume)
                    {
                        VariantsTests.Put(volume!, path, bytes, time);
                    }
                    else
                    {
                        site.Documents.Set(path, bytes, lastModified: DateTimeOffset.FromUnixTimeSeconds(time));
                    }
                },
                path =>
                {
                    if (ofVolume)
                    {
                        volume!.RemoveFile(path);
                    }
                    else
                    {
                        site.Documents.Remove(path);
                    }
                });
            string[][] asked = [[], ["gzip"], ["br"], ["br", "gzip", "zstd"]];
            for (int i = 0; i < 500; i++)
            {
                model.Change();
                for (int k = 0; k < 20; k++)
                {
                    string[] accepted = asked[random.Next(asked.Length)];
                    client.Send(VariantModel.Request(accepted));
                    (string head, byte[] body) = client.Receive();
                    model.IsAnswered(accepted, head, body);
                }
            }

            Assert.InRange(site.Answered.Requests, 2000, 8000);
            AnsweringServer.End(site.Server);
            volume?.Dispose();
            disk?.Dispose();
        }
    }

    // Says that something changes when it is told to.
    private sealed class Announced(MemoryDocumentSource inner) : IDocumentSource, IAnnouncedSource
    {
        public DocumentChanges Changes { get; } = new();

        public ValueTask<DocumentLookup> FindAsync(ReadOnlyMemory<byte> path, CancellationToken cancellationToken) => inner.FindAsync(path, cancellationToken);

        public bool IsCurrent(DocumentContent content) => inner.IsCurrent(content);
    }

    [Fact]
    public void A_folders_documents_are_answered_until_news_of_a_change_is_taken_in_and_then_never_again()
    {
        string folder = Directory.CreateTempSubdirectory("exo-answers-").FullName;
        FolderDocumentSource? source = null;
        try
        {
            File.WriteAllText(Path.Combine(folder, "a"), "0");
            using var site = new AnsweringServer(source: frames => source = new FolderDocumentSource(folder, frames));
            site.Server.Start();
            Assert.True(SpinWait.SpinUntil(() => source!.IsWatched, TimeSpan.FromMinutes(1)));
            using AnsweringServer.Client client = site.Connect();
            for (int i = 1; i <= 12; i++)
            {
                // In place, and by a name that takes another's place.
                byte[] now = Encoding.ASCII.GetBytes($"{i}");
                File.WriteAllBytes(Path.Combine(folder, i % 2 == 0 ? "a" : "b"), now);
                if (i % 2 != 0)
                {
                    File.Move(Path.Combine(folder, "b"), Path.Combine(folder, "a"), overwrite: true);
                }

                Assert.True(SpinWait.SpinUntil(() => client.Get("/a").AsSpan().SequenceEqual(now), TimeSpan.FromMinutes(1)));
                long before = site.Answered.Requests;
                for (int j = 0; j < 8; j++)
                {
                    Assert.Equal(now, client.Get("/a"));
                }

                Assert.InRange(site.Answered.Requests - before, 3, 8);
            }
        }
        finally
        {
            source?.Dispose();
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public async Task What_of_a_folder_is_watched_no_longer_is_not_answered_with()
    {
        Requires.Root();
        string folder = Directory.CreateTempSubdirectory("exo-answers-").FullName;
        using var frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 1 << 20 });
        try
        {
            File.WriteAllText(Path.Combine(folder, "a"), "0");
            using var source = new FolderDocumentSource(folder, frames);
            using var table = new AnswerTable("test", 1);
            DocumentChanges changes = ((IAnnouncedSource)source).Changes;
            changes.Add(table);
            Assert.True(SpinWait.SpinUntil(() => source.IsWatched && !changes.IsChanging, TimeSpan.FromMinutes(1)));
            DocumentLookup found = await source.FindAsync("/a"u8.ToArray(), TestContext.Current.CancellationToken);
            ulong epoch = table.Epoch;
            Assert.True(source.IsCurrent(found.Content!));
            Assert.Equal(epoch, table.Epoch);
            found.Content!.Dispose();   // as when it is evicted: of changes nobody hears any more
            Assert.NotEqual(epoch, table.Epoch);
            changes.Remove(table);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public void While_something_changes_nothing_is_answered_and_nothing_taken_up()
    {
        Announced? source = null;
        using var site = new AnsweringServer(source: frames =>
        {
            var documents = new MemoryDocumentSource(frames);
            documents.Set("/a", "a"u8);
            return source = new Announced(documents);
        });
        site.Server.Start();
        using AnsweringServer.Client client = site.Connect();
        for (int i = 0; i < 10; i++)
        {
            client.Get("/a");
        }

        long before = site.Answered.Requests;
        Assert.InRange(before, 5, 8);
        source!.Changes.Begin();
        for (int i = 0; i < 10; i++)
        {
            client.Get("/a");
        }

        Assert.Equal(before, site.Answered.Requests);
        source.Changes.End();
        for (int i = 0; i < 10; i++)
        {
            client.Get("/a");
        }

        Assert.InRange(site.Answered.Requests - before, 5, 10);
    }

    [Fact]
    public void When_the_MTU_shrinks_so_do_the_answers()
    {
        using var site = new AnsweringServer();
        byte[] bytes = TestServer.Bytes(1100);
        site.Documents.Set("/a", bytes);
        site.Server.Start();
        using AnsweringServer.Client client = site.Connect();
        for (int i = 0; i < 10; i++)
        {
            Assert.Equal(bytes, client.Get("/a"));
        }

        site.Network.Run("ip", "link", "set", "exo-v", "mtu", "1280");
        Assert.True(SpinWait.SpinUntil(() => site.Network.Device.Features.MtuBytes == 1280, TimeSpan.FromSeconds(60)));   // the stack looks once a second

        // It withdraws answers that are too long now right after.
        long before = 0;
        Assert.True(SpinWait.SpinUntil(
            () =>
            {
                before = site.Answered.Requests;
                client.Get("/a");
                return site.Answered.Requests == before;
            },
            TimeSpan.FromSeconds(60)));
        for (int i = 0; i < 10; i++)
        {
            Assert.Equal(bytes, client.Get("/a"));
        }

        Assert.Equal(before, site.Answered.Requests);
    }

    [Fact]
    public void Nobody_gets_what_was_replaced_before_he_asked_nor_something_older_than_he_had()
    {
        using var site = new AnsweringServer();
        site.Documents.Set("/a", "0"u8);
        site.Server.Start();
        int published = 0;
        using var ending = new CancellationTokenSource();
        var writer = new Thread(() =>
        {
            for (int i = 1; !ending.IsCancellationRequested; i++)
            {
                site.Documents.Set("/a", Encoding.ASCII.GetBytes(i.ToString(CultureInfo.InvariantCulture)));
                Volatile.Write(ref published, i);
                Thread.SpinWait(20_000);   // so that answers are made at all
            }
        });
        writer.Start();
        using AnsweringServer.Client client = site.Connect();
        int last = 0;
        for (int i = 0; i < 20_000; i++)
        {
            int least = Math.Max(last, Volatile.Read(ref published));
            last = Number(client.Get("/a"));
            Assert.True(last >= least, $"{last}, and {least} was published");
        }

        ending.Cancel();
        writer.Join();
        Assert.InRange(site.Answered.Requests, 10, 20_000);
    }

    [Fact]
    public void Who_is_answered_is_not_idle_and_who_says_nothing_is()
    {
        using var site = new AnsweringServer(idle: TimeSpan.FromSeconds(1));
        site.Documents.Set("/a", TestServer.Bytes(10));
        site.Server.Start();
        using AnsweringServer.Client client = site.Connect(), silent = site.Connect();
        silent.Get("/a");
        silent.Get("/a");
        silent.Get("/a");
        long start = Environment.TickCount64;
        while (Environment.TickCount64 - start < 4000)
        {
            client.Get("/a");
        }

        Assert.Equal(0, silent.Socket.Receive(new byte[1]));
        Assert.Equal(0, client.Socket.Receive(new byte[1]));
        Assert.Equal(2, site.Server.Counters.TimeOuts);
        Assert.True(SpinWait.SpinUntil(() => site.Server.Raw!.Stack.ConnectionCount == 2, TimeSpan.FromSeconds(20)));   // half closed both
    }

    [Fact]
    public void A_server_that_stops_closes_what_it_has_lent_and_what_it_has_not()
    {
        using var site = new AnsweringServer();
        site.Documents.Set("/a", TestServer.Bytes(1000));
        site.Server.Start();
        AnsweringServer.Client[] clients = [.. Enumerable.Range(0, 200).Select(_ => site.Connect())];   // so many that some share a place, and are not lent
        foreach (AnsweringServer.Client client in clients)
        {
            for (int i = 0; i < 5; i++)
            {
                client.Get("/a");
            }
        }

        Task stopped = site.Server.StopAsync(TimeSpan.FromSeconds(60));
        foreach (AnsweringServer.Client client in clients)
        {
            Assert.Equal("", client.Receive().Head);
            client.Dispose();
        }

        Assert.True(SpinWait.SpinUntil(() => stopped.IsCompleted, TimeSpan.FromSeconds(30)));
        Assert.Equal((1000, 0), (site.Server.Counters.Requests, site.Server.Counters.ConnectionsOpen));
        Assert.Equal(0, site.Server.Counters.ConnectionsAborted);
    }

    [Fact]
    public void The_date_goes_on()
    {
        using var site = new AnsweringServer();
        site.Documents.Set("/a", TestServer.Bytes(10));
        site.Server.Start();
        using AnsweringServer.Client client = site.Connect();
        HashSet<DateTimeOffset> told = [];
        for (long start = Environment.TickCount64; (told.Count < 3 || site.Answered.Requests < 100) && Environment.TickCount64 - start < 60_000;)
        {
            DateTimeOffset before = DateTimeOffset.UtcNow;
            client.Send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
            string head = client.Receive().Head;
            int at = head.IndexOf("Date: ", StringComparison.Ordinal) + 6;
            DateTimeOffset date = DateTimeOffset.ParseExact(head.AsSpan(at, 29), "r", CultureInfo.InvariantCulture);
            Assert.True(date <= DateTimeOffset.UtcNow);
            told.Add(date);
        }

        Assert.InRange(told.Count, 3, 5);
        Assert.InRange(site.Answered.Requests, 100, long.MaxValue);
    }

    [Theory]
    [InlineData("10.9.0.2", false)]
    [InlineData("fd09::2", false)]
    [InlineData("10.9.0.2", true)]
    [InlineData("fd09::2", true)]
    public void Over_a_bad_wire_every_byte_is_right(string address, bool damages)
    {
        using var site = new AnsweringServer();
        byte[][] documents = site.SetDocuments();
        site.Server.Start();
        using BadWire wire = site.Spoil(damages);
        Parallel.For(0, 8, new ParallelOptions { MaxDegreeOfParallelism = 8 }, worker =>
        {
            var random = new Random(worker);
            using AnsweringServer.Client client = site.Connect(address);
            for (int i = 0; i < 60; i++)
            {
                int which = random.Next(20) == 0 ? 3 : worker % 3;
                Assert.Equal(documents[which], client.Get($"/{which}"));
            }
        });
        Assert.InRange(site.Answered.Requests, 100, 480);
        Assert.Equal(480, site.Server.Counters.Requests);
        Assert.True(wire.Lost > 10 && wire.Repeated > 10 && wire.Swapped > 3 && (!damages || wire.Damaged > 10));
    }

    private static int Number(byte[] text) => int.Parse(text, CultureInfo.InvariantCulture);

    private static (string Head, byte[] Body) Ask(IPEndPoint server, string request)
    {
        using Socket socket = new(server.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { ReceiveTimeout = 60_000 };
        socket.Connect(server);
        socket.Send(Encoding.ASCII.GetBytes(request));
        socket.Shutdown(SocketShutdown.Send);
        using var all = new MemoryStream();
        byte[] room = new byte[65536];
        for (int received; (received = socket.Receive(room)) > 0;)
        {
            all.Write(room, 0, received);
        }

        byte[] bytes = all.ToArray();
        int end = bytes.AsSpan().IndexOf("\r\n\r\n"u8) + 4;
        return (WithoutDate(Encoding.ASCII.GetString(bytes, 0, end)), bytes[end..]);
    }

    private static string WithoutDate(string head) => Date().Replace(head, "");

    [GeneratedRegex("Date: [^\r]*\r\n")]
    private static partial Regex Date();
}
