// SPDX-License-Identifier: MIT
using ExOS.Processes;

namespace ExOS.Tools;

/// <summary>cat [FILE…]: files, one after the other.</summary>
internal static class Cat
{
    public static async ValueTask<int> MainAsync(Process self)
    {
        byte[] buffer = new byte[64 << 10];
        return await Tool.ForEachInputAsync(self, Tool.Parse(self).Operands, async (_, descriptor) =>
        {
            while (await self.Files.ReadAsync(descriptor, buffer) is int count and > 0)
            {
                await self.Files.WriteAsync(1, buffer.AsMemory(0, count));
            }
        });
    }
}
