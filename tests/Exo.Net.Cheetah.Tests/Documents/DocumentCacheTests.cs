// SPDX-License-Identifier: MIT
using System.Text;
using CsCheck;
using Exo.Core.Memory;

namespace Exo.Net.Cheetah.Tests.Documents;

public class DocumentCacheTests
{
    private sealed class Nobody : IDocumentWaiter
    {
        public void Complete(DocumentResult result) => Assert.Fail("The source answers at once.");
    }

    internal static Document? Get(DocumentCache cache, string path)
    {
        byte[] key = Encoding.UTF8.GetBytes(path);
        if (cache.TryGet(key, out Document? document))
        {
            return document;
        }

        Assert.True(cache.TryLoad(key, new Nobody(), out DocumentResult result));
        return result.Document;
    }

    [Fact]
    public void A_document_in_use_is_passed_over_and_one_used_lately_outlives_one_that_was_not()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 4 << 20 });
        using var source = new MemoryDocumentSource(frames);
        foreach (string name in (string[])["/a", "/b", "/c", "/d"])
        {
            source.Set(name, new byte[4096]);
        }

        using var cache = new DocumentCache(frames, source, budgetBytes: 3 * 5500, CancellationToken.None);
        Document held = Get(cache, "/a")!;
        Get(cache, "/b")!.Release();
        Get(cache, "/c")!.Release();
        Get(cache, "/c")!.Release();   // a hit: marked
        Get(cache, "/d")!.Release();   // one must go: /a is in use, /c is marked
        Assert.Equal(1, cache.EvictionCount);
        Assert.True(cache.TryGet("/a"u8, out Document? a));
        Assert.False(cache.TryGet("/b"u8, out _));
        Assert.True(cache.TryGet("/c"u8, out Document? c));
        Assert.True(cache.TryGet("/d"u8, out Document? d));
        foreach (Document document in (Document[])[a, c, d, held])
        {
            document.Release();
        }
    }

    [Fact]
    public void When_all_is_in_use_a_document_is_served_and_not_kept()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 4 << 20 });
        using var source = new MemoryDocumentSource(frames);
        source.Set("/a", new byte[4096]);
        source.Set("/b", new byte[4096]);
        source.Set("/huge", new byte[100_000]);
        using var cache = new DocumentCache(frames, source, budgetBytes: 6000, CancellationToken.None);
        Document a = Get(cache, "/a")!, b = Get(cache, "/b")!, huge = Get(cache, "/huge")!;
        Assert.Equal((1, 1, 1), (b.Holders, huge.Holders, a.Holders - 1));
        a.Release();
        b.Release();
        huge.Release();
        Assert.Equal(0, cache.EvictionCount);
    }

    private enum Step
    {
        Set,
        Remove,
        Get,
        Release,
    }

    [Fact]
    public void Any_history_gives_what_the_source_holds_and_gives_every_frame_back() =>
        Gen.Select(Gen.Enum<Step>(), Gen.Int[0, 5], Gen.Int[0, 9000]).Array[0, 80].Sample(steps =>
        {
            using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 1 << 20 });
            var source = new MemoryDocumentSource(frames);
            var cache = new DocumentCache(frames, source, budgetBytes: 20_000, CancellationToken.None);
            var model = new Dictionary<string, (int Length, byte Fill)>();
            var held = new List<(Document Document, int Length, byte Fill)>();
            byte fill = 0;
            foreach ((Step step, int name, int length) in steps)
            {
                string path = $"/{name}";
                switch (step)
                {
                    case Step.Set when held.Count < 20:
                        byte[] bytes = new byte[length];
                        Array.Fill(bytes, ++fill);
                        source.Set(path, bytes);
                        model[path] = (length, fill);
                        break;
                    case Step.Remove:
                        Assert.Equal(model.Remove(path), source.Remove(path));
                        break;
                    case Step.Get:
                        Document? document = Get(cache, path);
                        Assert.Equal(model.TryGetValue(path, out (int Length, byte Fill) expected), document is not null);
                        if (document is not null)
                        {
                            held.Add((document, expected.Length, expected.Fill));
                        }

                        break;
                    case Step.Release when held.Count > 0:
                        (Document last, int heldLength, byte heldFill) = held[name % held.Count];
                        Assert.Equal(heldLength, last.LengthBytes);
                        Assert.True(heldLength == 0 || !last.BytesAt(0, 9000).ContainsAnyExcept(heldFill));
                        last.Release();
                        held.RemoveAt(name % held.Count);
                        break;
                }

                Assert.InRange(cache.UsedBytes, 0, 20_000);
            }

            held.ForEach(h => h.Document.Release());
            cache.Dispose();
            source.Dispose();
            Assert.Equal(frames.FrameCount, frames.FreeCount);
        }, iter: 200);
}
