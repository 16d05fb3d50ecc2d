// SPDX-License-Identifier: MIT
using System.Text;
using ExOS.Processes;

namespace ExOS.Tools;

/// <summary>echo [-n] [WORD…].</summary>
internal static class Echo
{
    public static async ValueTask<int> MainAsync(Process self)
    {
        bool hasNoFeed = self.Arguments is [_, "-n", ..];
        string text = string.Join(' ', self.Arguments.Skip(hasNoFeed ? 2 : 1));
        await self.Files.WriteAsync(1, Encoding.UTF8.GetBytes(hasNoFeed ? text : text + "\n"));
        return 0;
    }
}
