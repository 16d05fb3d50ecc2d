// SPDX-License-Identifier: MIT
using Exo.Core.Environments;
using Exo.Core.Memory;

namespace Exo.Core.Predicates;

/// <summary>
/// One side of a comparison: a word of a frame, a constant, or the time. All are unsigned numbers of 64 bits; the memory order of a
/// word is the machine's own.
/// </summary>
public readonly struct PredicateValue
{
    private PredicateValue(PredicateValueKind kind, ulong constant, SecureBinding<Frame> binding, int offsetBytes, int lengthBytes)
    {
        Kind = kind;
        Constant = constant;
        Binding = binding;
        OffsetBytes = offsetBytes;
        LengthBytes = lengthBytes;
    }

    /// <summary>
    /// The time by the clock of the predicate, as <see cref="DateTimeOffset.UtcTicks"/>: 100 ns since the year 1. To be compared
    /// with a constant or a word.
    /// </summary>
    public static PredicateValue Now => new(PredicateValueKind.Time, 0, default, 0, 8);

    internal PredicateValueKind Kind { get; }

    internal ulong Constant { get; }

    internal SecureBinding<Frame> Binding { get; }

    internal int OffsetBytes { get; }

    internal int LengthBytes { get; }

    /// <summary>The 8 bytes at an offset of a frame. The right to read was checked when the binding was made.</summary>
    /// <param name="frame">A binding with the right to read.</param>
    /// <param name="offsetBytes">A multiple of 8, at most 4,088.</param>
    public static PredicateValue Word(SecureBinding<Frame> frame, int offsetBytes) => new(PredicateValueKind.Word, 0, frame, offsetBytes, 8);

    /// <summary>The 4 bytes at an offset of a frame, as a number below 2^32.</summary>
    /// <param name="frame">A binding with the right to read.</param>
    /// <param name="offsetBytes">A multiple of 4, at most 4,092.</param>
    public static PredicateValue Word32(SecureBinding<Frame> frame, int offsetBytes) => new(PredicateValueKind.Word, 0, frame, offsetBytes, 4);

    /// <summary>A number.</summary>
    public static PredicateValue Of(ulong constant) => new(PredicateValueKind.Constant, constant, default, 0, 8);

    /// <summary>A moment, to compare with <see cref="Now"/>.</summary>
    public static PredicateValue Of(DateTimeOffset moment) => Of((ulong)moment.UtcTicks);

    /// <summary>A number.</summary>
    public static implicit operator PredicateValue(ulong constant) => Of(constant);

    /// <summary>A number.</summary>
    public static PredicateValue FromUInt64(ulong constant) => Of(constant);

    /// <summary>Holds when both are the same number.</summary>
    public PredicateTerm EqualTo(PredicateValue other) => new(this, PredicateComparison.Equal, other);

    /// <summary>Holds when the numbers differ.</summary>
    public PredicateTerm NotEqualTo(PredicateValue other) => new(this, PredicateComparison.NotEqual, other);

    /// <summary>Holds when this is greater.</summary>
    public PredicateTerm Above(PredicateValue other) => new(this, PredicateComparison.Above, other);

    /// <summary>Holds when this is greater or the same.</summary>
    public PredicateTerm AtLeast(PredicateValue other) => new(this, PredicateComparison.AtLeast, other);

    /// <summary>Holds when this is smaller.</summary>
    public PredicateTerm Below(PredicateValue other) => new(this, PredicateComparison.Below, other);

    /// <summary>Holds when this is smaller or the same.</summary>
    public PredicateTerm AtMost(PredicateValue other) => new(this, PredicateComparison.AtMost, other);

    /// <inheritdoc/>
    public override string ToString() => Kind switch
    {
        PredicateValueKind.Constant => Constant.ToString(System.Globalization.CultureInfo.InvariantCulture),
        PredicateValueKind.Time => "now",
        _ => $"{LengthBytes} bytes at {OffsetBytes} by {Binding}",
    };
}

/// <summary>What a <see cref="PredicateValue"/> is.</summary>
internal enum PredicateValueKind : byte
{
    Constant = 0,
    Word,
    Time,
}
