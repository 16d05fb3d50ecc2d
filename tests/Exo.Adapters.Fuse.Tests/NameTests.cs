// SPDX-License-Identifier: MIT
using System.Text;
using Exo.Tests;

namespace Exo.Adapters.Fuse.Tests;

/// <summary>Names: exchanged, given late, taken from open files, listed while they come and go.</summary>
public sealed class NameTests
{
    private const int O_RDONLY = 0, O_RDWR = 2, O_EXCL = 0x80, O_TMPFILE = 0x410000;
    private const uint Exchange = 2, NoReplace = 1, Whiteout = 4;

    [Fact]
    public void Two_names_change_places()
    {
        using Mounted at = new();
        at.Shell("mkdir d e; echo a >a; echo b >d/b; echo in >e/in; ln a linked");
        Assert.Equal(0, Posix.Rename(at["a"], at["d/b"], Exchange));
        Assert.Equal("b\na\na\n", at.Shell("cat a d/b linked"));
        Assert.Equal(0, Posix.Rename(at["a"], at["e"], Exchange));
        Assert.Equal("in\nb\n", at.Shell("cat a/in e"));
        Assert.Equal(0, Posix.Rename(at["a"], at["d/b"], Exchange));
        Assert.Equal("in\na\n", at.Shell("cat d/b/in a"));
        Assert.Equal(0, Posix.Rename(at["a"], at["linked"], Exchange));
        Assert.Equal(-Posix.EINVAL, Posix.Rename(at["d"], at["d/b"], Exchange));
        Assert.Equal(-Posix.EINVAL, Posix.Rename(at["d/b"], at["d"], Exchange));
        Assert.Equal(-Posix.ENOENT, Posix.Rename(at["a"], at["none"], Exchange));
        Assert.Equal(-Posix.EINVAL, Posix.Rename(at["a"], at["e"], Exchange | NoReplace));
        Assert.Equal((3u, 3u), (Posix.Stat(at.Directory).Links, Posix.Stat(at["d"]).Links));
        Assert.Equal("a\nd\ne\nlinked\n", at.Shell("ls -A"));
    }

    [Fact]
    public void A_rename_leaves_a_whiteout_when_asked_to()
    {
        Requires.Root();
        using Mounted at = new();
        at.Shell("mkdir d; echo a >a; echo b >d/b; ln a linked; mkdir e; echo in >e/in");
        Assert.Equal(0, Posix.Rename(at["a"], at["d/a"], Whiteout));
        Assert.Equal("a\na\n", at.Shell("cat d/a linked"));
        Assert.Equal(-Posix.EEXIST, Posix.Rename(at["linked"], at["d/b"], Whiteout | NoReplace));
        Assert.Equal(0, Posix.Rename(at["linked"], at["d/b"], Whiteout));
        Assert.Equal(0, Posix.Rename(at["e"], at["d/e"], Whiteout | NoReplace));
        Assert.Equal(0, Posix.Rename(at["d/e"], at["d/f"], Whiteout));
        Assert.Equal(-Posix.EINVAL, Posix.Rename(at["d/a"], at["d/f"], Whiteout | Exchange));
        string whiteout = "character special file 0 0:0 0 0";
        Assert.Equal(string.Concat(Enumerable.Repeat($"{whiteout}\n", 4)), at.Shell("stat -c '%F %a %t:%T %u %g' a linked e d/e"));
        Assert.Equal("a\na\nin\n", at.Shell("cat d/a d/b d/f/in"));
        Assert.Equal("3 3\n", at.Shell("stat -c %h . d | paste -sd' '"));
        at.Remount();
        Assert.Equal($"{whiteout}\n", at.Shell("stat -c '%F %a %t:%T %u %g' e; rm a linked e d/e; ls -A d | wc -l").Replace("3\n", "", StringComparison.Ordinal));
    }

    [Fact]
    public void A_file_without_a_name_gets_one_or_goes()
    {
        using Mounted at = new();
        int fd = Posix.Open(at.Directory, O_TMPFILE | O_RDWR);
        Assert.True(fd >= 0);
        Assert.Equal(5, Posix.Write(fd, "hello"u8.ToArray(), 0));
        Assert.Equal("0\n", at.Shell("ls -A | wc -l"));
        Assert.Equal(0, Posix.LinkOpen(fd, at["named"]));
        Assert.Equal(1u, Posix.Stat(at["named"]).Links);
        Assert.Equal(0, Posix.Link(at["named"], at["second"]));
        Assert.Equal(0, Posix.Unlink(at["named"]));
        Assert.Equal(0, Posix.Close(fd));
        Assert.Equal("hello", File.ReadAllText(at["second"]));
        int gone = Posix.Open(at.Directory, O_TMPFILE | O_RDWR);
        Assert.Equal(100_000, Posix.Write(gone, new byte[100_000], 0));
        Assert.Equal(0, Posix.Close(gone));
        int never = Posix.Open(at.Directory, O_TMPFILE | O_RDWR | O_EXCL);
        Assert.Equal(-Posix.ENOENT, Posix.LinkOpen(never, at["never"]));
        Assert.Equal(0, Posix.Close(never));
        Assert.Equal("second\n", at.Shell("ls -A"));
    }

    [Fact]
    public void Open_files_outlive_their_names()
    {
        using Mounted at = new();
        at.Shell("mkdir d; echo old >d/f; echo new >d/g; echo third >d/h");
        int old = Posix.Open(at["d/f"], O_RDWR);
        Assert.Equal(0, Posix.Rename(at["d/g"], at["d/f"]));
        int second = Posix.Open(at["d/f"], O_RDONLY);
        Assert.Equal(0, Posix.Rename(at["d/h"], at["d/f"]));
        Assert.Equal(0, Posix.Rename(at["d/f"], at["d/i"]));
        Assert.Equal(0, Posix.Unlink(at["d/i"]));
        Assert.Equal(0, Posix.Rmdir(at["d"]));
        Assert.Equal("new\n", Encoding.ASCII.GetString(Posix.Read(second, 0, 10)));
        Assert.Equal(100_000, Posix.Write(old, new byte[100_000], 4));
        Assert.Equal("old\n", Encoding.ASCII.GetString(Posix.Read(old, 0, 4)));
        Assert.Equal(0, Posix.Fsync(old));
        Assert.Equal(0, Posix.Close(old));
        Assert.Equal(0, Posix.Close(second));
        Assert.Equal("", at.Shell("ls -A; mkdir x; cd x; rmdir ../x; ls -A; ! touch y 2>/dev/null; ! ls y 2>/dev/null"));
    }

    [Fact]
    public async Task Whoever_looks_while_two_names_change_places_finds_both()
    {
        const uint Exchange = 2;
        using Mounted at = new();
        at.Shell("mkdir d e; echo one >d/a; echo other >e/b");
        ulong[] inodes = [Posix.Stat(at["d/a"]).Inode, Posix.Stat(at["e/b"]).Inode];
        bool isDone = false;
        int looks = 0;
        Task looking = Task.Run(() =>
        {
            for (; !Volatile.Read(ref isDone); Interlocked.Increment(ref looks))
            {
                Assert.Contains(Posix.Stat(at["d/a"]).Inode, inodes);

                // What has the name lies elsewhere in the directory each time: a listing under way may come upon it again.
                Assert.Equal(["b"], Directory.GetFiles(at["e"]).Select(Path.GetFileName).Distinct());
            }
        });

        // An odd number of times, and until somebody has looked.
        for (int i = 0; i < 99 || i % 2 == 0 || (Volatile.Read(ref looks) == 0 && !looking.IsCompleted); i++)
        {
            Assert.Equal(0, Posix.Rename(at["d/a"], at["e/b"], Exchange));
        }

        Volatile.Write(ref isDone, true);
        await looking;
        Assert.Equal("other\none\n", at.Shell("cat d/a e/b"));
    }

    [Fact]
    public void A_listing_gives_each_lasting_name_once_while_others_come_and_go()
    {
        using Mounted at = new();
        at.Shell("mkdir d; cd d; seq 1000 | sed 's/^/stays/' | xargs touch; seq 1000 | sed 's/^/goes/' | xargs touch");
        List<string> seen = [];
        int number = 0;
        int gone = 0;
        foreach (string path in Directory.EnumerateFileSystemEntries(at["d"]))
        {
            seen.Add(Path.GetFileName(path));
            number++;
            if (number % 2 == 0 && number <= 2000)
            {
                Assert.Equal(0, Posix.Unlink(at[$"d/goes{number / 2}"]));
                gone++;
                File.WriteAllText(at[$"d/comes{number}"], "");
            }
        }

        Assert.Equal(seen.Count, seen.Distinct().Count());
        Assert.Equal(1000, seen.Count(name => name.StartsWith("stays", StringComparison.Ordinal)));
        Assert.Equal($"{1000 - gone}\n", at.Shell("ls d | grep -c goes || true"));
    }

    [Fact]
    public void Names_and_targets_are_as_long_as_they_may_be()
    {
        using Mounted at = new();
        string longest = new('n', 255);
        foreach (int length in (int[])[1, 59, 60, 200, 380, 400, 496, 512, 1000, 4095])
        {
            string target = new('t', length);
            Assert.Equal(0, Posix.Symlink(target, at[$"s{length}"]));
            Assert.Equal(length + 1, at.Shell($"readlink s{length}").Length);
            Assert.Equal(length, Posix.Stat(at[$"s{length}"]).Size);
        }

        Assert.Equal(0, Posix.Symlink(new string('t', 4095), at[longest]));
        Assert.Equal(0, Posix.Rename(at[longest], at["short"]));
        Assert.Equal(0, Posix.Rename(at["short"], at[longest]));
        Assert.Equal(new string('t', 4095), File.ResolveLinkTarget(at[longest], returnFinalTarget: false)!.Name);
        Assert.Equal(0, Posix.Mkdir(at["d"]));
        File.WriteAllText(at["d/" + longest], "x");
        Assert.Equal(0, Posix.Link(at["d/" + longest], at["d/" + longest[1..]]));
        Assert.Equal(0, Posix.Rename(at["d/" + longest], at["d/a"]));
        Assert.Equal("x", File.ReadAllText(at["d/a"]));
    }
}
