// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Inodes;

namespace Exo.FileSystems.CFFS.Tests.Paths;

/// <summary>Directories that paths led to lately are remembered: nothing may lead there any longer when the way has changed.</summary>
public sealed class RecentPathTests : IDisposable
{
    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });
    private readonly MemoryBlockDevice _disk;
    private readonly CffsVolume _volume;

    public RecentPathTests()
    {
        _disk = new MemoryBlockDevice(_frames, blockCount: 4096);
        _volume = CffsVolume.Create(_disk, new CffsCreateOptions { Seed = 1 });
        _volume.CreateDirectory("/a");
        _volume.CreateDirectory("/a/b");
        _volume.CreateDirectory("/x");
        _volume.WriteAllBytes("/a/b/file", "one"u8.ToArray());
        _volume.WriteAllBytes("/x/file", "three"u8.ToArray());
        _volume.CreateSymbolicLink("/link", "/a/b");
        _ = Length("/a/b/file");
        _ = Length("/link/file");
        _ = Length("/a/../x/file");
    }

    public void Dispose()
    {
        _volume.Dispose();
        _disk.Dispose();
        _frames.Dispose();
    }

    [Fact]
    public void A_directory_above_that_is_renamed_takes_the_way_with_it()
    {
        _volume.Rename("/a", "/z");
        Assert.Null(Length("/a/b/file"));
        Assert.Null(Length("/link/file"));
        Assert.Equal(3, Length("/z/b/file"));
        _volume.CreateDirectory("/a");
        _volume.CreateDirectory("/a/b");
        _volume.WriteAllBytes("/a/b/file", "four"u8.ToArray());
        Assert.Equal(4, Length("/a/b/file"));
    }

    [Fact]
    public void A_directory_that_has_left_memory_is_another_object()
    {
        InodeTable inodes = _volume.Core.Inodes;
        Inode known = inodes.TryHold(_volume.Stat("/a/b").Inode)!;
        inodes.Release(known);
        _volume.Sync();
        Assert.True(inodes.TryForget(_volume.Stat("/a/b/file").Inode));
        Assert.True(inodes.TryForget(known.Number));
        using (_volume.OpenFile("/a/b/file"))
        {
            Assert.Equal(3, Length("/a/b/file"));
            Inode again = inodes.TryHold(known.Number)!;
            Assert.NotSame(known, again);
            inodes.Release(again);
        }
    }

    [Fact]
    public void A_directory_does_not_leave_memory_while_somebody_has_its_lock()
    {
        InodeTable inodes = _volume.Core.Inodes;
        Inode directory = inodes.TryHold(_volume.Stat("/a/b").Inode)!;
        inodes.Release(directory);
        _volume.Sync();
        Assert.True(inodes.TryForget(_volume.Stat("/a/b/file").Inode));
        Assert.True(_volume.Core.Paths.TryEnterParent("/a/b/file"u8, CffsIdentity.Superuser, out Inode? entered, out _));
        Assert.Same(directory, entered);
        Assert.False(inodes.TryForget(directory.Number));
        entered.Lock.Exit();
        Assert.True(inodes.TryForget(directory.Number));
    }

    [Fact]
    public void A_link_on_the_way_can_become_another()
    {
        Assert.Equal(3, Length("/link/file"));
        _volume.RemoveFile("/link");
        Assert.Null(Length("/link/file"));
        _volume.CreateSymbolicLink("/link", "/x");
        Assert.Equal(5, Length("/link/file"));
        _volume.CreateSymbolicLink("/other", "/a/b");
        _volume.Rename("/other", "/link");
        Assert.Equal(3, Length("/link/file"));
    }

    [Fact]
    public void A_directory_that_is_removed_and_made_again_is_another()
    {
        _volume.RemoveFile("/a/b/file");
        _volume.RemoveDirectory("/a/b");
        Assert.Null(Length("/a/b/file"));
        Assert.Equal(CffsError.NotFound, Assert.Throws<CffsException>(() => _volume.WriteAllBytes("/a/b/file", default)).Error);
        _volume.CreateDirectory("/a/b");
        _volume.WriteAllBytes("/a/b/file", new byte[7]);
        Assert.Equal(7, Length("/a/b/file"));
    }

    [Fact]
    public void Permissions_of_every_directory_on_the_way_count()
    {
        CffsIdentity guest = new(1000, 1000);
        Assert.Equal(3, _volume.Stat("/a/b/file", identity: guest).Size);
        foreach (string directory in (string[])["/a", "/a/b"])
        {
            _volume.SetAttributes(directory, new CffsAttributeChange { Permissions = 0x1C0 });
            Assert.Equal(CffsError.AccessDenied, Assert.Throws<CffsException>(() => _volume.Stat("/a/b/file", identity: guest)).Error);
            Assert.Equal(CffsError.AccessDenied, Assert.Throws<CffsException>(() => _volume.OpenFile("/a/b/file", identity: guest)).Error);
            _volume.SetAttributes(directory, new CffsAttributeChange { Permissions = 0x1ED });
            Assert.Equal(3, _volume.Stat("/a/b/file", identity: guest).Size);
        }

        _volume.SetAttributes("/a/b/file", new CffsAttributeChange { Permissions = 0x180 });
        Assert.Equal(CffsError.AccessDenied, Assert.Throws<CffsException>(() => _volume.OpenFile("/a/b/file", identity: guest)).Error);
    }

    private long? Length(string path)
    {
        long? stat = _volume.Exists(path) ? _volume.Stat(path).Size : null;
        if (stat is null)
        {
            Assert.Equal(CffsError.NotFound, Assert.Throws<CffsException>(() => _volume.OpenFile(path)).Error);
        }
        else
        {
            using CffsFile file = _volume.OpenFile(path);
            Assert.Equal(stat, file.Length);
        }

        return stat;
    }
}
