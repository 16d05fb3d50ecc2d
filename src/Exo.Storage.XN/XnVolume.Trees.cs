// SPDX-License-Identifier: MIT
namespace Exo.Storage.XN;

/// <content>What hangs from what: blocks that a root does not lead to yet, how many uninitialised ones lie below them, and moves of metadata from one holder to another.</content>
public sealed partial class XnVolume
{
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
}
