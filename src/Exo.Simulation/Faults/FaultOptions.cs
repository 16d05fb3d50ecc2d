// SPDX-License-Identifier: MIT
namespace Exo.Simulation.Faults;

/// <summary>How often a <see cref="FaultyBlockDevice"/> misbehaves, each as a probability from 0 to 1 for every request, and how.</summary>
public sealed class FaultOptions
{
    /// <summary>Chooses which requests fail; the same seed on the same requests fails the same ones.</summary>
    public int Seed { get; init; } = 1;

    /// <summary>A read fails with EIO and changes no frame.</summary>
    public double ReadError { get; init; }

    /// <summary>A write fails with EIO; some of its sectors, any of them, have been written.</summary>
    public double WriteError { get; init; }

    /// <summary>A flush fails with EIO.</summary>
    public double FlushError { get; init; }

    /// <summary>A write reports success and writes nothing.</summary>
    public double LostWrite { get; init; }

    /// <summary>A write reports success and only some of its sectors, any of them, have been written.</summary>
    public double TornWrite { get; init; }

    /// <summary>A write reports success and has gone to another place on the disk.</summary>
    public double MisdirectedWrite { get; init; }

    /// <summary>A read returns a block in which one bit is wrong, from then on.</summary>
    public double BitRot { get; init; }
}
