// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Tests.Check;

/// <summary>One thing is wrong at a time: the checker names that, and nothing that does not follow from it; the file system refuses or goes on, but never believes it.</summary>
public sealed class FindingTests : IDisposable
{
    private readonly DamagedVolume _volume = new();

    public void Dispose() => _volume.Dispose();

    [Fact]
    public void A_name_hash_that_is_wrong() => Expect(["name-hash"], () => _volume.EditRecord("file", slot => slot[Slot.NameHash] ^= 1));

    [Fact]
    public void A_slash_in_a_name() => Expect(["name", "name-hash"], () => _volume.EditRecord("file", slot => slot[Slot.Contents + 1] = (byte)'/'));

    [Fact]
    public void A_kind_that_its_mode_denies() => Expect(["mode"], () => _volume.EditRecord("file", slot => slot[Slot.Mode + 1] = 0x40));

    [Fact]
    public void An_inode_number_that_was_never_given_out() =>
        Expect(["inode-number", "attributes"], () => _volume.EditRecord("file", slot => BinaryPrimitives.WriteUInt64LittleEndian(slot[Slot.Inode..], 1UL << 50)));

    [Fact]
    public void A_file_with_the_number_of_a_snapshot_outside_of_one() =>
        Expect(["snapshot"], () => _volume.EditRecord("tiny", slot => slot[Slot.Inode + 6] |= 0x10));

    [Fact]
    public void A_name_with_the_number_of_a_snapshot_outside_of_one() =>
        Expect(["snapshot", "link-target", "link-count"], () => _volume.EditRecord("second-name", slot => slot[Slot.Inode + 6] |= 0x10));

    [Fact]
    public void A_file_without_the_number_of_a_snapshot_in_one()
    {
        using (CffsVolume volume = CffsVolume.Open(_volume.Disk))
        {
            volume.WriteAllBytes("dir/old", new byte[3]);
            volume.CreateSnapshot("dir", "snapshot");
            volume.RemoveFile("dir/old");
        }

        Expect(["snapshot"], () => _volume.EditRecord("old", slot => slot[Slot.Inode + 6] &= 0xEF));
        using CffsVolume repaired = CffsVolume.Open(_volume.Disk);
        Assert.True(repaired.Stat("snapshot/old").IsSnapshot);
    }

    [Fact]
    public void A_directory_of_another_length() =>
        Expect(["size"], () => _volume.EditRecord("dir", slot => BinaryPrimitives.WriteUInt64LittleEndian(slot[Slot.Size..], 8192)));

    [Fact]
    public void Two_records_with_one_inode_number()
    {
        byte[] other = _volume.ReadRecord("other");
        Expect(["duplicate-inode", "attributes"], () => _volume.EditRecord("file", slot => other.AsSpan(Slot.Inode, 8).CopyTo(slot[Slot.Inode..])));
    }

    [Fact]
    public void Inline_contents_of_another_length() =>
        Expect(["inline"], () => _volume.EditRecord("tiny", slot => BinaryPrimitives.WriteUInt64LittleEndian(slot[Slot.Size..], 99)));

    [Fact]
    public void A_pointer_off_the_disk() => Expect(
        ["pointer", "block-leaked"], () => _volume.EditRecord("file", slot => BinaryPrimitives.WriteUInt64LittleEndian(slot[Slot.Start..], 5000)));

    [Fact]
    public void A_pointer_into_the_blocks_of_XN() => Expect(
        ["pointer", "block-leaked"], () => _volume.EditRecord("file", slot => BinaryPrimitives.WriteUInt64LittleEndian(slot[Slot.Start..], 5)));

    [Fact]
    public void A_pointer_to_blocks_of_another_file()
    {
        byte[] other = _volume.ReadRecord("other");
        Expect(["owner-count", "block-leaked"], () => _volume.EditRecord("file", slot => other.AsSpan(Slot.Start, 8).CopyTo(slot[Slot.Start..])));
    }

    [Fact]
    public void A_pointer_to_a_block_of_a_directory()
    {
        byte[] directory = _volume.ReadRecord("dir");
        Expect(["block-twice", "block-free", "block-leaked", "size"], () => _volume.EditRecord("file", slot => directory.AsSpan(Slot.Start, 8).CopyTo(slot[Slot.Start..])));
    }

    [Fact]
    public void A_pointer_to_free_blocks() =>
        Expect(["block-free", "block-leaked"], () => _volume.EditRecord("file", slot => BinaryPrimitives.WriteUInt64LittleEndian(slot[Slot.Start..], 1000)));

    [Fact]
    public void A_pointer_that_is_lost() => Expect(["block-leaked"], () => _volume.EditRecord("file", slot => slot.Slice(Slot.Count, 12).Clear()));

    [Fact]
    public void A_pack_that_is_lost() => Expect(["pack", "block-leaked"], () => _volume.EditPack("one packed", slot => slot.Clear()));

    [Fact]
    public void A_pack_that_contradicts_itself() => Expect(["pack", "block-leaked"], () => _volume.EditPack("one packed", slot => slot[Slot.Count] = 2));

    [Fact]
    public void A_pack_off_the_disk() =>
        Expect(["pointer", "block-leaked"], () => _volume.EditPack("one packed", slot => BinaryPrimitives.WriteUInt64LittleEndian(slot[Slot.Start..], 5000)));

    [Fact]
    public void A_pack_in_a_block_of_another_file()
    {
        byte[] other = _volume.ReadRecord("other");
        Expect(["owner-count", "block-leaked"], () => _volume.EditPack("one packed", slot => other.AsSpan(Slot.Start, 8).CopyTo(slot[Slot.Start..])));
    }

    [Fact]
    public void Two_files_in_one_place_of_a_pack() => Expect(["pack"], () => _volume.EditRecord("two packed", slot => slot[Slot.Start] = 1));

    [Fact]
    public void A_file_beyond_the_end_of_its_pack() => Expect(["slot-structure"], () => _volume.EditRecord("two packed", slot => slot[Slot.Start] = 7));

    [Fact]
    public void A_link_count_of_more_than_one_without_another_name() =>
        Expect(["link-count"], () => _volume.EditRecord("file", slot => slot[Slot.Links] = 2));

    [Fact]
    public void An_external_inode_with_a_wrong_link_count() => Expect(["link-count"], () => _volume.EditRecord("", slot => slot[Slot.Links] = 5));

    [Fact]
    public void A_name_of_an_external_inode_that_is_not_there() => Expect(
        ["link-target", "link-count"], () => _volume.EditRecord("second-name", slot => BinaryPrimitives.WriteUInt64LittleEndian(slot[Slot.Start..], 31)));

    [Fact]
    public void A_symbolic_link_to_nothing() => Expect(
        ["symbolic-link", "inline"], () => _volume.EditRecord("link", slot => BinaryPrimitives.WriteUInt64LittleEndian(slot[Slot.Size..], 5000)));

    [Fact]
    public void A_log_among_files() => Expect(["kind", "mode", "block-leaked"], () => _volume.EditRecord("file", slot => slot[Slot.Kind] = (byte)SlotKind.Log));

    [Fact]
    public void A_record_that_leaves_its_sector() => Expect(["slot-structure", "block-leaked"], () => _volume.EditRecord("file", slot => slot[Slot.Slots] = 4));

    [Fact]
    public void A_name_that_stands_twice()
    {
        (ulong block, int from) = _volume.Find("file");
        byte[] file = _volume.ReadRecord("file");
        Expect(["duplicate-name"], () => _volume.EditRecord("tiny", slot =>
        {
            slot[Slot.NameLength] = file[Slot.NameLength];
            file.AsSpan(Slot.NameHash, 4).CopyTo(slot[Slot.NameHash..]);
            byte[] contents = slot.Slice(Slot.Contents + 4, 3).ToArray();
            file.AsSpan(Slot.Contents, 4).CopyTo(slot[Slot.Contents..]);
            contents.CopyTo(slot[(Slot.Contents + 4)..]);
        }));
        Assert.True(block > 0 && from >= 0);
    }

    [Fact]
    public void A_sector_of_a_directory_whose_checksum_is_wrong()
    {
        (ulong block, int slot) = _volume.Find("inside");
        Expect(["slot-checksum", "block-leaked"], () => _volume.EditBlock(block, bytes => bytes[(slot / 4 * 512) + 90] ^= 1));
    }

    [Fact]
    public void A_sector_from_another_directory()
    {
        (ulong from, int slot) = _volume.Find("inside");
        (ulong to, _) = _volume.Find("file");
        byte[] sector = new byte[512];
        _volume.EditBlock(from, bytes => bytes.Slice(slot / 4 * 512, 512).CopyTo(sector));

        // A misdirected write: a good sector in a wrong place.
        Expect(["slot-checksum"], () => _volume.EditBlock(to, bytes => sector.CopyTo(bytes[(7 * 512)..])));
    }

    [Fact]
    public void A_tree_node_whose_checksum_is_wrong() =>
        Expect(["tree-checksum", "block-leaked"], () => _volume.EditBlock(TreeNodeBlock(), bytes => bytes[3] ^= 1));

    [Fact]
    public void A_tree_node_of_another_level() => Expect(["tree-level", "tree-entry", "block-leaked"], () => EditTree(sector => sector[TreeNode.Level] = 3));

    [Fact]
    public void A_tree_entry_of_no_kind() =>
        Expect(["tree-entry", "block-leaked"], () => EditTree(sector => sector[TreeEntry.KindOffset] = (byte)TreeEntryKind.Node));

    [Fact]
    public void A_logical_block_that_is_mapped_twice() =>
        Expect(["tree-overlap"], () => EditTree(sector => sector.Slice(TreeEntry.LogicalOffset, 8).CopyTo(sector[(TreeEntry.SizeBytes + TreeEntry.LogicalOffset)..])));

    [Fact]
    public void A_tree_deeper_than_any() => Expect(["tree-depth", "block-leaked"], () => _volume.EditRecord("sparse", slot => slot[Slot.Depth] = 9));

    [Fact]
    public void Extended_attributes_whose_checksum_is_wrong() =>
        Expect(["attributes"], () => _volume.EditBlock(BinaryPrimitives.ReadUInt64LittleEndian(_volume.ReadRecord("file").AsSpan(Slot.Attributes)), bytes => bytes[50] ^= 1));

    [Fact]
    public void A_pointer_to_extended_attributes_of_another_file()
    {
        byte[] file = _volume.ReadRecord("file");
        Expect(["block-twice", "attributes"], () => _volume.EditRecord("other", slot => file.AsSpan(Slot.Attributes, 8).CopyTo(slot[Slot.Attributes..])));
        Assert.Equal(file.AsSpan(Slot.Attributes, 8), _volume.ReadRecord("file").AsSpan(Slot.Attributes, 8));
    }

    [Fact]
    public void A_size_that_no_file_has() =>
        Expect(["size"], () => _volume.EditRecord("file", slot => BinaryPrimitives.WriteUInt64LittleEndian(slot[Slot.Size..], 1UL << 50)));

    [Fact]
    public void A_name_of_a_name() => Expect(["kind", "link-target", "link-count", "block-leaked"], () => _volume.EditRecord("", slot => slot[Slot.Kind] = (byte)SlotKind.ExternalLink));

    [Fact]
    public void A_file_among_the_orphans_of_a_volume_that_was_unmounted()
    {
        // The table of external inodes becomes the orphan directory's: what is in it was unlinked while open.
        ulong block = _volume.Find("").Block;
        Expect(["slot-checksum", "orphan", "link-target", "link-count", "block-leaked", "duplicate-inode", "block-twice", "name", "name-hash", "size"], () =>
        {
            _volume.EditBlock(_volume.Root, bytes =>
            {
                Span<byte> sector = bytes.Slice(Superblock.RecordSector * Sector.SizeBytes, Sector.SizeBytes);
                sector.Slice((Superblock.ExternalSlot * Slot.SizeBytes) + Slot.Count, 12).CopyTo(sector[((Superblock.OrphanSlot * Slot.SizeBytes) + Slot.Count)..]);
                sector.Slice((Superblock.ExternalSlot * Slot.SizeBytes) + Slot.Count, 12).Clear();
                _volume.Seal(sector, _volume.Root, Superblock.RecordSector);
            });
            _volume.EditBlock(block, bytes =>
            {
                BinaryPrimitives.WriteUInt64LittleEndian(bytes[Sector.Owner..], Superblock.OrphanInode);
                _volume.Seal(bytes[..Sector.SizeBytes], block, 0);
            });
        }, "orphan");
    }

    [Fact]
    public void A_name_that_says_another_kind_than_its_inode_has() => Expect(["mode"], () => _volume.EditRecord("second-name", slot => slot[Slot.Mode + 1] = 0xA1));

    [Fact]
    public void A_damaged_template() => Expect(["xn-templates"], () => _volume.EditBlock(70, bytes => bytes[500] ^= 1));

    [Theory]
    [InlineData(0, "superblock-state")]
    [InlineData(1, "superblock-state")]
    [InlineData(Superblock.RecordSector, "superblock-records")]
    [InlineData(Superblock.GuardSector, "superblock-guard")]
    public void A_sector_of_the_superblock(int sector, string code) => Expect(
        [code, "block-leaked", "unclean", "link-target"], () => _volume.EditBlock(_volume.Root, bytes => bytes[(sector * 512) + 40] ^= 1), code);

    [Theory]
    [InlineData(0, "xn-superblock")]
    [InlineData(1, "xn-superblock")]
    [InlineData(130, "xn-roots")]
    [InlineData(131, "xn-roots")]
    [InlineData(132, "free-map")]
    public void A_block_of_XN(ulong block, string code) => Expect([code, "unclean"], () => _volume.EditBlock(block, bytes => bytes[60] ^= 1), code);

    private ulong TreeNodeBlock() => BinaryPrimitives.ReadUInt64LittleEndian(_volume.ReadRecord("sparse").AsSpan(Slot.Start));

    private void EditTree(DamagedVolume.SlotEdit edit)
    {
        ulong node = TreeNodeBlock();
        _volume.EditBlock(node, bytes =>
        {
            edit(bytes[..Sector.SizeBytes]);
            _volume.Seal(bytes[..Sector.SizeBytes], node, 0);
        });
    }

    /// <summary>The first code must be found; the others may follow from it.</summary>
    private void Expect(string[] codes, Action damage, string? first = null)
    {
        damage();
        CffsCheckReport report = _volume.Check();
        Assert.Contains(report.Findings, finding => finding.Code == (first ?? codes[0]));
        Assert.All(report.Findings, finding => Assert.Contains(finding.Code, codes));
        _volume.MountAndReadAll();
        bool hasGuard = !report.Findings.Any(finding => finding.Code == "superblock-guard");
        CffsRepairReport repair = _volume.Repair();
        Assert.Equal(hasGuard, repair.IsClean);
        Assert.True(repair.ActionCount > 0);
        if (hasGuard)
        {
            Assert.Empty(_volume.Check().Findings);
            _volume.AssertWhole();
        }
    }
}
