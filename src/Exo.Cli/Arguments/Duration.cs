// SPDX-License-Identifier: MIT
using System.Globalization;

namespace Exo.Cli.Arguments;

/// <summary>Times as people write them: 250ms, 30s, 1.5m, 2h; a bare number is seconds.</summary>
internal static class Duration
{
    /// <summary>Parses <paramref name="text"/>; false when it is no time.</summary>
    public static bool TryParse(string? text, out TimeSpan time)
    {
        time = default;
        ReadOnlySpan<char> rest = text.AsSpan().Trim();
        int digits = rest.LastIndexOfAnyInRange('0', '9') + 1;
        double seconds = rest[digits..] switch
        {
            "ms" => 0.001,
            "" or "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => double.NaN,
        };
        if (double.IsNaN(seconds) || !double.TryParse(rest[..digits], NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double number) || number * seconds > TimeSpan.MaxValue.TotalSeconds / 2)
        {
            return false;
        }

        time = TimeSpan.FromSeconds(number * seconds);
        return true;
    }
}
