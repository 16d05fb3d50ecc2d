// SPDX-License-Identifier: MIT
using System.Globalization;
using Exo.Core.Blocks;

namespace Exo.Storage.XN;

/// <summary>
/// The decide part of <see cref="XnVolume.Apply"/>: from writes and claims to a verdict, changing nothing. For each partition whose read set the writes really change it runs
/// <c>owns</c> on the bytes as they are and as they would be; the difference must be what the claims say for that partition, no more and no less. For each unit that the writes change of
/// blocks whose template has an <c>approve</c>, it runs that.
/// Guarded by the volume's lock; reused.
/// </summary>
internal sealed partial class TransactionCheck(XnVolume volume, BlockRegistry registry, DiskFreeMap freeMap)
{
    private readonly List<Touched> _touched = [];
    private readonly List<Fresh> _fresh = [];
    private readonly ExtentSet _before = new();
    private readonly ExtentSet _after = new();
    private readonly ExtentSet _added = new();
    private readonly ExtentSet _removed = new();
    private readonly ExtentSet _claimedAdded = new();
    private readonly ExtentSet _claimedRemoved = new();
    private readonly ExtentSet _walk = new();
    private readonly Stack<TypedExtent> _pending = new();

    /// <summary>A partition whose pointers the writes change.</summary>
    internal readonly record struct Touched(BlockNumber Block, int Partition, int Entry);

    /// <summary>A metadata block that the transaction itself allocates, with a frame.</summary>
    internal readonly record struct Fresh(BlockNumber Block, Template Template);

    /// <summary>Blocks of freed trees, below what the claims name; valid after a verdict of Ok.</summary>
    public List<(TypedExtent Extent, BlockNumber Heir)> FreedBelow { get; } = [];

    // Metadata blocks that the transaction gives up, with whether a freed tree above them takes them along.
    private readonly Dictionary<ulong, bool> _givenUp = [];

    // New metadata blocks and the blocks above them.
    private readonly Dictionary<ulong, ulong> _freshParents = [];

    public OwnsRunner Owns { get; } = new();

    /// <summary>Whether the transaction that was decided on last allocates a block, as metadata with a frame.</summary>
    public bool IsFresh(BlockNumber block) => _freshParents.ContainsKey(block.Value);

    public XnStatus Decide(XnTransaction transaction)
    {
        _touched.Clear();
        _fresh.Clear();
        FreedBelow.Clear();
        _givenUp.Clear();
        _freshParents.Clear();
        _judged.Clear();
#if XN_UNCHECKED
        return Believe(transaction);
#else
        XnStatus status = CheckAllocations(transaction);
        if (status == XnStatus.Ok)
        {
            status = FindTouched(transaction);
        }

        if (status == XnStatus.Ok)
        {
            status = CheckClaimsHaveTouched(transaction);
        }

        for (int i = 0; i < _touched.Count && status == XnStatus.Ok; i++)
        {
            status = CheckPartition(transaction, _touched[i]);
        }

        bool shares = false;
        foreach (Claim claim in transaction.Claims)
        {
            if (status != XnStatus.Ok)
            {
                break;
            }

            shares |= claim.Kind == ClaimKind.Share;
            status = claim.Kind is ClaimKind.Free or ClaimKind.FreeTree && _givenUp.ContainsKey(claim.Block.Value) ? RefuseOrphan(transaction, claim) : claim.Kind switch
            {
                ClaimKind.Free => CheckFree(transaction, claim),
                ClaimKind.FreeTree => CheckFreeTree(transaction, claim),
                ClaimKind.Move => CheckMove(transaction, claim),
                _ => XnStatus.Ok,
            };
        }

        for (int i = 0; _givenUp.Count > 0 && status == XnStatus.Ok && i < transaction.Claims.Count; i++)
        {
            Claim claim = transaction.Claims[i];
            bool isTakenAlong = claim.Kind is ClaimKind.Free or ClaimKind.FreeTree && _givenUp.TryGetValue(claim.Block.Value, out bool below) && below;
            status = isTakenAlong ? RefuseOrphan(transaction, claim) : status;
        }

        // Last: what is freed is known now, with all that lies below it.
        for (int i = 0; shares && status == XnStatus.Ok && i < transaction.Claims.Count; i++)
        {
            status = transaction.Claims[i].Kind == ClaimKind.Share ? CheckShare(transaction, transaction.Claims[i]) : status;
        }

        return status;
#endif
    }

#if XN_UNCHECKED
    /// <summary>Only what <see cref="XnVolume.Apply"/> itself needs: that the blocks written are in core, and what lies below a freed tree.</summary>
    private XnStatus Believe(XnTransaction transaction)
    {
        XnStatus status = XnStatus.Ok;
        foreach (Claim claim in transaction.Claims)
        {
            if (claim.Kind == ClaimKind.Allocate && claim.FrameCount != 0 && volume.Template(claim.Extent.Template)!.IsMetadata)
            {
                for (uint b = 0; b < claim.Extent.Extent.Count; b++)
                {
                    _fresh.Add(new Fresh(claim.Extent.Extent.First + b, volume.Template(claim.Extent.Template)!));
                    _freshParents[claim.Extent.Extent.First.Value + b] = claim.Block.Value;
                }
            }
        }

        foreach (Edit edit in transaction.Edits)
        {
            status = status == XnStatus.Ok ? Locate(transaction, edit.Block, out _, out _) : status;
        }

        foreach (Claim claim in transaction.Claims)
        {
            status = status == XnStatus.Ok && claim.Kind == ClaimKind.FreeTree ? CheckFreeTree(transaction, claim) : status;
        }

        return status;
    }
#endif

    private XnStatus CheckAllocations(XnTransaction transaction)
    {
        List<Claim> claims = transaction.Claims;
        for (int i = 0; i < claims.Count; i++)
        {
            Claim claim = claims[i];
            if (claim.Kind != ClaimKind.Allocate)
            {
                continue;
            }

            BlockExtent extent = claim.Extent.Extent;
            if (extent.Count == 0 || !volume.IsInDataRegion(extent) || volume.Template(claim.Extent.Template) is not { } template)
            {
                return Refuse(transaction, XnStatus.BadBlock, $"{claim.Extent} cannot be allocated: outside the disk's data, or no such template");
            }

            if (!freeMap.AreFree(extent))
            {
                return Refuse(transaction, XnStatus.NotFree, $"{claim.Extent} is not free");
            }

            for (int k = 0; k < i; k++)
            {
                BlockExtent other = claims[k].Extent.Extent;
                if (claims[k].Kind == ClaimKind.Allocate && other.First.Value < extent.End.Value && extent.First.Value < other.End.Value)
                {
                    return Refuse(transaction, XnStatus.NotFree, $"{claim.Extent} is claimed twice");
                }
            }

            if (claim.FrameCount != 0 && claim.FrameCount != extent.Count)
            {
                return Refuse(transaction, XnStatus.BadFrames, $"{claim.Extent}: {claim.FrameCount} frames given");
            }

            if (claim.FrameCount != 0 && template.IsMetadata)
            {
                for (uint b = 0; b < extent.Count; b++)
                {
                    _fresh.Add(new Fresh(extent.First + b, template));
                    _freshParents[extent.First.Value + b] = claim.Block.Value;
                }
            }
        }

        return _freshParents.Count == 0 ? XnStatus.Ok : CheckFreshHang(transaction);
    }

    /// <summary>New blocks hang from what was there before, in the end: not from one another in a ring.</summary>
    private XnStatus CheckFreshHang(XnTransaction transaction)
    {
        foreach (Claim claim in transaction.Claims)
        {
            if (claim.Kind != ClaimKind.Allocate)
            {
                continue;
            }

            // Each link is followed once: what is known to hang is known by a parent of 0.
            ulong at = claim.Block.Value;
            int steps = 0;
            while (_freshParents.TryGetValue(at, out ulong above) && above != 0)
            {
                if (++steps > _freshParents.Count)
                {
                    return Refuse(transaction, XnStatus.Cycle, $"{claim.Extent} would hang from itself");
                }

                at = above;
            }

            for (at = claim.Block.Value; _freshParents.TryGetValue(at, out ulong next) && next != 0; at = next)
            {
                _freshParents[at] = 0;
            }
        }

        return XnStatus.Ok;
    }

    private XnStatus FindTouched(XnTransaction transaction)
    {
        foreach (Edit edit in transaction.Edits)
        {
            XnStatus status = Locate(transaction, edit.Block, out int index, out Template? template);
            if (status != XnStatus.Ok)
            {
                return status;
            }

            if (edit.OffsetBytes < 0 || edit.OffsetBytes > 4096 - edit.LengthBytes)
            {
                return Refuse(transaction, XnStatus.BadRange, $"a write of {edit.LengthBytes} bytes at {edit.OffsetBytes} leaves {edit.Block}");
            }

            if (template!.Approve is not null)
            {
                NoteJudged(edit.Block, index, template);
            }

            int end = edit.OffsetBytes + edit.LengthBytes;
            ushort[] order = template.ByOffset;
            for (int at = FirstAfter(template, edit.OffsetBytes); at < order.Length; at++)
            {
                int partition = order[at];
                int offset = template.Offsets[partition];
                if (offset >= end)
                {
                    break;
                }

                int from = Math.Max(offset, edit.OffsetBytes);
                int to = Math.Min(offset + template.ReadSetBytes, end);
                ReadOnlySpan<byte> proposed = transaction.Bytes(edit)[(from - edit.OffsetBytes)..(to - edit.OffsetBytes)];
                bool changes = index >= 0 ? !proposed.SequenceEqual(volume.FrameBytes(index)[from..to]) : proposed.ContainsAnyExcept((byte)0);
                Touched touched = new(edit.Block, partition, index);
                if (changes && !_touched.Contains(touched))
                {
                    _touched.Add(touched);
                }
            }
        }

        return XnStatus.Ok;
    }

    /// <summary>Where a block that is written stands: registered and in core, or allocated by this transaction (index -1).</summary>
    private XnStatus Locate(XnTransaction transaction, BlockNumber block, out int index, out Template? template)
    {
        index = registry.Find(block.Value);
        template = null;
        if (index >= 0)
        {
            ref RegistryEntry entry = ref registry[index];
            template = registry.TemplateOf(index);
            if (!entry.Has(EntryFlags.Framed) || entry.Has(EntryFlags.Reading | EntryFlags.Dropped))
            {
                transaction.MissingBlock = block;
                return Refuse(transaction, XnStatus.NotInCore, $"{block} is not in core");
            }

            if (volume.IsFixed(index))
            {
                return Refuse(transaction, XnStatus.Shared, $"{block} is shared");
            }

            return XnStatus.Ok;
        }

        foreach (Fresh fresh in _fresh)
        {
            if (fresh.Block == block)
            {
                template = fresh.Template;
                return XnStatus.Ok;
            }
        }

        return Refuse(transaction, XnStatus.NotRegistered, $"{block} is not in the registry");
    }

    private Template FreshTemplate(BlockNumber block)
    {
        foreach (Fresh fresh in _fresh)
        {
            if (fresh.Block == block)
            {
                return fresh.Template;
            }
        }

        throw new InvariantException($"{block} is neither registered nor fresh");
    }

    private static int FirstAfter(Template template, int offset)
    {
        int low = 0;
        int high = template.ByOffset.Length;
        while (low < high)
        {
            int middle = (low + high) >>> 1;
            if (template.Offsets[template.ByOffset[middle]] + template.ReadSetBytes <= offset)
            {
                low = middle + 1;
            }
            else
            {
                high = middle;
            }
        }

        return low;
    }

    private XnStatus CheckClaimsHaveTouched(XnTransaction transaction)
    {
        foreach (Claim claim in transaction.Claims)
        {
            if (claim.Extent.Extent.Count == 0 || volume.Template(claim.Extent.Template) is null)
            {
                // It would vanish among the others of its partition.
                return Refuse(transaction, XnStatus.TypeError, $"{claim.Kind} of {claim.Extent}: no blocks, or no such template");
            }

            bool source = Touches(claim.Block, claim.Partition);
            bool target = claim.Kind != ClaimKind.Move || Touches(claim.ToBlock, claim.ToPartition);
            if (!source || !target)
            {
                return Refuse(transaction, XnStatus.TypeError, $"{claim.Kind} of {claim.Extent} is claimed, but no pointer of that partition changes");
            }
        }

        return XnStatus.Ok;
    }

    private bool Touches(BlockNumber block, int partition)
    {
        foreach (Touched touched in _touched)
        {
            if (touched.Block == block && touched.Partition == partition)
            {
                return true;
            }
        }

        return false;
    }

    private XnStatus CheckPartition(XnTransaction transaction, in Touched touched)
    {
        Template template = touched.Entry >= 0 ? registry.TemplateOf(touched.Entry) : FreshTemplate(touched.Block);
        int offset = template.Offsets[touched.Partition];
        int length = template.ReadSetBytes;
        Span<byte> shadow = stackalloc byte[length];
        shadow.Clear();
        if (touched.Entry >= 0)
        {
            volume.FrameBytes(touched.Entry).Slice(offset, length).CopyTo(shadow);
        }

        if (!Owns.TryRun(template, touched.Partition, shadow, volume.BlockCount, _before))
        {
            return Refuse(transaction, XnStatus.TypeError, $"partition {touched.Partition} of {touched.Block} emits an illegal set as it is");
        }

        foreach (Edit edit in transaction.Edits)
        {
            if (edit.Block == touched.Block)
            {
                int from = Math.Max(offset, edit.OffsetBytes);
                int to = Math.Min(offset + length, edit.OffsetBytes + edit.LengthBytes);
                if (from < to)
                {
                    transaction.Bytes(edit)[(from - edit.OffsetBytes)..(to - edit.OffsetBytes)].CopyTo(shadow[(from - offset)..]);
                }
            }
        }

        if (!Owns.TryRun(template, touched.Partition, shadow, volume.BlockCount, _after))
        {
            return Refuse(transaction, XnStatus.TypeError, $"partition {touched.Partition} of {touched.Block} would emit an illegal set");
        }

        _added.Difference(_after, _before);
        _removed.Difference(_before, _after);
        _claimedAdded.Clear();
        _claimedRemoved.Clear();
        foreach (Claim claim in transaction.Claims)
        {
            bool isHere = claim.Block == touched.Block && claim.Partition == touched.Partition;
            if (isHere)
            {
                (claim.Kind is ClaimKind.Allocate or ClaimKind.Share ? _claimedAdded : _claimedRemoved).Add(claim.Extent);
            }

            if (claim.Kind == ClaimKind.Move && claim.ToBlock == touched.Block && claim.ToPartition == touched.Partition)
            {
                _claimedAdded.Add(claim.Extent);
            }
        }

        if (!_claimedAdded.TryNormalise() || !_claimedRemoved.TryNormalise() || !_claimedAdded.SetEquals(_added) || !_claimedRemoved.SetEquals(_removed))
        {
            return Refuse(
                transaction,
                XnStatus.TypeError,
                $"partition {touched.Partition} of {touched.Block}: the writes add {_added} and remove {_removed}, the claims say {_claimedAdded} and {_claimedRemoved}");
        }

        return XnStatus.Ok;
    }

    private XnStatus CheckFree(XnTransaction transaction, in Claim claim)
    {
        Template template = volume.Template(claim.Extent.Template)!;
        if (!template.IsMetadata)
        {
            return XnStatus.Ok;
        }

        for (uint i = 0; i < claim.Extent.Extent.Count; i++)
        {
            BlockNumber block = claim.Extent.Extent.First + i;
            if (volume.Owners(block) > 1)
            {
                continue;
            }

            XnStatus status = OwnedBy(transaction, block, template, _walk);
            if (status != XnStatus.Ok)
            {
                return status;
            }

            if (_walk.Count > 0)
            {
                return Refuse(transaction, XnStatus.HasPointers, $"{block} still owns {_walk}");
            }

            _givenUp[block.Value] = false;
        }

        return XnStatus.Ok;
    }

    /// <summary>What hangs below is given up before what it hangs from, or with it.</summary>
    private static XnStatus RefuseOrphan(XnTransaction transaction, in Claim claim) =>
        Refuse(transaction, XnStatus.TypeError, $"{claim.Extent} is given up by {claim.Block}, which is given up before it");

    private XnStatus CheckFreeTree(XnTransaction transaction, in Claim claim)
    {
        _pending.Clear();
        _pending.Push(claim.Extent);
        while (_pending.TryPop(out TypedExtent next))
        {
            Template template = volume.Template(next.Template)!;
            if (!template.IsMetadata)
            {
                continue;
            }

            for (uint i = 0; i < next.Extent.Count; i++)
            {
                BlockNumber block = next.Extent.First + i;
                if (volume.Owners(block) > 1)
                {
                    continue;
                }

                XnStatus status = OwnedBy(transaction, block, template, _walk);
                if (status != XnStatus.Ok)
                {
                    return status;
                }

                // In a tree that stands each block has one path. With writes that are not accepted yet it may lead into itself, or twice to the same blocks and twice from there ...
                if (!_givenUp.TryAdd(block.Value, next != claim.Extent))
                {
                    return Refuse(transaction, XnStatus.Cycle, $"what is freed leads to {block} twice");
                }

                foreach (TypedExtent below in _walk.Items)
                {
                    FreedBelow.Add((below, claim.Block));
                    _pending.Push(below);
                }
            }
        }

        return XnStatus.Ok;
    }

    /// <summary>Everything that a metadata block owns, as it is now with the transaction's writes in place.</summary>
    private XnStatus OwnedBy(XnTransaction transaction, BlockNumber block, Template template, ExtentSet owned)
    {
        owned.Clear();
        int index = registry.Find(block.Value);
        if (index >= 0 && !registry[index].Has(EntryFlags.Framed))
        {
            // Allocated and never bound: it is empty.
            if (registry[index].Has(EntryFlags.Uninitialised))
            {
                return XnStatus.Ok;
            }

            index = -1;
        }

        if (index < 0 || registry[index].Has(EntryFlags.Reading))
        {
            transaction.MissingBlock = block;
            return Refuse(transaction, XnStatus.NotInCore, $"{block} must be in core to be freed");
        }

        Span<byte> bytes = stackalloc byte[4096];
        volume.FrameBytes(index).CopyTo(bytes);
        foreach (Edit edit in transaction.Edits)
        {
            if (edit.Block == block)
            {
                transaction.Bytes(edit).CopyTo(bytes[edit.OffsetBytes..]);
            }
        }

        for (int partition = 0; partition < template.PartitionCount; partition++)
        {
            ReadOnlySpan<byte> readSet = bytes.Slice(template.Offsets[partition], template.ReadSetBytes);
            if (!readSet.ContainsAnyExcept((byte)0))
            {
                continue;
            }

            if (!Owns.TryRun(template, partition, readSet, volume.BlockCount, _before))
            {
                return Refuse(transaction, XnStatus.TypeError, $"partition {partition} of {block} emits an illegal set");
            }

            foreach (TypedExtent item in _before.Items)
            {
                owned.Add(item);
            }
        }

        return XnStatus.Ok;
    }

    private XnStatus CheckMove(XnTransaction transaction, in Claim claim)
    {
        if (claim.Block == claim.ToBlock)
        {
            if (claim.Partition == claim.ToPartition)
            {
                return Refuse(transaction, XnStatus.TypeError, $"a move of {claim.Extent} within one partition is no move");
            }

            int index = registry.Find(claim.Block.Value);
            if (index >= 0)
            {
                ushort[] offsets = registry.TemplateOf(index).Offsets;
                if (offsets[claim.Partition] / 512 != offsets[claim.ToPartition] / 512)
                {
                    return Refuse(transaction, XnStatus.SplitSectorMove, $"the move of {claim.Extent} spans two sectors of {claim.Block}");
                }
            }

            return XnStatus.Ok;
        }

        // The destination must not lie below what moves. A fresh destination lies where the transaction allocates it.
        BlockNumber at = claim.ToBlock;
        for (int steps = 0; at.Value != 0; steps++)
        {
            if (claim.Extent.Extent.Contains(at) || steps > 1_000_000)
            {
                return Refuse(transaction, XnStatus.Cycle, $"{claim.Extent} would come to lie below itself");
            }

            int index = registry.Find(at.Value);
            if (index >= 0)
            {
                at = new BlockNumber(registry[index].Parent);
                continue;
            }

            BlockNumber parent = default;
            foreach (Claim allocation in transaction.Claims)
            {
                if (allocation.Kind == ClaimKind.Allocate && allocation.Extent.Extent.Contains(at))
                {
                    parent = allocation.Block;
                }
            }

            at = parent;
        }

        return XnStatus.Ok;
    }

    private XnStatus CheckShare(XnTransaction transaction, in Claim claim)
    {
        BlockExtent extent = claim.Extent.Extent;
        if (volume.Template(claim.Extent.Template) is not { IsCounted: true })
        {
            return Refuse(transaction, XnStatus.WrongTemplate, $"{claim.Extent} is not of a counted template");
        }

        int owner = registry.Find(claim.ToBlock.Value);
        if (owner < 0 || !registry[owner].Has(EntryFlags.Framed) || registry[owner].Has(EntryFlags.Reading | EntryFlags.Dropped))
        {
            transaction.MissingBlock = claim.ToBlock;
            return Refuse(transaction, owner < 0 ? XnStatus.NotRegistered : XnStatus.NotInCore, $"{claim.ToBlock}, the owner of {claim.Extent}, is not in core");
        }

        Template template = registry.TemplateOf(owner);
        if ((uint)claim.ToPartition >= (uint)template.PartitionCount)
        {
            return Refuse(transaction, XnStatus.BadRange, $"{claim.ToBlock} has no partition {claim.ToPartition}");
        }

        ReadOnlySpan<byte> readSet = volume.FrameBytes(owner).Slice(template.Offsets[claim.ToPartition], template.ReadSetBytes);
        if (!Owns.TryRun(template, claim.ToPartition, readSet, volume.BlockCount, _before)
            || !_before.TryCover(extent, out TemplateId id) || id != claim.Extent.Template)
        {
            return Refuse(transaction, XnStatus.NotOwned, $"partition {claim.ToPartition} of {claim.ToBlock} does not own {claim.Extent}");
        }

        // Giving up the pointer that proves it in the same step would be a move without a move's order.
        foreach (Claim other in transaction.Claims)
        {
            if (other.Kind is ClaimKind.Free or ClaimKind.FreeTree or ClaimKind.Move && Overlap(other.Extent.Extent, extent))
            {
                return Refuse(transaction, XnStatus.TypeError, $"{claim.Extent} is shared and given up at once");
            }
        }

        foreach ((TypedExtent below, BlockNumber _) in FreedBelow)
        {
            if (Overlap(below.Extent, extent))
            {
                return Refuse(transaction, XnStatus.TypeError, $"{claim.Extent} is shared and given up at once");
            }
        }

        const EntryFlags Moving = EntryFlags.Dirty | EntryFlags.Writing | EntryFlags.Reading | EntryFlags.Unflushed | EntryFlags.Uninitialised | EntryFlags.Dropped;
        for (uint i = 0; i < extent.Count; i++)
        {
            int index = registry.Find(extent.First.Value + i);
            if (index >= 0 && (registry[index].Has(Moving) || !registry[index].Has(EntryFlags.Framed)))
            {
                return Refuse(transaction, XnStatus.NotDurable, $"{extent.First + i} is not durable yet");
            }
        }

        return XnStatus.Ok;
    }

    private static bool Overlap(in BlockExtent left, in BlockExtent right) => left.First.Value < right.End.Value && right.First.Value < left.End.Value;

    private static XnStatus Refuse(XnTransaction transaction, XnStatus status, FormattableString why)
    {
        transaction.LastRefusal = why.ToString(CultureInfo.InvariantCulture);
        return status;
    }
}
