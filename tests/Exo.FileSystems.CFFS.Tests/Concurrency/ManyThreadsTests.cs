// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Simulation.Disks;

namespace Exo.FileSystems.CFFS.Tests.Concurrency;

/// <summary>
/// 32 threads at once. Each has a directory of its own, which must be what its model says; all share one, in which what they do commutes, so that the end can be told without knowing the order.
/// <c>EXO_THREADS_STEPS=100000</c> makes it a matter of minutes, <c>EXO_THREADS_SEED</c> another run. Which thread runs when is not in the seed.
/// </summary>
public sealed class ManyThreadsTests
{
    private const int Threads = 32;
    private const int ContestedNames = 8;
    private const int RecordBytes = 64;

    private static readonly int s_steps = int.TryParse(Environment.GetEnvironmentVariable("EXO_THREADS_STEPS"), out int steps) ? steps : 60;
    private static readonly int s_seed = int.TryParse(Environment.GetEnvironmentVariable("EXO_THREADS_SEED"), out int seed) ? seed : 1;

    private readonly int[] _made = new int[ContestedNames];
    private readonly int[] _removed = new int[ContestedNames];
    private readonly int[] _appended = new int[Threads];
    private int _links;
    private volatile bool _failed;

    /// <summary>Small: frames run out, blocks are let go and read again all the time.</summary>
    [Theory]
    [InlineData(64)]
    [InlineData(6)]
    public void What_each_has_done_is_there_and_what_all_have_done_adds_up(int cacheMebibytes)
    {
        using FramePool frames = FramePool.Create(new FramePoolOptions { CapacityBytes = cacheMebibytes << 20 });
        using SimulatedBlockDevice disk = new(frames, DiskContents.Zeroes(65_536));
        TreeModel[] models = [.. Enumerable.Range(0, Threads).Select(_ => new TreeModel())];
        using (CffsVolume volume = CffsVolume.Create(disk, new CffsCreateOptions { Seed = s_seed }))
        {
            volume.CreateDirectory("/all");
            volume.CreateDirectory("/all/static");
            volume.WriteAllBytes("/all/static/file", new byte[300]);
            volume.WriteAllBytes("/all/linked", new byte[300]);
            volume.WriteAllBytes("/all/log", ReadOnlyMemory<byte>.Empty);
            for (int i = 0; i < Threads; i++)
            {
                volume.CreateDirectory($"/own-{i}");
            }

            List<Exception> failures = [];
            Thread[] threads = [.. Enumerable.Range(0, Threads).Select(i => new Thread(() => Run(volume, models[i], i, failures)))];
            Array.ForEach(threads, thread => thread.Start());
            Array.ForEach(threads, thread => thread.Join());
            Assert.True(failures.Count == 0, $"seed {s_seed}: {string.Join("\n", failures)}");
            AssertAll(volume, models);
        }

        CffsCheckReport report = Verified.Check(disk);
        Assert.True(report.IsClean, string.Join('\n', report.Findings));
        using CffsVolume again = CffsVolume.Open(disk);
        AssertAll(again, models);
    }

    private void Run(CffsVolume volume, TreeModel model, int thread, List<Exception> failures)
    {
        try
        {
            Random random = new(unchecked((s_seed * 1_000_003) + thread));
            RandomWorkload own = new(volume, model, random, $"/own-{thread}");
            for (int i = 0; i < s_steps && !_failed; i++)
            {
                own.Step();
                Share(volume, thread, i, random);
            }

            Assert.Equal(0, own.Refused);
        }
        catch (Exception failure)
        {
            _failed = true;
            lock (failures)
            {
                failures.Add(failure);
            }
        }
    }

    private void Share(CffsVolume volume, int thread, int step, Random random)
    {
        int contested = random.Next(ContestedNames);
        switch (random.Next(9))
        {
            case 0:
                // Of all who make a name one succeeds; of all who remove it, too.
                Count(ref _made[contested], CffsError.Exists, () => volume.OpenFile($"/all/{contested}", CffsOpenMode.Write | CffsOpenMode.CreateNew).Dispose());
                break;
            case 1:
                Count(ref _removed[contested], CffsError.NotFound, () => volume.RemoveFile($"/all/{contested}"));
                break;
            case 2:
                byte[] record = [.. Enumerable.Repeat((byte)(thread + 1), RecordBytes)];
                BinaryPrimitives.WriteInt32LittleEndian(record, _appended[thread]++);
                using (CffsFile log = volume.OpenFile("/all/log", CffsOpenMode.Write | CffsOpenMode.Append))
                {
                    log.Append(record);
                }

                break;
            case 3:
                string link = $"/all/link-{thread}-{step}";
                volume.CreateHardLink("/all/linked", link);
                Interlocked.Increment(ref _links);
                if (random.Next(2) == 0)
                {
                    volume.Rename(link, $"/own-{thread}/../all/static/{thread}-{step}");
                    link = $"/all/static/{thread}-{step}";
                }

                if (random.Next(4) != 0)
                {
                    volume.RemoveFile(link);
                    Interlocked.Decrement(ref _links);
                }

                break;
            case 4:
                // A name that nobody touches is never out of sight.
                Assert.Contains(volume.ReadDirectory("/all"), entry => entry.NameString == "static");
                Assert.Contains(volume.ReadDirectory("/all/static"), entry => entry.NameString == "file");
                Assert.Equal(300, volume.ReadAllBytes("/all/static/file").Length);
                break;
            case 5:
                // Renames over one name: whoever looks finds one of the files whole.
                string mine = $"/all/mine-{thread}";
                volume.WriteAllBytes(mine, Enumerable.Repeat((byte)(thread + 1), 2000 + (100 * thread)).ToArray());
                volume.Rename(mine, "/all/replaced");
                byte[] found = volume.ReadAllBytes("/all/replaced");
                Assert.True(found.Length == 2000 + (100 * (found[0] - 1)) && !found.AsSpan().ContainsAnyExcept(found[0]), $"a mixture of {found.Length} bytes");
                break;
            case 6:
                Assert.InRange(volume.Stat("/all/linked").Links, 1u, (uint)(Threads * s_steps));
                break;
            case 7:
                using (CffsFile file = volume.OpenFile("/all/log"))
                {
                    file.Sync();
                }

                break;
            default:
                // Directories go to and fro: nothing below them is lost.
                string from = $"/own-{thread}/moving";
                volume.CreateDirectory(from);
                volume.WriteAllBytes($"{from}/inside", new byte[600]);
                volume.Rename(from, $"/all/moving-{thread}");
                Assert.Equal(600, volume.ReadAllBytes($"/all/moving-{thread}/inside").Length);
                volume.RemoveFile($"/all/moving-{thread}/inside");
                volume.RemoveDirectory($"/all/moving-{thread}");
                break;
        }
    }

    private static void Count(ref int successes, CffsError otherwise, Action action)
    {
        try
        {
            action();
            Interlocked.Increment(ref successes);
        }
        catch (CffsException lost) when (lost.Error == otherwise)
        {
        }
    }

    private void AssertAll(CffsVolume volume, TreeModel[] models)
    {
        for (int i = 0; i < Threads; i++)
        {
            models[i].AssertEquals(volume, $"/own-{i}");
        }

        for (int i = 0; i < ContestedNames; i++)
        {
            Assert.Equal(volume.Exists($"/all/{i}") ? 1 : 0, _made[i] - _removed[i]);
        }

        Assert.Equal(1 + _links, (int)volume.Stat("/all/linked").Links);

        // Every record once and whole; those of one thread in its order.
        int[] next = new int[Threads];
        byte[] log = volume.ReadAllBytes("/all/log");
        Assert.Equal(_appended.Sum() * RecordBytes, log.Length);
        foreach (byte[] record in log.Chunk(RecordBytes))
        {
            int thread = record[^1] - 1;
            Assert.False(record.AsSpan(4).ContainsAnyExcept(record[^1]), "a record is torn");
            Assert.Equal(next[thread]++, BinaryPrimitives.ReadInt32LittleEndian(record));
        }
    }
}
