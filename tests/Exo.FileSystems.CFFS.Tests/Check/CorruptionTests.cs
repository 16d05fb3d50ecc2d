// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Tests.Check;

/// <summary>Damaged images: the checker names the damage, and neither it nor the file system does anything but refuse.</summary>
public sealed class CorruptionTests : IDisposable
{
    private readonly string _image = Path.Combine(Path.GetTempPath(), $"exo-cffs-{Guid.NewGuid():N}.img");

    public static TheoryData<int> Seeds => [.. Enumerable.Range(1, 40)];

    public void Dispose() => File.Delete(_image);

    [Fact]
    public void A_damaged_sector_of_a_directory_is_found_and_never_believed()
    {
        long slots = MakeVolume(CffsBlockKind.Slots);
        Damage((slots * 4096) + 40, 0x55);
        CffsCheckReport report = Verified.Check(_image);
        Assert.Contains(report.Findings, finding => finding is { Severity: CffsSeverity.Error, Code: "slot-checksum" });
        using CffsVolume volume = CffsVolume.Open(_image, new CffsOpenOptions { ReadOnly = true });
        Assert.Equal(CffsError.Corrupt, Assert.Throws<CffsException>(() => volume.ReadDirectory("/")).Error);
    }

    [Fact]
    public void One_damaged_copy_of_a_superblock_is_survived()
    {
        MakeVolume(CffsBlockKind.XnSuperblock);
        Damage(100, 0xFF);
        Assert.Contains(Verified.Check(_image).Findings, finding => finding.Code == "xn-superblock");
        using CffsVolume volume = CffsVolume.Open(_image);
        Assert.NotEmpty(volume.ReadDirectory("/"));
    }

    [Fact]
    public void An_image_of_something_else_is_refused_with_one_line()
    {
        File.WriteAllBytes(_image, [.. Enumerable.Repeat((byte)'x', 4 << 20)]);
        Assert.Equal(CffsError.NotCffs, Assert.Throws<CffsException>(() => CffsVolume.Open(_image)).Error);
        Assert.Equal(CffsError.NotCffs, Assert.Throws<CffsException>(() => Verified.Check(_image)).Error);
        Assert.Equal(CffsError.Exists, Assert.Throws<CffsException>(() => CffsVolume.Create(_image, new CffsCreateOptions())).Error);
        Assert.All(File.ReadAllBytes(_image), b => Assert.Equal((byte)'x', b));
    }

    [Theory]
    [MemberData(nameof(Seeds))]
    public void Random_damage_gives_typed_errors_only(int seed)
    {
        MakeVolume(CffsBlockKind.Data);
        Random random = new(seed);
        using (FileStream file = File.Open(_image, FileMode.Open))
        {
            // Metadata lies in front; data behind it is left alone so that every hit counts.
            for (int i = 0; i < 1 + random.Next(30); i++)
            {
                file.Position = random.Next(seed % 2 == 0 ? 200 * 4096 : (int)file.Length);
                file.WriteByte((byte)random.Next(256));
            }
        }

        try
        {
            CffsCheckReport report = Verified.Check(_image);
            Assert.True(report.IsClean || report.Findings.Count > 0);
            using CffsVolume volume = CffsVolume.Open(_image);
            ReadAll(volume, "/");
        }
        catch (CffsException refused)
        {
            Assert.True(refused.Error is CffsError.Corrupt or CffsError.NotCffs or CffsError.ReadOnly, refused.ToString());
        }
    }

    private static void ReadAll(CffsVolume volume, string directory)
    {
        foreach (CffsDirectoryEntry entry in volume.ReadDirectory(directory))
        {
            string path = $"{directory.TrimEnd('/')}/{entry.NameString}";
            if (entry.Kind == CffsKind.Directory)
            {
                ReadAll(volume, path);
            }
            else if (entry.Kind == CffsKind.File)
            {
                Assert.Equal(volume.Stat(path).Size, volume.ReadAllBytes(path).LongLength);
            }
        }
    }

    private long MakeVolume(CffsBlockKind kind)
    {
        using CffsVolume volume = CffsVolume.Create(_image, new CffsCreateOptions { SizeBytes = 4 << 20, Seed = 1, Overwrite = true });
        for (int i = 0; i < 60; i++)
        {
            volume.WriteAllBytes($"/file{i}", new byte[i * 100]);
        }

        volume.CreateDirectory("/sub");
        volume.CreateHardLink("/file3", "/sub/link");
        volume.Sync();
        return (long)volume.MapBlocks().First(run => run.Kind == kind).Extent.First.Value;
    }

    private void Damage(long offset, byte with)
    {
        using FileStream file = File.Open(_image, FileMode.Open);
        file.Position = offset;
        int old = file.ReadByte();
        file.Position = offset;
        file.WriteByte((byte)(old ^ with));
    }
}
