// SPDX-License-Identifier: MIT
namespace Exo.Core.Observation;

/// <summary>A scheduler at one moment.</summary>
/// <param name="Processors">Processors (threads) that run environments; 0: it is driven by its owner.</param>
/// <param name="Busy">Of them, those that run one now.</param>
/// <param name="Runnable">Environments that wait for their turn.</param>
/// <param name="SliceCount">Positions in the vector of time slices.</param>
/// <param name="SlicesTaken">Of them, those that somebody owns.</param>
/// <param name="SliceMicroseconds">How long a slice lasts.</param>
/// <param name="Replacements">Times that a thread took the place of one that was held up.</param>
public sealed record SchedulerSnapshot(int Processors, int Busy, int Runnable, int SliceCount, int SlicesTaken, long SliceMicroseconds, int Replacements);
