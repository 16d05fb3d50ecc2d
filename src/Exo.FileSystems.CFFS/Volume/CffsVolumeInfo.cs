// SPDX-License-Identifier: MIT
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS;

/// <summary>Facts about an open volume.</summary>
/// <param name="VolumeId">Random identity.</param>
/// <param name="Label">Name for people.</param>
/// <param name="CreationTime">When it was made.</param>
/// <param name="Epoch">Number of the last mount for writing.</param>
/// <param name="Recovery">What XN's recovery found at this opening; null after a clean unmount.</param>
/// <param name="Driver">The block device driver: io_uring, pread or memory.</param>
public sealed record CffsVolumeInfo(Guid VolumeId, string Label, DateTimeOffset CreationTime, ulong Epoch, XnRecoveryReport? Recovery, string Driver);

/// <summary>What a run of blocks holds.</summary>
public enum CffsBlockKind
{
    /// <summary>Nothing.</summary>
    Free,

    /// <summary>XN's superblocks.</summary>
    XnSuperblock,

    /// <summary>XN's type catalogue.</summary>
    XnTemplates,

    /// <summary>XN's root catalogue.</summary>
    XnRoots,

    /// <summary>XN's free-map snapshot.</summary>
    XnFreeMap,

    /// <summary>The superblock of C-FFS.</summary>
    Superblock,

    /// <summary>Directory entries with their inodes.</summary>
    Slots,

    /// <summary>Nodes of extent trees.</summary>
    Tree,

    /// <summary>The intent log.</summary>
    Log,

    /// <summary>Contents of files.</summary>
    Data,

    /// <summary>Hash buckets of large directories.</summary>
    Index,

    /// <summary>Extended attributes.</summary>
    Attributes,

    /// <summary>In use by something else on the same disk, or waiting to become free.</summary>
    Other,

    /// <summary>Contents that several files, or several places of one, own.</summary>
    SharedData,

    /// <summary>XN's commit log.</summary>
    XnLog,
}

/// <summary>A run of blocks of one kind.</summary>
public readonly record struct CffsBlockRun(CffsBlockKind Kind, BlockExtent Extent);

/// <summary>An entry of a directory.</summary>
/// <param name="Name">The name's bytes.</param>
/// <param name="Inode">Inode number.</param>
/// <param name="Kind">What it is.</param>
/// <param name="Position">Where in the directory: enumeration can go on after it, also in a later mount.</param>
public readonly record struct CffsDirectoryEntry(ReadOnlyMemory<byte> Name, ulong Inode, CffsKind Kind, long Position)
{
    /// <summary>The name as text; bytes that are not UTF-8 become replacement characters.</summary>
    public string NameString => System.Text.Encoding.UTF8.GetString(Name.Span);
}
