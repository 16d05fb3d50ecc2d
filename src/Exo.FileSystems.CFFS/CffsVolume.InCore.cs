// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.FileSystems.CFFS.Directories;
using Exo.FileSystems.CFFS.Files;
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
            directory.Lock.Exit();
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
        _ = Interlocked.Increment(ref inode.Opens);

        return new CffsFile(this, inode, mode, identity);
    }

    /// <summary>
    /// Does something with a file that a path leads to, under its directory's lock: with its record alone where no inode is in memory, because then the record is all there is to it and nobody can bring
    /// the inode in meanwhile; else with the inode, under its lock. False when something is not in core or not allowed: the usual way finds out what.
    /// </summary>
    private bool TryVisitInCore<TVisit>(ReadOnlySpan<byte> path, CffsIdentity identity, ref TVisit visit)
        where TVisit : struct, IFileVisit, allows ref struct
    {
        if (IsClosed || !Core.Paths.TryEnterParent(path, identity, out Inode? directory, out ReadOnlySpan<byte> name))
        {
            return false;
        }

        try
        {
            if (!Permissions.Allows(directory, identity, Permissions.Execute) || !Core.Directories.TryPlaceInCore(directory, name, out SlotPlace place))
            {
                return false;
            }

            try
            {
                if (!Record.TryParse(Core.Directories.SectorOf(place), place.InSector, out Record record) || record.Kind != SlotKind.File)
                {
                    return false;
                }

                if (record.Count > 0)
                {
                    Core.Disk.Prefetch(new BlockNumber(record.Start));
                }

                if (Core.Inodes.TryHold(record.Inode) is { } inode)
                {
                    return TryVisit(inode, identity, ref visit);
                }

                if (record.HasTree || !Permissions.Allows(record, identity, Permissions.Read)
                    || !visit.TryVisit(Core.Files, record, Core.Directories.SectorOf(place), place.InSector))
                {
                    return false;
                }

                if (directory.HasContentsAhead)
                {
                    Core.Files.ContentsUsed(directory);
                }

                if (Core.Files.WantsAccessTime(record))
                {
                    Core.Files.NoteAccess(directory, place, record);
                }

                return true;
            }
            finally
            {
                Core.Cache.Release(place.Frame);
            }
        }
        finally
        {
            directory.Lock.Exit();
        }
    }

    private bool TryVisit<TVisit>(Inode inode, CffsIdentity identity, ref TVisit visit)
        where TVisit : struct, IFileVisit, allows ref struct
    {
        try
        {
            // Not waited for: the order of locks is by number.
            if (!inode.Lock.TryEnter())
            {
                return false;
            }

            try
            {
                if (inode.Record.Kind != SlotKind.File || !Permissions.Allows(inode, identity, Permissions.Read) || !visit.TryVisit(Core.Files, inode))
                {
                    return false;
                }

                Core.Files.Accessed(inode);
                return true;
            }
            finally
            {
                inode.Lock.Exit();
            }
        }
        finally
        {
            Core.Inodes.Release(inode);
        }
    }

    /// <summary>What is done with a file that is in core.</summary>
    private interface IFileVisit
    {
        /// <summary>With a file of which no inode is in memory.</summary>
        bool TryVisit(FileStore files, scoped in Record record, scoped ReadOnlySpan<byte> sector, int inSector);

        /// <summary>With one that is in memory, under its lock.</summary>
        bool TryVisit(FileStore files, Inode inode);
    }

    private ref struct Lending : IFileVisit
    {
        public CffsSpanLease Lease;

        public bool TryVisit(FileStore files, scoped in Record record, scoped ReadOnlySpan<byte> sector, int inSector) => files.TryLease(record, sector, out Lease);

        public bool TryVisit(FileStore files, Inode inode) => files.TryLease(inode, 0, (int)Math.Min(inode.Record.Size, int.MaxValue), out Lease);
    }

    private ref struct Copying(Span<byte> destination) : IFileVisit
    {
        private readonly Span<byte> _destination = destination;

        public int Length;

        public bool TryVisit(FileStore files, scoped in Record record, scoped ReadOnlySpan<byte> sector, int inSector) => files.TryRead(record, sector, inSector, _destination, out Length);

        public bool TryVisit(FileStore files, Inode inode)
        {
            Length = files.ReadCached(inode, 0, _destination);
            return (ulong)Length == Math.Min((ulong)_destination.Length, inode.Record.Size);
        }
    }
}
