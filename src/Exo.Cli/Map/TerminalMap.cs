// SPDX-License-Identifier: MIT
using System.Globalization;
using Exo.Cli.Arguments;
using Exo.FileSystems.CFFS;
using Spectre.Console;

namespace Exo.Cli.Map;

/// <summary>The map as characters: a mark for a kind, and for contents of files a letter for their directory, with their colours where the terminal has some.</summary>
internal static class TerminalMap
{
    private const string Letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

    public static void Print(BlockMap map, IAnsiConsole console)
    {
        Paragraph rows = new();
        for (int at = 0; at < map.Cells.Count; at++)
        {
            MapCell cell = map.Cells[at];
            rows.Append(MarkOf(cell).ToString(), StyleOf(MapColours.Of(cell), cell));
            if ((at + 1) % map.Columns == 0)
            {
                rows.Append("\n");
            }
        }

        console.Write(rows);
        console.WriteLine();
        console.WriteLine();
        Grid legend = new Grid().AddColumn().AddColumn(new GridColumn().RightAligned()).AddColumn();
        legend.AddRow("", ByteSize.Format(map.BlocksPerCell * (long)CffsSpace.BlockBytes), "a character");
        for (int i = 0; i < BlockKinds.All.Length; i++)
        {
            ShownKind shown = BlockKinds.All[i];
            if (map.BlocksByKind[i] > 0 && !(shown.Kind == CffsBlockKind.Data && map.Directories.Count > 0))
            {
                legend.AddRow(new Text(shown.Mark.ToString(), new Style(ColourOf(shown.Rgb))), Count(map.BlocksByKind[i]), new Text(shown.Meaning));
            }
        }

        for (int i = 0; i < Math.Min(map.Directories.Count, Letters.Length); i++)
        {
            legend.AddRow(new Text(Letters[i].ToString(), new Style(ColourOf(MapColours.OfDirectory(i)))), Count(map.Directories[i].Blocks), new Text($"files in {map.Directories[i].Path}"));
        }

        if (map.Directories.Count > Letters.Length)
        {
            ulong rest = map.Directories.Skip(Letters.Length).Aggregate(0UL, (sum, directory) => sum + directory.Blocks);
            legend.AddRow(new Text("#"), Count(rest), new Text($"files in {map.Directories.Count - Letters.Length} more directories"));
        }

        console.Write(legend);
    }

    private static char MarkOf(in MapCell cell) =>
        cell.Directory < 0 ? BlockKinds.All[BlockKinds.Rank(cell.Kind)].Mark : cell.Directory < Letters.Length ? Letters[cell.Directory] : '#';

    private static Style StyleOf(int rgb, in MapCell cell) => cell.Quarters == 0 ? new Style(Color.Grey) : new Style(ColourOf(rgb));

    private static Color ColourOf(int rgb) => new((byte)(rgb >> 16), (byte)(rgb >> 8), (byte)rgb);

    private static Text Count(ulong blocks) => new(string.Create(CultureInfo.InvariantCulture, $"{blocks:N0}"));
}
