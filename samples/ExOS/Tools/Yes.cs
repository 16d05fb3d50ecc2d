// SPDX-License-Identifier: MIT
using System.Text;
using ExOS.Processes;

namespace ExOS.Tools;

/// <summary>yes [WORD]: a line, again and again, until nobody reads.</summary>
internal static class Yes
{
    public static async ValueTask<int> MainAsync(Process self)
    {
        string line = self.Arguments.Count > 1 ? string.Join(' ', self.Arguments.Skip(1)) : "y";
        byte[] lines = Encoding.UTF8.GetBytes(string.Concat(Enumerable.Repeat(line + "\n", 1 + (4000 / (line.Length + 1)))));
        while (true)
        {
            await self.Files.WriteAsync(1, lines);
            await self.CheckpointAsync();
        }
    }
}
