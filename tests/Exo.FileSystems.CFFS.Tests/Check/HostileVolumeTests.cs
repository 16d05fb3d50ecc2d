// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Layout;
using Exo.Simulation.Disks;
using Record = Exo.FileSystems.CFFS.Layout.Record;

namespace Exo.FileSystems.CFFS.Tests.Check;

/// <summary>Run alone: memory of the whole process is measured.</summary>
[CollectionDefinition(nameof(HostileVolumeTests), DisableParallelization = true)]
public sealed class MeasuredAlone;

/// <summary>A volume whose every record claims the whole disk: check and repair end, and use no more memory than they say.</summary>
[Collection(nameof(HostileVolumeTests))]
public sealed class HostileVolumeTests
{
    private const ulong Blocks = 1 << 18;
    private const int Records = 300;

    // CffsRepair.Run: four bits for each block, 400 bytes for each record, 700 for each changed sector, 24 for each directory block, 1 MiB. The records of this volume are some more than Records.
    private const long RepairBytesMax = (long)(Blocks / 2) + (2 * Records * 1200) + (1 << 20) + SimulatedDiskBytes + Slack;

    // The simulated disk keeps what is written, and a list of all blocks.
    private const long SimulatedDiskBytes = (long)(2 * 8 * Blocks) + (1000 * 4096);

    // Lists that double; the mount at the end.
    private const long Slack = 4 << 20;

    [Fact]
    public void Records_that_claim_the_whole_disk_cost_no_more_than_others()
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });
        using SimulatedBlockDevice disk = new(frames, DiskContents.Zeroes((long)Blocks));
        using (CffsVolume volume = CffsVolume.Create(disk, new CffsCreateOptions { Seed = 1, LogBlocks = 0 }))
        {
            for (int i = 0; i < Records; i++)
            {
                if (i % 3 == 0)
                {
                    volume.CreateDirectory($"/directory{i}");
                    volume.CreateDirectory($"/directory{i}/below");
                }
                else
                {
                    volume.WriteAllBytes($"/file{i}", new byte[5000]);
                }
            }
        }

        ClaimEverything(disk);
        Peak check = new();
        CffsCheckReport before = CffsCheck.Run(disk, new CffsCheckOptions { FindingsMax = 10 }, check);
        Assert.False(before.IsClean);
        Assert.True(check.Bytes < RepairBytesMax, $"the check needs {check.Bytes} bytes");

        Peak repair = new();
        CffsRepairReport report = CffsRepair.Run(disk, new CffsRepairOptions { FindingsMax = 10, Progress = repair });
        Assert.True(report.IsClean, string.Join("; ", report.After.Findings));
        Assert.True(repair.Bytes < RepairBytesMax, $"the repair needs {repair.Bytes} bytes");
        using CffsVolume repaired = CffsVolume.Open(disk);
        Assert.Equal(Records, repaired.ReadDirectory("/").Count(entry => entry.NameString != "lost+found"));
    }

    /// <summary>Every record but the built-in ones points to everything between the regions of XN and the end of the disk.</summary>
    private static void ClaimEverything(SimulatedBlockDevice disk)
    {
        FrameNumber[] frame = new FrameNumber[1];
        Assert.True(disk.Frames.TryAllocate(disk.Frames.RootCredential, out frame[0]));
        DiskContents contents = disk.Snapshot();
        ulong root = Enumerable.Range(0, 2000).Select(i => (ulong)i).First(i => BinaryPrimitives.ReadUInt32LittleEndian(contents[i][((3 * 512) + Sector.Magic)..]) == (uint)SectorKind.Guard);
        ulong seed = VolumeGuard.TryParse(contents[root].Slice(3 * 512, 512))!.ChecksumSeed;
        for (ulong block = 0; block < Blocks; block++)
        {
            bool isChanged = false;
            Span<byte> bytes = disk.Frames.Bytes(frame[0]);
            for (int s = 0; s < Sector.PerBlock && block != root; s++)
            {
                ReadOnlySpan<byte> sector = contents[block].Slice(s * Sector.SizeBytes, Sector.SizeBytes);
                ulong owner = BinaryPrimitives.ReadUInt64LittleEndian(sector[Sector.Owner..]);
                if (Sector.IsEmpty(sector) || !Sector.IsValid(sector, seed, (block * 8) + (ulong)s, SectorKind.Slots, owner))
                {
                    continue;
                }

                if (!isChanged)
                {
                    contents[block].CopyTo(bytes);
                    isChanged = true;
                }

                Span<byte> edit = bytes.Slice(s * Sector.SizeBytes, Sector.SizeBytes);
                for (int slot = 0; slot < Slot.PerSector; slot++)
                {
                    if (Record.TryParse(edit, slot, out Record record))
                    {
                        record.Start = 200;
                        record.Count = (uint)Blocks - 200 - (uint)slot;
                        record.Size = record.Count * 4096UL;
                        record.Depth = 0;
                        record.Emit(edit, slot);
                    }
                }

                Sector.Seal(edit, seed, (block * 8) + (ulong)s, SectorKind.Slots, owner);
            }

            if (isChanged)
            {
                BlockRequest[] write = [BlockRequest.Write(new BlockNumber(block), frame)];
                disk.Execute(write);
            }
        }

        disk.Frames.Release(frame[0]);
    }

    /// <summary>The most memory that was alive at any report of progress, beyond what was alive before.</summary>
    private sealed class Peak : IProgress<CffsCheckProgress>
    {
        private readonly long _before = GC.GetTotalMemory(forceFullCollection: true);
        private int _reports;

        public long Bytes { get; private set; }

        public void Report(CffsCheckProgress value)
        {
            if (_reports++ % 64 == 0)
            {
                Bytes = Math.Max(Bytes, GC.GetTotalMemory(forceFullCollection: true) - _before);
            }
        }
    }
}
