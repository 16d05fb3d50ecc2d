// SPDX-License-Identifier: MIT
using Exo.Tests;

namespace Exo.Adapters.Fuse.Tests;

/// <summary>Which call changes which time, owner and mode.</summary>
public sealed class TimeTests
{
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Each_call_changes_the_times_that_POSIX_says(bool writeback)
    {
        using Mounted at = new(new FuseMountOptions { WritebackCache = writeback });
        File.WriteAllText(at["f"], "x");
        Posix.Mkdir(at["d"]);
        Posix.Mkdir(at["e"]);
        Assert.Equal("c", Changes(at, "f", () => Posix.Chmod(at["f"], 0x180)));
        Assert.Equal("c", Changes(at, "f", () => Posix.Chown(at["f"], 1, 1)));
        Assert.Equal("c", Changes(at, "f", () => Posix.Link(at["f"], at["d/g"])));
        Assert.Equal("c", Changes(at, "f", () => Posix.Unlink(at["d/g"])));
        Assert.Equal("cm", Changes(at, "f", () => Posix.Truncate(at["f"], 100)));
        Assert.Equal("cm", Changes(at, "f", () => { File.AppendAllText(at["f"], "more"); return 0; }));
        Assert.Equal("cm", Changes(at, "f", () => Posix.Close(Posix.Open(at["f"], 1 | 0x200))));
        Assert.Equal("cm", Changes(at, "d", () => Posix.Mkdir(at["d/a"])));
        Assert.Equal("cm", Changes(at, "d", () => Posix.Symlink("x", at["d/s"])));
        Assert.Equal("cm", Changes(at, "d", () => Posix.Mkfifo(at["d/p"])));
        Assert.Equal("cm", Changes(at, "d", () => Posix.Rename(at["d/s"], at["e/s"])));
        Assert.Equal("cm", Changes(at, "e", () => Posix.Unlink(at["e/s"])));
        Assert.Equal("cm", Changes(at, "d", () => Posix.Rmdir(at["d/a"])));
        Assert.Equal("c", Changes(at, "f", () => Posix.Chmod(at["f"], 0x1A4)));
        Assert.Equal("", Changes(at, "f", () => -Posix.Mkdir(at["f"]) - Posix.EEXIST));
        Assert.Equal("", Changes(at, "d", () => -Posix.Rmdir(at["d/none"]) - Posix.ENOENT));
    }

    [Theory]
    [InlineData("relatime", true)]
    [InlineData("noatime", false)]
    public void Reading_moves_the_access_time_unless_it_is_not_wanted(string option, bool isMoved)
    {
        using Mounted at = new(new FuseMountOptions().With(option));
        File.WriteAllText(at["f"], "x");
        Posix.Mkdir(at["d"]);
        Assert.Equal(0, Posix.Mkdir(at["d/e"]));
        at.Remount(new FuseMountOptions().With(option));

        // Before its first change a volume notes nothing.
        Assert.Equal(0, Posix.Mkdir(at["g"]));
        foreach ((string name, Action read) in ((string, Action)[])[("f", () => File.ReadAllText(at["f"])), ("d", () => Directory.GetDirectories(at["d"]))])
        {
            long before = at.Volume.Stat("/" + name).AccessTimeNs;
            read();
            Assert.Equal(isMoved, at.Volume.Stat("/" + name).AccessTimeNs > before);
        }

        Assert.Equal(!isMoved, File.ReadLines("/proc/self/mounts").Single(line => line.Split(' ')[1] == at.Directory).Contains("noatime", StringComparison.Ordinal));
    }

    [Fact]
    public void Writing_and_a_new_owner_take_the_set_id_bits()
    {
        Requires.Root();
        using Mounted at = new(new FuseMountOptions { AllowOther = true });
        File.WriteAllText(at["f"], "x");
        Posix.Chmod(at["f"], 0xDFF);
        Assert.Equal(0, Posix.Chown(at["f"], 65534, 65534));
        Assert.Equal(0x1FF, Posix.Stat(at["f"]).Mode & 0xFFF);
        Posix.Chmod(at["f"], 0xDFF);
        at.Shell("chmod 755 .; setpriv --reuid=65534 --regid=65534 --clear-groups sh -c 'echo y >> f'; sync");
        Assert.Equal(0x1FF, Posix.Stat(at["f"]).Mode & 0xFFF);
        Posix.Mkdir(at["g"]);
        Posix.Chown(at["g"], 0, 1234);
        Posix.Chmod(at["g"], 0x5ED);
        Posix.Mkdir(at["g/h"]);
        Status inherited = Posix.Stat(at["g/h"]);
        Assert.Equal((1234u, 0x400), (inherited.Group, inherited.Mode & 0x400));
    }

    [Fact]
    public void Links_are_counted_and_inodes_keep_their_numbers()
    {
        using Mounted at = new();
        Posix.Mkdir(at["d"]);
        Posix.Mkdir(at["d/a"]);
        Posix.Mkdir(at["d/b"]);
        Assert.Equal(4u, Posix.Stat(at["d"]).Links);
        Posix.Rename(at["d/b"], at["b"]);
        Assert.Equal(3u, Posix.Stat(at["d"]).Links);
        Assert.Equal(4u, Posix.Stat(at.Directory).Links);
        File.WriteAllText(at["f"], "x");
        ulong number = Posix.Stat(at["f"]).Inode;
        Posix.Link(at["f"], at["d/g"]);
        Assert.Equal((number, 2u), (Posix.Stat(at["d/g"]).Inode, Posix.Stat(at["f"]).Links));
        Posix.Rename(at["f"], at["d/g"]);
        Posix.Unlink(at["f"]);
        Assert.Equal((number, 1u), (Posix.Stat(at["d/g"]).Inode, Posix.Stat(at["d/g"]).Links));
        Assert.Equal("0\nkept\n", at.Shell("echo kept > u; exec 3<u; rm u; stat -L -c %h /proc/self/fd/3; cat <&3"));
    }

    // The volume's clock and the kernel's coarse one may differ by a tick: the times before are put well into the past.
    private static string Changes(Mounted at, string name, Func<int> call)
    {
        Status before = Posix.Stat(at[name]);
        SpinWait.SpinUntil(() => DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() > (Math.Max(before.ChangeNs, before.ModifyNs) / 1_000_000) + 20);
        Assert.Equal(0, call());
        Status after = Posix.Stat(at[name]);
        return (after.ChangeNs > before.ChangeNs ? "c" : "") + (after.ModifyNs > before.ModifyNs ? "m" : "");
    }
}
