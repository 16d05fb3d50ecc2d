// SPDX-License-Identifier: MIT
using System.Globalization;

namespace Exo.Core.DownloadedCode;

/// <summary>A cursor over one line of assembler text: takes tokens one by one and says exactly where something is wrong.</summary>
internal ref struct AssemblerLine
{
    private readonly ReadOnlySpan<char> text;
    private int position;

    public AssemblerLine(ReadOnlySpan<char> line, int lineNumber)
    {
        int end = line.IndexOfAny('#', ';');
        if (end >= 0)
        {
            line = line[..end];
        }

        end = line.IndexOf("//", StringComparison.Ordinal);
        text = (end >= 0 ? line[..end] : line).TrimEnd();
        LineNumber = lineNumber;
        position = 0;
        SkipSpace();
    }

    public int LineNumber { get; }

    public readonly int Column => position + 1;

    public readonly bool IsAtEnd => position >= text.Length;

    public readonly bool IsAtSign => position < text.Length && text[position] is '+' or '-';

    public readonly AssemblerException Error(int column, string problem) => new(LineNumber, column, problem);

    private readonly AssemblerException Expected(string what)
    {
        string found = IsAtEnd ? "the line ends" : $"'{text[position]}' stands there";
        return Error(Column, $"expected {what}, but {found}");
    }

    private void SkipSpace()
    {
        while (position < text.Length && char.IsWhiteSpace(text[position]))
        {
            position++;
        }
    }

    public bool TryTake(char symbol)
    {
        if (position >= text.Length || text[position] != symbol)
        {
            return false;
        }

        position++;
        SkipSpace();
        return true;
    }

    public void Expect(char symbol)
    {
        if (!TryTake(symbol))
        {
            throw Expected($"'{symbol}'");
        }
    }

    public readonly void ExpectEnd()
    {
        if (!IsAtEnd)
        {
            throw Expected("the end of the line");
        }
    }

    private readonly int WordLength()
    {
        int end = position;
        while (end < text.Length && (char.IsAsciiLetterOrDigit(text[end]) || text[end] is '_' or '.'))
        {
            end++;
        }

        return end - position;
    }

    public string Word(string what)
    {
        int length = WordLength();
        if (length == 0 || char.IsAsciiDigit(text[position]))
        {
            throw Expected(what);
        }

        string word = text.Slice(position, length).ToString();
        position += length;
        SkipSpace();
        return word;
    }

    public bool TryWord(string word)
    {
        if (!text[position..].StartsWith(word, StringComparison.OrdinalIgnoreCase) || WordLength() != word.Length)
        {
            return false;
        }

        position += word.Length;
        SkipSpace();
        return true;
    }

    public bool TryRegister(out int register)
    {
        register = 0;
        int start = position;
        if (position < text.Length && text[position] == '%')
        {
            position++;
        }

        int length = WordLength();
        ReadOnlySpan<char> word = text.Slice(position, length);
        if (length is < 2 or > 3 || word[0] is not ('r' or 'R') || !char.IsAsciiDigit(word[1]) || (length == 3 && !char.IsAsciiDigit(word[2])))
        {
            position = start;
            return false;
        }

        register = int.Parse(word[1..], NumberStyles.None, CultureInfo.InvariantCulture);
        if (register > 10 || (length == 3 && word[1] == '0'))
        {
            throw Error(start + 1, "registers are r0 to r10");
        }

        position += length;
        SkipSpace();
        return true;
    }

    public int Register() => TryRegister(out int register) ? register : throw Expected("a register");

    /// <summary>Reads <c>[register]</c>, <c>[register+offset]</c> or <c>[register-offset]</c>.</summary>
    public (int Register, short Offset) Address()
    {
        Expect('[');
        int register = Register();
        int column = Column;
        long offset = IsAtSign ? Signed() : 0;
        if (offset != (short)offset)
        {
            throw Error(column, $"the offset {offset} is not within {short.MinValue} to {short.MaxValue}");
        }

        Expect(']');
        return (register, (short)offset);
    }

    /// <summary>A 32-bit immediate: -2^31 to 2^32-1; the upper half of that stands for the same bits.</summary>
    public int Number32()
    {
        int column = Column;
        long value = Signed();
        return value is >= int.MinValue and <= uint.MaxValue ? unchecked((int)value) : throw Error(column, $"{value} does not fit into 32 bits");
    }

    /// <summary>A 64-bit number, optionally negative.</summary>
    public ulong Number64()
    {
        bool isNegative = TakeSign();
        int column = Column;
        ulong magnitude = Magnitude();
        return isNegative && magnitude > 1UL << 63 ? throw Error(column, "the number does not fit into 64 bits") : isNegative ? 0 - magnitude : magnitude;
    }

    /// <summary>A number that fits a signed 64-bit integer, with or without sign.</summary>
    public long Signed()
    {
        int column = Column;
        bool isNegative = TakeSign();
        ulong magnitude = Magnitude();
        return magnitude > long.MaxValue ? throw Error(column, "the number is out of range") : isNegative ? -(long)magnitude : (long)magnitude;
    }

    private bool TakeSign()
    {
        bool isNegative = position < text.Length && text[position] == '-';
        if (isNegative || (position < text.Length && text[position] == '+'))
        {
            position++;
            SkipSpace();
        }

        return isNegative;
    }

    private ulong Magnitude()
    {
        int length = WordLength();
        ReadOnlySpan<char> word = text.Slice(position, length);
        bool isHex = word.StartsWith("0x", StringComparison.OrdinalIgnoreCase);
        bool isNumber = isHex
            ? ulong.TryParse(word[2..], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out ulong value)
            : ulong.TryParse(word, NumberStyles.None, CultureInfo.InvariantCulture, out value);
        if (!isNumber)
        {
            throw length > 0 ? Error(Column, $"'{word}' is not a number of at most 64 bits") : Expected("a number");
        }

        position += length;
        SkipSpace();
        return value;
    }
}
