// SPDX-License-Identifier: MIT
using System.Text;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Tests.Snapshots;
using Exo.Simulation.Disks;

namespace Exo.FileSystems.CFFS.Tests;

/// <summary>Each operation by text and by bytes, synchronously and asynchronously: four ways to one tree.</summary>
public sealed class TwoDoorsTests : IDisposable
{
    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 64 << 20 });
    private readonly List<SimulatedBlockDevice> _disks = [];

    public void Dispose()
    {
        _disks.ForEach(disk => disk.Dispose());
        _frames.Dispose();
    }

    [Fact]
    public async Task All_four_ways_lead_to_the_same_tree()
    {
        CancellationToken never = TestContext.Current.CancellationToken;
        string[] pictures = [await PictureAsync(Text), await PictureAsync(Bytes), await PictureAsync(v => TextAsync(v, never)), await PictureAsync(v => BytesAsync(v, never))];
        Assert.All(pictures, picture => Assert.Equal(pictures[0], picture));
        Assert.Contains("/e Fifo", pictures[0], StringComparison.Ordinal);
    }

    [Fact]
    public async Task All_ways_of_asking_give_the_same_answers()
    {
        CancellationToken never = TestContext.Current.CancellationToken;
        using CffsVolume volume = New();
        await Text(volume);
        byte[] a = "/t/a"u8.ToArray();
        byte[] l = "/t/l"u8.ToArray();
        foreach (byte[] contents in (byte[][])[volume.ReadAllBytes("/t/a"), volume.ReadAllBytes(a), await volume.ReadAllBytesAsync("/t/a", cancellationToken: never), await volume.ReadAllBytesAsync(a, cancellationToken: never)])
        {
            Assert.Equal("replaced"u8.ToArray(), contents);
        }

        byte[] into = new byte[4];
        foreach (Func<ValueTask<int>> read in (Func<ValueTask<int>>[])
            [
                () => new(volume.ReadAllBytes("/t/a", into.AsSpan())), () => new(volume.ReadAllBytes(a, into.AsSpan())),
                () => volume.ReadAllBytesAsync("/t/a", into.AsMemory(), cancellationToken: never), () => volume.ReadAllBytesAsync(a, into.AsMemory(), cancellationToken: never),
            ])
        {
            into.AsSpan().Clear();
            Assert.Equal(4, await read());
            Assert.Equal("repl"u8.ToArray(), into);
        }

        Assert.True(volume.Exists("/t/a") && volume.Exists(a) && await volume.ExistsAsync("/t/a", cancellationToken: never) && await volume.ExistsAsync(a, cancellationToken: never));
        Assert.False(volume.Exists("/t/z") || volume.Exists("/t/z"u8.ToArray()) || await volume.ExistsAsync("/t/z", cancellationToken: never) || await volume.ExistsAsync("/t/a/z"u8.ToArray(), cancellationToken: never));
        Assert.Equal(volume.ReadSymbolicLink("/t/l"), await volume.ReadSymbolicLinkAsync("/t/l", cancellationToken: never));
        Assert.Equal(volume.ReadSymbolicLink(l), await volume.ReadSymbolicLinkAsync(l, cancellationToken: never));
        Assert.Equal(volume.Stat("/t/a"), await volume.StatAsync(a, cancellationToken: never));
        string[] names = [.. volume.ReadDirectory("/t").Select(entry => entry.NameString)];
        Assert.Equal(names, (await volume.ReadDirectoryAsync("/t"u8.ToArray(), cancellationToken: never)).Select(entry => entry.NameString));
        Assert.Equal(names, (await volume.ReadDirectoryAsync("/t", cancellationToken: never)).Select(entry => entry.NameString));
        Assert.Equal(volume.GetExtendedAttribute(a, "user.x"u8.ToArray()), await volume.GetExtendedAttributeAsync("/t/a", "user.x", cancellationToken: never));
        Assert.Equal("x"u8.ToArray(), await volume.GetExtendedAttributeAsync(a, "user.x"u8.ToArray(), cancellationToken: never));
        Assert.Equal("user.x"u8.ToArray(), Assert.Single(await volume.ListExtendedAttributesAsync(a, cancellationToken: never)));
        Assert.Equal(volume.MapBlocks(), await volume.MapBlocksAsync(never));
        Assert.True(volume.TryLend("/t/large", out CffsSpanLease lease));
        Assert.Equal(20_000, lease.Bytes.Length);
        lease.Dispose();
        using CffsFile large = volume.OpenFile("/t/large");
        Assert.Equal(large.ReadExtents(), await large.ReadExtentsAsync(never));
        Assert.Equal(0UL, (await volume.DefragmentAsync("/t"u8.ToArray(), dryRun: true, cancellationToken: never)).MovedBlocks);
        Assert.Equal(0UL, volume.Defragment("/t"u8.ToArray(), dryRun: true).MovedBlocks);
        using CffsWatch watch = await volume.WatchAsync("/t"u8.ToArray(), cancellationToken: never);
        volume.RemoveFile("/t/a");
        Assert.True(watch.TryRead(out CffsChange change));
        Assert.Equal((CffsChangeKind.Removed, "a"), (change.Kind, change.PathString));
    }

    [Fact]
    public async Task A_volume_is_made_opened_checked_repaired_and_resized_without_blocking()
    {
        CancellationToken never = TestContext.Current.CancellationToken;
        string image = Path.Combine(Path.GetTempPath(), $"exo-cffs-{Guid.NewGuid():N}.img");
        try
        {
            await using (CffsVolume made = await CffsVolume.CreateAsync(image, new CffsCreateOptions { SizeBytes = 8 << 20, Seed = 1 }, never))
            {
                await made.WriteAllBytesAsync("/file"u8.ToArray(), new byte[5000], cancellationToken: never);
            }

            await CffsVolume.ResizeAsync(image, 16 << 20, cancellationToken: never);
            Assert.Equal(16 << 20, new FileInfo(image).Length);
            Assert.Empty((await CffsCheck.RunAsync(image, cancellationToken: never)).Findings);
            Assert.False((await CffsRepair.RunAsync(image, cancellationToken: never)).HasWritten);
            await using (CffsVolume opened = await CffsVolume.OpenAsync(image, cancellationToken: never))
            {
                Assert.Equal(5000, (await opened.StatAsync("/file", cancellationToken: never)).Size);
            }

            CancellationToken cancelled = new(canceled: true);
            await Assert.ThrowsAnyAsync<OperationCanceledException>(async () => await CffsVolume.ResizeAsync(image, 8 << 20, cancellationToken: cancelled));
            await Assert.ThrowsAnyAsync<OperationCanceledException>(async () => await CffsRepair.RunAsync(image, cancellationToken: cancelled));
        }
        finally
        {
            File.Delete(image);
        }

        SimulatedBlockDevice disk = new(_frames, DiskContents.Zeroes(1024));
        _disks.Add(disk);
        await using (CffsVolume made = await CffsVolume.CreateAsync(disk, new CffsCreateOptions { Seed = 1 }, never))
        {
            await made.CreateDirectoryAsync("/d"u8.ToArray(), cancellationToken: never);
        }

        await using (CffsVolume opened = await CffsVolume.OpenAsync(disk, cancellationToken: never))
        {
            await opened.RemoveDirectoryAsync("/d", cancellationToken: never);
        }

        Assert.Empty((await CffsCheck.RunAsync(disk, cancellationToken: never)).Findings);
        Assert.False((await CffsRepair.RunAsync(disk, cancellationToken: never)).HasWritten);
    }

    [Fact]
    public void A_snapshot_tells_how_far_it_has_come()
    {
        using CffsVolume volume = New();
        volume.CreateDirectory("/tree");
        for (int i = 0; i < 2500; i++)
        {
            volume.WriteAllBytes($"/tree/{i}", default);
        }

        volume.CreateHardLink("/tree/1", "/tree/again");
        Steps steps = new();
        volume.CreateSnapshot("/tree", "/snap", progress: steps);
        Assert.Equal(
            [new(1024, 0), new(2048, 0), new(2501, 1024), new(2501, 2048), new(2501, 2501)],
            steps.Told);
    }

    private static ValueTask Text(CffsVolume v)
    {
        v.CreateDirectories("/t/u/v");
        v.CreateDirectory("/t/w");
        v.WriteAllBytes("/t/a", "a"u8.ToArray());
        v.WriteAllBytes("/t/large", new byte[20_000]);
        v.ReplaceAllBytes("/t/a", "replaced"u8.ToArray());
        v.CreateHardLink("/t/a", "/t/b");
        v.CreateSymbolicLink("/t/l", "a");
        v.CreateNode("/t/e", 0x11A4);
        v.Rename("/t/b", "/t/u/b");
        v.Exchange("/t/u/b", "/t/l");
        v.SetExtendedAttribute("/t/a", "user.x", "x"u8.ToArray());
        v.SetExtendedAttribute("/t/a", "user.y", "y"u8.ToArray());
        v.RemoveExtendedAttribute("/t/a", "user.y");
        v.SetAttributes("/t/w", new CffsAttributeChange { Permissions = 0x1C0 });
        v.CloneFile("/t/large", "/t/clone");
        v.CopyTree("/t/u", "/t/copy");
        v.CreateSnapshot("/t/u", "/t/snap");
        v.DeleteSnapshot("/t/snap");
        v.RemoveDirectory("/t/u/v");
        v.RemoveFile("/t/u/b");
        using CffsFile unnamed = v.CreateUnnamedFile("/t");
        unnamed.CreateHardLink("/t/named");
        v.Rename("/t/l", "/t/hard");
        v.RenameWithWhiteout("/t/e", "/t/w/e");
        v.CreateSymbolicLink("/t/l", "a");
        return default;
    }

    private static ValueTask Bytes(CffsVolume v)
    {
        v.CreateDirectories(Of("/t/u/v"));
        v.CreateDirectory(Of("/t/w"));
        v.WriteAllBytes(Of("/t/a"), "a"u8.ToArray());
        v.WriteAllBytes(Of("/t/large"), new byte[20_000]);
        v.ReplaceAllBytes(Of("/t/a"), "replaced"u8.ToArray());
        v.CreateHardLink(Of("/t/a"), Of("/t/b"));
        v.CreateSymbolicLink(Of("/t/l"), Of("a"));
        v.CreateNode(Of("/t/e"), 0x11A4);
        v.Rename(Of("/t/b"), Of("/t/u/b"));
        v.Exchange(Of("/t/u/b"), Of("/t/l"));
        v.SetExtendedAttribute(Of("/t/a"), Of("user.x"), "x"u8.ToArray());
        v.SetExtendedAttribute(Of("/t/a"), Of("user.y"), "y"u8.ToArray());
        v.RemoveExtendedAttribute(Of("/t/a"), Of("user.y"));
        v.SetAttributes(Of("/t/w"), new CffsAttributeChange { Permissions = 0x1C0 });
        v.CloneFile(Of("/t/large"), Of("/t/clone"));
        v.CopyTree(Of("/t/u"), Of("/t/copy"));
        v.CreateSnapshot(Of("/t/u"), Of("/t/snap"));
        v.DeleteSnapshot(Of("/t/snap"));
        v.RemoveDirectory(Of("/t/u/v"));
        v.RemoveFile(Of("/t/u/b"));
        using CffsFile unnamed = v.CreateUnnamedFile(Of("/t"));
        unnamed.CreateHardLink(Of("/t/named"));
        v.Rename(Of("/t/l"), Of("/t/hard"));
        v.RenameWithWhiteout(Of("/t/e"), Of("/t/w/e"));
        v.CreateSymbolicLink(Of("/t/l"), Of("a"));
        return default;
    }

    private static async ValueTask TextAsync(CffsVolume v, CancellationToken never)
    {
        await v.CreateDirectoriesAsync("/t/u/v", cancellationToken: never);
        await v.CreateDirectoryAsync("/t/w", cancellationToken: never);
        await v.WriteAllBytesAsync("/t/a", "a"u8.ToArray(), cancellationToken: never);
        await v.WriteAllBytesAsync("/t/large", new byte[20_000], cancellationToken: never);
        await v.ReplaceAllBytesAsync("/t/a", "replaced"u8.ToArray(), cancellationToken: never);
        await v.CreateHardLinkAsync("/t/a", "/t/b", cancellationToken: never);
        await v.CreateSymbolicLinkAsync("/t/l", "a", cancellationToken: never);
        await v.CreateNodeAsync("/t/e", 0x11A4, cancellationToken: never);
        await v.RenameAsync("/t/b", "/t/u/b", cancellationToken: never);
        await v.ExchangeAsync("/t/u/b", "/t/l", cancellationToken: never);
        await v.SetExtendedAttributeAsync("/t/a", "user.x", "x"u8.ToArray(), cancellationToken: never);
        await v.SetExtendedAttributeAsync("/t/a", "user.y", "y"u8.ToArray(), cancellationToken: never);
        await v.RemoveExtendedAttributeAsync("/t/a", "user.y", cancellationToken: never);
        await v.SetAttributesAsync("/t/w", new CffsAttributeChange { Permissions = 0x1C0 }, cancellationToken: never);
        await v.CloneFileAsync("/t/large", "/t/clone", cancellationToken: never);
        await v.CopyTreeAsync("/t/u", "/t/copy", cancellationToken: never);
        await v.CreateSnapshotAsync("/t/u", "/t/snap", cancellationToken: never);
        await v.DeleteSnapshotAsync("/t/snap", cancellationToken: never);
        await v.RemoveDirectoryAsync("/t/u/v", cancellationToken: never);
        await v.RemoveFileAsync("/t/u/b", cancellationToken: never);
        CffsFile unnamed = await v.CreateUnnamedFileAsync("/t", cancellationToken: never);
        await unnamed.CreateHardLinkAsync("/t/named", cancellationToken: never);
        await unnamed.DisposeAsync();
        await v.RenameAsync("/t/l", "/t/hard", cancellationToken: never);
        await v.RenameWithWhiteoutAsync("/t/e", "/t/w/e", cancellationToken: never);
        await v.CreateSymbolicLinkAsync("/t/l", "a", cancellationToken: never);
    }

    private static async ValueTask BytesAsync(CffsVolume v, CancellationToken never)
    {
        await v.CreateDirectoriesAsync(Of("/t/u/v"), cancellationToken: never);
        await v.CreateDirectoryAsync(Of("/t/w"), cancellationToken: never);
        await v.WriteAllBytesAsync(Of("/t/a"), "a"u8.ToArray(), cancellationToken: never);
        await v.WriteAllBytesAsync(Of("/t/large"), new byte[20_000], cancellationToken: never);
        await v.ReplaceAllBytesAsync(Of("/t/a"), "replaced"u8.ToArray(), cancellationToken: never);
        await v.CreateHardLinkAsync(Of("/t/a"), Of("/t/b"), cancellationToken: never);
        await v.CreateSymbolicLinkAsync(Of("/t/l"), Of("a"), cancellationToken: never);
        await v.CreateNodeAsync(Of("/t/e"), 0x11A4, cancellationToken: never);
        await v.RenameAsync(Of("/t/b"), Of("/t/u/b"), cancellationToken: never);
        await v.ExchangeAsync(Of("/t/u/b"), Of("/t/l"), cancellationToken: never);
        await v.SetExtendedAttributeAsync(Of("/t/a"), Of("user.x"), "x"u8.ToArray(), cancellationToken: never);
        await v.SetExtendedAttributeAsync(Of("/t/a"), Of("user.y"), "y"u8.ToArray(), cancellationToken: never);
        await v.RemoveExtendedAttributeAsync(Of("/t/a"), Of("user.y"), cancellationToken: never);
        await v.SetAttributesAsync(Of("/t/w"), new CffsAttributeChange { Permissions = 0x1C0 }, cancellationToken: never);
        await v.CloneFileAsync(Of("/t/large"), Of("/t/clone"), cancellationToken: never);
        await v.CopyTreeAsync(Of("/t/u"), Of("/t/copy"), cancellationToken: never);
        await v.CreateSnapshotAsync(Of("/t/u"), Of("/t/snap"), cancellationToken: never);
        await v.DeleteSnapshotAsync(Of("/t/snap"), cancellationToken: never);
        await v.RemoveDirectoryAsync(Of("/t/u/v"), cancellationToken: never);
        await v.RemoveFileAsync(Of("/t/u/b"), cancellationToken: never);
        CffsFile unnamed = await v.CreateUnnamedFileAsync(Of("/t"), cancellationToken: never);
        await unnamed.CreateHardLinkAsync(Of("/t/named"), cancellationToken: never);
        await unnamed.DisposeAsync();
        await v.RenameAsync(Of("/t/l"), Of("/t/hard"), cancellationToken: never);
        await v.RenameWithWhiteoutAsync(Of("/t/e"), Of("/t/w/e"), cancellationToken: never);
        await v.CreateSymbolicLinkAsync(Of("/t/l"), Of("a"), cancellationToken: never);
    }

    private static byte[] Of(string path) => Encoding.UTF8.GetBytes(path);

    private async Task<string> PictureAsync(Func<CffsVolume, ValueTask> work)
    {
        using CffsVolume volume = New();
        await work(volume);
        return TreePicture.Of(volume, "/t");
    }

    private CffsVolume New()
    {
        SimulatedBlockDevice disk = new(_frames, DiskContents.Zeroes(2048));
        _disks.Add(disk);
        return CffsVolume.Create(disk, new CffsCreateOptions { Seed = 1, Open = new CffsOpenOptions { Time = new StoppedClock() } });
    }

    private sealed class StoppedClock : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => DateTimeOffset.UnixEpoch;
    }

    private sealed class Steps : IProgress<CffsSnapshotProgress>
    {
        public List<CffsSnapshotProgress> Told { get; } = [];

        public void Report(CffsSnapshotProgress value) => Told.Add(value);
    }
}
