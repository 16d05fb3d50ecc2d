// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.RegularExpressions;
using Exo.Capabilities;
using Exo.Core.AddressSpaces;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS;
using Exo.Storage.XN;
using Exo.Tests;

namespace Exo.EndToEnd.Tests;

/// <summary>The samples of docs/address-spaces.md are the texts of methods here, in the same order, and they run.</summary>
public sealed class AddressSpaceSampleTests
{
    [Fact]
    public void A_file_is_mapped_lazily_from_the_cache_of_its_file_system()
    {
        using FramePool frames = FramePool.Create();
        using MemoryBlockDevice device = new(frames, blockCount: 4096);
        using CffsVolume volume = CffsVolume.Create(device);
        byte[] text = Encoding.ASCII.GetBytes(string.Concat(Enumerable.Range(0, 40_000).Select(i => $"{i,8}")));
        volume.WriteAllBytes("/book.txt", text);
        StringWriter Console = new() { NewLine = "\n" };

        // <sample>
        using CffsFile file = volume.OpenFile("/book.txt", CffsOpenMode.Read);
        using AddressSpace book = AddressSpace.Reserve(frames, lengthBytes: 1 << 20, (in PageFault fault) =>
        {
            if (fault.Kind != PageFaultKind.Missing || fault.Page * 4096L >= file.Length)
            {
                return false;                                                           // a write, or beyond the end: refused
            }

            using CffsLease lease = file.Lease(fault.Page * 4096L, 4096);
            fault.Space.Bind(frames.RootCredential, fault.Page, lease.Runs[0].First, PageAccess.Read);
            return true;
        });

        byte[] word = new byte[8];
        book.Read(offsetBytes: 200_000, word);                                          // brings in one page
        Console.WriteLine($"{Encoding.ASCII.GetString(word)}, {book.BoundPages} page in");
        // </sample>
        Assert.Equal("   25000, 1 page in\n", Console.ToString());

        // The frame is the cache's own; a write to the file leaves what is mapped alone.
        Assert.True(frames.ReferenceCount(book.Translations[200_000 / 4096].Frame) > 1);
        volume.WriteAllBytes("/book.txt", new byte[text.Length]);
        book.Read(200_000, word);
        Assert.Equal("   25000", Encoding.ASCII.GetString(word));
        Assert.Throws<PageFaultException>(() => book.Write(200_000, word));
        Assert.Throws<PageFaultException>(() => book.Read(1_000_000, word));

        if (book.DeliversKernelFaults)
        {
            byte[] page = Window.Bytes(book, 0, 8);
            Assert.Equal(new byte[8], page);
        }
    }

    [Fact]
    public void A_heap_larger_than_its_frames_pages_to_blocks_of_its_own()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 2 << 20 });
        using MemoryBlockDevice device = new(frames, blockCount: 1024);
        using XnVolume disk = XnVolume.Format(device);
        Credential key = frames.RootCredential;
        TemplateId[] templates = disk.InstallTemplates(key, [List, new TemplateSource { Name = "pages" }]);
        BlockNumber list = disk.CreateRoot(key, templates[0], hint: default, contents: default);
        const int slot = 7;
        BlockExtent swap = new(new BlockNumber(600), 64);
        XnTransaction allocate = new();
        allocate.Write(list, slot * 16, [.. BitConverter.GetBytes(swap.First.Value), .. BitConverter.GetBytes(swap.Count), .. BitConverter.GetBytes(1)]);
        allocate.ClaimAllocate(swap, templates[1], list, slot);
        Assert.Equal(XnStatus.Ok, disk.Apply(key, allocate));
        int before = frames.FreeCount;

        // <sample>
        Queue<int> resident = new();
        bool[] stored = new bool[64];
        using AddressSpace heap = AddressSpace.Reserve(frames, lengthBytes: 64 * 4096, (in PageFault fault) =>
        {
            if (resident.Count == 8)
            {
                List<BlockNumber> leaving = [], written = [];
                for (int i = 0; i < 4; i++)
                {
                    int victim = resident.Dequeue();
                    fault.Space.TryUnbind(victim, out Translation was);                 // from here on nobody writes it
                    leaving.Add(swap.First + (ulong)victim);
                    if (was.IsDirty)
                    {
                        disk.MarkDirty(key, leaving[^1], 1);
                        written.Add(leaving[^1]);
                        stored[victim] = true;
                    }
                }

                written.Sort();
                disk.WriteBack(key, written.ToArray());
                disk.Flush();
                leaving.ForEach(block => disk.Unbind(key, block));                      // and their frames are free
            }

            BlockExtent block = new(swap.First + (ulong)fault.Page, 1);
            frames.TryAllocate(frames.RootCredential, out FrameNumber frame);
            if (stored[fault.Page])
            {
                FrameNumber[] one = [frame];
                disk.Read(key, [new XnReadRequest(list, slot, block)], one, out _);
            }
            else
            {
                disk.BindOverwrite(key, new XnReadRequest(list, slot, block), [frame]);
                frames.Bytes(frame).Clear();
            }

            resident.Enqueue(fault.Page);
            fault.Space.Bind(frames.RootCredential, fault.Page, frame, PageAccess.Write);
            if (stored[fault.Page])
            {
                fault.Space.ClearDirty(fault.Page);
            }

            return true;
        });
        // </sample>
        byte[] model = new byte[64 * 4096];
        Random random = new(20261129);
        byte[] bytes = new byte[300];
        for (int i = 0; i < 2000; i++)
        {
            int at = random.Next(model.Length - bytes.Length);
            if (random.Next(2) == 0)
            {
                random.NextBytes(bytes);
                bytes.CopyTo(model, at);
                heap.Write(at, bytes);
            }
            else
            {
                heap.Read(at, bytes);
                Assert.Equal(model[at..(at + bytes.Length)], bytes);
            }
        }

        Assert.True(before - frames.FreeCount <= 8 + 64, $"{before - frames.FreeCount} frames are in use");
        Assert.True(heap.FaultsDelivered > 500);
        if (heap.DeliversKernelFaults)
        {
            Assert.Equal(model, Window.Bytes(heap, 0, model.Length));
        }
    }

    [Fact]
    public async Task A_snapshot_shows_one_moment_while_a_writer_goes_on()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });
        StringWriter Console = new() { NewLine = "\n" };

        // <sample>
        PageFaultUpcall copies = (in PageFault fault) =>
        {
            frames.TryAllocate(frames.RootCredential, out FrameNumber fresh, zero: fault.Kind == PageFaultKind.Missing);
            if (fault.Kind == PageFaultKind.CopyOnWrite)
            {
                fault.Space.CopyPage(frames.RootCredential, fault.Page, fresh);
            }
            else
            {
                fault.Space.Bind(frames.RootCredential, fault.Page, fresh, PageAccess.Write);
            }

            frames.Release(fresh);                                                      // the page holds it
            return true;
        };
        using AddressSpace live = AddressSpace.Reserve(frames, lengthBytes: 64 * 4096, copies);
        Count(live, round: 1);                                                          // writes 1 into every page, from the first to the last
        Task writer = Task.Run(() => Count(live, round: 2, rounds: 500));               // then 2, then 3
        for (int i = 0; i < 10; i++)
        {
            using AddressSpace snapshot = live.Fork();
            Console.WriteLine(IsOneMoment(snapshot));                                   // the same count in every page, or one less from some page on
        }

        await writer;
        // </sample>
        Assert.Equal(string.Concat(Enumerable.Repeat("True\n", 10)), Console.ToString());
        Assert.True(IsOneMoment(live));
        Assert.Equal(frames.FrameCount - 64, frames.FreeCount);
    }

    [Fact]
    public void The_samples_on_the_page_are_those_that_run()
    {
        string here = ThisFile();
        string page = File.ReadAllText(Path.Combine(Path.GetDirectoryName(here)!, "../../docs/address-spaces.md"));
        string[][] onPage = [.. Regex.Matches(page, "```csharp\n(.*?)```", RegexOptions.Singleline).Select(match => Lines(match.Groups[1].Value))];
        string[][] run = [.. Regex.Matches(File.ReadAllText(here), "// <sample>\n(.*?)// </sample>", RegexOptions.Singleline).Select(match => Lines(match.Groups[1].Value))];
        Assert.Equal(onPage, run);
    }

    private static TemplateSource List => ListTemplate.Of("pages");

    private static void Count(AddressSpace space, long round, int rounds = 1)
    {
        for (long each = round; each < round + rounds; each++)
        {
            for (int page = 0; page < space.PageCount; page++)
            {
                space.Write(page * 4096L, BitConverter.GetBytes(each));
            }
        }
    }

    private static bool IsOneMoment(AddressSpace space)
    {
        long[] counts = new long[space.PageCount];
        byte[] bytes = new byte[8];
        for (int page = 0; page < counts.Length; page++)
        {
            space.Read(page * 4096L, bytes);
            counts[page] = BitConverter.ToInt64(bytes);
        }

        return counts[0] - counts[^1] is 0 or 1 && counts.SequenceEqual(counts.OrderDescending());
    }

    private static string[] Lines(string text) => [.. text.Split('\n').Select(line => line.Trim()).Where(line => line.Length > 0)];

    private static string ThisFile([CallerFilePath] string path = "") => path;

    /// <summary>The window as the kernel sees it, with a pager of its own.</summary>
    private static class Window
    {
        public static unsafe byte[] Bytes(AddressSpace space, long offsetBytes, int lengthBytes)
        {
            using CancellationTokenSource done = new();
            Thread pager = new(() => space.ServeFaults(done.Token)) { IsBackground = true };
            pager.Start();
            string path = Path.GetTempFileName();
            try
            {
                using (FileStream file = new(path, FileMode.Open, FileAccess.Write, FileShare.None, bufferSize: 0))
                {
                    file.Write(new ReadOnlySpan<byte>((void*)(space.BaseAddress + (nint)offsetBytes), lengthBytes));
                }

                return File.ReadAllBytes(path);
            }
            finally
            {
                File.Delete(path);
                done.Cancel();
                pager.Join();
            }
        }
    }
}
