// SPDX-License-Identifier: MIT
using System.Buffers;

namespace Exo.Core.Memory;

/// <summary>
/// The pool's bytes as <see cref="Memory{T}"/>. A Memory counts its length in 31 bits, a pool may be larger: window k covers
/// [k GiB, k + 2 GiB), so that every run of at most 1 GiB lies whole inside the window in which it starts.
/// </summary>
internal sealed unsafe class FrameMemory(FramePool pool, long offsetBytes, int lengthBytes) : MemoryManager<byte>
{
    public const long WindowBytes = 1L << 30;

    public static FrameMemory[] Windows(FramePool pool, long capacityBytes)
    {
        var windows = new FrameMemory[(int)((capacityBytes + WindowBytes - 1) / WindowBytes)];
        for (int i = 0; i < windows.Length; i++)
        {
            long offset = i * WindowBytes;
            windows[i] = new FrameMemory(pool, offset, (int)Math.Min(2 * WindowBytes - FramePool.FrameBytes, capacityBytes - offset));
        }

        return windows;
    }

    /// <summary>The pool checks that it is not disposed; the window was cut to lie inside it.</summary>
    public override Span<byte> GetSpan() => new((byte*)pool.BaseAddress + offsetBytes, lengthBytes);

    /// <summary>The memory never moves: pinning is only the arithmetic.</summary>
    public override MemoryHandle Pin(int elementIndex = 0)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)elementIndex, (uint)lengthBytes, nameof(elementIndex));
        return new MemoryHandle((byte*)pool.BaseAddress + offsetBytes + elementIndex, default, this);
    }

    /// <inheritdoc/>
    public override void Unpin()
    {
    }

    /// <summary>A part of this window, with no allocation.</summary>
    public Memory<byte> Slice(int startBytes, int countBytes) => CreateMemory(startBytes, countBytes);

    /// <summary>The pool owns the memory.</summary>
    protected override void Dispose(bool disposing)
    {
    }
}
