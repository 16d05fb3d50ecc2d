// SPDX-License-Identifier: MIT
using System.Globalization;
using Exo.Capabilities;
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.Storage.XN;

/// <content>Changes of metadata: decide, then apply.</content>
public sealed partial class XnVolume
{
    private readonly Stack<ulong> _search = new();
    private readonly HashSet<ulong> _seen = [];

    // Waits that the transaction under decision will add. Few.
    private readonly List<(ulong After, ulong Before)> _planned = [];
    private readonly List<WillFreeList.Record> _records = [];
    private long _applies;

    /// <summary>
    /// Carries out a transaction in core, whole or not at all. Pre-conditions, in the order they are checked: the volume is writable; allocated blocks are in range, free and named
    /// once; every block written is registered and in core (or allocated here with a frame), and the credential passes the <c>acl</c> that guards it; every write stays inside its
    /// block; for each partition whose pointers change, <c>owns</c> before and after differ exactly by the claims; freed metadata owns nothing (or goes with its tree); moves make no
    /// cycle and do not split over sectors of one block; the blocks' <c>approve</c> functions, where there are such, approve; no order that is needed contradicts a pending one.
    /// Post-condition: the writes are in the frames, the blocks written are dirty, ownership and free map have changed as claimed, orders are noted.
    /// Nothing is durable yet. Thread-safe; allocates nothing in steady state.
    /// </summary>
    /// <returns>
    /// <see cref="XnStatus.Ok"/>; or ReadOnly, BadBlock, NotFree, BadFrames, NotRegistered, NotInCore, BadRange, AccessDenied, TypeError, HasPointers, Cycle, SplitSectorMove,
    /// Disapproved, OrderCycle, Shared (a write to a shared block); of claims of sharing also WrongTemplate, NotOwned, NotDurable; of orders of what is not metadata WrongTemplate: then nothing has changed and <see cref="XnTransaction.LastRefusal"/> says why.
    /// </returns>
    public XnStatus Apply(Credential credential, XnTransaction transaction)
    {
        ArgumentNullException.ThrowIfNull(credential);
        ArgumentNullException.ThrowIfNull(transaction);
        ThrowIfClosed();
        if (IsReadOnly)
        {
            return XnStatus.ReadOnly;
        }

        MakeUnclean();
        using (new Changing(this))
        {
            XnStatus status = _check.Decide(transaction);
#if !XN_UNCHECKED
            if (status == XnStatus.Ok)
            {
                status = DecideAccess(credential, transaction);
            }

            if (status == XnStatus.Ok)
            {
                // After access: what a refusal tells is for those who may write.
                status = _check.DecideApproval(transaction);
            }

            if (status == XnStatus.Ok && transaction.Orders.Count > 0)
            {
                status = DecideOrdered(credential, transaction);
            }
#endif

            if (status == XnStatus.Ok)
            {
                status = DecideOrder(transaction);
            }

            if (status == XnStatus.Ok)
            {
                Perform(transaction);
                _applies++;
            }

            return status;
        }
    }

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

    private XnStatus DecideAccess(Credential credential, XnTransaction transaction)
    {
        ulong last = ulong.MaxValue;
        foreach (Edit edit in transaction.Edits)
        {
            int index = _registry.Find(edit.Block.Value);
            ulong guard = index >= 0 ? _registry[index].Guard : last;
            if (index < 0 || guard == last)
            {
                // A fresh block has its parent's guard, and the parent is written in this same transaction.
                continue;
            }

            last = guard;
            XnStatus status = CheckAccess(credential, guard, XnOperation.Write);
            if (status != XnStatus.Ok)
            {
                transaction.LastRefusal = $"the credential may not write {edit.Block}";
                return status;
            }
        }

        foreach (Claim claim in transaction.Claims)
        {
            if (claim.Kind == ClaimKind.Share)
            {
                XnStatus status = CheckAccess(credential, _registry[_registry.Find(claim.ToBlock.Value)].Guard, XnOperation.Write);
                if (status != XnStatus.Ok)
                {
                    transaction.LastRefusal = $"the credential may not write {claim.ToBlock}";
                    return status;
                }
            }
        }

        // Pointers change only in partitions that are written, so all other claims' blocks have been seen above.
        return XnStatus.Ok;
    }

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

    /// <summary>
    /// Whether a move takes metadata that is not attached yet out of a block that is not either and has been written with the pointer to it. What moves may go on being written in any order,
    /// with pointers to what was never initialised; and the old image leads to it. So that image must be replaced before it is attached itself.
    /// </summary>
    private bool LeavesImage(in Claim claim)
    {
        int from = _registry.Find(claim.Block.Value);
        if (claim.Block == claim.ToBlock || from < 0 || !_registry[from].Has(EntryFlags.Volatile))
        {
            return false;
        }

        for (uint i = 0; i < claim.Extent.Extent.Count; i++)
        {
            int index = _registry.Find(claim.Extent.Extent.First.Value + i);
            if (index >= 0 && _registry[index].Has(EntryFlags.Volatile) && _registry.Submitted(from) >= _registry[index].AttachVersion)
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>All above a block up to and with the first attached one will wait for its next version: it may not wait for any of them.</summary>
    private XnStatus DecideDistrust(XnTransaction transaction, ulong block)
    {
        for (int index = _registry.Find(block); _registry[index].Has(EntryFlags.Volatile) && _registry[index].Parent != 0;)
        {
            ulong above = _registry[index].Parent;
            if (Reaches(block, above))
            {
                return RefuseOrder(transaction, above, block);
            }

            _planned.Add((above, block));
            index = _registry.Find(above);
        }

        return XnStatus.Ok;
    }

    /// <summary>What moves may have to become durable before the block that it moves to, and before the new blocks above that: none of these may be waited for by what moves.</summary>
    private XnStatus DecideBelow(XnTransaction transaction, in Claim claim)
    {
        for (uint i = 0; i < claim.Extent.Extent.Count; i++)
        {
            ulong moved = claim.Extent.Extent.First.Value + i;
            int index = _registry.Find(moved);
            if (index < 0 || !_registry.TemplateOf(index).IsMetadata || (_registry.Pending(index) == 0 && !_registry[index].Has(EntryFlags.Uninitialised)))
            {
                continue;
            }

            for (ulong at = claim.ToBlock.Value; at != 0;)
            {
                if (Reaches(moved, at))
                {
                    return RefuseOrder(transaction, at, moved);
                }

                _planned.Add((at, moved));
                int above = _registry.Find(at);
                at = above < 0 ? FindAllocation(transaction, at).Block.Value : _registry[above].Has(EntryFlags.Volatile) ? _registry[above].Parent : 0;
            }
        }

        return XnStatus.Ok;
    }

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

    private void Perform(XnTransaction transaction)
    {
        // 1. New blocks that the writes may address.
        foreach (Claim claim in transaction.Claims)
        {
            if (claim.Kind == ClaimKind.Allocate)
            {
                Register(transaction, claim);
            }
        }

        // 2. The writes.
        foreach (Edit edit in transaction.Edits)
        {
            int index = _registry.Find(edit.Block.Value);
            Preserve(index);
            ReadOnlySpan<byte> bytes = transaction.Bytes(edit);
            _registry.StateOf(index).DirtySectors |= BlockRegistry.SectorsOf(edit.OffsetBytes, bytes.Length);
            bytes.CopyTo(_frames.Bytes(new FrameNumber(_registry[index].Frame))[edit.OffsetBytes..]);
        }

        ulong last = ulong.MaxValue;
        foreach (Edit edit in transaction.Edits)
        {
            if (edit.Block.Value != last)
            {
                last = edit.Block.Value;
                int index = _registry.Find(last);
                _registry.Change(index, 0);
            }
        }

        // 3. Ownership. Parents have their new versions now.
        AttachNew(transaction);

        foreach (Claim claim in transaction.Claims)
        {
            if (claim.Kind == ClaimKind.Share)
            {
                Share(claim.Extent.Extent);
            }
        }

        // Moves may go to blocks that have just been attached.
        foreach (Claim claim in transaction.Claims)
        {
            if (claim.Kind == ClaimKind.Move)
            {
                Move(claim);
            }
        }

        foreach ((BlockNumber before, BlockNumber after) in transaction.Orders)
        {
            if (before != after)
            {
                OrderBehind(after.Value, before.Value);
            }
        }

        // Below first: whether a pointer to a block was ever on the disk is asked of its parent, which must still be there.
        transaction.BlocksFreed = 0;
        for (int i = _check.FreedBelow.Count - 1; i >= 0; i--)
        {
            (TypedExtent extent, BlockNumber heir) = _check.FreedBelow[i];
            transaction.BlocksFreed += Free(extent, heir.Value);
        }

        foreach (Claim claim in transaction.Claims)
        {
            if (claim.Kind is ClaimKind.Free or ClaimKind.FreeTree)
            {
                transaction.BlocksFreed += Free(claim.Extent, claim.Block.Value);
            }
        }
    }

    /// <summary>Hangs new blocks below their parents, from the top down: a block has its guard from the one above.</summary>
    private void AttachNew(XnTransaction transaction)
    {
        bool again = true;
        while (again)
        {
            again = false;
            bool progress = false;
            foreach (Claim claim in transaction.Claims)
            {
                if (claim.Kind != ClaimKind.Allocate)
                {
                    continue;
                }

                int first = _registry.Find(claim.Extent.Extent.First.Value);
                int parent = _registry.Find(claim.Block.Value);
                if (_registry[first].Parent != 0)
                {
                    continue;
                }

                if (_registry[parent].Parent == 0 && _check.IsFresh(claim.Block))
                {
                    again = true;
                    continue;
                }

                progress = true;
                for (uint i = 0; i < claim.Extent.Extent.Count; i++)
                {
                    Attach(i == 0 ? first : _registry.Find(claim.Extent.Extent.First.Value + i), parent, claim.Partition);
                }
            }

            Invariant.Check(progress || !again);
        }
    }

    private void Register(XnTransaction transaction, in Claim claim)
    {
        Template template = _templates.Find(claim.Extent.Template)!;
        _freeMap.Take(claim.Extent.Extent);
        for (uint i = 0; i < claim.Extent.Extent.Count; i++)
        {
            ForgetAhead(claim.Extent.Extent.First.Value + i);
            int index = _registry.Add(claim.Extent.Extent.First.Value + i, template, isFresh: true);
            ref RegistryEntry entry = ref _registry[index];
            entry.Flags = EntryFlags.NeverOnDisk;
            if (template.Taints)
            {
                entry.Flags |= EntryFlags.Uninitialised;
            }

            if (template.IsMetadata)
            {
                entry.Flags |= EntryFlags.Volatile;
            }

            if (claim.FrameCount > 0)
            {
                FrameNumber frame = transaction.Frames[claim.FirstFrame + (int)i];
                entry.Frame = frame.Value;
                entry.Flags |= EntryFlags.Framed;
                if (template.IsMetadata)
                {
                    _frames.Bytes(frame).Clear();
                }

                _registry.SetDirty(index);
            }
        }
    }

    /// <summary>Hangs a new or moved block below a parent whose present version holds the pointer.</summary>
    private void Attach(int index, int parent, int partition)
    {
        ref RegistryEntry entry = ref _registry[index];
        ref RegistryEntry above = ref _registry[parent];
        entry.Parent = above.Block;
        entry.ParentPartition = (ushort)partition;
        entry.AttachVersion = above.Version;
        entry.Guard = _registry.TemplateOf(index).Acl is not null ? entry.Block : above.Guard;
        if (entry.Has(EntryFlags.Volatile))
        {
            _registry.LinkKid(parent, index);
        }

        AddPending(parent, _registry.Pending(index) + (entry.Has(EntryFlags.Uninitialised) ? 1 : 0));
    }

    /// <summary>Adds to the pending count of a block and of the volatile chain above it, up to and with the first attached block.</summary>
    private void AddPending(int index, int count)
    {
        if (count == 0)
        {
            return;
        }

        while (true)
        {
            ref RegistryEntry entry = ref _registry[index];
            ref int pending = ref _registry.StateOf(index).Pending;
            pending += count;
            Invariant.Check(pending >= 0);
            if (!entry.Has(EntryFlags.Volatile) || entry.Parent == 0)
            {
                return;
            }

            index = _registry.Find(entry.Parent);
            Invariant.Check(index >= 0);
        }
    }

    private void Detach(int index)
    {
        ref RegistryEntry entry = ref _registry[index];
        int count = _registry.Pending(index) + (entry.Has(EntryFlags.Uninitialised) ? 1 : 0);
        if (count != 0)
        {
            // An attached block's own pending count is not its parent's.
            int carried = entry.Has(EntryFlags.Volatile) || !_registry.TemplateOf(index).IsMetadata ? count : 0;
            int parent = _registry.Find(entry.Parent);
            if (carried != 0 && parent >= 0)
            {
                AddPending(parent, -carried);
                if (_registry[parent].Has(EntryFlags.Volatile) && _registry.Submitted(parent) >= entry.AttachVersion)
                {
                    Distrust(parent);
                }
            }
        }

        _registry.UnlinkKid(index);
    }

    /// <summary>
    /// A block that is not attached yet has been written with a pointer that its present version no longer has, to what was never initialised or can come to lead to such. Its image must be
    /// replaced before it is attached.
    /// </summary>
    private void Distrust(int index)
    {
        ref RegistryEntry entry = ref _registry[index];
        _registry.StateOf(index).InitialiseAt = entry.Version;
        if (!entry.Has(EntryFlags.Uninitialised))
        {
            entry.Flags |= EntryFlags.Uninitialised;
            int parent = _registry.Find(entry.Parent);
            if (parent >= 0)
            {
                AddPending(parent, 1);
            }
        }
    }

    private void Move(in Claim claim)
    {
        int to = _registry.Find(claim.ToBlock.Value);
        bool leavesImage = LeavesImage(claim);
        for (uint i = 0; i < claim.Extent.Extent.Count; i++)
        {
            int index = _registry.Find(claim.Extent.Extent.First.Value + i);
            if (index < 0)
            {
                continue;
            }

            ref RegistryEntry entry = ref _registry[index];
            int from = _registry.Find(entry.Parent);
            if (from >= 0 && _registry.Submitted(from) >= entry.AttachVersion)
            {
                entry.Flags &= ~EntryFlags.NeverOnDisk;
            }

            Detach(index);
            int pendingOfAttached = entry.Has(EntryFlags.Volatile) || !_registry.TemplateOf(index).IsMetadata ? 0 : _registry.Pending(index);
            AttachMoved(index, to, claim.ToPartition, pendingOfAttached);
        }

        if (claim.Block != claim.ToBlock)
        {
            int from = _registry.Find(claim.Block.Value);
            if (leavesImage)
            {
                Distrust(from);
            }

            OrderBehind(claim.Block.Value, claim.ToBlock.Value);
            _order.AddMove(claim.Block.Value, _registry[from].Version);
        }
    }

    private void AttachMoved(int index, int to, int partition, int ownPending)
    {
        ref RegistryEntry entry = ref _registry[index];
        ref RegistryEntry above = ref _registry[to];
        entry.Parent = above.Block;
        entry.ParentPartition = (ushort)partition;
        entry.AttachVersion = above.Version;
        entry.Guard = _registry.TemplateOf(index).Acl is not null ? entry.Block : above.Guard;
        if (entry.Has(EntryFlags.Volatile))
        {
            _registry.LinkKid(to, index);
        }

        AddPending(to, _registry.Pending(index) - ownPending + (entry.Has(EntryFlags.Uninitialised) ? 1 : 0));
    }

    /// <summary>Gives up blocks whose pointer the present version of <paramref name="edited"/> no longer holds.</summary>
    /// <returns>How many of them nobody points to any more: they are free, or will be.</returns>
    private long Free(in TypedExtent freed, ulong edited)
    {
        long blocks = 0;
        int editedIndex = _registry.Find(edited);
        ulong editedVersion = _registry[editedIndex].Version;

        // Runs of blocks that share a fate become one will-free record.
        BlockNumber first = freed.Extent.First;
        uint at = 0;
        while (at < freed.Extent.Count)
        {
            Fate fate = Drop(first + at, edited, editedVersion);
            uint run = 1;
            while (at + run < freed.Extent.Count && Drop(first + at + run, edited, editedVersion, fate))
            {
                run++;
            }

            BlockExtent extent = new(first + at, run);
            at += run;
            blocks += fate == Fate.StillOwned ? 0 : run;
            if (fate == Fate.FreeNow)
            {
                Give(extent);
            }
            else if (fate == Fate.StillOwned)
            {
                _willFree.WaitFor(_willFree.Hold(extent, _order.LastMove), edited, editedVersion);
            }
            else if (fate == Fate.FreeLater)
            {
                WillFreeList.Record record = _willFree.Add(extent, _order.LastMove);
                _willFree.WaitForHolds(record);
                _willFree.WaitFor(record, edited, editedVersion);
                for (uint i = 0; i < run; i++)
                {
                    // Still being written: not free before that write is over.
                    if (_registry.Find((extent.First + i).Value) >= 0)
                    {
                        _willFree.WaitFor(record, (extent.First + i).Value, ulong.MaxValue);
                    }
                }
            }
        }

        return blocks;
    }

    /// <summary>One more pointer to blocks. All of them are clean and durable.</summary>
    private void Share(in BlockExtent extent)
    {
        for (uint i = 0; i < extent.Count; i++)
        {
            ulong block = extent.First.Value + i;
            _multiplyOwned[block] = Owners(new BlockNumber(block)) + 1;
            int index = _registry.Find(block);
            if (index >= 0)
            {
                // Two parents now: the one in the entry alone does not tell any more whether a pointer is on the disk.
                _registry[index].Flags &= ~EntryFlags.NeverOnDisk;
            }
        }
    }

    /// <summary>Whether a block may not change in place: another pointer leads to it, or one that did is not durably gone.</summary>
    internal bool IsFixed(int index) =>
        _registry.TemplateOf(index).IsCounted && IsFixed(new BlockNumber(_registry[index].Block));

    private bool IsFixed(BlockNumber block) => Owners(block) > 1 || _willFree.IsHeld(block.Value);

    private enum Fate
    {
        FreeNow,
        FreeLater,
        StillOwned,
        WhenWritten,
    }

    private bool Drop(BlockNumber block, ulong edited, ulong editedVersion, Fate wanted) =>
        FateOf(block) == wanted && Drop(block, edited, editedVersion) == wanted;

    private Fate FateOf(BlockNumber block)
    {
        if (Owners(block) > 1)
        {
            return Fate.StillOwned;
        }

        int index = _registry.Find(block.Value);
        if (index < 0)
        {
            return Fate.FreeLater;
        }

        ref RegistryEntry entry = ref _registry[index];
        int parent = _registry.Find(entry.Parent);
        bool neverOnDisk = entry.Has(EntryFlags.NeverOnDisk) && parent >= 0 && _registry.Submitted(parent) < entry.AttachVersion;
        return !neverOnDisk ? Fate.FreeLater : entry.Has(EntryFlags.Writing) ? Fate.WhenWritten : Fate.FreeNow;
    }

    private Fate Drop(BlockNumber block, ulong edited, ulong editedVersion)
    {
        Fate fate = FateOf(block);
        if (fate == Fate.StillOwned)
        {
            int owners = --System.Runtime.InteropServices.CollectionsMarshal.GetValueRefOrAddDefault(_multiplyOwned, block.Value, out _);
            if (owners <= 1)
            {
                _multiplyOwned.Remove(block.Value);
            }

            // What the entry says of the parent may be about the pointer that goes. Who still has one brings the block in again.
            int shared = _registry.Find(block.Value);
            if (shared >= 0 && _registry.TemplateOf(shared).IsCounted)
            {
                Forget(shared);
            }

            return fate;
        }

        int index = _registry.Find(block.Value);
        if (index < 0)
        {
            return fate;
        }

        // Orders and will-frees that hang on this block's own next write hang on the edited block's from now on.
        _order.Replace(block.Value, edited, editedVersion);
        _willFree.Replace(block.Value, edited, editedVersion);
        for (int kid = _registry.KidFirst(index); kid != BlockRegistry.None; kid = _registry.KidFirst(index))
        {
            // Kids of a freed tree are freed by the same transaction; they leave the list first.
            Detach(kid);
        }

        Detach(index);
        ref RegistryEntry entry = ref _registry[index];
        if (_registry.Pending(index) != 0)
        {
            _registry.StateOf(index).Pending = 0;
        }

        entry.Flags &= ~(EntryFlags.Uninitialised | EntryFlags.Volatile);
        if (entry.Has(EntryFlags.Writing))
        {
            _registry.ClearDirty(index);
            entry.Flags |= EntryFlags.Dropped | (fate == Fate.WhenWritten ? EntryFlags.FreeWhenWritten : EntryFlags.None);
            return fate;
        }

        Forget(index);
        return fate;
    }

    /// <summary>
    /// Takes an entry out of the registry and gives its frame back. That of a live block stays with the log: pointers to the block may be durable, and its newest contents are nowhere else in one piece.
    /// </summary>
    private void Forget(int index)
    {
        ref RegistryEntry entry = ref _registry[index];
        if (entry.Has(EntryFlags.Reading))
        {
            // Whoever reads it in does not make others wait who give it up. The frame is the device's until the read has ended (EndRead).
            entry.Flags &= ~(EntryFlags.Reading | EntryFlags.Framed);
        }

        if (entry.Has(EntryFlags.Live))
        {
            Invariant.Check(entry.Has(EntryFlags.Framed));
            _live.Find(entry.Block)!.Kept = new FrameNumber(entry.Frame);
            entry.Flags &= ~EntryFlags.Framed;
        }

        if (entry.Has(EntryFlags.Framed))
        {
            _frames.Release(new FrameNumber(entry.Frame));
            entry.Flags &= ~EntryFlags.Framed;
        }

        _registry.ClearDirty(index);
        _registry.Remove(index);
    }
}
