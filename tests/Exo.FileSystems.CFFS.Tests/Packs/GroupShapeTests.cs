// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Files;
using Exo.FileSystems.CFFS.Layout;
using Exo.Storage.XN;
using Record = Exo.FileSystems.CFFS.Layout.Record;

namespace Exo.FileSystems.CFFS.Tests.Packs;

/// <summary>Small files that are read with the directory that is to say where they are.</summary>
public sealed class GroupShapeTests
{
    [Fact]
    public void Directories_that_are_alike_tell_where_the_next_ones_files_are()
    {
        GroupShape shape = new();
        for (ulong start = 1000; start < 4000; start += 1000)
        {
            Assert.False(shape.TryGuess(Directory(start), out _));
            shape.Note(Directory(start), Group(start + 8, 30));
        }

        Assert.True(shape.TryGuess(Directory(5000), out BlockExtent group));
        Assert.Equal(new BlockExtent(new BlockNumber(5008), 30), group);
        Assert.False(shape.TryGuess(Directory(5000) with { Count = 0 }, out _));
        Assert.False(shape.TryGuess(Directory(5000) with { Depth = 1 }, out _));

        // One that is not ends it.
        shape.Note(Directory(5000), Group(4000, 30));
        Assert.False(shape.TryGuess(Directory(6000), out _));
    }

    [Fact]
    public void Sizes_that_differ_tell_nothing()
    {
        GroupShape shape = new();
        for (ulong i = 1; i < 20; i++)
        {
            shape.Note(Directory(i * 1000), Group((i * 1000) + 8, i % 2 == 0 ? 10U : 30));
            Assert.False(shape.TryGuess(Directory(100), out _));
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void What_is_read_in_any_order_is_what_was_written(bool areAlike)
    {
        const int Folders = 60;
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 24 << 20 });
        using MemoryBlockDevice disk = new(frames, blockCount: 8192);
        Random random = new(3);
        int[] counts = [.. Enumerable.Range(0, Folders).Select(_ => areAlike ? 40 : random.Next(60))];
        using (CffsVolume volume = CffsVolume.Create(disk, new CffsCreateOptions { Seed = 1 }))
        {
            for (int d = 0; d < Folders; d++)
            {
                volume.CreateDirectory($"/{d}");
                for (int f = 0; f < counts[d]; f++)
                {
                    volume.WriteAllBytes($"/{d}/{f}", Contents(d, f));
                }
            }
        }

        using CffsVolume again = CffsVolume.Open(disk);
        for (int i = 0; i < Folders; i++)
        {
            // No two neighbours one after the other.
            int d = i * 37 % Folders;
            long before = again.Disk.Counters.BlocksRead;
            for (int f = counts[d] - 1; f >= 0; f--)
            {
                Assert.Equal(Contents(d, f), again.ReadAllBytes($"/{d}/{f}"));
            }

            if (areAlike && i > Folders / 2)
            {
                // Nothing of it twice, and nothing of others: three slot blocks, a block for each third file at most, and what lies between.
                Assert.InRange(again.Disk.Counters.BlocksRead - before, 0, 3 + 20);
            }
        }
    }

    private static Record Directory(ulong start) => new() { Kind = SlotKind.Directory, Start = start, Count = 5 };

    private static List<XnReadRequest> Group(ulong first, uint count) =>
        [.. Enumerable.Range(0, (int)count).Select(i => new XnReadRequest(new BlockNumber(1), i, new BlockExtent(new BlockNumber(first + (ulong)i), 1)))];

    private static byte[] Contents(int folder, int file) => [.. Enumerable.Range(0, 1000).Select(i => (byte)((folder * 7) + (file * 3) + i))];
}
