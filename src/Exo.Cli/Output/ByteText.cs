// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;

namespace Exo.Cli.Output;

/// <summary>
/// File names for people. A name is any bytes; it is shown as <c>ls -b</c> shows it: UTF-8 as it is, control characters, backslash and
/// whatever is not UTF-8 as escapes, so that a line is a line, a terminal obeys nobody's file name, and no two names look alike.
/// </summary>
internal static class ByteText
{
    private static readonly UTF8Encoding Strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    public static string Escape(ReadOnlySpan<byte> name)
    {
        StringBuilder text = new(name.Length);
        while (!name.IsEmpty)
        {
            if (Rune.DecodeFromUtf8(name, out Rune rune, out int lengthBytes) != System.Buffers.OperationStatus.Done)
            {
                for (int i = 0; i < lengthBytes; i++)
                {
                    text.Append(CultureInfo.InvariantCulture, $"\\x{name[i]:x2}");
                }
            }
            else
            {
                _ = rune.Value switch
                {
                    '\n' => text.Append("\\n"),
                    '\t' => text.Append("\\t"),
                    '\r' => text.Append("\\r"),
                    '\\' => text.Append("\\\\"),
                    _ when Rune.IsControl(rune) || IsDirectionMark(rune.Value) => Hex(text, name[..lengthBytes]),
                    _ => text.Append(rune.ToString()),
                };
            }

            name = name[lengthBytes..];
        }

        return text.ToString();
    }

    /// <summary>Undoes <see cref="Escape"/>; text without a backslash is its own UTF-8. Null when an escape is malformed.</summary>
    public static byte[]? Unescape(string text)
    {
        if (!text.Contains('\\', StringComparison.Ordinal))
        {
            return Encoding.UTF8.GetBytes(text);
        }

        using MemoryStream bytes = new();
        for (int i = 0; i < text.Length; i++)
        {
            if (text[i] != '\\')
            {
                int end = text.IndexOf('\\', i);
                end = end < 0 ? text.Length : end;
                bytes.Write(Encoding.UTF8.GetBytes(text[i..end]));
                i = end - 1;
                continue;
            }

            switch (i + 1 < text.Length ? text[++i] : '\0')
            {
                case 'n': bytes.WriteByte((byte)'\n'); break;
                case 't': bytes.WriteByte((byte)'\t'); break;
                case 'r': bytes.WriteByte((byte)'\r'); break;
                case '\\': bytes.WriteByte((byte)'\\'); break;
                case 'x' when i + 2 < text.Length
                    && byte.TryParse(text.AsSpan(i + 1, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out byte value):
                    bytes.WriteByte(value);
                    i += 2;
                    break;
                default: return null;
            }
        }

        return bytes.ToArray();
    }

    /// <summary>The name as text when it is UTF-8.</summary>
    public static bool TryText(ReadOnlySpan<byte> name, out string text)
    {
        try
        {
            text = Strict.GetString(name);
            return true;
        }
        catch (DecoderFallbackException)
        {
            text = Encoding.UTF8.GetString(name);
            return false;
        }
    }

    private static StringBuilder Hex(StringBuilder text, ReadOnlySpan<byte> bytes)
    {
        foreach (byte value in bytes)
        {
            text.Append(CultureInfo.InvariantCulture, $"\\x{value:x2}");
        }

        return text;
    }

    // Characters that reorder or hide the text after them; a file name has no business doing that to a listing.
    private static bool IsDirectionMark(int rune) =>
        rune is (>= 0x200B and <= 0x200F) or (>= 0x2028 and <= 0x202E) or (>= 0x2060 and <= 0x2069) or 0xFEFF;
}
