// SPDX-License-Identifier: MIT
namespace Exo.Core.Blocks;

/// <summary>The physical name of a 4 KiB block: its index on the device.</summary>
/// <param name="Value">Index from 0.</param>
public readonly record struct BlockNumber(ulong Value) : IComparable<BlockNumber>
{
    /// <inheritdoc/>
    public int CompareTo(BlockNumber other) => Value.CompareTo(other.Value);

    /// <summary>The block that many blocks further on.</summary>
    /// <exception cref="OverflowException">There is no such number.</exception>
    public static BlockNumber operator +(BlockNumber block, ulong count) => new(checked(block.Value + count));

    /// <summary>The block that many blocks before.</summary>
    /// <exception cref="OverflowException">There is no such number.</exception>
    public static BlockNumber operator -(BlockNumber block, ulong count) => new(checked(block.Value - count));

    /// <summary>How many blocks lie from <paramref name="right"/> up to <paramref name="left"/>.</summary>
    /// <exception cref="OverflowException"><paramref name="left"/> comes before <paramref name="right"/>.</exception>
    public static ulong operator -(BlockNumber left, BlockNumber right) => checked(left.Value - right.Value);

    /// <summary>The block that many blocks further on.</summary>
    public static BlockNumber Add(BlockNumber block, ulong count) => block + count;

    /// <summary>The block that many blocks before.</summary>
    public static BlockNumber Subtract(BlockNumber block, ulong count) => block - count;

    /// <summary>The next block.</summary>
    public static BlockNumber operator ++(BlockNumber block) => block + 1;

    /// <summary>The next block.</summary>
    public static BlockNumber Increment(BlockNumber block) => block + 1;

    /// <summary>Orders by index.</summary>
    public static bool operator <(BlockNumber left, BlockNumber right) => left.Value < right.Value;

    /// <summary>Orders by index.</summary>
    public static bool operator >(BlockNumber left, BlockNumber right) => left.Value > right.Value;

    /// <summary>Orders by index.</summary>
    public static bool operator <=(BlockNumber left, BlockNumber right) => left.Value <= right.Value;

    /// <summary>Orders by index.</summary>
    public static bool operator >=(BlockNumber left, BlockNumber right) => left.Value >= right.Value;

    /// <summary>The index, as "block 17".</summary>
    public override string ToString() => $"block {Value}";
}
