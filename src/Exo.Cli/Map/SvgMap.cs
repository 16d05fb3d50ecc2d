// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Security;
using Exo.Cli.Arguments;
using Exo.FileSystems.CFFS;

namespace Exo.Cli.Map;

/// <summary>
/// The map as a picture. Neighbouring cells of one kind and directory are one bar, so that groups show; resting on a bar tells which blocks it is and whose.
/// <code>
///      title
///   0  ▬▬ ▬▬▬▬▬▬ ▬▬▬▬▬▬▬▬   ■ kind        blocks
/// 160  ▬▬▬▬▬ ▬▬▬▬ ▬▬▬▬▬▬▬   ■ directory   blocks
/// </code>
/// </summary>
internal sealed class SvgMap(BlockMap map, string title, TextWriter output)
{
    private const int Cell = 6, Left = 84, Top = 64, LegendWidth = 420, Line = 18, Margin = 20;
    private const int DirectoriesMax = 24, PathCharactersMax = 46;

    public void Write()
    {
        int gridWidth = map.Columns * Cell, legendLeft = Left + gridWidth + 28;
        int kinds = map.BlocksByKind.Count(blocks => blocks > 0);
        int directories = Math.Min(map.Directories.Count, DirectoriesMax);
        int legendLines = kinds + (directories > 0 ? directories + 2 : 0) + (map.Directories.Count > DirectoriesMax ? 1 : 0);
        int width = legendLeft + LegendWidth + Margin, height = Top + Math.Max(map.Rows * Cell, legendLines * Line) + Margin;
        Emit($"""
            <svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" font-family="system-ui, sans-serif" font-size="12">
            <title>{Escape(title)}</title>
            <rect width="{width}" height="{height}" fill="#ffffff"/>
            <text x="{Margin}" y="30" font-size="18" font-weight="600" fill="#1a1a1a">{Escape(title)}</text>
            <text x="{Margin}" y="50" fill="#555">{Escape(Summary())}</text>
            """);
        WriteRows();
        WriteLegend(legendLeft, directories);
        Emit($"</svg>");
    }

    private string Summary()
    {
        string size = ByteSize.Format((long)map.BlockCount * CffsSpace.BlockBytes), free = ByteSize.Format((long)map.BlocksByKind[BlockKinds.Rank(CffsBlockKind.Free)] * CffsSpace.BlockBytes);
        string cell = map.BlocksPerCell == 1 ? "a cell is a block of 4 KiB" : $"a cell is {map.BlocksPerCell} blocks of 4 KiB, shown as what most of them are, paler the fewer are in use";
        return $"{size}, {free} free; {cell}; contents of files in the colour of their directory";
    }

    private void WriteRows()
    {
        int labelEvery = Math.Max(1, (map.Rows + 19) / 20);
        Emit($"<g shape-rendering=\"crispEdges\">");
        for (int row = 0; row < map.Rows; row++)
        {
            int first = row * map.Columns, end = Math.Min(first + map.Columns, map.Cells.Count);
            for (int at = first; at < end;)
            {
                MapCell cell = map.Cells[at];
                int next = at + 1;
                while (next < end && map.Cells[next] == cell)
                {
                    next++;
                }

                WriteBar(cell, at, next, Left + ((at - first) * Cell), Top + (row * Cell));
                at = next;
            }
        }

        Emit($"</g>");
        for (int row = 0; row < map.Rows; row += labelEvery)
        {
            ulong block = (ulong)row * (ulong)map.Columns * map.BlocksPerCell;
            Emit($"""<text x="{Left - 8}" y="{Top + (row * Cell) + 6}" font-size="9" text-anchor="end" fill="#888">{block}</text>""");
        }
    }

    private void WriteBar(in MapCell cell, int from, int to, int x, int y)
    {
        ulong first = (ulong)from * map.BlocksPerCell, last = Math.Min((ulong)to * map.BlocksPerCell, map.BlockCount) - 1;
        string blocks = first == last ? $"block {first}" : $"blocks {first} to {last}";
        string what = cell.Directory >= 0 ? $"files in {map.Directories[cell.Directory].Path}" : BlockKinds.All[BlockKinds.Rank(cell.Kind)].Meaning;
        string pale = cell.Quarters is > 0 and < 4 ? string.Create(CultureInfo.InvariantCulture, $" fill-opacity=\"{0.25 + (0.1875 * cell.Quarters):0.###}\"") : "";
        Emit($"""<rect x="{x}" y="{y}" width="{((to - from) * Cell) - 1}" height="{Cell - 1}" fill="{Hex(MapColours.Of(cell))}"{pale}><title>{Escape($"{blocks}: {what}")}</title></rect>""");
    }

    private void WriteLegend(int left, int directories)
    {
        int y = Top + 10;
        for (int i = 0; i < BlockKinds.All.Length; i++)
        {
            if (map.BlocksByKind[i] > 0)
            {
                // Contents have no colour of their own where their directories are known.
                bool isMixed = BlockKinds.All[i].Kind == CffsBlockKind.Data && map.Directories.Count > 0;
                WriteEntry(left, ref y, isMixed ? null : BlockKinds.All[i].Rgb, BlockKinds.All[i].Meaning, map.BlocksByKind[i]);
            }
        }

        if (directories == 0)
        {
            return;
        }

        y += Line / 2;
        Emit($"""<text x="{left}" y="{y}" font-weight="600" fill="#1a1a1a">files in</text>""");
        y += Line;
        for (int i = 0; i < directories; i++)
        {
            string path = map.Directories[i].Path;
            WriteEntry(left, ref y, MapColours.OfDirectory(i), path.Length > PathCharactersMax ? "…" + path[^PathCharactersMax..] : path, map.Directories[i].Blocks);
        }

        if (map.Directories.Count > directories)
        {
            WriteEntry(left, ref y, null, $"and {map.Directories.Count - directories} more", map.Directories.Skip(directories).Aggregate(0UL, (sum, directory) => sum + directory.Blocks));
        }
    }

    private void WriteEntry(int left, ref int y, int? rgb, string text, ulong blocks)
    {
        if (rgb is { } colour)
        {
            Emit($"""<rect x="{left}" y="{y - 9}" width="11" height="11" fill="{Hex(colour)}" stroke="#00000030"/>""");
        }

        Emit($"""<text x="{left + 20}" y="{y}" fill="#222">{Escape(text)}</text><text x="{left + LegendWidth}" y="{y}" text-anchor="end" fill="#555">{string.Create(CultureInfo.InvariantCulture, $"{blocks:N0}")}</text>""");
        y += Line;
    }

    private void Emit(FormattableString text) => output.Write(text.ToString(CultureInfo.InvariantCulture) + "\n");

    private static string Hex(int rgb) => "#" + rgb.ToString("x6", CultureInfo.InvariantCulture);

    private static string Escape(string text) => SecurityElement.Escape(text);
}
