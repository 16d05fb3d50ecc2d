// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Inodes;

namespace Exo.FileSystems.CFFS.Watching;

/// <summary>
/// Whoever keeps what it was told of inodes (a kernel that has the volume mounted) and must hear when that is true no more. It hears of inodes with <see cref="Inode.Tellings"/> only, and not of what
/// its own threads change (<see cref="ChangeFeed.ActFor"/>). Called under the metadata lock: it notes what it hears and returns.
/// </summary>
internal interface IChangeObserver
{
    /// <summary>A name of a directory came, went, or means another inode; links and times of both are others.</summary>
    void NameChanged(Inode directory, ReadOnlySpan<byte> name, ulong inode);

    /// <summary>Attributes of an inode changed and, where <paramref name="contents"/> says so, its length or contents.</summary>
    /// <param name="inode">The inode.</param>
    /// <param name="contents">Not only attributes.</param>
    /// <param name="directory">Where its name is; null where it has several.</param>
    /// <param name="name">Its name there.</param>
    void InodeChanged(Inode inode, bool contents, Inode? directory, ReadOnlySpan<byte> name);
}
