// SPDX-License-Identifier: MIT
namespace Exo.Core.PacketFilters;

/// <summary>Collects the atoms of a filter, in reading order.</summary>
public sealed class PacketFilterBuilder
{
    private readonly List<FilterAtom> atoms = [];

    internal PacketFilterBuilder()
    {
    }

    /// <summary>The whole field must have a value.</summary>
    public PacketFilterBuilder Equal(int offsetBytes, int widthBits, UInt128 value) =>
        Equal(offsetBytes, widthBits, widthBits is > 0 and < 128 ? (UInt128.One << widthBits) - 1 : UInt128.MaxValue, value);

    /// <summary>The field's bits under the mask must have a value.</summary>
    public PacketFilterBuilder Equal(int offsetBytes, int widthBits, UInt128 mask, UInt128 value)
    {
        atoms.Add(FilterAtom.Equal(offsetBytes, widthBits, mask, value));
        return this;
    }

    /// <summary>The packet must have these bytes there.</summary>
    public PacketFilterBuilder Equal(int offsetBytes, ReadOnlySpan<byte> bytes)
    {
        while (bytes.Length > 0)
        {
            int widthBytes = bytes.Length >= 16 ? 16 : 1 << int.Log2(bytes.Length);
            UInt128 value = 0;
            foreach (byte next in bytes[..widthBytes])
            {
                value = (value << 8) | next;
            }

            Equal(offsetBytes, widthBytes * 8, value);
            offsetBytes += widthBytes;
            bytes = bytes[widthBytes..];
        }

        return this;
    }

    /// <summary>Moves the base: <c>base += (field &amp; mask) &lt;&lt; shift</c>. Later offsets count from there.</summary>
    /// <param name="offsetBytes">Where the length field is.</param>
    /// <param name="widthBits">8, 16 or 32.</param>
    /// <param name="mask">Its bits.</param>
    /// <param name="shiftBits">To the left; negative is to the right.</param>
    public PacketFilterBuilder Shift(int offsetBytes, int widthBits, UInt128 mask, int shiftBits)
    {
        atoms.Add(FilterAtom.Shift(offsetBytes, widthBits, mask, shiftBits));
        return this;
    }

    /// <summary>The filter.</summary>
    /// <exception cref="PacketFilterException">The atoms break a rule.</exception>
    public PacketFilter ToFilter() => PacketFilter.Create(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(atoms));
}
