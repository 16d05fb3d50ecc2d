// SPDX-License-Identifier: MIT
using System.Text;
using Exo.Capabilities;
using Exo.Core.Observation;
using Exo.Core.Predicates;

namespace Exo.Core.Environments;

/// <content>Being looked at. The observer pays: nothing here is kept up to date for him but the list of open rings, which changes when one is opened or closed.</content>
public sealed partial class ExoEnvironment
{
    // Guarded by the environment's lock.
    private readonly HashSet<IObservableRing> _rings = [];

    /// <summary>
    /// What this environment and those below it are doing. Holds up nobody for longer than it takes to copy a list: each environment's lock for its own, the tree's once for the counters of all. Whoever has an environment may look; hand it out with care.
    /// </summary>
    /// <param name="entriesMax">Environments, predicates and rings to return at most, of each: what bounds the cost. 1 or more.</param>
    public EnvironmentTreeSnapshot Observe(int entriesMax = 1024)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(entriesMax, 1);
        bool isComplete = true;
        List<ExoEnvironment> environments = [this];
        List<(ExoEnvironment Sleeper, WakeupPredicate Predicate)> predicates = [];
        List<IObservableRing> rings = [];
        List<(int Predicates, int Rings)> counts = [];
        for (int i = 0; i < environments.Count; i++)
        {
            ExoEnvironment at = environments[i];
            lock (at._lock)
            {
                WakeupPredicate[] asleep = [.. at._sleepers.Where(predicate => predicate.IsSleptOnBy(at))];
                counts.Add((asleep.Length, at._rings.Count));
                isComplete &= Add(environments, at._children.Values, at._children.Count, entriesMax)
                    & Add(rings, at._rings, at._rings.Count, entriesMax)
                    & Add(predicates, asleep.Select(predicate => (at, predicate)), asleep.Length, entriesMax);
            }
        }

        long[][] counters = new long[environments.Count][];
        lock (_tree)
        {
            for (int i = 0; i < counters.Length; i++)
            {
                counters[i] = [.. environments[i]._counters];
            }
        }

        return new EnvironmentTreeSnapshot(
            [.. environments.Select((environment, i) => environment.Describe(counters[i], counts[i].Predicates, counts[i].Rings))],
            [.. predicates.Select(sleep => sleep.Predicate.Observe(sleep.Sleeper))],
            [.. rings.Select(ring => ring.Observe())],
            isComplete);
    }

    /// <summary>An end of a ring was opened for it.</summary>
    internal void AddRing(IObservableRing ring)
    {
        lock (_lock)
        {
            _rings.Add(ring);
        }
    }

    /// <summary>It was closed.</summary>
    internal void RemoveRing(IObservableRing ring)
    {
        lock (_lock)
        {
            _rings.Remove(ring);
        }
    }

    private static bool Add<T>(List<T> list, IEnumerable<T> more, int moreCount, int countMax)
    {
        int room = countMax - list.Count;
        list.AddRange(more.Take(room));
        return moreCount <= room;
    }

    private EnvironmentSnapshot Describe(long[] counters, int predicates, int rings)
    {
        int capabilities = 0;
        for (int slot = 0; slot < Capabilities.SlotCount; slot++)
        {
            capabilities += Capabilities[slot] is null ? 0 : 1;
        }

        long Counter(EnvironmentCounter counter) => counters[(int)counter];
        long quota = Quota(ResourceKind.Frames);
        return new EnvironmentSnapshot(
            Name.ToString(), LabelOf(), Scheduled?.Number ?? 0, StateNow(), Scheduled?.Positions ?? 0, Scheduled?.SlicesBegun ?? 0, (long)(Scheduled?.Ran.TotalMicroseconds ?? 0),
            capabilities, Counter(EnvironmentCounter.FramesHeld), quota == long.MaxValue ? null : quota, Counter(EnvironmentCounter.BlocksHeld), Counter(EnvironmentCounter.RingSlotsHeld),
            Counter(EnvironmentCounter.PortsHeld), predicates, rings, Counter(EnvironmentCounter.Sleeps), Counter(EnvironmentCounter.Wakes), Counter(EnvironmentCounter.Refusals),
            Counter(EnvironmentCounter.Repossessed));
    }

    private EnvironmentState StateNow()
    {
        if (HasEnded)
        {
            return EnvironmentState.Ended;
        }

        EnvironmentState state = Scheduled?.State ?? EnvironmentState.Unscheduled;
        bool isItself = state is EnvironmentState.Running or EnvironmentState.Runnable;
        return !isItself && (Volatile.Read(ref _gate) & Occupied) != 0 ? EnvironmentState.Called : state;
    }

    private string? LabelOf()
    {
        Span<byte> name = stackalloc byte[CapabilityName.LengthBytesMax];
        Name.CopyTo(name);
        ReadOnlySpan<byte> own = name[(Parent?.Name.LengthBytes ?? 0)..Name.LengthBytes];
        return own.IsEmpty || own.ContainsAnyExceptInRange((byte)' ', (byte)'~') ? null : Encoding.ASCII.GetString(own);
    }
}
