// SPDX-License-Identifier: MIT
namespace Exo.Core.Blocks;

/// <summary>What moves the blocks.</summary>
public enum BlockDriver
{
    /// <summary>io_uring; where the kernel refuses it, <see cref="Portable"/>.</summary>
    Auto,

    /// <summary>io_uring, or a <see cref="BlockDeviceException"/>.</summary>
    IoUring,

    /// <summary>preadv and pwritev; with direct I/O also io_submit, so that many requests are under way.</summary>
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

    /// <summary>For <c>nbd:</c> URIs: connections, time limits, TLS. Null: one connection, the usual limits.</summary>
    public Nbd.NbdOptions? Nbd { get; init; }

    /// <summary>Make the image file if it is not there, or let it grow to <see cref="CreateBytes"/> if it is shorter. Never shrinks.</summary>
    public bool Create { get; init; }

    /// <summary>Size of a created image in bytes, a multiple of 4,096. The file is sparse.</summary>
    public long CreateBytes { get; init; }

    /// <summary>
    /// Open only this partition of the image or disk: its number, its name or its GUID in a GPT, its number in an MBR. No request
    /// reaches anything outside. A path with <c>#</c> says the same: <c>disk.img#2</c>, <c>/dev/sdb#data</c>, unless there is a file of that
    /// very name. Null: everything. Locks and exclusive opening are those of the whole image or disk.
    /// </summary>
    public string? Partition { get; init; }

    /// <summary>What moves the blocks.</summary>
    public BlockDriver Driver { get; init; }

    /// <summary>Whether transfers bypass the page cache.</summary>
    public DirectIo Direct { get; init; }

    /// <summary>Requests that one ring keeps in flight; a larger batch is fed through it. 1 to 4,096.</summary>
    public int QueueDepth { get; init; } = 128;

    /// <summary>
    /// Register the pool with every ring of this device, so that the kernel need not look up its pages at each transfer. Pins
    /// the whole pool in memory (about 1 ms per MiB at the first ring), so it is asked for, and only for pools of at most 1 GiB;
    /// where the limit on locked memory forbids it, transfers work without. Worth trying above some 200,000 transfers a second.
    /// </summary>
    public bool RegisterFrames { get; init; }

    /// <summary>
    /// Refuse if somebody else has it: an image file opened by another Exo process (advisory lock), a disk that is mounted or
    /// held exclusively. Readers exclude writers only.
    /// </summary>
    public bool Exclusive { get; init; } = true;
}
