// SPDX-License-Identifier: MIT
using Exo.Tests;

namespace Exo.Adapters.Fuse.Tests;

/// <summary>File handles (<c>name_to_handle_at</c>, NFS): good for as long as the inode exists, whatever becomes of its name and of the mount.</summary>
public sealed class HandleTests
{
    [Fact]
    public void A_file_handle_outlives_the_mount()
    {
        Requires.Root();
        string program = CProgram.Compile("handles");
        using Mounted at = new();
        string[] paths = ["d/e/deep", "d/e", "top", "hard", "moved", "gone", "."];
        at.Shell("mkdir -p d/e other; for f in d/e/deep top first moved gone; do printf \"$f\" > $f; done; ln first hard; for i in $(seq 600); do : > d/f$i; done");
        string[] handles = at.Run(program, [at.Directory, "save", .. paths]).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        string Numbers(params string[] names) => string.Concat(names.Select(name => $"{Posix.Stat(at[name]).Inode}\n"));
        string numbers = Numbers(paths);
        at.Shell("rm gone first; mv moved other/place; echo new > gone");
        at.Remount();
        string[] found = at.Run(program, [at.Directory, "open", .. handles]).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        string[] inodes = numbers.Split('\n');
        Assert.Equal(
            [$"{inodes[0]} d/e/deep", $"{inodes[1]} directory", $"{inodes[2]} top", $"{inodes[3]} first", $"{inodes[4]} moved", "ESTALE", $"{inodes[6]} directory"],
            found);
        at.Shell("rm -r d; mv other/place back");
        found = at.Run(program, [at.Directory, "open", .. handles]).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(["ESTALE", "ESTALE", $"{inodes[4]} moved"], new[] { found[0], found[1], found[4] });
    }
}
