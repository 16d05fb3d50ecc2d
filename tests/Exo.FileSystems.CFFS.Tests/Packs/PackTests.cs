// SPDX-License-Identifier: MIT
using CsCheck;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Paths;
using Exo.FileSystems.CFFS.Relocation;
using Exo.FileSystems.CFFS.Volume;
using Exo.Simulation.Disks;
using Exo.Storage.XN;
using Record = Exo.FileSystems.CFFS.Layout.Record;

namespace Exo.FileSystems.CFFS.Tests.Packs;

/// <summary>Small files that share a block with those beside them.</summary>
public sealed class PackTests : IDisposable
{
    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });
    private readonly SimulatedBlockDevice _disk;

    public PackTests() => _disk = new SimulatedBlockDevice(_frames, DiskContents.Zeroes(2048));

    public void Dispose()
    {
        _disk.Dispose();
        _frames.Dispose();
    }

    [Fact]
    public void Files_of_a_sector_share_a_block()
    {
        using CffsVolume volume = Create();
        ulong before = volume.Disk.FreeBlocks;
        for (int i = 0; i < 3; i++)
        {
            volume.WriteAllBytes($"/d/{i}", Bytes(i, 1000));
        }

        Assert.Single(Enumerable.Range(0, 3).Select(i => BlockOf(volume, $"/d/{i}")).Distinct());
        Assert.Equal(before - 2, volume.Disk.FreeBlocks);
        for (int i = 0; i < 3; i++)
        {
            Assert.Equal(Bytes(i, 1000), volume.ReadAllBytes($"/d/{i}"));
        }
    }

    [Fact]
    public void What_is_written_through_a_handle_is_packed_too()
    {
        using CffsVolume volume = Create();
        for (int i = 0; i < 3; i++)
        {
            using CffsFile file = volume.OpenFile($"/d/{i}", CffsOpenMode.Write | CffsOpenMode.Create);
            file.Write(0, Bytes(i, 700));
            file.Write(700, Bytes(i + 10, 300));
        }

        Assert.Single(Enumerable.Range(0, 3).Select(i => BlockOf(volume, $"/d/{i}")).Distinct());
        Assert.Equal([.. Bytes(1, 700), .. Bytes(11, 300)], volume.ReadAllBytes("/d/1"));
    }

    [Fact]
    public async Task The_block_moves_when_nobody_is_at_one_of_its_files()
    {
        using CffsVolume volume = Create();
        for (int i = 0; i < 3; i++)
        {
            volume.WriteAllBytes($"/d/{i}", Bytes(i, 1000));
        }

        ulong block = BlockOf(volume, "/d/0");
        VolumeCore core = volume.Core;
        Inode directory = core.Paths.ResolveAsync(PathName.Encode("/d"), followLast: true, CffsIdentity.Superuser, IoMode.Sync).Take();
        Inode file = core.Paths.ResolveAsync(PathName.Encode("/d/1"), followLast: true, CffsIdentity.Superuser, IoMode.Sync).Take();
        Assert.True(file.Lock.TryEnter());
        uint sector = file.SlotAddress / Slot.PerSector * Slot.PerSector;
        Task<MoveOutcome> move = core.Moves.MovePackAsync(
            directory, sector, new BlockNumber(block), () => core.Allocator.TryFindRun(1, out BlockExtent run) ? run : null, IoMode.Async).AsTask();
        Assert.False(move.IsCompleted);
        file.Lock.Exit();
        Assert.Equal(MoveOutcome.Moved, await move);
        Assert.NotEqual(block, BlockOf(volume, "/d/0"));
        core.Inodes.Release(file);
        core.Inodes.Release(directory);
        for (int i = 0; i < 3; i++)
        {
            Assert.Equal(BlockOf(volume, "/d/0"), BlockOf(volume, $"/d/{i}"));
            Assert.Equal(Bytes(i, 1000), volume.ReadAllBytes($"/d/{i}"));
        }
    }

    [Fact]
    public void The_last_file_takes_the_block_with_it()
    {
        using CffsVolume volume = Create();
        volume.WriteAllBytes("/d/keeps", Bytes(0, 390));
        volume.Sync();
        ulong before = volume.Disk.FreeBlocks;
        for (int i = 0; i < 2; i++)
        {
            volume.WriteAllBytes($"/d/{i}", Bytes(i, 2000));
        }

        volume.Sync();
        Assert.Equal(before - 1, volume.Disk.FreeBlocks);
        volume.RemoveFile("/d/0");
        volume.Sync();
        Assert.Equal(before - 1, volume.Disk.FreeBlocks);
        volume.RemoveFile("/d/1");
        volume.Sync();
        Assert.Equal(before, volume.Disk.FreeBlocks);
    }

    [Fact]
    public void A_file_that_outgrows_its_pack_or_leaves_its_directory_takes_its_contents_along()
    {
        using CffsVolume volume = Create();
        volume.CreateDirectory("/e");
        for (int i = 0; i < 3; i++)
        {
            volume.WriteAllBytes($"/d/{i}", Bytes(i, 1000));
        }

        using (CffsFile file = volume.OpenFile("/d/1", CffsOpenMode.Write))
        {
            file.Write(1000, Bytes(7, 5000));
        }

        volume.Rename("/d/2", "/e/2");
        Assert.Equal(3, new[] { "/d/0", "/d/1", "/e/2" }.Select(path => BlockOf(volume, path)).Distinct().Count());
        Assert.Equal(Bytes(0, 1000), volume.ReadAllBytes("/d/0"));
        Assert.Equal([.. Bytes(1, 1000), .. Bytes(7, 5000)], volume.ReadAllBytes("/d/1"));
        Assert.Equal(Bytes(2, 1000), volume.ReadAllBytes("/e/2"));
    }

    [Fact]
    public void What_is_lent_does_not_change()
    {
        using CffsVolume volume = Create();
        byte[] path = "/d/a"u8.ToArray();
        volume.WriteAllBytes(path, Bytes(1, 1000));
        volume.WriteAllBytes("/d/b", Bytes(2, 1000));
        Assert.True(volume.TryLend(path, out CffsSpanLease lease));
        using (lease)
        {
            using CffsFile file = volume.OpenFile("/d/a", CffsOpenMode.Write);
            file.Write(0, Bytes(3, 900));
            volume.WriteAllBytes("/d/c", Bytes(4, 1000));
            Assert.Equal(Bytes(1, 1000), lease.Bytes.ToArray());
        }

        Assert.Equal([.. Bytes(3, 900), .. Bytes(1, 1000)[900..]], volume.ReadAllBytes("/d/a"));
        Assert.Equal(Bytes(2, 1000), volume.ReadAllBytes("/d/b"));
        Assert.Equal(Bytes(4, 1000), volume.ReadAllBytes("/d/c"));
    }

    [Fact]
    public void What_was_freed_is_used_again_when_that_is_durable()
    {
        using CffsVolume volume = Create();
        volume.WriteAllBytes("/d/keeps", Bytes(0, 1500));
        volume.WriteAllBytes("/d/goes", Bytes(1, 2000));
        volume.Sync();
        volume.RemoveFile("/d/goes");
        volume.WriteAllBytes("/d/early", Bytes(2, 2000));
        Assert.NotEqual(BlockOf(volume, "/d/keeps"), BlockOf(volume, "/d/early"));
        volume.RemoveFile("/d/early");
        volume.Sync();
        volume.WriteAllBytes("/d/late", Bytes(3, 2000));
        Assert.Equal(BlockOf(volume, "/d/keeps"), BlockOf(volume, "/d/late"));
        Assert.Equal(Bytes(0, 1500), volume.ReadAllBytes("/d/keeps"));
    }

    [Fact]
    public void A_snapshot_keeps_what_its_source_changes()
    {
        CffsVolume volume = Create();
        for (int i = 0; i < 6; i++)
        {
            volume.WriteAllBytes($"/d/{i}", Bytes(i, 1000));
        }

        volume.CreateSnapshot("/d", "/s");
        for (int i = 0; i < 6; i++)
        {
            volume.WriteAllBytes($"/d/{i}", Bytes(i + 50, 1100));
        }

        for (int round = 0; round < 2; round++)
        {
            for (int i = 0; i < 6; i++)
            {
                Assert.Equal(Bytes(i, 1000), volume.ReadAllBytes($"/s/{i}"));
                Assert.Equal(Bytes(i + 50, 1100), volume.ReadAllBytes($"/d/{i}"));
            }

            volume.Dispose();
            volume = CffsVolume.Open(_disk);
        }

        volume.Dispose();
        Assert.Empty(Verified.Check(_disk).Findings);
        Assert.Empty(Verified.VerdictOf(_disk).LeftBehind);
    }

    [Fact]
    public void Packed_files_move_below_a_new_end_of_the_disk()
    {
        CffsVolume volume = Create();
        for (int i = 0; i < 200; i++)
        {
            volume.WriteAllBytes($"/d/{i}", Bytes(i, 400 + (i * 8)));
        }

        volume.WriteAllBytes("/filler", new byte[4 << 20]);
        for (int i = 200; i < 260; i++)
        {
            volume.WriteAllBytes($"/d/{i}", Bytes(i, 1000));
        }

        volume.RemoveFile("/filler");
        volume.Sync();
        volume.Resize((3 << 20) / 4096);
        volume.Dispose();
        Assert.Empty(Verified.Check(_disk).Findings);
        using CffsVolume again = CffsVolume.Open(_disk);
        for (int i = 0; i < 260; i++)
        {
            Assert.Equal(Bytes(i, i < 200 ? 400 + (i * 8) : 1000), again.ReadAllBytes($"/d/{i}"));
        }
    }

    /// <summary>Files of a few sectors, written, cut, lengthened and removed in any order: the contents are a model's, and no two files lie in one place.</summary>
    [Fact]
    public void Any_order_of_changes_keeps_every_file_its_own() => Gen.Select(Gen.Int[0, 10], Gen.Int[0, 9], Gen.Int[0, 2100], Gen.Int[0, 2100]).Array[1, 120].Sample(
        steps =>
        {
            using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });
            using SimulatedBlockDevice disk = new(frames, DiskContents.Zeroes(1024));
            CffsVolume volume = CffsVolume.Create(disk, new CffsCreateOptions { Seed = 1 });
            Dictionary<string, byte[]> model = [];
            int number = 0;
            foreach ((int action, int file, int offset, int length) in steps)
            {
                number++;
                string path = $"/{file}";
                byte[] old = model.GetValueOrDefault(path, []);
                switch (action)
                {
                    case <= 2:
                        volume.WriteAllBytes(path, model[path] = Bytes(number, length));
                        break;
                    case <= 5:
                        using (CffsFile handle = volume.OpenFile(path, CffsOpenMode.Write | CffsOpenMode.Create))
                        {
                            handle.Write(offset, Bytes(number, length));
                        }

                        byte[] written = new byte[length == 0 ? old.Length : Math.Max(old.Length, offset + length)];
                        old.CopyTo(written, 0);
                        Bytes(number, length).CopyTo(written.AsSpan(Math.Min(offset, written.Length)));
                        model[path] = written;
                        break;
                    case 6 when model.ContainsKey(path):
                        using (CffsFile handle = volume.OpenFile(path, CffsOpenMode.Write))
                        {
                            handle.SetLength(length);
                        }

                        byte[] resized = new byte[length];
                        old.AsSpan(0, Math.Min(length, old.Length)).CopyTo(resized);
                        model[path] = resized;
                        break;
                    case 7 when model.ContainsKey(path):
                        volume.RemoveFile(path);
                        model.Remove(path);
                        break;
                    case 8 when model.ContainsKey(path) && file != offset % 10:
                        volume.Rename(path, $"/{offset % 10}");
                        model.Remove(path);
                        model[$"/{offset % 10}"] = old;
                        break;
                    case 9:
                        volume.Sync();
                        break;
                    case 10:
                        volume.ReplaceAllBytes(path, model[path] = Bytes(number, length));
                        break;
                }

                foreach ((string name, byte[] contents) in model)
                {
                    if (!volume.ReadAllBytes(name).AsSpan().SequenceEqual(contents))
                    {
                        throw new InvalidOperationException($"{name} is wrong after step {number}");
                    }
                }
            }

            volume.Dispose();
            Assert.Empty(Verified.Check(disk).Findings);
            using CffsVolume again = CffsVolume.Open(disk);
            foreach ((string name, byte[] contents) in model)
            {
                Assert.Equal(contents, again.ReadAllBytes(name));
            }
        }, iter: 60, threads: 1);

    [Fact]
    public void Room_in_a_pack_is_found_where_nothing_is() => Gen.Select(Gen.Byte, Gen.Int[1, 4]).Sample((used, count) =>
    {
        int first = Pack.FindRoom(used, count);
        bool isThere = Enumerable.Range(0, Sector.PerBlock + 1 - count).Any(at => (used & Pack.Mask(at, count)) == 0);
        return first < 0 ? !isThere : first + count <= Sector.PerBlock && (used & Pack.Mask(first, count)) == 0;
    });

    private CffsVolume Create()
    {
        CffsVolume volume = CffsVolume.Create(_disk, new CffsCreateOptions { Seed = 1 });
        volume.CreateDirectory("/d");
        return volume;
    }

    private static ulong BlockOf(CffsVolume volume, string path)
    {
        using CffsFile file = volume.OpenFile(path, CffsOpenMode.Read);
        return file.ReadExtents()[0].Block!.Value.Value;
    }

    private static byte[] Bytes(int seed, int length)
    {
        byte[] bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }
}
