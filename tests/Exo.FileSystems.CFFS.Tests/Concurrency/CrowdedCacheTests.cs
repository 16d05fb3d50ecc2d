// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Tests.Concurrency;

/// <summary>Threads that make more contents than the cache holds, all at once.</summary>
public sealed class CrowdedCacheTests : IDisposable
{
    private readonly string _image = Path.Combine(Path.GetTempPath(), $"exo-cffs-{Guid.NewGuid():N}.img");

    public void Dispose() => File.Delete(_image);

    /// <summary>Each frees frames by writing back, and finds that the others have taken them. Nobody is refused for that: there is progress, and so there is a turn for everybody.</summary>
    [Fact]
    public void Nobody_is_refused_because_others_were_quicker()
    {
        const int Threads = 12;
        const int Files = 8;
        using (CffsVolume volume = CffsVolume.Create(_image, new CffsCreateOptions { SizeBytes = 512 << 20, Seed = 1, Open = new CffsOpenOptions { CacheBytes = 4 << 20 } }))
        {
            Exception?[] thrown = new Exception?[Threads];
            Thread[] threads = [.. Enumerable.Range(0, Threads).Select(number => new Thread(() =>
            {
                byte[] contents = new byte[3 << 20];
                Array.Fill(contents, (byte)(number + 1));
                try
                {
                    for (int file = 0; file < Files; file++)
                    {
                        volume.WriteAllBytes($"/{number}-{file}", contents);
                    }
                }
                catch (Exception refused)
                {
                    thrown[number] = refused;
                }
            }))];
            Array.ForEach(threads, thread => thread.Start());
            Array.ForEach(threads, thread => thread.Join());
            Assert.All(thrown, Assert.Null);
            for (int number = 0; number < Threads; number++)
            {
                Assert.True(volume.ReadAllBytes($"/{number}-{Files - 1}").AsSpan().IndexOfAnyExcept((byte)(number + 1)) < 0);
            }
        }

        Assert.Empty(Verified.Check(_image).Findings);
    }

    /// <summary>
    /// Each inode in memory keeps the block of its record in the cache. Nobody has them open any more, and there are more of them than frames: they go when somebody needs the frames, those with tree nodes too.
    /// </summary>
    [Fact]
    public void Inodes_that_nobody_uses_let_their_blocks_go()
    {
        const int Directories = 1500;
        using CffsVolume volume = CffsVolume.Create(_image, new CffsCreateOptions { SizeBytes = 64 << 20, Seed = 1, Open = new CffsOpenOptions { CacheBytes = 4 << 20 } });
        for (int i = 0; i < Directories; i++)
        {
            volume.CreateDirectory($"/{i}");
            using CffsFile file = volume.OpenFile($"/{i}/file", CffsOpenMode.Write | CffsOpenMode.Create);
            file.Write(0, new byte[10]);
            if (i % 10 == 0)
            {
                file.Write(1 << 20, new byte[10]);
            }
        }

        volume.Sync();
        volume.WriteAllBytes("/large", new byte[2 << 20]);
        for (int i = 0; i < Directories; i++)
        {
            using CffsFile file = volume.OpenFile($"/{i}/file");
            Assert.Equal(10, file.Read(0, new byte[10]));
        }

        Assert.Equal(2 << 20, volume.ReadAllBytes("/large").Length);
    }

    /// <summary>Between the look whether it is empty and its removal, which waits for a commit, others have the frames.</summary>
    [Fact]
    public void A_directory_that_was_replaced_goes_although_its_blocks_have_left_the_cache()
    {
        using (CffsVolume volume = CffsVolume.Create(_image, new CffsCreateOptions { SizeBytes = 64 << 20, Seed = 1, Open = new CffsOpenOptions { CacheBytes = 2 << 20 } }))
        {
            volume.WriteAllBytes("/large", new byte[8 << 20]);
            volume.CreateDirectory("/new");
            volume.CreateDirectory("/old");
            for (int i = 0; i < 200; i++)
            {
                volume.WriteAllBytes($"/old/{i}", new byte[10]);
            }

            for (int i = 0; i < 200; i++)
            {
                volume.RemoveFile($"/old/{i}");
            }

            volume.Sync();
            volume.Rename("/new", "/old");
            Assert.Equal(8 << 20, volume.ReadAllBytes("/large").Length);
            volume.Sync();
            Assert.Empty(volume.ReadDirectory("/old"));
        }

        Assert.Empty(Verified.Check(_image).Findings);
    }

    /// <summary>Who looks for a block holds its frame before he knows that it is still the block's: whoever lets blocks go asks whether it is held within the change that takes it out, not before.</summary>
    [Fact]
    public void A_block_whose_frame_somebody_holds_does_not_leave_the_registry()
    {
        using CffsVolume volume = CffsVolume.Create(_image, new CffsCreateOptions { SizeBytes = 16 << 20, Seed = 1, LogBlocks = 0 });
        volume.WriteAllBytes("/file", new byte[9000]);
        volume.Sync();
        BlockNumber block = volume.MapBlocks().Single(run => run.Kind == CffsBlockKind.Data).Extent.First;
        Assert.True(volume.Core.Cache.TryGet(block, out FrameNumber held));
        Assert.Equal(XnStatus.Busy, volume.Core.Disk.UnbindIdle(volume.Core.Key, block));
        volume.Core.Cache.Release(held);
        Assert.Equal(XnStatus.Ok, volume.Core.Disk.UnbindIdle(volume.Core.Key, block));
        Assert.Equal(9000, volume.ReadAllBytes("/file").Length);
    }
}
