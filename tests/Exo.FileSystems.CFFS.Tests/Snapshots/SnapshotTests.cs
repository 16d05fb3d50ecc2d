// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.Simulation.Disks;

namespace Exo.FileSystems.CFFS.Tests.Snapshots;

/// <summary>Read-only copies of trees: complete, shared, unchangeable, and gone without a trace when they are deleted.</summary>
public sealed class SnapshotTests : IDisposable
{
    private const int Block = 4096;
    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
    private readonly SimulatedBlockDevice _disk;
    private CffsVolume _volume;

    public SnapshotTests()
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
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void A_snapshot_is_the_tree_as_it_was(int seed)
    {
        Random random = new(seed);
        TreeModel model = new();
        RandomWorkload workload = new(_volume, model, random);
        Steps(workload, 250);
        string before = TreePicture.Of(_volume, "");
        _volume.CreateSnapshot("/", "/snap");
        Assert.Equal(before, TreePicture.Of(_volume, "/snap"));
        ulong inode = _volume.Stat("/snap").Inode;
        Steps(workload, 150);
        Assert.Equal(before, TreePicture.Of(_volume, "/snap"));
        _volume.Dispose();
        AssertClean();
        _volume = CffsVolume.Open(_disk);
        Assert.Equal(before, TreePicture.Of(_volume, "/snap"));
        Assert.Equal(inode, _volume.Stat("/snap").Inode);
        string second = TreePicture.Of(_volume, "");
        _volume.CreateSnapshot("/", "/again");
        Assert.Equal(second, TreePicture.Of(_volume, "/again"));
        Assert.False(_volume.Exists("/again/snap"));
        _volume.DeleteSnapshot("/snap");
        Assert.Equal(second, TreePicture.Of(_volume, "/again"));
        _volume.DeleteSnapshot("/again");
        model.AssertEquals(_volume);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_snapshot_that_is_cancelled_leaves_nothing_and_nobody_locked(bool whileLocking)
    {
        for (int i = 0; i < 3000; i++)
        {
            _volume.WriteAllBytes($"/{i}", Bytes(10, i));
        }

        _volume.CreateSnapshot("/", "/warm up");
        _volume.DeleteSnapshot("/warm up");
        _volume.Sync();
        ulong free = _volume.GetSpace().FreeBlocks;
        using CancellationTokenSource cancel = new();
        CffsSnapshotProgress last = default;
        Assert.Throws<OperationCanceledException>(() => _volume.CreateSnapshot(
            "/",
            "/snap",
            progress: new Telling(value =>
            {
                last = value;
                if ((value.CopiedInodes == 0) == whileLocking)
                {
                    cancel.Cancel();
                }
            }),
            cancellationToken: cancel.Token));
        Assert.InRange(whileLocking ? last.LockedInodes : last.CopiedInodes, 1, 3000);
        Assert.False(_volume.Exists("/snap"));
        _volume.Sync();
        Assert.Equal(free, _volume.GetSpace().FreeBlocks);
        for (int i = 0; i < 3000; i += 100)
        {
            _volume.WriteAllBytes($"/{i}", Bytes(20, i));
        }

        _volume.CreateSnapshot("/", "/snap");
        Assert.Equal(3000, _volume.ReadDirectory("/snap").Count);
        Assert.Throws<OperationCanceledException>(() => _volume.CreateSnapshot("/", "/again", cancellationToken: cancel.Token));
    }

    private sealed class Telling(Action<CffsSnapshotProgress> told) : IProgress<CffsSnapshotProgress>
    {
        public void Report(CffsSnapshotProgress value) => told(value);
    }

    [Fact]
    public void A_snapshot_takes_no_blocks_for_contents_and_gives_all_blocks_back()
    {
        _volume.CreateDirectory("/d");
        for (int i = 0; i < 20; i++)
        {
            _volume.WriteAllBytes($"/d/{i}", Bytes(60 * Block, i));
        }

        _volume.Sync();
        _volume.CreateSnapshot("/d", "/warm up");
        _volume.DeleteSnapshot("/warm up");
        _volume.Sync();
        ulong free = _volume.GetSpace().FreeBlocks;
        _volume.CreateSnapshot("/d", "/s");
        Assert.InRange(free - _volume.GetSpace().FreeBlocks, 1UL, 4UL);
        Assert.Equal(1200L, _volume.Disk.SharedBlocks);
        _volume.DeleteSnapshot("/s");
        _volume.Sync();
        Assert.Equal((free, 0L), (_volume.GetSpace().FreeBlocks, _volume.Disk.SharedBlocks));
    }

    [Fact]
    public void Nothing_of_a_snapshot_changes()
    {
        _volume.CreateDirectory("/d");
        _volume.CreateDirectory("/d/e");
        _volume.WriteAllBytes("/d/f", Bytes(3 * Block, 1));
        _volume.WriteAllBytes("/d/tiny", Bytes(5, 1));
        _volume.WriteAllBytes("/other", Bytes(5, 2));
        _volume.CreateSnapshot("/d", "/s");
        string before = TreePicture.Of(_volume, "/s");
        Action[] changes =
        [
            () => _volume.WriteAllBytes("/s/f", Bytes(5, 3)),
            () => _volume.WriteAllBytes("/s/new", Bytes(5, 3)),
            () => _volume.OpenFile("/s/f", CffsOpenMode.Write).Dispose(),
            () => _volume.CreateDirectory("/s/new"),
            () => _volume.CreateSymbolicLink("/s/new", "x"),
            () => _volume.CreateHardLink("/other", "/s/new"),
            () => _volume.CreateHardLink("/s/f", "/new"),
            () => _volume.RemoveFile("/s/f"),
            () => _volume.RemoveDirectory("/s/e"),
            () => _volume.RemoveDirectory("/s"),
            () => _volume.Rename("/s/f", "/g"),
            () => _volume.Rename("/s/f", "/s/g"),
            () => _volume.Rename("/other", "/s/g"),
            () => _volume.Rename("/other", "/s/f"),
            () => _volume.Rename("/s", "/t"),
            () => _volume.SetAttributes("/s/f", new CffsAttributeChange { Permissions = 0x1FF }),
            () => _volume.SetAttributes("/s", new CffsAttributeChange { User = 4 }),
            () => _volume.SetExtendedAttribute("/s/f", "user.x", new byte[] { 1 }),
            () => _volume.CloneFile("/other", "/s/g"),
            () => _volume.CreateSnapshot("/d", "/s/g"),
        ];
        foreach ((Action change, int index) in changes.Select((change, index) => (change, index)))
        {
            CffsException refused = Assert.Throws<CffsException>(change);
            Assert.True(refused.Error == CffsError.ReadOnly, $"change {index}: {refused.Error}");
        }

        Assert.Equal(before, TreePicture.Of(_volume, "/s"));

        // What is in it can be had back, and it can be copied.
        _volume.CloneFile("/s/f", "/back");
        Assert.Equal(_volume.ReadAllBytes("/d/f"), _volume.ReadAllBytes("/back"));
        _volume.CreateSnapshot("/s", "/t");
        Assert.Equal(before, TreePicture.Of(_volume, "/t"));
    }

    [Fact]
    public void What_makes_no_sense_is_refused()
    {
        _volume.CreateDirectory("/d");
        _volume.WriteAllBytes("/f", Bytes(5, 1));
        Assert.Equal(CffsError.Exists, Error(() => _volume.CreateSnapshot("/d", "/f")));
        Assert.Equal(CffsError.NotDirectory, Error(() => _volume.CreateSnapshot("/f", "/s")));
        Assert.Equal(CffsError.NotFound, Error(() => _volume.CreateSnapshot("/none", "/s")));
        Assert.Equal(CffsError.NotPermitted, Error(() => _volume.CreateSnapshot("/d", "/s", new CffsIdentity(5, 5))));
        Assert.Equal(CffsError.Invalid, Error(() => _volume.DeleteSnapshot("/d")));
        Assert.Equal(CffsError.Invalid, Error(() => _volume.DeleteSnapshot("/f")));
        Assert.Equal(CffsError.NotFound, Error(() => _volume.DeleteSnapshot("/none")));
        _volume.CreateDirectory("/d/below");
        _volume.CreateSnapshot("/d", "/s");
        Assert.Equal(CffsError.Invalid, Error(() => _volume.DeleteSnapshot("/s/below")));
    }

    [Fact]
    public void A_full_disk_leaves_no_half_snapshot()
    {
        _volume.CreateDirectory("/d");
        for (int i = 0; i < 2000; i++)
        {
            _volume.WriteAllBytes($"/d/{i}", Bytes(40, i));
        }

        int fill = 0;
        for (int length = 64 * Block; length >= Block; length /= 4)
        {
            try
            {
                while (true)
                {
                    _volume.WriteAllBytes($"/fill{fill++}", new byte[length]);
                }
            }
            catch (CffsException full) when (full.Error == CffsError.NoSpace)
            {
                _volume.Sync();
            }
        }

        Assert.Equal(CffsError.NoSpace, Error(() => _volume.CreateSnapshot("/d", "/s")));
        Assert.False(_volume.Exists("/s"));
        for (int i = 0; i < 8; i++)
        {
            _volume.RemoveFile($"/fill{i}");
        }

        _volume.Sync();
        _volume.CreateSnapshot("/d", "/s");
        Assert.Equal(TreePicture.Of(_volume, "/d"), TreePicture.Of(_volume, "/s"));
    }

    [Fact]
    public async Task A_snapshot_is_of_one_moment()
    {
        // Each thread writes one number to its file in one directory and then to its file in another: at any moment the first is the second, or one ahead.
        const int Threads = 4;
        _volume.CreateDirectory("/d");
        foreach (string directory in (string[])["/d/a", "/d/b"])
        {
            _volume.CreateDirectory(directory);
            for (int i = 0; i < Threads; i++)
            {
                _volume.WriteAllBytes($"{directory}/{i}", BitConverter.GetBytes(0L));
            }
        }

        using CancellationTokenSource stop = new();
        Task[] writers = [.. Enumerable.Range(0, Threads).Select(thread => Task.Factory.StartNew(
            () =>
            {
                using CffsFile first = _volume.OpenFile($"/d/a/{thread}", CffsOpenMode.Write);
                using CffsFile second = _volume.OpenFile($"/d/b/{thread}", CffsOpenMode.Write);
                for (long number = 1; !stop.IsCancellationRequested; number++)
                {
                    first.Write(0, BitConverter.GetBytes(number));
                    second.Write(0, BitConverter.GetBytes(number));
                }
            },
            CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default))];
        for (int i = 0; i < 10; i++)
        {
            _volume.CreateSnapshot("/d", $"/s{i}");
            for (int thread = 0; thread < Threads; thread++)
            {
                long first = BitConverter.ToInt64(_volume.ReadAllBytes($"/s{i}/a/{thread}"));
                long second = BitConverter.ToInt64(_volume.ReadAllBytes($"/s{i}/b/{thread}"));
                Assert.True(first == second || first == second + 1, $"snapshot {i}, thread {thread}: {first} and {second}");
            }
        }

        await stop.CancelAsync();
        await Task.WhenAll(writers);
    }

    private static void Steps(RandomWorkload workload, int count)
    {
        for (int i = 0; i < count; i++)
        {
            workload.Step();
        }
    }

    private void AssertClean()
    {
        CffsCheckReport report = Verified.Check(_disk);
        Assert.True(report.Findings.Count == 0, string.Join("; ", report.Findings));
    }

    private static CffsError Error(Action action) => Assert.Throws<CffsException>(action).Error;

    private static byte[] Bytes(int length, int seed)
    {
        byte[] bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }
}
