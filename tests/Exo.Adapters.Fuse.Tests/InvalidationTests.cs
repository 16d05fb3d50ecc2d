// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;
using Exo.FileSystems.CFFS;
using Exo.Tests;

namespace Exo.Adapters.Fuse.Tests;

/// <summary>A program that mounts its volume goes on using it: what the kernel was told is valid for ever is taken back when it is true no more.</summary>
public sealed class InvalidationTests
{
    private const int O_RDONLY = 0, O_RDWR = 2;

    [Theory]
    [InlineData("io_uring")]
    [InlineData("noio_uring")]
    [InlineData("writeback")]
    [InlineData("noio_uring,writeback,handles")]
    public void Names_contents_and_attributes_show(string how)
    {
        using Mounted at = new(new FuseMountOptions().With(how));
        CffsVolume volume = at.Volume;
        volume.CreateDirectory("/d");
        at.Mount.CatchUp();

        // Known to be absent, then there.
        Assert.Equal("", at.Shell("! cat d/f 2>/dev/null; ls d"));
        volume.WriteAllBytes("/d/f", "first"u8.ToArray());
        at.Mount.CatchUp();
        Assert.Equal("first5 1\nf\n", at.Shell("cat d/f; stat -c '%s %h' d/f; ls d"));

        // Other contents, longer, then shorter; pages of the old ones are with the kernel.
        volume.WriteAllBytes("/d/f", Encoding.ASCII.GetBytes(new string('x', 10_000)));
        at.Mount.CatchUp();
        Assert.Equal("10000 10000\n", at.Shell("echo $(stat -c %s d/f) $(tr -dc x <d/f | wc -c)"));
        using (CffsFile file = volume.OpenFile("/d/f", CffsOpenMode.Write))
        {
            file.Write(5000, "yy"u8);
            file.SetLength(6000);
        }

        at.Mount.CatchUp();
        Assert.Equal("6000 yy\n", at.Shell("echo $(stat -c %s d/f) $(tr -d x <d/f)"));
        volume.ReplaceAllBytes("/d/f", "new"u8.ToArray());
        at.Mount.CatchUp();
        Assert.Equal("new3\n", at.Shell("cat d/f; stat -c %s d/f"));

        // Attributes, links of both names, and of what a rename replaces.
        volume.SetAttributes("/d/f", new CffsAttributeChange { Permissions = 0x180, User = 12, Group = 34, ModifyTimeNs = 5_000_000_000 });
        volume.CreateHardLink("/d/f", "/d/g");
        at.Mount.CatchUp();
        Assert.Equal("600 12 34 5 2\n2\n", at.Shell("stat -c '%a %u %g %Y %h' d/f; stat -c %h d/g"));
        volume.WriteAllBytes("/d/h", "over"u8.ToArray());
        volume.Rename("/d/h", "/d/f");
        at.Mount.CatchUp();
        Assert.Equal("over1\nf\ng\n", at.Shell("cat d/f; stat -c %h d/g; ls d"));
        volume.SetExtendedAttribute("/d/g", "user.a", "1"u8.ToArray());

        // Directories that move and go.
        volume.CreateDirectory("/d/e");
        volume.WriteAllBytes("/d/e/deep", "deep"u8.ToArray());
        at.Mount.CatchUp();
        Assert.Equal("deep3\n", at.Shell("cat d/e/deep; stat -c %h d"));
        volume.Rename("/d/e", "/e");
        at.Mount.CatchUp();
        Assert.Equal("deep2\n", at.Shell("cat e/deep; stat -c %h d; ! ls d/e 2>/dev/null"));
        volume.RemoveFile("/e/deep");
        volume.RemoveDirectory("/e");
        volume.RemoveFile("/d/g");
        at.Mount.CatchUp();
        Assert.Equal("d\nf\n", at.Shell("! cat d/g 2>/dev/null; ! ls e 2>/dev/null; ls -A . d | grep -v ': *$' | grep ."));

        // And the other way round: what programs change, the volume has.
        at.Shell("echo theirs >d/f; mkdir d/new; sync d/f");
        Assert.Equal("theirs\n", Encoding.ASCII.GetString(volume.ReadAllBytes("/d/f")));
        Assert.True(volume.Exists("/d/new"));
    }

    [Theory]
    [InlineData("io_uring")]
    [InlineData("noio_uring,handles")]
    public void Whoever_has_a_file_open_sees_what_is_added_and_keeps_what_is_removed(string how)
    {
        using Mounted at = new(new FuseMountOptions().With(how));
        CffsVolume volume = at.Volume;
        File.WriteAllText(at["log"], "one\n");
        int fd = Posix.Open(at["log"], O_RDONLY);
        Assert.Equal("one\n", Encoding.ASCII.GetString(Posix.Read(fd, 0, 100)));
        using (CffsFile log = volume.OpenFile("/log", CffsOpenMode.Write))
        {
            log.Write(4, "two\n"u8);
        }

        at.Mount.CatchUp();
        Assert.Equal("one\ntwo\n", Encoding.ASCII.GetString(Posix.Read(fd, 0, 100)));
        volume.RemoveFile("/log");
        at.Mount.CatchUp();
        Assert.False(File.Exists(at["log"]));
        Assert.Equal("one\ntwo\n", Encoding.ASCII.GetString(Posix.Read(fd, 0, 100)));
        Assert.Equal(0, Posix.Close(fd));
    }

    [Fact]
    public void A_snapshot_made_meanwhile_shows_and_goes()
    {
        using Mounted at = new();
        at.Shell("mkdir work; echo then >work/f; ls; ! ls snap 2>/dev/null");
        at.Volume.CreateSnapshot("/work", "/snap");
        at.Mount.CatchUp();
        Assert.Equal("snap\nwork\nthen\n", at.Shell("ls; echo now >work/f; cat snap/f"));
        at.Volume.DeleteSnapshot("/snap");
        at.Mount.CatchUp();
        Assert.Equal("work\n", at.Shell("ls; ! cat snap/f 2>/dev/null"));
    }

    /// <summary>One thread changes the volume while programs look at the mount all the time, so that changes meet answers under way. In the end the mount shows the volume as it is.</summary>
    [Theory]
    [InlineData("io_uring")]
    [InlineData("noio_uring")]
    public async Task What_programs_keep_looking_at_is_at_last_what_is_there(string how)
    {
        const int Names = 12;
        using Mounted at = new(new FuseMountOptions().With(how));
        CffsVolume volume = at.Volume;
        foreach (string directory in (string[])["/a", "/b"])
        {
            volume.CreateDirectory(directory);
        }

        bool isDone = false;
        Task looking = Task.Run(() =>
        {
            while (!Volatile.Read(ref isDone))
            {
                at.Shell("for i in 1 2 3 4 5 6 7 8; do find . -type f -exec cat {} + >/dev/null 2>&1 || true; ls -lR . >/dev/null 2>&1 || true; done");
            }
        });
        Random random = new(1);
        for (int i = 0; i < 3000; i++)
        {
            string path = PathOf(random);
            try
            {
                switch (random.Next(6))
                {
                    case 0 or 1: volume.WriteAllBytes(path, new byte[random.Next(20_000)]); break;
                    case 2: volume.RemoveFile(path); break;
                    case 3: volume.Rename(path, PathOf(random)); break;
                    case 4: volume.CreateHardLink(path, PathOf(random)); break;
                    default: volume.SetAttributes(path, new CffsAttributeChange { Permissions = (ushort)random.Next(0x200) }); break;
                }
            }
            catch (CffsException refused) when (refused.Error is CffsError.NotFound or CffsError.Exists)
            {
                // As random operations are.
            }
        }

        Volatile.Write(ref isDone, true);
        await looking;
        at.Mount.CatchUp();
        List<string> there = [];
        foreach (string directory in (string[])["a", "b"])
        {
            foreach (CffsDirectoryEntry entry in volume.ReadDirectory("/" + directory))
            {
                string path = $"{directory}/{Encoding.UTF8.GetString(entry.Name.Span)}";
                CffsStat stat = volume.Stat("/" + path);
                there.Add(string.Create(CultureInfo.InvariantCulture, $"{path} {stat.Inode} {stat.Size} {stat.Links} {Convert.ToString(stat.Mode & 0xFFF, 8)}"));
            }
        }

        Assert.NotEmpty(there);
        Assert.Equal(there.Order(StringComparer.Ordinal), at.Shell("find a b -type f -printf '%p %i %s %n %m\\n'").Split('\n', StringSplitOptions.RemoveEmptyEntries).Order(StringComparer.Ordinal));

        static string PathOf(Random random) => $"/{"ab"[random.Next(2)]}/{random.Next(Names)}";
    }
}
