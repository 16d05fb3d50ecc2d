// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.Storage.XN;

/// <summary>Sees each metadata block that recovery visits, so that a library OS can mend its own invariants in the same pass.</summary>
public interface IXnRecoveryObserver
{
    /// <summary>Called once for each metadata block, in the order of the traversal; calls never overlap, but come from several threads.</summary>
    /// <param name="block">The block.</param>
    /// <param name="template">Its template.</param>
    /// <param name="parent">The block that points to it; block 0 for a root.</param>
    /// <param name="parentPartition">In which partition.</param>
    /// <param name="bytes">Its 4096 bytes; valid during the call.</param>
    void Visit(BlockNumber block, TemplateId template, BlockNumber parent, int parentPartition, ReadOnlySpan<byte> bytes);
}

/// <summary>How far recovery has come.</summary>
/// <param name="MetadataBlocks">Metadata blocks visited so far.</param>
/// <param name="DataBlocks">Blocks of data reached so far.</param>
/// <param name="KnownBlocks">Metadata blocks known and not visited yet; there may be more below them.</param>
public readonly record struct XnRecoveryProgress(long MetadataBlocks, long DataBlocks, long KnownBlocks);

/// <summary>What recovery found.</summary>
/// <param name="MetadataBlocks">Metadata blocks visited.</param>
/// <param name="DataBlocks">Blocks of data reached.</param>
/// <param name="SharedBlocks">Blocks of counted templates to which more than one pointer leads.</param>
/// <param name="MultiplyOwnedBlocks">Other blocks reached twice: an interrupted move, for the library OS to finish.</param>
/// <param name="BadPointers">Pointers out of the disk or into XN's own region, or sets that no <c>owns</c> may emit: ignored.</param>
/// <param name="UnreadableBlocks">Metadata that the device could not read: what is below is unknown, the volume is attached read-only.</param>
public sealed record XnRecoveryReport(long MetadataBlocks, long DataBlocks, long SharedBlocks, long MultiplyOwnedBlocks, long BadPointers, long UnreadableBlocks);

/// <summary>
/// Rebuilds the free map after a crash (exokernel.md 2.5.7): everything reachable from a root through <c>owns</c> is in use, everything else is free.
/// Breadth-first, in batches sorted by block, so that the disk is read in long runs, one batch ahead. Runs before the volume exists.
/// </summary>
internal sealed class RecoveryPass(
    BlockDevice device, XnSuperblock superblock, TemplateCatalogue templates, List<RootEntry> roots, IXnRecoveryObserver? observer,
    IProgress<XnRecoveryProgress>? progress)
{
    /// <summary>Blocks of one batch, of which two are in hand: 4 MiB each.</summary>
    private const int BatchBlocks = 1024;

    private readonly OwnsRunner _owns = new();
    private readonly ExtentSet _set = new();
    private long _metadata;
    private long _data;
    private long _shared;
    private long _bad;
    private long _unreadable;

    private readonly record struct Visit(BlockNumber Block, Template Template, BlockNumber Parent, int ParentPartition);

    public XnRecoveryReport Run(DiskFreeMap freeMap, Dictionary<ulong, int> multiplyOwned)
    {
        freeMap.Load(0, Enumerable.Repeat(ulong.MaxValue, (int)((superblock.BlockCount + 63) / 64)).ToArray());
        freeMap.Recount();
        freeMap.Take(new BlockExtent(new BlockNumber(0), (uint)superblock.DataStart));
        List<Visit> level = [];
        foreach (RootEntry root in roots)
        {
            if (freeMap.IsFree(root.Block.Value))
            {
                freeMap.Take(new BlockExtent(root.Block, 1));
                level.Add(new Visit(root.Block, templates.Find(root.Template)!, default, 0));
            }
        }

        int batchBlocks = Math.Clamp(device.Frames.FreeCount / 4, 1, BatchBlocks);
        using ScratchFrames one = new(device.Frames, batchBlocks);
        using ScratchFrames other = new(device.Frames, batchBlocks);
        while (level.Count > 0)
        {
            level.Sort(static (a, b) => a.Block.CompareTo(b.Block));
            level = RunLevel(level, one, other, freeMap, multiplyOwned);
        }

        return new XnRecoveryReport(_metadata, _data, _shared, multiplyOwned.Count - _shared, _bad, _unreadable);
    }

    /// <summary>
    /// One level of the tree. Three things go on at once: the next batch is being read, the observer looks at this one, and its pointers are
    /// followed. Only the last touches the free map.
    /// </summary>
    private List<Visit> RunLevel(List<Visit> level, ScratchFrames current, ScratchFrames ahead, DiskFreeMap freeMap, Dictionary<ulong, int> multiplyOwned)
    {
        List<Visit> next = [];
        Task<HashSet<ulong>> reading = StartReading(level, 0, current);
        Task observing = Task.CompletedTask;
        try
        {
            for (int from = 0; from < level.Count; from += current.Frames.Length)
            {
                HashSet<ulong> failed = reading.GetAwaiter().GetResult();
                ScratchFrames batch = current;
                int first = from;
                int count = Math.Min(batch.Frames.Length, level.Count - from);
                if (from + count < level.Count)
                {
                    reading = StartReading(level, from + count, ahead);
                }

                if (observer is not null)
                {
                    observing = Task.Run(() => Observe(level, first, count, batch, failed));
                }

                for (int i = 0; i < count; i++)
                {
                    Visit visit = level[from + i];
                    if (failed.Contains(visit.Block.Value))
                    {
                        _unreadable++;
                        continue;
                    }

                    _metadata++;
                    Follow(visit, batch.Bytes(i), freeMap, multiplyOwned, next);
                }

                observing.GetAwaiter().GetResult();
                (current, ahead) = (ahead, current);
                progress?.Report(new XnRecoveryProgress(_metadata, _data, level.Count - from - count + next.Count));
            }
        }
        finally
        {
            // The frames are given back by the caller: nobody may be using them, whatever went wrong.
            ((IAsyncResult)reading).AsyncWaitHandle.WaitOne();
            ((IAsyncResult)observing).AsyncWaitHandle.WaitOne();
        }

        return next;
    }

    private Task<HashSet<ulong>> StartReading(List<Visit> level, int from, ScratchFrames scratch) =>
        Task.Run(() => ReadBatch(level, from, Math.Min(scratch.Frames.Length, level.Count - from), scratch));

    private void Observe(List<Visit> level, int from, int count, ScratchFrames batch, HashSet<ulong> failed)
    {
        for (int i = 0; i < count; i++)
        {
            Visit visit = level[from + i];
            if (!failed.Contains(visit.Block.Value))
            {
                observer!.Visit(visit.Block, visit.Template.Id, visit.Parent, visit.ParentPartition, batch.Bytes(i));
            }
        }
    }

    private HashSet<ulong> ReadBatch(List<Visit> level, int from, int count, ScratchFrames scratch)
    {
        List<(BlockNumber Block, FrameNumber Frame)> blocks = [];
        for (int i = 0; i < count; i++)
        {
            blocks.Add((level[from + i].Block, scratch.Frames[i]));
        }

        BlockRequest[] requests = BlockRuns.Build(BlockOperation.Read, blocks);
        HashSet<ulong> failed = [];
        try
        {
            device.Execute(requests);
        }
        catch (BlockDeviceException)
        {
            foreach (BlockRequest request in requests)
            {
                for (int i = 0; request.Error != 0 && i < request.BlockCount; i++)
                {
                    failed.Add((request.FirstBlock + (ulong)i).Value);
                }
            }
        }

        return failed;
    }

    private void Follow(in Visit visit, ReadOnlySpan<byte> bytes, DiskFreeMap freeMap, Dictionary<ulong, int> multiplyOwned, List<Visit> next)
    {
        for (int partition = 0; partition < visit.Template.PartitionCount; partition++)
        {
            ReadOnlySpan<byte> readSet = bytes.Slice(visit.Template.Offsets[partition], visit.Template.ReadSetBytes);
            if (!readSet.ContainsAnyExcept((byte)0))
            {
                continue;
            }

            if (!_owns.TryRun(visit.Template, partition, readSet, superblock.BlockCount, _set))
            {
                _bad++;
                continue;
            }

            foreach (TypedExtent item in _set.Items)
            {
                if (item.Extent.First.Value < superblock.DataStart)
                {
                    _bad++;
                    continue;
                }

                Template child = templates.Find(item.Template)!;
                if (!child.IsMetadata && freeMap.AreFree(item.Extent))
                {
                    freeMap.Take(item.Extent);
                    _data += item.Extent.Count;
                    continue;
                }

                for (uint i = 0; i < item.Extent.Count; i++)
                {
                    BlockNumber block = item.Extent.First + i;
                    if (!freeMap.IsFree(block.Value))
                    {
                        int owners = multiplyOwned.GetValueOrDefault(block.Value, 1) + 1;
                        multiplyOwned[block.Value] = owners;
                        _shared += child.IsCounted && owners == 2 ? 1 : 0;
                        continue;
                    }

                    freeMap.Take(new BlockExtent(block, 1));
                    if (child.IsMetadata)
                    {
                        next.Add(new Visit(block, child, visit.Block, partition));
                    }
                    else
                    {
                        _data++;
                    }
                }
            }
        }
    }
}
