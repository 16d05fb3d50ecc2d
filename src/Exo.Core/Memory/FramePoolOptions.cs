// SPDX-License-Identifier: MIT
using Exo.Capabilities;

namespace Exo.Core.Memory;

/// <summary>How a <see cref="FramePool"/> is made.</summary>
public sealed class FramePoolOptions
{
    /// <summary>Size of the pool in bytes, rounded down to whole frames. Memory is only used by frames that have been touched.</summary>
    public long CapacityBytes { get; init; } = 64L << 20;

    /// <summary>
    /// Ask the kernel (Linux 6.1 and later) to put frames into pages of 2 MiB as they are first taken, 512 at a time: fewer faults, and a cache that is used at random costs fewer misses of the TLB.
    /// The price is memory by steps of 2 MiB.
    /// </summary>
    public bool LargePages { get; init; } = true;

    /// <summary>The authority whose capabilities guard the frames; null makes a new one.</summary>
    public CapabilityAuthority? Authority { get; init; }

    /// <summary>The name of the memory file, as seen in <c>/proc/PID/maps</c>.</summary>
    public string Name { get; init; } = "exo-frames";
}
