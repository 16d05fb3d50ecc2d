// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;
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
    /// <summary>How often an operation reads what it misses without the lock, and gets no further, before it keeps the lock.</summary>
    public const int ApartMax = 3;

    /// <summary>How much of a read is brought in without the lock: half of the cache. One that is longer, and misses, keeps the lock.</summary>
    public long ApartBytesMax => core.Cache.Frames.FrameCount / 2 * (long)BlockBytes;

    /// <summary>The missing blocks of a range, from the first on as many as one step moves; of a small file its group's too. Under the lock.</summary>
    public Missing Collect(Inode inode, long offset, long lengthBytes)
    {
        if (inode.Record.IsPacked && !core.Groups)
        {
            return new Missing([OwnRequest(inode)], null, null);
        }

        if (core.Groups && !inode.Record.HasTree && inode.Record.Count <= BlockAllocator.SmallFileBlocks && inode.Container is { } container && container.Number != Superblock.ExternalInode)
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

    /// <summary>Takes the lock for a write. Blocks that it covers in part and that are not in core are read first, without the lock.</summary>
    /// <param name="inode">The file.</param>
    /// <param name="offset">Where the write begins; null: at the end.</param>
    /// <param name="lengthBytes">How long it is.</param>
    /// <param name="mode">The door.</param>
    public async ValueTask EnterForWriteAsync(Inode inode, long? offset, long lengthBytes, IoMode mode)
    {
        if (IsBehind(inode))
        {
            await core.Behind.WaitForRoomAsync(mode).ConfigureAwait(false);
        }

        await inode.Lock.EnterAsync(mode).ConfigureAwait(false);
        Missing? missing = inode.Record.IsPacked
            ? CollectPack(inode)
            : CollectEdges(inode, offset ?? (long)inode.Record.Size, lengthBytes) is { } edges ? new Missing(edges, null, null) : null;
        if (missing is { } apart)
        {
            inode.Lock.Exit();
            _ = await TryReadApartAsync(apart, mode).ConfigureAwait(false);
            await inode.Lock.EnterAsync(mode).ConfigureAwait(false);
        }
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

    /// <summary>What is missing of a packed file, with its group. Null when nothing is.</summary>
    private Missing? CollectPack(Inode inode)
    {
        if (!TryGetPack(inode, out FrameNumber frame))
        {
            return Collect(inode, 0, (long)inode.Record.Size);
        }

        core.Cache.Release(frame);
        return null;
    }

    /// <summary>Null when there are none.</summary>
    private List<XnReadRequest>? CollectEdges(Inode inode, long offset, long lengthBytes)
    {
        if (lengthBytes == 0 || inode.Record.Size == 0 || !inode.IsMapLoaded)
        {
            return null;
        }

        List<XnReadRequest>? requests = null;
        long last = offset + lengthBytes - 1;
        CollectEdge(inode, offset / BlockBytes, offset, lengthBytes, ref requests);
        if (offset / BlockBytes != last / BlockBytes)
        {
            CollectEdge(inode, last / BlockBytes, offset, lengthBytes, ref requests);
        }

        return requests;
    }

    private void CollectEdge(Inode inode, long logical, long offset, long lengthBytes, ref List<XnReadRequest>? requests)
    {
        if (IsReplaced(inode, logical * BlockBytes, offset, lengthBytes) || !inode.Map.TryFind((ulong)logical, out MappedExtent extent) || extent.Kind != TreeEntryKind.Contents)
        {
            return;
        }

        BlockNumber block = new(extent.Start + ((ulong)logical - extent.Logical));
        if (core.Cache.TryGet(block, out FrameNumber frame))
        {
            core.Cache.Release(frame);
            return;
        }

        (requests ??= []).Add(new XnReadRequest(extent.Parent, extent.Partition, new BlockExtent(block, 1)));
    }

    /// <summary>What lies beyond the end of a file is zeros: a write replaces a block whole, and need not read it, when it covers all of it that lies before the end.</summary>
    private static bool IsReplaced(Inode inode, long blockStart, long offset, long lengthBytes) =>
        offset <= blockStart && offset + lengthBytes >= Math.Min(blockStart + BlockBytes, (long)inode.Record.Size);
}
