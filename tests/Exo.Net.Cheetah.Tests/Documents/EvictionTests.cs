// SPDX-License-Identifier: MIT
using System.Text;
using CsCheck;
using Exo.Core.Memory;
using Exo.Net.Cheetah.Tests.Raw;
using Exo.Net.Cheetah.Tests.Sockets;
using Exo.Tests;

namespace Exo.Net.Cheetah.Tests.Documents;

/// <summary>Policies of applications: one that keeps folders together, and some that are wrong.</summary>
public class EvictionTests
{
    /// <summary>LRU of folders: a page goes with what belongs to it. A hit writes one number, unless the folder was the last one used.</summary>
    internal sealed class LeastUsedFolder : IEvictionPolicy
    {
        private readonly Dictionary<string, Folder> folders = [];
        private long uses = 1;

        public void Added(CachedDocument document)
        {
            string path = Encoding.UTF8.GetString(document.Path.Span), name = path[..path.LastIndexOf('/')];
            if (!folders.TryGetValue(name, out Folder? folder))
            {
                folders.Add(name, folder = new Folder());
            }

            document.PolicyState = folder;
            folder.Documents.Add(document);
            Used(document);
        }

        public void Used(CachedDocument document)
        {
            var folder = (Folder)document.PolicyState!;
            if (Volatile.Read(ref folder.LastUse) != Volatile.Read(ref uses))
            {
                Volatile.Write(ref folder.LastUse, Interlocked.Increment(ref uses));
            }
        }

        public void Removed(CachedDocument document) => ((Folder)document.PolicyState!).Documents.Remove(document);

        public CachedDocument? Victim() =>
            folders.Values.OrderBy(folder => Volatile.Read(ref folder.LastUse)).SelectMany(folder => folder.Documents).FirstOrDefault(document => !document.IsInUse);

        private sealed class Folder
        {
            public long LastUse;

            public List<CachedDocument> Documents { get; } = [];
        }
    }

    /// <summary>Says whatever comes to its mind.</summary>
    internal sealed class Wrong(Random random) : IEvictionPolicy
    {
        private readonly List<CachedDocument> seen = [];

        public void Added(CachedDocument document)
        {
            Fail();
            seen.Add(document);
        }

        public void Used(CachedDocument document) => Fail();

        public void Removed(CachedDocument document) => Fail();

        public CachedDocument? Victim()
        {
            Fail();
            return seen.Count == 0 || random.Next(3) == 0 ? null : seen[random.Next(seen.Count)];   // long gone, in use, or in the cache
        }

        private void Fail()
        {
            if (random.Next(8) == 0)
            {
                throw new InvalidOperationException("a fault of the policy's");
            }
        }
    }

    private static readonly string[] Paths = ["/a/1", "/a/2", "/b/1", "/b/2", "/c/1", "/c/2"];

    [Fact]
    public async Task A_servers_policy_chooses_on_sockets()
    {
        await using var server = new TestServer(options: new CheetahServerOptions { EndPoint = TestServer.Options().EndPoint, CacheBytes = 4 * 5500, EvictionPolicy = () => new LeastUsedFolder() });
        Chooses(server.Documents, server.Server, path =>
        {
            using RawClient client = server.Connect();
            client.Send($"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
            return client.ReadResponse().Body;
        });
    }

    [Fact]
    public void A_servers_policy_chooses_on_a_raw_device()
    {
        using var site = new RawServerTests.Site(cacheBytes: 4 * 5500, policy: () => new LeastUsedFolder());
        Chooses(site.Documents, site.Server, path => RawServerTests.Body(site.Get($"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")));
    }

    private static void Chooses(MemoryDocumentSource documents, CheetahServer server, Func<string, byte[]> get)
    {
        for (int i = 0; i < Paths.Length; i++)
        {
            documents.Set(Paths[i], TestServer.Bytes(4096, i));
        }

        // There is room for four. The last one of a folder has been used, the other one goes with it all the same: CLOCK would have kept it.
        Get("/a/1", misses: 1);
        Get("/a/2", misses: 2);
        Get("/b/1", misses: 3);
        Get("/b/2", misses: 4);
        Get("/a/2", misses: 4);
        Get("/c/1", misses: 5);
        Get("/c/2", misses: 6);
        Assert.Equal(2, server.Counters.CacheEvictions);
        Get("/a/1", misses: 6);
        Get("/a/2", misses: 6);
        Get("/b/1", misses: 7);

        void Get(string path, long misses)
        {
            Assert.Equal(TestServer.Bytes(4096, Array.IndexOf(Paths, path)), get(path));
            Assert.Equal(misses, server.Counters.CacheMisses);
        }
    }

    [Fact]
    public void Hits_allocate_nothing_whatever_the_policy()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 4 << 20 });
        using var source = new MemoryDocumentSource(frames);
        source.Set("/a/1", new byte[4096]);
        source.Set("/b/1", new byte[4096]);
        foreach (IEvictionPolicy policy in (IEvictionPolicy[])[new ClockEviction(), new LeastUsedFolder()])
        {
            using var cache = new DocumentCache(frames, source, budgetBytes: 20_000, CancellationToken.None, policy: policy);
            DocumentCacheTests.Get(cache, "/a/1")!.Release();
            DocumentCacheTests.Get(cache, "/b/1")!.Release();
            void Hit(int count)
            {
                for (int i = 0; i < count; i++)
                {
                    Assert.True(cache.TryGet(i % 2 == 0 ? "/a/1"u8 : "/b/1"u8, out Document? document));
                    document.Release();
                }
            }

            Hit(1000);
            Assert.Equal(0, Allocations.Least(() => Hit(10_000)));
        }
    }

    [Fact]
    public void Whatever_a_policy_says_what_is_served_is_right_and_every_frame_comes_back() =>
        Gen.Select(Gen.Int, Gen.Int[0, 5].Array[0, 60]).Sample((seed, asked) =>
        {
            var random = new Random(seed);
            using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 1 << 20 });
            using (var source = new MemoryDocumentSource(frames))
            using (var cache = new DocumentCache(frames, source, budgetBytes: 12_000, CancellationToken.None, policy: new Wrong(random)))
            {
                var held = new List<(Document Document, int Name)>();
                for (int i = 0; i < Paths.Length; i++)
                {
                    source.Set(Paths[i], TestServer.Bytes(2000 + i, i));
                }

                foreach (int name in asked)
                {
                    Document document = DocumentCacheTests.Get(cache, Paths[name])!;
                    Assert.Equal(TestServer.Bytes(2000 + name, name), document.BytesAt(0, 4000));
                    held.Add((document, name));
                    if (random.Next(4) > 0)
                    {
                        int which = random.Next(held.Count);
                        Assert.Equal(TestServer.Bytes(2000 + held[which].Name, held[which].Name), held[which].Document.BytesAt(0, 4000));
                        held[which].Document.Release();
                        held.RemoveAt(which);
                    }

                    Assert.InRange(cache.UsedBytes, 0, 12_000);
                }

                held.ForEach(one => one.Document.Release());
            }

            Assert.Equal(frames.FrameCount, frames.FreeCount);
        }, iter: 1000, threads: 1);
}
