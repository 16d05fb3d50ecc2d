// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Volume;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Inodes;

/// <summary>Brings an inode's block map, and single blocks of metadata, into memory. Under the inode's lock.</summary>
internal sealed class MapLoader(VolumeCore core)
{
    /// <summary>The XN partition that holds an inode's pointers.</summary>
    public static int PartitionOf(Inode inode) => inode.Container is null ? inode.SlotIndex - (Superblock.RecordSector * Slot.PerSector) : inode.SlotIndex;

    public ValueTask EnsureAsync(Inode inode, IoMode mode) => inode.IsMapLoaded ? default : LoadAsync(inode, mode);

    /// <summary>As <see cref="EnsureAsync"/>, for who is about to change the map: what a crash has left in it twice is there once.</summary>
    public async ValueTask EnsureForChangeAsync(Inode inode, IoMode mode)
    {
        await EnsureAsync(inode, mode).ConfigureAwait(false);
        core.MapEdits.DropTwins(inode);
    }

    /// <summary>
    /// The frame of a metadata block of an inode, retained; read and verified sector by sector when it is not in core.
    /// </summary>
    public async ValueTask<FrameNumber> GetSectorsAsync(BlockNumber block, BlockNumber parent, int partition, SectorKind kind, ulong owner, IoMode mode)
    {
        if (core.Cache.TryGet(block, out FrameNumber frame))
        {
            return frame;
        }

        await core.Cache.ReadAsync(new[] { new XnReadRequest(parent, partition, new BlockExtent(block, 1)) }, mode).ConfigureAwait(false);
        if (!core.Cache.TryGet(block, out frame))
        {
            return await GetSectorsAsync(block, parent, partition, kind, owner, mode).ConfigureAwait(false);
        }

        Verify(block, frame, kind, owner);
        return frame;
    }

    /// <summary>Checks every sector of a block that has just been read.</summary>
    /// <exception cref="CffsException">A checksum, magic or owner is wrong (<see cref="CffsError.Corrupt"/>).</exception>
    public void Verify(BlockNumber block, FrameNumber frame, SectorKind kind, ulong owner)
    {
        ReadOnlySpan<byte> bytes = core.Cache.Bytes(frame);
        for (int i = 0; i < Sector.PerBlock; i++)
        {
            if (!Sector.IsValid(bytes.Slice(i * Sector.SizeBytes, Sector.SizeBytes), core.Seed, (block.Value * Sector.PerBlock) + (uint)i, kind, owner))
            {
                core.Cache.Release(frame);
                _ = core.Disk.Unbind(core.Key, block);
                throw new CffsException(CffsError.Corrupt, $"sector {i} of {block} (inode {owner}) is damaged");
            }
        }
    }

    private async ValueTask LoadAsync(Inode inode, IoMode mode)
    {
        // What an attempt that failed has brought in is given back.
        core.MapEdits.ForgetMap(inode);
        if (inode.Record.HasTree)
        {
            if (inode.Record.Depth > TreeNode.DepthMax)
            {
                throw new CffsException(CffsError.Corrupt, $"the extent tree of inode {inode.Number} is too deep");
            }

            await LoadNodeAsync(inode, new BlockNumber(inode.Record.Start), inode.SlotBlock, PartitionOf(inode), inode.Record.Depth, mode).ConfigureAwait(false);
        }
        else if (inode.Record.Count > 0)
        {
            inode.Map.Insert(new MappedExtent(0, inode.Record.Start, inode.Record.Count, TreeEntryKind.Contents, inode.SlotBlock, PartitionOf(inode)));
        }

        inode.IsMapLoaded = true;
    }

    private async ValueTask LoadNodeAsync(Inode inode, BlockNumber node, BlockNumber parent, int partition, int level, IoMode mode)
    {
        FrameNumber frame = await GetSectorsAsync(node, parent, partition, SectorKind.Tree, inode.Number, mode).ConfigureAwait(false);
        inode.NodeFrames.Add(frame);
        inode.Map.Nodes.Add(new MappedNode(node, parent, partition, level));
        for (int i = 0; i < TreeNode.EntriesPerNode; i++)
        {
            TreeEntry entry = TreeEntry.Read(core.Cache.Bytes(frame)[TreeNode.OffsetInBlock(i)..]);
            switch (entry.Kind)
            {
                case TreeEntryKind.Free:
                    break;
                case TreeEntryKind.Node when level > 1:
                    await LoadNodeAsync(inode, new BlockNumber(entry.Start), node, i, level - 1, mode).ConfigureAwait(false);
                    break;
                case TreeEntryKind.Contents or TreeEntryKind.Unwritten when level == 1 && entry.Count > 0 && !Overlaps(inode.Map, entry):
                    inode.Map.Insert(new MappedExtent(entry.Logical, entry.Start, entry.Count, entry.Kind, node, i));
                    break;
                case TreeEntryKind.Contents or TreeEntryKind.Unwritten when level == 1 && !inode.IsDirectory && IsTwin(inode.Map, entry):
                    (inode.Map.Twins ??= []).Add(new MappedExtent(entry.Logical, entry.Start, entry.Count, entry.Kind, node, i));
                    break;
                case TreeEntryKind.Index when level == 1 && inode.IsDirectory && entry.Count > 0 && entry.Logical >> 32 != 0 && !Overlaps(inode.Map.Index, entry):
                    inode.Map.Index.Insert(new MappedExtent(entry.Logical, entry.Start, entry.Count, entry.Kind, node, i));
                    break;
                default:
                    throw new CffsException(CffsError.Corrupt, $"entry {i} of extent tree node {node.Value} of inode {inode.Number} is damaged");
            }
        }
    }

    /// <summary>Whether an entry says what the map says already.</summary>
    private static bool IsTwin(BlockMap map, in TreeEntry entry) =>
        entry.Count > 0 && map.TryFind(entry.Logical, out MappedExtent extent)
        && extent.Logical == entry.Logical && extent.Start == entry.Start && extent.Count == entry.Count && extent.Kind == entry.Kind;

    private static bool Overlaps(BlockMap map, in TreeEntry entry)
    {
        int index = map.IndexAtOrBefore(entry.Logical);
        return entry.Logical + entry.Count < entry.Logical
            || (index >= 0 && map[index].LogicalEnd > entry.Logical)
            || (index + 1 < map.Count && map[index + 1].Logical < entry.Logical + entry.Count);
    }
}
