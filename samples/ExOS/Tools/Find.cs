// SPDX-License-Identifier: MIT
using ExOS.Files;
using ExOS.Processes;

namespace ExOS.Tools;

/// <summary>find [DIRECTORY…] [-name PATTERN] [-type f|d|l]: names of a tree, in order.</summary>
internal static class Find
{
    public static async ValueTask<int> MainAsync(Process self)
    {
        List<string> roots = [.. self.Arguments.Skip(1).TakeWhile(argument => argument[0] != '-')];
        string? pattern = null;
        FileKind? kind = null;
        for (int i = 1 + roots.Count; i < self.Arguments.Count; i += 2)
        {
            string value = i + 1 < self.Arguments.Count ? self.Arguments[i + 1] : throw new UsageException($"{self.Arguments[i]} needs a value");
            switch (self.Arguments[i])
            {
                case "-name":
                    pattern = value;
                    break;
                case "-type":
                    kind = value switch { "f" => FileKind.File, "d" => FileKind.Directory, "l" => FileKind.SymbolicLink, _ => throw new UsageException($"unknown type {value}") };
                    break;
                default:
                    throw new UsageException($"unknown test {self.Arguments[i]}");
            }
        }

        await using TextOutput output = new(self, 1);
        return await Tool.ForEachAsync(self, roots.Count == 0 ? ["."] : roots, root => WalkAsync(root));

        async ValueTask WalkAsync(string path)
        {
            await self.CheckpointAsync();
            FileStatus status = self.Files.Stat(path, followLink: false);
            if ((kind is null || status.Kind == kind) && (pattern is null || Shell.Glob.IsMatch(pattern, Tool.BaseName(path))))
            {
                await output.WriteLineAsync(path);
            }

            if (status.IsDirectory)
            {
                foreach (string name in self.Files.List(path))
                {
                    await WalkAsync(Tool.Join(path, name));
                }
            }
        }
    }
}
