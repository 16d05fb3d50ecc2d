// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;

namespace Exo.Storage.XN;

/// <content>What the blocks' own templates say to what would become of them.</content>
internal sealed partial class TransactionCheck
{
    private static readonly byte[] s_fresh = new byte[4096];

    private readonly List<Judged> _judged = [];
    private readonly byte[] _proposed = new byte[4096];
    private readonly byte[] _unit = new byte[4096];

    /// <summary>A block that is written whose template has an <c>approve</c>; fresh ones have entry -1.</summary>
    private readonly record struct Judged(BlockNumber Block, int Entry, Template Template);

    public ApproveRunner Approvals { get; } = new();

    private void NoteJudged(BlockNumber block, int entry, Template template)
    {
        Judged judged = new(block, entry, template);
        if (!_judged.Contains(judged))
        {
            _judged.Add(judged);
        }
    }

    /// <summary>After <see cref="Decide"/>: whether the templates of the blocks written approve.</summary>
    public XnStatus DecideApproval(XnTransaction transaction)
    {
        foreach (Judged judged in _judged)
        {
            if (!TryGuard(transaction, judged, out ReadOnlySpan<byte> guard))
            {
                return Refuse(transaction, XnStatus.NotInCore, $"the block that guards {judged.Block} is not in core");
            }

            int unit = FirstRefused(transaction, judged, guard);
            if (unit >= 0)
            {
                return Refuse(transaction, XnStatus.Disapproved, $"template '{judged.Template.Source.Name}' does not approve of what would become of {judged.Block}, bytes {unit} to {unit + judged.Template.UnitBytes - 1}");
            }
        }

        return XnStatus.Ok;
    }

    /// <summary>The offset of the first unit that is refused, or -1.</summary>
    private int FirstRefused(XnTransaction transaction, in Judged judged, ReadOnlySpan<byte> guard)
    {
        int length = judged.Template.UnitBytes;
        ReadOnlySpan<byte> before = judged.Entry >= 0 ? volume.FrameBytes(judged.Entry) : s_fresh;
        int edits = 0;
        Edit only = default;
        foreach (Edit edit in transaction.Edits)
        {
            if (edit.Block == judged.Block)
            {
                edits++;
                only = edit;
            }
        }

        if (edits == 1 && only.LengthBytes == length && only.OffsetBytes % length == 0)
        {
            // One sector, as nearly always: nothing needs to be put together.
            return Approvals.Approves(judged.Template, only.OffsetBytes, transaction.Bytes(only), before, guard) ? -1 : only.OffsetBytes;
        }

        before.CopyTo(_proposed);
        foreach (Edit edit in transaction.Edits)
        {
            if (edit.Block == judged.Block)
            {
                transaction.Bytes(edit).CopyTo(_proposed.AsSpan(edit.OffsetBytes));
            }
        }

        for (int at = 0; at < _proposed.Length; at += length)
        {
            Span<byte> place = _proposed.AsSpan(at, length);
            Span<byte> unit = _unit.AsSpan(0, length);
            place.CopyTo(unit);
            before.Slice(at, length).CopyTo(place);
            if (!Approvals.Approves(judged.Template, at, unit, _proposed, guard))
            {
                return at;
            }

            unit.CopyTo(place);
        }

        return -1;
    }

    /// <summary>The block whose <c>acl</c> guards a block that is written, as it is now; that of a fresh block is what guards the block that it will hang from.</summary>
    private bool TryGuard(XnTransaction transaction, in Judged judged, out ReadOnlySpan<byte> guard)
    {
        guard = s_fresh;
        BlockNumber at = judged.Block;
        int index = judged.Entry;
        while (index < 0)
        {
            if (FreshTemplate(at).Acl is not null)
            {
                return true;
            }

            // Fresh blocks hang from what was there before (CheckFreshHang).
            foreach (Claim claim in transaction.Claims)
            {
                if (claim.Kind == ClaimKind.Allocate && claim.Extent.Extent.Contains(at))
                {
                    at = claim.Block;
                    break;
                }
            }

            index = registry.Find(at.Value);
        }

        int guarding = registry.Find(registry[index].Guard);
        if (guarding < 0 || !registry[guarding].Has(EntryFlags.Framed) || registry[guarding].Has(EntryFlags.Reading))
        {
            return false;
        }

        guard = volume.FrameBytes(guarding);
        return true;
    }
}
