// SPDX-License-Identifier: MIT
using Exo.Core.Blocks;
using Exo.FileSystems.CFFS.Inodes;
using Exo.Storage.XN;

namespace Exo.FileSystems.CFFS.Directories;

/// <summary>
/// How much of a directory to read where one block is wanted. The first few names cost what they must; whoever asks for many will soon have asked for all of its blocks, and gets their neighbours
/// with them, as long as the directory fits into half of the cache. Guarded by the directory's lock.
/// </summary>
internal sealed class ReadAround
{
    private const int Few = 16;
    private const int Many = 64;
    private const uint BlocksMax = 16;

    private int _misses;

    /// <summary>The blocks to read for a logical block of an extent.</summary>
    public BlockExtent Around(in MappedExtent extent, ulong logical, int cacheBlocks, ulong mapBlocks)
    {
        _misses++;
        uint window = _misses <= Few || mapBlocks > (ulong)cacheBlocks / 2 ? 1 : _misses <= Many ? BlocksMax / 4 : BlocksMax;
        ulong first = Math.Max(extent.Logical, logical & ~(ulong)(window - 1));
        ulong end = Math.Min(extent.LogicalEnd, (logical & ~(ulong)(window - 1)) + window);
        return new BlockExtent(new BlockNumber(extent.Start + (first - extent.Logical)), (uint)(end - first));
    }
}
