// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Layout;
using Exo.Simulation.Disks;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Tests.Check;

/// <summary>What a repair keeps, where it puts it, and what it leaves alone.</summary>
public sealed class RepairTests : IDisposable
{
    private readonly DamagedVolume _volume = new();

    public void Dispose() => _volume.Dispose();

    [Fact]
    public void A_clean_volume_is_not_written_to()
    {
        DiskContents before = _volume.Disk.Snapshot();
        CffsRepairReport report = _volume.Repair();
        Assert.True(report.IsClean);
        Assert.False(report.HasWritten);
        Assert.Empty(report.Actions);
        AssertSame(before, _volume.Disk.Snapshot());
    }

    [Fact]
    public void A_dry_run_says_what_would_be_done_and_writes_nothing()
    {
        _volume.EditRecord("file", slot => slot[Slot.NameHash] ^= 1);
        _volume.EditRecord("other", slot => BinaryPrimitives.WriteUInt64LittleEndian(slot[Slot.Start..], 5000));
        DiskContents before = _volume.Disk.Snapshot();
        CffsRepairReport report = CffsRepair.Run(_volume.Disk, new CffsRepairOptions { DryRun = true });
        Assert.Equal(["name-hash", "pointer"], report.Actions.Select(action => action.Code).Order());
        Assert.False(report.IsClean);
        Assert.False(report.HasWritten);
        AssertSame(before, _volume.Disk.Snapshot());
    }

    [Fact]
    public void A_directory_whose_name_is_lost_is_found_by_its_sectors()
    {
        (ulong block, int slot) = _volume.Find("dir");
        ulong inode = Slot.InodeOf(_volume.ReadRecord("dir"));
        _volume.EditBlock(block, bytes => bytes[(slot / 4 * 512) + 70] ^= 1);
        CffsRepairReport report = _volume.Repair();
        Assert.Contains(report.Actions, action => action is { Code: "salvaged-directory" } && action.Inode == inode);
        using CffsVolume volume = CffsVolume.Open(_volume.Disk);
        Assert.Equal(new byte[100], volume.ReadAllBytes($"/lost+found/#{inode}/inside"));
    }

    /// <summary>Without a free map that can be believed: what shares blocks with files that are there is no file of which others have got the blocks.</summary>
    [Theory]
    [InlineData("originals")]
    [InlineData("clones")]
    public void Clones_and_snapshots_in_a_directory_that_was_found_are_kept(string lost)
    {
        byte[] original = [.. Enumerable.Range(0, 30_000).Select(i => (byte)(i / 77))];
        byte[] changed = [.. original];
        changed.AsSpan(5000, 3000).Fill(255);
        byte[] longer = [.. original, .. original];
        LeaveUnclean(volume =>
        {
            volume.CreateDirectory("originals");
            volume.CreateDirectory("clones");
            foreach (string name in (string[])["same", "changed", "longer"])
            {
                volume.WriteAllBytes($"originals/{name}", original);
                volume.CloneFile($"originals/{name}", $"clones/{name}");
            }

            using CffsFile file = volume.OpenFile("clones/changed", CffsOpenMode.Write);
            file.Write(5000, changed.AsSpan(5000, 3000));

            // Whatever is lost: the longer one was changed later than what it shares blocks with.
            using CffsFile appended = volume.OpenFile($"{lost}/longer", CffsOpenMode.Write);
            appended.Write(original.Length, original);
        });
        ulong inode = LoseName(lost);
        CffsRepairReport report = _volume.Repair();
        Assert.True(report.IsClean);
        Assert.DoesNotContain(report.Actions, action => action.Code == "stale");
        Assert.Empty(_volume.Check().Findings);
        using CffsVolume repaired = CffsVolume.Open(_volume.Disk);
        string there = lost == "clones" ? "originals" : "clones";
        string found = $"/lost+found/#{inode}";
        Assert.Equal(original, repaired.ReadAllBytes($"{found}/same"));
        Assert.Equal(original, repaired.ReadAllBytes($"{there}/same"));
        Assert.Equal(changed, repaired.ReadAllBytes($"{(lost == "clones" ? found : there)}/changed"));
        Assert.Equal(original, repaired.ReadAllBytes($"{(lost == "clones" ? there : found)}/changed"));
        Assert.Equal(longer, repaired.ReadAllBytes($"{found}/longer"));
        using CffsFile shared = repaired.OpenFile($"{found}/same");
        Assert.True(shared.ReadExtents()[0].IsShared);
    }

    /// <summary>A snapshot's copies are neither as long as what was changed since nor newer, but they were born at one moment with it.</summary>
    [Fact]
    public void A_snapshot_that_has_lost_its_name_is_kept()
    {
        byte[] old = [.. Enumerable.Range(0, 28_672).Select(i => (byte)(i / 77))];
        LeaveUnclean(volume =>
        {
            volume.CreateDirectory("now");
            volume.WriteAllBytes("now/grows", old);
            volume.CreateSnapshot("now", "then");
            using CffsFile file = volume.OpenFile("now/grows", CffsOpenMode.Write);
            file.SetLength(60_000);
        });
        ulong inode = LoseName("then");
        Assert.True(_volume.Repair().IsClean);
        Assert.Empty(_volume.Check().Findings);
        using CffsVolume repaired = CffsVolume.Open(_volume.Disk);
        Assert.Equal(old, repaired.ReadAllBytes($"/lost+found/#{inode}/grows"));
    }

    [Fact]
    public void A_file_in_a_directory_that_was_found_whose_blocks_are_another_files_is_gone()
    {
        LeaveUnclean(volume =>
        {
            volume.CreateDirectory("deleted");
            volume.WriteAllBytes("deleted/older", new byte[20_000]);
            volume.WriteAllBytes("deleted/good", new byte[20_000]);
            volume.WriteAllBytes("newer", new byte[30_000]);
        });
        byte[] newer = _volume.ReadRecord("newer");
        _volume.EditRecord("older", record => newer.AsSpan(Slot.Start, 8).CopyTo(record[Slot.Start..]));
        ulong inode = LoseName("deleted");
        CffsRepairReport report = _volume.Repair();
        Assert.True(report.IsClean);
        Assert.Single(report.Actions, action => action.Code == "stale");
        using CffsVolume repaired = CffsVolume.Open(_volume.Disk);
        Assert.False(repaired.Exists($"/lost+found/#{inode}/older"));
        Assert.Equal(20_000, repaired.ReadAllBytes($"/lost+found/#{inode}/good").Length);
    }

    /// <summary>Makes a directory's record none; what else is in its sector stays.</summary>
    private ulong LoseName(string directory)
    {
        ulong inode = Slot.InodeOf(_volume.ReadRecord(directory));
        _volume.EditRecord(directory, slot => slot[Slot.Kind] = 99);
        return inode;
    }

    /// <summary>Changes the volume and leaves it as a crash does, with everything in its place.</summary>
    private void LeaveUnclean(Action<CffsVolume> change)
    {
        CffsVolume volume = CffsVolume.Open(_volume.Disk);
        change(volume);
        volume.Sync();
        volume.Sync();
        volume.Disk.Checkpoint();
        volume.Abandon();
    }

    [Fact]
    public void Of_a_pack_that_is_lost_the_files_are_holes()
    {
        _volume.EditPack("one packed", slot => slot.Clear());
        Assert.True(_volume.Repair().IsClean);
        using CffsVolume volume = CffsVolume.Open(_volume.Disk);
        Assert.Equal(new byte[900], volume.ReadAllBytes("/packs/one packed"));
        Assert.Equal(new byte[900], volume.ReadAllBytes("/packs/two packed"));
    }

    [Fact]
    public void Of_two_files_in_one_place_of_a_pack_one_keeps_it()
    {
        _volume.EditRecord("two packed", slot => slot[Slot.Start] = 1);
        Assert.True(_volume.Repair().IsClean);
        using CffsVolume volume = CffsVolume.Open(_volume.Disk);
        Assert.Equal(DamagedVolume.Packed(1), volume.ReadAllBytes("/packs/one packed"));
        Assert.Equal(new byte[900], volume.ReadAllBytes("/packs/two packed"));
    }

    [Fact]
    public void A_packed_file_whose_name_is_illegal_takes_its_contents_to_lost_and_found()
    {
        _volume.EditRecord("two packed", slot => slot[Slot.Contents + 1] = (byte)'/');
        ulong inode = Slot.InodeOf(_volume.ReadRecord("one packed")) + 1;
        Assert.True(_volume.Repair().IsClean);
        using CffsVolume volume = CffsVolume.Open(_volume.Disk);
        Assert.Equal(DamagedVolume.Packed(1), volume.ReadAllBytes("/packs/one packed"));
        Assert.Equal(DamagedVolume.Packed(2), volume.ReadAllBytes($"/lost+found/#{inode}"));
    }

    [Fact]
    public void The_root_directory_gets_its_blocks_back()
    {
        _volume.EditBlock(_volume.Root, bytes => bytes[(Superblock.RecordSector * 512) + 9] ^= 1);
        Assert.True(_volume.Repair().IsClean);
        using CffsVolume volume = CffsVolume.Open(_volume.Disk);
        Assert.Equal(9000, volume.Stat("/file").Size);
        Assert.Equal(100, volume.Stat("/dir/inside").Size);
        Assert.Equal(2u, volume.Stat("/second-name").Links);
        Assert.Equal(5000, volume.ReadAllBytes("/two-names").Length);
        Assert.False(volume.Exists("/lost+found"));
    }

    [Fact]
    public void An_inode_without_names_gets_one()
    {
        ulong inode = Slot.InodeOf(_volume.ReadRecord("second-name"));
        foreach (string name in (string[])["two-names", "second-name"])
        {
            _volume.EditRecord(name, slot => slot[Slot.Kind] = 99);
        }

        Assert.True(_volume.Repair().IsClean);
        using CffsVolume volume = CffsVolume.Open(_volume.Disk);
        Assert.Equal(new byte[5000], volume.ReadAllBytes($"/lost+found/#{inode}"));
        Assert.Equal(1u, volume.Stat($"/lost+found/#{inode}").Links);
    }

    [Fact]
    public void A_block_of_a_directory_is_no_files_and_the_file_keeps_its_size()
    {
        byte[] directory = _volume.ReadRecord("dir");
        _volume.EditRecord("file", slot => directory.AsSpan(Slot.Start, 8).CopyTo(slot[Slot.Start..]));
        CffsRepairReport report = _volume.Repair();
        Assert.Contains(report.Actions, action => action is { Code: "block-twice" } && action.Inode == Slot.InodeOf(_volume.ReadRecord("file")));
        Assert.Equal(directory[..24], _volume.ReadRecord("dir")[..24]);
        using CffsVolume volume = CffsVolume.Open(_volume.Disk);
        Assert.Equal(9000, volume.Stat("/file").Size);
    }

    [Fact]
    public void Contents_that_two_files_point_to_are_shared_and_counted()
    {
        byte[] other = _volume.ReadRecord("other");
        _volume.EditRecord("file", slot => other.AsSpan(Slot.Start, 8).CopyTo(slot[Slot.Start..]));
        Assert.Contains(Verified.Check(_volume.Disk).Findings, finding => finding.Code == "owner-count");
        CffsRepairReport report = _volume.Repair();
        Assert.DoesNotContain(report.Actions, action => action.Code == "block-twice");
        using CffsVolume volume = CffsVolume.Open(_volume.Disk);
        using CffsFile file = volume.OpenFile("/file");
        Assert.True(file.ReadExtents()[0].IsShared);
        Assert.Equal(volume.ReadAllBytes("/other")[..4096], volume.ReadAllBytes("/file")[..4096]);
    }

    [Fact]
    public void A_second_record_of_a_name_goes_to_lost_and_found_with_its_contents()
    {
        byte[] file = _volume.ReadRecord("file");
        ulong inode = Slot.InodeOf(_volume.ReadRecord("tiny"));
        _volume.EditRecord("tiny", slot =>
        {
            slot[Slot.NameLength] = file[Slot.NameLength];
            file.AsSpan(Slot.NameHash, 4).CopyTo(slot[Slot.NameHash..]);
            file.AsSpan(Slot.Contents, 4).CopyTo(slot[Slot.Contents..]);
            BinaryPrimitives.WriteUInt32LittleEndian(slot[Slot.NameSequence..], 0);
        });
        Assert.True(_volume.Repair().IsClean);
        using CffsVolume volume = CffsVolume.Open(_volume.Disk);
        Assert.Equal(new byte[] { 1, 2, 3 }, volume.ReadAllBytes($"/lost+found/#{inode}"));
        Assert.Equal(9000, volume.Stat("/file").Size);
    }

    [Theory]
    [InlineData(130, 2)]
    [InlineData(2, 128)]
    [InlineData(2, 130)]
    public void What_XN_has_two_copies_of_is_made_anew_when_both_are_gone(ulong first, ulong count)
    {
        for (ulong block = first; block < first + count; block++)
        {
            _volume.EditBlock(block, bytes => bytes.Fill(0xA5));
        }

        if (first + count <= 130)
        {
            Assert.Contains(_volume.Check().Findings, finding => finding.Code == "xn-templates");
        }

        CffsRepairReport report = _volume.Repair();

        // Without any template and any root nothing says which numbers the templates had.
        Assert.Equal(count < 130, report.IsClean);
        if (count < 130)
        {
            _volume.AssertWhole();
        }
    }

    [Theory]
    [InlineData("superblock")]
    [InlineData("template")]
    [InlineData("roots")]
    [InlineData("free map")]
    [InlineData("directory")]
    [InlineData("tree")]
    public void Blocks_that_cannot_be_read(string what)
    {
        ulong block = what switch
        {
            "superblock" => 1,
            "template" => 3,
            "roots" => 131,
            "free map" => 132,
            "directory" => _volume.Find("inside").Block,
            _ => BinaryPrimitives.ReadUInt64LittleEndian(_volume.ReadRecord("sparse").AsSpan(Slot.Start)),
        };
        using BadBlockDevice disk = new(_volume.Disk, block);
        CffsCheckReport before = CffsCheck.Run(disk);
        Assert.Contains(before.Findings, finding => finding.Code is "unreadable" or "xn-superblock" or "xn-roots" or "free-map");
        CffsRepairReport report = CffsRepair.Run(disk);
        Assert.True(report.IsClean, string.Join("; ", report.After.Findings));
        using CffsVolume volume = CffsVolume.Open(disk);
        Assert.Equal(new byte[9000], volume.ReadAllBytes("/file"));
        Assert.Equal(400_001, volume.Stat("/sparse").Size);
    }

    [Fact]
    public void Another_file_system_on_the_disk_is_left_alone()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });
        using SimulatedBlockDevice device = new(frames, DiskContents.Zeroes(2048));
        ulong block;
        using (XnVolume disk = XnVolume.Format(device))
        {
            foreach (string name in (string[])["other", CffsVolume.DefaultRootName])
            {
                using CffsVolume volume = CffsVolume.Create(disk, name, new CffsCreateOptions { Seed = name.Length });
                volume.WriteAllBytes("file", new byte[30_000]);
            }

            Assert.Equal(XnStatus.Ok, disk.Unmount());
            block = disk.Roots.First(root => root.Name == "other").Block.Value;
        }

        Assert.Empty(Verified.Check(device).Findings);
        Assert.Empty(CffsCheck.Run(device, new CffsCheckOptions { RootName = "other" }).Findings);

        // A pointer of ours to a block of theirs.
        PointFileTo(device, block);
        CffsRepairReport report = CffsRepair.Run(device);
        Assert.True(report.IsClean, string.Join("; ", report.After.Findings));
        Assert.Empty(CffsCheck.Run(device, new CffsCheckOptions { RootName = "other" }).Findings);
    }

    [Fact]
    public void Findings_come_in_the_same_order_every_time_and_progress_is_told()
    {
        FuzzVolume fuzz = FuzzVolume.Clean.Value;
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });
        using SimulatedBlockDevice disk = new(frames, fuzz.Contents);
        Mutation mutation = new(fuzz, disk, frames, new Random(11));
        for (int i = 0; i < 12; i++)
        {
            mutation.Apply();
        }

        Steps steps = new();
        IReadOnlyList<CffsFinding> first = CffsCheck.Run(disk, null, steps).Findings;
        Assert.NotEmpty(first);
        Assert.True(steps.Count > 2);
        for (int i = 0; i < 10; i++)
        {
            Assert.Equal(first, Verified.Check(disk).Findings);
        }
    }

    [Fact]
    public void A_check_and_a_repair_can_be_cancelled_before_anything_is_written()
    {
        _volume.EditRecord("file", slot => slot[Slot.NameHash] ^= 1);
        DiskContents before = _volume.Disk.Snapshot();
        using CancellationTokenSource cancel = new();
        cancel.Cancel();
        Assert.Throws<OperationCanceledException>(() => CffsCheck.Run(_volume.Disk, new CffsCheckOptions { CancellationToken = cancel.Token }));
        Assert.Throws<OperationCanceledException>(() => CffsRepair.Run(_volume.Disk, new CffsRepairOptions { CancellationToken = cancel.Token }));
        AssertSame(before, _volume.Disk.Snapshot());
    }

    /// <summary>Lets the record of 'file' in the default root point somewhere.</summary>
    private static void PointFileTo(SimulatedBlockDevice device, ulong start)
    {
        FrameNumber[] frame = new FrameNumber[1];
        Assert.True(device.Frames.TryAllocate(device.Frames.RootCredential, out frame[0]));
        DiskContents contents = device.Snapshot();
        ulong[] guards = [.. Enumerable.Range(0, (int)contents.BlockCount).Select(i => (ulong)i).Where(i => BinaryPrimitives.ReadUInt32LittleEndian(contents[i][((3 * 512) + Sector.Magic)..]) == (uint)SectorKind.Guard)];
        ulong seed = VolumeGuard.TryParse(contents[guards[^1]].Slice(3 * 512, 512))!.ChecksumSeed;
        int edits = 0;
        for (ulong block = 0; block < (ulong)contents.BlockCount; block++)
        {
            if (block == guards[^1] || !Sector.IsValid(contents[block][..512], seed, block * 8, SectorKind.Slots, Superblock.RootInode) || Sector.IsEmpty(contents[block][..512]))
            {
                continue;
            }

            Span<byte> bytes = device.Frames.Bytes(frame[0]);
            contents[block].CopyTo(bytes);
            BinaryPrimitives.WriteUInt64LittleEndian(bytes[Slot.Start..], start);
            Sector.Seal(bytes[..512], seed, block * 8, SectorKind.Slots, Superblock.RootInode);
            BlockRequest[] write = [BlockRequest.Write(new BlockNumber(block), frame)];
            device.Execute(write);
            edits++;
        }

        device.Frames.Release(frame[0]);
        Assert.Equal(1, edits);
    }

    private static void AssertSame(DiskContents expected, DiskContents actual)
    {
        for (ulong block = 0; block < (ulong)expected.BlockCount; block++)
        {
            Assert.True(expected[block].SequenceEqual(actual[block]), $"block {block} was written");
        }
    }

    private sealed class Steps : IProgress<CffsCheckProgress>
    {
        public int Count { get; private set; }

        public void Report(CffsCheckProgress value) => Count++;
    }
}
