// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS;

/// <summary>How to make a volume.</summary>
public sealed class CffsCreateOptions
{
    /// <summary>Size of the image file in bytes, a multiple of 4096, at least 1 MiB. 0: the size of the file or device that is there.</summary>
    public long SizeBytes { get; init; }

    /// <summary>A name for people, at most 64 bytes of UTF-8.</summary>
    public string Label { get; init; } = "";

    /// <summary>Replace what is on the image. Without it, anything but an empty or new image is refused.</summary>
    public bool Overwrite { get; init; }

    /// <summary>Owner of the root directory.</summary>
    public uint RootUser { get; init; }

    /// <summary>Group of the root directory.</summary>
    public uint RootGroup { get; init; }

    /// <summary>Permission bits of the root directory.</summary>
    public ushort RootPermissions { get; init; } = 0x1ED;

    /// <summary>Seed of the volume's identifiers and hash seeds; null takes them from the system's random source.</summary>
    public int? Seed { get; init; }

    /// <summary>
    /// Blocks of 4096 bytes for the commit log, 16 to 16,384, through which a durable change is one write; 0: none. Default (null): a 64th of the disk, at most 64 MiB; none on a disk of less
    /// than 64 MiB. Has no effect on an <see cref="XnVolume"/> that is there already.
    /// </summary>
    public int? LogBlocks { get; init; }

    /// <summary>How the volume is opened once it is made.</summary>
    public CffsOpenOptions Open { get; init; } = new();
}

/// <summary>How to open a volume.</summary>
public sealed class CffsOpenOptions
{
    /// <summary>Refuse every change; an unclean volume is then repaired in memory only.</summary>
    public bool ReadOnly { get; init; }

    /// <summary>Memory for the block cache in bytes, at least 1 MiB; ignored when <see cref="Frames"/> is given. Default 64 MiB.</summary>
    public long CacheBytes { get; init; } = 64L << 20;

    /// <summary>A frame pool to share, for instance with a web server that sends from the same frames. Null makes one.</summary>
    public FramePool? Frames { get; init; }

    /// <summary>Block device options (driver, direct I/O); <see cref="ReadOnly"/> overrides theirs.</summary>
    public BlockDeviceOptions? Device { get; init; }

    /// <summary>Told how far recovery after a crash has come; not at all when the volume was left clean. Volumes opened on an <see cref="XnVolume"/> are recovered already.</summary>
    public IProgress<XnRecoveryProgress>? RecoveryProgress { get; init; }

    internal const int IndexSplitAtDefault = 420;
    internal const ulong IndexFromBlocksDefault = 64;
    internal const long BehindFromBytesDefault = 4 << 20;

    /// <summary>Entries with which a bucket of a directory's index is too long. Tests make it small.</summary>
    internal int IndexSplitAt { get; init; } = IndexSplitAtDefault;

    /// <summary>Slot blocks beyond which a directory is indexed on the disk. Tests make it small.</summary>
    internal ulong IndexFromBlocks { get; init; } = IndexFromBlocksDefault;

    /// <summary>Bytes written in order to a file from which on they are written to the disk behind the writer. Tests make it small.</summary>
    internal long BehindFromBytes { get; init; } = BehindFromBytesDefault;

    /// <summary>Explicit grouping: windows where a directory's small files lie together, and reading them together. Measurements of what it gains turn it off.</summary>
    internal bool Groups { get; init; } = true;

    /// <summary>Small files share blocks with those of their slot sector. Measurements of what it gains turn it off.</summary>
    internal bool Packs { get; init; } = true;

    /// <summary>Blocks kept for removals on a full volume; null: as many as the size of the volume asks for. Tests make it 0.</summary>
    internal ulong? ReserveBlocks { get; init; }

    /// <summary>Source of the times that are stored in inodes.</summary>
    public TimeProvider Time { get; init; } = TimeProvider.System;
}
