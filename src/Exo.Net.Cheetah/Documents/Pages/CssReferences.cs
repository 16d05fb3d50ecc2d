// SPDX-License-Identifier: MIT
using System.Buffers;
using System.Text;

namespace Exo.Net.Cheetah.Pages;

/// <summary>What a style sheet includes: the arguments of <c>url()</c> and the strings of <c>@import</c>, outside comments and strings. Each byte is looked at a bounded number of times, and nothing is allocated.</summary>
internal ref struct CssReferences(ReadOnlySpan<byte> css)
{
    private static readonly SearchValues<byte> Beginnings = SearchValues.Create("/\"'@uU\\"u8);

    private readonly ReadOnlySpan<byte> _css = css;
    private int _at;

    /// <summary>The next one, as it is written.</summary>
    public bool TryRead(out ReadOnlySpan<byte> reference)
    {
        while (true)
        {
            int distance = _css[_at..].IndexOfAny(Beginnings);
            if (distance < 0)
            {
                _at = _css.Length;
                reference = default;
                return false;
            }

            _at += distance;
            ReadOnlySpan<byte> rest = _css[_at..];
            switch (rest[0])
            {
                case (byte)'/' when rest.StartsWith("/*"u8):
                    SkipComment();
                    break;
                case (byte)'"' or (byte)'\'':
                    _ = ReadString();
                    break;
                case (byte)'\\':
                    _at = Math.Min(_at + 2, _css.Length);
                    break;
                case (byte)'@' when StartsWord(rest, "@import"u8) && (rest.Length == 7 || !IsOfName(rest[7])):
                    _at += 7;
                    SkipSpaceAndComments();
                    if (IsAtQuote)
                    {
                        reference = ReadString();
                        return true;
                    }

                    break;
                case (byte)'u' or (byte)'U' when StartsWord(rest, "url("u8) && (_at == 0 || !IsOfName(_css[_at - 1])):
                    _at += 4;
                    reference = ReadArgument();
                    return true;
                default:
                    _at++;
                    break;
            }
        }
    }

    private readonly bool IsAtQuote => _at < _css.Length && _css[_at] is (byte)'"' or (byte)'\'';

    private ReadOnlySpan<byte> ReadArgument()
    {
        while (_at < _css.Length && HtmlTags.IsSpace(_css[_at]))
        {
            _at++;
        }

        if (IsAtQuote)
        {
            return ReadString();
        }

        int length = _css[_at..].IndexOf((byte)')');
        ReadOnlySpan<byte> argument = length < 0 ? default : _css.Slice(_at, length);
        _at = length < 0 ? _css.Length : _at + length + 1;
        return argument;
    }

    /// <summary>A string and its quotes; its contents. One that is not closed ends with its line.</summary>
    private ReadOnlySpan<byte> ReadString()
    {
        byte quote = _css[_at++];
        int start = _at;
        for (; _at < _css.Length; _at++)
        {
            byte b = _css[_at];
            if (b == quote)
            {
                return _css[start.._at++];
            }

            if (b is (byte)'\n' or (byte)'\r' or (byte)'\f')
            {
                break;
            }

            _at += b == '\\' ? 1 : 0;
        }

        _at = Math.Min(_at, _css.Length);
        return default;
    }

    private void SkipSpaceAndComments()
    {
        while (_at < _css.Length)
        {
            if (_css[_at..].StartsWith("/*"u8))
            {
                SkipComment();
            }
            else if (HtmlTags.IsSpace(_css[_at]))
            {
                _at++;
            }
            else
            {
                return;
            }
        }
    }

    private void SkipComment()
    {
        int length = _css[(_at + 2)..].IndexOf("*/"u8);
        _at = length < 0 ? _css.Length : _at + length + 4;
    }

    private static bool StartsWord(ReadOnlySpan<byte> text, ReadOnlySpan<byte> word) => text.Length >= word.Length && Ascii.EqualsIgnoreCase(text[..word.Length], word);

    private static bool IsOfName(byte b) => char.IsAsciiLetterOrDigit((char)b) || b is (byte)'-' or (byte)'_' or >= 0x80;
}
