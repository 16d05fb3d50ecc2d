// SPDX-License-Identifier: MIT
using System.Text.RegularExpressions;
using ExOS.Processes;

namespace ExOS.Tools;

/// <summary>grep [-v] [-i] [-n] [-c] PATTERN [FILE…]: lines with a match of a regular expression (.NET's, which cannot run away here).</summary>
internal static class Grep
{
    public static async ValueTask<int> MainAsync(Process self)
    {
        (Dictionary<char, string> options, List<string> operands) = Tool.Parse(self, "vinc");
        if (operands.Count == 0)
        {
            throw new UsageException("usage: grep [-v] [-i] [-n] [-c] PATTERN [FILE…]");
        }

        RegexOptions how = RegexOptions.NonBacktracking
            | (options.ContainsKey('i') ? RegexOptions.IgnoreCase : RegexOptions.None);
        Regex pattern;
        try
        {
            pattern = new Regex(operands[0], how | RegexOptions.CultureInvariant);
        }
        catch (Exception error) when (error is ArgumentException or NotSupportedException)
        {
            throw new UsageException($"{operands[0]}: not a pattern that grep can search for");
        }

        bool isFound = false;
        await using TextOutput output = new(self, 1);
        int status = await Tool.ForEachInputAsync(self, operands[1..], async (name, descriptor) =>
        {
            string prefix = operands.Count > 2 ? name + ":" : "";
            TextInput input = new(self, descriptor);
            int number = 0;
            int count = 0;
            while (await input.ReadLineAsync() is { } line)
            {
                number++;
                if (pattern.IsMatch(line) != options.ContainsKey('v'))
                {
                    count++;
                    if (!options.ContainsKey('c'))
                    {
                        await output.WriteLineAsync(prefix + (options.ContainsKey('n') ? $"{number}:" : "") + line);
                    }
                }
            }

            isFound |= count > 0;
            if (options.ContainsKey('c'))
            {
                await output.WriteLineAsync($"{prefix}{count}");
            }
        });
        return status != 0 ? 2 : isFound ? 0 : 1;
    }
}
