// SPDX-License-Identifier: MIT
using Exo.Core.Linux;
using Exo.Core.Memory;

namespace Exo.Core.Blocks;

/// <summary>Turns frame numbers into the vectors of preadv and io_uring; frames that follow one another in memory become one.</summary>
internal static unsafe class FrameVector
{
    /// <summary>Vectors per transfer: a 1 MiB transfer of scattered frames is still one.</summary>
    public const int CountMax = 256;

    /// <summary>Bytes per transfer; below the kernel's own limit of 2 GiB - 4 KiB, and small enough that large requests overlap.</summary>
    public const int LengthBytesMax = 16 << 20;

    /// <summary>Describes as much of the frames from <paramref name="offsetBytes"/> on as one transfer takes.</summary>
    /// <param name="pool">The pool; it checks every number.</param>
    /// <param name="frames">One frame per block of the request.</param>
    /// <param name="offsetBytes">Bytes of the request that are already done.</param>
    /// <param name="limitBytes">Describe no more than this, at most <see cref="LengthBytesMax"/>.</param>
    /// <param name="vectors">Room for <see cref="CountMax"/> vectors.</param>
    /// <param name="lengthBytes">Bytes described.</param>
    /// <returns>Vectors used.</returns>
    public static int Build(
        FramePool pool, ReadOnlySpan<FrameNumber> frames, long offsetBytes, int limitBytes, IoVector* vectors, out int lengthBytes)
    {
        int index = (int)(offsetBytes / FramePool.FrameBytes);
        int skip = (int)(offsetBytes % FramePool.FrameBytes);
        int count = 0;
        lengthBytes = 0;
        for (; index < frames.Length && lengthBytes < limitBytes; index++, skip = 0)
        {
            nint address = pool.Address(frames[index]) + skip;
            int piece = Math.Min(FramePool.FrameBytes - skip, limitBytes - lengthBytes);
            if (count > 0 && vectors[count - 1].Base + (nint)vectors[count - 1].LengthBytes == address)
            {
                vectors[count - 1].LengthBytes += (nuint)piece;
            }
            else if (count < CountMax)
            {
                vectors[count++] = new IoVector { Base = address, LengthBytes = (nuint)piece };
            }
            else
            {
                break;
            }

            lengthBytes += piece;
        }

        return count;
    }
}
