// SPDX-License-Identifier: MIT
using System.Text;
using CsCheck;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Tests.Attributes;

/// <summary>Extended attributes: what they are for, their limits, and who may do what (xattr(7)). The model and the power cuts are in the random workloads.</summary>
public sealed class ExtendedAttributeTests : IDisposable
{
    private static readonly byte[] Value = "text/plain"u8.ToArray();
    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
    private readonly MemoryBlockDevice _disk;
    private readonly CffsVolume _volume;

    public ExtendedAttributeTests()
    {
        _disk = new MemoryBlockDevice(_frames, blockCount: 4096);
        _volume = CffsVolume.Create(_disk, new CffsCreateOptions { Seed = 1 });
        _volume.CreateDirectory("/d");
        _volume.WriteAllBytes("/d/f", "contents"u8.ToArray());
        _volume.CreateSymbolicLink("/link", "d/f");
        _volume.CreateNode("/fifo"u8.ToArray(), 0x11A4);
    }

    public void Dispose()
    {
        _volume.Dispose();
        CffsCheckReport report = Verified.Check(_disk);
        Assert.True(report.IsClean, string.Join('\n', report.Findings));
        _disk.Dispose();
        _frames.Dispose();
    }

    [Fact]
    public void An_attribute_is_set_replaced_listed_and_removed()
    {
        Assert.Null(_volume.GetExtendedAttribute("/d/f", "user.mime_type"));
        _volume.SetExtendedAttribute("/d/f", "user.mime_type", Value);
        _volume.SetExtendedAttribute("/d/f", "user.empty", default);
        Assert.Equal(Value, _volume.GetExtendedAttribute("/d/f", "user.mime_type"));
        Assert.Equal(Value, _volume.GetExtendedAttribute("/link", "user.mime_type"));
        Assert.Equal(["user.mime_type", "user.empty"], _volume.ListExtendedAttributes("/d/f"));
        _volume.SetExtendedAttribute("/d/f", "user.mime_type", new byte[1000], CffsAttributeSet.Replace);
        Assert.Equal(new byte[1000], _volume.GetExtendedAttribute("/d/f", "user.mime_type"));
        _volume.RemoveExtendedAttribute("/d/f", "user.mime_type");
        Assert.Empty(_volume.GetExtendedAttribute("/d/f", "user.empty")!);
        _volume.RemoveExtendedAttribute("/d/f", "user.empty");
        Assert.Empty(_volume.ListExtendedAttributes("/d/f"));
        Assert.Equal("contents"u8.ToArray(), _volume.ReadAllBytes("/d/f"));
    }

    [Fact]
    public void Attributes_go_where_their_file_goes()
    {
        ulong free = _volume.GetSpace().FreeBlocks;
        _volume.SetExtendedAttribute("/d/f", "user.a", Value);
        _volume.SetExtendedAttribute("/d", "user.a", "of the directory"u8.ToArray());
        _volume.Rename("/d/f", "/moved");
        _volume.CreateHardLink("/moved", "/second");
        _volume.RemoveFile("/moved");
        Assert.Equal(Value, _volume.GetExtendedAttribute("/second", "user.a"));
        Assert.Equal("of the directory"u8.ToArray(), _volume.GetExtendedAttribute("/d", "user.a"));
        _volume.RemoveFile("/second");
        _volume.RemoveDirectory("/d");
        _volume.Sync();

        // The table of inodes with several links has got its first block, and keeps it.
        CffsSpace space = _volume.GetSpace();
        Assert.InRange(space.FreeBlocks + space.WillFreeBlocks, free - 2, free + 8);
    }

    [Fact]
    public void They_are_there_after_opening_again()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
        using MemoryBlockDevice disk = new(frames, blockCount: 4096);
        using (CffsVolume volume = CffsVolume.Create(disk))
        {
            volume.WriteAllBytes("/f", new byte[100_000]);
            volume.SetExtendedAttribute("/f", "user.a", Value);
        }

        using (CffsVolume volume = CffsVolume.Open(disk))
        {
            Assert.Equal(Value, volume.GetExtendedAttribute("/f", "user.a"));
            volume.SetExtendedAttribute("/f", "user.b", Value);
            volume.Sync();
            volume.Abandon();
        }

        using (CffsVolume volume = CffsVolume.Open(disk))
        {
            Assert.Equal(["user.a", "user.b"], volume.ListExtendedAttributes("/f"));
        }
    }

    [Fact]
    public void What_is_asked_for_must_be_so()
    {
        _volume.SetExtendedAttribute("/d/f", "user.a", Value, CffsAttributeSet.Create);
        Refused(CffsError.Exists, () => _volume.SetExtendedAttribute("/d/f", "user.a", Value, CffsAttributeSet.Create));
        Refused(CffsError.NoAttribute, () => _volume.SetExtendedAttribute("/d/f", "user.b", Value, CffsAttributeSet.Replace));
        Refused(CffsError.NoAttribute, () => _volume.RemoveExtendedAttribute("/d/f", "user.b"));
        Refused(CffsError.NotSupported, () => _volume.SetExtendedAttribute("/d/f", "system.other", Value));
        Refused(CffsError.NotSupported, () => _volume.GetExtendedAttribute("/d/f", "noNamespace"));
        Refused(CffsError.Invalid, () => _volume.SetExtendedAttribute("/d/f", "user.", Value));
        Refused(CffsError.NameTooLong, () => _volume.SetExtendedAttribute("/d/f", "user." + new string('a', 251), Value));
        Refused(CffsError.NotFound, () => _volume.SetExtendedAttribute("/none", "user.a", Value));
        Refused(CffsError.NotPermitted, () => _volume.SetExtendedAttribute("/link", "user.a", Value, followSymbolicLink: false));
        Refused(CffsError.NotPermitted, () => _volume.SetExtendedAttribute("/fifo", "user.a", Value));
        Refused(CffsError.NotPermitted, () => _volume.SetExtendedAttribute("/fifo", "trusted.a", Value));
        Assert.Empty(_volume.ListExtendedAttributes("/fifo"));
        _volume.SetExtendedAttribute("/d/f", "user." + new string('a', 250), Value);
    }

    [Fact]
    public void The_attributes_of_an_inode_share_a_block()
    {
        // An entry is 4 bytes, the name and the value; there are 4064.
        _volume.SetExtendedAttribute("/d/f", "user.a", new byte[4064 - 4 - 6]);
        Refused(CffsError.NoSpace, () => _volume.SetExtendedAttribute("/d/f", "user.b", default));
        Refused(CffsError.NoSpace, () => _volume.SetExtendedAttribute("/d/f", "user.a", new byte[4064 - 4 - 6 + 1]));
        Assert.Equal(4054, _volume.GetExtendedAttribute("/d/f", "user.a")!.Length);
        _volume.SetExtendedAttribute("/d/f", "user.a", new byte[4064 - 20]);
        _volume.SetExtendedAttribute("/d/f", "user.b", default);
    }

    [Fact]
    public void Who_may()
    {
        CffsIdentity owner = new(1000, 1000);
        CffsIdentity other = new(1001, 1001);
        _volume.SetAttributes("/d/f", new CffsAttributeChange { User = 1000, Group = 1000, Permissions = 0x180 });
        _volume.SetExtendedAttribute("/d/f", "user.a", Value, identity: owner);
        Refused(CffsError.AccessDenied, () => _volume.GetExtendedAttribute("/d/f", "user.a", identity: other));
        Refused(CffsError.AccessDenied, () => _volume.SetExtendedAttribute("/d/f", "user.a", Value, identity: other));
        Refused(CffsError.NotPermitted, () => _volume.SetExtendedAttribute("/d/f", "trusted.a", Value, identity: owner));
        Refused(CffsError.NotPermitted, () => _volume.SetExtendedAttribute("/d/f", "security.a", Value, identity: owner));
        _volume.SetExtendedAttribute("/d/f", "trusted.a", Value);
        _volume.SetExtendedAttribute("/d/f", "security.a", Value);
        Assert.Null(_volume.GetExtendedAttribute("/d/f", "trusted.a", identity: owner));
        Assert.Equal(Value, _volume.GetExtendedAttribute("/d/f", "security.a", identity: other));
        Assert.Equal(["user.a", "security.a"], _volume.ListExtendedAttributes("/d/f", identity: owner));
        _volume.SetAttributes("/d", new CffsAttributeChange { Permissions = 0x3FF });
        Refused(CffsError.NotPermitted, () => _volume.SetExtendedAttribute("/d", "user.a", Value, identity: owner));
        _volume.SetAttributes("/d", new CffsAttributeChange { Permissions = 0x1FF });
        _volume.SetExtendedAttribute("/d", "user.a", Value, identity: owner);
    }

    [Fact]
    public void A_full_volume_says_so_and_keeps_what_was()
    {
        using MemoryBlockDevice small = new(_frames, blockCount: 600);
        using CffsVolume volume = CffsVolume.Create(small, new CffsCreateOptions { Seed = 1 });
        volume.WriteAllBytes("/f", default);
        volume.SetExtendedAttribute("/f", "user.a", Value);
        volume.WriteAllBytes("/full", default);
        using (CffsFile full = volume.OpenFile("/full", CffsOpenMode.Write))
        {
            Refused(CffsError.NoSpace, () =>
            {
                while (true)
                {
                    full.Append(new byte[4096]);
                }
            });
        }

        Refused(CffsError.NoSpace, () => volume.SetExtendedAttribute("/f", "user.b", Value));
        Assert.Equal(["user.a"], volume.ListExtendedAttributes("/f"));
        volume.RemoveFile("/full");
        volume.SetExtendedAttribute("/f", "user.b", Value);
    }

    [Fact]
    public void Any_bytes_as_a_block_are_valid_or_not_and_never_read_beyond()
    {
        Gen<byte[]> noise = Gen.Byte.Array[AttributeBlock.SizeBytes];
        Gen<(int At, byte Is)[]> damage = Gen.Select(Gen.Int[0, 200], Gen.Byte).Array[0, 6];
        damage.Sample(
            changes =>
            {
                byte[] block = new byte[AttributeBlock.SizeBytes];
                int entryBytes = 0;
                Assert.True(AttributeBlock.TryAppend(block, ref entryBytes, "user.a"u8, Value));
                Assert.True(AttributeBlock.TryAppend(block, ref entryBytes, "user.b"u8, Encoding.UTF8.GetBytes(new string('v', 100))));
                AttributeBlock.Seal(block, entryBytes, 17, 5, 99);
                Assert.True(AttributeBlock.IsValid(block, 17, 5, 99));
                byte[] damaged = [.. block];
                foreach ((int at, byte value) in changes)
                {
                    damaged[at] = value;
                }

                Assert.Equal(damaged.AsSpan().SequenceEqual(block), AttributeBlock.IsValid(damaged, 17, 5, 99));
                Walk(damaged.AsSpan(AttributeBlock.HeaderBytes));
            });
        noise.Sample(bytes => Walk(bytes.AsSpan(AttributeBlock.HeaderBytes)), iter: 200);
    }

    // Entries without regard to the checksum: they end, and lie within the block.
    private static void Walk(ReadOnlySpan<byte> entries)
    {
        int left = entries.Length;
        while (AttributeBlock.TryNext(ref entries, out ReadOnlySpan<byte> name, out ReadOnlySpan<byte> value))
        {
            Assert.True(entries.Length == left - AttributeBlock.EntryHeaderBytes - name.Length - value.Length);
            left = entries.Length;
        }
    }

    private static void Refused(CffsError expected, Action action) => Assert.Equal(expected, Assert.Throws<CffsException>(action).Error);
}
