// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;
using Exo.Tests;

namespace Exo.Adapters.Fuse.Tests;

/// <summary>POSIX access control lists through the kernel: what programs see, and who may, is what it is on the kernel's own file system in memory.</summary>
public sealed class AccessListTests
{
    // Prints what lists are, and who may do what. Users 1001 and so on need no account.
    private const string Words = """
        user() { u=$1; shift; if setpriv --reuid=$u --regid=$u --clear-groups sh -c "$*" >/dev/null 2>&1; then echo "$u may $*"; else echo "$u may not $*"; fi; }
        grp() { u=$1; g=$2; shift 2; if setpriv --reuid=$u --regid=$u --groups=$g sh -c "$*" >/dev/null 2>&1; then echo "$u in $g may $*"; else echo "$u in $g may not $*"; fi; }
        show() { for f in "$@"; do stat -c '%n %a' "$f"; getfacl -cnp "$f" 2>&1; done; }
        umask 022; chmod 755 .

        """;

    private static readonly FuseMountOptions Lists = new FuseMountOptions { AllowOther = true }.With("acl");

    public AccessListTests()
    {
        Requires.Root();
        Requires.Program("setfacl");
        Requires.Program("setpriv");
        Requires.Program("rsync");
        Requires.Program("setfattr");
    }

    [Theory]
    [InlineData("io_uring")]
    [InlineData("noio_uring")]
    public void Lists_grant_inherit_follow_chmod_and_go_as_on_another_file_system(string how) => AssertAlike(Lists.With(how), """
        echo secret >f; chmod 640 f
        user 1001 'cat f'; setfacl -m u:1001:r f; user 1001 'cat f'; user 1002 'cat f'; user 1001 'echo x >>f'; show f
        setfacl -m u:1001:rw f; user 1001 'echo x >>f'; show f
        chmod 600 f; user 1001 'cat f'; show f; chmod 640 f; user 1001 'cat f'; user 1001 'echo x >>f'; show f
        setfacl -m g:2000:r f; grp 1003 2000 'cat f'; grp 1003 2001 'cat f'; show f
        setfacl -x u:1001 f; show f; user 1001 'cat f'
        setfacl -b f; grp 1003 2000 'cat f'; show f; getfattr -d -m - f 2>&1
        chgrp 2000 f; chmod 660 f; setfacl -m u:1001:---,m::r f; user 1001 'cat f'; grp 1003 2000 'cat f'; grp 1003 2000 'echo >>f'; show f
        mkdir d; setfacl -d -m u:1001:rwx d; show d
        (umask 077; touch d/f; mkdir d/e; touch d/e/g; ln -s f d/l; echo x >d/w); (umask 077; mkdir -m 700 d/m; mkdir d/e/h); show d/f d/e d/e/g d/w d/m d/e/h
        user 1001 'ls d'; user 1001 'ls d/e'; user 1001 'touch d/e/new'; chmod 755 d
        setfacl -m u:1001:rwx d/e; user 1001 'touch d/e/new'; show d/e/new; stat -c %u d/e/new
        setfacl -k d; (umask 027; touch d/k; mkdir d/kd); show d d/k d/kd
        setfacl -d -m u::rwx,g::---,o::--- d; (umask 0; touch d/k2; mkdir d/kd2); show d d/k2 d/kd2
        mkdir s; chgrp 2000 s; chmod 2775 s; setfacl -m u:1001:rwx s; show s; setfacl -d -m g:2001:rx s; mkdir s/t; touch s/u; show s/t s/u; stat -c '%a %g' s/t s/u
        chown 1001 s/u; setpriv --reuid=1001 --regid=1001 --clear-groups setfacl -m u:1002:r s/u; chmod 2755 s/u
        setpriv --reuid=1001 --regid=1001 --clear-groups setfacl -m u:1002:rw s/u; show s/u; user 1002 'setfacl -m u:1002:rwx s/u'; user 1002 'chmod 777 s/u'
        setfacl -d -m u:1001:r f 2>&1; setfacl -m u:1001:r d/l 2>&1; show f
        cp -a d copy; show copy copy/f copy/e; cp f f2; show f2; cp -p f f3; show f3
        setfacl -R -m u:1005:rX copy; show copy copy/f copy/e copy/e/g
        ln f f4; setfacl -m u:1007:r f4; show f; mv f d/moved; show d/moved
        setfattr -n user.a -v b d/moved; show d/moved; setfacl -b d/moved; getfattr -d -m - d/moved; show d/moved
        setfattr -x system.posix_acl_access d/moved && echo removed none; setfattr -x system.posix_acl_default d && setfattr -x system.posix_acl_default d && echo removed none
        """);

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void Any_changes_lead_to_what_they_lead_to_on_another_file_system(int seed)
    {
        Random random = new(seed);
        string[] paths = ["a", "a/b", "a/b/c", "a/f", "a/b/f", "a/b/c/f"];
        StringBuilder script = new("mkdir -p a/b/c; touch a/f a/b/f a/b/c/f\n");
        for (int i = 0; i < 150; i++)
        {
            string path = paths[random.Next(paths.Length)];
            string who = random.Next(4) switch { 0 => "u:1001", 1 => "g:2000", 2 => "u:1002", _ => "m:" };
            string may = string.Concat("rwx".Select(letter => random.Next(2) == 0 ? letter : '-'));
            script.AppendLine(CultureInfo.InvariantCulture, $"{random.Next(8) switch
            {
                0 => $"chmod {Convert.ToString(random.Next(512), 8)} {path}",
                1 => $"setfacl -x {who} {path}",
                2 => $"setfacl -d -m {who}:{may} {path}",
                3 => $"setfacl {(random.Next(2) == 0 ? "-b" : "-k")} {path}",
                4 => $"(umask {Convert.ToString(random.Next(512), 8)}; rm -rf a/new; mkdir a/new; touch a/new/f; show a/new a/new/f)",
                5 => $"user {1001 + random.Next(2)} 'cat {path} || ls {path}'; grp 1003 {2000 + random.Next(2)} 'echo >>{path} || touch {path}/x'; rm -f {path}/x",
                _ => $"setfacl -m {who}:{may} {path}",
            }} >&1 2>/dev/null || echo refused");
        }

        script.AppendLine("find a | LC_ALL=C sort | xargs getfacl -np");
        AssertAlike(Lists, script.ToString());
    }

    [Fact]
    public void Rsync_carries_them_in_and_out()
    {
        using TempFolder other = new();
        using Mounted at = new(Lists);
        WithMemory(other["tmp"], memory =>
        {
            const string Make = "mkdir -p t/d; echo x >t/f; echo y >t/d/g; setfacl -m u:1001:rw t/f; setfacl -d -m g:2000:rx t/d; setfacl -m u:1002:--- t/d; setfattr -n user.a -v b t/f; ln t/f t/h";
            string Tree(string root) => Mounted.Run(Sh("find . | LC_ALL=C sort | xargs getfacl -np; getfattr -d f", root));
            Mounted.Run(Sh(Make, memory));
            at.Shell($"rsync -aHAX '{memory}/t' . && rsync -aHAX t '{memory}/back' && cp -a t u");
            Assert.Equal(Tree(memory + "/t"), Tree(at["t"]));
            Assert.Equal(Tree(memory + "/t"), Tree(memory + "/back/t"));
            Assert.Equal(Tree(memory + "/t"), Tree(at["u"]));
            Assert.Contains("user:1001:rw-", Tree(at["t"]), StringComparison.Ordinal);

            // They outlast the mount, in copies and snapshots, too.
            at.Volume.CopyTree("/t", "/v");
            at.Volume.CreateSnapshot("/t", "/s");
            at.Remount(Lists);
            foreach (string name in new[] { "t", "u", "v", "s" })
            {
                Assert.Equal(Tree(memory + "/t"), Tree(at[name]));
            }
        });
    }

    [Fact]
    public void Import_and_export_carry_them()
    {
        using TempFolder other = new();
        string image = other["disk.img"];
        WithMemory(other["tmp"], memory =>
        {
            Mounted.Run(Sh("mkdir -p t/d; echo x >t/f; setfacl -m u:1001:rw t/f; setfacl -d -m g:2000:rx t/d; setfacl -m u:1002:--- t/d; chmod 2775 t/d; touch t/d/g; chown 1000:1000 t/d/g; chmod 640 t/f", memory));
            ExoProcess.Exo("mkfs", image, "--size", "16M").Succeeded();
            ExoProcess.Exo("import", image, memory + "/t").Succeeded();
            ExoProcess.Exo("export", image, memory + "/back").Succeeded();
            ExoProcess.Exo("fsck", image).Succeeded();
            const string Tree = "find . -name lost+found -prune -o -print | LC_ALL=C sort | xargs getfacl -np";
            string expected = Mounted.Run(Sh(Tree, memory + "/t"));
            Assert.Contains("user:1001:rw-", expected, StringComparison.Ordinal);
            Assert.Equal(expected, Mounted.Run(Sh(Tree, memory + "/back")));
        });
    }

    [Fact]
    public void Without_the_option_there_are_none_and_those_of_before_are_kept()
    {
        using Mounted at = new(Lists);
        at.Shell("touch f; setfacl -m u:1001:rw f; mkdir d; setfacl -d -m u:1001:rw d");
        at.Remount(new FuseMountOptions { AllowOther = true });
        Assert.Equal("664\n", at.Shell("stat -c %a f; ! setfacl -m u:1002:r f 2>/dev/null; ! getfattr -n system.posix_acl_access f 2>/dev/null; test -z \"$(getfattr -m - f)\"; chmod 640 f"));
        at.Remount(Lists);
        Assert.Equal("user::rw-\nuser:1001:rw-\t#effective:r--\ngroup::r--\nmask::r--\nother::---\n\n", at.Shell("getfacl -cn f"));
        Assert.Contains("default:user:1001:rw-", at.Shell("getfacl -cn d"), StringComparison.Ordinal);

        // What has no attributes has no lists.
        Assert.Equal("644\n", at.Shell("mkfifo d/p; ! setfacl -m u:1001:r d/p 2>/dev/null; chmod 644 d/p; stat -c %a d/p"));
    }

    [Fact]
    public void What_changes_beside_the_mount_shows_in_it()
    {
        using Mounted at = new(Lists);
        at.Shell("chmod 755 .; echo x >f; chmod 640 f; setfacl -m u:1001:r f; setpriv --reuid=1001 --regid=1001 --clear-groups cat f");
        at.Volume.SetAttributes("/f", new FileSystems.CFFS.CffsAttributeChange { Permissions = 0x180 });
        at.Mount.CatchUp();
        at.Shell("! setpriv --reuid=1001 --regid=1001 --clear-groups cat f 2>/dev/null");
    }

    /// <summary>The owner's messages are as many as ever. Of what is somebody else's the kernel asks for the list once, when it has the inode to judge: the superuser's, too.</summary>
    [Theory]
    [InlineData("acl", 1)]
    [InlineData("noacl", 0)]
    public void A_list_is_asked_for_once_and_only_for_those_who_are_not_the_owner(string option, int perOpen)
    {
        const int Files = 50;
        FuseMountOptions options = Lists.With(option);
        using Mounted at = new(options);
        at.Shell("mkdir mine theirs; for i in $(seq 50); do echo x >mine/$i; echo x >theirs/$i; done; chown -R 1001 theirs; chmod 640 mine/* theirs/*");
        at.Remount(options);
        long Lists_asked() => at.Mount.CountMessages().Where(m => m.Message == "GETXATTR").Sum(m => m.Count);
        long All() => at.Mount.CountMessages().Where(m => m.Message is not "FORGET" and not "BATCH_FORGET").Sum(m => m.Count);
        void Open(string directory)
        {
            for (int i = 1; i <= Files; i++)
            {
                Assert.Equal(0, Posix.Close(Posix.Open(at[$"{directory}/{i}"], 0)));
            }
        }

        void Stat(string directory)
        {
            for (int i = 1; i <= Files; i++)
            {
                Assert.Equal(2, new FileInfo(at[$"{directory}/{i}"]).Length);
            }
        }

        long before = Lists_asked();
        Stat("mine");
        Stat("theirs");
        Open("mine");

        // The directories that the paths go through.
        Assert.InRange(Lists_asked() - before, 0, 3 * perOpen);
        before = Lists_asked();
        Open("theirs");
        Assert.InRange(Lists_asked() - before, perOpen * Files, perOpen * (Files + 2));
        before = All();
        Open("mine");
        Open("theirs");
        Stat("theirs");
        Assert.Equal(0, All() - before);
    }

    private static void AssertAlike(FuseMountOptions options, string script)
    {
        using TempFolder other = new();
        using Mounted at = new(options);
        WithMemory(other["tmp"], memory =>
        {
            string expected = Mounted.Run(Sh(Words + script, memory));
            Assert.Equal(expected, Mounted.Run(Sh(Words + script, at.Directory)));
            Assert.Contains(":", expected, StringComparison.Ordinal);
        });
    }

    private static System.Diagnostics.ProcessStartInfo Sh(string script, string directory) => new("/bin/sh", ["-c", $"cd \"$1\"\n{script}", "sh", directory]);

    private static void WithMemory(string directory, Action<string> action)
    {
        Directory.CreateDirectory(directory);
        Mounted.Run(new System.Diagnostics.ProcessStartInfo("mount", ["-t", "tmpfs", "tmpfs", directory]));
        try
        {
            action(directory);
        }
        finally
        {
            Mounted.Run(new System.Diagnostics.ProcessStartInfo("umount", [directory]));
        }
    }
}
