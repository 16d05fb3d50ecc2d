// SPDX-License-Identifier: MIT
using ExOS.Files;
using ExOS.Processes;

namespace ExOS.Tools;

/// <summary>tee [-a] [FILE…]: standard input to standard output and into files.</summary>
internal static class Tee
{
    public static async ValueTask<int> MainAsync(Process self)
    {
        (Dictionary<char, string> options, List<string> operands) = Tool.Parse(self, "a");
        List<int> outputs = [1];
        int status = await Tool.ForEachAsync(self, operands, async path =>
            outputs.Add(await self.Files.OpenAsync(path, OpenFlags.Write | OpenFlags.Create | (options.ContainsKey('a') ? OpenFlags.Append : OpenFlags.Truncate))));
        byte[] buffer = new byte[64 << 10];
        while (await self.Files.ReadAsync(0, buffer) is int count and > 0)
        {
            foreach (int output in outputs)
            {
                await self.Files.WriteAsync(output, buffer.AsMemory(0, count));
            }
        }

        return status;
    }
}
