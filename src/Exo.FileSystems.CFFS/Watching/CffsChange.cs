// SPDX-License-Identifier: MIT
using System.Text;

namespace Exo.FileSystems.CFFS;

/// <summary>What has happened to a name or an inode.</summary>
public enum CffsChangeKind
{
    /// <summary>A name was made: a new file, directory, link or node, another name of a file, or something moved in from where the watch does not look.</summary>
    Created,

    /// <summary>A name was removed, or moved to where the watch does not look. With an empty path: the watched directory itself.</summary>
    Removed,

    /// <summary>A name was changed or moved. What had the new name before is gone.</summary>
    Renamed,

    /// <summary>
    /// Two names changed places. Told of both, the second right behind the first: each is at its new path what was at its old one, which is the other's new one. Who keeps names and no inode numbers exchanges at the first and
    /// passes over the second.
    /// </summary>
    Exchanged,

    /// <summary>Contents or length of a file changed.</summary>
    Written,

    /// <summary>Permissions, owner, times, extended attributes or the number of names changed.</summary>
    Attributes,

    /// <summary>The queue was full: changes after those read so far are missing. Whoever keeps a copy of what is watched looks at all of it again.</summary>
    Overflow,
}

/// <summary>A change that a <see cref="CffsWatch"/> has seen. It is in core, and durable only after the next sync.</summary>
public readonly record struct CffsChange
{
    /// <summary>What has happened.</summary>
    public CffsChangeKind Kind { get; init; }

    /// <summary>Inode number of what it happened to; 0 for <see cref="CffsChangeKind.Overflow"/>.</summary>
    public ulong Inode { get; init; }

    /// <summary>What it happened to. A directory that comes, goes or moves takes along what is in it, which is not told.</summary>
    public CffsKind InodeKind { get; init; }

    /// <summary>Inode number of the directory that holds, or held, the name; for <see cref="CffsChangeKind.Renamed"/> and <see cref="CffsChangeKind.Exchanged"/> the new one's.</summary>
    public ulong Directory { get; init; }

    /// <summary>The path as it was then, UTF-8, below the watched directory. Empty for the watched directory itself, and for what happens to a file of several names, of which none is the one: that is told to every watch of a subtree, wherever the file is.</summary>
    public ReadOnlyMemory<byte> Path { get; init; }

    /// <summary>For <see cref="CffsChangeKind.Renamed"/> and <see cref="CffsChangeKind.Exchanged"/>: the path before.</summary>
    public ReadOnlyMemory<byte> OldPath { get; init; }

    /// <summary><see cref="Path"/> as text.</summary>
    public string PathString => Encoding.UTF8.GetString(Path.Span);

    /// <summary><see cref="OldPath"/> as text.</summary>
    public string OldPathString => Encoding.UTF8.GetString(OldPath.Span);
}
