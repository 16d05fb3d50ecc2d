// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Files;

/// <content>
/// Files that are wanted together though they lie in several directories, as somebody knows who has read one of them: a page and what it includes. What is missing of them is one batch of requests, without the
/// other files of their directories. Where such files have lain behind the first one twice, what lies behind the next is read with it, before anybody has named them (XN's read-ahead).
/// </content>
internal sealed partial class FileStore
{
    private readonly TrailShape _trail = new();

    /// <summary>Blocks that may be fetched because of one file: an eighth of the cache, and no more than a group.</summary>
    public int TogetherBlocksMax => Math.Min(GroupBlocksMax, core.Cache.Frames.FrameCount / 8);

    /// <summary>Brings a file's contents into core, if it is one extent, for somebody who will want others with it. False when they were there: then the others may be too.</summary>
    public async ValueTask<bool> FetchFirstAsync(Inode inode, IoMode mode)
    {
        Record record = RecordOf(inode);
        if (record.InlineLength > 0)
        {
            return core.Groups;
        }

        if (!core.Groups || TogetherRequest(inode, record) is not { } own || core.Cache.CountAbsent([own]) == 0)
        {
            return false;
        }

        await ReadTrailAsync(own.Extent, mode).ConfigureAwait(false);
        return await TryReadApartAsync(new Missing([own], null, null), mode).ConfigureAwait(false);
    }

    /// <summary>
    /// Begins to read what is missing of several files, of those that are one extent. It takes only frames that are free or clean, and an eighth of the cache at most; the task ends when all has come, or could not be
    /// had: whoever wants it reads it then.
    /// </summary>
    /// <param name="inodes">The files, in the order in which they will be wanted.</param>
    /// <param name="budget">Blocks that may be read, less those that are.</param>
    public Task FetchTogether(ReadOnlySpan<Inode> inodes, ref int budget)
    {
        List<XnReadRequest> requests = [];
        foreach (Inode inode in inodes)
        {
            if (TogetherRequest(inode, RecordOf(inode)) is { } request && request.Extent.Count <= budget && !requests.Contains(request) && core.Cache.CountAbsent([request]) > 0)
            {
                requests.Add(request);
                budget -= (int)request.Extent.Count;
            }
        }

        return requests.Count > 0 ? TryBegin(requests.ToArray()) ?? Task.CompletedTask : Task.CompletedTask;
    }

    /// <summary>Notes which files were wanted with one.</summary>
    public void NoteTogether(Inode first, IReadOnlyList<Inode> others)
    {
        Record record = RecordOf(first);
        if (TogetherRequest(first, record) is { } own)
        {
            _trail.Note(own.Extent, [.. others.Select(inode => TogetherRequest(inode, RecordOf(inode))?.Extent).OfType<BlockExtent>()]);
        }
    }

    /// <summary>Reads a file's blocks, of which nothing is in core, and what is expected behind them, by one request. Nothing when nothing is expected: its own blocks are read with their proof.</summary>
    private async ValueTask ReadTrailAsync(BlockExtent own, IoMode mode)
    {
        uint count = Math.Min(_trail.Expected, (uint)Math.Min(TogetherBlocksMax, core.Disk.BlocksReadAheadMax / 2));
        if (count == 0)
        {
            return;
        }

        if (core.Disk.BlocksReadAhead > core.Disk.BlocksReadAheadMax / 2)
        {
            core.Disk.DropReadAhead();
        }

        // XN takes frames that are free: so many are made free.
        FrameNumber[] room = new FrameNumber[own.Count + count];
        if (!core.Cache.TryTakeFrames(room))
        {
            return;
        }

        core.Cache.Release(room);
        BlockExtent[] extents = [new BlockExtent(own.First, own.Count + count)];
        try
        {
            _ = mode == IoMode.Sync ? core.Disk.ReadAhead(extents) : await core.Disk.ReadAheadAsync(extents).ConfigureAwait(false);
        }
        catch (BlockDeviceException)
        {
            // Whoever needs the block that cannot be read is told when he asks for it.
        }
    }

    private Record RecordOf(Inode inode)
    {
        lock (core.Metadata)
        {
            return inode.Record;
        }
    }

    /// <summary>The blocks of a file that is one extent, or its pack. They are proved when they are read, so no lock is needed.</summary>
    private XnReadRequest? TogetherRequest(Inode inode, in Record record) =>
        record.IsPacked ? PackRequest(inode)
        : record is { Kind: SlotKind.File, Depth: 0, Count: > 0 } && inode.Container is not null
            ? new XnReadRequest(inode.SlotBlock, MapLoader.PartitionOf(inode), new BlockExtent(new BlockNumber(record.Start), record.Count)) : null;
}
