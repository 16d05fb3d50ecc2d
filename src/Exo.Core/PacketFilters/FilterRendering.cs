// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;

namespace Exo.Core.PacketFilters;

/// <summary>A decision tree as indented text.</summary>
internal static class FilterRendering
{
    public static string Render(FilterNode root)
    {
        StringBuilder text = new();
        Append(text, root, 0);
        return text.ToString();
    }

    private static void Append(StringBuilder text, FilterNode node, int depth)
    {
        foreach (InstalledFilter filter in node.Ended)
        {
            Line(text, depth, string.Create(CultureInfo.InvariantCulture, $"-> filter {filter.Number} of {filter.Owner.Name}"));
        }

        foreach (FilterBranch branch in node.Branches)
        {
            int offset = branch.EndBytes - branch.WidthBytes;
            string field = string.Create(CultureInfo.InvariantCulture, $"bytes {offset}..{branch.EndBytes - 1} & 0x{branch.Mask:x}");
            if (branch.Step is { } step)
            {
                string add = step.AddBytes == 0 ? "" : string.Create(CultureInfo.InvariantCulture, $"{step.AddBytes} + ");
                string shift = string.Create(CultureInfo.InvariantCulture, $"{(step.ShiftBits < 0 ? ">>" : "<<")} {Math.Abs(step.ShiftBits)}");
                Line(text, depth, $"base += {add}({field}) {shift}");
                Append(text, branch.Behind!, depth + 1);
                continue;
            }

            Line(text, depth, field);
            foreach ((ulong value, FilterNode behind) in branch.Table!.ToSortedList())
            {
                Line(text, depth + 1, string.Create(CultureInfo.InvariantCulture, $"== 0x{value:x}"));
                Append(text, behind, depth + 2);
            }
        }
    }

    private static void Line(StringBuilder text, int depth, string line) => text.Append(' ', 2 * depth).Append(line).Append('\n');
}
