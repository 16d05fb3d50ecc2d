// SPDX-License-Identifier: MIT
using Exo.Core.Memory;

namespace Exo.Core.Blocks;

/// <summary>What a <see cref="BlockRequest"/> does.</summary>
public enum BlockOperation : byte
{
    /// <summary>Blocks into frames.</summary>
    Read,

    /// <summary>Frames into blocks.</summary>
    Write,

    /// <summary>Makes every write that completed before it was submitted durable.</summary>
    Flush,

    /// <summary>Tells the device that the blocks' contents are no longer needed; what they read as afterwards is undefined.</summary>
    Discard,

    /// <summary>The blocks read as zeroes afterwards.</summary>
    WriteZeroes,
}

/// <summary>
/// One request: a run of blocks against a vector of frames, frame i for block FirstBlock + i. Frames that are also
/// contiguous in memory are moved in one piece.
/// </summary>
public struct BlockRequest
{
    /// <summary>What to do.</summary>
    public BlockOperation Operation { get; set; }

    /// <summary>Where the run begins.</summary>
    public BlockNumber FirstBlock { get; set; }

    /// <summary>Blocks in the run; 0 for a flush.</summary>
    public int BlockCount { get; set; }

    /// <summary>One allocated frame per block for reads and writes, else empty.</summary>
    public ReadOnlyMemory<FrameNumber> Frames { get; set; }

    /// <summary>A write (or write of zeroes) that is durable when it completes, without flushing others.</summary>
    public bool ForceUnitAccess { get; set; }

    /// <summary>Out: 0, or the error number (errno) of Linux.</summary>
    public int Error { get; set; }

    /// <summary>Reads as many blocks as there are frames.</summary>
    public static BlockRequest Read(BlockNumber first, ReadOnlyMemory<FrameNumber> frames) =>
        new() { Operation = BlockOperation.Read, FirstBlock = first, BlockCount = frames.Length, Frames = frames };

    /// <summary>Writes as many blocks as there are frames.</summary>
    public static BlockRequest Write(BlockNumber first, ReadOnlyMemory<FrameNumber> frames, bool forceUnitAccess = false) =>
        new()
        {
            Operation = BlockOperation.Write,
            FirstBlock = first,
            BlockCount = frames.Length,
            Frames = frames,
            ForceUnitAccess = forceUnitAccess,
        };

    /// <summary>Makes writes durable that completed before the batch was submitted; writes in the same batch are not covered.</summary>
    public static BlockRequest Flush() => new() { Operation = BlockOperation.Flush };

    /// <summary>The contents of these blocks are no longer needed.</summary>
    public static BlockRequest Discard(BlockNumber first, int blockCount) =>
        new() { Operation = BlockOperation.Discard, FirstBlock = first, BlockCount = blockCount };

    /// <summary>Makes these blocks read as zeroes.</summary>
    public static BlockRequest WriteZeroes(BlockNumber first, int blockCount, bool forceUnitAccess = false) =>
        new()
        {
            Operation = BlockOperation.WriteZeroes,
            FirstBlock = first,
            BlockCount = blockCount,
            ForceUnitAccess = forceUnitAccess,
        };
}
