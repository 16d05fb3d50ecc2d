// SPDX-License-Identifier: MIT
using System.Globalization;
using ExOS.Processes;

namespace ExOS.Tools;

/// <summary>wc [-l] [-w] [-c] [FILE…]: lines, words, bytes.</summary>
internal static class Wc
{
    public static async ValueTask<int> MainAsync(Process self)
    {
        (Dictionary<char, string> options, List<string> operands) = Tool.Parse(self, "lwc");
        await using TextOutput output = new(self, 1);
        long[] total = new long[3];
        byte[] buffer = new byte[64 << 10];
        int status = await Tool.ForEachInputAsync(self, operands, async (name, descriptor) =>
        {
            long[] counts = new long[3];
            bool isInWord = false;
            while (await self.Files.ReadAsync(descriptor, buffer) is int count and > 0)
            {
                counts[2] += count;
                foreach (byte b in buffer.AsSpan(0, count))
                {
                    counts[0] += b == '\n' ? 1 : 0;
                    bool isSpace = b is (byte)' ' or (>= 9 and <= 13);
                    counts[1] += !isSpace && !isInWord ? 1 : 0;
                    isInWord = !isSpace;
                }
            }

            await output.WriteLineAsync(Line(counts, options) + (name == "-" ? "" : " " + name));
            for (int i = 0; i < 3; i++)
            {
                total[i] += counts[i];
            }
        });
        if (operands.Count > 1)
        {
            await output.WriteLineAsync(Line(total, options) + " total");
        }

        return status;
    }

    private static string Line(long[] counts, Dictionary<char, string> options) => string.Join(' ', "lwc".Select((letter, i) => (letter, i))
        .Where(pair => options.Count == 0 || options.ContainsKey(pair.letter)).Select(pair => counts[pair.i].ToString(CultureInfo.InvariantCulture)));
}
