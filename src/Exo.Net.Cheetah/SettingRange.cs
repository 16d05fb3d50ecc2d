// SPDX-License-Identifier: MIT
using System.Globalization;

namespace Exo.Net.Cheetah;

/// <summary>Refuses a setting that is out of its range, by the property's name.</summary>
internal static class SettingRange
{
    public static void Check(long value, long min, long max, string name)
    {
        if (value < min || value > max)
        {
            throw new ArgumentOutOfRangeException(name, value, max >= int.MaxValue ? $"At least {min}." : $"From {min} to {max}.");
        }
    }

    public static void Check(TimeSpan value, TimeSpan min, TimeSpan max, string name)
    {
        if (value < min || value > max)
        {
            throw new ArgumentOutOfRangeException(name, value, $"From {Of(min)} to {Of(max)}.");
        }
    }

    /// <summary>A time that must not be nothing.</summary>
    public static void CheckPositive(TimeSpan value, string name)
    {
        if (value <= TimeSpan.Zero || value > TimeSpan.FromDays(1))
        {
            throw new ArgumentOutOfRangeException(name, value, "More than nothing, at most a day.");
        }
    }

    private static string Of(TimeSpan time) => time.TotalSeconds is var seconds && time == TimeSpan.Zero ? "0"
        : seconds < 1 ? time.TotalMilliseconds.ToString("0ms", CultureInfo.InvariantCulture)
        : seconds >= 86400 ? "a day"
        : seconds.ToString("0s", CultureInfo.InvariantCulture);
}
