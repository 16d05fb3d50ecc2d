// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.FileSystems.CFFS.Tests.Paths;

/// <summary>Two names change places: what rename(2) asks before, what holds after, and what others may do meanwhile.</summary>
public sealed class ExchangeTests : IDisposable
{
    private static readonly CffsIdentity s_owner = new(1000, 1000);
    private static readonly CffsIdentity s_guest = new(2000, 2000);

    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
    private readonly MemoryBlockDevice _disk;
    private readonly CffsVolume _volume;

    public ExchangeTests()
    {
        _disk = new MemoryBlockDevice(_frames, blockCount: 8192);
        _volume = CffsVolume.Create(_disk, new CffsCreateOptions { Seed = 1 });
        _volume.SetAttributes("/", new CffsAttributeChange { Permissions = 0x1FF });
        foreach (string directory in (string[])["/one", "/other", "/one/d", "/other/d"])
        {
            _volume.CreateDirectory(directory);
            _volume.SetAttributes(directory, new CffsAttributeChange { Permissions = 0x1FF, User = 1000, Group = 1000 });
        }

        foreach (string file in (string[])["/one/f", "/other/f"])
        {
            _volume.WriteAllBytes(file, new byte[file.Length * 1000]);
            _volume.SetAttributes(file, new CffsAttributeChange { User = 1000, Group = 1000 });
        }
    }

    public void Dispose()
    {
        _volume.Dispose();
        CffsCheckReport report = CffsCheck.Run(_disk);
        _disk.Dispose();
        _frames.Dispose();
        Assert.True(report.IsClean, string.Join('\n', report.Findings));
    }

    [Fact]
    public void Both_directories_must_let_their_name_go()
    {
        _volume.Exchange("/one/f", "/other/f", s_guest);
        _volume.SetAttributes("/other", new CffsAttributeChange { Permissions = 0x1ED });
        Assert.Equal(CffsError.AccessDenied, Error("/one/f", "/other/f", s_guest));
        Assert.Equal(CffsError.AccessDenied, Error("/other/f", "/one/f", s_guest));
        _volume.Exchange("/other/f", "/one/f", s_owner);
    }

    [Fact]
    public void In_a_sticky_directory_only_owners_exchange()
    {
        _volume.SetAttributes("/other", new CffsAttributeChange { Permissions = 0x3FF });
        Assert.Equal(CffsError.NotPermitted, Error("/one/f", "/other/f", s_guest));
        Assert.Equal(CffsError.NotPermitted, Error("/other/f", "/one/f", s_guest));
        _volume.SetAttributes("/other/f", new CffsAttributeChange { User = 2000 });
        _volume.Exchange("/one/f", "/other/f", s_guest);

        // What has come in is another's.
        Assert.Equal(CffsError.NotPermitted, Error("/one/f", "/other/f", s_guest));
        _volume.Exchange("/one/f", "/other/f", s_owner);
    }

    [Fact]
    public void A_directory_that_gets_another_parent_must_be_writable()
    {
        _volume.SetAttributes("/one/d", new CffsAttributeChange { Permissions = 0x1ED });
        Assert.Equal(CffsError.AccessDenied, Error("/one/d", "/other/f", s_guest));
        Assert.Equal(CffsError.AccessDenied, Error("/other/d", "/one/d", s_guest));
        _volume.Exchange("/one/d", "/one/f", s_guest);
        Assert.Equal((CffsKind.File, CffsKind.Directory), (_volume.Stat("/one/d").Kind, _volume.Stat("/one/f").Kind));
    }

    [Fact]
    public void What_cannot_change_places_says_why()
    {
        Assert.Equal(CffsError.NotFound, Error("/one/f", "/other/none"));
        Assert.Equal(CffsError.NotFound, Error("/one/none", "/other/f"));
        Assert.Equal(CffsError.Invalid, Error("/one", "/one/d"));
        Assert.Equal(CffsError.Invalid, Error("/one/f", "/one"));
        Assert.Equal(CffsError.Busy, Error("/", "/one"));
        Assert.Equal(CffsError.NotDirectory, Error("/one/f/x", "/one"));
        _volume.CreateHardLink("/one/f", "/one/g");
        long time = _volume.Stat("/one/f").ChangeTimeNs;
        _volume.Exchange("/one/f", "/one/g");
        Assert.Equal(time, _volume.Stat("/one/f").ChangeTimeNs);
    }

    /// <summary>Links of directories are counted, paths below lead on, and open files stay open, whatever their names do.</summary>
    [Fact]
    public void What_is_below_and_what_is_open_moves_along()
    {
        _volume.CreateDirectory("/one/d/below");
        _volume.WriteAllBytes("/one/d/below/deep", new byte[7]);
        using (CffsFile open = _volume.OpenFile("/one/d/below/deep", CffsOpenMode.Write))
        {
            _volume.Exchange("/one/d", "/other/f");
            open.Write(7, new byte[6000]);
        }

        Assert.Equal(6007, _volume.Stat("/other/f/below/deep").Size);
        Assert.Equal(8000, _volume.Stat("/one/d").Size);
        Assert.Equal((2u, 4u, 3u), (_volume.Stat("/one").Links, _volume.Stat("/other").Links, _volume.Stat("/other/f").Links));
    }

    [Fact]
    public void What_belongs_to_a_snapshot_stays()
    {
        _volume.CreateSnapshot("/one", "/snap");
        Assert.Equal(CffsError.ReadOnly, Error("/snap/f", "/other/f"));
        Assert.Equal(CffsError.ReadOnly, Error("/other/f", "/snap"));
    }

    /// <summary>Names are made and removed between the moment at which they are looked up and that at which their directories are locked.</summary>
    [Fact]
    public async Task Names_that_others_make_and_remove_meanwhile_lead_to_one_thing_each()
    {
        bool isDone = false;
        Task others = Task.Run(() =>
        {
            while (!Volatile.Read(ref isDone))
            {
                Try(() => _volume.WriteAllBytes("/one/x", new byte[10]));
                Try(() => _volume.RemoveFile("/one/x"));
            }
        });
        for (int i = 0; i < 3000; i++)
        {
            Try(() => _volume.Rename("/one/f", "/one/x"));
            Try(() => _volume.Exchange("/one/x", "/other/f"));
            Try(() => _volume.Rename("/one/x", "/one/f"));
            Try(() => _volume.WriteAllBytes("/one/f", new byte[9000]));
            Try(() => _volume.WriteAllBytes("/other/f", new byte[10]));
        }

        Volatile.Write(ref isDone, true);
        await others;
        foreach (string directory in (string[])["/one", "/other"])
        {
            string[] names = [.. _volume.ReadDirectory(directory).Select(entry => entry.NameString)];
            Assert.Equal(names.Distinct(), names);
        }
    }

    private static void Try(Action action)
    {
        try
        {
            action();
        }
        catch (CffsException possible) when (possible.Error is CffsError.NotFound or CffsError.Exists)
        {
            // The other was there before.
        }
    }

    private CffsError Error(string one, string other, CffsIdentity? identity = null) => Assert.Throws<CffsException>(() => _volume.Exchange(one, other, identity)).Error;
}
