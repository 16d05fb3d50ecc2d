// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS.Layout;
using Exo.FileSystems.CFFS.Templates;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Check;

/// <summary>Single copies of templates in XN's type catalogue.</summary>
internal static class TemplateCopies
{
    /// <summary>Whether a block is a template of this slot, whole and verified.</summary>
    public static bool TryRead(ReadOnlySpan<byte> block, ulong number, int slot, out string name)
    {
        name = "";
        if (!XnChecksum.IsValid(block, number) || !TemplateRecord.TryParse(block, out TemplateId id, out TemplateSource? source, out TemplateId[] children) || id.Value != slot + 1)
        {
            return false;
        }

        try
        {
            name = VerifiedTemplates.Get(block, id, source, children).Source.Name;
            return true;
        }
        catch (XnException)
        {
            return false;
        }
    }

    /// <summary>Which of our templates, from that of the superblock on, is that of contents.</summary>
    public const int DataIndex = 4;

    /// <summary>Whether a template says that its blocks may have several owners.</summary>
    public static bool IsCounted(ReadOnlySpan<byte> block) =>
        TemplateRecord.TryParse(block, out _, out TemplateSource? source, out _) && (source.Flags & TemplateFlags.Counted) != 0;

    /// <summary>Whether the names of templates begin with those of C-FFS, in their order.</summary>
    public static bool AreOurs(ReadOnlySpan<string?> names)
    {
        TemplateSource[] ours = CffsTemplates.Create();
        bool areOurs = names.Length >= ours.Length;
        for (int i = 0; areOurs && i < ours.Length; i++)
        {
            areOurs = names[i] == ours[i].Name;
        }

        return areOurs;
    }

    /// <summary>Neither copy was ever written.</summary>
    public static bool IsBlank(RawBlocks blocks, in XnSuperblock xn, int slot) => BlankCopies(blocks, xn, slot) == 2;

    /// <summary>One copy was never written.</summary>
    public static bool HasBlankCopy(RawBlocks blocks, in XnSuperblock xn, int slot) => BlankCopies(blocks, xn, slot) > 0;

    /// <summary>A template of C-FFS as the formatter would have installed it: its block, without a checksum.</summary>
    /// <param name="index">Which, 0 to 7.</param>
    /// <param name="super">The number of the first.</param>
    public static byte[] Emit(int index, uint super)
    {
        TemplateSource[] sources = CffsTemplates.Create();
        TemplateId[] children = [.. sources[index].Children.Select(name => new TemplateId(super + (uint)Array.FindIndex(sources, source => source.Name == name)))];
        byte[] block = new byte[4096];
        bool fits = TemplateRecord.TryEmit(block, new TemplateId(super + (uint)index), sources[index], children);
        Invariant.Check(fits);
        return block;
    }

    private static int BlankCopies(RawBlocks blocks, in XnSuperblock xn, int slot)
    {
        byte[] block = new byte[4096];
        int blank = 0;
        for (ulong copy = 0; copy < 2; copy++)
        {
            blank += blocks.TryRead(xn.TemplateStart + (copy * xn.TemplateSlots) + (ulong)slot, block) && !block.AsSpan().ContainsAnyExcept((byte)0) ? 1 : 0;
        }

        return blank;
    }
}
