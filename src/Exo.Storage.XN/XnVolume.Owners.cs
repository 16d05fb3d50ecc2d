// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;

namespace Exo.Storage.XN;

/// <content>
/// How many pointers lead to each shared block, from one mount to the next. After a crash recovery counts them; a clean volume has them in a chain of blocks that the free map calls free:
/// they cost no room while it is mounted, because nothing is allocated before the superblock has said, durably, that the volume is not clean any more.
/// </content>
public sealed partial class XnVolume
{
    private static bool TryStoreOwners(BlockDevice device, ref XnSuperblock superblock, DiskFreeMap freeMap, Dictionary<ulong, int> owners, Core.Memory.FrameNumber[] reserve)
    {
        if (owners.Count == 0)
        {
            return true;
        }

        (ulong Block, int Owners)[] entries = [.. owners.Select(pair => (pair.Key, pair.Value))];
        ulong[] chain = FreeOnes(freeMap, superblock, (entries.Length + OwnersBlock.EntriesMax - 1) / OwnersBlock.EntriesMax);
        if (chain.Length * OwnersBlock.EntriesMax < entries.Length)
        {
            return false;
        }

        using ScratchFrames scratch = new(device.Frames, 1, reserve);
        for (int i = 0; i < chain.Length; i++)
        {
            int first = i * OwnersBlock.EntriesMax;
            ReadOnlySpan<(ulong, int)> some = entries.AsSpan(first, Math.Min(OwnersBlock.EntriesMax, entries.Length - first));
            OwnersBlock.Emit(scratch.Bytes(0), chain[i], superblock.Epoch, i + 1 < chain.Length ? chain[i + 1] : 0, some);
            BlockRequest[] write = [BlockRequest.Write(new BlockNumber(chain[i]), scratch.Frames)];
            device.Execute(write);
        }

        superblock.OwnersStart = chain[0];
        return true;
    }

    private static ulong[] FreeOnes(DiskFreeMap freeMap, in XnSuperblock superblock, int wanted)
    {
        List<ulong> free = [];
        for (ulong block = superblock.BlockCount; block > superblock.DataStart && free.Count < wanted; block--)
        {
            if (freeMap.IsFree(block - 1))
            {
                free.Add(block - 1);
            }
        }

        return [.. free];
    }

    private static bool TryLoadOwners(BlockDevice device, in XnSuperblock superblock, Dictionary<ulong, int> owners)
    {
        using ScratchFrames scratch = new(device.Frames, 1);
        ulong read = 0;
        for (ulong block = superblock.OwnersStart; block != 0 && read < superblock.BlockCount; read++)
        {
            if (block < superblock.DataStart || block >= superblock.BlockCount)
            {
                return false;
            }

            BlockRequest[] request = [BlockRequest.Read(new BlockNumber(block), scratch.Frames)];
            device.Execute(request);
            if (!OwnersBlock.TryRead(scratch.Bytes(0), block, superblock.Epoch, owners, out block))
            {
                return false;
            }
        }

        return read < superblock.BlockCount;
    }
}
