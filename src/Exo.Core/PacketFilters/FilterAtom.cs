// SPDX-License-Identifier: MIT
using System.Globalization;

namespace Exo.Core.PacketFilters;

/// <summary>What one atom of a filter does.</summary>
public enum FilterAtomKind : byte
{
    /// <summary>The packet matches only if <c>(load &amp; mask) == value</c>.</summary>
    Equal = 0,

    /// <summary>The base of all later offsets moves on: <c>base += (load &amp; mask) &lt;&lt; shift</c>, or <c>&gt;&gt; -shift</c>.</summary>
    Shift = 1,
}

/// <summary>
/// One atom of a packet filter (DPF, SIGCOMM'96, section 3): a load in network byte order at an offset from the base, a mask, and a
/// comparison or a step of the base over a header of variable length. Plain data; <see cref="PacketFilter"/> judges it.
/// </summary>
/// <param name="Kind">Comparison or step.</param>
/// <param name="OffsetBytes">Where the field starts, in bytes from the base.</param>
/// <param name="WidthBits">8, 16, 32, 64 or 128; a step has at most 32.</param>
/// <param name="Mask">Which bits of the field count.</param>
/// <param name="Value">A comparison's other side; no bits outside the mask.</param>
/// <param name="ShiftBits">A step's shift: to the left 0..16, or to the right -1..-31.</param>
public readonly record struct FilterAtom(FilterAtomKind Kind, int OffsetBytes, int WidthBits, UInt128 Mask, UInt128 Value, int ShiftBits)
{
    /// <summary>A masked comparison.</summary>
    public static FilterAtom Equal(int offsetBytes, int widthBits, UInt128 mask, UInt128 value) =>
        new(FilterAtomKind.Equal, offsetBytes, widthBits, mask, value, 0);

    /// <summary>A step of the base.</summary>
    public static FilterAtom Shift(int offsetBytes, int widthBits, UInt128 mask, int shiftBits) =>
        new(FilterAtomKind.Shift, offsetBytes, widthBits, mask, UInt128.Zero, shiftBits);

    /// <summary>The byte behind the field, counted from the base.</summary>
    internal int EndBytes => OffsetBytes + (WidthBits / 8);

    /// <summary>The textual form that <see cref="PacketFilter.Parse"/> reads.</summary>
    public override string ToString()
    {
        UInt128 all = WidthBits >= 128 ? UInt128.MaxValue : (UInt128.One << Math.Max(WidthBits, 0)) - 1;
        string load = string.Create(CultureInfo.InvariantCulture, $"u{WidthBits}[{OffsetBytes}]");
        string masked = Mask == all ? load : $"{load} & {Hex(Mask)}";
        return Kind == FilterAtomKind.Equal ? $"{masked} == {Hex(Value)}"
            : string.Create(CultureInfo.InvariantCulture, $"base += ({masked}) {(ShiftBits < 0 ? ">>" : "<<")} {Math.Abs(ShiftBits)}");
    }

    private static string Hex(UInt128 value) => "0x" + value.ToString("x", CultureInfo.InvariantCulture);
}
