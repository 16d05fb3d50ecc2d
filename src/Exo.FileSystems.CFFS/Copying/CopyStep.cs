// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Inodes;

namespace Exo.FileSystems.CFFS.Copying;

/// <summary>What the copying thread does next, in the order in which the reading thread has found it.</summary>
internal enum CopyStepKind
{
    /// <summary>An entry of <see cref="CopyStep.Directory"/>: its inode, held, and for a directory <see cref="CopyStep.Below"/>.</summary>
    Entry,

    /// <summary>A range of the large file that was the last entry.</summary>
    Range,

    /// <summary>The large file that was the last entry has no more ranges.</summary>
    FileEnd,

    /// <summary>All entries of the directory have been made.</summary>
    DirectoryEnd,
}

/// <summary>A directory and what becomes its copy. The original is held until its end is reached, the copy likewise, from when it is made.</summary>
internal sealed class CopiedDirectory(Inode source)
{
    public Inode Source { get; } = source;

    public Inode? Target { get; set; }
}

/// <summary>One step.</summary>
internal readonly record struct CopyStep(CopyStepKind Kind, CopiedDirectory Directory)
{
    public ReadOnlyMemory<byte> Name { get; init; }

    public Inode? Source { get; init; }

    public CopiedDirectory? Below { get; init; }

    /// <summary>Contents come as ranges.</summary>
    public bool HasRanges { get; init; }

    public long Offset { get; init; }

    public int LengthBytes { get; init; }

    /// <summary>Blocks that were brought into core for it.</summary>
    public int Blocks { get; init; }
}
