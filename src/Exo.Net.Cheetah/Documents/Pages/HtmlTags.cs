// SPDX-License-Identifier: MIT
using System.Buffers;
using System.Text;

namespace Exo.Net.Cheetah.Pages;

/// <summary>
/// The start tags of an HTML document, one after the other, as a browser's tokenizer finds them: comments, end tags and raw text are passed over, what is not closed is none. Whatever the bytes are, each is
/// looked at a bounded number of times, and nothing is allocated.
/// </summary>
internal ref struct HtmlTags(ReadOnlySpan<byte> html)
{
    private static readonly SearchValues<byte> TagNameEnds = SearchValues.Create(" \t\n\f\r/>"u8);
    private static readonly SearchValues<byte> AttributeNameEnds = SearchValues.Create(" \t\n\f\r/>="u8);
    private static readonly SearchValues<byte> ValueEnds = SearchValues.Create(" \t\n\f\r>"u8);

    private readonly ReadOnlySpan<byte> _html = html;
    private int _at;

    /// <summary>The next start tag. For an element of raw text <see cref="HtmlTag.Text"/> is what it holds.</summary>
    public bool TryRead(out HtmlTag tag)
    {
        while (TrySkipTo((byte)'<'))
        {
            ReadOnlySpan<byte> rest = _html[_at..];
            if (rest.StartsWith("<!--"u8))
            {
                // The two dashes that open a comment may be those that close it.
                _at += 2;
                SkipComment();
            }
            else if (rest.Length > 1 && (rest[1] is (byte)'!' or (byte)'?' || (rest[1] == '/' && !(rest.Length > 2 && char.IsAsciiLetter((char)rest[2])))))
            {
                _ = TrySkipTo((byte)'>');
            }
            else if (rest.Length > 2 && rest[1] == '/')
            {
                _at += 2;
                _ = TryReadTag(out _);
            }
            else if (rest.Length > 1 && char.IsAsciiLetter((char)rest[1]))
            {
                _at++;
                if (TryReadTag(out tag))
                {
                    if (IsRawText(tag.Name))
                    {
                        tag.Text = ReadRawText(tag.Name);
                    }

                    return true;
                }
            }
            else
            {
                _at++;
            }
        }

        tag = default;
        return false;
    }

    /// <summary>Name and attributes up to the closing bracket. False at the end of the document.</summary>
    private bool TryReadTag(out HtmlTag tag)
    {
        tag = new HtmlTag { Name = ReadUntil(TagNameEnds) };
        while (true)
        {
            SkipSpace(orSlash: true);
            if (_at >= _html.Length)
            {
                return false;
            }

            if (_html[_at] == '>')
            {
                _at++;
                return true;
            }

            int start = _at++;
            _ = ReadUntil(AttributeNameEnds);
            ReadOnlySpan<byte> name = _html[start.._at];
            SkipSpace();
            if (_at >= _html.Length || _html[_at] != '=')
            {
                continue;
            }

            _at++;
            if (!TryReadValue(out ReadOnlySpan<byte> value))
            {
                return false;
            }

            tag.Set(name, value);
        }
    }

    private bool TryReadValue(out ReadOnlySpan<byte> value)
    {
        value = default;
        SkipSpace();
        if (_at >= _html.Length)
        {
            return false;
        }

        if (_html[_at] is (byte)'"' or (byte)'\'')
        {
            int start = _at + 1;
            int length = _html[start..].IndexOf(_html[_at]);
            if (length < 0)
            {
                _at = _html.Length;
                return false;
            }

            value = _html.Slice(start, length);
            _at = start + length + 1;
            return true;
        }

        value = ReadUntil(ValueEnds);
        return true;
    }

    private ReadOnlySpan<byte> ReadRawText(scoped ReadOnlySpan<byte> name)
    {
        int start = _at;
        if (Ascii.EqualsIgnoreCase(name, "plaintext"u8))
        {
            _at = _html.Length;
            return _html[start..];
        }

        while (TrySkipTo((byte)'<'))
        {
            ReadOnlySpan<byte> rest = _html[(_at + 1)..];
            if (rest.Length > name.Length + 1 && rest[0] == '/' && Ascii.EqualsIgnoreCase(rest.Slice(1, name.Length), name)
                && (IsSpace(rest[name.Length + 1]) || rest[name.Length + 1] is (byte)'/' or (byte)'>'))
            {
                break;
            }

            _at++;
        }

        return _html[start.._at];
    }

    private void SkipComment()
    {
        while (true)
        {
            int dashes = _html[_at..].IndexOf("--"u8);
            if (dashes < 0)
            {
                _at = _html.Length;
                return;
            }

            _at += dashes;
            ReadOnlySpan<byte> rest = _html[(_at + 2)..];
            if (rest.StartsWith(">"u8) || rest.StartsWith("!>"u8))
            {
                _at += rest[0] == '>' ? 3 : 4;
                return;
            }

            _at++;
        }
    }

    private bool TrySkipTo(byte wanted)
    {
        int distance = _html[_at..].IndexOf(wanted);
        _at = distance < 0 ? _html.Length : _at + distance;
        return distance >= 0;
    }

    private ReadOnlySpan<byte> ReadUntil(SearchValues<byte> ends)
    {
        int start = _at;
        int length = _html[start..].IndexOfAny(ends);
        _at = length < 0 ? _html.Length : start + length;
        return _html[start.._at];
    }

    private void SkipSpace(bool orSlash = false)
    {
        while (_at < _html.Length && (IsSpace(_html[_at]) || (orSlash && _html[_at] == '/')))
        {
            _at++;
        }
    }

    private static bool IsRawText(ReadOnlySpan<byte> name) =>
        Ascii.EqualsIgnoreCase(name, "script"u8) || Ascii.EqualsIgnoreCase(name, "style"u8) || Ascii.EqualsIgnoreCase(name, "title"u8) || Ascii.EqualsIgnoreCase(name, "textarea"u8)
        || Ascii.EqualsIgnoreCase(name, "xmp"u8) || Ascii.EqualsIgnoreCase(name, "iframe"u8) || Ascii.EqualsIgnoreCase(name, "noembed"u8) || Ascii.EqualsIgnoreCase(name, "noframes"u8)
        || Ascii.EqualsIgnoreCase(name, "plaintext"u8);

    public static bool IsSpace(byte b) => b is (byte)' ' or (byte)'\t' or (byte)'\n' or (byte)'\f' or (byte)'\r';
}

/// <summary>A start tag, with the attributes that can name something that the page includes. Of an attribute that is given twice the first counts.</summary>
internal ref struct HtmlTag
{
    public ReadOnlySpan<byte> Name;
    public ReadOnlySpan<byte> Source;
    public ReadOnlySpan<byte> SourceSet;
    public ReadOnlySpan<byte> Reference;
    public ReadOnlySpan<byte> Relation;
    public ReadOnlySpan<byte> Poster;
    public ReadOnlySpan<byte> Style;
    public ReadOnlySpan<byte> Text;

    public readonly bool Is(ReadOnlySpan<byte> name) => Ascii.EqualsIgnoreCase(Name, name);

    public void Set(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value)
    {
        switch (name.Length)
        {
            case 3 when Ascii.EqualsIgnoreCase(name, "src"u8):
                SetFirst(ref Source, value);
                break;
            case 3 when Ascii.EqualsIgnoreCase(name, "rel"u8):
                SetFirst(ref Relation, value);
                break;
            case 4 when Ascii.EqualsIgnoreCase(name, "href"u8):
                SetFirst(ref Reference, value);
                break;
            case 5 when Ascii.EqualsIgnoreCase(name, "style"u8):
                SetFirst(ref Style, value);
                break;
            case 6 when Ascii.EqualsIgnoreCase(name, "srcset"u8):
                SetFirst(ref SourceSet, value);
                break;
            case 6 when Ascii.EqualsIgnoreCase(name, "poster"u8):
                SetFirst(ref Poster, value);
                break;
        }
    }

    private static void SetFirst(ref ReadOnlySpan<byte> field, ReadOnlySpan<byte> value) => field = field.IsEmpty ? value : field;
}
