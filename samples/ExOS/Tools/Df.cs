// SPDX-License-Identifier: MIT
using ExOS.Files;
using ExOS.Processes;

namespace ExOS.Tools;

/// <summary>df: the space of what is mounted, in KiB.</summary>
internal static class Df
{
    public static async ValueTask<int> MainAsync(Process self)
    {
        await using TextOutput output = new(self, 1);
        await output.WriteLineAsync("Type   1K-blocks       Used  Available Mounted on");
        foreach (MountTable.Mount mount in self.System.Mounts.All)
        {
            if (mount.Tree.Space is { } space)
            {
                await output.WriteLineAsync($"{mount.Tree.Kind,-6}{space.Total * 4,10} {(space.Total - space.Free) * 4,10} {space.Free * 4,10} {mount.Path}");
            }
        }

        return 0;
    }
}
