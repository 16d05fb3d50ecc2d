// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Tests.Crashes;
using Exo.Simulation.Crashes;
using Exo.Simulation.Disks;

namespace Exo.FileSystems.CFFS.Tests.Space;

/// <summary>Files that lie scattered come together; contents, names and times stay; power cuts leave each whole. <c>EXO_CRASH_SEEDS</c> cuts more.</summary>
public sealed class DefragmentTests : IDisposable
{
    private readonly FramePool _frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 16 << 20 });

    public void Dispose() => _frames.Dispose();

    [Fact]
    public void Scattered_files_come_together_and_nothing_else_changes()
    {
        using SimulatedBlockDevice disk = new(_frames, MakeStart(1));
        CffsVolume volume = CffsVolume.Open(disk);
        TreeSnapshot before = TreeSnapshot.Of(volume);
        long time = volume.Stat("/large0").ChangeTimeNs;
        ulong free = volume.GetSpace().FreeBlocks;
        CffsDefragmentReport plan = volume.Defragment(dryRun: true);
        Assert.Equal(0UL, plan.MovedBlocks);
        CffsDefragmentReport done = volume.Defragment();
        TestContext.Current.TestOutputHelper?.WriteLine($"{plan}\n{done}");
        Assert.Equal(plan.Before.RunsPerLargeFile, done.Before.RunsPerLargeFile);
        Assert.Equal(plan.Before.RequestsPer100SmallFiles, done.Before.RequestsPer100SmallFiles);
        Assert.True(done.MovedBlocks > 100, $"{done.MovedBlocks} blocks moved");
        Assert.True(done.Before.RunsPerLargeFile > 10 && done.After.RunsPerLargeFile < 2, $"{done.Before.RunsPerLargeFile} runs became {done.After.RunsPerLargeFile}");
        Assert.True(
            done.After.RequestsPer100SmallFiles * 2 < done.Before.RequestsPer100SmallFiles,
            $"{done.Before.RequestsPer100SmallFiles} requests became {done.After.RequestsPer100SmallFiles}");
        Assert.InRange(done.After.SmallFilesGrouped, done.Before.SmallFilesGrouped, 1);
        Assert.Null(before.DifferenceTo(TreeSnapshot.Of(volume)));
        Assert.Equal(time, volume.Stat("/large0").ChangeTimeNs);
        FullVolume.AssertCounts(volume);
        Assert.InRange(volume.GetSpace().FreeBlocks, free - 3, free + 3);
        volume.Dispose();
        AssertClean(disk);
        using CffsVolume again = CffsVolume.Open(disk);
        Assert.Null(before.DifferenceTo(TreeSnapshot.Of(again)));
    }

    [Fact]
    public void Blocks_that_small_files_share_come_together_as_they_are()
    {
        using SimulatedBlockDevice disk = new(_frames, MakeScatteredPacks());
        CffsVolume volume = CffsVolume.Open(disk);
        TreeSnapshot before = TreeSnapshot.Of(volume);
        ulong free = volume.GetSpace().FreeBlocks;
        CffsDefragmentReport done = volume.Defragment();
        TestContext.Current.TestOutputHelper?.WriteLine($"{done}");
        Assert.Equal(ScatteredFiles, done.Before.SmallFiles);
        Assert.Equal(ScatteredFiles, done.After.SmallFiles);
        Assert.InRange(done.MovedBlocks, (ulong)ScatteredFiles / 3, (ulong)ScatteredFiles);
        Assert.True(done.Before.RequestsPer100SmallFiles > 4 * done.After.RequestsPer100SmallFiles, $"{done}");
        Assert.Equal(free, volume.GetSpace().FreeBlocks);
        Assert.Null(before.DifferenceTo(TreeSnapshot.Of(volume)));

        // They are packed still: whoever grows one in place finds it so, and removing all gives everything back.
        Assert.Equal(0UL, volume.Defragment().MovedBlocks);
        FullVolume.AssertCounts(volume);
        volume.Dispose();
        AssertClean(disk);
        using CffsVolume again = CffsVolume.Open(disk);
        Assert.Null(before.DifferenceTo(TreeSnapshot.Of(again)));
    }

    /// <summary>Each thread has files of its own among all others', in two directories, and finds in them what it wrote last, whatever moves meanwhile.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Others_work_meanwhile(bool resizes)
    {
        const int Threads = 4;
        int steps = int.TryParse(Environment.GetEnvironmentVariable("EXO_THREADS_STEPS"), out int more) ? more * 10 : 400;
        using SimulatedBlockDevice disk = new(_frames, MakeScatteredPacks());
        using (CffsVolume volume = CffsVolume.Open(disk, new CffsOpenOptions { CacheBytes = 4 << 20 }))
        {
            ulong size = volume.GetSpace().TotalBlocks;
            bool isDone = false;
            Task moving = Task.Run(() =>
            {
                for (int round = 0; !Volatile.Read(ref isDone); round++)
                {
                    if (resizes)
                    {
                        volume.Resize(round % 2 == 0 ? size * 3 / 4 : size);
                    }

                    volume.Defragment();
                }
            });
            Task[] workers = [.. Enumerable.Range(0, Threads).Select(thread => Task.Run(() => Work(volume, thread, steps)))];
            Task first = await Task.WhenAny([moving, .. workers]);
            Volatile.Write(ref isDone, true);
            await first;
            await Task.WhenAll([moving, .. workers]);
            FullVolume.AssertCounts(volume);
        }

        AssertClean(disk);
    }

    private static void Work(CffsVolume volume, int thread, int steps)
    {
        Random random = new(thread);
        Dictionary<string, byte[]> model = [];
        for (int step = 0; step < steps; step++)
        {
            string path = $"/{(random.Next(2) == 0 ? "packs" : "more")}/{thread}-{random.Next(25)}";
            bool isThere = model.TryGetValue(path, out byte[]? contents);
            switch (random.Next(6))
            {
                case 0 when isThere:
                    volume.RemoveFile(path);
                    model.Remove(path);
                    break;
                case 1 when isThere:
                    using (CffsFile file = volume.OpenFile(path, CffsOpenMode.Write))
                    {
                        byte[] tail = FullVolume.Pattern(random.Next(1, 900), step);
                        file.Append(tail.AsMemory());
                        model[path] = [.. contents!, .. tail];
                    }

                    break;
                case 2 when isThere:
                    using (CffsFile file = volume.OpenFile(path, CffsOpenMode.Write))
                    {
                        byte[] part = FullVolume.Pattern(random.Next(1, 200), step);
                        int at = random.Next(contents!.Length);
                        file.Write(at, part.AsMemory());
                        byte[] next = new byte[Math.Max(contents.Length, at + part.Length)];
                        contents.CopyTo(next, 0);
                        part.CopyTo(next, at);
                        model[path] = next;
                    }

                    break;
                case < 4 when isThere:
                    Assert.Equal(contents, volume.ReadAllBytes(path));
                    break;
                default:
                    model[path] = FullVolume.Pattern(random.Next(1, 2500), step);
                    volume.WriteAllBytes(path, model[path]);
                    break;
            }

            if (step % 50 == 49)
            {
                volume.Sync();
            }
        }

        foreach ((string path, byte[] contents) in model)
        {
            Assert.Equal(contents, volume.ReadAllBytes(path));
        }
    }

    [Fact]
    public void A_power_cut_at_any_moment_leaves_every_file_whole()
    {
        int more = int.TryParse(Environment.GetEnvironmentVariable("EXO_CRASH_SEEDS"), out int seeds) ? seeds : 1;
        for (int seed = 1; seed <= more; seed++)
        {
            using SimulatedBlockDevice disk = new(_frames, MakeStart(seed, isSmall: true), recorded: true);
            CffsVolume volume = CffsVolume.Open(disk);
            TreeSnapshot before = TreeSnapshot.Of(volume);
            volume.Defragment();
            volume.Dispose();
            foreach (CrashState state in CrashStates.Enumerate(disk.Recording!, new CrashExplorationOptions { Seed = seed, CutsMax = 25, StatesPerCutMax = 2 }))
            {
                AssertWhole(state, before, seed);
            }
        }
    }

    /// <summary>Nine tenths are full, and no free run is long: room is made, and everything comes together nevertheless.</summary>
    [Fact]
    public void A_volume_that_is_nearly_full_comes_together_too()
    {
        using SimulatedBlockDevice disk = new(_frames, MakeAged(1, AgedBlocks));
        CffsVolume volume = CffsVolume.Open(disk);
        TreeSnapshot before = TreeSnapshot.Of(volume);
        ulong free = volume.GetSpace().FreeBlocks;
        Assert.InRange(free, 1UL, AgedBlocks / 8);
        CffsDefragmentReport done = volume.Defragment();
        TestContext.Current.TestOutputHelper?.WriteLine($"{done}");
        Assert.True(done.Before.RunsPerLargeFile > 2.5 && done.After.RunsPerLargeFile < 1.4, $"{done.Before.RunsPerLargeFile} runs became {done.After.RunsPerLargeFile}");
        Assert.True(
            done.After.RequestsPer100SmallFiles * 2 < done.Before.RequestsPer100SmallFiles,
            $"{done.Before.RequestsPer100SmallFiles} requests became {done.After.RequestsPer100SmallFiles}");
        Assert.Null(before.DifferenceTo(TreeSnapshot.Of(volume)));
        FullVolume.AssertCounts(volume);
        Assert.InRange(volume.GetSpace().FreeBlocks, free - (free / 4), free + (free / 4));

        // What lies well stays, but for what is tried again.
        ulong again = volume.Defragment().MovedBlocks;
        Assert.True(again < done.MovedBlocks / 2, $"{again} blocks moved again, after {done.MovedBlocks}");

        // No block is kept back from anybody.
        int filled = 0;
        void Fill()
        {
            for (; ; filled++)
            {
                volume.WriteAllBytes($"/fill{filled}", FullVolume.Pattern(16_384, filled));
            }
        }

        Assert.Equal(CffsError.NoSpace, Assert.Throws<CffsException>(Fill).Error);
        Assert.InRange((ulong)filled * 4, free / 2, free);
        volume.Dispose();
        AssertClean(disk);
    }

    /// <summary>Who needs a block that is only asked to become free gets it.</summary>
    [Fact]
    public async Task Who_writes_meanwhile_finds_all_the_room_that_there_is()
    {
        using SimulatedBlockDevice disk = new(_frames, MakeAged(2, AgedBlocks));
        using (CffsVolume volume = CffsVolume.Open(disk, new CffsOpenOptions { CacheBytes = 4 << 20 }))
        {
            long rooms = (long)volume.GetSpace().FreeBlocks - 150;
            Task writing = Task.Run(() =>
            {
                Random random = new(5);
                byte[] contents = FullVolume.Pattern((int)rooms * 4096, 1);
                for (int round = 0; round < 12; round++)
                {
                    // Nearly everything that is free, in one file; and gone again, and durably so.
                    volume.WriteAllBytes("/room", contents.AsMemory(0, contents.Length - random.Next(contents.Length / 8)));
                    volume.RemoveFile("/room");
                    volume.Sync();
                }
            });
            while (!writing.IsCompleted)
            {
                volume.Defragment();
            }

            await writing;
            FullVolume.AssertCounts(volume);
        }

        AssertClean(disk);
    }

    [Fact]
    public void A_power_cut_while_room_is_made_leaves_every_file_whole()
    {
        int more = int.TryParse(Environment.GetEnvironmentVariable("EXO_CRASH_SEEDS"), out int seeds) ? seeds : 1;
        for (int seed = 1; seed <= more; seed++)
        {
            using SimulatedBlockDevice disk = new(_frames, MakeAged(seed, AgedBlocks / 3), recorded: true);
            CffsVolume volume = CffsVolume.Open(disk);
            TreeSnapshot before = TreeSnapshot.Of(volume);
            CffsDefragmentReport done = volume.Defragment();
            Assert.True(done.MovedBlocks > 500, $"{done}");
            volume.Dispose();
            foreach (CrashState state in CrashStates.Enumerate(disk.Recording!, new CrashExplorationOptions { Seed = seed, CutsMax = 25, StatesPerCutMax = 2 }))
            {
                AssertWhole(state, before, seed);
            }
        }
    }

    private const ulong AgedBlocks = 12_000;

    /// <summary>Files made, appended to and removed at random until nine tenths are full, some times over.</summary>
    private DiskContents MakeAged(int seed, ulong blocks)
    {
        using SimulatedBlockDevice device = new(_frames, DiskContents.Zeroes((long)blocks));
        using (CffsVolume volume = CffsVolume.Create(device, new CffsCreateOptions { Seed = seed }))
        {
            Random random = new(seed);
            List<string> files = [];
            for (int d = 0; d < 12; d++)
            {
                volume.CreateDirectory($"/d{d}");
            }

            long written = 0;
            for (int made = 0; written < (long)blocks * 4096 * 2; made++)
            {
                CffsSpace space = volume.GetSpace();
                int choice = random.Next(100);
                if (files.Count > 0 && ((space.FreeBlocks + space.WillFreeBlocks) * 10 < space.TotalBlocks || choice < 25))
                {
                    int at = random.Next(files.Count);
                    volume.RemoveFile(files[at]);
                    files.RemoveAt(at);
                }
                else if (files.Count > 0 && choice < 50)
                {
                    using CffsFile file = volume.OpenFile(files[random.Next(files.Count)], CffsOpenMode.Write);
                    byte[] tail = FullVolume.Pattern(random.Next(1, 20_000), made);
                    file.Append(tail.AsMemory());
                    written += tail.Length;
                }
                else
                {
                    byte[] contents = FullVolume.Pattern(random.Next(10) < 6 ? random.Next(100, 9_000) : random.Next(9_000, 300_000), made);
                    files.Add($"/d{random.Next(12)}/f{made}");
                    volume.WriteAllBytes(files[^1], contents);
                    written += contents.Length;
                }

                if (made % 50 == 0)
                {
                    volume.Sync();
                }
            }
        }

        return device.Snapshot();
    }

    private const int ScatteredFiles = 240;

    /// <summary>Two directories, their small files made by turns, ten at a time, with something between that goes again. No window is kept over a close.</summary>
    private DiskContents MakeScatteredPacks()
    {
        using SimulatedBlockDevice device = new(_frames, DiskContents.Zeroes(6000));
        CffsVolume.Create(device, new CffsCreateOptions { Seed = 3 }).Dispose();
        string[] folders = ["/packs", "/more"];
        for (int round = 0; round < ScatteredFiles / 10; round++)
        {
            using CffsVolume volume = CffsVolume.Open(device);
            if (round < 2)
            {
                volume.CreateDirectory(folders[round]);
            }

            for (int i = 0; i < 10; i++)
            {
                volume.WriteAllBytes($"{folders[round % 2]}/{round}-{i}x", FullVolume.Pattern(600 + (round * 10) + i, i));
            }

            volume.WriteAllBytes($"/between{round}", FullVolume.Pattern(150_000, round));
        }

        using (CffsVolume volume = CffsVolume.Open(device))
        {
            for (int round = 0; round < ScatteredFiles / 10; round++)
            {
                volume.RemoveFile($"/between{round}");
            }
        }

        return device.Snapshot();
    }

    private static void AssertWhole(CrashState state, TreeSnapshot before, int seed)
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = 4 << 20 });
        using SimulatedBlockDevice cut = new(frames, state.Contents);
        AssertClean(cut);
        using CffsVolume again = CffsVolume.Open(cut);
        string? difference = before.DifferenceTo(TreeSnapshot.Of(again));
        Assert.True(difference is null, $"seed {seed}, {state.Description}: {difference}");
    }

    private static void AssertClean(SimulatedBlockDevice disk)
    {
        CffsCheckReport report = Verified.Check(disk);
        Assert.True(report.IsClean, string.Join("; ", report.Findings));
    }

    /// <summary>Two large files written by turns, in pieces; directories whose files have come one here, one there, because what lay between has gone.</summary>
    private DiskContents MakeStart(int seed, bool isSmall = false)
    {
        using SimulatedBlockDevice device = new(_frames, DiskContents.Zeroes(6000));
        using (CffsVolume volume = CffsVolume.Create(device, new CffsCreateOptions { Seed = seed }))
        {
            Random random = new(seed);
            int pieces = isSmall ? 12 : 60;
            for (int i = 0; i < pieces; i++)
            {
                // Made anew by each: no window is kept over a close.
                for (int f = 0; f < 2; f++)
                {
                    using CffsFile file = volume.OpenFile($"/large{f}", CffsOpenMode.Write | CffsOpenMode.Create);
                    file.Write(i * 3 * 4096, FullVolume.Pattern(3 * 4096, random.Next()).AsMemory());
                }

                volume.WriteAllBytes($"/between{i}", FullVolume.Pattern(100_000, i));
            }

            volume.CreateDirectory("/one");
            volume.CreateDirectory("/two");
            for (int i = 0; i < pieces * 4; i++)
            {
                volume.WriteAllBytes($"/one/{i}", FullVolume.Pattern(random.Next(500, 9000), i));
            }

            for (int i = 0; i < pieces * 4; i++)
            {
                if (i % 3 != 0)
                {
                    volume.RemoveFile($"/one/{i}");
                }
            }

            for (int i = 0; i < pieces; i++)
            {
                volume.RemoveFile($"/between{i}");
            }
        }

        return device.Snapshot();
    }
}
