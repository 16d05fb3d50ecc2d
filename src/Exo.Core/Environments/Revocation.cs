// SPDX-License-Identifier: MIT
namespace Exo.Core.Environments;

/// <summary>
/// A visible revocation (SOSP'95, section 3.4), as the library OS sees it: give back that many things of that kind, your choice
/// which, by the deadline. What is missing then is taken by force and listed in <see cref="ExoEnvironment.Repossessions"/>.
/// </summary>
public sealed class RevocationRequest
{
    private long _remaining;

    internal RevocationRequest(long id, ResourceKind kind, long count, DateTimeOffset deadline)
    {
        Id = id;
        Kind = kind;
        Count = count;
        Deadline = deadline;
        _remaining = count;
    }

    /// <summary>Number of this request within the environment, from 1.</summary>
    public long Id { get; }

    /// <summary>What is asked for.</summary>
    public ResourceKind Kind { get; }

    /// <summary>How many are asked for; never more than the environment held.</summary>
    public long Count { get; }

    /// <summary>When the rest will be taken by force, on the environment's clock.</summary>
    public DateTimeOffset Deadline { get; }

    /// <summary>How many are still to be given back.</summary>
    public long Remaining => Volatile.Read(ref _remaining);

    internal TaskCompletionSource<RevocationOutcome> Settled { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    internal ITimer? Timer { get; set; }

    /// <summary>The environment's lock is held.</summary>
    internal long CountOff() => --_remaining;
}

/// <summary>The library OS's answer to a revocation: gives things back through the environment. Runs on the thread pool; what it throws is counted, not passed on.</summary>
public delegate ValueTask RevocationUpcall(RevocationRequest request);

/// <summary>How a revocation ended.</summary>
/// <param name="GivenBack">Things that the environment gave back in time.</param>
/// <param name="Repossessed">Things that were taken by force.</param>
public readonly record struct RevocationOutcome(long GivenBack, long Repossessed);

/// <summary>One line of the repossession record.</summary>
/// <param name="Resource">Where the thing was held.</param>
/// <param name="Number">The thing's physical name.</param>
/// <param name="Time">When it was taken.</param>
/// <param name="RequestId">The <see cref="RevocationRequest.Id"/> that it was asked for with.</param>
public readonly record struct Repossession(IRevocable Resource, ulong Number, DateTimeOffset Time, long RequestId);

/// <summary>
/// What was taken from an environment by force (SOSP'95, section 3.4, the repossession vector), oldest first, so that the library
/// OS can bring its own books in line. The oldest lines go when nobody reads: see <see cref="Dropped"/>.
/// </summary>
public sealed class RepossessionRecord
{
    /// <summary>Lines kept.</summary>
    public const int LinesMax = 65_536;

    private readonly Queue<Repossession> _lines = new();
    private long _dropped;

    internal RepossessionRecord()
    {
    }

    /// <summary>Lines waiting to be read.</summary>
    public int Count
    {
        get
        {
            lock (_lines)
            {
                return _lines.Count;
            }
        }
    }

    /// <summary>Lines lost because <see cref="LinesMax"/> were waiting.</summary>
    public long Dropped => Volatile.Read(ref _dropped);

    /// <summary>Reads without removing.</summary>
    public Repossession[] ToArray()
    {
        lock (_lines)
        {
            return [.. _lines];
        }
    }

    /// <summary>Takes the oldest line off the record.</summary>
    public bool TryTake(out Repossession line)
    {
        lock (_lines)
        {
            return _lines.TryDequeue(out line);
        }
    }

    internal void Add(in Repossession line)
    {
        lock (_lines)
        {
            if (_lines.Count == LinesMax)
            {
                _lines.Dequeue();
                _dropped++;
            }

            _lines.Enqueue(line);
        }
    }
}
