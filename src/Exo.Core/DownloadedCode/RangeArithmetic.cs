// SPDX-License-Identifier: MIT
namespace Exo.Core.DownloadedCode;

/// <summary>
/// The machine's arithmetic on ranges. 32-bit operations are the 64-bit ones on truncated (or sign-extended) operands, truncated
/// again; that is exact for all of them because the lower half of a result never depends on the upper halves of its operands.
/// </summary>
internal static class RangeArithmetic
{
    /// <summary>One arithmetic instruction.</summary>
    /// <param name="block">Operation, as the first entry of its block of four.</param>
    /// <param name="is32">Width.</param>
    /// <param name="a">Destination before.</param>
    /// <param name="b">Operand.</param>
    public static ScalarRange Apply(Operation block, bool is32, in ScalarRange a, in ScalarRange b)
    {
        // Counters of loops are constants: nothing is gained by going through bounds and bits.
        if (a.IsConstant && b.IsConstant)
        {
            return ScalarRange.Constant(is32 ? Calculate32(block, (uint)a.Minimum, (uint)b.Minimum) : Calculate64(block, a.Minimum, b.Minimum));
        }

        if (!is32)
        {
            return Apply64(block, a, b, 63);
        }

        bool isSigned = block is Operation.SignedDivide64K or Operation.SignedModulo64K or Operation.ShiftRightArithmetic64K;
        return Truncate(Apply64(block, isSigned ? SignExtend(a, 32) : Truncate(a, 32), isSigned ? SignExtend(b, 32) : Truncate(b, 32), 31), 32);
    }

    private static ulong Calculate64(Operation block, ulong a, ulong b) => unchecked(block switch
    {
        Operation.Add64K => a + b,
        Operation.Subtract64K => a - b,
        Operation.Multiply64K => a * b,
        Operation.Divide64K => Arithmetic.Divide(a, b),
        Operation.Modulo64K => Arithmetic.Modulo(a, b),
        Operation.SignedDivide64K => (ulong)Arithmetic.Divide((long)a, (long)b),
        Operation.SignedModulo64K => (ulong)Arithmetic.Modulo((long)a, (long)b),
        Operation.And64K => a & b,
        Operation.Or64K => a | b,
        Operation.Xor64K => a ^ b,
        Operation.Negate64K => 0 - a,
        Operation.Move64K => b,
        Operation.ShiftLeft64K => a << (int)(b & 63),
        Operation.ShiftRight64K => a >> (int)(b & 63),
        Operation.ShiftRightArithmetic64K => (ulong)((long)a >> (int)(b & 63)),
        _ => throw new InvariantException($"No arithmetic {block}."),
    });

    private static uint Calculate32(Operation block, uint a, uint b) => unchecked(block switch
    {
        Operation.SignedDivide64K => (uint)Arithmetic.Divide((int)a, (int)b),
        Operation.SignedModulo64K => (uint)Arithmetic.Modulo((int)a, (int)b),
        Operation.ShiftLeft64K => a << (int)(b & 31),
        Operation.ShiftRight64K => a >> (int)(b & 31),
        Operation.ShiftRightArithmetic64K => (uint)((int)a >> (int)(b & 31)),
        _ => (uint)Calculate64(block, a, b),
    });

    private static ScalarRange Apply64(Operation block, in ScalarRange a, in ScalarRange b, int countMask) => block switch
    {
        Operation.Add64K => Add(a, b),
        Operation.Subtract64K => Subtract(a, b),
        Operation.Multiply64K => Multiply(a, b),
        Operation.Divide64K => Divide(a, b),
        Operation.Modulo64K => Modulo(a, b),
        Operation.SignedDivide64K => SignedDivide(a, b),
        Operation.SignedModulo64K => SignedModulo(a, b),
        Operation.And64K => Bitwise(0, Math.Min(a.Maximum, b.Maximum), a.Bits & b.Bits),
        Operation.Or64K => Bitwise(Math.Max(a.Minimum, b.Minimum), ulong.MaxValue, a.Bits | b.Bits),
        Operation.Xor64K => Bitwise(0, ulong.MaxValue, a.Bits ^ b.Bits),
        Operation.Negate64K => Subtract(ScalarRange.Constant(0), a),
        Operation.Move64K => b,
        Operation.ShiftLeft64K => ShiftLeft(a, Count(b, countMask)),
        Operation.ShiftRight64K => ShiftRight(a, Count(b, countMask)),
        Operation.ShiftRightArithmetic64K => ShiftRightArithmetic(a, Count(b, countMask)),
        _ => ScalarRange.Unknown,
    };

    private static ScalarRange Bitwise(ulong minimum, ulong maximum, KnownBits bits) =>
        ScalarRange.Make(minimum, maximum, long.MinValue, long.MaxValue, bits);

    private static ScalarRange Count(in ScalarRange b, int mask) => Apply64(Operation.And64K, b, ScalarRange.Constant((ulong)mask), 63);

    public static ScalarRange Add(in ScalarRange a, in ScalarRange b)
    {
        // Either no sum wraps or all do: in both cases the bounds stay in order.
        bool minimumWraps = a.Minimum > ulong.MaxValue - b.Minimum;
        bool isOrdered = minimumWraps == a.Maximum > ulong.MaxValue - b.Maximum;
        Int128 low = (Int128)a.SignedMinimum + b.SignedMinimum;
        Int128 high = (Int128)a.SignedMaximum + b.SignedMaximum;
        (long signedLow, long signedHigh) = SignedBounds(low, high);
        return ScalarRange.Make(
            isOrdered ? unchecked(a.Minimum + b.Minimum) : 0, isOrdered ? unchecked(a.Maximum + b.Maximum) : ulong.MaxValue, signedLow, signedHigh, a.Bits + b.Bits);
    }

    public static ScalarRange Subtract(in ScalarRange a, in ScalarRange b)
    {
        bool isOrdered = (a.Minimum < b.Maximum) == (a.Maximum < b.Minimum);
        (long signedLow, long signedHigh) = SignedBounds((Int128)a.SignedMinimum - b.SignedMaximum, (Int128)a.SignedMaximum - b.SignedMinimum);
        return ScalarRange.Make(
            isOrdered ? unchecked(a.Minimum - b.Maximum) : 0, isOrdered ? unchecked(a.Maximum - b.Minimum) : ulong.MaxValue, signedLow, signedHigh, a.Bits - b.Bits);
    }

    private static (long Low, long High) SignedBounds(Int128 low, Int128 high) =>
        low < long.MinValue || high > long.MaxValue ? (long.MinValue, long.MaxValue) : ((long)low, (long)high);

    private static ScalarRange Multiply(in ScalarRange a, in ScalarRange b)
    {
        UInt128 greatest = (UInt128)a.Maximum * b.Maximum;
        bool wraps = greatest > ulong.MaxValue;
        Int128 ll = (Int128)a.SignedMinimum * b.SignedMinimum;
        Int128 lh = (Int128)a.SignedMinimum * b.SignedMaximum;
        Int128 hl = (Int128)a.SignedMaximum * b.SignedMinimum;
        Int128 hh = (Int128)a.SignedMaximum * b.SignedMaximum;
        (long signedLow, long signedHigh) = SignedBounds(
            Int128.Min(Int128.Min(ll, lh), Int128.Min(hl, hh)), Int128.Max(Int128.Max(ll, lh), Int128.Max(hl, hh)));
        return ScalarRange.Make(
            wraps ? 0 : a.Minimum * b.Minimum, wraps ? ulong.MaxValue : (ulong)greatest, signedLow, signedHigh, a.Bits * b.Bits);
    }

    private static ScalarRange Divide(in ScalarRange a, in ScalarRange b)
    {
        // A zero divisor gives zero, the least quotient of all.
        ulong greatest = b.Minimum == 0 ? a.Maximum : a.Maximum / b.Minimum;
        ulong least = b.Minimum == 0 ? 0 : a.Minimum / b.Maximum;
        return b.Maximum == 0 ? ScalarRange.Constant(0) : ScalarRange.Unsigned(least, greatest);
    }

    private static ScalarRange Modulo(in ScalarRange a, in ScalarRange b)
    {
        // A zero divisor leaves the dividend, and so does one greater than it.
        if (b.Maximum == 0 || a.Maximum < b.Minimum)
        {
            return a;
        }

        if (a.IsConstant && b.IsConstant)
        {
            return ScalarRange.Constant(a.Minimum % b.Minimum);
        }

        return ScalarRange.Unsigned(0, b.Minimum == 0 ? a.Maximum : Math.Min(a.Maximum, b.Maximum - 1));
    }

    private static ScalarRange SignedDivide(in ScalarRange a, in ScalarRange b)
    {
        if (a.IsConstant && b.IsConstant)
        {
            return ScalarRange.Constant((ulong)Arithmetic.Divide((long)a.Minimum, (long)b.Minimum));
        }

        return a.SignedMinimum >= 0 && b.SignedMinimum >= 0 ? Divide(a, b) : ScalarRange.Unknown;
    }

    private static ScalarRange SignedModulo(in ScalarRange a, in ScalarRange b)
    {
        if (a.IsConstant && b.IsConstant)
        {
            return ScalarRange.Constant((ulong)Arithmetic.Modulo((long)a.Minimum, (long)b.Minimum));
        }

        if (a.SignedMinimum >= 0 && b.SignedMinimum >= 0)
        {
            return Modulo(a, b);
        }

        // The remainder has the dividend's sign and is no greater in magnitude.
        return ScalarRange.Signed(Math.Min(a.SignedMinimum, 0), Math.Max(a.SignedMaximum, 0));
    }

    private static ScalarRange ShiftLeft(in ScalarRange a, in ScalarRange count)
    {
        int least = (int)count.Minimum;
        int greatest = (int)count.Maximum;
        bool wraps = a.Maximum > ulong.MaxValue >> greatest;
        KnownBits bits = count.IsConstant ? a.Bits.ShiftLeft(least) : KnownBits.Unknown;
        return Bitwise(wraps ? 0 : a.Minimum << least, wraps ? ulong.MaxValue : a.Maximum << greatest, bits);
    }

    private static ScalarRange ShiftRight(in ScalarRange a, in ScalarRange count)
    {
        KnownBits bits = count.IsConstant ? a.Bits.ShiftRight((int)count.Minimum) : KnownBits.Unknown;
        return Bitwise(a.Minimum >> (int)count.Maximum, a.Maximum >> (int)count.Minimum, bits);
    }

    private static ScalarRange ShiftRightArithmetic(in ScalarRange a, in ScalarRange count)
    {
        int least = (int)count.Minimum;
        int greatest = (int)count.Maximum;
        KnownBits bits = count.IsConstant ? a.Bits.ShiftRightArithmetic(least) : KnownBits.Unknown;
        return ScalarRange.Make(
            0, ulong.MaxValue, Math.Min(a.SignedMinimum >> least, a.SignedMinimum >> greatest),
            Math.Max(a.SignedMaximum >> least, a.SignedMaximum >> greatest), bits);
    }

    /// <summary>The lower bits, zero-extended.</summary>
    public static ScalarRange Truncate(in ScalarRange a, int widthBits)
    {
        if (widthBits == 64)
        {
            return a;
        }

        ulong ones = (1UL << widthBits) - 1;
        bool sharesUpper = a.Minimum >> widthBits == a.Maximum >> widthBits;
        return Bitwise(sharesUpper ? a.Minimum & ones : 0, sharesUpper ? a.Maximum & ones : ones, a.Bits.Truncate(widthBits));
    }

    /// <summary>The lower bits, sign-extended.</summary>
    public static ScalarRange SignExtend(in ScalarRange a, int widthBits)
    {
        long least = -1L << (widthBits - 1);
        long greatest = ~least;
        if (a.SignedMinimum >= least && a.SignedMaximum <= greatest)
        {
            return a;
        }

        // Where the upper bits agree and the lower ones do not cross the sign, the lower bounds carry over.
        ScalarRange low = Truncate(a, widthBits);
        if (low.Maximum <= (ulong)greatest)
        {
            return low;
        }

        KnownBits bits = a.Bits.ShiftLeft(64 - widthBits).ShiftRightArithmetic(64 - widthBits);
        bool isNegative = low.Minimum > (ulong)greatest;
        long offset = 1L << (widthBits - 1) << 1;
        return isNegative
            ? ScalarRange.Make(0, ulong.MaxValue, (long)low.Minimum - offset, (long)low.Maximum - offset, bits)
            : ScalarRange.Make(0, ulong.MaxValue, least, greatest, bits);
    }

    /// <summary>The bytes of the lower bits in reverse, zero-extended.</summary>
    public static ScalarRange Swap(in ScalarRange a, int widthBits) =>
        Bitwise(0, ulong.MaxValue >> (64 - widthBits), a.Bits.Swap(widthBits));
}
