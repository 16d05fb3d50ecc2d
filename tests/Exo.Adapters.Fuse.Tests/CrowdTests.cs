// SPDX-License-Identifier: MIT
using Exo.Adapters.Fuse;
using Exo.FileSystems.CFFS;
using Exo.Tests;

namespace Exo.Adapters.Fuse.Tests;

/// <summary>The kernel remembers whatever it has seen, until it is asked not to: that must not take all frames of the cache.</summary>
public sealed class CrowdTests
{
    // A block of records for each directory: more than there are frames. Kernels before 6.18 cannot be asked.
    private static readonly int s_directories = Environment.OSVersion.Version >= new Version(6, 18) ? 1600 : 300;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Who_looks_at_more_directories_than_the_cache_has_frames_is_answered(bool handles)
    {
        using Mounted at = Crowded(handles);
        for (int pass = 0; pass < 2; pass++)
        {
            // Not one look is refused: one that would have the kernel remember too much has it forget first.
            Assert.Equal(s_directories, int.Parse(at.Shell("find . -type f -size 1 | wc -l")));
            at.Shell("dd if=/dev/zero of=large bs=1M count=8 conv=fsync 2>/dev/null");
        }

        // What is in use is not forgotten: a working directory, an open file.
        string there = at.Shell("cd d0001; exec 3<file; find .. -type f >/dev/null; pwd -P; cat <&3 | od -An -tx1; ls");
        Assert.Equal([at["d0001"], " 01 02 03", "file"], there.Split('\n', StringSplitOptions.RemoveEmptyEntries));
    }

    /// <summary>What makes, moves and removes names cannot be done twice, so room must be there before it begins.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Who_makes_moves_and_removes_names_in_more_directories_than_the_cache_has_frames_is_answered(bool handles)
    {
        using Mounted at = Crowded(handles);
        string refused = at.Shell(
            """
            churn() { python3 -c '
            import os, sys
            for d in sorted(os.listdir("."))[int(sys.argv[1])::16]:
                os.mkdir(d + "/made")
                os.rename(d + "/file", d + "/made/file")
                os.link(d + "/made/file", d + "/link")
                os.symlink("link", d + "/symbolic")
                os.rename(d + "/link", d + "/file")
                os.unlink(d + "/made/file")
                os.rmdir(d + "/made")
                os.chmod(d + "/file", 0o640)
            ' $1 2>&1; }
            for c in $(seq 0 15); do churn $c & done
            wait
            """);
        Assert.Empty(refused);
        Assert.Equal(2 * s_directories, int.Parse(at.Shell("find . -name file -size 1 -o -name symbolic | wc -l")));
    }

    /// <summary>Who tells the kernel of names waits for its directories' locks, and who looks has them and waits for frames: neither may wait for the other.</summary>
    [Fact]
    public async Task Names_change_through_the_volume_while_the_kernel_is_asked_to_forget()
    {
        using Mounted at = Crowded(handles: false);
        using CancellationTokenSource end = new();
        int changes = 0;
        Task changing = Task.Run(() =>
        {
            for (int i = 0; !end.IsCancellationRequested; i = (i + 7) % s_directories)
            {
                at.Volume.WriteAllBytes($"/d{i:d4}/other", (byte[])[4]);
                at.Volume.RemoveFile($"/d{i:d4}/other");
                changes++;
            }
        });
        for (int pass = 0; pass < 3; pass++)
        {
            Assert.Equal(s_directories, int.Parse(at.Shell("find . -name file | wc -l")));
        }

        await end.CancelAsync();
        await changing.WaitAsync(TimeSpan.FromMinutes(1), TestContext.Current.CancellationToken);
        Assert.True(changes > 0);
    }

    /// <summary>Directories with a file each, made before the kernel has seen any.</summary>
    private static Mounted Crowded(bool handles)
    {
        Mounted at = new(new FuseMountOptions { FileHandles = handles }, open: new CffsOpenOptions { CacheBytes = 4 << 20 });
        for (int i = 0; i < s_directories; i++)
        {
            at.Volume.CreateDirectory($"/d{i:d4}");
            at.Volume.WriteAllBytes($"/d{i:d4}/file", (byte[])[1, 2, 3]);
        }

        return at;
    }
}
