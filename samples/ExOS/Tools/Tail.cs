// SPDX-License-Identifier: MIT
using ExOS.Processes;

namespace ExOS.Tools;

/// <summary>tail [-n LINES] [FILE…].</summary>
internal static class Tail
{
    public static async ValueTask<int> MainAsync(Process self)
    {
        (Dictionary<char, string> options, List<string> operands) = Tool.Parse(self, "", "n");
        int lines = Head.LineCount(options);
        await using TextOutput output = new(self, 1);
        return await Tool.ForEachInputAsync(self, operands, async (_, descriptor) =>
        {
            TextInput input = new(self, descriptor);
            Queue<string> last = [];
            while (await input.ReadLineAsync() is { } line)
            {
                last.Enqueue(line);
                if (last.Count > lines)
                {
                    _ = last.Dequeue();
                }
            }

            foreach (string line in last)
            {
                await output.WriteLineAsync(line);
            }
        });
    }
}
