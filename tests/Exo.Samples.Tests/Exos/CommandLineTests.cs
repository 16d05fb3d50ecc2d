// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS;
using Exo.Tests;

namespace Exo.Samples.Tests.Exos;

/// <summary>The program, run as a user runs it.</summary>
public sealed class CommandLineTests : IDisposable
{
    private readonly string _image = Path.Combine(Path.GetTempPath(), $"exo-exos-{Guid.NewGuid():N}.img");
    private readonly string _script = Path.Combine(Path.GetTempPath(), $"exo-exos-{Guid.NewGuid():N}.sh");

    public void Dispose()
    {
        File.Delete(_image);
        File.Delete(_script);
    }

    [Fact]
    public void What_a_script_writes_is_on_the_disk_afterwards()
    {
        File.WriteAllText(_script, "echo $1 > /home/greeting\ncat /home/greeting | grep hello\nexit 4\n");
        ExoResult result = ExoProcess.Run("exos.dll", _image, _script, "hello", "--size", "16M");
        Assert.Equal((4, "hello\n", ""), (result.ExitCode, result.Output, result.Error));
        Assert.Equal("hello\n", ExoProcess.Run("exos.dll", _image, "-c", "cat /home/greeting").Succeeded().Output);
        using CffsVolume volume = CffsVolume.Open(_image);
        Assert.Equal("hello\n"u8.ToArray(), volume.ReadAllBytes("/home/greeting"));
    }

    [Fact]
    public void Another_image_can_be_mounted()
    {
        string other = _image + ".other";
        try
        {
            using (CffsVolume volume = CffsVolume.Create(other, new CffsCreateOptions { SizeBytes = 8 << 20 }))
            {
                volume.WriteAllBytes("/there", "from the other\n"u8.ToArray());
            }

            ExoResult result = ExoProcess.Run("exos.dll", _image, "--size", "16M", "-c",
                $"mount {other} /mnt && cat /mnt/there && mv /mnt/there /home && ls /mnt && xcp /home/there /mnt/back && cat /mnt/back && umount /mnt; ls /mnt; ls /home");
            Assert.Equal("from the other\nfrom the other\nthere\n", result.Succeeded().Output);
        }
        finally
        {
            File.Delete(other);
        }
    }

    [Fact]
    public void A_tree_is_copied_from_one_image_to_another()
    {
        string other = _image + ".other";
        byte[] large = new byte[200_000];
        new Random(5).NextBytes(large);
        try
        {
            using (CffsVolume volume = CffsVolume.Create(other, new CffsCreateOptions { SizeBytes = 8 << 20 }))
            {
                volume.CreateDirectory("/tree");
                volume.CreateDirectory("/tree/below");
                volume.WriteAllBytes("/tree/large", large);
                volume.WriteAllBytes("/tree/below/small", "small\n"u8.ToArray());
                volume.CreateHardLink("/tree/large", "/tree/below/again");
            }

            ExoResult result = ExoProcess.Run("exos.dll", _image, "--size", "16M", "-c", $"mount {other} /mnt && xcp -v /mnt/tree /home && xcp /home/tree /home/twice && umount /mnt");
            Assert.Equal("/mnt/tree -> /home/tree: 2 files, 2 directories, 0 others, 1 links; 200006 bytes copied, 0 shared\n", result.Succeeded().Output);
            using CffsVolume copied = CffsVolume.Open(_image);
            foreach (string copy in new[] { "/home/tree", "/home/twice" })
            {
                Assert.Equal(large, copied.ReadAllBytes(copy + "/below/again"));
                Assert.Equal((2u, copied.Stat(copy + "/large").Inode), (copied.Stat(copy + "/below/again").Links, copied.Stat(copy + "/below/again").Inode));
                Assert.Equal("small\n"u8.ToArray(), copied.ReadAllBytes(copy + "/below/small"));
            }
        }
        finally
        {
            File.Delete(other);
        }
    }

    [Fact]
    public void Mistakes_are_told_on_one_line()
    {
        Assert.Equal(2, ExoProcess.Run("exos.dll").ExitCode);
        Assert.Equal(2, ExoProcess.Run("exos.dll", _image, "--size", "much").ExitCode);
        File.WriteAllBytes(_image, new byte[8 << 20]);
        ExoResult result = ExoProcess.Run("exos.dll", _image, "-c", "true");
        Assert.Equal(1, result.ExitCode);
        Assert.Single(result.Error.TrimEnd().Split('\n'));
    }
}
