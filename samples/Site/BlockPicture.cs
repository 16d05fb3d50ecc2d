// SPDX-License-Identifier: MIT
using System.Globalization;
using Exo.Cli.Arguments;
using Exo.Cli.Map;
using Exo.FileSystems.CFFS;
using Spectre.Console;

namespace Site;

/// <summary>What is where on the disk: one line for each kind of block, and a strip of the used front of the disk, one character for an equal share of it.</summary>
internal static class BlockPicture
{
    private const int StripCharacters = 64;

    public static void Print(CffsVolume volume)
    {
        IReadOnlyList<CffsBlockRun> runs = volume.MapBlocks();
        Grid grid = new Grid().AddColumn().AddColumn(new GridColumn().RightAligned()).AddColumn(new GridColumn().RightAligned()).AddColumn();
        foreach (ShownKind shown in BlockKinds.All)
        {
            List<CffsBlockRun> ofKind = [.. runs.Where(run => run.Kind == shown.Kind)];
            if (ofKind.Count == 0)
            {
                continue;
            }

            long blocks = ofKind.Sum(run => run.Extent.Count);
            grid.AddRow(
                new Text(shown.Mark.ToString(), StyleOf(shown)),
                new Text(string.Create(CultureInfo.InvariantCulture, $"{blocks:N0} blocks")),
                new Text(ByteSize.Format(blocks * CffsSpace.BlockBytes)),
                new Text($"{shown.Meaning}, from block {ofKind[0].Extent.First.Value}"));
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
            int best = BlockKinds.All.Length - 1;
            foreach (CffsBlockRun run in runs)
            {
                if (run.Extent.First.Value < to && from < run.Extent.First.Value + run.Extent.Count)
                {
                    best = Math.Min(best, BlockKinds.Rank(run.Kind));
                }
            }

            strip.Append(BlockKinds.All[best].Mark.ToString(), StyleOf(BlockKinds.All[best]));
        }

        return strip;
    }

    private static Style StyleOf(in ShownKind shown) => new(
        shown.Kind == CffsBlockKind.Free ? Color.Grey : new Color((byte)(shown.Rgb >> 16), (byte)(shown.Rgb >> 8), (byte)shown.Rgb));
}
