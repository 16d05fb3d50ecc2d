// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.FileSystems.CFFS.Tests.Concurrency;

public class ReplaceTests
{
    private const int Rounds = 1500;

    /// <summary>Round r's contents: one byte value, never zero, and a length that only r has.</summary>
    private static byte[] Contents(int round) => [.. Enumerable.Repeat((byte)((round % 255) + 1), 3000 + (round * 97 % 9001))];

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public async Task Whoever_opens_a_file_that_is_being_replaced_reads_one_version_whole(int readers)
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 64 << 20 });
        using var disk = new MemoryBlockDevice(frames, blockCount: 16_384);
        using CffsVolume volume = CffsVolume.Create(disk, new CffsCreateOptions { Seed = 1 });
        volume.ReplaceAllBytes("/page", Contents(0));
        Task writer = Task.Run(
            () =>
            {
                for (int round = 1; round < Rounds; round++)
                {
                    volume.ReplaceAllBytes("/page", Contents(round));
                }
            },
            TestContext.Current.CancellationToken);

        int Read()
        {
            int reads = 0;
            do
            {
                using CffsFile file = volume.OpenFile("/page");
                using CffsLease lease = file.Lease(0, int.MaxValue);
                byte[] got = [.. lease.Runs.SelectMany(run => frames.Bytes(run.First, run.Count).ToArray())];
                int round = Enumerable.Range(0, 9001).First(r => 3000 + (r * 97 % 9001) == lease.LengthBytes);
                Assert.Equal(Contents(round), got[lease.FirstByteOffset..(lease.FirstByteOffset + lease.LengthBytes)]);
                reads++;
            }
            while (!writer.IsCompleted);
            return reads;
        }

        int[] counts = await Task.WhenAll(Enumerable.Range(0, readers).Select(_ => Task.Run(Read)));
        await writer;
        Assert.All(counts, count => Assert.True(count > 0));
        Assert.Equal(Contents(Rounds - 1), volume.ReadAllBytes("/page"));
    }

    /// <summary>A file that is replaced while it is open lives on; the name's new owner can be removed and renamed meanwhile, without waiting for it to be closed.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_name_that_has_replaced_an_open_file_can_go_again(bool rename)
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
        using var disk = new MemoryBlockDevice(frames, blockCount: 4096);
        using (CffsVolume volume = CffsVolume.Create(disk, new CffsCreateOptions { Seed = 1 }))
        {
            volume.CreateDirectory("/d");
            volume.WriteAllBytes("/d/old", "old"u8.ToArray());
            volume.WriteAllBytes("/d/new", "new"u8.ToArray());
            using CffsFile open = volume.OpenFile("/d/old", CffsOpenMode.ReadWrite);
            volume.Rename("/d/new", "/d/old");
            Task change = Task.Run(
                () =>
                {
                    if (rename)
                    {
                        volume.Rename("/d/old", "/d/third");
                        volume.RemoveFile("/d/third");
                    }
                    else
                    {
                        volume.RemoveFile("/d/old");
                    }

                    volume.RemoveDirectory("/d");
                },
                TestContext.Current.CancellationToken);
            await change.WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
            byte[] contents = new byte[3];
            open.Write(1, "LD"u8);
            Assert.Equal(3, open.Read(0, contents));
            Assert.Equal("oLD"u8.ToArray(), contents);
        }

        CffsCheckReport report = Verified.Check(disk);
        Assert.True(report.IsClean, string.Join('\n', report.Findings));
        Assert.Equal((1, 0), (report.Directories, report.Files));
    }
}
