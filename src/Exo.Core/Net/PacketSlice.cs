// SPDX-License-Identifier: MIT
using Exo.Core.Memory;

namespace Exo.Core.Net;

/// <summary>
/// A piece of a packet where it lies: bytes of a frame, or of several frames whose numbers follow one another, which are contiguous memory.
/// A value of 12 bytes; it holds no reference.
/// </summary>
/// <param name="Frame">The frame that <paramref name="OffsetBytes"/> counts from.</param>
/// <param name="OffsetBytes">The first byte, 0 to 4095.</param>
/// <param name="LengthBytes">How many bytes, at least 1; they may go on into the frames that follow.</param>
public readonly record struct PacketSlice(FrameNumber Frame, int OffsetBytes, int LengthBytes)
{
    /// <summary>Frames touched, counted from <see cref="Frame"/>.</summary>
    public int FrameCount => (int)(((long)OffsetBytes + LengthBytes + FramePool.FrameBytes - 1) / FramePool.FrameBytes);

    /// <summary>A part of it.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The part is not inside.</exception>
    public PacketSlice Slice(int startBytes, int lengthBytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(startBytes);
        ArgumentOutOfRangeException.ThrowIfNegative(lengthBytes);
        ArgumentOutOfRangeException.ThrowIfGreaterThan((long)startBytes + lengthBytes, LengthBytes, nameof(lengthBytes));
        int offset = OffsetBytes + startBytes;
        return new PacketSlice(
            new FrameNumber(Frame.Value + (uint)(offset / FramePool.FrameBytes)), offset % FramePool.FrameBytes, lengthBytes);
    }

    /// <summary>Its bytes. The frames must be allocated.</summary>
    public Span<byte> Bytes(FramePool frames)
    {
        ArgumentNullException.ThrowIfNull(frames);
        return frames.Bytes(Frame, FrameCount).Slice(OffsetBytes, LengthBytes);
    }
}
