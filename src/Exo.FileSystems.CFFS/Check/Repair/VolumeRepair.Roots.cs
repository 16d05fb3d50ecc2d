// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Text;
using Exo.Core.Blocks;
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Templates;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Check;

/// <content>Where everything begins: each thing of which there are two copies is made whole from the good one; where both are gone it is made anew from what is known.</content>
internal sealed partial class VolumeRepair
{
    private const int CffsTemplateCount = 8;

    private ulong _rootsGeneration;

    private uint _super;

    private bool PlanRoots()
    {
        _edits = new SectorEdits(device, blocks, 0);
        XnSuperblockPair pair = new(device);
        PlanXnSuperblock(pair);
        List<RootEntry> roots = PlanRootCatalogue(out uint super);
        if (!PlanTemplates(super, roots.Exists(root => root.Name != CffsVolume.DefaultRootName)))
        {
            return false;
        }

        RootEntry ours = roots.Find(root => root.Name == CffsVolume.DefaultRootName);
        ulong found = ours.Template.Value == _super ? ours.Block.Value : 0;
        byte[] block = new byte[4096];
        if (found == 0 || !IsGuard(found, block))
        {
            ulong elsewhere = FindGuard(block);
            if (elsewhere == 0)
            {
                Act("guard-lost", $"no guard sector is to be found: without it no checksum can be verified, and nothing is believed", 0, found);
                return false;
            }

            Act("root", $"the root catalogue leads to the superblock in block {elsewhere} again", 0, elsewhere);
            roots.RemoveAll(root => root.Name == CffsVolume.DefaultRootName);
            roots.Add(new RootEntry(CffsVolume.DefaultRootName, new TemplateId(_super), new BlockNumber(elsewhere)));
            StageRoots(roots);
            found = elsewhere;
        }

        _superblock = found;
        SectorEdits begun = _edits;
        _edits = new SectorEdits(device, blocks, _guard.ChecksumSeed);
        begun.MoveTo(_edits);
        FindForeign(roots);
        PlanVolumeState(block);
        LoadFreeMap();
        return true;
    }

    private void PlanXnSuperblock(XnSuperblockPair pair)
    {
        byte[] block = new byte[4096];
        bool found = false;
        bool isDamaged = false;
        for (ulong copy = 0; copy < 2; copy++)
        {
            if (blocks.TryRead(copy, block) && XnSuperblock.TryParse(block.AsSpan(0, XnSuperblock.SizeBytes), copy, out XnSuperblock parsed, out _))
            {
                if (!found || parsed.Generation > pair.Current.Generation)
                {
                    pair.Current = parsed;
                }

                found = true;
            }
            else
            {
                isDamaged = true;
            }
        }

        if (!found || pair.Current.BlockCount > device.Geometry.BlockCount)
        {
            throw new CffsException(CffsError.NotCffs, $"{device.Geometry.Path}: {(found ? "the volume is truncated" : "not an XN volume")}");
        }

        _xn = pair.Current;
        _isUnclean = _xn.Clean == 0;
        if (isDamaged)
        {
            Act("xn-superblock", $"a copy of the superblock of XN is written anew", 0, 0);
        }
    }

    /// <summary>The roots; a damaged copy of the catalogue is made whole. Empty when there is no good copy.</summary>
    private List<RootEntry> PlanRootCatalogue(out uint super)
    {
        List<RootEntry> roots = [];
        ulong newest = 0;
        int good = 0;
        byte[] block = new byte[4096];
        for (ulong copy = 0; copy < 2; copy++)
        {
            ulong at = _xn.RootsStart + copy;
            if (!blocks.TryRead(at, block) || !XnChecksum.IsValid(block, at) || BinaryPrimitives.ReadUInt32LittleEndian(block.AsSpan(RootBlock.MagicOffset)) != RootBlock.MagicValue
                || !TryReadRoots(block, out List<RootEntry> entries))
            {
                continue;
            }

            good++;
            ulong generation = BinaryPrimitives.ReadUInt64LittleEndian(block.AsSpan(RootBlock.GenerationOffset));
            if (good == 1 || generation > newest)
            {
                newest = generation;
                roots = entries;
            }
        }

        _rootsGeneration = newest;
        super = roots.Find(root => root.Name == CffsVolume.DefaultRootName).Template.Value;
        if (good == 1)
        {
            Act("xn-roots", $"a copy of the root catalogue is written anew", 0, _xn.RootsStart);
            StageRoots(roots);
        }
        else if (good == 0)
        {
            Act("xn-roots", $"both copies of the root catalogue are lost: it is made anew, with this file system alone", 0, _xn.RootsStart);
        }

        return roots;
    }

    private bool TryReadRoots(ReadOnlySpan<byte> block, out List<RootEntry> entries)
    {
        entries = [];
        uint count = BinaryPrimitives.ReadUInt32LittleEndian(block[RootBlock.CountOffset..]);
        for (int i = 0; i < count && count <= RootBlock.EntriesMax; i++)
        {
            ReadOnlySpan<byte> entry = block.Slice(RootBlock.EntriesOffset + (i * RootBlock.EntryBytes), RootBlock.EntryBytes);
            uint length = BinaryPrimitives.ReadUInt32LittleEndian(entry[RootBlock.EntryNameLengthOffset..]);
            ulong at = BinaryPrimitives.ReadUInt64LittleEndian(entry[RootBlock.EntryBlockOffset..]);
            uint template = BinaryPrimitives.ReadUInt32LittleEndian(entry[RootBlock.EntryTemplateOffset..]);
            if (length is 0 or > RootBlock.NameBytesMax || at < _xn.DataStart || at >= _xn.BlockCount || template == 0 || template > _xn.TemplateSlots)
            {
                return false;
            }

            entries.Add(new RootEntry(Encoding.UTF8.GetString(entry.Slice(RootBlock.EntryNameOffset, (int)length)), new TemplateId(template), new BlockNumber(at)));
        }

        return count <= RootBlock.EntriesMax;
    }

    private void StageRoots(List<RootEntry> roots)
    {
        byte[] block = new byte[4096];
        BinaryPrimitives.WriteUInt32LittleEndian(block.AsSpan(RootBlock.MagicOffset), RootBlock.MagicValue);
        BinaryPrimitives.WriteUInt64LittleEndian(block.AsSpan(RootBlock.GenerationOffset), _rootsGeneration + 1);
        BinaryPrimitives.WriteUInt32LittleEndian(block.AsSpan(RootBlock.CountOffset), (uint)roots.Count);
        for (int i = 0; i < roots.Count; i++)
        {
            Span<byte> entry = block.AsSpan(RootBlock.EntriesOffset + (i * RootBlock.EntryBytes), RootBlock.EntryBytes);
            int length = Encoding.UTF8.GetBytes(roots[i].Name, entry.Slice(RootBlock.EntryNameOffset, RootBlock.NameBytesMax));
            BinaryPrimitives.WriteUInt32LittleEndian(entry[RootBlock.EntryNameLengthOffset..], (uint)length);
            BinaryPrimitives.WriteUInt32LittleEndian(entry[RootBlock.EntryTemplateOffset..], roots[i].Template.Value);
            BinaryPrimitives.WriteUInt64LittleEndian(entry[RootBlock.EntryBlockOffset..], roots[i].Block.Value);
        }

        for (ulong copy = 0; copy < 2; copy++)
        {
            XnChecksum.Seal(block, _xn.RootsStart + copy);
            _edits.Replace(_xn.RootsStart + copy, block, RepairStep.Roots);
        }
    }

    /// <summary>Templates: a damaged copy from the other; C-FFS's own, when both are gone, from this code. False when another's are gone: nobody can say what it was.</summary>
    private bool PlanTemplates(uint super, bool isShared)
    {
        int slots = (int)_xn.TemplateSlots;
        byte[]?[] whole = new byte[]?[slots];
        bool[] isDamaged = new bool[slots];
        string?[] names = new string?[slots];
        byte[] block = new byte[4096];
        for (int at = 0; at < 2 * slots; at++)
        {
            int slot = at % slots;
            bool isRead = blocks.TryRead(_xn.TemplateStart + (ulong)at, block);
            if (isRead && TemplateCopies.TryRead(block, _xn.TemplateStart + (ulong)at, slot, out string name))
            {
                whole[slot] ??= (byte[])block.Clone();
                names[slot] ??= name;
            }
            else
            {
                isDamaged[slot] |= !isRead || block.AsSpan().ContainsAnyExcept((byte)0) || at >= slots;
            }
        }

        // Both copies of the catalogue of roots are lost, or name no template that there is: the name tells.
        if (super == 0 || super - 1 >= (uint)slots || (whole[super - 1] is not null && names[super - 1] != CffsTemplates.SuperName))
        {
            super = (uint)(Array.LastIndexOf(names, CffsTemplates.SuperName) + 1);
        }

        if (super == 0)
        {
            Act("template-lost", $"the template of the superblock is lost, and with it the numbers of the others", 0, _xn.TemplateStart);
            return false;
        }

        for (int slot = 0; slot < slots; slot++)
        {
            int own = slot + 1 - (int)super;
            bool isOwn = own is >= 0 and < CffsTemplateCount;
            if (whole[slot] is null && isOwn)
            {
                whole[slot] = TemplateCopies.Emit(own, super);
                isDamaged[slot] = true;
            }

            if (whole[slot] is not { } bytes)
            {
                if (TemplateCopies.IsBlank(blocks, _xn, slot))
                {
                    continue;
                }

                if (!isShared || TemplateCopies.HasBlankCopy(blocks, _xn, slot))
                {
                    // Every template that was ever installed has two copies, and ours need no others: it is rubbish.
                    Act("xn-templates", $"slot {slot} of the type catalogue holds no template: emptied", 0, _xn.TemplateStart + (ulong)slot);
                    _edits.Replace(_xn.TemplateStart + (ulong)slot, new byte[4096], RepairStep.Roots);
                    _edits.Replace(_xn.TemplateStart + (ulong)(slots + slot), new byte[4096], RepairStep.Roots);
                    continue;
                }

                Act("template-lost", $"template {slot + 1} of another file system is lost", 0, _xn.TemplateStart + (ulong)slot);
                return false;
            }

            if (isDamaged[slot])
            {
                Act("xn-templates", $"template {slot + 1} is written anew", 0, _xn.TemplateStart + (ulong)slot);
                for (int copy = 0; copy < 2; copy++)
                {
                    ulong place = _xn.TemplateStart + (ulong)((copy * slots) + slot);
                    XnChecksum.Seal(bytes, place);
                    _edits.Replace(place, bytes, RepairStep.Roots);
                }
            }
        }

        _super = super;
        _sharesContents = TemplateCopies.IsCounted(whole[super - 1 + TemplateCopies.DataIndex]);
        return true;
    }
}
