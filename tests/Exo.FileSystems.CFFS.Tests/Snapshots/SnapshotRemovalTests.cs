// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Tests.Space;
using Exo.Simulation.Crashes;
using Exo.Simulation.Disks;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Tests.Snapshots;

/// <summary>
/// Removals of a snapshot that are cancelled, at every step: it is whole, and the cancellation is thrown, or it is gone, and what is left of it goes later; the volume is clean but for that, and all room is
/// given back in the end. A step is a look at the clock, which every change takes.
/// </summary>
public sealed class SnapshotRemovalTests : IDisposable
{
    private const string Snapshot = "/.s";

    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
    private readonly Dictionary<int, (DiskContents Contents, string Picture, ulong Free)> _starts = [];

    public void Dispose() => _frames.Dispose();

    [Theory]
    [InlineData(0, 'c')]
    [InlineData(0, 'd')]
    [InlineData(64, 'c')]
    [InlineData(64, 'd')]
    [InlineData(0, 'x')]
    [InlineData(64, 'x')]
    public void Cancelled_at_any_step_it_is_whole_or_gone(int logBlocks, char then)
    {
        (DiskContents contents, string picture, ulong free) = Start(logBlocks);
        int whole = 0;
        int partial = 0;
        for (int step = 1; ; step++)
        {
            using SimulatedBlockDevice disk = new(_frames, contents);
            using CancellationTokenSource source = new();
            CountingClock clock = new();
            CffsVolume volume = CffsVolume.Open(disk, new CffsOpenOptions { Time = clock });
            clock.CancelAfter(step, source);
            CffsSnapshotRemoval? removal = Delete(volume, source.Token);
            clock.CancelAfter(0, null);
            Assert.Equal(removal is null, volume.Exists(Snapshot));
            whole += removal is null ? 1 : 0;
            partial += removal == CffsSnapshotRemoval.RemainsLeft ? 1 : 0;
            if (removal is null)
            {
                Assert.Equal(picture, TreePicture.Of(volume, Snapshot));
                Close(volume, disk, then, isClean: then != 'x');
                continue;
            }

            // Others go on meanwhile; the next removal goes on with this one.
            volume.WriteAllBytes("/meanwhile", new byte[9000]);
            volume.Sync();
            if (then == 'd')
            {
                volume.CreateSnapshot("/d/e", "/.t");
                Assert.Equal(CffsSnapshotRemoval.Complete, volume.DeleteSnapshot("/.t", cancellationToken: TestContext.Current.CancellationToken));
            }

            Close(volume, disk, then, isClean: then == 'd' || (then == 'c' && removal == CffsSnapshotRemoval.Complete));
            using (CffsVolume looked = CffsVolume.Open(disk, new CffsOpenOptions { ReadOnly = true }))
            {
                Assert.False(looked.Exists(Snapshot));
            }

            volume = CffsVolume.Open(disk);
            Assert.False(volume.Exists(Snapshot));
            volume.RemoveFile("/meanwhile");
            Close(volume, disk, 'c', isClean: true);
            Assert.Equal(free, FreeBlocks(disk));
            if (removal == CffsSnapshotRemoval.Complete)
            {
                TestContext.Current.TestOutputHelper?.WriteLine($"{step} steps: {whole} times whole, {partial} times remains");
                Assert.True(whole > 0 && partial > 40, $"{whole} times whole, {partial} times remains");
                return;
            }
        }
    }

    /// <summary>Again and again: each mount's removal, of the remains too, is interrupted by a crash after some writes, at every moment of what a cancelled one has left.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(64)]
    public void Power_cuts_after_a_cancellation_leave_it_gone(int logBlocks)
    {
        (DiskContents contents, _, ulong free) = Start(logBlocks);
        using SimulatedBlockDevice disk = new(_frames, contents, recorded: true);
        using CancellationTokenSource source = new();
        CountingClock clock = new();
        CffsVolume volume = CffsVolume.Open(disk, new CffsOpenOptions { Time = clock });
        clock.CancelAfter(40, source);
        Assert.Equal(CffsSnapshotRemoval.RemainsLeft, Delete(volume, source.Token));
        disk.Recording!.Mark("gone");
        volume.Dispose();
        CffsVolume.Open(disk).Dispose();
        int states = 0;
        foreach (CrashState state in CrashStates.Enumerate(disk.Recording, new CrashExplorationOptions { Seed = logBlocks, CutsMax = 60, StatesPerCutMax = 5 }))
        {
            states++;
            using SimulatedBlockDevice cut = new(_frames, state.Contents);
            AssertClean(cut, wasUnmounted: null);
            using (CffsVolume recovered = CffsVolume.Open(cut))
            {
                bool isThere = recovered.Exists(Snapshot);
                Assert.True(!isThere || state.Marks.Count == 0, $"{state.Description}: it is there");
                if (isThere)
                {
                    recovered.DeleteSnapshot(Snapshot, cancellationToken: TestContext.Current.CancellationToken);
                }
            }

            AssertClean(cut, wasUnmounted: true);
            Assert.Equal(free, FreeBlocks(cut));
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"{states} states");
        Assert.True(states > 40, $"{states} states");
    }

    [Fact]
    public async Task Both_doors_say_the_same_and_two_may_remove_at_a_time()
    {
        (DiskContents contents, _, ulong free) = Start(0);
        using SimulatedBlockDevice disk = new(_frames, contents);
        using CancellationTokenSource source = new();
        CountingClock clock = new();
        await using (CffsVolume volume = CffsVolume.Open(disk, new CffsOpenOptions { Time = clock }))
        {
            CancellationToken never = TestContext.Current.CancellationToken;
            await Assert.ThrowsAnyAsync<OperationCanceledException>(async () => await volume.DeleteSnapshotAsync(Snapshot, cancellationToken: new CancellationToken(canceled: true)));
            Assert.ThrowsAny<OperationCanceledException>(() => volume.DeleteSnapshot(Snapshot, cancellationToken: new CancellationToken(canceled: true)));
            await volume.CreateSnapshotAsync("/d", "/.t", cancellationToken: never);
            await volume.CreateSnapshotAsync("/d", "/.u", cancellationToken: never);
            clock.CancelAfter(40, source);
            Assert.Equal(CffsSnapshotRemoval.RemainsLeft, await volume.DeleteSnapshotAsync(Snapshot, cancellationToken: source.Token));
            clock.CancelAfter(0, null);
            Task<CffsSnapshotRemoval>[] both = [.. new[] { "/.t", "/.u" }.Select(name => Task.Run(() => volume.DeleteSnapshot(name, cancellationToken: never), never))];
            Assert.All(await Task.WhenAll(both), removal => Assert.Equal(CffsSnapshotRemoval.Complete, removal));
        }

        AssertClean(disk, wasUnmounted: true);
        Assert.Equal(free, FreeBlocks(disk));
    }

    /// <summary>On a disk of others', which is unmounted cleanly whatever its file systems are, and within one attachment.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_file_system_among_others_goes_on_when_it_is_opened_next(bool attachesAnew)
    {
        using SimulatedBlockDevice device = new(_frames, DiskContents.Zeroes(4096));
        XnVolume disk = XnVolume.Format(device, new XnFormatOptions());
        ulong free;
        try
        {
            using CancellationTokenSource source = new();
            CountingClock clock = new();
            using (CffsVolume volume = CffsVolume.Create(disk, "cffs", new CffsCreateOptions { Seed = 1, Open = new CffsOpenOptions { Time = clock } }))
            {
                Fill(volume);
                volume.CreateSnapshot("/d", Snapshot, cancellationToken: TestContext.Current.CancellationToken);
                volume.DeleteSnapshot(Snapshot, cancellationToken: TestContext.Current.CancellationToken);
                Settle(volume);
                free = volume.GetSpace().FreeBlocks;
                volume.CreateSnapshot("/d", Snapshot, cancellationToken: TestContext.Current.CancellationToken);
                clock.CancelAfter(40, source);
                Assert.Equal(CffsSnapshotRemoval.RemainsLeft, Delete(volume, source.Token));
                clock.CancelAfter(0, null);
            }

            if (attachesAnew)
            {
                Assert.Equal(XnStatus.Ok, disk.Unmount());
                disk.Dispose();
                disk = XnVolume.Attach(device);
                Assert.Null(disk.Recovery);
            }

            using (CffsVolume volume = CffsVolume.Open(disk, "cffs"))
            {
                Settle(volume);
                Assert.Equal(free, volume.GetSpace().FreeBlocks);
            }

            Assert.Equal(XnStatus.Ok, disk.Unmount());
        }
        finally
        {
            disk.Dispose();
        }

        AssertClean(device, wasUnmounted: true);
    }

    /// <summary>A request of the removal fails: before, such a volume was called clean with the rest of the tree in its orphan directory.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(64)]
    public void A_removal_that_fails_is_gone_on_with(int logBlocks)
    {
        (DiskContents contents, _, ulong free) = Start(logBlocks);
        int failed = 0;
        int left = 0;
        for (int request = 1; ; request++)
        {
            using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 2 << 20 });
            using SimulatedBlockDevice disk = new(frames, contents);
            using NthFaultDevice device = new(disk);
            using (CffsVolume volume = CffsVolume.Open(device))
            {
                device.FailAt = device.Requests + request;
                try
                {
                    volume.DeleteSnapshot(Snapshot, cancellationToken: TestContext.Current.CancellationToken);
                }
                catch (BlockDeviceException)
                {
                    failed++;
                }

                device.FailAt = 0;
            }

            CffsCheckReport report = Verified.Check(disk);
            Assert.True(report.IsClean, string.Join("; ", report.Findings));
            left += report.WasUnmounted ? 0 : 1;
            using (CffsVolume volume = CffsVolume.Open(disk))
            {
                if (volume.Exists(Snapshot))
                {
                    volume.DeleteSnapshot(Snapshot, cancellationToken: TestContext.Current.CancellationToken);
                }
            }

            AssertClean(disk, wasUnmounted: true);
            Assert.Equal(free, FreeBlocks(disk));
            if (device.Faults == 0)
            {
                TestContext.Current.TestOutputHelper?.WriteLine($"{request} requests, {failed} failed the removal, {left} left something");
                Assert.True(left > 0, $"{failed} failed, {left} left something");
                return;
            }
        }
    }

    /// <summary>What cannot be removed keeps nobody from the rest; the volume is not called clean, and a repair takes it away.</summary>
    [Fact]
    public void Remains_that_are_damaged_stay_and_the_volume_opens()
    {
        (DiskContents contents, _, _) = Start(0);
        HashSet<ulong> others = Slots(AfterRemoval(contents, cancelAfter: 1_000_000, CffsSnapshotRemoval.Complete));
        DiskContents left = AfterRemoval(contents, cancelAfter: 10, CffsSnapshotRemoval.RemainsLeft);
        ulong[] remains = [.. Slots(left).Except(others)];
        Assert.NotEmpty(remains);
        using MemoryStream image = new();
        left.Save(image);
        foreach (ulong block in remains)
        {
            image.GetBuffer()[((long)block * 4096) + 40] ^= 0x55;
        }

        image.Position = 0;
        using SimulatedBlockDevice disk = new(_frames, DiskContents.Load(image));
        for (int i = 0; i < 2; i++)
        {
            using (CffsVolume volume = CffsVolume.Open(disk))
            {
                Assert.False(volume.Exists(Snapshot));
                volume.WriteAllBytes($"/{i}", new byte[5000]);
                volume.CreateSnapshot("/d", "/.t", cancellationToken: TestContext.Current.CancellationToken);
                Assert.Equal(CffsSnapshotRemoval.Complete, volume.DeleteSnapshot("/.t", cancellationToken: TestContext.Current.CancellationToken));
            }

            CffsCheckReport report = Verified.Check(disk);
            Assert.False(report.IsClean);
            Assert.False(report.WasUnmounted);
        }

        Assert.True(CffsRepair.Run(disk, new CffsRepairOptions()).IsClean);
        using CffsVolume repaired = CffsVolume.Open(disk);
        Assert.Equal(5000, repaired.ReadAllBytes("/1").Length);
    }

    private DiskContents AfterRemoval(DiskContents contents, int cancelAfter, CffsSnapshotRemoval expected)
    {
        using SimulatedBlockDevice disk = new(_frames, contents);
        using CancellationTokenSource source = new();
        CountingClock clock = new();
        using (CffsVolume volume = CffsVolume.Open(disk, new CffsOpenOptions { Time = clock }))
        {
            clock.CancelAfter(cancelAfter, source);
            Assert.Equal(expected, Delete(volume, source.Token));
        }

        return disk.Snapshot();
    }

    private HashSet<ulong> Slots(DiskContents contents)
    {
        using SimulatedBlockDevice disk = new(_frames, contents);
        using CffsVolume volume = CffsVolume.Open(disk, new CffsOpenOptions { ReadOnly = true });
        return [.. volume.MapBlocks().Where(run => run.Kind == CffsBlockKind.Slots).SelectMany(run => Enumerable.Range(0, (int)run.Extent.Count).Select(i => run.Extent.First.Value + (ulong)i))];
    }

    private (DiskContents Contents, string Picture, ulong Free) Start(int logBlocks)
    {
        if (_starts.TryGetValue(logBlocks, out (DiskContents, string, ulong) known))
        {
            return known;
        }

        using SimulatedBlockDevice disk = new(_frames, DiskContents.Zeroes(4096));
        using (CffsVolume volume = CffsVolume.Create(disk, new CffsCreateOptions { Seed = 1, LogBlocks = logBlocks }))
        {
            Fill(volume);

            // The orphan directory keeps the block that it needs once.
            volume.CreateSnapshot("/d", Snapshot, cancellationToken: TestContext.Current.CancellationToken);
            volume.DeleteSnapshot(Snapshot, cancellationToken: TestContext.Current.CancellationToken);
        }

        ulong free = FreeBlocks(disk);
        string picture;
        using (CffsVolume volume = CffsVolume.Open(disk))
        {
            volume.CreateSnapshot("/d", Snapshot, cancellationToken: TestContext.Current.CancellationToken);
            picture = TreePicture.Of(volume, Snapshot);
        }

        return _starts[logBlocks] = (disk.Snapshot(), picture, free);
    }

    /// <summary>Something of each shape, in directories of more and of less than a block.</summary>
    private static void Fill(CffsVolume volume)
    {
        volume.CreateDirectory("/d");
        volume.CreateDirectory("/d/e");
        volume.CreateDirectory("/d/e/f");
        volume.CreateDirectory("/d/empty");
        for (int i = 0; i < 40; i++)
        {
            volume.WriteAllBytes($"/d/{i}", new byte[10 + (i * 200)]);
        }

        volume.WriteAllBytes("/d/e/large", new byte[200_000]);
        using (CffsFile holes = volume.OpenFile("/d/e/f/holes", CffsOpenMode.Write | CffsOpenMode.CreateNew))
        {
            for (int i = 0; i < 5; i++)
            {
                holes.Write(i * 100_000, new byte[5000]);
            }
        }

        volume.CreateHardLink("/d/e/large", "/d/e/f/linked");
        volume.CreateSymbolicLink("/d/e/link", new string('t', 600));
        volume.SetExtendedAttribute("/d/e", "user.k", new byte[50]);
        volume.SetExtendedAttribute("/d/7", "user.k", new byte[50]);
    }

    private static CffsSnapshotRemoval? Delete(CffsVolume volume, CancellationToken cancellation)
    {
        try
        {
            return volume.DeleteSnapshot(Snapshot, cancellationToken: cancellation);
        }
        catch (OperationCanceledException)
        {
            return null;
        }
    }

    /// <summary>A clean close, or a crash right after the call.</summary>
    private static void Close(CffsVolume volume, SimulatedBlockDevice disk, char then, bool isClean)
    {
        if (then == 'x')
        {
            volume.Abandon();
        }
        else
        {
            volume.Dispose();
        }

        AssertClean(disk, isClean);
        Assert.Equal(then != 'x' && !isClean, Verified.Check(disk).Findings.Any(finding => finding.ToString().Contains("removal of a snapshot was cancelled", StringComparison.Ordinal)));
    }

    private static void AssertClean(SimulatedBlockDevice disk, bool? wasUnmounted)
    {
        CffsCheckReport report = Verified.Check(disk);
        Assert.True(report.IsClean, string.Join("; ", report.Findings));
        Assert.True(wasUnmounted is null || report.WasUnmounted == wasUnmounted, $"unmounted: {report.WasUnmounted}");
    }

    private static ulong FreeBlocks(SimulatedBlockDevice disk)
    {
        using CffsVolume volume = CffsVolume.Open(disk, new CffsOpenOptions { ReadOnly = true });
        return volume.GetSpace().FreeBlocks + volume.GetSpace().WillFreeBlocks;
    }

    private static void Settle(CffsVolume volume)
    {
        while (!volume.Core.Committer.IsIdle)
        {
            volume.Sync();
        }
    }

    /// <summary>Goes on a little with every look, and cancels at a certain one.</summary>
    private sealed class CountingClock : TimeProvider
    {
        private long _looks;
        private long _cancelAt;
        private CancellationTokenSource? _source;

        public override DateTimeOffset GetUtcNow()
        {
            long look = Interlocked.Increment(ref _looks);
            if (look == Volatile.Read(ref _cancelAt))
            {
                _source?.Cancel();
            }

            return DateTimeOffset.UnixEpoch.AddSeconds(1) + TimeSpan.FromMilliseconds(look);
        }

        /// <summary>Cancels at the look that is so many from now; without a source never.</summary>
        public void CancelAfter(int looks, CancellationTokenSource? source)
        {
            _source = source;
            Volatile.Write(ref _cancelAt, source is null ? 0 : Volatile.Read(ref _looks) + looks);
        }
    }
}
