// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;

namespace Exo.Storage.XN;

/// <content>A block that is given up for one that takes over all its pointers: who waited for the one waits for the other.</content>
public sealed partial class XnVolume
{
    /// <summary>The block that loses its pointer to a freed one takes over what the freed one waited for and who waited for it (<see cref="OrderEdges.Replace"/>).</summary>
    private XnStatus DecideHeir(XnTransaction transaction, in TypedExtent freed, ulong heir, int partition)
    {
        if (!_templates.Find(freed.Template)!.IsMetadata)
        {
            return XnStatus.Ok;
        }

        for (uint i = 0; i < freed.Extent.Count; i++)
        {
            ulong block = freed.Extent.First.Value + i;
            XnStatus status = XnStatus.Ok;
            foreach (OrderEdges.Wait wait in _order.WaitsOf(block))
            {
                status = status == XnStatus.Ok ? DecideHeirWaits(transaction, heir, wait.Before) : status;
            }

            foreach (ulong waiter in _order.WaitersOf(block))
            {
                status = status == XnStatus.Ok ? DecideHeirAwaited(transaction, heir, waiter) : status;
            }

            int planned = _planned.Count;
            bool isReplaced = status == XnStatus.Ok && IsReplaced(transaction, block, heir, partition);
            for (int p = 0; p < planned && status == XnStatus.Ok; p++)
            {
                (ulong after, ulong before) = _planned[p];
                if (isReplaced && after == block && before == heir)
                {
                    continue;
                }

                status = after == block ? DecideHeirWaits(transaction, heir, before) : before == block ? DecideHeirAwaited(transaction, heir, after) : status;
            }

            if (status != XnStatus.Ok)
            {
                return status;
            }
        }

        return XnStatus.Ok;
    }

    /// <summary>
    /// Whether a block is given up in favour of one that the same transaction puts in its place: all that it owned moves there, and one sector of the heir loses the one pointer and gains the other. Then what
    /// would make the heir wait for itself, that the new block is found before the old one goes, is so when that sector is written.
    /// </summary>
    private bool IsReplaced(XnTransaction transaction, ulong block, ulong heir, int partition)
    {
        int index = _registry.Find(heir);
        if (partition == AnyPartition || index < 0)
        {
            return false;
        }

        foreach ((BlockNumber _, BlockNumber after) in transaction.Orders)
        {
            if (after.Value == block)
            {
                return false;
            }
        }

        bool moves = false;
        foreach (Claim claim in transaction.Claims)
        {
            if (claim.Kind == ClaimKind.Move && claim.Block.Value == block)
            {
                Claim allocation = FindAllocation(transaction, claim.ToBlock.Value);
                if (allocation.Block.Value != heir || SectorOf(index, allocation.Partition) != SectorOf(index, partition))
                {
                    return false;
                }

                moves = true;
            }
        }

        return moves;
    }

    private XnStatus DecideHeirWaits(XnTransaction transaction, ulong heir, ulong before)
    {
        // The heir itself: it would lose the one pointer and gain the other in one block, but perhaps not in one sector.
        if (Reaches(before, heir))
        {
            return RefuseOrder(transaction, heir, before);
        }

        _planned.Add((heir, before));
        return XnStatus.Ok;
    }

    private XnStatus DecideHeirAwaited(XnTransaction transaction, ulong heir, ulong waiter)
    {
        if (waiter != heir && Reaches(heir, waiter))
        {
            return RefuseOrder(transaction, waiter, heir);
        }

        _planned.Add((waiter, heir));
        return XnStatus.Ok;
    }
}
