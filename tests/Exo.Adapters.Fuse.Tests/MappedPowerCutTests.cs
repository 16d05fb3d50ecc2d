// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Diagnostics;
using System.Globalization;
using Exo.Adapters.Fuse.Mounting;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS;
using Exo.FileSystems.CFFS.Verification;
using Exo.Simulation.Crashes;
using Exo.Simulation.Disks;
using Exo.Tests;

namespace Exo.Adapters.Fuse.Tests;

/// <summary>
/// A program writes through a map of a file on the mount, while every write to the disk is recorded; then the power is cut at each of those moments, with unflushed writes lost, reordered and torn. Whatever an msync
/// that had returned covered must be there: each sector as it was then, or as the program made it since.
/// </summary>
public sealed class MappedPowerCutTests(ITestOutputHelper output)
{
    private const int Generations = 14;
    private const int Sectors = 128;

    /// <summary>What the program said: that it begins a generation, or which half of one is durable.</summary>
    private sealed record Said(string What, int Generation);

    [Theory]
    [InlineData("noio_uring", 0)]
    [InlineData("noio_uring,writeback", 64)]
    [InlineData("io_uring,writeback", 0)]
    [InlineData("io_uring", 64)]
    public void What_msync_made_durable_is_there_after_a_power_cut(string mode, int logBlocks)
    {
        FuseMountOptions options = new FuseMountOptions { SyncInterval = TimeSpan.FromMilliseconds(20) }.With(mode);
        Requires.File("/dev/fuse");
        Requires.Root();
        Requires.That(options.Transport != FuseTransport.IoUring || FuseRingSwitch.IsThere, "FUSE over io_uring is not there, or this user may not switch it on");
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 32 << 20 });
        DiskContents start;
        using (SimulatedBlockDevice device = new(frames, DiskContents.Zeroes(2048)))
        {
            CffsVolume.Create(device, new CffsCreateOptions { Seed = 1, LogBlocks = logBlocks }).Dispose();
            start = device.Snapshot();
        }

        using SimulatedBlockDevice disk = new(frames, start, recorded: true);
        Record(disk, options);
        int states = 0;
        int kept = 0;
        foreach (CrashState state in CrashStates.Enumerate(disk.Recording!, new CrashExplorationOptions { Seed = logBlocks + 1, CutsMax = 80, StatesPerCutMax = 5 }))
        {
            states++;
            kept += Judge(state);
        }

        output.WriteLine($"{states} states, {kept} sectors that had to be there");
        Assert.True(states > 50 && kept > 1000, $"{states} states, {kept} sectors");
    }

    private static void Record(SimulatedBlockDevice disk, FuseMountOptions options)
    {
        string program = CProgram.Compile("msync");
        using TempFolder folder = new();
        string directory = folder["mnt"];
        Directory.CreateDirectory(directory);
        using CffsVolume volume = CffsVolume.Open(disk);
        using FuseMount mount = FuseMount.Start(volume, directory, options);

        // A call that is not answered must not hang the run: the mount is cut off.
        using Timer watch = new(_ => Process.Start("umount", ["-f", "-l", directory]).Dispose(), null, TimeSpan.FromSeconds(90), Timeout.InfiniteTimeSpan);
        using Process running = Process.Start(new ProcessStartInfo(program, [Path.Combine(directory, "f"), Generations.ToString(CultureInfo.InvariantCulture)])
        {
            RedirectStandardInput = true, RedirectStandardOutput = true,
        })!;
        while (running.StandardOutput.ReadLine() is { } line)
        {
            string[] words = line.Split(' ');
            disk.Recording!.Mark(new Said(words[0], int.Parse(words[1], CultureInfo.InvariantCulture)));
            running.StandardInput.WriteLine();
            running.StandardInput.Flush();
        }

        running.WaitForExit();
        Assert.Equal(0, running.ExitCode);
    }

    /// <summary>Looks at one state; returns how many sectors had to be there.</summary>
    private static int Judge(CrashState state)
    {
        Said[] said = [.. state.Marks.Select(mark => mark.Value).OfType<Said>()];
        int begun = said.LastOrDefault(one => one.What == "begun")?.Generation ?? 0;
        int[] durable = [said.LastOrDefault(one => one.What == "first")?.Generation ?? 0, said.LastOrDefault(one => one.What == "second")?.Generation ?? 0];
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 8 << 20 });
        using SimulatedBlockDevice disk = new(frames, state.Contents);
        AssertSound(disk, state);
        using CffsVolume volume = CffsVolume.Open(disk);
        if (begun == 0)
        {
            return 0;
        }

        byte[] bytes = volume.ReadAllBytes("/f");
        Assert.Equal(Sectors * 512, bytes.Length);
        int kept = 0;
        for (int sector = 0; sector < Sectors; sector++)
        {
            int least = Newest(sector, durable[sector / (Sectors / 2)]);
            ulong found = BinaryPrimitives.ReadUInt64LittleEndian(bytes.AsSpan(sector * 512));
            bool isWhole = true;
            for (int word = 0; word < 64; word++)
            {
                isWhole &= BinaryPrimitives.ReadUInt64LittleEndian(bytes.AsSpan((sector * 512) + (word * 8))) is var value
                    && (value == found || (value >= (ulong)least && value <= (ulong)begun));
            }

            Assert.True(
                isWhole && found >= (ulong)least && found <= (ulong)begun,
                $"{state.Description}: sector {sector} is of generation {found}{(isWhole ? "" : ", mixed with older ones")}; {least} was durable, {begun} begun");
            kept += least > 0 ? 1 : 0;
        }

        return kept;
    }

    /// <summary>The newest generation up to one that wrote a sector.</summary>
    private static int Newest(int sector, int generation) => generation > 0 && (sector + generation) % 3 == 0 ? generation - 1 : generation;

    private static void AssertSound(SimulatedBlockDevice disk, CrashState state)
    {
        DiskContents contents = disk.Snapshot();
        Verdict verdict = ImageVerifier.Verify(block => contents[block], (ulong)contents.BlockCount);
        Assert.True(verdict.IsSound, $"{state.Description}: {verdict}");
    }
}
