// SPDX-License-Identifier: MIT
using System.Globalization;
using ExOS.Processes;

namespace ExOS.Tools;

/// <summary>head [-n LINES] [FILE…].</summary>
internal static class Head
{
    public static async ValueTask<int> MainAsync(Process self)
    {
        (Dictionary<char, string> options, List<string> operands) = Tool.Parse(self, "", "n");
        int lines = LineCount(options);
        await using TextOutput output = new(self, 1);
        return await Tool.ForEachInputAsync(self, operands, async (_, descriptor) =>
        {
            TextInput input = new(self, descriptor);
            for (int i = 0; i < lines && await input.ReadLineAsync() is { } line; i++)
            {
                await output.WriteLineAsync(line);
            }
        });
    }

    public static int LineCount(Dictionary<char, string> options) =>
        !options.TryGetValue('n', out string? text) ? 10
        : int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int count) ? count
        : throw new UsageException($"{text}: not a number of lines");
}
