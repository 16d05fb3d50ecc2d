// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah.Folders;

/// <summary>A file that the kernel tells of when it changes, under whatever name.</summary>
internal sealed class WatchedFile(int watch)
{
    private long version;

    /// <summary>The kernel's number for the watch.</summary>
    public int Watch => watch;

    /// <summary>Rises with every change heard of.</summary>
    public long Version => Volatile.Read(ref version);

    /// <summary>Who wants to know; guarded by the watch's lock.</summary>
    public int Users { get; set; }

    public void Change() => Interlocked.Increment(ref version);
}
