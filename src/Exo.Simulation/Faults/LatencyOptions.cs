// SPDX-License-Identifier: MIT
namespace Exo.Simulation.Faults;

/// <summary>
/// How long a <see cref="SlowBlockDevice"/> takes. A request takes <see cref="PerRequest"/> + blocks × <see cref="PerBlock"/> + a random part of
/// <see cref="Jitter"/>, and now and then a <see cref="Stall"/> on top.
/// </summary>
public sealed class LatencyOptions
{
    /// <summary>Chooses jitter and stalls; the same seed on the same requests gives the same times.</summary>
    public int Seed { get; init; } = 1;

    /// <summary>The clock that passes. A <see cref="Timing.VirtualTime"/> makes order and times exact and costs no waiting.</summary>
    public TimeProvider Time { get; init; } = TimeProvider.System;

    /// <summary>What every request takes; a flush too.</summary>
    public TimeSpan PerRequest { get; init; } = TimeSpan.FromMilliseconds(1);

    /// <summary>What every block of a read or a write takes on top.</summary>
    public TimeSpan PerBlock { get; init; }

    /// <summary>At most this much on top, drawn evenly: requests overtake one another.</summary>
    public TimeSpan Jitter { get; init; }

    /// <summary>How often a request stalls: a probability from 0 to 1.</summary>
    public double StallProbability { get; init; }

    /// <summary>What a stall takes on top.</summary>
    public TimeSpan Stall { get; init; }

    /// <summary>Requests that the disk serves at the same time; others wait for their turn.</summary>
    public int Parallelism { get; init; } = 32;
}
