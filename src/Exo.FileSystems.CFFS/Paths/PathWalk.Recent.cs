// SPDX-License-Identifier: MIT
using System.Diagnostics.CodeAnalysis;
using System.IO.Hashing;
using Exo.FileSystems.CFFS.Directories;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Volume;

namespace Exo.FileSystems.CFFS.Paths;

/// <content>
/// Who asks for one file of a directory often asks for others next. The directories that paths led to lately are remembered by the text before a path's last name, and are right as long as nothing
/// has changed that a path goes through (<see cref="VolumeCore.PathsVersion"/>).
/// </content>
internal sealed partial class PathWalk
{
    private const int RecentMax = 4096;

    private readonly Recent?[] _recent = new Recent?[RecentMax];

    /// <summary>A directory that somebody's path led to. Not held: it is asked whether it is still in memory.</summary>
    private sealed record Recent(byte[] Prefix, CffsIdentity Identity, long PathsVersion, Inode Directory);

    /// <summary>
    /// The directory of a path's last name, if it is known without a walk: its lock taken, which keeps it in memory. False says nothing. Whoever searches it asks for the permission to do so, and leaves
    /// its lock.
    /// </summary>
    public bool TryEnterParent(ReadOnlySpan<byte> path, CffsIdentity identity, [NotNullWhen(true)] out Inode? directory, out ReadOnlySpan<byte> name)
    {
        if (!TryRecent(path, identity, out directory, out int nameFrom))
        {
            name = default;
            return false;
        }

        name = path[nameFrom..];
        if (directory.Lock.TryEnter())
        {
            if (directory is { IsRemoved: false, IsForgotten: false })
            {
                return true;
            }

            directory.Lock.Exit();
        }

        return false;
    }

    /// <summary>The attributes of what a path leads to, when its directory has been asked about lately and everything is in core. False says nothing.</summary>
    public bool TryStatInCore(ReadOnlySpan<byte> path, bool followLast, CffsIdentity identity, out CffsStat stat)
    {
        stat = default;
        if (!TryEnterParent(path, identity, out Inode? directory, out ReadOnlySpan<byte> name))
        {
            return false;
        }

        try
        {
            if (!Permissions.Allows(directory, identity, Permissions.Execute) || !core.Directories.TryFindInCore(directory, name, out Record record))
            {
                return false;
            }

            bool isPlain = record.Kind is SlotKind.File or SlotKind.Special || (record.Kind == SlotKind.SymbolicLink && !followLast);
            if (!isPlain || record.HasTree)
            {
                return false;
            }

            if (core.Inodes.TryHold(record.Inode) is { } inode)
            {
                bool knowsBlocks = !inode.Record.HasTree || inode.IsMapLoaded;
                stat = knowsBlocks ? CffsVolume.StatOf(inode) : default;
                core.Inodes.Release(inode);
                return knowsBlocks;
            }

            stat = CffsVolume.StatOf(record, record.Links);
            return true;
        }
        finally
        {
            directory.Lock.Exit();
        }
    }

    /// <summary>The directory that the text before a path's last name led to; it may have left memory. The text is compared as it is: <c>a/../b</c> is another way than <c>b</c>.</summary>
    private bool TryRecent(ReadOnlySpan<byte> path, CffsIdentity identity, [NotNullWhen(true)] out Inode? directory, out int nameFrom)
    {
        nameFrom = path.LastIndexOf((byte)'/') + 1;
        ReadOnlySpan<byte> name = path[nameFrom..];
        ReadOnlySpan<byte> prefix = path[..nameFrom];
        directory = null;
        if (name.Length is 0 or > Slot.NameBytesMax || name.SequenceEqual("."u8) || name.SequenceEqual(".."u8)
            || Volatile.Read(ref _recent[PlaceOf(prefix)]) is not { } recent)
        {
            return false;
        }

        recent.Directory.Prefetch();
        if (recent.PathsVersion != Volatile.Read(ref core.PathsVersion) || recent.Identity != identity
            || !recent.Prefix.AsSpan().SequenceEqual(prefix))
        {
            return false;
        }

        directory = recent.Directory;
        return true;
    }

    /// <summary>Notes where a walk has led that began when the count of changes was <paramref name="pathsVersion"/>.</summary>
    private void Remember(ReadOnlySpan<byte> path, ReadOnlySpan<byte> name, CffsIdentity identity, long pathsVersion, Inode directory)
    {
        int nameFrom = path.LastIndexOf((byte)'/') + 1;

        // Where a confined identity's paths begin depends on a handle, which may be closed.
        if (identity.Root is null && name.Length > 0 && path.Length - nameFrom == name.Length)
        {
            ReadOnlySpan<byte> prefix = path[..nameFrom];
            Volatile.Write(ref _recent[PlaceOf(prefix)], new Recent(prefix.ToArray(), identity, pathsVersion, directory));
        }
    }

    private static int PlaceOf(ReadOnlySpan<byte> prefix) => (int)(XxHash3.HashToUInt64(prefix) % RecentMax);
}
