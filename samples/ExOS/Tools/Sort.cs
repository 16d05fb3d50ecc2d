// SPDX-License-Identifier: MIT
using System.Globalization;
using ExOS.Processes;

namespace ExOS.Tools;

/// <summary>sort [-r] [-n] [-u] [FILE…].</summary>
internal static class Sort
{
    public static async ValueTask<int> MainAsync(Process self)
    {
        (Dictionary<char, string> options, List<string> operands) = Tool.Parse(self, "rnu");
        List<string> lines = [];
        int status = await Tool.ForEachInputAsync(self, operands, async (_, descriptor) =>
        {
            TextInput input = new(self, descriptor);
            while (await input.ReadLineAsync() is { } line)
            {
                lines.Add(line);
            }
        });
        IEnumerable<string> sorted = options.ContainsKey('n') ? lines.OrderBy(Number).ThenBy(line => line, StringComparer.Ordinal) : lines.Order(StringComparer.Ordinal);
        sorted = options.ContainsKey('u') ? sorted.Distinct() : sorted;
        await using TextOutput output = new(self, 1);
        foreach (string line in options.ContainsKey('r') ? sorted.Reverse() : sorted)
        {
            await output.WriteLineAsync(line);
        }

        return status;
    }

    private static double Number(string line)
    {
        string digits = string.Concat(line.TrimStart().TakeWhile(c => char.IsAsciiDigit(c) || c is '-' or '.'));
        return double.TryParse(digits, CultureInfo.InvariantCulture, out double number) ? number : 0;
    }
}
