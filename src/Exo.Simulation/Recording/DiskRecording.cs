// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Simulation.Disks;

namespace Exo.Simulation.Recording;

/// <summary>
/// Everything that was done to a disk, in order, and marks of the workload between: "from here on this file must survive".
/// <code>
/// tick   1         2         3      4        5       6
///        W submit  W submit  W ok   W ok     mark    flush submit ...
/// </code>
/// A flush covers the writes that were complete at the tick at which it was submitted.
/// </summary>
public sealed class DiskRecording
{
    private readonly Lock _lock = new();
    private readonly List<RecordedRequest> _requests = [];
    private readonly List<DiskMark> _marks = [];
    private long _tick;

    internal DiskRecording(DiskContents start) => Start = start;

    /// <summary>What the disk held before the first request.</summary>
    public DiskContents Start { get; }

    /// <summary>The last tick so far.</summary>
    public long LastTick
    {
        get
        {
            lock (_lock)
            {
                return _tick;
            }
        }
    }

    /// <summary>The requests so far, in the order in which they were carried out.</summary>
    public IReadOnlyList<RecordedRequest> Requests
    {
        get
        {
            lock (_lock)
            {
                return [.. _requests];
            }
        }
    }

    /// <summary>The marks so far.</summary>
    public IReadOnlyList<DiskMark> Marks
    {
        get
        {
            lock (_lock)
            {
                return [.. _marks];
            }
        }
    }

    /// <summary>Notes that the workload has come to a point, for instance that a promise holds from now on.</summary>
    public void Mark(object? value)
    {
        lock (_lock)
        {
            _marks.Add(new DiskMark(++_tick, value));
        }
    }

    /// <summary>A batch reaches the disk; the tick of its first request.</summary>
    internal long Submit(int count)
    {
        lock (_lock)
        {
            long first = _tick + 1;
            _tick += count;
            return first;
        }
    }

    internal void Add(in BlockRequest request, byte[]?[] blocks, long submittedTick)
    {
        lock (_lock)
        {
            _requests.Add(new RecordedRequest(in request, blocks, submittedTick, ++_tick));
        }
    }
}

/// <summary>A point that the workload noted.</summary>
/// <param name="Tick">When.</param>
/// <param name="Value">What the workload says about it.</param>
public readonly record struct DiskMark(long Tick, object? Value);
