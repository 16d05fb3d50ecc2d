// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Exo.Cli.Verbs;
using Exo.FileSystems.CFFS;
using Exo.Tests;

namespace Exo.Adapters.Fuse.Tests;

/// <summary><c>exo umount</c> returns when the image is closed, whatever kind of image it is.</summary>
public sealed class UnmountTests : IDisposable
{
    private readonly ImageToMount _at = new(isFormatted: false);

    public void Dispose() => _at.Dispose();

    [Fact]
    public void A_directory_is_held_until_its_image_is_closed()
    {
        string directory = _at.Directory;
        Assert.False(MountedDirectory.IsHeld(directory));
        MountedDirectory? held = MountedDirectory.Hold(directory);
        Assert.NotNull(held);
        Assert.True(MountedDirectory.IsHeld(directory));
        held.Dispose();
        held.Dispose();
        Assert.False(MountedDirectory.IsHeld(directory));
        Assert.Null(MountedDirectory.Hold(_at.Beside("none")));
        Assert.False(MountedDirectory.IsHeld(_at.Beside("none")));
    }

    [Fact]
    public void A_partition_is_closed_when_it_is_unmounted()
    {
        string disk = _at.Image;
        using (FileStream file = File.Create(disk))
        {
            // An MBR with one partition of 63 MiB.
            byte[] table = new byte[512];
            table[450] = 0x83;
            BitConverter.TryWriteBytes(table.AsSpan(454), 2048);
            BitConverter.TryWriteBytes(table.AsSpan(458), 63 * 2048);
            (table[510], table[511]) = (0x55, 0xAA);
            file.Write(table);
            file.SetLength(64 << 20);
        }

        MountFillAndUnmount(disk + "#1");
    }

    [Fact]
    public void An_export_of_another_machine_is_closed_when_it_is_unmounted()
    {
        string disk = _at.Image;
        ExoProcess.Exo("mkfs", disk, "--size", "64M").Succeeded();
        using ExoProcess serving = ExoProcess.Start("exo.dll", "nbd", disk, "--listen", "127.0.0.1:0");
        MountFillAndUnmount(serving.WaitForLine("serving").Split(' ')[^1]);
    }

    private void MountFillAndUnmount(string image)
    {
        string directory = _at.Directory;
        if (!image.StartsWith("nbd://", StringComparison.Ordinal))
        {
            ExoProcess.Exo("mkfs", image).Succeeded();
        }

        for (int round = 0; round < 3; round++)
        {
            ExoProcess.Exo("mount", image, directory).Succeeded();
            for (int i = 0; i < 20; i++)
            {
                File.WriteAllBytes(Path.Combine(directory, $"file {i}"), new byte[1 << 20]);
            }

            ExoProcess.Exo("umount", directory).Succeeded();
            Assert.False(MountedDirectory.IsHeld(directory));
            using CffsVolume volume = CffsVolume.Open(image);
            Assert.Null(volume.Info.Recovery);
            Assert.Equal(20, volume.ReadDirectory("/").Count);
        }
    }
}
