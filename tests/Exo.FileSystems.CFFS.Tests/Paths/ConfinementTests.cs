// SPDX-License-Identifier: MIT
using CsCheck;
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.FileSystems.CFFS.Tests.Paths;

/// <summary>Whoever is confined to a directory reaches nothing outside, by no name, link or race.</summary>
public sealed class ConfinementTests : IDisposable
{
    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
    private readonly MemoryBlockDevice _disk;
    private readonly CffsVolume _volume;
    private readonly CffsDirectory _root;
    private readonly CffsIdentity _guest;

    public ConfinementTests()
    {
        _disk = new MemoryBlockDevice(_frames, blockCount: 4096);
        _volume = CffsVolume.Create(_disk, new CffsCreateOptions { Seed = 1 });
        foreach (string directory in (string[])["/sites", "/sites/one", "/sites/one/sub", "/sites/two"])
        {
            _volume.CreateDirectory(directory);
        }

        foreach (string file in (string[])["/secret", "/sites/secret", "/sites/two/secret", "/sites/one/page", "/sites/one/sub/page"])
        {
            _volume.WriteAllBytes(file, System.Text.Encoding.UTF8.GetBytes(file));
        }

        _volume.CreateSymbolicLink("/sites/one/absolute", "/page");
        _volume.CreateSymbolicLink("/sites/one/out", "../two/secret");
        _volume.CreateSymbolicLink("/sites/one/sub/up", "../../../../page");
        _volume.CreateSymbolicLink("/sites/one/whole", "/sites/two");
        _root = _volume.OpenDirectory("/sites/one");
        _guest = _root.Confine(new CffsIdentity(65534, 65534));
    }

    public void Dispose()
    {
        _root.Dispose();
        _volume.Dispose();
        _disk.Dispose();
        _frames.Dispose();
    }

    [Theory]
    [InlineData("/page", "/sites/one/page")]
    [InlineData("page", "/sites/one/page")]
    [InlineData("/../../page", "/sites/one/page")]
    [InlineData("/sub/../page", "/sites/one/page")]
    [InlineData("/sub/../../../page", "/sites/one/page")]
    [InlineData("/absolute", "/sites/one/page")]
    [InlineData("/sub/up", "/sites/one/page")]
    [InlineData("/secret", null)]
    [InlineData("/../secret", null)]
    [InlineData("/../../secret", null)]
    [InlineData("/out", null)]
    [InlineData("/whole/secret", null)]
    [InlineData("/sites/one/page", null)]
    public void A_path_begins_and_ends_at_the_root(string path, string? found)
    {
        if (found is null)
        {
            Assert.Equal(CffsError.NotFound, Assert.Throws<CffsException>(() => _volume.ReadAllBytes(path, _guest)).Error);
        }
        else
        {
            Assert.Equal(found, System.Text.Encoding.UTF8.GetString(_volume.ReadAllBytes(path, _guest)));
        }
    }

    [Fact]
    public void Changes_are_confined_too()
    {
        CffsIdentity super = _root.Confine();
        _volume.WriteAllBytes("/../../made", "x"u8.ToArray(), identity: super);
        _volume.CreateDirectory("/../d", identity: super);
        _volume.Rename("/made", "/../../d/moved", identity: super);
        _volume.CreateHardLink("/d/moved", "/../linked", super);
        _volume.RemoveFile("/../../sub/../page", super);
        Assert.Equal(["absolute", "d", "linked", "out", "sub", "whole"], Names("/sites/one"));
        Assert.Equal(["one", "secret", "two"], Names("/sites"));
        Assert.Equal(["secret", "sites"], Names("/"));
        Assert.Equal(CffsError.Busy, Assert.Throws<CffsException>(() => _volume.RemoveDirectory("/", super)).Error);
        Assert.Equal(_root.Inode, _volume.Stat("/..", identity: super).Inode);
    }

    [Fact]
    public void The_root_stays_with_its_directory()
    {
        _volume.Rename("/sites/one", "/moved");
        Assert.Equal("/sites/one/page", System.Text.Encoding.UTF8.GetString(_volume.ReadAllBytes("/page", _guest)));
        Assert.Equal(CffsError.NotFound, Assert.Throws<CffsException>(() => _volume.ReadAllBytes("/../secret", _guest)).Error);
        using CffsDirectory nested = _volume.OpenDirectory("/sub", _guest);
        Assert.Equal("/sites/one/sub/page", System.Text.Encoding.UTF8.GetString(_volume.ReadAllBytes("/../page", nested.Confine(_guest))));
    }

    [Fact]
    public void A_closed_root_and_another_volumes_root_are_refused()
    {
        using MemoryBlockDevice other = new(_frames, blockCount: 1024);
        using CffsVolume second = CffsVolume.Create(other, new CffsCreateOptions { Seed = 2 });
        Assert.Throws<ArgumentException>(() => second.Exists("/") ? second.Stat("/", identity: _guest) : null);
        CffsDirectory closed = _volume.OpenDirectory("/sites/two");
        CffsIdentity late = closed.Confine();
        closed.Dispose();
        closed.Dispose();
        Assert.Throws<ObjectDisposedException>(() => _volume.ReadAllBytes("/secret", late));
        Assert.Equal(CffsError.NotDirectory, Assert.Throws<CffsException>(() => _volume.OpenDirectory("/secret")).Error);
    }

    [Fact]
    public async Task What_is_asked_is_confined_too()
    {
        CancellationToken never = TestContext.Current.CancellationToken;
        Assert.True(_volume.Exists("/page", _guest));
        Assert.True(_volume.Exists("/../../sub/up", _guest));
        Assert.False(_volume.Exists("/secret", _guest));
        Assert.False(_volume.Exists("/out", _guest));
        Assert.False(await _volume.ExistsAsync("/../../secret", _guest, never));
        Assert.False(await _volume.ExistsAsync("/whole"u8.ToArray(), _guest, never));
        Assert.True(_volume.Exists("/secret"));
        _volume.SetAttributes("/sites/one/sub", new CffsAttributeChange { Permissions = 0x1C0 });
        Assert.Equal(CffsError.AccessDenied, Assert.Throws<CffsException>(() => _volume.Exists("/sub/page", _guest)).Error);
        Assert.Throws<CffsException>(() => _volume.ReadSymbolicLink("/../two/none", _guest));
        Assert.Equal("../two/secret"u8.ToArray(), await _volume.ReadSymbolicLinkAsync("/../out", _guest, never));
        Assert.Equal(CffsError.NotFound, (await Assert.ThrowsAsync<CffsException>(async () => await _volume.ReadAllBytesAsync("/secret", new byte[9].AsMemory(), _guest, never))).Error);
        Assert.Equal(CffsError.NotFound, Assert.Throws<CffsException>(() => _volume.ReadAllBytes("/secret", new byte[9].AsSpan(), _guest)).Error);
        Assert.Equal(CffsError.NotFound, Assert.Throws<CffsException>(() => _volume.ReadDirectory("/../two", identity: _guest)).Error);
    }

    [Fact]
    public async Task Trees_that_are_copied_are_confined_too()
    {
        CancellationToken never = TestContext.Current.CancellationToken;
        CffsIdentity super = _root.Confine();
        _volume.CopyTree("/../sub", "/../../copy", identity: super);
        Assert.Equal(["page", "up"], Names("/sites/one/copy"));
        Assert.Equal(CffsError.NotFound, Assert.Throws<CffsException>(() => _volume.CopyTree("/../two", "/stolen", identity: super)).Error);
        Assert.Equal(CffsError.NotFound, Assert.Throws<CffsException>(() => _volume.CopyTree("/whole", "/stolen", identity: super)).Error);
        Assert.Equal(CffsError.NotPermitted, Assert.Throws<CffsException>(() => _volume.CopyTree("/sub", "/guests", identity: _guest)).Error);
        _volume.CreateSnapshot("/", "/../snap", super);
        Assert.Equal(["absolute", "copy", "out", "page", "sub", "whole"], Names("/sites/one/snap"));
        await _volume.DeleteSnapshotAsync("/../snap", super, never);

        using MemoryBlockDevice other = new(_frames, blockCount: 1024);
        using CffsVolume second = CffsVolume.Create(other, new CffsCreateOptions { Seed = 2 });
        second.CreateDirectory("/in");
        using CffsDirectory into = second.OpenDirectory("/in");
        Assert.Throws<ArgumentException>(() => _volume.CopyTree("/sub", "/copy", second, identity: super));
        await _volume.CopyTreeAsync("/sub", "/../copy", second, identity: super, targetIdentity: into.Confine(), cancellationToken: never);
        Assert.Equal(["copy"], second.ReadDirectory("/in").Select(entry => entry.NameString));
        Assert.Equal(CffsError.NotFound, Assert.Throws<CffsException>(() => _volume.Defragment("/../two", dryRun: true, identity: super)).Error);
        Assert.Equal(CffsError.NotPermitted, Assert.Throws<CffsException>(() => _volume.Defragment("/sub", identity: _guest)).Error);
    }

    [Fact]
    public async Task Files_without_a_name_exchanges_and_names_of_open_files_are_confined_too()
    {
        CancellationToken never = TestContext.Current.CancellationToken;
        CffsIdentity super = _root.Confine();
        using (CffsFile unnamed = _volume.CreateUnnamedFile("/../..", identity: super))
        {
            unnamed.CreateHardLink("/../../named", super);
        }

        Assert.Equal(CffsError.NotFound, Assert.Throws<CffsException>(() => _volume.CreateUnnamedFile("/../two", identity: super)).Error);
        _volume.Exchange("/named", "/../../sub", super);
        Assert.Equal(CffsKind.Directory, _volume.Stat("/sites/one/named").Kind);
        Assert.Equal(CffsError.NotFound, Assert.Throws<CffsException>(() => _volume.Exchange("/page", "/../two/secret", super)).Error);
        Assert.Equal(CffsError.Busy, Assert.Throws<CffsException>(() => _volume.Exchange("/page", "/..", super)).Error);
        await _volume.CreateNodeAsync("/../../fifo", 0x11A4, identity: super, cancellationToken: never);
        await _volume.CreateDirectoriesAsync("/../../a/../b"u8.ToArray(), identity: super, cancellationToken: never);
        await _volume.SetExtendedAttributeAsync("/../page", "user.x", default, identity: super, cancellationToken: never);
        Assert.Equal(["a", "absolute", "b", "fifo", "named", "out", "page", "sub", "whole"], Names("/sites/one"));
        Assert.Equal(["one", "secret", "two"], Names("/sites"));
        Assert.Equal(["secret", "sites"], Names("/"));
    }

    /// <summary>A number is no way out: also of an inode that is in memory, and of one that has names within and without.</summary>
    [Fact]
    public void Inode_numbers_are_confined_too()
    {
        CffsIdentity super = _root.Confine();
        using CffsFile held = _volume.OpenFile("/sites/two/secret");
        Assert.Equal(CffsError.Stale, Assert.Throws<CffsException>(() => _volume.OpenFileByInode(held.Inode, CffsOpenMode.Read, super)).Error);
        Assert.Equal(CffsError.Stale, Assert.Throws<CffsException>(() => _volume.OpenDirectoryByInode(_volume.Stat("/sites").Inode, super)).Error);
        Assert.Equal(CffsError.Stale, Assert.Throws<CffsException>(() => _volume.OpenDirectoryByInode(_volume.Stat("/").Inode, super)).Error);
        held.CreateHardLink("/sites/other");
        Assert.Equal(CffsError.Stale, Assert.Throws<CffsException>(() => _volume.OpenFileByInode(held.Inode, CffsOpenMode.Read, super)).Error);
        held.CreateHardLink("/sites/one/sub/given");
        using (CffsFile found = _volume.OpenFileByInode(held.Inode, CffsOpenMode.Read, super))
        {
            Assert.Equal(held.Inode, found.Inode);
        }

        using CffsDirectory sub = _volume.OpenDirectoryByInode(_volume.Stat("/sites/one/sub").Inode, super);
        Assert.Equal(_volume.Stat("/sites/one/sub").Inode, sub.Inode);
        using CffsDirectory root = _volume.OpenDirectoryByInode(_root.Inode, super);
        Assert.Equal(_root.Inode, root.Inode);
    }

    /// <summary>A directory is moved out and back while somebody confined walks up from it.</summary>
    [Fact]
    public async Task Moving_a_directory_away_opens_no_door()
    {
        int moves = 0;
        using CancellationTokenSource end = new();
        Task mover = Task.Run(
            () =>
            {
                while (!end.IsCancellationRequested)
                {
                    _volume.Rename("/sites/one/sub", "/sites/sub");
                    _volume.Rename("/sites/sub", "/sites/one/sub");
                    moves++;
                }
            },
            TestContext.Current.CancellationToken);
        int found = 0;
        for (int i = 0; i < 20_000 || (Volatile.Read(ref moves) < 100 && i < 1_000_000); i++)
        {
            try
            {
                string read = System.Text.Encoding.UTF8.GetString(_volume.ReadAllBytes("/sub/../secret", _guest));
                Assert.Fail($"read {read}");
            }
            catch (CffsException refused)
            {
                Assert.Equal(CffsError.NotFound, refused.Error);
                found++;
            }
        }

        await end.CancelAsync();
        await mover;
        Assert.True(found > 0 && moves > 0);
    }

    [Fact]
    public void No_sequence_of_steps_leads_out()
    {
        string[] names = ["..", "sub", "up", "whole", "out", "absolute", "", ".", "page", "sites", "secret", "two", "one"];
        Gen<string> step = Gen.Int[0, names.Length - 1].Select(i => names[i]);
        step.Array[1, 12].Sample(steps =>
        {
            try
            {
                CffsStat stat = _volume.Stat("/" + string.Join('/', steps), identity: _guest);
                Assert.DoesNotContain(stat.Inode, (ulong[])[_volume.Stat("/").Inode, _volume.Stat("/secret").Inode, _volume.Stat("/sites").Inode, _volume.Stat("/sites/two").Inode, _volume.Stat("/sites/two/secret").Inode]);
            }
            catch (CffsException refused)
            {
                Assert.Contains(refused.Error, (CffsError[])[CffsError.NotFound, CffsError.NotDirectory, CffsError.Loop]);
            }
        });
    }

    private string[] Names(string path) => [.. _volume.ReadDirectory(path).Select(entry => entry.NameString).Order(StringComparer.Ordinal)];
}
