// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Numerics;

namespace Exo.Core.DownloadedCode;

/// <summary>
/// What is known of a number bit by bit: where <see cref="Mask"/> is 0 the bit is that of <see cref="Value"/>, where it is 1 the
/// bit may be either and <see cref="Value"/> holds 0. Each operation yields a set that contains every result of its operands' members
/// (the "tristate numbers" of Vishwanathan et al., CGO 2022).
/// </summary>
internal readonly record struct KnownBits(ulong Value, ulong Mask)
{
    public static KnownBits Unknown => new(0, ulong.MaxValue);

    public static KnownBits Constant(ulong value) => new(value, 0);

    public bool Contains(ulong number) => (number & ~Mask) == Value;

    /// <summary>The bits all numbers between the bounds share.</summary>
    public static KnownBits Range(ulong minimum, ulong maximum)
    {
        int varying = 64 - BitOperations.LeadingZeroCount(minimum ^ maximum);
        ulong mask = varying == 64 ? ulong.MaxValue : (1UL << varying) - 1;
        return new KnownBits(minimum & ~mask, mask);
    }

    public static KnownBits operator +(KnownBits a, KnownBits b)
    {
        ulong sum = a.Value + b.Value;
        ulong carries = (a.Mask + b.Mask + sum) ^ sum;
        ulong mask = carries | a.Mask | b.Mask;
        return new KnownBits(sum & ~mask, mask);
    }

    public static KnownBits operator -(KnownBits a, KnownBits b)
    {
        ulong difference = a.Value - b.Value;
        ulong mask = ((difference + a.Mask) ^ (difference - b.Mask)) | a.Mask | b.Mask;
        return new KnownBits(difference & ~mask, mask);
    }

    public static KnownBits operator &(KnownBits a, KnownBits b)
    {
        ulong value = a.Value & b.Value;
        return new KnownBits(value, (a.Value | a.Mask) & (b.Value | b.Mask) & ~value);
    }

    public static KnownBits operator |(KnownBits a, KnownBits b)
    {
        ulong value = a.Value | b.Value;
        return new KnownBits(value, (a.Mask | b.Mask) & ~value);
    }

    public static KnownBits operator ^(KnownBits a, KnownBits b)
    {
        ulong mask = a.Mask | b.Mask;
        return new KnownBits((a.Value ^ b.Value) & ~mask, mask);
    }

    public static KnownBits operator *(KnownBits a, KnownBits b)
    {
        // Of something wholly unknown only the trailing zeros come through.
        if (a.Mask == ulong.MaxValue || b.Mask == ulong.MaxValue)
        {
            int zeros = BitOperations.TrailingZeroCount(a.Value | a.Mask) + BitOperations.TrailingZeroCount(b.Value | b.Mask);
            return zeros >= 64 ? Constant(0) : new KnownBits(0, ulong.MaxValue << zeros);
        }

        KnownBits uncertain = Constant(0);
        ulong product = a.Value * b.Value;
        while ((a.Value | a.Mask) != 0)
        {
            if ((a.Value & 1) != 0)
            {
                uncertain += new KnownBits(0, b.Mask);
            }
            else if ((a.Mask & 1) != 0)
            {
                uncertain += new KnownBits(0, b.Value | b.Mask);
            }

            a = a.ShiftRight(1);
            b = b.ShiftLeft(1);
        }

        return Constant(product) + uncertain;
    }

    public KnownBits ShiftLeft(int count) => new(Value << count, Mask << count);

    public KnownBits ShiftRight(int count) => new(Value >> count, Mask >> count);

    public KnownBits ShiftRightArithmetic(int count) => new((ulong)((long)Value >> count), (ulong)((long)Mask >> count));

    /// <summary>The lower bits, the others known to be zero.</summary>
    public KnownBits Truncate(int widthBits) =>
        widthBits == 64 ? this : new(Value & ((1UL << widthBits) - 1), Mask & ((1UL << widthBits) - 1));

    /// <summary>The bytes of the lower 16, 32 or 64 bits in reverse; the others zero.</summary>
    public KnownBits Swap(int widthBits) =>
        new(BinaryPrimitives.ReverseEndianness(Value << (64 - widthBits)) & Ones(widthBits), BinaryPrimitives.ReverseEndianness(Mask << (64 - widthBits)) & Ones(widthBits));

    private static ulong Ones(int widthBits) => ulong.MaxValue >> (64 - widthBits);

    /// <summary>What holds in either case.</summary>
    public KnownBits Join(KnownBits other)
    {
        ulong mask = Mask | other.Mask | (Value ^ other.Value);
        return new KnownBits(Value & ~mask, mask);
    }

    /// <summary>What holds in both cases; false when they contradict each other.</summary>
    public bool TryMeet(KnownBits other, out KnownBits meet)
    {
        // The answer comes before the result: the caller may have passed this very variable to receive it.
        bool agrees = ((Value ^ other.Value) & ~Mask & ~other.Mask) == 0;
        ulong mask = Mask & other.Mask;
        meet = new KnownBits((Value | other.Value) & ~mask, mask);
        return agrees;
    }
}
