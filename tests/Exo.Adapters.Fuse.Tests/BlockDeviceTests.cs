// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Exo.Adapters.Fuse.Mounting;
using Exo.Core.Linux;
using Exo.FileSystems.CFFS;
using Exo.Tests;

namespace Exo.Adapters.Fuse.Tests;

/// <summary>Mounts from a block device: the kernel tells of sync, and waits at umount.</summary>
public sealed class BlockDeviceTests
{
    [Theory]
    [InlineData("sync", true)]
    [InlineData("sync -f f", true)]
    [InlineData("cd /; umount \"$1\"", false)]
    public void What_returned_is_durable(string command, bool isSync)
    {
        RequireLoop();
        Requires.That(!isSync || Environment.OSVersion.Version >= new Version(6, 18), "Linux before 6.18 does not tell a FUSE mount of sync");
        using TempFolder folder = new();
        string image = folder["disk.img"];
        string directory = Directory.CreateDirectory(folder["mnt"]).FullName;
        using CffsVolume volume = CffsVolume.Create(image, new CffsCreateOptions { SizeBytes = 64 << 20 });
        using FuseMount mount = FuseMount.Start(volume, directory, new FuseMountOptions { Source = image, BlockDevice = true, SyncInterval = TimeSpan.FromDays(1) });
        ProcessStartInfo start = new("/bin/sh", ["-ec", $"cd \"$1\"; mkdir d; echo hello > f; {command}", "sh", directory]);
        Mounted.Run(start);

        // What a crash at this moment would leave.
        Mounted.Run(new ProcessStartInfo("cp", [image, folder["copy.img"]]));
        using CffsVolume copy = CffsVolume.Open(folder["copy.img"]);
        Assert.Equal("hello\n"u8.ToArray(), copy.ReadAllBytes("/f"));
        Assert.Empty(copy.ReadDirectory("/d"));
        Assert.Equal(isSync, mount.CountMessages().Any(static kind => kind is { Message: "SYNCFS", Count: > 0 }));
    }

    [Fact]
    public void The_loop_device_goes_with_the_mount_however_it_ends()
    {
        RequireLoop();
        using ImageToMount at = new();
        using ExoProcess serving = ExoProcess.Start("exo.dll", "mount", at.Image, at.Directory, "--foreground", "-o", "loop");
        serving.WaitForLine("is mounted on");
        FuseMountPoint point = MountTable.Find(at.Directory)!;
        Assert.Equal((7, at.Image), (point.DeviceMajor, point.Source));
        serving.Signal("KILL");
        serving.Wait();
        Assert.Equal(at.Image, FileBehind(point));
        Mounted.Run(new ProcessStartInfo("umount", [at.Directory]));

        // The kernel lets it go in work of its own, soon after.
        SpinWait.SpinUntil(() => FileBehind(point) != at.Image, TimeSpan.FromSeconds(30));
        Assert.NotEqual(at.Image, FileBehind(point));
        ExoProcess.Exo("mount", at.Image, at.Directory, "-o", "ro,loop").Succeeded();
        Assert.Equal(-30, Posix.Mkdir(at["d"]));
        Assert.Equal(7, MountTable.Find(at.Directory)!.DeviceMajor);
        ExoProcess.Exo("umount", at.Directory).Succeeded();
    }

    [Fact]
    public void Where_there_can_be_no_block_device_the_mount_is_from_none_unless_it_must()
    {
        RequireLoop();
        using Mounted at = new();
        Assert.Equal((7, at.Image), (MountTable.Find(at.Directory)!.DeviceMajor, MountTable.Find(at.Directory)!.Source));
        foreach (string source in (string[])["disk.img", at["none"], "/", "nbd://127.0.0.1:1/"])
        {
            at.Remount(new FuseMountOptions { Source = source });
            Assert.Equal((0, source), (MountTable.Find(at.Directory)!.DeviceMajor, MountTable.Find(at.Directory)!.Source));
            Assert.Throws<IOException>(() => at.Remount(new FuseMountOptions { Source = source, BlockDevice = true }));
        }

        Assert.Throws<IOException>(() => at.Remount(new FuseMountOptions { Source = at.Image, BlockDevice = true, UseHelper = true }));
        at.Remount(new FuseMountOptions { Source = at.Image, BlockDevice = false });
        Assert.Equal(0, MountTable.Find(at.Directory)!.DeviceMajor);
    }

    /// <summary>Whoever closes the volume first leaves a mount that fails, and ends as any other.</summary>
    [Fact]
    public async Task A_mount_outlives_its_volume()
    {
        RequireLoop();
        using TempFolder folder = new();
        string image = folder["disk.img"];
        string directory = Directory.CreateDirectory(folder["mnt"]).FullName;
        CffsVolume volume = CffsVolume.Create(image, new CffsCreateOptions { SizeBytes = 64 << 20 });
        using (FuseMount mount = FuseMount.Start(volume, directory, new FuseMountOptions { Source = image }))
        {
            File.WriteAllText(Path.Combine(directory, "f"), "hello");
            volume.Dispose();
            using Process sync = Process.Start(new ProcessStartInfo("sync", ["-f", directory]) { RedirectStandardError = true })!;
            Assert.True(sync.WaitForExit(TimeSpan.FromSeconds(30)));
            mount.Dispose();
            await mount.Completion.WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
        }

        using CffsVolume again = CffsVolume.Open(image);
        Assert.Equal("hello"u8.ToArray(), again.ReadAllBytes("/f"));
    }

    private static string? FileBehind(FuseMountPoint point) => LoopDevice.FileOf(point.DeviceMajor, point.DeviceMinor);

    private static void RequireLoop()
    {
        Requires.Root();
        Requires.File("/dev/fuse");
        Requires.File("/dev/loop-control");
    }
}
