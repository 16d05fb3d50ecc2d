// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Text;
using Exo.Core.Blocks;
using Exo.Core.Memory;

namespace Exo.Storage.XN;

/// <summary>A published root.</summary>
/// <param name="Name">Its name, 1 to 64 bytes of UTF-8.</param>
/// <param name="Template">The template of its block.</param>
/// <param name="Block">Its block.</param>
public readonly record struct RootEntry(string Name, TemplateId Template, BlockNumber Block);

/// <summary>
/// The named roots of all file systems on the disk: one block, two copies, written one after the other, so that one good copy always remains.
/// </summary>
internal sealed class RootCatalogue(BlockDevice device, ulong start)
{
    private ulong _generation;

    public List<RootEntry> Entries { get; private set; } = [];

    /// <summary>Frames of the volume's own, for writing when the pool is full of cached blocks.</summary>
    public FrameNumber[] Reserve { get; set; } = [];

    /// <exception cref="XnFormatException">Both copies are damaged.</exception>
    public void Load(XnSuperblock superblock, TemplateCatalogue templates)
    {
        using ScratchFrames scratch = new(device.Frames, 2);
        BlockRequest[] read = [BlockRequest.Read(new BlockNumber(start), scratch.Frames)];
        device.Execute(read);
        bool found = false;
        for (int copy = 0; copy < 2; copy++)
        {
            ReadOnlySpan<byte> block = scratch.Bytes(copy);
            ulong generation = BinaryPrimitives.ReadUInt64LittleEndian(block[RootBlock.GenerationOffset..]);
            if (BinaryPrimitives.ReadUInt32LittleEndian(block[RootBlock.MagicOffset..]) == RootBlock.MagicValue
                && XnChecksum.IsValid(block, start + (ulong)copy) && (!found || generation > _generation)
                && TryParse(block, superblock, templates, out List<RootEntry> entries))
            {
                _generation = generation;
                Entries = entries;
                found = true;
            }
        }

        if (!found)
        {
            throw new XnFormatException("both copies of the root catalogue are damaged");
        }
    }

    /// <summary>Writes both copies of an empty catalogue.</summary>
    public void Create() => Store([]);

    /// <summary>Replaces the catalogue, durably.</summary>
    public void Store(List<RootEntry> entries)
    {
        Invariant.Check(entries.Count <= RootBlock.EntriesMax);
        using ScratchFrames scratch = new(device.Frames, 1, Reserve);
        Span<byte> block = scratch.Bytes(0);
        ulong generation = _generation + 1;
        block.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(block[RootBlock.MagicOffset..], RootBlock.MagicValue);
        BinaryPrimitives.WriteUInt64LittleEndian(block[RootBlock.GenerationOffset..], generation);
        BinaryPrimitives.WriteUInt32LittleEndian(block[RootBlock.CountOffset..], (uint)entries.Count);
        for (int i = 0; i < entries.Count; i++)
        {
            Span<byte> entry = block.Slice(RootBlock.EntriesOffset + (i * RootBlock.EntryBytes), RootBlock.EntryBytes);
            int length = Encoding.UTF8.GetBytes(entries[i].Name, entry.Slice(RootBlock.EntryNameOffset, RootBlock.NameBytesMax));
            BinaryPrimitives.WriteUInt32LittleEndian(entry[RootBlock.EntryNameLengthOffset..], (uint)length);
            BinaryPrimitives.WriteUInt32LittleEndian(entry[RootBlock.EntryTemplateOffset..], entries[i].Template.Value);
            BinaryPrimitives.WriteUInt64LittleEndian(entry[RootBlock.EntryBlockOffset..], entries[i].Block.Value);
        }

        // One after the other, so that one of them is always whole.
        for (ulong copy = 0; copy < 2; copy++)
        {
            ulong target = start + ((generation + copy) & 1);
            XnChecksum.Seal(block, target);
            BlockRequest[] write = [BlockRequest.Write(new BlockNumber(target), scratch.Frames)];
            device.Execute(write);
            device.Flush();
        }

        _generation = generation;
        Entries = entries;
    }

    private static bool TryParse(ReadOnlySpan<byte> block, in XnSuperblock superblock, TemplateCatalogue templates, out List<RootEntry> entries)
    {
        entries = [];
        uint count = BinaryPrimitives.ReadUInt32LittleEndian(block[RootBlock.CountOffset..]);
        if (count > RootBlock.EntriesMax)
        {
            return false;
        }

        for (int i = 0; i < count; i++)
        {
            ReadOnlySpan<byte> entry = block.Slice(RootBlock.EntriesOffset + (i * RootBlock.EntryBytes), RootBlock.EntryBytes);
            uint length = BinaryPrimitives.ReadUInt32LittleEndian(entry[RootBlock.EntryNameLengthOffset..]);
            TemplateId template = new(BinaryPrimitives.ReadUInt32LittleEndian(entry[RootBlock.EntryTemplateOffset..]));
            ulong root = BinaryPrimitives.ReadUInt64LittleEndian(entry[RootBlock.EntryBlockOffset..]);
            if (length is 0 or > RootBlock.NameBytesMax || root < superblock.DataStart || root >= superblock.BlockCount || templates.Find(template) is not { Acl: not null })
            {
                return false;
            }

            entries.Add(new RootEntry(Encoding.UTF8.GetString(entry.Slice(RootBlock.EntryNameOffset, (int)length)), template, new BlockNumber(root)));
        }

        return true;
    }
}
