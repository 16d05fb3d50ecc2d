// SPDX-License-Identifier: MIT
using System.Diagnostics.CodeAnalysis;

namespace Exo.Cli.Arguments;

/// <summary>Bytes written as hexadecimal digits, two each; blanks and line ends may stand anywhere between them.</summary>
internal static class HexText
{
    /// <summary>Reads bytes until the text ends.</summary>
    /// <param name="text">Where the digits come from.</param>
    /// <param name="bytesMax">More bytes than this are an error.</param>
    /// <param name="bytes">What was read.</param>
    /// <param name="error">What is wrong, without a subject.</param>
    public static bool TryRead(TextReader text, int bytesMax, [NotNullWhen(true)] out byte[]? bytes, [NotNullWhen(false)] out string? error)
    {
        bytes = null;
        List<byte> read = [];
        int high = -1;
        for (int symbol; (symbol = text.Read()) >= 0;)
        {
            if (char.IsWhiteSpace((char)symbol))
            {
                continue;
            }

            if (!char.IsAsciiHexDigit((char)symbol))
            {
                error = $"'{(char.IsControl((char)symbol) || char.IsSurrogate((char)symbol) ? '?' : (char)symbol)}' is not a hexadecimal digit";
                return false;
            }

            int digit = Convert.ToInt32(((char)symbol).ToString(), 16);
            if (high < 0)
            {
                high = digit;
                continue;
            }

            if (read.Count == bytesMax)
            {
                error = $"there are more than {bytesMax} bytes";
                return false;
            }

            read.Add((byte)((high << 4) | digit));
            high = -1;
        }

        error = high < 0 ? null : "the number of hexadecimal digits is odd";
        bytes = error is null ? [.. read] : null;
        return error is null;
    }
}
