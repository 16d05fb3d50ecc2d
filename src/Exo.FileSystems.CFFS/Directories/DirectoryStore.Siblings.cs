// SPDX-License-Identifier: MIT
using System.Buffers;
using Exo.Core.Blocks;
using Exo.Core.Memory;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Directories;

/// <content>
/// A small directory is read by one request, and with it those beside it when its parent's subdirectories are used one after the other, or its small files where they can be guessed (<see cref="Files.GroupShape"/>). What is read is speculation (XN's read-ahead): nobody sees a
/// block of it before it is asked for with its proof, and verified.
/// </content>
internal sealed partial class DirectoryStore
{
    // What a neighbour may have at most, so that one of many blocks does not take the place of many.
    private const uint SiblingBlocksMax = 8;

    /// <summary>Reads what is missing of a directory's slot blocks, if they are few, and of its siblings', in one request.</summary>
    private async ValueTask ReadWithSiblingsAsync(Inode directory, IoMode mode)
    {
        BlockExtent[] extents = ArrayPool<BlockExtent>.Shared.Rent(SiblingsAhead.Most + LoadBatchBlocks + 1);
        try
        {
            int count = directory.Map.TotalBlocks <= LoadBatchBlocks ? CollectOwn(directory, extents) : 0;
            int others = core.Groups && directory.Directory is null && directory.Container?.Directory is { } parent ? parent.Siblings.Used(directory.SlotAddress) : 0;
            if (others > 0)
            {
                count = CollectSiblings(directory, others, extents, count);
            }

            if (count > 0 && core.Groups && directory.Directory is null && directory.Container?.Directory is not { Siblings.IsInOrder: true } && core.Files.TryGuessGroup(directory.Record, out BlockExtent group))
            {
                // Those that are used in order are read by others (DirectoriesAhead).
                extents[count++] = group;
            }

            // One run of blocks is read with its proof; nothing is gained by guessing it.
            if (count < 2)
            {
                return;
            }

            if (core.Disk.BlocksReadAhead > core.Disk.BlocksReadAheadMax / 2)
            {
                core.Disk.DropReadAhead();
            }

            _ = mode == IoMode.Sync ? core.Disk.ReadAhead(extents.AsSpan(0, count)) : await core.Disk.ReadAheadAsync(extents.AsMemory(0, count)).ConfigureAwait(false);
        }
        catch (BlockDeviceException)
        {
            // Whoever needs the block that cannot be read is told when he asks for it.
        }
        finally
        {
            ArrayPool<BlockExtent>.Shared.Return(extents);
        }
    }

    private int CollectOwn(Inode directory, BlockExtent[] extents)
    {
        int count = 0;
        for (int e = 0; e < directory.Map.Count && count < LoadBatchBlocks; e++)
        {
            MappedExtent extent = directory.Map[e];
            if (!core.Disk.TryGetEntry(new BlockNumber(extent.Start), out _))
            {
                extents[count++] = new BlockExtent(new BlockNumber(extent.Start), extent.Count);
            }
        }

        return count;
    }

    /// <summary>The slot blocks of the directories whose records follow in the same block, or, of those that have a tree, its root.</summary>
    private int CollectSiblings(Inode directory, int most, BlockExtent[] extents, int count)
    {
        // Without the parent's lock: what is torn leads at worst to blocks that nobody asks for.
        ReadOnlySpan<byte> block = core.Cache.Bytes(directory.SlotFrame);
        int index = directory.SlotIndex + 1;
        for (; index < Slot.PerBlock && most > 0; index++)
        {
            ReadOnlySpan<byte> sector = block.Slice((index >> 2) * Sector.SizeBytes, Sector.SizeBytes);
            if (Slot.KindOf(sector[((index & 3) * Slot.SizeBytes)..]) == SlotKind.Directory && Record.TryParse(sector, index & 3, out Record record)
                && record.Count is > 0 and <= SiblingBlocksMax)
            {
                most--;
                if (!core.Disk.TryGetEntry(new BlockNumber(record.Start), out _))
                {
                    extents[count++] = new BlockExtent(new BlockNumber(record.Start), record.Count);
                }
            }
        }

        directory.Container!.Directory!.Siblings.Read(directory.SlotAddress, directory.SlotAddress + (uint)(index - directory.SlotIndex));
        return count;
    }
}
