// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.Simulation.Disks;

namespace Exo.FileSystems.CFFS.Tests.Clones;

/// <summary>Files that share blocks: what each reads, what the disk holds of them, and what a write to one of them costs.</summary>
public sealed class CloneTests : IDisposable
{
    private const int Block = 4096;
    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
    private readonly SimulatedBlockDevice _disk;
    private CffsVolume _volume;

    public CloneTests()
    {
        _disk = new SimulatedBlockDevice(_frames, DiskContents.Zeroes(8192));
        _volume = CffsVolume.Create(_disk, new CffsCreateOptions { Seed = 1 });
    }

    public void Dispose()
    {
        _volume.Dispose();
        AssertClean();
        _disk.Dispose();
        _frames.Dispose();
    }

    [Theory]
    [InlineData(10)]
    [InlineData(3 * Block)]
    [InlineData((100 * Block) + 17)]
    public void A_clone_has_the_contents_and_takes_no_blocks_for_them(int length)
    {
        byte[] contents = Bytes(length, 1);
        _volume.WriteAllBytes("/a", contents);
        _volume.Sync();
        ulong free = _volume.GetSpace().FreeBlocks;
        _volume.CloneFile("/a", "/b");
        _volume.Sync();
        Assert.Equal(free, _volume.GetSpace().FreeBlocks);
        Assert.Equal(contents, _volume.ReadAllBytes("/b"));
        Assert.NotEqual(_volume.Stat("/a").Inode, _volume.Stat("/b").Inode);
        Reopen();
        Assert.Equal(contents, _volume.ReadAllBytes("/b"));
        Assert.Equal(contents, _volume.ReadAllBytes("/a"));
    }

    [Fact]
    public void A_write_to_a_shared_block_takes_one_block_and_leaves_the_other_file_alone()
    {
        byte[] contents = Bytes(200 * Block, 2);
        _volume.WriteAllBytes("/a", contents);
        _volume.CloneFile("/a", "/b");
        _volume.Sync();
        ulong free = _volume.GetSpace().FreeBlocks;
        Write("/b", (57 * Block) + 5, [1, 2, 3]);
        _volume.Sync();

        // One for the block, and one for the extent tree that the file has now.
        Assert.Equal(free - 2, _volume.GetSpace().FreeBlocks);
        Assert.Equal(contents, _volume.ReadAllBytes("/a"));
        byte[] changed = (byte[])contents.Clone();
        changed[(57 * Block) + 5] = 1;
        changed[(57 * Block) + 6] = 2;
        changed[(57 * Block) + 7] = 3;
        Assert.Equal(changed, _volume.ReadAllBytes("/b"));
        Write("/a", 0, new byte[Block]);
        Assert.Equal(changed, _volume.ReadAllBytes("/b"));
        Reopen();
        Assert.Equal(changed, _volume.ReadAllBytes("/b"));
    }

    [Fact]
    public void A_block_that_the_other_has_left_is_written_in_place_again()
    {
        _volume.WriteAllBytes("/a", Bytes(50 * Block, 3));
        _volume.CloneFile("/a", "/b");
        _volume.RemoveFile("/b");
        _volume.Sync();
        IReadOnlyList<CffsExtent> before = Extents("/a");
        Write("/a", 0, Bytes(50 * Block, 4));
        Assert.Equal(before, Extents("/a"));
        Assert.False(before[0].IsShared);
    }

    [Fact]
    public void Extents_tell_what_is_shared()
    {
        _volume.WriteAllBytes("/a", Bytes(64 * Block, 5));
        _volume.CloneFile("/a", "/b");
        Write("/b", 10 * Block, Bytes(2 * Block, 6));
        IReadOnlyList<CffsExtent> extents = Extents("/b");
        Assert.Equal([(0L, 10L, true), (10L, 2L, false), (12L, 52L, true)], extents.Select(extent => (extent.Offset / Block, extent.LengthBytes / Block, extent.IsShared)));
        Assert.Equal([(0L, 10L, true), (10L, 2L, false), (12L, 52L, true)], Extents("/a").Select(extent => (extent.Offset / Block, extent.LengthBytes / Block, extent.IsShared)));
        _volume.WriteAllBytes("/tiny", Bytes(9, 7));
        Assert.Equal([new CffsExtent(0, 9, null, false)], Extents("/tiny"));
        _volume.WriteAllBytes("/empty", default);
        Assert.Empty(Extents("/empty"));
    }

    [Fact]
    public void Statfs_counts_a_shared_block_once()
    {
        _volume.WriteAllBytes("/a", Bytes(300 * Block, 8));
        _volume.Sync();
        ulong free = _volume.GetSpace().FreeBlocks;
        for (int i = 0; i < 5; i++)
        {
            _volume.CloneFile("/a", $"/b{i}");
        }

        _volume.RemoveFile("/a");
        _volume.Sync();
        Assert.Equal(free, _volume.GetSpace().FreeBlocks);
        for (int i = 0; i < 5; i++)
        {
            Assert.Equal(free, _volume.GetSpace().FreeBlocks);
            _volume.RemoveFile($"/b{i}");
            _volume.Sync();
        }

        Assert.Equal(free + 300, _volume.GetSpace().FreeBlocks);
    }

    [Fact]
    public void Random_writes_to_a_large_clone_scatter_its_extents_and_lose_nothing()
    {
        byte[] contents = Bytes(1200 * Block, 9);
        _volume.WriteAllBytes("/a", contents);
        _volume.CloneFile("/a", "/b");
        byte[] expected = (byte[])contents.Clone();
        Random random = new(9);
        using (CffsFile file = _volume.OpenFile("/b", CffsOpenMode.Write))
        {
            for (int i = 0; i < 400; i++)
            {
                int offset = random.Next(contents.Length - 100);
                byte[] bytes = Bytes(1 + random.Next(100), i);
                bytes.CopyTo(expected.AsSpan(offset));
                file.Write(offset, bytes);
            }
        }

        Assert.True(expected.AsSpan().SequenceEqual(_volume.ReadAllBytes("/b")));
        Assert.True(contents.AsSpan().SequenceEqual(_volume.ReadAllBytes("/a")));
        Assert.True(Extents("/b").Count > 300);
        Reopen();
        Assert.True(expected.AsSpan().SequenceEqual(_volume.ReadAllBytes("/b")));
        _volume.RemoveFile("/b");
        _volume.Sync();
        Assert.True(contents.AsSpan().SequenceEqual(_volume.ReadAllBytes("/a")));
    }

    [Fact]
    public void Writing_a_whole_clone_anew_makes_few_extents()
    {
        _volume.WriteAllBytes("/a", Bytes(1500 * Block, 10));
        _volume.CloneFile("/a", "/b");
        byte[] contents = Bytes(1500 * Block, 11);
        Write("/b", 0, contents);
        Assert.Equal(contents, _volume.ReadAllBytes("/b"));
        Assert.InRange(Extents("/b").Count, 1, 4);
        Assert.DoesNotContain(Extents("/b"), extent => extent.IsShared);
    }

    [Fact]
    public void What_makes_no_sense_is_refused_and_changes_nothing()
    {
        byte[] contents = Bytes((3 * Block) + 10, 12);
        _volume.WriteAllBytes("/a", contents);
        _volume.WriteAllBytes("/b", Bytes(8 * Block, 13));
        _volume.CreateDirectory("/d");
        Assert.Equal(CffsError.Exists, Error(() => _volume.CloneFile("/a", "/b")));
        Assert.Equal(CffsError.NotFound, Error(() => _volume.CloneFile("/none", "/c")));
        Assert.Equal(CffsError.IsDirectory, Error(() => _volume.CloneFile("/d", "/c")));
        Assert.Equal(CffsError.AccessDenied, Error(() => _volume.CloneFile("/a", "/c", new CffsIdentity(5, 5, []))));
        using CffsFile a = _volume.OpenFile("/a");
        using CffsFile b = _volume.OpenFile("/b", CffsOpenMode.Read | CffsOpenMode.Write);
        Assert.Equal(CffsError.Invalid, Error(() => b.CloneRange(1, a, 0, Block)));
        Assert.Equal(CffsError.Invalid, Error(() => b.CloneRange(0, a, 7, Block)));
        Assert.Equal(CffsError.Invalid, Error(() => b.CloneRange(0, a, 0, 100)));
        Assert.Equal(CffsError.Invalid, Error(() => b.CloneRange(0, a, 0, (3 * Block) + 10)));
        Assert.Equal(CffsError.Invalid, Error(() => b.CloneRange(0, a, 0, 4 * Block)));
        Assert.Equal(CffsError.Invalid, Error(() => b.CloneRange(0, a, 0, long.MaxValue)));
        Assert.Equal(CffsError.Invalid, Error(() => b.CloneRange(0, b, 0, Block)));
        Assert.Equal(CffsError.BadHandle, Error(() => a.CloneRange(0, b, 0, Block)));
        b.CloneRange(8 * Block, a, 0, (3 * Block) + 10);
        Assert.Equal(contents, _volume.ReadAllBytes("/b")[(8 * Block)..]);
        Assert.False(_volume.Exists("/c"));
    }

    [Fact]
    public void Holes_stay_holes()
    {
        using (CffsFile file = _volume.OpenFile("/a", CffsOpenMode.Write | CffsOpenMode.Create))
        {
            file.Write(10 * Block, Bytes(Block, 14));
            file.Write(20 * Block, Bytes(Block, 15));
            file.SetLength(100 * Block);
        }

        _volume.CloneFile("/a", "/b");
        Assert.Equal(_volume.ReadAllBytes("/a"), _volume.ReadAllBytes("/b"));
        Assert.Equal(2UL, _volume.Stat("/b").AllocatedBlocks);
    }

    private void Write(string path, long offset, byte[] bytes)
    {
        using CffsFile file = _volume.OpenFile(path, CffsOpenMode.Write);
        file.Write(offset, bytes);
    }

    private IReadOnlyList<CffsExtent> Extents(string path)
    {
        using CffsFile file = _volume.OpenFile(path);
        return file.ReadExtents();
    }

    private void Reopen()
    {
        _volume.Dispose();
        AssertClean();
        _volume = CffsVolume.Open(_disk);
    }

    private void AssertClean()
    {
        CffsCheckReport report = Verified.Check(_disk);
        Assert.True(report.IsClean && report.Findings.Count == 0, string.Join("; ", report.Findings));
    }

    private static CffsError Error(Action action) => Assert.Throws<CffsException>(action).Error;

    private static byte[] Bytes(int length, int seed)
    {
        byte[] bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }
}
