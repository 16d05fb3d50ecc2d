// SPDX-License-Identifier: MIT
namespace Exo.Core.Scheduling;

/// <summary>How a <see cref="Scheduler"/> is made.</summary>
public sealed class SchedulerOptions
{
    /// <summary>
    /// Threads that run environments, from 0 to 1,024; the default is one for each processor of the machine. 0: the scheduler has no thread at all, and runs on
    /// the thread that calls <see cref="Scheduler.RunUntilIdle"/>, in an order that depends on nothing but the seed: for simulation.
    /// </summary>
    public int Processors { get; init; } = Environment.ProcessorCount;

    /// <summary>Positions in the vector of time slices, 1 to 65,536.</summary>
    public int SliceCount { get; init; } = 1024;

    /// <summary>How long a slice lasts, more than zero. An environment that has several positions gets one after the other.</summary>
    public TimeSpan SliceLength { get; init; } = TimeSpan.FromMilliseconds(5);

    /// <summary>
    /// How long an environment may run beyond its slice before another thread takes the place of the one it occupies, so that the others go on; a step that blocks in
    /// a system call is such a case. What it ran too long is taken off its next slices in any case.
    /// </summary>
    public TimeSpan ReplaceAfter { get; init; } = TimeSpan.FromMilliseconds(20);

    /// <summary>
    /// How long an environment may run beyond its slice before it is ended (its bindings are void from then on; its code ends at its next <c>await</c> on the scheduler).
    /// Xok allows 330 ticks. Zero: as long as it likes.
    /// </summary>
    public TimeSpan EndAfter { get; init; }

    /// <summary>The clock that slices are measured by.</summary>
    public TimeProvider TimeProvider { get; init; } = TimeProvider.System;

    /// <summary>With no processors: chooses among those whose turn it is. Null: the one that waits longest.</summary>
    public int? Seed { get; init; }

    internal void Check()
    {
        ArgumentOutOfRangeException.ThrowIfNegative(Processors);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(Processors, 1024);
        ArgumentOutOfRangeException.ThrowIfLessThan(SliceCount, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(SliceCount, 65_536);
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(SliceLength, TimeSpan.Zero);
        ArgumentOutOfRangeException.ThrowIfLessThan(ReplaceAfter, TimeSpan.Zero);
        ArgumentOutOfRangeException.ThrowIfLessThan(EndAfter, TimeSpan.Zero);
        ArgumentNullException.ThrowIfNull(TimeProvider);
        if (Seed is not null && Processors != 0)
        {
            throw new ArgumentException("A seed needs a scheduler without processors: threads are not in anybody's hand.", nameof(Seed));
        }
    }
}
