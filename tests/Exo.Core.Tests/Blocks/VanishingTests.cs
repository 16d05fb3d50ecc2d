// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Tests;

namespace Exo.Core.Tests.Blocks;

/// <summary>Disks that go away, fail or fill up under a device: every request completes with an error of its own, and no frame stays behind.</summary>
public sealed class VanishingTests : IDisposable
{
    private const int Eio = 5;
    private const int Enospc = 28;
    private const int BlockCount = 64;

    private readonly FramePool _pool = FramePool.Create(new FramePoolOptions { CapacityBytes = 1 << 20 });

    public static TheoryData<DiskKind> Images => [DiskKind.Portable, DiskKind.PortableDirect, DiskKind.Uring, DiskKind.UringDirect, DiskKind.UringRegistered];

    public static TheoryData<DiskKind> Loops => [DiskKind.LoopPortable, DiskKind.LoopUring];

    public static TheoryData<BlockDriver> Drivers => [BlockDriver.IoUring, BlockDriver.Portable];

    public void Dispose() => _pool.Dispose();

    [Theory]
    [MemberData(nameof(Images))]
    public async Task A_file_cut_short_gives_errors_through_every_door(DiskKind kind)
    {
        using var disk = new TestDisk(kind, _pool, BlockCount);
        disk.CutTo(8 * 4096);
        await ExpectAsync(disk.Device, block => block < 8 ? 0 : Eio, BlockOperation.Read);
    }

    [Theory]
    [MemberData(nameof(Loops))]
    public async Task A_disk_whose_medium_fails_gives_errors_through_every_door(DiskKind kind)
    {
        // The loop device answers EIO for what its image no longer has: a disk with bad sectors from there on.
        using var disk = new TestDisk(kind, _pool, BlockCount);
        disk.CutTo(8 * 4096);
        await ExpectAsync(disk.Device, block => block < 8 ? 0 : Eio, BlockOperation.Read);
    }

    [Theory]
    [MemberData(nameof(Loops))]
    public async Task A_disk_that_is_taken_away_while_open_stays_until_it_is_closed(DiskKind kind)
    {
        using var disk = new TestDisk(kind, _pool, BlockCount);
        TestDisk.Run(Requires.Program("losetup"), "--detach", disk.Path);
        await ExpectAsync(disk.Device, _ => 0, BlockOperation.Write);
        disk.IsDetached = true;
    }

    [Theory]
    [MemberData(nameof(Drivers))]
    public async Task A_full_file_system_gives_errors_through_every_door(BlockDriver driver)
    {
        Requires.Root();
        string folder = Directory.CreateTempSubdirectory("exo-test-").FullName;
        TestDisk.Run(Requires.Program("mount"), "-t", "tmpfs", "-o", "size=64k", "exo-test", folder);
        try
        {
            await using BlockDevice device = BlockDevice.Open(
                Path.Combine(folder, "disk.img"), _pool, new BlockDeviceOptions { Create = true, CreateBytes = BlockCount * 4096, Driver = driver });
            Assert.True(_pool.TryAllocateRun(_pool.RootCredential, 16, out FrameNumber first));
            FrameNumber[] frames = [.. Enumerable.Range(0, 16).Select(i => new FrameNumber(first.Value + (uint)i))];
            device.Execute([BlockRequest.Write(default, frames.AsMemory(0, 8))]);
            Assert.Equal(Enospc, Assert.Throws<BlockDeviceException>(() => device.Execute([BlockRequest.Write(new BlockNumber(8), frames)])).Errno);

            // That write took what was left, blocks 8 to 15, and its error says that not all of it is there.
            await ExpectAsync(device, block => block < 16 ? 0 : Enospc, BlockOperation.Write);

            // What is given back can be used again: nothing was damaged by the refusals.
            device.Execute([BlockRequest.Discard(default, BlockCount)]);
            device.Execute([BlockRequest.Write(new BlockNumber(40), frames.AsMemory(0, 8))]);
        }
        finally
        {
            // Lazily: a child that another test is just starting holds a copy of every open file for a moment.
            TestDisk.Run(Requires.Program("umount"), "--lazy", folder);
            Directory.Delete(folder);
        }
    }

    /// <summary>One request per block, all at once, through each door: the right ones fail, all complete, all frames come back.</summary>
    private async Task ExpectAsync(BlockDevice device, Func<int, int> errorOf, BlockOperation operation)
    {
        var frames = new FrameNumber[BlockCount];
        for (int i = 0; i < BlockCount; i++)
        {
            Assert.True(_pool.TryAllocate(_pool.RootCredential, out frames[i]));
        }

        int[] expected = [.. Enumerable.Range(0, BlockCount).Select(errorOf)];
        BlockRequest[] batch = [.. Enumerable.Range(0, BlockCount).Select(i => Make(i))];
        Check(Record.Exception(() => device.Execute(batch)), batch.Select(one => one.Error));
        Check(await Record.ExceptionAsync(async () => await device.ExecuteAsync(batch)), batch.Select(one => one.Error));
        Check(Single(), expected);
        Check(null, Queue());
        Assert.All(frames, frame => Assert.Equal(1, _pool.ReferenceCount(frame)));
        Assert.All(frames, _pool.Release);

        BlockRequest Make(int i) => operation == BlockOperation.Read
            ? BlockRequest.Read(new BlockNumber((ulong)i), frames.AsMemory(i, 1))
            : BlockRequest.Write(new BlockNumber((ulong)i), frames.AsMemory(i, 1));

        void Check(Exception? thrown, IEnumerable<int> errors)
        {
            int first = Array.FindIndex(expected, error => error != 0);
            Assert.True(thrown is null || (thrown is BlockDeviceException failure && failure.Errno == expected[first]), thrown?.ToString());
            Assert.Equal(expected, errors);
        }

        Exception? Single() => Record.Exception(() => device.Execute([Make(BlockCount - 1)]));

        int[] Queue()
        {
            int[] errors = new int[BlockCount];
            Array.Fill(errors, -1);
            BlockCompletion[] done = new BlockCompletion[7];
            using BlockQueue queue = device.OpenQueue(16);
            for (int i = 0; i < BlockCount || queue.InFlight > 0;)
            {
                while (i < BlockCount && queue.TrySubmit(Make(i), (ulong)i))
                {
                    i++;
                }

                foreach (BlockCompletion one in done.AsSpan(0, queue.Reap(done)))
                {
                    Assert.Equal(-1, errors[one.Cookie]);
                    errors[one.Cookie] = one.Error;
                }
            }

            return errors;
        }
    }
}
