// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.Storage.XN;

/// <content>Blocks that lose a pointer: given up, kept for the moment, or with one owner less.</content>
public sealed partial class XnVolume
{
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
