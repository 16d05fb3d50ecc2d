// SPDX-License-Identifier: MIT
namespace Exo.Core.Memory;

/// <summary>The physical name of a 4 KiB page frame: its index in the pool. Numbers that follow one another are contiguous memory.</summary>
/// <param name="Value">Index from 0.</param>
public readonly record struct FrameNumber(uint Value) : IComparable<FrameNumber>
{
    /// <inheritdoc/>
    public int CompareTo(FrameNumber other) => Value.CompareTo(other.Value);

    /// <summary>Orders by index.</summary>
    public static bool operator <(FrameNumber left, FrameNumber right) => left.Value < right.Value;

    /// <summary>Orders by index.</summary>
    public static bool operator >(FrameNumber left, FrameNumber right) => left.Value > right.Value;

    /// <summary>Orders by index.</summary>
    public static bool operator <=(FrameNumber left, FrameNumber right) => left.Value <= right.Value;

    /// <summary>Orders by index.</summary>
    public static bool operator >=(FrameNumber left, FrameNumber right) => left.Value >= right.Value;

    /// <summary>The index, as "frame 17".</summary>
    public override string ToString() => $"frame {Value}";
}
