// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Directories;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Volume;

namespace Exo.FileSystems.CFFS;

/// <content>What the synchronous doors do when everything is in core: nothing waits, and nothing is thrown. Where something is missing or wrong, the usual way finds out what.</content>
public sealed partial class CffsVolume
{
    /// <summary>Opens a file that exists and is not to be cut. Null says nothing.</summary>
    private CffsFile? TryOpenInCore(ReadOnlySpan<byte> path, CffsOpenMode mode, CffsIdentity identity)
    {
        bool writes = (mode & CffsOpenMode.Write) != 0;
        if (IsClosed || (mode & (CffsOpenMode.Create | CffsOpenMode.Truncate)) != 0 || (writes && IsReadOnly)
            || !Core.Paths.TryEnterParent(path, identity, out Inode? directory, out ReadOnlySpan<byte> name))
        {
            return null;
        }

        try
        {
            return Permissions.Allows(directory, identity, Permissions.Execute) && Core.Directories.TryPlaceInCore(directory, name, out SlotPlace place)
                ? TryOpenAt(directory, place, mode, identity)
                : null;
        }
        finally
        {
            Core.Paths.LeaveParent(directory);
        }
    }

    private CffsFile? TryOpenAt(Inode directory, in SlotPlace place, CffsOpenMode mode, CffsIdentity identity)
    {
        if (Slot.KindOf(Core.Directories.SectorOf(place)[(place.InSector * Slot.SizeBytes)..]) != SlotKind.File)
        {
            Core.Cache.Release(place.Frame);
            return null;
        }

        Inode inode = Core.GetEmbeddedInode(directory, place)!;
        int wanted = ((mode & CffsOpenMode.Read) != 0 ? Permissions.Read : 0) | ((mode & CffsOpenMode.Write) != 0 ? Permissions.Write : 0);
        if (inode.Record.Kind != SlotKind.File || !Permissions.Allows(inode, identity, wanted) || (inode.IsFrozen && (mode & CffsOpenMode.Write) != 0))
        {
            Core.Inodes.Release(inode);
            return null;
        }

        // Whoever takes the file's one name away holds the directory's lock, as we do.
        lock (Core.Metadata)
        {
            inode.Opens++;
        }

        return new CffsFile(this, inode, mode);
    }
}
