// SPDX-License-Identifier: MIT
using System.Text;

namespace Exo.FileSystems.CFFS.Tests;

/// <summary>The first things that a user does.</summary>
public sealed class ExampleTests : IDisposable
{
    private readonly string _image = Path.Combine(Path.GetTempPath(), $"exo-cffs-{Guid.NewGuid():N}.img");

    public void Dispose() => File.Delete(_image);

    [Fact]
    public void A_file_is_stored_and_found_again_after_reopening()
    {
        using (CffsVolume volume = CffsVolume.Create(_image, new CffsCreateOptions { SizeBytes = 16 << 20, Label = "first" }))
        {
            volume.CreateDirectory("/letters");
            volume.WriteAllBytes("/letters/hello.txt", "Hello, exokernel!"u8.ToArray());
            volume.WriteAllBytes("/letters/long.bin", Pattern(300_000));
        }

        using (CffsVolume volume = CffsVolume.Open(_image))
        {
            Assert.Null(volume.Info.Recovery);
            Assert.Equal("first", volume.Info.Label);
            Assert.Equal("Hello, exokernel!", Encoding.UTF8.GetString(volume.ReadAllBytes("/letters/hello.txt")));
            Assert.Equal(Pattern(300_000), volume.ReadAllBytes("/letters/long.bin"));
            Assert.Equal(["hello.txt", "long.bin"], volume.ReadDirectory("/letters").Select(e => e.NameString));
        }
    }

    [Fact]
    public void Everything_synced_is_there_after_a_crash()
    {
        using (CffsVolume volume = CffsVolume.Create(_image, new CffsCreateOptions { SizeBytes = 16 << 20 }))
        {
            volume.CreateDirectory("/d");
            volume.WriteAllBytes("/d/kept", Pattern(10_000));
            volume.Sync();
            volume.WriteAllBytes("/d/lost", Pattern(10_000));
            volume.Abandon();
        }

        using (CffsVolume volume = CffsVolume.Open(_image))
        {
            Assert.NotNull(volume.Info.Recovery);
            Assert.Equal(Pattern(10_000), volume.ReadAllBytes("/d/kept"));
            volume.RemoveFile("/d/kept");
            volume.RemoveDirectory("/d");
        }

        using (CffsVolume volume = CffsVolume.Open(_image))
        {
            Assert.Null(volume.Info.Recovery);
            Assert.Empty(volume.ReadDirectory("/"));
        }
    }

    [Fact]
    public void Names_move_are_shared_and_replaced()
    {
        using (CffsVolume volume = CffsVolume.Create(_image, new CffsCreateOptions { SizeBytes = 16 << 20 }))
        {
            volume.CreateDirectory("/a");
            volume.CreateDirectory("/b");
            volume.WriteAllBytes("/a/one", Pattern(5000));
            volume.WriteAllBytes("/a/two", Pattern(6000));
            ulong inode = volume.Stat("/a/one").Inode;
            volume.Rename("/a/one", "/a/uno");
            volume.Rename("/a/uno", "/b/one");
            Assert.Equal(inode, volume.Stat("/b/one").Inode);
            volume.CreateHardLink("/b/one", "/a/again");
            Assert.Equal(2u, volume.Stat("/a/again").Links);
            volume.Rename("/a/two", "/a/again");
            Assert.Equal(1u, volume.Stat("/b/one").Links);
            Assert.False(volume.Exists("/a/two"));
            Assert.NotEqual(inode, volume.Stat("/a/again").Inode);
            volume.CreateSymbolicLink("/link", "b/../b/one");
            Assert.Equal(Pattern(5000), volume.ReadAllBytes("/link"));
        }

        using (CffsVolume volume = CffsVolume.Open(_image))
        {
            Assert.Equal(Pattern(5000), volume.ReadAllBytes("/b/one"));
            Assert.Equal(1u, volume.Stat("/b/one").Links);
            Assert.Equal(Pattern(6000), volume.ReadAllBytes("/a/again"));
            Assert.Equal(["again"], volume.ReadDirectory("/a").Select(e => e.NameString));
        }
    }

    private static byte[] Pattern(int length)
    {
        byte[] bytes = new byte[length];
        new Random(length).NextBytes(bytes);
        return bytes;
    }
}
