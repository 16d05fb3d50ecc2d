// SPDX-License-Identifier: MIT
namespace Exo.Simulation.Crashes;

/// <summary>How thoroughly crash states are explored.</summary>
public sealed class CrashExplorationOptions
{
    /// <summary>Chooses what is sampled; the same seed gives the same states.</summary>
    public int Seed { get; init; } = 1;

    /// <summary>At most this many moments at which power is cut; when the recording has more, they are drawn from all of it.</summary>
    public int CutsMax { get; init; } = int.MaxValue;

    /// <summary>At most this many states at each moment. When no more are possible all of them are given, else a sample.</summary>
    public int StatesPerCutMax { get; init; } = 16;

    /// <summary>The unit that the disk writes whole or not at all: a power of two from 512 to 4,096.</summary>
    public int AtomicBytes { get; init; } = 512;
}
