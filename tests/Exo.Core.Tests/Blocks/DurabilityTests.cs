// SPDX-License-Identifier: MIT
using System.Globalization;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Tests;

namespace Exo.Core.Tests.Blocks;

/// <summary>What is reported durable has made the disk empty its cache; what is discarded is given back. The disk itself is asked.</summary>
public sealed class DurabilityTests : IDisposable
{
    private readonly FramePool _pool = FramePool.Create(new FramePoolOptions { CapacityBytes = 1 << 20 });

    public static TheoryData<DiskKind, Door> Ways => new MatrixTheoryData<DiskKind, Door>([DiskKind.LoopPortable, DiskKind.LoopUring], Enum.GetValues<Door>());

    /// <summary>The ways into a device.</summary>
    public enum Door
    {
        Execute,
        ExecuteBatch,
        ExecuteAsync,
        Queue,
    }

    public void Dispose() => _pool.Dispose();

    [Theory]
    [MemberData(nameof(Ways))]
    public async Task A_flush_and_a_durable_write_empty_the_cache_of_the_disk_and_a_plain_write_does_not(DiskKind kind, Door door)
    {
        using var disk = new TestDisk(kind, _pool, 64);
        FrameNumber[] frame = [Allocate()];
        Assert.True(disk.Device.Geometry.HasVolatileCache);
        long start = Flushes(disk);
        await RunAsync(disk.Device, door, BlockRequest.Write(new BlockNumber(3), frame));
        await RunAsync(disk.Device, door, BlockRequest.Read(new BlockNumber(3), frame));
        Assert.Equal(start, Flushes(disk));

        // The loop device has no FUA: the kernel flushes behind the write before it reports it.
        await RunAsync(disk.Device, door, BlockRequest.Write(new BlockNumber(3), frame, forceUnitAccess: true));
        long afterWrite = Flushes(disk);
        Assert.True(afterWrite > start, "the durable write was not flushed");
        await RunAsync(disk.Device, door, BlockRequest.WriteZeroes(new BlockNumber(4), 2, forceUnitAccess: true));
        long afterZeroes = Flushes(disk);
        Assert.True(afterZeroes > afterWrite, "the durable zeroes were not flushed");
        await RunAsync(disk.Device, door, BlockRequest.Write(new BlockNumber(5), frame));
        await RunAsync(disk.Device, door, BlockRequest.Flush());
        Assert.True(Flushes(disk) > afterZeroes, "the flush did not reach the disk");
    }

    [Theory]
    [MemberData(nameof(Ways))]
    public async Task Discarded_blocks_of_a_disk_are_given_back(DiskKind kind, Door door)
    {
        using var disk = new TestDisk(kind, _pool, 512);
        Assert.True(disk.Device.Geometry.SupportsDiscard, "a loop device over this file system discards");
        Assert.True(disk.Device.Geometry.DiscardGranularityBytes > 0);
        Assert.True(_pool.TryAllocateRun(_pool.RootCredential, 128, out FrameNumber first));
        FrameNumber[] frames = [.. Enumerable.Range(0, 128).Select(i => new FrameNumber(first.Value + (uint)i))];
        _pool.Bytes(first, 128).Fill(0x77);
        await RunAsync(disk.Device, door, BlockRequest.Write(new BlockNumber(128), frames));
        disk.Device.Flush();
        long used = disk.AllocatedBytes();
        Assert.True(used >= 128 * 4096, $"{used} bytes");
        await RunAsync(disk.Device, door, BlockRequest.Discard(new BlockNumber(128), 128));
        Assert.True(disk.AllocatedBytes() < used, "nothing was given back");
        await RunAsync(disk.Device, door, BlockRequest.WriteZeroes(new BlockNumber(0), 512));
        await RunAsync(disk.Device, door, BlockRequest.Read(new BlockNumber(128), frames));
        Assert.Equal(-1, _pool.Bytes(first, 128).IndexOfAnyExcept((byte)0));
    }

    [Theory]
    [InlineData(DiskKind.Portable)]
    [InlineData(DiskKind.Uring)]
    public async Task Discarded_blocks_of_an_image_are_holes(DiskKind kind)
    {
        foreach (Door door in Enum.GetValues<Door>())
        {
            using var disk = new TestDisk(kind, _pool, 64);
            Requires.That(disk.Device.Geometry.SupportsDiscard, "the temporary folder's file system makes no holes");
            FrameNumber[] frame = [Allocate()];
            await RunAsync(disk.Device, door, BlockRequest.Write(new BlockNumber(3), frame));
            disk.Device.Flush();
            long used = disk.AllocatedBytes();
            await RunAsync(disk.Device, door, BlockRequest.Discard(default, 64));
            disk.Device.Flush();
            Assert.True(disk.AllocatedBytes() < used);
        }
    }

    /// <summary>Field 16 of the disk's statistics (Documentation/block/stat.rst): flush requests that completed.</summary>
    private static long Flushes(TestDisk disk)
    {
        string[] fields = File.ReadAllText($"/sys/block/{Path.GetFileName(disk.Path)}/stat").Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
        Requires.That(fields.Length > 15, "this kernel counts no flushes");
        return long.Parse(fields[15], CultureInfo.InvariantCulture);
    }

    private static async Task RunAsync(BlockDevice device, Door door, BlockRequest request)
    {
        switch (door)
        {
            case Door.Execute:
                device.Execute([request]);
                break;
            case Door.ExecuteBatch:
                device.Execute([request, request]);
                break;
            case Door.ExecuteAsync:
                await device.ExecuteAsync(new[] { request });
                break;
            default:
                using (BlockQueue queue = device.OpenQueue(4))
                {
                    BlockCompletion[] done = new BlockCompletion[1];
                    Assert.True(queue.TrySubmit(in request, 5));
                    Assert.Equal((1, new BlockCompletion(5, 0)), (queue.Reap(done), done[0]));
                }

                break;
        }
    }

    private FrameNumber Allocate()
    {
        Assert.True(_pool.TryAllocate(_pool.RootCredential, out FrameNumber frame));
        return frame;
    }
}
