// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Simulation.Disks;
using Exo.Simulation.Faults;
using Exo.Storage.XN.Tests.Stamped;

namespace Exo.Storage.XN.Tests.Log;

/// <summary>What can go wrong with a commit log, each thing by itself.</summary>
public sealed class CommitLogTests : IDisposable
{
    private const int LogBlocks = 32;

    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });
    private readonly SimulatedBlockDevice _device;
    private readonly FaultyBlockDevice _faulty;
    private readonly StampedTree _tree;
    private readonly StampedTree.Item _node;

    public CommitLogTests()
    {
        _device = new SimulatedBlockDevice(_frames, DiskContents.Zeroes(640), recorded: true);
        _faulty = new FaultyBlockDevice(_device, new FaultOptions { Seed = 1, WriteError = 1 }) { IsFailing = false };
        _tree = StampedTree.Format(_faulty, logBlocks: LogBlocks);
        Assert.Equal(XnStatus.Ok, _tree.AddNode(_tree.Root, 0, _tree.FindFree(0, 1)!.Value.First, out StampedTree.Item? node));
        _node = node!;
        _tree.Sync();
    }

    private XnVolume Disk => _tree.Disk;

    public void Dispose()
    {
        Disk.Dispose();
        _faulty.Dispose();
        _device.Dispose();
        _frames.Dispose();
    }

    [Fact]
    public void A_commit_is_one_write_that_is_durable_by_itself()
    {
        AddData(3);
        int before = _device.Recording!.Requests.Count;
        Assert.True(Disk.TryCommit(_tree.Key));
        Assert.Equal((0, 0), (Disk.DirtyBlocks, Disk.UnflushedBlocks));
        Assert.True(Assert.Single(_device.Recording.Requests.Skip(before)).ForceUnitAccess);
        Assert.Equal(2, Disk.BlocksInLog);
        Assert.True(Disk.TryCommit(_tree.Key));
        Assert.Equal(before + 1, _device.Recording.Requests.Count);
    }

    [Fact]
    public void What_is_in_the_log_is_there_after_a_crash_and_read_only_attachment_writes_nothing()
    {
        StampedTree.Item item = AddData(3);
        Assert.True(Disk.TryCommit(_tree.Key));
        DiskContents crashed = _device.Snapshot();
        Assert.NotEqual(item.Serial, BinaryPrimitives.ReadUInt64LittleEndian(crashed[item.Block.Value]));
        using SimulatedBlockDevice disk = new(_frames, crashed, recorded: true);
        using (XnVolume readOnly = XnVolume.Attach(disk, new XnAttachOptions { ReadOnly = true }))
        {
            Assert.DoesNotContain(disk.Recording!.Requests, request => request.Operation != BlockOperation.Read);
            Assert.False(IsFree(readOnly, item.Block));
            FrameNumber[] frame = [Frame()];
            BlockRequest[] read = [BlockRequest.Read(item.Block, frame)];
            readOnly.Device.Execute(read);
            Assert.Equal(item.Serial, BinaryPrimitives.ReadUInt64LittleEndian(_frames.Bytes(frame[0])));
            _frames.Release(frame[0]);
        }

        using XnVolume volume = XnVolume.Attach(disk);
        Assert.False(IsFree(volume, item.Block));
        Assert.Equal(item.Serial, BinaryPrimitives.ReadUInt64LittleEndian(disk.Snapshot()[item.Block.Value]));
    }

    [Fact]
    public void What_is_written_in_place_later_is_not_undone_by_a_replay()
    {
        StampedTree.Item item = AddData(3);
        Assert.True(Disk.TryCommit(_tree.Key));
        Assert.Equal(XnStatus.Ok, Disk.MarkDirty(_tree.Key, item.Block, 1));
        Assert.True(Disk.TryGetFrame(_tree.Key, item.Block, out FrameNumber frame));
        _frames.Bytes(frame)[1000] = 77;
        _frames.Release(frame);
        Assert.Equal(XnStatus.Ok, Disk.WriteBack(_tree.Key, [item.Block]));
        Disk.Flush();
        Assert.Equal((1, 0), (Disk.Counters.Checkpoints, Disk.BlocksInLog));
        using SimulatedBlockDevice disk = new(_frames, _device.Snapshot());
        XnVolume.Attach(disk).Dispose();
        Assert.Equal(77, disk.Snapshot()[item.Block.Value][1000]);
    }

    [Fact]
    public void A_freed_block_is_nobodys_until_the_log_begins_anew()
    {
        StampedTree.Item item = AddData(3);
        Assert.True(Disk.TryCommit(_tree.Key));
        Assert.Equal(XnStatus.Ok, _tree.Remove(item));
        Assert.True(Disk.TryCommit(_tree.Key));
        Assert.False(IsFree(Disk, item.Block));
        Assert.Equal(1UL, Disk.WillFreeBlocks);
        Disk.Checkpoint();
        Assert.True(IsFree(Disk, item.Block));
        Assert.Equal((0UL, 0), (Disk.WillFreeBlocks, Disk.BlocksInLog));
    }

    [Fact]
    public void A_block_that_is_freed_and_not_durably_so_is_brought_home_all_the_same()
    {
        StampedTree.Item item = AddData(3);
        Assert.True(Disk.TryCommit(_tree.Key));
        Assert.Equal(XnStatus.Ok, _tree.Remove(item));
        Disk.Checkpoint();
        DiskContents crashed = _device.Snapshot();
        Assert.Equal(item.Serial, BinaryPrimitives.ReadUInt64LittleEndian(crashed[item.Block.Value]));
        using SimulatedBlockDevice disk = new(_frames, crashed);
        using XnVolume volume = XnVolume.Attach(disk);
        Assert.False(IsFree(volume, item.Block));
    }

    [Fact]
    public void Live_blocks_stay_in_core_until_they_are_home()
    {
        StampedTree.Item item = AddData(3);
        Assert.True(Disk.TryCommit(_tree.Key));
        Assert.Equal(XnStatus.NotDurable, Disk.Unbind(_tree.Key, item.Block));
        Disk.Checkpoint();
        Assert.Equal(XnStatus.Ok, Disk.Unbind(_tree.Key, item.Block));
        Assert.Equal(item.Serial, Read(item));
    }

    [Fact]
    public void A_shared_block_that_leaves_the_registry_is_found_again()
    {
        StampedTree.Item item = AddData(3);
        Assert.True(Disk.TryCommit(_tree.Key));
        Assert.Equal(XnStatus.Ok, _tree.Share(item, _tree.Root, 9, out StampedTree.Item? other));
        Assert.True(Disk.TryCommit(_tree.Key));
        Assert.Equal(XnStatus.Ok, _tree.Remove(item));
        Assert.False(Disk.TryGetEntry(item.Block, out _));
        Assert.Equal(item.Serial, Read(other!));
        Assert.True(Disk.TryCommit(_tree.Key));
        Disk.Checkpoint();
        Assert.Equal(item.Serial, BinaryPrimitives.ReadUInt64LittleEndian(_device.Snapshot()[item.Block.Value]));
    }

    [Fact]
    public void A_failed_write_leaves_everything_dirty_and_the_next_commit_is_good()
    {
        StampedTree.Item item = AddData(3);
        int dirty = Disk.DirtyBlocks;
        _faulty.IsFailing = true;
        Assert.Throws<BlockDeviceException>(() => Disk.TryCommit(_tree.Key));
        Assert.Equal(dirty, Disk.DirtyBlocks);
        Assert.True(Disk.TryGetEntry(item.Block, out RegistryEntryInfo entry));
        Assert.False(entry.IsInitialised);
        Assert.True(Disk.TryGetEntry(_node.Block, out entry));
        Assert.Equal(1, entry.PendingBelow);
        _faulty.IsFailing = false;
        Assert.True(Disk.TryCommit(_tree.Key));
        Assert.Equal((0, 1L), (Disk.DirtyBlocks, Disk.Counters.Checkpoints));
        using SimulatedBlockDevice disk = new(_frames, _device.Snapshot());
        using XnVolume volume = XnVolume.Attach(disk);
        Assert.False(IsFree(volume, item.Block));
    }

    [Fact]
    public void A_full_log_begins_anew_and_what_is_too_much_is_refused()
    {
        StampedTree.Item item = AddData(3);
        for (int i = 0; i < 3 * LogBlocks; i++)
        {
            Assert.Equal(XnStatus.Ok, Disk.MarkDirty(_tree.Key, item.Block, 1));
            Assert.True(Disk.TryCommit(_tree.Key));
        }

        Assert.True(Disk.Counters.Checkpoints >= 2, $"{Disk.Counters.Checkpoints} checkpoints");
        Assert.Equal(XnStatus.Ok, _tree.AddData(_node, 4, _tree.FindFree(0, LogBlocks + 8)!.Value, out StampedTree.Item? large));
        for (uint i = 0; i < large!.Extent.Count; i++)
        {
            Assert.True(Disk.TryGetFrame(_tree.Key, large.Block + i, out FrameNumber frame));
            _frames.Bytes(frame)[16..].Fill(1);
            _frames.Release(frame);
        }

        long commits = Disk.Counters.Commits;
        Assert.False(Disk.TryCommit(_tree.Key));
        Assert.Equal(commits, Disk.Counters.Commits);
        _tree.Sync();
        Assert.Equal(0, Disk.DirtyBlocks);
    }

    [Fact]
    public void After_an_unmount_the_log_says_nothing()
    {
        StampedTree.Item item = AddData(3);
        Assert.True(Disk.TryCommit(_tree.Key));
        Assert.Equal(XnStatus.Ok, Disk.Unmount());
        Assert.Equal(item.Serial, BinaryPrimitives.ReadUInt64LittleEndian(_device.Snapshot()[item.Block.Value]));
        XnSuperblockPair pair = new(_device);
        pair.Load();
        Assert.Null(LogScan.Read(_device, pair.Current));

        // The next change begins another epoch: even a superblock that says unclean finds nothing of this one.
        AddData(5);
        pair.Load();
        Assert.Null(LogScan.Read(_device, pair.Current));
    }

    [Fact]
    public void A_volume_without_a_log_works_as_ever()
    {
        using SimulatedBlockDevice device = new(_frames, DiskContents.Zeroes(512));
        StampedTree tree = StampedTree.Format(device);
        Assert.Equal(XnStatus.Ok, tree.AddData(tree.Root, 1, tree.FindFree(0, 2)!.Value, out _));
        Assert.False(tree.Disk.TryCommit(tree.Key));
        tree.Disk.Checkpoint();
        tree.Sync();
        Assert.Equal(0U, tree.Disk.Layout.Log.Count);
        tree.Disk.Dispose();
    }

    /// <summary>Damage of any kind in the log: a volume is attached, and of the transactions those before the damage count, no others.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void A_damaged_log_replays_what_is_whole_before_the_damage(int seed)
    {
        Random random = new(seed);
        ulong start = Disk.Layout.Log.First.Value;
        List<(ulong End, ulong Serial, BlockNumber Block)> commits = [];
        for (int i = 0; i < 6; i++)
        {
            StampedTree.Item item = AddData(3 + i);
            Assert.True(Disk.TryCommit(_tree.Key));
            RequestEnd(out ulong end);
            commits.Add((end, item.Serial, item.Block));
        }

        DiskContents crashed = _device.Snapshot();
        for (int i = 0; i < 60; i++)
        {
            ulong at = start + (ulong)random.Next((int)(commits[^1].End - start));
            byte[] noise = new byte[random.Next(1, 600)];
            random.NextBytes(noise);
            int offset = random.Next(4096 - noise.Length);
            if (crashed[at].Slice(offset, noise.Length).SequenceEqual(noise))
            {
                continue;
            }

            using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 2 << 20 });
            using SimulatedBlockDevice disk = new(frames, crashed);
            Patch(disk, at, offset, noise);
            using XnVolume volume = XnVolume.Attach(disk);
            foreach ((ulong end, ulong serial, BlockNumber block) in commits)
            {
                Assert.Equal(end <= at, !IsFree(volume, block));
                Assert.Equal(end <= at, BinaryPrimitives.ReadUInt64LittleEndian(disk.Snapshot()[block.Value]) == serial);
            }
        }
    }

    /// <summary>Transactions with good checksums and any contents: lies are carried out or passed over, and never leave the data region.</summary>
    [Fact]
    public void A_liar_with_good_checksums_reaches_no_block_of_XN()
    {
        AddData(3);
        Assert.True(Disk.TryCommit(_tree.Key));
        XnSuperblockPair pair = new(_device);
        pair.Load();
        DiskContents crashed = _device.Snapshot();
        Random random = new(5);
        byte[] block = new byte[4096];
        for (int i = 0; i < 200; i++)
        {
            random.NextBytes(block);
            int entries = random.Next(4) == 0 ? random.Next(-5, 400) : random.Next(0, 20);
            LogRecord.EmitHeader(block, new LogRecord.Header(pair.Current.VolumeId, pair.Current.LogEpoch, 1, random.Next(5) == 0 ? random.Next(-1, 40) : 1, entries));
            for (int e = 0; e < Math.Clamp(entries, 0, 100); e++)
            {
                LogRecord.EmitEntry(
                    block.AsSpan(64 + (e * 16)), new LogRecord.Entry(random.Next(3) == 0 ? (ulong)random.NextInt64() : (ulong)random.Next(640), (byte)random.Next(256), (byte)random.Next(256)));
            }

            LogRecord.WriteChecksum(block, LogRecord.Begin(pair.Current.LogStart, block));
            using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 2 << 20 });
            using SimulatedBlockDevice disk = new(frames, crashed);
            Patch(disk, pair.Current.LogStart, 0, block);
            using XnVolume volume = XnVolume.Attach(disk);
            for (ulong own = 0; own < pair.Current.DataStart; own++)
            {
                Assert.True(own == pair.Current.LogStart || crashed[own].SequenceEqual(disk.Snapshot()[own]), $"block {own} was written");
            }
        }
    }

    [Theory]
    [InlineData(0, 16, 0x01)]
    [InlineData(500, 24, 0x03)]
    [InlineData(512, 512, 0x02)]
    [InlineData(0, 4096, 0xFF)]
    [InlineData(4095, 1, 0x80)]
    [InlineData(100, 0, 0x00)]
    public void Sectors_that_a_range_touches(int offset, int length, int sectors) => Assert.Equal((byte)sectors, BlockRegistry.SectorsOf(offset, length));

    /// <summary>Sectors that end with a CRC of their own can be exchanged for one another without a CRC over all of them noticing; the log's checksum notices.</summary>
    [Fact]
    public void A_stale_sector_with_a_good_checksum_of_its_own_is_seen()
    {
        byte[] block = new byte[4096];
        byte[] other = new byte[4096];
        Random random = new(3);
        random.NextBytes(block);
        block.CopyTo(other, 0);
        random.NextBytes(other.AsSpan(512, 508));
        foreach (byte[] each in new[] { block, other })
        {
            BinaryPrimitives.WriteUInt32LittleEndian(each.AsSpan(1020), Crc(each.AsSpan(512, 508)));
        }

        Assert.Equal(Crc(block), Crc(other));
        Assert.NotEqual(LogRecord.Begin(7, block), LogRecord.Begin(7, other));
    }

    private static uint Crc(ReadOnlySpan<byte> bytes)
    {
        uint crc = ~0u;
        foreach (byte value in bytes)
        {
            crc = System.Numerics.BitOperations.Crc32C(crc, value);
        }

        return ~crc;
    }

    private static void Patch(SimulatedBlockDevice disk, ulong block, int offset, ReadOnlySpan<byte> bytes)
    {
        FrameNumber[] frame = new FrameNumber[1];
        Assert.True(disk.Frames.TryAllocate(disk.Frames.RootCredential, out frame[0]));
        BlockRequest[] request = [BlockRequest.Read(new BlockNumber(block), frame)];
        disk.Execute(request);
        bytes.CopyTo(disk.Frames.Bytes(frame[0])[offset..]);
        request = [BlockRequest.Write(new BlockNumber(block), frame)];
        disk.Execute(request);
        disk.Frames.Release(frame[0]);
    }

    private static bool IsFree(XnVolume volume, BlockNumber block) => (volume.FreeMap[(int)(block.Value / 64)] >> (int)(block.Value % 64) & 1) != 0;

    private StampedTree.Item AddData(int entry)
    {
        Assert.Equal(XnStatus.Ok, _tree.AddData(_node, entry, _tree.FindFree(0, 1)!.Value, out StampedTree.Item? item));
        return item!;
    }

    private FrameNumber Frame()
    {
        Assert.True(_frames.TryAllocate(_frames.RootCredential, out FrameNumber frame));
        return frame;
    }

    private ulong Read(StampedTree.Item item)
    {
        FrameNumber[] frames = [Frame()];
        Disk.Read(_tree.Key, [new XnReadRequest(item.Parent!.Block, item.Entry, item.Extent)], frames, out int unused);
        foreach (FrameNumber frame in frames.AsSpan(0, unused))
        {
            _frames.Release(frame);
        }

        Assert.True(Disk.TryGetFrame(_tree.Key, item.Block, out FrameNumber found));
        ulong serial = BinaryPrimitives.ReadUInt64LittleEndian(_frames.Bytes(found));
        _frames.Release(found);
        return serial;
    }

    private void RequestEnd(out ulong end)
    {
        Simulation.Recording.RecordedRequest last = _device.Recording!.Requests[^1];
        end = last.FirstBlock.Value + (ulong)last.BlockCount;
    }
}
