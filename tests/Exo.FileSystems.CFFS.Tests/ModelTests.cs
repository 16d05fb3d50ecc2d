// SPDX-License-Identifier: MIT
namespace Exo.FileSystems.CFFS.Tests;

/// <summary>The volume beside a model, on the same random operations. The seed is in the test's name and reproduces a failure.</summary>
public sealed class ModelTests : IDisposable
{
    private readonly string _image = Path.Combine(Path.GetTempPath(), $"exo-cffs-{Guid.NewGuid():N}.img");

    public static TheoryData<int> Seeds => [.. Enumerable.Range(1, 30)];

    public void Dispose() => File.Delete(_image);

    [Theory]
    [MemberData(nameof(Seeds))]
    public void Random_operations_do_what_the_model_says(int seed)
    {
        Random random = new(seed);
        TreeModel model = new();
        CffsOpenOptions open = new() { CacheBytes = seed % 3 == 0 ? 2 << 20 : 32 << 20, BehindFromBytes = seed % 2 == 0 ? CffsOpenOptions.BehindFromBytesDefault : 8192 };
        CffsVolume volume = CffsVolume.Create(_image, new CffsCreateOptions { SizeBytes = seed % 4 == 0 ? 6 << 20 : 48 << 20, Seed = seed, Open = open });
        for (int round = 0; round < 4; round++)
        {
            RandomWorkload workload = new(volume, model, random);
            for (int step = 0; step < 150; step++)
            {
                workload.Step();
            }

            model.AssertEquals(volume);
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

            volume = CffsVolume.Open(_image, open);
            model.AssertEquals(volume);
        }

        volume.Dispose();
        Assert.Empty(Verified.Check(_image).Findings);
    }
}
