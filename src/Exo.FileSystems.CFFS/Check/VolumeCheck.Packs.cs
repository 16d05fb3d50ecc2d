// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Check;

/// <content>Packs: one for a sector at most, one block each, for files of the sector, of which no two mean the same part of it.</content>
internal sealed partial class VolumeCheck
{
    private void CheckPack(DirectoryVisit directory, ulong block, int s, ReadOnlySpan<byte> sector)
    {
        int packs = 0;
        byte used = 0;
        int files = 0;
        for (int slot = 0; slot < Slot.PerSector; slot++)
        {
            ReadOnlySpan<byte> bytes = sector.Slice(slot * Slot.SizeBytes, Slot.SizeBytes);
            if (Slot.KindOf(bytes) == SlotKind.Pack)
            {
                packs++;
                if (!Pack.IsWhole(bytes))
                {
                    Find(CffsSeverity.Error, "pack", $"the pack in slot {slot} of sector {s} in {directory.Path}/ contradicts itself", directory.Inode, block);
                }
                else
                {
                    _ = Own(Pack.BlockOf(bytes), 1, directory.Inode, isAnnounced: false, isContents: true);
                }
            }
            else if (Slot.IsHead(bytes) && Record.TryParse(sector, slot, out Record record) && record.IsPacked)
            {
                byte mask = Pack.MaskOf(record);
                if ((used & mask) != 0)
                {
                    Find(CffsSeverity.Error, "pack", $"inode {record.Inode} in {directory.Path}/ lies where another file of its pack does", record.Inode, block);
                }

                used |= mask;
                files++;
            }
        }

        if (packs > 1 || (packs == 1) != (files > 0))
        {
            Find(CffsSeverity.Error, "pack", $"sector {s} in {directory.Path}/ has {packs} packs for {files} packed files", directory.Inode, block);
        }
    }
}
