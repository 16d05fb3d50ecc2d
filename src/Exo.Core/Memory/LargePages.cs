// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;
using Exo.Core.Linux;

namespace Exo.Core.Memory;

/// <summary>
/// Has the kernel put a pool's memory into pages of 2 MiB, chunk by chunk, when the first frame of a chunk is taken: one entry of the page table and of the processor's TLB then serves 512 frames, and
/// one fault. Where the kernel does not (an old one, none in a row free, pages already pinned) the chunk keeps pages of 4 KiB; nothing else depends on it.
/// <code>
/// region, aligned to 2 MiB:  | chunk 0: frames 0..511 | chunk 1: frames 512..1023 | ... | rest: never |
/// </code>
/// </summary>
internal sealed class LargePages
{
    /// <summary>Bytes of a large page, and how the region must be aligned.</summary>
    public const int PageBytes = 2 << 20;

    private const int FramesPerPage = PageBytes / FramePool.FrameBytes;
    private const int Untouched = 0;
    private const int Asked = 1;

    private readonly nint _base;
    private readonly int[] _chunks;
    private int _refusals;

    /// <param name="address">Where frame 0 is.</param>
    /// <param name="lengthBytes">Of all frames.</param>
    public LargePages(nint address, long lengthBytes)
    {
        _base = address;
        _chunks = new int[lengthBytes / PageBytes];
    }

    /// <summary>A frame is taken.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Taken(uint frame)
    {
        uint chunk = frame / FramesPerPage;
        if (chunk < (uint)_chunks.Length && Volatile.Read(ref _chunks[chunk]) == Untouched)
        {
            Ask(chunk);
        }
    }

    private unsafe void Ask(uint chunk)
    {
        // Refused at the first chunks it is refused at all: then not another call is made.
        if (Interlocked.Exchange(ref _chunks[chunk], Asked) != Untouched || Volatile.Read(ref _refusals) > 4)
        {
            return;
        }

        // The page table above the chunk must be there, hence the touch: of a byte that is written back as it was, atomically, because another frame of the chunk may be in use already.
        nint address = _base + (nint)chunk * PageBytes;
        _ = Interlocked.Or(ref *(int*)address, 0);
        if (Libc.MemoryAdvise(address, PageBytes, Abi.MADV_COLLAPSE) != 0)
        {
            _ = Interlocked.Increment(ref _refusals);
        }
    }
}
