// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Nodes;
using Exo.FileSystems.CFFS.Tests.Crashes;

namespace Exo.FileSystems.CFFS.Tests.Space;

/// <summary>
/// Every operation on a volume with 0, 1, 2, ... blocks left, until it succeeds: before that it is refused with NoSpace and nothing has changed; then, and on the full volume, removing and
/// cutting short work and give the space back; and what a close or a crash leaves is clean. Once more without a reserve, where any allocation of an operation may be the one that fails:
/// then a write may have been carried out in part, as write(2) may.
/// </summary>
public sealed class NoSpaceTests
{
    private static readonly Dictionary<string, Action<CffsVolume, NodeDoor>> s_operations = new(StringComparer.Ordinal)
    {
        ["create"] = (volume, _) => volume.OpenFile("/full/new", CffsOpenMode.Write | CffsOpenMode.CreateNew).Dispose(),
        ["create indexed"] = (volume, _) => volume.WriteAllBytes("/indexed/new", Array.Empty<byte>()),
        ["create inline"] = (volume, _) => volume.WriteAllBytes("/full/new", new byte[300]),
        ["create node"] = (volume, _) => volume.CreateNode("/full/new"u8.ToArray(), 0x11A4),
        ["mkdir"] = (volume, _) => volume.CreateDirectory("/full/new"),
        ["create with a list"] = (volume, _) => volume.WriteAllBytes("/listed/new", new byte[300]),
        ["mkdir with lists"] = (volume, _) => volume.CreateDirectory("/listed/new"),
        ["unnamed file with a list"] = (_, door) =>
        {
            Inode listed = door.Lookup(door.Root, "listed"u8.ToArray())!;
            Inode? file = null;
            try
            {
                file = door.CreateUnnamed(listed, 0x81A4, 0, 0);
                door.Link(file, listed, "new"u8.ToArray());
            }
            finally
            {
                if (file is not null)
                {
                    door.Close(file);
                }

                door.Release(listed);
            }
        },
        ["symlink short"] = (volume, _) => volume.CreateSymbolicLink("/full/new", "target"),
        ["symlink long"] = (volume, _) => volume.CreateSymbolicLink("/full/new", new string('t', 2000)),
        ["symlink by inode"] = (_, door) =>
        {
            Inode full = door.Lookup(door.Root, "full"u8.ToArray())!;
            try
            {
                door.Release(door.Create(full, "new"u8.ToArray(), 0xA1FF, 0, new byte[2000].Select(_ => (byte)'t').ToArray(), exclusive: true, 0, 0).Inode);
            }
            finally
            {
                door.Release(full);
            }
        },
        ["link first"] = (volume, _) => volume.CreateHardLink("/some/tiny", "/full/new"),
        ["link again"] = (volume, _) => volume.CreateHardLink("/some/linked", "/full/new"),
        ["rename away"] = (volume, _) => volume.Rename("/some/other", "/full/new"),
        ["rename over"] = (volume, _) => volume.Rename("/some/other", "/full/00"),
        ["rename longer"] = (volume, _) => volume.Rename("/full/00", "/full/" + new string('n', 200)),
        ["rename inline longer"] = (volume, _) => volume.Rename("/some/i", "/some/" + new string('n', 100)),
        ["rename directory"] = (volume, _) => volume.Rename("/some/below", "/full/new"),
        ["rename with a whiteout"] = (volume, _) => volume.RenameWithWhiteout("/some/other", "/full/new"),
        ["rename with a whiteout in place"] = (volume, _) => volume.RenameWithWhiteout("/full/00", "/full/new"),
        ["exchange"] = (_, door) =>
        {
            Inode full = door.Lookup(door.Root, "full"u8.ToArray())!;
            Inode some = door.Lookup(door.Root, "some"u8.ToArray())!;
            try
            {
                door.Exchange(full, "00"u8.ToArray(), some, "tiny"u8.ToArray());
            }
            finally
            {
                door.Release(full);
                door.Release(some);
            }
        },
        ["write inline"] = (volume, _) => Write(volume, "/some/tiny", 50, 100),
        ["write out of the inode"] = (volume, _) => Write(volume, "/some/tiny", 50, 3000),
        ["write far out of the inode"] = (volume, _) => Write(volume, "/some/tiny", 100_000, 100),
        ["append a block"] = (volume, _) => Write(volume, "/some/other", 40_000, 4096),
        ["append many"] = (volume, _) => Write(volume, "/some/other", 40_000, 60_000),
        ["append to large"] = (volume, _) => Write(volume, "/some/large", 300_000, 60_000),
        ["write over and on"] = (volume, _) => Write(volume, "/some/other", 0, 60_000),
        ["write beyond a hole"] = (volume, _) => Write(volume, "/some/other", 1_000_000, 20_000),
        ["grow"] = (volume, _) => SetLength(volume, "/some/other", 1_000_000),
        ["grow from the inode"] = (volume, _) => SetLength(volume, "/some/tiny", 10_000),
        ["allocate"] = (_, door) => OnFile(door, "other", file => door.Allocate(file, 0, 100_000, keepSize: false)),
        ["allocate from the inode"] = (_, door) => OnFile(door, "tiny", file => door.Allocate(file, 8192, 8192, keepSize: true)),
        ["zero"] = (_, door) => OnFile(door, "other", file => door.Zero(file, 10_000, 60_000, keepSize: false)),
        ["attribute"] = (volume, _) => volume.SetExtendedAttribute("/some/other", "user.x", new byte[100]),
        ["another attribute"] = (volume, _) => volume.SetExtendedAttribute("/some/named", "user.x", new byte[100]),
        ["replace all"] = (volume, _) => volume.ReplaceAllBytes("/some/other", FullVolume.Pattern(20_000, 77)),
        ["unnamed file"] = (_, door) =>
        {
            Inode file = door.CreateUnnamed(door.Root, 0x81A4, 0, 0);
            Inode full = door.Lookup(door.Root, "full"u8.ToArray())!;
            try
            {
                door.Write(file, 0, new byte[10_000]);
                door.Link(file, full, "new"u8.ToArray());
            }
            finally
            {
                door.Close(file);
                door.Release(full);
            }
        },
    };

    public static TheoryData<string> Operations => [.. s_operations.Keys];

    [Theory]
    [MemberData(nameof(Operations))]
    public void An_operation_without_space_changes_nothing(string name)
    {
        // All of the few blocks of small operations, some of the many of large ones.
        for (ulong blocks = 0; ; blocks += blocks < 3 ? 1 : blocks)
        {
            Assert.True(blocks < 500, "it never succeeds");
            if (Run(name, blocks, reserve: null) && Run(name, blocks, reserve: 0))
            {
                TestContext.Current.TestOutputHelper?.WriteLine($"{name}: {blocks} blocks");
                return;
            }
        }
    }

    [Theory]
    [InlineData("victim")]
    [InlineData("i")]
    [InlineData("linked")]
    public void What_is_open_can_be_removed_from_a_full_volume(string name)
    {
        using FullVolume full = new(null);
        full.LeaveAvailable(0);
        byte[] before = full.Volume.ReadAllBytes($"/some/{name}");
        using (CffsFile open = full.Volume.OpenFile($"/some/{name}"))
        {
            full.Volume.RemoveFile($"/some/{name}");
            byte[] read = new byte[before.Length];
            Assert.Equal(read.Length, open.Read(0, read));
            Assert.Equal(before, read);
        }

        Assert.False(full.Volume.Exists($"/some/{name}"));
        full.Reopen();
    }

    [Fact]
    public void A_file_that_was_replaced_while_open_goes_on_a_full_volume()
    {
        using FullVolume full = new(null);
        full.LeaveAvailable(0);
        using (CffsFile open = full.Volume.OpenFile("/some/victim"))
        {
            full.Volume.Rename("/some/tiny", "/some/victim");
            full.Volume.Sync();
            Assert.Equal(40_000, open.Read(0, new byte[50_000]));
        }

        full.Reopen();
        Assert.Equal(100, full.Volume.Stat("/some/victim").Size);
    }

    [Fact]
    public void Attributes_holes_and_ends_can_be_taken_away_on_a_full_volume()
    {
        using FullVolume full = new(null);
        full.LeaveAvailable(0);
        full.Volume.RemoveExtendedAttribute("/some/named", "user.a");
        SetLength(full.Volume, "/some/tiny", 40);
        SetLength(full.Volume, "/some/other", 5000);
        OnFile(full.Door, "large", file => full.Door.Punch(file, 40_960, 40_960));
        full.Volume.Sync();
        Assert.True(full.Volume.GetSpace().AvailableBlocks > 10);
        full.Reopen();
        Assert.Equal(FullVolume.Pattern(100, 3)[..40], full.Volume.ReadAllBytes("/some/tiny"));
        Assert.Equal(FullVolume.Pattern(40_000, 2)[..5000], full.Volume.ReadAllBytes("/some/other"));
        Assert.Equal(["user.b"], full.Volume.ListExtendedAttributes("/some/named"));
    }

    /// <summary>What is removed from a large directory leaves its index after a commit, and no block is freed by that: it is no reason to commit.</summary>
    [Fact]
    public void Names_are_removed_from_a_full_volume_without_a_commit_for_each()
    {
        const int Names = 300;
        using FullVolume full = new(null);
        full.Volume.CreateDirectory("/many");
        for (int i = 0; i < Names; i++)
        {
            full.Volume.WriteAllBytes($"/many/{i}", new byte[10]);
        }

        full.LeaveAvailable(0);
        long before = full.Flushes;
        for (int i = 0; i < Names; i++)
        {
            full.Volume.RemoveFile($"/many/{i}");
        }

        Assert.InRange(full.Flushes - before, 0, 10);
        full.Reopen();
        full.Volume.RemoveDirectory("/many");
    }

    /// <summary>What replaced files had is free after two commits, and nobody but a change waits for them.</summary>
    [Fact]
    public void Files_are_replaced_on_a_full_volume_for_as_long_as_somebody_wants()
    {
        using FullVolume full = new(null);
        full.LeaveAvailable(12);
        for (int i = 0; i < 100; i++)
        {
            full.Volume.WriteAllBytes("/new", FullVolume.Pattern(20_000, i));
            full.Volume.Rename("/new", "/replaced", replace: true);
        }

        full.Reopen();
        Assert.True(FullVolume.Pattern(20_000, 99).AsSpan().SequenceEqual(full.Volume.ReadAllBytes("/replaced")));
    }

    [Fact]
    public void A_write_of_the_kernel_gets_what_there_is_room_for()
    {
        byte[] bytes = FullVolume.Pattern(60_000, 5);
        using FullVolume full = new(null);
        full.LeaveAvailable(8);
        int written = 0;
        OnFile(full.Door, "other", file =>
        {
            written = full.Door.Write(file, 40_000, bytes);
            CffsException refused = Assert.Throws<CffsException>(() => full.Door.Write(file, 40_000 + written, bytes.AsMemory(written)));
            Assert.Equal(CffsError.NoSpace, refused.Error);
        });

        // One of the blocks may have become a node of the tree.
        Assert.InRange(written, (7 * 4096) + 960, (8 * 4096) + 960);
        Assert.Equal(960, written % 4096);
        full.Reopen();
        byte[] expected = [.. FullVolume.Pattern(40_000, 2), .. bytes[..written]];
        Assert.True(expected.AsSpan().SequenceEqual(full.Volume.ReadAllBytes("/some/other")));
    }

    [Fact]
    public void A_copy_of_the_kernel_gets_what_there_is_room_for()
    {
        using FullVolume full = new(null);
        full.LeaveAvailable(8);
        byte[] source = full.Volume.ReadAllBytes("/some/large");
        int copied = 0;
        OnFile(full.Door, "large", large => OnFile(full.Door, "other", other => copied = full.Door.Copy(large, 1, other, 40_000, 60_000, new byte[10_000])));
        Assert.InRange(copied, 7 * 4096, (8 * 4096) + 960);
        full.Reopen();
        byte[] expected = [.. FullVolume.Pattern(40_000, 2), .. source[1..(copied + 1)]];
        Assert.True(expected.AsSpan().SequenceEqual(full.Volume.ReadAllBytes("/some/other")));
    }

    [Fact]
    public void What_is_written_behind_over_a_hole_loses_no_more_than_the_hole()
    {
        byte[] bytes = FullVolume.Pattern(122_880, 6);
        using FullVolume full = new(null);
        byte[] expected = full.Volume.ReadAllBytes("/some/large");
        OnFile(full.Door, "large", file => full.Door.Punch(file, 40_960, 40_960));
        full.Volume.Sync();
        full.LeaveAvailable(0);
        OnFile(full.Door, "large", file =>
        {
            CffsException refused = Assert.Throws<CffsException>(() => full.Door.Write(file, 0, bytes, isWrittenBehind: true));
            Assert.Equal(CffsError.NoSpace, refused.Error);
        });

        bytes.CopyTo(expected, 0);
        expected.AsSpan(40_960, 40_960).Clear();
        full.Reopen();
        Assert.True(expected.AsSpan().SequenceEqual(full.Volume.ReadAllBytes("/some/large")));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void Free_and_used_are_all_there_is_after_every_operation(int seed)
    {
        using FullVolume full = new(null);
        full.LeaveAvailable(24);
        Random random = new(seed);
        CffsVolume volume = full.Volume;
        volume.CreateDirectory("/random");
        TreeModel model = new();
        RandomWorkload workload = new(volume, model, random, "/random");
        for (int i = 0; i < 100; i++)
        {
            workload.Step();
            FullVolume.AssertCounts(volume);
        }

        model.AssertEquals(volume, "/random");
        Assert.True(workload.Refused > 0, "never full");
        full.Reopen();
        FullVolume.AssertCounts(full.Volume);
    }

    private static bool Run(string name, ulong blocks, ulong? reserve)
    {
        using FullVolume full = new(reserve);
        full.LeaveAvailable(blocks);
        TreeSnapshot before = full.Snapshot();
        bool succeeded;
        try
        {
            s_operations[name](full.Volume, full.Door);
            succeeded = true;
        }
        catch (CffsException refused)
        {
            succeeded = false;
            Assert.True(refused.Error == CffsError.NoSpace, refused.ToString());
            if (reserve != 0)
            {
                Assert.Null(before.DifferenceTo(full.Snapshot()));
            }
        }

        FullVolume.AssertCounts(full.Volume);
        TreeSnapshot after = full.Snapshot();
        if (blocks % 2 == 0)
        {
            full.Crash();
        }
        else
        {
            full.Reopen();
        }

        Assert.Null(after.DifferenceTo(full.Snapshot()));
        full.LeaveAvailable(0, settle: false);
        ulong freeBefore = full.Volume.GetSpace().FreeBlocks;
        full.Volume.RemoveFile("/some/victim");
        SetLength(full.Volume, "/some/large", 4096);
        full.Volume.Sync();
        Assert.True(full.Volume.GetSpace().FreeBlocks >= freeBefore + 10 + 73, $"{freeBefore} blocks free before, {full.Volume.GetSpace().FreeBlocks} after");
        if (blocks == 0)
        {
            full.Reopen();
        }

        return succeeded;
    }

    private static void Write(CffsVolume volume, string path, long offset, int length)
    {
        using CffsFile file = volume.OpenFile(path, CffsOpenMode.Write);
        file.Write(offset, FullVolume.Pattern(length, 99).AsMemory());
    }

    private static void SetLength(CffsVolume volume, string path, long length)
    {
        using CffsFile file = volume.OpenFile(path, CffsOpenMode.Write);
        file.SetLength(length);
    }

    private static void OnFile(NodeDoor door, string name, Action<Inode> action)
    {
        Inode some = door.Lookup(door.Root, "some"u8.ToArray())!;
        Inode file = door.Lookup(some, System.Text.Encoding.UTF8.GetBytes(name))!;
        try
        {
            action(file);
        }
        finally
        {
            door.Release(file);
            door.Release(some);
        }
    }
}
