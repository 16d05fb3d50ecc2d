// SPDX-License-Identifier: MIT
using Exo.Simulation.Disks;
using Exo.Simulation.Recording;

namespace Exo.Simulation.Crashes;

/// <summary>What a disk may hold after a power cut.</summary>
public sealed class CrashState
{
    internal CrashState(long tick, DiskContents contents, string description, IReadOnlyList<DiskMark> marks)
    {
        Tick = tick;
        Contents = contents;
        Description = description;
        Marks = marks;
    }

    /// <summary>When the power failed, on the recording's clock.</summary>
    public long Tick { get; }

    /// <summary>What the disk holds.</summary>
    public DiskContents Contents { get; }

    /// <summary>One line: when, and which of the writes under way have reached the medium.</summary>
    public string Description { get; }

    /// <summary>The marks that the workload had set by then: what was promised.</summary>
    public IReadOnlyList<DiskMark> Marks { get; }

    /// <inheritdoc/>
    public override string ToString() => Description;
}
