// SPDX-License-Identifier: MIT
using Exo.Core.Memory;
using Exo.Core.Net;

namespace Exo.Net.Cheetah.Link;

/// <summary>Frames for the headers of packets on their way out, and for small packets that are all header. A ring: a frame is written to again when no device holds it.</summary>
internal sealed class HeaderFrames : IDisposable
{
    private const int Count = 160;   // more than a batch of packets of a frame each

    private readonly FramePool frames;
    private readonly FrameNumber first;
    private int current;
    private int usedBytes;

    public HeaderFrames(FramePool frames)
    {
        this.frames = frames;
        if (!frames.TryAllocateRun(frames.RootCredential, Count, out first))
        {
            throw new InvalidOperationException($"The pool has no run of {Count} frames for packet headers.");
        }
    }

    /// <summary>Room for a header, at most a frame. False when devices hold all frames.</summary>
    public bool TryTake(int lengthBytes, out PacketSlice slice)
    {
        if (usedBytes + lengthBytes > FramePool.FrameBytes)
        {
            int next = current;
            do
            {
                next = (next + 1) % Count;
                if (next == current)
                {
                    slice = default;
                    return false;
                }
            }
            while (frames.ReferenceCount(new FrameNumber(first.Value + (uint)next)) != 1);

            current = next;
            usedBytes = 0;
        }

        slice = new PacketSlice(new FrameNumber(first.Value + (uint)current), usedBytes, lengthBytes);
        usedBytes += (lengthBytes + 63) & ~63;   // of its own cache lines
        return true;
    }

    public void Dispose()
    {
        for (uint i = 0; i < Count; i++)
        {
            frames.Release(new FrameNumber(first.Value + i));
        }
    }
}
