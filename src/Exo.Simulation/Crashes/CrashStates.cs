// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Simulation.Disks;
using Exo.Simulation.Recording;

namespace Exo.Simulation.Crashes;

/// <summary>
/// From what was done to a disk, what it may hold after a power cut. A write that no completed flush covers may have reached the medium or
/// not, in any order and torn at sectors; what a flush (or FUA) covered is there.
/// <code>
/// foreach (CrashState state in CrashStates.Enumerate(device.Recording!, new CrashExplorationOptions { Seed = 7 }))
/// {
///     using SimulatedBlockDevice disk = new(frames, state.Contents);
///     // mount it; compare with what state.Marks promise; name state.Description in the failure
/// }
/// </code>
/// </summary>
public static class CrashStates
{
    /// <summary>All states that a power cut may leave, or a sample of them; see <see cref="CrashExplorationOptions"/>.</summary>
    public static IEnumerable<CrashState> Enumerate(DiskRecording recording, CrashExplorationOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(recording);
        options ??= new CrashExplorationOptions();
        if (options.AtomicBytes is < 512 or > 4096 || !int.IsPow2(options.AtomicBytes))
        {
            throw new ArgumentOutOfRangeException(nameof(options), options.AtomicBytes, "The atomic unit is a power of two from 512 to 4,096 bytes.");
        }

        ArgumentOutOfRangeException.ThrowIfLessThan(options.CutsMax, 1, nameof(options));
        ArgumentOutOfRangeException.ThrowIfLessThan(options.StatesPerCutMax, 2, nameof(options));
        return Walk(recording, options);
    }

    /// <summary>
    /// All states within a bound, for short workloads that are explored in great number: at every moment every prefix of the writes since the last flush, without any one or two of
    /// them, and with one of them torn at every place. States share what they have in common and are made when <see cref="CrashState.Contents"/> is asked for;
    /// <see cref="CrashState.Fingerprint"/> tells which were looked at already.
    /// </summary>
    public static IEnumerable<CrashState> EnumerateBounded(DiskRecording recording, BoundedCrashOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(recording);
        options ??= new BoundedCrashOptions();
        if (options.AtomicBytes is < 512 or > 4096 || !int.IsPow2(options.AtomicBytes))
        {
            throw new ArgumentOutOfRangeException(nameof(options), options.AtomicBytes, "The atomic unit is a power of two from 512 to 4,096 bytes.");
        }

        ArgumentOutOfRangeException.ThrowIfNegative(options.WritesLostMax, nameof(options));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(options.WritesLostMax, 2, nameof(options));
        ArgumentOutOfRangeException.ThrowIfLessThan(options.StatesPerCutMax, 1, nameof(options));
        return new BoundedStates(recording, options).Walk();
    }

    private static IEnumerable<CrashState> Walk(DiskRecording recording, CrashExplorationOptions options)
    {
        IReadOnlyList<DiskMark> marks = recording.Marks;
        List<(long Tick, RecordedRequest? Submitted, RecordedRequest? Completed)> events = EventsOf(recording);
        HashSet<int> cuts = ChooseCuts(events.Count, options);
        PendingSectors cache = new(recording.Start, options.AtomicBytes);
        for (int i = -1; i < events.Count; i++)
        {
            long tick = i < 0 ? 0 : events[i].Tick;
            if (i >= 0)
            {
                Advance(cache, events[i].Submitted, events[i].Completed);
            }

            if (cuts.Contains(i))
            {
                // The random choices at a moment depend on the seed and the moment alone.
                Random random = new(unchecked((options.Seed * 7919) ^ i));
                List<DiskMark> promised = [.. marks.Where(mark => mark.Tick <= tick)];
                foreach (CrashState state in StatesAt(cache, tick, promised, random, options))
                {
                    yield return state;
                }
            }
        }
    }

    /// <summary>What happened, in order; an event with neither request is a mark.</summary>
    internal static List<(long Tick, RecordedRequest? Submitted, RecordedRequest? Completed)> EventsOf(DiskRecording recording)
    {
        List<(long Tick, RecordedRequest? Submitted, RecordedRequest? Completed)> events = [];
        foreach (RecordedRequest request in recording.Requests)
        {
            events.Add((request.SubmittedTick, request, null));
            events.Add((request.CompletedTick, null, request));
        }

        foreach (DiskMark mark in recording.Marks)
        {
            // What a mark promises must hold at once, not only from the next request on.
            events.Add((mark.Tick, null, null));
        }

        events.Sort((a, b) => a.Tick.CompareTo(b.Tick));
        return events;
    }

    private static void Advance(PendingSectors cache, RecordedRequest? submitted, RecordedRequest? completed)
    {
        if (submitted is { Operation: not BlockOperation.Flush })
        {
            cache.Submit(submitted);
        }
        else if (completed is { Operation: BlockOperation.Flush })
        {
            cache.MakeDurable(writer => writer.CompletedTick < completed.SubmittedTick);
        }
        else if (completed is { ForceUnitAccess: true })
        {
            cache.MakeDurable(writer => writer == completed);
        }
    }

    /// <summary>-1 is the moment before the first event.</summary>
    private static HashSet<int> ChooseCuts(int events, CrashExplorationOptions options)
    {
        HashSet<int> cuts = [];
        if (events + 1 <= options.CutsMax)
        {
            cuts.UnionWith(Enumerable.Range(-1, events + 1));
            return cuts;
        }

        Random random = new(options.Seed);
        cuts.Add(events - 1);
        while (cuts.Count < options.CutsMax)
        {
            cuts.Add(random.Next(-1, events));
        }

        return cuts;
    }

    private static IEnumerable<CrashState> StatesAt(
        PendingSectors cache, long tick, IReadOnlyList<DiskMark> marks, Random random, CrashExplorationOptions options)
    {
        List<KeyValuePair<ulong, List<PendingSectors.Version>>> sectors = cache.Sorted();
        double possible = 1;
        foreach ((_, List<PendingSectors.Version> versions) in sectors)
        {
            possible = Math.Min(possible * (versions.Count + 1), 1e18);
        }

        // choice[i]: how many versions of sector i have reached the medium; 0 is what was there.
        int[] choice = new int[sectors.Count];
        if (possible <= options.StatesPerCutMax)
        {
            do
            {
                yield return Make("all");
            }
            while (Next(choice, sectors));
            yield break;
        }

        yield return Make("nothing");
        for (int i = 0; i < choice.Length; i++)
        {
            choice[i] = sectors[i].Value.Count;
        }

        yield return Make("everything");
        RecordedRequest[] writers = [.. sectors.SelectMany(sector => sector.Value).Select(version => version.Writer).Distinct()];
        for (int n = 2; n < options.StatesPerCutMax; n++)
        {
            yield return Make(Draw(choice, sectors, writers, random));
        }

        CrashState Make(string how)
        {
            DiskContents.Builder disk = cache.Medium.ToContents().ToBuilder();
            int reached = 0;
            for (int i = 0; i < choice.Length; i++)
            {
                if (choice[i] > 0)
                {
                    reached++;
                    cache.Put(disk, sectors[i].Key, sectors[i].Value[choice[i] - 1]);
                }
            }

            DiskContents contents = disk.ToContents();
            string description = $"power cut at tick {tick}, {reached} of {choice.Length} cached sectors reached the medium ({how}), seed {options.Seed}";
            return new CrashState(tick, () => contents, () => description, marks);
        }
    }

    /// <summary>Draws which versions reached the medium: whole requests (all but one, only one, a coin for each), or a coin for each sector.</summary>
    private static string Draw(
        int[] choice, List<KeyValuePair<ulong, List<PendingSectors.Version>>> sectors, RecordedRequest[] writers, Random random)
    {
        HashSet<RecordedRequest> reached = [];
        RecordedRequest one = writers[random.Next(writers.Length)];
        int bias = random.Next(1, 10);
        string how;
        switch (random.Next(4))
        {
            case 0:
                reached.UnionWith(writers);
                reached.Remove(one);
                how = $"all but {one}";
                break;
            case 1:
                reached.Add(one);
                how = $"only {one}";
                break;
            case 2:
                reached.UnionWith(writers.Where(_ => random.Next(10) < bias));
                how = "requests at random";
                break;
            default:
                for (int i = 0; i < choice.Length; i++)
                {
                    choice[i] = random.Next(10) < bias ? random.Next(sectors[i].Value.Count) + 1 : 0;
                }

                return "sectors at random";
        }

        for (int i = 0; i < choice.Length; i++)
        {
            choice[i] = sectors[i].Value.FindLastIndex(version => reached.Contains(version.Writer)) + 1;
        }

        return how;
    }

    /// <summary>Counts through all choices; false after the last.</summary>
    private static bool Next(int[] choice, List<KeyValuePair<ulong, List<PendingSectors.Version>>> sectors)
    {
        for (int i = 0; i < choice.Length; i++)
        {
            if (choice[i] < sectors[i].Value.Count)
            {
                choice[i]++;
                return true;
            }

            choice[i] = 0;
        }

        return false;
    }
}
