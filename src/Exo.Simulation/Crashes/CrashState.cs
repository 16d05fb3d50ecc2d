// SPDX-License-Identifier: MIT
using Exo.Simulation.Disks;
using Exo.Simulation.Recording;

namespace Exo.Simulation.Crashes;

/// <summary>What a disk may hold after a power cut.</summary>
public sealed class CrashState
{
    private readonly Func<DiskContents> _makeContents;
    private readonly Func<string> _describe;
    private DiskContents? _contents;

    internal CrashState(long tick, Func<DiskContents> makeContents, Func<string> describe, IReadOnlyList<DiskMark> marks, UInt128 fingerprint = default)
    {
        Tick = tick;
        _makeContents = makeContents;
        _describe = describe;
        Marks = marks;
        Fingerprint = fingerprint;
    }

    /// <summary>When the power failed, on the recording's clock.</summary>
    public long Tick { get; }

    /// <summary>What the disk holds.</summary>
    public DiskContents Contents => _contents ??= _makeContents();

    /// <summary>
    /// A hash of how <see cref="Contents"/> differs from the disk that the recording started with, for leaving out states that were looked at already: among recordings that
    /// start with the same contents, equal contents have equal fingerprints. Only <see cref="CrashStates.EnumerateBounded"/> computes it; else 0.
    /// </summary>
    public UInt128 Fingerprint { get; }

    /// <summary>One line: when, and which of the writes under way have reached the medium.</summary>
    public string Description => _describe();

    /// <summary>The marks that the workload had set by then: what was promised.</summary>
    public IReadOnlyList<DiskMark> Marks { get; }

    /// <inheritdoc/>
    public override string ToString() => Description;
}
