// SPDX-License-Identifier: MIT
using ExOS.Processes;

namespace ExOS.Tools;

/// <summary>mv SOURCE… TARGET: renames; over the border of a mount it copies, and removes then.</summary>
internal static class Mv
{
    public static async ValueTask<int> MainAsync(Process self)
    {
        List<string> operands = Tool.Parse(self, "f").Operands;
        if (operands.Count < 2 || (operands.Count > 2 && self.Files.TryStat(operands[^1]) is not { IsDirectory: true }))
        {
            throw new UsageException("usage: mv SOURCE… TARGET");
        }

        return await Tool.ForEachAsync(self, operands[..^1], async source =>
        {
            string target = Tool.Destination(self, source, operands[^1]);
            try
            {
                self.Files.Rename(source, target);
            }
            catch (ExosException error) when (error.Errno == Errno.CrossDevice)
            {
                await Cp.CopyAsync(self, source, target, isDeep: true);
                await Rm.RemoveAsync(self, source);
            }
        });
    }
}
