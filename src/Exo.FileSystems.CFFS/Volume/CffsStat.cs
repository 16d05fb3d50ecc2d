// SPDX-License-Identifier: MIT
namespace Exo.FileSystems.CFFS;

/// <summary>The attributes of an inode, as <c>stat(2)</c> gives them. Times are nanoseconds since 1970-01-01T00:00:00Z.</summary>
public readonly record struct CffsStat
{
    /// <summary>Inode number: stable across rename and remount, never reused.</summary>
    public ulong Inode { get; init; }

    /// <summary>What it is.</summary>
    public CffsKind Kind { get; init; }

    /// <summary>Permission bits with set-id and sticky bits (12 bits).</summary>
    public ushort Permissions { get; init; }

    /// <summary><c>st_mode</c>: type and permission bits.</summary>
    public ushort Mode { get; init; }

    /// <summary>Number of names; for a directory 2 plus its subdirectories.</summary>
    public uint Links { get; init; }

    /// <summary>Owner.</summary>
    public uint User { get; init; }

    /// <summary>Group.</summary>
    public uint Group { get; init; }

    /// <summary>Length in bytes.</summary>
    public long Size { get; init; }

    /// <summary>Blocks of 4096 bytes that it owns, without the nodes of its extent tree.</summary>
    public ulong AllocatedBlocks { get; init; }

    /// <summary>Bytes of its contents that lie in its directory, beside its attributes: all of them, where there are any, and it owns no blocks for contents then.</summary>
    public int InlineBytes { get; init; }

    /// <summary>It belongs to a snapshot: nothing of it changes (<see cref="CffsVolume.CreateSnapshot(string, string, CffsIdentity?, IProgress{CffsSnapshotProgress}?, CancellationToken)"/>).</summary>
    public bool IsSnapshot => (Inode & Layout.Superblock.SnapshotInodes) != 0;

    /// <summary>Last access, ns.</summary>
    public long AccessTimeNs { get; init; }

    /// <summary>Last change of contents, ns.</summary>
    public long ModifyTimeNs { get; init; }

    /// <summary>Last change of attributes or contents, ns.</summary>
    public long ChangeTimeNs { get; init; }

    /// <summary>Creation, ns.</summary>
    public long BirthTimeNs { get; init; }

    /// <summary>Device number (major &lt;&lt; 8 | minor, as Linux encodes it) of a device node, else 0.</summary>
    public ulong DeviceNumber { get; init; }

    /// <summary>Changes whenever contents change while the volume stays open; compares caches with their source.</summary>
    public long Version { get; init; }
}

/// <summary>Attributes to change; null leaves one as it is. Times are nanoseconds since 1970-01-01T00:00:00Z.</summary>
public readonly record struct CffsAttributeChange
{
    /// <summary>New permission bits (12 bits).</summary>
    public ushort? Permissions { get; init; }

    /// <summary>New owner.</summary>
    public uint? User { get; init; }

    /// <summary>New group.</summary>
    public uint? Group { get; init; }

    /// <summary>New length in bytes; files only.</summary>
    public long? Size { get; init; }

    /// <summary>New access time, ns.</summary>
    public long? AccessTimeNs { get; init; }

    /// <summary>New modification time, ns.</summary>
    public long? ModifyTimeNs { get; init; }
}

/// <summary>Space on a volume, as <c>statfs(2)</c> gives it, in blocks of 4096 bytes.</summary>
/// <param name="TotalBlocks">All blocks of the disk.</param>
/// <param name="FreeBlocks">Blocks that may be allocated now.</param>
/// <param name="WillFreeBlocks">Blocks that become free when the removal of the last pointer to them is durable.</param>
/// <param name="AvailableBlocks">Of the free blocks, those for new contents; the others are kept so that files can be removed from a full volume.</param>
public readonly record struct CffsSpace(ulong TotalBlocks, ulong FreeBlocks, ulong WillFreeBlocks, ulong AvailableBlocks)
{
    /// <summary>Bytes in a block.</summary>
    public const int BlockBytes = 4096;
}
