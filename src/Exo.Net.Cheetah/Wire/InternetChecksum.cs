// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Exo.Net.Cheetah;

/// <summary>
/// The Internet checksum (RFC 1071) in pieces. A <em>partial sum</em> is the folded one's-complement sum of the big-endian
/// 16-bit words of some bytes, not yet inverted; an odd last byte counts as the high half of a word. Partial sums of
/// neighbouring pieces are put together with <see cref="Combine"/>, so a document's sums are taken once and used for ever.
/// </summary>
public static class InternetChecksum
{
    // One lane of the accumulator gains at most 2 * 65535 per vector, so 2^15 vectors fit into 32 bits.
    private const int VectorsPerFlush = 1 << 14;

    /// <summary>The partial sum of <paramref name="bytes"/> (RFC 1071 section 4.1).</summary>
    public static ushort Partial(ReadOnlySpan<byte> bytes)
    {
        // The sum does not depend on byte order (RFC 1071 section 2B): add in the machine's own order, turn at the end.
        ulong sum = 0;
        if (Vector256.IsHardwareAccelerated && bytes.Length >= Vector256<byte>.Count)
        {
            var words = MemoryMarshal.Cast<byte, Vector256<uint>>(bytes);
            bytes = bytes[(words.Length * Vector256<byte>.Count)..];
            Vector256<uint> low = Vector256.Create(0xFFFFu);
            while (!words.IsEmpty)
            {
                int count = Math.Min(words.Length, VectorsPerFlush);
                var accumulator = Vector256<uint>.Zero;
                foreach (ref readonly Vector256<uint> word in words[..count])
                {
                    accumulator += (word & low) + (word >>> 16);
                }

                sum += Sum(accumulator);
                words = words[count..];
            }
        }
        else if (Vector128.IsHardwareAccelerated && bytes.Length >= Vector128<byte>.Count)
        {
            var words = MemoryMarshal.Cast<byte, Vector128<uint>>(bytes);
            bytes = bytes[(words.Length * Vector128<byte>.Count)..];
            Vector128<uint> low = Vector128.Create(0xFFFFu);
            while (!words.IsEmpty)
            {
                int count = Math.Min(words.Length, VectorsPerFlush);
                var accumulator = Vector128<uint>.Zero;
                foreach (ref readonly Vector128<uint> word in words[..count])
                {
                    accumulator += (word & low) + (word >>> 16);
                }

                (Vector128<ulong> a, Vector128<ulong> b) = Vector128.Widen(accumulator);
                sum += Vector128.Sum(a + b);
                words = words[count..];
            }
        }

        foreach (ushort word in MemoryMarshal.Cast<byte, ushort>(bytes))
        {
            sum += word;
        }

        if ((bytes.Length & 1) != 0)
        {
            sum += BitConverter.IsLittleEndian ? bytes[^1] : (uint)bytes[^1] << 8;
        }

        ushort folded = Fold(sum);
        return BitConverter.IsLittleEndian ? BinaryPrimitives.ReverseEndianness(folded) : folded;
    }

    /// <summary>
    /// The partial sum of two neighbouring pieces. When the first has an odd number of bytes every byte of the second changes
    /// its half of the word, which turns its sum round (RFC 1071 section 2B).
    /// </summary>
    public static ushort Combine(ushort first, int firstLengthBytes, ushort second) =>
        Fold((ulong)first + ((firstLengthBytes & 1) == 0 ? second : BinaryPrimitives.ReverseEndianness(second)));

    /// <summary>The partial sums of everything up to the end of each whole block of <see cref="BlockBytes"/>, going on from the sum of what is in front: one pass, at the speed of the memory that the bytes lie in.</summary>
    /// <param name="bytes">Whole blocks, an even number of bytes behind the beginning.</param>
    /// <param name="front">The partial sum of what is in front of them.</param>
    /// <param name="sums">Gets one for each block.</param>
    internal static void Running(ReadOnlySpan<byte> bytes, ushort front, Span<ushort> sums)
    {
        ulong sum = BitConverter.IsLittleEndian ? BinaryPrimitives.ReverseEndianness(front) : front;
        for (int i = 0; i < sums.Length; i++)
        {
            sum += SumOfBlock(bytes.Slice(i * BlockBytes, BlockBytes));
            ushort folded = Fold(sum);
            sums[i] = BitConverter.IsLittleEndian ? BinaryPrimitives.ReverseEndianness(folded) : folded;
        }
    }

    /// <summary>Bytes of a block of <see cref="Running"/>.</summary>
    internal const int BlockBytes = 128;

    // Of the 16-bit words as the machine reads them: at most 64 * 65535.
    private static uint SumOfBlock(ReadOnlySpan<byte> block)
    {
        if (Vector256.IsHardwareAccelerated)
        {
            ReadOnlySpan<Vector256<uint>> words = MemoryMarshal.Cast<byte, Vector256<uint>>(block);
            Vector256<uint> low = Vector256.Create(0xFFFFu);
            Vector256<uint> a = (words[0] & low) + (words[0] >>> 16) + (words[1] & low) + (words[1] >>> 16);
            return Vector256.Sum(a + (words[2] & low) + (words[2] >>> 16) + (words[3] & low) + (words[3] >>> 16));
        }

        uint sum = 0;
        foreach (uint word in MemoryMarshal.Cast<byte, uint>(block))
        {
            sum += (word & 0xFFFF) + (word >> 16);
        }

        return sum;
    }

    /// <summary>What stands in the header: the complement of the sum (RFC 1071 section 1).</summary>
    public static ushort Finish(ushort sum) => (ushort)~sum;

    /// <summary>The checksum after one 16-bit word has changed: HC' = ~(~HC + ~m + m') (RFC 1624, equation 3).</summary>
    public static ushort Update(ushort checksum, ushort oldWord, ushort newWord) =>
        (ushort)~Fold((ulong)(ushort)~checksum + (ushort)~oldWord + newWord);

    private static ulong Sum(Vector256<uint> accumulator)
    {
        (Vector256<ulong> a, Vector256<ulong> b) = Vector256.Widen(accumulator);
        return Vector256.Sum(a + b);
    }

    private static ushort Fold(ulong sum)
    {
        sum = (sum & 0xFFFF_FFFF) + (sum >> 32);
        sum = (sum & 0xFFFF) + (sum >> 16);
        sum = (sum & 0xFFFF) + (sum >> 16);
        sum = (sum & 0xFFFF) + (sum >> 16);
        return (ushort)sum;
    }
}
