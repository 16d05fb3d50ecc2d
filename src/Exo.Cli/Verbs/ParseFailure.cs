// SPDX-License-Identifier: MIT
using System.Text.RegularExpressions;
using Exo.Cli.Top;

namespace Exo.Cli.Verbs;

/// <summary>What the parser says of a value, without the names that types have in this program.</summary>
internal static partial class ParseFailure
{
    public static string Describe(string message)
    {
        if (WrongType().Match(message) is not { Success: true } wrong)
        {
            return message.Replace("\n\t", " ", StringComparison.Ordinal).Replace("\t", " ", StringComparison.Ordinal);
        }

        string type = wrong.Groups["type"].Value;
        string wanted = type == typeof(TopOrder).FullName ? $"none of {string.Join(", ", Enum.GetNames<TopOrder>())}"
            : type.Contains(typeof(double).FullName!, StringComparison.Ordinal) ? "not a number"
            : "not a whole number, or one that is too large";
        return $"{wrong.Groups["option"].Value}: '{wrong.Groups["value"].Value}' is {wanted}";
    }

    [GeneratedRegex("^Cannot parse argument '(?<value>.*)' for option '(?<option>[^']*)' as expected type '(?<type>.*?)'", RegexOptions.Singleline)]
    private static partial Regex WrongType();
}
