// SPDX-License-Identifier: MIT
using Exo.Tests;

namespace Exo.Adapters.Fuse.Tests;

/// <summary>Extended attributes through the kernel.</summary>
public sealed class ExtendedAttributeTests
{
    [Fact]
    public void Programs_set_list_and_remove_them()
    {
        Requires.Program("setfattr");
        using Mounted at = new();
        File.WriteAllText(at["f"], "x");
        Assert.Equal(-Posix.ENODATA, Posix.GetAttribute(at["f"], "user.a"));
        Assert.Equal(0, Posix.SetAttribute(at["f"], "user.one-byte"));
        Assert.Equal(1, Posix.GetAttribute(at["f"], "user.one-byte"));
        Assert.Equal("value\n", at.Shell("setfattr -n user.a -v value f; getfattr --only-values -n user.a f; echo"));
        Assert.Equal("user.a\nuser.one-byte\n", at.Shell("getfattr f | grep user | sort"));
        Assert.Equal("user.a\nuser.one-byte\n", at.Shell("ln f g; mv f h; getfattr g | grep user | sort; getfattr -n user.a h >/dev/null"));
        Assert.Equal("", at.Shell("setfattr -x user.a h; ! getfattr -n user.a h 2>/dev/null; ! setfattr -x user.a h 2>/dev/null"));
        Assert.Equal("on a directory\n", at.Shell("mkdir d; setfattr -n user.b -v 'on a directory' d; getfattr --only-values -n user.b d; echo; ! setfattr -h -n user.a -v x sym 2>/dev/null; rmdir d"));
        Assert.Equal("", at.Shell("! setfattr -n user.big -v $(head -c 5000 /dev/zero | tr '\\0' x) h 2>/dev/null; cp --preserve=xattr h copy; getfattr -n user.one-byte copy >/dev/null"));
    }

    [Fact]
    public void They_survive_the_mount_and_trusted_ones_are_the_superusers()
    {
        Requires.Root();
        Requires.Program("setfattr");
        Requires.Program("setpriv");
        using Mounted at = new(new FuseMountOptions { AllowOther = true });
        at.Shell("""
            chmod 755 .; echo x >f; chmod 644 f; setfattr -n trusted.t -v secret f; setfattr -n security.s -v label f
            test "$(getfattr -d -m - f | grep -c =)" = 2
            user='setpriv --reuid=65534 --regid=65534 --clear-groups'
            test "$($user getfattr -d -m - f 2>/dev/null | grep -c =)" = 1
            ! $user setfattr -n user.a -v x f 2>/dev/null
            ! $user setfattr -n trusted.t -v x f 2>/dev/null
            chmod 666 f; $user setfattr -n user.a -v x f
            """);
    }

    /// <summary>A file that is written to has no capabilities any more (capabilities(7)).</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Capabilities_go_when_a_file_is_written(bool writeback)
    {
        Requires.Root();
        Requires.Program("setcap");
        using Mounted at = new(new FuseMountOptions { WritebackCache = writeback });
        Assert.Equal(
            "kept gone gone gone",
            at.Shell("""
            state() { if getcap "$1" | grep -q net_raw; then printf kept; else printf gone; fi; }
            for f in a b c d; do cp /bin/true $f; setcap cap_net_raw+ep $f; done
            cat a >/dev/null; sync; state a; printf ' '
            echo more >>b; sync; state b; printf ' '
            truncate -s 100 c; state c; printf ' '
            chown 1:1 d; state d
            """));
    }

    [Fact]
    public void Without_them_the_kernel_does_not_ask()
    {
        Requires.Program("setfattr");
        using Mounted at = new(new FuseMountOptions().With("noxattr"));
        File.WriteAllText(at["f"], "x");
        Assert.Equal(-Posix.EOPNOTSUPP, Posix.SetAttribute(at["f"], "user.a"));
        Assert.Equal(-Posix.EOPNOTSUPP, Posix.GetAttribute(at["f"], "user.a"));
    }
}
