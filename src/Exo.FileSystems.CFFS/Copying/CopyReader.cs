// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Allocation;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Volume;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Copying;

/// <summary>
/// The reading side of a tree's copy: goes over the tree, brings what is to be copied into core in large requests sorted by block, and says what there is to do. What it reads ahead is a hint: whoever
/// copies asks for the contents anew, under the inode's lock. The tree may change meanwhile, as under any copying program.
/// </summary>
internal sealed class CopyReader(VolumeCore core, CopyQueue queue, Func<Inode, bool> isClonedWhole, Predicate<Inode> isLeftOut)
{
    private const int EntriesAtOnce = 1024;
    private const int BlocksAtOnce = 1024;
    private const int RangeBlocks = 256;
    private const int BlockBytes = FramePool.FrameBytes;

    // Files of several names whose contents have been read under one of them.
    private readonly HashSet<ulong> _seen = [];

    /// <summary>Reads everything below a directory; its hold becomes the queue's.</summary>
    public void Read(CopiedDirectory root)
    {
        Stack<CopiedDirectory> pending = new([root]);
        try
        {
            while (pending.TryPop(out CopiedDirectory? directory))
            {
                if (!ReadDirectory(directory, pending))
                {
                    break;
                }
            }

            queue.End(null);
        }
        catch (Exception failure)
        {
            queue.End(failure);
        }
    }

    /// <summary>Whether a file's contents are copied in one piece, with its name.</summary>
    public static bool IsSmall(in Record record) =>
        record.IsPacked || (record is { Kind: SlotKind.File, Depth: 0 } && record.Size <= BlockAllocator.SmallFileBlocks * BlockBytes
        && (record.Size == record.InlineLength || record.Count == (record.Size + BlockBytes - 1) / BlockBytes));

    /// <summary>An inode's record at one moment.</summary>
    public static Record RecordOf(VolumeCore core, Inode inode)
    {
        lock (core.Metadata)
        {
            return inode.Record;
        }
    }

    private bool ReadDirectory(CopiedDirectory directory, Stack<CopiedDirectory> pending)
    {
        List<CopiedDirectory> below = [];
        List<CffsDirectoryEntry> entries = [];
        long position = -1;
        do
        {
            entries.Clear();
            directory.Source.Lock.Enter();
            try
            {
                core.Directories.ListSomeAsync(directory.Source, position, EntriesAtOnce, entries, IoMode.Sync).Take();
            }
            finally
            {
                directory.Source.Lock.Exit();
            }

            List<(ReadOnlyMemory<byte> Name, Inode Inode)> found = Find(directory.Source, entries);
            int taken = 0;
            try
            {
                while (taken < found.Count)
                {
                    int count = ReadAhead(found, taken);
                    for (; count > 0; count--)
                    {
                        // Its hold goes with it, wherever it goes.
                        (ReadOnlyMemory<byte> name, Inode inode) = found[taken++];
                        if (!AddEntry(directory, name, inode, below))
                        {
                            return false;
                        }
                    }
                }
            }
            finally
            {
                found.Skip(taken).ToList().ForEach(entry => core.Inodes.Release(entry.Inode));
            }

            position = entries.Count > 0 ? entries[^1].Position : position;
        }
        while (entries.Count > 0);

        for (int i = below.Count - 1; i >= 0; i--)
        {
            pending.Push(below[i]);
        }

        return queue.TryAdd(new CopyStep(CopyStepKind.DirectoryEnd, directory));
    }

    private List<(ReadOnlyMemory<byte> Name, Inode Inode)> Find(Inode directory, List<CffsDirectoryEntry> entries)
    {
        List<(ReadOnlyMemory<byte>, Inode)> found = new(entries.Count);
        foreach (CffsDirectoryEntry entry in entries)
        {
            if (core.Paths.StepAsync(directory, entry.Name, CffsIdentity.Superuser, IoMode.Sync).Take() is not { } inode)
            {
                continue;
            }

            if (isLeftOut(inode))
            {
                core.Inodes.Release(inode);
            }
            else
            {
                found.Add((entry.Name, inode));
            }
        }

        return found;
    }

    /// <summary>Brings the contents of small files into core, from one entry on, as many as go into one batch of requests. Returns the entries that it covers, at least one.</summary>
    private int ReadAhead(List<(ReadOnlyMemory<byte> Name, Inode Inode)> found, int from)
    {
        List<XnReadRequest> requests = [];
        int blocks = 0;
        int end = from;
        for (; end < found.Count && blocks < BlocksAtOnce; end++)
        {
            Inode inode = found[end].Inode;
            Record record = RecordOf(core, inode);
            if (record.IsPacked && core.Files.PackRequest(inode) is { } pack && !requests.Contains(pack))
            {
                requests.Add(pack);
                blocks++;
            }
            else if (IsSmall(record) && record.Count > 0 && inode.Container is not null && !core.Disk.TryGetEntry(new BlockNumber(record.Start), out _))
            {
                requests.Add(new XnReadRequest(inode.SlotBlock, MapLoader.PartitionOf(inode), new BlockExtent(new BlockNumber(record.Start), record.Count)));
                blocks += (int)record.Count;
            }
        }

        if (requests.Count > 0 && queue.Reserve(blocks))
        {
            requests.Sort((a, b) => a.Extent.First.Value.CompareTo(b.Extent.First.Value));
            try
            {
                core.Cache.ReadAsync(requests.ToArray(), IoMode.Sync).Take();
            }
            catch (Exception failure) when (failure is CffsException { Error: CffsError.Corrupt } or XnException or BlockDeviceException)
            {
                // One of them has changed meanwhile, or lies where the disk is bad: whoever copies it finds out.
            }
        }

        return end - from;
    }

    private bool AddEntry(CopiedDirectory directory, ReadOnlyMemory<byte> name, Inode inode, List<CopiedDirectory> below)
    {
        Record record = RecordOf(core, inode);
        CopyStep step = new(CopyStepKind.Entry, directory) { Name = name, Source = inode };
        if (inode.IsDirectory)
        {
            CopiedDirectory child = new(inode);
            below.Add(child);
            return queue.Reserve(0) && Add(step with { Below = child });
        }

        bool isSmall = IsSmall(record);
        bool isFirstName = record.Links <= 1 || _seen.Add(inode.Number);
        bool hasRanges = record.Kind == SlotKind.File && !isSmall && !isClonedWhole(inode) && isFirstName;
        if (!hasRanges)
        {
            return queue.Reserve(0) && Add(step with { Blocks = isSmall ? (int)record.Count : 0 });
        }

        // Held once more for as long as its ranges are read here.
        core.Inodes.Hold(inode);
        try
        {
            return Add(step with { HasRanges = true }) && AddRanges(directory, inode) && queue.TryAdd(new CopyStep(CopyStepKind.FileEnd, directory));
        }
        finally
        {
            core.Inodes.Release(inode);
        }

        bool Add(in CopyStep entry)
        {
            if (queue.TryAdd(entry))
            {
                return true;
            }

            core.Inodes.Release(inode);
            return false;
        }
    }

    private bool AddRanges(CopiedDirectory directory, Inode inode)
    {
        ulong logical = 0;
        while (true)
        {
            if (!queue.Reserve(RangeBlocks))
            {
                return false;
            }

            (ulong First, int Count)? range = ReadRange(inode, logical);
            if (range is not { } next)
            {
                return true;
            }

            if (!queue.TryAdd(new CopyStep(CopyStepKind.Range, directory) { Offset = (long)next.First * BlockBytes, LengthBytes = next.Count * BlockBytes, Blocks = next.Count }))
            {
                return false;
            }

            logical = next.First + (ulong)next.Count;
        }
    }

    /// <summary>The next range of a file that is no hole, brought into core; null when none is left.</summary>
    private (ulong First, int Count)? ReadRange(Inode inode, ulong logical)
    {
        inode.Lock.Enter();
        try
        {
            core.Maps.EnsureAsync(inode, IoMode.Sync).Take();
            ulong end = inode.IsRemoved ? 0 : (inode.Record.Size + BlockBytes - 1) / BlockBytes;
            if (inode.Record.InlineLength > 0 || inode.Record.IsPacked)
            {
                return logical == 0 && end > 0 ? (0, 1) : null;
            }

            ulong first = inode.Map.TryFind(logical, out _) ? logical : inode.Map.NextMapped(logical);
            if (first >= end)
            {
                return null;
            }

            int count = 0;
            bool isInCore = true;
            for (; count < RangeBlocks && first + (ulong)count < end && inode.Map.TryFind(first + (ulong)count, out MappedExtent extent); count++)
            {
                isInCore = isInCore && core.Disk.TryGetEntry(new BlockNumber(extent.Start + (first + (ulong)count - extent.Logical)), out _);
            }

            if (!isInCore)
            {
                core.Files.FetchAsync(inode, (long)first * BlockBytes, (long)count * BlockBytes, IoMode.Sync).Take();
            }

            return (first, count);
        }
        finally
        {
            inode.Lock.Exit();
        }
    }
}
