// SPDX-License-Identifier: MIT
using System.Globalization;
using ExOS.Files;
using ExOS.Processes;

namespace ExOS.Tools;

/// <summary>ls [-l] [-a] [-d] [FILE…].</summary>
internal static class Ls
{
    public static async ValueTask<int> MainAsync(Process self)
    {
        (Dictionary<char, string> options, List<string> operands) = Tool.Parse(self, "lad1");
        await using TextOutput output = new(self, 1);
        List<string> directories = [];
        if (operands.Count == 0)
        {
            operands.Add(".");
        }

        int status = await Tool.ForEachAsync(self, operands, async path =>
        {
            FileStatus found = self.Files.Stat(path, followLink: !options.ContainsKey('l'));
            if (found.IsDirectory && !options.ContainsKey('d'))
            {
                directories.Add(path);
            }
            else
            {
                await output.WriteLineAsync(Line(self, path, path, found, options));
            }
        });
        foreach (string directory in directories)
        {
            if (operands.Count > 1)
            {
                await output.WriteLineAsync($"{directory}:");
            }

            foreach (string name in self.Files.List(directory).Where(name => options.ContainsKey('a') || name[0] != '.'))
            {
                await self.CheckpointAsync();
                string path = Tool.Join(directory, name);
                if (self.Files.TryStat(path, followLink: false) is { } found)
                {
                    await output.WriteLineAsync(Line(self, path, name, found, options));
                }
            }
        }

        return status;
    }

    private static string Line(Process self, string path, string name, FileStatus status, Dictionary<char, string> options)
    {
        if (!options.ContainsKey('l'))
        {
            return name;
        }

        string link = status.Kind == FileKind.SymbolicLink ? $" -> {self.Files.ReadLink(path)}" : "";
        return string.Create(CultureInfo.InvariantCulture, $"{status.Mode} {status.Links,3} {status.User,4} {status.Group,4} {status.Size,10} {status.Modified:yyyy-MM-dd HH:mm} {name}{link}");
    }
}
