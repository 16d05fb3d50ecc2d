// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;

namespace Exo.FileSystems.CFFS.Tests;

/// <summary>A volume by its path: what cannot be made or opened leaves what was there, and is said with the name that it has and with words of this interface.</summary>
public sealed class MakingTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("exo-making-").FullName;

    private string Image => Path.Combine(_folder, "disk.img");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void What_cannot_be_made_leaves_no_file()
    {
        Assert.Equal(CffsError.Invalid, Assert.Throws<CffsException>(() => CffsVolume.Create(Image, new CffsCreateOptions { SizeBytes = 1 << 20 })).Error);
        Assert.False(File.Exists(Image));
        Assert.Equal(CffsError.Invalid, Assert.Throws<CffsException>(() => CffsVolume.Create(Image, new CffsCreateOptions { SizeBytes = 16 << 20, Label = new string('x', 65) })).Error);
        Assert.False(File.Exists(Image));
        Assert.Throws<ArgumentOutOfRangeException>(() => CffsVolume.Create(Image, new CffsCreateOptions { SizeBytes = -1 }));
        Assert.Contains("SizeBytes", Assert.Throws<FileNotFoundException>(() => CffsVolume.Create(Image, new CffsCreateOptions())).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Something_else_keeps_its_bytes_and_its_length()
    {
        File.WriteAllText(Image, "a letter");
        Assert.Equal(CffsError.Exists, Assert.Throws<CffsException>(() => CffsVolume.Create(Image, new CffsCreateOptions { SizeBytes = 16 << 20 })).Error);
        Assert.Equal("a letter", File.ReadAllText(Image));
    }

    [Fact]
    public void A_volume_that_is_there_stays()
    {
        using (CffsVolume volume = CffsVolume.Create(Image, new CffsCreateOptions { SizeBytes = 16 << 20, Seed = 1 }))
        {
            volume.WriteAllBytes("/f", "text"u8.ToArray());
        }

        Assert.Equal(CffsError.Exists, Assert.Throws<CffsException>(() => CffsVolume.Create(Image, new CffsCreateOptions { SizeBytes = 32 << 20 })).Error);
        Assert.Equal(16 << 20, new FileInfo(Image).Length);
        using CffsVolume again = CffsVolume.Open(Image);
        Assert.Throws<BlockDeviceException>(() => CffsVolume.Create(Image, new CffsCreateOptions { SizeBytes = 16 << 20, Overwrite = true }));
        Assert.Equal("text"u8.ToArray(), again.ReadAllBytes("/f"));
    }

    [Fact]
    public void What_is_wrong_with_an_image_is_said_with_its_name()
    {
        Assert.Contains("CffsVolume.Create", Assert.Throws<FileNotFoundException>(() => CffsVolume.Open(Image)).Message, StringComparison.Ordinal);
        File.WriteAllBytes(Image, new byte[4 << 20]);
        Action[] attempts = [() => CffsVolume.Open(Image), () => CffsCheck.Run(Image), () => CffsRepair.Run(Image)];
        foreach (Action attempt in attempts)
        {
            CffsException refused = Assert.Throws<CffsException>(attempt);
            Assert.Equal(CffsError.NotCffs, refused.Error);
            Assert.StartsWith($"{Image}: not an XN volume", refused.Message, StringComparison.Ordinal);
        }
    }
}
