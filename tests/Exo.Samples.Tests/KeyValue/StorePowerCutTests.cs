// SPDX-License-Identifier: MIT
using System.Globalization;
using Exo.Simulation.Crashes;
using Exo.Simulation.Disks;
using Exo.Simulation.Recording;
using Exo.Storage.XN;
using KeyValue;

namespace Exo.Samples.Tests.KeyValue;

/// <summary>
/// The store after power cuts at every moment: it holds all commits that had returned, and of the one under way all or nothing; no block is lost; it works on, and after a second cut as well.
/// <c>EXO_CRASH_SEEDS=200</c> explores that many workloads, <c>EXO_CRASH_FIRST=7</c> from that seed on.
/// </summary>
public sealed class StorePowerCutTests
{
    public static TheoryData<int> Seeds => [.. Enumerable.Range(Setting("EXO_CRASH_FIRST", 1), Setting("EXO_CRASH_SEEDS", 4))];

    [Theory]
    [MemberData(nameof(Seeds))]
    public void Every_power_cut_leaves_the_state_before_or_after_a_commit(int seed)
    {
        DiskRecording recording = Record(seed);
        int states = 0;
        foreach (CrashState state in CrashStates.Enumerate(recording, new CrashExplorationOptions { Seed = seed, CutsMax = 100, StatesPerCutMax = 6 }))
        {
            states++;
            try
            {
                Check(state);
            }
            catch (Exception failure)
            {
                throw new InvalidOperationException($"seed {seed}, {state}: {failure.Message}", failure);
            }
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"{states} states");
        Assert.True(states > 100, $"{states} states");
    }

    private sealed record Begun(SortedDictionary<string, string> Contents);

    private sealed record Promise(SortedDictionary<string, string> Contents);

    private static int Setting(string name, int value) =>
        int.TryParse(Environment.GetEnvironmentVariable(name), NumberStyles.None, CultureInfo.InvariantCulture, out int set) ? set : value;

    // Every other disk has a commit log of XN's, through which another tenant of the disk may commit what the store has not written yet.
    private static DiskRecording Record(int seed)
    {
        Random random = new(seed);
        using StoreBench bench = new(DiskContents.Zeroes(600), isNew: true, recorded: true, xnLogBlocks: seed % 2 * 32);
        DiskRecording recording = bench.Device.Recording!;
        SortedDictionary<string, string> model = new(StringComparer.Ordinal);
        recording.Mark(new Promise([]));
        for (int i = 0; i < 120; i++)
        {
            SortedDictionary<string, string> next = new(model, StringComparer.Ordinal);
            KeyValueBatch batch = new();
            for (int changes = random.Next(4) == 0 ? random.Next(2, 8) : 1; changes > 0; changes--)
            {
                string key = $"{random.Next(40)}";
                if (random.Next(4) == 0)
                {
                    batch.Delete(StoreBench.Utf8(key));
                    _ = next.Remove(key);
                }
                else
                {
                    string value = $"{i} {new string((char)('a' + random.Next(26)), random.Next(10) == 0 ? random.Next(4000, 9000) : random.Next(400))}";
                    batch.Put(StoreBench.Utf8(key), StoreBench.Utf8(value));
                    next[key] = value;
                }
            }

            // A batch that is too large for the log, eight blocks, is refused; then there is none.
            if (batch.SizeBytes > 30_000)
            {
                continue;
            }

            recording.Mark(new Begun(next));
            bench.Store.Write(batch);
            recording.Mark(new Promise(next));
            model = next;
            switch (random.Next(12))
            {
                case 0:
                    bench.Store.Compact();
                    break;
                case 1:
                    _ = bench.Disk.TryCommit(bench.Disk.Frames.RootCredential);
                    break;
            }
        }

        return recording;
    }

    private static void Check(CrashState state)
    {
        StoreBench bench;
        try
        {
            bench = new StoreBench(state.Contents, isNew: false);
        }
        catch (Exception missing) when (missing is XnFormatException or KeyValueException { Error: KeyValueError.NotFound })
        {
            Assert.False(state.Marks.Any(), $"a store that was there is not: {missing.Message}");
            return;
        }

        using (bench)
        {
            SortedDictionary<string, string> found = bench.Contents();
            List<SortedDictionary<string, string>> allowed = [[]];
            foreach (DiskMark mark in state.Marks)
            {
                if (mark.Value is Promise promise)
                {
                    allowed = [promise.Contents];
                }
                else if (mark.Value is Begun begun)
                {
                    allowed.Add(begun.Contents);
                }
            }

            Assert.True(allowed.Exists(contents => contents.SequenceEqual(found)), $"keys {string.Join(", ", found.Keys)}: neither before nor after the commit");
            bench.CheckSpace();
            bench.Store.Put("new"u8, "after the crash"u8);
            bench.Reopen(clean: false);
            found["new"] = "after the crash";
            Assert.Equal(found, bench.Contents());
            bench.Store.Compact();
            Assert.Equal(found, bench.Contents());
            bench.CheckSpace();
        }
    }
}
