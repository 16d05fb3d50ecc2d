// SPDX-License-Identifier: MIT
using System.Text;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Directories;
using Exo.Simulation.Disks;

namespace Exo.FileSystems.CFFS.Tests.Directories;

/// <summary>Directories of any size: what a lookup, an insert and a walk cost, and what a walk sees.</summary>
public sealed class DirectoryReaderTests
{
    private const int Names = 20_000;

    [Fact]
    public void A_cold_lookup_in_an_indexed_directory_reads_at_most_four_blocks_beyond_its_inode()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 64 << 20 });
        DiskContents contents = Make(frames);
        using SimulatedBlockDevice disk = new(frames, contents);
        using CffsVolume volume = CffsVolume.Open(disk);
        _ = volume.ReadDirectory("/");
        long before = volume.Disk.Counters.BlocksRead;
        Assert.Equal(5, volume.Stat("/large/name 12345").Size);
        Assert.InRange(volume.Disk.Counters.BlocksRead - before, 1, 4);
        before = volume.Disk.Counters.BlocksRead;
        Assert.False(volume.Exists("/large/no name"));
        Assert.InRange(volume.Disk.Counters.BlocksRead - before, 0, 2);
    }

    [Fact]
    public void A_cold_insert_reads_a_few_blocks_and_finds_room_that_was_left()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 64 << 20 });
        DiskContents contents = Make(frames);
        using SimulatedBlockDevice disk = new(frames, contents);
        using CffsVolume volume = CffsVolume.Open(disk);
        _ = volume.ReadDirectory("/");
        long before = volume.Disk.Counters.BlocksRead;
        volume.WriteAllBytes("/large/one more", new byte[1]);
        Assert.InRange(volume.Disk.Counters.BlocksRead - before, 1, 8);

        // What is removed makes room at once, wherever it was.
        long sizeBytes = volume.Stat("/large").Size;
        for (int i = 0; i < 500; i++)
        {
            volume.RemoveFile($"/large/name {i * 3}");
        }

        for (int i = 0; i < 500; i++)
        {
            volume.WriteAllBytes($"/large/new {i}", new byte[1]);
        }

        Assert.InRange(volume.Stat("/large").Size - sizeBytes, 0, 4096);
    }

    [Fact]
    public void Room_that_an_earlier_mount_has_left_is_found_in_the_end()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 64 << 20 });
        DiskContents contents = Make(frames);
        using SimulatedBlockDevice disk = new(frames, contents);
        using (CffsVolume volume = CffsVolume.Open(disk))
        {
            for (int i = 0; i < Names; i += 2)
            {
                volume.RemoveFile($"/large/name {i}");
            }
        }

        using CffsVolume again = CffsVolume.Open(disk);
        long sizeBytes = again.Stat("/large").Size;
        for (int i = 0; i < Names / 2; i++)
        {
            again.WriteAllBytes($"/large/again {i}", new byte[5]);
        }

        Assert.InRange(again.Stat("/large").Size - sizeBytes, 0, 64 * 4096);
    }

    [Fact]
    public void A_directory_that_is_larger_than_the_cache_can_be_emptied_and_removed()
    {
        using FramePool large = FramePool.Create(new FramePoolOptions { CapacityBytes = 64 << 20 });
        DiskContents contents = Make(large);
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 2 << 20 });
        using SimulatedBlockDevice disk = new(frames, contents);
        using (CffsVolume volume = CffsVolume.Open(disk))
        {
            for (int i = 0; i < Names; i++)
            {
                volume.RemoveFile($"/large/name {i}");
            }

            Assert.Empty(volume.ReadDirectory("/large"));
            volume.RemoveDirectory("/large");
            Assert.False(volume.Exists("/large"));
        }

        Assert.Empty(Verified.Check(disk).Findings);
    }

    [Fact]
    public void A_walk_allocates_nothing_for_an_entry_and_sees_each_once_with_its_attributes()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 64 << 20 });
        DiskContents contents = Make(frames);
        using SimulatedBlockDevice disk = new(frames, contents);
        using CffsVolume volume = CffsVolume.Open(disk);
        using CffsDirectory directory = volume.OpenDirectory("/large");

        // The first brings it into core: what is left is what a walk costs. Of several, as in Allocations.Least; the reader is made outside.
        long least = long.MaxValue;
        for (int round = 0; round < 6; round++)
        {
            using CffsDirectoryReader entries = directory.Read();
            bool[] seen = new bool[Names];
            long start = GC.GetAllocatedBytesForCurrentThread();
            int count = 0;
            while (entries.Next())
            {
                count++;
                Assert.True(System.Buffers.Text.Utf8Parser.TryParse(entries.Name[5..], out int number, out _) && !seen[number]);
                seen[number] = true;
                if (entries.Stat().Size != 5)
                {
                    Assert.Fail("the size is not 5");
                }
            }

            Assert.Equal(Names, count);
            if (round > 0)
            {
                least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - start);
            }
        }

        Assert.InRange(least, 0, 4096);
    }

    [Fact]
    public void A_walk_goes_on_after_a_position_also_in_a_later_mount()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 64 << 20 });
        DiskContents contents = Make(frames);
        using SimulatedBlockDevice disk = new(frames, contents);
        List<string> seen = [];
        long position = -1;
        for (int part = 0; part < 4; part++)
        {
            using CffsVolume volume = CffsVolume.Open(disk);
            using CffsDirectory directory = volume.OpenDirectory("/large");
            using CffsDirectoryReader entries = directory.Read(position);
            for (int i = 0; (i < Names / 3 || part == 3) && entries.Next(); i++)
            {
                seen.Add(Encoding.UTF8.GetString(entries.Name));
                position = entries.Position;
            }
        }

        Assert.Equal(Names, seen.Count);
        Assert.Equal(Names, seen.Distinct().Count());
    }

    [Fact]
    public async Task A_walk_beside_changes_shows_what_is_there_all_the_time_and_tells_links_directories_and_open_files()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
        using SimulatedBlockDevice disk = new(frames, DiskContents.Zeroes(4096));
        using CffsVolume volume = CffsVolume.Create(disk);
        volume.CreateDirectory("/d");
        volume.CreateDirectory("/d/sub");
        volume.CreateDirectory("/d/sub/below");
        volume.WriteAllBytes("/d/two names", new byte[7]);
        volume.CreateHardLink("/d/two names", "/d/the other");
        volume.CreateSymbolicLink("/d/link", "target");
        for (int i = 0; i < 300; i++)
        {
            volume.WriteAllBytes($"/d/stays {i}", new byte[3]);
        }

        using CffsFile open = volume.OpenFile("/d/stays 7", CffsOpenMode.Write);
        open.Write(0, new byte[9000]);
        using CffsDirectory directory = volume.OpenDirectory("/d");
        using CffsDirectoryReader entries = directory.Read();
        Dictionary<string, CffsStat> seen = [];
        int step = 0;
        while (await entries.NextAsync())
        {
            string name = Encoding.UTF8.GetString(entries.Name);
            if (name.StartsWith("come", StringComparison.Ordinal))
            {
                continue;
            }

            Assert.True(seen.TryAdd(name, await entries.StatAsync()), $"{name} is seen twice");
            Assert.Equal(volume.Stat($"/d/{name}", followSymbolicLink: false), seen[name]);
            volume.WriteAllBytes($"/d/come {step}", new byte[1]);
            if (step > 3)
            {
                volume.RemoveFile($"/d/come {step - 3}");
            }

            step++;
        }

        Assert.Equal(304, seen.Count);
        Assert.Equal((9000L, 2u, 3u, CffsKind.SymbolicLink), (seen["stays 7"].Size, seen["the other"].Links, seen["sub"].Links, seen["link"].Kind));
    }

    [Fact]
    public void Blocks_that_nobody_has_looked_at_are_looked_at_ever_more_rarely_while_they_are_full()
    {
        RoomMap room = new();
        room.Extend(10_000);
        int probes = 0;
        for (int insert = 0; insert < 10_000; insert++)
        {
            if (room.TryProbe(out ulong logical))
            {
                probes++;
                room.Found(logical, 0);
            }
        }

        Assert.InRange(probes, 16, 400);
        room.Freed(77);
        Assert.True(room.TryKnown(3, 0, out ulong known) && known == 77);
        room.Found(77, 2);
        Assert.False(room.TryKnown(3, 0, out _));
        Assert.True(room.TryKnown(2, 0, out known) && known == 77);
        Assert.False(room.TryKnown(2, 78, out _));
    }

    private static DiskContents Make(FramePool frames)
    {
        using SimulatedBlockDevice disk = new(frames, DiskContents.Zeroes(16384));
        using (CffsVolume volume = CffsVolume.Create(disk, new CffsCreateOptions { Seed = 1 }))
        {
            volume.CreateDirectory("/large");
            for (int i = 0; i < Names; i++)
            {
                volume.WriteAllBytes($"/large/name {i}", "12345"u8.ToArray());
            }

            Assert.Contains(volume.MapBlocks(), run => run.Kind == CffsBlockKind.Index);
        }

        return disk.Snapshot();
    }
}
