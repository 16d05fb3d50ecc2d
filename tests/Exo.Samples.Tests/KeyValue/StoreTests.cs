// SPDX-License-Identifier: MIT
using System.Text;
using Exo.Capabilities;
using Exo.FileSystems.CFFS;
using Exo.Simulation.Disks;
using Exo.Storage.XN;
using KeyValue;

namespace Exo.Samples.Tests.KeyValue;

/// <summary>What the store promises, by example.</summary>
public sealed class StoreTests
{
    [Fact]
    public void What_is_put_is_there_until_it_is_deleted()
    {
        using StoreBench bench = StoreBench.New();
        Assert.Null(bench.Store.Get("a"u8));
        bench.Store.Put("a"u8, "1"u8);
        bench.Store.Put("a"u8, "2"u8);
        bench.Store.Put("b"u8, ""u8);
        Assert.Equal("2"u8.ToArray(), bench.Store.Get("a"u8));
        Assert.Equal([], bench.Store.Get("b"u8)!);
        bench.Store.Delete("a"u8);
        Assert.Null(bench.Store.Get("a"u8));
        Assert.False(bench.Store.TryGet("a"u8, [], out _));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void What_was_written_is_there_after_opening_it_again(bool clean)
    {
        using StoreBench bench = StoreBench.New();
        for (int i = 0; i < 500; i++)
        {
            bench.Store.Put(StoreBench.Utf8($"key {i % 200}"), StoreBench.Utf8($"value {i}"));
        }

        SortedDictionary<string, string> before = bench.Contents();
        bench.Reopen(clean);
        Assert.Equal(before, bench.Contents());
        Assert.Equal(200, before.Count);
        bench.CheckSpace();
    }

    [Fact]
    public void Values_may_be_larger_than_a_block_or_the_cache()
    {
        using StoreBench bench = new(DiskContents.Zeroes(1200), isNew: true, options: new KeyValueOptions { LogBlocks = 64, CacheFrames = 16 });
        for (int i = 0; i < 10; i++)
        {
            bench.Store.Put(StoreBench.Utf8($"k{i}"), Encoding.UTF8.GetBytes(new string((char)('a' + i), 100_000 + i)));
        }

        bench.Store.Compact();
        Span<byte> beginning = stackalloc byte[10];
        for (int i = 0; i < 10; i++)
        {
            Assert.True(bench.Store.TryGet(StoreBench.Utf8($"k{i}"), beginning, out int length));
            Assert.Equal(100_000 + i, length);
            Assert.Equal(new string((char)('a' + i), 10), Encoding.UTF8.GetString(beginning));
        }
    }

    [Fact]
    public void A_cursor_shows_the_moment_when_it_was_opened()
    {
        using StoreBench bench = StoreBench.New();
        bench.Store.Put("a"u8, "old"u8);
        bench.Store.Put("b"u8, "old"u8);
        using KeyValueCursor cursor = bench.Store.Range([]);
        bench.Store.Put("a"u8, "new"u8);
        bench.Store.Delete("b"u8);
        for (int i = 0; i < 300; i++)
        {
            bench.Store.Put(StoreBench.Utf8($"c{i}"), new byte[100]);
        }

        bench.Store.Compact();
        Assert.Equal(new SortedDictionary<string, string> { ["a"] = "old", ["b"] = "old" }, StoreBench.Contents(cursor));
        Assert.Equal("new"u8.ToArray(), bench.Store.Get("a"u8));
    }

    [Fact]
    public void A_range_begins_and_ends_where_it_should()
    {
        using StoreBench bench = StoreBench.New();
        foreach (string key in new[] { "a", "aa", "b", "c" })
        {
            bench.Store.Put(StoreBench.Utf8(key), "x"u8);
        }

        bench.Store.Compact();
        using KeyValueCursor cursor = bench.Store.Range("aa"u8, StoreBench.Utf8("c"));
        Assert.Equal(["aa", "b"], StoreBench.Contents(cursor).Keys);
    }

    [Fact]
    public void What_a_cursor_may_come_to_stays_on_the_disk_until_it_is_closed()
    {
        using StoreBench bench = StoreBench.New();
        for (int i = 0; i < 300; i++)
        {
            bench.Store.Put(StoreBench.Utf8($"{i:000}"), new byte[100]);
        }

        bench.Store.Compact();
        long one = bench.Store.Blocks;
        using (KeyValueCursor cursor = bench.Store.Range([]))
        {
            bench.Store.Put("000"u8, "new"u8);
            bench.Store.Compact();
            Assert.True(bench.Store.Blocks > one + 5);
            Assert.Equal(300, StoreBench.Contents(cursor).Count);
        }

        bench.Store.Put("000"u8, "newer"u8);
        bench.Store.Compact();
        Assert.InRange(bench.Store.Blocks, one - 1, one + 1);
        bench.CheckSpace();
    }

    [Fact]
    public void When_everything_is_deleted_nothing_is_left()
    {
        using StoreBench bench = StoreBench.New();
        long empty = bench.Store.Blocks;
        for (int i = 0; i < 300; i++)
        {
            bench.Store.Put(StoreBench.Utf8($"{i}"), new byte[50]);
        }

        for (int i = 0; i < 300; i++)
        {
            bench.Store.Delete(StoreBench.Utf8($"{i}"));
        }

        bench.Store.Compact();
        Assert.Equal(0, bench.Store.Tables);
        Assert.Equal(empty, bench.Store.Blocks);
        Assert.Empty(bench.Contents());
    }

    [Fact]
    public void A_full_disk_refuses_and_loses_nothing()
    {
        using StoreBench bench = StoreBench.New(blocks: 260);
        Dictionary<string, int> held = [];
        KeyValueException? refused = null;
        for (int i = 0; refused is null; i++)
        {
            try
            {
                bench.Store.Put(StoreBench.Utf8($"{i}"), new byte[1000]);
                held.Add($"{i}", 1000);
            }
            catch (KeyValueException full)
            {
                refused = full;
            }
        }

        Assert.Equal(KeyValueError.Full, refused.Error);
        Assert.Equal(held.Count, bench.Contents().Count);
        bench.Reopen(clean: false);
        Assert.Equal(held.Keys.Order(StringComparer.Ordinal), bench.Contents().Keys);
        bench.CheckSpace();
    }

    [Fact]
    public void Bad_arguments_are_refused()
    {
        using StoreBench bench = StoreBench.New();
        Assert.Throws<ArgumentOutOfRangeException>(() => bench.Store.Put([], "x"u8));
        Assert.Throws<ArgumentOutOfRangeException>(() => bench.Store.Put(new byte[KeyValueStore.KeyBytesMax + 1], "x"u8));
        Assert.Throws<ArgumentException>(() => bench.Store.Put("x"u8, new byte[9 * 4096]));
        Assert.Equal(XnStatus.Exists, Assert.Throws<XnException>(() => KeyValueStore.Create(bench.Disk)).Status);
        Assert.Equal(KeyValueError.NotFound, Assert.Throws<KeyValueException>(() => KeyValueStore.Open(bench.Disk, "other")).Error);
        bench.Store.Put(new byte[KeyValueStore.KeyBytesMax], "x"u8);
        bench.Store.Compact();
        Assert.Equal("x"u8.ToArray(), bench.Store.Get(new byte[KeyValueStore.KeyBytesMax]));
    }

    [Fact]
    public void Somebody_else_of_the_disk_may_not_touch_the_store()
    {
        using StoreBench bench = StoreBench.New();
        RootEntry root = bench.Disk.Roots.Single();
        Credential stranger = Credential.Of(bench.Disk.Frames.RootCredential.Capabilities[0].Forge(CapabilityName.Create("stranger"u8), Rights.All));
        Assert.Throws<XnException>(() => bench.Disk.OpenRoot(stranger, root.Name));
        XnTransaction change = new();
        change.Write(root.Block, 16, [1]);
        Assert.Equal(XnStatus.AccessDenied, bench.Disk.Apply(stranger, change));
    }

    [Fact]
    public void A_file_system_and_a_store_share_a_disk()
    {
        using StoreBench bench = new(DiskContents.Zeroes(4000), isNew: true, xnLogBlocks: 64);
        using (CffsVolume files = CffsVolume.Create(bench.Disk, "files", new CffsCreateOptions()))
        {
            for (int i = 0; i < 200; i++)
            {
                files.WriteAllBytes($"/{i}", new byte[i * 37]);
                bench.Store.Put(StoreBench.Utf8($"{i}"), new byte[i * 3]);
                if (i % 50 == 49)
                {
                    files.Sync();
                    bench.Store.Compact();
                }
            }

            for (int i = 0; i < 200; i += 2)
            {
                files.RemoveFile($"/{i}");
                bench.Store.Delete(StoreBench.Utf8($"{i}"));
            }
        }

        bench.Reopen(clean: true);
        using CffsVolume again = CffsVolume.Open(bench.Disk, "files");
        Assert.Equal(100, bench.Contents().Count);
        Assert.Equal(100, again.ReadDirectory("/").Count(entry => entry.Name.Length > 0 && char.IsAsciiDigit((char)entry.Name.Span[0])));
        Assert.Equal(new byte[199 * 37], again.ReadAllBytes("/199"));
        Assert.Equal(new byte[199 * 3], bench.Store.Get("199"u8));
    }

    [Fact]
    public void Many_callers_share_flushes()
    {
        using StoreBench bench = new(DiskContents.Zeroes(4000), isNew: true, options: new KeyValueOptions { LogBlocks = 512 });
        Thread[] callers = [.. Enumerable.Range(0, 8).Select(caller => new Thread(() =>
        {
            for (int i = 0; i < 100; i++)
            {
                bench.Store.Put(StoreBench.Utf8($"{caller}/{i}"), StoreBench.Utf8($"{i}"));
                Assert.Equal(StoreBench.Utf8($"{i}"), bench.Store.Get(StoreBench.Utf8($"{caller}/{i}")));
            }
        }))];
        Array.ForEach(callers, caller => caller.Start());
        Array.ForEach(callers, caller => caller.Join());
        bench.Reopen(clean: false);
        Assert.Equal(800, bench.Contents().Count);
    }
}
