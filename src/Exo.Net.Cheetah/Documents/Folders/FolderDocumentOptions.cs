// SPDX-License-Identifier: MIT
namespace Exo.Net.Cheetah;

/// <summary>Settings of a <see cref="FolderDocumentSource"/>.</summary>
public sealed record FolderDocumentOptions
{
    /// <summary>Serve names that begin with a dot, such as <c>.well-known</c>. Default no: they are rarely meant for everybody.</summary>
    public bool ServesDotNames { get; init; }

    /// <summary>
    /// Most directories and documents to watch, at least 0; each takes about a kilobyte of the kernel's memory and counts against <c>fs.inotify.max_user_watches</c>.
    /// A document that is not watched, or any document while there is a directory that is not, is read anew for each request. Default 262144.
    /// </summary>
    public int WatchesMax { get; init; } = 1 << 18;

    /// <summary>Longest file, in bytes, that is read whole, at least 0; longer ones are read range by range (<see cref="DocumentContent.FromRanges"/>), as shorter ones are when there are no frames. 0 = an eighth of the frame pool. Default 0.</summary>
    public long WholeDocumentBytesMax { get; init; }
}
