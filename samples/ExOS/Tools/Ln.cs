// SPDX-License-Identifier: MIT
using ExOS.Processes;

namespace ExOS.Tools;

/// <summary>ln [-s] EXISTING NAME.</summary>
internal static class Ln
{
    public static ValueTask<int> MainAsync(Process self)
    {
        (Dictionary<char, string> options, List<string> operands) = Tool.Parse(self, "s");
        if (operands.Count != 2)
        {
            throw new UsageException("usage: ln [-s] EXISTING NAME");
        }

        string name = Tool.Destination(self, operands[0], operands[1]);
        return Tool.ForEachAsync(self, [name], _ =>
        {
            if (options.ContainsKey('s'))
            {
                self.Files.SymbolicLink(operands[0], name);
            }
            else
            {
                self.Files.Link(operands[0], name);
            }

            return default;
        });
    }
}
