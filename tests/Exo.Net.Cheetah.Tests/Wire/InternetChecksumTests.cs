// SPDX-License-Identifier: MIT
using CsCheck;
using Exo.Net.Cheetah;

namespace Exo.Net.Cheetah.Tests.Wire;

public class InternetChecksumTests
{
    // RFC 1071 section 4.1, word for word.
    private static ushort Naive(ReadOnlySpan<byte> bytes)
    {
        ulong sum = 0;
        for (int i = 0; i < bytes.Length; i += 2)
        {
            sum += ((uint)bytes[i] << 8) | (i + 1 < bytes.Length ? bytes[i + 1] : 0u);
        }

        while (sum >> 16 != 0)
        {
            sum = (sum & 0xFFFF) + (sum >> 16);
        }

        return (ushort)sum;
    }

    [Fact]
    public void The_example_of_RFC_1071_sums_to_ddf2() =>
        Assert.Equal(0xDDF2, InternetChecksum.Partial([0x00, 0x01, 0xF2, 0x03, 0xF4, 0xF5, 0xF6, 0xF7]));

    [Fact]
    public void Any_bytes_at_any_length_sum_as_the_naive_loop_does() =>
        Gen.Byte.Array[0, 5000].Sample(bytes => InternetChecksum.Partial(bytes) == Naive(bytes), iter: 2000);

    [Theory]
    [InlineData(3 << 20)]
    [InlineData((3 << 20) + 17)]
    public void Long_runs_of_ones_do_not_overflow_a_lane(int lengthBytes)
    {
        byte[] bytes = new byte[lengthBytes];
        Array.Fill(bytes, (byte)0xFF);
        Assert.Equal(Naive(bytes), InternetChecksum.Partial(bytes));
    }

    [Fact]
    public void Sums_of_neighbours_combine_at_any_cut() =>
        Gen.Select(Gen.Byte.Array[0, 600], Gen.Int[0, 600]).Sample((bytes, cut) =>
        {
            cut = Math.Min(cut, bytes.Length);
            ushort whole = InternetChecksum.Combine(
                InternetChecksum.Partial(bytes.AsSpan(0, cut)), cut, InternetChecksum.Partial(bytes.AsSpan(cut)));
            return whole == Naive(bytes);
        });

    [Fact]
    public void An_update_of_one_word_equals_a_new_sum() =>
        Gen.Select(Gen.Byte.Array[64], Gen.Int[0, 31], Gen.UShort).Sample((bytes, word, value) =>
        {
            ushort before = InternetChecksum.Finish(Naive(bytes));
            ushort old = (ushort)((bytes[word * 2] << 8) | bytes[(word * 2) + 1]);
            bytes[word * 2] = (byte)(value >> 8);
            bytes[(word * 2) + 1] = (byte)value;
            return InternetChecksum.Update(before, old, value) == InternetChecksum.Finish(Naive(bytes));
        });
}
