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
