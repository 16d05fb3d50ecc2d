// SPDX-License-Identifier: MIT
using System.Globalization;

namespace Exo.Core.PacketFilters;

/// <summary>
/// Reads the textual form of filters. Numbers are decimal or 0x...; white space is free.
/// <code>
///   filter     = [ atom { (";" | newline) [ atom ] } ]        # comments run to the end of the line
///   atom       = field "==" number | "base" "+=" "(" field ")" ("&lt;&lt;" | "&gt;&gt;") number
///   field      = "u" width "[" offset "]" [ "&amp;" number ]
/// </code>
/// </summary>
internal static class FilterText
{
    public static bool TryParse(ReadOnlySpan<char> text, out List<FilterAtom> atoms, out FilterFault fault)
    {
        atoms = [];
        fault = default;
        foreach (ReadOnlySpan<char> line in text.EnumerateLines())
        {
            int comment = line.IndexOf('#');
            ReadOnlySpan<char> content = comment < 0 ? line : line[..comment];
            foreach (Range range in content.Split(';'))
            {
                Reader reader = new(content[range]);
                if (reader.IsAtEnd)
                {
                    continue;
                }

                if (atoms.Count == PacketFilter.AtomsMax)
                {
                    fault = new FilterFault(FilterRule.TooManyAtoms, PacketFilter.AtomsMax);
                    return false;
                }

                if (!reader.TryAtom(out FilterAtom atom))
                {
                    fault = new FilterFault(FilterRule.BadText, atoms.Count);
                    return false;
                }

                atoms.Add(atom);
            }
        }

        return true;
    }

    private ref struct Reader(ReadOnlySpan<char> text)
    {
        private ReadOnlySpan<char> rest = text.TrimStart();

        public readonly bool IsAtEnd => rest.IsEmpty;

        public bool TryAtom(out FilterAtom atom)
        {
            atom = default;
            int offset, width, shift;
            UInt128 mask, value;
            if (!TryTake("base"))
            {
                if (!TryField(out offset, out width, out mask) || !TryTake("==") || !TryNumber(out value))
                {
                    return false;
                }

                atom = FilterAtom.Equal(offset, width, mask, value);
                return IsAtEnd;
            }

            if (!TryTake("+=") || !TryTake("(") || !TryField(out offset, out width, out mask) || !TryTake(")"))
            {
                return false;
            }

            bool isLeft = TryTake("<<");
            if ((!isLeft && !TryTake(">>")) || !TryInt(out shift))
            {
                return false;
            }

            atom = FilterAtom.Shift(offset, width, mask, isLeft ? shift : -shift);
            return IsAtEnd;
        }

        private bool TryField(out int offset, out int width, out UInt128 mask)
        {
            offset = width = 0;
            mask = 0;
            if (!TryTake("u") || !TryInt(out width) || !TryTake("[") || !TryInt(out offset) || !TryTake("]"))
            {
                return false;
            }

            mask = width is > 0 and < 128 ? (UInt128.One << width) - 1 : UInt128.MaxValue;
            return !TryTake("&") || TryNumber(out mask);
        }

        private bool TryTake(string token)
        {
            if (!rest.StartsWith(token, StringComparison.Ordinal))
            {
                return false;
            }

            rest = rest[token.Length..].TrimStart();
            return true;
        }

        private bool TryInt(out int number)
        {
            number = 0;
            if (!TryNumber(out UInt128 value) || value > int.MaxValue)
            {
                return false;
            }

            number = (int)value;
            return true;
        }

        private bool TryNumber(out UInt128 number)
        {
            bool isHex = rest.StartsWith("0x", StringComparison.OrdinalIgnoreCase);
            ReadOnlySpan<char> digits = isHex ? rest[2..] : rest;
            int length = 0;
            while (length < digits.Length && (isHex ? char.IsAsciiHexDigit(digits[length]) : char.IsAsciiDigit(digits[length])))
            {
                length++;
            }

            rest = digits[length..].TrimStart();
            return UInt128.TryParse(
                digits[..length], isHex ? NumberStyles.AllowHexSpecifier : NumberStyles.None, CultureInfo.InvariantCulture, out number);
        }
    }
}
