// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Simulation.Disks;
using Exo.Simulation.Faults;

namespace Exo.FileSystems.CFFS.Tests.Concurrency;

/// <summary>
/// Who has what he wants in the cache does not wait for the disk, whatever others do there: their requests are held at a gate while he works. A test that fails here fails by its time-out.
/// </summary>
public sealed class HeldDiskTests : IDisposable
{
    private static readonly byte[] s_page = [.. Enumerable.Repeat((byte)7, 9000)];

    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
    private readonly SimulatedBlockDevice _memory;
    private readonly GatedBlockDevice _disk;
    private readonly CffsVolume _volume;

    public HeldDiskTests()
    {
        _memory = new SimulatedBlockDevice(_frames, DiskContents.Zeroes(4096));
        using (CffsVolume made = CffsVolume.Create(_memory, new CffsCreateOptions { Seed = 1 }))
        {
            made.CreateDirectory("/hot");
            made.CreateDirectory("/cold");
            made.CreateDirectory("/cold/deep");
            made.WriteAllBytes("/hot/page", s_page);
            made.WriteAllBytes("/hot/tiny", new byte[50]);
            made.WriteAllBytes("/cold/page", new byte[200_000]);
            made.WriteAllBytes("/cold/deep/page", new byte[9000]);
            made.CreateDirectory("/many");
            for (int i = 0; i < 4; i++)
            {
                made.WriteAllBytes($"/many/{i}", Enumerable.Repeat((byte)(i + 1), 3000).ToArray());
            }
        }

        _disk = new GatedBlockDevice(_memory);
        _volume = CffsVolume.Open(_disk);
        ReadHot();
    }

    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    public void Dispose()
    {
        _disk.Open();
        _volume.Dispose();
        _disk.Dispose();
        _memory.Dispose();
        _frames.Dispose();
    }

    [Theory]
    [InlineData("/cold/page")]
    [InlineData("/cold/deep/page")]
    public async Task A_hit_does_not_wait_for_a_miss(string missed)
    {
        _disk.Close((operation, _) => operation == BlockOperation.Read);
        Task<byte[]> miss = Start(() => _volume.ReadAllBytes(missed));
        _disk.WaitForHeld(Cancelled);
        await ReadHotWhileHeld();
        Assert.False(miss.IsCompleted);
        _disk.Open();
        await miss;
    }

    [Theory]
    [InlineData(BlockOperation.Write)]
    [InlineData(BlockOperation.Flush)]
    public async Task A_hit_does_not_wait_for_a_commit(BlockOperation held)
    {
        // What is too much for the commit log is written in place and flushed.
        _volume.WriteAllBytes("/cold/new", new byte[held == BlockOperation.Flush ? 3_000_000 : 100_000]);
        _volume.WriteAllBytes("/hot/new", new byte[100]);
        _disk.Close((operation, _) => operation == held);
        Task sync = Start(_volume.Sync);
        _disk.WaitForHeld(Cancelled);

        // Others want to change something, and wait for the commit: who only reads does not wait with them.
        Task create = Start(() => _volume.WriteAllBytes("/hot/another", new byte[100]));
        Task rename = Start(() => _volume.Rename("/cold/new", "/hot/renamed"));
        await ReadHotWhileHeld();
        Assert.False(sync.IsCompleted);
        _disk.Open();
        await Task.WhenAll(sync, create, rename);
        Assert.True(_volume.Exists("/hot/renamed"));
    }

    [Fact]
    public async Task A_hit_does_not_wait_for_a_change_that_waits_for_the_disk()
    {
        // The name has just been left, so it is taken again only when that is durable: the rename commits while it holds its locks.
        _volume.WriteAllBytes("/cold/a", new byte[100]);
        _volume.WriteAllBytes("/cold/b", new byte[100]);
        _volume.Sync();
        _volume.Rename("/cold/a", "/cold/deep/a");
        _disk.Close((operation, _) => operation is BlockOperation.Write or BlockOperation.Flush);
        Task rename = Start(() => _volume.Rename("/cold/b", "/cold/a"));
        _disk.WaitForHeld(Cancelled);
        await ReadHotWhileHeld();
        Assert.False(rename.IsCompleted);
        _disk.Open();
        await rename;
    }

    [Fact]
    public async Task A_hit_does_not_wait_for_a_write_that_reads_first()
    {
        _disk.Close((operation, _) => operation == BlockOperation.Read);
        Task write = Start(() =>
        {
            using CffsFile file = _volume.OpenFile("/cold/page", CffsOpenMode.Write);
            file.Write(5000, new byte[10]);
        });
        _disk.WaitForHeld(Cancelled);
        await ReadHotWhileHeld();
        Assert.False(write.IsCompleted);
        _disk.Open();
        await write;
    }

    /// <summary>A file is made faster than the disk takes it: what is handed to the disk is not waited for until somebody commits, and may change meanwhile.</summary>
    [Fact]
    public async Task Who_writes_a_long_file_goes_on_while_it_is_written()
    {
        byte[] bytes = new byte[9 << 20];
        new Random(1).NextBytes(bytes);
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 48 << 20 });
        using SimulatedBlockDevice memory = new(frames, DiskContents.Zeroes(8192));
        using GatedBlockDevice disk = new(memory);
        using (CffsVolume volume = CffsVolume.Create(disk, new CffsCreateOptions { Seed = 1 }))
        {
            using CffsFile file = volume.OpenFile("/long", CffsOpenMode.Create | CffsOpenMode.ReadWrite);
            disk.Close((operation, _) => operation == BlockOperation.Write);
            await Start(() =>
            {
                file.Write(0, bytes.AsMemory(0, 7 << 20));

                // Twice in what is being written.
                bytes.AsSpan(70_000, 9000).Fill(7);
                file.Write(70_000, bytes.AsMemory(70_000, 9000));
                bytes.AsSpan(72_000, 100).Fill(8);
                file.Write(72_000, bytes.AsMemory(72_000, 100));
                file.Write(7 << 20, bytes.AsMemory(7 << 20));
                Assert.Equal(bytes, volume.ReadAllBytes("/long"));
            }).WaitAsync(TimeSpan.FromSeconds(60), Cancelled);
            Assert.True(disk.Held > 0);
            Task sync = Start(file.Sync);
            Task other = Start(() => volume.WriteAllBytes("/other", s_page));
            Assert.False(sync.IsCompleted);
            disk.Open();
            await Task.WhenAll(sync, other);
            Assert.Equal(bytes, Mounted(memory));
        }

        Assert.Equal(bytes, Mounted(memory));
    }

    private static byte[] Mounted(SimulatedBlockDevice memory)
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
        using SimulatedBlockDevice disk = new(frames, memory.Snapshot());
        using CffsVolume volume = CffsVolume.Open(disk);
        byte[] read = volume.ReadAllBytes("/long");
        volume.Dispose();
        CffsCheckReport report = Verified.Check(disk);
        Assert.True(report.IsClean, string.Join("; ", report.Findings));
        return read;
    }

    /// <summary>Of one file some is in the cache and some is not: who wants what is there does not wait for who wants the rest.</summary>
    [Theory]
    [InlineData("read")]
    [InlineData("read in pieces")]
    [InlineData("lease")]
    [InlineData("lend")]
    [InlineData("write in part")]
    [InlineData("append")]
    public async Task A_hit_does_not_wait_for_a_miss_of_the_same_file(string missing)
    {
        // All of it is written down, and only the first 64 KiB are in the cache.
        using CffsFile file = _volume.OpenFile("/cold/page", CffsOpenMode.Read | CffsOpenMode.Write);
        byte[] start = new byte[65_536];
        Assert.Equal(start.Length, file.Read(0, start.AsSpan()));
        _disk.Close((operation, _) => operation == BlockOperation.Read);
        byte[] rest = new byte[100_000];
        Task miss = Start(() =>
        {
            switch (missing)
            {
                case "read": Assert.Equal(rest.Length, file.Read(90_000, rest.AsSpan())); break;
                case "read in pieces": Assert.Equal(rest.Length, file.Read(90_000, [rest.AsMemory(0, 10), rest.AsMemory(10)])); break;
                case "lease": file.Lease(90_000, 100_000).Dispose(); break;
                case "lend": Assert.True(_volume.TryLend("/cold/page"u8.ToArray(), out CffsSpanLease lease) | true); lease.Dispose(); break;
                case "write in part": file.Write(90_001, new byte[10]); break;
                default: _ = file.Append(new byte[10]); break;
            }
        });
        _disk.WaitForHeld(Cancelled);
        byte[] again = new byte[65_536];
        await Start(() => Assert.Equal(again.Length, file.Read(0, again.AsSpan()))).WaitAsync(TimeSpan.FromSeconds(60), Cancelled);
        Assert.Equal(start, again);
        Assert.False(miss.IsCompleted);
        await Start(() => file.Write(4096, s_page.AsMemory(0, 4096))).WaitAsync(TimeSpan.FromSeconds(60), Cancelled);
        _disk.Open();
        await miss;
        Assert.Equal(again.Length, file.Read(0, again.AsSpan()));
        Assert.Equal(s_page.AsSpan(0, 4096), again.AsSpan(4096, 4096));
    }

    /// <summary>A read of more than half of the cache, whose end is missing: nobody waits for it, and what it gives back is of one moment although the file is changed meanwhile.</summary>
    [Theory]
    [InlineData("span")]
    [InlineData("memory")]
    [InlineData("buffers")]
    [InlineData("buffers, asynchronous")]
    public async Task A_hit_does_not_wait_for_a_read_that_is_longer_than_half_of_the_cache(string how)
    {
        const int Length = 12 << 20;
        byte[] tail = new byte[300_000];
        new Random(1).NextBytes(tail);
        using (CffsFile made = _volume.OpenFile("/cold/sparse", CffsOpenMode.Create | CffsOpenMode.Write))
        {
            made.Write(0, new byte[65_536]);
            made.Write(Length - tail.Length, tail.AsMemory());
        }

        // Everything is home, and nothing of it in the cache.
        _volume.Dispose();
        using CffsVolume volume = CffsVolume.Open(_disk);
        using CffsFile file = volume.OpenFile("/cold/sparse", CffsOpenMode.ReadWrite);
        byte[] start = new byte[65_536];
        Assert.Equal(start.Length, file.Read(0, start.AsSpan()));
        _disk.Close((operation, _) => operation == BlockOperation.Read);
        byte[] all = new byte[Length + 10];
        Task<long> miss = how switch
        {
            "span" => Start(() => (long)file.Read(0, all.AsSpan())),
            "memory" => Task.Run(async () => (long)await file.ReadAsync(0, all.AsMemory()), Cancelled),
            "buffers" => Start(() => file.Read(0, [all.AsMemory(0, 10), Memory<byte>.Empty, all.AsMemory(10, 9 << 20), all.AsMemory(10 + (9 << 20))])),
            _ => Task.Run(async () => await file.ReadAsync(0, [all.AsMemory(0, 10), all.AsMemory(10, 9 << 20), all.AsMemory(10 + (9 << 20))]), Cancelled),
        };
        _disk.WaitForHeld(Cancelled);
        await Start(() => Assert.Equal(start.Length, file.Read(0, start.AsSpan()))).WaitAsync(TimeSpan.FromSeconds(60), Cancelled);
        await Start(() => file.Write(4096, s_page.AsMemory(0, 4096))).WaitAsync(TimeSpan.FromSeconds(60), Cancelled);
        Assert.False(miss.IsCompleted);
        _disk.Open();
        Assert.Equal(Length, await miss);
        byte[] expected = new byte[Length + 10];
        s_page.AsSpan(0, 4096).CopyTo(expected.AsSpan(4096));
        tail.CopyTo(expected, Length - tail.Length);
        Assert.Equal(expected, all);
    }

    /// <summary>The blocks that are being read are not the file's any more when they come: the reader begins anew.</summary>
    [Theory]
    [InlineData("cut off")]
    [InlineData("cut off and write")]
    [InlineData("remove")]
    [InlineData("move")]
    public async Task A_file_that_is_being_read_can_be_changed(string change)
    {
        using CffsFile file = _volume.OpenFile("/cold/page", CffsOpenMode.Read | CffsOpenMode.Write);
        _disk.Close((operation, _) => operation == BlockOperation.Read);
        byte[] bytes = new byte[200_000];
        Task<int> miss = Start(() => file.Read(0, bytes.AsSpan()));
        _disk.WaitForHeld(Cancelled);
        await Start(() =>
        {
            switch (change)
            {
                case "cut off": file.SetLength(0); break;
                case "cut off and write": file.SetLength(0); file.Write(0, s_page.AsMemory()); break;
                case "remove": _volume.RemoveFile("/cold/page"); break;
                default: _volume.Rename("/cold/page", "/hot/moved"); break;
            }
        }).WaitAsync(TimeSpan.FromSeconds(60), Cancelled);
        Assert.False(miss.IsCompleted);
        _disk.Open();
        int read = await miss;
        Assert.Equal(change switch { "cut off" => 0, "cut off and write" => s_page.Length, _ => 200_000 }, read);
        Assert.Equal(change == "cut off and write" ? s_page : new byte[read], bytes[..read]);
    }

    /// <summary>With a small file its neighbours are fetched. What is done to them meanwhile is not disturbed by it.</summary>
    [Theory]
    [InlineData("remove")]
    [InlineData("cut off")]
    [InlineData("rename")]
    [InlineData("move")]
    [InlineData("replace")]
    public async Task A_neighbour_that_is_being_fetched_can_be_changed(string change)
    {
        _disk.Close((operation, _) => operation == BlockOperation.Read);
        Task<byte[]> miss = Start(() => _volume.ReadAllBytes("/many/0"));
        _disk.WaitForHeld(Cancelled);
        Task changed = Start(() =>
        {
            switch (change)
            {
                case "remove": _volume.RemoveFile("/many/1"); break;
                case "cut off": SetLength("/many/1", 0); break;
                case "rename": _volume.Rename("/many/1", "/many/another name of it"); break;
                case "move": _volume.Rename("/many/1", "/hot/1"); break;
                default: _volume.Rename("/many/2", "/many/1"); break;
            }
        });
        await changed.WaitAsync(TimeSpan.FromSeconds(60), Cancelled);
        Assert.False(miss.IsCompleted);
        _disk.Open();
        Assert.Equal(Enumerable.Repeat((byte)1, 3000), await miss);
        string? now = change switch { "remove" => null, "rename" => "/many/another name of it", "move" => "/hot/1", _ => "/many/1" };
        byte value = (byte)(change == "replace" ? 3 : 2);
        if (now is not null)
        {
            Assert.Equal(change == "cut off" ? [] : Enumerable.Repeat(value, 3000), _volume.ReadAllBytes(now));
        }

        _volume.Sync();
        Assert.Equal(Enumerable.Repeat((byte)4, 3000), _volume.ReadAllBytes("/many/3"));
    }

    private void SetLength(string path, long lengthBytes)
    {
        using CffsFile file = _volume.OpenFile(path, CffsOpenMode.Write);
        file.SetLength(lengthBytes);
    }

    private static Task Start(Action action) => Task.Factory.StartNew(action, Cancelled, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    private static Task<T> Start<T>(Func<T> action) => Task.Factory.StartNew(action, Cancelled, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    private Task ReadHotWhileHeld() => Start(ReadHot).WaitAsync(TimeSpan.FromSeconds(60), Cancelled);

    /// <summary>Everything that a reader does, all of it in the cache.</summary>
    private void ReadHot()
    {
        Assert.True(_volume.Exists("/many/0"));
        Assert.Equal(s_page, _volume.ReadAllBytes("/hot/page"));
        Assert.Equal(50, _volume.ReadAllBytes("/hot/tiny").Length);
        Assert.Equal(9000, _volume.Stat("/hot/page").Size);
        Assert.Contains(_volume.ReadDirectory("/hot"), entry => entry.NameString == "page");
        Assert.False(_volume.Exists("/hot/nothing"));
        using CffsFile file = _volume.OpenFile("/hot/page");
        using CffsLease lease = file.Lease(0, 9000);
        Assert.Equal(9000, lease.LengthBytes);
    }
}
