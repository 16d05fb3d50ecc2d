// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Paths;

/// <content>
/// Who asks for the attributes of one file of a directory often asks for those of others next: the directory that a path led to last is remembered, and is right as long as no name, owner or
/// permission has changed on the volume.
/// </content>
internal sealed partial class PathWalk
{
    private Recent? _recent;

    /// <summary>A directory that somebody's path led to; true while the volume's count of changes is what it was. Held, so that it stays in memory, but only until another is remembered.</summary>
    private sealed record Recent(byte[] Prefix, CffsIdentity Identity, long NamesVersion, Inode Directory);

    /// <summary>The attributes of what a path leads to, when its directory is the last one that was asked about and everything is in core. False says nothing.</summary>
    public bool TryStatInCore(ReadOnlySpan<byte> path, bool followLast, CffsIdentity identity, out CffsStat stat)
    {
        stat = default;
        int cut = path.LastIndexOf((byte)'/') + 1;
        ReadOnlySpan<byte> name = path[cut..];
        if (Volatile.Read(ref _recent) is not { } recent || recent.NamesVersion != Volatile.Read(ref core.NamesVersion) || recent.Identity != identity
            || !recent.Prefix.AsSpan().SequenceEqual(path[..cut]) || name.Length is 0 or > Slot.NameBytesMax || core.Inodes.TryHold(recent.Directory.Number) is not { } directory)
        {
            return false;
        }

        bool isInside = directory == recent.Directory && directory.Lock.TryEnter();

        // Names of directories change under the directories' locks: whoever comes in here after a change sees it in the count.
        try
        {
            if (!isInside || recent.NamesVersion != Volatile.Read(ref core.NamesVersion) || directory.IsRemoved || !core.Directories.TryFindInCore(directory, name, out Record record))
            {
                return false;
            }

            bool isPlain = record.Kind is SlotKind.File or SlotKind.Special || (record.Kind == SlotKind.SymbolicLink && !followLast);
            if (!isPlain || record.Depth != 0 || core.Inodes.Contains(record.Inode))
            {
                return false;
            }

            stat = CffsVolume.StatOf(record, record.Links);
            return true;
        }
        finally
        {
            if (isInside)
            {
                directory.Lock.Exit();
            }

            core.Inodes.Release(directory);
        }
    }

    private void Remember(ReadOnlySpan<byte> path, CffsIdentity identity, long namesVersion, Inode directory)
    {
        if (identity.Root is not null)
        {
            // Where its paths begin depends on a handle, which may be closed.
            return;
        }

        int cut = path.LastIndexOf((byte)'/') + 1;
        if (_recent is { } same && same.Directory == directory && same.NamesVersion == namesVersion && same.Identity == identity && same.Prefix.AsSpan().SequenceEqual(path[..cut]))
        {
            return;
        }

        core.Inodes.Hold(directory);
        if (Interlocked.Exchange(ref _recent, new Recent(path[..cut].ToArray(), identity, namesVersion, directory)) is { } old)
        {
            core.Inodes.Release(old.Directory);
        }
    }
}
