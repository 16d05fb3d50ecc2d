// SPDX-License-Identifier: MIT
using ExOS.Processes;

namespace ExOS.Tools;

/// <summary>rm [-r] [-f] FILE….</summary>
internal static class Rm
{
    public static async ValueTask<int> MainAsync(Process self)
    {
        (Dictionary<char, string> options, List<string> operands) = Tool.Parse(self, "rRf");
        bool isForced = options.ContainsKey('f');
        if (operands.Count == 0 && !isForced)
        {
            throw new UsageException("usage: rm [-r] [-f] FILE…");
        }

        return await Tool.ForEachAsync(self, operands.Where(path => !isForced || self.Files.TryStat(path, followLink: false) is not null), path =>
        {
            if (self.Files.Absolute(path) == "/")
            {
                throw new ExosException(Errno.NotPermitted);
            }

            if (options.ContainsKey('r') || options.ContainsKey('R'))
            {
                return RemoveAsync(self, path);
            }

            self.Files.Remove(path);
            return default;
        });
    }

    public static async ValueTask RemoveAsync(Process self, string path)
    {
        bool isDirectory = self.Files.Stat(path, followLink: false).IsDirectory;
        if (isDirectory)
        {
            foreach (string name in self.Files.List(path))
            {
                await self.CheckpointAsync();
                await RemoveAsync(self, Tool.Join(path, name));
            }
        }

        self.Files.Remove(path, isDirectory);
    }
}
