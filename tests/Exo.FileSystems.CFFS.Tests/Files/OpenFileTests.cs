// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.Simulation.Disks;

namespace Exo.FileSystems.CFFS.Tests.Files;

/// <summary>What an open handle is good for besides reading and writing, files without a name, and inode numbers as handles that outlive the mount.</summary>
public sealed class OpenFileTests : IDisposable
{
    private static readonly CffsIdentity s_user = new(1000, 100);
    private static readonly CffsIdentity s_other = new(1001, 100);

    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 32 << 20 });
    private readonly SimulatedBlockDevice _disk;
    private CffsVolume _volume;

    public OpenFileTests()
    {
        _disk = new SimulatedBlockDevice(_frames, DiskContents.Zeroes(2048));
        _volume = CffsVolume.Create(_disk, new CffsCreateOptions { Seed = 1 });
        _volume.CreateDirectory("/d", 0x1FF);
        _volume.WriteAllBytes("/d/file", "contents"u8.ToArray(), identity: s_user);
    }

    public void Dispose()
    {
        _volume.Dispose();
        CffsCheckReport report = CffsCheck.Run(_disk);
        Assert.True(report.IsClean, string.Join('\n', report.Findings));
        _disk.Dispose();
        _frames.Dispose();
    }

    [Fact]
    public async Task Attributes_belong_to_the_file_whatever_its_name_is()
    {
        using CffsFile file = _volume.OpenFile("/d/file", CffsOpenMode.None);
        _volume.Rename("/d/file", "/elsewhere");
        _volume.WriteAllBytes("/d/file", "another"u8.ToArray());
        file.SetAttributes(new CffsAttributeChange { Permissions = 0x180, ModifyTimeNs = 5 }, s_user);
        await file.SetAttributesAsync(new CffsAttributeChange { AccessTimeNs = 6 }, s_user, TestContext.Current.CancellationToken);
        Assert.Equal((0x180, 5L, 6L), (file.Stat().Permissions, file.Stat().ModifyTimeNs, (await file.StatAsync(TestContext.Current.CancellationToken)).AccessTimeNs));
        Assert.Equal(file.Stat(), _volume.Stat("/elsewhere"));
        Assert.NotEqual(5, _volume.Stat("/d/file").ModifyTimeNs);
        Assert.Equal(CffsError.NotPermitted, Error(() => file.SetAttributes(new CffsAttributeChange { Permissions = 0 }, s_other)));
        Assert.Equal(CffsError.NotPermitted, Error(() => file.SetAttributes(new CffsAttributeChange { User = 1001 }, s_user)));
        file.SetAttributes(new CffsAttributeChange { User = 1001, Size = 3 });
        Assert.Equal((1001u, 3L), (file.Stat().User, file.Length));
        file.Dispose();
        Assert.Throws<ObjectDisposedException>(() => file.SetAttributes(new CffsAttributeChange { User = 1 }));
        Assert.Throws<ObjectDisposedException>(() => file.Stat());
    }

    [Fact]
    public async Task Extended_attributes_belong_to_the_file_too()
    {
        CancellationToken never = TestContext.Current.CancellationToken;
        using CffsFile file = _volume.OpenFile("/d/file");
        _volume.Rename("/d/file", "/elsewhere");
        file.SetExtendedAttribute("user.one", "1"u8.ToArray(), CffsAttributeSet.Create, s_user);
        file.SetExtendedAttribute("user.two"u8.ToArray(), "2"u8.ToArray());
        await file.SetExtendedAttributeAsync("trusted.three", "3"u8.ToArray(), cancellationToken: never);
        await file.SetExtendedAttributeAsync("user.two"u8.ToArray(), "zwei"u8.ToArray(), CffsAttributeSet.Replace, cancellationToken: never);
        Assert.Equal("1"u8.ToArray(), file.GetExtendedAttribute("user.one"));
        Assert.Equal("zwei"u8.ToArray(), await file.GetExtendedAttributeAsync("user.two", s_user, never));
        Assert.Equal("zwei"u8.ToArray(), await file.GetExtendedAttributeAsync("user.two"u8.ToArray(), cancellationToken: never));
        Assert.Null(file.GetExtendedAttribute("trusted.three"u8.ToArray(), s_user));
        Assert.Equal(["user.one", "user.two", "trusted.three"], file.ListExtendedAttributes().Select(System.Text.Encoding.UTF8.GetString));
        Assert.Equal(["user.one", "user.two"], (await file.ListExtendedAttributesAsync(s_user, never)).Select(System.Text.Encoding.UTF8.GetString));
        Assert.Equal(["user.one", "user.two", "trusted.three"], await _volume.ListExtendedAttributesAsync("/elsewhere", cancellationToken: never));
        Assert.Equal(CffsError.Exists, Error(() => file.SetExtendedAttribute("user.one", default, CffsAttributeSet.Create)));
        Assert.Equal(CffsError.AccessDenied, Error(() => file.SetExtendedAttribute("user.four", default, identity: s_other)));
        Assert.Equal(CffsError.NotPermitted, Error(() => file.RemoveExtendedAttribute("trusted.three", s_user)));
        Assert.Equal(CffsError.NotSupported, Error(() => file.GetExtendedAttribute("system.x")));
        file.RemoveExtendedAttribute("user.one");
        file.RemoveExtendedAttribute("user.two"u8.ToArray());
        await file.RemoveExtendedAttributeAsync("trusted.three", cancellationToken: never);
        Assert.Equal(CffsError.NoAttribute, (await Assert.ThrowsAsync<CffsException>(async () => await file.RemoveExtendedAttributeAsync("user.one"u8.ToArray(), cancellationToken: never))).Error);
        Assert.Empty(file.ListExtendedAttributes());
    }

    [Fact]
    public async Task An_open_file_gets_further_names()
    {
        using CffsFile file = _volume.OpenFile("/d/file");
        file.CreateHardLink("/second");
        await file.CreateHardLinkAsync("/d/third"u8.ToArray(), s_user, TestContext.Current.CancellationToken);
        Assert.Equal(3u, file.Stat().Links);
        Assert.Equal("contents"u8.ToArray(), _volume.ReadAllBytes("/d/third"));
        Assert.Equal(CffsError.Exists, Error(() => file.CreateHardLink("/second")));
        Assert.Equal(CffsError.Exists, Error(() => file.CreateHardLink("/")));
        Assert.Equal(CffsError.AccessDenied, Error(() => file.CreateHardLink("/fourth", s_user)));
        foreach (string name in (string[])["/d/file", "/second", "/d/third"])
        {
            _volume.RemoveFile(name);
        }

        Assert.Equal(0u, file.Stat().Links);
        Assert.Equal(CffsError.NotFound, Error(() => file.CreateHardLink("/late")));
    }

    [Fact]
    public async Task A_file_without_a_name_goes_or_gets_one()
    {
        // The first one makes the directory where they lie.
        _volume.CreateUnnamedFile("/d").Dispose();
        _volume.Sync();
        ulong free = _volume.GetSpace().FreeBlocks;
        ulong left;
        using (CffsFile gone = _volume.CreateUnnamedFile("/d", 0x180, s_user))
        {
            gone.Write(0, new byte[100_000]);
            left = gone.Inode;
            Assert.Equal((0u, 1000u, 100u, 0x180), (gone.Stat().Links, gone.Stat().User, gone.Stat().Group, gone.Stat().Permissions));
            Assert.Equal(["file"], Names("/d"));
        }

        _volume.Sync();
        Assert.Equal(free, _volume.GetSpace().FreeBlocks);
        Assert.Equal(CffsError.Stale, Error(() => _volume.OpenFileByInode(left)));

        CffsFile kept = await _volume.CreateUnnamedFileAsync("/d"u8.ToArray(), identity: s_user, cancellationToken: TestContext.Current.CancellationToken);
        await using (kept)
        {
            kept.Write(0, "all of it"u8.ToArray());
            kept.SetExtendedAttribute("user.kind", "letter"u8.ToArray());
            kept.CreateHardLink("/d/made", s_user);
            kept.CreateHardLink("/d/again", s_user);
            kept.Sync();
        }

        // Neither the crash nor the last handle takes what has a name.
        CffsFile lost = _volume.CreateUnnamedFile("/d");
        lost.Write(0, new byte[50_000]);
        lost.Sync();
        ulong unnamed = lost.Inode;
        _volume.Abandon();
        _volume = CffsVolume.Open(_disk);
        Assert.NotNull(_volume.Info.Recovery);
        Assert.Equal(["again", "file", "made"], Names("/d"));
        Assert.Equal("all of it"u8.ToArray(), _volume.ReadAllBytes("/d/made"));
        Assert.Equal("letter"u8.ToArray(), _volume.GetExtendedAttribute("/d/again", "user.kind"));
        Assert.Equal(CffsError.Stale, Error(() => _volume.OpenFileByInode(unnamed)));
        Assert.Equal(CffsError.NotDirectory, Error(() => _volume.CreateUnnamedFile("/d/file")));
        Assert.Equal(CffsError.AccessDenied, Error(() => _volume.CreateUnnamedFile("/", identity: s_user)));
    }

    [Fact]
    public async Task An_inode_number_finds_its_file_after_renames_and_remounts()
    {
        CancellationToken never = TestContext.Current.CancellationToken;
        ulong file = _volume.Stat("/d/file").Inode;
        ulong directory = _volume.Stat("/d").Inode;
        ulong root = _volume.Stat("/").Inode;
        _volume.CreateDirectories("/deep/er");
        _volume.Rename("/d", "/deep/er/moved");
        for (int round = 0; round < 2; round++)
        {
            using (CffsFile found = _volume.OpenFileByInode(file, CffsOpenMode.ReadWrite))
            {
                Assert.Equal(file, found.Inode);
                found.Write(0, "CONTENTS"u8.ToArray());
            }

            using (CffsDirectory found = await _volume.OpenDirectoryByInodeAsync(directory, cancellationToken: never))
            {
                Assert.Equal("CONTENTS"u8.ToArray(), _volume.ReadAllBytes("/file", found.Confine()));
                Assert.Equal(found.Stat(), _volume.Stat("/deep/er/moved"));
            }

            using (CffsDirectory found = _volume.OpenDirectoryByInode(root))
            {
                Assert.Equal(root, found.Inode);
            }

            _volume.Dispose();
            _volume = CffsVolume.Open(_disk);
        }

        // One with several names lies in no directory.
        _volume.CreateHardLink("/deep/er/moved/file", "/second");
        _volume.RemoveFile("/deep/er/moved/file");
        using (CffsFile found = await _volume.OpenFileByInodeAsync(file, cancellationToken: never))
        {
            Assert.Equal(8, found.Length);
        }

        Assert.Equal(CffsError.NotDirectory, Error(() => _volume.OpenDirectoryByInode(file)));
        Assert.Equal(CffsError.IsDirectory, Error(() => _volume.OpenFileByInode(directory)));
        Assert.Equal(CffsError.Invalid, Error(() => _volume.OpenFileByInode(file, CffsOpenMode.Write | CffsOpenMode.Create)));
        Assert.Equal(CffsError.NotPermitted, Error(() => _volume.OpenFileByInode(file, CffsOpenMode.Read, s_user)));
        Assert.Equal(CffsError.Stale, Error(() => _volume.OpenFileByInode(0)));
        Assert.Equal(CffsError.Stale, Error(() => _volume.OpenFileByInode(file + 1_000_000)));
        _volume.RemoveFile("/second");
        Assert.Equal(CffsError.Stale, Error(() => _volume.OpenFileByInode(file)));
    }

    /// <summary>Neither the tables of the file system itself, nor what has only a handle left, is anybody's by its number.</summary>
    [Fact]
    public void A_number_of_the_file_system_itself_opens_nothing()
    {
        ulong last = _volume.Stat("/d/file").Inode;
        HashSet<ulong> named = [_volume.Stat("/").Inode, _volume.Stat("/d").Inode, last];
        using CffsFile unlinked = _volume.OpenFile("/open", CffsOpenMode.ReadWrite | CffsOpenMode.Create);
        _volume.RemoveFile("/open");
        using CffsFile unnamed = _volume.CreateUnnamedFile("/d");
        for (ulong number = 0; number <= unnamed.Inode + 10; number++)
        {
            if (!named.Contains(number))
            {
                Assert.Equal(CffsError.Stale, Error(() => _volume.OpenFileByInode(number)));
                Assert.Equal(CffsError.Stale, Error(() => _volume.OpenDirectoryByInode(number)));
            }
        }
    }

    [Fact]
    public async Task Names_change_places()
    {
        _volume.WriteAllBytes("/one", "1"u8.ToArray());
        ulong one = _volume.Stat("/one").Inode;
        ulong file = _volume.Stat("/d/file").Inode;
        _volume.Exchange("/one", "/d/file");
        Assert.Equal((file, one), (_volume.Stat("/one").Inode, _volume.Stat("/d/file").Inode));
        await _volume.ExchangeAsync("/one"u8.ToArray(), "/d"u8.ToArray(), cancellationToken: TestContext.Current.CancellationToken);
        Assert.Equal(CffsKind.Directory, _volume.Stat("/one").Kind);
        Assert.Equal(file, _volume.Stat("/d").Inode);
        Assert.Equal("1"u8.ToArray(), _volume.ReadAllBytes("/one/file"));
        Assert.Equal(CffsError.NotFound, Error(() => _volume.Exchange("/one", "/none")));
        Assert.Equal(CffsError.Invalid, Error(() => _volume.Exchange("/one", "/one/file")));
        Assert.Equal(CffsError.Busy, Error(() => _volume.Exchange("/", "/one")));
        Assert.Equal(CffsError.AccessDenied, Error(() => _volume.Exchange("/one", "/d", s_user)));
    }

    [Fact]
    public async Task A_directory_is_made_durable_by_its_handle()
    {
        using (CffsDirectory directory = _volume.OpenDirectory("/d"))
        {
            _volume.CreateDirectory("/d/first");
            directory.Sync();
            _volume.CreateDirectory("/d/second");
            await directory.SyncAsync(TestContext.Current.CancellationToken);
            _volume.CreateDirectory("/d/third");
            Assert.Equal(5u, (await directory.StatAsync(TestContext.Current.CancellationToken)).Links);
            _volume.Abandon();
            Assert.Throws<ObjectDisposedException>(() => directory.Sync());
            Assert.Throws<ObjectDisposedException>(() => directory.Read());
        }

        _volume = CffsVolume.Open(_disk);
        Assert.Equal(["file", "first", "second"], Names("/d"));
        CffsDirectory closed = _volume.OpenDirectory("/d");
        closed.Dispose();
        Assert.Throws<ObjectDisposedException>(closed.Sync);
    }

    private static CffsError Error(Action action) => Assert.Throws<CffsException>(action).Error;

    private string[] Names(string path) => [.. _volume.ReadDirectory(path).Select(entry => entry.NameString).Order(StringComparer.Ordinal)];
}
