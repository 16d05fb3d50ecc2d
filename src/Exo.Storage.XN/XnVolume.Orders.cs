// SPDX-License-Identifier: MIT
using System.Globalization;
using Exo.Capabilities;
using Exo.Core.Blocks;

namespace Exo.Storage.XN;

/// <content>What must be durable before what: the three rules, and the orders of library OSes. Decided for a whole transaction before anything changes; then noted.</content>
public sealed partial class XnVolume
{
    // A search through pending orders (Reaches), made once.
    private readonly Stack<ulong> _search = new();
    private readonly HashSet<ulong> _seen = [];

    // Waits that the transaction under decision will add. Few.
    private readonly List<(ulong After, ulong Before)> _planned = [];

    /// <summary>
    /// A library's own order: the next version of <paramref name="after"/> that is written waits until the present version of <paramref name="before"/> is durable.
    /// Both must be registered; <paramref name="after"/> must be metadata. What contents (<paramref name="before"/>) are to hold must be in their frame by then.
    /// </summary>
    /// <returns>Ok (also when nothing needs to wait); ReadOnly, NotRegistered, AccessDenied, NotInCore, WrongTemplate, OrderCycle.</returns>
    public XnStatus Order(Credential credential, BlockNumber before, BlockNumber after)
    {
        ArgumentNullException.ThrowIfNull(credential);
        ThrowIfClosed();
        lock (_lock)
        {
            int first = _registry.Find(before.Value);
            int second = _registry.Find(after.Value);
            if (IsReadOnly || first < 0 || second < 0)
            {
                return IsReadOnly ? XnStatus.ReadOnly : XnStatus.NotRegistered;
            }

            if (!_registry.TemplateOf(second).IsMetadata)
            {
                return XnStatus.WrongTemplate;
            }

            XnStatus status = CheckAccess(credential, _registry[second].Guard, XnOperation.Write);
            if (status != XnStatus.Ok || before == after || IsDurable(first) || IsHeldBackBy(first, after.Value))
            {
                return status;
            }

            _planned.Clear();
            status = DecideBehind(null, after.Value, before.Value, AnySector);
            if (status == XnStatus.Ok)
            {
                OrderBehind(after.Value, before.Value);
            }

            return status;
        }
    }

    /// <summary>Rule one holds a block back already until contents below it are on the disk, and of those no version is under way that would do: what is in their frame now goes with the first.</summary>
    private bool IsHeldBackBy(int contents, ulong parent)
    {
        ref RegistryEntry entry = ref _registry[contents];
        return entry.Parent == parent && entry.Has(EntryFlags.Uninitialised) && !entry.Has(EntryFlags.Writing | EntryFlags.Unflushed | EntryFlags.Committing)
            && !_registry.TemplateOf(contents).IsMetadata;
    }

    /// <summary>Whether any order is pending.</summary>
    public bool HasOrders
    {
        get
        {
            lock (_lock)
            {
                return !_order.IsEmpty;
            }
        }
    }

    /// <summary>
    /// Whether an order is pending that names a block. While one is, freeing the block may be refused with <see cref="XnStatus.OrderCycle"/>; after write-back and flush none is.
    /// </summary>
    public bool HasOrder(BlockNumber block)
    {
        lock (_lock)
        {
            return _order.MustWait(block.Value) || _order.WaitersOf(block.Value).Count > 0;
        }
    }

    private bool IsDurable(int index) =>
        _registry.Durable(index) == _registry[index].Version && !_registry[index].Has(EntryFlags.Uninitialised) && IsFound(index);

    /// <summary>
    /// The blocks that an order names are there, and the one that would have to wait is metadata that the credential may write: nobody makes others wait for what he does not write.
    /// </summary>
    private XnStatus DecideOrdered(Credential credential, XnTransaction transaction)
    {
        foreach ((BlockNumber before, BlockNumber after) in transaction.Orders)
        {
            foreach (BlockNumber block in (ReadOnlySpan<BlockNumber>)[before, after])
            {
                if (_registry.Find(block.Value) < 0 && FindAllocation(transaction, block.Value).Extent.Extent.Count == 0)
                {
                    transaction.LastRefusal = $"{block} is ordered and not in the registry";
                    return XnStatus.NotRegistered;
                }
            }

            int index = _registry.Find(after.Value);
            Template template = index >= 0 ? _registry.TemplateOf(index) : _templates.Find(FindAllocation(transaction, after.Value).Extent.Template)!;
            if (!template.IsMetadata)
            {
                transaction.LastRefusal = $"{after} is not metadata: it cannot wait";
                return XnStatus.WrongTemplate;
            }

            XnStatus status = index >= 0 ? CheckAccess(credential, _registry[index].Guard, XnOperation.Write) : XnStatus.Ok;
            if (status != XnStatus.Ok)
            {
                transaction.LastRefusal = $"the credential may not make {after} wait";
                return status;
            }
        }

        return XnStatus.Ok;
    }

    private XnStatus DecideOrder(XnTransaction transaction)
    {
        _planned.Clear();
        if (_order.IsEmpty && transaction.Orders.Count == 0 && !transaction.HasMoves)
        {
            return XnStatus.Ok;
        }

        foreach (Claim claim in transaction.Claims)
        {
            if (claim.Kind == ClaimKind.Allocate && _templates.Find(claim.Extent.Template)!.IsMetadata)
            {
                for (uint i = 0; i < claim.Extent.Extent.Count; i++)
                {
                    _planned.Add((claim.Block.Value, claim.Extent.Extent.First.Value + i));
                }
            }
        }

        XnStatus status = XnStatus.Ok;
        foreach (Claim claim in transaction.Claims)
        {
            if (claim.Kind == ClaimKind.Move && claim.Block != claim.ToBlock)
            {
                int from = _registry.Find(claim.Block.Value);
                status = DecideBehind(transaction, claim.Block.Value, claim.ToBlock.Value, from < 0 ? AnySector : SectorOf(from, claim.Partition));
            }

            if (status == XnStatus.Ok && claim.Kind == ClaimKind.Move)
            {
                status = DecideBelow(transaction, claim);
                status = status == XnStatus.Ok && LeavesImage(claim) ? DecideDistrust(transaction, claim.Block.Value) : status;
            }

            if (status != XnStatus.Ok)
            {
                return status;
            }
        }

        foreach ((BlockNumber before, BlockNumber after) in transaction.Orders)
        {
            status = before == after ? XnStatus.Ok : DecideBehind(transaction, after.Value, before.Value, AnySector);
            if (status != XnStatus.Ok)
            {
                return status;
            }
        }

        // Last, as in Perform: what is freed hands on what it waits for, be it since this transaction only.
        foreach (Claim claim in transaction.Claims)
        {
            if (claim.Kind is ClaimKind.Free or ClaimKind.FreeTree)
            {
                status = DecideHeir(transaction, claim.Extent, claim.Block.Value, claim.Partition);
                if (status != XnStatus.Ok)
                {
                    return status;
                }
            }
        }

        foreach ((TypedExtent extent, BlockNumber heir) in _check.FreedBelow)
        {
            status = DecideHeir(transaction, extent, heir.Value, AnyPartition);
            if (status != XnStatus.Ok)
            {
                return status;
            }
        }

        return XnStatus.Ok;
    }

    private static XnStatus RefuseOrder(XnTransaction? transaction, ulong after, ulong before)
    {
        if (transaction is not null)
        {
            transaction.LastRefusal = string.Create(
                CultureInfo.InvariantCulture, $"block {before} already waits for block {after}: write back and flush before this change");
        }

        return XnStatus.OrderCycle;
    }

    private const int AnySector = -1;
    private const int AnyPartition = -1;

    private int SectorOf(int index, int partition) => _registry.TemplateOf(index).Offsets[partition] / 512;

    /// <summary>
    /// Whether a block can wait until another is durable <em>and found from a root</em>: neither the other nor any block above it whose pointer is not durable yet may wait for the first.
    /// The first may itself hold that pointer if it shares the sector with what changes in it: then both get to the disk at once.
    /// </summary>
    private XnStatus DecideBehind(XnTransaction? transaction, ulong after, ulong before, int sector)
    {
        bool mustWait = true;
        for (ulong at = before; ;)
        {
            if (mustWait)
            {
                if (Reaches(at, after))
                {
                    return RefuseOrder(transaction, after, at);
                }

                _planned.Add((after, at));
            }

            int index = _registry.Find(at);
            bool isFresh = index < 0;
            ulong parent;
            int partition;
            if (!isFresh)
            {
                parent = _registry[index].Parent;
                partition = _registry[index].ParentPartition;
                mustWait = !IsLinkDurable(index);
            }
            else
            {
                Claim allocation = FindAllocation(transaction, at);
                parent = allocation.Block.Value;
                partition = allocation.Partition;
                mustWait = true;
            }

            if (parent == 0)
            {
                return XnStatus.Ok;
            }

            if (parent == after && mustWait)
            {
                if (sector != AnySector && sector == SectorOf(_registry.Find(after), partition))
                {
                    return XnStatus.Ok;
                }

                if (at == before && !isFresh && !_registry.TemplateOf(index).IsMetadata)
                {
                    // Contents below the block that waits for them: the write that waits is the one by which they are found.
                    return XnStatus.Ok;
                }

                if (transaction is not null)
                {
                    transaction.LastRefusal = string.Create(
                        CultureInfo.InvariantCulture, $"block {after} would have to be written before itself: another of its sectors holds the pointer to block {at}, which is not durable");
                }

                return isFresh ? XnStatus.SplitSectorMove : XnStatus.OrderCycle;
            }

            if (!isFresh && _registry.Find(parent) < 0)
            {
                return _order.MovesOver == _order.LastMove ? XnStatus.Ok : RefuseOrder(transaction, parent, at);
            }

            at = parent;
        }
    }

    private static Claim FindAllocation(XnTransaction? transaction, ulong block)
    {
        if (transaction is not null)
        {
            foreach (Claim claim in transaction.Claims)
            {
                if (claim.Kind == ClaimKind.Allocate && claim.Extent.Extent.Contains(new BlockNumber(block)))
                {
                    return claim;
                }
            }
        }

        return default;
    }

    /// <summary>Makes a block wait for another's present version, and for what makes that found from a root. Decided before.</summary>
    private void OrderBehind(ulong after, ulong before)
    {
        int index = _registry.Find(before);
        if (_registry.Durable(index) != _registry[index].Version)
        {
            // A version that is durable already will not become so again.
            _order.Add(after, before, _registry[index].Version);
        }

        while (_registry[index].Parent != 0 && _registry[index].Parent != after)
        {
            bool isDurable = IsLinkDurable(index);
            ulong version = _registry[index].AttachVersion;
            index = _registry.Find(_registry[index].Parent);
            if (index < 0)
            {
                return;
            }

            if (!isDurable)
            {
                _order.Add(after, _registry[index].Block, version);
            }
        }
    }

    /// <summary>
    /// Whether a block is found from a root on the disk by the very pointers that lead to it in core. That an old image of some block still leads to it is not enough:
    /// what is about to go might be on that path.
    /// </summary>
    private bool IsFound(int index)
    {
        while (_registry[index].Parent != 0)
        {
            if (!IsLinkDurable(index))
            {
                return false;
            }

            index = _registry.Find(_registry[index].Parent);
            if (index < 0)
            {
                // A block leaves the registry only when its own link is durable; what is above can have changed only by moves.
                return _order.MovesOver == _order.LastMove;
            }
        }

        return true;
    }

    /// <summary>Whether the pointer to a block is durable.</summary>
    private bool IsLinkDurable(int index)
    {
        int parent = _registry.Find(_registry[index].Parent);
        return parent < 0 || _registry.Durable(parent) >= _registry[index].AttachVersion;
    }

    /// <summary>Whether writing <paramref name="from"/> waits, directly or not, for <paramref name="target"/>, when what is planned is done.</summary>
    private bool Reaches(ulong from, ulong target)
    {
        if (from == target)
        {
            return true;
        }

        _search.Clear();
        _seen.Clear();
        _search.Push(from);
        while (_search.TryPop(out ulong block))
        {
            if (!_seen.Add(block))
            {
                continue;
            }

            if (block == target)
            {
                return true;
            }

            foreach (OrderEdges.Wait wait in _order.WaitsOf(block))
            {
                _search.Push(wait.Before);
            }

            foreach ((ulong after, ulong before) in _planned)
            {
                if (after == block)
                {
                    _search.Push(before);
                }
            }

            int index = _registry.Find(block);
            if (index >= 0 && _registry.Pending(index) > 0)
            {
                for (int kid = _registry.KidFirst(index); kid != BlockRegistry.None; kid = _registry.KidNext(kid))
                {
                    _search.Push(_registry[kid].Block);
                }
            }
        }

        return false;
    }
}
