// SPDX-License-Identifier: MIT
using ExOS.Files;
using ExOS.Processes;

namespace ExOS.Tools;

/// <summary>stat FILE….</summary>
internal static class StatTool
{
    public static async ValueTask<int> MainAsync(Process self)
    {
        await using TextOutput output = new(self, 1);
        return await Tool.ForEachAsync(self, Tool.Parse(self).Operands, async path =>
        {
            FileStatus status = self.Files.Stat(path, followLink: false);
            await output.WriteLineAsync($"  File: {path}");
            await output.WriteLineAsync($"  Size: {status.Size}  Blocks: {status.Blocks}  {status.Kind}");
            await output.WriteLineAsync($" Inode: {status.Inode}  Links: {status.Links}");
            await output.WriteLineAsync($"Access: {status.Mode}  Uid: {status.User}  Gid: {status.Group}");
        });
    }
}
