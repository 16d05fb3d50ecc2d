// SPDX-License-Identifier: MIT
using System.Globalization;

namespace Exo.Core.DownloadedCode;

/// <summary>
/// What the verifier knows of a number: bounds read as unsigned, bounds read as signed, and known bits. A concrete number is a
/// member when it satisfies all three. Operations over-approximate: the result contains the outcome for every pair of members.
/// Made only by <see cref="TryMake"/> and what uses it, which lets each of the three sharpen the others.
/// </summary>
internal readonly record struct ScalarRange
{
    private ScalarRange(ulong minimum, ulong maximum, long signedMinimum, long signedMaximum, KnownBits bits)
    {
        Minimum = minimum;
        Maximum = maximum;
        SignedMinimum = signedMinimum;
        SignedMaximum = signedMaximum;
        Bits = bits;
    }

    public ulong Minimum { get; }

    public ulong Maximum { get; }

    public long SignedMinimum { get; }

    public long SignedMaximum { get; }

    public KnownBits Bits { get; }

    public static ScalarRange Unknown { get; } = new(0, ulong.MaxValue, long.MinValue, long.MaxValue, KnownBits.Unknown);

    public bool IsConstant => Minimum == Maximum;

    public static ScalarRange Constant(ulong value) => new(value, value, (long)value, (long)value, KnownBits.Constant(value));

    /// <summary>Any number between the bounds, unsigned, inclusive.</summary>
    public static ScalarRange Unsigned(ulong minimum, ulong maximum) =>
        Make(minimum, maximum, long.MinValue, long.MaxValue, KnownBits.Unknown);

    /// <summary>Any number between the bounds, signed, inclusive.</summary>
    public static ScalarRange Signed(long minimum, long maximum) =>
        Make(0, ulong.MaxValue, minimum, maximum, KnownBits.Unknown);

    public bool Contains(ulong value) =>
        value >= Minimum && value <= Maximum && (long)value >= SignedMinimum && (long)value <= SignedMaximum && Bits.Contains(value);

    /// <summary>
    /// The range of an operation's results. Operands without members that <see cref="TryMake"/> did not find out mean a path that is
    /// never taken, of which anything may be said: then the answer is <see cref="Unknown"/>.
    /// </summary>
    public static ScalarRange Make(ulong minimum, ulong maximum, long signedMinimum, long signedMaximum, KnownBits bits) =>
        TryMake(minimum, maximum, signedMinimum, signedMaximum, bits, out ScalarRange range) ? range : Unknown;

    /// <summary>Lets bounds and bits sharpen one another; false when nothing satisfies them all.</summary>
    public static bool TryMake(ulong minimum, ulong maximum, long signedMinimum, long signedMaximum, KnownBits bits, out ScalarRange range)
    {
        range = default;
        for (int round = 0; round < 2; round++)
        {
            // Bits to bounds: the least member has every unknown bit clear, the greatest has them set; the sign bit counts the other way.
            const ulong sign = 1UL << 63;
            minimum = Math.Max(minimum, bits.Value);
            maximum = Math.Min(maximum, bits.Value | bits.Mask);
            signedMinimum = Math.Max(signedMinimum, (long)(bits.Value | (bits.Mask & sign)));
            signedMaximum = Math.Min(signedMaximum, (long)(bits.Value | (bits.Mask & ~sign)));

            // Where one reading does not cross its seam the bounds of the other carry over.
            if (signedMinimum >= 0 || signedMaximum < 0)
            {
                minimum = Math.Max(minimum, (ulong)signedMinimum);
                maximum = Math.Min(maximum, (ulong)signedMaximum);
            }

            if ((long)minimum <= (long)maximum)
            {
                signedMinimum = Math.Max(signedMinimum, (long)minimum);
                signedMaximum = Math.Min(signedMaximum, (long)maximum);
            }

            if (minimum > maximum || signedMinimum > signedMaximum || !bits.TryMeet(KnownBits.Range(minimum, maximum), out bits))
            {
                return false;
            }
        }

        if (bits.Mask == 0)
        {
            if (bits.Value < minimum || bits.Value > maximum || (long)bits.Value < signedMinimum || (long)bits.Value > signedMaximum)
            {
                return false;
            }

            range = Constant(bits.Value);
            return true;
        }

        range = new ScalarRange(minimum, maximum, signedMinimum, signedMaximum, bits);
        return true;
    }

    /// <summary>What holds whichever of the two holds.</summary>
    public ScalarRange Join(in ScalarRange other) => Make(
        Math.Min(Minimum, other.Minimum), Math.Max(Maximum, other.Maximum), Math.Min(SignedMinimum, other.SignedMinimum),
        Math.Max(SignedMaximum, other.SignedMaximum), Bits.Join(other.Bits));

    /// <summary>What holds when both hold; false when they cannot.</summary>
    public bool TryMeet(in ScalarRange other, out ScalarRange meet)
    {
        // The arguments are read before the result is written: the caller may have passed this very variable to receive it.
        bool agrees = Bits.TryMeet(other.Bits, out KnownBits bits);
        return TryMake(
            Math.Max(Minimum, other.Minimum), Math.Min(Maximum, other.Maximum), Math.Max(SignedMinimum, other.SignedMinimum),
            Math.Min(SignedMaximum, other.SignedMaximum), bits, out meet) && agrees;
    }

    /// <summary>The range as people write it: a constant, a signed or unsigned interval, and known bits where they say more.</summary>
    public override string ToString()
    {
        if (IsConstant)
        {
            return Number(Minimum);
        }

        if (this == Unknown)
        {
            return "any";
        }

        string bounds = SignedMinimum < 0 && Maximum > long.MaxValue
            ? $"{Bound(SignedMinimum)}..{Bound(SignedMaximum)}"
            : $"{Number(Minimum)}..{Number(Maximum)}";
        return Bits == KnownBits.Range(Minimum, Maximum) ? bounds : $"{bounds} bits(0x{Bits.Value:x}/0x{Bits.Mask:x})";
    }

    private static string Bound(long value) =>
        value == long.MinValue ? "min" : value == long.MaxValue ? "max" : value.ToString(CultureInfo.InvariantCulture);

    private static string Number(ulong value) =>
        value > long.MaxValue ? $"0x{value:x}" : value.ToString(CultureInfo.InvariantCulture);
}
