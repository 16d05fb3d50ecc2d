// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.Simulation.Disks;

namespace Exo.FileSystems.CFFS.Tests.Clones;

/// <summary>Threads that clone, write, cut and remove files which share blocks with one another's. Each file is written by one thread only, so that each knows what it must hold.</summary>
public sealed class CloneThreadsTests
{
    private const int Block = 4096;

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task Files_that_share_blocks_do_not_see_one_another(int seed)
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = seed % 2 == 0 ? 4 << 20 : 16 << 20 });
        using SimulatedBlockDevice disk = new(frames, DiskContents.Zeroes(16384));
        CffsVolume volume = CffsVolume.Create(disk, new CffsCreateOptions { Seed = seed });
        volume.WriteAllBytes("/common", Bytes(100 * Block, seed));
        byte[] common = volume.ReadAllBytes("/common");
        await Task.WhenAll(Enumerable.Range(0, 8).Select(thread => Task.Factory.StartNew(
            () => Work(volume, common, thread, new Random((seed * 100) + thread)), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default)));
        Assert.Equal(common, volume.ReadAllBytes("/common"));
        volume.Dispose();
        CffsCheckReport report = Verified.Check(disk);
        Assert.True(report.Findings.Count == 0, string.Join("; ", report.Findings));
    }

    private static void Work(CffsVolume volume, byte[] common, int thread, Random random)
    {
        Dictionary<string, byte[]> mine = [];
        for (int step = 0; step < 60; step++)
        {
            string path = $"/{thread}-{random.Next(4)}";
            switch (random.Next(6))
            {
                case 0 when !mine.ContainsKey(path):
                    volume.CloneFile("/common", path);
                    mine[path] = (byte[])common.Clone();
                    break;
                case 1 when !mine.ContainsKey(path) && mine.Count > 0:
                    (string source, byte[] contents) = mine.ElementAt(random.Next(mine.Count));
                    volume.CloneFile(source, path);
                    mine[path] = (byte[])contents.Clone();
                    break;
                case 2 or 3 when mine.TryGetValue(path, out byte[]? before) && before.Length > 0:
                    int offset = random.Next(before.Length);
                    byte[] bytes = Bytes(random.Next(1, Math.Min(before.Length - offset, 20_000) + 1), step);
                    using (CffsFile file = volume.OpenFile(path, CffsOpenMode.Write))
                    {
                        file.Write(offset, bytes);
                    }

                    bytes.CopyTo(before.AsSpan(offset));
                    break;
                case 4 when mine.TryGetValue(path, out byte[]? longer):
                    int length = random.Next(longer.Length + 1);
                    using (CffsFile file = volume.OpenFile(path, CffsOpenMode.Write))
                    {
                        file.SetLength(length);
                    }

                    mine[path] = longer[..length];
                    break;
                case 5 when mine.Remove(path):
                    volume.RemoveFile(path);
                    break;
            }

            foreach ((string held, byte[] contents) in mine)
            {
                Assert.True(contents.AsSpan().SequenceEqual(volume.ReadAllBytes(held)), $"{held} after step {step}");
            }
        }
    }

    private static byte[] Bytes(int length, int seed)
    {
        byte[] bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }
}
