// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Tests.Snapshots;
using Exo.Simulation.Disks;

namespace Exo.FileSystems.CFFS.Tests.Copying;

/// <summary>Copies of trees, in a volume and to another: complete, independent, and nothing of them where they fail.</summary>
public sealed class CopyTreeTests : IDisposable
{
    private const int Block = 4096;
    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 80 << 20 });
    private readonly SimulatedBlockDevice _disk;
    private readonly SimulatedBlockDevice _otherDisk;
    private readonly CffsVolume _volume;
    private readonly CffsVolume _other;

    public CopyTreeTests()
    {
        _disk = new SimulatedBlockDevice(_frames, DiskContents.Zeroes(8192));
        _otherDisk = new SimulatedBlockDevice(_frames, DiskContents.Zeroes(8192));
        _volume = CffsVolume.Create(_disk, new CffsCreateOptions { Seed = 1 });
        _other = CffsVolume.Create(_otherDisk, new CffsCreateOptions { Seed = 2 });
    }

    public void Dispose()
    {
        _volume.Dispose();
        _other.Dispose();
        AssertClean(_disk);
        AssertClean(_otherDisk);
        _disk.Dispose();
        _otherDisk.Dispose();
        _frames.Dispose();
    }

    [Theory]
    [InlineData(1, false, true)]
    [InlineData(2, false, false)]
    [InlineData(3, true, true)]
    [InlineData(4, true, true)]
    public void A_copy_is_the_tree_as_it_is(int seed, bool toAnother, bool shares)
    {
        TreeModel model = new();
        RandomWorkload workload = new(_volume, model, new Random(seed));
        for (int i = 0; i < 400; i++)
        {
            workload.Step();
        }

        CffsVolume target = toAnother ? _other : _volume;
        string before = TreePicture.Of(_volume, "", isOfCopy: true);
        CffsCopyReport report = _volume.CopyTree("/", "/copy", target, shares);
        Assert.Equal(before, TreePicture.Of(target, "/copy", isOfCopy: true));
        Assert.Equal(before.Split('\n').Length, report.Directories + report.Files + report.Others + report.Links);
        Assert.True(toAnother || !shares || report.SharedBytes > 0);

        // Each goes its own way.
        target.CopyTree("/copy", "/second", _other);
        Assert.Equal(before, TreePicture.Of(_other, "/second", isOfCopy: true));
        if (toAnother)
        {
            for (int i = 0; i < 200; i++)
            {
                workload.Step();
            }

            Assert.Equal(before, TreePicture.Of(_other, "/copy", isOfCopy: true));
            model.AssertEquals(_volume);
        }
    }

    [Fact]
    public void Holes_large_files_and_many_small_ones()
    {
        _volume.CreateDirectory("/d");
        _volume.CreateDirectory("/d/many");
        for (int i = 0; i < 3000; i++)
        {
            _volume.WriteAllBytes($"/d/many/{i}", Bytes(i % 700, i));
        }

        using (CffsFile file = _volume.OpenFile("/d/sparse", CffsOpenMode.Write | CffsOpenMode.Create))
        {
            file.Write(3_000_000, Bytes(100_000, 1));
            file.Write(9_000_000, Bytes(10, 2));
            file.SetLength(20_000_000);
        }

        _volume.WriteAllBytes("/d/large", Bytes(5_000_001, 3));
        using (CffsFile file = _volume.OpenFile("/d/empty but long", CffsOpenMode.Write | CffsOpenMode.Create))
        {
            file.SetLength(70_000);
        }

        string before = TreePicture.Of(_volume, "/d", isOfCopy: true);
        foreach (CffsVolume target in (CffsVolume[])[_other, _volume])
        {
            CffsCopyReport report = _volume.CopyTree("/d", "/e", target, shareContents: target == _other);
            Assert.Equal((2L, 3003L), (report.Directories, report.Files));
            Assert.Equal(before, TreePicture.Of(target, "/e", isOfCopy: true));
            Assert.InRange(target.Stat("/e/sparse").AllocatedBlocks, 26UL, 40UL);
            Assert.InRange(report.Bytes, 6_000_000, 7_000_000);
        }

        CffsCopyReport shared = _volume.CopyTree("/d", "/f");
        Assert.Equal(before, TreePicture.Of(_volume, "/f", isOfCopy: true));
        Assert.InRange(shared.SharedBytes, 25_000_001, 26_000_000);
        _volume.WriteAllBytes("/f/large", "changed"u8.ToArray());
        Assert.Equal(before, TreePicture.Of(_volume, "/d", isOfCopy: true));
    }

    [Fact]
    public void A_tree_can_be_copied_into_itself_and_snapshots_in_it_are_left_out()
    {
        _volume.CreateDirectories("/d/e");
        _volume.WriteAllBytes("/d/f", Bytes(100, 1));
        _volume.CreateSnapshot("/d", "/d/snap");
        string before = TreePicture.Of(_volume, "/d", isOfCopy: true);
        _volume.CopyTree("/d", "/d/e/copy");
        Assert.Equal(before, TreePicture.Of(_volume, "/d/e/copy", isOfCopy: true));
        Assert.False(_volume.Exists("/d/e/copy/snap"));

        // A snapshot itself is copied as a tree that can be written.
        _volume.CopyTree("/d/snap", "/restored");
        _volume.WriteAllBytes("/restored/f", "new"u8.ToArray());
        Assert.Equal(100, _volume.Stat("/d/snap/f").Size);
    }

    [Fact]
    public void What_makes_no_sense_is_refused()
    {
        _volume.CreateDirectory("/d");
        _volume.WriteAllBytes("/f", Bytes(5, 1));
        Assert.Equal(CffsError.Exists, Error(() => _volume.CopyTree("/d", "/f")));
        Assert.Equal(CffsError.Exists, Error(() => _volume.CopyTree("/d", "/")));
        Assert.Equal(CffsError.NotDirectory, Error(() => _volume.CopyTree("/f", "/g")));
        Assert.Equal(CffsError.NotFound, Error(() => _volume.CopyTree("/none", "/g")));
        Assert.Equal(CffsError.NotFound, Error(() => _volume.CopyTree("/d", "/none/g", _other)));
    }

    [Fact]
    public void A_copy_that_finds_no_room_or_is_cancelled_leaves_nothing()
    {
        _volume.CreateDirectories("/d/below");
        for (int i = 0; i < 400; i++)
        {
            _volume.WriteAllBytes($"/d/{i}", Bytes(20_000, i));
            _volume.WriteAllBytes($"/d/below/{i}", Bytes(20_000, i));
        }

        _volume.Sync();
        _other.WriteAllBytes("/fill", new byte[6000 * Block]);
        _other.Sync();
        ulong free = _other.GetSpace().FreeBlocks + _other.GetSpace().WillFreeBlocks;
        Assert.Equal(CffsError.NoSpace, Error(() => _volume.CopyTree("/d", "/e", _other)));
        Assert.Equal(["fill"], _other.ReadDirectory("/").Select(entry => entry.NameString));
        _other.Sync();
        Assert.InRange((long)free - (long)(_other.GetSpace().FreeBlocks + _other.GetSpace().WillFreeBlocks), 0, 8);

        // Cancelled when it has told for the first time.
        _other.RemoveFile("/fill");
        _volume.CreateDirectory("/d/more");
        for (int i = 0; i < 1500; i++)
        {
            _volume.WriteAllBytes($"/d/more/{i}", Bytes(100, i));
        }

        using CancellationTokenSource stop = new();
        Assert.Throws<OperationCanceledException>(() => _volume.CopyTree("/d", "/e", _other, progress: new Stop(stop), cancellationToken: stop.Token));
        Assert.Empty(_other.ReadDirectory("/"));
    }

    private sealed class Stop(CancellationTokenSource source) : IProgress<CffsCopyReport>
    {
        private int _told;

        public void Report(CffsCopyReport value)
        {
            if (_told++ == 0)
            {
                source.Cancel();
            }
        }
    }

    private static CffsError Error(Action action) => Assert.Throws<CffsException>(action).Error;

    private static byte[] Bytes(int length, int seed)
    {
        byte[] bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }

    private static void AssertClean(SimulatedBlockDevice disk)
    {
        CffsCheckReport report = Verified.Check(disk);
        Assert.True(report.Findings.Count == 0, string.Join("; ", report.Findings));
    }
}
