// SPDX-License-Identifier: MIT
using CsCheck;
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.FileSystems.CFFS.Tests.Paths;

/// <summary>Renames that leave a whiteout: a character device with number 0 has the old name, in the same step.</summary>
public sealed class WhiteoutTests : IDisposable
{
    private static readonly CffsIdentity s_user = new(1000, 1000);

    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 32 << 20 });
    private readonly MemoryBlockDevice _disk;
    private CffsVolume _volume;

    public WhiteoutTests()
    {
        _disk = new MemoryBlockDevice(_frames, blockCount: 8192);
        _volume = CffsVolume.Create(_disk, new CffsCreateOptions { Seed = 1 });
    }

    public void Dispose()
    {
        _volume.Dispose();
        CffsCheckReport report = CffsCheck.Run(_disk);
        _disk.Dispose();
        _frames.Dispose();
        Assert.True(report.IsClean, string.Join('\n', report.Findings));
    }

    private void Reopen()
    {
        _volume.Dispose();
        _volume = CffsVolume.Open(_disk);
    }

    private bool IsWhiteout(string path)
    {
        CffsStat stat = _volume.Stat(path, followSymbolicLink: false);
        return stat is { Kind: CffsKind.CharacterDevice, DeviceNumber: 0, Permissions: 0, Links: 1, Size: 0 };
    }

    private string Text(string path) => System.Text.Encoding.UTF8.GetString(_volume.ReadAllBytes(path));

    [Theory]
    [InlineData("/a", "/b")]
    [InlineData("/a", "/d/b")]
    [InlineData("/a", "/taken")]
    [InlineData("/a", "/d/taken")]
    [InlineData("/d/linked", "/b")]
    [InlineData("/d/linked", "/d/b")]
    public void The_old_name_is_a_whiteouts(string from, string to)
    {
        _volume.CreateDirectory("/d");
        foreach (string path in (string[])["/a", "/taken", "/d/taken", "/first"])
        {
            _volume.WriteAllBytes(path, System.Text.Encoding.UTF8.GetBytes(path));
        }

        _volume.CreateHardLink("/first", "/d/linked");
        string text = Text(from);
        CffsStat before = _volume.Stat(from);
        _volume.RenameWithWhiteout(from, to);
        for (int look = 0; look < 2; look++, Reopen())
        {
            Assert.Equal(text, Text(to));
            Assert.Equal((before.Inode, before.Links), (_volume.Stat(to).Inode, _volume.Stat(to).Links));
            Assert.True(IsWhiteout(from));
            Assert.NotEqual(before.Inode, _volume.Stat(from).Inode);
        }

        Assert.Equal(CffsError.Exists, Assert.Throws<CffsException>(() => _volume.CreateDirectory(from)).Error);
        _volume.Rename(to, from);
        Assert.Equal(text, Text(from));
        _volume.RemoveFile(from);
        Assert.False(_volume.Exists(from));
    }

    [Fact]
    public void A_directory_leaves_one_and_is_counted_where_it_went()
    {
        _volume.CreateDirectories("/one/sub");
        _volume.CreateDirectory("/other");
        _volume.WriteAllBytes("/one/sub/file", new byte[10_000]);
        _volume.RenameWithWhiteout("/one/sub", "/other/sub");
        Assert.Equal((2u, 3u), (_volume.Stat("/one").Links, _volume.Stat("/other").Links));
        Assert.True(IsWhiteout("/one/sub"));
        Assert.Equal(10_000, _volume.ReadAllBytes("/other/sub/file").Length);
        Assert.Equal(CffsError.Invalid, Assert.Throws<CffsException>(() => _volume.RenameWithWhiteout("/other", "/other/sub/below")).Error);
        Assert.Equal(CffsError.NotEmpty, Assert.Throws<CffsException>(() => _volume.RemoveDirectory("/one")).Error);
        _volume.RemoveFile("/one/sub");
        _volume.RemoveDirectory("/one");
    }

    [Fact]
    public void Nothing_is_left_where_nothing_moves()
    {
        _volume.WriteAllBytes("/a", "a"u8.ToArray());
        _volume.WriteAllBytes("/b", "b"u8.ToArray());
        _volume.CreateHardLink("/a", "/again");
        _volume.RenameWithWhiteout("/a", "/a");
        _volume.RenameWithWhiteout("/a", "/again");
        Assert.Equal(CffsError.Exists, Assert.Throws<CffsException>(() => _volume.RenameWithWhiteout("/a", "/b", replace: false)).Error);
        Assert.Equal(CffsError.NotFound, Assert.Throws<CffsException>(() => _volume.RenameWithWhiteout("/none", "/c")).Error);
        Assert.Equal(("a", "a", "b"), (Text("/a"), Text("/again"), Text("/b")));
    }

    [Fact]
    public void It_is_made_by_who_renames_and_may_not_make_devices()
    {
        _volume.CreateDirectory("/home");
        _volume.SetAttributes("/home", new CffsAttributeChange { User = 1000, Group = 1000 });
        _volume.WriteAllBytes("/home/a", "a"u8.ToArray(), identity: s_user);
        Assert.Equal(CffsError.AccessDenied, Assert.Throws<CffsException>(() => _volume.RenameWithWhiteout("/home/a", "/a", identity: s_user)).Error);
        _volume.RenameWithWhiteout("/home/a", "/home/b", identity: s_user);
        Assert.True(IsWhiteout("/home/a"));
        Assert.Equal((1000u, 1000u), (_volume.Stat("/home/a").User, _volume.Stat("/home/a").Group));
    }

    [Fact]
    public void Who_watches_is_told_of_both()
    {
        _volume.WriteAllBytes("/a", "a"u8.ToArray());
        using CffsWatch watch = _volume.Watch("/");
        _volume.RenameWithWhiteout("/a", "/b");
        Assert.True(watch.TryRead(out CffsChange moved));
        Assert.Equal((CffsChangeKind.Renamed, "a", "b"), (moved.Kind, moved.OldPathString, moved.PathString));
        Assert.True(watch.TryRead(out CffsChange made));
        Assert.Equal((CffsChangeKind.Created, "a", _volume.Stat("/a").Inode), (made.Kind, made.PathString, made.Inode));
    }

    /// <summary>In directories with and without an index, renames, whiteouts and removals in any order: each name leads where a dictionary says.</summary>
    [Fact]
    public void Names_lead_where_they_should_among_thousands() =>
        Gen.Select(Gen.Int[0, 1], Gen.Select(Gen.Int[0, 3], Gen.Int[0, 39], Gen.Int[0, 39]).Array[1, 60]).Sample((large, steps) =>
        {
            string root = $"/{Guid.NewGuid():N}";
            _volume.CreateDirectory(root);
            Dictionary<string, ulong> names = [];
            for (int i = 0; i < (large == 1 ? 2500 : 20); i++)
            {
                Make($"n{i}");
            }

            foreach ((int what, int a, int b) in steps)
            {
                string from = $"n{a}";
                string to = $"n{b}";
                if (!names.TryGetValue(from, out ulong inode))
                {
                    Make(from);
                }
                else if (what == 0)
                {
                    _volume.RemoveFile($"{root}/{from}");
                    names.Remove(from);
                }
                else if (a != b)
                {
                    names[to] = inode;
                    names.Remove(from);
                    if (what == 1)
                    {
                        _volume.Rename($"{root}/{from}", $"{root}/{to}");
                    }
                    else
                    {
                        _volume.RenameWithWhiteout($"{root}/{from}", $"{root}/{to}");
                        names.Add(from, _volume.Stat($"{root}/{from}").Inode);
                        Assert.True(IsWhiteout($"{root}/{from}"));
                    }
                }
            }

            Reopen();
            Assert.Equal(names, _volume.ReadDirectory(root).ToDictionary(entry => entry.NameString, entry => entry.Inode));
            foreach ((string name, ulong inode) in names)
            {
                Assert.Equal(inode, _volume.Stat($"{root}/{name}").Inode);
                _volume.RemoveFile($"{root}/{name}");
            }

            _volume.RemoveDirectory(root);

            void Make(string name)
            {
                _volume.WriteAllBytes($"{root}/{name}", default);
                names[name] = _volume.Stat($"{root}/{name}").Inode;
            }
        }, iter: 30, threads: 1);
}
