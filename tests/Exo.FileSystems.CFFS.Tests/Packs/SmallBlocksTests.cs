// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Commit;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Tests.Packs;

/// <summary>Small files that are written to the disk while others are being made.</summary>
public sealed class SmallBlocksTests
{
    [Fact]
    public void What_lies_in_runs_is_taken_sorted_and_once()
    {
        SmallBlocks small = new(fromBlocks: 64, stretchBlocks: 16);
        for (uint i = 0; i < 40; i++)
        {
            small.Add(Blocks(500 + i, 1));
            small.Add(Blocks(500 + i, 1));
            small.Add(Blocks(100 + (2 * i), 2));
            small.Add(Blocks(101 + (2 * i), 1));
        }

        Assert.True(small.HasStretch);
        Assert.Equal([Blocks(100, 80), Blocks(500, 40)], small.Take());
        Assert.False(small.HasStretch);
        Assert.Empty(small.Take());
    }

    [Fact]
    public void A_few_are_left_to_the_commit()
    {
        SmallBlocks small = new(fromBlocks: 64, stretchBlocks: 16);
        for (int round = 0; round < 3; round++)
        {
            small.Add(Blocks(100, 63));
            Assert.False(small.HasStretch);
            small.Begin();
        }

        small.Add(Blocks(100, 64));
        Assert.Single(small.Take());
        small.Add(Blocks(164, 15));
        Assert.False(small.HasStretch);
        small.Add(Blocks(179, 1));
        Assert.Equal([Blocks(164, 16)], small.Take());
    }

    [Fact]
    public void What_lies_scattered_is_left_to_the_commit()
    {
        SmallBlocks small = new(fromBlocks: 64, stretchBlocks: 16);
        for (uint i = 0; i < 100; i++)
        {
            small.Add(Blocks(1000 - (10 * i), 1));
        }

        Assert.Empty(small.Take());
        Assert.False(small.HasStretch);
        small.Add(Blocks(2000, 1500));
        Assert.Equal(101, small.Take().Length);
    }

    [Theory]
    [InlineData(1000)]
    [InlineData(3000)]
    public void Many_small_files_are_on_the_disk_before_anybody_commits_a_few_are_not(int lengthBytes)
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 24 << 20 });
        using MemoryBlockDevice disk = new(frames, blockCount: 8192);
        using (CffsVolume volume = CffsVolume.Create(disk, new CffsCreateOptions { Seed = 1, Open = new CffsOpenOptions { BehindFromBytes = 1 << 20 } }))
        {
            volume.CreateDirectory("/d");
            volume.Sync();
            long before = volume.Disk.Counters.BlocksWritten;
            for (int i = 0; i < 200; i++)
            {
                volume.WriteAllBytes($"/d/{i}", Contents(i, lengthBytes));
            }

            Assert.Equal(before, volume.Disk.Counters.BlocksWritten);
            for (int i = 200; i < 2000; i++)
            {
                volume.WriteAllBytes($"/d/{i}", Contents(i, lengthBytes));
            }

            Assert.InRange(volume.Disk.Counters.BlocksWritten - before, 256, 2000);
        }

        using CffsVolume again = CffsVolume.Open(disk);
        for (int i = 0; i < 2000; i++)
        {
            Assert.Equal(Contents(i, lengthBytes), again.ReadAllBytes($"/d/{i}"));
        }
    }

    private static BlockExtent Blocks(ulong first, uint count) => new(new BlockNumber(first), count);

    private static byte[] Contents(int file, int lengthBytes) => [.. Enumerable.Repeat((byte)file, lengthBytes)];
}
