// SPDX-License-Identifier: MIT
namespace Exo.Core.DownloadedCode;

/// <summary>What the branches of a conditional jump add to the knowledge of both operands.</summary>
internal static class RangeComparison
{
    /// <summary>
    /// Sharpens <paramref name="a"/> and <paramref name="b"/> by the outcome of the comparison.
    /// </summary>
    /// <param name="block">The condition, as the first entry of its block of four.</param>
    /// <param name="is32">Only the lower halves are compared.</param>
    /// <param name="outcome">True on the branch taken.</param>
    /// <param name="a">The destination register's range.</param>
    /// <param name="b">The operand's range.</param>
    /// <returns>False when no members compare that way: the branch is never taken.</returns>
    public static bool TryRefine(Operation block, bool is32, bool outcome, ref ScalarRange a, ref ScalarRange b)
    {
        if (a.IsConstant && b.IsConstant)
        {
            return outcome == (is32
                ? Compare(block, (uint)a.Minimum, (uint)b.Minimum, (int)a.Minimum, (int)b.Minimum)
                : Compare(block, a.Minimum, b.Minimum, (long)a.Minimum, (long)b.Minimum));
        }

        if (!is32)
        {
            return TryRefine64(block, outcome, ref a, ref b);
        }

        bool isSigned = block is Operation.IfSignedGreater64K or Operation.IfSignedGreaterOrEqual64K
            or Operation.IfSignedLess64K or Operation.IfSignedLessOrEqual64K;
        ScalarRange lowA = isSigned ? RangeArithmetic.SignExtend(a, 32) : RangeArithmetic.Truncate(a, 32);
        ScalarRange lowB = isSigned ? RangeArithmetic.SignExtend(b, 32) : RangeArithmetic.Truncate(b, 32);
        return TryRefine64(block, outcome, ref lowA, ref lowB) && TryMergeLow(ref a, lowA) && TryMergeLow(ref b, lowB);
    }

    private static bool Compare(Operation block, ulong a, ulong b, long signedA, long signedB) => block switch
    {
        Operation.IfEqual64K => a == b,
        Operation.IfNotEqual64K => a != b,
        Operation.IfGreater64K => a > b,
        Operation.IfGreaterOrEqual64K => a >= b,
        Operation.IfLess64K => a < b,
        Operation.IfLessOrEqual64K => a <= b,
        Operation.IfSignedGreater64K => signedA > signedB,
        Operation.IfSignedGreaterOrEqual64K => signedA >= signedB,
        Operation.IfSignedLess64K => signedA < signedB,
        Operation.IfSignedLessOrEqual64K => signedA <= signedB,
        _ => (a & b) != 0,
    };

    /// <summary>Puts what is now known of the lower half back into the whole.</summary>
    private static bool TryMergeLow(ref ScalarRange whole, in ScalarRange sharpened)
    {
        ScalarRange low = RangeArithmetic.Truncate(sharpened, 32);
        const ulong upper = 0xffff_ffff_0000_0000;
        KnownBits lowBits = new(low.Bits.Value, low.Bits.Mask | upper);
        ulong minimum = whole.Minimum;
        ulong maximum = whole.Maximum;
        if (minimum >> 32 == maximum >> 32)
        {
            minimum = Math.Max(minimum, (minimum & upper) | low.Minimum);
            maximum = Math.Min(maximum, (maximum & upper) | low.Maximum);
        }

        return whole.Bits.TryMeet(lowBits, out KnownBits bits)
            && ScalarRange.TryMake(minimum, maximum, whole.SignedMinimum, whole.SignedMaximum, bits, out whole);
    }

    private static bool TryRefine64(Operation block, bool outcome, ref ScalarRange a, ref ScalarRange b) => (block, outcome) switch
    {
        (Operation.IfEqual64K, true) or (Operation.IfNotEqual64K, false) => TryEqual(ref a, ref b),
        (Operation.IfEqual64K, false) or (Operation.IfNotEqual64K, true) => TryNotEqual(ref a, ref b),
        (Operation.IfGreater64K, true) or (Operation.IfLessOrEqual64K, false) => TryLess(ref b, ref a),
        (Operation.IfGreater64K, false) or (Operation.IfLessOrEqual64K, true) => TryLessOrEqual(ref a, ref b),
        (Operation.IfGreaterOrEqual64K, true) or (Operation.IfLess64K, false) => TryLessOrEqual(ref b, ref a),
        (Operation.IfGreaterOrEqual64K, false) or (Operation.IfLess64K, true) => TryLess(ref a, ref b),
        (Operation.IfSignedGreater64K, true) or (Operation.IfSignedLessOrEqual64K, false) => TrySignedLess(ref b, ref a),
        (Operation.IfSignedGreater64K, false) or (Operation.IfSignedLessOrEqual64K, true) => TrySignedLessOrEqual(ref a, ref b),
        (Operation.IfSignedGreaterOrEqual64K, true) or (Operation.IfSignedLess64K, false) => TrySignedLessOrEqual(ref b, ref a),
        (Operation.IfSignedGreaterOrEqual64K, false) or (Operation.IfSignedLess64K, true) => TrySignedLess(ref a, ref b),
        (Operation.IfSet64K, true) => TrySet(ref a, ref b),
        (Operation.IfSet64K, false) => TryClear(ref a, ref b),
        _ => true,
    };

    private static bool TryBetween(ref ScalarRange a, ulong minimum, ulong maximum) => ScalarRange.TryMake(
        Math.Max(a.Minimum, minimum), Math.Min(a.Maximum, maximum), a.SignedMinimum, a.SignedMaximum, a.Bits, out a);

    private static bool TrySignedBetween(ref ScalarRange a, long minimum, long maximum) => ScalarRange.TryMake(
        a.Minimum, a.Maximum, Math.Max(a.SignedMinimum, minimum), Math.Min(a.SignedMaximum, maximum), a.Bits, out a);

    private static bool TryEqual(ref ScalarRange a, ref ScalarRange b)
    {
        bool canBe = a.TryMeet(b, out ScalarRange meet);
        if (canBe)
        {
            a = meet;
            b = meet;
        }

        return canBe;
    }

    private static bool TryNotEqual(ref ScalarRange a, ref ScalarRange b) =>
        (!b.IsConstant || TryExclude(ref a, b.Minimum)) && (!a.IsConstant || TryExclude(ref b, a.Minimum));

    /// <summary>Takes one number away, which shows only where it is a bound.</summary>
    private static bool TryExclude(ref ScalarRange a, ulong excluded)
    {
        if (a.IsConstant)
        {
            return a.Minimum != excluded;
        }

        return ScalarRange.TryMake(
            a.Minimum == excluded ? a.Minimum + 1 : a.Minimum, a.Maximum == excluded ? a.Maximum - 1 : a.Maximum,
            a.SignedMinimum == (long)excluded ? a.SignedMinimum + 1 : a.SignedMinimum,
            a.SignedMaximum == (long)excluded ? a.SignedMaximum - 1 : a.SignedMaximum, a.Bits, out a);
    }

    private static bool TryLess(ref ScalarRange a, ref ScalarRange b)
    {
        if (b.Maximum == 0 || a.Minimum == ulong.MaxValue)
        {
            return false;
        }

        (ulong above, ulong below) = (a.Minimum + 1, b.Maximum - 1);
        return TryBetween(ref a, 0, below) && TryBetween(ref b, above, ulong.MaxValue);
    }

    private static bool TryLessOrEqual(ref ScalarRange a, ref ScalarRange b)
    {
        (ulong least, ulong greatest) = (a.Minimum, b.Maximum);
        return TryBetween(ref a, 0, greatest) && TryBetween(ref b, least, ulong.MaxValue);
    }

    private static bool TrySignedLess(ref ScalarRange a, ref ScalarRange b)
    {
        if (b.SignedMaximum == long.MinValue || a.SignedMinimum == long.MaxValue)
        {
            return false;
        }

        (long above, long below) = (a.SignedMinimum + 1, b.SignedMaximum - 1);
        return TrySignedBetween(ref a, long.MinValue, below) && TrySignedBetween(ref b, above, long.MaxValue);
    }

    private static bool TrySignedLessOrEqual(ref ScalarRange a, ref ScalarRange b)
    {
        (long least, long greatest) = (a.SignedMinimum, b.SignedMaximum);
        return TrySignedBetween(ref a, long.MinValue, greatest) && TrySignedBetween(ref b, least, long.MaxValue);
    }

    /// <summary>Some common bit is set: with one candidate bit that one is.</summary>
    private static bool TrySet(ref ScalarRange a, ref ScalarRange b)
    {
        ulong candidates = (a.Bits.Value | a.Bits.Mask) & (b.Bits.Value | b.Bits.Mask);
        if (candidates == 0)
        {
            return false;
        }

        return (candidates & (candidates - 1)) != 0
            || (TryBits(ref a, new KnownBits(candidates, ~candidates)) && TryBits(ref b, new KnownBits(candidates, ~candidates)));
    }

    /// <summary>No common bit is set: a bit known set in one is clear in the other.</summary>
    private static bool TryClear(ref ScalarRange a, ref ScalarRange b)
    {
        (ulong setInA, ulong setInB) = (a.Bits.Value, b.Bits.Value);
        return TryBits(ref a, new KnownBits(0, ~setInB)) && TryBits(ref b, new KnownBits(0, ~setInA));
    }

    private static bool TryBits(ref ScalarRange a, KnownBits known) => a.Bits.TryMeet(known, out KnownBits bits)
        && ScalarRange.TryMake(a.Minimum, a.Maximum, a.SignedMinimum, a.SignedMaximum, bits, out a);
}
