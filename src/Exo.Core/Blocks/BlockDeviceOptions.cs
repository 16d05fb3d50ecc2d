// SPDX-License-Identifier: MIT
namespace Exo.Core.Blocks;

/// <summary>What moves the blocks.</summary>
public enum BlockDriver
{
    /// <summary>io_uring; where the kernel refuses it, <see cref="Portable"/>.</summary>
    Auto,

    /// <summary>io_uring, or a <see cref="BlockDeviceException"/>.</summary>
    IoUring,

    /// <summary>preadv and pwritev.</summary>
    Portable,
}

/// <summary>Whether transfers bypass the system's page cache.</summary>
public enum DirectIo
{
    /// <summary>Bypass it where the file system can.</summary>
    Auto,

    /// <summary>Bypass it, or a <see cref="BlockDeviceException"/>.</summary>
    On,

    /// <summary>Go through it.</summary>
    Off,
}

/// <summary>How a <see cref="BlockDevice"/> is opened.</summary>
public sealed class BlockDeviceOptions
{
    /// <summary>Open for reading only.</summary>
    public bool ReadOnly { get; init; }

    /// <summary>Make the image file if it is not there, or let it grow to <see cref="CreateBytes"/> if it is shorter. Never shrinks.</summary>
    public bool Create { get; init; }

    /// <summary>Size of a created image in bytes, a multiple of 4,096. The file is sparse.</summary>
    public long CreateBytes { get; init; }

    /// <summary>What moves the blocks.</summary>
    public BlockDriver Driver { get; init; }

    /// <summary>Whether transfers bypass the page cache.</summary>
    public DirectIo Direct { get; init; }

    /// <summary>Requests that one ring keeps in flight; a larger batch is fed through it. 1 to 4,096.</summary>
    public int QueueDepth { get; init; } = 128;

    /// <summary>
    /// Refuse if somebody else has it: an image file opened by another Exo process (advisory lock), a disk that is mounted or
    /// held exclusively. Readers exclude writers only.
    /// </summary>
    public bool Exclusive { get; init; } = true;
}
