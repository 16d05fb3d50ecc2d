// SPDX-License-Identifier: MIT
using ExOS.Files;
using ExOS.Processes;

namespace ExOS.Tools;

/// <summary>mount: what is mounted; mount IMAGE DIRECTORY: a C-FFS image of the host. umount DIRECTORY.</summary>
internal static class MountTool
{
    public static async ValueTask<int> MainAsync(Process self)
    {
        List<string> operands = Tool.Parse(self).Operands;
        if (operands.Count is not (0 or 2))
        {
            throw new UsageException("usage: mount [IMAGE DIRECTORY]");
        }

        if (operands.Count == 2)
        {
            return await Tool.ForEachAsync(self, [operands[0]], image =>
            {
                self.Files.Mount(image, operands[1]);
                return default;
            });
        }

        await using TextOutput output = new(self, 1);
        foreach (MountTable.Mount mount in self.System.Mounts.All)
        {
            await output.WriteLineAsync($"{mount.Source} on {mount.Path} type {mount.Tree.Kind}");
        }

        return 0;
    }

    public static ValueTask<int> UnmountAsync(Process self) => Tool.ForEachAsync(self, Tool.Parse(self).Operands, path =>
    {
        self.Files.Unmount(path);
        return default;
    });
}
