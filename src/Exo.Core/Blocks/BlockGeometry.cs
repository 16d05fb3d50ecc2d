// SPDX-License-Identifier: MIT
using Exo.Core.Memory;

namespace Exo.Core.Blocks;

/// <summary>What a device is made of. Fixed while it is open, but for its size.</summary>
public sealed record BlockGeometry
{
    /// <summary>Whole 4 KiB blocks on the device; a rest at its end is not reachable.</summary>
    public required ulong BlockCount { get; init; }

    /// <summary>Bytes in a block: 4,096, as in a frame.</summary>
#pragma warning disable CA1822 // A property of every device, read like the others.
    public int BlockBytes => FramePool.FrameBytes;
#pragma warning restore CA1822

    /// <summary>The smallest unit that the device addresses.</summary>
    public int LogicalSectorBytes { get; init; } = 512;

    /// <summary>The unit that the medium writes. Only <see cref="LogicalSectorBytes"/> are promised to be written atomically.</summary>
    public int PhysicalSectorBytes { get; init; } = 4096;

    /// <summary>Writes are refused.</summary>
    public bool IsReadOnly { get; init; }

    /// <summary>Completed writes may be lost in a power cut until a flush completed.</summary>
    public bool HasVolatileCache { get; init; } = true;

    /// <summary>Whether discards do anything on this device as it was opened; false on one for reading only.</summary>
    public bool SupportsDiscard { get; init; }

    /// <summary>The unit of discards, 0 when there are none.</summary>
    public int DiscardGranularityBytes { get; init; }

    /// <summary>What was opened.</summary>
    public string Path { get; init; } = "";

    /// <summary>What moves the blocks: "io_uring", "pread" (with direct I/O also io_submit), "memory", or a driver of somebody else.</summary>
    public required string Driver { get; init; }

    /// <summary>Why the driver is not the first choice, if it is not: the refusal of io_uring in one line. Else empty.</summary>
    public string DriverNote { get; init; } = "";

    /// <summary>Transfers bypass the system's page cache (O_DIRECT).</summary>
    public bool IsDirect { get; init; }
}
