// SPDX-License-Identifier: MIT
using Exo.Capabilities;
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.Storage.XN;

/// <content>Changes of metadata: decide, then apply.</content>
public sealed partial class XnVolume
{
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
}
