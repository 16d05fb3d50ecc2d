// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Nodes;
using Exo.FileSystems.CFFS.Tests.Crashes;
using Exo.Simulation.Crashes;
using Exo.Simulation.Disks;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Tests.Space;

/// <summary>Volumes that shrink with everything they hold beyond their new end, and grow; interrupted, cut, refused. <c>EXO_CRASH_SEEDS</c> cuts more.</summary>
public sealed class ResizeTests : IDisposable
{
    private const ulong Blocks = 6000;

    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
    private readonly CffsOpenOptions _open = new() { IndexFromBlocks = 4, IndexSplitAt = 20 };

    public void Dispose() => _frames.Dispose();

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void All_that_lies_beyond_the_new_end_moves_and_nothing_changes(int seed)
    {
        using SimulatedBlockDevice disk = new(_frames, MakeStart(seed));
        CffsVolume volume = CffsVolume.Open(disk, _open);
        TreeSnapshot before = TreeSnapshot.Of(volume);
        using CffsFile open = volume.OpenFile("/many/7");
        ulong blocks = 3000;
        volume.Resize(blocks);
        Assert.Equal(blocks, volume.GetSpace().TotalBlocks);
        FullVolume.AssertCounts(volume);
        Assert.Null(before.DifferenceTo(TreeSnapshot.Of(volume)));
        volume.WriteAllBytes("/many/new", new byte[10_000]);
        volume.CreateHardLink("/many/8", "/many/new link");
        volume.Rename("/many/9", "/new name");
        volume.RemoveFile("/many/7");
        volume.Resize(Blocks);
        Assert.Equal(Blocks, volume.GetSpace().TotalBlocks);
        volume.WriteAllBytes("/large", new byte[8 << 20]);
        FullVolume.AssertCounts(volume);
        before = TreeSnapshot.Of(volume);
        volume.Dispose();
        AssertClean(disk);
        volume = CffsVolume.Open(disk, _open);
        Assert.Null(before.DifferenceTo(TreeSnapshot.Of(volume)));
        volume.Dispose();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void What_has_been_removed_a_moment_ago_is_room_already(bool isOpenMeanwhile)
    {
        using SimulatedBlockDevice disk = new(_frames, DiskContents.Zeroes((long)Blocks));
        CffsVolume volume = CffsVolume.Create(disk, new CffsCreateOptions { Seed = 1 });
        byte[] contents = new byte[100 * 4096];
        new Random(1).NextBytes(contents);
        foreach (string when in new[] { "first", "second" })
        {
            for (int i = 0; i < 20; i++)
            {
                volume.WriteAllBytes($"/{when} {i}", contents);
            }
        }

        volume.Sync();
        List<CffsFile> open = [];
        for (int i = 0; i < 20; i++)
        {
            if (isOpenMeanwhile)
            {
                open.Add(volume.OpenFile($"/first {i}"));
            }

            volume.RemoveFile($"/first {i}");
        }

        open.ForEach(file => file.Dispose());
        volume.Resize(2700);
        Assert.Equal(contents, volume.ReadAllBytes("/second 19"));
        volume.Dispose();
        AssertClean(disk);
    }

    [Fact]
    public void An_image_that_is_in_use_becomes_larger_and_smaller_with_its_volume()
    {
        string image = Path.Combine(Path.GetTempPath(), $"exo-{Guid.NewGuid():N}.img");
        try
        {
            CffsVolume volume = CffsVolume.Create(image, new CffsCreateOptions { SizeBytes = 16 << 20 });
            byte[] contents = new byte[6 << 20];
            new Random(1).NextBytes(contents);
            volume.WriteAllBytes("/first", contents);
            using (CffsFile open = volume.OpenFile("/first"))
            {
                volume.ResizeImage(40 << 20);
                Assert.Equal((40L << 20, 10240UL), (new FileInfo(image).Length, volume.GetSpace().TotalBlocks));
                volume.WriteAllBytes("/second", contents);
                volume.WriteAllBytes("/third", contents);
                volume.RemoveFile("/second");
                volume.ResizeImage((20 << 20) + 17);
                Assert.Equal((20L << 20, 5120UL), (new FileInfo(image).Length, volume.GetSpace().TotalBlocks));
                byte[] read = new byte[contents.Length];
                Assert.Equal(read.Length, open.Read(0, read));
                Assert.Equal(contents, read);
            }

            // What cannot be leaves the file alone.
            Assert.Equal(CffsError.Invalid, Assert.Throws<CffsException>(() => volume.ResizeImage(1L << 40)).Error);
            Assert.Equal(CffsError.NoSpace, Assert.Throws<CffsException>(() => volume.ResizeImage(4 << 20)).Error);
            Assert.Equal(20L << 20, new FileInfo(image).Length);

            // A file that somebody else has made longer.
            using (Process truncate = Process.Start("truncate", ["--size=24M", image]))
            {
                truncate.WaitForExit();
            }

            volume.ResizeImage(0);
            Assert.Equal(6144UL, volume.GetSpace().TotalBlocks);
            volume.Dispose();
            volume = CffsVolume.Open(image);
            Assert.Null(volume.Info.Recovery);
            Assert.Equal(contents, volume.ReadAllBytes("/third"));
            volume.Dispose();
        }
        finally
        {
            File.Delete(image);
        }
    }

    [Fact]
    public void A_volume_that_does_not_fit_is_refused_and_goes_on()
    {
        using SimulatedBlockDevice disk = new(_frames, MakeStart(1));
        CffsVolume volume = CffsVolume.Open(disk, _open);
        TreeSnapshot before = TreeSnapshot.Of(volume);
        Assert.Equal(CffsError.NoSpace, Assert.Throws<CffsException>(() => volume.Resize(600)).Error);
        Assert.Equal(CffsError.Invalid, Assert.Throws<CffsException>(() => volume.Resize(Blocks + 1)).Error);
        Assert.Equal(CffsError.Invalid, Assert.Throws<CffsException>(() => volume.Resize(10)).Error);
        Assert.Null(before.DifferenceTo(TreeSnapshot.Of(volume)));
        Assert.Equal(Blocks, volume.GetSpace().TotalBlocks);
        volume.WriteAllBytes("/new", new byte[1 << 20]);
        volume.Dispose();
        AssertClean(disk);
    }

    [Fact]
    public void What_is_cancelled_between_two_steps_goes_on_with_the_next_call()
    {
        using SimulatedBlockDevice disk = new(_frames, MakeStart(2));
        CffsVolume volume = CffsVolume.Open(disk, _open);
        TreeSnapshot before = TreeSnapshot.Of(volume);
        int interruptions = 0;
        while (volume.GetSpace().TotalBlocks != 3000)
        {
            using CancellationTokenSource cancellation = new();
            int steps = 0;
            try
            {
                volume.Resize(3000, new Immediate(_ => CancelAt(cancellation, ++steps == 20)), cancellation.Token);
            }
            catch (OperationCanceledException)
            {
                interruptions++;
                Assert.Equal(Blocks, volume.GetSpace().TotalBlocks);
                Assert.Null(before.DifferenceTo(TreeSnapshot.Of(volume)));
            }
        }

        Assert.True(interruptions > 2, $"{interruptions} interruptions");
        volume.Dispose();
        AssertClean(disk);
    }

    [Fact]
    public void Another_file_system_beyond_the_new_end_is_named()
    {
        using SimulatedBlockDevice disk = new(_frames, DiskContents.Zeroes((long)Blocks));
        using XnVolume xn = XnVolume.Format(disk);
        using CffsVolume one = CffsVolume.Create(xn, "one", new CffsCreateOptions { Seed = 1 });
        one.WriteAllBytes("/filler", new byte[12 << 20]);
        using (CffsVolume two = CffsVolume.Create(xn, "two", new CffsCreateOptions { Seed = 2 }))
        {
            two.WriteAllBytes("/kept", new byte[3 << 20]);
        }

        one.RemoveFile("/filler");
        CffsException refused = Assert.Throws<CffsException>(() => one.Resize(2000));
        Assert.Equal(CffsError.Busy, refused.Error);
        Assert.Contains("'two'", refused.Message, StringComparison.Ordinal);
        Assert.Equal(Blocks, one.GetSpace().TotalBlocks);
    }

    [Fact]
    public void A_file_becomes_shorter_and_longer_with_its_volume()
    {
        string image = Path.Combine(Path.GetTempPath(), $"exo-resize-{Guid.NewGuid():N}.img");
        try
        {
            byte[] kept = FullVolume.Pattern(3 << 20, 5);
            using (CffsVolume volume = CffsVolume.Create(image, new CffsCreateOptions { SizeBytes = 32 << 20 }))
            {
                volume.WriteAllBytes("/filler", new byte[16 << 20]);
                volume.WriteAllBytes("/kept", kept);
                volume.RemoveFile("/filler");
            }

            CffsVolume.Resize(image, 8 << 20);
            Assert.Equal(8 << 20, new FileInfo(image).Length);
            Assert.Empty(Verified.Check(image).Findings);
            CffsVolume.Resize(image, 200 << 20);
            Assert.Equal(200 << 20, new FileInfo(image).Length);
            Assert.Empty(Verified.Check(image).Findings);
            using (CffsVolume volume = CffsVolume.Open(image))
            {
                Assert.Equal((200UL << 20) / 4096, volume.GetSpace().TotalBlocks);
                Assert.Equal(kept, volume.ReadAllBytes("/kept"));
                volume.WriteAllBytes("/more", new byte[150 << 20]);
            }

            Assert.Empty(Verified.Check(image).Findings);
            Assert.Equal(CffsError.Invalid, Assert.Throws<CffsException>(() => CffsVolume.Resize(image, 1L << 30)).Error);
            Assert.Equal(200 << 20, new FileInfo(image).Length);
        }
        finally
        {
            File.Delete(image);
        }
    }

    [Fact]
    public void A_power_cut_at_any_moment_leaves_a_volume_of_one_size_or_the_other_with_all_it_had()
    {
        int more = int.TryParse(Environment.GetEnvironmentVariable("EXO_CRASH_SEEDS"), out int seeds) ? seeds : 1;
        int states = 0;
        for (int seed = 1; seed <= more; seed++)
        {
            using SimulatedBlockDevice disk = new(_frames, MakeStart(seed, isSmall: true), recorded: true);
            CffsVolume volume = CffsVolume.Open(disk, _open);
            TreeSnapshot before = TreeSnapshot.Of(volume);
            volume.Resize(2000);
            volume.Resize(Blocks);
            volume.Dispose();
            foreach (CrashState state in CrashStates.Enumerate(disk.Recording!, new CrashExplorationOptions { Seed = seed, CutsMax = 40, StatesPerCutMax = 3 }))
            {
                states++;
                using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 4 << 20 });
                using SimulatedBlockDevice cut = new(frames, state.Contents);
                try
                {
                    AssertClean(cut);
                    using (CffsVolume again = CffsVolume.Open(cut, _open))
                    {
                        Assert.Contains(again.GetSpace().TotalBlocks, (ulong[])[2000, Blocks]);
                        Assert.Null(before.DifferenceTo(TreeSnapshot.Of(again)));
                        FullVolume.AssertCounts(again);
                    }

                    AssertClean(cut);
                }
                catch (Exception failure)
                {
                    throw new InvalidOperationException($"seed {seed}, {state.Description}: {failure.Message}", failure);
                }
            }
        }

        Assert.True(states > 40, $"{states} states");
    }

    private static void CancelAt(CancellationTokenSource cancellation, bool isTime)
    {
        if (isTime)
        {
            cancellation.Cancel();
        }
    }

    private static void AssertClean(SimulatedBlockDevice disk)
    {
        CffsCheckReport report = Verified.Check(disk);
        Assert.True(report.IsClean, string.Join("; ", report.Findings));
    }

    /// <summary>Everything of a volume's kinds of blocks in its second half: a file that was removed has kept the first.</summary>
    private DiskContents MakeStart(int seed, bool isSmall = false)
    {
        using SimulatedBlockDevice device = new(_frames, DiskContents.Zeroes((long)Blocks));
        using (CffsVolume volume = CffsVolume.Create(device, new CffsCreateOptions { Seed = seed, Open = _open }))
        {
            NodeDoor door = new(volume);
            volume.WriteAllBytes("/filler", new byte[4096]);
            Inode filler = door.Lookup(door.Root, "filler"u8.ToArray())!;
            door.Allocate(filler, 0, 3200 * 4096, keepSize: false);
            door.Release(filler);
            Random random = new(seed);
            int files = isSmall ? 60 : 400;
            volume.CreateDirectory("/many");
            volume.CreateDirectory("/links");
            for (int i = 0; i < files; i++)
            {
                volume.WriteAllBytes($"/many/{i}", FullVolume.Pattern(random.Next(3) == 0 ? random.Next(30_000) : random.Next(600), i));
                if (i % 10 == 0)
                {
                    volume.CreateHardLink($"/many/{i}", $"/links/{i}");
                    volume.SetExtendedAttribute($"/many/{i}", "user.a", FullVolume.Pattern(100, i));
                    volume.CreateSymbolicLink($"/links/to {i}", new string('t', 1 + (i * 3)));
                    volume.CreateDirectory($"/links/directory {i}");
                    volume.WriteAllBytes($"/links/directory {i}/file", FullVolume.Pattern(5000, i));
                }
            }

            // Files of many extents, two at a time.
            using CffsFile one = volume.OpenFile("/one", CffsOpenMode.Write | CffsOpenMode.Create);
            using CffsFile two = volume.OpenFile("/two", CffsOpenMode.Write | CffsOpenMode.Create);
            for (int i = 0; i < (isSmall ? 30 : 250); i++)
            {
                one.Write(i * 12_000L, FullVolume.Pattern(4096, i).AsMemory());
                two.Write((i * 16_384L) + 5, FullVolume.Pattern(4000, i).AsMemory());
            }

            one.Write(0, FullVolume.Pattern(isSmall ? 100_000 : 900_000, seed).AsMemory());
            volume.WriteAllBytes("/large", FullVolume.Pattern(isSmall ? 300_000 : 2_500_000, 77));
            volume.RemoveFile("/filler");
        }

        return device.Snapshot();
    }

    private sealed class Immediate(Action<CffsMoveProgress> report) : IProgress<CffsMoveProgress>
    {
        public void Report(CffsMoveProgress value) => report(value);
    }
}
