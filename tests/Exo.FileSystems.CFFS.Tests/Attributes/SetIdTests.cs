// SPDX-License-Identifier: MIT
using System.Globalization;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Simulation.Disks;

namespace Exo.FileSystems.CFFS.Tests.Attributes;

/// <summary>What lets a program run as somebody else goes when somebody else changes it: set-id bits and file capabilities, by the rules that the kernel has for write(2), truncate(2), chown(2) and chmod(2).</summary>
public sealed class SetIdTests : IDisposable
{
    private const string Capability = "security.capability";

    private static readonly CffsIdentity s_user = new(1000, 100);
    private static readonly CffsIdentity s_root = CffsIdentity.Superuser;

    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });
    private readonly SimulatedBlockDevice _disk;
    private readonly CffsVolume _volume;

    public SetIdTests()
    {
        _disk = new SimulatedBlockDevice(_frames, DiskContents.Zeroes(2048));
        _volume = CffsVolume.Create(_disk, new CffsCreateOptions { Seed = 1 });
        _volume.WriteAllBytes("/source", new byte[8192]);
        _volume.SetAttributes("/source", new CffsAttributeChange { Permissions = 0x1FF });
    }

    public static TheoryData<string> Changes =>
    [
        "write", "write span", "write buffers", "append", "stream", "length", "same length", "truncate", "write all", "allocate", "punch", "zero", "clone", "attributes",
    ];

    public void Dispose()
    {
        _volume.Dispose();
        _disk.Dispose();
        _frames.Dispose();
    }

    [Theory]
    [MemberData(nameof(Changes))]
    public void Who_is_not_the_superuser_takes_them_away_by_a_change_of_contents(string change)
    {
        Make("6777");
        Change(change, s_user);
        Expect("777", hasCapability: false);

        // The group's bit on a file that the group may not execute is no set-id bit.
        Make("6767");
        Change(change, s_user);
        Expect("2767", hasCapability: false);
    }

    [Theory]
    [MemberData(nameof(Changes))]
    public void The_superuser_keeps_them_and_takes_capabilities_away(string change)
    {
        Make("6777");
        Change(change, null);
        Expect("6777", hasCapability: false);
    }

    [Fact]
    public void They_are_gone_after_a_remount()
    {
        Make("6777");
        Change("write", s_user);
        _volume.Sync();
        _volume.Abandon();
        using CffsVolume again = CffsVolume.Open(_disk);
        Assert.Equal(Octal("777"), again.Stat("/f").Permissions);
    }

    [Fact]
    public void A_write_of_nothing_and_a_read_change_nothing()
    {
        Make("6777");
        using CffsFile file = _volume.OpenFile("/f", CffsOpenMode.ReadWrite, identity: s_user);
        file.Write(0, ReadOnlyMemory<byte>.Empty);
        file.Write(0, ReadOnlySpan<byte>.Empty);
        file.Read(0, new byte[10]);
        Expect("6777", hasCapability: true);
    }

    [Fact]
    public void A_write_that_finds_no_room_has_taken_them_away()
    {
        Make("6777");
        using CffsFile file = _volume.OpenFile("/f", CffsOpenMode.Write, identity: s_user);
        Assert.Equal(CffsError.NoSpace, Assert.Throws<CffsException>(() => file.Write(0, new byte[32 << 20].AsMemory())).Error);
        Expect("777", hasCapability: false);
    }

    [Fact]
    public void A_new_group_takes_them_away_unless_the_superuser_gives_it()
    {
        Make("6777");
        _volume.SetAttributes("/f", new CffsAttributeChange { User = 1001, Group = 7 });
        Expect("6777", hasCapability: false);
        Make("6777");
        _volume.SetAttributes("/f", new CffsAttributeChange { Group = 100 }, identity: s_user);
        Expect("777", hasCapability: false);
        Make("6767");
        _volume.SetAttributes("/f", new CffsAttributeChange { Group = 100 }, identity: s_user);
        Expect("2767", hasCapability: false);

        // Unless the permissions are said with it.
        Make("0777");
        _volume.SetAttributes("/f", new CffsAttributeChange { Group = 100, Permissions = Octal("6755") }, identity: s_user);
        Expect("6755", hasCapability: false);
    }

    [Fact]
    public void A_directory_keeps_the_bit_that_its_entries_inherit_their_group_by()
    {
        _volume.CreateDirectory("/d");
        _volume.SetAttributes("/d", new CffsAttributeChange { User = 1000, Group = 100, Permissions = Octal("2775") });
        _volume.SetAttributes("/d", new CffsAttributeChange { Group = 100 }, identity: s_user);
        Assert.Equal(Octal("2775"), _volume.Stat("/d").Permissions);
    }

    [Fact]
    public void Who_is_not_in_the_group_gives_nobody_the_groups_rights()
    {
        Make("777");
        _volume.SetAttributes("/f", new CffsAttributeChange { Group = 7 });
        _volume.SetAttributes("/f", new CffsAttributeChange { Permissions = Octal("6755") }, identity: s_user);
        Assert.Equal(Octal("4755"), _volume.Stat("/f").Permissions);
        _volume.SetAttributes("/f", new CffsAttributeChange { Group = 100 });
        _volume.SetAttributes("/f", new CffsAttributeChange { Permissions = Octal("6755") }, identity: s_user);
        Assert.Equal(Octal("6755"), _volume.Stat("/f").Permissions);
    }

    [Fact]
    public void A_copy_of_a_tree_keeps_everything()
    {
        _volume.CreateDirectory("/t");
        _volume.WriteAllBytes("/t/f", new byte[200_000]);
        _volume.SetAttributes("/t/f", new CffsAttributeChange { User = 1000, Permissions = Octal("6755") });
        _volume.SetExtendedAttribute("/t/f", Capability, new byte[20]);
        _volume.CopyTree("/t", "/copy");
        Assert.Equal(Octal("6755"), _volume.Stat("/copy/f").Permissions);
        Assert.NotNull(_volume.GetExtendedAttribute("/copy/f", Capability));
    }

    private void Make(string permissions)
    {
        _volume.WriteAllBytes("/f", new byte[8192]);
        _volume.SetAttributes("/f", new CffsAttributeChange { User = 1000, Group = 100 });
        _volume.SetAttributes("/f", new CffsAttributeChange { Permissions = Octal(permissions) });
        _volume.SetExtendedAttribute("/f", Capability, new byte[20]);
    }

    private void Expect(string permissions, bool hasCapability)
    {
        Assert.Equal(Octal(permissions), _volume.Stat("/f").Permissions);
        Assert.Equal(hasCapability, _volume.GetExtendedAttribute("/f", Capability) is not null);
    }

    private void Change(string what, CffsIdentity? identity)
    {
        switch (what)
        {
            case "truncate":
                _volume.OpenFile("/f", CffsOpenMode.Write | CffsOpenMode.Truncate, identity: identity).Dispose();
                return;
            case "write all":
                _volume.WriteAllBytes("/f", new byte[10], identity: identity);
                return;
            case "attributes":
                _volume.SetAttributes("/f", new CffsAttributeChange { Size = 10 }, identity: identity);
                return;
        }

        using CffsFile file = _volume.OpenFile("/f", CffsOpenMode.Write, identity: identity);
        switch (what)
        {
            case "write":
                file.Write(100, new byte[10].AsMemory());
                break;
            case "write span":
                file.Write(100, new byte[10].AsSpan());
                break;
            case "write buffers":
                file.Write(100, [new byte[10], new byte[20]]);
                break;
            case "append":
                file.Append(new byte[10]);
                break;
            case "stream":
                using (Stream stream = file.AsStream(ownsFile: false))
                {
                    stream.Write(new byte[10]);
                }

                break;
            case "length":
                file.SetLength(100);
                break;
            case "same length":
                file.SetLength(file.Length);
                break;
            case "allocate":
                file.Allocate(0, 20_000);
                break;
            case "punch":
                file.PunchHole(0, 4096);
                break;
            case "zero":
                file.ZeroRange(0, 100);
                break;
            default:
                using (CffsFile source = _volume.OpenFile("/source", identity: s_root))
                {
                    file.CloneRange(0, source, 0, 8192);
                }

                break;
        }
    }

    private static ushort Octal(string digits) => Convert.ToUInt16(digits.ToString(CultureInfo.InvariantCulture), 8);
}
