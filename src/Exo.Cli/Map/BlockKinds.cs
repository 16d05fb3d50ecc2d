// SPDX-License-Identifier: MIT
using Exo.FileSystems.CFFS;

namespace Exo.Cli.Map;

/// <summary>How a kind of block is shown.</summary>
/// <param name="Kind">The kind.</param>
/// <param name="Mark">Where there are no colours.</param>
/// <param name="Meaning">In words.</param>
/// <param name="Rgb">Its colour, 0xRRGGBB.</param>
internal readonly record struct ShownKind(CffsBlockKind Kind, char Mark, string Meaning, int Rgb);

/// <summary>The kinds of blocks, the rarer ones first.</summary>
internal static class BlockKinds
{
    public static readonly ShownKind[] All =
    [
        new(CffsBlockKind.XnSuperblock, 'X', "XN superblock, two copies", 0xB00020),
        new(CffsBlockKind.XnTemplates, 't', "XN type catalogue: what C-FFS taught XN about its blocks", 0xE8590C),
        new(CffsBlockKind.XnRoots, 'r', "XN root catalogue", 0xC2410C),
        new(CffsBlockKind.XnFreeMap, 'm', "XN free map", 0xE0A800),
        new(CffsBlockKind.XnLog, 'w', "XN commit log", 0xC9B458),
        new(CffsBlockKind.Superblock, 'S', "C-FFS superblock", 0xD6249F),
        new(CffsBlockKind.Log, 'l', "intent log", 0x7E22CE),
        new(CffsBlockKind.Tree, 'e', "extent trees", 0x0F766E),
        new(CffsBlockKind.Index, 'i', "hash buckets of large directories", 0x0891B2),
        new(CffsBlockKind.Attributes, 'a', "extended attributes", 0x65A30D),
        new(CffsBlockKind.Slots, 'd', "directories with their inodes", 0x14532D),
        new(CffsBlockKind.SharedData, '=', "contents that several files own", 0x1E3A8A),
        new(CffsBlockKind.Data, '#', "contents of files", 0x64748B),
        new(CffsBlockKind.Other, '?', "waiting to become free", 0xA3A3A3),
        new(CffsBlockKind.Free, '.', "free", 0xEDEFF2),
    ];

    /// <summary>Place in <see cref="All"/>: the smaller, the rarer.</summary>
    public static int Rank(CffsBlockKind kind) => Array.FindIndex(All, shown => shown.Kind == kind);
}
