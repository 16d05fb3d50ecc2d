// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.FileSystems.CFFS.Allocation;
using Exo.FileSystems.CFFS.Inodes;
using Exo.FileSystems.CFFS.Layout;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Files;

/// <content>
/// Bringing contents into core. A miss is read without the file's lock, so that whoever finds what he wants in the cache does not wait for it; then the operation begins anew under the lock, as one, and
/// finds the blocks there. Should they be gone again, or the file be changed all the time, it reads them under the lock, as it does after a failure: then it is told what is wrong.
/// </content>
internal sealed partial class FileStore
{
    /// <summary>How often an operation reads what it misses without the lock before it keeps the lock.</summary>
    public const int ApartMax = 3;

    /// <summary>The missing blocks of a range, from the first on as many as one step moves; of a small file its group's too. Under the lock.</summary>
    public Missing Collect(Inode inode, long offset, long lengthBytes)
    {
        if (core.Groups && inode.Record.Depth == 0 && inode.Record.Count <= BlockAllocator.SmallFileBlocks && inode.Container is { } container && container.Number != Superblock.ExternalInode)
        {
            return CollectGroup(inode);
        }

        ulong last = (ulong)(offset + lengthBytes - 1) / BlockBytes;
        List<XnReadRequest> requests = [];
        uint budget = StepBlocks;
        for (ulong logical = (ulong)offset / BlockBytes; logical <= last && budget > 0; logical = inode.Map.NextMapped(logical))
        {
            if (!inode.Map.TryFind(logical, out MappedExtent extent))
            {
                logical++;
                continue;
            }

            uint count = (uint)Math.Min(Math.Min(extent.LogicalEnd, last + 1) - logical, budget);
            requests.Add(new XnReadRequest(extent.Parent, extent.Partition, new BlockExtent(new BlockNumber(extent.Start + (logical - extent.Logical)), count)));
            budget -= count;
            logical += count;
        }

        return new Missing(requests, null, null);
    }

    /// <summary>The blocks that a write covers in part and that are not in core: it has to read them first. Under the lock.</summary>
    public bool TryCollectEdges(Inode inode, long offset, long lengthBytes, out Missing missing)
    {
        missing = default;
        if (lengthBytes == 0 || inode.Record.Size == 0 || !inode.IsMapLoaded)
        {
            return false;
        }

        List<XnReadRequest>? requests = null;
        CollectEdge(inode, offset, offset, lengthBytes, ref requests);
        if (offset / BlockBytes != (offset + lengthBytes - 1) / BlockBytes)
        {
            CollectEdge(inode, offset + lengthBytes - 1, offset, lengthBytes, ref requests);
        }

        missing = requests is null ? default : new Missing(requests, null, null);
        return requests is not null;
    }

    /// <summary>Reads what is missing without any lock. False when it could not be read: under the lock it will be known why, or has become another matter.</summary>
    public async ValueTask<bool> TryReadApartAsync(Missing missing, IoMode mode)
    {
        try
        {
            await ReadAsync(missing, mode).ConfigureAwait(false);
            return true;
        }
        catch (Exception failure) when (failure is CffsException or XnException or BlockDeviceException)
        {
            return false;
        }
    }

    private async ValueTask ReadAsync(Missing missing, IoMode mode)
    {
        try
        {
            await core.Cache.ReadAsync(missing.Requests.ToArray(), mode).ConfigureAwait(false);
        }
        catch (Exception failure) when (missing is { Own: not null, Requests.Count: > 1 } && failure is CffsException { Error: CffsError.Corrupt } or XnException or BlockDeviceException)
        {
            // A neighbour has been removed or has grown meanwhile, or lies where the disk is bad: that is not this file's affair.
            await core.Cache.ReadAsync(new[] { missing.Own!.Value }, mode).ConfigureAwait(false);
        }
        finally
        {
            missing.Held?.ForEach(core.Cache.Release);
        }
    }

    private void CollectEdge(Inode inode, long at, long offset, long lengthBytes, ref List<XnReadRequest>? requests)
    {
        long start = at / BlockBytes * BlockBytes;
        bool isWhole = offset <= start && offset + lengthBytes >= Math.Min(start + BlockBytes, (long)inode.Record.Size);
        if (isWhole || !inode.Map.TryFind((ulong)at / BlockBytes, out MappedExtent extent) || extent.Kind != TreeEntryKind.Contents)
        {
            return;
        }

        BlockNumber block = new(extent.Start + (((ulong)at / BlockBytes) - extent.Logical));
        if (core.Cache.TryGet(block, out Exo.Core.Memory.FrameNumber frame))
        {
            core.Cache.Release(frame);
            return;
        }

        (requests ??= []).Add(new XnReadRequest(extent.Parent, extent.Partition, new BlockExtent(block, 1)));
    }
}
