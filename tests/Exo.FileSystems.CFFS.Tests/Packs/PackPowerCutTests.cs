// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Directories;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Relocation;
using Exo.FileSystems.CFFS.Tests.Crashes;
using Exo.FileSystems.CFFS.Volume;
using Exo.Simulation.Crashes;
using Exo.Simulation.Disks;
using Exo.Simulation.Recording;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Tests.Packs;

/// <summary>
/// Power cuts while small files come, go and are replaced in shared blocks: a file that is there has its own bytes, all of one version and of one that it had since the last sync. Another's bytes in
/// it would be the sign that sectors were given to another too early, or that a record overtook its contents.
/// </summary>
public sealed class PackPowerCutTests
{
    private const int Files = 8;

    public static TheoryData<int> Seeds => PowerCutTests.Seeds;

    [Theory]
    [MemberData(nameof(Seeds))]
    public void A_file_has_its_own_bytes_or_is_not_there(int seed)
    {
        List<(int At, int[] Versions)> durable = [];
        DiskRecording recording = Record(seed, durable);
        int states = MarkedStates.Check<int>(
            recording, new CrashExplorationOptions { Seed = seed, CutsMax = 60, StatesPerCutMax = 8 }, (state, moment) => Check(state, moment is { } last ? durable[last] : (0, new int[Files])));
        Assert.True(states > 60, $"{states} states");
    }

    private static DiskRecording Record(int seed, List<(int At, int[] Versions)> durable)
    {
        Random random = new(seed);
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 4 << 20 });
        DiskContents start;
        using (SimulatedBlockDevice device = new(frames, DiskContents.Zeroes(2048)))
        {
            CffsVolume.Create(device, new CffsCreateOptions { Seed = seed, LogBlocks = seed % 2 == 0 ? 0 : 64 }).Dispose();
            start = device.Snapshot();
        }

        using SimulatedBlockDevice disk = new(frames, start, recorded: true);
        using CffsVolume volume = CffsVolume.Open(disk, new CffsOpenOptions { BehindFromBytes = seed % 4 < 2 ? CffsOpenOptions.BehindFromBytesDefault : 4096 });
        int[] versions = new int[Files];
        for (int i = 1; i < 150; i++)
        {
            int file = random.Next(Files);
            string path = $"/{file}";
            switch (random.Next(7))
            {
                case 0 when versions[file] != 0:
                    volume.RemoveFile(path);
                    versions[file] = 0;
                    break;
                case 1 when versions[file] != 0:
                    volume.ReplaceAllBytes(path, Contents(file, i, random.Next(400, 2048)));
                    versions[file] = i;
                    break;
                case 2:
                    volume.Sync();
                    durable.Add((i, (int[])versions.Clone()));
                    disk.Recording!.Mark(durable.Count - 1);
                    break;
                case 3:
                    MovePacks(volume, random);
                    break;
                default:
                    if (versions[file] == 0)
                    {
                        volume.WriteAllBytes(path, Contents(file, i, random.Next(400, 2048)));
                        versions[file] = i;
                    }

                    break;
            }
        }

        volume.Dispose();
        return disk.Recording!;
    }

    /// <summary>Some of the root's packs go somewhere else, as a defragmentation moves them.</summary>
    private static void MovePacks(CffsVolume volume, Random random)
    {
        VolumeCore core = volume.Core;
        for (uint sector = 0; sector < 2 * Files && core.Root.Map.TryFind(0, out _); sector += Slot.PerSector)
        {
            SlotPlace place = core.Directories.PlaceAsync(core.Root, sector, IoMode.Sync).Take();
            bool isThere = Pack.TryFind(core.Directories.SectorOf(place), out _, out ulong pack);
            core.Cache.Release(place.Frame);
            if (isThere && random.Next(2) == 0)
            {
                uint distance = (uint)random.Next(1, 200);
                MoveOutcome outcome = core.Moves.MovePackAsync(
                    core.Root, sector, new BlockNumber(pack), () => core.Allocator.TryFindRun(distance, out BlockExtent run) ? run with { First = run.End - 1, Count = 1 } : null, IoMode.Sync).Take();
                Assert.Equal(MoveOutcome.Moved, outcome);
            }
        }
    }

    private static void Check(CrashState state, (int At, int[] Versions) durable)
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 4 << 20 });
        using SimulatedBlockDevice disk = new(frames, state.Contents);
        using (CffsVolume volume = CffsVolume.Open(disk))
        {
            for (int file = 0; file < Files; file++)
            {
                if (!volume.Exists($"/{file}"))
                {
                    continue;
                }

                byte[] contents = volume.ReadAllBytes($"/{file}");
                int version = BinaryPrimitives.ReadInt32LittleEndian(contents.AsSpan(4));
                Assert.Equal(Contents(file, version, contents.Length), contents);
                int oldest = durable.Versions[file] > 0 ? durable.Versions[file] : durable.At;
                Assert.True(version >= oldest, $"file {file} is of version {version}, older than {oldest}");
            }

            volume.WriteAllBytes("/after", new byte[1000]);
        }

        Assert.Empty(Verified.Check(disk).Findings);
    }

    private static byte[] Contents(int file, int version, int length)
    {
        byte[] bytes = new byte[length];
        for (int i = 0; i + 8 <= length; i += 8)
        {
            BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(i), file);
            BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(i + 4), version);
        }

        return bytes;
    }
}
