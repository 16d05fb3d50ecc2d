// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Inodes;

namespace Exo.FileSystems.CFFS.Nodes;

/// <content>Inodes by number.</content>
internal sealed partial class NodeDoor
{
    /// <summary>The inode of a number, held, or null; see <see cref="Paths.PathWalk.FindByNumberAsync"/> for what that costs.</summary>
    public Inode? FindByNumber(ulong number) => core.Paths.FindByNumberAsync(number, CffsIdentity.Superuser, IoMode.Sync).Take();
}
