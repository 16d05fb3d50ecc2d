// SPDX-License-Identifier: MIT
namespace Exo.FileSystems.CFFS.Tests.Directories;

/// <summary>A large directory beside a model, over clean and unclean mounts.</summary>
public sealed class IndexModelTests : IDisposable
{
    private readonly string _image = Path.Combine(Path.GetTempPath(), $"exo-cffs-{Guid.NewGuid():N}.img");

    public static TheoryData<int> Seeds => [.. Enumerable.Range(1, 12)];

    public void Dispose() => File.Delete(_image);

    [Theory]
    [MemberData(nameof(Seeds))]
    public void A_large_directory_holds_what_the_model_says(int seed)
    {
        Random random = new(seed);
        CffsOpenOptions open = BigDirectory.Options(seed % 3 == 0 ? 1 << 20 : 32 << 20);
        CffsVolume volume = CffsVolume.Create(_image, new CffsCreateOptions { SizeBytes = 48 << 20, Seed = seed, Open = open });
        volume.CreateDirectory(BigDirectory.Path);
        BigDirectory big = new(volume, random);
        for (int round = 0; round < 6; round++)
        {
            for (int step = 0; step < 400; step++)
            {
                big.Step();
                if (random.Next(60) == 0)
                {
                    volume.Sync();
                }
            }

            big.AssertEquals();
            if (random.Next(2) == 0)
            {
                volume.Sync();
                volume.Abandon();
                CffsCheckReport crashed = Verified.Check(_image);
                Assert.True(crashed.IsClean, string.Join('\n', crashed.Findings));
            }
            else
            {
                volume.Dispose();
                Assert.Empty(Verified.Check(_image).Findings);
            }

            if (round == 3)
            {
                using CffsVolume read = CffsVolume.Open(_image, new CffsOpenOptions { ReadOnly = true, IndexFromBlocks = 2, IndexSplitAt = 24 });
                BigDirectory.AssertHolds(read, big.Names, []);
            }

            volume = CffsVolume.Open(_image, open);
            big.Reopened(volume);
            big.AssertEquals();
        }

        Assert.True(volume.MapBlocks().Any(run => run.Kind == CffsBlockKind.Index), "the directory is not indexed");
        volume.Dispose();
        Assert.Empty(Verified.Check(_image).Findings);
    }

    /// <summary>
    /// Every file has the same name for a moment, and nothing is committed in between: that name's entries cannot leave the index before the removals are durable, and fill a bucket. No split
    /// parts entries of one hash, so the bucket must get room by a commit.
    /// </summary>
    [Fact]
    public void A_name_that_all_files_have_in_turn_does_not_make_the_index_grow()
    {
        const int Files = 1200;
        using CffsVolume volume = CffsVolume.Create(_image, new CffsCreateOptions { SizeBytes = 64 << 20, Open = new CffsOpenOptions { CacheBytes = 32 << 20, IndexFromBlocks = 2 } });
        volume.CreateDirectory(BigDirectory.Path);
        for (int i = 0; i < Files; i++)
        {
            volume.WriteAllBytes($"{BigDirectory.Path}/{i}", "x"u8.ToArray());
        }

        uint before = IndexBlocks(volume);
        Assert.True(before > 0, "the directory is not indexed");
        for (int i = 0; i < Files; i++)
        {
            volume.Rename($"{BigDirectory.Path}/{i}", $"{BigDirectory.Path}/same");
            volume.Rename($"{BigDirectory.Path}/same", $"{BigDirectory.Path}/{i}");
        }

        Assert.Equal(before, IndexBlocks(volume));
        BigDirectory.AssertHolds(volume, Enumerable.Range(0, Files).ToDictionary(i => $"{i}", i => volume.Stat($"{BigDirectory.Path}/{i}").Inode), ["same"]);
    }

    private static uint IndexBlocks(CffsVolume volume) => (uint)volume.MapBlocks().Where(run => run.Kind == CffsBlockKind.Index).Sum(run => run.Extent.Count);
}
