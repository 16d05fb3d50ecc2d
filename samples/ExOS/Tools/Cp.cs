// SPDX-License-Identifier: MIT
using ExOS.Files;
using ExOS.Processes;

namespace ExOS.Tools;

/// <summary>cp [-r] SOURCE… TARGET.</summary>
internal static class Cp
{
    public static async ValueTask<int> MainAsync(Process self)
    {
        (Dictionary<char, string> options, List<string> operands) = Tool.Parse(self, "rR");
        if (operands.Count < 2 || (operands.Count > 2 && self.Files.TryStat(operands[^1]) is not { IsDirectory: true }))
        {
            throw new UsageException("usage: cp [-r] SOURCE… TARGET");
        }

        bool isDeep = options.ContainsKey('r') || options.ContainsKey('R');
        return await Tool.ForEachAsync(self, operands[..^1], source => CopyAsync(self, source, Tool.Destination(self, source, operands[^1]), isDeep));
    }

    public static async ValueTask CopyAsync(Process self, string source, string target, bool isDeep)
    {
        FileStatus status = self.Files.Stat(source, followLink: !isDeep);
        if (status.Kind == FileKind.SymbolicLink)
        {
            self.Files.SymbolicLink(self.Files.ReadLink(source), target);
        }
        else if (status.IsDirectory)
        {
            string inside = self.Files.Absolute(source).TrimEnd('/') + "/";
            if (!isDeep || (self.Files.Absolute(target) + "/").StartsWith(inside, StringComparison.Ordinal))
            {
                throw new ExosException(isDeep ? Errno.Invalid : Errno.IsDirectory);
            }

            if (self.Files.TryStat(target) is not { IsDirectory: true })
            {
                self.Files.MakeDirectory(target, status.Permissions);
            }

            foreach (string name in self.Files.List(source))
            {
                await self.CheckpointAsync();
                await CopyAsync(self, Tool.Join(source, name), Tool.Join(target, name), isDeep);
            }
        }
        else
        {
            await CopyFileAsync(self, source, target, status);
        }
    }

    private static async ValueTask CopyFileAsync(Process self, string source, string target, FileStatus status)
    {
        if (self.Files.TryStat(target) is { Inode: not 0 } there && there.Inode == status.Inode && self.System.Mounts.Find(self.Files.Absolute(source)).Tree == self.System.Mounts.Find(self.Files.Absolute(target)).Tree)
        {
            throw new ExosException(Errno.Invalid);
        }

        int from = await self.Files.OpenAsync(source, OpenFlags.Read);
        try
        {
            int to = await self.Files.OpenAsync(target, OpenFlags.Write | OpenFlags.Create | OpenFlags.Truncate, status.Permissions);
            try
            {
                byte[] buffer = new byte[64 << 10];
                while (await self.Files.ReadAsync(from, buffer) is int count and > 0)
                {
                    await self.Files.WriteAsync(to, buffer.AsMemory(0, count));
                }
            }
            finally
            {
                self.Files.Close(to);
            }
        }
        finally
        {
            self.Files.Close(from);
        }
    }
}
