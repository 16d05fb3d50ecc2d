// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.FileSystems.CFFS.Layout;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Files;

/// <summary>
/// Where directories have their small files, counted from their own first block. Directories that were filled alike are alike in that: while it holds from one to the next, a directory's files can be read with its
/// slot blocks, which only then say where they are. Callers may race: a wrong guess costs blocks that nobody wants.
/// </summary>
internal sealed class GroupShape
{
    // So many directories alike before the next is believed to be.
    private const int AlikeMin = 2;

    private long _offset;
    private uint _count;
    private int _alike;

    /// <summary>Contents of a directory's small files are about to be read.</summary>
    public void Note(in Record directory, List<XnReadRequest> requests)
    {
        if (directory.HasTree || directory.Count == 0 || requests.Count < 2)
        {
            return;
        }

        ulong first = ulong.MaxValue;
        ulong end = 0;
        foreach (XnReadRequest request in requests)
        {
            first = Math.Min(first, request.Extent.First.Value);
            end = Math.Max(end, request.Extent.First.Value + request.Extent.Count);
        }

        long offset = (long)first - (long)directory.Start;
        uint count = (uint)Math.Min(end - first, FileStore.GroupBlocksMax);
        _alike = offset == _offset && count <= 2 * _count && _count <= 2 * count ? _alike + 1 : 0;
        (_offset, _count) = (offset, count);
    }

    /// <summary>Where the next one's lie.</summary>
    public bool TryGuess(in Record directory, out BlockExtent extent)
    {
        long first = (long)directory.Start + _offset;
        bool isKnown = _alike >= AlikeMin && !directory.HasTree && directory.Count > 0 && first > 0;
        extent = isKnown ? new BlockExtent(new BlockNumber((ulong)first), _count) : default;
        return isKnown;
    }
}
