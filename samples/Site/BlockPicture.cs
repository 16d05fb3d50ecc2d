// SPDX-License-Identifier: MIT
using System.Globalization;
using Exo.Cli.Arguments;
using Exo.FileSystems.CFFS;
using Spectre.Console;

namespace Site;

/// <summary>What is where on the disk: one line for each kind of block, and a strip of the used front of the disk, one character for an equal share of it.</summary>
internal static class BlockPicture
{
    private const int StripCharacters = 64;

    private static readonly (CffsBlockKind Kind, char Mark, string Meaning, Color Color)[] Kinds =
    [
        (CffsBlockKind.XnSuperblock, 'X', "XN superblock, two copies", Color.Red),
        (CffsBlockKind.XnTemplates, 't', "XN type catalogue: what C-FFS taught XN about its blocks", Color.Orange1),
        (CffsBlockKind.XnRoots, 'r', "XN root catalogue", Color.Orange3),
        (CffsBlockKind.XnFreeMap, 'm', "XN free map", Color.Yellow),
        (CffsBlockKind.XnLog, 'w', "XN commit log", Color.Yellow),
        (CffsBlockKind.Superblock, 'S', "C-FFS superblock", Color.Magenta1),
        (CffsBlockKind.Slots, 'd', "directories with their inodes", Color.Green),
        (CffsBlockKind.Tree, 'e', "extent trees", Color.Teal),
        (CffsBlockKind.Index, 'i', "hash buckets of large directories", Color.Aqua),
        (CffsBlockKind.Attributes, 'a', "extended attributes", Color.Lime),
        (CffsBlockKind.Log, 'l', "intent log", Color.Purple),
        (CffsBlockKind.Data, '#', "contents of files", Color.Blue),
        (CffsBlockKind.SharedData, '=', "contents that several files own", Color.Blue3),
        (CffsBlockKind.Other, '?', "waiting to become free", Color.Grey),
        (CffsBlockKind.Free, '.', "free", Color.Grey),
    ];

    public static void Print(CffsVolume volume)
    {
        IReadOnlyList<CffsBlockRun> runs = volume.MapBlocks();
        Grid grid = new Grid().AddColumn().AddColumn(new GridColumn().RightAligned()).AddColumn(new GridColumn().RightAligned()).AddColumn();
        foreach ((CffsBlockKind kind, char mark, string meaning, Color color) in Kinds)
        {
            List<CffsBlockRun> ofKind = [.. runs.Where(run => run.Kind == kind)];
            if (ofKind.Count == 0)
            {
                continue;
            }

            long blocks = ofKind.Sum(run => run.Extent.Count);
            grid.AddRow(
                new Text(mark.ToString(), new Style(color)),
                new Text(string.Create(CultureInfo.InvariantCulture, $"{blocks:N0} blocks")),
                new Text(ByteSize.Format(blocks * CffsSpace.BlockBytes)),
                new Text($"{meaning}, from block {ofKind[0].Extent.First.Value}"));
        }

        AnsiConsole.Write(grid);
        AnsiConsole.Write(Strip(runs, UsedEnd(runs)));
        Console.WriteLine();
    }

    /// <summary>The end of the last block in use: what lies behind is free and not drawn.</summary>
    private static ulong UsedEnd(IReadOnlyList<CffsBlockRun> runs)
    {
        CffsBlockRun last = runs.Last(run => run.Kind != CffsBlockKind.Free);
        return last.Extent.First.Value + last.Extent.Count;
    }

    /// <summary>Each character shows the rarest kind in its share of the disk, so that a single block is not lost among thousands.</summary>
    private static Paragraph Strip(IReadOnlyList<CffsBlockRun> runs, ulong total)
    {
        Paragraph strip = new();
        for (ulong i = 0; i < StripCharacters; i++)
        {
            ulong from = total * i / StripCharacters;
            ulong to = Math.Max(from + 1, total * (i + 1) / StripCharacters);
            int best = Kinds.Length - 1;
            foreach (CffsBlockRun run in runs)
            {
                if (run.Extent.First.Value < to && from < run.Extent.First.Value + run.Extent.Count)
                {
                    best = Math.Min(best, Array.FindIndex(Kinds, item => item.Kind == run.Kind));
                }
            }

            strip.Append(Kinds[best].Mark.ToString(), new Style(Kinds[best].Color));
        }

        return strip;
    }
}
