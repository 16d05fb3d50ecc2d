// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Attributes;
using Exo.Simulation.Disks;

namespace Exo.FileSystems.CFFS.Tests.Attributes;

/// <summary>Access control lists by the API: what is a list, what goes with it, and who may.</summary>
public sealed class AccessListTests : IDisposable
{
    private const string Access = "system.posix_acl_access";
    private const string Default = "system.posix_acl_default";
    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
    private readonly SimulatedBlockDevice _disk;
    private CffsVolume _volume;

    public AccessListTests()
    {
        _disk = new SimulatedBlockDevice(_frames, DiskContents.Zeroes(4096));
        _volume = CffsVolume.Create(_disk, new CffsCreateOptions { Seed = 1 });
    }

    public void Dispose()
    {
        _volume.Dispose();
        Assert.True(Verified.Check(_disk).IsClean);
        _disk.Dispose();
        _frames.Dispose();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_list_decides_for_whoever_is_not_the_owner(bool isCold)
    {
        CffsIdentity owner = new(1000, 1000), bob = new(1001, 1001), eve = new(1002, 1002), member = new(1003, 1003, 2000), inGroup = new(1004, 1000);
        _volume.CreateDirectory("/d", 0x1ED);
        _volume.WriteAllBytes("/d/f", new byte[5]);
        _volume.SetAttributes("/d/f", new CffsAttributeChange { User = 1000, Group = 1000, Permissions = 0x1A0 });
        _volume.SetExtendedAttribute("/d/f", Access, List((1, 6, 0), (2, 4, 1001), (2, 0, 1002), (4, 0, 0), (8, 6, 2000), (16, 6, 0), (32, 4, 0)), identity: owner);
        Assert.Equal(0x1B4, _volume.Stat("/d/f").Permissions);
        Reopen(isCold);
        Assert.Equal("r", May("/d/f", bob));
        Assert.Equal("", May("/d/f", eve));
        Assert.Equal("rw", May("/d/f", member));
        Assert.Equal("", May("/d/f", inGroup));
        Assert.Equal("rw", May("/d/f", owner));
        Assert.Equal("r", May("/d/f", new CffsIdentity(1005, 1005)));
        Assert.Equal(CffsError.NotPermitted, Assert.Throws<CffsException>(() => _volume.SetExtendedAttribute("/d/f", Access, List((1, 7, 0), (4, 7, 0), (32, 7, 0)), identity: bob)).Error);

        // chmod is the mask's; a list that says no more than the bits is none.
        _volume.SetAttributes("/d/f", new CffsAttributeChange { Permissions = 0x1A4 }, identity: owner);
        Reopen(isCold);
        Assert.Equal("r", May("/d/f", member));
        Assert.Equal("", May("/d/f", inGroup));
        _volume.SetExtendedAttribute("/d/f", Access, List((1, 6, 0), (4, 4, 0), (32, 0, 0)));
        Assert.Null(_volume.GetExtendedAttribute("/d/f", Access));
        Reopen(isCold);
        Assert.Equal("", May("/d/f", bob));
        Assert.Equal("r", May("/d/f", inGroup));
        Assert.Equal(0x1A0, _volume.Stat("/d/f").Permissions);

        // A directory that one may not go through, by a path that has just been gone.
        Assert.Equal("rw", May("/d/f", owner));
        _volume.SetExtendedAttribute("/d", Access, List((1, 7, 0), (2, 0, 1000), (4, 5, 0), (16, 7, 0), (32, 5, 0)));
        Assert.Equal("", May("/d/f", owner));
        Reopen(isCold);
        Assert.Equal("", May("/d/f", owner));
        _volume.RemoveExtendedAttribute("/d", Access);
        Assert.Equal("rw", May("/d/f", owner));
    }

    [Fact]
    public void What_is_made_in_a_directory_inherits_and_copies_keep_what_they_had()
    {
        byte[] defaults = List((1, 7, 0), (2, 7, 1001), (4, 5, 0), (16, 7, 0), (32, 0, 0));
        _volume.CreateDirectory("/d", 0x1ED);
        _volume.WriteAllBytes("/d/before", new byte[9]);
        _volume.SetExtendedAttribute("/d", Default, defaults);
        _volume.CreateDirectory("/d/e", 0x1FF);
        _volume.WriteAllBytes("/d/f", new byte[9]);
        _volume.WriteAllBytes("/d/e/large", new byte[100_000]);
        using (CffsFile file = _volume.OpenFile("/d/opened", CffsOpenMode.ReadWrite | CffsOpenMode.Create))
        {
        }

        void Check(string root)
        {
            Assert.Equal(defaults, _volume.GetExtendedAttribute(root, Default));
            Assert.Equal(defaults, _volume.GetExtendedAttribute(root + "/e", Default));
            Assert.Equal(List((1, 7, 0), (2, 7, 1001), (4, 5, 0), (16, 7, 0), (32, 0, 0)), _volume.GetExtendedAttribute(root + "/e", Access));
            foreach (string name in new[] { "/f", "/e/large", "/opened" })
            {
                byte[]? list = _volume.GetExtendedAttribute(root + name, Access);
                Assert.NotNull(list);
                Assert.True(AccessList.TryParse(list, out AccessList parsed));
                Assert.Equal(_volume.Stat(root + name).Permissions & 0x1FF, parsed.Permissions);
                Assert.Equal(0, parsed.Permissions & 7);
            }

            Assert.Null(_volume.GetExtendedAttribute(root + "/before", Access));
        }

        Check("/d");
        _volume.CopyTree("/d", "/copy");
        Check("/copy");
        _volume.CreateSnapshot("/d", "/snap");
        Check("/snap");
        Reopen(true);
        Check("/d");
        Check("/copy");
        Check("/snap");
        Assert.Equal("r", May("/d/f", new CffsIdentity(1001, 1001)));
        Assert.Equal("", May("/d/f", new CffsIdentity(1002, 1002)));
    }

    /// <summary>Found by the power cuts: no slot of a directory has the root's record, and its list was a block of nobody's in a census.</summary>
    [Fact]
    public void The_roots_list_is_somebodys()
    {
        _volume.SetExtendedAttribute("/", Default, List((1, 7, 0), (2, 7, 1001), (4, 5, 0), (16, 7, 0), (32, 0, 0)));
        _volume.Sync();
        Assert.Equal(1U, _volume.MapBlocks().Single(run => run.Kind == CffsBlockKind.Attributes).Extent.Count);
        _volume.SetExtendedAttribute("/", Default, List());
        _volume.Sync();
        Assert.DoesNotContain(_volume.MapBlocks(), run => run.Kind == CffsBlockKind.Attributes);
    }

    [Fact]
    public void What_is_no_list_or_belongs_nowhere_is_refused()
    {
        _volume.WriteAllBytes("/f", new byte[1]);
        _volume.CreateDirectory("/d");
        _volume.CreateSymbolicLink("/l", "f");
        byte[] good = List((1, 6, 0), (2, 4, 1001), (4, 0, 0), (16, 6, 0), (32, 4, 0));
        CffsError Refusal(string path, string name, byte[] list) => Assert.Throws<CffsException>(() => _volume.SetExtendedAttribute(path, name, list, followSymbolicLink: false)).Error;
        Assert.Equal(CffsError.AccessDenied, Refusal("/f", Default, good));
        Assert.Equal(CffsError.NotSupported, Refusal("/l", Access, good));
        Assert.Equal(CffsError.NotSupported, Refusal("/f", "system.posix_acl_other", good));
        foreach (byte[] bad in new byte[][]
        {
            [], [2, 0, 0], [1, 0, 0, 0], good[..^1], List((1, 6, 0), (4, 0, 0)), List((1, 6, 0), (2, 4, 1001), (4, 0, 0), (32, 4, 0)), List((1, 6, 0), (4, 0, 0), (2, 4, 1001), (16, 6, 0), (32, 4, 0)),
            List((1, 8, 0), (4, 0, 0), (32, 4, 0)), List((1, 6, 0), (1, 6, 0), (4, 0, 0), (32, 4, 0)), List((1, 6, 0), (2, 4, 5), (2, 4, 5), (4, 0, 0), (16, 6, 0), (32, 4, 0)),
            List((1, 6, 0), (2, 4, uint.MaxValue), (4, 0, 0), (16, 6, 0), (32, 4, 0)), List((1, 6, 0), (3, 4, 1), (4, 0, 0), (32, 4, 0)),
        })
        {
            Assert.Equal(CffsError.Invalid, Refusal("/f", Access, bad));
            Assert.Equal(CffsError.Invalid, Refusal("/d", Default, bad));
        }

        Random random = new(1);
        for (int i = 0; i < 100_000; i++)
        {
            byte[] bytes = (byte[])good.Clone();
            for (int k = random.Next(4); k >= 0; k--)
            {
                bytes[random.Next(bytes.Length)] = (byte)(random.Next(2) == 0 ? random.Next(256) : 1 << random.Next(6));
            }

            if (AccessList.TryParse(bytes.AsSpan(0, random.Next(bytes.Length + 1)), out AccessList list) && !list.IsNone)
            {
                Assert.True(AccessList.TryParse(list.ToBytes(), out AccessList again));
                Assert.Equal(list.ToBytes(), again.ToBytes());
                Assert.InRange(list.Permissions, 0, 0x1FF);
                ushort mode = (ushort)random.Next(512);
                Assert.Equal(mode, list.WithPermissions(mode).Permissions);
                ushort masked = mode;
                Assert.Equal(list.Inherited(ref masked).Permissions, masked);
                Assert.Equal(mode & list.Permissions, masked);
            }
        }

        Assert.Null(_volume.GetExtendedAttribute("/f", Access));
        _volume.SetExtendedAttribute("/f", Access, good);
        _volume.SetExtendedAttribute("/f", Access, List());
        Assert.Null(_volume.GetExtendedAttribute("/f", Access));
    }

    private static byte[] List(params (ushort Tag, ushort Permissions, uint Number)[] entries)
    {
        byte[] bytes = new byte[4 + (entries.Length * 8)];
        bytes[0] = 2;
        for (int i = 0; i < entries.Length; i++)
        {
            Span<byte> at = bytes.AsSpan(4 + (i * 8));
            BinaryPrimitives.WriteUInt16LittleEndian(at, entries[i].Tag);
            BinaryPrimitives.WriteUInt16LittleEndian(at[2..], entries[i].Permissions);
            BinaryPrimitives.WriteUInt32LittleEndian(at[4..], entries[i].Tag is 2 or 8 ? entries[i].Number : uint.MaxValue);
        }

        return bytes;
    }

    private string May(string path, CffsIdentity identity)
    {
        string may = "";
        foreach ((string letter, CffsOpenMode mode) in new[] { ("r", CffsOpenMode.Read), ("w", CffsOpenMode.Write) })
        {
            try
            {
                _volume.OpenFile(path, mode, identity: identity).Dispose();
                may += letter;
            }
            catch (CffsException refused) when (refused.Error == CffsError.AccessDenied)
            {
            }
        }

        return may;
    }

    private void Reopen(bool isCold)
    {
        if (isCold)
        {
            _volume.Dispose();
            _volume = CffsVolume.Open(_disk);
        }
    }
}
