// SPDX-License-Identifier: MIT
using System.Text;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS;
using Exo.Net.Cheetah.Pages;

namespace Exo.Net.Cheetah.Tests.Documents.Pages;

/// <summary>How many requests the disk gets for a cold page and what it includes.</summary>
public sealed class PageFetchTests : IDisposable
{
    private const int Pages = 6;
    private const int Pictures = 4;

    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 48 << 20 });
    private readonly MemoryBlockDevice _disk;

    public PageFetchTests() => _disk = new MemoryBlockDevice(_frames, blockCount: 6000);

    public void Dispose()
    {
        _disk.Dispose();
        _frames.Dispose();
    }

    private static string Page(int page) => $"<link rel=stylesheet href=/css/main.css><script src=/js/main.js></script>{string.Concat(Enumerable.Range(0, Pictures).Select(i => $"<img src=/img{i}/{page}.png>"))}";

    private static string[] IncludesOf(int page) => ["/css/main.css", "/js/main.js", .. Enumerable.Range(0, Pictures).Select(i => $"/img{i}/{page}.png"), "/css/base.css", "/css/back.png"];

    private static byte[] Contents(string path)
    {
        byte[] bytes = new byte[5000 + (path.Length * 300)];
        new Random(path.Length).NextBytes(bytes);
        string text = path switch
        {
            "/css/main.css" => "@import 'base.css'; body { background: url(back.png) } /*",
            _ when path.EndsWith(".html", StringComparison.Ordinal) => Page(path[2] - '0') + "<plaintext>",
            _ => "",
        };
        Encoding.ASCII.GetBytes(text).CopyTo(bytes, 0);
        return bytes;
    }

    /// <summary>Pages and pictures in turns, so that directories alone bring nothing of a page together; or each page as one run.</summary>
    private void MakeSite(bool isGrouped)
    {
        using CffsVolume volume = CffsVolume.Create(_disk, new CffsCreateOptions { Seed = 1 });
        foreach (string directory in new[] { "/css", "/js" }.Concat(Enumerable.Range(0, Pictures).Select(i => $"/img{i}")))
        {
            volume.CreateDirectory(directory);
        }

        HashSet<string> made = [];
        for (int page = 0; page < Pages; page++)
        {
            string[] paths = [.. IncludesOf(page).Prepend($"/p{page}.html").Where(made.Add)];
            using CffsPlacement placement = volume.SetAside(isGrouped ? paths.Sum(path => (Contents(path).Length + 4095) / 4096 * 4096L) : 0);
            foreach (string path in paths)
            {
                using CffsFile file = volume.OpenFile(path, CffsOpenMode.Write | CffsOpenMode.CreateNew);
                if (isGrouped)
                {
                    file.PlaceIn(placement);
                }

                file.Write(0, Contents(path));
            }
        }
    }

    private CffsVolume OpenWithMetadata()
    {
        CffsVolume volume = CffsVolume.Open(_disk, new CffsOpenOptions { ReadOnly = true });
        for (int page = 0; page < Pages; page++)
        {
            foreach (string path in IncludesOf(page).Prepend($"/p{page}.html"))
            {
                _ = volume.Stat(path);
            }
        }

        return volume;
    }

    private sealed class Waiter : IDocumentWaiter
    {
        private readonly TaskCompletionSource<DocumentResult> _result = new();

        public Task<DocumentResult> Result => _result.Task;

        public void Complete(DocumentResult result) => _result.SetResult(result);
    }

    private static async Task Get(DocumentCache cache, string path)
    {
        Waiter waiter = new();
        DocumentResult result = cache.TryLoad(Encoding.ASCII.GetBytes(path), waiter, out DocumentResult atOnce) ? atOnce : await waiter.Result;
        Assert.Equal(DocumentResultStatus.Found, result.Status);
        byte[] bytes = new byte[result.Document!.LengthBytes];
        Assert.Equal(Contents(path).Length, bytes.Length);
        result.Document.Release();
        await cache.WhenIdleAsync();
    }

    /// <summary>Requests for each page, and for what it includes when the page has come.</summary>
    private async Task<List<(long Page, long Includes)>> Fetch(bool fetches)
    {
        List<(long, long)> requests = [];
        using CffsVolume volume = OpenWithMetadata();
        using DocumentCache cache = new(_frames, new CffsDocumentSource(volume) { FetchesIncludes = fetches }, budgetBytes: 16 << 20, TestContext.Current.CancellationToken);
        for (int page = 0; page < Pages; page++)
        {
            long before = _disk.Counters.Reads;
            await Get(cache, $"/p{page}.html");
            long with = _disk.Counters.Reads;
            foreach (string path in IncludesOf(page))
            {
                await Get(cache, path);
            }

            requests.Add((with - before, _disk.Counters.Reads - with));
        }

        return requests;
    }

    [Fact]
    public async Task A_page_that_was_placed_with_what_it_includes_is_one_request()
    {
        MakeSite(isGrouped: true);
        List<(long Page, long Includes)> requests = await Fetch(fetches: true);

        // The first one brings what all share, its style sheet's in one more; two say that what is included lies behind the page.
        Assert.Equal((3, 0), requests[0]);
        Assert.Equal((2, 0), requests[1]);
        Assert.All(requests.Skip(2), page => Assert.Equal((1, 0), page));
        foreach (int page in Enumerable.Range(0, Pages))
        {
            using CffsVolume volume = OpenWithMetadata();
            Assert.All(IncludesOf(page), path => Assert.Equal(Contents(path), volume.ReadAllBytes(path)));
        }
    }

    [Fact]
    public async Task Without_placement_what_a_page_includes_comes_with_it_by_many()
    {
        MakeSite(isGrouped: false);
        List<(long Page, long Includes)> requests = await Fetch(fetches: true);
        Assert.All(requests, page => Assert.Equal(0, page.Includes));
        Assert.All(requests, page => Assert.InRange(page.Page, 1 + Pictures, 12));
    }

    [Fact]
    public async Task Without_fetching_each_file_is_asked_for_by_itself()
    {
        MakeSite(isGrouped: true);
        List<(long Page, long Includes)> requests = await Fetch(fetches: false);
        Assert.True(requests[0].Includes >= Pictures, $"{requests[0]}");
    }

    [Fact]
    public async Task What_others_may_not_see_is_not_fetched_and_what_is_not_there_is_no_harm()
    {
        byte[] page = Encoding.ASCII.GetBytes("<img src=/private.png><img src=/missing.png><img src=/folder><img src=/loop.png><img src=/../out.png><img src=/open.png>" + new string(' ', 3000));
        using (CffsVolume volume = CffsVolume.Create(_disk, new CffsCreateOptions { Seed = 1 }))
        {
            volume.CreateDirectory("/site");
            volume.CreateDirectory("/site/folder");
            volume.CreateSymbolicLink("/site/loop.png", "loop.png");
            volume.WriteAllBytes("/out.png", new byte[9000]);
            volume.WriteAllBytes("/site/page.html", page);
            volume.WriteAllBytes("/site/private.png", new byte[9000], 0x180);
            volume.WriteAllBytes("/site/open.png", new byte[9000]);
        }

        using CffsVolume again = CffsVolume.Open(_disk, new CffsOpenOptions { ReadOnly = true });
        foreach (string path in new[] { "/site/folder", "/site/page.html", "/site/private.png" })
        {
            _ = again.Stat(path);
        }

        CffsDocumentSource source = new(again, "/site");
        long before = _disk.Counters.BlocksRead;
        DocumentLookup lookup = await source.FindAsync("/page.html"u8.ToArray(), TestContext.Current.CancellationToken);
        using DocumentContent content = lookup.Content!;
        Assert.True(((IPageSource)source).IsColdPage(content));
        await ((IPageSource)source).FetchIncludesAsync("/page.html"u8.ToArray(), content, TestContext.Current.CancellationToken);
        Assert.Equal(1 + 3, _disk.Counters.BlocksRead - before);

        // What is in core is no cold page.
        DocumentLookup second = await source.FindAsync("/page.html"u8.ToArray(), TestContext.Current.CancellationToken);
        Assert.False(((IPageSource)source).IsColdPage(second.Content!));
        second.Content!.Dispose();
    }
}
