// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Exo.FileSystems.CFFS.Layout;

namespace Exo.FileSystems.CFFS.Check;

/// <content>What contradicts itself within one record, and what its blocks prove about it.</content>
internal sealed partial class VolumeRepair
{
    internal const ulong FileSizeMax = 1UL << 46;

    /// <summary>Kind and mode agree afterwards. XN's pointers follow the kind, so the kind counts; except where the blocks prove a directory, or nothing but the mode makes sense.</summary>
    private void MendKind(RepairRecord record)
    {
        ref Record now = ref record.Now;
        ushort type = (ushort)(now.Mode & ModeBits.TypeMask);
        SlotKind asMode = type switch
        {
            ModeBits.Directory => SlotKind.Directory,
            ModeBits.SymbolicLink => SlotKind.SymbolicLink,
            ModeBits.File => SlotKind.File,
            ModeBits.CharacterDevice or ModeBits.BlockDevice or ModeBits.Fifo or ModeBits.Socket => SlotKind.Special,
            _ => SlotKind.Free,
        };
        if (asMode == now.Kind)
        {
            return;
        }

        SlotKind kind = now.Kind;
        if (asMode == SlotKind.Directory && HasSlotBlocks(now))
        {
            kind = SlotKind.Directory;
        }
        else if ((kind == SlotKind.Directory && asMode is SlotKind.File or SlotKind.SymbolicLink && !HasSlotBlocks(now))
            || (kind == SlotKind.Special && asMode is SlotKind.File or SlotKind.SymbolicLink))
        {
            kind = asMode;
        }

        Act("mode", $"inode {now.Inode}: kind {now.Kind} and mode {Convert.ToString(now.Mode, 8)} contradict each other: it is {kind} now", now.Inode, record.Block);
        now.Kind = kind;
        now.Mode = (ushort)((now.Mode & ModeBits.PermissionMask) | kind switch
        {
            SlotKind.Directory => ModeBits.Directory,
            SlotKind.SymbolicLink => ModeBits.SymbolicLink,
            SlotKind.Special => ModeBits.Fifo,
            _ => ModeBits.File,
        });
        record.IsDirty = true;
    }

    private void MendInline(RepairRecord record)
    {
        ref Record now = ref record.Now;
        bool holdsContents = now.Kind is SlotKind.File or SlotKind.SymbolicLink;
        if (now.InlineLength > 0 && (!holdsContents || (now.Count > 0 && now.Size != now.InlineLength)))
        {
            Act("inline", $"inode {now.Inode} loses inline contents that do not go with its extent", now.Inode, record.Block);
            DropInline(record);
        }
        else if (now.InlineLength > 0 && (now.Count > 0 || now.Size != now.InlineLength))
        {
            Act("inline", $"inode {now.Inode}: its inline contents count, {now.InlineLength} bytes", now.Inode, record.Block);
            now.Count = 0;
            now.Start = 0;
            now.Depth = 0;
            now.Size = now.InlineLength;
            record.IsDirty = true;
        }

        if (now.Kind == SlotKind.File && now.Size > FileSizeMax)
        {
            Act("size", $"inode {now.Inode}: a size of {now.Size} bytes is cut to what it can be", now.Inode, record.Block);
            now.Size = Math.Min(FileSizeMax, now.Depth == 0 ? now.Count * 4096UL : FileSizeMax);
            record.IsDirty = true;
        }
    }

    /// <summary>The length of a directory is that of its slot blocks.</summary>
    private void DecideSizes()
    {
        foreach (RepairDirectory directory in _directories.Values.Where(directory => directory.Record.IsLive))
        {
            RepairRecord record = directory.Record;
            ulong size = record.Extents.Where(extent => extent.Kind == TreeEntryKind.Contents).Select(extent => extent.Logical + extent.Count).DefaultIfEmpty().Max() * 4096;
            if (record.Now.Size != size)
            {
                Act("size", $"directory {record.Now.Inode} is {size} bytes long now, not {record.Now.Size}", record.Now.Inode, record.Block);
                record.Now.Size = size;
                record.IsDirty = true;
            }
        }
    }

    private static void DropInline(RepairRecord record)
    {
        record.Now.InlineLength = 0;
        record.IsDirty = true;
    }

    private bool HasSlotBlocks(in Record record)
    {
        byte[] block = new byte[4096];
        if (record.Count == 0 || !IsInRange(record.Start, 1) || !_edits.TryRead(record.Start, block))
        {
            return false;
        }

        SectorKind kind = record.Depth == 0 ? SectorKind.Slots : SectorKind.Tree;
        return ProvedOwner(block, record.Start, kind, record.Inode) == record.Inode && (record.Depth == 0 || LeadsToSlots(block, record));
    }

    /// <summary>Whether the first extent of a tree's root node, a leaf, begins with a slot block.</summary>
    private bool LeadsToSlots(ReadOnlySpan<byte> node, in Record record)
    {
        TreeEntry entry = TreeEntry.Read(node);
        byte[] block = new byte[4096];
        return entry.Kind == TreeEntryKind.Contents && IsInRange(entry.Start, 1) && _edits.TryRead(entry.Start, block) && ProvedOwner(block, entry.Start, SectorKind.Slots, record.Inode) == record.Inode;
    }

    /// <summary>The number that a record's first metadata block proves; null: nothing proves any.</summary>
    private ulong? ProvedInode(RepairRecord record)
    {
        ref readonly Record now = ref record.Now;
        bool isTree = now.Depth > 0 && record.OwnsBlocks;
        if ((!isTree && now.Kind != SlotKind.Directory) || now.Count == 0 || !IsInRange(now.Start, 1))
        {
            return null;
        }

        byte[] block = new byte[4096];
        return _edits.TryRead(now.Start, block) ? ProvedOwner(block, now.Start, isTree ? SectorKind.Tree : SectorKind.Slots, now.Inode) : null;
    }

    /// <summary>Whose a metadata block is by the trailers of its sectors: <paramref name="expected"/> when one says so, otherwise the one that most name. Null: none is valid.</summary>
    private ulong? ProvedOwner(ReadOnlySpan<byte> block, ulong number, SectorKind kind, ulong expected)
    {
        Span<ulong> owners = stackalloc ulong[Sector.PerBlock];
        int count = 0;
        for (int s = 0; s < Sector.PerBlock; s++)
        {
            ReadOnlySpan<byte> sector = block.Slice(s * Sector.SizeBytes, Sector.SizeBytes);
            ulong owner = BinaryPrimitives.ReadUInt64LittleEndian(sector[Sector.Owner..]);
            if (!Sector.IsEmpty(sector) && Sector.IsValid(sector, _guard.ChecksumSeed, (number * Sector.PerBlock) + (ulong)s, kind, owner))
            {
                owners[count++] = owner;
            }
        }

        if (count == 0 || owners[..count].Contains(expected))
        {
            return count == 0 ? null : expected;
        }

        ulong best = owners[0];
        for (int i = 1; i < count; i++)
        {
            best = owners[..count].Count(owners[i]) > owners[..count].Count(best) ? owners[i] : best;
        }

        return best;
    }
}
