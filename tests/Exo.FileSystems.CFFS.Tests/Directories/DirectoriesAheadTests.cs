// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Tests.Check;

namespace Exo.FileSystems.CFFS.Tests.Directories;

/// <summary>Directories that are loaded, with their small files' contents, before anybody asks for them.</summary>
public sealed class DirectoriesAheadTests : IDisposable
{
    private const int Folders = 90;
    private const int Files = 12;

    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 24 << 20 });
    private readonly MemoryBlockDevice _disk;

    public DirectoriesAheadTests()
    {
        _disk = new MemoryBlockDevice(_frames, blockCount: 8192);
        using CffsVolume volume = CffsVolume.Create(_disk, new CffsCreateOptions { Seed = 1 });
        for (int d = 0; d < Folders; d++)
        {
            Fill(volume, d);
        }
    }

    public void Dispose()
    {
        _disk.Dispose();
        _frames.Dispose();
    }

    [Fact]
    public async Task Who_reads_in_order_finds_the_next_directories_and_their_files_in_core()
    {
        using CffsVolume volume = CffsVolume.Open(_disk);
        Read(volume, 0, 6);
        await volume.Core.Ahead.UnderWay.WaitAsync(TestContext.Current.CancellationToken);
        long before = volume.Disk.Counters.BlocksRead;
        Read(volume, 6, 9);
        Assert.Equal(before, volume.Disk.Counters.BlocksRead);
        Read(volume, 9, Folders);
    }

    [Fact]
    public async Task Who_writes_over_in_order_does_too()
    {
        using CffsVolume volume = CffsVolume.Open(_disk);
        WriteOver(volume, 0, 6);
        await volume.Core.Ahead.UnderWay.WaitAsync(TestContext.Current.CancellationToken);
        long before = volume.Disk.Counters.BlocksRead;
        WriteOver(volume, 6, 9);
        Assert.Equal(before, volume.Disk.Counters.BlocksRead);
    }

    [Fact]
    public async Task Contents_that_nobody_uses_are_not_read_for_ever()
    {
        using CffsVolume volume = CffsVolume.Open(_disk);
        Read(volume, 0, 6);
        await volume.Core.Ahead.UnderWay.WaitAsync(TestContext.Current.CancellationToken);
        for (int d = 6; d < Folders; d++)
        {
            _ = volume.Stat($"/d{d:d3}/0");
            await volume.Core.Ahead.UnderWay.WaitAsync(TestContext.Current.CancellationToken);
        }

        long before = volume.Disk.Counters.BlocksRead;
        Read(volume, Folders - 1, Folders);
        Assert.NotEqual(before, volume.Disk.Counters.BlocksRead);
    }

    [Fact]
    public async Task Who_asks_for_attributes_only_has_no_contents_read()
    {
        using CffsVolume volume = CffsVolume.Open(_disk);
        for (int d = 0; d < Folders / 2; d++)
        {
            _ = volume.Stat($"/d{d:d3}/0");
        }

        await volume.Core.Ahead.UnderWay.WaitAsync(TestContext.Current.CancellationToken);
        long before = volume.Disk.Counters.BlocksRead;
        _ = volume.ReadAllBytes($"/d{Folders / 4:d3}/5");
        Assert.NotEqual(before, volume.Disk.Counters.BlocksRead);
    }

    [Fact]
    public void A_directory_that_cannot_be_read_is_the_affair_of_who_wants_it()
    {
        ulong bad;
        using (CffsVolume volume = CffsVolume.Open(_disk))
        {
            _ = volume.Stat("/d007/0");
            bad = volume.Core.Inodes.Snapshot().Single(inode => inode.Number == volume.Stat("/d007").Inode).Record.Start;
        }

        int free = _frames.FreeCount;
        using BadBlockDevice damaged = new(_disk, bad);
        using (CffsVolume reading = CffsVolume.Open(damaged))
        {
            Read(reading, 0, 7);
            Assert.ThrowsAny<Exception>(() => reading.ReadAllBytes("/d007/0"));
            Read(reading, 8, Folders);
            Assert.ThrowsAny<Exception>(() => reading.ReadAllBytes("/d007/1"));
        }

        Assert.Equal(free, _frames.FreeCount);
    }

    /// <summary>The asynchronous door once gave frames back twice when the disk failed.</summary>
    [Fact]
    public async Task A_read_that_fails_leaves_no_frame_behind_and_takes_none_of_others()
    {
        int free = _frames.FreeCount;
        ulong bad;
        using (CffsVolume volume = CffsVolume.Open(_disk))
        {
            volume.WriteAllBytes("/large", new byte[300_000]);
            using CffsFile file = volume.OpenFile("/large");
            bad = file.ReadExtents()[0].Block!.Value.Value + 9;
        }

        using BadBlockDevice damaged = new(_disk, bad);
        using (CffsVolume reading = CffsVolume.Open(damaged))
        {
            for (int i = 0; i < 3; i++)
            {
                await Assert.ThrowsAnyAsync<BlockDeviceException>(() => reading.ReadAllBytesAsync("/large", cancellationToken: TestContext.Current.CancellationToken).AsTask());
            }
        }

        Assert.Equal(free, _frames.FreeCount);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Directories_may_come_and_go_meanwhile(int seed)
    {
        for (int round = 0; round < 4; round++)
        {
            CffsVolume volume = CffsVolume.Open(_disk);
            Exception? failure = null;
            Thread[] threads =
            [
                new(() => Try(() => ReadWhatIsThere(volume))),
                new(() => Try(() => ReadWhatIsThere(volume))),
                new(() => Try(() => Change(volume, new Random((seed * 100) + round)))),
            ];
            Array.ForEach(threads, thread => thread.Start());
            Array.ForEach(threads, thread => thread.Join());
            Assert.Null(failure);
            volume.Dispose();
            Assert.Empty(Verified.Check(_disk).Findings);

            void Try(Action action)
            {
                try
                {
                    action();
                }
                catch (Exception e)
                {
                    failure = e;
                }
            }
        }
    }

    [Fact]
    public void A_volume_that_is_closed_meanwhile_gives_all_its_frames_back()
    {
        int free = _frames.FreeCount;
        for (int d = 5; d < 12; d++)
        {
            using CffsVolume volume = CffsVolume.Open(_disk);
            Read(volume, 0, d);
        }

        Assert.Equal(free, _frames.FreeCount);
    }

    private static byte[] Contents(int folder, int file, int version = 0) => [.. Enumerable.Range(0, 300 + (file * 200)).Select(i => (byte)((folder * 7) + (file * 3) + version + i))];

    private static void Fill(CffsVolume volume, int folder)
    {
        volume.CreateDirectory($"/d{folder:d3}");
        for (int f = 0; f < Files; f++)
        {
            volume.WriteAllBytes($"/d{folder:d3}/{f}", Contents(folder, f));
        }
    }

    private static void Read(CffsVolume volume, int from, int to)
    {
        for (int d = from; d < to; d++)
        {
            for (int f = 0; f < Files; f++)
            {
                Assert.Equal(Contents(d, f), volume.ReadAllBytes($"/d{d:d3}/{f}"));
            }
        }
    }

    private static void WriteOver(CffsVolume volume, int from, int to)
    {
        for (int d = from; d < to; d++)
        {
            for (int f = 0; f < Files; f++)
            {
                using CffsFile file = volume.OpenFile($"/d{d:d3}/{f}", CffsOpenMode.Write);
                file.Write(0, Contents(d, f, version: 1).AsSpan());
            }
        }
    }

    private static void ReadWhatIsThere(CffsVolume volume)
    {
        for (int d = 0; d < Folders; d++)
        {
            for (int f = 0; f < Files; f++)
            {
                try
                {
                    // One that is made again where the old one is not durably gone is empty for a moment.
                    byte[] contents = volume.ReadAllBytes($"/d{d:d3}/{f}");
                    Assert.True(contents.Length == 0 || contents.SequenceEqual(Contents(d, f)));
                }
                catch (CffsException gone) when (gone.Error == CffsError.NotFound)
                {
                    // Removed, or not there again yet.
                }
            }
        }
    }

    private static void Change(CffsVolume volume, Random random)
    {
        for (int i = 0; i < 60; i++)
        {
            int d = random.Next(Folders);
            switch (random.Next(3))
            {
                case 0:
                    volume.Rename($"/d{d:d3}", "/away");
                    volume.Rename("/away", $"/d{d:d3}");
                    break;
                case 1:
                    int f = random.Next(Files);
                    volume.RemoveFile($"/d{d:d3}/{f}");
                    volume.WriteAllBytes($"/d{d:d3}/{f}", Contents(d, f));
                    break;
                default:
                    for (int file = 0; file < Files; file++)
                    {
                        volume.RemoveFile($"/d{d:d3}/{file}");
                    }

                    volume.RemoveDirectory($"/d{d:d3}");
                    Fill(volume, d);
                    break;
            }
        }
    }
}
