// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.FileSystems.CFFS.Tests.Concurrency;

/// <summary>Small files that are made and removed without an inode in memory, beside those who have them open; and what their groups are read with.</summary>
public sealed class WholeFileTests : IDisposable
{
    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 24 << 20 });
    private readonly MemoryBlockDevice _disk;

    public WholeFileTests() => _disk = new MemoryBlockDevice(_frames, blockCount: 8192);

    public void Dispose()
    {
        _disk.Dispose();
        _frames.Dispose();
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void Threads_that_make_open_and_remove_the_same_names_see_whole_files(int seed)
    {
        CffsVolume volume = CffsVolume.Create(_disk, new CffsCreateOptions { Seed = 1 });
        volume.CreateDirectory("/d");
        Exception? failure = null;
        Thread[] threads = [.. Enumerable.Range(0, 4).Select(t => new Thread(() =>
        {
            try
            {
                Work(volume, new Random((seed * 100) + t));
            }
            catch (Exception e)
            {
                failure = e;
            }
        }))];
        Array.ForEach(threads, thread => thread.Start());
        Array.ForEach(threads, thread => thread.Join());
        Assert.Null(failure);
        volume.Dispose();
        Assert.Empty(Verified.Check(_disk).Findings);
    }

    [Fact]
    public void A_short_file_that_is_written_over_is_not_read()
    {
        CffsVolume volume = CffsVolume.Create(_disk, new CffsCreateOptions { Seed = 1 });
        for (int i = 0; i < 20; i++)
        {
            volume.WriteAllBytes($"/{i}", Bytes(i, 2100));
        }

        volume.Dispose();
        volume = CffsVolume.Open(_disk);
        _ = volume.ReadDirectory("/");
        long before = volume.Disk.Counters.BlocksRead;
        for (int i = 0; i < 20; i++)
        {
            using CffsFile file = volume.OpenFile($"/{i}", CffsOpenMode.Write);
            file.Write(0, Bytes(i + 100, 2100 + (i * 50)));
        }

        Assert.Equal(before, volume.Disk.Counters.BlocksRead);
        volume.Dispose();
        using CffsVolume again = CffsVolume.Open(_disk);
        for (int i = 0; i < 20; i++)
        {
            Assert.Equal(Bytes(i + 100, 2100 + (i * 50)), again.ReadAllBytes($"/{i}"));
            using CffsFile file = again.OpenFile($"/{i}", CffsOpenMode.Read | CffsOpenMode.Write);
            file.SetLength(4096);
            byte[] tail = new byte[4096 - 2100 - (i * 50)];
            Assert.Equal(tail.Length, file.Read(2100 + (i * 50), tail));
            Assert.All(tail, b => Assert.Equal(0, b));
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_directory_of_small_files_is_read_in_few_requests(bool shuffled)
    {
        CffsVolume volume = CffsVolume.Create(_disk, new CffsCreateOptions { Seed = 1 });
        volume.CreateDirectory("/d");
        for (int i = 0; i < 100; i++)
        {
            volume.WriteAllBytes($"/d/{i}", Bytes(i, 1024));
        }

        volume.Dispose();
        using CffsVolume again = CffsVolume.Open(_disk);
        _ = again.ReadDirectory("/d");
        int[] order = [.. Enumerable.Range(0, 100)];
        if (shuffled)
        {
            new Random(1).Shuffle(order);
        }

        long before = _disk.Counters.Reads;
        foreach (int i in order)
        {
            Assert.Equal(Bytes(i, 1024), again.ReadAllBytes($"/d/{i}"));
        }

        Assert.InRange(_disk.Counters.Reads - before, 1, 12);
    }

    private static void Work(CffsVolume volume, Random random)
    {
        for (int i = 0; i < 1500; i++)
        {
            string path = $"/d/{random.Next(40)}";
            try
            {
                switch (random.Next(5))
                {
                    case 0 or 1:
                        volume.WriteAllBytes(path, Bytes(random.Next(256), 600 + random.Next(6000)));
                        break;
                    case 2:
                        volume.RemoveFile(path);
                        break;
                    case 3:
                        volume.Rename(path, $"/d/{random.Next(40)}");
                        break;
                    default:
                        using (CffsFile file = volume.OpenFile(path))
                        {
                            // Its first bytes were written by somebody as one.
                            byte[] start = new byte[600];
                            int read = file.Read(0, start);
                            Assert.True(read is 0 or 600 && start.AsSpan(0, read).IndexOfAnyExcept(start[0]) < 0);
                        }

                        break;
                }

                if (i % 500 == 250)
                {
                    volume.Sync();
                }
            }
            catch (CffsException absent) when (absent.Error == CffsError.NotFound)
            {
                // Somebody else was quicker.
            }
        }
    }

    private static byte[] Bytes(int value, int length)
    {
        byte[] bytes = new byte[length];
        Array.Fill(bytes, (byte)value);
        return bytes;
    }
}
