// SPDX-License-Identifier: MIT
using Exo.Capabilities;
using Exo.Core.Environments;

namespace Exo.Core.Memory;

/// <summary>A frame as a binding names it: its bytes can be reached through a <see cref="BindingUse{T}"/> only.</summary>
public readonly struct Frame
{
    internal Frame(FramePool pool, FrameNumber number)
    {
        Pool = pool;
        Number = number;
    }

    /// <summary>The physical name.</summary>
    public FrameNumber Number { get; }

    internal FramePool? Pool { get; }

    internal void Ring() => Pool!.RingFenced(Number);

    /// <summary>The number, as "frame 17".</summary>
    public override string ToString() => Number.ToString();
}

/// <summary>The bytes of a frame in use.</summary>
public static class FrameUse
{
    /// <summary>The frame's 4,096 bytes, to read, until the use ends.</summary>
    /// <exception cref="ObjectDisposedException">The use has ended.</exception>
    public static ReadOnlySpan<byte> Bytes(this in BindingUse<Frame> use) => All(use.Resource);

    /// <summary>The frame's 4,096 bytes, to write, until the use ends.</summary>
    /// <exception cref="ObjectDisposedException">The use has ended.</exception>
    /// <exception cref="AccessDeniedException">The use was begun without the right to write.</exception>
    public static Span<byte> WritableBytes(this in BindingUse<Frame> use) =>
        (use.Rights & Rights.Write) != 0
            ? All(use.Resource)
            : throw new AccessDeniedException(use.Resource.ToString(), Rights.Write, AccessRefusal.RightNotHeld);

    /// <summary>Says within a use that the frame has changed, so that whose predicates hold now wakes; the end of the use says it too.</summary>
    public static void Announce(this in BindingUse<Frame> use) => use.Resource.Pool!.Ring(use.Resource.Number);

    // The frame number was checked when the binding was made, and an open use keeps both the frame and the pool's memory.
    private static unsafe Span<byte> All(Frame frame) =>
        new((byte*)frame.Pool!.BaseAddress + (long)frame.Number.Value * FramePool.FrameBytes, FramePool.FrameBytes);
}
