// SPDX-License-Identifier: MIT
using ExOS.Processes;

namespace ExOS.Tools;

/// <summary>mkdir [-p] DIRECTORY….</summary>
internal static class Mkdir
{
    public static async ValueTask<int> MainAsync(Process self)
    {
        (Dictionary<char, string> options, List<string> operands) = Tool.Parse(self, "p");
        return await Tool.ForEachAsync(self, operands, path =>
        {
            if (!options.ContainsKey('p'))
            {
                self.Files.MakeDirectory(path);
                return default;
            }

            string made = "";
            foreach (string name in self.Files.Absolute(path).Split('/', StringSplitOptions.RemoveEmptyEntries))
            {
                made += "/" + name;
                if (self.Files.TryStat(made) is not { IsDirectory: true })
                {
                    self.Files.MakeDirectory(made);
                }
            }

            return default;
        });
    }
}
