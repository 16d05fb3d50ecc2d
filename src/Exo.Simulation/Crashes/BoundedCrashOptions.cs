// SPDX-License-Identifier: MIT
namespace Exo.Simulation.Crashes;

/// <summary>How far <see cref="CrashStates.EnumerateBounded"/> goes.</summary>
public sealed class BoundedCrashOptions
{
    /// <summary>Chooses what is sampled where <see cref="StatesPerCutMax"/> is exceeded; the same seed gives the same states.</summary>
    public int Seed { get; init; } = 1;

    /// <summary>At most this many of the writes since the last flush are lost together: 0 to 2.</summary>
    public int WritesLostMax { get; init; } = 2;

    /// <summary>Whether writes are also torn between atomic units.</summary>
    public bool TornWrites { get; init; } = true;

    /// <summary>At most this many states at each moment; beyond it those with lost writes are drawn.</summary>
    public int StatesPerCutMax { get; init; } = int.MaxValue;

    /// <summary>The unit that the disk writes whole or not at all: a power of two from 512 to 4,096.</summary>
    public int AtomicBytes { get; init; } = 512;
}
