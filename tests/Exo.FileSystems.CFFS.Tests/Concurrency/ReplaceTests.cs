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
}
