// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Directories;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Paths;
using Exo.FileSystems.CFFS.Volume;

namespace Exo.FileSystems.CFFS.Operations;

/// <summary>
/// Changes of the name space. Creating and removing a name is one change of one sector, hence atomic; what spans sectors is ordered so that every
/// crash leaves the old state or the new one, or a state that the next mount or load recognises (docs/cffs-format.md, last table).
/// </summary>
internal sealed partial class NameOperations(VolumeCore core)
{
    private static readonly Comparison<Inode?> s_inOrder = static (one, other) => Rank(one).CompareTo(Rank(other));

    private readonly NodeLock _moves = new();

    /// <summary>What belongs to a snapshot keeps its name; its directories, and the snapshot itself, go as a whole (<see cref="RemoveSnapshotAsync"/>). A file that a repair has found may go.</summary>
    private static void RequireThawed(Inode directory, Inode entry, CffsIdentity identity)
    {
        if (!ReferenceEquals(identity, CffsIdentity.Collector))
        {
            directory.RequireThawed();
            if (entry.IsDirectory)
            {
                entry.RequireThawed();
            }
        }
    }

    private static void RequireWritable(Inode directory, CffsIdentity identity)
    {
        if (!directory.IsDirectory)
        {
            throw new CffsException(CffsError.NotDirectory, $"inode {directory.Number} is no directory");
        }

        if (directory.IsRemoved || directory.IsUnlinked)
        {
            throw new CffsException(CffsError.NotFound, $"directory {directory.Number} has been removed");
        }

        directory.RequireThawed();
        Permissions.Require(directory, identity, Permissions.Write | Permissions.Execute);
    }

    /// <summary>Refuses a directory with entries. False when it holds dead records only: they go with a commit, and the caller tries again.</summary>
    private async ValueTask<bool> RequireEmptyAsync(Inode directory, IoMode io)
    {
        DirectoryState state = await core.Directories.EnsureLoadedAsync(directory, io).ConfigureAwait(false);
        if (!await core.Directories.IsEmptyAsync(directory, io).ConfigureAwait(false))
        {
            throw new CffsException(CffsError.NotEmpty, "the directory is not empty");
        }

        return state.Dead.Count == 0;
    }

    /// <summary>The frames of a directory's blocks, retained: they are freed with it, and must be in core then for XN to see that they own nothing. Of anything else none.</summary>
    private async ValueTask<List<FrameNumber>> HoldBlocksAsync(Inode inode, IoMode io)
    {
        List<FrameNumber> held = [];
        if (!inode.IsDirectory)
        {
            return held;
        }

        try
        {
            for (ulong logical = inode.Map.NextMapped(0); logical != ulong.MaxValue; logical = inode.Map.NextMapped(logical + 1))
            {
                held.Add(await core.Directories.GetBlockAsync(inode, logical, io).ConfigureAwait(false));
            }

            return held;
        }
        catch
        {
            held.ForEach(core.Cache.Release);
            throw;
        }
    }

    private async ValueTask<SlotPlace> RequireAsync(Inode directory, ReadOnlyMemory<byte> name, IoMode io) =>
        await core.Directories.FindAsync(directory, name, io).ConfigureAwait(false)
            ?? throw new CffsException(CffsError.NotFound, $"'{PathName.Display(name)}' not found");

    /// <summary>A directory's entries have changed. Where what goes or moves is itself no directory and no link, paths lead where they led.</summary>
    private void Touch(Inode directory, bool changesPaths = true) => Touch(directory, core.Now(), changesPaths);

    private void Touch(Inode directory, long now, bool changesPaths)
    {
        directory.Record.ModifyTime = directory.Record.ChangeTime = now;
        core.Advance(ref directory.Version);
        core.NoteNames(changesPaths);
        core.Committer.AddDirty(directory);
    }

    /// <summary>Takes the locks of inodes, each once, in their order, which the array is put into for <see cref="Exit"/>.</summary>
    internal static ValueTask EnterAsync(Inode?[] inodes, IoMode io)
    {
        inodes.AsSpan().Sort(s_inOrder);
        for (int i = 0; i < inodes.Length; i++)
        {
            if (!IsTakenAt(inodes, i) || inodes[i]!.Lock.TryEnter())
            {
                continue;
            }

            if (io == IoMode.Async)
            {
                return EnterRestAsync(inodes, i);
            }

            inodes[i]!.Lock.Enter();
        }

        return default;
    }

    internal static void Exit(Inode?[] inodes)
    {
        for (int i = inodes.Length - 1; i >= 0; i--)
        {
            if (IsTakenAt(inodes, i))
            {
                inodes[i]!.Lock.Exit();
            }
        }
    }

    private static async ValueTask EnterRestAsync(Inode?[] inodes, int from)
    {
        for (int i = from; i < inodes.Length; i++)
        {
            if (IsTakenAt(inodes, i))
            {
                await inodes[i]!.Lock.EnterAsync(IoMode.Async).ConfigureAwait(false);
            }
        }
    }

    // There may be gaps, and the same inode more than once.
    private static bool IsTakenAt(Inode?[] inodes, int at) => inodes[at] is { } inode && (at == 0 || inodes[at - 1] != inode);

    // The built-in tables come last: lookups take them while they hold a directory.
    private static ulong Rank(Inode? inode) =>
        inode is null ? 0 : inode.Number is Superblock.OrphanInode or Superblock.ExternalInode ? ulong.MaxValue - inode.Number : inode.Number;
}
