// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.Storage.XN;

/// <summary>Sees each metadata block that recovery visits, so that a library OS can mend its own invariants in the same pass.</summary>
public interface IXnRecoveryObserver
{
    /// <summary>Called once for each metadata block, on the attaching thread.</summary>
    /// <param name="block">The block.</param>
    /// <param name="template">Its template.</param>
    /// <param name="parent">The block that points to it; block 0 for a root.</param>
    /// <param name="parentPartition">In which partition.</param>
    /// <param name="bytes">Its 4096 bytes; valid during the call.</param>
    void Visit(BlockNumber block, TemplateId template, BlockNumber parent, int parentPartition, ReadOnlySpan<byte> bytes);
}

/// <summary>What recovery found.</summary>
/// <param name="MetadataBlocks">Metadata blocks visited.</param>
/// <param name="DataBlocks">Blocks of data reached.</param>
/// <param name="MultiplyOwnedBlocks">Blocks reached twice: an interrupted move, for the library OS to finish.</param>
/// <param name="BadPointers">Pointers out of the disk or into XN's own region, or sets that no <c>owns</c> may emit: ignored.</param>
/// <param name="UnreadableBlocks">Metadata that the device could not read: what is below is unknown, the volume is attached read-only.</param>
public sealed record XnRecoveryReport(long MetadataBlocks, long DataBlocks, long MultiplyOwnedBlocks, long BadPointers, long UnreadableBlocks);

/// <summary>
/// Rebuilds the free map after a crash (exokernel.md 2.5.7): everything reachable from a root through <c>owns</c> is in use, everything else is free.
/// Breadth-first, in batches sorted by block, so that the disk is read in long runs. Runs before the volume exists; single-threaded.
/// </summary>
internal sealed class RecoveryPass(
    BlockDevice device, XnSuperblock superblock, TemplateCatalogue templates, List<RootEntry> roots, IXnRecoveryObserver? observer)
{
    private const int BatchBlocks = 256;

    private readonly OwnsRunner _owns = new();
    private readonly ExtentSet _set = new();
    private long _metadata;
    private long _data;
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

        using ScratchFrames scratch = new(device.Frames, Math.Min(BatchBlocks, Math.Max(1, device.Frames.FreeCount / 2)));
        while (level.Count > 0)
        {
            level.Sort(static (a, b) => a.Block.CompareTo(b.Block));
            List<Visit> next = [];
            for (int from = 0; from < level.Count; from += scratch.Frames.Length)
            {
                int count = Math.Min(scratch.Frames.Length, level.Count - from);
                HashSet<ulong> failed = ReadBatch(level, from, count, scratch);
                for (int i = 0; i < count; i++)
                {
                    Visit visit = level[from + i];
                    if (failed.Contains(visit.Block.Value))
                    {
                        _unreadable++;
                        continue;
                    }

                    _metadata++;
                    ReadOnlySpan<byte> bytes = scratch.Bytes(i);
                    observer?.Visit(visit.Block, visit.Template.Id, visit.Parent, visit.ParentPartition, bytes);
                    Follow(visit, bytes, freeMap, multiplyOwned, next);
                }
            }

            level = next;
        }

        return new XnRecoveryReport(_metadata, _data, multiplyOwned.Count, _bad, _unreadable);
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
                for (uint i = 0; i < item.Extent.Count; i++)
                {
                    BlockNumber block = item.Extent.First + i;
                    if (!freeMap.IsFree(block.Value))
                    {
                        multiplyOwned[block.Value] = multiplyOwned.GetValueOrDefault(block.Value, 1) + 1;
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
