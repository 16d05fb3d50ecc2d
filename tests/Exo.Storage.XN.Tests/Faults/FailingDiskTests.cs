// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Simulation.Disks;
using Exo.Simulation.Faults;
using Exo.Storage.XN.Tests.Stamped;

namespace Exo.Storage.XN.Tests.Faults;

/// <summary>Disks that fail, and disks that hold something else than was written.</summary>
public sealed class FailingDiskTests
{
    public static TheoryData<int> Seeds => [.. Enumerable.Range(1, 10)];

    [Theory]
    [MemberData(nameof(Seeds))]
    public void What_failed_to_be_written_is_written_when_the_disk_has_recovered(int seed)
    {
        Random random = new(seed);
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });
        using SimulatedBlockDevice inner = new(frames, DiskContents.Zeroes(512));
        using FaultyBlockDevice disk = new(inner, new FaultOptions { Seed = seed, WriteError = 0.1, FlushError = 0.2 }) { IsFailing = false };
        StampedTree tree = StampedTree.Format(disk);
        StampedWorkload workload = new(tree, random);
        int failures = 0;
        for (int i = 0; i < 200; i++)
        {
            disk.IsFailing = true;
            try
            {
                workload.Step();
            }
            catch (BlockDeviceException)
            {
                failures++;
            }
        }

        Assert.True(failures > 0);
        disk.IsFailing = false;
        tree.Sync();
        HashSet<ulong> expected = [.. tree.All().Select(item => item.Block.Value)];
        tree.Disk.Dispose();

        // As after a crash: everything is found.
        using XnVolume volume = XnVolume.Attach(disk);
        Assert.NotNull(volume.Recovery);
        Assert.Equal((0, 0), (volume.Recovery.BadPointers, volume.Recovery.UnreadableBlocks));
        Assert.All(expected, block => Assert.Equal(0ul, volume.FreeMap[(int)(block / 64)] >> (int)(block % 64) & 1));
    }

    [Fact]
    public void A_volume_is_attached_or_refused_whatever_its_own_blocks_hold()
    {
        using StampedDisk made = new();
        made.AddData(made.A, 3);
        made.Tree.Sync();
        Assert.Equal(XnStatus.Ok, made.Disk.Unmount());
        DiskContents contents = made.Device.Snapshot();
        Random random = new(7);
        int refused = 0;
        for (int i = 0; i < 400; i++)
        {
            using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 2 << 20 });
            using SimulatedBlockDevice disk = new(frames, contents);
            Assert.True(frames.TryAllocate(frames.RootCredential, out FrameNumber frame));
            for (int damage = random.Next(1, 5); damage > 0; damage--)
            {
                // Superblocks, templates, roots, free map, and the first nodes.
                BlockNumber block = new((ulong)random.Next(random.Next(2) == 0 ? 4 : 140));
                BlockRequest[] request = [BlockRequest.Read(block, new[] { frame })];
                disk.Execute(request);
                Span<byte> bytes = frames.Bytes(frame);
                random.NextBytes(bytes.Slice(random.Next(4000), random.Next(1, 90)));
                if (random.Next(2) == 0)
                {
                    // A liar with a good checksum.
                    XnChecksum.Seal(block.Value < 2 ? bytes[..XnSuperblock.SizeBytes] : bytes, block.Value);
                }

                request = [BlockRequest.Write(block, new[] { frame })];
                disk.Execute(request);
            }

            frames.Release(frame);
            try
            {
                using XnVolume volume = XnVolume.Attach(disk);
                foreach (RootEntry root in volume.Roots)
                {
                    volume.OpenRoot(volume.Frames.RootCredential, root.Name);
                }
            }
            catch (XnFormatException)
            {
                refused++;
            }
            catch (XnException)
            {
                refused++;
            }
        }

        Assert.True(refused is > 0 and < 400, $"{refused} refused");
    }
}
