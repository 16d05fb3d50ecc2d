// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.FileSystems.CFFS.Tests.Concurrency;

/// <summary>A cancelled operation has changed nothing or is complete.</summary>
public sealed class CancellationTests : IDisposable
{
    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
    private readonly MemoryBlockDevice _disk;
    private readonly CffsVolume _volume;

    public CancellationTests()
    {
        _disk = new MemoryBlockDevice(_frames, blockCount: 8192);
        _volume = CffsVolume.Create(_disk, new CffsCreateOptions { Seed = 1 });
        _volume.WriteAllBytes("/file", "before"u8.ToArray());
        _volume.CreateDirectory("/directory");
        _volume.Sync();
    }

    public void Dispose()
    {
        _volume.Dispose();
        _disk.Dispose();
        _frames.Dispose();
    }

    [Fact]
    public async Task What_is_cancelled_before_it_begins_changes_nothing()
    {
        CancellationToken cancelled = new(canceled: true);
        using CffsFile file = _volume.OpenFile("/file", CffsOpenMode.Read | CffsOpenMode.Write);
        long version = file.Version;
        long names = _volume.NamesVersion;
        byte[] buffer = new byte[6];
        Func<ValueTask>[] operations =
        [
            async () => _ = await file.ReadAsync(0, buffer, cancelled),
            async () => _ = await file.ReadAsync(0, [buffer], cancelled),
            () => file.WriteAsync(0, buffer, cancelled),
            () => file.WriteAsync(0, [(ReadOnlyMemory<byte>)buffer], cancelled),
            async () => _ = await file.AppendAsync(buffer, cancelled),
            () => file.SetLengthAsync(0, cancelled),
            () => file.SyncAsync(cancelled),
            async () => _ = await file.LeaseAsync(0, 6, cancelled),
            () => _volume.SyncAsync(cancelled),
            async () => _ = await _volume.OpenFileAsync("/new", CffsOpenMode.Write | CffsOpenMode.Create, cancellationToken: cancelled),
            async () => _ = await _volume.OpenDirectoryAsync("/directory"u8.ToArray(), cancellationToken: cancelled),
            () => _volume.CreateDirectoryAsync("/new", cancellationToken: cancelled),
            () => _volume.RenameAsync("/file", "/new", cancellationToken: cancelled),
            () => _volume.RemoveFileAsync("/file", cancellationToken: cancelled),
            async () => _ = await _volume.StatAsync("/file", cancellationToken: cancelled),
            async () => _ = await _volume.ReadDirectoryAsync("/", cancellationToken: cancelled),
            async () => _ = await _volume.ReadAllBytesAsync("/file", cancellationToken: cancelled),
            () => _volume.WriteAllBytesAsync("/new", buffer, cancellationToken: cancelled),
            () => _volume.ReplaceAllBytesAsync("/file", buffer, cancellationToken: cancelled),
            () => file.AllocateAsync(0, 8192, cancellationToken: cancelled),
            () => file.PunchHoleAsync(0, 4, cancelled),
            () => file.ZeroRangeAsync(0, 4, cancellationToken: cancelled),
            async () => _ = await file.SeekDataAsync(0, cancelled),
            async () => _ = await file.SeekHoleAsync(0, cancelled),
            async () => _ = await file.StatAsync(cancelled),
            async () => _ = await file.ReadExtentsAsync(cancelled),
            () => file.SetAttributesAsync(new CffsAttributeChange { Size = 0 }, cancellationToken: cancelled),
            () => file.CreateHardLinkAsync("/new", cancellationToken: cancelled),
            () => file.SetExtendedAttributeAsync("user.x", buffer, cancellationToken: cancelled),
            () => _volume.CreateDirectoriesAsync("/new/er", cancellationToken: cancelled),
            () => _volume.CreateSymbolicLinkAsync("/new", "file", cancellationToken: cancelled),
            () => _volume.CreateNodeAsync("/new", 0x11A4, cancellationToken: cancelled),
            () => _volume.CreateHardLinkAsync("/file", "/new", cancellationToken: cancelled),
            () => _volume.ExchangeAsync("/file", "/directory", cancellationToken: cancelled),
            () => _volume.RenameWithWhiteoutAsync("/file", "/other", cancellationToken: cancelled),
            () => _volume.RemoveDirectoryAsync("/directory", cancellationToken: cancelled),
            () => _volume.SetAttributesAsync("/file", new CffsAttributeChange { Size = 0 }, cancellationToken: cancelled),
            () => _volume.SetExtendedAttributeAsync("/file", "user.x", buffer, cancellationToken: cancelled),
            () => _volume.CreateSnapshotAsync("/", "/new", cancellationToken: cancelled),
            async () => _ = await _volume.CopyTreeAsync("/directory", "/new", cancellationToken: cancelled),
            async () => _ = await _volume.CreateUnnamedFileAsync("/", cancellationToken: cancelled),
            async () => _ = await _volume.OpenFileByInodeAsync(file.Inode, cancellationToken: cancelled),
            async () => _ = await _volume.ExistsAsync("/file", cancellationToken: cancelled),
            async () => _ = await _volume.MapBlocksAsync(cancelled),
            async () => _ = await _volume.WatchAsync("/", cancellationToken: cancelled),
        ];
        foreach (Func<ValueTask> operation in operations)
        {
            await Assert.ThrowsAnyAsync<OperationCanceledException>(async () => await operation());
        }

        Assert.Equal(version, file.Version);
        Assert.Equal(names, _volume.NamesVersion);
        Assert.Empty(file.ListExtendedAttributes());
        Assert.Equal("before"u8.ToArray(), _volume.ReadAllBytes("/file"));
        Assert.Equal(["directory", "file"], _volume.ReadDirectory("/").Select(entry => entry.NameString).Order());
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task What_is_cancelled_at_any_moment_is_done_or_not_done(int seed)
    {
        Random random = new(seed);
        byte[][] contents = [[.. Enumerable.Repeat((byte)1, 5000)], [.. Enumerable.Repeat((byte)2, 9000)]];
        _volume.WriteAllBytes("/target", contents[0]);
        for (int i = 0; i < 200; i++)
        {
            using CancellationTokenSource stop = new();
            byte[] next = contents[i % 2];
            Task work = Task.Run(async () => await _volume.ReplaceAllBytesAsync("/target", next, cancellationToken: stop.Token), CancellationToken.None);
            for (int spin = random.Next(200); spin > 0; spin--)
            {
                Thread.SpinWait(10);
            }

            await stop.CancelAsync();
            bool isDone = true;
            try
            {
                await work;
            }
            catch (OperationCanceledException)
            {
                isDone = false;
            }

            byte[] now = _volume.ReadAllBytes("/target");
            Assert.Contains(now, contents);
            Assert.True(!isDone || now.AsSpan().SequenceEqual(next));
            Assert.DoesNotContain(_volume.ReadDirectory("/"), entry => entry.NameString.EndsWith(".new", StringComparison.Ordinal));
        }
    }

    [Fact]
    public void Several_buffers_are_one_write_and_one_read()
    {
        using CffsFile file = _volume.OpenFile("/several", CffsOpenMode.Read | CffsOpenMode.Write | CffsOpenMode.Create);
        file.Write(5000, [new byte[] { 1, 2 }, default, new byte[] { 3 }]);
        byte[] first = new byte[2];
        byte[] second = new byte[4];
        Assert.Equal(3, file.Read(5000, [first, second]));
        Assert.Equal([1, 2], first);
        Assert.Equal([3, 0, 0, 0], second);
        _volume.CreateDirectories("/x/y//z/");
        _volume.CreateDirectories("/x/y/z");
        Assert.Equal(CffsKind.Directory, _volume.Stat("/x/y/z").Kind);
        Assert.Equal(CffsError.NotDirectory, Assert.Throws<CffsException>(() => _volume.CreateDirectories("/several/z")).Error);
    }
}
