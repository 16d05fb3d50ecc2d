// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Core.Memory;
using Exo.Simulation.Crashes;
using Exo.Simulation.Disks;
using Exo.Simulation.Recording;

namespace Exo.FileSystems.CFFS.Tests.Crashes;

/// <summary>
/// Power cuts while files are replaced, most of them without a sync between the new contents and the rename: each is always there, whole, and never older than what was durable.
/// The same seeds as <see cref="PowerCutTests"/>.
/// </summary>
public sealed class ReplacePowerCutTests
{
    private const int Files = 5;

    public static TheoryData<int> Seeds => PowerCutTests.Seeds;

    [Theory]
    [MemberData(nameof(Seeds))]
    public void A_replaced_file_is_the_old_one_or_the_new_one(int seed)
    {
        DiskRecording recording = Record(seed);
        int states = 0;
        foreach (CrashState state in CrashStates.Enumerate(recording, new CrashExplorationOptions { Seed = seed, CutsMax = 60, StatesPerCutMax = 8 }))
        {
            states++;
            try
            {
                Check(state);
            }
            catch (Exception failure)
            {
                throw new InvalidOperationException($"seed {seed}, {state.Description}: {failure.Message}", failure);
            }
        }

        Assert.True(states > 60, $"{states} states");
    }

    private static DiskRecording Record(int seed)
    {
        Random random = new(seed);
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 4 << 20 });
        DiskContents start;
        using (SimulatedBlockDevice device = new(frames, DiskContents.Zeroes(2048)))
        {
            using CffsVolume made = CffsVolume.Create(device, new CffsCreateOptions { Seed = seed, LogBlocks = seed % 2 == 0 ? 0 : 64 });
            for (int i = 0; i < Files; i++)
            {
                made.WriteAllBytes($"/{i}", Contents(0, 3000));
            }

            made.Dispose();
            start = device.Snapshot();
        }

        using SimulatedBlockDevice disk = new(frames, start, recorded: true);
        using CffsVolume volume = CffsVolume.Open(disk);
        int[] versions = new int[Files];
        disk.Recording!.Mark((int[])versions.Clone());
        for (int i = 1; i < 60; i++)
        {
            int file = random.Next(Files);
            int length = random.Next(6) switch { 0 => 100, 1 => 70_000 + random.Next(60_000), _ => 8 + random.Next(20_000) };
            volume.ReplaceAllBytes($"/{file}", Contents(i, length));
            versions[file] = i;
            if (random.Next(3) == 0)
            {
                volume.WriteAllBytes($"/other {random.Next(4)}", Contents(i, random.Next(9000) + 8));
            }

            if (random.Next(8) == 0)
            {
                volume.Sync();
                disk.Recording.Mark((int[])versions.Clone());
            }
        }

        volume.Dispose();
        return disk.Recording;
    }

    private static void Check(CrashState state)
    {
        int[] durable = state.Marks.Count == 0 ? new int[Files] : (int[])state.Marks[^1].Value!;
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 4 << 20 });
        using SimulatedBlockDevice disk = new(frames, state.Contents);
        using (CffsVolume volume = CffsVolume.Open(disk))
        {
            for (int i = 0; i < Files; i++)
            {
                byte[] now = volume.ReadAllBytes($"/{i}");
                int version = BinaryPrimitives.ReadInt32LittleEndian(now);
                Assert.Equal(now.Length, BinaryPrimitives.ReadInt32LittleEndian(now.AsSpan(4)));
                Assert.True(now.AsSpan(8).IndexOfAnyExcept((byte)version) < 0, $"version {version} of file {i} is not whole");
                Assert.True(version >= durable[i], $"file {i} is version {version}, {durable[i]} was durable");
            }
        }

        Assert.Empty(Verified.Check(disk).Findings);
    }

    /// <summary>Version, length, and the version's low byte throughout.</summary>
    private static byte[] Contents(int version, int length)
    {
        byte[] contents = new byte[length];
        Array.Fill(contents, (byte)version);
        BinaryPrimitives.WriteInt32LittleEndian(contents, version);
        BinaryPrimitives.WriteInt32LittleEndian(contents.AsSpan(4), length);
        return contents;
    }
}
