// SPDX-License-Identifier: MIT
using Exo.Core.Memory;

namespace Exo.Core.Blocks.Nbd;

/// <summary>
/// A client's request, in bytes, and the blocks around it.
/// <code>
/// blocks   |  FirstBlock  |      ...      |  LastBlock   |      FrameCount of them
/// bytes         |--------- LengthBytes --------|
///          |----| SkipBytes
/// </code>
/// </summary>
internal struct NbdServerRequest
{
    public ushort Flags;
    public ushort Command;
    public ulong Cookie;
    public ulong OffsetBytes;
    public uint LengthBytes;

    /// <summary>errno, or 0.</summary>
    public int Error;

    /// <summary>Where in the batch it is; -1: not there.</summary>
    public int BatchIndex;

    /// <summary>For reads and writes: one frame per block around it.</summary>
    public Memory<FrameNumber> Frames;

    public readonly BlockNumber FirstBlock => new(OffsetBytes / FramePool.FrameBytes);

    public readonly int SkipBytes => (int)(OffsetBytes % FramePool.FrameBytes);

    /// <summary>A request of up to 4 GiB has less than 2^21 blocks.</summary>
    public readonly int FrameCount => (int)(((ulong)SkipBytes + LengthBytes + FramePool.FrameBytes - 1) / FramePool.FrameBytes);

    public readonly bool IsWhole => SkipBytes == 0 && LengthBytes % FramePool.FrameBytes == 0;

    public readonly bool IsDurable => (Flags & NbdProtocol.CommandForceUnitAccess) != 0;

    /// <summary>It takes more than one step of the device.</summary>
    public readonly bool IsAlone => Command switch
    {
        NbdProtocol.CommandWrite or NbdProtocol.CommandWriteZeroes => !IsWhole,
        NbdProtocol.CommandTrim => !IsWhole || IsDurable,
        _ => false,
    };

    /// <summary>What the device is to do for a request that takes one step.</summary>
    public readonly BlockRequest ToBlockRequest() => Command switch
    {
        NbdProtocol.CommandRead => BlockRequest.Read(FirstBlock, Frames),
        NbdProtocol.CommandWrite => BlockRequest.Write(FirstBlock, Frames, IsDurable),
        NbdProtocol.CommandFlush => BlockRequest.Flush(),
        NbdProtocol.CommandTrim => BlockRequest.Discard(FirstBlock, FrameCount),
        _ => BlockRequest.WriteZeroes(FirstBlock, FrameCount, IsDurable),
    };
}
