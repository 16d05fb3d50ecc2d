// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Files;

/// <summary>How far behind a file those have lain that were wanted with it. While there have been some twice in a row, the next file can be read with what lies behind it. Callers may race: a wrong guess costs blocks that nobody wants.</summary>
internal sealed class TrailShape
{
    // Blocks between two of them that belong to others: reading them costs less than another request.
    private const ulong GapMax = 8;

    private uint _last;
    private uint _before;

    /// <summary>Blocks to read behind the next one.</summary>
    public uint Expected => Math.Min(_last, _before) > 0 ? Math.Max(_last, _before) : 0;

    /// <summary>Some files were wanted with one.</summary>
    public void Note(BlockExtent own, BlockExtent[] others)
    {
        Array.Sort(others, static (a, b) => a.First.CompareTo(b.First));
        ulong end = own.End.Value;
        foreach (BlockExtent other in others)
        {
            if (other.First.Value >= own.End.Value && other.First.Value <= end + GapMax)
            {
                end = Math.Max(end, other.End.Value);
            }
        }

        (_before, _last) = (_last, (uint)Math.Min(end - own.End.Value, FileStore.GroupBlocksMax));
    }
}
