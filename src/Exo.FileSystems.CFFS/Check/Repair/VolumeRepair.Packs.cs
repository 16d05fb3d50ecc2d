// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Check;

/// <content>Packs: each is a record without a name, whose claim to its block is as good as that of the file changed last in it. A file whose pack is lost, or whose part of it is another's, is a hole.</content>
internal sealed partial class VolumeRepair
{
    private readonly List<RepairRecord> _packs = [];

    /// <summary>The pack of a sector; what looks like one and cannot be it is emptied.</summary>
    private RepairRecord? VisitPack(RepairDirectory directory, ulong block, int s, ReadOnlySpan<byte> sector)
    {
        RepairRecord? pack = null;
        for (int slot = 0; slot < Slot.PerSector; slot++)
        {
            ReadOnlySpan<byte> bytes = sector.Slice(slot * Slot.SizeBytes, Slot.SizeBytes);
            if (Slot.KindOf(bytes) != SlotKind.Pack)
            {
                continue;
            }

            if (pack is not null || !Pack.IsWhole(bytes) || !IsInRange(Pack.BlockOf(bytes), 1))
            {
                Act("pack", $"slot {slot} of sector {s} in directory {directory.Inode} is no pack: emptied", directory.Inode, block);
                int from = slot * Slot.SizeBytes;
                _edits.Change(block, s, SectorKind.Slots, directory.Inode, RepairStep.Old, edit => edit.Slice(from, Slot.SizeBytes).Clear());
                _hasLoss = true;
                continue;
            }

            pack = new RepairRecord
            {
                Now = new Record { Kind = SlotKind.Pack, Slots = 1, Start = Pack.BlockOf(bytes), Count = 1, Size = 4096, Inode = ulong.MaxValue, ChangeTime = long.MinValue },
                Block = block, Index = (s * Slot.PerSector) + slot, Owner = directory.Inode, SlotsFound = 1, IsSalvaged = directory.Record.IsSalvaged || _isSalvaging,
            };
            _records.Add(pack);
            _packs.Add(pack);
        }

        return pack;
    }

    /// <summary>A file is found in a sector that has this pack, or none.</summary>
    private void PutIntoPack(RepairRecord record, RepairRecord? pack)
    {
        byte mask = Pack.MaskOf(record.Now);
        if (pack is null || pack.Packed.Exists(other => (Pack.MaskOf(other.Now) & mask) != 0))
        {
            LosePacked(record);
            return;
        }

        record.Pack = pack;
        pack.Packed.Add(record);
        pack.Now.ChangeTime = Math.Max(pack.Now.ChangeTime, record.Now.ChangeTime);
        pack.Now.Inode = Math.Min(pack.Now.Inode, record.Now.Inode);
    }

    private void LosePacked(RepairRecord record)
    {
        Act("pack", $"inode {record.Now.Inode} loses its contents, {record.Now.Size} bytes that shared a block: there is a hole now", record.Now.Inode, record.Block);
        (record.Now.Depth, record.Now.Start, record.Pack) = (0, 0, null);
        record.IsDirty = true;
        _hasLoss = true;
    }

    /// <summary>The block is another's: the pack goes, and what was in it.</summary>
    private void LosePack(RepairRecord pack)
    {
        pack.IsRemoved = true;
        pack.IsDirty = true;
        pack.Packed.ForEach(LosePacked);
        pack.Packed.Clear();
    }

    /// <summary>Contents of a packed file that gets a place elsewhere: in a block of its own. False when the disk is full.</summary>
    private bool TryUnpack(RepairRecord record)
    {
        if (Take() is not { } block)
        {
            return false;
        }

        byte[] pack = new byte[4096];
        byte[] contents = new byte[4096];
        _edits.TryRead(record.Pack!.Now.Start, pack);
        pack.AsSpan((int)record.Now.Start * Sector.SizeBytes, (int)record.Now.Size).CopyTo(contents);
        _edits.Replace(block, contents, RepairStep.New);
        record.Map = [new RepairExtent(0, block, 1, TreeEntryKind.Contents)];
        record.IsMapDirty = true;
        (record.Now.Depth, record.Now.Start, record.Pack) = (0, 0, null);
        return true;
    }

    /// <summary>A pack that nobody needs any more goes.</summary>
    private void DropEmptyPacks()
    {
        foreach (RepairRecord pack in _packs.Where(pack => pack.IsLive && !pack.Packed.Exists(record => record.IsLive && record.Pack == pack)))
        {
            Act("pack", $"a pack without files in directory {pack.Owner} goes", pack.Owner, pack.Block);
            pack.IsRemoved = true;
            pack.IsDirty = true;
        }
    }
}
