// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Tests.Recovery;

public class RecoveryProgressTests
{
    private sealed class Steps : IProgress<XnRecoveryProgress>
    {
        public List<XnRecoveryProgress> Seen { get; } = [];

        public void Report(XnRecoveryProgress value) => Seen.Add(value);
    }

    /// <summary>In a pool that holds all at once, and in one so small that a level takes many batches.</summary>
    [Theory]
    [InlineData(64L << 20)]
    [InlineData(1L << 20)]
    public void Recovery_tells_how_far_it_is_and_a_clean_volume_tells_nothing(long poolBytes)
    {
        using FramePool diskFrames = FramePool.Create(new FramePoolOptions { CapacityBytes = 64L << 20 });
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = poolBytes });
        using var disk = new MemoryBlockDevice(diskFrames, blockCount: 32_768);
        byte[] contents = new byte[5000];
        CffsVolume made = CffsVolume.Create(disk, new CffsCreateOptions { Seed = 1 });
        for (int d = 0; d < 300; d++)
        {
            made.CreateDirectory($"/d{d}");
            made.WriteAllBytes($"/d{d}/file", contents);
        }

        made.Sync();
        made.Abandon();

        string image = Path.Combine(Path.GetTempPath(), $"exo-recovery-{Guid.NewGuid():N}.img");
        try
        {
            Copy(disk, image);
            Steps steps = new();
            using (CffsVolume volume = CffsVolume.Open(image, new CffsOpenOptions { Frames = frames, RecoveryProgress = steps }))
            {
                XnRecoveryReport report = Assert.IsType<XnRecoveryReport>(volume.Info.Recovery);
                Assert.Equal((report.MetadataBlocks, report.DataBlocks, 0), (steps.Seen[^1].MetadataBlocks, steps.Seen[^1].DataBlocks, steps.Seen[^1].KnownBlocks));
                Assert.True(report.MetadataBlocks > 300 && report.DataBlocks >= 600);
                Assert.Equal(steps.Seen.Select(s => s.MetadataBlocks).Distinct().Order(), steps.Seen.Select(s => s.MetadataBlocks));
                Assert.True(steps.Seen.Count >= (poolBytes < (2L << 20) ? 6 : 3), $"{steps.Seen.Count} steps");
                Assert.Equal(contents, volume.ReadAllBytes("/d299/file"));
            }

            Steps none = new();
            using CffsVolume clean = CffsVolume.Open(image, new CffsOpenOptions { Frames = frames, RecoveryProgress = none });
            Assert.Null(clean.Info.Recovery);
            Assert.Empty(none.Seen);
        }
        finally
        {
            File.Delete(image);
        }
    }

    private static void Copy(MemoryBlockDevice disk, string image)
    {
        using FileStream file = File.Create(image);
        Assert.True(disk.Frames.TryAllocate(disk.Frames.RootCredential, out FrameNumber frame));
        for (ulong block = 0; block < disk.Geometry.BlockCount; block++)
        {
            disk.Execute([BlockRequest.Read(new BlockNumber(block), new[] { frame })]);
            file.Write(disk.Frames.Bytes(frame));
        }

        disk.Frames.Release(frame);
    }
}
