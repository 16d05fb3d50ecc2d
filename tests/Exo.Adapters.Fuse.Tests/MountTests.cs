// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Exo.Adapters.Fuse.Mounting;
using Exo.FileSystems.CFFS;
using Exo.Tests;

namespace Exo.Adapters.Fuse.Tests;

/// <summary>How mounts begin and end.</summary>
public sealed class MountTests
{
    [Fact]
    public void The_command_mounts_in_the_background_and_unmounts()
    {
        using ImageToMount at = new();
        (string image, string directory) = (at.Image, at.Directory);
        ExoProcess.Exo("mount", image, directory).Succeeded();
        File.WriteAllText(at["hello"], "world");
        ExoProcess.Exo("mount", image, directory).Refused(1);
        ExoProcess.Exo("umount", directory).Succeeded();
        Assert.Empty(Directory.GetFileSystemEntries(directory));
        ExoProcess.Exo("fsck", image).Succeeded();
        Assert.Equal("world", ExoProcess.Exo("cat", image, "/hello").Output);
        ExoProcess.Exo("mount", image, directory, "-o", "ro").Succeeded();
        Assert.Equal(-30, Posix.Mkdir(at["d"]));
        Assert.Equal("world", File.ReadAllText(at["hello"]));
        ExoProcess.Exo("umount", directory).Succeeded();
    }

    /// <summary>What mount(8) has its helper run for <c>mount -t fuse.exo</c>, and for a remount with the options that it finds in the table of mounts.</summary>
    [Fact]
    public void The_words_of_the_systems_mount_are_understood()
    {
        using ImageToMount at = new();
        (string image, string directory) = (at.Image, at.Directory);
        ExoProcess.Exo(image, directory, "-o", "rw,noatime,allow_other").Succeeded();
        Assert.Equal(0, Posix.Mkdir(at["before"]));
        ExoProcess.Exo(image, directory, "-o", "rw,remount,ro,noatime,user_id=0,group_id=0,allow_other").Succeeded();
        Assert.Equal(-30, Posix.Mkdir(at["meanwhile"]));
        ExoProcess.Exo("mount", image, directory, "-o", "remount,rw").Succeeded();
        Assert.Equal(0, Posix.Mkdir(at["after"]));
        ExoProcess.Exo("umount", directory).Succeeded();

        // A mistyped verb is no image, and what is not mounted cannot be changed.
        ExoProcess.Exo("mout", image, directory).Refused(2);
        ExoProcess.Exo(image, directory, "-o", "remount,ro").Refused(1);
    }

    [Theory]
    [InlineData("TERM")]
    [InlineData("INT")]
    public void A_signal_unmounts_cleanly(string signal)
    {
        using ImageToMount at = new();
        using ExoProcess serving = ExoProcess.Start("exo.dll", "mount", at.Image, at.Directory, "--foreground");
        serving.WaitForLine("is mounted on");
        File.WriteAllText(at["hello"], "world");
        serving.Signal(signal);
        serving.Wait().Succeeded();
        Assert.Null(MountTable.Find(at.Directory));
        Assert.Equal("world", ExoProcess.Exo("cat", at.Image, "/hello").Output);
        Assert.Contains("clean", ExoProcess.Exo("fsck", at.Image).Succeeded().Output, StringComparison.Ordinal);
    }

    [Fact]
    public void The_helper_mounts_for_those_who_may_not()
    {
        Requires.Program("fusermount3");
        using Mounted at = new(new FuseMountOptions { UseHelper = true, Source = "a, b" });
        Assert.Equal("hello\n", at.Shell("echo hello > f; cat f"));
        Assert.Equal("a, b", MountTable.Find(at.Directory)?.Source);
    }

    [Fact]
    public void A_mount_that_is_in_use_ends_all_the_same()
    {
        Mounted at = new();

        // With streams of its own: were it ever left over, it must not keep whoever reads this run's output waiting.
        ProcessStartInfo start = new("sleep", ["60"])
        {
            WorkingDirectory = at.Directory, RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true,
        };
        using Process user = Process.Start(start)!;
        try
        {
            at.Dispose();
            Assert.False(user.HasExited);
        }
        finally
        {
            user.Kill();
            Assert.True(user.WaitForExit(TimeSpan.FromSeconds(10)));
        }
    }

    /// <summary>An ordinary user who makes an image can write to it when he mounts it.</summary>
    [Fact]
    public void Who_makes_an_image_owns_its_root()
    {
        Requires.Root();
        Requires.Program("setpriv");
        using TempFolder folder = new();
        string program = Path.Combine(AppContext.BaseDirectory, "exo.dll");
        string[] ordinary = ["--reuid=65534", "--regid=65533", "--clear-groups"];
        using Process look = Process.Start("setpriv", [.. ordinary, "test", "-r", program]);
        look.WaitForExit();
        Requires.That(look.ExitCode == 0, "an ordinary user cannot reach the program");
        Assert.Equal(0, Posix.Chmod(folder.Path, 0x1FF));
        Mounted.Run(new ProcessStartInfo("setpriv", [.. ordinary, "dotnet", "exec", program, "mkfs", folder["disk.img"], "--size", "16M"]) { WorkingDirectory = folder.Path });
        using CffsVolume volume = CffsVolume.Open(folder["disk.img"]);
        Assert.Equal((65534u, 65533u), (volume.Stat("/").User, volume.Stat("/").Group));
    }

    [Fact]
    public async Task A_mount_ends_when_somebody_else_takes_it_away()
    {
        Requires.Program("fusermount3");
        Requires.Program("umount");
        foreach (string program in (string[])["fusermount3 -u", "umount"])
        {
            using Mounted at = new();
            at.Shell($"echo kept > f; cd /; {program} \"$1\"");
            await at.Mount.Completion.WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
            Assert.Null(MountTable.Find(at.Directory));
            Assert.Equal("kept\n"u8.ToArray(), at.Volume.ReadAllBytes("/f"));
        }
    }

    /// <summary>The command's whole life in the hands of somebody without any rights: the helper mounts for him.</summary>
    [Theory]
    [InlineData("exo")]
    [InlineData("fusermount3")]
    public void An_ordinary_user_mounts_and_unmounts(string with)
    {
        Requires.Root();
        Requires.File("/dev/fuse");
        Requires.Program("setpriv");
        Requires.Program("unshare");
        Requires.Program("fusermount3");
        using TempFolder folder = new();
        string program = Path.Combine(AppContext.BaseDirectory, "exo.dll");
        string[] ordinary = ["--reuid=65534", "--regid=65534", "--clear-groups"];
        using Process look = Process.Start("setpriv", [.. ordinary, "test", "-r", program]);
        look.WaitForExit();
        Requires.That(look.ExitCode == 0, "an ordinary user cannot reach the program");
        Assert.Equal(0, Posix.Chmod(folder.Path, 0x1FF));

        // In a tree of mounts of its own, where everybody may open the device, as is usual; here it may be root's alone.
        const string Outside = """
            mknod "$1/fuse" c 10 229; chmod 666 "$1/fuse"; mount --bind "$1/fuse" /dev/fuse
            exec setpriv --reuid=65534 --regid=65534 --clear-groups sh -ec "$4" sh "$1" "$2" "$3"
            """;
        const string Inside = """
            cd "$1"; exo="dotnet exec $2"
            mkdir mnt; $exo mkfs disk.img --size 16M; $exo mount disk.img mnt
            (cd mnt; echo world > hello; mkdir d; ln hello d/again; test "$(stat -c %u hello)" = 65534; test "$(cat d/again)" = world)
            if [ "$3" = exo ]; then $exo umount mnt; else fusermount3 -u mnt; fi
            test -z "$(ls -A mnt)"
            if grep -q "$1/mnt " /proc/self/mounts; then exit 1; fi
            """;
        Mounted.Run(new ProcessStartInfo("unshare", ["-m", "--propagation", "private", "sh", "-ec", Outside, "sh", folder.Path, program, with, Inside]));

        // Whoever served the mount ends by himself when it has gone; then the image is free.
        ExoResult said = ExoProcess.Exo("cat", folder["disk.img"], "/d/again");
        for (int attempt = 0; said.ExitCode != 0 && attempt < 200; attempt++)
        {
            said = ExoProcess.Exo("cat", folder["disk.img"], "/d/again");
        }

        Assert.Equal("world\n", said.Succeeded().Output);
        ExoProcess.Exo("fsck", folder["disk.img"]).Succeeded();
    }

    [Fact]
    public void Options_are_those_of_mount()
    {
        FuseMountOptions options = new FuseMountOptions().With("ro,allow_other,default_permissions,relatime,nodev,nosuid,noexec,writeback,handles,io_uring,noxattr,threads=3");
        Assert.Equal(
            new FuseMountOptions
            {
                ReadOnly = true, AllowOther = true, NoDevices = true, NoSetUser = true, NoExecute = true, WritebackCache = true, Threads = 3,
                FileHandles = true, Transport = FuseTransport.IoUring, ExtendedAttributes = false,
            },
            options);
        Assert.Throws<FormatException>(() => options.With("ro,what"));
        Assert.Throws<FormatException>(() => options.With("threads=0"));
    }

    [Theory]
    [InlineData("/plain", "/plain")]
    [InlineData(@"/a\040b\011", "/a b\t")]
    [InlineData(@"/end\04", @"/end\04")]
    public void Escapes_in_the_table_of_mounts_are_undone(string field, string expected) => Assert.Equal(expected, MountTable.Unescape(field));
}
